//! Turns a directory as the user gave it into one that can be walked.
//!
//! Stands apart from the walk for what it knows of links: what leads out of a root, and what leads
//! back.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::WalkError;
use super::uri::encode_name;

#[derive(Debug)]
pub(super) struct Root {
    /// As rows name it.
    pub(super) name: Arc<str>,
    pub(super) path: PathBuf,
    /// `path` with every link resolved.
    pub(super) real: PathBuf,
}

impl Root {
    pub(super) fn open(path: PathBuf) -> Result<Self, WalkError> {
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

    /// `path` as it goes on from the root.
    pub(super) fn below<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.path).unwrap_or(path)
    }

    /// Whether the directory `target` that `link` leads to is one of those that it was met in.
    pub(super) fn leads_back(&self, link: &Path, target: &Metadata) -> bool {
        link.ancestors()
            .skip(1)
            .take_while(|above| above.starts_with(&self.path))
            .filter_map(|above| fs::metadata(above).ok())
            .any(|above| (above.dev(), above.ino()) == (target.dev(), target.ino()))
    }

    /// Whether the broken `link` to `target` would lead to somewhere below the root.
    pub(super) fn would_hold(&self, link: &Path, target: &Path) -> bool {
        let Some(Ok(directory)) = link.parent().map(fs::canonicalize) else {
            return false;
        };
        without_dots(&directory.join(target)).starts_with(&self.real)
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

#[cfg(test)]
mod tests {
    use super::*;

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
