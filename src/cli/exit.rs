//! What the exit code of the command says.

use std::process::ExitCode;

use showtell::captioner::CaptionerError;
use showtell::encoder::EncoderError;
use showtell::evaluation::candidates::ResultsError;
use showtell::hub::HubError;
use showtell::nightly::LockError;
use showtell::pipeline::PipelineError;
use showtell::scenes;
#[cfg(feature = "delta")]
use showtell::table::warehouse::WarehouseError;
use showtell::table::{FileError, LayoutError};
use showtell::training::TrainingError;
use showtell::upkeep::{CompactError, HistoryError, StandingError};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every image has a current caption.
    Complete,
    /// Finished and published, but some images failed: their rows say why.
    SomeFailed,
    /// Wrong usage or configuration; nothing was touched.
    Usage,
    /// A guard kept what the run wrote out of the table, which is as it was.
    Refused,
    /// Disk full, device lost, output not writable; what was finished is kept.
    Fatal,
    /// Another run holds the output.
    Held,
    /// Ctrl-C or a termination signal; what was finished is kept.
    Interrupted,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Complete => 0,
            Exit::SomeFailed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Fatal => 4,
            Exit::Held => 75,
            Exit::Interrupted => 130,
        }
    }

    /// The exit that an error asks for. What no library error claims is wrong usage: it was found
    /// before anything was touched.
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(error) = error.downcast_ref::<PipelineError>() {
            return match error {
                PipelineError::Lock(LockError::Held { .. }) => Exit::Held,
                PipelineError::Walk(_)
                | PipelineError::Layout(
                    LayoutError::NotADirectory(_) | LayoutError::SomethingElse { .. },
                ) => Exit::Usage,
                _ => Exit::Fatal,
            };
        }
        if let Some(error) = error.downcast_ref::<HubError>() {
            return match error {
                HubError::UnknownName { .. } | HubError::BadAddress { .. } => Exit::Usage,
                _ => Exit::Fatal,
            };
        }
        if let Some(LockError::Held { .. }) = error.downcast_ref::<LockError>() {
            return Exit::Held;
        }
        let is_device = |error: &EncoderError| matches!(error, EncoderError::Device(_));
        if error.downcast_ref::<EncoderError>().is_some_and(is_device)
            || error
                .downcast_ref::<CaptionerError>()
                .is_some_and(|error| match error {
                    CaptionerError::Weights(error) => is_device(error),
                    CaptionerError::Device(_) => true,
                    _ => false,
                })
        {
            return Exit::Fatal;
        }
        // Of what was found before anything was touched none is one: results that cannot be written.
        if error.is::<std::io::Error>() {
            return Exit::Fatal;
        }
        if let Some(error) = error.downcast_ref::<scenes::Error>() {
            return match error {
                scenes::Error::Write { .. } | scenes::Error::Encode { .. } => Exit::Fatal,
                _ => Exit::Usage,
            };
        }
        if let Some(ResultsError::Write { .. }) = error.downcast_ref::<ResultsError>() {
            return Exit::Fatal;
        }
        // References for other tools, which `evaluate` could not write.
        if error.is::<FileError>() {
            return Exit::Fatal;
        }
        if error.is::<LockError>() || error.is::<CompactError>() || error.is::<StandingError>() {
            return Exit::Fatal;
        }
        if let Some(error) = error.downcast_ref::<HistoryError>() {
            return match error {
                HistoryError::Unknown { .. } => Exit::Usage,
                _ => Exit::Fatal,
            };
        }
        #[cfg(feature = "delta")]
        if let Some(error) = error.downcast_ref::<WarehouseError>() {
            return match error.is_usage() {
                true => Exit::Usage,
                false => Exit::Fatal,
            };
        }
        match error.downcast_ref::<TrainingError>() {
            Some(TrainingError::Interrupted) => Exit::Interrupted,
            Some(TrainingError::Lock(LockError::Held { .. })) => Exit::Held,
            Some(error) if error.is_usage() => Exit::Usage,
            None => Exit::Usage,
            Some(_) => Exit::Fatal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_cannot_be_written_is_no_wrong_usage() {
        let full = || ErrorKind::StorageFull.into();
        let path = || "full".into();
        let write = scenes::Error::Write {
            path: path(),
            source: full(),
        };
        let results = ResultsError::Write {
            path: path(),
            source: full(),
        };
        let references = FileError::on("write", Path::new("full"))(full());
        for error in [write.into(), results.into(), references.into()] {
            let error: anyhow::Error = error;
            assert_eq!(Exit::of(&error), Exit::Fatal, "{error}");
        }
        let other = scenes::Error::NotADirectory(path());
        assert_eq!(Exit::of(&other.into()), Exit::Usage);
    }
}
