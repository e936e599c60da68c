//! What earlier nights left, whole and damaged.

use std::fs;

use chrono::DateTime;

use super::*;
use crate::nightly::interruption::summary;
use crate::table::arbitrary::{Damage as Accident, row, run_id, scratch};
use crate::table::{Outcome, PartWriter};

/// Three nights: the first finds `a` and `b`, the second loses `a`, the third finds `c` and is
/// interrupted before it publishes.
struct Nights {
    _out: tempfile::TempDir,
    layout: Layout,
    lock: Lock,
}

impl Nights {
    fn new() -> Self {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let lock = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
        let nights = Self {
            _out: out,
            layout,
            lock,
        };
        let gone = Row {
            outcome: Outcome::Deleted,
            ..row("a")
        };
        nights.night(1, vec![row("a"), row("b")], true);
        nights.night(2, vec![gone], true);
        nights.night(3, vec![row("c")], false);
        nights
    }

    fn night(&self, number: u32, rows: Vec<Row>, published: bool) {
        let run_id = run_id(number);
        let state = self.open();
        let mut part = PartWriter::create(&self.layout, &run_id, 0);
        for row in rows {
            part.push(Row { run_id, ..row }).unwrap();
        }
        let part = part.finish().unwrap().unwrap();
        if published {
            let model = "demo".to_owned();
            let notes = SnapshotNotes { run_id, model };
            state.publish(&[part], &notes).unwrap();
        }
    }

    fn open(&self) -> State {
        State::open(&self.layout, &self.lock).unwrap()
    }

    fn part(&self, number: u32) -> PathBuf {
        self.layout.part(&run_id(number), 0)
    }
}

fn check(state: &State, expected: &[(&str, u32)]) {
    let known = state.known().unwrap().map(Result::unwrap);
    let known: Vec<_> = known.map(|row| (row.uri, row.run_id)).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(uri, night)| ((*uri).to_owned(), run_id(*night)))
        .collect();
    assert_eq!(known, expected);
    let rows = state.rows().unwrap().map(Result::unwrap);
    assert_eq!(
        rows.map(|row| (row.uri, row.run_id)).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn goes_on_from_an_interrupted_run() {
    let nights = Nights::new();
    let state = nights.open();
    check(&state, &[("b", 1), ("c", 3)]);
    assert_eq!(state.later_runs(), [run_id(3)]);
    assert_eq!(state.snapshot().unwrap().notes().run_id, run_id(2));
    assert!(!state.is_published());
}

#[test]
fn a_lost_snapshot_is_made_again_from_the_parts() {
    let nights = Nights::new();
    fs::remove_file(nights.layout.snapshot()).unwrap();
    let state = nights.open();
    check(&state, &[("b", 1), ("c", 3)]);
    assert_eq!(state.damaged(), []);
}

#[test]
fn what_a_stopped_run_published_was_current_though_the_snapshot_is_lost() {
    let nights = Nights::new();
    fs::remove_file(nights.layout.snapshot()).unwrap();
    let stopped = |snapshot: Option<Part>| {
        let outcome = RunOutcome::Interrupted;
        let summary = RunSummary {
            captioner_id: Some("demo".to_owned()),
            ..summary(run_id(2), outcome, Vec::new(), Vec::new(), snapshot)
        };
        summary.write(&nights.layout).unwrap();
        let state = nights.open();
        state.interrupted_runs().copied().collect::<Vec<_>>()
    };
    assert_eq!(stopped(None), [1, 2, 3].map(run_id));
    let snapshot = Part {
        file: "captions.arrow".to_owned(),
        rows: 1,
        bytes: 1,
        blake3: String::new(),
    };
    assert_eq!(stopped(Some(snapshot)), [run_id(3)]);
}

#[test]
fn a_damaged_snapshot_is_named_and_made_again() {
    let nights = Nights::new();
    Accident::Flip(0.5, 1).apply(&nights.layout.snapshot());
    let state = nights.open();
    check(&state, &[("b", 1), ("c", 3)]);
    assert_eq!(state.damaged().len(), 1);
    assert_eq!(state.damaged()[0].path, nights.layout.snapshot());
}

#[test]
fn a_damaged_part_costs_its_own_rows() {
    let nights = Nights::new();
    Accident::Cut(0.9).apply(&nights.part(3));
    let state = nights.open();
    check(&state, &[("b", 1)]);
    assert_eq!(state.damaged().len(), 1);
    assert_eq!(state.damaged()[0].path, nights.part(3));
}

#[test]
fn files_of_others_are_left_alone() {
    let nights = Nights::new();
    let others = [
        nights.layout.out().join(".notes.tmp"),
        nights.layout.captions().join("README.md"),
        nights.layout.run(&run_id(3)).join("rows.parquet"),
    ];
    others
        .iter()
        .for_each(|path| fs::write(path, "mine").unwrap());
    let half = nights
        .layout
        .run(&run_id(3))
        .join(".part-00001.parquet.tmp");
    fs::write(&half, "half").unwrap();
    let state = nights.open();
    check(&state, &[("b", 1), ("c", 3)]);
    assert_eq!(state.removed(), [half]);
    assert!(others.iter().all(|path| path.exists()));
}
