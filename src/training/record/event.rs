//! Takes down what a training tells.

use std::path::PathBuf;
use std::time::SystemTime;

use super::{EpochNumbers, Position, Record, RecordError, Sample, StepNumbers};
use crate::training::Event;

/// A record that is opened once the training tells where it begins.
pub struct Recorder {
    directory: PathBuf,
    recipe: String,
    record: Option<Record>,
}

impl Recorder {
    /// For the record in `directory`; `recipe` is the text for its `config.toml`.
    pub fn new(directory: PathBuf, recipe: String) -> Self {
        Recorder {
            directory,
            recipe,
            record: None,
        }
    }

    /// # Errors
    ///
    /// When the record cannot be read or written.
    pub fn take(&mut self, event: &Event) -> Result<(), RecordError> {
        let at = SystemTime::now();
        if let Event::Started {
            steps_per_epoch,
            resumed_at,
            ..
        } = *event
        {
            let position = Position::after(resumed_at, steps_per_epoch);
            let record = Record::open(&self.directory, &self.recipe, position, at)?;
            self.record = Some(record);
        }
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        match *event {
            Event::Started { .. } => Ok(()),
            Event::Step {
                step,
                epoch,
                loss,
                losses,
                learning_rate,
                gradient_norm,
                tokens,
                ..
            } => record.step(&StepNumbers {
                step,
                epoch,
                at,
                token_loss: loss,
                further_losses: losses,
                learning_rate,
                tokens,
                gradient_norm: Some(gradient_norm),
            }),
            Event::Epoch {
                epoch,
                step,
                loss,
                validation,
                samples,
                saved,
            } => {
                let samples: Vec<Sample> = samples
                    .iter()
                    .map(|sample| Sample {
                        image: sample.picture.clone(),
                        caption: sample.caption.clone(),
                        references: sample.references.clone(),
                    })
                    .collect();
                record.epoch(&EpochNumbers {
                    epoch,
                    step,
                    at,
                    train_loss: loss,
                    metrics: validation,
                    samples: &samples,
                    saved,
                })
            }
            Event::Checkpoint { .. } => record.flush(),
        }
    }
}
