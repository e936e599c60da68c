//! Learns an encoder and a captioner from captioned pictures, and saves them as a model directory.
//!
//! [`config`] says what to learn from and how, [`scenes`] draws the pictures, [`network`] and
//! [`captioner`] hold what is learnt and [`trainer`] learns it; [`presence`], [`roles`] and
//! [`grounding`] help. A saved model is read back and judged by the very code that annotates archives.
//!
//! Of data sets that people have captioned, [`vocabulary`] takes the words as the papers did, and
//! [`inspection`] tells what is in them.

pub mod attention;
pub mod captioner;
pub mod config;
pub mod event;
pub mod grounding;
pub mod inspection;
pub mod network;
pub mod presence;
pub mod roles;
pub mod scenes;
pub mod trainer;
pub mod vocabulary;

pub use config::TrainingConfig;
pub use event::{Event, Measure, Sample};
pub use trainer::train;

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error("{file}: {reason}")]
    Config { file: PathBuf, reason: String },
    #[error("cannot write {path}")]
    Unwritable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the loss is {loss} after {step} steps: lower the learning rate or clip more")]
    Diverged { step: u64, loss: f64 },
    #[error("stopped before the first epoch ended: nothing was saved")]
    Interrupted,
    #[error("cannot draw scenes: {0}")]
    Scenes(String),
    #[error(transparent)]
    Captioner(#[from] crate::captioner::CaptionerError),
    #[error(transparent)]
    Encoder(#[from] crate::encoder::EncoderError),
    #[error("the device failed")]
    Device(#[from] tch::TchError),
}
