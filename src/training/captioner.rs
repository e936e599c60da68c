//! The captioner that a training learns: one of the published ones.

use std::path::Path;

use tch::Tensor;
use tch::nn::Path as Variables;

use super::TrainingError;
use super::attention::{AttentionLoss, TrainableShowAttendTell};
use super::network::{CaptionBatch, Features, Mode, TrainableShowTell};
use crate::captioner::model::CaptionerConfig;

/// See the [module](self).
pub enum TrainableCaptioner {
    ShowTell(TrainableShowTell),
    ShowAttendTell(Box<TrainableShowAttendTell>),
}

impl TrainableCaptioner {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(
        variables: &Variables,
        config: &CaptionerConfig,
        words: i64,
        dropout: f64,
        attention: AttentionLoss,
    ) -> Result<Self, tch::TchError> {
        Ok(match config {
            CaptionerConfig::ShowAndTell(config) => TrainableCaptioner::ShowTell(
                TrainableShowTell::new(variables, config, words, dropout)?,
            ),
            CaptionerConfig::ShowAttendTell(config) => {
                let model =
                    TrainableShowAttendTell::new(variables, config, words, dropout, attention)?;
                TrainableCaptioner::ShowAttendTell(Box::new(model))
            }
        })
    }

    /// What is to be made small: the mean negative log-probability of a token, in nats, and the
    /// terms that the architecture adds.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn loss(
        &mut self,
        features: &Features,
        captions: &CaptionBatch,
        mode: Mode,
    ) -> Result<Tensor, tch::TchError> {
        match self {
            TrainableCaptioner::ShowTell(model) => model.loss(&features.whole, captions, mode),
            TrainableCaptioner::ShowAttendTell(model) => {
                model.loss(&features.annotations()?, captions, mode)
            }
        }
    }

    /// Takes over the tensors of a `captioner.safetensors` of the same dimensions and vocabulary.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub fn start_from(&mut self, file: &Path) -> Result<(), TrainingError> {
        match self {
            TrainableCaptioner::ShowTell(model) => model.start_from(file),
            TrainableCaptioner::ShowAttendTell(model) => model.start_from(file),
        }
    }

    /// Writes `captioner.safetensors`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), TrainingError> {
        match self {
            TrainableCaptioner::ShowTell(model) => model.save(file),
            TrainableCaptioner::ShowAttendTell(model) => model.save(file),
        }
    }
}
