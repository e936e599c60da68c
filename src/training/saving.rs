//! Writes a model directory, and puts it in the place of the one before.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::TrainingError;
use super::captioner::TrainableCaptioner;
use super::config::TrainingConfig;
use super::precision;
use super::subject::{Judgement, Subject};
use crate::captioner::model::ModelConfig;
use crate::encoder::EncoderConfig;

/// A model directory in the making, beside the one that it will replace.
pub struct Candidate<'a> {
    config: &'a TrainingConfig,
    directory: PathBuf,
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
        subject: &dyn Subject,
        captioner: &TrainableCaptioner,
        steps: u64,
    ) -> Result<Self, TrainingError> {
        let directory = beside(&config.output, "candidate");
        // What a killed training left.
        remove(&directory)?;
        fs::create_dir_all(&directory).map_err(|source| unwritable(&directory, source))?;
        let encoder = subject.save_encoder(&directory, steps)?;
        captioner.save(&directory.join("captioner.safetensors"))?;
        let words = directory.join("vocabulary.txt");
        fs::write(&words, subject.vocabulary().to_text())
            .map_err(|source| unwritable(&words, source))?;
        let candidate = Candidate {
            config,
            directory,
            encoder,
            steps,
        };
        candidate.describe(subject, candidate.encoder.clone(), toml::Table::new())?;
        Ok(candidate)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
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
        encoder.id = subject.encoder_id(&self.directory, self.steps)?;
        self.describe(subject, encoder, table)?;
        sync(&self.directory)?;
        replace(&self.directory, &self.config.output)
    }

    /// Removes what was written.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn discard(self) -> Result<(), TrainingError> {
        remove(&self.directory)
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
        let file = self.directory.join("model.toml");
        let text = toml::to_string(&description).map_err(|error| TrainingError::Config {
            file: file.clone(),
            reason: error.to_string(),
        })?;
        fs::write(&file, text).map_err(|source| unwritable(&file, source))
    }
}

/// The folder of a training that writes its model to `output`.
pub fn folder(output: &Path) -> PathBuf {
    beside(output, "training")
}

/// Undoes a replacement that was killed half-way.
///
/// # Errors
///
/// When the model cannot be put back.
pub fn recover(output: &Path) -> Result<(), TrainingError> {
    let old = beside(output, "old");
    if !old.exists() {
        return Ok(());
    }
    match output.exists() {
        true => remove(&old),
        false => fs::rename(&old, output).map_err(|source| unwritable(output, source)),
    }
}

/// Puts the finished directory `from` in the place of `to`.
fn replace(from: &Path, to: &Path) -> Result<(), TrainingError> {
    let old = beside(to, "old");
    remove(&old)?;
    if to.exists() {
        fs::rename(to, &old).map_err(|source| unwritable(to, source))?;
    }
    fs::rename(from, to).map_err(|source| unwritable(to, source))?;
    if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_one(parent)?;
    }
    remove(&old)
}

/// Makes durable what is in a directory.
fn sync(directory: &Path) -> Result<(), TrainingError> {
    let entries = fs::read_dir(directory).map_err(|source| unwritable(directory, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| unwritable(directory, source))?;
        sync_one(&entry.path())?;
    }
    sync_one(directory)
}

fn sync_one(path: &Path) -> Result<(), TrainingError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| unwritable(path, source))
}

fn remove(directory: &Path) -> Result<(), TrainingError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(unwritable(directory, error))
        }
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{suffix}"));
    path.with_file_name(name)
}

pub fn unwritable(path: &Path, source: std::io::Error) -> TrainingError {
    TrainingError::Unwritable {
        path: path.to_owned(),
        source,
    }
}
