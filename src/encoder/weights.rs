//! Reads weight files into tensors under torchvision's names, whoever wrote them.
//!
//! `.pth` files are pickles, which [`pth`] reads as data: nothing that a file names is run.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::{EncoderError, pth};

/// Tensors by name, f32 on the CPU.
pub type Weights = BTreeMap<String, Tensor>;

/// Reads all tensors of a `.safetensors` or `.pth` file. Which it is, its first bytes tell.
///
/// # Errors
///
/// When the file cannot be read or is neither.
pub fn read(file: &Path) -> Result<Weights, EncoderError> {
    let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| EncoderError::Unreadable {
        file: file.to_owned(),
        source,
    };
    let mut magic = [0; 9];
    let length = std::fs::File::open(file)
        .and_then(|mut opened| std::io::Read::read(&mut opened, &mut magic))
        .map_err(|error| unreadable(error.into()))?;
    // safetensors: eight bytes of header length, then JSON.
    let tensors: Weights = if length == magic.len() && magic[8] == b'{' {
        Tensor::read_safetensors(file)
            .map_err(|error| unreadable(error.into()))?
            .into_iter()
            .collect()
    } else if pth::is_pth(&magic[..length]) {
        pth::read(file).map_err(|error| unreadable(error.into()))?
    } else {
        return Err(unreadable(
            "it is neither a .safetensors file nor a .pth file".into(),
        ));
    };
    tensors
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.f_to_kind(Kind::Float)?)))
        .collect::<Result<_, tch::TchError>>()
        .map_err(|error| unreadable(error.into()))
}

/// Takes `name` out of `weights`, in the given shape.
///
/// # Errors
///
/// When it is missing, has another shape, or has values that are no finite numbers: not all that computes
/// with them lets those through to the features, where they would be noticed.
pub fn take(
    weights: &mut Weights,
    file: &Path,
    name: &str,
    expected: &[i64],
) -> Result<Tensor, EncoderError> {
    let tensor = weights
        .remove(name)
        .ok_or_else(|| EncoderError::MissingTensor {
            file: file.to_owned(),
            name: name.to_owned(),
            others: others(weights, name),
        })?;
    if tensor.size() != expected {
        return Err(EncoderError::WrongShape {
            file: file.to_owned(),
            name: name.to_owned(),
            expected: expected.to_vec(),
            found: tensor.size(),
        });
    }
    if !is_finite(&tensor)? {
        return Err(EncoderError::NotFinite {
            file: file.to_owned(),
            name: name.to_owned(),
        });
    }
    Ok(tensor.f_contiguous()?)
}

/// Some of the names that were not taken, for who wonders what a file is that lacks `missing`: those of the
/// same part of a network, if there are any.
fn others(weights: &Weights, missing: &str) -> String {
    const SHOWN: usize = 4;
    let part = missing.split('.').next().unwrap_or_default();
    let of_part = |name: &&String| name.split('.').next() == Some(part);
    let mut names: Vec<&String> = weights.keys().filter(of_part).collect();
    if names.is_empty() {
        names = weights.keys().collect();
    }
    let first = names.iter().take(SHOWN).map(|name| pth::shown(name));
    let first = first.collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "no others".to_owned(),
        count if count <= SHOWN => first,
        count => format!("{first} and {} more", count - SHOWN),
    }
}

fn is_finite(tensor: &Tensor) -> Result<bool, tch::TchError> {
    if tensor.numel() == 0 {
        return Ok(true);
    }
    // What is no number makes both so.
    let (least, most) = tensor.f_aminmax(None::<i64>, false)?;
    Ok(least.f_double_value(&[])?.is_finite() && most.f_double_value(&[])?.is_finite())
}

/// BLAKE3 over names, shapes and f32 values in the given order, so that the same weights have the
/// same digest in whichever file format they came.
///
/// # Errors
///
/// When a tensor cannot be copied from its device.
pub fn digest<'a>(
    hasher: &mut blake3::Hasher,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<(), tch::TchError> {
    for (name, tensor) in tensors {
        hasher.update(name.as_bytes());
        hasher.update(b"\0");
        for side in tensor.size() {
            hasher.update(&side.to_le_bytes());
        }
        let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
        let mut bytes = vec![0; tensor.numel() * 4];
        tensor
            .f_contiguous()?
            .f_copy_data_u8(&mut bytes, tensor.numel())?;
        hasher.update_rayon(&bytes);
    }
    Ok(())
}

/// The first 16 hex digits of a digest: enough to tell encoders and captioners apart.
pub fn short(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..16].to_owned()
}

/// libtorch appends a C++ backtrace to its messages.
pub fn first_line(error: &tch::TchError) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
