//! What people do with an output between runs: look at it, look into the past, compact it, watch it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use showtell::nightly::{Lock, RunOutcome, RunSummary};
use showtell::table::{Layout, RunId, SealedWriter, rows_to_batch, schema};
use tempfile::TempDir;

fn showtell(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_showtell"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

/// An archive of a few samples that nights change, and its output.
struct Nights {
    scratch: TempDir,
}

impl Nights {
    /// Two pictures and, in a second root, one of the same name.
    fn begin() -> Self {
        let nights = Self {
            scratch: tempfile::tempdir().unwrap(),
        };
        for (photo, sample) in [
            ("first/a.jpg", "first.png"),
            ("first/sub/b.png", "second.jpg"),
            ("second/a.jpg", "second.jpg"),
        ] {
            nights.put(photo, sample);
        }
        nights
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn put(&self, photo: &str, sample: &str) {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/samples");
        fs::create_dir_all(self.path(photo).parent().unwrap()).unwrap();
        fs::copy(samples.join(sample), self.path(photo)).unwrap();
    }

    fn annotate(&self, more: &[&str]) -> i32 {
        let (first, second, out) = (self.name("first"), self.name("second"), self.name("out"));
        let arguments = [&["annotate", &first, &second, "--out", &out], more].concat();
        let output = showtell(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("panicked"), "{errors}");
        output.status.code().unwrap()
    }

    /// The command over the output; what it printed, if it ended with `exit`.
    fn ask(&self, command: &str, more: &[&str], exit: i32) -> String {
        let out = self.name("out");
        let output = showtell(&[&[command, &out], more].concat());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{errors}");
        match exit {
            0 => String::from_utf8(output.stdout).unwrap(),
            _ => errors,
        }
    }

    fn json(&self, command: &str, more: &[&str]) -> Value {
        let said = self.ask(command, &[more, &["--json"]].concat(), 0);
        serde_json::from_str(&said).unwrap()
    }

    fn layout(&self) -> Layout {
        Layout::open(&self.path("out")).unwrap()
    }

    /// The files of the output and their bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let walk = walkdir::WalkDir::new(self.path("out")).into_iter();
        let files = walk
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file());
        files
            .map(|entry| (entry.path().to_owned(), fs::read(entry.path()).unwrap()))
            .collect()
    }

    fn parts(&self) -> usize {
        let files = self.files().into_keys();
        files
            .filter(|path| path.to_string_lossy().contains("/captions/run="))
            .count()
    }

    /// Four nights: all is new; one is changed and one gone; one is no picture; another beam.
    fn four() -> Self {
        let nights = Self::begin();
        assert_eq!(nights.annotate(&[]), 0);
        nights.put("first/a.jpg", "web/picture.webp");
        fs::remove_file(nights.path("first/sub/b.png")).unwrap();
        assert_eq!(nights.annotate(&[]), 0);
        fs::write(nights.path("first/bad.jpg"), "no picture").unwrap();
        assert_eq!(nights.annotate(&[]), 1);
        assert_eq!(nights.annotate(&["--beam", "1"]), 1);
        nights
    }
}

#[test]
fn runs_are_listed() {
    let nights = Nights::four();
    let runs = nights.json("runs", &[]);
    let counts = |run: usize, count: &str| runs[run]["counts"][count].as_u64().unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 4);
    assert_eq!((counts(0, "captioned"), counts(0, "found")), (3, 3));
    assert_eq!(
        (
            counts(1, "captioned"),
            counts(1, "deleted"),
            counts(1, "unchanged")
        ),
        (1, 1, 1)
    );
    assert_eq!(counts(2, "failed"), 1);
    assert!(runs[0]["images_per_second"].as_f64().unwrap() > 0.0);
    let slowest = runs[0]["slowest_stage"].as_str().unwrap();
    let stages = runs[0]["stages"].as_object().unwrap();
    let seconds = |stage: &str| stages[stage]["seconds"].as_f64().unwrap();
    assert!(stages[slowest]["items"].as_u64().unwrap() > 0);
    let busy = seconds(slowest);
    let nothing_longer =
        |stage: &String| stages[stage]["items"].as_u64() == Some(0) || seconds(stage) <= busy;
    assert!(stages.keys().all(nothing_longer), "{slowest}: {stages:?}");
    assert!(
        runs.as_array()
            .unwrap()
            .iter()
            .all(|run| run["outcome"] == "published")
    );

    let said = nights.ask("runs", &[], 0);
    let heading: Vec<_> = said.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading[..4], ["run", "started", "took", "outcome"]);
    assert_eq!(said.lines().count(), 5);
    let said = nights.ask("runs", &["--last", "1"], 0);
    assert!(said.starts_with("3 earlier runs are not shown"), "{said}");
    assert_eq!(said.lines().count(), 3);

    // One that was killed has rows, but no summary; one may have any.
    let ids: Vec<String> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["run_id"].as_str().unwrap().to_owned())
        .collect();
    let summary = |run: usize| nights.layout().summary(&ids[run].parse::<RunId>().unwrap());
    fs::remove_file(summary(1)).unwrap();
    fs::write(summary(2), "{").unwrap();
    let outcomes = |nights: &Nights| {
        let runs = nights.json("runs", &[]);
        let runs = runs.as_array().unwrap().iter();
        runs.map(|run| run["outcome"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        outcomes(&nights),
        ["published", "killed", "unreadable", "published"]
    );

    // The last one holds the lock.
    fs::remove_file(summary(3)).unwrap();
    let held = Lock::acquire(&nights.layout(), chrono::Utc::now()).unwrap();
    assert_eq!(outcomes(&nights)[3], "under way");
    assert!(nights.ask("status", &[], 0).contains("Under way: process "));
    drop(held);
    assert_eq!(outcomes(&nights)[3], "killed");
    assert!(!nights.ask("status", &[], 0).contains("Under way"));
}

#[test]
fn the_table_stands_on_one_screen() {
    let nights = Nights::four();
    let status = nights.json("status", &[]);
    assert_eq!(status["rows"]["captioned"], 2);
    assert_eq!(status["rows"]["failed"], 1);
    let stages = status["failed_by_stage"].as_object().unwrap();
    assert_eq!(stages.values().collect::<Vec<_>>(), [1]);
    assert_eq!(status["model"], "demo");
    assert_eq!(status["models"][0]["rows"], 2);
    assert_eq!(
        status["captions"]["files"].as_u64().unwrap() as usize,
        nights.parts()
    );
    assert_eq!(status["embeddings"][0]["rows"], 3);
    assert_eq!(status["last_runs"].as_array().unwrap().len(), 4);
    assert_eq!(status["damaged"].as_array().unwrap().len(), 0);
    assert_eq!(status["under_way"], Value::Null);

    let said = nights.ask("status", &[], 0);
    assert!(said.contains(" holds 3 images as of run "), "{said}");
    assert!(said.lines().count() < 30, "{said}");

    // A file cut short is named, and the rest still told.
    let layout = nights.layout();
    let run_id = layout.runs_with_rows().unwrap()[0];
    let part = layout.part(&run_id, 0);
    let whole = fs::read(&part).unwrap();
    fs::write(&part, &whole[..whole.len() - 20]).unwrap();
    let status = nights.json("status", &[]);
    let damaged = status["damaged"][0].as_str().unwrap();
    assert!(damaged.contains(&part.display().to_string()), "{damaged}");
    assert_eq!(status["rows"]["captioned"], 2);
}

#[test]
fn an_image_has_a_history() {
    let nights = Nights::four();
    let of = |uri: &str| -> Vec<(String, String, String)> {
        let rows = nights.json("history", &[uri]);
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| {
            let root = text(row, "root");
            let root = root.rsplit('/').next().unwrap().to_owned();
            (root, text(row, "status"), text(row, "standing"))
        })
        .collect()
    };
    let row = |root: &str, status: &str, standing: &str| {
        (root.to_owned(), status.to_owned(), standing.to_owned())
    };
    assert_eq!(
        of("a.jpg"),
        [
            row("first", "captioned", "superseded"),
            row("first", "captioned", "superseded"),
            row("first", "captioned", "current"),
            row("second", "captioned", "superseded"),
            row("second", "captioned", "current"),
        ]
    );
    let deleted = [
        row("first", "captioned", "superseded"),
        row("first", "deleted", "current"),
    ];
    assert_eq!(of("sub/b.png"), deleted);
    // With its root before it, it is the one of that root.
    assert_eq!(of(&format!("{}/a.jpg", nights.name("second"))).len(), 2);
    let beams = nights.json("history", &["a.jpg"]);
    assert_eq!(beams[0]["beams"].as_array().unwrap().len(), 3);
    assert_eq!(beams[2]["beams"].as_array().unwrap().len(), 1);
    assert_eq!(beams[0]["caption"], beams[0]["beams"][0]["caption"]);

    let said = nights.ask("history", &["bad.jpg"], 0);
    assert!(said.contains("failed"), "{said}");
    let errors = nights.ask("history", &["sub/c.png"], 2);
    let expected = "the table has no image \"sub/c.png\"; nearest to it: \"sub/b.png\"";
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn looking_changes_nothing() {
    let nights = Nights::four();
    // What a run beside it is about to finish.
    let layout = nights.layout();
    let half = layout.out().join(".captions.arrow.tmp");
    fs::write(&half, "half").unwrap();
    let _held = Lock::acquire(&layout, chrono::Utc::now()).unwrap();
    let before = nights.files();
    nights.ask("runs", &[], 0);
    nights.ask("status", &[], 0);
    nights.ask("history", &["a.jpg"], 0);
    assert!(nights.files() == before);
}

#[test]
fn what_is_no_output_is_said_so() {
    let nights = Nights::begin();
    for command in [
        &["runs"][..],
        &["status"],
        &["history", "a.jpg"],
        &["compact"],
    ] {
        let errors = nights.ask(command[0], &command[1..], 2);
        assert!(errors.contains("does not exist"), "{errors}");
        assert!(!nights.path("out").exists());
    }
    // The archive, by mistake.
    let errors = String::from_utf8(showtell(&["compact", &nights.name("first")]).stderr).unwrap();
    assert!(errors.contains("holds something else"), "{errors}");
    assert!(!nights.path("first/.lock").exists());
}

#[test]
fn a_table_of_another_version_is_left_alone() {
    let nights = Nights::four();
    let layout = nights.layout();
    let run_id: RunId = "99980101T000000Z-0000".parse().unwrap();
    fs::create_dir(layout.run(&run_id)).unwrap();
    let path = layout.part(&run_id, 0);
    let properties = parquet::file::properties::WriterProperties::builder();
    let mut writer = SealedWriter::create(&path, schema(), properties).unwrap();
    writer
        .write_row_group(&rows_to_batch(&[]).unwrap())
        .unwrap();
    writer.note("showtell.table_version", "2");
    writer.finish().unwrap();
    let before = nights.files();
    let commands = [
        &["status"][..],
        &["history", "a.jpg"],
        &["compact"],
        &["compact", "--dry-run"],
    ];
    for command in commands {
        let errors = nights.ask(command[0], &command[1..], 4);
        assert!(errors.contains("is of table version 2"), "{errors}");
    }
    assert_eq!(nights.annotate(&[]), 4);
    let lock = layout.lock();
    let files = |files: BTreeMap<PathBuf, Vec<u8>>| {
        files
            .into_iter()
            .filter(|(path, _)| *path != lock)
            .collect::<Vec<_>>()
    };
    assert!(files(nights.files()) == files(before));
}

#[test]
fn compacting_leaves_the_table_as_it_was() {
    let nights = Nights::four();
    let snapshot = fs::read(nights.layout().snapshot()).unwrap();
    assert_eq!(nights.parts(), 4);

    // All rows are younger than superseded ones are kept; only parts of features can be merged.
    let said = nights.ask("compact", &[], 0);
    assert!(
        said.contains("2 parts into 1, 3 rows kept, 0 dropped"),
        "{said}"
    );
    assert_eq!(nights.ask("compact", &[], 0), "Nothing to compact.\n");
    assert_eq!(nights.parts(), 4);
    let before = nights.files();
    let said = nights.ask("compact", &["--keep", "0", "--dry-run"], 0);
    assert!(
        said.contains("4 parts into 1, 3 rows kept, 5 dropped"),
        "{said}"
    );
    let lock = nights.layout().lock();
    let but_lock = |mut files: BTreeMap<PathBuf, Vec<u8>>| {
        files.remove(&lock);
        files
    };
    assert!(but_lock(nights.files()) == but_lock(before));

    let done = nights.json("compact", &["--keep", "0"]);
    assert_eq!(done["captions"][0]["rows_after"], 3);
    // The first a.jpg of `first` and what was b.png: the first is in `second` too.
    assert_eq!(done["embeddings"][0]["rows_after"], 2);
    assert_eq!(nights.parts(), 1);
    assert!(fs::read(nights.layout().snapshot()).unwrap() == snapshot);
    assert_eq!(
        nights.ask("compact", &["--keep", "0"], 0),
        "Nothing to compact.\n"
    );

    // Neither the past nor the next night is disturbed.
    let runs = nights.json("runs", &[]);
    assert_eq!(runs.as_array().unwrap().len(), 4);
    assert_eq!(
        nights.json("history", &["a.jpg"]).as_array().unwrap().len(),
        2
    );
    let status = nights.json("status", &[]);
    assert_eq!(status["damaged"].as_array().unwrap().len(), 0);
    assert_eq!(nights.annotate(&["--beam", "1"]), 1);
    let last = nights.layout().runs_with_summary().unwrap().pop().unwrap();
    let last = RunSummary::read(&nights.layout(), &last).unwrap().unwrap();
    assert_eq!(last.outcome, RunOutcome::Published);
    assert_eq!(
        (last.counts.unchanged, last.counts.embedded, last.bytes_read),
        (3, 0, 0)
    );
    assert_eq!(last.warnings, Vec::<String>::new());

    // The snapshot is made again from what is left.
    fs::remove_file(nights.layout().snapshot()).unwrap();
    assert_eq!(nights.annotate(&["--beam", "1"]), 1);
    assert_eq!(nights.json("status", &[])["rows"]["captioned"], 2);
}

#[test]
fn compacting_waits_for_nobody() {
    let nights = Nights::four();
    let _held = Lock::acquire(&nights.layout(), chrono::Utc::now()).unwrap();
    let errors = nights.ask("compact", &["--keep", "0"], 75);
    assert!(errors.contains("is held by"), "{errors}");
    assert_eq!(nights.parts(), 4);
}

#[test]
fn every_end_of_a_run_is_measured() {
    let nights = Nights::begin();
    let file = nights.name("showtell.prom");
    let annotate = |more: &[&str]| {
        let exit = nights.annotate(&[more, &["--metrics-file", &file]].concat());
        let text = fs::read_to_string(&file).unwrap();
        check_with_prometheus_client(&file);
        assert_eq!(metric(&text, "last_run_exit_code", ""), f64::from(exit));
        assert_eq!(
            metric(
                &text,
                "last_run_state",
                &format!(",state=\"{}\"", state(exit))
            ),
            1.0
        );
        text
    };
    let text = annotate(&[]);
    assert_eq!(
        metric(&text, "last_run_images", ",outcome=\"captioned\""),
        3.0
    );
    assert_eq!(metric(&text, "last_run_found_images", ""), 3.0);
    assert_eq!(
        metric(&text, "last_run_stage_items", ",stage=\"encode\""),
        2.0
    );
    assert!(metric(&text, "last_run_read_bytes", "") > 1000.0);
    let success = metric(&text, "last_success_timestamp_seconds", "");

    fs::write(nights.path("first/bad.jpg"), "no picture").unwrap();
    let text = annotate(&[]);
    assert_eq!(metric(&text, "last_run_images", ",outcome=\"failed\""), 1.0);
    assert_eq!(
        metric(&text, "last_run_images", ",outcome=\"unchanged\""),
        3.0
    );
    let again = metric(&text, "last_success_timestamp_seconds", "");
    assert!(again > success);

    // Before anything was touched, and by another run's lock.
    annotate(&["--model", "no-such-model"]);
    let held = Lock::acquire(&nights.layout(), chrono::Utc::now()).unwrap();
    annotate(&[]);
    drop(held);
    // All of a directory gone.
    fs::rename(nights.path("second/a.jpg"), nights.path("a.jpg")).unwrap();
    annotate(&[]);
    fs::rename(nights.path("a.jpg"), nights.path("second/a.jpg")).unwrap();
    // An output that is no longer what it was.
    fs::remove_dir_all(nights.path("out/captions")).unwrap();
    fs::write(nights.path("out/captions"), "in the way").unwrap();
    let text = annotate(&[]);
    assert_eq!(metric(&text, "last_run_exit_code", ""), 4.0);
    assert_eq!(metric(&text, "last_success_timestamp_seconds", ""), again);
    for (state, runs) in [
        ("complete", 1.0),
        ("some_failed", 1.0),
        ("usage", 1.0),
        ("refused", 1.0),
        ("held", 1.0),
        ("fatal", 1.0),
    ] {
        let label = format!(",state=\"{state}\"");
        assert_eq!(metric(&text, "runs_total", &label), runs, "{state}");
    }
    assert!(metric(&text, "images_total", ",outcome=\"captioned\"") >= 3.0);

    let absent = nights.name("absent/showtell.prom");
    assert_eq!(nights.annotate(&["--metrics-file", &absent]), 2);
    let unread = nights.name("showtell.txt");
    assert_eq!(nights.annotate(&["--metrics-file", &unread]), 2);
}

fn state(exit: i32) -> &'static str {
    match exit {
        0 => "complete",
        1 => "some_failed",
        2 => "usage",
        3 => "refused",
        4 => "fatal",
        75 => "held",
        other => panic!("{other}"),
    }
}

/// The value of a metric whose labels end so.
fn metric(text: &str, name: &str, labels: &str) -> f64 {
    let name = format!("showtell_{name}{{out=\"");
    let labels = format!("\"{labels}}}");
    let mut values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.starts_with(&name) && series.ends_with(&labels)).then(|| value.parse().unwrap())
    });
    values
        .next()
        .unwrap_or_else(|| panic!("no {name} {labels} in {text}"))
}

/// Needs a Python with tests/readers/requirements.txt: `SHOWTELL_READERS=python cargo test`.
fn check_with_prometheus_client(file: &str) {
    let Ok(python) = std::env::var("SHOWTELL_READERS") else {
        eprintln!("NOT RUN: SHOWTELL_READERS names no Python");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/metrics.py");
    let read = Command::new(python).arg(script).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{said}");
}
