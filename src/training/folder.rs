//! The folder of a training, `OUTPUT.training`, held by one training at a time.
//!
//! Two that learn into one model would write over each other's checkpoints, so the second is turned away
//! before it touches anything. A training that ends before it has learnt anything, because its data are
//! missing or do not fit, leaves no folder that was not there before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::TrainingError;
use super::saving::unwritable;
use crate::nightly::{Lock, LockError};

/// Who holds the folder; the file stays when a training is killed.
pub const LOCK: &str = ".lock";

/// The right to write to the folder and to the model beside it, until it is dropped.
pub struct Folder {
    path: PathBuf,
    /// Directories that were missing, the innermost first.
    made: Vec<PathBuf>,
    /// `None` only while it is being taken.
    lock: Option<Lock>,
}

impl Folder {
    /// Takes the folder, which is made if it is missing. Never waits.
    ///
    /// # Errors
    ///
    /// When another training holds it, or it cannot be written.
    pub fn take(path: PathBuf) -> Result<Self, TrainingError> {
        let mut folder = Folder {
            made: missing(&path),
            path,
            lock: None,
        };
        let file = folder.path.join(LOCK);
        loop {
            fs::create_dir_all(&folder.path).map_err(|source| unwritable(&folder.path, source))?;
            let lock = match Lock::acquire_file(file.clone(), Utc::now()) {
                // A training that ended has just taken the folder away.
                Err(LockError::File(_)) if !folder.path.exists() => continue,
                Err(error) => {
                    if let LockError::Held { .. } = error {
                        // What is there is the holder's.
                        folder.made.clear();
                    }
                    return Err(error.into());
                }
                Ok(lock) => lock,
            };
            // Whoever ends takes the file away while it is still locked: one that was opened before that
            // and locked after it is no lock.
            match lock.check() {
                Err(LockError::Replaced(_)) => continue,
                Err(LockError::File(_)) if !file.exists() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => {}
            }
            folder.lock = Some(lock);
            return Ok(folder);
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    /// Takes away the lock's file, and each directory that was made and holds nothing: only empty ones
    /// can be removed.
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // While it is held.
            let _ = fs::remove_file(self.path.join(LOCK));
            drop(lock);
        }
        for directory in &self.made {
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
    }
}

/// `path` and the directories above it that are not there.
fn missing(path: &Path) -> Vec<PathBuf> {
    let is_missing = |path: &&Path| {
        let found = fs::symlink_metadata(path);
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let above = path.ancestors().filter(|path| !path.as_os_str().is_empty());
    above
        .take_while(is_missing)
        .map(Path::to_path_buf)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it_and_takes_nothing_away() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("models/m.training");
        let first = Folder::take(path.clone()).unwrap();
        let Err(TrainingError::Lock(LockError::Held { path: held, by })) =
            Folder::take(path.clone())
        else {
            panic!("it was taken twice");
        };
        assert_eq!(held, path.join(LOCK));
        let process = format!("process {} on ", std::process::id());
        assert!(by.starts_with(&process), "{by}");
        assert!(held.exists());
        drop(first);
        assert!(!scratch.path().join("models").exists());
        Folder::take(path).unwrap();
    }

    #[test]
    fn what_was_there_or_was_written_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("m.training");
        fs::create_dir(&path).unwrap();
        drop(Folder::take(path.clone()).unwrap());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        fs::remove_dir(&path).unwrap();
        let folder = Folder::take(path.clone()).unwrap();
        fs::write(folder.path().join("checkpoint.safetensors"), "").unwrap();
        drop(folder);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_that_was_taken_away_is_no_lock() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("m.training");
        for _ in 0..20 {
            let taken: Vec<_> = std::thread::scope(|scope| {
                let take = || Folder::take(path.clone());
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            let mut holders = 0;
            for folder in &taken {
                match folder {
                    Ok(_) => holders += 1,
                    Err(TrainingError::Lock(LockError::Held { .. })) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(holders, 1);
        }
    }
}
