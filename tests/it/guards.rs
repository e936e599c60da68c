//! What guards keep out of the table, and how it is let in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use showtell::nightly::RunOutcome;
use showtell::table::Outcome;

use crate::annotate::Archive;

/// The parts that a reader with a glob finds.
fn parts(archive: &Archive) -> BTreeSet<PathBuf> {
    let captions = Path::new(&archive.out()).join("captions");
    if !captions.exists() {
        return BTreeSet::new();
    }
    let files = walkdir::WalkDir::new(captions).into_iter();
    let files = files.map(|entry| entry.unwrap().into_path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        })
        .collect()
}

/// Runs, expects to be refused for a reason that has these words in it, and sees that nothing became
/// current.
fn refused(archive: &Archive, more: &[&str], words: &str) {
    let snapshot = Path::new(&archive.out()).join("captions.arrow");
    let before = (fs::read(&snapshot).ok(), parts(archive));
    let output = archive.annotate(more, 3);
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    for text in [&said, &errors] {
        assert!(text.contains(words), "{text}");
    }
    assert!(said.contains("--accept"), "{said}");
    assert_eq!((fs::read(&snapshot).ok(), parts(archive)), before);

    let run = archive.last_run();
    assert_eq!(run.outcome, RunOutcome::Refused);
    assert_eq!(run.snapshot, None);
    assert!(
        run.findings.iter().any(|finding| finding.contains(words)),
        "{:?}",
        run.findings
    );
    // Kept for whoever wants to see it.
    assert!(
        run.captions
            .iter()
            .all(|part| part.file.starts_with("refused/run="))
    );
    assert!(archive.layout().refused(&run.run_id).is_dir());
    assert!(!archive.last_rows().is_empty());
}

/// So many different files with the same picture, named after `kind`.
fn add_copies(archive: &Archive, kind: &str, count: usize) {
    let picture = fs::read(archive.photo("0.png")).unwrap();
    for number in 0..count {
        let mut copy = picture.clone();
        copy.extend(format!("{kind}-{number}").bytes());
        fs::write(archive.photo(&format!("{kind}-{number}.png")), copy).unwrap();
    }
}

#[test]
fn an_archive_that_is_not_mounted_deletes_nothing() {
    let archive = Archive::of_samples();
    archive.annotate(&[], 0);
    let photos = PathBuf::from(archive.directory());
    let elsewhere = photos.with_file_name("elsewhere");
    fs::rename(&photos, &elsewhere).unwrap();

    // Without the directory nothing is begun, with an empty one it is not believed.
    archive.annotate(&[], 2);
    fs::create_dir(&photos).unwrap();
    refused(
        &archive,
        &[],
        "of the 10 images in the table none is there any more",
    );
    refused(&archive, &[], "is it mounted?");

    fs::remove_dir(&photos).unwrap();
    fs::rename(&elsewhere, &photos).unwrap();
    archive.annotate(&[], 0);
    assert_eq!(archive.last_run().counts.unchanged, 10);
}

#[test]
fn an_archive_that_was_emptied_on_purpose_is_accepted() {
    let archive = Archive::of_samples();
    archive.annotate(&[], 0);
    for entry in fs::read_dir(archive.directory()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    refused(&archive, &[], "is it mounted?");
    archive.annotate(&["--accept"], 0);
    let run = archive.last_run();
    assert_eq!(
        (run.outcome, run.counts.deleted),
        (RunOutcome::Published, 10)
    );
    assert!(run.findings[0].contains("is it mounted?"));
    let gone = archive.last_rows();
    assert!(gone.values().all(|row| row.outcome == Outcome::Deleted));
    archive.annotate(&[], 0);
    assert_eq!(archive.last_run().counts.found, 0);
}

#[test]
fn a_flood_of_failures_is_refused_and_costs_no_features() {
    let archive = Archive::of_samples();
    for number in 0..100 {
        fs::write(
            archive.photo(&format!("{number}.broken.jpg")),
            format!("no picture {number}"),
        )
        .unwrap();
    }
    refused(&archive, &[], "100 of 110 new or changed images failed");
    assert_eq!(archive.last_run().counts.embedded, 10);
    assert!(!archive.layout().snapshot().exists());

    archive.annotate(&["--max-failures", "0.95"], 1);
    let counts = archive.last_run().counts;
    assert_eq!((counts.captioned, counts.failed), (10, 100));
    assert_eq!((counts.embedded, counts.from_cache), (0, 10));
    assert_eq!(archive.last_run().findings, Vec::<String>::new());
    // They are known now, and tried in vain again.
    archive.annotate(&["--retry-failed"], 1);
}

#[test]
fn many_deletions_are_refused_but_a_renamed_directory_is_not() {
    let archive = Archive::of_samples();
    fs::create_dir(archive.photo("old")).unwrap();
    for number in 0..120 {
        // Different captions do not matter here; the guards of captions want more pictures.
        let bytes = fs::read(archive.photo("0.png")).unwrap();
        let name = archive.photo(&format!("old/{number}.png"));
        fs::write(name, [bytes, number.to_string().into_bytes()].concat()).unwrap();
    }
    archive.annotate(&[], 0);

    fs::rename(archive.photo("old"), archive.photo("new")).unwrap();
    archive.annotate(&[], 0);
    let counts = archive.last_run().counts;
    assert_eq!((counts.deleted, counts.from_table), (120, 120));

    fs::remove_dir_all(archive.photo("new")).unwrap();
    let words = "120 of 130 images are gone, 92 %, and at most 20 % may be";
    let foretold = archive.annotate(&["--dry-run"], 0);
    let foretold = String::from_utf8_lossy(&foretold.stdout).into_owned();
    assert!(foretold.contains(words), "{foretold}");
    refused(&archive, &[], words);
    archive.annotate(&["--max-deletions", "1"], 0);
    assert_eq!(archive.last_run().counts.deleted, 120);
}

#[test]
fn captions_that_are_all_alike_are_refused_until_they_are_accepted() {
    let archive = Archive::of_samples();
    archive.annotate(&[], 0);
    add_copies(&archive, "first", 220);
    refused(&archive, &[], "different images have the same caption");
    let sample = archive.last_run().caption_sample.unwrap();
    assert_eq!((sample.images, sample.distinct), (220, 1));

    archive.annotate(&["--accept"], 0);
    let counts = archive.last_run().counts;
    assert_eq!(
        (counts.captioned, counts.embedded, counts.from_cache),
        (220, 0, 220)
    );
    // So it is with this archive.
    add_copies(&archive, "second", 220);
    archive.annotate(&[], 0);
    assert_eq!(archive.last_run().findings, Vec::<String>::new());
}
