//! What a run has done so far: counted by its stages, watched by whoever shows progress.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::nightly::{Counts, StageTime};

/// Counters of a run. All only grow while it runs, but for `found`, which loses the files that turn
/// out to be no images.
#[derive(Debug, Default)]
pub struct Live {
    pub found: AtomicU64,
    /// Images that got what the run makes: captions or, where only those are wanted, features.
    pub done: AtomicU64,
    pub failed: AtomicU64,
    pub unchanged: AtomicU64,
    pub unchanged_failed: AtomicU64,
    pub deleted: AtomicU64,
    pub not_images: AtomicU64,
    pub skipped: AtomicU64,
    pub embedded: AtomicU64,
    pub from_cache: AtomicU64,
    pub from_table: AtomicU64,
    pub touched: AtomicU64,
    pub duplicates: AtomicU64,
    /// Read from the archive.
    pub bytes: AtomicU64,
    /// Whether all files are found, so that `found` is the whole.
    pub walked: AtomicBool,
    pub(super) walk: Busy,
    pub(super) read: Busy,
    pub(super) encode: Busy,
    pub(super) caption: Busy,
    pub(super) write: Busy,
}

/// How long a stage worked, waiting left out, and on how much.
#[derive(Debug, Default)]
pub(super) struct Busy {
    nanoseconds: AtomicU64,
    items: AtomicU64,
}

impl Busy {
    pub fn time<T>(&self, items: usize, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.add(items, started.elapsed());
        result
    }

    pub fn add(&self, items: usize, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        self.items.fetch_add(items as u64, Ordering::Relaxed);
    }

    fn stage_time(&self) -> StageTime {
        let seconds = self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        StageTime::new(self.items.load(Ordering::Relaxed), seconds)
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Live {
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            found: read(&self.found),
            captioned: read(&self.done),
            failed: read(&self.failed),
            unchanged: read(&self.unchanged),
            unchanged_failed: read(&self.unchanged_failed),
            deleted: read(&self.deleted),
            not_images: read(&self.not_images),
            skipped: read(&self.skipped),
            embedded: read(&self.embedded),
            from_cache: read(&self.from_cache),
            from_table: read(&self.from_table),
            touched: read(&self.touched),
            duplicates: read(&self.duplicates),
        }
    }

    /// Bytes read from the archive.
    pub fn bytes_read(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Busy seconds, items and rate of each stage.
    pub fn stages(&self) -> BTreeMap<String, StageTime> {
        let stages = [
            ("walk", &self.walk),
            ("read", &self.read),
            ("encode", &self.encode),
            ("caption", &self.caption),
            ("write", &self.write),
        ];
        let stage = |(name, busy): (&str, &Busy)| (name.to_owned(), busy.stage_time());
        stages.into_iter().map(stage).collect()
    }
}
