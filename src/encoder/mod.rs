//! Turns pixels into image features.
//!
//! An [`Encoder`] takes a batch of preprocessed pictures and gives one feature row per picture.
//! Everything that is not a plain buffer stays inside: what computes the features (libtorch, and
//! on which device) is nobody else's business.

pub mod device;
mod fitting;
pub(crate) mod fused;
pub mod preprocess;
pub mod pth;
pub mod several;
mod stages;
pub mod vgg16;
pub mod weights;
mod winograd;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use device::room::Room;
use fitting::Fitting;
use preprocess::Preprocess;
use several::{Make, Several};
use vgg16::{Convolution, Vgg16};

/// Turns pictures into features.
pub trait Encoder: Send {
    /// Architecture, layer and a digest of weights and preprocessing, such as
    /// `vgg16-fc7-9f2c41d07ab35e18`. Two encoders with the same id give the same features.
    fn id(&self) -> &str;

    /// Features per picture.
    fn dimensions(&self) -> usize;

    /// What [`Encoder::encode`] expects to have been done to the pictures.
    fn preprocess(&self) -> &Preprocess;

    /// `pictures`: each `[height, width, 3]`, u8, RGB, as [`Preprocess::apply`] gives them.
    /// Returns `[pictures, dimensions]`, f32.
    ///
    /// # Errors
    ///
    /// When a picture has another size, or the device fails.
    fn encode(&self, pictures: &[&[u8]]) -> Result<Vec<f32>, EncoderError>;

    /// The same in two steps, where a device computes while others do something else: the next batch can be
    /// handed to it before the features of this one are asked for.
    ///
    /// # Errors
    ///
    /// Those of [`encode`](Self::encode), of either step.
    fn begin(&self, pictures: Vec<Vec<u8>>) -> Result<Underway, EncoderError> {
        let pictures: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
        Ok(Underway::done(self.encode(&pictures)?))
    }
}

/// Features that are there already, or that a device is computing.
pub struct Underway(Progress);

enum Progress {
    Done(Vec<f32>),
    Begun(Box<dyn FnOnce() -> Result<Vec<f32>, EncoderError>>),
}

impl Underway {
    pub fn done(features: Vec<f32>) -> Self {
        Underway(Progress::Done(features))
    }

    /// `wait` gives them once they are there.
    pub fn begun(wait: impl FnOnce() -> Result<Vec<f32>, EncoderError> + 'static) -> Self {
        Underway(Progress::Begun(Box::new(wait)))
    }

    /// Whether there is nothing to wait for.
    pub fn are_there(&self) -> bool {
        matches!(self.0, Progress::Done(_))
    }

    /// `[pictures, dimensions]`, f32, once they are there.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn get(self) -> Result<Vec<f32>, EncoderError> {
        match self.0 {
            Progress::Done(features) => Ok(features),
            Progress::Begun(wait) => wait(),
        }
    }
}

impl Preprocess {
    /// Whether all of `pictures` are `[crop, crop, 3]`.
    fn check(&self, pictures: &[&[u8]]) -> Result<(), EncoderError> {
        let side = self.crop as usize;
        let picture = side * side * 3;
        match pictures.iter().find(|found| found.len() != picture) {
            Some(found) => Err(EncoderError::WrongPixels {
                picture,
                found: found.len(),
            }),
            None => Ok(()),
        }
    }
}

/// The layer whose output is the feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// The second fully connected layer, after its ReLU: `[hidden]`.
    #[serde(rename = "fc7")]
    Fc7,
    /// The last convolution, after its ReLU and before its pooling: `[regions, channels]`, the
    /// regions row by row; 196 × 512 as published.
    #[serde(rename = "conv5_3")]
    Conv5_3,
}

/// The `[encoder]` table of a `model.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    pub architecture: Architecture,
    pub layer: Layer,
    /// Channels of the five stages; VGG-16 as published has 64, 128, 256, 512, 512.
    pub widths: [i64; 5],
    /// Units of fc6 and of fc7; 4096 as published.
    pub hidden: i64,
    /// Weight file beside `model.toml`; absent where the weights are too large to ship.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// The encoder that the captioner was trained on; weights that give another id are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub preprocess: Preprocess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    Vgg16,
}

impl EncoderConfig {
    /// VGG-16 as published (arXiv 1409.1556, configuration D), with the preprocessing that
    /// torchvision's weights want.
    pub fn vgg16() -> Self {
        EncoderConfig {
            architecture: Architecture::Vgg16,
            layer: Layer::Fc7,
            widths: [64, 128, 256, 512, 512],
            hidden: 4096,
            weights: None,
            id: None,
            preprocess: Preprocess::torchvision_vgg16(),
        }
    }

    /// # Errors
    ///
    /// When no network could have these dimensions.
    pub fn check(&self) -> Result<(), String> {
        self.preprocess
            .validate()
            .map_err(|error| error.to_string())?;
        if self.pooled_side() < 1 {
            return Err(format!(
                "encoder.preprocess.crop is {}: VGG-16 halves its input five times and needs at least 32",
                self.preprocess.crop
            ));
        }
        if self.hidden < 1 || self.widths.iter().any(|width| *width < 1) {
            return Err("encoder.widths and encoder.hidden must be at least 1".to_owned());
        }
        Ok(())
    }

    /// Side of the feature map that fc6 sees: five poolings halve the input five times.
    pub fn pooled_side(&self) -> i64 {
        i64::from(self.preprocess.crop) / 32
    }

    /// Side of conv5_3's feature map: four poolings come before it.
    pub fn side(&self) -> i64 {
        i64::from(self.preprocess.crop) / 16
    }

    /// About the memory that a picture takes on its way through the convolutions in `kind`: twice what the
    /// widest layers read and write, which leaves as much for what the layers compute in.
    fn bytes_per_picture(&self, kind: tch::Kind) -> u64 {
        let mut side = i64::from(self.preprocess.crop);
        let mut widest = 0;
        for layer in Convolution::layers(self.widths) {
            widest = widest.max((layer.inputs + layer.outputs) * side * side);
            if layer.pooled {
                side /= 2;
            }
        }
        2 * widest.unsigned_abs() * kind.elt_size_in_bytes() as u64
    }

    /// Features per picture.
    pub fn dimensions(&self) -> i64 {
        match self.layer {
            Layer::Fc7 => self.hidden,
            Layer::Conv5_3 => self.side() * self.side() * self.widths[4],
        }
    }
}

/// Loads the weights in `file` into the encoder that `config` describes, to compute in `kind` on
/// `device`.
///
/// # Errors
///
/// When the file cannot be read, lacks a tensor, holds one of another shape, or gives another
/// encoder than `config.id` names.
pub fn load(
    config: &EncoderConfig,
    file: &Path,
    device: tch::Device,
    kind: tch::Kind,
) -> Result<Box<dyn Encoder>, EncoderError> {
    let encoder = match config.architecture {
        Architecture::Vgg16 => {
            let encoder = Vgg16::load(config, file, device, kind)?;
            // Asked when the weights have their place. A GPU has two encoders (`several`), which share what is free.
            let room = Room::of(device, 2 * config.bytes_per_picture(kind));
            Fitting::new(encoder, room)
        }
    };
    match &config.id {
        Some(expected) if expected != encoder.id() => Err(EncoderError::OtherEncoder {
            file: file.to_owned(),
            expected: expected.clone(),
            found: encoder.id().to_owned(),
        }),
        _ => Ok(Box::new(encoder)),
    }
}

/// Loads the same encoder onto each of `devices`, as [`load`] does. Batches are shared out among them; a GPU
/// gets the next one while it computes ([`several`]).
///
/// # Errors
///
/// Those of [`load`].
pub fn load_on(
    config: &EncoderConfig,
    file: &Path,
    devices: &[tch::Device],
    kind: tch::Kind,
) -> Result<Box<dyn Encoder>, EncoderError> {
    if let [device @ tch::Device::Cpu] = devices {
        return load(config, file, *device, kind);
    }
    let make = |device: &tch::Device| -> Make {
        let (config, file, device) = (config.clone(), file.to_owned(), *device);
        Box::new(move || load(&config, &file, device, kind))
    };
    let makes = devices.iter().chain(devices).map(make).collect();
    Ok(Box::new(Several::new(makes, devices.len())?))
}

#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    #[error("cannot read weights from {file}")]
    Unreadable {
        file: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "{file} lacks the tensor {name}, and has {others}{}",
        names_of_vgg16(name)
    )]
    MissingTensor {
        file: PathBuf,
        name: String,
        /// Some of those that it has, or that there are none.
        others: String,
    },
    #[error("{file}: tensor {name} has shape {found:?}, expected {expected:?}")]
    WrongShape {
        file: PathBuf,
        name: String,
        expected: Vec<i64>,
        found: Vec<i64>,
    },
    #[error(
        "{file}: tensor {name} has values that are no finite numbers: fetch the file again, or train \
         the model anew"
    )]
    NotFinite { file: PathBuf, name: String },
    #[error(
        "{file} gives the encoder {found}, but the captioner was trained on {expected}: \
         use the weights that it was trained with"
    )]
    OtherEncoder {
        file: PathBuf,
        expected: String,
        found: String,
    },
    #[error(
        "the encoder's weights give {found}, though they gave {expected} when they were of the same \
         size and time; if they were replaced on purpose, run again with --verify"
    )]
    NotAsRecorded { expected: String, found: String },
    #[error(transparent)]
    NoDevice(#[from] device::DeviceError),
    #[error("the encoder was given a picture of {found} bytes, which should have {picture}")]
    WrongPixels { picture: usize, found: usize },
    #[error("a convolution has no weights")]
    TooFewWeights,
    #[error("cannot start the threads that compute features")]
    NoThreads(#[source] rayon::ThreadPoolBuildError),
    #[error(transparent)]
    Worker(#[from] device::workers::WorkerError),
    #[error("the device failed")]
    Device(#[from] tch::TchError),
}

/// What to say of names where a tensor of this one is missing: which an encoder's should be, while those of a
/// captioner are nobody's but ours.
fn names_of_vgg16(missing: &str) -> &'static str {
    match missing.starts_with("features.") || missing.starts_with("classifier.") {
        true => {
            "; expected the names of torchvision's vgg16 (features.0.weight, classifier.0.weight, ...) or \
             timm's (pre_logits.fc1.weight, ...)"
        }
        false => "",
    }
}
