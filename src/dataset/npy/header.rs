//! Reads the header of a `.npy` file, a dictionary as Python writes it.
//!
//! NumPy describes the format (`numpy.lib.format`): a magic number, a version, the length of the header,
//! the header, then the values.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::NpyError;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Of a matrix of numbers the header has 118 bytes; more than this is none.
const LONGEST_HEADER: usize = 1 << 16;

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (31783, 4096), }`
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    pub descr: String,
    pub fortran_order: bool,
    pub shape: Vec<u64>,
}

impl Header {
    /// Reads the header, and tells where the values begin, in bytes.
    pub fn read(file: &mut File, path: &Path) -> Result<(Self, u64), NpyError> {
        let (text, start) = read_text(file, path)?;
        match Header::parse(&text) {
            Some(header) => Ok((header, start)),
            None => Err(NpyError::Header {
                path: path.into(),
                header: text.trim_end().chars().take(200).collect(),
            }),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut rest = Rest(text);
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        rest.take('{')?;
        while rest.take('}').is_none() {
            let key = rest.string()?;
            rest.take(':')?;
            match key {
                "descr" => descr = Some(rest.descr()?),
                "fortran_order" => fortran_order = Some(rest.boolean()?),
                "shape" => shape = Some(rest.tuple()?),
                _ => return None,
            }
            if rest.take(',').is_none() {
                rest.take('}')?;
                break;
            }
        }
        Some(Header {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }
}

/// The header's text, and where the values begin.
fn read_text(file: &mut File, path: &Path) -> Result<(String, u64), NpyError> {
    // A file that ends within its header is none.
    let read = |file: &mut File, buffer: &mut [u8]| {
        file.read_exact(buffer)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => NpyError::NotNpy(path.into()),
                _ => NpyError::Read {
                    path: path.into(),
                    source,
                },
            })
    };
    let mut start = [0; 8];
    read(file, &mut start)?;
    if !start.starts_with(MAGIC) {
        return Err(NpyError::NotNpy(path.into()));
    }
    let [.., major, minor] = start;
    let (length, place) = match (major, minor) {
        (1, 0) => {
            let mut length = [0; 2];
            read(file, &mut length)?;
            (u16::from_le_bytes(length) as usize, 10)
        }
        (2 | 3, 0) => {
            let mut length = [0; 4];
            read(file, &mut length)?;
            (u32::from_le_bytes(length) as usize, 12)
        }
        _ => {
            return Err(NpyError::Version {
                path: path.into(),
                major,
                minor,
            });
        }
    };
    if length > LONGEST_HEADER {
        return Err(NpyError::Header {
            path: path.into(),
            header: format!("of {length} bytes"),
        });
    }
    let mut header = vec![0; length];
    read(file, &mut header)?;
    let header = String::from_utf8_lossy(&header).into_owned();
    Ok((header, place + length as u64))
}

/// What is left of the header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, character: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(character)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let quote = text.chars().next().filter(|quote| "'\"".contains(*quote))?;
        let (string, rest) = text[1..].split_once(quote)?;
        self.0 = rest;
        Some(string)
    }

    /// A type; that of a table of several columns, a list, as it is written.
    fn descr(&mut self) -> Option<String> {
        if !self.0.trim_start().starts_with('[') {
            return self.string().map(str::to_owned);
        }
        let (list, rest) = self.0.split_once(']')?;
        self.0 = rest;
        Some(format!("{}]", list.trim_start()))
    }

    fn boolean(&mut self) -> Option<bool> {
        let text = self.0.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = text.strip_prefix(word) {
                self.0 = rest;
                return Some(value);
            }
        }
        None
    }

    fn tuple(&mut self) -> Option<Vec<u64>> {
        self.take('(')?;
        let (tuple, rest) = self.0.split_once(')')?;
        self.0 = rest;
        // Python 2 wrote long numbers with an L.
        let number = |text: &str| text.trim().trim_end_matches('L').parse().ok();
        let numbers = tuple.split(',').filter(|text| !text.trim().is_empty());
        numbers.map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, descr: &str, fortran_order: bool, shape: &[u64]) {
        let expected = Header {
            descr: descr.into(),
            fortran_order,
            shape: shape.into(),
        };
        assert_eq!(Header::parse(text), Some(expected), "{text}");
    }

    #[test]
    fn headers_as_numpy_has_written_them() {
        check(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4096), }        \n",
            "<f4",
            false,
            &[3, 4096],
        );
        check(
            "{'shape':(7L,),'fortran_order':True,\"descr\":\">f8\"}",
            ">f8",
            true,
            &[7],
        );
        check(
            "{'descr': '<i8', 'fortran_order': False, 'shape': (), }",
            "<i8",
            false,
            &[],
        );
        check(
            "{'descr': [('a', '<f4'), ('b', '<i2')], 'fortran_order': False, 'shape': (2,), }",
            "[('a', '<f4'), ('b', '<i2')]",
            false,
            &[2],
        );
        for text in [
            "",
            "{",
            "{'descr': '<f4'}",
            "{'shape': (a, 2)}",
            "{'x': 1}",
            "{'descr': <f4",
        ] {
            assert_eq!(Header::parse(text), None, "{text}");
        }
    }
}
