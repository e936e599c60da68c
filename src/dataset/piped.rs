//! Reads Flickr30k as Kaggle has it, `results.csv`: `NAME.jpg| 0| caption`, a caption a line, below the
//! header `image_name| comment_number| comment`.
//!
//! It is no CSV: nothing is quoted, and quotes are part of the captions. In the published file one line of
//! 158,915 lacks the second bar (`2199200615.jpg| 4   A dog runs across the grass .`); it is read as if it
//! were there.

use std::io::BufRead;

use super::lines::Lines;
use super::tokens::read_numbered;
use super::{Builder, DatasetError, LineFault};

const COLUMNS: [&str; 3] = ["image_name", "comment_number", "comment"];

/// Whether a line is the header of such a file.
pub fn is_header(line: &str) -> bool {
    line.split('|').map(str::trim).eq(COLUMNS)
}

/// Reads all captions below the header. Blank lines are passed over.
pub fn read<R: BufRead>(lines: Lines<R>) -> Result<Builder, DatasetError> {
    read_numbered(lines, parse)
}

/// Name, number and caption of a line. Captions may hold bars.
fn parse(line: &str) -> Result<(&str, u32, &str), LineFault> {
    let (name, rest) = line.split_once('|').ok_or(LineFault::NoBars)?;
    let rest = rest.trim_start();
    let digits = rest.find(|c: char| !c.is_ascii_digit());
    let (number, rest) = rest.split_at(digits.unwrap_or(rest.len()));
    let number = number.parse().map_err(|_| LineFault::NoBars)?;
    let caption = match rest.trim_start().strip_prefix('|') {
        Some(caption) => caption,
        None if rest.is_empty() || rest.starts_with(char::is_whitespace) => rest,
        None => return Err(LineFault::NoBars),
    };
    match name.trim() {
        "" => Err(LineFault::NoName),
        name => Ok((name, number, caption.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_at_bars_and_one_may_be_missing() {
        let check = |line: &str, expected: (&str, u32, &str)| {
            assert_eq!(parse(line), Ok(expected), "{line:?}");
        };
        check("a.jpg| 0| A dog runs .", ("a.jpg", 0, "A dog runs ."));
        check(
            "a.jpg| 1| \" Stop | go \" .",
            ("a.jpg", 1, "\" Stop | go \" ."),
        );
        check("a.jpg|2|x, y", ("a.jpg", 2, "x, y"));
        check("a.jpg| 4   A dog runs .", ("a.jpg", 4, "A dog runs ."));
        check("a.jpg| 3|", ("a.jpg", 3, ""));
        for line in [
            "a.jpg",
            "a.jpg| A dog",
            "a.jpg| 3a| A dog",
            "a.jpg| 99999999999| x",
        ] {
            assert_eq!(parse(line), Err(LineFault::NoBars), "{line:?}");
        }
        assert_eq!(parse(" | 0| A dog"), Err(LineFault::NoName));
    }

    #[test]
    fn the_header_is_as_published_or_without_blanks() {
        assert!(is_header("image_name| comment_number| comment"));
        assert!(is_header("image_name|comment_number|comment\r"));
        assert!(!is_header("image_name| comment"));
        assert!(!is_header("image,caption"));
    }
}
