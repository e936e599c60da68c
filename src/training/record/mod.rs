//! Turns the numbers of a training into a directory for people: what was run, how it went, what it
//! said.
//!
//! ```text
//! OUTPUT.training/
//!   config.toml                          the recipe as it was run
//!   metrics.parquet                      every number, a row each
//!   curves.svg                           losses and measurements over time
//!   samples.md                           captions of a few images after each epoch
//!   events.out.tfevents.<time>.showtell  the same for TensorBoard
//!   .metrics.journal                     numbers that are not in metrics.parquet yet
//! ```
//!
//! It stands apart from the trainer and knows nothing of tensors. A training that goes on from a
//! checkpoint tells from where: whatever the record holds beyond that is dropped and comes again, so
//! the curves are those of a training that was never interrupted. A kill takes nothing from it; so that
//! a power loss takes nothing either, call [`Record::flush`] before a checkpoint is written.

mod chart;
mod curves;
mod event;
mod events;
mod journal;
mod numbers;
mod samples;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use parquet::errors::ParquetError;

use crate::table::{DurableFile, FileError, create_dir, remove_temporaries};
pub use event::Recorder;
use events::EventFile;
use journal::Journal;
pub use numbers::{Number, Numbers, Scope};
use samples::Samples;

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.parquet";
const CURVES: &str = "curves.svg";
const SAMPLES: &str = "samples.md";
const JOURNAL: &str = ".metrics.journal";

/// Why a record cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} is no record of a training: {what}")]
    NotARecord { path: PathBuf, what: String },
    #[error("cannot use {path}")]
    Parquet { path: PathBuf, source: ParquetError },
    #[error("cannot draw {path}")]
    Draw {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How far a training has come: all that a checkpoint says of it here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Steps that were taken.
    pub step: u64,
    /// Epochs that were told with [`Record::epoch`].
    pub epochs: u64,
}

impl Position {
    /// After `step` steps of a training that tells of each epoch as soon as its last step is taken.
    pub fn after(step: u64, steps_per_epoch: u64) -> Self {
        Position {
            step,
            epochs: step / steps_per_epoch.max(1),
        }
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy)]
pub struct StepNumbers<'a> {
    /// Counted from 1.
    pub step: u64,
    /// The epoch under way, counted from 1.
    pub epoch: u64,
    pub at: SystemTime,
    /// Mean negative log-probability of a token, in nats.
    pub token_loss: f64,
    /// Whatever else was made small, by name.
    pub further_losses: &'a [(&'a str, f64)],
    pub learning_rate: f64,
    /// Tokens of this step's captions, the end tokens included.
    pub tokens: usize,
    /// Norm of the gradient before it was clipped, if it was computed.
    pub gradient_norm: Option<f64>,
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy)]
pub struct EpochNumbers<'a> {
    /// Counted from 1.
    pub epoch: u64,
    /// The last step of the epoch.
    pub step: u64,
    pub at: SystemTime,
    /// Mean of the epoch's token losses, in nats.
    pub train_loss: f64,
    /// Measured on the validation set, by name: `loss`, `cider_d`, ...
    pub metrics: &'a [(&'a str, f64)],
    pub samples: &'a [Sample],
    /// Whether the model was saved as the best so far.
    pub saved: bool,
}

/// What the model said of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The image's name.
    pub image: String,
    pub caption: String,
    /// What people say of it.
    pub references: Vec<String>,
}

/// See the [module](self).
pub struct Record {
    directory: PathBuf,
    numbers: Numbers,
    journal: Journal,
    samples: Samples,
    events: EventFile,
}

impl Record {
    /// Opens the record in `directory`, which is made if it is missing; what is above it must be there.
    /// Of what it holds only that up to `position` stays: nothing, for a training that begins.
    /// `recipe` is the text for `config.toml`, `at` the time.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written, or holds a `metrics.parquet` that is none of ours.
    pub fn open(
        directory: &Path,
        recipe: &str,
        position: Position,
        at: SystemTime,
    ) -> Result<Self, RecordError> {
        create_dir(directory)?;
        remove_temporaries(directory, |name| {
            [CONFIG, METRICS, CURVES, SAMPLES].contains(&name) || events::is_ours(name)
        })?;
        let metrics = directory.join(METRICS);
        let journal = directory.join(JOURNAL);
        let (mut numbers, mut samples) = Default::default();
        if position != Position::default() {
            numbers = Numbers::read(&metrics)?;
            Journal::replay(&journal, &mut numbers)?;
            numbers = numbers.up_to(position);
            samples = Samples::read(&directory.join(SAMPLES))?.up_to(position.epochs);
        }
        write(&directory.join(CONFIG), recipe.as_bytes())?;
        numbers.write(&metrics)?;
        let journal = Journal::begin(&journal)?;
        let events = EventFile::begin(directory, recipe, &numbers, &samples, micros(at))?;
        let record = Record {
            directory: directory.to_owned(),
            numbers,
            journal,
            samples,
            events,
        };
        record.redraw()?;
        Ok(record)
    }

    /// Takes down a step.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn step(&mut self, step: &StepNumbers) -> Result<(), RecordError> {
        let named = |name: &str, value: f64| (name.to_owned(), value);
        let mut values = vec![named("loss/token", step.token_loss)];
        for &(name, value) in step.further_losses {
            values.push((format!("loss/{name}"), value));
        }
        values.push(named("learning_rate", step.learning_rate));
        values.push(named("tokens", step.tokens as f64));
        values.extend(step.gradient_norm.map(|norm| named("gradient_norm", norm)));
        self.take(Scope::Step, (step.step, step.epoch), step.at, &values)
    }

    /// Takes down an epoch, writes everything to disk and draws the curves again. An epoch that was told
    /// of before takes its place.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn epoch(&mut self, epoch: &EpochNumbers) -> Result<(), RecordError> {
        let mut values = vec![
            ("train_loss".to_owned(), epoch.train_loss),
            ("saved".to_owned(), f64::from(u8::from(epoch.saved))),
        ];
        for &(name, value) in epoch.metrics {
            values.push((format!("validation/{name}"), value));
        }
        if self.numbers.has_epoch(epoch.epoch) {
            let before = Position {
                step: u64::MAX,
                epochs: epoch.epoch.saturating_sub(1),
            };
            self.numbers = std::mem::take(&mut self.numbers).up_to(before);
            self.samples = std::mem::take(&mut self.samples).up_to(before.epochs);
            self.flush()?;
        }
        let table = self.samples.push(epoch.epoch, epoch.step, epoch.samples);
        if let Some(table) = table {
            self.events.samples(epoch.step, micros(epoch.at), &table)?;
        }
        self.take(Scope::Epoch, (epoch.step, epoch.epoch), epoch.at, &values)?;
        self.flush()?;
        self.redraw()
    }

    /// Makes durable what was taken down so far. Call it before a checkpoint is written.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.numbers.write(&self.directory.join(METRICS))?;
        self.journal = Journal::begin(&self.directory.join(JOURNAL))?;
        Ok(self.events.flush()?)
    }

    /// Everything that was taken down so far.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    fn take(
        &mut self,
        scope: Scope,
        (step, epoch): (u64, u64),
        at: SystemTime,
        values: &[(String, f64)],
    ) -> Result<(), RecordError> {
        let from = self.numbers.len();
        for (name, value) in values {
            self.numbers.push(Number {
                step,
                epoch,
                scope,
                name,
                value: *value,
                at: micros(at),
            });
        }
        self.journal.append(&self.numbers, from)?;
        let values = values.iter().map(|(name, value)| (name.as_str(), *value));
        Ok(self.events.scalars(scope, step, micros(at), values)?)
    }

    fn redraw(&self) -> Result<(), RecordError> {
        let samples = self.directory.join(SAMPLES);
        write(&samples, self.samples.to_text().as_bytes())?;
        let curves = self.directory.join(CURVES);
        let drawn = curves::draw(&self.numbers).map_err(|source| RecordError::Draw {
            path: curves.clone(),
            source,
        })?;
        match drawn {
            Some(svg) => Ok(write(&curves, svg.as_bytes())?),
            // An earlier training's curves are not this one's.
            None => match fs::remove_file(&curves) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(FileError::on("remove", &curves)(error).into())
                }
                _ => Ok(()),
            },
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = DurableFile::create(path)?;
    file.write_all(bytes)
        .map_err(FileError::on("write", path))?;
    file.commit().map(|_| ())
}

/// Microseconds since 1970; a clock before that counts as then.
fn micros(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
