//! The command, as cron and people run it, with the model that ships.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use showtell::nightly::{Lock, RunSummary, runs};
use showtell::table::{Layout, Outcome, PartFile, Row};
use tempfile::TempDir;

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the command in the repository.
pub fn showtell(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_showtell"))
        .args(arguments)
        .current_dir(repository())
        .output()
        .unwrap()
}

/// An archive with some of the samples, and an output directory that is not there yet.
pub struct Archive {
    scratch: TempDir,
}

impl Archive {
    pub fn empty() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("photos")).unwrap();
        Archive { scratch }
    }

    pub fn of_samples() -> Self {
        let archive = Self::empty();
        for (place, sample) in samples().iter().take(10).enumerate() {
            let extension = sample.extension().unwrap().to_str().unwrap();
            fs::copy(sample, archive.photo(&format!("{place}.{extension}"))).unwrap();
        }
        archive
    }

    pub fn directory(&self) -> String {
        self.scratch.path().join("photos").display().to_string()
    }

    pub fn photo(&self, name: &str) -> PathBuf {
        self.scratch.path().join("photos").join(name)
    }

    pub fn out(&self) -> String {
        self.scratch.path().join("out").display().to_string()
    }

    /// Annotates with `more` arguments, and expects the exit code.
    pub fn annotate(&self, more: &[&str], exit: i32) -> Output {
        let (directory, out) = (self.directory(), self.out());
        let arguments = [&["annotate", &directory, "--out", &out], more].concat();
        let output = showtell(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        output
    }

    pub fn layout(&self) -> Layout {
        Layout::open(Path::new(&self.out())).unwrap()
    }

    pub fn last_run(&self) -> RunSummary {
        runs(&self.layout()).unwrap().pop().unwrap().unwrap()
    }

    /// The rows that the last run wrote, by uri.
    pub fn last_rows(&self) -> BTreeMap<String, Row> {
        let layout = self.layout();
        let parts = self.last_run().captions;
        let read = |file: &str| {
            PartFile::open(&layout.absolute(file))
                .unwrap()
                .read()
                .unwrap()
        };
        let rows = parts.iter().flat_map(|part| read(&part.file));
        rows.map(|row| (row.uri.clone(), row)).collect()
    }
}

pub fn samples() -> Vec<PathBuf> {
    let truth = repository().join("data/samples/truth.json");
    let truth = showtell::scenes::read_truth(&truth).unwrap();
    truth
        .keys()
        .map(|name| repository().join("data/samples").join(name))
        .collect()
}

fn best(row: &Row) -> (&str, f32) {
    match &row.outcome {
        Outcome::Captioned(beams) => (&beams[0].caption, beams[0].score),
        other => panic!("{}: {other:?}", row.uri),
    }
}

#[test]
fn every_sample_is_captioned() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let output = showtell(&["annotate", "data/samples", "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("24 found = 24 captioned + 0 failed + 0 unchanged"),
        "{said}"
    );
    assert!(said.contains("The model demo is a demonstration"), "{said}");
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .lines()
            .all(|line| line.contains("INFO"))
    );
}

#[test]
fn captions_do_not_depend_on_the_batch() {
    let archive = Archive::of_samples();
    // Where bf16 rounds otherwise, scores differ by more.
    archive.annotate(&["--batch", "64", "--precision", "fp32"], 0);
    let expected = archive.last_rows();
    for batch in ["1", "7"] {
        fs::remove_dir_all(archive.out()).unwrap();
        archive.annotate(&["--batch", batch, "--precision", "fp32"], 0);
        let found = archive.last_rows();
        assert_eq!(found.len(), expected.len());
        for (uri, row) in &found {
            let ((caption, score), (as_before, score_before)) = (best(row), best(&expected[uri]));
            assert_eq!(caption, as_before, "{uri} in batches of {batch}");
            assert!(
                (score - score_before).abs() < 1e-4,
                "{uri}: {score} and {score_before}"
            );
        }
    }
}

#[test]
fn a_second_run_does_only_what_is_new() {
    let archive = Archive::of_samples();
    archive.annotate(&[], 0);
    assert_eq!(archive.last_run().counts.embedded, 10);

    archive.annotate(&[], 0);
    let run = archive.last_run();
    assert_eq!(
        (run.counts.unchanged, run.counts.captioned, run.bytes_read),
        (10, 0, 0)
    );
    assert!(run.captions.is_empty());

    // A copy is read, but neither decoded nor embedded; a new picture is.
    fs::copy(archive.photo("0.png"), archive.photo("copy.png")).unwrap();
    fs::copy(&samples()[20], archive.photo("new")).unwrap();
    fs::remove_file(archive.photo("1.jpg")).unwrap();
    archive.annotate(&[], 0);
    let run = archive.last_run();
    let counts = run.counts;
    assert_eq!(
        (counts.unchanged, counts.captioned, counts.deleted),
        (9, 2, 1)
    );
    assert_eq!(counts.embedded, 1);
    let rows = archive.last_rows();
    assert_eq!(rows["1.jpg"].outcome, Outcome::Deleted);
    assert_eq!(rows.len(), 3);
}

#[test]
fn other_decode_parameters_read_no_image() {
    let archive = Archive::of_samples();
    archive.annotate(&["--beam", "3"], 0);
    let three = archive.last_rows();
    archive.annotate(&["--beam", "1"], 0);
    let run = archive.last_run();
    assert_eq!(
        (run.counts.captioned, run.counts.embedded, run.bytes_read),
        (10, 0, 0)
    );
    for (uri, row) in archive.last_rows() {
        let Outcome::Captioned(beams) = row.outcome else {
            panic!("{uri}")
        };
        assert_eq!(beams.len(), 1);
    }
    archive.annotate(&["--beam", "3"], 0);
    for (uri, row) in archive.last_rows() {
        assert_eq!(
            row.outcome, three[&uri].outcome,
            "the same from the cache as from the picture"
        );
        assert_eq!((row.width, row.height, &row.format), {
            let before = &three[&uri];
            (before.width, before.height, &before.format)
        });
    }
}

#[test]
fn bad_files_are_rows_and_good_ones_among_them_are_captioned() {
    let archive = Archive::of_samples();
    let whole = fs::read(archive.photo("1.jpg")).unwrap();
    fs::write(archive.photo("cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    fs::write(archive.photo("text.jpg"), "no picture at all").unwrap();
    fs::write(archive.photo("notes.txt"), "no picture, and no one says so").unwrap();
    fs::write(archive.photo("empty.png"), "").unwrap();
    let output = archive.annotate(&[], 1);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("13 found = 10 captioned + 3 failed + 0 unchanged"),
        "{said}"
    );
    let rows = archive.last_rows();
    for name in ["cut.jpg", "text.jpg", "empty.png"] {
        let Outcome::Failed(failure) = &rows[name].outcome else {
            panic!("{name}")
        };
        assert!(
            failure.reason.len() > 10 && !failure.reason.contains('\n'),
            "{}",
            failure.reason
        );
    }
    assert!(!rows.contains_key("notes.txt"));

    // They are not tried again, and still no reason to call the night a success.
    archive.annotate(&[], 1);
    assert_eq!(archive.last_run().counts.unchanged_failed, 3);
    fs::remove_file(archive.photo("cut.jpg")).unwrap();
    fs::remove_file(archive.photo("text.jpg")).unwrap();
    fs::copy(archive.photo("0.png"), archive.photo("empty.png")).unwrap();
    archive.annotate(&[], 0);
}

#[test]
fn a_folder_of_odd_and_broken_files_becomes_rows() {
    use crate::broken;
    let archive = Archive::empty();
    let expected = broken::write_broken_folder(Path::new(&archive.directory()));
    archive.annotate(&[], 1);
    let mut rows = archive.last_rows();
    for broken::Expected { uri, outcome } in &expected {
        let row = rows.remove(uri);
        match (outcome, row) {
            (broken::Outcome::NoRow, None) => {}
            (broken::Outcome::Shown { width, height }, Some(row)) => {
                assert!(!best(&row).0.is_empty(), "{uri}");
                assert_eq!(
                    (row.width, row.height),
                    (Some(*width), Some(*height)),
                    "{uri}"
                );
            }
            (broken::Outcome::Failed(words) | broken::Outcome::Unreadable(words), Some(row)) => {
                let Outcome::Failed(failure) = row.outcome else {
                    panic!("{uri} was captioned")
                };
                assert!(failure.reason.contains(words), "{uri}: {}", failure.reason);
            }
            (expected, found) => panic!("{uri}: expected {expected:?}, found {found:?}"),
        }
    }
    assert!(rows.is_empty(), "not expected: {:?}", rows.keys());
}

#[test]
fn an_empty_archive_gives_an_empty_table_and_a_warning() {
    let archive = Archive::empty();
    fs::write(archive.photo("notes.txt"), "minutes of the meeting").unwrap();
    std::os::unix::fs::symlink(&samples()[0], archive.photo("elsewhere.png")).unwrap();
    let output = archive.annotate(&["--quiet"], 0);
    assert!(archive.layout().snapshot().is_file());
    assert_eq!(archive.last_run().counts.found, 0);
    let warning = String::from_utf8_lossy(&output.stderr);
    let expected = [
        "no image was found below",
        "other files: 1",
        "links out of the directory",
    ];
    for part in expected {
        assert!(warning.contains(part), "{warning}");
    }
}

#[test]
fn a_second_run_at_the_same_time_is_turned_away() {
    let archive = Archive::of_samples();
    let layout = Layout::create(Path::new(&archive.out())).unwrap();
    let _held = Lock::acquire(&layout, chrono::Utc::now()).unwrap();
    let output = archive.annotate(&[], 75);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is held by"));
    assert!(!layout.snapshot().exists());
}

#[test]
fn wrong_usage_touches_nothing() {
    let archive = Archive::of_samples();
    let below = format!("{}/thumbs", archive.directory());
    let wrong: [&[&str]; 7] = [
        &["--exclude", ""],
        &["--exclude", &below],
        &["--model", "no-such-model"],
        &["--beam", "0"],
        &["--device", "cuda:99"],
        &["--exclude", "[a"],
        &["--weights", "absent.pth"],
    ];
    for arguments in wrong {
        let output = archive.annotate(arguments, 2);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !Path::new(&archive.out()).exists(),
            "{arguments:?}: {errors}"
        );
        assert_eq!(errors.trim().lines().count(), 1, "{errors}");
    }
    let absent = archive.photo("absent");
    let output = showtell(&[
        "annotate",
        absent.to_str().unwrap(),
        "--out",
        &archive.out(),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent"));
}

#[test]
fn features_alone_are_computed_once() {
    let archive = Archive::of_samples();
    let weights = repository().join("data/models/demo/encoder.safetensors");
    let embed = |weights: &Path| {
        let (directory, out) = (archive.directory(), archive.out());
        showtell(&[
            "embed",
            &directory,
            "--out",
            &out,
            "--weights",
            weights.to_str().unwrap(),
        ])
    };
    // The narrow network's weights are no full-size VGG-16.
    let output = embed(&weights);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("tensor features.0.weight has shape"),
        "{errors}"
    );
}

#[test]
fn a_report_that_nobody_can_read_ends_no_run() {
    let archive = Archive::of_samples();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let exit = |directory: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_showtell"));
        command.args(["annotate", directory, "--out", &archive.out()]);
        command.args(more).current_dir(repository());
        let status = command.stdout(full()).stderr(full()).status().unwrap();
        status.code()
    };
    assert_eq!(exit(&archive.directory(), &["-v"]), Some(0));
    assert_eq!(archive.last_run().counts.captioned, 10);
    assert_eq!(exit("absent", &[]), Some(2));
    let _held = Lock::acquire(&archive.layout(), chrono::Utc::now()).unwrap();
    assert_eq!(exit(&archive.directory(), &[]), Some(75));
}

#[test]
fn a_directory_is_one_however_it_is_named() {
    let archive = Archive::of_samples();
    let directory = archive.directory();
    let again = format!("{directory}/../photos");
    archive.annotate(&[&again], 0);
    let run = archive.last_run();
    assert_eq!((run.counts.found, run.roots), (10, vec![directory.clone()]));

    let output = showtell(&["annotate", &again, "--out", &archive.out()]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("name it as before"), "{errors}");

    fs::create_dir(archive.photo("inner")).unwrap();
    archive.annotate(&[archive.photo("inner").to_str().unwrap()], 0);
    let warnings = archive.last_run().warnings.join(" ");
    assert!(warnings.contains("inner lies in"), "{warnings}");
}

#[test]
fn parts_that_were_removed_are_written_again() {
    let archive = Archive::of_samples();
    archive.annotate(&[], 0);
    let rows = || {
        let layout = archive.layout();
        let runs = layout.runs_with_rows().unwrap();
        let parts = runs.iter().flat_map(|run| layout.parts(run).unwrap());
        let read = |path: PathBuf| PartFile::open(&path).unwrap().read().unwrap();
        let mut rows: Vec<Row> = parts.flat_map(read).collect();
        rows.sort_by(|a, b| a.uri.cmp(&b.uri));
        rows
    };
    let before = rows();
    assert_eq!(before.len(), 10);
    for run in fs::read_dir(archive.layout().captions()).unwrap() {
        fs::remove_dir_all(run.unwrap().path()).unwrap();
    }
    let output = archive.annotate(&[], 0);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("parts are missing"), "{errors}");
    assert_eq!(archive.last_run().counts.unchanged, 10);
    assert_eq!(rows(), before);
    assert!(archive.annotate(&["--quiet"], 0).stderr.is_empty());
}

#[test]
fn what_cannot_be_decoded_has_its_format_all_the_same() {
    let archive = Archive::empty();
    fs::write(
        archive.photo("a.png"),
        b"\x89PNG\r\n\x1a\nand then nothing of it",
    )
    .unwrap();
    archive.annotate(&[], 1);
    let row = &archive.last_rows()["a.png"];
    assert_eq!((row.format.as_deref(), row.width), (Some("png"), None));
}
