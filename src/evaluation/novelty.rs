//! What the reference metrics hide: captions that repeat each other or the training set.
//!
//! A captioner that says "a man in a red shirt" of every third image can score well. It stands apart because
//! it needs no references.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::lexicon::{Gram, Lexicon, grams};
use super::tokenizer::tokenize;

/// Captions of a training set, to tell which generated ones were seen there.
#[derive(Debug, Clone, Default)]
pub struct Training {
    tokenized: HashSet<String>,
}

impl Training {
    /// Keeps captions as written by people: they are tokenized here.
    pub fn new<C: AsRef<str>>(captions: impl IntoIterator<Item = C>) -> Self {
        let tokenized = captions.into_iter().map(|c| tokenize(c.as_ref())).collect();
        Training { tokenized }
    }

    /// Whether the set holds a tokenized caption, word for word.
    pub fn has(&self, tokenized: &str) -> bool {
        self.tokenized.contains(tokenized)
    }
}

/// How varied a set of captions is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    pub captions: usize,
    /// How many of them differ.
    pub distinct_captions: usize,
    /// Share of the captions that the training set has word for word; none without a training set.
    pub seen_in_training: Option<f64>,
    /// The caption that is given most often, the first in the alphabet of several.
    pub commonest: String,
    /// Share of the captions that are the commonest one.
    pub commonest_share: f64,
    /// Different words over all words (Li et al. 2016, arXiv 1510.03055).
    pub distinct_1: f64,
    /// Different pairs of neighbouring words over all pairs.
    pub distinct_2: f64,
    /// Different words.
    pub vocabulary: usize,
    /// Words a caption.
    pub mean_length: f64,
    pub min_length: usize,
    pub max_length: usize,
}

/// Measures tokenized captions.
pub fn novelty<C: AsRef<str>>(captions: &[C], training: Option<&Training>) -> Novelty {
    let captions: Vec<&str> = captions.iter().map(AsRef::as_ref).collect();
    let mut lexicon = Lexicon::default();
    let mut times: HashMap<&str, usize> = HashMap::new();
    let (mut unigrams, mut bigrams) = (Distinct::default(), Distinct::default());
    let mut lengths = Vec::with_capacity(captions.len());
    for caption in &captions {
        let words: Vec<u32> = caption
            .split_whitespace()
            .map(|w| lexicon.number(w))
            .collect();
        unigrams.extend(grams(&words, 1));
        bigrams.extend(grams(&words, 2));
        lengths.push(words.len());
        *times.entry(caption).or_default() += 1;
    }
    let seen = |training: &Training| {
        let seen = captions.iter().filter(|caption| training.has(caption));
        share(seen.count(), captions.len())
    };
    let by_times = times.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
    let (commonest, most) = by_times.map_or(("", 0), |(caption, times)| (*caption, *times));
    Novelty {
        captions: captions.len(),
        distinct_captions: times.len(),
        seen_in_training: training.map(seen),
        commonest: commonest.to_owned(),
        commonest_share: share(most, captions.len()),
        distinct_1: unigrams.share(),
        distinct_2: bigrams.share(),
        vocabulary: unigrams.met.len(),
        mean_length: share(lengths.iter().sum(), lengths.len()),
        min_length: lengths.iter().min().copied().unwrap_or(0),
        max_length: lengths.iter().max().copied().unwrap_or(0),
    }
}

/// n-grams met so far, and how many there were with repetitions.
#[derive(Default)]
struct Distinct {
    met: HashSet<Gram>,
    all: usize,
}

impl Distinct {
    fn extend(&mut self, grams: impl Iterator<Item = Gram>) {
        for gram in grams {
            self.met.insert(gram);
            self.all += 1;
        }
    }

    fn share(&self) -> f64 {
        share(self.met.len(), self.all)
    }
}

/// 0 of nothing.
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let training = Training::new(["A dog runs.", "Two cats!"]);
        let captions = ["a dog runs", "a dog runs", "a cat", ""];
        let got = novelty(&captions, Some(&training));
        let expected = Novelty {
            captions: 4,
            distinct_captions: 3,
            seen_in_training: Some(0.5),
            commonest: "a dog runs".into(),
            commonest_share: 0.5,
            distinct_1: 4.0 / 8.0,
            distinct_2: 3.0 / 5.0,
            vocabulary: 4,
            mean_length: 2.0,
            min_length: 0,
            max_length: 3,
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn of_equally_common_captions_the_first_in_the_alphabet_is_named() {
        assert_eq!(novelty(&["b", "a"], None).commonest, "a");
        assert_eq!(novelty(&["b", "a"], None).seen_in_training, None);
    }

    #[test]
    fn no_captions_give_zeros() {
        let none = novelty::<&str>(&[], None);
        assert_eq!(
            (none.captions, none.commonest_share, none.mean_length),
            (0, 0.0, 0.0)
        );
    }
}
