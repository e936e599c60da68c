//! Whether what a recipe asks for fits together.

use super::{CaptionsData, DataConfig, LearningConfig, ScenesData, TrainingConfig, TuningConfig};
use crate::dataset::{Format, Split};
use crate::encoder::Layer;
use crate::encoder::preprocess::Resize;
use crate::training::schedule::OwnWords;
use crate::training::tuning::{CONVOLUTIONS, place};

impl TrainingConfig {
    /// # Errors
    ///
    /// A sentence that names the key.
    pub(super) fn check(&self) -> Result<(), String> {
        self.encoder.check()?;
        self.decoding.check()?;
        self.captioner.check(&self.encoder)?;
        self.training.check()?;
        match &self.data {
            DataConfig::Scenes(data) => self.check_scenes(data),
            DataConfig::Captions(data) => self.check_captions(data),
        }
    }

    fn check_scenes(&self, data: &ScenesData) -> Result<(), String> {
        let training = &self.training;
        if training.batch < 2 || data.per_epoch < training.batch as u64 {
            return Err("training.batch must be at least 2 and at most data.per_epoch".to_owned());
        }
        if !(1..=5).contains(&data.captions_per_scene) {
            return Err("data.captions_per_scene must be 1 to 5".to_owned());
        }
        if data.validation_count == 0 {
            return Err("data.validation_count must be at least 1".to_owned());
        }
        if data.seed == data.validation_seed {
            return Err("data.seed and data.validation_seed must differ".to_owned());
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
        if training.encoder.is_some() {
            return Err(
                "training.encoder is for photographs; from scenes the whole encoder learns, or all \
                 but its convolutions with training.freeze_convolutions"
                    .to_owned(),
            );
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
        Ok(())
    }

    fn check_captions(&self, data: &CaptionsData) -> Result<(), String> {
        let training = &self.training;
        data.vocabulary.resolve()?;
        if let Some(format) = &data.format {
            format
                .parse::<Format>()
                .map_err(|error| format!("data.format is {format:?}: {error}"))?;
        }
        if Split::named(&data.validation.split).is_none() {
            let split = &data.validation.split;
            return Err(format!(
                "data.validation.split is {split:?}, expected train, val, test or restval"
            ));
        }
        let none_of = [
            data.captions_per_image,
            data.most_words,
            data.validation.images,
            data.validation.hold_out,
        ];
        if none_of.contains(&Some(0)) {
            return Err(
                "data.captions_per_image, data.most_words, data.validation.images and hold_out must be \
                 at least 1 where they are given"
                    .to_owned(),
            );
        }
        if training.batch == 0 {
            return Err("training.batch must be at least 1".to_owned());
        }
        if data.features.matrix.is_some() && data.features.cache.is_some() {
            return Err("data.features takes a matrix or a cache, not both".to_owned());
        }
        let of_scenes = [training.word_presence, training.roles, training.grounding];
        if of_scenes.iter().any(|weight| *weight != 0.0) || training.freeze_convolutions {
            return Err(
                "training.word_presence, roles, grounding and freeze_convolutions are for scenes"
                    .to_owned(),
            );
        }
        match &training.encoder {
            Some(tuning) => self.check_tuning(tuning),
            None => Ok(()),
        }
    }

    fn check_tuning(&self, tuning: &TuningConfig) -> Result<(), String> {
        let Some(from) = place(&tuning.from) else {
            return Err(format!(
                "training.encoder.from is {:?}, expected conv1_1 to conv5_3, fc6 or fc7",
                tuning.from
            ));
        };
        if self.encoder.layer == Layer::Conv5_3 && from >= CONVOLUTIONS {
            return Err(format!(
                "training.encoder.from is {}, but encoder.layer is conv5_3, which comes before it",
                tuning.from
            ));
        }
        if !(tuning.learning_rate > 0.0 && tuning.learning_rate.is_finite()) {
            return Err("training.encoder.learning_rate must be above 0".to_owned());
        }
        if tuning.start_epoch == 0 || !(0.0..1.0).contains(&tuning.dropout) {
            return Err(
                "training.encoder.start_epoch counts from 1, and its dropout is a share, below 1"
                    .to_owned(),
            );
        }
        if self.encoder.weights.is_none() && self.start.is_none() {
            return Err(
                "training.encoder needs weights to start from: encoder.weights = \"FILE\""
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl LearningConfig {
    fn check(&self) -> Result<(), String> {
        if self.epochs == 0 || self.judge_every == 0 || self.checkpoint_every == 0 {
            return Err(
                "training.epochs, judge_every and checkpoint_every must be at least 1".to_owned(),
            );
        }
        for (name, share) in [
            ("dropout", self.dropout),
            ("label_smoothing", self.label_smoothing),
        ] {
            if !(0.0..1.0).contains(&share) {
                return Err(format!("training.{name} is a share, below 1"));
            }
        }
        let positive = [Some(self.learning_rate), self.clip, self.clip_value];
        let is_positive = |value: f64| value > 0.0 && value.is_finite();
        if !positive.into_iter().flatten().all(is_positive) {
            return Err(
                "training.learning_rate, clip and clip_value must be above 0 where they are given"
                    .to_owned(),
            );
        }
        if self.patience == Some(0) {
            return Err("training.patience must be at least 1".to_owned());
        }
        self.optimiser.check()?;
        self.schedule.check()?;
        self.scheduled_sampling
            .as_ref()
            .map_or(Ok(()), OwnWords::check)
    }
}
