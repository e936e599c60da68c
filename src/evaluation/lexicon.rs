//! Turns words into numbers and runs of words into n-grams, so that metrics count integers.
//!
//! It stands apart because every metric counts n-grams and none should hash strings to do so.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The longest n-gram that any metric here counts.
pub const ORDERS: usize = 4;

/// Up to four word numbers, 32 bits each, the last word lowest. Word numbers begin at 1, so n-grams of
/// different orders differ.
pub(super) type Gram = u128;

/// Words and their numbers, given in the order in which they were met.
#[derive(Debug, Default, Clone)]
pub(super) struct Lexicon {
    numbers: HashMap<Box<str>, u32>,
}

impl Lexicon {
    /// The number of a word, which is new if it was not met before.
    pub fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = self.next();
        self.numbers.insert(word.into(), number);
        number
    }

    /// Numbers for words that may be unknown: those get numbers of their own, valid for this call alone.
    pub fn look_up<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Vec<u32> {
        let mut unknown: Vec<&str> = Vec::new();
        let number = |word| {
            if let Some(number) = self.numbers.get(word) {
                return *number;
            }
            let place = unknown.iter().position(|known| *known == word);
            let place = place.unwrap_or_else(|| {
                unknown.push(word);
                unknown.len() - 1
            });
            self.next() + place as u32
        };
        words.into_iter().map(number).collect()
    }

    fn next(&self) -> u32 {
        self.numbers.len() as u32 + 1
    }
}

/// The n-grams of one order, in the order of the text.
pub(super) fn grams(words: &[u32], order: usize) -> impl Iterator<Item = Gram> {
    words.windows(order).map(|window| {
        window
            .iter()
            .fold(0, |gram, word| (gram << 32) | Gram::from(*word))
    })
}

/// The n-grams of one order and how often each occurs, sorted by n-gram.
pub(super) fn counts(words: &[u32], order: usize) -> Vec<(Gram, u32)> {
    let mut all: Vec<Gram> = grams(words, order).collect();
    all.sort_unstable();
    let runs = all.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0], run.len() as u32)).collect()
}

/// A map keyed by n-grams.
pub(super) type GramMap<V> = HashMap<Gram, V, BuildHasherDefault<GramHasher>>;

/// Folds an n-gram into 64 bits by multiplication: the keys are numbers that nobody outside chooses, and
/// a training set has tens of millions of them.
#[derive(Default)]
pub(super) struct GramHasher(u64);

impl Hasher for GramHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, gram: u128) {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let mixed = (gram ^ u128::from(self.0)).wrapping_mul(ODD);
        self.0 = (mixed >> 64) as u64 ^ mixed as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_word_has_the_same_number() {
        let mut lexicon = Lexicon::default();
        let numbers = ["a", "dog", "a"].map(|word| lexicon.number(word));
        assert_eq!(numbers, [1, 2, 1]);
    }

    #[test]
    fn unknown_words_differ_from_each_other_and_from_known_ones() {
        let mut lexicon = Lexicon::default();
        lexicon.number("a");
        assert_eq!(lexicon.look_up(["x", "a", "y", "x"]), [2, 1, 3, 2]);
        assert_eq!(lexicon.look_up(["y"]), [2]);
    }

    #[test]
    fn grams_of_different_orders_differ() {
        let words = [1, 1, 1, 1];
        let mut all: Vec<Gram> = (1..=ORDERS)
            .flat_map(|n| grams(&words, n).take(1))
            .collect();
        all.dedup();
        assert_eq!(all.len(), ORDERS);
    }

    #[test]
    fn counts_are_sorted_and_complete() {
        assert_eq!(counts(&[2, 1, 2], 1), [(1, 1), (2, 2)]);
        assert_eq!(counts(&[2, 1, 2], 2).len(), 2);
        assert!(counts(&[2], 2).is_empty());
    }
}
