//! A plain VGG-16 of which some layers go on learning, from photographs.
//!
//! Published weights have no batch normalisation, and none is added: with it the frozen layers' outputs
//! would change with every batch. Layers below the first that learns are computed without gradients and
//! are no part of a checkpoint.

use std::path::Path;

use tch::nn::Path as Variables;
use tch::{Kind, Tensor};

use super::TrainingError;
use super::captioner::Mode;
use super::config::TuningConfig;
use super::precision::convolution;
use super::saving::write_tensors;
use crate::captioner::mixed::linear;
use crate::encoder::vgg16::{Convolution, Normalisation, STAGES, torchvision_names};
use crate::encoder::{EncoderConfig, Layer, weights};

/// Places of the convolutions are below this one, fc6 is at it, fc7 follows.
pub const CONVOLUTIONS: usize = 13;

/// The place of a layer by its published name, `conv1_1` to `conv5_3`, `fc6` and `fc7`.
pub fn place(name: &str) -> Option<usize> {
    let names = STAGES.iter().enumerate().flat_map(|(stage, layers)| {
        (1..=*layers).map(move |layer| format!("conv{}_{layer}", stage + 1))
    });
    let names = names.chain(["fc6".to_owned(), "fc7".to_owned()]);
    names.into_iter().position(|known| known == name)
}

struct PlainLayer {
    /// In torchvision's `vgg16`.
    name: String,
    weight: Tensor,
    bias: Tensor,
    /// Whether a pooling follows.
    pooled: bool,
}

/// See the [module](self).
pub struct TunableVgg16 {
    layers: Vec<PlainLayer>,
    /// Place of the first layer that learns.
    from: usize,
    layer: Layer,
    side: i64,
    dropout: f64,
    input: Normalisation,
    /// What products and convolutions are computed in.
    kind: Kind,
}

impl TunableVgg16 {
    /// Starts from the weights in `file`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or does not fit, `tuning` names no layer, or the device has no
    /// room.
    pub fn new(
        variables: &Variables,
        config: &EncoderConfig,
        tuning: &TuningConfig,
        file: &Path,
        kind: Kind,
    ) -> Result<Self, TrainingError> {
        let mut plain = torchvision_names(weights::read(file)?)?;
        let from = place(&tuning.from).unwrap_or(usize::MAX);
        let side = config.pooled_side();
        let mut shapes = Vec::new();
        for layer in Convolution::layers(config.widths) {
            let shape = vec![layer.outputs, layer.inputs, 3, 3];
            shapes.push((format!("features.{}", layer.index), shape, layer.pooled));
        }
        if config.layer == Layer::Fc7 {
            let flat = config.widths[4] * side * side;
            for (name, inputs) in [("classifier.0", flat), ("classifier.3", config.hidden)] {
                shapes.push((name.to_owned(), vec![config.hidden, inputs], false));
            }
        }
        let mut layers = Vec::new();
        for (place, (name, shape, pooled)) in shapes.into_iter().enumerate() {
            let mut tensor = |of: &str, shape: &[i64]| -> Result<Tensor, TrainingError> {
                let full = format!("{name}.{of}");
                let read = weights::take(&mut plain, file, &full, shape)?;
                Ok(match place >= from {
                    true => variables.f_var_copy(&full.replace('.', "_"), &read)?,
                    false => read.f_to_device(variables.device())?,
                })
            };
            let weight = tensor("weight", &shape)?;
            let bias = tensor("bias", &shape[..1])?;
            layers.push(PlainLayer {
                name,
                weight,
                bias,
                pooled,
            });
        }
        Ok(TunableVgg16 {
            layers,
            from,
            layer: config.layer,
            side,
            dropout: tuning.dropout,
            input: Normalisation::new(&config.preprocess, variables.device())?,
            kind,
        })
    }

    /// `pixels`: `[batch, 3, crop, crop]`, u8, RGB. Returns `[batch, dimensions]`, f32, as the encoder
    /// that ships does.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn forward(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor, tch::TchError> {
        let frozen = {
            let _no_gradients = tch::no_grad_guard();
            let x = self.input.apply(pixels)?.f_to_kind(self.kind)?;
            self.through(x, 0..self.from, mode)?
        };
        let x = self.through(frozen, self.from..self.layers.len(), mode)?;
        let x = x.f_to_kind(Kind::Float)?;
        match self.layer {
            Layer::Fc7 => Ok(x),
            Layer::Conv5_3 => x.f_permute([0, 2, 3, 1])?.f_flatten(1, -1),
        }
    }

    /// `x` through the layers at these places, each with its ReLU and what follows it.
    fn through(
        &self,
        mut x: Tensor,
        places: std::ops::Range<usize>,
        mode: Mode,
    ) -> Result<Tensor, tch::TchError> {
        let last = self.layers.len() - 1;
        for (place, layer) in self.layers.iter().enumerate() {
            if !places.contains(&place) {
                continue;
            }
            if place < CONVOLUTIONS {
                x = convolution(&x, &layer.weight, Some(&layer.bias))?.f_relu_()?;
                if layer.pooled && place < last {
                    x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
                }
                continue;
            }
            if place == CONVOLUTIONS {
                x = x
                    .f_adaptive_avg_pool2d([self.side, self.side])?
                    .f_flatten(1, -1)?;
            }
            let weight = layer.weight.f_to_kind(self.kind)?;
            x = linear(&x, &weight, Some(&layer.bias))?
                .f_relu_()?
                .f_dropout(self.dropout, mode == Mode::Training)?;
        }
        Ok(x)
    }

    /// Writes a plain VGG-16 under torchvision's names.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), TrainingError> {
        let _no_gradients = tch::no_grad_guard();
        let plain = |tensor: &Tensor| {
            tensor
                .f_detach()?
                .f_to_device(tch::Device::Cpu)?
                .f_contiguous()
        };
        let mut tensors = Vec::new();
        for layer in &self.layers {
            tensors.push((format!("{}.weight", layer.name), plain(&layer.weight)?));
            tensors.push((format!("{}.bias", layer.name), plain(&layer.bias)?));
        }
        write_tensors(&tensors, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_known_by_their_published_names() {
        assert_eq!(place("conv1_1"), Some(0));
        assert_eq!(place("conv5_1"), Some(10));
        assert_eq!(place("conv5_3"), Some(CONVOLUTIONS - 1));
        assert_eq!(place("fc6"), Some(CONVOLUTIONS));
        assert_eq!(place("fc7"), Some(CONVOLUTIONS + 1));
        assert_eq!(place("conv2_3"), None);
        assert_eq!(place("fc8"), None);
    }
}
