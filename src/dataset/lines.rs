//! Turns a text file into its lines, one at a time, with their numbers.
//!
//! It stands apart because every text form needs the same care: a byte order mark, the line ends of
//! Windows, and a fault that names the line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::{DatasetError, LineFault};

pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file.
pub struct Lines<R> {
    reader: R,
    path: PathBuf,
    /// Of the line read last, from one.
    number: u64,
    buffer: Vec<u8>,
}

impl Lines<BufReader<File>> {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(|source| DatasetError::Read {
            path: path.into(),
            source,
        })?;
        Ok(Self::new(BufReader::with_capacity(1 << 16, file), path))
    }
}

impl<R: BufRead> Lines<R> {
    /// `path` is for messages.
    pub fn new(reader: R, path: &Path) -> Self {
        Lines {
            reader,
            path: path.into(),
            number: 0,
            buffer: Vec::new(),
        }
    }

    /// The next line, without what ends it; none at the end of the file.
    pub fn next(&mut self) -> Result<Option<&str>, DatasetError> {
        let line = self.next_with_end()?;
        Ok(line.map(|line| {
            let line = line.strip_suffix('\n').unwrap_or(line);
            line.strip_suffix('\r').unwrap_or(line)
        }))
    }

    /// The next line, with what ends it.
    pub fn next_with_end(&mut self) -> Result<Option<&str>, DatasetError> {
        self.buffer.clear();
        let read = self.reader.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|source| DatasetError::Read {
            path: self.path.clone(),
            source,
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mark = self.number == 1 && self.buffer.starts_with(BYTE_ORDER_MARK);
        let start = if mark { BYTE_ORDER_MARK.len() } else { 0 };
        match std::str::from_utf8(&self.buffer[start..]) {
            Ok(line) => Ok(Some(line)),
            Err(error) => Err(DatasetError::Line {
                path: self.path.clone(),
                line: self.number,
                fault: LineFault::NotUtf8 {
                    byte: start + error.valid_up_to() + 1,
                },
            }),
        }
    }

    /// The number of the line read last.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The error that names the line read last.
    pub fn fault(&self, fault: LineFault) -> DatasetError {
        self.fault_at(self.number, fault)
    }

    pub fn fault_at(&self, line: u64, fault: LineFault) -> DatasetError {
        DatasetError::Line {
            path: self.path.clone(),
            line,
            fault,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut lines = Lines::new(bytes, Path::new("x.txt"));
        let mut all = Vec::new();
        while let Some(line) = lines.next().map_err(|error| error.to_string())? {
            all.push(line.to_owned());
        }
        Ok(all)
    }

    #[test]
    fn ends_of_all_kinds_are_taken_off() {
        assert_eq!(lines(b"").unwrap(), [""; 0]);
        assert_eq!(lines(b"a\nb").unwrap(), ["a", "b"]);
        assert_eq!(
            lines(b"\xef\xbb\xbfa\r\n\r\nb\r\n").unwrap(),
            ["a", "", "b"]
        );
        assert_eq!(lines(b"a\n\xef\xbb\xbfb\n").unwrap(), ["a", "\u{feff}b"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_placed() {
        let error = lines(b"a\ncaf\xe9\n").unwrap_err();
        assert_eq!(
            error,
            "x.txt:2: byte 4 of the line is not UTF-8; save the file as UTF-8"
        );
        assert!(
            lines(b"\xff\xfea\0")
                .unwrap_err()
                .starts_with("x.txt:1: byte 1 ")
        );
    }
}
