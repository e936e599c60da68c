//! Lets one run at a time write to an output directory.
//!
//! A lock of the operating system on `OUT/.lock`: it goes with the process that holds it, however
//! that ends. What the file says is only for the message that the second run prints.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
        Self::acquire_file(layout.lock(), now)
    }

    /// The same on a file that is none of a table's, such as a training's.
    pub fn acquire_file(path: PathBuf, now: DateTime<Utc>) -> Result<Self, LockError> {
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

/// Who holds the lock, without touching it: to try it, even for a moment, could turn a run away.
pub fn holder(layout: &Layout) -> Result<Option<String>, FileError> {
    let path = layout.lock();
    let reading = || FileError::on("read", &path);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(reading())?,
    };
    let mut note = Vec::new();
    let inode = file.metadata().map_err(reading())?.ino();
    file.take(1000).read_to_end(&mut note).map_err(reading())?;
    let note = String::from_utf8_lossy(&note).trim().to_owned();
    let words: Vec<&str> = note.split(' ').collect();
    let ["process", process, "on", machine, "since", _] = words[..] else {
        // Nobody yet, or a run that has only just begun.
        return Ok(None);
    };
    if machine != host() {
        // That machine alone knows.
        return Ok(None);
    }
    let is_held = match fs::read_to_string("/proc/locks") {
        Ok(locks) => locks.lines().any(|line| is_lock(line, process, inode)),
        Err(_) => Path::new("/proc").join(process).exists(),
    };
    Ok(is_held.then_some(note))
}

/// Whether a line of /proc/locks, such as `1: FLOCK  ADVISORY  WRITE 708 08:01:131 0 EOF`, says that
/// the process holds the file. Lines of those who wait have an arrow after the number.
fn is_lock(line: &str, process: &str, inode: u64) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", by, file, ..] = words[..] else {
        return false;
    };
    by == process && file.rsplit(':').next() == Some(inode.to_string().as_str())
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
    fn who_holds_it_is_seen_without_touching_it() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        assert_eq!(holder(&layout).unwrap(), None);
        let held = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
        let by = holder(&layout).unwrap().unwrap();
        let process = format!("process {} on ", std::process::id());
        assert!(by.starts_with(&process), "{by}");
        drop(held);
        assert_eq!(holder(&layout).unwrap(), None);
    }

    #[test]
    fn a_lock_of_another_process_or_file_is_another() {
        let line = "2: FLOCK  ADVISORY  WRITE 708 08:01:131 0 EOF";
        assert!(is_lock(line, "708", 131));
        assert!(!is_lock(line, "70", 131));
        assert!(!is_lock(line, "708", 31));
        let waits = "2: -> FLOCK  ADVISORY  WRITE 708 08:01:131 0 EOF";
        assert!(!is_lock(waits, "708", 131));
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
