//! Turns a file that ends in a footer into one whose footer can be trusted before it is parsed.
//!
//! Parquet and Arrow files end alike: footer, its length, a magic word. Their parsers may panic on a
//! footer with a flipped bit, so in front of it goes a seal, the BLAKE3 of all that follows. Nothing
//! points at the seal and readers of either format pass over it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::TableError;
use super::durable::{DurableFile, FileError, StagedFile, Written};

/// As long as a multiple of 8, so that the footer stays aligned.
const MARK: &[u8; 16] = b"showtell-seal-1\n";
const SEAL: usize = MARK.len() + blake3::OUT_LEN;
/// Of the footer's length.
const LENGTH: usize = 4;

/// A [`DurableFile`] that gets a seal before its footer.
pub struct SealedSink {
    path: PathBuf,
    file: DurableFile,
    /// What was written since the last [`begin_span`](Self::begin_span), if that is wanted.
    span: Option<Vec<u8>>,
    /// From [`begin_footer`](Self::begin_footer) on: what follows the body.
    tail: Option<Vec<u8>>,
}

impl SealedSink {
    /// Begins the file that [`finish`](Self::finish) puts at `path`.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            path: path.to_owned(),
            file: DurableFile::create(path)?,
            span: None,
            tail: None,
        })
    }

    /// Keeps from now on what is written, for [`span`](Self::span).
    pub fn begin_span(&mut self) {
        self.span.get_or_insert_default().clear();
    }

    /// What was written since the last [`begin_span`](Self::begin_span).
    pub fn span(&self) -> &[u8] {
        self.span.as_deref().unwrap_or_default()
    }

    /// Bytes of the body so far, and their BLAKE3.
    pub fn body(&self) -> Written {
        self.file.so_far()
    }

    /// Lets what was written so far be read, as [`DurableFile::write_out`].
    pub fn write_out(&mut self) -> Result<(), FileError> {
        self.file.write_out()
    }

    /// Says that no more of the body will come.
    pub fn begin_footer(&mut self) {
        self.span = None;
        self.tail.get_or_insert_default();
    }

    /// Seals the footer, which ends with `magic`, and makes the file durable.
    pub fn finish(self, magic: &[u8]) -> Result<Written, FileError> {
        self.stage(magic)?.publish()
    }

    /// As [`finish`](Self::finish), but the file has yet to get its name.
    pub fn stage(mut self, magic: &[u8]) -> Result<StagedFile, FileError> {
        let tail = self.tail.take().unwrap_or_default();
        self.write_sealed(&tail, magic)
            .map_err(FileError::on("write", &self.path))?;
        self.file.stage()
    }

    fn write_sealed(&mut self, tail: &[u8], magic: &[u8]) -> io::Result<()> {
        let footer = footer_start(tail, magic)
            .ok_or_else(|| io::Error::other("what is to be sealed has no footer"))?;
        let digest = blake3::hash(&tail[footer..]);
        self.file.write_all(&tail[..footer])?;
        self.file.write_all(MARK)?;
        self.file.write_all(digest.as_bytes())?;
        self.file.write_all(&tail[footer..])
    }
}

impl Write for SealedSink {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Some(tail) = &mut self.tail {
            tail.extend_from_slice(buffer);
            return Ok(buffer.len());
        }
        let written = self.file.write(buffer)?;
        if let Some(span) = &mut self.span {
            span.extend_from_slice(&buffer[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Checks that the footer of the file at `path`, which ends with `magic`, is the one written.
pub fn check_footer(file: &mut File, magic: &[u8], path: &Path) -> Result<(), TableError> {
    let damaged = |what: &str| Err(TableError::damaged(path, what));
    let reading = || FileError::on("read", path);
    let size = file.seek(SeekFrom::End(0)).map_err(reading())?;
    let mut tail = read_last(file, size, LENGTH + magic.len()).map_err(reading())?;
    let Some(length) = footer_length(&tail, magic) else {
        return damaged("it is cut short, or was never finished");
    };
    let sealed = SEAL + length + LENGTH + magic.len();
    if sealed as u64 > size {
        return damaged("its footer is longer than the file");
    }
    tail = read_last(file, size, sealed).map_err(reading())?;
    let (seal, footer) = tail.split_at(SEAL);
    let (mark, digest) = seal.split_at(MARK.len());
    if mark != MARK {
        return damaged("its footer has no seal");
    }
    if digest != blake3::hash(footer).as_bytes() {
        return damaged("its footer has changed since it was written");
    }
    file.seek(SeekFrom::Start(0)).map_err(reading())?;
    Ok(())
}

/// The last `length` bytes of the file, or all if it is shorter.
fn read_last(file: &mut File, size: u64, length: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(size.saturating_sub(length as u64)))?;
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn footer_start(tail: &[u8], magic: &[u8]) -> Option<usize> {
    let end = tail.len().checked_sub(LENGTH + magic.len())?;
    end.checked_sub(footer_length(tail, magic)?)
}

fn footer_length(tail: &[u8], magic: &[u8]) -> Option<usize> {
    let rest = tail.strip_suffix(magic)?;
    let length = rest.last_chunk::<LENGTH>()?;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}
