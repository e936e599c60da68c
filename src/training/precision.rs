//! What a training computes in: f32, or f32 with the products and convolutions in bfloat16.
//!
//! In mixed precision (Micikevicius et al., arXiv 1710.03740) weights, what the optimiser remembers, losses,
//! softmax and the states of LSTMs are f32 as ever. Each step takes copies of the weights in bfloat16 for
//! products and convolutions, which sum in f32; gradients flow back to the weights themselves. bfloat16 has
//! the range of f32, so that gradients do not vanish in it and losses need not be scaled, as they would for
//! fp16.

use serde::{Deserialize, Deserializer, Serializer};
use tch::{Device, Kind, Tensor};

use crate::encoder::device::{Cpu, DeviceError, Precision, Runtime};

/// The type of products and convolutions on `device`: `Float` or `BFloat16`. `auto` is bf16 where the device
/// has units for it.
///
/// # Errors
///
/// When bf16 is asked for by name and the device has no units for it, or fp16, which is not learnt in.
pub fn resolve(
    asked: Precision,
    device: Device,
    runtime: &Runtime,
    cpu: &Cpu,
) -> Result<Kind, DeviceError> {
    let refuse = |device: &str, reason: &str| {
        Err(DeviceError::UnsupportedPrecision {
            precision: asked,
            device: device.to_owned(),
            reason: reason.to_owned(),
        })
    };
    match (asked, device) {
        (Precision::Fp16, _) => refuse(
            &name(device),
            "while learning it would need losses that are scaled; take auto, fp32 or bf16",
        ),
        // libtorch would compute in it all the same, slower than in fp32.
        (Precision::Bf16, Device::Cpu) if !cpu.computes_bf16() => refuse(
            &name(device),
            "it has no units for bf16 (AVX-512 bf16 or AMX); take fp32 or auto",
        ),
        (Precision::Bf16, Device::Cuda(_)) => {
            let found = asked.resolve(device, runtime, cpu);
            found.or_else(|_| {
                let reason = "it needs compute capability 8.0; take fp32 or auto";
                refuse(&name(device), reason)
            })
        }
        _ => match asked.resolve(device, runtime, cpu)? {
            Kind::BFloat16 => Ok(Kind::BFloat16),
            // `auto` on a GPU that has units for fp16 alone.
            _ => Ok(Kind::Float),
        },
    }
}

fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "this CPU".to_owned(),
    }
}

/// As recipes and `--precision` name it.
pub fn named(kind: Kind) -> Precision {
    match kind {
        Kind::BFloat16 => Precision::Bf16,
        _ => Precision::Fp32,
    }
}

/// `[batch, inputs, height, width]` through a convolution of 3×3 at each place, in the type of `x`. `weight`
/// and `bias`: f32.
///
/// # Errors
///
/// When shapes do not fit or the device fails.
pub(super) fn convolution(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor, tch::TchError> {
    let kind = x.kind();
    let bias = bias.map(|bias| bias.f_to_kind(kind)).transpose()?;
    x.f_conv2d(
        &weight.f_to_kind(kind)?,
        bias.as_ref(),
        [1, 1],
        [1, 1],
        [1, 1],
        1,
    )
}

/// For a recipe: written as it is typed.
pub(super) fn serialize<S: Serializer>(
    precision: &Precision,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(precision)
}

/// For a recipe.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Precision, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.parse() {
        Ok(precision) if precision != Precision::Fp16 => Ok(precision),
        _ => Err(serde::de::Error::custom(format!(
            "training.precision is {name:?}, expected auto, fp32 or bf16"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::device::{Cuda, Gpu};

    fn cpu(avx512_bf16: bool) -> Cpu {
        Cpu {
            model: None,
            threads: 1,
            avx2: true,
            avx512: true,
            avx512_bf16,
            amx_bf16: false,
        }
    }

    fn runtime(capability: (u32, u32)) -> Runtime {
        Runtime {
            libtorch_version: None,
            libtorch_folder: None,
            cuda: Cuda::Loaded {
                library: "libtorch_cuda.so".into(),
                driver: None,
                devices: vec![Gpu {
                    index: 0,
                    name: None,
                    memory: None,
                    capability: Some(capability),
                }],
            },
        }
    }

    #[test]
    fn bf16_is_taken_where_the_device_has_units_for_it() {
        let on_cpu = |asked, has| resolve(asked, Device::Cpu, &runtime((9, 0)), &cpu(has));
        assert_eq!(on_cpu(Precision::Auto, true), Ok(Kind::BFloat16));
        assert_eq!(on_cpu(Precision::Auto, false), Ok(Kind::Float));
        assert_eq!(on_cpu(Precision::Fp32, true), Ok(Kind::Float));
        assert_eq!(on_cpu(Precision::Bf16, true), Ok(Kind::BFloat16));
        assert_eq!(
            on_cpu(Precision::Bf16, false).unwrap_err().to_string(),
            "bf16 cannot be computed on this CPU: it has no units for bf16 (AVX-512 bf16 or AMX); \
             take fp32 or auto"
        );
        let on_gpu =
            |asked, capability| resolve(asked, Device::Cuda(0), &runtime(capability), &cpu(false));
        assert_eq!(on_gpu(Precision::Auto, (9, 0)), Ok(Kind::BFloat16));
        assert_eq!(on_gpu(Precision::Auto, (7, 5)), Ok(Kind::Float));
        assert!(on_gpu(Precision::Bf16, (7, 5)).is_err());
        assert!(on_gpu(Precision::Fp16, (9, 0)).is_err());
    }
}
