//! Quotation marks: punctuation, so they vanish, but what they lie next to depends on them.
//!
//! They stand apart from apostrophes, which belong to words.

use super::shape::{Form, Found};
use super::text::Text;

/// A quotation mark before a word: reaches over what clitics might claim.
pub(super) fn opening(t: Text, at: usize) -> Option<Found> {
    let end = t.word_at(at, "'")?;
    let letter = t.ascii_run(end, 1, 1, |b| b.is_ascii_alphabetic())?;
    let next = t.character(letter).filter(|c| !c.is_whitespace())?;
    Some(Found::new(end, Form::Nothing).reaching(letter + next.len_utf8()))
}

/// A typeset quotation mark or two: one token, which counts unless plain marks would give the same.
pub(super) fn typeset(t: Text, at: usize) -> Option<Found> {
    if t.byte(at).is_ascii() && t.byte(at) != b'`' {
        return None;
    }
    let mut marks = String::new();
    let end = t.run_of(at, 1, 2, |t, i| {
        let c = t.character(i)?;
        plain(c).map(|_| i + c.len_utf8())
    })?;
    for c in t.0[at..end].chars() {
        marks.push_str(plain(c).unwrap_or_default());
    }
    let counts = !matches!(marks.as_str(), "`" | "'" | "``" | "''");
    Some(Found::new(
        end,
        if counts { Form::Quotes } else { Form::Nothing },
    ))
}

/// What a typeset quotation mark is written as.
pub(super) fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        '`' | '\u{91}' | '\u{2018}' | '\u{201b}' | '\u{2039}' => "`",
        '\u{92}' | '\u{2019}' | '\u{203a}' => "'",
        '\u{93}' | '\u{201c}' | '\u{ab}' => "``",
        '\u{94}' | '\u{201d}' | '\u{bb}' => "''",
        '\u{201a}' => "\u{201a}",
        '\u{201e}' => "\u{201e}",
        '\u{201f}' => "\u{201f}",
        _ => return None,
    })
}
