//! Turns tokenized captions and references into sentences of word numbers, image by image.
//!
//! It stands apart so that every metric counts the same numbers of the same images.

use thiserror::Error;

use super::lexicon::Lexicon;

/// Why captions cannot be measured.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CorpusError {
    #[error("there are no images to measure")]
    Empty,
    #[error("{candidates} candidates for {references} images with references")]
    Lengths {
        candidates: usize,
        references: usize,
    },
    #[error("image {image} has no reference captions")]
    NoReferences { image: usize },
}

/// A tokenized caption in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentence {
    /// The words, as BLEU and CIDEr count them.
    pub words: Vec<u32>,
    /// The tokens, as ROUGE-L counts them, where that is something else: a token may hold a no-break
    /// space, and no token at all counts as one empty token.
    tokens: Option<Vec<u32>>,
}

impl Sentence {
    fn new(tokenized: &str, lexicon: &mut Lexicon) -> Self {
        let words: Vec<u32> = tokenized
            .split_whitespace()
            .map(|word| lexicon.number(word))
            .collect();
        let tokens = tokenized.split(' ').count();
        let tokens = (tokens != words.len()).then(|| {
            let tokens = tokenized.split(' ');
            tokens.map(|token| lexicon.number(token)).collect()
        });
        Sentence { words, tokens }
    }

    pub fn tokens(&self) -> &[u32] {
        self.tokens.as_deref().unwrap_or(&self.words)
    }
}

/// An image to be measured.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub candidate: Sentence,
    /// One at least.
    pub references: Vec<Sentence>,
}

/// Tokenized candidates and references in numbers: what the metrics are computed from.
#[derive(Debug, Clone)]
pub struct Corpus {
    pub(super) images: Vec<Item>,
}

impl Corpus {
    /// Reads one tokenized candidate and the tokenized references of each image.
    ///
    /// # Errors
    ///
    /// If the two differ in length, are empty, or an image has no references.
    pub fn new<C, R>(candidates: &[C], references: &[Vec<R>]) -> Result<Self, CorpusError>
    where
        C: AsRef<str>,
        R: AsRef<str>,
    {
        if candidates.len() != references.len() {
            return Err(CorpusError::Lengths {
                candidates: candidates.len(),
                references: references.len(),
            });
        }
        if candidates.is_empty() {
            return Err(CorpusError::Empty);
        }
        if let Some(image) = references.iter().position(Vec::is_empty) {
            return Err(CorpusError::NoReferences { image });
        }
        let mut lexicon = Lexicon::default();
        let mut sentence = |tokenized: &str| Sentence::new(tokenized, &mut lexicon);
        let images = candidates
            .iter()
            .zip(references)
            .map(|(candidate, references)| Item {
                candidate: sentence(candidate.as_ref()),
                references: references.iter().map(|r| sentence(r.as_ref())).collect(),
            })
            .collect();
        Ok(Corpus { images })
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Never: a corpus without images is an error.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(candidates: &[&str], references: &[Vec<&str>]) -> CorpusError {
        Corpus::new(candidates, references).unwrap_err()
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() {
        assert_eq!(error(&[], &[]), CorpusError::Empty);
        let lengths = CorpusError::Lengths {
            candidates: 1,
            references: 2,
        };
        assert_eq!(error(&["a"], &[vec!["a"], vec!["a"]]), lengths);
        let none = CorpusError::NoReferences { image: 1 };
        assert_eq!(error(&["a", "b"], &[vec!["a"], vec![]]), none);
    }

    #[test]
    fn a_token_with_a_blank_inside_is_two_words() {
        let mut lexicon = Lexicon::default();
        let fraction = Sentence::new("1\u{a0}1/2 cups", &mut lexicon);
        assert_eq!((fraction.words.len(), fraction.tokens().len()), (3, 2));
        let empty = Sentence::new("", &mut lexicon);
        assert_eq!((empty.words.len(), empty.tokens().len()), (0, 1));
        let plain = Sentence::new("two cups", &mut lexicon);
        assert_eq!(plain.words, plain.tokens());
    }
}
