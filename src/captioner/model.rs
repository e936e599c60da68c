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

use super::fitting::Fitting;
use super::several::{Make, Several};
use super::show_attend_tell::{ShowAttendTell, ShowAttendTellConfig};
use super::show_tell::{ShowTell, ShowTellConfig};
use super::vocabulary::Vocabulary;
use super::{Captioner, CaptionerError, Decoding};
use crate::encoder::{EncoderConfig, Layer};

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
    pub encoder: EncoderConfig,
    pub captioner: CaptionerConfig,
    pub decoding: Decoding,
    /// How the model came to be: command, seed, date, figures.
    #[serde(default)]
    pub origin: toml::Table,
}

/// The `[captioner]` table: an architecture and its dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum CaptionerConfig {
    ShowAndTell(ShowTellConfig),
    ShowAttendTell(ShowAttendTellConfig),
}

impl CaptionerConfig {
    /// # Errors
    ///
    /// When the captioner cannot take what the encoder gives.
    pub fn check(&self, encoder: &EncoderConfig) -> Result<(), String> {
        let differ = |what: &str, given: i64, taken: i64| {
            Err(format!(
                "the encoder gives {given} {what}, the captioner takes {taken}"
            ))
        };
        match (self, encoder.layer) {
            (CaptionerConfig::ShowAndTell(config), _)
                if config.embedding < 1 || config.hidden < 1 =>
            {
                Err("captioner.embedding and captioner.hidden must be at least 1".to_owned())
            }
            (CaptionerConfig::ShowAttendTell(config), _)
                if config.embedding < 1 || config.hidden < 1 || config.attention < 1 =>
            {
                Err("captioner.embedding, hidden and attention must be at least 1".to_owned())
            }
            (CaptionerConfig::ShowAndTell(config), _) => {
                match (encoder.dimensions(), config.features) {
                    (given, taken) if given != taken => differ("features", given, taken),
                    _ => Ok(()),
                }
            }
            (CaptionerConfig::ShowAttendTell(config), Layer::Conv5_3) => {
                let regions = encoder.side() * encoder.side();
                if regions != config.regions {
                    differ("regions", regions, config.regions)
                } else if encoder.widths[4] != config.channels {
                    differ("channels", encoder.widths[4], config.channels)
                } else {
                    Ok(())
                }
            }
            (CaptionerConfig::ShowAttendTell(_), layer) => Err(format!(
                "show-attend-tell looks at the regions of conv5_3, and encoder.layer is {layer:?}"
            )),
        }
    }
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
        config.captioner.check(&config.encoder).map_err(invalid)?;
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

    /// Finds out whether all is there: vocabulary and captioner, which are read, and the encoder's weights if
    /// the model ships them, which may be too large for that.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read, or vocabulary and captioner do not fit the description.
    pub fn check(&self) -> Result<(), CaptionerError> {
        self.captioner(tch::Device::Cpu)?;
        if let Some(file) = self.encoder_weights() {
            let unreadable = |source| CaptionerError::Unreadable {
                file: file.clone(),
                source,
            };
            let found = std::fs::metadata(&file).map_err(|error| unreadable(error.into()))?;
            if !found.is_file() {
                return Err(unreadable("it is no regular file".into()));
            }
        }
        Ok(())
    }

    /// Loads the captioner onto `device`.
    ///
    /// # Errors
    ///
    /// When the vocabulary or the weights cannot be read or do not fit the description.
    pub fn captioner(&self, device: tch::Device) -> Result<Box<dyn Captioner>, CaptionerError> {
        let vocabulary = Vocabulary::read(&self.directory.join(VOCABULARY))?;
        let file = self.directory.join(CAPTIONER);
        Ok(match &self.config.captioner {
            CaptionerConfig::ShowAndTell(config) => {
                let captioner = ShowTell::load(config, vocabulary, &file, device)?;
                Box::new(Fitting::new(captioner))
            }
            CaptionerConfig::ShowAttendTell(config) => {
                let captioner = ShowAttendTell::load(config, vocabulary, &file, device)?;
                Box::new(Fitting::new(captioner))
            }
        })
    }

    /// Loads the captioner onto each of `devices`, as [`captioner`](Self::captioner) does. Batches are shared
    /// out among them.
    ///
    /// # Errors
    ///
    /// Those of [`captioner`](Self::captioner).
    pub fn captioner_on(
        &self,
        devices: &[tch::Device],
    ) -> Result<Box<dyn Captioner>, CaptionerError> {
        if let [device] = devices {
            return self.captioner(*device);
        }
        let make = |device: &tch::Device| -> Make {
            let (model, device) = (self.clone(), *device);
            Box::new(move || model.captioner(device))
        };
        Ok(Box::new(Several::new(devices.iter().map(make).collect())?))
    }
}
