//! Reads rows of a matrix that NumPy has saved (`.npy`), without reading the matrix: the file is mapped
//! into memory, as by `numpy.load(FILE, mmap_mode="r")`.
//!
//! The system reads a page when a row on it is asked for, keeps it while there is room, and shares it with
//! every other process that maps the file: a matrix that is larger than memory can be learnt from, and
//! several trainings from one matrix hold it once.

mod header;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use half::f16;
use memmap2::Mmap;
use thiserror::Error;

use self::header::Header;

/// Why a matrix cannot be read.
#[derive(Debug, Error)]
pub enum NpyError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no .npy file: it does not begin as NumPy's files do", .0.display())]
    NotNpy(PathBuf),
    #[error("{} has version {major}.{minor} of the .npy format; 1.0, 2.0 and 3.0 are known", path.display())]
    Version { path: PathBuf, major: u8, minor: u8 },
    #[error("{} has a header that cannot be read: {header:?}", path.display())]
    Header { path: PathBuf, header: String },
    #[error(
        "{} holds values of type {found}; expected little-endian floats, <f2, <f4 or <f8: \
         numpy.save(FILE, matrix.astype('<f4'))",
        path.display()
    )]
    Type { path: PathBuf, found: String },
    #[error(
        "{} is in Fortran order, column by column; save it row by row: \
         numpy.save(FILE, numpy.ascontiguousarray(matrix))",
        .0.display()
    )]
    FortranOrder(PathBuf),
    #[error("{} has the shape {shape:?}; expected a matrix, a row of features after the other", path.display())]
    Shape { path: PathBuf, shape: Vec<u64> },
    #[error(
        "{} should have {expected} bytes, {rows} rows of {dims} {number} and a header, but has {found}: it {}",
        path.display(),
        if found < expected { "was cut" } else { "holds something else too" }
    )]
    Length {
        path: PathBuf,
        rows: usize,
        dims: usize,
        number: Number,
        expected: u64,
        found: u64,
    },
    #[error(
        "{} has become shorter while it was used: it had {expected} bytes, now it has {found}",
        path.display()
    )]
    Shrunk {
        path: PathBuf,
        expected: u64,
        found: u64,
    },
    #[error("{} has {rows} rows; there is no row {row}", path.display())]
    Row {
        path: PathBuf,
        row: usize,
        rows: usize,
    },
    #[error("room for {found} values, but the rows asked for have {expected}")]
    Room { expected: usize, found: usize },
}

/// How the file writes its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    F16,
    F32,
    F64,
}

impl Number {
    fn named(descr: &str) -> Option<Self> {
        match descr {
            "<f2" => Some(Number::F16),
            "<f4" => Some(Number::F32),
            "<f8" => Some(Number::F64),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Number::F16 => 2,
            Number::F32 => 4,
            Number::F64 => 8,
        }
    }

    /// Turns little-endian bytes into values.
    fn read(self, bytes: &[u8], into: &mut [f32]) {
        match self {
            Number::F16 => {
                for (value, bytes) in into.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f16::from_le_bytes(*bytes).to_f32();
                }
            }
            Number::F32 => {
                for (value, bytes) in into.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            Number::F64 => {
                for (value, bytes) in into.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *value = f64::from_le_bytes(*bytes) as f32;
                }
            }
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Number::F16 => "float16",
            Number::F32 => "float32",
            Number::F64 => "float64",
        })
    }
}

/// A matrix of more bytes than this is known by pieces of it.
const DIGESTED_WHOLE: usize = 64 << 20;
/// How many pieces, at even distances, the first and the last bytes among them.
const PIECES: usize = 1024;
/// Bytes of a piece.
const PIECE: usize = 4096;

/// A matrix in a file: `[rows, dims]`.
#[derive(Debug)]
pub struct Matrix {
    path: PathBuf,
    file: File,
    /// The whole file.
    bytes: Mmap,
    rows: usize,
    dims: usize,
    number: Number,
    /// Where the values begin, in bytes.
    start: usize,
}

impl Matrix {
    /// Reads the header, and sees that the file is as long as it says.
    pub fn open(path: &Path) -> Result<Self, NpyError> {
        let unreadable = |source| NpyError::Read {
            path: path.into(),
            source,
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?.len();
        let (header, start) = Header::read(&mut file, path)?;
        let Some(number) = Number::named(&header.descr) else {
            return Err(NpyError::Type {
                path: path.into(),
                found: header.descr,
            });
        };
        let shape = || NpyError::Shape {
            path: path.into(),
            shape: header.shape.clone(),
        };
        let [rows, dims] = header.shape[..] else {
            return Err(shape());
        };
        if header.fortran_order {
            return Err(NpyError::FortranOrder(path.into()));
        }
        if rows == 0 || dims == 0 {
            return Err(shape());
        }
        let values = rows.checked_mul(dims);
        let bytes = values.and_then(|values| values.checked_mul(number.bytes() as u64));
        let expected = bytes.and_then(|bytes| bytes.checked_add(start));
        let (Some(expected), Ok(rows), Ok(dims), Ok(start)) =
            (expected, rows.try_into(), dims.try_into(), start.try_into())
        else {
            return Err(shape());
        };
        if found != expected {
            return Err(NpyError::Length {
                path: path.into(),
                rows,
                dims,
                number,
                expected,
                found,
            });
        }
        // SAFETY: the mapping is read only, and of a file as long as its header says, which was just seen.
        // What Rust cannot know is that nobody else writes to it meanwhile. Values that are overwritten are
        // read as they come, as numbers of which every pattern of bits is one. A file that is cut would end
        // the process by a signal where a page is gone: `read` sees that it is as long as ever before it
        // looks, which leaves the moment in between, as in NumPy. Files that are replaced by a rename, as
        // programs that save should, are not touched by it: what is mapped is the old one.
        let bytes = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        Ok(Matrix {
            path: path.into(),
            file,
            bytes,
            rows,
            dims,
            number,
            start,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values in a row.
    pub fn dims(&self) -> usize {
        self.dims
    }

    pub fn number(&self) -> Number {
        self.number
    }

    /// Reads rows, in the order asked for, into `[rows.len(), dims]`.
    ///
    /// # Errors
    ///
    /// When there is no such row, or the file has become shorter.
    pub fn read(&self, rows: &[usize], into: &mut [f32]) -> Result<(), NpyError> {
        let expected = rows.len() * self.dims;
        if into.len() != expected {
            let found = into.len();
            return Err(NpyError::Room { expected, found });
        }
        self.check_length()?;
        let bytes = self.dims * self.number.bytes();
        for (row, into) in rows.iter().zip(into.chunks_exact_mut(self.dims)) {
            if *row >= self.rows {
                return Err(NpyError::Row {
                    path: self.path.clone(),
                    row: *row,
                    rows: self.rows,
                });
            }
            let from = self.start + row * bytes;
            self.number.read(&self.bytes[from..from + bytes], into);
        }
        Ok(())
    }

    /// Tells the matrix from another, by its shape and values and wherever it lies: BLAKE3, 16 hex digits.
    ///
    /// Up to 64 MiB all of it counts. Of a larger one it is 4 MiB, in pieces at even distances, since
    /// reading whole what may be hundreds of gigabytes would take longer than it is worth: another encoder,
    /// other images or another order change every piece. The time of the last change is left out; copying a
    /// file, or unpacking it again, changes it and nothing else.
    ///
    /// # Errors
    ///
    /// When the file has become shorter.
    pub fn digest(&self) -> Result<String, NpyError> {
        self.check_length()?;
        let mut hasher = blake3::Hasher::new();
        let length = self.bytes.len();
        hasher.update(&(length as u64).to_le_bytes());
        // The header stands at the beginning, and so in any case in what is digested.
        match length <= DIGESTED_WHOLE {
            true => {
                hasher.update(&self.bytes);
            }
            false => {
                let last = length - PIECE;
                for piece in 0..PIECES {
                    let from = (last as u128 * piece as u128 / (PIECES - 1) as u128) as usize;
                    hasher.update(&self.bytes[from..from + PIECE]);
                }
            }
        }
        Ok(hasher.finalize().to_hex()[..16].to_owned())
    }

    /// Sees that the file is as long as it was.
    fn check_length(&self) -> Result<(), NpyError> {
        let metadata = self.file.metadata().map_err(|source| NpyError::Read {
            path: self.path.clone(),
            source,
        })?;
        let (expected, found) = (self.bytes.len() as u64, metadata.len());
        match found < expected {
            true => Err(NpyError::Shrunk {
                path: self.path.clone(),
                expected,
                found,
            }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
