//! What reading tells of a file, and what it costs.

use std::fs::{self, File};
use std::path::PathBuf;

use showtell::archive::{Failure, ImageId, Limits, LoadOutcome, Stage, load};
use tempfile::TempDir;

use super::image_at;
use crate::broken::golden_bytes;

#[test]
fn equal_files_have_equal_identities() {
    let dir = TempDir::new().unwrap();
    let bytes = golden_bytes("gif.gif");
    fs::write(dir.path().join("a.gif"), &bytes).unwrap();
    fs::write(dir.path().join("b.jpg"), &bytes).unwrap();
    let ids: Vec<ImageId> = ["a.gif", "b.jpg"]
        .iter()
        .map(
            |name| match load(&image_at(dir.path().join(name)), &Limits::default()) {
                LoadOutcome::Loaded(loaded) => loaded.image_id,
                other => panic!("{other:?}"),
            },
        )
        .collect();
    assert_eq!(ids, [ImageId::of(&bytes), ImageId::of(&bytes)]);
}

#[test]
fn files_beyond_the_limit_are_not_read() {
    let dir = TempDir::new().unwrap();
    let defaults = Limits::default();
    let path = dir.path().join("a.gif");
    let bytes = golden_bytes("gif.gif");
    fs::write(&path, &bytes).unwrap();
    let size = bytes.len() as u64;
    let with = |max_file_bytes| {
        load(
            &image_at(&path),
            &Limits {
                max_file_bytes,
                ..defaults
            },
        )
    };
    assert!(matches!(with(size), LoadOutcome::Loaded(_)));
    let LoadOutcome::Failed {
        image_id: None,
        failure,
    } = with(size - 1)
    else {
        panic!("{:?}", with(size - 1));
    };
    assert_eq!(failure.stage, Stage::Read);
    assert!(
        failure.reason.contains("--max-file-bytes"),
        "{}",
        failure.reason
    );

    // A terabyte that is no image, and takes no room on the disk.
    let film = dir.path().join("film.mp4");
    File::create(&film).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(load(&image_at(&film), &defaults), LoadOutcome::NotAnImage);
    let named = dir.path().join("film.jpg");
    fs::rename(&film, &named).unwrap();
    let outcome = load(&image_at(&named), &defaults);
    let LoadOutcome::Failed {
        image_id: None,
        failure,
    } = &outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.stage, Stage::Decode);
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let dir = TempDir::new().unwrap();
    let check = |path: PathBuf, words: &str| {
        let outcome = load(&image_at(&path), &Limits::default());
        let LoadOutcome::Failed {
            image_id: None,
            failure: Failure { stage, reason },
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!(stage, Stage::Read);
        assert!(reason.contains(words), "{reason}");
    };
    check(dir.path().join("gone.jpg"), "No such file");
    check(dir.path().join("n".repeat(300)), "name too long");
    check(dir.path().to_owned(), "no longer a regular file");
}

#[test]
fn a_file_with_an_image_name_and_other_bytes_keeps_its_identity() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("letter.JPG");
    let text = b"Dear archivist, \xFF\0\n".repeat(1000);
    fs::write(&path, &text).unwrap();
    let outcome = load(&image_at(&path), &Limits::default());
    let LoadOutcome::Failed { image_id, failure } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(image_id, Some(ImageId::of(&text)));
    assert_eq!(
        failure.reason,
        r#"not an image: the file begins with "Dear archivist, ""#
    );
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_taken() {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    let dir = TempDir::new().unwrap();
    let path = dir.path().join("growing.gif");
    let mut bytes = golden_bytes("gif.gif");
    bytes.resize(16 << 20, 0);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        load(&image_at(&path), &Limits::default()),
        LoadOutcome::Loaded(_)
    ));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::options().append(true).open(&path).unwrap();
            while !over.load(Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
            }
        });
        // Where both share a processor, some reads fall between two writes.
        let failure = (0..10_000).find_map(|_| match load(&image_at(&path), &Limits::default()) {
            LoadOutcome::Failed { failure, .. } => Some(failure),
            _ => None,
        });
        over.store(true, Ordering::Relaxed);
        let failure = failure.unwrap();
        assert_eq!(failure.stage, Stage::Read);
        assert!(
            failure.reason.contains("changed while it was read"),
            "{}",
            failure.reason
        );
    });
}
