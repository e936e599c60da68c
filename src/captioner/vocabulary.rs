//! Turns words into token ids and back.
//!
//! `vocabulary.txt` holds one word a line; its number, from zero, is its id. The first three are
//! `<start>`, `<end>` and `<unk>`, each with an id of its own.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::CaptionerError;

/// A word's number in the vocabulary.
pub type TokenId = u32;

/// What a caption begins with; fed to the model, never emitted.
pub const START: TokenId = 0;
/// What ends a caption.
pub const END: TokenId = 1;
/// Stands for every word outside the vocabulary; never emitted.
pub const UNK: TokenId = 2;

const SPECIAL: [&str; 3] = ["<start>", "<end>", "<unk>"];

/// The words that a captioner knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    ids: HashMap<String, TokenId>,
}

impl Vocabulary {
    /// The words that occur at least `threshold` times in `captions`, commonest first, equally
    /// common ones in alphabetical order. Captions are split at white space.
    pub fn build<'a>(captions: impl IntoIterator<Item = &'a str>, threshold: usize) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for word in captions.into_iter().flat_map(str::split_whitespace) {
            *counts.entry(word).or_default() += 1;
        }
        let mut kept: Vec<(&str, usize)> = counts
            .into_iter()
            .filter(|(word, count)| *count >= threshold && !SPECIAL.contains(word))
            .collect();
        kept.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        Self::of(kept.into_iter().map(|(word, _)| word))
    }

    /// The special tokens, then these words in this order, each once. Nothing that stands for a special
    /// token becomes one, and blanks cannot be part of a word.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut met = HashSet::from(SPECIAL);
        let words = words.into_iter().flat_map(str::split_whitespace);
        let words: Vec<&str> = words.filter(|word| met.insert(word)).collect();
        let all = SPECIAL.into_iter().chain(words);
        Self::from_words(all.map(str::to_owned).collect())
    }

    /// Reads `vocabulary.txt`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, does not begin with the three special tokens, or holds a word twice.
    pub fn read(file: &Path) -> Result<Self, CaptionerError> {
        let text = std::fs::read_to_string(file).map_err(|source| CaptionerError::Unreadable {
            file: file.to_owned(),
            source: source.into(),
        })?;
        let invalid = |reason| CaptionerError::Invalid {
            file: file.to_owned(),
            reason,
        };
        let words: Vec<String> = text.lines().map(str::to_owned).collect();
        if words.len() <= SPECIAL.len() || words[..SPECIAL.len()] != SPECIAL {
            return Err(invalid(format!(
                "expected a line for each of {} and then the words, one a line",
                SPECIAL.join(", ")
            )));
        }
        let vocabulary = Self::from_words(words);
        if vocabulary.ids.len() != vocabulary.words.len() {
            return Err(invalid("a word stands there twice".to_owned()));
        }
        Ok(vocabulary)
    }

    /// The contents of `vocabulary.txt`.
    pub fn to_text(&self) -> String {
        self.words.iter().map(|word| format!("{word}\n")).collect()
    }

    fn from_words(words: Vec<String>) -> Self {
        let ids = words.iter().cloned().zip(0..).collect();
        Vocabulary { words, ids }
    }

    /// Words, the special tokens included.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is any word beside the special tokens.
    pub fn has_words(&self) -> bool {
        self.words.len() > SPECIAL.len()
    }

    /// A vocabulary always holds the special tokens.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The ids of a caption's words, without start and end; words it does not know are [`UNK`].
    pub fn encode(&self, caption: &str) -> Vec<TokenId> {
        caption
            .split_whitespace()
            .map(|word| self.ids.get(word).copied().unwrap_or(UNK))
            .collect()
    }

    /// The words of `tokens`, joined by spaces, up to the first [`END`].
    pub fn decode(&self, tokens: &[TokenId]) -> String {
        let words: Vec<&str> = tokens
            .iter()
            .take_while(|token| **token != END)
            .filter_map(|token| self.words.get(*token as usize).map(String::as_str))
            .collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commonest_words_come_first_and_rare_ones_are_unknown() {
        let vocabulary = Vocabulary::build(["a red boat", "a boat at sea", "a kite"], 2);
        assert_eq!(vocabulary.to_text(), "<start>\n<end>\n<unk>\na\nboat\n");
        assert_eq!(vocabulary.encode("a blue boat"), [3, UNK, 4]);
        assert_eq!(vocabulary.decode(&[3, 4, END, 3]), "a boat");
    }

    #[test]
    fn a_caption_that_says_a_special_token_does_not_become_one() {
        let vocabulary = Vocabulary::build(["<end> <end> a"], 1);
        assert_eq!(vocabulary.len(), 4);
    }

    #[test]
    fn words_keep_their_order() {
        let vocabulary = Vocabulary::of(["dog", "a", "<unk>", "dog", "red boat"]);
        let text = "<start>\n<end>\n<unk>\ndog\na\nred\nboat\n";
        assert_eq!(vocabulary.to_text(), text);
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vocabulary.txt");
        let vocabulary = Vocabulary::build(["two dogs in the snow"], 1);
        std::fs::write(&file, vocabulary.to_text()).unwrap();
        assert_eq!(Vocabulary::read(&file).unwrap(), vocabulary);

        std::fs::write(&file, "a\nb\nc\nd\n").unwrap();
        let message = Vocabulary::read(&file).unwrap_err().to_string();
        assert!(
            message.contains("vocabulary.txt: expected a line for each of <start>"),
            "{message}"
        );
        std::fs::write(&file, "<start>\n<end>\n<unk>\na\na\n").unwrap();
        assert!(
            Vocabulary::read(&file)
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
    }
}
