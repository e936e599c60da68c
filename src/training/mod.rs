//! Learns a captioner, and an encoder with it, from captioned pictures, and saves them as a model
//! directory.
//!
//! [`config`] says what to learn from and how. A [`subject`] gives batches and judges models: scenes that
//! are [`drawn`], or [`captioned`] photographs of a data set, with features that are [`held`] or an encoder
//! that goes on [`tuning`]. [`captioner`] and [`network`] hold what is learnt; the [`trainer`] learns it
//! with an [`optimiser`] and a [`schedule`], in some [`precision`], and writes a [`checkpoint`] to go on
//! from. A saved model is read back and judged by the very code that annotates archives.
//!
//! [`presence`], [`roles`] and [`grounding`] are losses for scenes, the last two made of [`question`]s.
//! [`vocabulary`] takes the words of a data set as the papers did, and [`inspection`] tells what is in one.

pub mod attention;
pub mod augment;
pub mod captioned;
pub mod captioner;
pub mod checkpoint;
pub mod config;
pub mod drawn;
pub mod event;
mod folder;
pub mod grounding;
pub mod held;
pub mod inspection;
pub mod network;
pub mod optimiser;
pub mod order;
mod output;
mod photographs;
pub mod precision;
pub mod presence;
pub mod question;
pub mod record;
pub mod roles;
mod saving;
pub mod scenes;
pub mod schedule;
pub mod show_tell;
pub mod subject;
pub mod trainer;
pub mod tuning;
pub mod validation;
pub mod vocabulary;

pub use config::TrainingConfig;
pub use event::{Event, Measure, Sample};
pub use trainer::{Resume, train};

use std::path::PathBuf;

use crate::captioner::CaptionerError;
use crate::encoder::EncoderError;

/// The encoder's weights in a model directory.
const ENCODER: &str = "encoder.safetensors";

#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error("{file}: {reason}")]
    Config { file: PathBuf, reason: String },
    #[error("cannot write {path}")]
    Unwritable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{path} {found}: name a new or an empty directory as the output, or move away what is there"
    )]
    OutputTaken { path: PathBuf, found: String },
    #[error("the loss is {loss} after {step} steps: lower the learning rate or clip more")]
    Diverged { step: u64, loss: f64 },
    #[error("stopped before anything was learnt; what was computed is kept")]
    Interrupted,
    #[error("cannot draw scenes: {0}")]
    Scenes(String),
    #[error("the thread that makes batches has ended")]
    LoaderEnded,
    #[error("{path}: {reason}")]
    Picture { path: PathBuf, reason: String },
    #[error("the images are needed: data.images = \"DIR\"")]
    NoImages,
    #[error(
        "nothing says where features come from: give encoder.weights = \"FILE\" to compute them, or \
         data.features.cache or data.features.matrix"
    )]
    NoFeatures,
    #[error(
        "{path} holds features of {found} values, and the encoder of the recipe gives {expected}"
    )]
    Dimensions {
        path: PathBuf,
        expected: usize,
        found: usize,
    },
    #[error(
        "{path}: {learnt} images are left to learn from and {judged} to judge by; see data.images, \
         data.features and data.validation"
    )]
    NothingLeft {
        path: PathBuf,
        learnt: usize,
        judged: usize,
    },
    #[error("{path}: no word of its {captions} captions would be learnt: {reason}")]
    NoWords {
        path: PathBuf,
        captions: usize,
        /// How many there are, and which key of the recipe to change.
        reason: String,
    },
    #[error(
        "no word of the drawn scenes' captions occurs {threshold} times: lower data.word_threshold"
    )]
    NoWordsOfScenes { threshold: usize },
    #[error("{path}: {reason}")]
    HoldOut { path: PathBuf, reason: &'static str },
    #[error("the checkpoint {file} cannot be used: {reason}")]
    Checkpoint { file: PathBuf, reason: String },
    #[error(
        "{file} is a checkpoint of another recipe, or of other data: finish that one, or begin anew \
         with --restart"
    )]
    OtherRecipe { file: PathBuf },
    #[error(
        "{file} is a checkpoint of a training whose features were others than those in {matrix} are now: \
         put those back, or begin anew with --restart"
    )]
    OtherFeatures { file: PathBuf, matrix: PathBuf },
    #[error(transparent)]
    Dataset(#[from] crate::dataset::DatasetError),
    #[error(transparent)]
    Features(#[from] crate::dataset::FeaturesError),
    #[error(transparent)]
    Cache(#[from] crate::cache::CacheError),
    #[error(transparent)]
    Layout(#[from] crate::table::LayoutError),
    #[error(transparent)]
    Record(#[from] record::RecordError),
    #[error(transparent)]
    Lock(#[from] crate::nightly::LockError),
    #[error(transparent)]
    File(#[from] crate::table::FileError),
    #[error("the captions cannot be judged")]
    Evaluation(#[from] crate::evaluation::EvaluationError),
    /// Of a model or weights that are started from, found before anything was learnt.
    #[error(transparent)]
    Start(Box<TrainingError>),
    #[error("data.features.cache cannot be used")]
    FeatureCache(#[source] crate::table::LayoutError),
    #[error(transparent)]
    Captioner(CaptionerError),
    #[error(transparent)]
    Encoder(EncoderError),
    /// Its first line only: below it libtorch lists the functions of its own that it came from.
    #[error("the device failed: {}", .0.to_string().lines().next().unwrap_or_default())]
    Device(tch::TchError),
}

impl From<tch::TchError> for TrainingError {
    fn from(error: tch::TchError) -> Self {
        TrainingError::Device(error)
    }
}

impl From<EncoderError> for TrainingError {
    fn from(error: EncoderError) -> Self {
        match error {
            EncoderError::Device(error) => TrainingError::Device(error),
            error => TrainingError::Encoder(error),
        }
    }
}

impl From<CaptionerError> for TrainingError {
    fn from(error: CaptionerError) -> Self {
        match error {
            CaptionerError::Device(error) => TrainingError::Device(error),
            CaptionerError::Weights(error) => error.into(),
            error => TrainingError::Captioner(error),
        }
    }
}

impl TrainingError {
    /// The error of what happened before anything was learnt: files that do not fit are the user's to put
    /// right there, while later on they are the program's own.
    fn before_learning(self) -> Self {
        use EncoderError as Of;
        use TrainingError as E;
        let is_of_a_file = match &self {
            E::Encoder(error) => matches!(
                error,
                Of::Unreadable { .. }
                    | Of::MissingTensor { .. }
                    | Of::WrongShape { .. }
                    | Of::NotFinite { .. }
                    | Of::OtherEncoder { .. }
            ),
            E::Captioner(error) => matches!(
                error,
                CaptionerError::Unreadable { .. } | CaptionerError::Invalid { .. }
            ),
            _ => false,
        };
        match is_of_a_file {
            true => E::Start(Box::new(self)),
            false => self,
        }
    }

    /// Whether what was asked for is at fault, found before anything was learnt.
    pub fn is_usage(&self) -> bool {
        use TrainingError as E;
        matches!(
            self,
            E::Config { .. }
                | E::OutputTaken { .. }
                | E::NoImages
                | E::NoFeatures
                | E::Dimensions { .. }
                | E::NothingLeft { .. }
                | E::NoWords { .. }
                | E::NoWordsOfScenes { .. }
                | E::HoldOut { .. }
                | E::FeatureCache(_)
                | E::Start(_)
                | E::OtherRecipe { .. }
                | E::OtherFeatures { .. }
                | E::Dataset(_)
                | E::Features(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_device_that_failed_one_line_is_told() {
        let long = "no room for 26 GB\nframe #0: c10::Error\nframe #1: main";
        let failed = || tch::TchError::Torch(long.to_owned());
        let check = |error: TrainingError| {
            let told = format!("{:#}", anyhow::Error::from(error));
            assert!(told.starts_with("the device failed: "), "{told}");
            assert!(told.ends_with("no room for 26 GB"), "{told}");
        };
        check(failed().into());
        check(EncoderError::Device(failed()).into());
        check(CaptionerError::Device(failed()).into());
        check(CaptionerError::Weights(EncoderError::Device(failed())).into());
    }
}
