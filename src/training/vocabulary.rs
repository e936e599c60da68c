//! Turns captions into the words that a captioner learns: how they are split, and which are kept.
//!
//! What the papers did is a [`Preset`] each, as data. The special tokens `<start>`, `<end>` and `<unk>`
//! have ids of their own in all of them, whatever the original did.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::captioner::vocabulary::Vocabulary;
use crate::evaluation::tokenizer::tokenize;

/// How captions are split into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Words {
    /// At blanks, lower case. Punctuation stays, on its own where the captions set it apart.
    Spaces,
    /// Lower case, all but letters, digits and blanks taken out: `dog's` is `dogs`.
    Alphanumeric,
    /// The tokens of the Penn Treebank as the published measures count them: lower case, without
    /// punctuation.
    PennTreebank,
}

impl Words {
    /// The words of a caption with a space between them.
    pub fn normalize(self, caption: &str) -> String {
        let lower = || caption.to_lowercase();
        let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        match self {
            Words::Spaces => joined(&lower()),
            Words::Alphanumeric => {
                let mut text = lower();
                text.retain(|c| c.is_alphanumeric() || c.is_whitespace());
                joined(&text)
            }
            // The measures count a token with a no-break space in it as two words.
            Words::PennTreebank => joined(&tokenize(caption)),
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Words::Spaces => "lower case, split at blanks",
            Words::Alphanumeric => "lower case, letters and digits only",
            Words::PennTreebank => "Penn Treebank tokens, lower case, without punctuation",
        }
    }
}

/// Which words are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Those that occur so often in the captions that are learnt from.
    AtLeast(usize),
    /// So many, the commonest.
    Commonest(usize),
}

/// How a publication made its vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    pub words: Words,
    pub cut: Cut,
}

/// The O'Reilly tutorial "Caption this, with TensorFlow" (mlberkeley/oreilly-captions): the function that
/// builds its vocabulary lowers captions, splits them at spaces, and keeps words of at least 30
/// occurrences. It drops all others from captions; here they are `<unk>`. Its start and end share an id;
/// here they do not.
pub const TUTORIAL: Preset = Preset {
    name: "tutorial",
    words: Words::Spaces,
    cut: Cut::AtLeast(30),
};

/// Karpathy and Fei-Fei, "Deep Visual-Semantic Alignments" (arXiv 1412.2306), section 4, data
/// preprocessing, and its code, neuraltalk: lower case, characters that are not alphanumeric discarded,
/// words that occur at least 5 times in the training set.
pub const NEURALTALK: Preset = Preset {
    name: "neuraltalk",
    words: Words::Alphanumeric,
    cut: Cut::AtLeast(5),
};

/// Vinyals et al., "Show and Tell" (arXiv 1609.06647) as its code, im2txt, does it: words of at least 4
/// occurrences in the training set. (The earlier paper, arXiv 1411.4555, section 4, says 5.) im2txt
/// splits with NLTK's `word_tokenize`, which also follows the Penn Treebank but keeps punctuation as
/// words; here it is left out, since no measure counts it.
pub const SHOW_AND_TELL: Preset = Preset {
    name: "show-and-tell",
    words: Words::PennTreebank,
    cut: Cut::AtLeast(4),
};

/// Xu et al., "Show, Attend and Tell" (arXiv 1502.03044), section 5, data: a fixed vocabulary of 10,000
/// words for all data sets. Its tokens are those that Flickr8k and Flickr30k come with, and like ones for
/// COCO; here Penn Treebank tokens for all. The special tokens are not among the 10,000.
pub const SHOW_ATTEND_TELL: Preset = Preset {
    name: "show-attend-tell",
    words: Words::PennTreebank,
    cut: Cut::Commonest(10_000),
};

/// All of them, oldest tradition first.
pub const PRESETS: [Preset; 4] = [TUTORIAL, NEURALTALK, SHOW_AND_TELL, SHOW_ATTEND_TELL];

impl Preset {
    pub fn named(name: &str) -> Option<Self> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// The vocabulary of these captions, as they are written.
    pub fn vocabulary(&self, captions: &[&str]) -> Vocabulary {
        WordCounts::of(captions, self.words).vocabulary(self.cut)
    }
}

/// The words of captions and how often each occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordCounts {
    /// Commonest first, equally common ones in alphabetical order.
    ranked: Vec<(String, usize)>,
    occurrences: usize,
}

impl WordCounts {
    /// Splits captions and counts their words.
    pub fn of(captions: &[&str], words: Words) -> Self {
        let normalized: Vec<String> = captions
            .par_iter()
            .map(|caption| words.normalize(caption))
            .collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for word in normalized.iter().flat_map(|text| text.split_whitespace()) {
            *counts.entry(word).or_default() += 1;
        }
        let mut ranked: Vec<_> = counts
            .into_iter()
            .map(|(word, count)| (word.to_owned(), count))
            .collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        WordCounts {
            occurrences: ranked.iter().map(|(_, count)| count).sum(),
            ranked,
        }
    }

    /// Words in all, each as often as it occurs.
    pub fn occurrences(&self) -> usize {
        self.occurrences
    }

    /// How many words a cut keeps.
    pub fn kept(&self, cut: Cut) -> usize {
        match cut {
            Cut::AtLeast(threshold) => self.ranked.partition_point(|(_, n)| *n >= threshold),
            Cut::Commonest(words) => words.min(self.ranked.len()),
        }
    }

    /// The share of all occurrences that are of kept words, 0 to 1; the others become `<unk>`.
    pub fn coverage(&self, cut: Cut) -> f64 {
        let kept = &self.ranked[..self.kept(cut)];
        let covered: usize = kept.iter().map(|(_, count)| count).sum();
        covered as f64 / self.occurrences.max(1) as f64
    }

    /// Why a cut keeps no word, in a sentence that names the key of a recipe to change.
    pub fn why_none(&self, cut: Cut) -> String {
        let Some((word, times)) = self.ranked.first() else {
            return "they have no words, as data.vocabulary splits them".to_owned();
        };
        let found = format!(
            "they have {} different words, the commonest of which, {word:?}, occurs {times} times",
            self.ranked.len()
        );
        match cut {
            Cut::AtLeast(threshold) => format!(
                "{found}, and words of at least {threshold} occurrences are kept: lower \
                 data.vocabulary.at_least"
            ),
            Cut::Commonest(words) => format!(
                "{found}, and the {words} commonest are kept: raise data.vocabulary.commonest"
            ),
        }
    }

    /// The words that a cut keeps, after the special tokens.
    pub fn vocabulary(&self, cut: Cut) -> Vocabulary {
        let kept = &self.ranked[..self.kept(cut)];
        Vocabulary::of(kept.iter().map(|(word, _)| word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captioner::vocabulary::UNK;

    #[test]
    fn captions_are_split_as_each_publication_did() {
        let caption = "A tri-colored dog's ball , thrown  by Bob.";
        let check = |words: Words, expected: &str| assert_eq!(words.normalize(caption), expected);
        check(Words::Spaces, "a tri-colored dog's ball , thrown by bob.");
        check(Words::Alphanumeric, "a tricolored dogs ball thrown by bob");
        check(
            Words::PennTreebank,
            "a tri-colored dog 's ball thrown by bob",
        );
        assert_eq!(Words::PennTreebank.normalize("1 1/2 cups"), "1 1/2 cups");
    }

    #[test]
    fn cuts_keep_the_commonest() {
        let captions = ["a b c", "a b", "a", "d"];
        let counts = WordCounts::of(&captions, Words::Spaces);
        let check = |cut, words, coverage: f64| {
            assert_eq!(counts.kept(cut), words, "{cut:?}");
            assert!((counts.coverage(cut) - coverage).abs() < 1e-12, "{cut:?}");
        };
        assert_eq!(counts.occurrences(), 7);
        check(Cut::AtLeast(1), 4, 1.0);
        check(Cut::AtLeast(2), 2, 5.0 / 7.0);
        check(Cut::AtLeast(4), 0, 0.0);
        check(Cut::Commonest(3), 3, 6.0 / 7.0);
        check(Cut::Commonest(9), 4, 1.0);
        let text = counts.vocabulary(Cut::Commonest(3)).to_text();
        assert_eq!(text, "<start>\n<end>\n<unk>\na\nb\nc\n");
    }

    #[test]
    fn every_preset_has_start_end_and_unknown_of_its_own() {
        let captions = ["<start> A dog ran <end>"; 30];
        for preset in PRESETS {
            assert_eq!(Preset::named(preset.name), Some(preset));
            let vocabulary = preset.vocabulary(&captions);
            let text = vocabulary.to_text();
            assert!(text.starts_with("<start>\n<end>\n<unk>\n"), "{text}");
            assert_eq!(vocabulary.encode("zebra"), [UNK]);
            assert!(vocabulary.encode("dog")[0] > UNK);
            for special in ["<start>\n", "<end>\n", "<unk>\n"] {
                assert_eq!(text.matches(special).count(), 1, "{text}");
            }
        }
        assert_eq!(Preset::named("bert"), None);
    }

    #[test]
    fn nothing_is_a_vocabulary_of_special_tokens() {
        let counts = WordCounts::of(&[], Words::Spaces);
        assert!(counts.coverage(Cut::AtLeast(1)).abs() < 1e-12);
        assert_eq!(counts.vocabulary(Cut::AtLeast(1)).len(), 3);
        let said = counts.why_none(Cut::AtLeast(1));
        assert_eq!(said, "they have no words, as data.vocabulary splits them");
        let counts = WordCounts::of(&["a b", "b"], Words::Spaces);
        assert!(!counts.vocabulary(Cut::AtLeast(3)).has_words());
        let found = "they have 2 different words, the commonest of which, \"b\", occurs 2 times";
        let check = |cut, expected: &str| {
            assert_eq!(counts.why_none(cut), format!("{found}, and {expected}"));
        };
        check(
            Cut::AtLeast(3),
            "words of at least 3 occurrences are kept: lower data.vocabulary.at_least",
        );
        check(
            Cut::Commonest(0),
            "the 0 commonest are kept: raise data.vocabulary.commonest",
        );
    }
}
