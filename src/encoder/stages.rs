//! The convolutions of a VGG as libtorch computes them, on whichever device and in whichever type.

use tch::{Device, Kind, Tensor};

use super::fused::ConvolutionRelu;
use super::vgg16::{Convolution, Normalisation};
use super::{EncoderConfig, EncoderError, Layer};

/// Convolutions and poolings of libtorch, on whichever device.
pub struct Stages {
    input: Normalisation,
    blocks: Vec<Block>,
    device: Device,
    kind: Kind,
    /// Pictures that go through them together.
    cut: i64,
}

/// A convolution with its ReLU, and whether a pooling follows.
struct Block {
    convolution: ConvolutionRelu,
    pooled: bool,
}

impl Stages {
    /// `weights`: a weight, `[outputs, inputs, 3, 3]`, and a bias, `[outputs]`, for each of `layers`. The last one
    /// pools unless it is itself the feature.
    ///
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(
        config: &EncoderConfig,
        layers: &[Convolution],
        weights: Vec<(Tensor, Tensor)>,
        device: Device,
        kind: Kind,
    ) -> Result<Self, EncoderError> {
        let cut = cut(device);
        let place = |tensor: Tensor| tensor.f_to_device(device)?.f_to_kind(kind);
        let mut side = i64::from(config.preprocess.crop);
        let mut blocks = Vec::new();
        for (layer, (weight, bias)) in layers.iter().zip(weights) {
            blocks.push(Block {
                convolution: ConvolutionRelu::new(&place(weight)?, place(bias)?, side, cut)?,
                pooled: layer.pooled,
            });
            if layer.pooled {
                side /= 2;
            }
        }
        if let (Layer::Conv5_3, Some(last)) = (config.layer, blocks.last_mut()) {
            last.pooled = false;
        }
        Ok(Stages {
            input: Normalisation::new(&config.preprocess, device)?,
            blocks,
            device,
            kind,
            cut,
        })
    }

    /// `pixels`: `[batch, 3, crop, crop]`, u8, RGB. Returns `[batch, channels, height, width]`.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn apply(&self, pixels: &Tensor) -> Result<Tensor, tch::TchError> {
        let maps = pixels
            .f_split(self.cut.min(pixels.size()[0]), 0)?
            .iter()
            .map(|pixels| {
                let pixels = self.upload(pixels)?;
                let mut x = self.input.apply(&pixels)?.f_to_kind(self.kind)?;
                for block in &self.blocks {
                    x = block.convolution.apply(&x)?;
                    if block.pooled {
                        x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
                    }
                }
                Ok(x)
            })
            .collect::<Result<Vec<_>, tch::TchError>>()?;
        Tensor::f_cat(&maps, 0)
    }
}

impl Stages {
    /// To a GPU from memory that it can fetch from by itself, while this thread goes on.
    fn upload(&self, pixels: &Tensor) -> Result<Tensor, tch::TchError> {
        match self.device {
            Device::Cuda(_) => pixels.f_pin_memory(self.device)?.f_to_device_(
                self.device,
                Kind::Uint8,
                true,
                false,
            ),
            _ => pixels.f_to_device(self.device),
        }
    }
}

/// How many pictures go through the convolutions together. The first layers of VGG-16 make 13 MB of
/// each in fp32, and the next one reads them again: on a CPU a picture for each thread, so that they
/// are still in its cache. A GPU wants them all at once.
fn cut(device: Device) -> i64 {
    match device {
        Device::Cpu => i64::from(tch::get_num_threads()).max(1),
        _ => i64::MAX,
    }
}
