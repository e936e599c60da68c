//! Turns what can go wrong between a name and a file into sentences.

use std::io;
use std::path::PathBuf;

use super::digest::{Digest, Sha256Sum};

/// Why weights could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("no weights are called `{name}`; there are: {known}")]
    UnknownName { name: String, known: String },
    #[error("`{text}` is not a SHA-256: expected 8 to 64 hexadecimal digits")]
    BadDigest { text: String },
    #[error("`{url}` is not an address: expected https://... or http://...")]
    BadAddress { url: String },
    #[error("the proxy `{proxy}` cannot be used")]
    BadProxy {
        proxy: String,
        #[source]
        source: Box<ureq::Error>,
    },
    #[error("{}: {reason}", path.display())]
    BadCertificates { path: PathBuf, reason: String },
    #[error("{url} answered {status}")]
    Refused { url: String, status: String },
    #[error("{url} cannot be fetched; tried {attempts} times, the last time: {reason}")]
    GaveUp {
        url: String,
        attempts: u32,
        reason: String,
    },
    #[error("{url} cannot be fetched")]
    Connection {
        url: String,
        #[source]
        source: Box<ureq::Error>,
    },
    #[error("{url} sends {found} bytes, more than the {expected} that were published: not fetched")]
    TooLarge {
        url: String,
        found: u64,
        expected: u64,
    },
    #[error(
        "{url} does not send the file that was published: the SHA-256 of its {bytes} bytes is {found}, \
         expected {expected}{hint}. Nothing was kept"
    )]
    WrongDigest {
        url: String,
        bytes: u64,
        found: Sha256Sum,
        expected: Digest,
        hint: &'static str,
    },
    #[error("the disk of {} is full: {missing} bytes are missing", path.display())]
    NoSpace { path: PathBuf, missing: u64 },
    #[error("the disk of {} is full", path.display())]
    DiskFull {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is being fetched by another process", path.display())]
    Busy { path: PathBuf },
}

impl HubError {
    /// Files an error of the file system under the variant that tells the user what to do.
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: io::Error,
    ) -> HubError {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                HubError::DiskFull { path, source }
            }
            _ => HubError::File {
                action,
                path,
                source,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_spent_quota_are_told_from_other_faults() {
        let full = |kind: io::ErrorKind| {
            let error = HubError::file("write", "/models/x", io::Error::from(kind));
            matches!(error, HubError::DiskFull { .. })
        };
        assert!(full(io::ErrorKind::StorageFull));
        assert!(full(io::ErrorKind::QuotaExceeded));
        assert!(!full(io::ErrorKind::PermissionDenied));
    }
}
