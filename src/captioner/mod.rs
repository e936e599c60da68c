//! Turns features into captions with beam scores.
//!
//! A [`Captioner`] takes one feature row per picture and gives its beams, best first. The search
//! itself ([`beam`]) knows neither tensors nor words; a captioner lends it one step at a time.

pub mod beam;
mod candidates;
mod fitting;
mod likeliest;
pub mod mixed;
pub mod model;
mod on_device;
mod several;
pub mod show_attend_tell;
pub mod show_tell;
pub mod vocabulary;
mod word_gates;

use std::path::PathBuf;

pub use candidates::Search;
use serde::{Deserialize, Serialize};

/// Turns features into captions.
pub trait Captioner: Send {
    /// Architecture and a digest of weights, vocabulary and configuration, such as
    /// `show-and-tell-41d07ab35e189f2c`.
    fn id(&self) -> &str;

    /// Features per picture that [`Captioner::caption`] expects.
    fn dimensions(&self) -> usize;

    /// Whether `features` are those of whole pictures.
    ///
    /// # Errors
    ///
    /// When they are not.
    fn check(&self, features: &[f32]) -> Result<(), CaptionerError> {
        let dimensions = self.dimensions();
        if !features.len().is_multiple_of(dimensions) {
            return Err(CaptionerError::WrongFeatures {
                dimensions,
                found: features.len(),
            });
        }
        Ok(())
    }

    /// `features`: `[batch, dimensions]`, f32. Returns the beams of each picture, best first; a
    /// picture for which the model gives no finite probability has none.
    ///
    /// The beams of a picture do not depend on which other pictures are in the batch.
    ///
    /// # Errors
    ///
    /// When `features` is not a whole number of rows, or the device fails.
    fn caption(
        &self,
        features: &[f32],
        decoding: &Decoding,
    ) -> Result<Vec<Vec<Beam>>, CaptionerError>;

    /// Where the model looks while it says `caption` of the one picture with these features: each
    /// word with the weights of the regions, `[regions]`, in sum one. `None` if it does not look at
    /// regions.
    ///
    /// Words that the model does not know are read as the unknown word.
    ///
    /// # Errors
    ///
    /// When `features` are not one picture's, or the device fails.
    fn attention(
        &self,
        _features: &[f32],
        _caption: &str,
    ) -> Result<Option<Attention>, CaptionerError> {
        Ok(None)
    }
}

/// The words of a caption, each with the weights of the regions that it was said from.
pub type Attention = Vec<(String, Vec<f32>)>;

/// A caption and what its tokens are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Beam {
    pub caption: String,
    /// Sum of the natural logarithms of the token probabilities, the end token's included if the
    /// beam reached it.
    pub log_prob: f32,
    /// How many probabilities were summed.
    pub tokens: i32,
    /// `log_prob / tokens ^ length_penalty`.
    pub score: f32,
    /// Whether the beam reached the end token.
    pub finished: bool,
}

/// How captions are searched for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoding {
    /// Hypotheses kept at each step; 1 is greedy search.
    pub beam: usize,
    /// Most tokens of a caption, the end token included.
    pub max_tokens: usize,
    /// Exponent of the length that a score is divided by; 0 leaves the log-probability as it is.
    pub length_penalty: f32,
}

impl Decoding {
    /// What the table says of how a caption was made, as JSON.
    pub fn to_json(&self) -> String {
        // Written out, so that the same parameters are the same string in every version.
        format!(
            r#"{{"beam":{},"max_tokens":{},"length_penalty":{}}}"#,
            self.beam, self.max_tokens, self.length_penalty
        )
    }

    /// # Errors
    ///
    /// When no caption could come of it.
    pub fn check(&self) -> Result<(), String> {
        if self.beam == 0 || self.beam > 1000 {
            return Err(format!(
                "the beam must be 1 to 1000 wide, not {}",
                self.beam
            ));
        }
        if self.max_tokens == 0 || self.max_tokens > 1000 {
            return Err(format!(
                "a caption may have 1 to 1000 tokens, not {}",
                self.max_tokens
            ));
        }
        if !(0.0..=10.0).contains(&self.length_penalty) {
            return Err(format!(
                "the length penalty must lie between 0 and 10, not {}",
                self.length_penalty
            ));
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CaptionerError {
    #[error("cannot read {file}")]
    Unreadable {
        file: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{file}: {reason}")]
    Invalid { file: PathBuf, reason: String },
    #[error(transparent)]
    Weights(#[from] crate::encoder::EncoderError),
    #[error(
        "the captioner is {found}, though its files gave {expected} when they were of the same size \
         and time; if they were replaced on purpose, run again with --verify"
    )]
    NotAsRecorded { expected: String, found: String },
    #[error(transparent)]
    Worker(#[from] crate::encoder::device::workers::WorkerError),
    #[error("the captioner was given {found} features, not a multiple of {dimensions}")]
    WrongFeatures { dimensions: usize, found: usize },
    #[error("the device failed")]
    Device(#[from] tch::TchError),
}
