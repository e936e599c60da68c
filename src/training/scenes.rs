//! Draws the scenes that a captioner learns from, and those it is judged by.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::TrainingError;
use super::config::{ScenesData, TrainingConfig};
use super::drawn::Truths;
use super::event::{Measure, Sample};
use super::grounding::Cells;
use super::roles::Cast;
use super::subject::{Batch, Input};
use crate::archive::Picture;
use crate::captioner::vocabulary::Vocabulary;
use crate::captioner::{Captioner, Decoding};
use crate::encoder::Encoder;
use crate::encoder::preprocess::Preprocess;
use crate::scenes::{Checker, Scene, Truth, Verdict, Verdicts};

/// Scenes whose captions the vocabulary is taken from.
const VOCABULARY_SCENES: u64 = 2000;
/// Scenes that the statistics of a model are taken from before it goes on learning.
const STATISTICS_SCENES: usize = 256;
/// A word that so many of a scene's five captions hold is about the picture, not about the wording.
pub const AGREED: usize = 4;
/// Side of what a cell of conv5_3 stands for, in pixels of the network's input.
const CELL: usize = 16;
/// Scenes whose captions are shown.
const SAMPLES: usize = 6;
/// Scenes captioned at once when a model is judged.
const JUDGED_TOGETHER: usize = 64;

/// The words of the first scenes' captions.
pub fn vocabulary(config: &ScenesData) -> Vocabulary {
    let scenes = config.scenes();
    let captions: Vec<[String; 5]> = (0..VOCABULARY_SCENES)
        .into_par_iter()
        .map(|index| scenes.describe(index).1)
        .collect();
    let captions = captions.iter().flatten().map(String::as_str);
    Vocabulary::build(captions, config.word_threshold)
}

/// Draws the scenes from `first` on that make up a batch.
///
/// # Errors
///
/// When a scene cannot be drawn.
pub fn draw(
    config: &TrainingConfig,
    data: &ScenesData,
    vocabulary: &Vocabulary,
    first: u64,
) -> Result<Batch, TrainingError> {
    let scenes = data.scenes();
    let side = config.encoder.preprocess.crop as usize;
    let drawn = (first..first + config.training.batch as u64)
        .into_par_iter()
        .map(|index| {
            let scene = scenes.draw(index);
            let captions: Vec<_> = scene
                .captions
                .iter()
                .map(|caption| vocabulary.encode(caption))
                .collect();
            let objects = &scene.truth.objects;
            let cells = Cells::new(objects, scene.width, scene.height, side / CELL);
            let cast = Cast::new(objects);
            let pixels = pixels(scene, &config.encoder.preprocess)?;
            Ok((pixels, captions, cells, cast))
        })
        .collect::<Result<Vec<_>, TrainingError>>()?;
    let pictures = drawn.len();
    let mut rgb = Vec::new();
    let mut chosen_captions = Vec::new();
    let mut truths = Truths::default();
    for (picture, (pixels, captions, cells, cast)) in drawn.into_iter().enumerate() {
        rgb.extend(pixels);
        let mut present = BTreeMap::new();
        for caption in &captions {
            for token in caption.iter().collect::<BTreeSet<_>>() {
                *present.entry(*token).or_default() += 1;
            }
        }
        truths.present.push(present);
        truths.cells.push(cells);
        truths.casts.push(cast);
        // Each scene is seen once, so which captions are taken may as well follow its number.
        let start = (first as usize + picture) % captions.len();
        let chosen = captions
            .iter()
            .cycle()
            .skip(start)
            .take(data.captions_per_scene);
        chosen_captions.extend(chosen.map(|caption| (picture, caption.clone())));
    }
    Ok(Batch {
        pictures,
        input: Input::Pixels { side, rgb },
        captions: chosen_captions,
        truths: Some(truths),
    })
}

fn pixels(scene: Scene, preprocess: &Preprocess) -> Result<Vec<u8>, TrainingError> {
    let picture = Picture {
        width: scene.width,
        height: scene.height,
        rgb: scene.pixels,
    };
    preprocess
        .apply(&picture)
        .map_err(|error| TrainingError::Scenes(error.to_string()))
}

/// Scenes that a model is judged by, drawn once.
pub struct ValidationSet {
    pixels: Vec<Vec<u8>>,
    truths: Vec<Truth>,
    /// Captions of the first few.
    references: Vec<[String; 5]>,
}

/// How many captions say of their scene what is true, as shares.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    pub scenes: usize,
    /// Setting, main object and its colour are all right.
    pub main: f64,
    pub setting: f64,
    pub kind: f64,
    pub colour: f64,
    pub count: f64,
    /// Of the captions that say where the main object is, seen from another.
    pub relation: f64,
    /// What the model says of the first few.
    pub samples: Vec<Sample>,
}

impl Validation {
    /// Whole captions first; of those equally often right, the ones with more right parts.
    pub fn rank(&self) -> f64 {
        self.main + (self.setting + self.kind + self.colour + self.count) / 4.0
    }

    /// The shares by name.
    pub fn measures(&self) -> [Measure; 6] {
        [
            ("main", self.main),
            ("setting", self.setting),
            ("kind", self.kind),
            ("colour", self.colour),
            ("count", self.count),
            ("relation", self.relation),
        ]
    }
}

impl ValidationSet {
    /// # Errors
    ///
    /// When a scene cannot be drawn.
    pub fn draw(data: &ScenesData, preprocess: &Preprocess) -> Result<Self, TrainingError> {
        let scenes = data.validation();
        let drawn = (0..data.validation_count)
            .into_par_iter()
            .map(|index| {
                let scene = scenes.draw(index);
                let truth = scene.truth.clone();
                Ok((pixels(scene, preprocess)?, truth))
            })
            .collect::<Result<Vec<_>, TrainingError>>()?;
        let (pixels, truths) = drawn.into_iter().unzip();
        let shown = data.validation_count.min(SAMPLES as u64);
        Ok(ValidationSet {
            pixels,
            truths,
            references: (0..shown).map(|index| scenes.describe(index).1).collect(),
        })
    }

    /// The first scenes' pixels, `[scenes, 3, side, side]`, u8.
    pub fn pixels(&self, device: Device) -> Result<Tensor, tch::TchError> {
        let pixels: Vec<&[u8]> = self
            .pixels
            .iter()
            .take(STATISTICS_SCENES)
            .map(Vec::as_slice)
            .collect();
        let side = (pixels.first().map_or(0, |pixels| pixels.len() / 3) as f64).sqrt() as i64;
        let shape = [pixels.len() as i64, side, side, 3];
        Tensor::f_from_data_size(&pixels.concat(), &shape, Kind::Uint8)?
            .f_permute([0, 3, 1, 2])?
            .f_to_device(device)
    }

    /// Captions all scenes and compares with what they show.
    ///
    /// # Errors
    ///
    /// When the model cannot be computed.
    pub fn judge(
        &self,
        encoder: &dyn Encoder,
        captioner: &dyn Captioner,
        decoding: &Decoding,
    ) -> Result<Validation, TrainingError> {
        let mut captions = Vec::with_capacity(self.truths.len());
        for pixels in self.pixels.chunks(JUDGED_TOGETHER) {
            let pictures: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
            let features = encoder.encode(&pictures)?;
            for beams in captioner.caption(&features, decoding)? {
                let best = beams.into_iter().next();
                captions.push(best.map(|beam| beam.caption).unwrap_or_default());
            }
        }
        let verdicts: Vec<_> = captions
            .iter()
            .zip(&self.truths)
            .map(|(caption, truth)| Checker::new(truth).check(caption))
            .collect();
        let share = |right: &dyn Fn(&Verdicts) -> bool| {
            verdicts.iter().filter(|check| right(check)).count() as f64 / verdicts.len() as f64
        };
        let said = verdicts
            .iter()
            .filter(|check| check.relation != Verdict::NotSaid)
            .count();
        let relations = verdicts
            .iter()
            .filter(|check| check.relation == Verdict::Right)
            .count();
        Ok(Validation {
            scenes: captions.len(),
            main: share(&|check| check.is_main_right()),
            setting: share(&|check| check.setting == Verdict::Right),
            kind: share(&|check| check.kind == Verdict::Right),
            colour: share(&|check| check.colour == Verdict::Right),
            count: share(&|check| check.count == Verdict::Right),
            relation: relations as f64 / said.max(1) as f64,
            samples: captions
                .into_iter()
                .take(SAMPLES)
                .enumerate()
                .map(|(index, caption)| Sample {
                    picture: format!("scene {index}"),
                    caption,
                    references: self.references[index].to_vec(),
                })
                .collect(),
        })
    }
}
