//! Features of a data set's images, held for random access: read from a matrix or a cache, or computed
//! once and kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use half::bf16;
use rayon::prelude::*;
use tch::{Device, Kind};

use super::TrainingError;
use super::config::{FeaturesConfig, TrainingConfig};
use super::photographs;
use super::subject::KnownMatrix;
use crate::archive::ImageId;
use crate::cache::{Cache, CacheWriter, Precision, Spec};
use crate::dataset::{self, DataSet, Features, Located};
use crate::encoder::{self, Encoder};
use crate::nightly::Lock;
use crate::table::Layout;

/// Images that are encoded at once.
const TOGETHER: usize = 32;
/// Images whose computed features may be lost when a training is killed.
const PART: usize = 512;
/// Images that are asked of the cache at once.
const ASKED: usize = 4096;
/// A matrix of which no more values than these are wanted, 64 MiB as f32, is read once before anything is
/// learnt, so that rows that are no numbers are told at once. Those of a larger one are told when a batch
/// has one.
const READ_BEFORE: usize = 16 << 20;

/// The images whose features are wanted.
pub struct Images<'a> {
    pub set: &'a DataSet,
    pub located: Option<&'a Located>,
    /// Places in the data set.
    pub wanted: &'a [usize],
}

/// Features of some images.
pub struct Held {
    dims: usize,
    /// For each image of the data set its row, if it has features.
    rows: Vec<Option<usize>>,
    values: Values,
    /// The encoder that they came from, if it is known.
    pub encoder_id: Option<String>,
    /// The matrix that they are read from, if that is so.
    pub matrix: Option<KnownMatrix>,
}

enum Values {
    /// Read from the file when they are asked for.
    Matrix(Features),
    /// `[rows, dims]`: what is rounded to bfloat16 anyway, as in the cache, takes half the room.
    Rounded(Vec<bf16>),
    /// `[rows, dims]`
    Full(Vec<f32>),
}

impl Held {
    /// The features of images, as far as they can be had.
    /// `beside` is the folder where those are kept that are computed, if the recipe names no others; they are
    /// computed on a device in a type, f32 or bfloat16.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or written, does not fit the encoder, or nothing says how features
    /// could be had.
    pub fn gather(
        config: &TrainingConfig,
        features: &FeaturesConfig,
        images: &Images,
        beside: &Path,
        (device, kind): (Device, Kind),
        stop: &AtomicBool,
    ) -> Result<Self, TrainingError> {
        let Images {
            set,
            located,
            wanted,
        } = *images;
        let expected = config.encoder.dimensions() as usize;
        if let Some(file) = &features.matrix {
            let matrix = Features::of_matrix(file, set)?;
            check_dims(file, expected, matrix.dims())?;
            let rows = (0..set.images.len()).map(|place| matrix.has(place).then_some(place));
            let digest = matrix.digest()?;
            if wanted.len() * expected <= READ_BEFORE {
                let mut rows = vec![0.0; ASKED.min(wanted.len()) * expected];
                for places in wanted.chunks(ASKED) {
                    let known: Vec<_> = places.iter().copied().filter(|p| matrix.has(*p)).collect();
                    matrix.read(&known, &mut rows[..known.len() * expected])?;
                }
            }
            let known = digest.map(|digest| KnownMatrix {
                path: file.clone(),
                digest,
            });
            return Ok(Held {
                matrix: known,
                dims: expected,
                rows: rows.collect(),
                values: Values::Matrix(matrix),
                encoder_id: config.encoder.id.clone(),
            });
        }
        let located = located.ok_or(TrainingError::NoImages)?;
        let shared = match &features.cache {
            Some(out) => {
                let id = match encoder_file(config) {
                    Some(file) => Some(
                        load(config, &file, (Device::Cpu, Kind::Float))?
                            .id()
                            .to_owned(),
                    ),
                    None => config.encoder.id.clone(),
                };
                Some((out.as_path(), peek(out, id.as_deref())?))
            }
            None => None,
        };
        let ids = wanted.par_iter().map(|place| {
            let path = located.paths.get(*place).and_then(Option::as_ref);
            path.map(|path| dataset::identity(path)).transpose()
        });
        let ids: Vec<Option<ImageId>> = ids.collect::<Result<_, _>>()?;
        if ids.iter().all(Option::is_none) {
            // Nothing to look for, nor to make a cache for.
            return Ok(Held {
                dims: expected,
                rows: Vec::new(),
                values: Values::Rounded(Vec::new()),
                encoder_id: None,
                matrix: None,
            });
        }
        let (out, cache) = match (shared, encoder_file(config)) {
            (Some(shared), _) => shared,
            (None, Some(file)) => {
                let encoder = load(config, &file, (device, kind))?;
                let images = wanted
                    .iter()
                    .zip(&ids)
                    .filter_map(|(place, id)| Some(((*id)?, located.paths[*place].clone()?)));
                let cache = complete(beside, encoder.as_ref(), images.collect(), stop)?;
                (beside, cache)
            }
            (None, None) => return Err(TrainingError::NoFeatures),
        };
        check_dims(out, expected, cache.spec().dims)?;
        let mut held = Held {
            dims: expected,
            rows: vec![None; set.images.len()],
            values: Values::Rounded(Vec::new()),
            encoder_id: Some(cache.spec().encoder_id.clone()),
            matrix: None,
        };
        let mut full = Vec::new();
        let mut count = 0;
        for (places, ids) in wanted.chunks(ASKED).zip(ids.chunks(ASKED)) {
            let known: Vec<_> = ids
                .iter()
                .zip(places)
                .filter_map(|(id, place)| Some(((*id)?, *place)))
                .collect();
            let asked: Vec<_> = known.iter().map(|(id, _)| *id).collect();
            for (found, (_, place)) in cache.get(&asked).into_iter().zip(&known) {
                let Some(found) = found else { continue };
                held.rows[*place] = Some(count);
                count += 1;
                held.values.push(&found, &mut full);
            }
        }
        if !full.is_empty() {
            held.values = Values::Full(full);
        }
        let lacking = ids.iter().flatten().count() - count;
        if features.cache.is_some() && lacking > 0 {
            let out = out.display();
            tracing::warn!(
                "{out} lacks the features of {lacking} images, and nothing is added to it here; \
                 `showtell embed --out {out}` would"
            );
        }
        Ok(held)
    }

    /// Whether there are features of the image at this place of the data set.
    pub fn has(&self, image: usize) -> bool {
        self.rows.get(image).is_some_and(Option::is_some)
    }

    /// Reads the features of images into `[images, dims]`.
    ///
    /// # Errors
    ///
    /// When one has none, or the file cannot be read.
    pub fn read(&self, images: &[usize]) -> Result<Vec<f32>, TrainingError> {
        let dims = self.dims;
        let mut into = vec![0.0; images.len() * dims];
        if let Values::Matrix(features) = &self.values {
            features.read(images, &mut into)?;
            return Ok(into);
        }
        for (image, into) in images.iter().zip(into.chunks_exact_mut(dims)) {
            let row = self.rows.get(*image).copied().flatten();
            let row = row.ok_or(dataset::FeaturesError::Missing { place: *image })?;
            match &self.values {
                Values::Rounded(values) => {
                    for (into, value) in into.iter_mut().zip(&values[row * dims..][..dims]) {
                        *into = value.to_f32();
                    }
                }
                Values::Full(values) => into.copy_from_slice(&values[row * dims..][..dims]),
                Values::Matrix(_) => {}
            }
        }
        Ok(into)
    }
}

impl Values {
    /// Adds a row; once one is not what rounding leaves, all go to `full`.
    fn push(&mut self, row: &[f32], full: &mut Vec<f32>) {
        let is_rounded = |value: &f32| bf16::from_f32(*value).to_f32() == *value;
        if let Values::Rounded(values) = self {
            if full.is_empty() && row.iter().all(is_rounded) {
                values.extend(row.iter().map(|value| bf16::from_f32(*value)));
                return;
            }
            full.extend(values.drain(..).map(bf16::to_f32));
        }
        full.extend_from_slice(row);
    }
}

/// The file that the encoder starts from, if the recipe tells of one.
pub fn encoder_file(config: &TrainingConfig) -> Option<PathBuf> {
    let of_start = || {
        let file = config.start.as_ref()?.join(super::ENCODER);
        file.is_file().then_some(file)
    };
    config.encoder.weights.clone().or_else(of_start)
}

fn check_dims(path: &Path, expected: usize, found: usize) -> Result<(), TrainingError> {
    match expected == found {
        true => Ok(()),
        false => Err(TrainingError::Dimensions {
            path: path.to_owned(),
            expected,
            found,
        }),
    }
}

/// The recipe's encoder, from the weights in a file.
fn load(
    config: &TrainingConfig,
    file: &Path,
    (device, kind): (Device, Kind),
) -> Result<Box<dyn Encoder>, TrainingError> {
    let mut described = config.encoder.clone();
    described.weights = None;
    Ok(encoder::load(&described, file, device, kind)?)
}

/// The features that are in `out` of the encoder that is wanted, or of the only one. It is read alone: it
/// may be shared, and is somebody's table.
fn peek(out: &Path, wanted: Option<&str>) -> Result<Cache, TrainingError> {
    let layout = Layout::open(out).map_err(TrainingError::FeatureCache)?;
    let specs = Spec::stored(&layout).map_err(TrainingError::FeatureCache)?;
    let known: Vec<_> = specs.iter().map(|spec| spec.encoder_id.clone()).collect();
    let out = out.to_owned();
    let mut fitting = specs
        .into_iter()
        .filter(|spec| wanted.is_none_or(|id| id == spec.encoder_id));
    match (fitting.next(), fitting.next(), wanted) {
        (Some(spec), None, _) => Ok(Cache::peek(&layout, spec)?),
        (Some(_), Some(_), _) => Err(dataset::FeaturesError::SeveralEncoders { out, known }.into()),
        (None, _, Some(id)) if !known.is_empty() => Err(dataset::FeaturesError::UnknownEncoder {
            out,
            encoder_id: id.to_owned(),
            known,
        }
        .into()),
        _ => Err(dataset::FeaturesError::NoFeatures(out).into()),
    }
}

/// Adds to the cache in `out` what is missing of these images. Those that cannot be decoded are told
/// and left out.
fn complete(
    out: &Path,
    encoder: &dyn Encoder,
    images: Vec<(ImageId, PathBuf)>,
    stop: &AtomicBool,
) -> Result<Cache, TrainingError> {
    let layout = Layout::create(out)?;
    let stored = Spec::stored(&layout)?;
    let stored = stored
        .into_iter()
        .find(|spec| spec.encoder_id == encoder.id());
    let spec = stored.unwrap_or_else(|| Spec {
        encoder_id: encoder.id().to_owned(),
        dims: encoder.dimensions(),
        precision: Precision::Bfloat16,
    });
    let cache = Cache::peek(&layout, spec.clone())?;
    let mut missing: Vec<_> = images
        .into_iter()
        .filter(|(id, _)| !cache.contains(id))
        .collect();
    missing.sort_by_key(|(id, _)| *id);
    missing.dedup_by_key(|(id, _)| *id);
    if missing.is_empty() {
        return Ok(cache);
    }
    drop(cache);
    let now = chrono::Utc::now();
    let _lock = Lock::acquire(&layout, now)?;
    let cache = Arc::new(Cache::open(&layout, spec)?);
    let run_id = layout.next_run_id(now, std::process::id() as u16)?;
    let mut writer = CacheWriter::new(Arc::clone(&cache), &layout, &run_id);
    let preprocess = encoder.preprocess();
    let mut told = 0;
    for (number, images) in missing.chunks(TOGETHER).enumerate() {
        if stop.load(Ordering::Relaxed) {
            writer.finish_part()?;
            return Err(TrainingError::Interrupted);
        }
        let decoded: Vec<_> = images
            .par_iter()
            .map(|(id, path)| {
                let picture = photographs::read(path)?;
                Ok((*id, photographs::square(&picture, preprocess, path)?))
            })
            .collect::<Vec<Result<_, TrainingError>>>();
        let mut ids = Vec::new();
        let mut squares = Vec::new();
        for image in decoded {
            match image {
                Ok((id, square)) => {
                    ids.push(id);
                    squares.push(square);
                }
                Err(error) => tracing::warn!("left out: {error}"),
            }
        }
        if !ids.is_empty() {
            let pictures: Vec<&[u8]> = squares.iter().map(Vec::as_slice).collect();
            let features = encoder.encode(&pictures)?;
            for (id, features) in ids.iter().zip(features.chunks_exact(encoder.dimensions())) {
                if features.iter().all(|value| value.is_finite()) {
                    writer.append(*id, features)?;
                } else {
                    tracing::warn!("left out: of image {id} the encoder gave no finite numbers");
                }
            }
        }
        let done = (number + 1) * TOGETHER;
        if done / PART > told {
            told = done / PART;
            writer.finish_part()?;
            tracing::info!("features of {done} of {} images computed", missing.len());
        }
    }
    writer.finish_part()?;
    drop(writer);
    let spec = cache.spec().clone();
    drop(cache);
    Ok(Cache::peek(&layout, spec)?)
}
