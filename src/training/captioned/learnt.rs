//! Makes the batches of a data set: features of its images, or their pixels, with captions.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::captioner::vocabulary::TokenId;
use crate::encoder::preprocess::Preprocess;
use crate::training::config::TuningConfig;
use crate::training::held::Held;
use crate::training::order::{Order, Sight, seed};
use crate::training::subject::{Batch, Input};
use crate::training::{TrainingError, augment, photographs};

/// What batches are made of.
pub struct Learnt {
    pub images: Vec<LearntImage>,
    /// Words of each caption of each image.
    pub lengths: Vec<Vec<usize>>,
    pub order: Order,
    pub steps_per_epoch: u64,
    pub held: Option<Held>,
    pub preprocess: Preprocess,
    /// What is tuned of the encoder, and the step that it begins with, counted from 0.
    pub tuning: Option<(TuningConfig, u64)>,
    /// The batches of the epoch asked for last.
    pub epoch: Mutex<Option<(u64, Vec<Vec<Sight>>)>>,
}

pub struct LearntImage {
    /// In the data set.
    pub place: usize,
    pub path: Option<PathBuf>,
    pub captions: Vec<Vec<TokenId>>,
}

impl Learnt {
    /// The batch of a step, counted from 0.
    ///
    /// # Errors
    ///
    /// When features cannot be read, or none of the pictures.
    pub fn batch(&self, step: u64) -> Result<Batch, TrainingError> {
        let (epoch, within) = (step / self.steps_per_epoch, step % self.steps_per_epoch);
        let sights = {
            let mut known = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
            if known.as_ref().is_none_or(|(known, _)| *known != epoch) {
                *known = Some((epoch, self.order.of_epoch(&self.lengths, epoch)));
            }
            let batches = known.as_ref().map(|(_, batches)| batches);
            let batch = batches.and_then(|batches| batches.get(within as usize));
            batch.cloned().unwrap_or_default()
        };
        match (&self.tuning, &self.held) {
            (Some((tuning, from)), _) if step >= *from => self.of_pixels(sights, tuning, epoch),
            (_, Some(held)) => {
                let places: Vec<_> = sights.iter().map(|s| self.images[s.image].place).collect();
                Ok(self.put_together(&sights, Input::Features(held.read(&places)?)))
            }
            _ => Err(TrainingError::NoFeatures),
        }
    }

    /// Pictures that cannot be read are told and left out.
    fn of_pixels(
        &self,
        sights: Vec<Sight>,
        tuning: &TuningConfig,
        epoch: u64,
    ) -> Result<Batch, TrainingError> {
        let squares: Vec<_> = sights
            .into_par_iter()
            .map(|sight| (self.square(&sight, tuning, epoch), sight))
            .collect();
        let mut rgb = Vec::new();
        let mut seen = Vec::new();
        let mut failure = None;
        for (square, sight) in squares {
            match square {
                Ok(square) => {
                    rgb.extend(square);
                    seen.push(sight);
                }
                Err(error) => {
                    tracing::warn!("left out: {error}");
                    failure = Some(error);
                }
            }
        }
        match (seen.is_empty(), failure) {
            (true, Some(error)) => Err(error),
            _ => {
                let side = self.preprocess.crop as usize;
                Ok(self.put_together(&seen, Input::Pixels { side, rgb }))
            }
        }
    }

    fn square(
        &self,
        sight: &Sight,
        tuning: &TuningConfig,
        epoch: u64,
    ) -> Result<Vec<u8>, TrainingError> {
        let image = &self.images[sight.image];
        let path = image.path.as_deref().ok_or(TrainingError::NoImages)?;
        let picture = photographs::read(path)?;
        let first = sight.captions.first().copied().unwrap_or(0) as u64;
        let numbers = [epoch, image.place as u64, first];
        let dice = seed(self.order.seed, "varied", &numbers);
        augment::varied(&picture, &self.preprocess, tuning, dice).map_err(|error| {
            TrainingError::Picture {
                path: path.to_owned(),
                reason: error.to_string(),
            }
        })
    }

    fn put_together(&self, sights: &[Sight], input: Input) -> Batch {
        let mut captions = Vec::new();
        for (picture, sight) in sights.iter().enumerate() {
            let of_image = &self.images[sight.image].captions;
            captions.extend(
                sight
                    .captions
                    .iter()
                    .map(|c| (picture, of_image[*c].clone())),
            );
        }
        Batch {
            pictures: sights.len(),
            input,
            captions,
            truths: None,
        }
    }
}
