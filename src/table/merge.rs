//! Turns sorted sources of rows, old and new, into the one current row of each image, in order.
//!
//! A k-way merge that holds a batch per source and opens a source only when its first row is due,
//! so that a run's parts, which follow one another, are open one at a time.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::{RecordBatch, StringArray};
use arrow::compute::interleave_record_batch;

use super::TableError;
use super::columns::{Columns, Known, KnownColumns, Shared};
use super::parts::out_of_order;
use super::schema::DELETED;
use crate::archive::key_order;

/// A stream of record batches.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch, TableError>> + Send>;

/// Rows in [`key_order`], each key once.
pub struct Source {
    pub path: PathBuf,
    /// `root` and `uri` of the first row, if that is known without reading rows.
    pub first_key: Option<(String, String)>,
    /// Begins to read. Every batch has at least the columns `root`, `uri` and `status`.
    pub open: Box<dyn FnOnce() -> Result<Batches, TableError> + Send>,
}

/// The current row of each image: that of the newest source that has one, unless it says `deleted`.
pub struct Merge {
    deletions: Deletions,
    /// Later first row first, so that the next one due is at the end.
    waiting: Vec<(usize, Source)>,
    /// Oldest first.
    open: Vec<Cursor>,
}

/// What a merge does with rows that say that a file is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletions {
    Drop,
    Keep,
}

/// A row of a batch that others may share.
pub struct MergedRow {
    pub batch: Arc<KeyedBatch>,
    pub at: usize,
}

impl MergedRow {
    /// The row without its captions. The batch has at least the columns of
    /// [`known_schema`](super::known_schema).
    pub fn known(&self, shared: &mut Shared) -> Result<Known, TableError> {
        let KeyedBatch {
            batch, path, known, ..
        } = &*self.batch;
        match known.get() {
            Some(columns) => columns.known(self.at, shared),
            None => {
                let columns = KnownColumns::new(batch, path)?;
                known.get_or_init(|| columns).known(self.at, shared)
            }
        }
    }
}

/// A batch with its keys at hand.
pub struct KeyedBatch {
    pub batch: RecordBatch,
    /// The file that it was read from.
    pub path: Arc<Path>,
    root: StringArray,
    uri: StringArray,
    status: StringArray,
    known: OnceLock<KnownColumns>,
}

impl KeyedBatch {
    fn new(batch: RecordBatch, path: Arc<Path>) -> Result<Self, TableError> {
        let columns = Columns {
            batch: &batch,
            path: &path,
        };
        Ok(Self {
            root: columns.required("root")?,
            uri: columns.required("uri")?,
            status: columns.required("status")?,
            batch,
            path,
            known: OnceLock::new(),
        })
    }

    fn key(&self, at: usize) -> (&str, &str) {
        (self.root.value(at), self.uri.value(at))
    }
}

impl Merge {
    /// Merges `sources`, oldest first.
    pub fn new(sources: Vec<Source>) -> Self {
        Self::with(sources, Deletions::Drop)
    }

    /// Merges `sources`, oldest first, and drops or keeps `deletions`.
    pub fn with(sources: Vec<Source>, deletions: Deletions) -> Self {
        let mut waiting: Vec<_> = sources.into_iter().enumerate().collect();
        waiting.sort_by(|(_, a), (_, b)| first_key_order(b, a));
        Self {
            deletions,
            waiting,
            open: Vec::new(),
        }
    }

    /// The current rows in batches of `rows`.
    pub fn into_batches(self, rows: usize) -> MergedBatches {
        MergedBatches { merge: self, rows }
    }

    /// The next key's newest row, deleted or not.
    fn step(&mut self) -> Result<Option<MergedRow>, TableError> {
        self.open_what_is_due()?;
        let Some(newest) = self.newest_of_least_key() else {
            return Ok(None);
        };
        let row = MergedRow {
            batch: self.open[newest].batch.clone(),
            at: self.open[newest].at,
        };
        let key = row.batch.key(row.at);
        let mut exhausted = false;
        for cursor in &mut self.open {
            if cursor.key() == key {
                exhausted |= !cursor.advance()?;
            }
        }
        if exhausted {
            self.open.retain(|cursor| !cursor.is_exhausted());
        }
        Ok(Some(row))
    }

    fn open_what_is_due(&mut self) -> Result<(), TableError> {
        while let Some((_, next)) = self.waiting.last() {
            let due = match (&next.first_key, self.newest_of_least_key()) {
                (Some((root, uri)), Some(least)) => {
                    key_order((root, uri), self.open[least].key()).is_le()
                }
                _ => true,
            };
            if !due {
                break;
            }
            if let Some((age, source)) = self.waiting.pop()
                && let Some(cursor) = Cursor::open(age, source)?
            {
                let place = self.open.partition_point(|other| other.age < age);
                self.open.insert(place, cursor);
            }
        }
        Ok(())
    }

    /// Among the cursors at the least key, the newest one.
    fn newest_of_least_key(&self) -> Option<usize> {
        let cursors = self.open.iter().enumerate();
        let newest = cursors.min_by(|(a_at, a), (b_at, b)| {
            key_order(a.key(), b.key()).then_with(|| b_at.cmp(a_at))
        });
        newest.map(|(at, _)| at)
    }
}

impl Iterator for Merge {
    type Item = Result<MergedRow, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(None) => return None,
                Ok(Some(row))
                    if self.deletions == Deletions::Drop
                        && row.batch.status.value(row.at) == DELETED => {}
                Ok(Some(row)) => return Some(Ok(row)),
                Err(error) => {
                    // What follows a row that cannot be read is not the current table.
                    self.waiting.clear();
                    self.open.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Streams the current rows of a [`Merge`] in batches.
pub struct MergedBatches {
    merge: Merge,
    /// In each batch but the last.
    rows: usize,
}

impl Iterator for MergedBatches {
    type Item = Result<RecordBatch, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut sources: Vec<Arc<KeyedBatch>> = Vec::new();
        // For each row, which source and which of its rows.
        let mut places = Vec::with_capacity(self.rows);
        for row in self.merge.by_ref().take(self.rows) {
            let MergedRow { batch, at } = match row {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            };
            // From the end: rows come in stretches from few sources.
            let held = sources.iter().rposition(|held| Arc::ptr_eq(held, &batch));
            let held = held.unwrap_or_else(|| {
                sources.push(batch);
                sources.len() - 1
            });
            places.push((held, at));
        }
        let path = &sources.first()?.path;
        let batches: Vec<_> = sources.iter().map(|held| &held.batch).collect();
        Some(interleave_record_batch(&batches, &places).map_err(TableError::arrow("merge", path)))
    }
}

/// Sources whose first key is unknown come first: they are opened at once.
fn first_key_order(a: &Source, b: &Source) -> Ordering {
    match (&a.first_key, &b.first_key) {
        (Some(a), Some(b)) => key_order((&a.0, &a.1), (&b.0, &b.1)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// A source at one of its rows.
struct Cursor {
    age: usize,
    batches: Batches,
    batch: Arc<KeyedBatch>,
    /// The row; past the end once the source is exhausted.
    at: usize,
}

impl Cursor {
    /// Opens `source` at its first row; `None` if it has no rows.
    fn open(age: usize, source: Source) -> Result<Option<Self>, TableError> {
        let path: Arc<Path> = source.path.into();
        let mut batches = (source.open)()?;
        Ok(next_batch(&mut batches, &path)?.map(|batch| Self {
            age,
            batches,
            batch,
            at: 0,
        }))
    }

    fn key(&self) -> (&str, &str) {
        self.batch.key(self.at)
    }

    /// Goes on to the next row; `false` if there is none.
    fn advance(&mut self) -> Result<bool, TableError> {
        let (last, last_at) = (self.batch.clone(), self.at);
        self.at += 1;
        if self.is_exhausted() {
            match next_batch(&mut self.batches, &last.path)? {
                Some(batch) => (self.batch, self.at) = (batch, 0),
                None => return Ok(false),
            }
        }
        match key_order(last.key(last_at), self.key()) {
            Ordering::Less => Ok(true),
            _ => Err(out_of_order(&last.path, self.key())),
        }
    }

    fn is_exhausted(&self) -> bool {
        self.at >= self.batch.batch.num_rows()
    }
}

/// The next batch that has rows.
fn next_batch(
    batches: &mut Batches,
    path: &Arc<Path>,
) -> Result<Option<Arc<KeyedBatch>>, TableError> {
    for batch in batches {
        let batch = batch?;
        if batch.num_rows() > 0 {
            return KeyedBatch::new(batch, path.clone()).map(|batch| Some(Arc::new(batch)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::table::arbitrary::row;
    use crate::table::rows_to_batch;

    /// How many sources are open, now and at most.
    #[derive(Default)]
    struct Open {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    /// A stream that counts itself until it is dropped.
    struct Counted<I>(I, Arc<Open>);

    impl<I: Iterator> Iterator for Counted<I> {
        type Item = I::Item;

        fn next(&mut self) -> Option<I::Item> {
            self.0.next()
        }
    }

    impl<I> Drop for Counted<I> {
        fn drop(&mut self) {
            self.1.now.fetch_sub(1, SeqCst);
        }
    }

    fn source(uris: &[String], open: &Arc<Open>) -> Source {
        let rows: Vec<_> = uris.iter().map(|uri| row(uri)).collect();
        let batches: Vec<_> = rows
            .chunks(2)
            .map(|rows| Ok(rows_to_batch(rows).unwrap()))
            .collect();
        let open = open.clone();
        Source {
            path: "part".into(),
            first_key: Some(("archive".to_owned(), uris[0].clone())),
            open: Box::new(move || {
                let now = open.now.fetch_add(1, SeqCst) + 1;
                open.most.fetch_max(now, SeqCst);
                Ok(Box::new(Counted(batches.into_iter(), open)))
            }),
        }
    }

    #[test]
    fn parts_that_follow_one_another_are_open_one_at_a_time() {
        let uris: Vec<_> = (0..40).map(|number| format!("{number:02}")).collect();
        let open = Arc::new(Open::default());
        // In any order, as parts of several runs may be.
        let mut sources: Vec<_> = uris.chunks(5).map(|uris| source(uris, &open)).collect();
        sources.reverse();
        let merged: Vec<_> = Merge::new(sources)
            .map(|row| {
                let row = row.unwrap();
                row.batch.uri.value(row.at).to_owned()
            })
            .collect();
        assert_eq!(merged, uris);
        assert_eq!((open.now.load(SeqCst), open.most.load(SeqCst)), (0, 1));
    }

    #[test]
    fn an_error_ends_the_stream() {
        let open = Arc::new(Open::default());
        let broken = Source {
            path: "broken".into(),
            first_key: Some(("archive".to_owned(), "b".to_owned())),
            open: Box::new(|| Err(TableError::damaged(Path::new("broken"), "it is"))),
        };
        let sources = vec![source(&["a".to_owned(), "c".to_owned()], &open), broken];
        let mut merge = Merge::new(sources);
        assert!(merge.next().unwrap().is_ok());
        assert!(merge.next().unwrap().is_err());
        assert!(merge.next().is_none());
    }
}
