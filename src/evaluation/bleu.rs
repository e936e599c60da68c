//! BLEU-1 to BLEU-4: how many n-grams of a candidate stand in its references.
//!
//! Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation", as the COCO
//! evaluation computes it: the reference closest in length counts for brevity, and two small constants keep
//! an image without matches above zero. It stands apart because the corpus score is no mean of image scores.

use rayon::prelude::*;

use super::corpus::{Corpus, Item};
use super::lexicon::{ORDERS, counts};

/// BLEU of a corpus and of each image in it, order 1 first.
#[derive(Debug, Clone, PartialEq)]
pub struct Bleu {
    pub corpus: [f64; ORDERS],
    pub images: Vec<[f64; ORDERS]>,
    /// Words in all candidates.
    pub candidate_words: u64,
    /// Words in the references closest in length to their candidates.
    pub reference_words: u64,
}

/// What BLEU counts, of one image or summed over many.
#[derive(Debug, Clone, Copy, Default)]
struct Statistics {
    candidate_words: u64,
    reference_words: u64,
    /// n-grams of the candidate.
    guessed: [u64; ORDERS],
    /// Those of them that a reference has, each at most as often as the reference that has it most.
    correct: [u64; ORDERS],
}

/// Counts BLEU over a corpus.
pub fn bleu(corpus: &Corpus) -> Bleu {
    let statistics: Vec<Statistics> = corpus.images.par_iter().map(Statistics::of).collect();
    let mut total = Statistics::default();
    for image in &statistics {
        total.add(image);
    }
    Bleu {
        corpus: total.scores(),
        images: statistics.iter().map(Statistics::scores).collect(),
        candidate_words: total.candidate_words,
        reference_words: total.reference_words,
    }
}

impl Statistics {
    fn of(image: &Item) -> Self {
        let length = image.candidate.words.len() as u64;
        let lengths = image.references.iter().map(|r| r.words.len() as u64);
        let closest = lengths.min_by_key(|reference| (reference.abs_diff(length), *reference));
        let mut statistics = Statistics {
            candidate_words: length,
            reference_words: closest.unwrap_or(0),
            ..Statistics::default()
        };
        for order in 1..=ORDERS {
            let (guessed, correct) = matches(image, order);
            statistics.guessed[order - 1] = guessed;
            statistics.correct[order - 1] = correct;
        }
        statistics
    }

    fn add(&mut self, other: &Statistics) {
        self.candidate_words += other.candidate_words;
        self.reference_words += other.reference_words;
        for order in 0..ORDERS {
            self.guessed[order] += other.guessed[order];
            self.correct[order] += other.correct[order];
        }
    }

    /// Geometric means of the precisions, times the penalty for candidates that are too short.
    fn scores(&self) -> [f64; ORDERS] {
        const TINY: f64 = 1e-15;
        const SMALL: f64 = 1e-9;
        let ratio = (self.candidate_words as f64 + TINY) / (self.reference_words as f64 + SMALL);
        let brevity = if ratio < 1.0 {
            (1.0 - 1.0 / ratio).exp()
        } else {
            1.0
        };
        let mut product = 1.0;
        std::array::from_fn(|i| {
            product *= (self.correct[i] as f64 + TINY) / (self.guessed[i] as f64 + SMALL);
            product.powf(1.0 / (i as f64 + 1.0)) * brevity
        })
    }
}

/// The n-grams of the candidate, and how many of them its references match.
fn matches(image: &Item, order: usize) -> (u64, u64) {
    let guesses = counts(&image.candidate.words, order);
    let mut allowed = vec![0; guesses.len()];
    for reference in &image.references {
        let counted = counts(&reference.words, order);
        let mut next = 0;
        for ((gram, _), allowed) in guesses.iter().zip(&mut allowed) {
            while next < counted.len() && counted[next].0 < *gram {
                next += 1;
            }
            if let Some((_, times)) = counted.get(next).filter(|(found, _)| found == gram) {
                *allowed = (*times).max(*allowed);
            }
        }
    }
    let guessed = guesses.iter().map(|(_, times)| u64::from(*times)).sum();
    let matched = guesses.iter().zip(&allowed);
    let correct = matched
        .map(|((_, times), most)| u64::from(*times.min(most)))
        .sum();
    (guessed, correct)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(candidate: &str, references: &[&str]) -> Bleu {
        let references = vec![references.to_vec()];
        bleu(&Corpus::new(&[candidate], &references).unwrap())
    }

    fn check(candidate: &str, references: &[&str], expected: [f64; ORDERS]) {
        let got = measure(candidate, references).corpus;
        let near = got.iter().zip(&expected).all(|(g, e)| (g - e).abs() < 1e-4);
        assert!(near, "{candidate:?}: {got:?}, expected {expected:?}");
    }

    #[test]
    fn an_identical_candidate_scores_one() {
        check("a b c d e", &["a b c d e"], [1.0; ORDERS]);
        check("a b c d e", &["x", "a b c d e"], [1.0; ORDERS]);
    }

    #[test]
    fn a_repeated_word_counts_as_often_as_one_reference_has_it() {
        // The example of the paper: "the" seven times, against references with two and one.
        let references = ["the cat is on the mat", "there is a cat on the mat"];
        let got = measure("the the the the the the the", &references).corpus;
        assert!((got[0] - 2.0 / 7.0).abs() < 1e-9, "{got:?}");
    }

    #[test]
    fn a_short_candidate_pays_for_it() {
        let brevity = (1.0f64 - 2.0).exp();
        let got = measure("a b", &["a b c d"]);
        assert!((got.corpus[0] - brevity).abs() < 1e-6);
        assert_eq!((got.candidate_words, got.reference_words), (2, 4));
    }

    #[test]
    fn of_two_references_equally_close_the_shorter_counts() {
        let got = measure("a b c", &["a b c d", "a b"]);
        assert_eq!(got.reference_words, 2);
        assert!((got.corpus[0] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_in_common_is_nearly_zero() {
        check("x y z w", &["a b c d"], [0.0, 0.0, 0.0, 0.0]);
        check("", &["a b c d"], [0.0; ORDERS]);
    }
}
