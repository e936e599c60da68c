//! VGG-16: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
//! Recognition" (arXiv 1409.1556), configuration D.
//!
//! Pictures of `[batch, crop, crop, 3]` become fc7 of `[batch, hidden]`, or conv5_3 of
//! `[batch, regions, channels]`, both after their ReLU. Weights under the names of torchvision's
//! `vgg16`, or of timm's, which holds the fully connected layers as convolutions, or under these within
//! another module (`module.features.0.weight`). The same code runs the narrow network of the
//! demonstration model.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::device::Cpu;
use super::fused::{Linear, channels_last, keep_buffers};
use super::preprocess::{Channels, Preprocess};
use super::stages::Stages;
use super::weights::{self, Weights};
use super::{Encoder, EncoderConfig, EncoderError, Layer, winograd};

/// Convolutions in each of the five stages; a pooling ends each stage.
pub const STAGES: [usize; 5] = [2, 2, 3, 3, 3];

/// One 3×3 convolution and the place it has in torchvision's `features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Position in `features`, where ReLUs and poolings count too.
    pub index: usize,
    pub inputs: i64,
    pub outputs: i64,
    /// Whether a 2×2 max pooling follows.
    pub pooled: bool,
}

impl Convolution {
    /// The thirteen convolutions of a VGG-16 whose stages have `widths` channels.
    pub fn layers(widths: [i64; 5]) -> Vec<Convolution> {
        let mut layers = Vec::new();
        let (mut index, mut inputs) = (0, 3);
        for (count, outputs) in STAGES.into_iter().zip(widths) {
            for position in 0..count {
                let pooled = position + 1 == count;
                layers.push(Convolution {
                    index,
                    inputs,
                    outputs,
                    pooled,
                });
                inputs = outputs;
                index += if pooled { 3 } else { 2 };
            }
        }
        layers
    }
}

/// See the [module](self).
pub struct Vgg16 {
    id: String,
    preprocess: Preprocess,
    convolutions: Convolutions,
    head: Head,
    dimensions: usize,
    /// What fc6 and fc7 compute in.
    kind: Kind,
}

/// Pictures that fc6 and fc7 are laid out for; any number may come.
const ROWS: i64 = 64;

/// Who computes the convolutions.
enum Convolutions {
    /// We do, in fp32, with fewer multiplications.
    Winograd(winograd::Convolutions),
    /// libtorch does.
    Libtorch(Stages),
}

/// What follows the last convolution.
enum Head {
    /// A pooling, fc6 and fc7.
    Fc7 { fc6: Linear, fc7: Linear },
    /// Nothing: the regions are the features.
    Conv5_3,
}

impl Vgg16 {
    /// Loads `file` onto `device`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a tensor is missing or has another shape than `config`
    /// asks for.
    pub fn load(
        config: &EncoderConfig,
        file: &Path,
        device: Device,
        kind: Kind,
    ) -> Result<Self, EncoderError> {
        Self::new(config, weights::read(file)?, file, device, kind)
    }

    /// `file` is where `weights` came from, for messages.
    fn new(
        config: &EncoderConfig,
        weights: Weights,
        file: &Path,
        device: Device,
        kind: Kind,
    ) -> Result<Self, EncoderError> {
        if device == Device::Cpu {
            keep_buffers();
        }
        let mut weights = torchvision_names(weights)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(config.preprocess.fingerprint().as_bytes());
        let mut take = |layer: &str, shape: &[i64]| -> Result<(Tensor, Tensor), EncoderError> {
            let mut tensor = |name: &str, shape: &[i64]| -> Result<Tensor, EncoderError> {
                let name = format!("{layer}.{name}");
                let tensor = weights::take(&mut weights, file, &name, shape)?;
                weights::digest(&mut hasher, [(name.as_str(), &tensor)])?;
                Ok(tensor)
            };
            Ok((tensor("weight", shape)?, tensor("bias", &shape[..1])?))
        };

        let layers = Convolution::layers(config.widths);
        let taken = layers
            .iter()
            .map(|layer| {
                let shape = [layer.outputs, layer.inputs, 3, 3];
                take(&format!("features.{}", layer.index), &shape)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let convolutions = if winograd_is_faster(&layers, device, kind) {
            Convolutions::Winograd(winograd::Convolutions::new(config, &layers, taken)?)
        } else {
            Convolutions::Libtorch(Stages::new(config, &layers, taken, device, kind)?)
        };

        let mut linear = |name: &str, inputs: i64| -> Result<Linear, EncoderError> {
            let (weight, bias) = take(name, &[config.hidden, inputs])?;
            let place = |tensor: Tensor| tensor.f_to_device(device)?.f_to_kind(kind);
            Ok(Linear::new(place(weight)?, place(bias)?, ROWS)?)
        };
        let (head, layer) = match config.layer {
            Layer::Fc7 => {
                let flat = config.widths[4] * config.pooled_side() * config.pooled_side();
                let fc6 = linear("classifier.0", flat)?;
                let fc7 = linear("classifier.3", config.hidden)?;
                (Head::Fc7 { fc6, fc7 }, "fc7")
            }
            Layer::Conv5_3 => (Head::Conv5_3, "conv5_3"),
        };
        let id = format!("vgg16-{layer}-{}", weights::short(&hasher));

        Ok(Vgg16 {
            id,
            preprocess: config.preprocess.clone(),
            convolutions,
            head,
            dimensions: config.dimensions() as usize,
            kind,
        })
    }

    /// `pictures`: at least one, each `[crop, crop, 3]`, RGB. Returns `[pictures, dimensions]`, f32.
    fn forward(&self, pictures: &[&[u8]]) -> Result<Tensor, tch::TchError> {
        let maps = match &self.convolutions {
            Convolutions::Winograd(convolutions) => {
                let maps = convolutions.apply(pictures);
                let shape = [&[pictures.len() as i64][..], &convolutions.shape()].concat();
                Tensor::f_from_slice(&maps)?
                    .f_view(&shape[..])?
                    .f_permute([0, 3, 1, 2])?
            }
            Convolutions::Libtorch(stages) => stages.apply(pictures)?,
        };
        let features = match &self.head {
            // The weights of these two are read once for the whole batch.
            Head::Fc7 { fc6, fc7 } => {
                let maps = maps.f_flatten(1, -1)?.f_to_kind(self.kind)?;
                let hidden = fc6.apply(&maps)?.f_relu_()?;
                fc7.apply(&hidden)?.f_relu_()?
            }
            Head::Conv5_3 => maps.f_permute([0, 2, 3, 1])?.f_flatten(1, -1)?,
        };
        features.f_to_kind(Kind::Float)
    }
}

/// Whether the convolutions are ours to compute: on a CPU, where it is not AMX that computes in bf16,
/// which makes up for all multiplications that could be saved.
fn winograd_is_faster(layers: &[Convolution], device: Device, kind: Kind) -> bool {
    let amx = kind != Kind::Float && Cpu::detect().amx_bf16;
    device == Device::Cpu && !amx && winograd::Convolutions::fit(layers)
}

impl Encoder for Vgg16 {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    fn encode(&self, pictures: &[&[u8]]) -> Result<Vec<f32>, EncoderError> {
        self.preprocess.check(pictures)?;
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let _no_gradients = tch::no_grad_guard();
        let features = self.forward(pictures)?;
        let features = features.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut rows = vec![0.0; pictures.len() * self.dimensions];
        let length = rows.len();
        features.f_copy_data(&mut rows, length)?;
        Ok(rows)
    }
}

/// Turns levels into the input of the first convolution.
pub struct Normalisation {
    /// `[1, 3, 1, 1]`, f32
    factor: Tensor,
    offset: Tensor,
    flips: bool,
}

impl Normalisation {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(preprocess: &Preprocess, device: Device) -> Result<Self, tch::TchError> {
        let (factor, offset) = preprocess.factor_and_offset();
        let per_channel = |values: [f32; 3]| {
            Tensor::f_from_slice(&values)?
                .f_view([1, 3, 1, 1])?
                .f_to_device(device)
        };
        Ok(Normalisation {
            factor: per_channel(factor)?,
            offset: per_channel(offset)?,
            flips: preprocess.channels == Channels::Bgr,
        })
    }

    /// `pixels`: `[batch, 3, height, width]`, u8, RGB. Returns the same shape, f32, in the channel
    /// order that the weights want, with the channels innermost in memory.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn apply(&self, pixels: &Tensor) -> Result<Tensor, tch::TchError> {
        let mut x = pixels.f_to_kind(Kind::Float)?;
        if self.flips {
            x = x.f_flip([1])?;
        }
        channels_last(&x.f_mul(&self.factor)?.f_add(&self.offset)?)
    }
}

/// Brings names to torchvision's: takes off what a module around the network has put before all of them,
/// such as the `module.` of DataParallel or the `model.` that Lightning's checkpoints mostly have, and then
/// translates timm's.
///
/// timm keeps fc6 and fc7 as the convolutions `pre_logits.fc1` (7×7) and `pre_logits.fc2` (1×1).
/// Their weights are those of the linear layers in another shape.
pub(crate) fn torchvision_names(weights: Weights) -> Result<Weights, EncoderError> {
    let mut weights = without_modules_around(weights);
    let names = [
        ("pre_logits.fc1", "classifier.0"),
        ("pre_logits.fc2", "classifier.3"),
    ];
    for (timm, torchvision) in names {
        if let Some(weight) = weights.remove(&format!("{timm}.weight")) {
            let weight = match weight.size()[..] {
                [outputs, _, _, _] => weight.f_reshape([outputs, -1])?,
                _ => weight,
            };
            weights.insert(format!("{torchvision}.weight"), weight);
        }
        if let Some(bias) = weights.remove(&format!("{timm}.bias")) {
            weights.insert(format!("{torchvision}.bias"), bias);
        }
    }
    Ok(weights)
}

fn without_modules_around(mut weights: Weights) -> Weights {
    while let Some(prefix) = module_around(&weights) {
        let named = weights
            .into_iter()
            .map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor));
        weights = named.collect();
    }
    weights
}

/// What all names begin with, up to a dot, unless it is a part of the network itself: without fc6 and fc7
/// all that is left of it lies in `features`.
fn module_around(weights: &Weights) -> Option<String> {
    let (module, _) = weights.keys().next()?.split_once('.')?;
    if ["features", "classifier", "pre_logits"].contains(&module) {
        return None;
    }
    let prefix = format!("{module}.");
    let around_all = weights.keys().all(|name| name.starts_with(&prefix));
    around_all.then_some(prefix)
}
