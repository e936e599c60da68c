//! What can go wrong between rows and the files that hold them.

use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use rustix::io::Errno;

use super::durable::FileError;
use super::schema::TABLE_VERSION;

/// A table file could not be written, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot {doing} Parquet {}", path.display())]
    Parquet {
        doing: &'static str,
        path: PathBuf,
        source: ParquetError,
    },
    #[error("cannot {doing} Arrow {}", path.display())]
    Arrow {
        doing: &'static str,
        path: PathBuf,
        source: ArrowError,
    },
    #[error("{} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error(
        "{} is of table version {found}, and this showtell knows version {TABLE_VERSION}; use the showtell that wrote it",
        path.display()
    )]
    Version { path: PathBuf, found: String },
    #[error("{} has no column {column:?}", path.display())]
    MissingColumn { path: PathBuf, column: String },
    #[error("column {column:?} of {} is {found}, expected {expected}", path.display())]
    ColumnType {
        path: PathBuf,
        column: String,
        expected: String,
        found: String,
    },
    #[error("row {row} of {}: {column} cannot be {value}", path.display())]
    Value {
        path: PathBuf,
        row: usize,
        column: &'static str,
        value: String,
    },
    #[error("{} exists already, and parts are never replaced", .0.display())]
    PartExists(PathBuf),
    #[error("{uri:?} of {root:?} was given two rows in one part")]
    TwoRows { root: String, uri: String },
    #[error("{uri:?} of {root:?} was written after what comes after it")]
    Disorder { root: String, uri: String },
}

impl TableError {
    /// Whether the file itself is at fault. A permission, or a share that is away, says nothing of
    /// what is in it.
    pub fn is_damage(&self) -> bool {
        match self {
            TableError::File(error) => {
                error.source.raw_os_error() == Some(Errno::IO.raw_os_error())
            }
            // Somebody's table, and whole.
            TableError::Version { .. } => false,
            _ => true,
        }
    }

    pub(crate) fn parquet(doing: &'static str, path: &Path) -> impl FnOnce(ParquetError) -> Self {
        move |source| Self::Parquet {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn arrow(doing: &'static str, path: &Path) -> impl FnOnce(ArrowError) -> Self {
        move |source| Self::Arrow {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// The file whose contents are wrong, if that is what it says, rather than that a file cannot be
    /// reached or is of another version.
    pub fn damaged_file(&self) -> Option<&Path> {
        match self {
            Self::Parquet { path, .. }
            | Self::Arrow { path, .. }
            | Self::Damaged { path, .. }
            | Self::MissingColumn { path, .. }
            | Self::ColumnType { path, .. }
            | Self::Value { path, .. } => Some(path),
            Self::File(_)
            | Self::Version { .. }
            | Self::PartExists(_)
            | Self::TwoRows { .. }
            | Self::Disorder { .. } => None,
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}

/// A file that was found damaged and left aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    /// The error and its causes.
    pub reason: String,
}

impl Damage {
    /// Notes that `path` cannot be used because of `error`.
    pub fn new(path: &Path, error: &dyn std::error::Error) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        Self {
            path: path.to_owned(),
            reason,
        }
    }
}
