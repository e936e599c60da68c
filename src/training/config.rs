//! Reads a training recipe (`pipelines/*.toml`) and checks that it fits together.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TrainingError;
use super::attention::AttentionLoss;
use crate::captioner::Decoding;
use crate::captioner::model::CaptionerConfig;
use crate::encoder::EncoderConfig;
use crate::encoder::preprocess::Resize;
use crate::scenes::{self, Frame};

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
    pub encoder: EncoderConfig,
    pub captioner: CaptionerConfig,
    pub decoding: Decoding,
    pub training: OptimiserConfig,
}

/// Scenes, drawn while training runs: every epoch sees new ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Seed of the scenes that are learnt from: epoch `e` takes the scenes from `e * per_epoch` on,
    /// the same that `showtell scenes --seed` draws.
    pub seed: u64,
    pub per_epoch: u64,
    /// How many of a scene's five captions are learnt from at each sight of it.
    pub captions_per_scene: usize,
    /// Words that occur less often among the captions of the first 2,000 scenes are `<unk>`.
    pub word_threshold: usize,
    /// Share of the scenes in which the setting follows from the object; 0 ties nothing.
    #[serde(default)]
    pub bias: f64,
    /// Share of the scenes that are larger, smaller, wide or tall.
    pub other_sizes: f64,
    /// Share of the scenes that fade to white at their edges.
    #[serde(default)]
    pub faded: f64,
    pub validation_seed: u64,
    pub validation_count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserConfig {
    pub epochs: u64,
    /// Scenes in a batch.
    pub batch: usize,
    /// Adam's step size at its highest.
    pub learning_rate: f64,
    /// Steps over which the step size rises from zero; then it falls to zero as a cosine.
    pub warm_up: u64,
    /// Largest norm of the gradient.
    pub clip: f64,
    /// Share of the word embeddings and of the LSTM's outputs that is set to zero.
    pub dropout: f64,
    /// Weight of the binary cross-entropy, summed over the vocabulary, of telling from fc7 which
    /// words the captions agree on. Without it a network that starts from nothing learns the language
    /// and never looks at the picture.
    pub word_presence: f64,
    /// Weight of the cross-entropies of telling from fc7 kind and colour of the main object and of
    /// the second.
    #[serde(default)]
    pub roles: f64,
    /// Whether the encoder's convolutions stay as the model has them that is gone on from.
    #[serde(default)]
    pub freeze_convolutions: bool,
    /// Weight of the cross-entropy of telling from conv5_3 what is drawn where.
    pub grounding: f64,
    /// What the losses of attention weigh, for a captioner that has it.
    #[serde(default)]
    pub attention: AttentionLoss,
}

impl DataConfig {
    /// The data set that is learnt from.
    pub fn scenes(&self) -> scenes::Config {
        scenes::Config {
            count: self.per_epoch,
            seed: self.seed,
            first_index: 0,
            bias: self.bias,
            frame: Frame::DEFAULT,
            other_sizes: self.other_sizes,
            faded: self.faded,
        }
    }

    /// The data set that a model is judged by. Unbiased: what a model learnt from ties is judged
    /// where they are broken.
    pub fn validation(&self) -> scenes::Config {
        scenes::Config {
            count: self.validation_count,
            seed: self.validation_seed,
            bias: 0.0,
            ..self.scenes()
        }
    }
}

impl TrainingConfig {
    /// Reads and checks `file`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is no recipe, or asks for something impossible.
    pub fn read(file: &Path) -> Result<Self, TrainingError> {
        let invalid = |reason: String| TrainingError::Config {
            file: file.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(file).map_err(|error| invalid(error.to_string()))?;
        let config: TrainingConfig =
            toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        config.check().map_err(invalid)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        self.encoder.check()?;
        self.decoding.check()?;
        let (data, training) = (&self.data, &self.training);
        self.captioner.check(&self.encoder)?;
        if training.batch < 2 || data.per_epoch < training.batch as u64 {
            return Err("training.batch must be at least 2 and at most data.per_epoch".to_owned());
        }
        if !(1..=5).contains(&data.captions_per_scene) {
            return Err("data.captions_per_scene must be 1 to 5".to_owned());
        }
        if data.validation_count == 0 || training.epochs == 0 {
            return Err("data.validation_count and training.epochs must be at least 1".to_owned());
        }
        if data.seed == data.validation_seed {
            return Err("data.seed and data.validation_seed must differ".to_owned());
        }
        if !(0.0..1.0).contains(&training.dropout) {
            return Err("training.dropout is a share, below 1".to_owned());
        }
        for (name, share) in [
            ("bias", data.bias),
            ("other_sizes", data.other_sizes),
            ("faded", data.faded),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("data.{name} is a share from 0 to 1, not {share}"));
            }
        }
        if training.freeze_convolutions && self.start.is_none() {
            return Err(
                "training.freeze_convolutions needs start = \"DIR\", a model to take them from"
                    .to_owned(),
            );
        }
        let whole = matches!(self.encoder.preprocess.resize, Resize::Stretch { .. });
        if training.grounding > 0.0 && !whole {
            return Err(
                "training.grounding needs encoder.preprocess.resize.mode = \"stretch\": \
                 elsewhere a cell of conv5_3 is not the same part of every picture"
                    .to_owned(),
            );
        }
        let positive = [training.learning_rate, training.clip];
        if !positive
            .into_iter()
            .all(|value| value > 0.0 && value.is_finite())
        {
            return Err("training.learning_rate and training.clip must be above 0".to_owned());
        }
        Ok(())
    }
}
