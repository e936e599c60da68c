//! Turns bytes into a file that is whole under its name, or not there at all.
//!
//! A file is written as `.NAME.tmp` beside its place, synced, renamed, and its directory synced, so
//! that a run killed at any moment leaves either the old state or the new one. Stands apart because
//! the table, the cache and the run summaries all owe their readers the same promise.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file operation that failed, and on what.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct FileError {
    pub doing: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: names what was done to which path.
    pub fn on(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the file was not there.
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// What [`DurableFile::commit`] left on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub bytes: u64,
    /// BLAKE3 of the whole file.
    pub digest: blake3::Hash,
}

/// A file in the making; dropped without [`commit`](Self::commit) it leaves nothing behind.
pub struct DurableFile {
    path: PathBuf,
    temporary: PathBuf,
    /// `None` once committed.
    file: Option<BufWriter<File>>,
    bytes: u64,
    digest: blake3::Hasher,
}

impl DurableFile {
    /// Opens `.NAME.tmp` beside `path`, whose directory must exist.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let temporary = temporary_path(path);
        let file = File::create(&temporary).map_err(FileError::on("create", &temporary))?;
        step("create", &temporary);
        Ok(Self {
            path: path.to_owned(),
            temporary,
            file: Some(BufWriter::with_capacity(1 << 18, file)),
            bytes: 0,
            digest: blake3::Hasher::new(),
        })
    }

    /// Bytes written so far and their BLAKE3.
    pub fn so_far(&self) -> Written {
        Written {
            bytes: self.bytes,
            digest: self.digest.finalize(),
        }
    }

    /// Hands over to the system what was written so far, so that it can be read under the
    /// [temporary name](temporary_path). Neither synced nor whole.
    pub fn write_out(&mut self) -> Result<(), FileError> {
        if let Some(file) = &mut self.file {
            file.flush()
                .map_err(FileError::on("write", &self.temporary))?;
            step("write", &self.temporary);
        }
        Ok(())
    }

    /// Makes the file durable under its name: sync, rename over what was there, sync the directory.
    pub fn commit(self) -> Result<Written, FileError> {
        self.stage()?.publish()
    }

    /// Makes durable what was written, still under the temporary name.
    pub fn stage(mut self) -> Result<StagedFile, FileError> {
        let writing = FileError::on("write", &self.temporary);
        let Some(buffered) = self.file.take() else {
            return Err(writing(io::Error::other("it was committed before")));
        };
        let staged = StagedFile {
            path: self.path.clone(),
            temporary: self.temporary.clone(),
            written: self.so_far(),
            is_in_place: false,
        };
        buffered
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| {
                step("write", &self.temporary);
                file.sync_all()
            })
            .map_err(writing)?;
        step("sync", &self.temporary);
        Ok(staged)
    }
}

/// A file that is whole and synced, but not under its name yet; dropped without
/// [`publish`](Self::publish) it leaves nothing behind.
pub struct StagedFile {
    path: PathBuf,
    temporary: PathBuf,
    written: Written,
    is_in_place: bool,
}

impl StagedFile {
    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn written(&self) -> Written {
        self.written
    }

    /// Gives the file its name: rename over what was there, sync the directory.
    pub fn publish(mut self) -> Result<Written, FileError> {
        put_in_place(&self.temporary, &self.path)?;
        self.is_in_place = true;
        Ok(self.written)
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_in_place {
            // Best effort: the next run removes what stays.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Renames a synced file to its name, durably.
pub fn put_in_place(temporary: &Path, path: &Path) -> Result<(), FileError> {
    fs::rename(temporary, path).map_err(FileError::on("rename into place", path))?;
    step("rename", path);
    sync_parent(path)?;
    step("sync directory", path);
    Ok(())
}

/// Removes a file durably; if it is not there, it is removed already.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(FileError::on("remove", path))?,
    }
    step("remove", path);
    sync_parent(path)
}

/// Removes `files` in their order, and the directories that this empties, durably. What is not there
/// is removed already.
pub fn remove_files(files: &[PathBuf]) -> Result<(), FileError> {
    let mut directories: Vec<&Path> = Vec::new();
    for path in files {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => {
                removed.map_err(FileError::on("remove", path))?;
                step("remove", path);
            }
        }
        let directory = path.parent().unwrap_or(path);
        if directories.last() != Some(&directory) {
            directories.push(directory);
        }
    }
    directories.sort_unstable();
    directories.dedup();
    for directory in directories {
        // One that still holds something stays.
        if fs::remove_dir(directory).is_ok() {
            step("remove directory", directory);
            sync_parent(directory)?;
        } else if directory.is_dir() {
            sync_directory(directory)?;
        }
    }
    Ok(())
}

impl Write for DurableFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the file was committed before"));
        };
        let written = file.write(buffer)?;
        self.digest.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Left to `commit`: syncing half a file serves nobody.
        Ok(())
    }
}

impl Drop for DurableFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Without writing out the buffer: the file goes anyway.
            let _ = file.into_parts();
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Creates `path` and what is missing above it, durably.
pub fn create_dir_all(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        // As in `create_dir`; whoever has no right to sync it did not make it.
        let _ = sync_parent(path);
        return Ok(());
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        create_dir_all(parent)?;
    }
    create_dir(path)
}

/// Creates `path` durably. What is above it has to be there: an output directory that somebody
/// removed during a run is not made again behind the back of its lock.
pub fn create_dir(path: &Path) -> Result<(), FileError> {
    match fs::create_dir(path) {
        // Synced all the same: the run that made it may have been killed before it could.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(FileError::on("create the directory", path)(error)),
        Ok(()) => step("create directory", path),
    }
    sync_parent(path)?;
    step("sync directory", path);
    Ok(())
}

/// Creates the empty file `path` durably, if it is not there yet.
pub fn create_empty(path: &Path) -> Result<(), FileError> {
    // Without contents there is nothing that could be half there.
    File::create(path).map_err(FileError::on("create", path))?;
    step("create", path);
    sync_parent(path)
}

/// Moves the file `from` to `to`, whose parent must exist, durably.
pub fn move_file(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::on("move", from))?;
    sync_parent(to)?;
    sync_parent(from)
}

/// Moves the directory `from` to `to`, whose parent must exist, durably and at one stroke.
pub fn move_dir(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::on("move", from))?;
    step("move", to);
    // First where it is now: were only the other synced, a power loss could leave it nowhere.
    sync_parent(to)?;
    sync_parent(from)?;
    step("sync directory", to);
    Ok(())
}

/// Removes the temporary files that interrupted runs left for files in `directory` whose final name
/// `is_ours`; returns what went. A missing directory holds none.
pub fn remove_temporaries(
    directory: &Path,
    is_ours: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, FileError> {
    let mut removed = Vec::new();
    for name in names(directory)? {
        let ours = name
            .strip_prefix('.')
            .and_then(|rest| rest.strip_suffix(".tmp"))
            .is_some_and(&is_ours);
        if ours {
            let path = directory.join(&name);
            fs::remove_file(&path).map_err(FileError::on("remove", &path))?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// The names in `directory` that are UTF-8, sorted; none if it does not exist.
pub fn names(directory: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::on("list", directory))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::on("list", directory))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Where a file is while it is written that will be `path`.
pub fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    sync_directory(parent)
}

fn sync_directory(directory: &Path) -> Result<(), FileError> {
    match File::open(directory).and_then(|file| file.sync_all()) {
        // Some network file systems cannot sync a directory; they order renames themselves.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced.map_err(FileError::on("sync the directory", directory)),
    }
}

#[cfg(not(test))]
fn step(_name: &'static str, _path: &Path) {}

#[cfg(test)]
use steps::step;

/// Lets a test look at the disk after each step, as a kill at that moment would leave it.
#[cfg(test)]
pub mod steps {
    use std::cell::RefCell;
    use std::path::Path;

    type Watcher = Box<dyn FnMut(&'static str, &Path)>;

    thread_local! {
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    }

    /// Runs `work` with `watcher` called after each step on this thread.
    pub fn watched<T>(
        watcher: impl FnMut(&'static str, &Path) + 'static,
        work: impl FnOnce() -> T,
    ) -> T {
        WATCHER.set(Some(Box::new(watcher)));
        let result = work();
        WATCHER.set(None);
        result
    }

    pub(super) fn step(name: &'static str, path: &Path) {
        // Taken out while it runs, so that what the watcher itself does is not watched.
        if let Some(mut watcher) = WATCHER.take() {
            watcher(name, path);
            WATCHER.set(Some(watcher));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::arbitrary::scratch;

    #[test]
    fn is_there_whole_or_not_at_all() {
        let directory = scratch();
        let path = directory.path().join("file");
        let mut file = DurableFile::create(&path).unwrap();
        file.write_all(b"old").unwrap();
        assert_eq!(names(directory.path()).unwrap(), [".file.tmp"]);
        let written = file.commit().unwrap();
        assert_eq!(written.digest, blake3::hash(b"old"));
        assert_eq!(written.bytes, 3);

        let mut file = DurableFile::create(&path).unwrap();
        file.write_all(&vec![0; 1 << 20]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(names(directory.path()).unwrap(), ["file"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn says_what_could_not_be_done_to_which_file() {
        let directory = scratch();
        let path = directory.path().join("missing/file");
        let error = DurableFile::create(&path).err().unwrap();
        assert!(error.to_string().starts_with("cannot create "), "{error}");
        assert!(error.to_string().ends_with("missing/.file.tmp"), "{error}");

        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = DurableFile::create(&path).unwrap().commit().unwrap_err();
        assert_eq!((error.doing, error.path), ("rename into place", path));
        assert_eq!(names(directory.path()).unwrap(), ["taken"]);
    }

    #[test]
    fn removes_only_temporary_files_that_are_ours() {
        let directory = scratch();
        for name in [".a.tmp", ".b.tmp", "a.tmp", ".a", "a"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let removed = remove_temporaries(directory.path(), |name| name == "a").unwrap();
        assert_eq!(removed, [directory.path().join(".a.tmp")]);
        assert_eq!(
            names(directory.path()).unwrap(),
            [".a", ".b.tmp", "a", "a.tmp"]
        );
        let missing = directory.path().join("missing");
        assert!(remove_temporaries(&missing, |_| true).unwrap().is_empty());
    }
}
