//! Turns the steps of a run into what a disk holds for certain: what was synced, under names whose
//! directories were synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A disk that keeps nothing longer than it has to.
pub struct Disk {
    root: PathBuf,
    on_disk: Contents,
    /// Synced under a temporary name.
    synced: BTreeMap<PathBuf, Vec<u8>>,
    /// Named since their directory was last synced.
    named: Contents,
    /// The directory of a refused run, moved there since it was last synced.
    moved: Option<PathBuf>,
}

#[derive(Clone, Default)]
struct Contents {
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Disk {
    /// A disk with nothing below `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            on_disk: Contents::default(),
            synced: BTreeMap::new(),
            named: Contents::default(),
            moved: None,
        }
    }

    pub fn step(&mut self, step: &str, path: &Path) {
        match step {
            "sync" => {
                self.synced.insert(path.to_owned(), fs::read(path).unwrap());
            }
            "rename" => {
                let name = path.file_name().unwrap().to_string_lossy();
                let temporary = path.with_file_name(format!(".{name}.tmp"));
                // A file that was not synced may have any length, if it has its name.
                let content = self.synced.remove(&temporary).unwrap_or_default();
                self.named.files.insert(path.to_owned(), content);
            }
            "move" => self.moved = Some(path.to_owned()),
            "create directory" => {
                self.named.directories.insert(path.to_owned());
            }
            "sync directory" => {
                let parent = path.parent().unwrap();
                let elsewhere = |path: &PathBuf| path.parent() != Some(parent);
                let Contents { directories, files } = self.named.clone();
                self.named.files.retain(|path, _| elsewhere(path));
                self.named.directories.retain(elsewhere);
                let files = files.into_iter().filter(|(path, _)| !elsewhere(path));
                self.on_disk.files.extend(files);
                let directories = directories.into_iter().filter(|path| !elsewhere(path));
                self.on_disk.directories.extend(directories);
                if let Some(to) = self.moved.take_if(|to| to == path) {
                    self.on_disk.move_run(&to, &self.root);
                }
            }
            _ => {}
        }
    }

    /// Writes to `copy` what a power loss leaves at least.
    pub fn write_durable(&self, copy: &Path) {
        self.write(&self.on_disk, copy);
    }

    /// Writes to `copy` what a power loss leaves if every name has reached the disk.
    pub fn write_with_names(&self, copy: &Path) {
        let mut contents = self.on_disk.clone();
        contents.directories.extend(self.named.directories.clone());
        contents.files.extend(self.named.files.clone());
        if let Some(to) = &self.moved {
            contents.move_run(to, &self.root);
        }
        self.write(&contents, copy);
    }

    fn write(&self, contents: &Contents, copy: &Path) {
        fs::create_dir(copy).unwrap();
        let place = |path: &Path| copy.join(path.strip_prefix(&self.root).unwrap());
        for directory in &contents.directories {
            // What is in a directory that is not there is not there either.
            let _ = fs::create_dir(place(directory));
        }
        for (path, content) in &contents.files {
            let _ = fs::write(place(path), content);
        }
    }
}

impl Contents {
    /// Moves the rows of a run from where they are current to `to`.
    fn move_run(&mut self, to: &Path, root: &Path) {
        let from = root.join("captions").join(to.file_name().unwrap());
        let moved = |path: PathBuf| match path.strip_prefix(&from) {
            Ok(below) if below.as_os_str().is_empty() => to.to_owned(),
            Ok(below) => to.join(below),
            Err(_) => path,
        };
        let directories = std::mem::take(&mut self.directories);
        self.directories = directories.into_iter().map(moved).collect();
        let files = std::mem::take(&mut self.files).into_iter();
        self.files = files
            .map(|(path, content)| (moved(path), content))
            .collect();
    }
}
