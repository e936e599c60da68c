//! Asks the NVIDIA driver which GPUs there are, through the CUDA driver API (`libcuda.so.1`).
//!
//! It stands apart because it works without libtorch's CUDA libraries: it tells whether fetching them
//! would help, and it knows names and memory, which tch does not tell.
//! <https://docs.nvidia.com/cuda/cuda-driver-api/>

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fmt;
use std::path::Path;

use libloading::os::unix::Library;
use serde::Serialize;

/// A GPU as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// The N of `cuda:N`.
    pub index: usize,
    pub name: Option<String>,
    /// Bytes of memory that the GPU has, used and free.
    pub memory: Option<u64>,
    /// CUDA's compute capability, (major, minor).
    pub capability: Option<(u32, u32)>,
}

/// A version of CUDA, as drivers and runtimes give it: 1000 * major + 10 * minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CudaVersion {
    pub major: u32,
    pub minor: u32,
}

/// What the driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Driver {
    /// The newest CUDA that this driver can run.
    pub version: Option<CudaVersion>,
    pub gpus: Vec<Gpu>,
}

impl Driver {
    /// Loads the driver's library and asks it.
    ///
    /// # Errors
    /// A clause that says why no GPU can be used, to follow "but".
    pub(super) fn probe() -> Result<Driver, String> {
        // Safety: libcuda.so.1 is the NVIDIA driver's own library; loading it has no other effect.
        let library = match unsafe { Library::new("libcuda.so.1") } {
            Ok(library) => library,
            Err(_) if Path::new("/proc/driver/nvidia").exists() => {
                return Err(
                    "the NVIDIA kernel driver is loaded and its library libcuda.so.1 is not found; \
                     a container has to be started with the GPU (docker run --gpus all)"
                        .into(),
                );
            }
            Err(_) => return Err("there is no NVIDIA driver on this machine".into()),
        };
        let driver = Api { library: &library }.ask();
        // libtorch loads the same library and counts on it to stay.
        std::mem::forget(library);
        driver
    }
}

impl CudaVersion {
    pub(super) fn from_number(number: c_int) -> Option<CudaVersion> {
        let number = u32::try_from(number).ok().filter(|&number| number > 0)?;
        Some(CudaVersion {
            major: number / 1000,
            minor: number % 1000 / 10,
        })
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;

struct Api<'a> {
    library: &'a Library,
}

impl Api<'_> {
    fn ask(&self) -> Result<Driver, String> {
        self.check(self.call_uint(b"cuInit\0", 0))
            .map_err(|error| format!("the NVIDIA driver does not start: {error}"))?;
        let mut count: c_int = 0;
        self.check(self.call_out(b"cuDeviceGetCount\0", &mut count))
            .map_err(|error| format!("the NVIDIA driver does not count its GPUs: {error}"))?;
        let mut number: c_int = 0;
        let version = match self.call_out(b"cuDriverGetVersion\0", &mut number) {
            Some(0) => CudaVersion::from_number(number),
            _ => None,
        };
        let gpus = (0..count).map(|ordinal| self.describe(ordinal)).collect();
        Ok(Driver { version, gpus })
    }

    fn describe(&self, ordinal: c_int) -> Gpu {
        let mut gpu = Gpu {
            index: usize::try_from(ordinal).unwrap_or(0),
            name: None,
            memory: None,
            capability: None,
        };
        let mut device: c_int = 0;
        // Safety, here and below: the signatures are those of cuda.h, where CUdevice is an int, and
        // every pointer is to a local of the type and length that is passed along.
        unsafe {
            let Ok(get) = self
                .library
                .get::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(b"cuDeviceGet\0")
            else {
                return gpu;
            };
            if get(&mut device, ordinal) != 0 {
                return gpu;
            }
            if let Ok(get) = self
                .library
                .get::<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int>(
                    b"cuDeviceGetName\0",
                )
            {
                let mut name: [c_char; 256] = [0; 256];
                if get(name.as_mut_ptr(), 255, device) == 0 {
                    gpu.name = Some(CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned());
                }
            }
            if let Ok(get) = self
                .library
                .get::<unsafe extern "C" fn(*mut usize, c_int) -> c_int>(b"cuDeviceTotalMem_v2\0")
            {
                let mut bytes: usize = 0;
                if get(&mut bytes, device) == 0 {
                    gpu.memory = Some(bytes as u64);
                }
            }
        }
        gpu.capability = self
            .attribute(CAPABILITY_MAJOR, device)
            .zip(self.attribute(CAPABILITY_MINOR, device));
        gpu
    }

    fn attribute(&self, attribute: c_int, device: c_int) -> Option<u32> {
        let mut value: c_int = 0;
        // Safety: as in `describe`.
        let status = unsafe {
            let get = self
                .library
                .get::<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int>(
                    b"cuDeviceGetAttribute\0",
                )
                .ok()?;
            get(&mut value, attribute, device)
        };
        (status == 0).then(|| u32::try_from(value).ok()).flatten()
    }

    /// Calls `status name(unsigned)`.
    fn call_uint(&self, name: &[u8], argument: c_uint) -> Option<c_int> {
        // Safety: as in `describe`.
        unsafe {
            let call = self
                .library
                .get::<unsafe extern "C" fn(c_uint) -> c_int>(name)
                .ok()?;
            Some(call(argument))
        }
    }

    /// Calls `status name(int *)`.
    fn call_out(&self, name: &[u8], out: &mut c_int) -> Option<c_int> {
        // Safety: as in `describe`.
        unsafe {
            let call = self
                .library
                .get::<unsafe extern "C" fn(*mut c_int) -> c_int>(name)
                .ok()?;
            Some(call(out))
        }
    }

    fn check(&self, status: Option<c_int>) -> Result<(), String> {
        match status {
            Some(0) => Ok(()),
            Some(status) => Err(format!("{} (CUDA error {status})", self.message(status))),
            None => Err("its library lacks functions of the CUDA driver API".into()),
        }
    }

    fn message(&self, status: c_int) -> String {
        let mut text: *const c_char = std::ptr::null();
        // Safety: as in `describe`; the driver hands out a string that lives as long as it does.
        unsafe {
            if let Ok(get) = self
                .library
                .get::<unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int>(
                    b"cuGetErrorString\0",
                )
                && get(status, &mut text) == 0
                && !text.is_null()
            {
                return CStr::from_ptr(text).to_string_lossy().into_owned();
            }
        }
        "unknown error".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_cuda_numbers_them() {
        let text = |number| CudaVersion::from_number(number).map(|version| version.to_string());
        assert_eq!(text(13000).as_deref(), Some("13.0"));
        assert_eq!(text(12040).as_deref(), Some("12.4"));
        assert_eq!(text(0), None);
        assert_eq!(text(-1), None);
    }

    #[test]
    fn asking_the_driver_gives_gpus_or_a_reason() {
        match Driver::probe() {
            Ok(driver) => {
                for (index, gpu) in driver.gpus.iter().enumerate() {
                    assert_eq!(gpu.index, index);
                }
            }
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
}
