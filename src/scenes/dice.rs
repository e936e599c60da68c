//! Turns (seed, index, purpose) into random choices that are the same on every platform.
//!
//! Scenes draw from this alone: it uses no `usize`, no library distribution and no library sine,
//! any of which may differ between machines or between releases of a crate.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of choices is for. Each has a stream of its own, so that a change to how scenes
/// are painted leaves their truth and their captions as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Plan = 0,
    Paint = 1,
    Words = 2,
    File = 3,
}

pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64, index: u64, purpose: Purpose) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(index.wrapping_mul(4).wrapping_add(purpose as u64));
        Self(generator)
    }

    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in `0..n`; 0 for `n = 0`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        f64::from(self.0.next_u32()) < probability * 4_294_967_296.0
    }

    /// One of the items, which must not be empty.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// Sine of an angle given in turns, by plain arithmetic (error below 1e-6).
pub(super) fn sine(turns: f32) -> f32 {
    let mut x = turns - (turns + 0.5).floor();
    if x > 0.25 {
        x = 0.5 - x;
    } else if x < -0.25 {
        x = -0.5 - x;
    }
    let a = x * std::f32::consts::TAU;
    let a2 = a * a;
    let high = 1.0 - a2 / 42.0 * (1.0 - a2 / 72.0 * (1.0 - a2 / 110.0));
    a * (1.0 - a2 / 6.0 * (1.0 - a2 / 20.0 * high))
}

/// Cosine of an angle given in turns.
pub(super) fn cosine(turns: f32) -> f32 {
    sine(turns + 0.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_choices_of_a_stream_never_change() {
        let mut dice = Dice::new(1, 2, Purpose::Plan);
        let first: Vec<usize> = (0..6).map(|_| dice.below(100)).collect();
        let mut again = Dice::new(1, 2, Purpose::Plan);
        assert_eq!(first, (0..6).map(|_| again.below(100)).collect::<Vec<_>>());
        let mut other = Dice::new(1, 2, Purpose::Paint);
        assert_ne!(first, (0..6).map(|_| other.below(100)).collect::<Vec<_>>());
    }

    #[test]
    fn sine_and_cosine_are_close_to_the_library_ones() {
        for step in -300..300 {
            let turns = step as f32 / 97.0;
            let angle = f64::from(turns) * std::f64::consts::TAU;
            assert!(
                (f64::from(sine(turns)) - angle.sin()).abs() < 2e-6,
                "sine of {turns} turns"
            );
            assert!(
                (f64::from(cosine(turns)) - angle.cos()).abs() < 2e-6,
                "cosine of {turns}"
            );
        }
    }

    #[test]
    fn choices_are_spread_evenly() {
        let mut dice = Dice::new(3, 0, Purpose::Plan);
        let mut seen = [0usize; 12];
        for _ in 0..12_000 {
            seen[dice.below(12)] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
        assert!((0..100).all(|_| !dice.chance(0.0)));
        assert!((0..100).all(|_| dice.chance(1.0)));
    }
}
