//! The convolutions of a VGG on processors with AVX2 or AVX-512, with a quarter of the multiplications.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308): a tile of
//! 4×4 outputs of a 3×3 convolution takes 36 products of a channel instead of 144, once the input's
//! tile of 6×6 and the weights have been [transformed](transform). What remains are 36 [products of
//! matrices](product), which run at the processor's full rate in AVX-512 and at half of it in AVX2, so that
//! fp32 takes a third or two thirds of its time, the former less than bfloat16 without AMX. The oneDNN in
//! libtorch offers none of this on x86-64.
//!
//! [`Convolutions`] goes from the bytes of pictures to the last layer's maps. The [first layer](first),
//! whose three channels are too few, is computed directly; the [others](layer) add bias, ReLU and
//! pooling to their results before they store them.

mod first;
mod layer;
mod map;
mod product;
mod transform;

use std::sync::{Mutex, PoisonError};

use pulp::Arch;
use rayon::prelude::*;
use tch::{Kind, Tensor};

use first::First;
use layer::{Layer, Scratch};
use map::Map;

use super::vgg16::Convolution;
use super::{EncoderConfig, EncoderError};

/// Pictures that go through the layers together from where the weights outweigh the maps, so that
/// weights are fetched once for all of them.
const TOGETHER: usize = 4;

/// The normalisation and the convolutions of a VGG, laid out for this processor.
pub struct Convolutions {
    /// Height and width of a picture in pixels.
    side: usize,
    first: First,
    layers: Vec<Layer>,
    /// How many of the layers take one picture at a time.
    apart: usize,
    /// What they compute in, one for each thread, kept for the next batch.
    buffers: Mutex<Vec<Buffers>>,
    threads: rayon::ThreadPool,
}

/// The maps that layers read and write in turn, and what the layers need beside them.
#[derive(Default)]
struct Buffers {
    read: Map,
    written: Map,
    /// Where the maps of single pictures are gathered.
    gathered: Map,
    scratch: Scratch,
}

impl Convolutions {
    /// Whether this processor and these layers gain by it: vectors of at least eight numbers, and
    /// channels that fill whole ones.
    pub fn fit(convolutions: &[Convolution]) -> bool {
        Self::fit_on(Arch::new(), convolutions)
    }

    fn fit_on(arch: Arch, convolutions: &[Convolution]) -> bool {
        let width = product::panel(arch);
        let whole = |channels: i64| channels > 0 && channels % width as i64 == 0;
        let (Some(first), layers) = (convolutions.first(), convolutions.get(1..).unwrap_or(&[]))
        else {
            return false;
        };
        width >= 16
            && first.inputs == 3
            && !first.pooled
            && whole(first.outputs)
            && layers
                .iter()
                .all(|layer| whole(layer.inputs) && whole(layer.outputs))
    }

    /// `weights`: a weight, `[outputs, inputs, 3, 3]`, and a bias, `[outputs]`, for each of `layers`,
    /// which [`fit`](Self::fit). The last one pools unless it is itself the feature.
    ///
    /// # Errors
    ///
    /// When the threads cannot be started, or a tensor cannot be read.
    pub fn new(
        config: &EncoderConfig,
        layers: &[Convolution],
        weights: Vec<(Tensor, Tensor)>,
    ) -> Result<Self, EncoderError> {
        Self::on(Arch::new(), config, layers, weights)
    }

    fn on(
        arch: Arch,
        config: &EncoderConfig,
        layers: &[Convolution],
        weights: Vec<(Tensor, Tensor)>,
    ) -> Result<Self, EncoderError> {
        let mut weights = weights.iter();
        let mut next = || -> Result<(Vec<f32>, Vec<f32>), EncoderError> {
            let (weight, bias) = weights.next().ok_or(EncoderError::TooFewWeights)?;
            Ok((numbers(weight)?, numbers(bias)?))
        };
        let (weight, bias) = next()?;
        let first = First::new(arch, &weight, bias, &config.preprocess);
        let side = config.preprocess.crop as usize;
        let mut at = side;
        let mut prepared = Vec::new();
        for (index, layer) in layers.iter().enumerate().skip(1) {
            let is_feature = config.layer == super::Layer::Conv5_3 && index + 1 == layers.len();
            let (weight, bias) = next()?;
            let layer = Layer::new(arch, &weight, bias, at, layer.pooled && !is_feature);
            at = layer.side_after();
            prepared.push(layer);
        }
        let apart = prepared
            .iter()
            .position(Layer::weights_outweigh_map)
            .unwrap_or(prepared.len());
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(usize::try_from(tch::get_num_threads()).unwrap_or(1))
            .thread_name(|index| format!("convolve {index}"))
            .build()
            .map_err(EncoderError::NoThreads)?;
        Ok(Convolutions {
            side,
            first,
            layers: prepared,
            apart,
            buffers: Mutex::default(),
            threads,
        })
    }

    /// `pictures`: each `[side, side, 3]`, RGB. Returns `[pictures, height, width, channels]` of the last layer,
    /// after its ReLU and pooling, whichever of them it has.
    pub fn apply(&self, pictures: &[&[u8]]) -> Vec<f32> {
        let length = self.shape().iter().product::<i64>() as usize;
        let together = shares(pictures.len(), self.threads.current_num_threads());
        let mut maps = vec![0.0; pictures.len() * length];
        self.threads.install(|| {
            pictures
                .par_chunks(together)
                .zip(maps.par_chunks_mut(together * length))
                .for_each(|(pictures, maps)| {
                    let mut buffers = self.lend();
                    self.group(pictures, &mut buffers, maps);
                    self.take_back(buffers);
                });
        });
        maps
    }

    /// Height, width and channels of what [`apply`](Self::apply) gives for each picture.
    pub fn shape(&self) -> [i64; 3] {
        let (side, channels) = match self.layers.last() {
            Some(layer) => (layer.side_after(), layer.outputs()),
            None => (self.side, self.first.outputs()),
        };
        [side as i64, side as i64, channels as i64]
    }

    /// A few pictures, on one thread.
    fn group(&self, pictures: &[&[u8]], buffers: &mut Buffers, maps: &mut [f32]) {
        let Buffers {
            read,
            written,
            gathered,
            scratch,
        } = buffers;
        let (apart, together) = self.layers.split_at(self.apart);
        for (index, picture) in pictures.iter().enumerate() {
            self.first.apply(picture, self.side, read);
            for layer in apart {
                layer.apply(read, written, scratch);
                std::mem::swap(read, written);
            }
            gathered.gather(read, index, pictures.len());
        }
        std::mem::swap(read, gathered);
        for layer in together {
            layer.apply(read, written, scratch);
            std::mem::swap(read, written);
        }
        read.copy_to(maps);
    }

    fn lend(&self) -> Buffers {
        let mut kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    fn take_back(&self, buffers: Buffers) {
        let mut kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(buffers);
    }
}

/// How many pictures each thread takes at a time: at most [`TOGETHER`], and such that no thread waits
/// long for another one.
fn shares(batch: usize, threads: usize) -> usize {
    let rounds = batch.div_ceil(threads * TOGETHER).max(1);
    batch.div_ceil(rounds * threads).max(1)
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>, EncoderError> {
    let flat = tensor.f_to_kind(Kind::Float)?.f_contiguous()?.f_view(-1)?;
    Ok(Vec::try_from(&flat)?)
}

#[cfg(test)]
mod tests;
