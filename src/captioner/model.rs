//! Reads a model directory: what a captioner and its encoder are, and where their weights lie.
//!
//! ```text
//! MODEL/
//!   model.toml              architecture, dimensions, preprocessing, decode defaults, origin
//!   vocabulary.txt          one word a line
//!   captioner.safetensors
//!   encoder.safetensors     where the encoder is small enough to ship
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::show_tell::{ShowTell, ShowTellConfig};
use super::vocabulary::Vocabulary;
use super::{Captioner, CaptionerError, Decoding};
use crate::encoder::EncoderConfig;

const DESCRIPTION: &str = "model.toml";
const VOCABULARY: &str = "vocabulary.txt";
const CAPTIONER: &str = "captioner.safetensors";

/// `model.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    pub name: String,
    /// What the model is good for, in a sentence that the summary of a run repeats.
    pub purpose: Option<String>,
    /// Whether the model knows nothing but the drawn scenes it was trained on.
    #[serde(default)]
    pub demonstration: bool,
    pub architecture: Architecture,
    pub encoder: EncoderConfig,
    pub captioner: ShowTellConfig,
    pub decoding: Decoding,
    /// How the model came to be: command, seed, date, figures.
    #[serde(default)]
    pub origin: toml::Table,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    ShowAndTell,
}

/// A model directory whose description was read and checked; its weights are not loaded yet.
#[derive(Debug, Clone)]
pub struct Model {
    pub directory: PathBuf,
    pub config: ModelConfig,
}

impl Model {
    /// Reads `directory/model.toml`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or says something that does not fit together.
    pub fn open(directory: &Path) -> Result<Self, CaptionerError> {
        let file = directory.join(DESCRIPTION);
        let text = std::fs::read_to_string(&file).map_err(|source| CaptionerError::Unreadable {
            file: file.clone(),
            source: source.into(),
        })?;
        let invalid = |reason: String| CaptionerError::Invalid {
            file: file.clone(),
            reason,
        };
        let config: ModelConfig =
            toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        config.encoder.check().map_err(invalid)?;
        config.decoding.check().map_err(invalid)?;
        if config.captioner.features != config.encoder.hidden {
            return Err(invalid(format!(
                "the encoder gives {} features, the captioner takes {}",
                config.encoder.hidden, config.captioner.features
            )));
        }
        Ok(Model {
            directory: directory.to_owned(),
            config,
        })
    }

    /// The file with the encoder's weights, if the model ships them.
    pub fn encoder_weights(&self) -> Option<PathBuf> {
        let weights = self.config.encoder.weights.as_ref()?;
        Some(self.directory.join(weights))
    }

    /// The files that the captioner is read from.
    pub fn captioner_files(&self) -> [PathBuf; 2] {
        [VOCABULARY, CAPTIONER].map(|name| self.directory.join(name))
    }

    /// Loads the captioner onto `device`.
    ///
    /// # Errors
    ///
    /// When the vocabulary or the weights cannot be read or do not fit the description.
    pub fn captioner(&self, device: tch::Device) -> Result<Box<dyn Captioner>, CaptionerError> {
        let vocabulary = Vocabulary::read(&self.directory.join(VOCABULARY))?;
        let file = self.directory.join(CAPTIONER);
        match self.config.architecture {
            Architecture::ShowAndTell => {
                let captioner = ShowTell::load(&self.config.captioner, vocabulary, &file, device)?;
                Ok(Box::new(captioner))
            }
        }
    }
}
