//! What a shape answers, and the list of all shapes.
//!
//! They stand apart because their order is a rule of its own: the shape that reaches farthest wins, and
//! of those that reach equally far the one listed first.

use super::text::Text;
use super::{abbreviations, numbers, quotes, web, words};

/// How the text of a token is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it stands.
    Text,
    /// With any apostrophe as `'` or `` ` ``.
    Contraction,
    /// With `&amp;` as `&`.
    Entities,
    /// With parentheses as `-lrb-` and `-rrb-`.
    Bracketed,
    /// With typeset quotation marks as plain ones.
    Quotes,
    /// As something else.
    As(&'static str),
    /// Not at all: punctuation.
    Nothing,
}

/// A token found at some offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The offset behind the token.
    pub end: usize,
    /// The offset behind what had to be looked at; decides between shapes.
    pub reach: usize,
    pub form: Form,
}

impl Found {
    pub fn new(end: usize, form: Form) -> Self {
        Found {
            end,
            reach: end,
            form,
        }
    }

    pub fn text(end: usize) -> Self {
        Self::new(end, Form::Text)
    }

    pub fn contraction(end: usize) -> Self {
        Self::new(end, Form::Contraction)
    }

    pub fn entities(end: usize) -> Self {
        Self::new(end, Form::Entities)
    }

    pub fn reaching(self, reach: usize) -> Self {
        Found { reach, ..self }
    }
}

type Shape = fn(Text, usize) -> Option<Found>;

const SHAPES: &[Shape] = &[
    words::fused,
    words::it_elided,
    web::tag,
    words::word_before_clitic,
    words::word_before_not,
    words::word,
    words::elided,
    words::elided_before_word,
    words::short_year,
    web::url,
    web::bare_url,
    web::email,
    web::handle,
    words::clitic_alone,
    words::not,
    numbers::date,
    numbers::number,
    numbers::raised,
    numbers::fraction,
    numbers::vulgar_fraction,
    words::fixed,
    words::slashed,
    web::currency,
    abbreviations::title,
    abbreviations::name,
    abbreviations::before_number,
    abbreviations::initial,
    words::acronym,
    abbreviations::before_comma,
    numbers::telephone,
    quotes::opening,
    words::clitic,
    web::smiley,
    web::face,
    words::prefixed,
    words::glottal,
    web::file_name,
    words::hyphenated,
    words::hyphenated_loosely,
    words::firm,
    web::entity,
    quotes::typeset,
];

/// The token at `at`, where a character must stand.
pub(super) fn token_at(t: Text, at: usize) -> Found {
    let mut best: Option<Found> = None;
    for shape in SHAPES {
        if let Some(found) = shape(t, at)
            && best.is_none_or(|b| found.reach > b.reach)
        {
            best = Some(found);
        }
    }
    let symbol = web::symbol(t, at);
    best.filter(|b| b.reach >= symbol.reach).unwrap_or(symbol)
}
