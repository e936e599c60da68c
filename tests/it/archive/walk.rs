//! What a walk yields, in which order, and what it leaves out.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use showtell::archive::{
    Hidden, ImageRef, Limits, LoadOutcome, Walk, WalkConfig, WalkError, Walked, decode_uri,
    encode_uri, load, uri_order,
};
use tempfile::TempDir;

use super::cases;
use crate::broken::write_broken_folder;

pub(super) fn walk(roots: &[&Path]) -> Walk {
    Walk::new(WalkConfig {
        roots: roots.iter().map(|root| root.to_path_buf()).collect(),
        exclude: Vec::new(),
        hidden: Hidden::Skip,
    })
    .unwrap()
}

/// The uris that a walk with these patterns yields.
fn uris(root: &Path, exclude: &[&str], hidden: Hidden) -> Vec<String> {
    let walk = Walk::new(WalkConfig {
        roots: vec![root.to_path_buf()],
        exclude: exclude.iter().map(|&pattern| pattern.to_owned()).collect(),
        hidden,
    });
    walk.unwrap()
        .map(|walked| walked.key().1.to_owned())
        .collect()
}

fn write(dir: &Path, uri: &str) {
    let path = dir.join(decode_uri(uri));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, uri).unwrap();
}

#[test]
fn patterns_and_dots_are_left_out() {
    let dir = TempDir::new().unwrap();
    for uri in [
        ".git/a",
        ".hidden",
        "2019/raw/a",
        "2019/a.tmp",
        "2019/b",
        "thumbs/a",
        "x/thumbs/a",
        "x/y",
        "z",
    ] {
        write(dir.path(), uri);
    }
    let check = |exclude: &[&str], hidden, expected: &[&str]| {
        assert_eq!(uris(dir.path(), exclude, hidden), expected);
    };
    check(
        &[],
        Hidden::Include,
        &[
            ".git/a",
            ".hidden",
            "2019/a.tmp",
            "2019/b",
            "2019/raw/a",
            "thumbs/a",
            "x/thumbs/a",
            "x/y",
            "z",
        ],
    );
    check(
        &["thumbs", "*.tmp"],
        Hidden::Skip,
        &["2019/b", "2019/raw/a", "x/y", "z"],
    );
    check(
        &["2019/*", "/thumbs", "z/"],
        Hidden::Skip,
        &["x/thumbs/a", "x/y", "z"],
    );
    check(&["**"], Hidden::Include, &[]);
}

#[test]
fn what_is_left_out_is_counted() {
    let dir = TempDir::new().unwrap();
    write_broken_folder(dir.path());
    let mut walk = Walk::new(WalkConfig {
        roots: vec![dir.path().to_owned()],
        exclude: vec!["formats".to_owned(), "order/".to_owned()],
        hidden: Hidden::Skip,
    })
    .unwrap();
    let unreadable: Vec<_> = walk
        .by_ref()
        .filter(|walked| matches!(walked, Walked::Unreadable { .. }))
        .map(|walked| walked.key().1.to_owned())
        .collect();
    assert_eq!(unreadable, ["links/dangling.jpg"]);
    let skipped = walk.skipped();
    assert_eq!(skipped.hidden, 3, "{skipped:?}");
    assert_eq!(skipped.excluded, 2, "{skipped:?}");
    assert_eq!(skipped.links_outside, 3, "{skipped:?}");
    assert_eq!(skipped.link_loops, 3, "{skipped:?}");
    assert!(matches!(skipped.special, 2 | 3), "{skipped:?}");
    assert_eq!(skipped.vanished, 0, "{skipped:?}");
}

#[test]
fn links_between_directories_end() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a/one");
    write(dir.path(), "b/two");
    symlink("../b", dir.path().join("a/to-b")).unwrap();
    symlink("../a", dir.path().join("b/to-a")).unwrap();
    assert_eq!(
        uris(dir.path(), &[], Hidden::Skip),
        ["a/one", "a/to-b/two", "b/to-a/one", "b/two"]
    );
}

#[test]
fn a_linked_directory_is_walked_where_its_link_stands() {
    let dir = TempDir::new().unwrap();
    for uri in ["a/1", "b/x/2", "b/y", "d"] {
        write(dir.path(), uri);
    }
    symlink("b", dir.path().join("a.b")).unwrap();
    symlink("../../a/1", dir.path().join("b/x/3")).unwrap();
    symlink("b/x", dir.path().join("c")).unwrap();
    let check = |exclude: &[&str], expected: &[&str]| {
        assert_eq!(uris(dir.path(), exclude, Hidden::Skip), expected);
    };
    check(
        &[],
        &[
            "a/1", "a.b/x/2", "a.b/x/3", "a.b/y", "b/x/2", "b/x/3", "b/y", "c/2", "c/3", "d",
        ],
    );
    check(
        &["c/", "a.b/x", "/b/**/3"],
        &["a/1", "a.b/y", "b/x/2", "b/y", "d"],
    );
}

#[test]
fn roots_are_walked_once_and_in_order() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a/one");
    write(dir.path(), "b/two");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let slashed = PathBuf::from(format!("{}//", a.display()));
    let keys: Vec<(String, String)> = walk(&[&b, &slashed, &a])
        .map(|walked| {
            let (root, uri) = walked.key();
            (root.to_owned(), uri.to_owned())
        })
        .collect();
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    assert_eq!(
        keys,
        [(name(&a), "one".to_owned()), (name(&b), "two".to_owned())]
    );
}

#[test]
fn a_walk_that_cannot_begin_names_the_root() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "file");
    let start = |root: PathBuf, exclude: &[&str]| {
        Walk::new(WalkConfig {
            roots: vec![dir.path().to_owned(), root],
            exclude: exclude.iter().map(|&pattern| pattern.to_owned()).collect(),
            hidden: Hidden::Skip,
        })
        .map(|_| ())
        .unwrap_err()
    };
    let missing = start(dir.path().join("missing"), &[]);
    assert!(matches!(missing, WalkError::Unreadable { .. }));
    assert!(missing.to_string().ends_with("missing"), "{missing}");
    let file = start(dir.path().join("file"), &[]);
    assert!(matches!(file, WalkError::NotADirectory { .. }));
    assert!(
        file.to_string().ends_with("file is not a directory"),
        "{file}"
    );
    let link = dir.path().join("link");
    symlink("nowhere", &link).unwrap();
    assert!(matches!(start(link, &[]), WalkError::Unreadable { .. }));
    let pattern = start(dir.path().to_owned(), &["["]);
    assert!(matches!(pattern, WalkError::Exclude(_)));
}

#[test]
fn a_directory_that_cannot_be_listed_is_one_row_and_the_walk_goes_on() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "z");
    // Paths end at 4096 bytes, but not the trees that can be moved below one another.
    let long = format!("m/{}", format!("{}/", "n".repeat(200)).repeat(15));
    let far = dir.path().join(&long);
    fs::create_dir_all(&far).unwrap();
    let other = dir.path().join("other");
    fs::create_dir_all(other.join(&long[2..])).unwrap();
    fs::rename(&other, far.join("o")).unwrap();

    let mut walk = walk(&[dir.path()]);
    let walked: Vec<_> = walk.by_ref().collect();
    let [Walked::Unreadable { uri, reason, .. }, Walked::File(after)] = &walked[..] else {
        panic!("{walked:?}");
    };
    assert!(uri.starts_with(&long) && uri.len() > 3500, "{uri}");
    assert!(reason.contains("name too long"), "{reason}");
    assert_eq!(after.uri, "z");
    assert_eq!(walked[0].key().0, dir.path().to_str().unwrap());

    // One that is left out is no failure.
    assert_eq!(uris(dir.path(), &[uri], Hidden::Skip), ["z"]);
}

#[test]
fn without_permission_a_directory_is_one_row_and_a_file_another() {
    let dir = TempDir::new().unwrap();
    for uri in ["a/x.jpg", "b.jpg", "c.jpg"] {
        write(dir.path(), uri);
    }
    let forbid = |uri: &str, mode| {
        fs::set_permissions(dir.path().join(uri), fs::Permissions::from_mode(mode)).unwrap();
    };
    forbid("a", 0);
    forbid("b.jpg", 0);
    if fs::read(dir.path().join("b.jpg")).is_ok() {
        eprintln!("NOT RUN: this user may read everything");
        forbid("a", 0o700);
        return;
    }
    let mut walk = walk(&[dir.path()]);
    let walked: Vec<_> = walk.by_ref().collect();
    forbid("a", 0o700);
    let [
        Walked::Unreadable { uri, reason, .. },
        Walked::File(b),
        Walked::File(_),
    ] = &walked[..]
    else {
        panic!("{walked:?}");
    };
    assert_eq!(uri, "a");
    assert!(reason.contains("ermission denied"), "{reason}");
    let outcome = load(b, &Limits::default());
    let LoadOutcome::Failed { failure, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        failure.reason.contains("ermission denied"),
        "{}",
        failure.reason
    );
}

#[test]
fn what_vanishes_during_the_walk_is_no_failure() {
    let dir = TempDir::new().unwrap();
    for uri in ["a", "b/x", "c", "d", "e/x"] {
        write(dir.path(), uri);
    }
    let mut walk = walk(&[dir.path()]);
    let mut next = || walk.next().map(|walked| walked.key().1.to_owned());
    assert_eq!(next().as_deref(), Some("a"));
    fs::remove_file(dir.path().join("c")).unwrap();
    fs::remove_dir_all(dir.path().join("e")).unwrap();
    assert_eq!(next().as_deref(), Some("b/x"));
    assert_eq!(next().as_deref(), Some("d"));
    assert_eq!(next(), None);
    assert_eq!(walk.skipped().vanished, 2);
}

#[test]
fn a_root_that_vanishes_is_unreadable_as_a_whole() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("mounted");
    write(&root, "a");
    let mut walk = walk(&[&root]);
    fs::remove_dir_all(&root).unwrap();
    let Some(Walked::Unreadable { uri, reason, .. }) = walk.next() else {
        panic!("expected the root");
    };
    assert_eq!(uri, "");
    assert!(reason.contains("No such file"), "{reason}");
    assert_eq!(walk.next(), None);
}

/// Trees of names that sort differently as bytes, as paths and percent-encoded.
fn nasty_paths() -> impl Strategy<Value = Vec<String>> {
    let names = [
        "a", "a.b", "a b", "a%25", "a%0A", "a-", "a%FF", "b", "%C3", "é", "A", "a.txt", "-", "~",
    ];
    let path = prop::collection::vec(prop::sample::select(names.to_vec()), 1..4)
        .prop_map(|names| names.join("/"));
    prop::collection::vec(path, 1..25)
}

/// The uris below `directory`, in order, by the plainest means. `above`: what it was met in.
fn reached(directory: &Path, uri: &str, above: &mut Vec<PathBuf>) -> Vec<String> {
    let mut uris = Vec::new();
    above.push(fs::canonicalize(directory).unwrap());
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = encode_uri(Path::new(path.file_name().unwrap()));
        let uri = format!("{uri}{name}");
        if !path.is_dir() {
            uris.push(uri);
        } else if !(path.is_symlink() && above.contains(&fs::canonicalize(&path).unwrap())) {
            uris.extend(reached(&path, &format!("{uri}/"), above));
        }
    }
    above.pop();
    uris.sort_by(|a, b| uri_order(a, b));
    uris
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn links_to_directories_lead_everywhere_but_back(
        paths in nasty_paths(),
        links in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
    ) {
        let dir = TempDir::new().unwrap();
        let mut directories = vec![dir.path().to_owned()];
        for uri in &paths {
            let path = dir.path().join(decode_uri(uri));
            let parent = path.parent().unwrap();
            if fs::create_dir_all(parent).is_ok() && File::create_new(&path).is_ok() {
                directories.push(parent.to_owned());
            }
        }
        for (number, (from, to)) in links.iter().enumerate() {
            let link = from.get(&directories).join(format!("a{number}"));
            symlink(to.get(&directories), link).unwrap();
        }
        let expected = reached(dir.path(), "", &mut Vec::new());
        prop_assert_eq!(uris(dir.path(), &[], Hidden::Skip), expected);
    }

    #[test]
    fn a_walk_yields_every_file_once_in_order(paths in nasty_paths()) {
        let dir = TempDir::new().unwrap();
        let mut expected = Vec::new();
        for uri in &paths {
            let path = dir.path().join(decode_uri(uri));
            // Where a file stands already there is no room for a directory, and the other way round.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && File::create_new(&path).is_ok() {
                expected.push(uri.clone());
            }
        }
        expected.sort_by(|a, b| uri_order(a, b));
        let walked: Vec<ImageRef> = walk(&[dir.path()])
            .map(|walked| match walked {
                Walked::File(image) => image,
                other => panic!("{other:?}"),
            })
            .collect();
        let uris: Vec<&str> = walked.iter().map(|image| image.uri.as_str()).collect();
        prop_assert_eq!(uris, expected);
        for image in &walked {
            prop_assert_eq!(&dir.path().join(decode_uri(&image.uri)), &image.path);
            let below = image.path.strip_prefix(dir.path()).unwrap();
            prop_assert_eq!(encode_uri(below), image.uri.clone());
        }
    }
}
