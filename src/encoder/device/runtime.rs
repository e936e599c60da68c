//! Finds the libtorch that this process runs on and adds its CUDA half where there is a GPU.
//!
//! The binary links the CPU half alone, so that one build runs on machines with and without a GPU.
//! `libtorch_cuda.so` registers itself with the libraries already there when it is loaded; it has to be
//! loaded before the first tensor, because libtorch asks once which devices it has.
//!
//! ```text
//! lib/libtorch_cpu.so                   linked
//! lib/libtorch_cuda.so                  taken if it is there: a complete libtorch with CUDA
//! cuda/torch/lib/libtorch_cuda.so       otherwise this one, where scripts/libtorch.py --cuda puts it
//! cuda/nvidia/*/lib/                    what it needs; it finds them by itself
//! ```

use std::ffi::{CStr, c_char, c_int};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use serde::Serialize;

use super::driver::{CudaVersion, Driver, Gpu};
use crate::encoder::fused::compute_fp32_in_full;

/// The libtorch of this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// Such as `2.11.0`; none if this libtorch does not tell.
    pub libtorch_version: Option<String>,
    /// The folder of `libtorch_cpu.so`.
    pub libtorch_folder: Option<PathBuf>,
    pub cuda: Cuda,
}

/// What came of the attempt to use a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Cuda {
    /// There is a GPU, and no `libtorch_cuda.so` at any of these places.
    NotPresent {
        searched: Vec<PathBuf>,
        gpus: Vec<Gpu>,
    },
    /// There is no NVIDIA driver, or none that works.
    NoDriver { reason: String },
    /// libtorch computes on these GPUs.
    Loaded {
        library: PathBuf,
        /// The newest CUDA that the driver runs.
        driver: Option<CudaVersion>,
        /// At least one.
        devices: Vec<Gpu>,
    },
    /// There is a GPU, and libtorch cannot use it.
    Failed { reason: String },
}

/// Loads libtorch's CUDA half, if this machine has an NVIDIA driver, and tells what there is.
///
/// Call it before the first tensor of the process is made; later calls return what the first one found.
pub fn load_cuda() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let folders = libtorch_folders();
        let noted = || folders.iter().find_map(|folder| noted_version(folder));
        Runtime {
            libtorch_version: linked_version().or_else(noted),
            cuda: attempt(&folders),
            libtorch_folder: folders.first().cloned(),
        }
    })
}

/// How many GPUs [`load_cuda`] is likely to find, told without loading anything.
pub(super) fn likely_gpus() -> usize {
    let folders = libtorch_folders();
    let mut libraries = folders.iter().flat_map(|folder| candidates(folder));
    match libraries.any(|library| library.is_file()) {
        true => gpus_of_driver(Path::new("/proc/driver/nvidia/gpus")),
        false => 0,
    }
}

/// NVIDIA's kernel driver has a directory here for each GPU.
fn gpus_of_driver(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, |gpus| gpus.flatten().count())
}

impl Runtime {
    /// The GPU behind `cuda:index`.
    pub fn gpu(&self, index: usize) -> Option<&Gpu> {
        match &self.cuda {
            Cuda::Loaded { devices, .. } => devices.get(index),
            _ => None,
        }
    }

    /// A clause that says why no GPU can be used, and none if one can.
    pub fn why_no_cuda(&self) -> Option<String> {
        match &self.cuda {
            Cuda::Loaded { .. } => None,
            Cuda::NoDriver { reason } | Cuda::Failed { reason } => Some(reason.clone()),
            Cuda::NotPresent { searched, .. } => {
                let places: Vec<String> = searched
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                Some(if places.is_empty() {
                    "libtorch_cuda.so is missing, and the folder of libtorch is not known".into()
                } else {
                    format!(
                        "libtorch's CUDA library is missing: {}",
                        places.join(" or ")
                    )
                })
            }
        }
    }
}

fn attempt(folders: &[PathBuf]) -> Cuda {
    let driver = match Driver::probe() {
        Ok(driver) => driver,
        Err(reason) => return Cuda::NoDriver { reason },
    };
    let searched: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| candidates(folder))
        .collect();
    let Some(library) = searched.iter().find(|path| path.is_file()) else {
        return Cuda::NotPresent {
            searched,
            gpus: driver.gpus,
        };
    };
    if let Err(reason) = load(library) {
        return Cuda::Failed {
            reason: format!("{} does not load: {reason}", library.display()),
        };
    }
    // libtorch finds these two by name when an operation first needs them, and looks for them beside
    // libtorch_cpu.so only; once loaded they are found wherever they lie. Nothing of VGG needs them.
    for lazy in ["libcaffe2_nvrtc.so", "libtorch_cuda_linalg.so"] {
        if let Err(reason) = load(&library.with_file_name(lazy)) {
            tracing::debug!("{lazy} does not load: {reason}");
        }
    }
    let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    if count == 0 {
        return Cuda::Failed {
            reason: unusable(driver.version),
        };
    }
    if !compute_fp32_in_full() {
        tracing::warn!("libtorch may compute fp32 in TF32 on these GPUs");
    }
    Cuda::Loaded {
        library: library.clone(),
        driver: driver.version,
        devices: describe(count, driver.gpus),
    }
}

/// libtorch's count is the truth about what can be used; the driver adds what it knows of each.
fn describe(count: usize, mut known: Vec<Gpu>) -> Vec<Gpu> {
    known.truncate(count);
    known.extend((known.len()..count).map(|index| Gpu {
        index,
        name: None,
        memory: None,
        capability: None,
    }));
    known
}

/// Where `libtorch_cuda.so` may be for a `libtorch_cpu.so` in `folder`, best first.
fn candidates(folder: &Path) -> Vec<PathBuf> {
    let mut places = vec![folder.join("libtorch_cuda.so")];
    if let Some(parent) = folder.parent() {
        places.push(parent.join("cuda/torch/lib/libtorch_cuda.so"));
    }
    places
}

/// Loads a library for good, its symbols open to all.
fn load(path: &Path) -> Result<(), String> {
    // Safety: the libraries are of the same libtorch as the one that is linked; what they run when they
    // are loaded is their registration.
    match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        // libloading's own message says only that dlopen failed; the source says of what.
        Err(error) => Err(match std::error::Error::source(&error) {
            Some(source) => source.to_string(),
            None => error.to_string(),
        }),
    }
}

/// Why the CUDA runtime, now loaded, offers no device.
fn unusable(driver: Option<CudaVersion>) -> String {
    let process = Library::this();
    let mut number: c_int = 0;
    let mut devices: c_int = 0;
    // Safety: the signatures are those of cuda_runtime_api.h; libcudart came with libtorch.
    let (runtime, message) = unsafe {
        let runtime = match process
            .get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cudaRuntimeGetVersion\0")
        {
            Ok(get) if get(&mut number) == 0 => CudaVersion::from_number(number),
            _ => None,
        };
        let message = match (
            process.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cudaGetDeviceCount\0"),
            process.get::<unsafe extern "C" fn(c_int) -> *const c_char>(b"cudaGetErrorString\0"),
        ) {
            (Ok(count), Ok(text)) => match count(&mut devices) {
                0 => None,
                status => {
                    let text = text(status);
                    (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
                }
            },
            _ => None,
        };
        (runtime, message)
    };
    explain(driver, runtime, message)
}

fn explain(
    driver: Option<CudaVersion>,
    runtime: Option<CudaVersion>,
    message: Option<String>,
) -> String {
    // Within a major version a newer runtime runs on an older driver.
    if let (Some(driver), Some(runtime)) = (driver, runtime)
        && driver.major < runtime.major
    {
        return format!(
            "the NVIDIA driver runs CUDA {driver} at most and this libtorch needs CUDA {runtime}: \
             a newer driver is needed"
        );
    }
    match message {
        Some(message) => format!("CUDA offers no device: {message}"),
        None => "libtorch's CUDA library is loaded and finds no device".into(),
    }
}

/// The folder of the `libtorch_cpu.so` that is really mapped into this process, then the one that was
/// linked against if it is another name for it. CUDA's half must be of the same libtorch.
fn libtorch_folders() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let linked = option_env!("SHOWTELL_LIBTORCH_LIB").map(PathBuf::from);
    folders(mapped_folder(&maps), linked)
}

fn folders(mapped: Option<PathBuf>, linked: Option<PathBuf>) -> Vec<PathBuf> {
    let file = |folder: &Path| folder.join("libtorch_cpu.so").canonicalize().ok();
    match (mapped, linked) {
        (Some(mapped), Some(linked)) if mapped != linked && file(&mapped) == file(&linked) => {
            vec![mapped, linked]
        }
        (Some(mapped), _) => vec![mapped],
        (None, linked) => linked.into_iter().collect(),
    }
}

fn mapped_folder(maps: &str) -> Option<PathBuf> {
    maps.lines()
        // address, permissions, offset, device, inode, path
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name == "libtorch_cpu.so")
        })
        .and_then(Path::parent)
        .map(Path::to_path_buf)
}

/// The version that the linked libtorch answers with.
fn linked_version() -> Option<String> {
    // Safety: `uint64_t aoti_torch_abi_version()` of torch/csrc/inductor/aoti_torch/c/shim.h.
    let number = unsafe {
        let get = Library::this()
            .get::<unsafe extern "C" fn() -> u64>(b"aoti_torch_abi_version\0")
            .ok()?;
        get()
    };
    version_of(number)
}

/// Major, minor and patch are the three highest bytes.
fn version_of(number: u64) -> Option<String> {
    let [major, minor, patch, ..] = number.to_be_bytes();
    (major > 0).then(|| format!("{major}.{minor}.{patch}"))
}

/// The version that the archive of libtorch came with.
fn noted_version(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.parent()?.join("build-version")).ok()?;
    Some(text.trim().to_string()).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_libtorch_is_found() {
        let runtime = load_cuda();
        let folder = runtime.libtorch_folder.as_deref().unwrap();
        assert!(folder.join("libtorch_cpu.so").is_file(), "{folder:?}");
        assert_eq!(runtime.libtorch_version.as_deref(), Some("2.11.0"));
        if let Cuda::Loaded { devices, .. } = &runtime.cuda {
            assert_eq!(devices.len() as i64, tch::Cuda::device_count());
        } else {
            assert!(
                runtime
                    .why_no_cuda()
                    .is_some_and(|reason| !reason.is_empty())
            );
        }
    }

    #[test]
    fn the_folder_is_read_from_the_memory_map() {
        let maps = "7f00-7f01 r--p 00000000 fe:00 12    /usr/lib/libc.so.6\n\
                    7f02-7f03 rw-p 00000000 00:00 0 \n\
                    7f04-7f05 r-xp 00001000 fe:00 13    /opt/my torch/lib/libtorch_cpu.so\n";
        assert_eq!(
            mapped_folder(maps),
            Some(PathBuf::from("/opt/my torch/lib"))
        );
        assert_eq!(
            mapped_folder("7f00-7f01 r--p 00000000 fe:00 12 /x/libtorch.so"),
            None
        );
    }

    #[test]
    fn a_folder_of_links_is_searched_too_and_another_libtorch_is_not() {
        let place = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = place.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let (wheel, links, other) = (folder("wheel"), folder("links"), folder("other"));
        std::fs::write(wheel.join("libtorch_cpu.so"), "").unwrap();
        std::fs::write(other.join("libtorch_cpu.so"), "").unwrap();
        std::os::unix::fs::symlink(wheel.join("libtorch_cpu.so"), links.join("libtorch_cpu.so"))
            .unwrap();

        let some = |folder: &Path| Some(folder.to_path_buf());
        assert_eq!(folders(some(&wheel), some(&links)), [wheel.clone(), links]);
        assert_eq!(folders(some(&wheel), some(&other)), vec![wheel.clone()]);
        assert_eq!(folders(some(&wheel), some(&wheel)), [wheel]);
        assert_eq!(folders(None, some(&other)), [other]);
        assert_eq!(folders(None, None), Vec::<PathBuf>::new());
    }

    #[test]
    fn gpus_are_counted_where_the_driver_lists_them() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(gpus_of_driver(&place.path().join("gpus")), 0);
        for gpu in ["0000:01:00.0", "0000:41:00.0"] {
            std::fs::create_dir_all(place.path().join("gpus").join(gpu)).unwrap();
        }
        assert_eq!(gpus_of_driver(&place.path().join("gpus")), 2);
    }

    #[test]
    fn a_complete_libtorch_goes_before_the_fetched_libraries() {
        assert_eq!(
            candidates(Path::new("/a/libtorch/lib")),
            [
                PathBuf::from("/a/libtorch/lib/libtorch_cuda.so"),
                PathBuf::from("/a/libtorch/cuda/torch/lib/libtorch_cuda.so"),
            ]
        );
    }

    #[test]
    fn what_is_not_a_library_does_not_load_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libtorch_cuda.so");
        std::fs::write(&path, "not a library").unwrap();
        assert!(load(&path).unwrap_err().contains("libtorch_cuda.so"));
    }

    #[test]
    fn versions_are_taken_apart() {
        assert_eq!(version_of(0x020b_0000_0000_0000).as_deref(), Some("2.11.0"));
        assert_eq!(version_of(0), None);
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("lib");
        assert_eq!(noted_version(&library), None);
        std::fs::write(folder.path().join("build-version"), "2.11.0\n").unwrap();
        assert_eq!(noted_version(&library).as_deref(), Some("2.11.0"));
    }

    #[test]
    fn an_old_driver_is_named() {
        let version = CudaVersion::from_number;
        let reason = explain(version(12040), version(13000), Some("insufficient".into()));
        assert!(
            reason.contains("CUDA 12.4") && reason.contains("CUDA 13.0"),
            "{reason}"
        );
        assert_eq!(
            explain(version(13000), version(13000), Some("out of sorts".into())),
            "CUDA offers no device: out of sorts"
        );
    }

    #[test]
    fn libtorch_counts_the_devices_and_the_driver_names_them() {
        let gpu = |index, name: Option<&str>| Gpu {
            index,
            name: name.map(str::to_string),
            memory: None,
            capability: None,
        };
        let known = vec![gpu(0, Some("A")), gpu(1, Some("B"))];
        assert_eq!(describe(1, known.clone()), [gpu(0, Some("A"))]);
        assert_eq!(
            describe(3, known),
            [gpu(0, Some("A")), gpu(1, Some("B")), gpu(2, None)]
        );
    }
}
