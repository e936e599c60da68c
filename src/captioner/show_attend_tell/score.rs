//! What each region scores: u · tanh(p + s), summed as it is computed.
//!
//! In libtorch the sum, its tanh and the product are operations that each write all of it, and the tanh
//! alone takes half of a step. Here nothing is written but the score.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// `projected`: `[pictures, regions, attention]`, what the regions give; `from_states`: `[rows, attention]`, what
/// the state of each row gives; `pictures`: `[rows]`, whose regions it looks at; `weight`: `[attention]`.
/// Returns `[rows, regions]`.
pub fn scores(
    projected: &[f32],
    from_states: &[f32],
    pictures: &[i64],
    weight: &[f32],
    regions: usize,
) -> Vec<f32> {
    let attention = weight.len();
    let picture = regions * attention;
    let arch = Arch::new();
    let mut scores = vec![0.0; pictures.len() * regions];
    scores
        .par_chunks_exact_mut(regions)
        .zip(from_states.par_chunks_exact(attention))
        .zip(pictures)
        .for_each(|((scores, from_state), number)| {
            let first = *number as usize * picture;
            arch.dispatch(Row {
                projected: &projected[first..first + picture],
                from_state,
                weight,
                scores,
            });
        });
    scores
}

/// The scores of a picture's regions for one caption.
struct Row<'a> {
    projected: &'a [f32],
    from_state: &'a [f32],
    weight: &'a [f32],
    scores: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let regions = self.projected.chunks_exact(self.weight.len());
        let (weights, weights_left) = S::as_simd_f32s(self.weight);
        let (states, states_left) = S::as_simd_f32s(self.from_state);
        for (score, region) in self.scores.iter_mut().zip(regions) {
            let (values, values_left) = S::as_simd_f32s(region);
            let mut sums = simd.splat_f32s(0.0);
            for ((value, state), weight) in values.iter().zip(states).zip(weights) {
                let bent = tanh(simd, simd.add_f32s(*value, *state));
                sums = simd.mul_add_f32s(*weight, bent, sums);
            }
            *score = simd.reduce_sum_f32s(sums);
            let left = values_left.iter().zip(states_left).zip(weights_left);
            for ((value, state), weight) in left {
                *score += weight * (value + state).tanh();
            }
        }
    }
}

/// Beyond it tanh is one in f32.
const BOUND: f32 = 7.905_311;

/// Of x to the powers 13, 11, to 1, and of 6, 4, 2, 0: those of Eigen's `ptanh`
/// (<https://gitlab.com/libeigen/eigen>, generic packet math functions).
const ABOVE: [f32; 7] = [
    -2.760_768_5e-16,
    2.000_188e-13,
    -8.604_672e-11,
    5.122_297e-8,
    1.485_722_4e-5,
    6.372_619_3e-4,
    4.893_524_6e-3,
];
const BELOW: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];

/// The hyperbolic tangent, within 4e-7 of it: a fraction of two polynomials.
#[inline(always)]
fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let bound = simd.splat_f32s(BOUND);
    let x = simd.max_f32s(simd.min_f32s(x, bound), simd.splat_f32s(-BOUND));
    let square = simd.mul_f32s(x, x);
    let mut above = simd.splat_f32s(ABOVE[0]);
    for factor in &ABOVE[1..] {
        above = simd.mul_add_f32s(above, square, simd.splat_f32s(*factor));
    }
    let mut below = simd.splat_f32s(BELOW[0]);
    for factor in &BELOW[1..] {
        below = simd.mul_add_f32s(below, square, simd.splat_f32s(*factor));
    }
    simd.div_f32s(simd.mul_f32s(x, above), below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// In double precision.
    fn expected(projected: &[f32], from_state: &[f32], weight: &[f32]) -> f64 {
        let terms = projected.iter().zip(from_state).zip(weight);
        terms
            .map(|((value, state), weight)| {
                f64::from(*weight) * (f64::from(*value) + f64::from(*state)).tanh()
            })
            .sum()
    }

    proptest! {
        #[test]
        fn scores_are_those_of_the_formula(
            attention in 1usize..70,
            regions in 1usize..6,
            pictures in prop::collection::vec(0i64..3, 1..5),
            spread in 0.1f32..6.0,
            seed in any::<u32>(),
        ) {
            let mut state = seed;
            let mut numbers = |count: usize, spread: f32| -> Vec<f32> {
                (0..count)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state as f32 / u32::MAX as f32 - 0.5) * 2.0 * spread
                    })
                    .collect()
            };
            let projected = numbers(3 * regions * attention, spread);
            let from_states = numbers(pictures.len() * attention, spread);
            let weight = numbers(attention, 1.0);
            let found = scores(&projected, &from_states, &pictures, &weight, regions);
            prop_assert_eq!(found.len(), pictures.len() * regions);
            for (row, picture) in pictures.iter().enumerate() {
                let from_state = &from_states[row * attention..(row + 1) * attention];
                for region in 0..regions {
                    let first = (*picture as usize * regions + region) * attention;
                    let expected =
                        expected(&projected[first..first + attention], from_state, &weight);
                    let found = f64::from(found[row * regions + region]);
                    prop_assert!((found - expected).abs() < 1e-6 * attention as f64);
                }
            }
        }

        #[test]
        fn tanh_is_within_its_error(x in -12f32..12.0) {
            // Enough of the same for a vector of any kind of processor.
            let found = scores(&[x; 64], &[0.0; 64], &[0], &[1.0 / 64.0; 64], 1)[0];
            prop_assert!((f64::from(found) - f64::from(x).tanh()).abs() < 4e-7);
        }
    }
}
