//! Reads the token files of Flickr8k and Flickr30k: `NAME.jpg#0<TAB>caption`, a caption a line.

use std::collections::HashSet;
use std::io::BufRead;

use super::lines::Lines;
use super::{Builder, DatasetError, LineFault, Oddity};

/// Reads all captions. Blank lines are passed over.
pub fn read<R: BufRead>(lines: Lines<R>) -> Result<Builder, DatasetError> {
    read_numbered(lines, parse)
}

/// Reads all captions of a file that has one in a line, with its image's name and a number of its own, which
/// `parse` takes out of the line.
pub fn read_numbered<R: BufRead>(
    mut lines: Lines<R>,
    parse: impl Fn(&str) -> Result<(&str, u32, &str), LineFault>,
) -> Result<Builder, DatasetError> {
    let mut builder = Builder::default();
    let mut met = HashSet::new();
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        match parse(line) {
            Ok((name, number, caption)) => {
                let image = builder.image(name);
                builder.caption(image, caption);
                if !met.insert((image, number)) {
                    let key = format!("{name}#{number}");
                    builder.set.notes.add(Oddity::RepeatedNumber, &key);
                }
            }
            Err(fault) => return Err(lines.fault(fault)),
        }
    }
    match lines.number() {
        0 => Err(DatasetError::Empty(lines.path().into())),
        _ => Ok(builder),
    }
}

/// Name, number and caption of a line. Names may hold `#`.
pub fn parse(line: &str) -> Result<(&str, u32, &str), LineFault> {
    let (key, caption) = line.split_once('\t').ok_or(LineFault::NoTab)?;
    let numbered = key.rsplit_once('#');
    let parsed = numbered.and_then(|(name, number)| Some((name, number.trim().parse().ok()?)));
    let (name, number) = parsed.ok_or_else(|| LineFault::NoNumber { found: key.into() })?;
    match name.trim().is_empty() {
        true => Err(LineFault::NoName),
        false => Ok((name, number, caption)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read_text(text: &str) -> Result<Builder, DatasetError> {
        read(Lines::new(text.as_bytes(), Path::new("x.token")))
    }

    fn check_error(text: &str, expected: &str) {
        let error = read_text(text).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected), "{text:?}");
    }

    #[test]
    fn lines_are_taken_apart() {
        assert_eq!(parse("a.jpg#0\tA dog ."), Ok(("a.jpg", 0, "A dog .")));
        assert_eq!(parse("a#1.jpg#12\tx\ty"), Ok(("a#1.jpg", 12, "x\ty")));
        assert_eq!(parse("a.jpg.1#4\t"), Ok(("a.jpg.1", 4, "")));
    }

    #[test]
    fn a_number_met_twice_is_noted_and_both_captions_kept() {
        let text = "a.jpg#0\tone\n\na.jpg#0\ttwo\nb.jpg#0\tthree\n";
        let set = read_text(text).map(Builder::finish).unwrap_or_default();
        assert_eq!(set.captions(), 3);
        assert_eq!(set.notes.count(Oddity::RepeatedNumber), 1);
    }

    #[test]
    fn faults_name_the_line() {
        check_error("", "x.token is empty");
        check_error(
            "a.jpg#0\tone\na.jpg#1 two\n",
            "x.token:2: there is no tab; expected NAME#NUMBER, a tab, a caption",
        );
        check_error(
            "\n\na.jpg\tone",
            "x.token:3: \"a.jpg\" before the tab; expected NAME#NUMBER",
        );
        check_error("#0\tone", "x.token:1: there is no name before the caption");
        check_error(
            "a.jpg#one\tone",
            "x.token:1: \"a.jpg#one\" before the tab; expected NAME#NUMBER",
        );
    }
}
