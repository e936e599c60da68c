//! Shapes of numbers: plain, dates, fractions, telephone numbers.
//!
//! They stand apart because some hold blanks: `1 1/2` is one token.

use super::shape::{Form, Found};
use super::text::Text;

/// `5`, `-5`, `1,000`, `8:30`, `.5`
pub(super) fn number(t: Text, at: usize) -> Option<Found> {
    let start = t.any_of(at, &["-", "+"]).unwrap_or(at);
    let whole = t.run(start, Text::digit);
    let parts = t.run(whole.unwrap_or(start), |t, i| {
        t.run(
            t.any_of(i, &[".", ":", ",", "\u{ad}", "\u{66b}", "\u{66c}"])?,
            Text::digit,
        )
    });
    parts.or(whole).map(Found::text)
}

fn digits(t: Text, at: usize, least: usize, most: usize) -> Option<usize> {
    t.run_of(at, least, most, Text::digit)
}

/// `12/25/2012`, `1-2-34`
pub(super) fn date(t: Text, at: usize) -> Option<Found> {
    let separator = |i| t.any_of(i, &["/", "-"]);
    let month = separator(digits(t, at, 1, 2)?)?;
    let year = separator(digits(t, month, 1, 2)?)?;
    digits(t, year, 2, 4).map(Found::text)
}

/// A run of superscript or of subscript digits, perhaps with a sign.
pub(super) fn raised(t: Text, at: usize) -> Option<Found> {
    if t.byte(at).is_ascii() {
        return None;
    }
    let signs = ["\u{207a}", "\u{207b}", "\u{208a}", "\u{208b}"];
    let start = t.any_of(at, &signs).unwrap_or(at);
    let one = |range: fn(char) -> bool| {
        t.run(start, move |t, i| {
            let c = t.character(i).filter(|c| range(*c))?;
            Some(i + c.len_utf8())
        })
    };
    one(|c| {
        matches!(
            c,
            '\u{2070}' | '\u{b9}' | '\u{b2}' | '\u{b3}' | '\u{2074}'..='\u{2079}'
        )
    })
    .or_else(|| one(|c| matches!(c, '\u{2080}'..='\u{2089}')))
    .map(Found::text)
}

/// `1/2`, `1 1/2`, `1-1/2`
pub(super) fn fraction(t: Text, at: usize) -> Option<Found> {
    let bare = |i| {
        let over = t.any_of(digits(t, i, 1, 4)?, &["/", "\\/", "\u{2044}"])?;
        digits(t, over, 1, 4)
    };
    let mixed = || {
        let whole = digits(t, at, 1, 4)?;
        bare(t.blank(whole).or_else(|| t.word_at(whole, "-"))?)
    };
    mixed().or_else(|| bare(at)).map(Found::text)
}

/// `½`, written out.
pub(super) fn vulgar_fraction(t: Text, at: usize) -> Option<Found> {
    let written = match t.character(at)? {
        '\u{bc}' => "1/4",
        '\u{bd}' => "1/2",
        '\u{be}' => "3/4",
        '\u{2153}' => "1/3",
        '\u{2154}' => "2/3",
        _ => return None,
    };
    Some(Found::new(
        at + t.character(at)?.len_utf8(),
        Form::As(written),
    ))
}

/// `555-1234`, `(555) 555-1234`, `+1 555 555 1234`, `555.555.1234`
pub(super) fn telephone(t: Text, at: usize) -> Option<Found> {
    if !matches!(t.byte(at), b'0'..=b'9' | b'(' | b'+') {
        return None;
    }
    let gap = |i| t.word_at(i, "-").or_else(|| t.blank(i));
    // The last seven digits or more: three or four, a gap or none, three to five.
    let subscriber = |i: usize| {
        [4, 3].into_iter().find_map(|n| {
            let end = digits(t, i, n, n)?;
            digits(t, gap(end).unwrap_or(end), 3, 5)
        })
    };
    let area = || {
        let close = t.word_at(digits(t, t.word_at(at, "(")?, 2, 3)?, ")")?;
        subscriber(t.blank(close).unwrap_or(close))
    };
    let start = t.run_of(at, 0, 2, |t, i| t.word_at(i, "+")).unwrap_or(at);
    let group = |i| gap(digits(t, i, 2, 4)?);
    let grouped = || {
        let one = group(start)?;
        group(one).and_then(subscriber).max(subscriber(one))
    };
    let dot = |i, least, most| t.word_at(digits(t, i, least, most)?, ".");
    let dotted = || {
        let tail = |i| digits(t, dot(dot(i, 2, 4)?, 3, 4)?, 3, 5);
        dot(start, 2, 4).and_then(tail).max(tail(start))
    };
    let end = area().max(grouped()).max(dotted())?;
    Some(Found::new(end, Form::Bracketed))
}
