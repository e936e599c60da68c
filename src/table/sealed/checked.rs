//! Bytes of a file that were found to be those written, as Parquet's decoder asks for them.
//!
//! They are read once: what was digested is what is decoded, whatever becomes of the file meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::short;

/// See the [module](self).
#[derive(Default)]
pub struct Checked {
    /// Each with the place in the file at which it begins.
    spans: Vec<(u64, Bytes)>,
}

impl Checked {
    /// Reads what is in that place of the file. Returns whether it has this digest, and keeps it if so.
    pub fn read(&mut self, file: &mut File, place: Range<u64>, digest: &str) -> io::Result<bool> {
        let length = place.end.saturating_sub(place.start);
        file.seek(SeekFrom::Start(place.start))?;
        let mut bytes = Vec::new();
        // The footer that says how much it is was sealed, but the file may have been cut since.
        bytes.reserve_exact(usize::try_from(length).map_err(io::Error::other)?);
        file.take(length).read_to_end(&mut bytes)?;
        let is_sound = short(blake3::Hasher::new().update(&bytes)) == digest;
        if is_sound {
            self.spans.push((place.start, bytes.into()));
        }
        Ok(is_sound)
    }

    /// What is known from `start` on.
    fn behind(&self, start: u64) -> Result<Bytes> {
        let found = self.spans.iter().find_map(|(begin, bytes)| {
            let from = usize::try_from(start.checked_sub(*begin)?).ok()?;
            (from < bytes.len()).then(|| bytes.slice(from..))
        });
        found.ok_or_else(|| ParquetError::EOF(format!("byte {start} is in no column asked for")))
    }
}

impl Length for Checked {
    fn len(&self) -> u64 {
        let ends = self
            .spans
            .iter()
            .map(|(begin, bytes)| begin + bytes.len() as u64);
        ends.max().unwrap_or(0)
    }
}

impl ChunkReader for Checked {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.behind(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.behind(start)?;
        if length > bytes.len() {
            let what = format!("{length} bytes at {start} are more than the column has");
            return Err(ParquetError::EOF(what));
        }
        Ok(bytes.slice(..length))
    }
}
