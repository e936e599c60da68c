//! A caption as the token shapes look at it: bytes, with the few questions that need more than a byte.
//!
//! It stands apart so that the shapes read like descriptions of what they accept. Every question takes
//! a byte offset and answers with the offset behind what it found, so answers chain with `?`.

use super::characters::{Class, class};

/// Says where a word may be broken at the end of a line; never written.
pub(super) const SOFT_HYPHEN: char = '\u{ad}';

/// A caption under the scanner.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(pub &'a str);

impl<'a> Text<'a> {
    /// The byte at `at`; 0 behind the end, which no shape accepts.
    pub fn byte(self, at: usize) -> u8 {
        self.0.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// The character that starts at `at`, which must be a character boundary.
    pub fn character(self, at: usize) -> Option<char> {
        let byte = self.byte(at);
        if byte.is_ascii() {
            return (at < self.0.len()).then_some(char::from(byte));
        }
        self.0.get(at..)?.chars().next()
    }

    /// The offset behind the character at `at`; at the end, as if a line break followed.
    pub fn after(self, at: usize) -> usize {
        at + self.character(at).map_or(1, char::len_utf8)
    }

    pub fn starts_with(self, at: usize, prefix: &str) -> bool {
        self.0.as_bytes()[at.min(self.0.len())..].starts_with(prefix.as_bytes())
    }

    /// As `starts_with`, whatever the case of ASCII letters; gives the offset behind.
    pub fn word_at(self, at: usize, lower: &str) -> Option<usize> {
        let end = at + lower.len();
        let here = self.0.as_bytes().get(at..end)?;
        here.eq_ignore_ascii_case(lower.as_bytes()).then_some(end)
    }

    /// The longest of `choices` that stands at `at`.
    pub fn any_of(self, at: usize, choices: &[&str]) -> Option<usize> {
        choices
            .iter()
            .filter(|c| self.starts_with(at, c))
            .map(|c| at + c.len())
            .max()
    }

    fn of_class(self, at: usize, wanted: impl Fn(Class) -> bool) -> Option<usize> {
        let c = self.character(at)?;
        wanted(class(c)).then_some(at + c.len_utf8())
    }

    /// A letter proper.
    pub fn plain_letter(self, at: usize) -> Option<usize> {
        match self.byte(at) {
            b if b.is_ascii_alphabetic() => Some(at + 1),
            b if b.is_ascii() => None,
            _ => self.of_class(at, |c| c == Class::Letter),
        }
    }

    /// A letter, a mark that joins letters, a soft hyphen, or an accented vowel written as an entity.
    pub fn letter(self, at: usize) -> Option<usize> {
        match self.byte(at) {
            b if b.is_ascii_alphabetic() => Some(at + 1),
            b'&' => self.accent_entity(at),
            b if b.is_ascii() => None,
            _ => self.of_class(at, |c| {
                matches!(c, Class::Letter | Class::Mark | Class::SoftHyphen)
            }),
        }
    }

    pub fn soft_hyphen(self, at: usize) -> Option<usize> {
        self.any_of(at, &["\u{ad}"])
    }

    pub fn digit(self, at: usize) -> Option<usize> {
        match self.byte(at) {
            b if b.is_ascii_digit() => Some(at + 1),
            b if b.is_ascii() => None,
            _ => self.of_class(at, |c| c == Class::Digit),
        }
    }

    pub fn letter_or_digit(self, at: usize) -> Option<usize> {
        self.letter(at).or_else(|| self.digit(at))
    }

    pub fn plain_letter_or_digit(self, at: usize) -> Option<usize> {
        self.plain_letter(at).or_else(|| self.digit(at))
    }

    /// `&eacute;` and its like: a, e, i, o, u with acute, grave or umlaut.
    fn accent_entity(self, at: usize) -> Option<usize> {
        if !matches!(
            self.byte(at + 1).to_ascii_lowercase(),
            b'a' | b'e' | b'i' | b'o' | b'u'
        ) {
            return None;
        }
        self.any_of(at + 2, &["acute;", "grave;", "uml;"])
    }

    /// What counts as an apostrophe inside a contraction: `'`, its curly forms, its entity.
    pub fn apostrophe(self, at: usize) -> Option<usize> {
        match self.byte(at) {
            b'\'' => Some(at + 1),
            b if b.is_ascii_alphanumeric() || b == b' ' => None,
            _ => self.any_of(at, &["\u{92}", "\u{2019}", "&apos;"]),
        }
    }

    /// An apostrophe, or an opening quotation mark typed in its place.
    pub fn apostrophe_like(self, at: usize) -> Option<usize> {
        self.apostrophe(at)
            .or_else(|| self.any_of(at, &["`", "\u{91}", "\u{2018}", "\u{201b}"]))
    }

    pub fn hyphen(self, at: usize) -> Option<usize> {
        match self.byte(at) {
            b'-' => Some(at + 1),
            b if b.is_ascii() => None,
            _ => self.any_of(at, &["\u{58a}", "\u{2010}", "\u{2011}"]),
        }
    }

    /// A blank that may stand inside a telephone number or a mixed fraction.
    pub fn blank(self, at: usize) -> Option<usize> {
        self.any_of(at, &[" ", "\u{a0}"])
    }

    /// Applies `one` as often as it matches, at least once.
    pub fn run(self, at: usize, one: impl Fn(Self, usize) -> Option<usize>) -> Option<usize> {
        self.run_of(at, 1, usize::MAX, one)
    }

    /// Applies `one` as often as it matches, `least` to `most` times.
    pub fn run_of(
        self,
        at: usize,
        least: usize,
        most: usize,
        one: impl Fn(Self, usize) -> Option<usize>,
    ) -> Option<usize> {
        let (mut end, mut count) = (at, 0);
        while count < most
            && let Some(next) = one(self, end)
        {
            (end, count) = (next, count + 1);
        }
        (count >= least).then_some(end)
    }

    /// A run of ASCII bytes that satisfy `wanted`.
    pub fn ascii_run(
        self,
        at: usize,
        least: usize,
        most: usize,
        wanted: impl Fn(u8) -> bool,
    ) -> Option<usize> {
        self.run_of(at, least, most, |t, i| {
            let byte = t.byte(i);
            (byte != 0 && byte.is_ascii() && wanted(byte)).then_some(i + 1)
        })
    }
}
