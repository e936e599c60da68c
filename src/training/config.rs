//! Reads a training recipe (`pipelines/*.toml`) and checks that it fits together.
//!
//! What the tables and keys mean to their users stands in `docs/training.md`.

use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::TrainingError;
use super::attention::AttentionLoss;
use super::optimiser::Method;
use super::schedule::{OwnWords, Schedule};
use super::vocabulary::{Cut, PRESETS, Preset, Words};
use crate::captioner::Decoding;
use crate::captioner::model::CaptionerConfig;
use crate::dataset::{Format, Split};
use crate::encoder::device::Precision;
use crate::encoder::preprocess::Resize;
use crate::encoder::{EncoderConfig, Layer};
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
    /// Of captioned photographs, `weights` names the file that the encoder starts from.
    pub encoder: EncoderConfig,
    pub captioner: CaptionerConfig,
    pub decoding: Decoding,
    pub training: LearningConfig,
}

/// What is learnt from. A table that does not say which `kind` it is is one of scenes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum DataConfig {
    Scenes(ScenesData),
    Captions(Box<CaptionsData>),
}

impl<'de> Deserialize<'de> for DataConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        let kind = table.remove("kind");
        let table = toml::Value::Table(table);
        match kind.as_ref().map_or(Some("scenes"), toml::Value::as_str) {
            Some("scenes") => table.try_into().map(DataConfig::Scenes),
            Some("captions") => table
                .try_into()
                .map(|data| DataConfig::Captions(Box::new(data))),
            _ => return Err(D::Error::custom("data.kind must be scenes or captions")),
        }
        .map_err(|error: toml::de::Error| D::Error::custom(format!("data: {}", error.message())))
    }
}

/// Scenes, drawn while training runs: every epoch sees new ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenesData {
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

/// A data set of captioned images, in any form that [`crate::dataset`] reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptionsData {
    /// The file of captions, or the folder of the data set.
    pub path: PathBuf,
    /// Found out if it is not given.
    #[serde(default)]
    pub format: Option<String>,
    /// Files that list the images of a split, as `FILE` or `SPLIT=FILE`.
    #[serde(default)]
    pub splits: Vec<PathBuf>,
    /// The folder of the images; that beside the captions if it is not given.
    #[serde(default)]
    pub images: Option<PathBuf>,
    /// Whether Karpathy's `restval` is learnt from, too.
    #[serde(default = "yes")]
    pub restval: bool,
    #[serde(default)]
    pub features: FeaturesConfig,
    pub vocabulary: VocabularyConfig,
    /// How many of an image's captions are learnt from at each sight of it, all of which stand in one
    /// batch. Without it each caption is met once in an epoch, on its own.
    #[serde(default)]
    pub captions_per_image: Option<usize>,
    /// Words of a caption beyond this many are cut off.
    #[serde(default)]
    pub most_words: Option<usize>,
    /// Whether the captions of a batch are about equally long.
    #[serde(default)]
    pub like_length: bool,
    #[serde(default)]
    pub validation: ValidationConfig,
}

/// Where features come from. Without any of this they are computed once, from the images, by
/// `encoder.weights`, and kept beside the checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeaturesConfig {
    /// A `.npy` matrix with a row for each image or for each caption.
    #[serde(default)]
    pub matrix: Option<PathBuf>,
    /// The output directory of `showtell embed` or `annotate`. What is missing there is computed and
    /// added if there are `encoder.weights`.
    #[serde(default)]
    pub cache: Option<PathBuf>,
}

/// Which words are learnt: a publication's preset, or how captions are split and what is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocabularyConfig {
    #[serde(default)]
    pub preset: Option<String>,
    #[serde(default)]
    pub words: Option<Words>,
    #[serde(default)]
    pub at_least: Option<usize>,
    #[serde(default)]
    pub commonest: Option<usize>,
}

impl VocabularyConfig {
    /// How captions are split, and which words are kept.
    ///
    /// # Errors
    ///
    /// When the table names an unknown preset, or too much or too little.
    pub fn resolve(&self) -> Result<(Words, Cut), String> {
        let preset = match &self.preset {
            Some(name) => Some(Preset::named(name).ok_or_else(|| {
                let known = PRESETS.map(|preset| preset.name).join(", ");
                format!("data.vocabulary.preset is {name:?}, expected one of {known}")
            })?),
            None => None,
        };
        let cut = match (self.at_least, self.commonest) {
            (Some(_), Some(_)) => {
                return Err("data.vocabulary takes at_least or commonest, not both".to_owned());
            }
            (Some(times), None) => Some(Cut::AtLeast(times)),
            (None, Some(words)) => Some(Cut::Commonest(words)),
            (None, None) => None,
        };
        let words = self.words.or(preset.map(|preset| preset.words));
        match (words, cut.or(preset.map(|preset| preset.cut))) {
            (Some(words), Some(cut)) => Ok((words, cut)),
            _ => Err(
                "data.vocabulary needs a preset, or words (spaces, alphanumeric, penn-treebank) and \
                 at_least or commonest"
                    .to_owned(),
            ),
        }
    }
}

/// Which images a model is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// `train` judges a model by what it learns from, which tells how well it has learnt it by heart.
    pub split: String,
    /// So many of them, the first; all if it is not given.
    pub images: Option<usize>,
    /// Of a data set without splits: how many images are kept from learning, to judge by.
    pub hold_out: Option<usize>,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        ValidationConfig {
            split: "val".to_owned(),
            images: None,
            hold_out: None,
        }
    }
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

impl ScenesData {
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

    /// Where a training keeps what is not part of its model: `OUTPUT.training`.
    pub fn folder(&self) -> PathBuf {
        super::saving::folder(&self.output)
    }

    fn check(&self) -> Result<(), String> {
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
        let Some(tuning) = &training.encoder else {
            return Ok(());
        };
        let Some(from) = super::tuning::place(&tuning.from) else {
            return Err(format!(
                "training.encoder.from is {:?}, expected conv1_1 to conv5_3, fc6 or fc7",
                tuning.from
            ));
        };
        if self.encoder.layer == Layer::Conv5_3 && from >= super::tuning::CONVOLUTIONS {
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
