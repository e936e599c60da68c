//! The convolutions of a VGG as libtorch computes them, on whichever device and in whichever type.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use super::fused::{self, ConvolutionRelu};
use super::vgg16::{Convolution, Normalisation};
use super::{EncoderConfig, EncoderError, Layer};

/// Convolutions and poolings of libtorch, on whichever device.
pub struct Stages {
    input: Normalisation,
    blocks: Vec<Block>,
    device: Device,
    kind: Kind,
    /// Pictures that go through them together.
    cut: usize,
    /// Where they are put together: `[pictures, crop, crop, 3]`, u8. A GPU fetches from it by itself.
    staging: RefCell<Tensor>,
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
        let laid_out_for = i64::try_from(cut).unwrap_or(i64::MAX);
        let place = |tensor: Tensor| tensor.f_to_device(device)?.f_to_kind(kind);
        let crop = i64::from(config.preprocess.crop);
        let mut side = crop;
        let mut blocks = Vec::new();
        for (layer, (weight, bias)) in layers.iter().zip(weights) {
            blocks.push(Block {
                convolution: ConvolutionRelu::new(
                    &place(weight)?,
                    place(bias)?,
                    side,
                    laid_out_for,
                )?,
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
            staging: RefCell::new(Tensor::f_empty(
                [0, crop, crop, 3],
                (Kind::Uint8, Device::Cpu),
            )?),
        })
    }

    /// `pictures`: at least one, each `[crop, crop, 3]`, RGB. Returns `[pictures, channels, height, width]`.
    ///
    /// Before the next call what it returns has to be there, or to be of no interest.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn apply(&self, pictures: &[&[u8]]) -> Result<Tensor, tch::TchError> {
        let maps = pictures
            .chunks(self.cut)
            .map(|pictures| {
                let pixels = self.upload(pictures)?;
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
        match &maps[..] {
            [map] => Ok(map.shallow_clone()),
            maps => Tensor::f_cat(maps, 0),
        }
    }
}

impl Stages {
    /// `[pictures, 3, crop, crop]`, u8, on the device; a GPU may still be fetching them.
    fn upload(&self, pictures: &[&[u8]]) -> Result<Tensor, tch::TchError> {
        let count = pictures.len() as i64;
        let mut staging = self.staging.borrow_mut();
        let (room, height, width, channels) = staging.size4()?;
        if room < count {
            let size = [count, height, width, channels];
            *staging = Tensor::f_zeros(size, (Kind::Uint8, Device::Cpu))?;
            if let Device::Cuda(_) = self.device {
                *staging = fused::pin_memory(&staging)?;
            }
        }
        // SAFETY: so many bytes lie there one after another, and only this call knows the tensor.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(staging.data_ptr().cast::<u8>(), staging.numel())
        };
        let picture_bytes = (height * width * channels) as usize;
        for (place, picture) in bytes.chunks_exact_mut(picture_bytes).zip(pictures) {
            place.copy_from_slice(picture);
        }
        staging
            .f_narrow(0, 0, count)?
            .f_to_device_(self.device, Kind::Uint8, true, false)?
            .f_permute([0, 3, 1, 2])
    }
}

/// How many pictures go through the convolutions together. The first layers of VGG-16 make 13 MB of
/// each in fp32, and the next one reads them again: on a CPU a picture for each thread, so that they
/// are still in its cache. A GPU wants them all at once.
fn cut(device: Device) -> usize {
    match device {
        Device::Cpu => usize::try_from(tch::get_num_threads()).map_or(1, |threads| threads.max(1)),
        _ => usize::MAX,
    }
}
