//! Where a model is written: what may lie there already, and how one takes the place of the one before.
//!
//! ```text
//! OUTPUT/                     the model; absent, empty, or one that a training wrote
//! OUTPUT.training/            the folder of the training (`folder`)
//! .OUTPUT.showtell-new/       a model in the making
//! .OUTPUT.showtell-before/    the one before, while the new one takes its place
//! ```
//!
//! Nothing that a training did not write is removed. What else is in the way is told before anything is
//! learnt, and seen again before a model is replaced, since that may be days later. A kill at any moment
//! leaves the old model or the new one, under its name or, for the moment between two renames, under the
//! hidden one; the next training puts it back.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::folder::LOCK;
use super::saving::unwritable;
use super::{ENCODER, TrainingError};
use crate::table::{FileError, temporary_path};

const DESCRIPTION: &str = "model.toml";
/// All that a training writes into a model directory.
const MODEL: [&str; 4] = [
    DESCRIPTION,
    ENCODER,
    "captioner.safetensors",
    "vocabulary.txt",
];
/// What tells the folder of a training from any other: one of these is there from its beginning on.
const RECORD: [&str; 5] = [
    LOCK,
    "checkpoint.safetensors",
    "features",
    "metrics.parquet",
    ".metrics.journal",
];
/// Links that are followed, one after the other, as by Linux.
const LINKS: usize = 40;

/// See the [module](self).
#[derive(Debug)]
pub struct Output {
    /// Where the model is or will be: what a link leads to.
    path: PathBuf,
}

impl Output {
    /// Follows `path` to where it leads, and sees that nothing is in the way. Touches nothing.
    ///
    /// # Errors
    ///
    /// When there is something else than a model that a training wrote, or it cannot be looked at.
    pub fn find(path: &Path) -> Result<Self, TrainingError> {
        let output = Output {
            path: resolve(path)?,
        };
        output.check_model()?;
        output.check_folder()?;
        Ok(output)
    }

    /// The folder of the training, `OUTPUT.training`.
    pub fn folder(&self) -> PathBuf {
        self.beside("", ".training")
    }

    /// Whether a training of this output was killed and none has ended since: who ends takes its lock
    /// away. Ask before the folder is taken.
    pub fn was_killed(&self) -> bool {
        self.folder().join(LOCK).exists()
    }

    /// Undoes a replacement that was killed half-way, and removes what was in the making. For who holds
    /// the folder.
    ///
    /// # Errors
    ///
    /// When the model cannot be put back, or what is left cannot be removed.
    pub fn recover(&self, was_killed: bool) -> Result<(), TrainingError> {
        let before = self.before();
        if before.exists() {
            match self.path.exists() {
                true => remove(&before)?,
                false => self.put_back(&before)?,
            }
        }
        remove(&self.new_model())?;
        // Earlier versions used names that may as well be a user's own. They are taken for a training's only
        // as a kill between the two renames left them, and then, too, nothing is removed.
        let (old, candidate) = (self.beside("", ".old"), self.beside("", ".candidate"));
        if was_killed && !self.path.exists() && is_model(&old) && is_model(&candidate) {
            self.put_back(&old)?;
        }
        Ok(())
    }

    /// An empty directory for a model in the making.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn stage(&self) -> Result<Staged<'_>, TrainingError> {
        let directory = self.new_model();
        remove(&directory)?;
        fs::create_dir_all(&directory).map_err(|source| unwritable(&directory, source))?;
        Ok(Staged {
            output: self,
            directory,
        })
    }

    fn check_model(&self) -> Result<(), TrainingError> {
        check(&self.path, |names| {
            if names.is_empty() {
                return None;
            }
            let is_ours = |name: &&String| {
                MODEL.contains(&name.as_str()) && self.path.join(name.as_str()).is_file()
            };
            let mut others = names.iter().filter(|name| !is_ours(name));
            if let Some(first) = others.next() {
                return Some(match others.count() {
                    0 => format!("holds {first}, which is no part of a model"),
                    more => format!("holds {first} and {more} more that are no part of a model"),
                });
            }
            (!is_model(&self.path)).then(|| {
                let shown = names.join(", ");
                format!("holds {shown}, but no {DESCRIPTION} that a training wrote")
            })
        })
    }

    fn check_folder(&self) -> Result<(), TrainingError> {
        check(&self.folder(), |names| {
            if names.iter().any(|name| RECORD.contains(&name.as_str())) {
                return None;
            }
            let first = names.iter().find(|name| !name.starts_with('.'))?;
            Some(format!("holds {first} and no record of a training"))
        })
    }

    fn put_back(&self, model: &Path) -> Result<(), TrainingError> {
        fs::rename(model, &self.path).map_err(|source| unwritable(&self.path, source))
    }

    fn new_model(&self) -> PathBuf {
        self.beside(".", ".showtell-new")
    }

    fn before(&self) -> PathBuf {
        self.beside(".", ".showtell-before")
    }

    fn beside(&self, prefix: &str, suffix: &str) -> PathBuf {
        let mut name = OsStr::new(prefix).to_owned();
        name.push(self.path.file_name().unwrap_or_default());
        name.push(suffix);
        self.path.with_file_name(name)
    }
}

/// A model directory in the making; dropped without [`put_in_place`](Self::put_in_place) it leaves nothing
/// behind.
#[derive(Debug)]
pub struct Staged<'a> {
    output: &'a Output,
    directory: PathBuf,
}

impl Staged<'_> {
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Syncs the finished model and puts it in the place of the one before.
    ///
    /// # Errors
    ///
    /// When something else has come to that place, or a directory cannot be synced or renamed.
    pub fn put_in_place(self) -> Result<(), TrainingError> {
        sync(&self.directory)?;
        self.output.check_model()?;
        let (to, before) = (&self.output.path, self.output.before());
        remove(&before)?;
        if to.exists() {
            fs::rename(to, &before).map_err(|source| unwritable(to, source))?;
        }
        if let Err(source) = fs::rename(&self.directory, to) {
            // The error that is told is the first.
            let _ = fs::rename(&before, to);
            return Err(unwritable(to, source));
        }
        if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_one(parent)?;
        }
        remove(&before)
    }

    /// Removes it.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn discard(self) -> Result<(), TrainingError> {
        remove(&self.directory)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        let _ = remove(&self.directory);
    }
}

/// Refuses a directory for what is found among the sorted names in it, and whatever is none.
fn check(path: &Path, find: impl FnOnce(&[String]) -> Option<String>) -> Result<(), TrainingError> {
    let reading = |error| TrainingError::File(FileError::on("look at", path)(error));
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let refused = |found: String| TrainingError::OutputTaken {
        path: path.to_owned(),
        found,
    };
    match fs::metadata(path) {
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(refused("would lie in a file".to_owned()));
        }
        Err(error) => return Err(reading(error)),
        Ok(found) if !found.is_dir() => return Err(refused("is a file".to_owned())),
        Ok(_) => {}
    }
    let entries = match fs::read_dir(path) {
        // Another training is just replacing its model.
        Err(error) if is_missing(&error) => return Ok(()),
        entries => entries.map_err(reading)?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut names = entries
        .map(name)
        .collect::<io::Result<Vec<_>>>()
        .map_err(reading)?;
    names.sort_unstable();
    match find(&names) {
        Some(found) => Err(refused(found)),
        None => Ok(()),
    }
}

/// Where a path leads, under a name of its own.
fn resolve(path: &Path) -> Result<PathBuf, TrainingError> {
    let refused = |found: &str| TrainingError::OutputTaken {
        path: path.to_owned(),
        found: found.to_owned(),
    };
    // Without a slash at its end, which would look through a link.
    let mut at: PathBuf = path.components().collect();
    let mut links = 0;
    while let Ok(target) = fs::read_link(&at) {
        links += 1;
        if links > LINKS {
            return Err(refused("is a link that leads to no end"));
        }
        let parent = at.parent().unwrap_or(Path::new(""));
        at = parent.join(target).components().collect();
    }
    if at.file_name().is_none() {
        // Such as `.` or `..`.
        at = fs::canonicalize(&at).map_err(|_| refused("names no directory"))?;
    }
    match at.file_name() {
        Some(_) => Ok(at),
        None => Err(refused("is the root of all directories")),
    }
}

/// Whether it is a directory with a model that a training wrote: `model.toml` tells where it came from.
fn is_model(directory: &Path) -> bool {
    let text = fs::read_to_string(directory.join(DESCRIPTION)).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let origin = table.get("origin").and_then(toml::Value::as_table);
    origin.is_some_and(|origin| origin.contains_key("showtell"))
}

/// Removes a model directory, whole or not, if there is one. Only its own files go; anything else in it
/// stays, and is an error.
fn remove(directory: &Path) -> Result<(), TrainingError> {
    let done = |path: &Path, removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(TrainingError::File(FileError::on("remove", path)(error)))
        }
        _ => Ok(()),
    };
    for name in MODEL {
        let file = directory.join(name);
        for file in [temporary_path(&file), file] {
            done(&file, fs::remove_file(&file))?;
        }
    }
    done(directory, fs::remove_dir(directory))
}

/// Makes durable what is in a directory.
fn sync(directory: &Path) -> Result<(), TrainingError> {
    let entries = fs::read_dir(directory).map_err(|source| unwritable(directory, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| unwritable(directory, source))?;
        sync_one(&entry.path())?;
    }
    sync_one(directory)
}

fn sync_one(path: &Path) -> Result<(), TrainingError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| unwritable(path, source))
}

#[cfg(test)]
mod tests;
