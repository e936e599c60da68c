//! Lets one run at a time write to an output directory.
//!
//! A lock of the operating system on `OUT/.lock`: it goes with the process that holds it, however
//! that ends. What the file says is only for the message that the second run prints.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::table::{FileError, Layout};

/// The right to write to an output directory, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// The lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{} is held by {by}", path.display())]
    Held {
        path: PathBuf,
        /// Process, machine and time, as the holder wrote them.
        by: String,
    },
    #[error("{} is another file than when the run began", .0.display())]
    Replaced(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
}

impl Lock {
    /// Takes the lock, or says who has it; never waits.
    pub fn acquire(layout: &Layout, now: DateTime<Utc>) -> Result<Self, LockError> {
        let path = layout.lock();
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(FileError::on("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                // Empty for the moment between the holder's lock and its note.
                let read = file.take(1000).read_to_string(&mut by);
                if read.is_err() || by.trim().is_empty() {
                    by = "another run".to_owned();
                }
                let by = by.trim().to_owned();
                return Err(LockError::Held { path, by });
            }
            Err(TryLockError::Error(source)) => {
                return Err(FileError::on("lock", &path)(source).into());
            }
        }
        let holder = format!(
            "process {} on {} since {}\n",
            std::process::id(),
            host(),
            now.to_rfc3339_opts(SecondsFormat::Secs, true)
        );
        file.set_len(0)
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(FileError::on("write", &path))?;
        Ok(Self { file, path })
    }

    /// Sees that the lock is still the one at its place: the output directory may have been removed
    /// since, or another one put there, which another run may have locked.
    pub fn check(&self) -> Result<(), LockError> {
        let at_its_place = fs::metadata(&self.path);
        let held = self.file.metadata();
        let same = at_its_place.and_then(|there| {
            let held = held?;
            Ok((there.dev(), there.ino()) == (held.dev(), held.ino()))
        });
        match same.map_err(FileError::on("find again", &self.path))? {
            true => Ok(()),
            false => Err(LockError::Replaced(self.path.clone())),
        }
    }
}

/// The machine's name, where the system tells it as a file.
fn host() -> String {
    let read = |path| fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    let name = name.unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return "this machine".to_owned();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::arbitrary::scratch;

    #[test]
    fn one_at_a_time_and_the_second_is_told_who() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let held = Lock::acquire(&layout, now).unwrap();
        match Lock::acquire(&layout, now) {
            Err(LockError::Held { path, by }) => {
                assert_eq!(path, layout.lock());
                let process = format!("process {} on ", std::process::id());
                assert!(by.starts_with(&process), "{by}");
                assert!(by.ends_with(" since 2023-11-14T22:13:20Z"), "{by}");
            }
            other => panic!("{other:?}"),
        }
        drop(held);
        Lock::acquire(&layout, now).unwrap();
    }

    #[test]
    fn a_directory_that_was_replaced_is_noticed() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let held = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
        held.check().unwrap();
        fs::remove_file(layout.lock()).unwrap();
        assert!(matches!(held.check(), Err(LockError::File(_))));
        fs::write(layout.lock(), "").unwrap();
        assert!(matches!(held.check(), Err(LockError::Replaced(path)) if path == layout.lock()));
    }

    #[test]
    fn what_a_dead_run_left_does_not_hold_it() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        fs::write(
            layout.lock(),
            "process 1 on elsewhere since long ago, and longer\n",
        )
        .unwrap();
        let _held = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
        let note = fs::read_to_string(layout.lock()).unwrap();
        assert!(note.ends_with("since 1970-01-01T00:00:00Z\n"), "{note}");
    }
}
