//! What is learnt from, as the trainer sees it: scenes that are drawn, or captioned photographs.
//!
//! The batch of a step is a function of the step alone, so a training that was killed goes on with the
//! very batches that it would have met.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use tch::Tensor;

use super::TrainingError;
use super::captioner::Mode;
use super::drawn::Truths;
use super::event::{Measure, Sample};
use crate::captioner::vocabulary::{TokenId, Vocabulary};
use crate::encoder::EncoderConfig;

/// Batches made ahead.
const AHEAD: usize = 4;

/// What to learn from in one step.
#[derive(Debug)]
pub struct Batch {
    pub pictures: usize,
    pub input: Input,
    /// Picture and words of each caption.
    pub captions: Vec<(usize, Vec<TokenId>)>,
    /// What is drawn, of scenes.
    pub truths: Option<Truths>,
}

/// The pictures of a batch.
#[derive(Debug)]
pub enum Input {
    /// `[pictures, side, side, 3]`, RGB; side in pixels.
    Pixels { side: usize, rgb: Vec<u8> },
    /// `[pictures, dimensions]`: what a frozen encoder makes of them.
    Features(Vec<f32>),
}

/// What the encoder makes of a batch.
pub struct Seen {
    /// `[pictures, dimensions]`, f32, what the captioner takes.
    pub features: Tensor,
    /// What is made small beside the captioner's loss, by name, and its weight.
    pub losses: Vec<(&'static str, Tensor, f64)>,
}

/// How good a model is.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What models are compared by; larger is better.
    pub rank: f64,
    pub measures: Vec<Measure>,
    pub samples: Vec<Sample>,
}

/// Makes the batch of a step, counted from 0.
pub type MakeBatch = Box<dyn Fn(u64) -> Result<Batch, TrainingError> + Send>;

/// See the [module](self).
pub trait Subject {
    fn vocabulary(&self) -> &Vocabulary;

    /// How often each word, by its id, is a target in an epoch, end tokens included.
    fn word_counts(&self) -> Vec<u64>;

    fn steps_per_epoch(&self) -> u64;

    fn batches(&self) -> MakeBatch;

    /// Lets the encoder look at a batch.
    ///
    /// # Errors
    ///
    /// When the device fails.
    fn see(&self, batch: &Batch, mode: Mode) -> Result<Seen, TrainingError>;

    /// Puts the encoder as it is after so many steps into a model directory; returns what `model.toml`
    /// says of it.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    fn save_encoder(&self, directory: &Path, steps: u64) -> Result<EncoderConfig, TrainingError>;

    /// Judges the model in a directory, whose encoder is the one after so many steps.
    ///
    /// # Errors
    ///
    /// When the model cannot be read or computed.
    fn judge(&self, directory: &Path, steps: u64) -> Result<Judgement, TrainingError>;

    /// The id of the encoder in a model directory, if it is known.
    ///
    /// # Errors
    ///
    /// When its weights cannot be read.
    fn encoder_id(&self, directory: &Path, steps: u64) -> Result<Option<String>, TrainingError>;

    /// What `model.toml` says of what was learnt from in so many epochs.
    fn origin(&self, epochs: u64) -> toml::Table;

    /// Whether a model that learnt from this knows nothing but drawn scenes.
    fn is_demonstration(&self) -> bool;

    /// Tells what is learnt from, so that a checkpoint is not gone on from with something else.
    fn identify(&self, hasher: &mut blake3::Hasher);

    /// The matrix that features are read from, where that is how they are had.
    fn matrix(&self) -> Option<&KnownMatrix> {
        None
    }
}

/// A matrix of features, known by what is in it.
#[derive(Debug, Clone)]
pub struct KnownMatrix {
    pub path: PathBuf,
    pub digest: String,
}

/// Makes batches on a thread of its own, in order.
pub struct Loader {
    batches: Receiver<Result<Batch, TrainingError>>,
}

impl Loader {
    /// The batches of the steps in `range`.
    pub fn start(make: MakeBatch, range: std::ops::Range<u64>) -> Self {
        let (sender, batches) = sync_channel(AHEAD);
        std::thread::spawn(move || {
            for step in range {
                if sender.send(make(step)).is_err() {
                    return;
                }
            }
        });
        Loader { batches }
    }

    /// # Errors
    ///
    /// When a batch could not be made.
    pub fn next(&self) -> Result<Batch, TrainingError> {
        self.batches
            .recv()
            .map_err(|_| TrainingError::LoaderEnded)?
    }
}
