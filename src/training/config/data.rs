//! The `[data]` table of a recipe: scenes that are drawn, or a data set of captioned images.

use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::yes;
use crate::scenes::{self, Frame};
use crate::training::vocabulary::{Cut, PRESETS, Preset, Words};

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
    /// The output directory of `showtell embed` or `annotate`, which is only read. `encoder.weights`, if
    /// they are given, tell which encoder's features are meant.
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
