//! A convolution with its bias, its ReLU and, where one follows, its pooling.

use pulp::{Arch, Simd, WithSimd};

use super::map::{Map, TILE};
use super::product::{self, Rows};
use super::transform::{self, POINTS, SPAN};

/// Tiles that are transformed and multiplied together: enough of them that fetching weights takes no
/// time (measured: 42 to 84 are alike), and no more, so that what is made of them stays in the cache.
const BLOCK: usize = 56;

/// Rows of matrices end in this many unused numbers, so that they do not all begin in the same places
/// of the cache.
const APART: usize = 16;

/// See the [module](self).
pub struct Layer {
    arch: Arch,
    /// `[36, outputs / panel, inputs, panel]`
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
    /// Height and width of what it reads.
    side: usize,
    pools: bool,
}

/// What a layer computes in.
#[derive(Default)]
pub struct Scratch {
    /// `[36, BLOCK, inputs]`
    transformed: Vec<f32>,
    /// `[36, BLOCK, outputs]`
    products: Vec<f32>,
}

impl Layer {
    /// `weight`: `[outputs, inputs, 3, 3]`, `bias`: `[outputs]`; inputs and outputs fill whole panels.
    /// It reads maps that are `side` high and wide.
    pub fn new(arch: Arch, weight: &[f32], bias: Vec<f32>, side: usize, pools: bool) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs / 9;
        let panel = product::panel(arch);
        let mut points = vec![Vec::new(); POINTS];
        for weight in weight.chunks_exact(9) {
            for (values, value) in points.iter_mut().zip(transform::weights(weight)) {
                values.push(value);
            }
        }
        let mut weight = Vec::with_capacity(POINTS * outputs * inputs);
        for values in points {
            let of = |output, input| values[output * inputs + input];
            product::lay_out(&mut weight, outputs, inputs, panel, of);
        }
        Layer {
            arch,
            weight,
            bias,
            inputs,
            side,
            pools,
        }
    }

    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Height and width of what it gives.
    pub fn side_after(&self) -> usize {
        if self.pools { self.side / 2 } else { self.side }
    }

    /// Whether fetching the weights takes longer than fetching a picture's map.
    pub fn weights_outweigh_map(&self) -> bool {
        self.weight.len() > self.side * self.side * self.inputs
    }

    /// `read`: maps with as many channels as there are inputs.
    pub fn apply(&self, read: &Map, written: &mut Map, scratch: &mut Scratch) {
        written.shape(read.pictures, self.side_after(), self.outputs());
        let rows = POINTS * BLOCK;
        grow(&mut scratch.transformed, rows * (self.inputs + APART));
        grow(&mut scratch.products, rows * (self.outputs() + APART));
        self.arch.dispatch(Apply {
            layer: self,
            read,
            written,
            scratch,
        });
    }
}

struct Apply<'a> {
    layer: &'a Layer,
    read: &'a Map,
    written: &'a mut Map,
    scratch: &'a mut Scratch,
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let tiles = self.read.tiles();
        let all = self.read.pictures * tiles * tiles;
        for first in (0..all).step_by(BLOCK) {
            let count = BLOCK.min(all - first);
            for tile in 0..count {
                self.transform(simd, tile, place(first + tile, tiles));
            }
            self.multiply(simd, count);
            for tile in 0..count {
                self.finish(simd, tile, place(first + tile, tiles));
            }
        }
    }
}

/// An array of what an expression gives for 0 to 5, without a closure.
macro_rules! spread {
    ($index:ident => $value:expr) => {
        [
            {
                let $index = 0;
                $value
            },
            {
                let $index = 1;
                $value
            },
            {
                let $index = 2;
                $value
            },
            {
                let $index = 3;
                $value
            },
            {
                let $index = 4;
                $value
            },
            {
                let $index = 5;
                $value
            },
        ]
    };
}

/// Picture, row and column of a tile.
fn place(tile: usize, tiles: usize) -> [usize; 3] {
    [tile / (tiles * tiles), tile / tiles % tiles, tile % tiles]
}

impl Apply<'_> {
    /// Reads a tile of 6×6 and transforms it, for all inputs.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, simd: S, tile: usize, [picture, y, x]: [usize; 3]) {
        let inputs = self.layer.inputs;
        let row = self.read.row();
        let values = self.read.tile(picture, y, x);
        let stride = inputs + APART;
        for channel in (0..inputs).step_by(S::F32_LANES) {
            let columns = spread!(x => {
                let at = x * inputs + channel;
                transform::input(simd, spread!(y => load::<S>(values, y * row + at)))
            });
            let rows = spread!(y => transform::input(simd, spread!(x => columns[x][y])));
            for (y, row) in rows.iter().enumerate() {
                for (x, value) in row.iter().enumerate() {
                    let place = ((y * SPAN + x) * BLOCK + tile) * stride + channel;
                    store::<S>(&mut self.scratch.transformed, place, *value);
                }
            }
        }
    }

    /// The products of `count` tiles.
    #[inline(always)]
    fn multiply<S: Simd>(&mut self, simd: S, count: usize) {
        let (inputs, outputs) = (self.layer.inputs, self.layer.outputs());
        let (read, written) = (inputs + APART, outputs + APART);
        let points = self.layer.weight.chunks_exact(inputs * outputs);
        let values = self.scratch.transformed.chunks_exact(BLOCK * read);
        let sums = self.scratch.products.chunks_exact_mut(BLOCK * written);
        for ((weights, values), sums) in points.zip(values).zip(sums) {
            let rows = Rows {
                values,
                stride: read,
                count,
            };
            product::product(simd, rows, inputs, weights, sums, written);
        }
    }

    /// Makes a tile of outputs of its products, and stores it, or what pooling leaves of it.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, tile: usize, [picture, y, x]: [usize; 3]) {
        let outputs = self.layer.outputs();
        let stride = outputs + APART;
        let zero = simd.splat_f32s(0.0);
        for channel in (0..outputs).step_by(S::F32_LANES) {
            let columns = spread!(x => transform::output(simd, spread!(y => {
                let place = ((y * SPAN + x) * BLOCK + tile) * stride + channel;
                load::<S>(&self.scratch.products, place)
            })));
            let bias = load::<S>(&self.layer.bias, channel);
            let mut whole = [[zero; TILE]; TILE];
            for (y, row) in whole.iter_mut().enumerate() {
                *row = transform::output(simd, spread!(x => columns[x][y]));
                for value in row {
                    *value = simd.max_f32s(simd.add_f32s(*value, bias), zero);
                }
            }
            if self.layer.pools {
                for dy in 0..TILE / 2 {
                    for dx in 0..TILE / 2 {
                        let (above, below) = (whole[2 * dy], whole[2 * dy + 1]);
                        let above = simd.max_f32s(above[2 * dx], above[2 * dx + 1]);
                        let below = simd.max_f32s(below[2 * dx], below[2 * dx + 1]);
                        let largest = simd.max_f32s(above, below);
                        let place = [picture, y * TILE / 2 + dy, x * TILE / 2 + dx];
                        self.put::<S>(place, channel, largest);
                    }
                }
            } else {
                for (dy, row) in whole.iter().enumerate() {
                    for (dx, value) in row.iter().enumerate() {
                        let place = [picture, y * TILE + dy, x * TILE + dx];
                        self.put::<S>(place, channel, *value);
                    }
                }
            }
        }
    }

    /// Stores what lies in the picture, and not beyond its edge.
    #[inline(always)]
    fn put<S: Simd>(&mut self, [picture, y, x]: [usize; 3], channel: usize, value: S::f32s) {
        if y < self.written.side && x < self.written.side {
            store::<S>(self.written.pixel(picture, y, x), channel, value);
        }
    }
}

fn grow(values: &mut Vec<f32>, length: usize) {
    if values.len() < length {
        values.resize(length, 0.0);
    }
}

#[inline(always)]
fn load<S: Simd>(values: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&values[at..at + S::F32_LANES]).0[0]
}

#[inline(always)]
fn store<S: Simd>(values: &mut [f32], at: usize, value: S::f32s) {
    S::as_mut_simd_f32s(&mut values[at..at + S::F32_LANES]).0[0] = value;
}
