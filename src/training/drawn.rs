//! Learning from drawn scenes: an encoder from nothing, with losses that only drawings have the truth
//! for.

use std::collections::BTreeMap;
use std::path::Path;

use tch::nn::Path as Variables;
use tch::{Device, Kind, Tensor};

use super::captioner::Mode;
use super::config::{ScenesData, TrainingConfig};
use super::grounding::{Cells, Grounding};
use super::network::{Learnt, TrainableVgg16};
use super::presence::{Presence, WordPresence};
use super::roles::{Cast, Roles};
use super::scenes::{AGREED, ValidationSet, draw, vocabulary};
use super::subject::{Batch, Input, Judgement, MakeBatch, Seen, Subject};
use super::{ENCODER, TrainingError};
use crate::captioner::model::Model;
use crate::captioner::vocabulary::{END, TokenId, Vocabulary};
use crate::encoder::{self, EncoderConfig, Layer};

/// What is drawn in the scenes of a batch, one entry for each.
#[derive(Debug, Default)]
pub struct Truths {
    /// Words, and in how many of the scene's captions each occurs.
    pub present: Vec<BTreeMap<TokenId, usize>>,
    /// What lies where in conv5_3.
    pub cells: Vec<Cells>,
    /// What its objects are.
    pub casts: Vec<Cast>,
}

/// See the [module](self).
pub struct Drawn {
    config: TrainingConfig,
    data: ScenesData,
    vocabulary: Vocabulary,
    validation: ValidationSet,
    encoder: TrainableVgg16,
    presence: Presence,
    roles: Roles,
    grounding: Grounding,
    device: Device,
    kind: Kind,
}

impl Drawn {
    /// # Errors
    ///
    /// When a scene cannot be drawn, a model to go on from cannot be read, or the device has no room.
    pub fn new(
        config: &TrainingConfig,
        data: &ScenesData,
        variables: &Variables,
        kind: Kind,
    ) -> Result<Self, TrainingError> {
        let device = variables.device();
        // A model that goes on learning keeps its words.
        let vocabulary = match &config.start {
            Some(model) => Vocabulary::read(&model.join("vocabulary.txt"))?,
            None => vocabulary(data),
        };
        if !vocabulary.has_words() {
            return Err(TrainingError::NoWordsOfScenes {
                threshold: data.word_threshold,
            });
        }
        let words = vocabulary.len() as i64;
        let validation = ValidationSet::draw(data, &config.encoder.preprocess)?;
        let convolutions_are = match config.training.freeze_convolutions {
            true => Learnt::NoMore,
            false => Learnt::Still,
        };
        let mut encoder = TrainableVgg16::new(
            &(variables / "encoder"),
            &config.encoder,
            convolutions_are,
            kind,
        )?;
        if let Some(model) = &config.start {
            encoder.start_from(&model.join(ENCODER), &validation.pixels(device)?)?;
        }
        let width = match config.encoder.layer {
            Layer::Fc7 => config.encoder.hidden,
            Layer::Conv5_3 => config.encoder.widths[4],
        };
        Ok(Drawn {
            presence: Presence::new(&(variables / "presence"), width, words)?,
            roles: Roles::new(&(variables / "roles"), width)?,
            grounding: Grounding::new(&(variables / "grounding"), config.encoder.widths[4])?,
            config: config.clone(),
            data: data.clone(),
            vocabulary,
            validation,
            encoder,
            device,
            kind,
        })
    }

    /// Which words are in the pictures and which count, on the device.
    fn present(&self, truths: &Truths) -> Result<WordPresence, tch::TchError> {
        let words = self.vocabulary.len();
        let mut present = vec![0.0f32; truths.present.len() * words];
        let mut counted = vec![1.0f32; present.len()];
        for (picture, tokens) in truths.present.iter().enumerate() {
            for (token, captions) in tokens {
                let at = picture * words + *token as usize;
                if *captions >= AGREED {
                    present[at] = 1.0;
                } else {
                    counted[at] = 0.0;
                }
            }
        }
        let per_word = |values: &[f32]| {
            Tensor::f_from_slice(values)?
                .f_view([-1, words as i64])?
                .f_to_device(self.device)
        };
        Ok(WordPresence {
            present: per_word(&present)?,
            counted: per_word(&counted)?,
        })
    }
}

impl Subject for Drawn {
    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn word_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.vocabulary.len()];
        let scenes = self.data.scenes();
        for index in 0..self.data.per_epoch.min(1000) {
            for caption in &scenes.describe(index).1 {
                counts[END as usize] += 1;
                for token in self.vocabulary.encode(caption) {
                    counts[token as usize] += 1;
                }
            }
        }
        counts
    }

    fn steps_per_epoch(&self) -> u64 {
        self.data.per_epoch / self.config.training.batch as u64
    }

    fn batches(&self) -> MakeBatch {
        let (config, data) = (self.config.clone(), self.data.clone());
        let vocabulary = self.vocabulary.clone();
        let (per_epoch, batch) = (self.steps_per_epoch(), self.config.training.batch as u64);
        Box::new(move |step| {
            let (epoch, within) = (step / per_epoch, step % per_epoch);
            let first = epoch * data.per_epoch + within * batch;
            draw(&config, &data, &vocabulary, first)
        })
    }

    fn see(&self, batch: &Batch, mode: Mode) -> Result<Seen, TrainingError> {
        let (Input::Pixels { side, rgb }, Some(truths)) = (&batch.input, &batch.truths) else {
            return Err(TrainingError::Scenes("a batch holds no scenes".to_owned()));
        };
        let pixels = pixels(batch.pictures, *side, rgb)?.f_to_device(self.device)?;
        let features = self.encoder.forward(&pixels, mode)?;
        let weights = &self.config.training;
        let mut losses = Vec::new();
        if weights.word_presence > 0.0 {
            let loss = self
                .presence
                .loss(&features.whole, &self.present(truths)?)?;
            losses.push(("presence", loss, weights.word_presence));
        }
        if weights.roles > 0.0 {
            let loss = self.roles.loss(&features.whole, &truths.casts)?;
            losses.push(("roles", loss, weights.roles));
        }
        if weights.grounding > 0.0 {
            let loss = self.grounding.loss(&features.conv5_3, &truths.cells)?;
            losses.push(("grounding", loss, weights.grounding));
        }
        Ok(Seen {
            features: features.of(self.config.encoder.layer)?,
            losses,
        })
    }

    fn save_encoder(&self, directory: &Path, _steps: u64) -> Result<EncoderConfig, TrainingError> {
        self.encoder.save(&directory.join(ENCODER))?;
        Ok(EncoderConfig {
            weights: Some(ENCODER.into()),
            id: None,
            ..self.config.encoder.clone()
        })
    }

    fn judge(&self, directory: &Path, _steps: u64) -> Result<Judgement, TrainingError> {
        let model = Model::open(directory)?;
        let weights = directory.join(ENCODER);
        let encoder = encoder::load(&model.config.encoder, &weights, self.device, self.kind)?;
        let captioner = model.captioner(self.device)?;
        let decoding = &model.config.decoding;
        let judged = self
            .validation
            .judge(encoder.as_ref(), captioner.as_ref(), decoding)?;
        Ok(Judgement {
            rank: judged.rank(),
            measures: judged.measures().to_vec(),
            samples: judged.samples,
        })
    }

    fn encoder_id(&self, directory: &Path, _steps: u64) -> Result<Option<String>, TrainingError> {
        let weights = directory.join(ENCODER);
        let config = EncoderConfig {
            id: None,
            ..self.config.encoder.clone()
        };
        let loaded = encoder::load(&config, &weights, Device::Cpu, Kind::Float)?;
        Ok(Some(loaded.id().to_owned()))
    }

    fn origin(&self, epochs: u64) -> toml::Table {
        let mut origin = toml::Table::new();
        let seen = self.data.per_epoch * epochs;
        origin.insert("scenes_seed".to_owned(), (self.data.seed as i64).into());
        origin.insert("scenes_seen".to_owned(), (seen as i64).into());
        origin
    }

    fn is_demonstration(&self) -> bool {
        true
    }

    fn identify(&self, hasher: &mut blake3::Hasher) {
        hasher.update(self.vocabulary.to_text().as_bytes());
    }
}

/// `[pictures, 3, side, side]`, u8, of `[pictures, side, side, 3]`.
pub(super) fn pixels(pictures: usize, side: usize, rgb: &[u8]) -> Result<Tensor, tch::TchError> {
    let shape = [pictures as i64, side as i64, side as i64, 3];
    Tensor::f_from_data_size(rgb, &shape, Kind::Uint8)?.f_permute([0, 3, 1, 2])
}
