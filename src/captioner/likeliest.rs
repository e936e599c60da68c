//! Logits -> the likeliest tokens with their log-probabilities, in two passes over each row.
//!
//! libtorch does the same in four operations that each read and write all of it: log_softmax, the
//! withheld tokens, topk, and the copies out of it. On a CPU that is a tenth of a search.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::beam::Candidate;
use super::vocabulary::TokenId;

/// Logits that are looked at together; as many as a vector register holds, or a few of them.
const LANES: usize = 16;

/// `logits`: `[rows, words]`. Returns of each row the `top` likeliest tokens, best first, and the
/// lower of equally likely ones first. Those `withheld` are left out; the others' probabilities are
/// the model's own all the same.
pub fn likeliest(
    logits: &[f32],
    words: usize,
    withheld: &[TokenId],
    top: usize,
) -> Vec<Vec<Candidate>> {
    let of_row = row();
    logits
        .par_chunks_exact(words)
        .map(|logits| of_row(logits, withheld, top))
        .collect()
}

type Row = fn(&[f32], &[TokenId], usize) -> Vec<Candidate>;

/// The same for each processor, but for the instructions that the compiler may use.
fn row() -> Row {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2(logits: &[f32], withheld: &[TokenId], top: usize) -> Vec<Candidate> {
            of_row(logits, withheld, top)
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has them.
            return |logits, withheld, top| unsafe { with_avx2(logits, withheld, top) };
        }
    }
    |logits, withheld, top| of_row(logits, withheld, top)
}

#[inline(always)]
fn of_row(logits: &[f32], withheld: &[TokenId], top: usize) -> Vec<Candidate> {
    let mut best = greatest(logits, top + withheld.len());
    let most = best.first().map_or(f32::NEG_INFINITY, |(_, logit)| *logit);
    let normaliser = most + sum_of_exponentials(logits, most).ln();
    best.retain(|(token, _)| !withheld.contains(token));
    best.truncate(top);
    let candidate = |(token, logit): (TokenId, f32)| Candidate {
        token,
        log_prob: logit - normaliser,
    };
    best.into_iter().map(candidate).collect()
}

/// The `count` greatest, greatest first.
#[inline(always)]
fn greatest(logits: &[f32], count: usize) -> Vec<(TokenId, f32)> {
    let mut best: Vec<(TokenId, f32)> = Vec::with_capacity(count + 1);
    let mut least = f32::NEG_INFINITY;
    let mut offer = |token: usize, logit: f32| {
        // What is no number is never among the best; the sum tells that it was there.
        if best.len() == count && logit.partial_cmp(&least) != Some(Ordering::Greater) {
            return least;
        }
        let place = best.partition_point(|(_, other)| *other >= logit);
        best.insert(place, (token as TokenId, logit));
        best.truncate(count);
        if best.len() == count {
            least = best.last().map_or(least, |(_, logit)| *logit);
        }
        least
    };
    let (chunks, rest) = logits.as_chunks::<LANES>();
    let mut bound = f32::NEG_INFINITY;
    for (number, chunk) in chunks.iter().enumerate() {
        // Nearly always none; without a branch in it the compiler makes a vector comparison of it.
        let any = chunk
            .iter()
            .fold(false, |any, logit| any | (*logit > bound));
        if any || number * LANES < count {
            for (lane, logit) in chunk.iter().enumerate() {
                bound = offer(number * LANES + lane, *logit);
            }
        }
    }
    for (place, logit) in rest.iter().enumerate() {
        offer(chunks.len() * LANES + place, *logit);
    }
    best
}

/// Sum of `exp(logit - most)`, where `most` is the greatest of them.
#[inline(always)]
fn sum_of_exponentials(logits: &[f32], most: f32) -> f32 {
    let (chunks, rest) = logits.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for chunk in chunks {
        for (sum, logit) in sums.iter_mut().zip(chunk) {
            *sum += exponential(*logit - most);
        }
    }
    let rest: f32 = rest.iter().map(|logit| exponential(*logit - most)).sum();
    sums.iter().sum::<f32>() + rest
}

/// e to the power of `x`, which is at most zero, within 3e-7 of it: a polynomial for the fraction of
/// the binary logarithm (as in Cephes), the exponent's bits for the rest.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    /// Added, it rounds to a whole number.
    const ROUNDING: f32 = 12_582_912.0;
    /// The natural logarithm of two in two parts, the first of few bits.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

    // Below it there is nothing left of the smallest number; what is no number stays so.
    let bounded = if x < -87.0 { -87.0 } else { x };
    let rounded = bounded * std::f32::consts::LOG2_E + ROUNDING;
    // The last bits of its mantissa.
    let exponent = (rounded.to_bits() as i32).wrapping_sub(ROUNDING.to_bits() as i32);
    let whole = rounded - ROUNDING;
    let rest = bounded - whole * LN_2[0] - whole * LN_2[1];
    let series = 1.987_569_1e-4;
    let series = series * rest + 1.398_199_9e-3;
    let series = series * rest + 8.333_452e-3;
    let series = series * rest + 4.166_579_6e-2;
    let series = series * rest + 1.666_666_5e-1;
    let series = series * rest + 0.5;
    let fraction = series * rest * rest + rest + 1.0;
    let power = f32::from_bits((exponent.wrapping_add(127) as u32) << 23);
    fraction * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// In double precision, one step after another.
    fn expected(logits: &[f32], withheld: &[TokenId], top: usize) -> Vec<(TokenId, f64)> {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|x| f64::from(x - most).exp()).sum();
        let normaliser = f64::from(most) + sum.ln();
        let mut all: Vec<(TokenId, f64)> = (0..)
            .zip(logits)
            .filter(|(token, _)| !withheld.contains(token))
            .map(|(token, logit)| (token, f64::from(*logit) - normaliser))
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(top);
        all
    }

    proptest! {
        #[test]
        fn is_a_softmax_sorted(
            logits in prop::collection::vec(-30f32..30.0, 3..400),
            repeated in 0usize..400,
            top in 1usize..20,
        ) {
            let mut logits = logits;
            let (last, repeated) = (logits.len() - 1, repeated % logits.len());
            logits[last] = logits[repeated];
            let withheld = [0, 2];
            let found = likeliest(&logits, logits.len(), &withheld, top).remove(0);
            let expected = expected(&logits, &withheld, top);
            prop_assert_eq!(found.len(), expected.len());
            for (found, (token, log_prob)) in found.iter().zip(expected) {
                prop_assert_eq!(found.token, token);
                prop_assert!((f64::from(found.log_prob) - log_prob).abs() < 1e-5);
            }
        }

        #[test]
        fn exponentials_are_within_their_error(x in -86f32..=0.0) {
            let exact = f64::from(x).exp();
            prop_assert!((f64::from(exponential(x)) / exact - 1.0).abs() < 3e-7);
        }
    }

    #[test]
    fn rows_are_looked_at_alone() {
        let logits = [[0.0, 1.0, 5.0, 2.0], [9.0, 3.0, 2.0, 1.0]].concat();
        let found = likeliest(&logits, 4, &[], 1);
        let tokens: Vec<TokenId> = found.iter().map(|row| row[0].token).collect();
        assert_eq!(tokens, [2, 0]);
    }

    #[test]
    fn what_is_no_number_makes_every_probability_none() {
        for spoilt in [f32::NAN, f32::INFINITY] {
            let mut logits = vec![1.0; 40];
            logits[17] = spoilt;
            let found = likeliest(&logits, 40, &[0], 3).remove(0);
            assert!(
                found
                    .iter()
                    .all(|candidate| !candidate.log_prob.is_finite())
            );
        }
        let nothing = vec![f32::NEG_INFINITY; 40];
        let found = likeliest(&nothing, 40, &[0], 3).remove(0);
        assert!(
            found
                .iter()
                .all(|candidate| !candidate.log_prob.is_finite())
        );
    }
}
