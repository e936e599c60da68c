//! A VGG-16 that is learnt from nothing, and how it becomes a plain weight file.
//!
//! While it is learnt, a batch normalisation (arXiv 1502.03167) stands between each layer of the
//! encoder and its ReLU. Saving folds it into the layer's weight and bias, so what is saved is a
//! plain VGG-16.

use std::path::Path;

use tch::nn::{Init, Path as Variables};
use tch::{Kind, Tensor};

use super::TrainingError;
use super::captioner::Mode;
use super::precision::convolution;
use super::saving::write_tensors;
use crate::captioner::mixed::linear;
use crate::encoder::vgg16::{Convolution, Normalisation};
use crate::encoder::weights;
use crate::encoder::{EncoderConfig, Layer};

/// Added to a variance before its root is taken.
const EPSILON: f64 = 1e-5;
/// Share of a batch's mean and variance that enters the running ones.
const MOMENTUM: f64 = 0.1;

/// A layer without bias, and the batch normalisation behind it.
struct Normalised {
    /// The layer's name in torchvision's `vgg16`.
    name: String,
    weight: Tensor,
    gain: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
}

impl Normalised {
    fn new(variables: &Variables, name: String, shape: &[i64]) -> Result<Self, tch::TchError> {
        let outputs = &shape[..1];
        let variables = variables / name.replace('.', "_");
        Ok(Normalised {
            weight: variables.f_var("weight", shape, tch::nn::init::DEFAULT_KAIMING_UNIFORM)?,
            gain: variables.f_var("gain", outputs, Init::Const(1.0))?,
            shift: variables.f_var("shift", outputs, Init::Const(0.0))?,
            running_mean: variables.f_zeros_no_train("running_mean", outputs)?,
            running_variance: variables.f_ones_no_train("running_variance", outputs)?,
            name,
        })
    }

    /// Normalises the layer's output over all but the channels, then applies the ReLU.
    fn normalise(&self, x: &Tensor, mode: Mode) -> Result<Tensor, tch::TchError> {
        x.f_batch_norm(
            Some(&self.gain),
            Some(&self.shift),
            Some(&self.running_mean),
            Some(&self.running_variance),
            mode == Mode::Training,
            MOMENTUM,
            EPSILON,
            true,
        )?
        .f_relu_()
    }

    /// Takes over a plain layer's weight and bias. `x` is what the layer gives with that weight and
    /// no bias: its mean and variance become the running ones, and gain and shift undo them.
    fn unfold(&mut self, bias: &Tensor, x: &Tensor) -> Result<(), tch::TchError> {
        let over: Vec<i64> = (0..x.dim() as i64)
            .filter(|dimension| *dimension != 1)
            .collect();
        let (variance, mean) = x.f_var_mean_dim(&over[..], false, false)?;
        self.gain
            .f_copy_(&variance.f_add_scalar(EPSILON)?.f_sqrt()?)?;
        self.shift
            .f_copy_(&mean.f_add(&bias.f_to_device(x.device())?)?)?;
        self.running_mean.f_copy_(&mean)?;
        self.running_variance.f_copy_(&variance)
    }

    /// Weight and bias of the layer that gives what the layer and its normalisation give together.
    fn fold(&self) -> Result<[(String, Tensor); 2], tch::TchError> {
        let factor = self
            .gain
            .f_div(&self.running_variance.f_add_scalar(EPSILON)?.f_sqrt()?)?;
        let mut per_output = vec![1; self.weight.dim()];
        per_output[0] = -1;
        let weight = self.weight.f_mul(&factor.f_reshape(&per_output)?)?;
        let bias = self.shift.f_sub(&self.running_mean.f_mul(&factor)?)?;
        let plain = |tensor: Tensor| {
            tensor
                .f_detach()?
                .f_to_device(tch::Device::Cpu)?
                .f_contiguous()
        };
        Ok([
            (format!("{}.weight", self.name), plain(weight)?),
            (format!("{}.bias", self.name), plain(bias)?),
        ])
    }
}

/// What the encoder makes of a batch; f32, all after their ReLU.
pub struct Features {
    /// `[batch, channels, side, side]`
    pub conv5_3: Tensor,
    /// `[batch, n]`: fc7; of an encoder that ends with conv5_3, the largest value of each channel.
    pub whole: Tensor,
}

impl Features {
    /// `[batch, features]`: what the encoder that ships gives, fc7 or the regions of conv5_3 row by
    /// row.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn of(&self, layer: Layer) -> Result<Tensor, tch::TchError> {
        match layer {
            Layer::Fc7 => Ok(self.whole.shallow_clone()),
            Layer::Conv5_3 => self.conv5_3.f_permute([0, 2, 3, 1])?.f_flatten(1, -1),
        }
    }
}

/// Whether layers go on learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    Still,
    NoMore,
}

/// VGG-16 with batch normalisation.
pub struct TrainableVgg16 {
    convolutions_are: Learnt,
    convolutions: Vec<(Normalised, bool)>,
    /// fc6 and fc7; none if the encoder ends with conv5_3.
    linear: Vec<Normalised>,
    side: i64,
    input: Normalisation,
    /// What products and convolutions are computed in.
    kind: Kind,
}

impl TrainableVgg16 {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(
        variables: &Variables,
        config: &EncoderConfig,
        convolutions_are: Learnt,
        kind: Kind,
    ) -> Result<Self, tch::TchError> {
        let mut convolutions = Vec::new();
        for layer in Convolution::layers(config.widths) {
            let shape = [layer.outputs, layer.inputs, 3, 3];
            let name = format!("features.{}", layer.index);
            convolutions.push((Normalised::new(variables, name, &shape)?, layer.pooled));
        }
        let side = config.pooled_side();
        let flat = config.widths[4] * side * side;
        let layer = |(name, inputs): (&str, i64)| {
            Normalised::new(variables, name.to_owned(), &[config.hidden, inputs])
        };
        let layers: &[_] = match config.layer {
            Layer::Fc7 => &[("classifier.0", flat), ("classifier.3", config.hidden)],
            Layer::Conv5_3 => &[],
        };
        let linear = layers
            .iter()
            .copied()
            .map(layer)
            .collect::<Result<_, _>>()?;
        Ok(TrainableVgg16 {
            convolutions_are,
            convolutions,
            linear,
            side,
            input: Normalisation::new(&config.preprocess, variables.device())?,
            kind,
        })
    }

    /// `pixels`: `[batch, 3, crop, crop]`, u8, RGB.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn forward(&self, pixels: &Tensor, mode: Mode) -> Result<Features, tch::TchError> {
        let conv5_3 = match self.convolutions_are {
            Learnt::Still => self.conv5_3(pixels, mode)?,
            Learnt::NoMore => {
                let _no_gradients = tch::no_grad_guard();
                self.conv5_3(pixels, Mode::Inference)?
            }
        };
        if self.linear.is_empty() {
            let conv5_3 = conv5_3.f_to_kind(Kind::Float)?;
            let whole = conv5_3.f_amax([2, 3], false)?;
            return Ok(Features { conv5_3, whole });
        }
        let mut x = conv5_3
            .f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?
            .f_adaptive_avg_pool2d([self.side, self.side])?
            .f_flatten(1, -1)?;
        for layer in &self.linear {
            let weight = layer.weight.f_to_kind(self.kind)?;
            x = layer.normalise(&linear(&x, &weight, None)?, mode)?;
        }
        Ok(Features {
            conv5_3: conv5_3.f_to_kind(Kind::Float)?,
            whole: x,
        })
    }

    /// `[batch, channels, side, side]`. Maps between the layers are of the type of the convolutions; what
    /// a normalisation knows and its statistics are f32.
    fn conv5_3(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor, tch::TchError> {
        let mut x = self.input.apply(pixels)?.f_to_kind(self.kind)?;
        for (place, (layer, pooled)) in self.convolutions.iter().enumerate() {
            x = convolution(&x, &layer.weight, None)?;
            x = layer.normalise(&x, mode)?;
            if *pooled && place + 1 < self.convolutions.len() {
                x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
            }
        }
        Ok(x)
    }

    /// Takes over a plain VGG-16 of the same dimensions; `pixels`, `[batch, 3, crop, crop]`, u8, are
    /// pictures of the kind that it is to go on learning from.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape, or the device fails.
    pub fn start_from(&mut self, file: &Path, pixels: &Tensor) -> Result<(), TrainingError> {
        let _no_gradients = tch::no_grad_guard();
        let mut plain = weights::read(file)?;
        let none: Option<&Tensor> = None;
        let mut take = |layer: &mut Normalised| -> Result<Tensor, TrainingError> {
            let (weight, bias) = (
                format!("{}.weight", layer.name),
                format!("{}.bias", layer.name),
            );
            let weight = weights::take(&mut plain, file, &weight, &layer.weight.size())?;
            layer.weight.f_copy_(&weight)?;
            Ok(weights::take(&mut plain, file, &bias, &layer.gain.size())?)
        };
        let mut x = self.input.apply(pixels)?;
        for (layer, pooled) in &mut self.convolutions {
            let bias = take(layer)?;
            x = convolution(&x, &layer.weight, None)?;
            layer.unfold(&bias, &x)?;
            x = layer.normalise(&x, Mode::Inference)?;
            if *pooled {
                x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
            }
        }
        x = x
            .f_adaptive_avg_pool2d([self.side, self.side])?
            .f_flatten(1, -1)?;
        for layer in &mut self.linear {
            let bias = take(layer)?;
            x = x.f_linear(&layer.weight, none)?;
            layer.unfold(&bias, &x)?;
            x = layer.normalise(&x, Mode::Inference)?;
        }
        Ok(())
    }

    /// Writes a plain VGG-16 under torchvision's names.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), TrainingError> {
        let _no_gradients = tch::no_grad_guard();
        let layers = self
            .convolutions
            .iter()
            .map(|(layer, _)| layer)
            .chain(&self.linear);
        let mut tensors = Vec::new();
        for layer in layers {
            tensors.extend(layer.fold()?);
        }
        write_tensors(&tensors, file)
    }
}
