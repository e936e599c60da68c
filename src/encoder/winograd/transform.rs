//! What becomes of weights, inputs and products, for tiles of 4×4 outputs of a 3×3 convolution.
//!
//! In the terms of Lavin and Gray (arXiv 1509.09308): `Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A`. The polynomials
//! are interpolated at 0, ±1/√2, ±√2 and ∞, whose matrices have entries of like size; at 0, ±1, ±2 and
//! ∞, as in the paper, results are half as exact (measured: a relative error of 9e-7 instead of 1.9e-6
//! with 256 channels; Barabasz et al., arXiv 1803.10986, tell why).

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use pulp::Simd;

/// Height and width of a transformed tile.
pub const SPAN: usize = 6;
/// Numbers in a transformed tile.
pub const POINTS: usize = SPAN * SPAN;

/// `G g Gᵀ` of the 3×3 weights from one channel to another.
pub fn weights(g: &[f32]) -> [f32; POINTS] {
    // A row for each finite point p: [1, p, p²], over the product of p's distances to the others.
    let (half, two) = (f64::from(0.5f32).sqrt(), 2f64.sqrt());
    let row = |p: f64, distances: f64| [1.0 / distances, p / distances, p * p / distances];
    let matrix = [
        row(0.0, 1.0),
        row(half, -1.5),
        row(-half, -1.5),
        row(two, 6.0),
        row(-two, 6.0),
        [0.0, 0.0, 1.0],
    ];
    std::array::from_fn(|point| {
        let (rows, columns) = (matrix[point / SPAN], matrix[point % SPAN]);
        let mut sum = 0.0;
        for (y, row) in rows.into_iter().enumerate() {
            for (x, column) in columns.into_iter().enumerate() {
                sum += row * column * f64::from(g[y * 3 + x]);
            }
        }
        sum as f32
    })
}

/// `Bᵀ d` of a column of the input.
#[inline(always)]
pub fn input<S: Simd>(simd: S, d: [S::f32s; SPAN]) -> [S::f32s; SPAN] {
    let inner_even = plus(simd, -2.0, d[2], d[4]);
    let inner_odd = plus(simd, -SQRT_2, d[1], times(simd, FRAC_1_SQRT_2, d[3]));
    let outer_even = plus(simd, -0.5, d[2], d[4]);
    let outer_odd = plus(simd, -FRAC_1_SQRT_2, d[1], times(simd, SQRT_2, d[3]));
    [
        plus(simd, -2.5, d[2], simd.add_f32s(d[0], d[4])),
        simd.add_f32s(inner_even, inner_odd),
        simd.sub_f32s(inner_even, inner_odd),
        simd.add_f32s(outer_even, outer_odd),
        simd.sub_f32s(outer_even, outer_odd),
        plus(simd, -2.5, d[3], simd.add_f32s(d[1], d[5])),
    ]
}

/// `Aᵀ m` of a column of the products.
#[inline(always)]
pub fn output<S: Simd>(simd: S, m: [S::f32s; SPAN]) -> [S::f32s; 4] {
    let inner_even = simd.add_f32s(m[1], m[2]);
    let inner_odd = simd.sub_f32s(m[1], m[2]);
    let outer_even = simd.add_f32s(m[3], m[4]);
    let outer_odd = simd.sub_f32s(m[3], m[4]);
    let cubes = plus(simd, 2.0 * SQRT_2, outer_odd, m[5]);
    [
        simd.add_f32s(m[0], simd.add_f32s(inner_even, outer_even)),
        plus(
            simd,
            FRAC_1_SQRT_2,
            inner_odd,
            times(simd, SQRT_2, outer_odd),
        ),
        plus(simd, 0.5, inner_even, times(simd, 2.0, outer_even)),
        plus(simd, 0.5 * FRAC_1_SQRT_2, inner_odd, cubes),
    ]
}

#[inline(always)]
fn times<S: Simd>(simd: S, factor: f32, value: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(factor), value)
}

/// `factor · value + sum`
#[inline(always)]
fn plus<S: Simd>(simd: S, factor: f32, value: S::f32s, sum: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(factor), value, sum)
}
