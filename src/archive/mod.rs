//! Finds the files of an archive, tells which are images, and decodes them.
//!
//! directories -> [`ImageRef`] -> [`Loaded`] (bytes and their identity) -> [`Picture`] (upright RGB).
//!
//! [`Walk`] meets files, [`load`] reads those that are images, [`decode`] turns their bytes into
//! pixels. What goes wrong with one file is a [`Failure`], which is data and becomes a row; only a
//! root that cannot be walked at all is an error.

mod decode;
mod exclude;
mod format;
mod ico;
mod identify;
mod image_id;
mod jpeg;
mod panics;
mod reduced;
mod root;
mod sniff;
mod tiff;
mod uri;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use decode::{Picture, Shown, decode, decode_at_least, dimensions};
pub use format::Format;
pub use identify::{LoadOutcome, Loaded, load};
pub use image_id::{ImageId, ParseImageIdError};
pub use panics::quiet_panics;
pub use uri::{decode_uri, encode_uri, key_order, uri_order};
pub use walk::{Hidden, Skipped, Walk, WalkConfig, WalkError, Walked};

/// The picture in a file of no archive, upright.
///
/// # Errors
///
/// When it cannot be read or decoded, or is no image.
pub fn open(path: &Path, limits: &Limits) -> Result<Picture, Failure> {
    let file = ImageRef {
        root: "".into(),
        uri: path.display().to_string(),
        path: path.to_owned(),
        // No row is compared with these.
        bytes: 0,
        modified: 0,
    };
    match load(&file, limits) {
        LoadOutcome::Loaded(loaded) => decode(&loaded, limits),
        LoadOutcome::Failed { failure, .. } => Err(failure),
        LoadOutcome::NotAnImage => Err(Failure::decode("it is no image")),
    }
}

/// A moment in microseconds since 1970-01-01T00:00:00Z, as the table stores it.
pub type Micros = i64;

/// A file of the archive, before anything of it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// The archive's directory as the user gave it (without a trailing slash).
    pub root: Arc<str>,
    /// Path below `root`, `/`-separated, percent-encoded where it is not UTF-8.
    pub uri: String,
    /// Where to open the file.
    pub path: PathBuf,
    /// Size in bytes when the walk met it.
    pub bytes: u64,
    /// Modification time when the walk met it.
    pub modified: Micros,
}

/// What one image may cost. Each limit names the option that raises it in its [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of a file in bytes.
    pub max_file_bytes: u64,
    /// Width times height, as the file's header claims them.
    pub max_pixels: u64,
    /// Bytes that decoding may hold at once: the decoder's buffers and the finished picture.
    pub max_memory: u64,
}

impl Default for Limits {
    /// 1 GiB of file, 200 megapixels, 4 GiB of memory.
    fn default() -> Self {
        Self {
            max_file_bytes: 1 << 30,
            max_pixels: 200_000_000,
            max_memory: 4 << 30,
        }
    }
}

/// The stage at which an image failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Read,
    Decode,
    Encode,
    Caption,
}

/// Why an image has no caption. Failures are data: they become rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    /// A sentence for the person who reads the table.
    pub reason: String,
}

impl Failure {
    pub fn read(reason: impl Into<String>) -> Self {
        Self {
            stage: Stage::Read,
            reason: reason.into(),
        }
    }

    pub fn decode(reason: impl Into<String>) -> Self {
        Self {
            stage: Stage::Decode,
            reason: reason.into(),
        }
    }
}
