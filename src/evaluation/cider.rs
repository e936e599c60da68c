//! CIDEr-D and CIDEr: cosines of tf-idf vectors of n-grams, against each reference.
//!
//! Vedantam, Zitnick, Parikh 2015, "CIDEr: consensus-based image description evaluation", arXiv 1411.5726.
//! What the COCO evaluation prints as "CIDEr" is CIDEr-D (equation 5): candidate counts clipped to the
//! reference's, times a Gaussian of the difference in length, σ = 6. CIDEr itself (equation 2) does neither
//! and rewards candidates that repeat rare words. Both are shown times ten here, as the authors' code does,
//! and neither stems.
//!
//! It stands apart from the corpus because training scores samples against the same references again and
//! again: [`CiderD`] holds their document frequencies.

use rayon::prelude::*;

use super::corpus::Corpus;
use super::lexicon::{GramMap, Lexicon, ORDERS, counts, grams};
use super::rouge::Scores;

const SIGMA: f64 = 6.0;

/// The published implementation scales both metrics by this.
const SCALE: f64 = 10.0;

/// Which of the two metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Equation 5.
    D,
    /// Equation 2.
    Original,
}

/// References of a set of images, ready to score candidates against.
///
/// About four bytes for each n-gram of each reference and forty for each distinct one.
#[derive(Debug, Clone)]
pub struct CiderD {
    lexicon: Lexicon,
    /// Every n-gram of the references, and its place in `documents`.
    places: GramMap<u32>,
    /// How many images have a reference with the n-gram.
    documents: Vec<u32>,
    /// Weight of an n-gram, by how many images have it: ln(images / documents).
    rarity: Vec<f64>,
    images: Vec<Vec<Reference>>,
}

/// A reference as a vector of n-grams.
#[derive(Debug, Clone)]
struct Reference {
    words: usize,
    /// Places of the n-grams, sorted within each order, one order after the other.
    places: Vec<u32>,
    /// Length of the tf-idf vector of each order.
    norms: [f64; ORDERS],
}

/// A candidate's n-grams of one order: those that some reference has, by place, and the vector's length.
struct Vector {
    weights: Vec<(u32, f64)>,
    norm: f64,
}

impl CiderD {
    /// Counts the document frequencies of tokenized references, given image by image.
    pub fn new<R: AsRef<str>>(references: &[Vec<R>]) -> Self {
        let mut lexicon = Lexicon::default();
        let mut numbers = |tokenized: &str| -> Vec<u32> {
            let words = tokenized.split_whitespace();
            words.map(|word| lexicon.number(word)).collect()
        };
        let images: Vec<Vec<Vec<u32>>> = references
            .iter()
            .map(|image| image.iter().map(|r| numbers(r.as_ref())).collect())
            .collect();
        Self::of_numbers(lexicon, &images)
    }

    /// The same for references in numbers.
    fn of_numbers<R: AsRef<[u32]>>(lexicon: Lexicon, references: &[Vec<R>]) -> Self {
        let mut cider = CiderD {
            lexicon,
            places: GramMap::default(),
            documents: Vec::new(),
            rarity: Vec::new(),
            images: Vec::new(),
        };
        let mut images: Vec<Vec<Reference>> = Vec::with_capacity(references.len());
        for image in references {
            let vectors = image.iter().map(|words| cider.reference(words.as_ref()));
            images.push(vectors.collect());
            let mut met: Vec<u32> = images
                .last()
                .into_iter()
                .flatten()
                .flat_map(|r| &r.places)
                .copied()
                .collect();
            met.sort_unstable();
            met.dedup();
            for place in met {
                cider.documents[place as usize] += 1;
            }
        }
        let all = images.len() as f64;
        cider.rarity = (0..=images.len())
            .map(|n| all.ln() - (n.max(1) as f64).ln())
            .collect();
        images.par_iter_mut().flatten().for_each(|reference| {
            reference.norms = std::array::from_fn(|i| {
                let weights = reference
                    .terms(i + 1)
                    .map(|(place, times)| cider.weight(place, times));
                weights.map(|w| w * w).sum::<f64>().sqrt()
            });
        });
        cider.images = images;
        cider
    }

    /// Gives the n-grams of a reference their places; norms must wait for the document frequencies.
    fn reference(&mut self, words: &[u32]) -> Reference {
        let mut places = Vec::with_capacity(ORDERS * words.len());
        for order in 1..=ORDERS {
            let start = places.len();
            for gram in grams(words, order) {
                let next = self.documents.len() as u32;
                let place = *self.places.entry(gram).or_insert(next);
                if place == next {
                    self.documents.push(0);
                }
                places.push(place);
            }
            places[start..].sort_unstable();
        }
        Reference {
            words: words.len(),
            places,
            norms: [0.0; ORDERS],
        }
    }

    /// How many images have references.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// CIDEr-D of a candidate's tokens against the references of one image.
    ///
    /// # Panics
    ///
    /// If there is no such image.
    pub fn score<'a>(&self, tokens: impl IntoIterator<Item = &'a str>, image: usize) -> f64 {
        self.score_words(&self.lexicon.look_up(tokens), image, Variant::D)
    }

    /// CIDEr without clipping and without a penalty for length, of the same document frequencies.
    ///
    /// # Panics
    ///
    /// If there is no such image.
    pub fn score_original<'a>(
        &self,
        tokens: impl IntoIterator<Item = &'a str>,
        image: usize,
    ) -> f64 {
        self.score_words(&self.lexicon.look_up(tokens), image, Variant::Original)
    }

    fn score_words(&self, words: &[u32], image: usize, variant: Variant) -> f64 {
        let references = &self.images[image];
        if references.is_empty() {
            return 0.0;
        }
        let vectors: [Vector; ORDERS] = std::array::from_fn(|i| self.vector(words, i + 1));
        let similarity = |reference: &Reference| {
            let orders = vectors.iter().enumerate();
            let sum: f64 = orders
                .map(|(i, vector)| self.cosine(vector, reference, i + 1, variant))
                .sum();
            match variant {
                Variant::Original => sum,
                Variant::D => sum * likeness_of_lengths(words.len(), reference.words),
            }
        };
        let total: f64 = references.iter().map(similarity).sum();
        SCALE * total / (ORDERS * references.len()) as f64
    }

    fn weight(&self, place: u32, times: u32) -> f64 {
        f64::from(times) * self.rarity[self.documents[place as usize] as usize]
    }

    fn vector(&self, words: &[u32], order: usize) -> Vector {
        let mut weights = Vec::new();
        let mut squares = 0.0;
        for (gram, times) in counts(words, order) {
            let weight = match self.places.get(&gram) {
                Some(place) => {
                    let weight = self.weight(*place, times);
                    weights.push((*place, weight));
                    weight
                }
                // In no reference: as rare as what one image has.
                None => f64::from(times) * self.rarity[0],
            };
            squares += weight * weight;
        }
        weights.sort_unstable_by_key(|(place, _)| *place);
        Vector {
            weights,
            norm: squares.sqrt(),
        }
    }

    fn cosine(
        &self,
        vector: &Vector,
        reference: &Reference,
        order: usize,
        variant: Variant,
    ) -> f64 {
        let norms = vector.norm * reference.norms[order - 1];
        if norms == 0.0 {
            return 0.0;
        }
        let mut weights = vector.weights.iter().peekable();
        let mut product = 0.0;
        for (place, times) in reference.terms(order) {
            while weights
                .next_if(|(candidate, _)| *candidate < place)
                .is_some()
            {}
            if let Some((_, candidate)) = weights.next_if(|(candidate, _)| *candidate == place) {
                let weight = self.weight(place, times);
                product += weight
                    * match variant {
                        Variant::D => candidate.min(weight),
                        Variant::Original => *candidate,
                    };
            }
        }
        product / norms
    }
}

impl Reference {
    /// The n-grams of one order, by place, and how often each occurs.
    fn terms(&self, order: usize) -> impl Iterator<Item = (u32, u32)> {
        let of_order = |order: usize| (self.words + 1).saturating_sub(order);
        let start: usize = (1..order).map(of_order).sum();
        let places = &self.places[start..start + of_order(order)];
        places
            .chunk_by(|a, b| a == b)
            .map(|run| (run[0], run.len() as u32))
    }
}

/// The Gaussian of the difference in length, which the published code measures in bigrams: a caption of no
/// words is as long as one of one word.
fn likeness_of_lengths(candidate: usize, reference: usize) -> f64 {
    let bigrams = |words: usize| words.saturating_sub(1) as f64;
    let difference = bigrams(candidate) - bigrams(reference);
    (-(difference * difference) / (2.0 * SIGMA * SIGMA)).exp()
}

/// CIDEr-D and CIDEr of a corpus, document frequencies from its references.
#[derive(Debug, Clone, PartialEq)]
pub struct Cider {
    pub d: Scores,
    pub original: Scores,
}

/// Measures CIDEr-D and CIDEr of each image.
pub fn cider(corpus: &Corpus) -> Cider {
    let references: Vec<Vec<&[u32]>> = corpus
        .images
        .iter()
        .map(|image| {
            image
                .references
                .iter()
                .map(|r| r.words.as_slice())
                .collect()
        })
        .collect();
    let documents = CiderD::of_numbers(Lexicon::default(), &references);
    let scores = |variant| {
        let images = corpus.images.par_iter().enumerate();
        Scores::of(
            images
                .map(|(i, image)| documents.score_words(&image.candidate.words, i, variant))
                .collect(),
        )
    };
    Cider {
        d: scores(Variant::D),
        original: scores(Variant::Original),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images whose references share nothing but "a".
    fn documents() -> CiderD {
        CiderD::new(&[vec!["a dog runs on grass"], vec!["a cat sleeps at home"]])
    }

    fn words(tokenized: &str) -> impl Iterator<Item = &str> {
        tokenized.split_whitespace()
    }

    fn check(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-9, "{got}, expected {expected}");
    }

    #[test]
    fn an_identical_candidate_scores_ten() {
        check(documents().score(words("a dog runs on grass"), 0), 10.0);
        check(
            documents().score_original(words("a dog runs on grass"), 0),
            10.0,
        );
    }

    #[test]
    fn words_that_every_image_has_count_nothing() {
        check(documents().score(words("a"), 0), 0.0);
        check(documents().score(words("a cat sleeps at home"), 0), 0.0);
    }

    #[test]
    fn one_word_of_five() {
        // Unigrams alone: cosine 1/2 (one of four words that weigh), length 0 bigrams against 4.
        let gaussian = (-16.0f64 / 72.0).exp();
        check(
            documents().score(words("dog"), 0),
            10.0 * 0.5 / 4.0 * gaussian,
        );
        check(
            documents().score_original(words("dog"), 0),
            10.0 * 0.5 / 4.0,
        );
    }

    #[test]
    fn repeating_a_word_pays_in_the_original_alone() {
        let (once, twice) = ("dog x", "dog dog");
        let documents = documents();
        assert!(
            documents.score_original(words(twice), 0) > documents.score_original(words(once), 0)
        );
        check(
            documents.score(words(twice), 0),
            documents.score(words("dog y"), 0) / 2f64.sqrt(),
        );
    }

    #[test]
    fn a_single_image_has_no_rare_words() {
        check(CiderD::new(&[vec!["a dog"]]).score(words("a dog"), 0), 0.0);
    }

    #[test]
    fn nothing_scores_nothing() {
        check(documents().score(words(""), 0), 0.0);
        check(documents().score(words("x y z"), 0), 0.0);
    }

    #[test]
    fn the_corpus_gives_what_the_documents_give() {
        let references = [
            vec!["a dog runs", "a dog"],
            vec!["a cat"],
            vec!["the cat sat"],
        ];
        let candidates = ["a dog sat", "the cat", "cat x x"];
        let corpus = Corpus::new(&candidates, &references).unwrap();
        let documents = CiderD::new(&references);
        let measured = cider(&corpus);
        for (i, candidate) in candidates.iter().enumerate() {
            check(measured.d.images[i], documents.score(words(candidate), i));
            check(
                measured.original.images[i],
                documents.score_original(words(candidate), i),
            );
        }
    }
}
