//! What becomes of good, broken, odd and hostile files on their way from the disk to pixels.

mod decode;
mod load;
mod spoiled;
mod walk;

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::ProptestConfig;
use showtell::archive::{
    Format, ImageId, ImageRef, Limits, LoadOutcome, Loaded, Stage, Walked, decode, dimensions,
    key_order, load, quiet_panics,
};
use tempfile::TempDir;

use crate::broken::{Outcome, golden, write_broken_folder};

fn image_at(path: impl Into<PathBuf>) -> ImageRef {
    ImageRef {
        root: "".into(),
        uri: String::new(),
        path: path.into(),
        bytes: 0,
        modified: 0,
    }
}

fn loaded(bytes: Vec<u8>, format: Format) -> Loaded {
    Loaded {
        image_id: ImageId::of(&bytes),
        bytes,
        format,
    }
}

/// A file of the golden folder as the stage before gives it.
fn load_golden(file: &str) -> Loaded {
    match load(&image_at(golden(file)), &Limits::default()) {
        LoadOutcome::Loaded(loaded) => loaded,
        other => panic!("{file}: {other:?}"),
    }
}

#[test]
fn every_file_of_the_broken_folder_becomes_what_it_should() {
    quiet_panics();
    let dir = TempDir::new().unwrap();
    let expected = write_broken_folder(dir.path());

    let limits = Limits::default();
    let mut found = BTreeMap::new();
    let mut last: Option<(String, String)> = None;
    for walked in walk::walk(&[dir.path()]) {
        let (root, uri) = walked.key();
        let key = (root.to_owned(), uri.to_owned());
        if let Some(last) = &last {
            assert!(
                key_order((&last.0, &last.1), (root, uri)).is_lt(),
                "{last:?} before {key:?}"
            );
        }
        last = Some(key.clone());
        let outcome = match walked {
            Walked::Unreadable { reason, .. } => Err(format!("unreadable: {reason}")),
            Walked::File(image) => match load(&image, &limits) {
                LoadOutcome::NotAnImage => continue,
                LoadOutcome::Failed { failure, .. } => Err(failure.reason),
                LoadOutcome::Loaded(loaded) => match decode(&loaded, &limits) {
                    Ok(picture) => {
                        let (width, height) = (picture.width, picture.height);
                        assert_eq!(picture.rgb.len(), (width * height * 3) as usize);
                        assert_eq!(dimensions(&loaded), Ok((width, height)), "{}", image.uri);
                        Ok((width, height))
                    }
                    Err(failure) => {
                        assert_eq!(failure.stage, Stage::Decode);
                        Err(failure.reason)
                    }
                },
            },
        };
        assert!(found.insert(key.1, outcome).is_none());
    }

    let mut wrong = Vec::new();
    for expected in &expected {
        let outcome = found.remove(&expected.uri);
        let right = match (&expected.outcome, &outcome) {
            (Outcome::Shown { width, height }, Some(Ok(size))) => size == &(*width, *height),
            (Outcome::Failed(words), Some(Err(reason))) => {
                reason.contains(words) && !reason.starts_with("unreadable")
            }
            (Outcome::Unreadable(words), Some(Err(reason))) => {
                reason.contains(words) && reason.starts_with("unreadable")
            }
            (Outcome::NoRow, None) => true,
            _ => false,
        };
        if !right {
            wrong.push(format!("{expected:?} became {outcome:?}"));
        }
    }
    wrong.extend(found.iter().map(|rest| format!("not expected: {rest:?}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Failures are not written down beside the sources: what is worth keeping becomes a test.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
