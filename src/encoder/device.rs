//! Turns what the user asked for (`--device`, `--precision`) into a device and a type that libtorch
//! can really run on here, or into an error that says what is missing.
//!
//! It stands apart from the networks because it must run before them: `load_cuda` has to see the
//! process before its first tensor does.

mod cpu;
mod driver;
mod lazy;
pub(crate) mod room;
mod runtime;
pub(crate) mod workers;

use std::fmt;
use std::str::FromStr;

use tch::{Device, Kind, Tensor};

pub use cpu::Cpu;
pub use driver::{CudaVersion, Gpu};
pub use lazy::LazyDevice;
pub use runtime::{Cuda, Runtime, load_cuda};

/// Which device to compute on, as the user says it: `auto`, `cpu`, `cuda:N` or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU that libtorch can use, the CPU where there is none.
    #[default]
    Auto,
    Cpu,
    /// The GPU of this number, counted from 0 in CUDA's order.
    Cuda(usize),
    /// Every GPU that libtorch can use, the CPU where there is none.
    All,
}

/// Which floating-point type to compute in, as the user says it: `auto`, `fp32`, `bf16` or `fp16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// The fastest type that the device has units for.
    #[default]
    Auto,
    Fp32,
    Bf16,
    Fp16,
}

/// Why a device or a precision cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    #[error("unknown device `{0}`: expected auto, cpu, all, or cuda:N such as cuda:0")]
    UnknownDevice(String),
    #[error("unknown precision `{0}`: expected auto, fp32, bf16 or fp16")]
    UnknownPrecision(String),
    #[error("cuda:{asked} was asked for, but {reason}")]
    NoCuda { asked: usize, reason: String },
    #[error("cuda:{asked} was asked for, but {}", there_are(*.devices))]
    NoSuchGpu { asked: usize, devices: usize },
    #[error("{precision} cannot be computed on {device}: {reason}")]
    UnsupportedPrecision {
        precision: Precision,
        device: String,
        reason: String,
    },
    #[error("{device} does not compute in {kind:?}: {reason}")]
    Broken {
        device: String,
        kind: Kind,
        reason: String,
    },
}

/// Computes a small convolution whose result is known: a device that is there may still have no kernels
/// for what is asked of it.
///
/// # Errors
/// [`DeviceError::Broken`] with what libtorch says.
pub fn try_out(device: Device, kind: Kind) -> Result<(), DeviceError> {
    let broken = |reason: String| DeviceError::Broken {
        device: name_of(device),
        kind,
        reason,
    };
    let attempt = || -> Result<f64, tch::TchError> {
        let _no_gradients = tch::no_grad_guard();
        // [batch 1, channels 16, 8, 8] and [channels 16, channels 16, 3, 3], all ones: each value of
        // the result is 3 * 3 * 16, which every type holds exactly.
        let image = Tensor::f_ones([1, 16, 8, 8], (kind, device))?;
        let weights = Tensor::f_ones([16, 16, 3, 3], (kind, device))?;
        let result = image.f_conv2d(&weights, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)?;
        result.f_mean(Kind::Double)?.f_double_value(&[])
    };
    match attempt() {
        Ok(144.0) => Ok(()),
        Ok(other) => Err(broken(format!("a convolution gave {other} instead of 144"))),
        Err(error) => {
            // Behind the first line is a stack trace of C++.
            let text = error.to_string();
            Err(broken(text.lines().next().unwrap_or_default().to_string()))
        }
    }
}

impl DeviceChoice {
    /// The device to use in this process; of several the first.
    ///
    /// # Errors
    /// A GPU that was asked for by number is never replaced by another device: the error says what
    /// keeps it from being used. `auto` and `all` never fail; if a GPU is there and cannot be used, they say
    /// so in the log, because the CPU is some hundred times slower.
    pub fn resolve(self, runtime: &Runtime) -> Result<Device, DeviceError> {
        let asked = match self {
            DeviceChoice::Cpu => return Ok(Device::Cpu),
            DeviceChoice::Auto | DeviceChoice::All => {
                return Ok(match &runtime.cuda {
                    Cuda::Loaded { .. } => Device::Cuda(0),
                    Cuda::NoDriver { .. } => Device::Cpu,
                    Cuda::NotPresent { .. } | Cuda::Failed { .. } => {
                        tracing::warn!(
                            "using the CPU: {}",
                            runtime.why_no_cuda().unwrap_or_default()
                        );
                        Device::Cpu
                    }
                });
            }
            DeviceChoice::Cuda(asked) => asked,
        };
        match &runtime.cuda {
            Cuda::Loaded { devices, .. } if asked < devices.len() => Ok(Device::Cuda(asked)),
            Cuda::Loaded { devices, .. } => Err(DeviceError::NoSuchGpu {
                asked,
                devices: devices.len(),
            }),
            _ => Err(DeviceError::NoCuda {
                asked,
                reason: runtime.why_no_cuda().unwrap_or_default(),
            }),
        }
    }

    /// The devices to use in this process: more than one only for [`DeviceChoice::All`].
    ///
    /// # Errors
    /// Those of [`resolve`](Self::resolve).
    pub fn resolve_all(self, runtime: &Runtime) -> Result<Vec<Device>, DeviceError> {
        let first = self.resolve(runtime)?;
        Ok(match (self, &runtime.cuda) {
            (DeviceChoice::All, Cuda::Loaded { devices, .. }) => {
                (0..devices.len()).map(Device::Cuda).collect()
            }
            _ => vec![first],
        })
    }

    /// The devices to compute on: those of [`resolve_all`](Self::resolve_all), but of GPUs that nobody
    /// asked for by number only such as compute. libtorch lists those, too, that are too old for its kernels.
    ///
    /// # Errors
    /// Those of [`resolve`](Self::resolve).
    pub fn find(self, runtime: &Runtime) -> Result<Vec<Device>, DeviceError> {
        let devices = self.resolve_all(runtime)?;
        Ok(match self {
            DeviceChoice::Auto | DeviceChoice::All => {
                that_compute(devices, |device| try_out(device, Kind::Float))
            }
            DeviceChoice::Cpu | DeviceChoice::Cuda(_) => devices,
        })
    }
}

/// Those of `devices` that pass, and the CPU where none does.
fn that_compute(
    devices: Vec<Device>,
    try_out: impl Fn(Device) -> Result<(), DeviceError>,
) -> Vec<Device> {
    let mut passed = devices;
    passed.retain(|device| match (device, try_out(*device)) {
        (Device::Cpu, _) | (_, Ok(())) => true,
        (_, Err(error)) => {
            tracing::warn!("going on without it: {error}");
            false
        }
    });
    if passed.is_empty() {
        tracing::warn!("using the CPU: no GPU computes");
        passed.push(Device::Cpu);
    }
    passed
}

/// Images that keep a CPU's threads busy, and its caches no fuller than fewer of them.
const BATCH_OF_A_CPU: usize = 64;

/// Images that keep a GPU busy, for each of them; and the most of all together, whose pixels and features wait
/// in memory several times over.
const BATCH_OF_A_GPU: usize = 256;
const MOST: usize = 1024;

impl DeviceChoice {
    /// Images to be passed to the device together, where nobody says how many. Nothing is loaded to tell it, so
    /// that a run that computes nothing stays as quick.
    pub fn usual_batch(self) -> usize {
        let gpus = match self {
            DeviceChoice::Cpu => 0,
            DeviceChoice::Auto | DeviceChoice::Cuda(_) => runtime::likely_gpus().min(1),
            DeviceChoice::All => runtime::likely_gpus(),
        };
        batch_of(gpus)
    }
}

fn batch_of(gpus: usize) -> usize {
    match gpus {
        0 => BATCH_OF_A_CPU,
        _ => (gpus * BATCH_OF_A_GPU).min(MOST),
    }
}

impl Precision {
    /// The type to compute in on `device`.
    ///
    /// `auto` on a CPU is bf16 where [`Cpu::computes_bf16`], fp32 elsewhere. bf16 says what may be rounded: layers
    /// that are faster without, are computed without (`encoder::winograd`). docs/performance.md tells what
    /// it costs to features and captions. `auto` on a GPU is bf16 from compute
    /// capability 8.0 (Ampere), fp16 from 7.0 (Volta, the first tensor cores), fp32 below.
    ///
    /// # Errors
    /// A type that was asked for by name and that the device does not compute in; a CPU computes bf16
    /// without units for it too, slowly.
    pub fn resolve(
        self,
        device: Device,
        runtime: &Runtime,
        cpu: &Cpu,
    ) -> Result<Kind, DeviceError> {
        let refuse = |device: String, reason: &str| {
            Err(DeviceError::UnsupportedPrecision {
                precision: self,
                device,
                reason: reason.to_string(),
            })
        };
        let Device::Cuda(index) = device else {
            return match self {
                Precision::Auto if cpu.computes_bf16() => Ok(Kind::BFloat16),
                Precision::Auto | Precision::Fp32 => Ok(Kind::Float),
                Precision::Bf16 => Ok(Kind::BFloat16),
                Precision::Fp16 => refuse(
                    "the CPU".into(),
                    "fp16 needs a GPU; on a CPU take fp32 or bf16",
                ),
            };
        };
        // A capability that nobody could tell stops `auto` from guessing, not the user from asking.
        let capability = runtime.gpu(index).and_then(|gpu| gpu.capability);
        let at_least = |wanted| capability.is_some_and(|has| has >= wanted);
        let below = |wanted| capability.is_some_and(|has| has < wanted);
        let name = || match capability {
            Some((major, minor)) => format!("cuda:{index} (compute capability {major}.{minor})"),
            None => format!("cuda:{index}"),
        };
        match self {
            Precision::Fp32 => Ok(Kind::Float),
            Precision::Auto if at_least((8, 0)) => Ok(Kind::BFloat16),
            Precision::Auto if at_least((7, 0)) => Ok(Kind::Half),
            Precision::Auto => Ok(Kind::Float),
            Precision::Bf16 if below((8, 0)) => {
                refuse(name(), "bf16 needs compute capability 8.0; take fp16")
            }
            Precision::Bf16 => Ok(Kind::BFloat16),
            Precision::Fp16 if below((5, 3)) => {
                refuse(name(), "fp16 needs compute capability 5.3; take fp32")
            }
            Precision::Fp16 => Ok(Kind::Half),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::UnknownDevice(text.to_string());
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "all" => Ok(DeviceChoice::All),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                // `parse` alone would take `+1`.
                if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(unknown());
                }
                number
                    .parse()
                    .map(DeviceChoice::Cuda)
                    .map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => out.write_str("auto"),
            DeviceChoice::Cpu => out.write_str("cpu"),
            DeviceChoice::All => out.write_str("all"),
            DeviceChoice::Cuda(index) => write!(out, "cuda:{index}"),
        }
    }
}

impl FromStr for Precision {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "auto" => Ok(Precision::Auto),
            "fp32" => Ok(Precision::Fp32),
            "bf16" => Ok(Precision::Bf16),
            "fp16" => Ok(Precision::Fp16),
            _ => Err(DeviceError::UnknownPrecision(text.to_string())),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Precision::Auto => "auto",
            Precision::Fp32 => "fp32",
            Precision::Bf16 => "bf16",
            Precision::Fp16 => "fp16",
        })
    }
}

fn name_of(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "the CPU".to_string(),
    }
}

fn there_are(devices: usize) -> String {
    match devices {
        1 => "this machine has 1 GPU: cuda:0".to_string(),
        _ => format!(
            "this machine has {devices} GPUs: cuda:0 to cuda:{}",
            devices.saturating_sub(1)
        ),
    }
}

#[cfg(test)]
mod tests;
