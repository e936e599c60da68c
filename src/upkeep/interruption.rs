//! Kills compactions at every moment, and looks at what readers and the next run find.
//!
//! After each step that changes the disk the output directory is copied as it is: that is what a
//! killed compaction leaves, and what somebody sees who reads beside one. In each copy the current
//! rows have to be those of before, to the next run with and without its snapshot and to readers who
//! know nothing of showtell; and the next compaction has to end where an undisturbed one does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use super::{CompactOptions, Compaction, compact, forecast};
use crate::archive::{ImageId, key_order};
use crate::cache::{Cache, CacheWriter, Precision, Spec, SweepSize};
use crate::nightly::{Lock, RunSummary, State};
use crate::table::arbitrary::{Damage as Accident, copy_tree, row, run_id, scratch};
use crate::table::{
    FileList, Layout, Outcome, PartFile, PartSize, PartWriter, Row, RunId, SnapshotNotes, steps,
};

const DIMS: usize = 3;
const ENCODER: &str = "encoder";

/// What a run writes and how it ends.
#[derive(Debug, Clone)]
struct Run {
    /// Of each part, the images, which bytes they have now, and whether they are gone.
    parts: Vec<Vec<(u8, u8, bool)>>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Published,
    Killed,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let image = (0u8..6, 0u8..2, prop::bool::weighted(0.3));
    let parts = prop::collection::vec(prop::collection::vec(image, 1..5), 0..4);
    let end = prop_oneof![4 => Just(End::Published), 1 => Just(End::Killed)];
    let run = (parts, end).prop_map(|(parts, end)| Run { parts, end });
    prop::collection::vec(run, 1..6)
}

/// An output directory, and what has to come of it.
struct Nights {
    out: tempfile::TempDir,
    /// All rows, in the order of the runs.
    rows: Vec<Row>,
    published: Option<RunId>,
    /// Of each image that was embedded, the last run that did it.
    embedded: BTreeMap<ImageId, RunId>,
}

impl Nights {
    fn of(runs: &[Run]) -> Self {
        let mut nights = Self {
            out: scratch(),
            rows: Vec::new(),
            published: None,
            embedded: BTreeMap::new(),
        };
        for (number, run) in (1..).zip(runs) {
            nights.annotate(run_id(number), run);
        }
        nights
    }

    fn annotate(&mut self, run_id: RunId, run: &Run) {
        let layout = Layout::create(self.out.path()).unwrap();
        let lock = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
        let state = State::open(&layout, &lock).unwrap();
        let cache = Arc::new(Cache::open(&layout, spec()).unwrap());
        let mut features = CacheWriter::new(cache.clone(), &layout, &run_id);
        let mut captions = Vec::new();
        let mut met = BTreeSet::new();
        for (number, images) in (0..).zip(&run.parts) {
            let mut part = PartWriter::create(&layout, &run_id, number);
            let mut rows = Vec::new();
            for (image, bytes, gone) in images {
                if !met.insert(*image) {
                    continue;
                }
                let mut row = row(&format!("{}/{image}.jpg", image % 2));
                let id = ImageId::of(&[*image, *bytes]);
                row.image_id = Some(id);
                row.identity.as_mut().unwrap().encoder_id = ENCODER.into();
                row.run_id = run_id;
                if *gone {
                    row.outcome = Outcome::Deleted;
                    row.identity = None;
                } else if image % 3 == 0 || !cache.contains(&id) {
                    // Some are embedded again, as after damage.
                    features.append(id, &values(&id)).unwrap();
                    self.embedded.insert(id, run_id);
                }
                self.rows.push(row.clone());
                rows.push(row);
            }
            rows.sort_by(|a, b| key_order(a.key(), b.key()));
            rows.into_iter().for_each(|row| part.push(row).unwrap());
            features.finish_part().unwrap();
            captions.extend(part.finish().unwrap());
        }
        if run.end == End::Published {
            let model = "demo".to_owned();
            let notes = SnapshotNotes { run_id, model };
            state.publish(&captions, &notes).unwrap();
            self.published = Some(run_id);
            summary(run_id).write(&layout).unwrap();
        }
    }

    fn layout(&self) -> Layout {
        Layout::open(self.out.path()).unwrap()
    }

    /// The current row of each image, by path.
    fn current(&self) -> BTreeMap<String, RunId> {
        newest(&self.rows)
    }

    /// The rows that are left once those are gone that were superseded before the run `until` ended.
    fn left(&self, until: RunId) -> BTreeSet<(String, RunId)> {
        let is_old = |row: &&Row| {
            row.run_id <= until && self.published.is_some_and(|last| row.run_id <= last)
        };
        let old: Vec<Row> = self.rows.iter().filter(is_old).cloned().collect();
        let later = self.rows.iter().filter(|row| !is_old(row));
        let later = later.map(|row| (row.uri.clone(), row.run_id));
        newest(&old).into_iter().chain(later).collect()
    }

    /// The images whose features are left then.
    fn features_left(&self, until: RunId) -> BTreeSet<ImageId> {
        let rows = self.left(until);
        let is_left = |row: &&Row| rows.contains(&(row.uri.clone(), row.run_id));
        let named = self.rows.iter().filter(is_left);
        let named: BTreeSet<_> = named.filter_map(|row| row.image_id).collect();
        let stays = |(id, run_id): &(&ImageId, &RunId)| {
            named.contains(id) || self.published.is_none_or(|last| **run_id > last)
        };
        let left = self.embedded.iter().filter(stays);
        left.map(|(id, _)| *id).collect()
    }
}

/// The newest row of each image that is not gone.
fn newest(rows: &[Row]) -> BTreeMap<String, RunId> {
    let mut newest = BTreeMap::new();
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| row.run_id);
    for row in rows {
        match row.outcome {
            Outcome::Deleted => newest.remove(&row.uri),
            _ => newest.insert(row.uri.clone(), row.run_id),
        };
    }
    newest
}

fn values(id: &ImageId) -> [f32; DIMS] {
    [1.0, f32::from(id.0[0]), f32::from(id.0[1])]
}

fn spec() -> Spec {
    Spec {
        encoder_id: ENCODER.to_owned(),
        dims: DIMS,
        precision: Precision::Bfloat16,
    }
}

fn summary(run_id: RunId) -> RunSummary {
    let moment = "1970-01-01T00:00:00Z";
    let counts = json!({
        "found": 0, "captioned": 0, "failed": 0, "unchanged": 0, "unchanged_failed": 0,
        "deleted": 0, "not_images": 0, "skipped": 0, "embedded": 0, "from_cache": 0,
        "duplicates": 0,
    });
    let summary = json!({
        "run_id": run_id, "outcome": "published", "started": moment, "finished": moment,
        "version": "0", "roots": [], "options": {}, "model": "demo", "encoder_id": ENCODER,
        "captioner_id": "captioner", "counts": counts, "bytes_read": 0, "stages": {},
        "captions": [], "embeddings": [], "warnings": [],
    });
    serde_json::from_value(summary).unwrap()
}

/// Keeps what was superseded after the run `until`, in parts of three rows.
fn options(until: RunId) -> CompactOptions {
    CompactOptions {
        superseded_before: until.moment().unwrap(),
        part_size: PartSize { rows: 3 },
        sweep_size: SweepSize { part_rows: Some(3) },
    }
}

fn compact_once(layout: &Layout, until: RunId) -> Compaction {
    let lock = Lock::acquire(layout, DateTime::UNIX_EPOCH).unwrap();
    compact(layout, &lock, &options(until)).unwrap()
}

fn known(layout: &Layout) -> BTreeMap<String, RunId> {
    known_beside(layout, 0)
}

/// The current rows, beside so many damaged files.
fn known_beside(layout: &Layout, damaged: usize) -> BTreeMap<String, RunId> {
    let lock = Lock::acquire(layout, DateTime::UNIX_EPOCH).unwrap();
    let state = State::open(layout, &lock).unwrap();
    assert_eq!(state.damaged().len(), damaged);
    let rows = state.known().unwrap().map(Result::unwrap);
    rows.map(|row| (row.uri, row.run_id)).collect()
}

/// What someone finds who reads all parts.
fn all_rows(layout: &Layout) -> Vec<Row> {
    let mut rows = Vec::new();
    for run_id in layout.runs_with_rows().unwrap() {
        for path in layout.parts(&run_id).unwrap() {
            let part = PartFile::open(&path).unwrap();
            part.check().unwrap();
            rows.extend(part.read().unwrap());
        }
    }
    rows
}

fn all_features(layout: &Layout) -> BTreeSet<ImageId> {
    let cache = Cache::open(layout, spec()).unwrap();
    let every: Vec<ImageId> = (0..8)
        .flat_map(|image| (0..2).map(move |bytes| ImageId::of(&[image, bytes])))
        .collect();
    let found = every.iter().zip(cache.get(&every));
    let found = found.filter_map(|(id, features)| Some((*id, features?)));
    let found: BTreeMap<_, _> = found.collect();
    assert_eq!(cache.damaged(), []);
    for (id, features) in &found {
        assert_eq!(features[..], values(id));
    }
    assert_eq!(cache.len(), found.len());
    found.into_keys().collect()
}

/// What is there once a compaction has gone through.
fn check_compacted(layout: &Layout, nights: &Nights, until: RunId) {
    let rows = all_rows(layout);
    let left: BTreeSet<_> = rows
        .iter()
        .map(|row| (row.uri.clone(), row.run_id))
        .collect();
    assert_eq!(left.len(), rows.len(), "a row is there twice");
    assert_eq!(left, nights.left(until));
    assert_eq!(all_features(layout), nights.features_left(until));
    assert_eq!(known(layout), nights.current());
    assert!(
        compact_once(layout, until).is_empty(),
        "not all was done at once"
    );
    assert_eq!(strays(layout.out()), Vec::<String>::new());
}

/// What someone finds in `out`, where a compaction was killed.
fn check_killed(out: &Path, nights: &Nights, until: RunId, moment: &str) {
    let layout = Layout::open(out).unwrap();
    assert_eq!(
        newest(&all_rows(&layout)),
        nights.current(),
        "{moment}, to a reader"
    );
    assert_eq!(
        known(&layout),
        nights.current(),
        "{moment}, to the next run"
    );
    // Features first, while the copy is as it was left.
    let features = all_features(&layout);
    assert!(
        features.is_superset(&nights.features_left(until)),
        "{moment}"
    );
    assert_eq!(strays(out), Vec::<String>::new(), "{moment}");
    if nights.published.is_some() {
        let snapshot = fs::read(layout.snapshot()).unwrap();
        fs::remove_file(layout.snapshot()).unwrap();
        assert_eq!(
            known(&layout),
            nights.current(),
            "{moment}, without the snapshot"
        );
        fs::write(layout.snapshot(), snapshot).unwrap();
    }
    compact_once(&layout, until);
    check_compacted(&layout, nights, until);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_kill_at_any_moment_changes_no_current_row(runs in runs(), until in 0u32..6) {
        let (nights, until) = (Rc::new(Nights::of(&runs)), run_id(until));
        let layout = nights.layout();
        let kills = Rc::new(RefCell::new(0));
        let copies = scratch();
        let watch = {
            let (nights, kills) = (nights.clone(), kills.clone());
            move |step: &'static str, path: &Path| {
                *kills.borrow_mut() += 1;
                let copy = copies.path().join(kills.borrow().to_string());
                copy_tree(nights.out.path(), &copy);
                let moment = format!("killed after {step} of {}", path.display());
                check_killed(&copy, &nights, until, &moment);
                fs::remove_dir_all(&copy).unwrap();
            }
        };
        let done = steps::watched(watch, || compact_once(&layout, until));
        prop_assert_eq!(*kills.borrow() > 0, !done.is_empty());
        check_compacted(&layout, &nights, until);

        // Nothing of it is in the way of the next night, nor of the next compaction.
        let mut nights = Rc::into_inner(nights).unwrap();
        let next = Run { parts: vec![vec![(0, 1, false), (7, 0, false)]], end: End::Published };
        nights.annotate(run_id(9), &next);
        let until = run_id(9);
        compact_once(&layout, until);
        check_compacted(&layout, &nights, until);
    }

    #[test]
    fn a_dry_run_says_what_is_done(runs in runs(), until in 0u32..6) {
        let (nights, until) = (Nights::of(&runs), run_id(until));
        let layout = nights.layout();
        let before = listing(layout.out());
        let told = forecast(&layout, &options(until)).unwrap();
        prop_assert_eq!(listing(layout.out()), before);
        let done = compact_once(&layout, until);
        let counts = |of: &Compaction| {
            let merged = of.captions.iter().chain(&of.embeddings);
            merged.map(|merged| (
                merged.name.clone(),
                [merged.parts_before, merged.parts_after, merged.rows_before, merged.rows_after],
            )).collect::<Vec<_>>()
        };
        prop_assert_eq!(counts(&told), counts(&done));
        for merged in done.captions.iter().chain(&done.embeddings) {
            prop_assert_eq!(merged.written.len() as u64, merged.parts_after);
            let rows: u64 = merged.written.iter().map(|part| part.rows).sum();
            prop_assert_eq!(rows, merged.rows_after);
            for part in &merged.written {
                let bytes = fs::read(layout.absolute(&part.file)).unwrap();
                prop_assert_eq!(&part.blake3, &blake3::hash(&bytes).to_string());
            }
        }
    }

    #[test]
    fn a_damaged_part_stays_as_it_is(
        runs in runs(), until in 0u32..6, which in any::<prop::sample::Index>(), at in 0.0..1.0,
    ) {
        let (nights, until) = (Nights::of(&runs), run_id(until));
        let layout = nights.layout();
        let mut parts = Vec::new();
        for run_id in layout.runs_with_rows().unwrap() {
            if nights.published.is_some_and(|last| run_id <= last) {
                parts.extend(layout.parts(&run_id).unwrap());
            }
        }
        prop_assume!(!parts.is_empty());
        let damaged = which.get(&parts);
        let without = newest(&all_but(&layout, damaged));
        Accident::Flip(at, 1).apply(damaged);
        let is_sound = PartFile::open(damaged).and_then(|part| part.verify()).is_ok();
        let done = compact_once(&layout, until);
        prop_assert_eq!(done.damaged.len(), usize::from(!is_sound));
        prop_assert_eq!(known_beside(&layout, done.damaged.len()), nights.current());
        if !is_sound {
            // It stays, and to whoever has to do without it nothing has changed: rows that it hid
            // are not mixed with later ones that would let them stand.
            prop_assert!(damaged.exists());
            prop_assert_eq!(newest(&all_but(&layout, damaged)), without);
            let embedded: BTreeSet<_> = nights.embedded.keys().copied().collect();
            prop_assert_eq!(all_features(&layout), embedded);
            let again = compact_once(&layout, until);
            prop_assert!(again.is_empty());
            prop_assert_eq!(again.damaged, done.damaged);
        }
    }
}

fn all_but(layout: &Layout, damaged: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for run_id in layout.runs_with_rows().unwrap() {
        for path in layout.parts(&run_id).unwrap() {
            if path != damaged {
                rows.extend(PartFile::open(&path).unwrap().read().unwrap());
            }
        }
    }
    rows
}

#[test]
fn features_that_were_asked_for_stay() {
    let run = Run {
        parts: vec![vec![(0, 0, false), (1, 0, false)]],
        end: End::Published,
    };
    let gone = Run {
        parts: vec![vec![(0, 0, true), (1, 0, true)]],
        end: End::Published,
    };
    let nights = Nights::of(&[run, gone]);
    let layout = nights.layout();
    let asked_for = RunSummary {
        run_id: run_id(3),
        captioner_id: None,
        ..summary(run_id(3))
    };
    asked_for.write(&layout).unwrap();
    compact_once(&layout, run_id(5));
    assert_eq!(all_rows(&layout), []);
    assert_eq!(all_features(&layout).len(), 2);
    // A run that was killed before its summary has left a list of files all the same.
    fs::remove_file(layout.summary(&run_id(3))).unwrap();
    let list = FileList::open(&layout, ENCODER).unwrap();
    let notes = SnapshotNotes {
        run_id: run_id(3),
        model: "vgg16".to_owned(),
    };
    drop(list.writer(&notes).unwrap());
    compact_once(&layout, run_id(5));
    assert_eq!(all_features(&layout).len(), 2);
    fs::remove_file(layout.file_list(ENCODER).unwrap()).unwrap();
    compact_once(&layout, run_id(5));
    assert_eq!(all_features(&layout).len(), 0);
    assert!(!layout.embeddings(ENCODER).unwrap().exists());
}

#[test]
fn the_more_exact_features_stay() {
    let out = scratch();
    let layout = Layout::create(out.path()).unwrap();
    let full = Spec {
        precision: Precision::Full,
        ..spec()
    };
    let id = ImageId::of(b"a");
    let exact = [1.2345, 0.0, 0.0];
    for (run, spec) in [(1, spec()), (2, full.clone()), (3, spec())] {
        let cache = Arc::new(Cache::open(&layout, spec).unwrap());
        let mut writer = CacheWriter::new(cache, &layout, &run_id(run));
        writer.append(id, &exact).unwrap();
        writer.finish_part().unwrap();
    }
    let done = compact_once(&layout, run_id(5));
    assert_eq!(done.embeddings[0].rows_after, 0);
    let cache = Cache::open(&layout, full).unwrap();
    assert_eq!(cache.get(&[id]), [Some(exact.to_vec())]);
    let parts = fs::read_dir(layout.embeddings(ENCODER).unwrap()).unwrap();
    assert_eq!(parts.count(), 1);
}

#[test]
fn without_a_snapshot_nothing_is_taken_for_superseded() {
    let run = |gone| Run {
        parts: vec![vec![(0, 0, gone)]],
        end: End::Published,
    };
    let nights = Nights::of(&[run(false), run(false), run(true)]);
    let layout = nights.layout();
    fs::remove_file(layout.snapshot()).unwrap();
    compact_once(&layout, run_id(5));
    assert_eq!(all_rows(&layout).len(), 3);
    assert_eq!(all_features(&layout).len(), 1);
}

/// What should be gone after a compaction.
fn strays(directory: &Path) -> Vec<String> {
    let names = listing(directory).into_iter();
    names
        .filter(|name| name.ends_with(".tmp") || name.ends_with(".replacement.json"))
        .collect()
}

fn listing(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found.sort();
    found
}
