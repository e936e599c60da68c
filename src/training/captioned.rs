//! Learning from captioned photographs: a data set in any form that [`crate::dataset`] reads, its
//! features computed once, or its pixels where the encoder goes on learning.

mod choice;
mod learnt;
mod words;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use tch::nn::Path as Variables;
use tch::{Device, Kind, Tensor};

use self::choice::{Chosen, choose, read, tell_left_out};
use self::learnt::{Learnt, LearntImage};
use super::captioner::Mode;
use super::config::{CaptionsData, TrainingConfig};
use super::drawn::pixels;
use super::held::{Held, Images, encoder_file};
use super::order::Order;
use super::subject::{Batch, Input, Judgement, KnownMatrix, MakeBatch, Seen, Subject};
use super::tuning::TunableVgg16;
use super::validation::ValidationImages;
use super::{ENCODER, TrainingError};
use crate::captioner::model::Model;
use crate::captioner::vocabulary::{END, Vocabulary};
use crate::dataset::{ImageEntry, Restval};
use crate::encoder::{self, EncoderConfig};
use crate::table::FileError;

/// A frozen encoder's weights are copied into the model up to this many bytes; larger ones are named
/// by their id.
const SHIPPED: u64 = 64 << 20;

/// See the [module](self).
pub struct Captioned {
    config: TrainingConfig,
    vocabulary: Vocabulary,
    learnt: Arc<Learnt>,
    validation: ValidationImages,
    tuned: Option<Tuned>,
    /// The frozen encoder's, if it is known.
    encoder_id: Option<String>,
    weights: Option<PathBuf>,
    device: Device,
    /// What products and convolutions are computed in.
    kind: Kind,
}

struct Tuned {
    encoder: TunableVgg16,
    /// The step that it begins with, counted from 0.
    from_step: u64,
}

impl Captioned {
    /// Reads the data set and gathers its features; computed ones are kept in `beside`. `stop` ends the
    /// computing.
    ///
    /// # Errors
    ///
    /// When the data set, features or weights cannot be read or do not fit together, or nothing is
    /// left to learn from.
    pub fn new(
        config: &TrainingConfig,
        data: &CaptionsData,
        variables: &Variables,
        beside: &Path,
        kind: Kind,
        stop: &AtomicBool,
    ) -> Result<Self, TrainingError> {
        let device = variables.device();
        let tuning = config.training.encoder.as_ref();
        let (mut set, located) = read(data)?;
        let restval = match data.restval {
            true => Restval::AsTrain,
            false => Restval::Apart,
        };
        let Chosen {
            mut learnt,
            mut judged,
        } = choose(&set, data, config.seed, restval)?;
        let (words, cut) = data
            .vocabulary
            .resolve()
            .map_err(|reason| TrainingError::Config {
                file: data.path.clone(),
                reason,
            })?;
        words::leave_out_long(&mut set, &learnt, data, words);
        let set = set;
        for places in [&mut learnt, &mut judged] {
            places.retain(|place| !set.images[*place].captions.is_empty());
        }
        let has_path = |place: &usize| {
            located
                .as_ref()
                .is_some_and(|located| located.paths[*place].is_some())
        };

        let mut wanted: Vec<usize> = learnt.iter().chain(&judged).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let nothing_left = |learnt: &[usize], judged: &[usize]| {
            (learnt.is_empty() || judged.is_empty()).then(|| TrainingError::NothingLeft {
                path: data.path.clone(),
                learnt: learnt.len(),
                judged: judged.len(),
            })
        };
        // What can be told before features are computed, which may take hours, is told before.
        let may_be_usable =
            |place: &usize| data.features.matrix.is_some() || located.is_none() || has_path(place);
        let may_be_learnt: Vec<usize> = learnt.iter().copied().filter(may_be_usable).collect();
        let may_be_judged: Vec<usize> = judged.iter().copied().filter(may_be_usable).collect();
        if let Some(error) = nothing_left(&may_be_learnt, &may_be_judged) {
            let missing = wanted.iter().filter(|place| !may_be_usable(place));
            tell_left_out(&set, missing, wanted.len());
            return Err(error);
        }
        // A model that goes on learning keeps its words.
        let of_start = config
            .start
            .as_ref()
            .map(|model| Vocabulary::read(&model.join("vocabulary.txt")))
            .transpose()?;
        let vocabulary_of = |learnt: &[usize]| match &of_start {
            Some(vocabulary) => Ok(vocabulary.clone()),
            None => words::vocabulary(&set, learnt, data, (words, cut)),
        };
        let mut vocabulary = vocabulary_of(&may_be_learnt)?;

        let held = match tuning {
            Some(tuning) if tuning.start_epoch == 1 => None,
            _ => {
                let images = Images {
                    set: &set,
                    located: located.as_ref(),
                    wanted: &wanted,
                };
                let features = &data.features;
                let on = (device, kind);
                Some(Held::gather(config, features, &images, beside, on, stop)?)
            }
        };
        let is_usable = |place: &usize| {
            held.as_ref().is_none_or(|held| held.has(*place))
                && (tuning.is_none() || has_path(place))
        };
        tell_left_out(
            &set,
            wanted.iter().filter(|place| !is_usable(place)),
            wanted.len(),
        );
        let usable = |places: Vec<usize>| places.into_iter().filter(is_usable).collect::<Vec<_>>();
        let (learnt, judged) = (usable(learnt), usable(judged));
        if let Some(error) = nothing_left(&learnt, &judged) {
            return Err(error);
        }
        if learnt.len() < may_be_learnt.len() {
            vocabulary = vocabulary_of(&learnt)?;
        }
        let captions = |place: &usize| set.images[*place].captions.iter().map(String::as_str);
        let encode = |caption: &str| {
            let mut tokens = vocabulary.encode(&words.normalize(caption));
            tokens.truncate(data.most_words.unwrap_or(usize::MAX));
            tokens
        };
        let images: Vec<LearntImage> = learnt
            .par_iter()
            .map(|place| LearntImage {
                place: *place,
                path: located
                    .as_ref()
                    .and_then(|located| located.paths[*place].clone()),
                captions: captions(place).map(encode).collect(),
            })
            .collect();
        let lengths: Vec<Vec<usize>> = images
            .iter()
            .map(|image| image.captions.iter().map(Vec::len).collect())
            .collect();
        let order = Order {
            seed: config.seed,
            batch: config.training.batch,
            captions_per_image: data.captions_per_image,
            like_length: data.like_length,
        };
        let steps_per_epoch = order.batches(&lengths);

        let weights = encoder_file(config);
        let tuned = match (tuning, &weights) {
            (Some(tuning), Some(file)) => Some(Tuned {
                encoder: TunableVgg16::new(
                    &(variables / "encoder"),
                    &config.encoder,
                    tuning,
                    file,
                    kind,
                )?,
                from_step: (tuning.start_epoch - 1) * steps_per_epoch,
            }),
            (Some(_), None) => return Err(TrainingError::NoFeatures),
            (None, _) => None,
        };
        let entries: Vec<(usize, &ImageEntry, Option<PathBuf>)> = judged
            .iter()
            .map(|place| {
                let path = located
                    .as_ref()
                    .and_then(|located| located.paths[*place].clone());
                (*place, &set.images[*place], path)
            })
            .collect();
        Ok(Captioned {
            validation: ValidationImages::new(&entries),
            encoder_id: held.as_ref().and_then(|held| held.encoder_id.clone()),
            learnt: Arc::new(Learnt {
                images,
                lengths,
                order,
                steps_per_epoch,
                held,
                preprocess: config.encoder.preprocess.clone(),
                tuning: tuning
                    .cloned()
                    .zip(tuned.as_ref().map(|tuned| tuned.from_step)),
                epoch: Mutex::new(None),
            }),
            config: config.clone(),
            vocabulary,
            tuned,
            weights,
            device,
            kind,
        })
    }

    /// The encoder, if it has begun to learn after so many steps.
    fn tuned(&self, steps: u64) -> Option<&TunableVgg16> {
        let tuned = self.tuned.as_ref()?;
        (steps > tuned.from_step).then_some(&tuned.encoder)
    }
}

impl Subject for Captioned {
    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn word_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.vocabulary.len()];
        for caption in self.learnt.images.iter().flat_map(|image| &image.captions) {
            counts[END as usize] += 1;
            for token in caption {
                counts[*token as usize] += 1;
            }
        }
        counts
    }

    fn steps_per_epoch(&self) -> u64 {
        self.learnt.steps_per_epoch
    }

    fn batches(&self) -> MakeBatch {
        let learnt = Arc::clone(&self.learnt);
        Box::new(move |step| learnt.batch(step))
    }

    fn see(&self, batch: &Batch, mode: Mode) -> Result<Seen, TrainingError> {
        let features = match (&batch.input, &self.tuned) {
            (Input::Features(values), _) => Tensor::f_from_slice(values)?
                .f_view([batch.pictures as i64, -1])?
                .f_to_device(self.device)?,
            (Input::Pixels { side, rgb }, Some(tuned)) => {
                let pixels = pixels(batch.pictures, *side, rgb)?.f_to_device(self.device)?;
                tuned.encoder.forward(&pixels, mode)?
            }
            (Input::Pixels { .. }, None) => return Err(TrainingError::NoFeatures),
        };
        Ok(Seen {
            features,
            losses: Vec::new(),
        })
    }

    fn save_encoder(&self, directory: &Path, steps: u64) -> Result<EncoderConfig, TrainingError> {
        let mut described = EncoderConfig {
            weights: None,
            id: None,
            ..self.config.encoder.clone()
        };
        if let Some(encoder) = self.tuned(steps) {
            encoder.save(&directory.join(ENCODER))?;
            described.weights = Some(ENCODER.into());
            return Ok(described);
        }
        described.id = self.encoder_id.clone();
        if let Some(file) = &self.weights {
            let bytes = std::fs::metadata(file)
                .map_err(FileError::on("read", file))?
                .len();
            if bytes <= SHIPPED {
                let copied = std::fs::copy(file, directory.join(ENCODER));
                copied.map_err(FileError::on("copy", file))?;
                described.weights = Some(ENCODER.into());
            }
        }
        Ok(described)
    }

    fn judge(&self, directory: &Path, steps: u64) -> Result<Judgement, TrainingError> {
        let model = Model::open(directory)?;
        let captioner = model.captioner(self.device)?;
        let decoding = &model.config.decoding;
        match (self.tuned(steps), &self.learnt.held, &self.weights) {
            (None, Some(held), _) => {
                self.validation
                    .judge(captioner.as_ref(), decoding, |images| {
                        held.read(&images.places())
                    })
            }
            (None, None, None) => Err(TrainingError::NoFeatures),
            (tuned, _, weights) => {
                let file = match (tuned, weights) {
                    (None, Some(file)) => file.clone(),
                    _ => directory.join(ENCODER),
                };
                let config = &model.config.encoder;
                let encoder = encoder::load(config, &file, self.device, self.kind)?;
                self.validation
                    .judge(captioner.as_ref(), decoding, |images| {
                        let squares = images.squares(encoder.preprocess())?;
                        let pictures: Vec<&[u8]> = squares.iter().map(Vec::as_slice).collect();
                        Ok(encoder.encode(&pictures)?)
                    })
            }
        }
    }

    fn encoder_id(&self, directory: &Path, steps: u64) -> Result<Option<String>, TrainingError> {
        if self.tuned(steps).is_none() {
            return Ok(self.encoder_id.clone());
        }
        let config = EncoderConfig {
            id: None,
            ..self.config.encoder.clone()
        };
        let file = directory.join(ENCODER);
        let loaded = encoder::load(&config, &file, Device::Cpu, Kind::Float)?;
        Ok(Some(loaded.id().to_owned()))
    }

    fn origin(&self, epochs: u64) -> toml::Table {
        let captions: usize = self.learnt.lengths.iter().map(Vec::len).sum();
        let mut origin = toml::Table::new();
        let mut say = |key: &str, value: toml::Value| origin.insert(key.to_owned(), value);
        if let super::config::DataConfig::Captions(data) = &self.config.data {
            say("data", data.path.display().to_string().into());
        }
        say("images", (self.learnt.images.len() as i64).into());
        say("captions", (captions as i64).into());
        say("epochs", (epochs as i64).into());
        say("judged_by", (self.validation.len() as i64).into());
        if let Some(tuning) = &self.config.training.encoder {
            say("encoder_tuned_from", tuning.from.clone().into());
        }
        origin
    }

    fn is_demonstration(&self) -> bool {
        false
    }

    fn matrix(&self) -> Option<&KnownMatrix> {
        self.learnt.held.as_ref()?.matrix.as_ref()
    }

    fn identify(&self, hasher: &mut blake3::Hasher) {
        hasher.update(self.vocabulary.to_text().as_bytes());
        hasher.update(self.encoder_id.as_deref().unwrap_or_default().as_bytes());
        for image in &self.learnt.images {
            hasher.update(&(image.place as u64).to_le_bytes());
            for caption in &image.captions {
                hasher.update(&(caption.len() as u64).to_le_bytes());
                for token in caption {
                    hasher.update(&token.to_le_bytes());
                }
            }
        }
        self.validation.identify(hasher);
    }
}
