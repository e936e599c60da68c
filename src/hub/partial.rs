//! A file that is still growing: what has come of it, its running digest, and a note of where it is from.
//!
//! It stands apart because everything that must hold when the process is killed at any moment is here.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::{Hash, Sha256Sum};
use super::error::HubError;
use super::store::{note_path, partial_path};

/// A growing file, locked against other processes.
pub(super) struct Partial {
    target: PathBuf,
    path: PathBuf,
    file: File,
    length: u64,
    hash: Hash,
    note: Option<Note>,
}

/// Where the bytes are from: written beside them before the first one comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub url: String,
    /// For If-Range.
    pub validator: Option<String>,
    /// Bytes of the whole file, where the server said.
    pub total: Option<u64>,
}

impl Partial {
    /// Opens what has come of `target`, or begins it. Reads it all, for the digest.
    pub(super) fn open(target: &Path) -> Result<Partial, HubError> {
        let path = partial_path(target);
        let failed = |source| HubError::file("write", &path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HubError::Busy {
                    path: target.into(),
                });
            }
            // Some network file systems have no locks; then there is nobody to guard against but oneself.
            Err(TryLockError::Error(error)) => {
                tracing::warn!("{} cannot be locked: {error}", path.display());
            }
        }
        // Between open and lock its owner may have finished it and given it its final name.
        let opened = file.metadata().map_err(failed)?;
        let named = path.metadata();
        if !named.is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())) {
            return Err(HubError::Busy {
                path: target.into(),
            });
        }
        let mut hash = Hash::default();
        let length = match opened.len() {
            0 => 0,
            _ => hash
                .read_from(&mut file)
                .map_err(|source| HubError::file("read", &path, source))?,
        };
        let note = std::fs::read(note_path(target))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok());
        Ok(Partial {
            target: target.to_path_buf(),
            path,
            file,
            length,
            hash,
            note,
        })
    }

    /// Bytes that have come.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn note(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    pub(super) fn sum(&self) -> Sha256Sum {
        self.hash.sum()
    }

    pub(super) fn set_note(&mut self, note: Note) -> Result<(), HubError> {
        if self.note.as_ref() != Some(&note) {
            let path = note_path(&self.target);
            let json = serde_json::to_vec_pretty(&note)
                .map_err(|error| HubError::file("write", &path, error.into()))?;
            std::fs::write(&path, json).map_err(|source| HubError::file("write", &path, source))?;
            self.note = Some(note);
        }
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(|source| {
            // How much of it was written is not known, and must be when carrying on.
            self.file.set_len(self.length).ok();
            HubError::file("write", &self.path, source)
        })?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all that has come.
    pub(super) fn restart(&mut self) -> Result<(), HubError> {
        if self.length > 0 {
            self.file
                .set_len(0)
                .and_then(|()| self.file.seek(SeekFrom::Start(0)))
                .map_err(|source| HubError::file("empty", &self.path, source))?;
        }
        self.length = 0;
        self.hash = Hash::default();
        self.note = None;
        remove(&note_path(&self.target))
    }

    /// Removes it from the disk.
    pub(super) fn discard(mut self) -> Result<(), HubError> {
        self.restart()?;
        remove(&self.path)
    }

    /// Gives it its final name, once it is safe on the disk.
    pub(super) fn publish(self) -> Result<(), HubError> {
        self.file
            .sync_all()
            .map_err(|source| HubError::file("write", &self.path, source))?;
        std::fs::rename(&self.path, &self.target)
            .map_err(|source| HubError::file("write", &self.target, source))?;
        remove(&note_path(&self.target))?;
        let folder = self.target.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| HubError::file("write", folder, source))
    }
}

fn remove(path: &Path) -> Result<(), HubError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(HubError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(total: u64) -> Note {
        Note {
            url: "http://127.0.0.1/x".into(),
            validator: Some("\"1\"".into()),
            total: Some(total),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_came_before_is_counted_hashed_and_continued() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("weights");
        let mut first = Partial::open(&target).unwrap();
        first.set_note(note(6)).unwrap();
        first.append(b"abc").unwrap();
        drop(first);

        let mut second = Partial::open(&target).unwrap();
        assert_eq!((second.length(), second.note()), (3, Some(&note(6))));
        second.append(b"def").unwrap();
        let mut whole = Hash::default();
        whole.update(b"abcdef");
        assert_eq!(second.sum(), whole.sum());
        second.publish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"abcdef");
        assert_eq!(names(folder.path()), ["weights"]);
    }

    #[test]
    fn a_restart_forgets_and_a_discard_removes() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("weights");
        let mut partial = Partial::open(&target).unwrap();
        partial.set_note(note(6)).unwrap();
        partial.append(b"wrong").unwrap();
        partial.restart().unwrap();
        assert_eq!((partial.length(), partial.note()), (0, None));
        partial.append(b"ab").unwrap();
        assert_eq!(std::fs::read(partial_path(&target)).unwrap(), b"ab");
        partial.discard().unwrap();
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("weights");
        let first = Partial::open(&target).unwrap();
        assert!(matches!(Partial::open(&target), Err(HubError::Busy { .. })));
        drop(first);
        assert!(Partial::open(&target).is_ok());
    }

    #[test]
    fn a_spoilt_note_is_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("weights");
        std::fs::write(note_path(&target), "{\"url\": 3").unwrap();
        assert_eq!(Partial::open(&target).unwrap().note(), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_said_to_be_full() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("weights");
        // Every write to this device fails as on a full disk.
        std::os::unix::fs::symlink("/dev/full", partial_path(&target)).unwrap();
        let mut partial = Partial::open(&target).unwrap();
        let error = partial.append(&[0; 4096]).unwrap_err();
        assert!(matches!(error, HubError::DiskFull { .. }), "{error:?}");
        assert_eq!(partial.length(), 0);
    }
}
