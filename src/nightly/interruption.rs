//! Kills runs at every moment, or the machine under them, and looks at what the next run finds.
//!
//! After each step that changes the disk the output directory is copied as it is: that is what a
//! killed run leaves. Or only what was synced by then is copied: that is what a power loss leaves.
//! From each copy the next run has to start with exactly the rows of the parts finished by then, none
//! lost and none twice, and with the features of each of them.

mod disk;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use chrono::DateTime;
use proptest::prelude::*;

use disk::Disk;

use super::publication::set_aside;
use super::{Counts, Lock, RunOutcome, RunSummary, State};
use crate::archive::key_order;
use crate::cache::{Cache, CacheWriter, Precision, Spec};
use crate::table::arbitrary::{copy_tree, row, run_id, scratch};
use crate::table::{Known, Layout, Outcome, PartWriter, Row, RunId, SnapshotNotes, steps};

const DIMS: usize = 3;

/// What a run writes and how it ends.
#[derive(Debug, Clone)]
struct Run {
    /// Of each part, the images and whether they are gone.
    parts: Vec<Vec<(u8, bool)>>,
    outcome: RunOutcome,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let image = (0u8..6, prop::bool::weighted(0.3));
    let parts = prop::collection::vec(prop::collection::vec(image, 1..4), 0..3);
    let outcomes = [
        RunOutcome::Published,
        RunOutcome::Refused,
        RunOutcome::Interrupted,
    ];
    let outcome = prop::sample::select(outcomes.to_vec());
    let run = (parts, outcome).prop_map(|(parts, outcome)| Run { parts, outcome });
    prop::collection::vec(run, 1..4)
}

impl Run {
    /// The rows of each part; a path comes once in a run.
    fn rows(&self, run_id: RunId) -> Vec<Vec<Row>> {
        let mut met = std::collections::HashSet::new();
        let mut rows = Vec::new();
        for part in &self.parts {
            let new = part.iter().filter(|(image, _)| met.insert(*image));
            let part = new.map(|(image, gone)| {
                let mut row = row(&format!("{}/{image}.jpg", image % 2));
                row.run_id = run_id;
                if *gone {
                    row.outcome = Outcome::Deleted;
                    row.identity = None;
                }
                row
            });
            let mut part: Vec<_> = part.collect();
            part.sort_by(|a, b| key_order(a.key(), b.key()));
            rows.push(part);
        }
        rows
    }
}

/// What has to be on disk.
#[derive(Default, Clone)]
struct Expected {
    /// The current rows, by path, as they were last published.
    published: BTreeMap<String, Row>,
    /// Rows of finished parts that are not published yet, by run.
    pending: BTreeMap<RunId, Vec<Row>>,
    /// Of the part that is being written.
    writing: Vec<Row>,
    kills: usize,
}

impl Expected {
    fn finish_part(&mut self) {
        for row in std::mem::take(&mut self.writing) {
            self.pending.entry(row.run_id).or_default().push(row);
        }
    }

    fn publish(&mut self) {
        self.published = self.current();
        self.pending.clear();
    }

    fn current(&self) -> BTreeMap<String, Row> {
        let mut current = self.published.clone();
        for row in self.pending.values().flatten() {
            match row.outcome {
                Outcome::Deleted => current.remove(&row.uri),
                _ => current.insert(row.uri.clone(), row.clone()),
            };
        }
        current
    }

    fn rows(&self) -> Vec<(String, RunId)> {
        let rows = self.current().into_values();
        rows.map(|row| (row.uri, row.run_id)).collect()
    }
}

/// What ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accident {
    /// What is on the disk stays.
    Kill,
    /// Of what was not synced, nothing had reached the disk.
    PowerLoss,
    /// Of what was not synced, the names had reached the disk.
    PowerLossAfterNames,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn a_kill_at_any_moment_loses_nothing_that_was_finished(runs in runs()) {
        suffer(&runs, Accident::Kill);
    }

    #[test]
    fn a_power_loss_at_any_moment_loses_nothing_that_was_finished(runs in runs()) {
        suffer(&runs, Accident::PowerLoss);
        suffer(&runs, Accident::PowerLossAfterNames);
    }
}

/// Does `runs`, and at every moment looks at what `accident` would have left.
fn suffer(runs: &[Run], accident: Accident) {
    let (out, copies) = (scratch(), scratch());
    let expected = Rc::new(RefCell::new(Expected::default()));
    let mut disk = Disk::new(out.path());
    let watch = {
        let (out, expected) = (out.path().to_owned(), expected.clone());
        move |step: &'static str, path: &Path| {
            disk.step(step, path);
            let mut expected = expected.borrow_mut();
            // From this step on a file is there.
            let named = match accident {
                Accident::PowerLoss => "sync directory",
                _ => "rename",
            };
            let name = path.file_name().unwrap().to_string_lossy();
            let moved = match accident {
                Accident::PowerLoss => "sync directory",
                _ => "move",
            };
            let is_part = name.ends_with(".parquet");
            if step == named && is_part && path.starts_with(out.join("captions")) {
                expected.finish_part();
            } else if step == named && name == "captions.arrow" {
                expected.publish();
            } else if step == moved
                && path.starts_with(out.join("refused"))
                && let Some(run_id) = name.strip_prefix("run=")
            {
                expected.pending.remove(&run_id.parse().unwrap());
            }
            expected.kills += 1;
            let copy = copies.path().join(expected.kills.to_string());
            match accident {
                Accident::Kill => copy_tree(&out, &copy),
                Accident::PowerLoss => disk.write_durable(&copy),
                Accident::PowerLossAfterNames => disk.write_with_names(&copy),
            }
            check(&copy, &expected, step, path);
            fs::remove_dir_all(&copy).unwrap();
        }
    };
    steps::watched(watch, || {
        for (number, run) in (1..).zip(runs) {
            annotate(out.path(), run_id(number), run, &expected);
        }
    });
    let expected = expected.borrow();
    assert!(expected.kills > 0);
    check(out.path(), &expected, "end", out.path());
}

/// What a run does, in the order in which it does it.
fn annotate(out: &Path, run_id: RunId, run: &Run, expected: &RefCell<Expected>) {
    let layout = Layout::create(out).unwrap();
    let lock = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
    let state = State::open(&layout, &lock).unwrap();
    let cache = Arc::new(Cache::open(&layout, spec()).unwrap());
    let mut features = CacheWriter::new(cache, &layout, &run_id);
    let mut captions = Vec::new();
    for (number, rows) in (0..).zip(run.rows(run_id)) {
        for id in rows.iter().filter_map(|row| row.image_id) {
            features.append(id, &[0.5; DIMS]).unwrap();
        }
        features.finish_part().unwrap();
        let mut part = PartWriter::create(&layout, &run_id, number);
        rows.iter().cloned().for_each(|row| part.push(row).unwrap());
        expected.borrow_mut().writing = rows;
        captions.extend(part.finish().unwrap());
    }
    let mut snapshot = None;
    if run.outcome == RunOutcome::Published {
        let notes = SnapshotNotes {
            run_id,
            model: "demo".to_owned(),
        };
        snapshot = Some(state.publish(&captions, &notes).unwrap());
    }
    if run.outcome == RunOutcome::Refused {
        set_aside(&layout, &state, &run_id).unwrap();
    }
    // An interrupted run may or may not live to write its summary.
    if run.outcome != RunOutcome::Interrupted || run.parts.len().is_multiple_of(2) {
        let embeddings = features.parts().to_vec();
        summary(run_id, run.outcome, captions, embeddings, snapshot)
            .write(&layout)
            .unwrap();
    }
}

pub(super) fn summary(
    run_id: RunId,
    outcome: RunOutcome,
    captions: Vec<crate::table::Part>,
    embeddings: Vec<crate::table::Part>,
    snapshot: Option<crate::table::Part>,
) -> RunSummary {
    RunSummary {
        run_id,
        outcome,
        started: DateTime::UNIX_EPOCH,
        finished: DateTime::UNIX_EPOCH,
        version: "0".to_owned(),
        roots: vec!["archive".to_owned()],
        options: BTreeMap::new(),
        model: "demo".to_owned(),
        encoder_id: "encoder".to_owned(),
        encoder_source: None,
        captioner_id: None,
        captioner_source: None,
        decoding: None,
        counts: Counts::default(),
        bytes_read: 0,
        stages: BTreeMap::new(),
        slowest_stage: None,
        captions,
        embeddings,
        snapshot,
        caption_sample: None,
        findings: Vec::new(),
        warnings: Vec::new(),
    }
}

fn spec() -> Spec {
    Spec {
        encoder_id: "encoder".to_owned(),
        dims: DIMS,
        precision: Precision::Bfloat16,
    }
}

/// What the next run finds in `out`.
fn check(out: &Path, expected: &Expected, step: &str, path: &Path) {
    let moment = format!("killed after {step} of {}", path.display());
    let layout = Layout::create(out).unwrap();
    let lock = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
    let state = State::open(&layout, &lock).unwrap();
    assert_eq!(state.damaged(), [], "{moment}");
    let known: Vec<Known> = state.known().unwrap().collect::<Result<_, _>>().unwrap();
    let rows: Vec<_> = known
        .iter()
        .map(|row| (row.uri.clone(), row.run_id))
        .collect();
    assert_eq!(rows, expected.rows(), "{moment}");

    // Whoever loaded the snapshot elsewhere is known by its run.
    if let Some(snapshot) = state.snapshot() {
        let mut runs = layout.runs_with_rows().unwrap();
        runs.extend(layout.runs_with_summary().unwrap());
        assert!(runs.contains(&snapshot.notes().run_id), "{moment}");
    }

    let cache = Cache::open(&layout, spec()).unwrap();
    let ids: Vec<_> = known.iter().filter_map(|row| row.image_id).collect();
    assert!(cache.get(&ids).iter().all(Option::is_some), "{moment}");
    assert_eq!(temporaries(out), Vec::<String>::new(), "{moment}");

    // Publishing what was found is the same table again.
    let notes = SnapshotNotes {
        run_id: layout.next_run_id(DateTime::UNIX_EPOCH, 0).unwrap(),
        model: "demo".to_owned(),
    };
    state.publish(&[], &notes).unwrap();
    let state = State::open(&layout, &lock).unwrap();
    assert!(state.is_published(), "{moment}");
    let again: Vec<Known> = state.known().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(again, known, "{moment}");
}

fn temporaries(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(temporaries(&path));
        } else if name.ends_with(".tmp") {
            found.push(name);
        }
    }
    found
}
