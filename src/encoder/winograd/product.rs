//! Products of rows with weights that are laid out in panels, held in registers until they are done.
//!
//! What is generic over [`Simd`] is compiled for each kind of vectors as a whole: every function is
//! `inline(always)`, and there are no closures in it, since those are not.

use pulp::{Arch, Simd, WithSimd};

/// Vectors of weights in a panel.
const VECTORS: usize = 2;

/// The most rows that are multiplied at once, so that sums, weights and one input fit the registers:
/// 32 of them in AVX-512, 16 in AVX2.
pub const fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 14 } else { 6 }
}

/// Outputs in a panel on this processor.
pub fn panel(arch: Arch) -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            panel_of::<S>()
        }
    }
    arch.dispatch(Width)
}

pub const fn panel_of<S: Simd>() -> usize {
    VECTORS * S::F32_LANES
}

/// Appends the weights that `of` gives for (output, input): `[outputs / panel, inputs, panel]`.
pub fn lay_out(
    laid_out: &mut Vec<f32>,
    outputs: usize,
    inputs: usize,
    panel: usize,
    of: impl Fn(usize, usize) -> f32,
) {
    for first in (0..outputs).step_by(panel) {
        for input in 0..inputs {
            laid_out.extend((first..first + panel).map(|output| of(output, input)));
        }
    }
}

/// Some rows of numbers in a larger matrix.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub values: &'a [f32],
    /// From a row to the next.
    pub stride: usize,
    pub count: usize,
}

/// `inputs`: `[count, depth]`, `weights`: `[outputs / panel, depth, panel]`; writes `[count, outputs]`
/// into `sums`, with `stride` from a row to the next.
#[inline(always)]
pub fn product<S: Simd>(
    simd: S,
    inputs: Rows,
    depth: usize,
    weights: &[f32],
    sums: &mut [f32],
    stride: usize,
) {
    let panel = panel_of::<S>();
    // Shares of like size: a last one of few rows would leave the processor waiting for its sums.
    let shares = inputs.count.div_ceil(most_rows::<S>());
    for (index, weights) in weights.chunks_exact(depth * panel).enumerate() {
        let weights = S::as_simd_f32s(weights).0.as_chunks::<VECTORS>().0;
        for share in 0..shares {
            let begin = inputs.count * share / shares;
            let count = inputs.count * (share + 1) / shares - begin;
            let values = &inputs.values[begin * inputs.stride..];
            let sums = &mut sums[begin * stride + index * panel..];
            macro_rules! rows {
                ($($rows:literal)*) => {
                    match count {
                        $($rows => rows::<S, $rows>(simd, values, inputs.stride, depth, weights, sums, stride),)*
                        _ => unreachable!("shares have at most {} rows", most_rows::<S>()),
                    }
                };
            }
            rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        }
    }
}

/// `ROWS` rows with one panel.
#[inline(always)]
fn rows<S: Simd, const ROWS: usize>(
    simd: S,
    values: &[f32],
    values_stride: usize,
    depth: usize,
    weights: &[[S::f32s; VECTORS]],
    sums: &mut [f32],
    sums_stride: usize,
) {
    let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
    for (row, numbers) in rows.iter_mut().enumerate() {
        *numbers = &values[row * values_stride..][..depth];
    }
    let mut total = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    for (index, weights) in weights[..depth].iter().enumerate() {
        for row in 0..ROWS {
            let value = simd.splat_f32s(rows[row][index]);
            for vector in 0..VECTORS {
                total[row][vector] =
                    simd.mul_add_e_f32s(value, weights[vector], total[row][vector]);
            }
        }
    }
    for (row, total) in total.into_iter().enumerate() {
        let sums = &mut sums[row * sums_stride..][..panel_of::<S>()];
        let (sums, _) = S::as_mut_simd_f32s(sums);
        sums.copy_from_slice(&total);
    }
}
