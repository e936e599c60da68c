//! Writes a model directory: what was learnt, and where it came from.

use std::fs;
use std::path::Path;

use tch::Tensor;

use super::TrainingError;
use super::captioner::TrainableCaptioner;
use super::config::TrainingConfig;
use super::output::{Output, Staged};
use super::precision;
use super::subject::{Judgement, Subject};
use crate::captioner::model::ModelConfig;
use crate::encoder::EncoderConfig;

/// A model in the making; dropped before it is kept it leaves nothing behind.
pub struct Candidate<'a> {
    config: &'a TrainingConfig,
    staged: Staged<'a>,
    encoder: EncoderConfig,
    /// Steps done.
    steps: u64,
}

/// How a model came to be.
pub struct Origin<'a> {
    /// What the user typed.
    pub command: &'a str,
    pub epoch: u64,
    pub seconds: u64,
    /// What products and convolutions were computed in.
    pub kind: tch::Kind,
}

impl<'a> Candidate<'a> {
    /// Writes all but where the model came from.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(
        config: &'a TrainingConfig,
        output: &'a Output,
        subject: &dyn Subject,
        captioner: &TrainableCaptioner,
        steps: u64,
    ) -> Result<Self, TrainingError> {
        let staged = output.stage()?;
        let directory = staged.path();
        let encoder = subject.save_encoder(directory, steps)?;
        captioner.save(&directory.join("captioner.safetensors"))?;
        let words = directory.join("vocabulary.txt");
        fs::write(&words, subject.vocabulary().to_text())
            .map_err(|source| unwritable(&words, source))?;
        let candidate = Candidate {
            config,
            staged,
            encoder,
            steps,
        };
        candidate.describe(subject, candidate.encoder.clone(), toml::Table::new())?;
        Ok(candidate)
    }

    pub fn directory(&self) -> &Path {
        self.staged.path()
    }

    /// Tells where the model came from, and puts it in the place of the one before.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn keep(
        self,
        subject: &dyn Subject,
        judgement: &Judgement,
        origin: &Origin,
    ) -> Result<(), TrainingError> {
        let mut table = toml::Table::new();
        let mut say = |key: &str, value: toml::Value| table.insert(key.to_owned(), value);
        let today = chrono::Utc::now().format("%Y-%m-%d").to_string();
        say("command", origin.command.to_owned().into());
        say("date", today.into());
        say("showtell", env!("CARGO_PKG_VERSION").into());
        say("seed", self.config.seed.into());
        for (key, value) in subject.origin(origin.epoch) {
            say(&key, value);
        }
        say("epoch", (origin.epoch as i64).into());
        say("steps", (self.steps as i64).into());
        say("minutes", (origin.seconds as i64 / 60).into());
        say("threads", i64::from(tch::get_num_threads()).into());
        let precision = precision::named(origin.kind);
        say("precision", precision.to_string().into());
        let mut validation = toml::Table::new();
        for (name, value) in &judgement.measures {
            validation.insert((*name).to_owned(), ((value * 1e4).round() / 1e4).into());
        }
        say("validation", validation.into());

        let mut encoder = self.encoder.clone();
        encoder.id = subject.encoder_id(self.directory(), self.steps)?;
        self.describe(subject, encoder, table)?;
        self.staged.put_in_place()
    }

    /// Removes what was written.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn discard(self) -> Result<(), TrainingError> {
        self.staged.discard()
    }

    fn describe(
        &self,
        subject: &dyn Subject,
        encoder: EncoderConfig,
        origin: toml::Table,
    ) -> Result<(), TrainingError> {
        let description = ModelConfig {
            name: self.config.name.clone(),
            purpose: self.config.purpose.clone(),
            demonstration: subject.is_demonstration(),
            encoder,
            captioner: self.config.captioner.clone(),
            decoding: self.config.decoding,
            origin,
        };
        let file = self.directory().join("model.toml");
        let text = toml::to_string(&description).map_err(|error| TrainingError::Config {
            file: file.clone(),
            reason: error.to_string(),
        })?;
        fs::write(&file, text).map_err(|source| unwritable(&file, source))
    }
}

pub fn unwritable(path: &Path, source: std::io::Error) -> TrainingError {
    TrainingError::Unwritable {
        path: path.to_owned(),
        source,
    }
}

/// Writes a `.safetensors` file. That there is no room for it is no failure of the device, as which every error
/// of libtorch's counts otherwise.
pub fn write_tensors<S: AsRef<str>>(
    tensors: &[(S, Tensor)],
    file: &Path,
) -> Result<(), TrainingError> {
    Tensor::write_safetensors(tensors, file)
        .map_err(|error| unwritable(file, std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_room_for_a_file_is_no_failure_of_the_device() {
        let tensor = Tensor::from_slice(&[0.0f32; 4096]);
        // Has room for nothing.
        let error = write_tensors(&[("x", tensor)], Path::new("/dev/full")).unwrap_err();
        assert!(
            matches!(&error, TrainingError::Unwritable { path, .. } if path == Path::new("/dev/full")),
            "{error}"
        );
    }
}
