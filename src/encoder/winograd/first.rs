//! The first convolution: from three channels, whose nine neighbours make rows of 27 numbers.

use pulp::{Arch, Simd, WithSimd};

use crate::encoder::preprocess::{Channels, Preprocess};

use super::map::Map;
use super::product::{self, Rows};

/// Numbers that an output depends on.
const DEPTH: usize = 27;

/// Normalisation, convolution, bias and ReLU.
pub struct First {
    arch: Arch,
    /// `[outputs / panel, 27, panel]`
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// Of each channel and level, what it is normalised to; by the order of the pixels.
    levels: Box<[[f32; 256]; 3]>,
}

impl First {
    /// `weight`: `[outputs, 3, 3, 3]`, `bias`: `[outputs]`.
    pub fn new(arch: Arch, weight: &[f32], bias: Vec<f32>, preprocess: &Preprocess) -> Self {
        // Pixels stay as they are; where the weights want blue first, they are turned instead.
        let turned = |channel: usize| match preprocess.channels {
            Channels::Rgb => channel,
            Channels::Bgr => 2 - channel,
        };
        let (factor, offset) = preprocess.factor_and_offset();
        let outputs = bias.len();
        let mut laid_out = Vec::new();
        let panel = product::panel(arch);
        product::lay_out(&mut laid_out, outputs, DEPTH, panel, |output, index| {
            let (place, channel) = (index / 3, index % 3);
            weight[(output * 3 + turned(channel)) * 9 + place]
        });
        let levels = std::array::from_fn(|channel| {
            let channel = turned(channel);
            std::array::from_fn(|level| level as f32 * factor[channel] + offset[channel])
        });
        First {
            arch,
            weight: laid_out,
            bias,
            levels: Box::new(levels),
        }
    }

    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `pixels`: `[side, side, 3]`, RGB.
    pub fn apply(&self, pixels: &[u8], side: usize, map: &mut Map) {
        map.shape(1, side, self.outputs());
        self.arch.dispatch(Apply {
            first: self,
            pixels,
            side,
            map,
        });
    }
}

struct Apply<'a> {
    first: &'a First,
    pixels: &'a [u8],
    side: usize,
    map: &'a mut Map,
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Apply {
            first,
            pixels,
            side,
            map,
        } = self;
        let outputs = first.outputs();
        let width = (side + 2) * 3;
        // The picture with a border of zeros, normalised.
        let mut normalised = vec![0.0; (side + 2) * width];
        for (row, pixels) in normalised
            .chunks_exact_mut(width)
            .skip(1)
            .zip(pixels.chunks_exact(side * 3))
        {
            for (values, pixel) in row[3..].chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
                for channel in 0..3 {
                    values[channel] = first.levels[channel][usize::from(pixel[channel])];
                }
            }
        }
        let mut neighbours = vec![0.0; side * DEPTH];
        for y in 0..side {
            for (x, neighbours) in neighbours.chunks_exact_mut(DEPTH).enumerate() {
                for (dy, neighbours) in neighbours.chunks_exact_mut(9).enumerate() {
                    neighbours.copy_from_slice(&normalised[(y + dy) * width + x * 3..][..9]);
                }
            }
            let rows = Rows {
                values: &neighbours,
                stride: DEPTH,
                count: side,
            };
            let line = map.line(0, y);
            product::product(simd, rows, DEPTH, &first.weight, line, outputs);
            for values in line.chunks_exact_mut(outputs) {
                let (values, _) = S::as_mut_simd_f32s(values);
                let (bias, _) = S::as_simd_f32s(&first.bias);
                for (value, bias) in values.iter_mut().zip(bias) {
                    *value = simd.max_f32s(simd.add_f32s(*value, *bias), simd.splat_f32s(0.0));
                }
            }
        }
    }
}
