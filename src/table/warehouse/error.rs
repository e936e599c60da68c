//! What can go wrong between an output directory and a Delta table.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use deltalake::kernel::transaction::TransactionError;
use deltalake::{DeltaTableError, ObjectStoreError};

use super::DestinationError;
use crate::table::{FileError, LayoutError, RunId, TableError};

/// The table could not be published.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error("{} is not there: no run has published captions yet; `showtell annotate` does", .0.display())]
    NoSnapshot(PathBuf),
    #[error(
        "{url} is no Delta table and holds something else ({found}, ...); name an empty or a missing directory"
    )]
    SomethingElse { url: String, found: String },
    #[error(
        "the Delta table {url} has rows that showtell has not written; name another place, or let --replace put these rows in their stead"
    )]
    Foreign { url: String },
    #[error(
        "the Delta table {url} holds run {last_run}, which {} does not know: it was published from another output directory; name another place, or let --replace put these rows in its stead",
        out.display()
    )]
    OtherOutput {
        url: String,
        last_run: RunId,
        out: PathBuf,
    },
    #[error(
        "the Delta table {url} holds run {last_run}, and the last run in {} is {run_id}, an older one: it is another output directory or an old copy; --replace goes back to it",
        out.display()
    )]
    Newer {
        url: String,
        last_run: RunId,
        out: PathBuf,
        run_id: RunId,
    },
    #[error("column {column:?} of the Delta table {url} is {found}, expected {expected}")]
    ColumnType {
        url: String,
        column: String,
        expected: String,
        found: String,
    },
    #[error(
        "column {column:?} of the Delta table {url} may not be null, and showtell has nothing to put there; drop it, or allow nulls"
    )]
    RequiredColumn { url: String, column: String },
    #[error("the Delta table {url} has no transaction of showtell that can be read: {found}")]
    Transaction { url: String, found: i64 },
    #[error("other writers keep changing the Delta table {url}; publish again when they are done")]
    Overtaken { url: String, source: DeltaError },
    #[error("cannot {doing} the Delta table {url}{}", hint(&source.0))]
    Delta {
        doing: &'static str,
        url: String,
        source: DeltaError,
    },
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
}

impl WarehouseError {
    /// Whether what was asked for cannot be done; nothing was touched then.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Destination(_)
                | Self::NoSnapshot(_)
                | Self::Layout(_)
                | Self::SomethingElse { .. }
                | Self::Foreign { .. }
                | Self::OtherOutput { .. }
                | Self::Newer { .. }
                | Self::ColumnType { .. }
                | Self::RequiredColumn { .. }
        )
    }

    /// That what was being done to the table at `url` failed.
    pub(super) fn delta(doing: &'static str, url: &str, error: impl Into<DeltaTableError>) -> Self {
        let (source, url) = (DeltaError(Box::new(error.into())), url.to_owned());
        match *source.0 {
            DeltaTableError::Transaction {
                source:
                    TransactionError::CommitConflict(_)
                    | TransactionError::MaxCommitAttempts(_)
                    | TransactionError::VersionAlreadyExists(_),
            }
            | DeltaTableError::VersionAlreadyExists(_) => Self::Overtaken { url, source },
            _ => Self::Delta { doing, url, source },
        }
    }
}

/// What deltalake says. Its text tells the causes, too, so none are named below it.
#[derive(Debug)]
pub struct DeltaError(pub Box<DeltaTableError>);

impl fmt::Display for DeltaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for DeltaError {}

/// What helps against some of the errors of stores.
fn hint(error: &DeltaTableError) -> &'static str {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<ObjectStoreError>() {
            Some(ObjectStoreError::Unauthenticated { .. }) => return UNKNOWN_KEYS,
            Some(ObjectStoreError::PermissionDenied { .. }) => return NOT_ALLOWED,
            _ => {}
        }
        cause = error.source();
    }
    // Where the role of a machine is asked for, when there are no keys.
    match error.to_string().contains("169.254.169.254") {
        true => NO_KEYS,
        false => "",
    }
}

const UNKNOWN_KEYS: &str = ": the store does not know the credentials; check AWS_ACCESS_KEY_ID and \
                            AWS_SECRET_ACCESS_KEY";
const NOT_ALLOWED: &str = ": the store does not allow it with these credentials";
const NO_KEYS: &str = ": there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                       or give this machine a role";
