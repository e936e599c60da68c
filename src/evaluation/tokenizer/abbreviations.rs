//! Abbreviations: when a period belongs to the word before it.
//!
//! They stand apart because they are lists. Each list was found by giving every word of up to four
//! letters, and every word of a large dictionary, to the reference tokenizer in front of a period.

use super::shape::Found;
use super::text::Text;
use super::{web, words};

/// Keep their period wherever they stand.
const TITLES: [&str; 59] = [
    "adj", "adm", "adv", "alex", "asst", "atty", "ave", "brig", "capt", "cf", "cie", "cmdr", "col",
    "cpl", "dept", "det", "dr", "drs", "elec", "ens", "ft", "gen", "gov", "govs", "hon", "insp",
    "invt", "jos", "lt", "maj", "messrs", "mlle", "mme", "mr", "mrs", "ms", "msgr", "mt", "natl",
    "pfc", "ph", "pres", "prof", "pvt", "rep", "reps", "rev", "sen", "sens", "sfc", "sgt", "spc",
    "st", "ste", "supt", "vs", "wm", "mfg", "mtg",
];

/// Keep their period too, even against a longer reading by a character or two.
const NAMES: [&str; 72] = [
    "al", "ala", "apr", "ariz", "assn", "aug", "bhd", "bldg", "blvd", "bros", "calif", "co",
    "colo", "conn", "corp", "cos", "ct", "dak", "dec", "esq", "est", "etc", "ext", "feb", "fla",
    "fri", "ga", "inc", "ind", "intl", "jan", "jr", "jul", "jun", "kan", "kans", "ky", "ltd",
    "mar", "md", "mich", "minn", "mo", "mon", "mont", "neb", "nev", "nov", "oct", "okla", "penn",
    "plc", "rd", "rt", "sep", "sept", "seq", "sq", "sr", "sys", "tel", "tenn", "thu", "tue",
    "tues", "univ", "va", "vt", "wed", "wis", "wisc", "wyo",
];

/// As `NAMES`, but not in lower case, where they are words.
const CAPITALISED: [&str; 11] = [
    "ark", "az", "del", "ill", "la", "mass", "miss", "ore", "pa", "tex", "wash",
];

/// As `NAMES`, but not in capitals.
const COMPANIES: [&str; 6] = ["ppte", "ppty", "pte", "ptes", "pty", "ptys"];

/// Keep their period only before a number.
const BEFORE_NUMBER: [&str; 9] = ["art", "ca", "fig", "figs", "no", "nos", "op", "pp", "prop"];

/// Words that open a sentence: before them a period ends one, so a single letter loses it.
#[rustfmt::skip]
const SENTENCE_OPENERS: [&str; 46] = [
    "a", "about", "according", "additionally", "after", "an", "as", "at", "but", "earlier", "he",
    "her", "here", "however", "if", "in", "it", "last", "many", "more", "mr.", "ms.", "now", "once",
    "one", "other", "our", "she", "since", "so", "some", "such", "that", "the", "their", "then",
    "there", "these", "they", "this", "we", "what", "when", "while", "yet", "you",
];

/// The ASCII letters at `at`, and the offset behind them if a period follows.
fn before_period(t: Text<'_>, at: usize) -> Option<(&str, usize)> {
    let end = t.ascii_run(at, 1, 8, |b| b.is_ascii_alphabetic())?;
    (t.byte(end) == b'.').then(|| (&t.0[at..end], end + 1))
}

fn listed(list: &[&str], word: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(word))
}

/// `mr.`, `st.`, `dept.`
pub(super) fn title(t: Text, at: usize) -> Option<Found> {
    let (word, end) = before_period(t, at)?;
    listed(&TITLES, word).then(|| Found::text(end))
}

/// `etc.`, `inc.`, `jan.`, `ph.d.`
pub(super) fn name(t: Text, at: usize) -> Option<Found> {
    if let Some(end) = t.word_at(at, "ph.d.") {
        return Some(Found::text(end).reaching(t.after(t.after(end))));
    }
    let (word, end) = before_period(t, at)?;
    let lower = word.as_bytes()[0].is_ascii_lowercase();
    let capitals = word.bytes().all(|b| b.is_ascii_uppercase());
    let known = listed(&NAMES, word)
        || (!lower && listed(&CAPITALISED, word))
        || (!capitals && listed(&COMPANIES, word));
    known.then(|| Found::text(end).reaching(t.after(t.after(end))))
}

/// `no. 5`, `figs. 2`
pub(super) fn before_number(t: Text, at: usize) -> Option<Found> {
    let (word, end) = before_period(t, at)?;
    if !listed(&BEFORE_NUMBER, word) {
        return None;
    }
    let number = t.word_at(end, " ").unwrap_or(end);
    Some(Found::text(end).reaching(t.digit(number)?))
}

/// A single letter, unless the period ends a sentence.
pub(super) fn initial(t: Text, at: usize) -> Option<Found> {
    let (word, end) = before_period(t, at)?;
    (word.len() == 1 && !sentence_ends(t, end)).then(|| Found::text(end))
}

/// Whether the caption ends at `at`, or a word that opens a sentence follows.
fn sentence_ends(t: Text, at: usize) -> bool {
    let rest = t.0[at..].trim_start();
    if rest.is_empty() {
        return true;
    }
    let start = t.0.len() - rest.len();
    if start == at {
        return false;
    }
    if web::tag(t, start).is_some() {
        return true;
    }
    if !rest.as_bytes()[0].is_ascii_uppercase() {
        return false;
    }
    let opener = rest.split(char::is_whitespace).next().unwrap_or(rest);
    listed(&SENTENCE_OPENERS, opener)
}

/// Any word with a period before a comma, semicolon or colon.
pub(super) fn before_comma(t: Text, at: usize) -> Option<Found> {
    let word = words::word_end(t, at).max(words::hyphenated_end(t, at))?;
    if t.byte(word) != b'.' {
        return None;
    }
    let end = word + 1;
    Some(Found::text(end).reaching(t.any_of(end, &[",", ";", ":", "\u{3001}"])?))
}
