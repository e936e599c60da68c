//! Night after night: what is done again, and what is not even opened.

pub mod opens;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use showtell::nightly::{Lock, RunOutcome};
use showtell::table::{Outcome, PartWriter, Row};

use crate::annotate::{Archive, repository, samples};
use opens::Opens;

/// The model that ships, where it can be watched and changed.
fn copied_model(archive: &Archive) -> PathBuf {
    let from = repository().join("data/models/demo");
    let to = Path::new(&archive.out()).with_file_name("model");
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to
}

fn names(paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.into_iter().map(name).collect()
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn set_modified(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// All that is below a directory: sizes and times by path.
fn tree(directory: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let walk = walkdir::WalkDir::new(directory).into_iter();
    let entry = |entry: walkdir::Result<walkdir::DirEntry>| {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let seen = (metadata.len(), metadata.modified().unwrap());
        (entry.into_path(), seen)
    };
    walk.map(entry).collect()
}

#[test]
fn a_quiet_night_opens_neither_images_nor_weights() {
    let archive = Archive::of_samples();
    let model = copied_model(&archive);
    let photos = archive.directory();
    let annotate = |exit| archive.annotate(&["--model", model.to_str().unwrap()], exit);
    let opens = Opens::in_each_of(&[Path::new(&photos), &model]);

    annotate(0);
    // Everything was, so the watch sees what there is to see.
    let opened = opens.take();
    let of = |directory: &Path| {
        let files = opened.iter().filter(|path| path.starts_with(directory));
        names(files.cloned())
    };
    assert_eq!(of(Path::new(&photos)).len(), 10);
    let files = [
        "captioner.safetensors",
        "encoder.safetensors",
        "model.toml",
        "vocabulary.txt",
    ];
    assert_eq!(of(&model), files);

    annotate(0);
    assert_eq!(names(opens.take()), ["model.toml"]);
    assert_eq!(archive.last_run().counts.unchanged, 10);

    // What is renamed or touched is read, and still nothing has to be computed.
    fs::rename(archive.photo("0.png"), archive.photo("renamed.png")).unwrap();
    fs::copy(archive.photo("1.jpg"), archive.photo("copy.jpg")).unwrap();
    set_modified(
        &archive.photo("2.jpg"),
        SystemTime::now() + Duration::from_secs(60),
    );
    opens.take();
    annotate(0);
    let opened = names(opens.take());
    assert_eq!(opened, ["model.toml", "2.jpg", "copy.jpg", "renamed.png"]);

    fs::copy(&samples()[20], archive.photo("new.png")).unwrap();
    opens.take();
    annotate(0);
    assert_eq!(names(opens.take()).len(), files.len() + 1);
}

#[test]
fn a_new_captioner_reads_neither_images_nor_the_encoder() {
    let archive = Archive::of_samples();
    let model = copied_model(&archive);
    let photos = archive.directory();
    let annotate = || archive.annotate(&["--model", model.to_str().unwrap()], 0);
    annotate();
    let weights = model.join("captioner.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let place = bytes.len() - 4;
    bytes[place] ^= 1;
    fs::write(&weights, bytes).unwrap();

    let opens = Opens::in_each_of(&[Path::new(&photos), &model]);
    annotate();
    let files = ["captioner.safetensors", "model.toml", "vocabulary.txt"];
    assert_eq!(names(opens.take()), files);
    let counts = archive.last_run().counts;
    assert_eq!((counts.captioned, counts.from_cache), (10, 10));
}

#[test]
fn touched_renamed_and_copied_files_keep_their_captions() {
    let archive = Archive::of_samples();
    archive.annotate(&[], 0);
    let before = archive.last_rows();
    // Not even features are needed.
    fs::remove_dir_all(Path::new(&archive.out()).join("embeddings")).unwrap();

    let later = SystemTime::now() + Duration::from_secs(60);
    set_modified(&archive.photo("2.jpg"), later);
    fs::rename(archive.photo("0.png"), archive.photo("renamed.png")).unwrap();
    fs::copy(archive.photo("1.jpg"), archive.photo("copy.jpg")).unwrap();
    archive.annotate(&[], 0);
    let counts = archive.last_run().counts;
    assert_eq!(
        (counts.unchanged, counts.captioned, counts.deleted),
        (8, 3, 1)
    );
    assert_eq!((counts.touched, counts.from_table), (1, 3));
    assert_eq!(
        (counts.embedded, counts.from_cache, counts.duplicates),
        (0, 0, 0)
    );

    let rows = archive.last_rows();
    for (now, then) in [
        ("2.jpg", "2.jpg"),
        ("renamed.png", "0.png"),
        ("copy.jpg", "1.jpg"),
    ] {
        assert_eq!(rows[now].outcome, before[then].outcome, "{now}");
        assert_eq!(rows[now].image_id, before[then].image_id, "{now}");
        assert_eq!(rows[now].width, before[then].width, "{now}");
    }
    assert!(rows["2.jpg"].modified_at > before["2.jpg"].modified_at);
    assert_eq!(rows["0.png"].outcome, Outcome::Deleted);

    archive.annotate(&[], 0);
    assert_eq!(archive.last_run().counts.unchanged, 11);
}

#[test]
fn every_caption_has_one_origin() {
    let archive = Archive::of_samples();
    for copy in 0..3 {
        fs::copy(
            archive.photo("0.png"),
            archive.photo(&format!("copy-{copy}")),
        )
        .unwrap();
    }
    let check = |beam: &str, batch: &str| {
        archive.annotate(&["--beam", beam, "--batch", batch], 0);
        let counts = archive.last_run().counts;
        let origins = counts.embedded + counts.from_cache + counts.from_table + counts.duplicates;
        assert_eq!(counts.captioned, origins, "{counts:?}");
        counts
    };
    let first = check("3", "2");
    assert_eq!((first.embedded, first.duplicates), (10, 3));
    let other = check("1", "64");
    assert_eq!((other.from_cache, other.duplicates), (10, 3));
    fs::copy(archive.photo("0.png"), archive.photo("copy-3")).unwrap();
    fs::copy(&samples()[20], archive.photo("new.png")).unwrap();
    let third = check("1", "64");
    assert_eq!(
        (third.embedded, third.from_table, third.captioned),
        (1, 1, 2)
    );
}

#[test]
fn verifying_finds_what_time_and_size_do_not_tell() {
    let archive = Archive::of_samples();
    // A comment behind the picture changes its bytes and nothing else.
    let changed = archive.photo("1.jpg");
    let mut bytes = fs::read(&changed).unwrap();
    bytes.push(0);
    fs::write(&changed, &bytes).unwrap();
    fs::write(archive.photo("broken.jpg"), "no picture").unwrap();
    archive.annotate(&[], 1);

    let time = modified(&changed);
    *bytes.last_mut().unwrap() = 1;
    fs::write(&changed, &bytes).unwrap();
    set_modified(&changed, time);
    archive.annotate(&[], 1);
    assert_eq!(archive.last_run().counts.unchanged, 11);

    archive.annotate(&["--verify"], 1);
    let run = archive.last_run();
    assert_eq!((run.counts.unchanged, run.counts.unchanged_failed), (10, 1));
    assert_eq!((run.counts.captioned, run.counts.touched), (1, 0));
    assert_eq!(
        archive.last_rows().into_keys().collect::<Vec<_>>(),
        ["1.jpg"]
    );
}

#[test]
fn weights_that_were_changed_unseen_are_found_when_they_are_used() {
    let archive = Archive::of_samples();
    let model = copied_model(&archive);
    let model_arguments = ["--model", model.to_str().unwrap()];
    archive.annotate(&model_arguments, 0);
    let captioner_id = archive.last_run().captioner_id;

    let weights = model.join("captioner.safetensors");
    let time = modified(&weights);
    let mut bytes = fs::read(&weights).unwrap();
    // The lowest bits of the last number.
    let place = bytes.len() - 4;
    bytes[place] ^= 1;
    fs::write(&weights, bytes).unwrap();
    set_modified(&weights, time);
    archive.annotate(&model_arguments, 0);
    assert_eq!(archive.last_run().captioner_id, captioner_id);

    fs::copy(&samples()[20], archive.photo("new.png")).unwrap();
    let output = archive.annotate(&model_arguments, 4);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("--verify"), "{errors}");

    archive.annotate(&[&model_arguments[..], &["--verify"]].concat(), 0);
    let run = archive.last_run();
    assert_ne!(run.captioner_id, captioner_id);
    assert_eq!(run.counts.captioned, 11);
}

#[test]
fn a_plan_is_told_and_nothing_is_touched() {
    let archive = Archive::of_samples();
    let out = PathBuf::from(archive.out());
    let plan = |more: &[&str]| {
        let output = archive.annotate(&[&["--dry-run"], more].concat(), 0);
        String::from_utf8(output.stdout).unwrap()
    };
    let said = plan(&[]);
    assert!(said.contains("10  new\n"), "{said}");
    assert!(said.contains("Estimated time: unknown"), "{said}");
    assert!(!out.exists());

    fs::write(archive.photo("broken.jpg"), "no picture").unwrap();
    archive.annotate(&[], 1);
    fs::copy(&samples()[20], archive.photo("new.png")).unwrap();
    fs::remove_file(archive.photo("0.png")).unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    set_modified(&archive.photo("1.jpg"), later);
    let before = tree(out.parent().unwrap());
    // Another run may be at work.
    let held = Lock::acquire(&archive.layout(), chrono::Utc::now()).unwrap();
    let lock_noted = modified(&archive.layout().lock());

    let said = plan(&[]);
    let bytes = ["new.png", "1.jpg"].map(|name| fs::metadata(archive.photo(name)).unwrap().len());
    let bytes = indicatif::HumanBytes(bytes.iter().sum());
    for line in [
        "1  new\n",
        "1  changed or touched",
        "8  unchanged\n",
        "1  deleted\n",
        "1  failed before and unchanged",
        &format!("To read: 2 files, {bytes}\n"),
        "Estimated time: less than a second",
    ] {
        assert!(said.contains(line), "{said} lacks {line}");
    }
    let said = plan(&["--beam", "1"]);
    assert!(
        said.contains("8  to caption again, from cached features"),
        "{said}"
    );
    assert!(said.contains("Estimated time: unknown"), "{said}");
    let said = plan(&["--verify", "--retry-failed"]);
    assert!(
        said.contains("8  unchanged, to read all the same"),
        "{said}"
    );
    assert!(said.contains("1  failed before, to try again"), "{said}");
    fs::rename(out.join("embeddings"), out.join("elsewhere")).unwrap();
    let said = plan(&["--beam", "1"]);
    assert!(
        said.contains("8  to caption again, whose features are not cached"),
        "{said}"
    );
    fs::rename(out.join("elsewhere"), out.join("embeddings")).unwrap();

    drop(held);
    let mut after = tree(out.parent().unwrap());
    // What the test itself did: the lock, and two renames.
    for (path, seen) in &before {
        if *path == out || *path == archive.layout().lock() {
            after.insert(path.clone(), *seen);
        }
    }
    assert_eq!(after, before);
    assert_eq!(modified(&archive.layout().lock()), lock_noted);
}

#[test]
fn a_clock_that_was_set_back_loses_no_night() {
    let archive = Archive::of_samples();
    archive.annotate(&[], 0);
    let rows = archive.last_rows();

    // A run of the year 2099 was interrupted; it saw an older state of a picture.
    let layout = archive.layout();
    let future = "20990101T000000Z-00ff".parse().unwrap();
    let mut part = PartWriter::create(&layout, &future, 0);
    part.push(Row {
        run_id: future,
        bytes: 1,
        ..rows["0.png"].clone()
    })
    .unwrap();
    part.finish().unwrap();

    archive.annotate(&[], 0);
    let run = archive.last_run();
    assert!(run.run_id > future, "{}", run.run_id);
    assert_eq!(run.outcome, RunOutcome::Published);
    assert_eq!((run.counts.unchanged, run.counts.captioned), (9, 1));
    archive.annotate(&[], 0);
    assert_eq!(archive.last_run().counts.unchanged, 10);
    assert!(archive.last_run().run_id > run.run_id);
}
