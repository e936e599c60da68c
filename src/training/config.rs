//! Reads a training recipe (`pipelines/*.toml`) and checks that it fits together.
//!
//! What the tables and keys mean to their users stands in `docs/training.md`.

mod check;
mod data;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::data::{
    CaptionsData, DataConfig, FeaturesConfig, ScenesData, ValidationConfig, VocabularyConfig,
};

use super::TrainingError;
use super::attention::AttentionLoss;
use super::optimiser::Method;
use super::schedule::{OwnWords, Schedule};
use crate::captioner::Decoding;
use crate::captioner::model::CaptionerConfig;
use crate::encoder::EncoderConfig;
use crate::encoder::device::Precision;

/// A recipe: data, network, optimiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Name of the model.
    pub name: String,
    /// What the model is good for, in a sentence.
    pub purpose: Option<String>,
    /// Model directory that the best epoch is saved to.
    pub output: PathBuf,
    /// Model directory whose weights and words to go on from, instead of from nothing.
    #[serde(default)]
    pub start: Option<PathBuf>,
    /// Decides weights, order and dropout.
    pub seed: i64,
    pub data: DataConfig,
    /// Of captioned photographs, `weights` names the file that the encoder starts from.
    pub encoder: EncoderConfig,
    pub captioner: CaptionerConfig,
    pub decoding: Decoding,
    pub training: LearningConfig,
}

/// The `[training]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningConfig {
    pub epochs: u64,
    /// Scenes in a batch; of a data set, captions, or images if there are `captions_per_image`.
    pub batch: usize,
    /// The step size at its highest.
    pub learning_rate: f64,
    #[serde(default)]
    pub optimiser: Method,
    #[serde(default)]
    pub schedule: Schedule,
    /// Steps over which the step size rises from zero.
    #[serde(default)]
    pub warm_up: u64,
    /// Largest norm of the gradient.
    #[serde(default)]
    pub clip: Option<f64>,
    /// Largest absolute value of each entry of the gradient; applied before `clip`.
    #[serde(default)]
    pub clip_value: Option<f64>,
    /// Share of the word embeddings and of the LSTM's outputs that is set to zero.
    #[serde(default)]
    pub dropout: f64,
    /// Share of each target's probability that all words have in equal parts (arXiv 1512.00567,
    /// section 7).
    #[serde(default)]
    pub label_smoothing: f64,
    /// Scheduled sampling: how often a word is fed that the model itself said.
    #[serde(default)]
    pub scheduled_sampling: Option<OwnWords>,
    /// What products and convolutions are computed in.
    #[serde(default, with = "super::precision")]
    pub precision: Precision,
    /// Whether the output layer starts from the frequencies of the words.
    #[serde(default)]
    pub output_bias: bool,
    /// Epochs between judgements; the last epoch is always judged.
    #[serde(default = "one")]
    pub judge_every: u64,
    /// Judgements without a better one after which a training ends.
    #[serde(default)]
    pub patience: Option<u64>,
    /// Steps between checkpoints; one is written after each epoch, too.
    #[serde(default = "thousand")]
    pub checkpoint_every: u64,
    /// What of the encoder goes on learning, from photographs.
    #[serde(default)]
    pub encoder: Option<TuningConfig>,
    /// Weight of the binary cross-entropy, summed over the vocabulary, of telling from fc7 which
    /// words the captions agree on. Without it a network that starts from nothing learns the language
    /// and never looks at the picture.
    #[serde(default)]
    pub word_presence: f64,
    /// Weight of the cross-entropies of telling from fc7 kind and colour of the main object and of
    /// the second.
    #[serde(default)]
    pub roles: f64,
    /// Whether the encoder's convolutions stay as the model has them that is gone on from.
    #[serde(default)]
    pub freeze_convolutions: bool,
    /// Weight of the cross-entropy of telling from conv5_3 what is drawn where.
    #[serde(default)]
    pub grounding: f64,
    /// What the losses of attention weigh, for a captioner that has it.
    #[serde(default)]
    pub attention: AttentionLoss,
}

/// Fine-tuning: the layers of the encoder from `from` up go on learning, the others stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningConfig {
    /// `conv1_1` to `conv5_3`, `fc6` or `fc7`.
    pub from: String,
    /// The step size of these layers at its highest; it follows the schedule.
    pub learning_rate: f64,
    /// The epoch, from 1, at whose start it begins. Before it the encoder is frozen and features are
    /// computed once.
    #[serde(default = "one")]
    pub start_epoch: u64,
    /// Share of fc6's and fc7's outputs that is set to zero.
    #[serde(default)]
    pub dropout: f64,
    /// Whether pictures are cut out at random places.
    #[serde(default = "yes")]
    pub crops: bool,
    /// Whether every other picture is mirrored.
    #[serde(default = "yes")]
    pub flips: bool,
    /// Whether brightness, contrast, saturation and hue are varied.
    #[serde(default = "yes")]
    pub colours: bool,
}

fn yes() -> bool {
    true
}

fn one() -> u64 {
    1
}

fn thousand() -> u64 {
    1000
}

impl TrainingConfig {
    /// Reads and checks `file`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is no recipe, or asks for something impossible.
    pub fn read(file: &Path) -> Result<Self, TrainingError> {
        Self::read_with(file, |_| ())
    }

    /// Reads `file` and checks it after `change`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is no recipe, or asks for something impossible.
    pub fn read_with(
        file: &Path,
        change: impl FnOnce(&mut TrainingConfig),
    ) -> Result<Self, TrainingError> {
        let invalid = |reason: String| TrainingError::Config {
            file: file.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(file).map_err(|error| invalid(error.to_string()))?;
        let mut config: TrainingConfig =
            toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        change(&mut config);
        config.check().map_err(invalid)?;
        Ok(config)
    }
}
