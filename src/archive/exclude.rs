//! Turns the patterns of `--exclude` into a test of one path below a root.
//!
//! As in the ignore files that people know: a pattern without a slash (`thumbs`, `*.tmp`) matches a
//! name at any depth, one with a slash (`2019/**/raw`) matches the whole path, a leading slash only
//! or `./` only says so, and a trailing slash matches directories alone. What matches is pruned with all below.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// What a pattern is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Directory,
    File,
}

#[derive(Debug)]
pub(super) struct Exclude {
    /// Match files and directories, by path below the root.
    entries: GlobSet,
    /// Match directories alone.
    directories: GlobSet,
}

impl Exclude {
    pub(super) fn new(patterns: &[String]) -> Result<Self, globset::Error> {
        let mut entries = GlobSetBuilder::new();
        let mut directories = GlobSetBuilder::new();
        for pattern in patterns {
            let (pattern, set) = match pattern.strip_suffix('/') {
                Some(pattern) => (pattern, &mut directories),
                None => (pattern.as_str(), &mut entries),
            };
            let anchored = match pattern.strip_prefix("./").or(pattern.strip_prefix('/')) {
                Some(pattern) => pattern.to_owned(),
                None if pattern.contains('/') => pattern.to_owned(),
                None => format!("**/{pattern}"),
            };
            set.add(
                GlobBuilder::new(&anchored)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .build()?,
            );
        }
        Ok(Self {
            entries: entries.build()?,
            directories: directories.build()?,
        })
    }

    /// Whether the entry itself is excluded; the walk asks for each directory on the way down.
    ///
    /// A pattern may name a file as the disk does or as the table does, so both forms are tried.
    pub(super) fn matches(&self, relative: &Path, uri: &str, entry: Entry) -> bool {
        let matches = |set: &GlobSet| set.is_match(relative) || set.is_match(uri);
        matches(&self.entries) || (entry == Entry::Directory && matches(&self.directories))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_ignore_files() {
        use Entry::{Directory, File};
        let check = |pattern: &str, path: &str, entry, expected| {
            let exclude = Exclude::new(&[pattern.to_owned()]).unwrap();
            let uri = crate::archive::encode_uri(Path::new(path));
            let matched = exclude.matches(Path::new(path), &uri, entry);
            assert_eq!(matched, expected, "{pattern:?} on {path:?}");
        };
        check("thumbs", "thumbs", Directory, true);
        check("thumbs", "2019/thumbs", Directory, true);
        check("thumbs", "2019/thumbs2", Directory, false);
        check("*.tmp", "a/b/c.tmp", File, true);
        check("*.tmp", "a/b/c.tmp.jpg", File, false);
        check("2019/*.jpg", "2019/a.jpg", File, true);
        check("2019/*.jpg", "2019/x/a.jpg", File, false);
        check("2019/*.jpg", "old/2019/a.jpg", File, false);
        check("2019/**/raw", "2019/x/y/raw", Directory, true);
        check("**/raw/*.png", "x/raw/a.png", File, true);
        check("/thumbs", "thumbs", Directory, true);
        check("/thumbs", "2019/thumbs", Directory, false);
        check("./thumbs", "thumbs", Directory, true);
        check("./thumbs", "2019/thumbs", Directory, false);
        check("thumbs/", "2019/thumbs", Directory, true);
        check("thumbs/", "2019/thumbs", File, false);
        check("{a,b}?.jpg", "x/b1.jpg", File, true);
        check("100%.jpg", "100%.jpg", File, true);
        check("100%25.jpg", "100%.jpg", File, true);
    }

    #[test]
    fn a_broken_pattern_is_an_error_that_names_it() {
        let error = Exclude::new(&["ok".to_owned(), "a[b".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("a[b"), "{error}");
    }
}
