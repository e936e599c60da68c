//! Shapes of words: plain, hyphenated, joined by slashes, elided, contracted.
//!
//! They stand apart because everything about apostrophes and hyphens is decided here.

use super::shape::Found;
use super::text::Text;

/// Letters and digits that begin with a letter; `.`, `!` and `?` join such runs (`x.y`, `yahoo!x`).
pub(super) fn word_end(t: Text, at: usize) -> Option<usize> {
    let one = |t: Text, i| t.run_of(t.letter(i)?, 0, usize::MAX, Text::letter_or_digit);
    let mut end = one(t, at)?;
    while matches!(t.byte(end), b'.' | b'!' | b'?')
        && let Some(next) = one(t, end + 1)
    {
        end = next;
    }
    Some(end)
}

pub(super) fn word(t: Text, at: usize) -> Option<Found> {
    word_end(t, at).map(Found::text)
}

/// A word before `'s`, `'m`, `'d`, `'re`, `'ve`, `'ll`: the word alone, however long what follows.
pub(super) fn word_before_clitic(t: Text, at: usize) -> Option<Found> {
    let end = word_end(t, at)?;
    Some(Found::text(end).reaching(clitic_end(t, end)?))
}

/// The stem of a word in `n't`: letters, the last of which is not another n.
pub(super) fn word_before_not(t: Text, at: usize) -> Option<Found> {
    let letters = t.run(at, |t, i| {
        t.ascii_run(i, 1, 1, |b| b.is_ascii_alphabetic())
            .or_else(|| t.soft_hyphen(i))
    })?;
    let stem = letters.checked_sub(1).filter(|stem| *stem > at)?;
    if t.byte(stem - 1).eq_ignore_ascii_case(&b'n') {
        return None;
    }
    Some(Found::text(stem).reaching(not_end(t, stem)?))
}

fn clitic_end(t: Text, at: usize) -> Option<usize> {
    let letter = t.apostrophe(at)?;
    ["re", "ve", "ll"]
        .iter()
        .find_map(|two| t.word_at(letter, two))
        .or_else(|| {
            let one = t.byte(letter).to_ascii_lowercase();
            matches!(one, b's' | b'm' | b'd').then_some(letter + 1)
        })
}

fn not_end(t: Text, at: usize) -> Option<usize> {
    t.word_at(t.apostrophe_like(t.word_at(at, "n")?)?, "t")
}

/// `'s` and its kind as a token of its own. Where letters go on, a quotation mark is the likelier reading.
pub(super) fn clitic(t: Text, at: usize) -> Option<Found> {
    clitic_end(t, at).map(Found::contraction)
}

/// As `clitic`, where no letters go on.
pub(super) fn clitic_alone(t: Text, at: usize) -> Option<Found> {
    let end = clitic_end(t, at)?;
    (!t.byte(end).is_ascii_alphabetic()).then(|| Found::contraction(end).reaching(t.after(end)))
}

/// `n't` as a token of its own.
pub(super) fn not(t: Text, at: usize) -> Option<Found> {
    not_end(t, at).map(Found::contraction)
}

/// Words that are written as one and counted as two, the first of three letters.
pub(super) fn fused(t: Text, at: usize) -> Option<Found> {
    ["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"]
        .iter()
        .find_map(|whole| t.word_at(at, whole))
        .map(|reach| Found::text(at + 3).reaching(reach))
}

/// `'tis`, `'twas`: `'t` and the rest.
pub(super) fn it_elided(t: Text, at: usize) -> Option<Found> {
    if t.byte(at) != b'\'' {
        return None;
    }
    let end = t.word_at(at + 1, "t")?;
    let reach = t.word_at(end, "is").or_else(|| t.word_at(end, "was"))?;
    Some(Found::text(end).reaching(reach))
}

/// Words with an apostrophe that stay whole: `'em`, `'cause`, `'n'`, `'90s`, `ol'`, `l'`.
pub(super) fn elided(t: Text, at: usize) -> Option<Found> {
    let first_of = |i, words: &[&str]| words.iter().find_map(|w| t.word_at(i, w));
    let Some(rest) = t.apostrophe(at) else {
        return ["somethin", "dunkin", "ol", "l", "d", "j"]
            .iter()
            .find_map(|w| t.apostrophe(t.word_at(at, w)?))
            .or_else(|| {
                first_of(
                    at,
                    &["cap'n", "c'est", "c'mon", "e'er", "ev'ry", "li'l", "nat'l"],
                )
            })
            .map(Found::text);
    };
    let decade = || {
        let zero = t.ascii_run(rest, 1, 1, |b| matches!(b, b'2'..=b'9'))?;
        t.word_at(zero, "0s")
    };
    let and = || {
        let end = t.word_at(rest, "n")?;
        Some(t.apostrophe(end).unwrap_or(end))
    };
    first_of(rest, &["cause", "till", "til", "em"])
        .or_else(decade)
        .or_else(and)
        .map(Found::text)
}

/// `'85`: a year of two digits before a blank.
pub(super) fn short_year(t: Text, at: usize) -> Option<Found> {
    let end = t.ascii_run(t.apostrophe(at)?, 2, 2, |b| b.is_ascii_digit())?;
    let blank = t.character(end).is_none_or(char::is_whitespace);
    blank.then(|| Found::text(end).reaching(t.after(end)))
}

/// `y'all`, `j'ai`: the letter and its apostrophe before a word.
pub(super) fn elided_before_word(t: Text, at: usize) -> Option<Found> {
    if !matches!(t.byte(at).to_ascii_lowercase(), b'y' | b'j') {
        return None;
    }
    let end = t.apostrophe(at + 1)?;
    Some(Found::text(end).reaching(t.plain_letter(end)?))
}

/// A name or word with a prefix letter: `N'Djamena`, `n'xy`.
pub(super) fn prefixed(t: Text, at: usize) -> Option<Found> {
    let first = t.byte(at);
    let may = (first.is_ascii_uppercase() && !matches!(first, b'I' | b'Y')) || first == b'n';
    if !may {
        return None;
    }
    let rest = t.apostrophe_like(at + 1)?;
    t.run_of(rest, 2, usize::MAX, Text::plain_letter)
        .map(Found::text)
}

/// A glottal stop or a hiatus: an apostrophe between vowels, or between a vowel and a capital: `ma'am`,
/// `hawai'i`.
pub(super) fn glottal(t: Text, at: usize) -> Option<Found> {
    let stop = t.run_of(at, 2, usize::MAX, Text::plain_letter)?;
    if !b"aeiouyAEIOUY".contains(&t.byte(stop - 1)) {
        return None;
    }
    let rest = t.apostrophe_like(stop)?;
    let first = t.ascii_run(rest, 1, 1, |b| {
        b"aeiou".contains(&b) || b.is_ascii_uppercase()
    })?;
    t.run_of(first, 0, usize::MAX, Text::plain_letter)
        .map(Found::text)
}

/// Runs of letters and digits joined by hyphens or underscores, each perhaps with `d'`, `o'` or `l'`
/// before it: `red-haired`, `5-6`, `a_b`, `o'clock`, `jack-o'lantern`.
pub(super) fn hyphenated_end(t: Text, at: usize) -> Option<usize> {
    t.run_of(hyphenated_part(t, at)?, 0, usize::MAX, |t, i| {
        hyphenated_part(t, t.hyphen(i).or_else(|| t.word_at(i, "_"))?)
    })
}

fn hyphenated_part(t: Text, at: usize) -> Option<usize> {
    let with_prefix = || {
        matches!(t.byte(at).to_ascii_lowercase(), b'd' | b'o' | b'l').then_some(())?;
        let letter = t.apostrophe_like(at + 1)?;
        t.run_of(letter, 2, usize::MAX, Text::plain_letter_or_digit)
    };
    with_prefix().or_else(|| t.run(at, Text::plain_letter_or_digit))
}

pub(super) fn hyphenated(t: Text, at: usize) -> Option<Found> {
    hyphenated_end(t, at).map(Found::text)
}

/// A hyphenated word whose first part holds periods or commas, or whose last is an acronym:
/// `5.5-inch`, `1,000-foot`, `u.s.-led`, `non-u.s.`.
pub(super) fn hyphenated_loosely(t: Text, at: usize) -> Option<Found> {
    if !t.byte(at).is_ascii_alphanumeric() {
        return None;
    }
    let plain = |t: Text, i| {
        let ascii = t.ascii_run(i, 1, usize::MAX, |b| b.is_ascii_alphanumeric());
        ascii.or_else(|| t.soft_hyphen(i))
    };
    let first = t.run(at, |t, i| plain(t, i).or_else(|| t.any_of(i, &[".", ","])))?;
    t.run(first, |t, i| {
        let part = t.word_at(i, "-")?;
        t.run(part, plain).max(acronym_end(t, part))
    })
    .map(Found::text)
}

/// Letters with a period behind each, two at least: `u.s.`, `e.g.`.
pub(super) fn acronym_end(t: Text, at: usize) -> Option<usize> {
    t.run_of(at, 2, usize::MAX, |t, i| {
        (t.byte(i).is_ascii_alphabetic() && t.byte(i + 1) == b'.').then_some(i + 2)
    })
}

pub(super) fn acronym(t: Text, at: usize) -> Option<Found> {
    acronym_end(t, at).map(Found::text)
}

/// Two or three words joined by slashes, each with up to two hyphens: `and/or`, `24/7`.
pub(super) fn slashed(t: Text, at: usize) -> Option<Found> {
    let part = |t: Text, i| {
        let end = t.ascii_run(i, 1, usize::MAX, |b| b.is_ascii_alphanumeric())?;
        t.run_of(end, 0, 2, |t, i| {
            let letters = t.word_at(i, "-")?;
            t.ascii_run(letters, 1, usize::MAX, |b| b.is_ascii_alphabetic())
        })
    };
    let first = part(t, at)?;
    t.run_of(first, 1, 2, |t, i| {
        let slash = t.word_at(i, "\\").unwrap_or(i);
        part(t, t.word_at(slash, "/")?)
    })
    .map(Found::text)
}

/// Capitals joined by `&` or `+`: `AT&T`.
pub(super) fn firm(t: Text, at: usize) -> Option<Found> {
    let capitals = |t: Text, i| t.ascii_run(i, 1, usize::MAX, |b| b.is_ascii_uppercase());
    let end = t.run(capitals(t, at)?, |t, i| {
        capitals(t, t.any_of(i, &["&amp;", "&", "+"])?)
    })?;
    Some(Found::entities(end))
}

/// The few fixed strings that other shapes would break.
pub(super) fn fixed(t: Text, at: usize) -> Option<Found> {
    const FIXED: [&str; 14] = [
        "anti-", "c#", "c++", "c.d.s", "f#", "pro-", "s&ls", "s&p-500", "-lrb-", "-rrb-", "-lcb-",
        "-rcb-", "-lsb-", "-rsb-",
    ];
    let apostrophe = || t.word_at(t.apostrophe_like(t.word_at(at, "o")?)?, "o");
    FIXED
        .iter()
        .find_map(|w| t.word_at(at, w))
        .or_else(apostrophe)
        .map(Found::text)
}
