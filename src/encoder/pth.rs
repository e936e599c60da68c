//! Reads the state dicts that `torch.save` writes, as data: nothing that a file names is run.
//!
//! There are two formats. Since PyTorch 1.6 a file is a zip archive with the pickled dict in
//! `<name>/data.pkl` and each storage in `<name>/data/<key>`. Older files, torchvision's among
//! them, are pickles one after another: a magic number, a protocol number, facts on the machine,
//! the dict and the list of storage keys; then come the storages in the list's order, each an i64
//! count and its elements. All numbers are little-endian.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use tch::{Kind, Tensor};
use zip::ZipArchive;

use super::weights::{Weights, first_line};

mod input;
mod pickle;

use input::Input;
pub(super) use pickle::shown;
use pickle::{Pickle, Strided, Value};

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL: i128 = 1001;

/// A tensor may share another's storage. So many times the file's size may all of them take, in
/// elements per byte, before that is an attack on the memory.
const MAX_SHARING: u64 = 4;

/// Why a file is not a state dict. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum PthError {
    #[error("it ends too early")]
    Truncated,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("its zip archive cannot be read: {0}")]
    Zip(#[from] zip::result::ZipError),
    #[error("its pickle has an instruction 0x{0:02x}, which state dicts do without")]
    Instruction(u8),
    #[error("{0}")]
    Malformed(&'static str),
    #[error("it holds {0}, not a dict of tensors (save model.state_dict() instead)")]
    NoStateDict(String),
    #[error("tensor {name}: {what}")]
    Tensor { name: String, what: &'static str },
    #[error("storage {key}: {what}")]
    Storage { key: String, what: &'static str },
    #[error("{}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

/// Whether a file that begins with `start` is to be read by [`read`].
pub fn is_pth(start: &[u8]) -> bool {
    start.starts_with(b"PK") || matches!(start, [0x80, 2..=5, ..])
}

/// Reads the tensors of a state dict, each of the kind that it was saved as (bool as u8).
///
/// # Errors
///
/// When the file cannot be read or is not a state dict.
pub fn read(file: &Path) -> Result<Weights, PthError> {
    let mut start = [0; 2];
    File::open(file)?
        .read_exact(&mut start)
        .map_err(|_| PthError::Truncated)?;
    let opened = File::open(file)?;
    let length = opened.metadata()?.len();
    let opened = BufReader::new(opened);
    if start == *b"PK" {
        read_zip(opened, length)
    } else {
        read_legacy(opened, length)
    }
}

fn read_zip(opened: BufReader<File>, length: u64) -> Result<Weights, PthError> {
    let mut archive = ZipArchive::new(opened)?;
    let folder = archive
        .file_names()
        .filter_map(|name| name.split_once('/'))
        .find_map(|(folder, name)| (name == "data.pkl").then(|| folder.to_owned()))
        .ok_or(PthError::Malformed("it is a zip archive without data.pkl"))?;
    let byteorder = format!("{folder}/byteorder");
    if archive.file_names().any(|name| name == byteorder)
        && entry(&mut archive, &byteorder, length)? != b"little"
    {
        return Err(PthError::Malformed("its numbers are not little-endian"));
    }
    let pickled = entry(&mut archive, &format!("{folder}/data.pkl"), length)?;
    let pickle = Pickle::read(&mut Input::new(&pickled[..], pickled.len() as u64))?;
    let tensors = state_dict(&pickle, length)?;
    let mut storages = BTreeMap::new();
    for key in needed(&tensors) {
        let bytes = entry(&mut archive, &format!("{folder}/data/{key}"), length)?;
        storages.insert(key.to_owned(), storage(&pickle, key, &bytes)?);
    }
    build(tensors, &storages)
}

/// The bytes of an entry, which in these archives is never compressed.
fn entry(
    archive: &mut ZipArchive<BufReader<File>>,
    name: &str,
    length: u64,
) -> Result<Vec<u8>, PthError> {
    let mut entry = archive.by_name(name)?;
    if entry.compression() != zip::CompressionMethod::Stored {
        return Err(PthError::Malformed("its zip archive is compressed"));
    }
    let size = entry.size();
    let bytes = Input::new(&mut entry, length).bytes(size)?;
    // At the end of an entry its checksum is compared.
    io::copy(&mut entry, &mut io::sink())?;
    Ok(bytes)
}

fn read_legacy(opened: BufReader<File>, length: u64) -> Result<Weights, PthError> {
    let mut input = Input::new(opened, length);
    let mut number = || -> Result<Option<i128>, PthError> {
        let pickle = Pickle::read(&mut input)?;
        Ok(match pickle.root() {
            Value::Int(number) => Some(*number),
            _ => None,
        })
    };
    if number()? != Some(MAGIC) || number()? != Some(PROTOCOL) {
        return Err(PthError::Malformed(
            "it is a pickle, but none that torch.save wrote",
        ));
    }
    Pickle::read(&mut input)?; // on the machine: the storages are little-endian on all
    let pickle = Pickle::read(&mut input)?;
    let tensors = state_dict(&pickle, length)?;
    let keys = Pickle::read(&mut input)?;
    let Value::List(ids) = keys.root() else {
        return Err(PthError::Malformed("it has no list of storages"));
    };
    let needed = needed(&tensors);
    let mut storages = BTreeMap::new();
    for id in ids {
        let Value::Text(key) = keys.get(*id) else {
            return Err(PthError::Malformed("its list of storages is not of names"));
        };
        let wrong = |what| PthError::Storage {
            key: pickle::shown(key),
            what,
        };
        let (kind, count) = *pickle
            .storages
            .get(key)
            .ok_or_else(|| wrong("nothing says what it holds"))?;
        if u64::from_le_bytes(input.array()?) != count {
            return Err(wrong("it has another size than the tensors say"));
        }
        let size = count
            .checked_mul(kind.elt_size_in_bytes() as u64)
            .ok_or_else(|| wrong("it is too large"))?;
        if needed.contains(key.as_str()) {
            let bytes = input.bytes(size)?;
            storages.insert(key.clone(), storage(&pickle, key, &bytes)?);
        } else {
            input.skip(size)?;
        }
    }
    build(tensors, &storages)
}

/// The tensors of the dict that a file holds, or of the one under `state_dict` in it, checked
/// against their storages.
fn state_dict(pickle: &Pickle, length: u64) -> Result<BTreeMap<String, &Strided>, PthError> {
    let inner = pickle
        .entries(pickle.root())
        .find(|(name, value)| *name == "state_dict" && matches!(value, Value::Dict(_)))
        .map_or(pickle.root(), |(_, value)| value);
    let tensors: BTreeMap<_, _> = pickle
        .entries(inner)
        .filter_map(|(name, value)| match value {
            Value::Tensor(tensor) => Some((name.to_owned(), tensor)),
            _ => None,
        })
        .collect();
    if tensors.is_empty() {
        return Err(PthError::NoStateDict(inner.what()));
    }
    let mut elements = 0_u64;
    for (name, tensor) in &tensors {
        let wrong = |what| PthError::Tensor {
            name: pickle::shown(name),
            what,
        };
        elements = elements.saturating_add(extent(tensor).map_err(wrong)?);
        if elements > length.saturating_mul(MAX_SHARING) {
            return Err(wrong("the tensors up to it share too little data"));
        }
    }
    let stored = needed(&tensors).into_iter().try_fold(0_u64, |sum, key| {
        let (kind, count) = pickle.storages.get(key)?;
        sum.checked_add(count.checked_mul(kind.elt_size_in_bytes() as u64)?)
    });
    if stored.is_none_or(|stored| stored > length) {
        return Err(PthError::Truncated);
    }
    Ok(tensors)
}

/// How many elements a tensor has, once it is sure that all of them lie inside its storage.
fn extent(tensor: &Strided) -> Result<u64, &'static str> {
    if tensor.size.len() != tensor.stride.len() {
        return Err("its sizes and strides do not fit together");
    }
    let outside = "it reaches beyond its storage";
    let (mut elements, mut last, mut empty) = (1_u64, tensor.offset, false);
    for (&side, &stride) in tensor.size.iter().zip(&tensor.stride) {
        let (Ok(side), Ok(stride)) = (u64::try_from(side), u64::try_from(stride)) else {
            return Err("it has a negative size or stride");
        };
        empty |= side == 0;
        elements = elements.checked_mul(side.max(1)).ok_or(outside)?;
        last = side
            .saturating_sub(1)
            .checked_mul(stride)
            .and_then(|step| last.checked_add(step))
            .ok_or(outside)?;
    }
    if empty && tensor.offset <= tensor.count && i64::try_from(elements).is_ok() {
        return Ok(0);
    }
    if last >= tensor.count || elements > tensor.count {
        return Err(outside);
    }
    Ok(elements)
}

fn needed<'a>(tensors: &BTreeMap<String, &'a Strided>) -> BTreeSet<&'a str> {
    tensors.values().map(|tensor| tensor.key.as_str()).collect()
}

/// A storage's elements as a tensor of one dimension.
fn storage(pickle: &Pickle, key: &str, bytes: &[u8]) -> Result<Tensor, PthError> {
    let wrong = || PthError::Storage {
        key: pickle::shown(key),
        what: "it has another size than the tensors say",
    };
    let (kind, count) = *pickle.storages.get(key).ok_or_else(wrong)?;
    let size = count.checked_mul(kind.elt_size_in_bytes() as u64);
    if size != Some(bytes.len() as u64) {
        return Err(wrong());
    }
    let count = i64::try_from(count).map_err(|_| wrong())?;
    Ok(Tensor::f_from_data_size(bytes, &[count], kind)?)
}

fn build(
    tensors: BTreeMap<String, &Strided>,
    storages: &BTreeMap<String, Tensor>,
) -> Result<Weights, PthError> {
    let mut built = Weights::new();
    for (name, tensor) in tensors {
        let storage = storages.get(&tensor.key).ok_or_else(|| PthError::Tensor {
            name: pickle::shown(&name),
            what: "its storage is missing",
        })?;
        let offset = i64::try_from(tensor.first.saturating_add(tensor.offset))
            .map_err(|_| PthError::Truncated)?;
        let strided = storage.f_as_strided(&tensor.size[..], &tensor.stride[..], offset)?;
        built.insert(name, strided.f_contiguous()?);
    }
    Ok(built)
}

/// The kind of a storage class in `torch`. What is not 0 or 1 in a bool is no business of C++.
fn kind_of(class: &str) -> Option<Kind> {
    Some(match class {
        "FloatStorage" => Kind::Float,
        "HalfStorage" => Kind::Half,
        "BFloat16Storage" => Kind::BFloat16,
        "DoubleStorage" => Kind::Double,
        "LongStorage" => Kind::Int64,
        "IntStorage" => Kind::Int,
        "ShortStorage" => Kind::Int16,
        "CharStorage" => Kind::Int8,
        "ByteStorage" | "BoolStorage" => Kind::Uint8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
