//! Tells where fetched weights lie on disk, and which of them are there.
//!
//! It stands apart because finding is everybody's business and fetching is one command's.
//!
//! ```text
//! ~/.cache/showtell/models/
//!   vgg16-397923af.pth                whole, its digest checked before it got this name
//!   vgg16-397923af.pth.partial        what has come so far
//!   vgg16-397923af.pth.partial.json   from where, and which version of it
//! ```

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::registry::Entry;

/// A folder of fetched weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

/// What a store has of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Absent,
    /// Begun; the next fetch carries on from here.
    Partial {
        path: PathBuf,
        bytes: u64,
    },
    Present {
        path: PathBuf,
        bytes: u64,
    },
}

impl Store {
    pub fn new(folder: impl Into<PathBuf>) -> Store {
        Store {
            folder: folder.into(),
        }
    }

    /// The user's cache, from the values of `XDG_CACHE_HOME` and `HOME`; none where neither is of use.
    /// As the XDG specification has it, relative paths do not count.
    /// <https://specifications.freedesktop.org/basedir-spec/latest/>
    pub fn of_user(xdg_cache_home: Option<&OsStr>, home: Option<&OsStr>) -> Option<Store> {
        let absolute = |path: &OsStr| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
        let cache = xdg_cache_home
            .and_then(absolute)
            .or_else(|| Some(home.and_then(absolute)?.join(".cache")))?;
        Some(Store::new(cache.join("showtell").join("models")))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the entry lies, or will lie, once it is whole.
    pub fn path(&self, entry: &Entry) -> PathBuf {
        self.folder.join(entry.file)
    }

    /// Looks what is there. A file has its final name only after its digest was checked.
    pub fn state(&self, entry: &Entry) -> State {
        let length = |path: &Path| {
            let metadata = path.metadata().ok()?;
            metadata.is_file().then_some(metadata.len())
        };
        let path = self.path(entry);
        if let Some(bytes) = length(&path) {
            return State::Present { path, bytes };
        }
        let path = partial_path(&path);
        match length(&path) {
            Some(bytes) if bytes > 0 => State::Partial { path, bytes },
            _ => State::Absent,
        }
    }
}

/// Bytes that this user can still write to the disk of `path`, or of the nearest folder above it that exists.
///
/// # Errors
/// What the system says about that folder.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let mut folder = path;
    while !folder.exists() {
        match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => folder = parent,
            _ => folder = Path::new("."),
        }
    }
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Where a file grows until it is whole.
pub(super) fn partial_path(target: &Path) -> PathBuf {
    with_suffix(target, ".partial")
}

/// Where it is noted what is growing there.
pub(super) fn note_path(target: &Path) -> PathBuf {
    with_suffix(target, ".partial.json")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::find;

    #[test]
    fn the_user_s_cache_follows_the_xdg_rules() {
        let folder = |xdg: Option<&str>, home: Option<&str>| {
            Store::of_user(xdg.map(OsStr::new), home.map(OsStr::new))
                .map(|store| store.folder().to_str().unwrap().to_string())
        };
        let check =
            |xdg, home, expected: Option<&str>| assert_eq!(folder(xdg, home).as_deref(), expected);
        check(Some("/x"), Some("/home/me"), Some("/x/showtell/models"));
        check(
            None,
            Some("/home/me"),
            Some("/home/me/.cache/showtell/models"),
        );
        check(
            Some(""),
            Some("/home/me"),
            Some("/home/me/.cache/showtell/models"),
        );
        check(
            Some("x"),
            Some("/home/me"),
            Some("/home/me/.cache/showtell/models"),
        );
        check(None, None, None);
        check(None, Some(""), None);
    }

    #[test]
    fn an_entry_is_absent_then_partial_then_present() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let entry = find("vgg16").unwrap();
        assert_eq!(store.state(entry), State::Absent);

        let partial = folder.path().join("vgg16-397923af.pth.partial");
        std::fs::write(&partial, "").unwrap();
        assert_eq!(store.state(entry), State::Absent);
        std::fs::write(&partial, "abc").unwrap();
        assert_eq!(
            store.state(entry),
            State::Partial {
                path: partial,
                bytes: 3
            }
        );

        let path = store.path(entry);
        std::fs::write(&path, "abcd").unwrap();
        assert_eq!(store.state(entry), State::Present { path, bytes: 4 });
    }

    #[test]
    fn free_space_is_that_of_the_nearest_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_space(&folder.path().join("not/yet/there")).unwrap() > 0);
        assert!(free_space(Path::new("nowhere")).unwrap() > 0);
    }
}
