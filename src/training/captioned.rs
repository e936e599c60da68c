//! Learning from captioned photographs: a data set in any form that [`crate::dataset`] reads, its
//! features computed once, or its pixels where the encoder goes on learning.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::nn::Path as Variables;
use tch::{Device, Kind, Tensor};

use super::augment;
use super::captioner::Mode;
use super::config::{CaptionsData, TrainingConfig, TuningConfig};
use super::drawn::pixels;
use super::held::{Held, Images, encoder_file};
use super::order::{Order, Sight, seed};
use super::photographs;
use super::subject::{Batch, Input, Judgement, KnownMatrix, MakeBatch, Seen, Subject};
use super::tuning::TunableVgg16;
use super::validation::ValidationImages;
use super::vocabulary::WordCounts;
use super::{ENCODER, TrainingError};
use crate::captioner::model::Model;
use crate::captioner::vocabulary::{END, TokenId, Vocabulary};
use crate::dataset::{DataSet, ImageEntry, Located, Options, Restval, Source, Split, SplitList};
use crate::encoder::preprocess::Preprocess;
use crate::encoder::{self, EncoderConfig};
use crate::table::FileError;

/// A frozen encoder's weights are copied into the model up to this many bytes; larger ones are named
/// by their id.
const SHIPPED: u64 = 64 << 20;
/// How many names a message shows.
const SHOWN: usize = 3;

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

/// What batches are made of.
struct Learnt {
    images: Vec<LearntImage>,
    /// Words of each caption of each image.
    lengths: Vec<Vec<usize>>,
    order: Order,
    steps_per_epoch: u64,
    held: Option<Held>,
    preprocess: Preprocess,
    tuning: Option<(TuningConfig, u64)>,
    /// The batches of the epoch asked for last.
    epoch: Mutex<Option<(u64, Vec<Vec<Sight>>)>>,
}

struct LearntImage {
    /// In the data set.
    place: usize,
    path: Option<PathBuf>,
    captions: Vec<Vec<TokenId>>,
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
        let (set, located) = read(data)?;
        let restval = match data.restval {
            true => Restval::AsTrain,
            false => Restval::Apart,
        };
        let Chosen { learnt, judged } = choose(&set, data, config.seed, restval)?;
        let has_path = |place: &usize| {
            located
                .as_ref()
                .is_some_and(|located| located.paths[*place].is_some())
        };

        let mut wanted: Vec<usize> = learnt.iter().chain(&judged).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
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
        if learnt.is_empty() || judged.is_empty() {
            return Err(TrainingError::NothingLeft {
                path: data.path.clone(),
                learnt: learnt.len(),
                judged: judged.len(),
            });
        }

        let (words, cut) = data
            .vocabulary
            .resolve()
            .map_err(|reason| TrainingError::Config {
                file: data.path.clone(),
                reason,
            })?;
        let captions = |place: &usize| set.images[*place].captions.iter().map(String::as_str);
        // A model that goes on learning keeps its words.
        let vocabulary = match &config.start {
            Some(model) => Vocabulary::read(&model.join("vocabulary.txt"))?,
            None => {
                let all: Vec<&str> = learnt.iter().flat_map(captions).collect();
                WordCounts::of(&all, words).vocabulary(cut)
            }
        };
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

/// The data set, and where its images are if there is a folder of them.
fn read(data: &CaptionsData) -> Result<(DataSet, Option<Located>), TrainingError> {
    let lists = data.splits.iter().map(|list| SplitList::parse(list));
    let options = Options {
        format: data.format.as_ref().and_then(|format| format.parse().ok()),
        split_lists: lists.collect::<Result<_, _>>()?,
        images: data.images.clone(),
    };
    let source = Source::find(&data.path, options)?;
    let set = source.read()?;
    let located = source.pictures()?.map(|pictures| pictures.locate(&set));
    Ok((set, located))
}

/// Places of images in the data set.
struct Chosen {
    learnt: Vec<usize>,
    judged: Vec<usize>,
}

/// The images that are learnt from and those that a model is judged by.
fn choose(
    set: &DataSet,
    data: &CaptionsData,
    seed_of_training: i64,
    restval: Restval,
) -> Result<Chosen, TrainingError> {
    let has_splits = set.images.iter().any(|image| image.split.is_some());
    let places = |fits: &dyn Fn(&ImageEntry) -> bool| -> Vec<usize> {
        let images = set.images.iter().enumerate();
        let fitting = images.filter(|(_, image)| !image.captions.is_empty() && fits(image));
        fitting.map(|(place, _)| place).collect()
    };
    let in_split = |image: &ImageEntry, split: Split| {
        image.split == Some(split)
            || restval == Restval::AsTrain
                && split == Split::Train
                && image.split == Some(Split::Restval)
    };
    let mut learnt = match has_splits {
        true => places(&|image| in_split(image, Split::Train)),
        false => places(&|_| true),
    };
    let validation = &data.validation;
    let split = Split::named(&validation.split).unwrap_or(Split::Val);
    let mut judged = match (has_splits, validation.hold_out, split) {
        (_, None, Split::Train) => learnt.clone(),
        (true, None, split) => places(&|image| in_split(image, split)),
        (false, Some(held), _) => {
            let mut shuffled = learnt.clone();
            shuffled.shuffle(&mut ChaCha8Rng::from_seed(seed(
                seed_of_training,
                "held out",
                &[],
            )));
            let mut judged: Vec<_> = shuffled.into_iter().take(held).collect();
            judged.sort_unstable();
            learnt.retain(|place| judged.binary_search(place).is_err());
            judged
        }
        (true, Some(_), _) => {
            return Err(TrainingError::HoldOut {
                path: data.path.clone(),
                reason: "the data set has splits: leave data.validation.hold_out out",
            });
        }
        (false, None, _) => {
            return Err(TrainingError::HoldOut {
                path: data.path.clone(),
                reason: "no split of it is for judging: give data.splits, data.validation.hold_out = \
                         N, or data.validation.split = \"train\" to judge by what is learnt from",
            });
        }
    };
    judged.truncate(validation.images.unwrap_or(usize::MAX));
    Ok(Chosen { learnt, judged })
}

fn tell_left_out<'a>(set: &DataSet, places: impl Iterator<Item = &'a usize>, all: usize) {
    let names: Vec<&str> = places
        .map(|place| set.images[*place].file_name.as_str())
        .collect();
    if names.is_empty() {
        return;
    }
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    tracing::warn!(
        "{} of {all} images are left out, since their files or features are missing: {shown}{more}",
        names.len()
    );
}

impl Learnt {
    fn batch(&self, step: u64) -> Result<Batch, TrainingError> {
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
                        Ok(encoder.encode(&images.pixels(encoder.preprocess())?)?)
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
