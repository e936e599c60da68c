//! Turns why a run could not go on into what its owner can do about it.

use std::io::{self, ErrorKind};

use showtell::nightly::LockError;
use showtell::pipeline::PipelineError;

/// What to do about the error that ended a run, if that can be told.
pub fn advice(error: &anyhow::Error) -> Option<&'static str> {
    match error.downcast_ref::<PipelineError>()? {
        PipelineError::Walk(_) | PipelineError::Lock(LockError::Held { .. }) => return None,
        _ => {}
    }
    let causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    let kind = causes.last()?.kind();
    Some(match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "Make room there and run again: what was finished is kept"
        }
        ErrorKind::FileTooLarge => {
            "Raise the limit on the size of files (`ulimit -f`) and run again: what was finished is kept"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "Give the user who runs this the right to read and write there, or name another \
             directory with --out"
        }
        ErrorKind::NotFound => {
            "If it was removed or unmounted while the run went on, put it back and run again"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use showtell::table::{FileError, TableError};

    use super::*;

    fn of(kind: ErrorKind) -> Option<&'static str> {
        let error = FileError::on("write", Path::new("out/part"))(kind.into());
        let error = PipelineError::from(TableError::from(error));
        advice(&anyhow::Error::from(error))
    }

    #[test]
    fn tells_what_to_do_where_something_can_be_done() {
        assert!(of(ErrorKind::StorageFull).unwrap().starts_with("Make room"));
        assert!(of(ErrorKind::FileTooLarge).unwrap().contains("ulimit"));
        assert!(of(ErrorKind::ReadOnlyFilesystem).unwrap().contains("--out"));
        assert_eq!(of(ErrorKind::Other), None);
        assert_eq!(advice(&anyhow::anyhow!("wrong usage")), None);
    }
}
