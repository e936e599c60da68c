//! Keeps the numbers that are not in `metrics.parquet` yet: a line each, written as they come.
//!
//! A Parquet file is written whole, which costs too much for each step; without this file a killed
//! training would lose what came since. Lines are numbered, so that one that is in `metrics.parquet` by
//! now is known. Values are written as their bits: a value read back is the same one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::numbers::{Number, Numbers, Scope};
use crate::table::FileError;

/// The file, open at its end.
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Adds to `numbers` those of the journal at `path` that follow. A line that a kill cut short, and
    /// what is after it, does not count.
    pub fn replay(path: &Path, numbers: &mut Numbers) -> Result<(), FileError> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            text => text.map_err(FileError::on("read", path))?,
        };
        let text = String::from_utf8_lossy(&text);
        for line in text.split_inclusive('\n') {
            let Some((place, number)) = line.strip_suffix('\n').and_then(parse) else {
                break;
            };
            if place == numbers.len() {
                numbers.push(number);
            }
        }
        Ok(())
    }

    /// Begins an empty journal.
    pub fn begin(path: &Path) -> Result<Self, FileError> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(path);
        Ok(Journal {
            path: path.to_owned(),
            file: file.map_err(FileError::on("create", path))?,
        })
    }

    /// Writes the numbers from place `from` on.
    pub fn append(&mut self, numbers: &Numbers, from: usize) -> Result<(), FileError> {
        let mut lines = String::new();
        for (number, place) in numbers.since(from).zip(from..) {
            lines.push_str(&line(place, &number));
        }
        self.file
            .write_all(lines.as_bytes())
            .map_err(FileError::on("write", &self.path))
    }
}

fn line(place: usize, number: &Number) -> String {
    let Number {
        step,
        epoch,
        scope,
        name,
        value,
        at,
    } = number;
    let (scope, bits) = (scope.name(), value.to_bits());
    format!("{place}\t{step}\t{epoch}\t{scope}\t{bits:x}\t{at}\t{name}\n")
}

fn parse(line: &str) -> Option<(usize, Number<'_>)> {
    let mut fields = line.splitn(7, '\t');
    let mut next = || fields.next();
    let place = next()?.parse().ok()?;
    let number = Number {
        step: next()?.parse().ok()?,
        epoch: next()?.parse().ok()?,
        scope: Scope::named(next()?)?,
        value: f64::from_bits(u64::from_str_radix(next()?, 16).ok()?),
        at: next()?.parse().ok()?,
        name: next()?,
    };
    Some((place, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_follows_what_is_known() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("journal");
        let mut numbers = Numbers::default();
        for (step, value) in [(1, 0.1), (2, f64::INFINITY), (3, -0.0)] {
            numbers.push(Number {
                step,
                epoch: 1,
                scope: Scope::Step,
                name: "loss/token",
                value,
                at: -5,
            });
        }
        Journal::begin(&path).unwrap().append(&numbers, 1).unwrap();
        let first = |steps| {
            let mut first = Numbers::default();
            numbers
                .iter()
                .take(steps)
                .for_each(|number| first.push(number));
            first
        };
        for (known, expected) in [(1, 3), (2, 3), (3, 3), (0, 0)] {
            let mut found = first(known);
            Journal::replay(&path, &mut found).unwrap();
            assert_eq!(found, first(expected));
        }
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let mut found = first(1);
        Journal::replay(&path, &mut found).unwrap();
        assert_eq!(found, first(2));
    }
}
