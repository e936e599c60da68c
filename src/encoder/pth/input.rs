//! Reads a file of a length that is known, whatever lengths it claims inside.

use std::io::{self, Read};

use super::PthError;

/// No module or class has a longer name.
const MAX_LINE: u64 = 1024;

/// A reader that never asks for more than is there.
pub struct Input<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Input<R> {
    pub fn new(reader: R, left: u64) -> Self {
        Self { reader, left }
    }

    fn spend(&mut self, count: u64) -> Result<(), PthError> {
        self.left = self.left.checked_sub(count).ok_or(PthError::Truncated)?;
        Ok(())
    }

    pub fn bytes(&mut self, count: u64) -> Result<Vec<u8>, PthError> {
        self.spend(count)?;
        let length = usize::try_from(count).map_err(|_| PthError::Truncated)?;
        let mut bytes = Vec::with_capacity(length);
        self.reader.by_ref().take(count).read_to_end(&mut bytes)?;
        if bytes.len() != length {
            return Err(PthError::Truncated);
        }
        Ok(bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], PthError> {
        self.spend(N as u64)?;
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(PthError::Truncated),
            Err(error) => Err(error.into()),
        }
    }

    pub fn skip(&mut self, count: u64) -> Result<(), PthError> {
        self.spend(count)?;
        let skipped = io::copy(&mut self.reader.by_ref().take(count), &mut io::sink())?;
        if skipped == count {
            Ok(())
        } else {
            Err(PthError::Truncated)
        }
    }

    pub fn byte(&mut self) -> Result<u8, PthError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn long(&mut self) -> Result<u32, PthError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn text(&mut self, length: u64) -> Result<String, PthError> {
        Ok(String::from_utf8_lossy(&self.bytes(length)?).into_owned())
    }

    pub fn line(&mut self) -> Result<String, PthError> {
        let mut line = Vec::new();
        for _ in 0..MAX_LINE {
            match self.byte()? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte => line.push(byte),
            }
        }
        Err(PthError::Malformed("its pickle has an endless name"))
    }
}
