//! ROUGE-L: the longest common subsequence of a candidate and its references.
//!
//! Lin 2004, "ROUGE: a package for automatic evaluation of summaries", section 3.1, as the COCO evaluation
//! computes it: β = 1.2, and the best precision and the best recall may come from different references. It
//! stands apart because it counts tokens where the others count words.

use rayon::prelude::*;

use super::corpus::{Corpus, Item};

/// How much recall weighs against precision.
const BETA: f64 = 1.2;

/// A metric's value for each image, and their mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    pub mean: f64,
    pub images: Vec<f64>,
}

impl Scores {
    pub(super) fn of(images: Vec<f64>) -> Self {
        let mean = images.iter().sum::<f64>() / images.len().max(1) as f64;
        Scores { mean, images }
    }
}

/// Measures ROUGE-L of each image.
pub fn rouge_l(corpus: &Corpus) -> Scores {
    Scores::of(corpus.images.par_iter().map(score).collect())
}

fn score(image: &Item) -> f64 {
    let candidate = image.candidate.tokens();
    let (mut precision, mut recall) = (0.0f64, 0.0f64);
    for reference in image.references.iter().map(|r| r.tokens()) {
        let common = common_subsequence(candidate, reference) as f64;
        precision = precision.max(common / candidate.len() as f64);
        recall = recall.max(common / reference.len() as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    let weight = BETA * BETA;
    (1.0 + weight) * precision * recall / (recall + weight * precision)
}

/// The length of the longest common subsequence.
fn common_subsequence(a: &[u32], b: &[u32]) -> usize {
    // best[j]: of what was seen of `a` and the first j of `b`.
    let mut best = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = best[j + 1];
            best[j + 1] = if x == y {
                diagonal + 1
            } else {
                above.max(best[j])
            };
            diagonal = above;
        }
    }
    best[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(candidate: &str, references: &[&str], expected: f64) {
        let corpus = Corpus::new(&[candidate], &[references.to_vec()]).unwrap();
        let got = rouge_l(&corpus);
        assert!((got.mean - expected).abs() < 1e-9, "{candidate:?}: {got:?}");
        assert_eq!(got.images.len(), 1);
    }

    #[test]
    fn subsequences() {
        check("a b c", &["a b c"], 1.0);
        check("a b c", &["x y z"], 0.0);
        // Precision 1, recall 3/4.
        check("a c d", &["a b c d"], 2.44 * 0.75 / (0.75 + 1.44));
        // Order counts: of "b a" one token is in order.
        check("b a", &["a b"], 0.5);
    }

    #[test]
    fn precision_and_recall_may_come_from_different_references() {
        // Precision 2/2 from the first, recall 1/1 from the second.
        check("a b", &["a b c d", "b"], 1.0);
    }

    #[test]
    fn an_empty_candidate_matches_an_empty_reference_alone() {
        check("", &["a b"], 0.0);
        check("", &[""], 1.0);
    }
}
