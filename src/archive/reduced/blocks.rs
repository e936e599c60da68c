//! Turns a scan's data into samples, block after block.

use std::ops::Range;

use super::bits::Bits;
use super::codes::Codes;
use super::levels::{Levels, Next};
use super::samples::Transform;

/// Where the coefficients of a block lie, in the order in which they come (ITU-T T.81, figure 5).
pub const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A component on its way to samples.
pub struct Plane<'a> {
    /// Blocks in each unit.
    pub across: usize,
    pub down: usize,
    /// Width and height of what a block becomes.
    pub block: (usize, usize),
    pub transform: Transform,
    /// Coefficients in zigzag order that matter.
    pub looked_at: usize,
    pub quantisation: &'a [f32; 64],
    pub dc: &'a Codes,
    pub ac: &'a Levels,
    pub stride: usize,
    /// The last block's first coefficient.
    pub predicted: i32,
    pub samples: Vec<u8>,
}

/// Reads the blocks of some units; `None` if they are not all there.
pub fn read_segment(
    data: &[u8],
    units: Range<usize>,
    units_across: usize,
    planes: &mut [Plane],
) -> Option<()> {
    let mut bits = Bits::new(data);
    for plane in planes.iter_mut() {
        plane.predicted = 0;
    }
    for unit in units {
        let (column, line) = (unit % units_across, unit / units_across);
        for plane in planes.iter_mut() {
            for down in 0..plane.down {
                for across in 0..plane.across {
                    let mut block = [0.0; 64];
                    plane.predicted = read_block(&mut bits, plane, &mut block)?;
                    let (width, height) = plane.block;
                    let x = (column * plane.across + across) * width;
                    let y = (line * plane.down + down) * height;
                    let place = y * plane.stride + x;
                    (plane.transform)(&block, &mut plane.samples[place..], plane.stride);
                }
            }
        }
        if bits.is_beyond_the_end() {
            return None;
        }
    }
    Some(())
}

/// Reads one block's coefficients, those that matter into `block`, row by row. Returns the first, as
/// it came; `None` if there are no such coefficients.
#[inline(always)]
fn read_block(bits: &mut Bits, plane: &Plane, block: &mut [f32; 64]) -> Option<i32> {
    bits.refill();
    let code = plane.dc.next(bits)?;
    if code.zeros() != 0 {
        return None;
    }
    bits.skip(code.bits());
    let first = plane.predicted.wrapping_add(bits.value(code.size()));
    block[0] = first as f32 * plane.quantisation[0];
    let mut place = 1;
    while place < plane.looked_at {
        match plane.ac.next(bits, place)? {
            Next::Level(at, value) => {
                let value = f32::from(value) * plane.quantisation[at];
                block[usize::from(ZIGZAG[at])] = value;
                place = at + 1;
            }
            Next::End => return Some(first),
        }
    }
    if place < 64 {
        plane.ac.step_over(bits, place)?;
    }
    Some(first)
}
