//! Turns features into the values that the cache keeps.
//!
//! bfloat16 keeps float32's range and drops 16 bits of its mantissa. As two of the four bytes of each
//! value are then zero, BYTE_STREAM_SPLIT with ZSTD stores them for nothing, and readers still see
//! plain float32. Stands apart because the pipeline has to caption from the rounded values: else a
//! caption would depend on whether its features came out of the encoder or out of the cache.

use half::bf16;

/// How exactly features are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 8 bits of mantissa: relative error at most 2^-9.
    #[default]
    Bfloat16,
    /// As they come, float32.
    Full,
}

impl Precision {
    /// Rounds `features` to what the cache would return for them.
    pub fn round(self, features: &mut [f32]) {
        match self {
            Self::Bfloat16 => round(features),
            Self::Full => {}
        }
    }

    /// The name in a part's metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bfloat16 => "bfloat16",
            Self::Full => "float32",
        }
    }

    /// The precision of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Bfloat16, Self::Full]
            .into_iter()
            .find(|precision| precision.name() == name)
    }
}

/// Rounds to bfloat16, to nearest, ties to even.
pub fn round(features: &mut [f32]) {
    for feature in features {
        *feature = bf16::from_f32(*feature).to_f32();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(input: f32, expected: f32) {
        let mut features = [input];
        round(&mut features);
        assert_eq!(features[0].to_bits(), expected.to_bits(), "{input}");
    }

    #[test]
    fn rounds_to_nearest_even() {
        check(0.0, 0.0);
        check(-0.0, -0.0);
        check(1.0, 1.0);
        let ulp = 2f32.powi(-7);
        check(1.0 + ulp / 2.0, 1.0);
        check(1.0 + ulp * 1.5, 1.0 + ulp * 2.0);
        check(1.0 + ulp * 0.51, 1.0 + ulp);
        check(f32::INFINITY, f32::INFINITY);
        check(f32::MAX, f32::INFINITY);
        check(f32::MIN_POSITIVE, f32::MIN_POSITIVE);
    }

    proptest! {
        #[test]
        fn stays_within_its_error_and_is_done_once(value in -1e30f32..1e30) {
            let mut once = [value];
            round(&mut once);
            prop_assert!((once[0] - value).abs() <= value.abs() * 2f32.powi(-8) || value.abs() < 1e-37);
            let mut twice = once;
            round(&mut twice);
            prop_assert_eq!(once, twice);
        }
    }
}
