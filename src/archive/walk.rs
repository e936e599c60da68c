//! Turns directories into the files below them, one at a time and in one order.
//!
//! The order ([`super::key_order`]) is part of the contract: later stages merge the walk with
//! tables that are sorted alike, so neither is ever held in memory. It follows the names as the
//! table spells them, which is why the walk sorts what it lists itself; and it decides on a link
//! before anything behind it is opened. One directory listing per level is all that it holds.
//!
//! Nothing here opens a file.

use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use std::vec;

use super::exclude::{Entry, Exclude};
use super::uri::encode_name;
use super::{ImageRef, Micros};

/// What to walk.
#[derive(Debug, Clone)]
pub struct WalkConfig {
    /// The archive's directories; one that is given twice is walked once.
    pub roots: Vec<PathBuf>,
    /// Globs of what to leave out: `thumbs` or `*.tmp` at any depth, `2019/**/raw` from the root.
    pub exclude: Vec<String>,
    pub hidden: Hidden,
}

/// What to do with files and directories whose name begins with a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    Skip,
    Include,
}

/// What the walk met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Walked {
    File(ImageRef),
    /// A directory that could not be listed, or a file that could not be looked at.
    Unreadable {
        root: Arc<str>,
        /// Empty for the root itself.
        uri: String,
        /// A sentence for the person who reads the table.
        reason: String,
    },
}

impl Walked {
    /// `(root, uri)`, by which a walk is in [`super::key_order`].
    pub fn key(&self) -> (&str, &str) {
        match self {
            Walked::File(image) => (&image.root, &image.uri),
            Walked::Unreadable { root, uri, .. } => (root, uri),
        }
    }
}

/// How many entries the walk left out, by reason. A directory counts once, whatever is in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    pub hidden: u64,
    pub excluded: u64,
    /// Symbolic links that lead out of their root.
    pub links_outside: u64,
    /// Symbolic links that lead back to where they were met.
    pub link_loops: u64,
    /// Pipes, sockets and devices.
    pub special: u64,
    /// Gone between being listed and being looked at.
    pub vanished: u64,
}

impl Skipped {
    /// Entries left out for whatever reason.
    pub fn total(&self) -> u64 {
        let Skipped {
            hidden,
            excluded,
            links_outside,
            link_loops,
            special,
            vanished,
        } = self;
        hidden + excluded + links_outside + link_loops + special + vanished
    }
}

/// Why a walk cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    #[error("cannot read the directory {}", root.display())]
    Unreadable {
        root: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a directory", root.display())]
    NotADirectory { root: PathBuf },
    #[error("cannot use a pattern of what to exclude")]
    Exclude(#[source] globset::Error),
}

/// Iterates over the files below some directories in [`super::key_order`].
///
/// Symbolic links are followed where their target lies in the same root, so a file may be met under
/// two uris. Links that lead out of the root or back to where they were met, hidden entries, excluded
/// ones, pipes, sockets and devices are left out and counted.
#[derive(Debug)]
pub struct Walk {
    roots: vec::IntoIter<Root>,
    root: Option<Arc<Root>>,
    /// The directories from the root down to where the walk stands.
    stack: Vec<Directory>,
    exclude: Exclude,
    hidden: Hidden,
    skipped: Skipped,
    unreadable_subtrees: Vec<(Arc<str>, String)>,
}

#[derive(Debug)]
struct Root {
    name: Arc<str>,
    path: PathBuf,
    /// `path` with every link resolved.
    real: PathBuf,
}

/// A directory of which some entries are still to be visited.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// `path` with every link resolved.
    real: PathBuf,
    uri: String,
    entries: vec::IntoIter<Listed>,
}

#[derive(Debug)]
struct Listed {
    /// The name as the uri spells it, by which entries are in order.
    encoded: String,
    name: OsString,
    kind: io::Result<FileType>,
}

impl Walk {
    /// Checks every root before anything is walked.
    pub fn new(config: WalkConfig) -> Result<Self, WalkError> {
        let exclude = Exclude::new(&config.exclude).map_err(WalkError::Exclude)?;
        let mut roots = config
            .roots
            .into_iter()
            .map(Root::open)
            .collect::<Result<Vec<_>, _>>()?;
        roots.sort_by(|a, b| a.name.cmp(&b.name));
        roots.dedup_by(|a, b| a.name == b.name);
        Ok(Self {
            roots: roots.into_iter(),
            root: None,
            stack: Vec::new(),
            exclude,
            hidden: config.hidden,
            skipped: Skipped::default(),
            unreadable_subtrees: Vec::new(),
        })
    }

    /// The roots as rows name them, in the order of the walk. Asked before the walk begins.
    pub fn root_names(&self) -> Vec<String> {
        self.roots
            .as_slice()
            .iter()
            .map(|root| root.name.to_string())
            .collect()
    }

    /// What was left out so far.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// What was met so far and could not be looked into, or not to the end, as `(root, uri)`.
    ///
    /// What a table holds at these uris and below them is unseen, not deleted.
    pub fn unreadable_subtrees(&self) -> &[(Arc<str>, String)] {
        &self.unreadable_subtrees
    }

    /// Begins with a directory. Where its listing fails, that is the directory's outcome, and the
    /// walk goes on with what was listed before.
    fn enter(&mut self, root: &Root, path: PathBuf, real: PathBuf, uri: String) -> Option<Walked> {
        let (mut entries, error) = list(&path);
        entries.sort_by(|a, b| a.encoded.cmp(&b.encoded));
        let unreadable = error.and_then(|error| {
            if self.stack.is_empty() {
                let reason = format!("cannot list the directory: {error}");
                return Some(self.unreadable(root, uri.clone(), reason));
            }
            self.unseen(root, uri.clone(), "cannot list the directory", &error)
        });
        self.stack.push(Directory {
            path,
            real,
            uri,
            entries: entries.into_iter(),
        });
        unreadable
    }

    /// Decides on one entry of the directory on top of the stack.
    fn visit(&mut self, root: &Root, listed: Listed) -> Option<Walked> {
        if self.hidden == Hidden::Skip && listed.name.as_bytes().starts_with(b".") {
            self.skipped.hidden += 1;
            return None;
        }
        let parent = self.stack.last()?;
        let path = parent.path.join(&listed.name);
        let mut real = parent.real.join(&listed.name);
        let uri = if parent.uri.is_empty() {
            listed.encoded
        } else {
            format!("{}/{}", parent.uri, listed.encoded)
        };
        let relative = path.strip_prefix(&root.path).unwrap_or(&path);
        if self.exclude.matches(relative, &uri, Entry::File) {
            self.skipped.excluded += 1;
            return None;
        }
        let mut kind = match listed.kind {
            Ok(kind) => kind,
            Err(error) => return self.unseen(root, uri, LOOK, &error),
        };

        if kind.is_symlink() {
            real = match fs::canonicalize(&path) {
                Ok(real) => real,
                Err(error) => return self.broken_link(root, &path, uri, &error),
            };
            if !real.starts_with(&root.real) {
                tracing::debug!(root = %root.name, uri, target = %real.display(), "skipped a link that leads out of the archive");
                self.skipped.links_outside += 1;
                return None;
            }
            kind = match fs::metadata(&real) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => return self.unseen(root, uri, LOOK, &error),
            };
            if kind.is_dir() && self.stack.iter().any(|above| above.real == real) {
                tracing::warn!(root = %root.name, uri, target = %real.display(), "skipped a link that leads back to where it was met");
                self.skipped.link_loops += 1;
                return None;
            }
        }

        if kind.is_dir() {
            if self.exclude.matches(relative, &uri, Entry::Directory) {
                self.skipped.excluded += 1;
                return None;
            }
            return self.enter(root, path, real, uri);
        }
        if !kind.is_file() {
            tracing::debug!(root = %root.name, uri, ?kind, "skipped what is neither file nor directory");
            self.skipped.special += 1;
            return None;
        }
        match fs::metadata(&path) {
            Ok(metadata) => Some(Walked::File(ImageRef {
                root: root.name.clone(),
                uri,
                path,
                bytes: metadata.len(),
                modified: modified(&metadata),
            })),
            Err(error) => self.unseen(root, uri, LOOK, &error),
        }
    }

    /// An entry that was listed and cannot be looked at. One that is gone is no failure.
    fn unseen(
        &mut self,
        root: &Root,
        uri: String,
        what: &str,
        error: &io::Error,
    ) -> Option<Walked> {
        if error.kind() == io::ErrorKind::NotFound {
            tracing::debug!(root = %root.name, uri, "gone since its directory was listed");
            self.skipped.vanished += 1;
            return None;
        }
        Some(self.unreadable(root, uri, format!("{what}: {error}")))
    }

    /// An entry of which nothing is known, so there may be images below it.
    fn unreadable(&mut self, root: &Root, uri: String, reason: String) -> Walked {
        self.unreadable_subtrees
            .push((root.name.clone(), uri.clone()));
        root.unreadable(uri, reason)
    }

    fn broken_link(
        &mut self,
        root: &Root,
        path: &Path,
        uri: String,
        error: &io::Error,
    ) -> Option<Walked> {
        if is_link_loop(error) {
            tracing::warn!(root = %root.name, uri, "skipped a link that leads to itself");
            self.skipped.link_loops += 1;
            return None;
        }
        let Ok(target) = fs::read_link(path) else {
            return self.unseen(root, uri, LOOK, error);
        };
        let parent = self.stack.last().map_or(&root.real, |parent| &parent.real);
        if !without_dots(&parent.join(&target)).starts_with(&root.real) {
            tracing::debug!(root = %root.name, uri, target = %target.display(), "skipped a broken link that leads out of the archive");
            self.skipped.links_outside += 1;
            return None;
        }
        let target = encode_name(target.as_os_str().as_bytes());
        if error.kind() == io::ErrorKind::NotFound {
            return Some(root.unreadable(uri, format!("a link to {target}, which does not exist")));
        }
        let reason = format!("a link to {target}, which cannot be followed: {error}");
        Some(self.unreadable(root, uri, reason))
    }
}

impl Iterator for Walk {
    type Item = Walked;

    fn next(&mut self) -> Option<Walked> {
        loop {
            let Some(top) = self.stack.last_mut() else {
                let root = Arc::new(self.roots.next()?);
                self.root = Some(Arc::clone(&root));
                let (path, real) = (root.path.clone(), root.real.clone());
                let unreadable = self.enter(&root, path, real, String::new());
                if unreadable.is_some() {
                    return unreadable;
                }
                continue;
            };
            let listed = top.entries.next();
            let (Some(listed), Some(root)) = (listed, self.root.clone()) else {
                self.stack.pop();
                continue;
            };
            let walked = self.visit(&root, listed);
            if walked.is_some() {
                return walked;
            }
        }
    }
}

impl Root {
    fn open(path: PathBuf) -> Result<Self, WalkError> {
        let unreadable = |source| WalkError::Unreadable {
            root: path.clone(),
            source,
        };
        if !fs::metadata(&path).map_err(unreadable)?.is_dir() {
            return Err(WalkError::NotADirectory { root: path });
        }
        let real = fs::canonicalize(&path).map_err(unreadable)?;
        fs::read_dir(&path).map_err(unreadable)?;

        let bytes = path.as_os_str().as_bytes();
        let end = bytes.iter().rposition(|&byte| byte != b'/');
        let bytes = &bytes[..end.map_or(1, |end| end + 1)];
        Ok(Self {
            name: root_name(bytes).into(),
            path: OsStr::from_bytes(bytes).into(),
            real,
        })
    }

    fn unreadable(&self, uri: String, reason: String) -> Walked {
        tracing::warn!(root = %self.name, uri, reason, "cannot read a part of the archive");
        Walked::Unreadable {
            root: self.name.clone(),
            uri,
            reason,
        }
    }
}

/// The root as the user gave it; only a name that is no UTF-8 has to be spelled otherwise.
fn root_name(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(name) => name.to_owned(),
        Err(_) => bytes
            .split(|&byte| byte == b'/')
            .map(encode_name)
            .collect::<Vec<_>>()
            .join("/"),
    }
}

const LOOK: &str = "cannot look at the file";

/// What is in a directory, as far as it can be told, and what ended the listing early.
fn list(path: &Path) -> (Vec<Listed>, Option<io::Error>) {
    let mut listed = Vec::new();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return (listed, Some(error)),
    };
    for entry in entries {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                listed.push(Listed {
                    encoded: encode_name(name.as_bytes()),
                    name,
                    kind: entry.file_type(),
                });
            }
            Err(error) => return (listed, Some(error)),
        }
    }
    (listed, None)
}

/// An absolute path with `..` taken back, by its text alone: there is nothing on the disk to ask.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            component => plain.push(component),
        }
    }
    plain
}

/// Whether the system gave up following links (`ELOOP`), for which `ErrorKind` has no stable name.
fn is_link_loop(error: &io::Error) -> bool {
    const ELOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };
    error.raw_os_error() == Some(ELOOP)
}

fn modified(metadata: &Metadata) -> Micros {
    let time = metadata.modified().unwrap_or(UNIX_EPOCH);
    micros_since_epoch(time)
}

fn micros_since_epoch(time: SystemTime) -> Micros {
    let clamp = |micros: u128| Micros::try_from(micros).unwrap_or(Micros::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => clamp(after.as_micros()),
        // Rounded down, as the moments after 1970 are.
        Err(before) => -clamp(before.duration().as_nanos().div_ceil(1000)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_before_1970_are_negative() {
        let check = |time, micros| assert_eq!(micros_since_epoch(time), micros);
        check(UNIX_EPOCH, 0);
        check(UNIX_EPOCH + Duration::from_nanos(1_999), 1);
        check(UNIX_EPOCH - Duration::from_micros(5), -5);
        check(UNIX_EPOCH - Duration::from_nanos(1), -1);
    }

    #[test]
    fn the_root_is_spelled_as_given() {
        let check = |given: &str, name: &str| {
            let root = Root::open(given.into()).unwrap();
            assert_eq!(&*root.name, name);
        };
        check("/", "/");
        check("//", "/");
        check(".", ".");
        check("./src//", "./src");
        assert_eq!(root_name(b"a/100%/b"), "a/100%/b");
        assert_eq!(root_name(b"/a/100%/\xff"), "/a/100%25/%FF");
    }
}
