//! Writes down all that a training is, and takes it up again.
//!
//! One file, `checkpoint.safetensors`: weights and statistics (`variables/...`), what the optimiser
//! remembers (`optimiser/...`), and a JSON text as a tensor of bytes (`progress`). It is written beside
//! its place, synced and renamed, so a kill at any moment leaves the old one or the new one. What
//! follows from the step alone is not in it: batches, step sizes, and the seed of dropout.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::TrainingError;
use super::optimiser::Optimiser;
use super::saving::write_tensors;
use crate::table::{FileError, put_in_place, temporary_path};

/// The file's name in the folder of a training.
pub const FILE: &str = "checkpoint.safetensors";

const VARIABLES: &str = "variables/";
const OPTIMISER: &str = "optimiser/";
const PROGRESS: &str = "progress";

/// How far a training is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Digest of recipe, words and data.
    pub recipe: String,
    /// Digest of the matrix that features are read from, where there is one.
    #[serde(default)]
    pub features: Option<String>,
    /// Steps done.
    pub step: u64,
    /// Sum of the losses of the steps of the epoch under way.
    #[serde(with = "exact")]
    pub epoch_loss: f64,
    pub best: Option<Best>,
    /// Judgements since the best.
    pub stale: u64,
    /// Whether it ended before its last step, as it became no better.
    pub ended: bool,
    #[serde(with = "maybe_exact")]
    pub baseline: Option<f64>,
    /// Time spent, in seconds.
    pub seconds: u64,
}

/// The judgement that the saved model was saved for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// From 1.
    pub epoch: u64,
    #[serde(with = "exact")]
    pub rank: f64,
}

/// Writes a checkpoint.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write(
    file: &Path,
    progress: &Progress,
    variables: &VarStore,
    optimiser: &Optimiser,
) -> Result<(), TrainingError> {
    let _no_gradients = tch::no_grad_guard();
    let text = serde_json::to_vec(progress).map_err(|error| TrainingError::Checkpoint {
        file: file.to_owned(),
        reason: error.to_string(),
    })?;
    let mut tensors = vec![(PROGRESS.to_owned(), Tensor::f_from_slice(&text)?)];
    let plain = |tensor: &Tensor| tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous();
    for (name, tensor) in variables.variables() {
        tensors.push((format!("{VARIABLES}{name}"), plain(&tensor)?));
    }
    for (name, tensor) in optimiser.state()? {
        tensors.push((format!("{OPTIMISER}{name}"), plain(&tensor)?));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let temporary = temporary_path(file);
    let sync = || File::open(&temporary).and_then(|written| written.sync_all());
    write_tensors(&tensors, &temporary)
        .and_then(|()| Ok(sync().map_err(FileError::on("write", &temporary))?))
        .inspect_err(|_| {
            // Half a checkpoint on a full disk is of no use, and the room is.
            let _ = std::fs::remove_file(&temporary);
        })?;
    Ok(put_in_place(&temporary, file)?)
}

/// A checkpoint that was read.
pub struct Checkpoint {
    pub progress: Progress,
    tensors: BTreeMap<String, Tensor>,
}

/// Reads a checkpoint, if there is one.
///
/// # Errors
///
/// When there is one that cannot be read.
pub fn read(file: &Path) -> Result<Option<Checkpoint>, TrainingError> {
    if !file.exists() {
        return Ok(None);
    }
    let broken = |reason: String| TrainingError::Checkpoint {
        file: file.to_owned(),
        reason,
    };
    let tensors = Tensor::read_safetensors(file).map_err(|error| broken(error.to_string()))?;
    let mut tensors: BTreeMap<_, _> = tensors.into_iter().collect();
    let progress = tensors
        .remove(PROGRESS)
        .filter(|tensor| tensor.kind() == Kind::Uint8)
        .ok_or_else(|| broken("it does not tell how far the training was".to_owned()))?;
    let mut text = vec![0; progress.numel()];
    progress.f_copy_data_u8(&mut text, progress.numel())?;
    let progress = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    Ok(Some(Checkpoint { progress, tensors }))
}

impl Checkpoint {
    /// Puts weights, statistics and the optimiser's memory back.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub fn restore(
        mut self,
        file: &Path,
        variables: &VarStore,
        optimiser: &mut Optimiser,
    ) -> Result<Progress, TrainingError> {
        let _no_gradients = tch::no_grad_guard();
        let missing = |name: &str| TrainingError::Checkpoint {
            file: file.to_owned(),
            reason: format!("{name} is missing in it or has another shape"),
        };
        for (name, mut variable) in variables.variables() {
            match self.tensors.remove(&format!("{VARIABLES}{name}")) {
                Some(tensor) if tensor.size() == variable.size() => variable.f_copy_(&tensor)?,
                _ => return Err(missing(&name)),
            }
        }
        let state = self.tensors.into_iter().filter_map(|(name, tensor)| {
            let name = name.strip_prefix(OPTIMISER)?.to_owned();
            Some((name, tensor))
        });
        match optimiser.restore(&state.collect())? {
            true => Ok(self.progress),
            false => Err(missing("what the optimiser remembers")),
        }
    }
}

/// BLAKE3 of all variables by name, the first 16 hex digits: two trainings that end with the same
/// weights have the same.
///
/// # Errors
///
/// When the device fails.
pub fn digest(variables: &VarStore) -> Result<String, tch::TchError> {
    let named: BTreeMap<_, _> = variables.variables().into_iter().collect();
    let mut hasher = blake3::Hasher::new();
    let named = named.iter().map(|(name, tensor)| (name.as_str(), tensor));
    crate::encoder::weights::digest(&mut hasher, named)?;
    Ok(crate::encoder::weights::short(&hasher))
}

/// Numbers as their bits: JSON's digits need not give back the last one.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

mod maybe_exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(f64::to_bits).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(f64::from_bits))
    }
}
