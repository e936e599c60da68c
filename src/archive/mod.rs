//! Finds the files of an archive, tells which are images, and decodes them.
//!
//! directories -> [`ImageRef`] -> [`Loaded`] (bytes and their identity) -> [`Picture`] (upright RGB).

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

/// BLAKE3 of a file's bytes; written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub [u8; 32]);

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
