//! Turns directories into the files below them, one at a time and in one order.
//!
//! The order ([`super::key_order`]) is part of the contract: later stages merge the walk with
//! tables that are sorted alike, so neither is ever held in memory. `walkdir` lists and sorts, by
//! names as the table spells them; which links to follow is decided here, since only those that stay
//! in their root are. One directory listing per level is all that is held.
//!
//! Nothing here opens a file.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use std::vec;

use rustix::io::Errno;
use walkdir::{DirEntry, WalkDir};

use super::exclude::{Entry, Exclude};
use super::root::Root;
use super::uri::{encode_name, encode_uri, encoded_order};
use super::{ImageRef, Micros};

/// What to walk.
#[derive(Debug, Clone)]
pub struct WalkConfig {
    /// The archive's directories; one that is given twice, in whichever spelling, is walked once, as it is
    /// spelled first.
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
    #[error(
        "the pattern {pattern:?} of what to exclude would leave out everything, or nothing: name files \
         (*.tmp), directories (thumbs/), or a path below the directory ({})",
        below.display()
    )]
    Pattern { pattern: String, below: PathBuf },
    #[error(
        "{} and {} would both stand as {name:?} in the table: name one of them by another path",
        paths[0].display(),
        paths[1].display()
    )]
    SameName { name: String, paths: [PathBuf; 2] },
}

/// Iterates over the files below some directories in [`super::key_order`].
///
/// Symbolic links are followed where their target lies in the same root, so a file may be met under
/// two uris. Links that lead out of the root or back to where they were met, hidden entries, excluded
/// ones, pipes, sockets and devices are left out and counted.
#[derive(Debug)]
pub struct Walk {
    roots: vec::IntoIter<Arc<Root>>,
    /// A root and, each in the one before it, the linked directories down to where the walk stands.
    trees: Vec<Tree>,
    exclude: Exclude,
    hidden: Hidden,
    skipped: Skipped,
}

/// What people write and cannot mean.
fn check_pattern(pattern: &str, roots: &[Arc<Root>]) -> Result<(), WalkError> {
    let of_a_root = |root: &Arc<Root>| {
        let path = Path::new(pattern);
        let below = path
            .strip_prefix(&root.real)
            .or(path.strip_prefix(&root.path));
        let is_meant = path.is_absolute() && root.real != Path::new("/");
        below.ok().filter(|_| is_meant).map(Path::to_owned)
    };
    let below = match pattern.trim_matches(['/', '.']) {
        "" => Some(PathBuf::from("2019/raw")),
        _ => roots.iter().find_map(of_a_root),
    };
    match below {
        Some(below) => Err(WalkError::Pattern {
            pattern: pattern.to_owned(),
            below,
        }),
        None => Ok(()),
    }
}

/// A directory and what lies below it, up to the next link.
#[derive(Debug)]
struct Tree {
    root: Arc<Root>,
    entries: walkdir::IntoIter,
    /// The directory that was listed last, unless its row has been given.
    listed: Option<PathBuf>,
}

impl Walk {
    /// Checks every root before anything is walked.
    pub fn new(config: WalkConfig) -> Result<Self, WalkError> {
        let exclude = Exclude::new(&config.exclude).map_err(WalkError::Exclude)?;
        let mut roots = config
            .roots
            .into_iter()
            .map(|root| Root::open(root).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        for pattern in &config.exclude {
            check_pattern(pattern, &roots)?;
        }
        let mut met = HashSet::new();
        roots.retain(|root| met.insert(root.real.clone()));
        roots.sort_by(|a, b| a.name.cmp(&b.name));
        let same = |pair: &&[Arc<Root>]| pair[0].name == pair[1].name;
        if let Some([first, second]) = roots.windows(2).find(same) {
            return Err(WalkError::SameName {
                name: first.name.to_string(),
                paths: [first.path.clone(), second.path.clone()],
            });
        }
        Ok(Self {
            roots: roots.into_iter(),
            trees: Vec::new(),
            exclude,
            hidden: config.hidden,
            skipped: Skipped::default(),
        })
    }

    /// Pairs of roots, as rows name them, of which the second lies in the first: what is in both has two rows.
    /// Asked before the walk begins.
    pub fn nested_roots(&self) -> Vec<(String, String)> {
        let roots = self.roots.as_slice();
        let mut nested = Vec::new();
        for outer in roots {
            let inner =
                |root: &&Arc<Root>| root.real != outer.real && root.real.starts_with(&outer.real);
            nested.extend(
                roots
                    .iter()
                    .filter(inner)
                    .map(|inner| (outer.name.to_string(), inner.name.to_string())),
            );
        }
        nested
    }

    /// The root that is the directory `known`, where rows would name it otherwise. Asked before the walk begins.
    pub fn other_spelling(&self, known: &str) -> Option<String> {
        let roots = self.roots.as_slice();
        if roots.iter().any(|root| &*root.name == known) {
            return None;
        }
        let real = fs::canonicalize(known).ok()?;
        let same = roots.iter().find(|root| root.real == real)?;
        Some(same.name.to_string())
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

    /// Decides on one entry of the tree on top.
    fn visit(&mut self, entry: DirEntry) -> Option<Walked> {
        let tree = self.trees.last_mut()?;
        let root = Arc::clone(&tree.root);
        let below = root.below(entry.path());
        let uri = encode_uri(below);
        if entry.depth() == 0 {
            if entry.path().is_dir() {
                return None;
            }
            return Some(unreadable(
                &root,
                uri,
                format!("{LIST}: it is none any more"),
            ));
        }

        let is_directory = entry.file_type().is_dir();
        let kind = match is_directory {
            true => Entry::Directory,
            false => Entry::File,
        };
        if self.hidden == Hidden::Skip && entry.file_name().as_bytes().starts_with(b".") {
            self.skipped.hidden += 1;
        } else if self.exclude.matches(below, &uri, kind) {
            self.skipped.excluded += 1;
        } else if is_directory {
            tree.listed = Some(entry.into_path());
            return None;
        } else if entry.path_is_symlink() {
            return self.follow(&root, entry.into_path(), uri);
        } else {
            return match entry.metadata() {
                Ok(metadata) => self.file(&root, entry.into_path(), uri, &metadata),
                Err(error) => self.unseen(&root, uri, &error.into_io_error()?),
            };
        }
        if is_directory {
            // It was listed before anybody could say no; whether that failed is of no interest.
            tree.entries.skip_current_dir();
        }
        None
    }

    /// Decides on a symbolic link. What lies in a directory that it leads to comes next.
    fn follow(&mut self, root: &Arc<Root>, link: PathBuf, uri: String) -> Option<Walked> {
        let real = match fs::canonicalize(&link) {
            Ok(real) => real,
            Err(error) => return self.broken_link(root, &link, uri, &error),
        };
        if !real.starts_with(&root.real) {
            tracing::debug!(root = %root.name, uri, target = %real.display(), "skipped a link that leads out of the archive");
            self.skipped.links_outside += 1;
            return None;
        }
        let target = match fs::metadata(&real) {
            Ok(target) => target,
            Err(error) => return self.unseen(root, uri, &error),
        };
        if !target.is_dir() {
            return self.file(root, link, uri, &target);
        }
        if root.leads_back(&link, &target) {
            tracing::warn!(root = %root.name, uri, target = %real.display(), "skipped a link that leads back to where it was met");
            self.skipped.link_loops += 1;
        } else if self
            .exclude
            .matches(root.below(&link), &uri, Entry::Directory)
        {
            self.skipped.excluded += 1;
        } else {
            self.trees.push(Tree::new(root, link));
        }
        None
    }

    fn file(
        &mut self,
        root: &Root,
        path: PathBuf,
        uri: String,
        metadata: &Metadata,
    ) -> Option<Walked> {
        if !metadata.is_file() {
            tracing::debug!(root = %root.name, uri, kind = ?metadata.file_type(), "skipped what is neither file nor directory");
            self.skipped.special += 1;
            return None;
        }
        Some(Walked::File(ImageRef {
            root: root.name.clone(),
            uri,
            path,
            bytes: metadata.len(),
            modified: modified(metadata),
        }))
    }

    /// The outcome of a directory whose listing failed, or ended early: the walk goes on with what
    /// was listed before. An entry that was listed and of which not even its kind can be told counts
    /// as such an end, as walkdir gives it out of order.
    fn unlisted(&mut self, error: walkdir::Error) -> Option<Walked> {
        let tree = self.trees.last_mut()?;
        let root = Arc::clone(&tree.root);
        let is_root = error.path() == Some(&root.path);
        let error = error.into_io_error()?;
        if error.kind() == io::ErrorKind::NotFound && !is_root {
            self.skipped.vanished += 1;
            return None;
        }
        let uri = encode_uri(root.below(&tree.listed.take()?));
        Some(unreadable(&root, uri, format!("{LIST}: {error}")))
    }

    /// An entry that was listed and cannot be looked at. One that is gone is no failure.
    fn unseen(&mut self, root: &Root, uri: String, error: &io::Error) -> Option<Walked> {
        if error.kind() == io::ErrorKind::NotFound {
            tracing::debug!(root = %root.name, uri, "gone since its directory was listed");
            self.skipped.vanished += 1;
            return None;
        }
        let reason = format!("cannot look at the file: {error}");
        Some(unreadable(root, uri, reason))
    }

    fn broken_link(
        &mut self,
        root: &Root,
        link: &Path,
        uri: String,
        error: &io::Error,
    ) -> Option<Walked> {
        if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            tracing::warn!(root = %root.name, uri, "skipped a link that leads to itself");
            self.skipped.link_loops += 1;
            return None;
        }
        let Ok(target) = fs::read_link(link) else {
            return self.unseen(root, uri, error);
        };
        if !root.would_hold(link, &target) {
            tracing::debug!(root = %root.name, uri, target = %target.display(), "skipped a broken link that leads out of the archive");
            self.skipped.links_outside += 1;
            return None;
        }
        let target = encode_name(target.as_os_str().as_bytes());
        if error.kind() == io::ErrorKind::NotFound {
            let reason = format!("a link to {target}, which does not exist");
            return Some(unreadable(root, uri, reason));
        }
        let reason = format!("a link to {target}, which cannot be followed: {error}");
        Some(unreadable(root, uri, reason))
    }
}

impl Iterator for Walk {
    type Item = Walked;

    fn next(&mut self) -> Option<Walked> {
        loop {
            let Some(tree) = self.trees.last_mut() else {
                let root = self.roots.next()?;
                self.trees.push(Tree::new(&root, root.path.clone()));
                continue;
            };
            let walked = match tree.entries.next() {
                Some(Ok(entry)) => self.visit(entry),
                Some(Err(error)) => self.unlisted(error),
                None => {
                    self.trees.pop();
                    None
                }
            };
            if walked.is_some() {
                return walked;
            }
        }
    }
}

impl Tree {
    fn new(root: &Arc<Root>, directory: PathBuf) -> Self {
        Self {
            root: Arc::clone(root),
            entries: WalkDir::new(&directory)
                .sort_by(|a, b| encoded_order(a.path(), b.path()))
                .into_iter(),
            listed: Some(directory),
        }
    }
}

const LIST: &str = "cannot list the directory";

fn unreadable(root: &Root, uri: String, reason: String) -> Walked {
    tracing::warn!(root = %root.name, uri, reason, "cannot read a part of the archive");
    Walked::Unreadable {
        root: root.name.clone(),
        uri,
        reason,
    }
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
}
