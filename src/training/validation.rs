//! Judges a model by the captions that it gives to images with captions by people: CIDEr-D, by which
//! models are compared, and BLEU-4.

use std::path::PathBuf;

use rayon::prelude::*;

use super::TrainingError;
use super::event::Sample;
use super::photographs;
use super::subject::Judgement;
use crate::captioner::{Captioner, Decoding};
use crate::dataset::ImageEntry;
use crate::encoder::preprocess::Preprocess;
use crate::evaluation::references::ReferenceImage;
use crate::evaluation::{Candidate, Key, References, Tolerances, evaluate};

/// Images captioned at once.
const TOGETHER: usize = 64;
/// Images whose captions are shown.
const SAMPLES: usize = 6;

/// Images that a model is judged by.
pub struct ValidationImages {
    images: Vec<Judged>,
    references: References,
}

struct Judged {
    /// In the data set.
    place: usize,
    path: Option<PathBuf>,
}

/// Some of the images, which are captioned at once.
pub struct Together<'a>(&'a [Judged]);

impl Together<'_> {
    /// Their places in the data set.
    pub fn places(&self) -> Vec<usize> {
        self.0.iter().map(|image| image.place).collect()
    }

    /// What an encoder sees of them; one that cannot be read is told and is black.
    ///
    /// # Errors
    ///
    /// When an image has no file.
    pub fn squares(&self, preprocess: &Preprocess) -> Result<Vec<Vec<u8>>, TrainingError> {
        let squares = self.0.par_iter().map(|image| {
            let path = image.path.as_deref().ok_or(TrainingError::NoImages)?;
            let picture = photographs::read(path);
            let square = picture.and_then(|p| photographs::square(&p, preprocess, path));
            Ok(square.unwrap_or_else(|error| {
                tracing::warn!("{error}");
                vec![0; (preprocess.crop * preprocess.crop * 3) as usize]
            }))
        });
        squares.collect()
    }
}

impl ValidationImages {
    /// Place, entry and file of each.
    pub fn new(images: &[(usize, &ImageEntry, Option<PathBuf>)]) -> Self {
        let references = images
            .iter()
            .zip(0..)
            .map(|((_, entry, _), id)| ReferenceImage {
                id,
                file_name: Some(entry.file_name.clone()),
                captions: entry.captions.clone(),
            });
        ValidationImages {
            references: References::of(references),
            images: images
                .iter()
                .map(|(place, _, path)| Judged {
                    place: *place,
                    path: path.clone(),
                })
                .collect(),
        }
    }

    pub fn len(&self) -> usize {
        self.images.len()
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Captions all images; `features` gives those of some of them, `[images, dimensions]`.
    ///
    /// # Errors
    ///
    /// Those of `features` and of the captioner.
    pub fn judge(
        &self,
        captioner: &dyn Captioner,
        decoding: &Decoding,
        features: impl Fn(&Together) -> Result<Vec<f32>, TrainingError>,
    ) -> Result<Judgement, TrainingError> {
        let mut captions = Vec::with_capacity(self.images.len());
        for images in self.images.chunks(TOGETHER) {
            let features = features(&Together(images))?;
            for beams in captioner.caption(&features, decoding)? {
                let best = beams.into_iter().next();
                captions.push(best.map(|beam| beam.caption).unwrap_or_default());
            }
        }
        let samples = captions.iter().zip(self.references.images()).take(SAMPLES);
        let samples = samples.map(|(caption, image)| Sample {
            picture: image.name(),
            caption: caption.clone(),
            references: image.captions.clone(),
        });
        let samples = samples.collect();
        let candidates = captions
            .into_iter()
            .zip(0..)
            .map(|(caption, id)| Candidate {
                key: Key::Id(id),
                caption,
            });
        let report = evaluate(&self.references, candidates, Tolerances::default(), None)?;
        let metrics = report.metrics;
        Ok(Judgement {
            rank: metrics.cider_d,
            measures: vec![
                ("cider_d", metrics.cider_d),
                ("bleu_4", metrics.bleu.bleu_4),
                ("rouge_l", metrics.rouge_l),
            ],
            samples,
        })
    }

    /// Tells which images these are.
    pub fn identify(&self, hasher: &mut blake3::Hasher) {
        for image in &self.images {
            hasher.update(&(image.place as u64).to_le_bytes());
        }
    }
}
