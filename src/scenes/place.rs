//! Looks at a directory that is to be drawn into: what is there already has to be pictures of ours.
//!
//! It stands apart because files are replaced and removed there. Whoever named a directory with anything
//! else in it did not mean that.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::Error;

/// The files below `dir`, by their paths in it; none if it is missing. Of those, `is_ours` is asked.
///
/// # Errors
///
/// When one is not ours, or the directory is none or cannot be listed.
pub(super) fn files_of_ours(
    dir: &Path,
    is_ours: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, Error> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    if !dir.is_dir() {
        return Err(Error::NotADirectory(dir.into()));
    }
    let entries = WalkDir::new(dir).min_depth(1).into_iter();
    let mut files = Vec::new();
    for entry in entries.filter_entry(|entry| !is_left_there(entry)) {
        let entry = entry.map_err(|error| Error::Read {
            path: error.path().unwrap_or(dir).into(),
            source: error.into(),
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        let path = entry.path().strip_prefix(dir).unwrap_or(entry.path());
        let ours = entry.file_type().is_file() && path.to_str().is_some_and(&is_ours);
        if !ours {
            return Err(Error::SomethingElse {
                dir: dir.into(),
                found: path.into(),
            });
        }
        files.push(path.to_owned());
    }
    Ok(files)
}

/// What file systems and desktops leave in directories.
fn is_left_there(entry: &DirEntry) -> bool {
    let name = entry.file_name().as_encoded_bytes();
    name.starts_with(b".") || name == b"lost+found"
}
