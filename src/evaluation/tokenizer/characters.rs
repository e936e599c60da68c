//! Tells letters, marks, digits and symbols apart as the reference tokenizer does.
//!
//! It stands apart from Unicode's own classes because it differs from them: the reference knows an older
//! Unicode, nothing beyond the basic plane, and joins some signs to words.

use super::ranges::{LETTERS, MARKS, SYMBOLS};

/// What a character is to the token shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Letter,
    /// Joins letters in a word, but not in a hyphenated one.
    Mark,
    /// Joins letters and is not written.
    SoftHyphen,
    Digit,
    /// A token of its own.
    Symbol,
    /// White space, or unknown: separates tokens and is dropped.
    Separator,
}

/// Zeros of the decimal digits; the other nine follow each.
#[rustfmt::skip]
const ZEROS: [u16; 34] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
    0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xaa50, 0xabf0, 0xff10,
];

pub(super) fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        '0'..='9' => Class::Digit,
        '!'..='~' => Class::Symbol,
        '\u{ad}' => Class::SoftHyphen,
        _ => u16::try_from(u32::from(c)).map_or(Class::Separator, beyond_ascii),
    }
}

fn beyond_ascii(c: u16) -> Class {
    let zero = ZEROS.partition_point(|zero| *zero <= c).checked_sub(1);
    if within(&LETTERS, c) {
        Class::Letter
    } else if within(&MARKS, c) {
        Class::Mark
    } else if zero.is_some_and(|i| c - ZEROS[i] < 10) {
        Class::Digit
    } else if within(&SYMBOLS, c) {
        Class::Symbol
    } else {
        Class::Separator
    }
}

fn within(ranges: &[(u16, u16)], c: u16) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= c);
    behind > 0 && c <= ranges[behind - 1].1
}
