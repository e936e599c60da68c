//! Turns what earlier runs left on disk into the rows that the next run starts from.
//!
//! The current rows are the snapshot's, overlaid with the finished parts of every later run: a run
//! that was interrupted has written parts but no snapshot, and its parts are as good as any. A
//! snapshot names the last run whose rows it holds, and runs are numbered in their order, so what is
//! later is never in doubt. If the snapshot is lost or damaged, all parts together are the table.
//!
//! Every file that holds rows is checked, also those whose rows the snapshot holds: whoever reads the
//! parts would trip over a damaged one, and the snapshot may be the next to go.

use std::path::PathBuf;

use arrow::datatypes::SchemaRef;

use super::Lock;
use super::known_captions::{CaptionSource, KnownCaptions};
use super::summary::{RunOutcome, RunSummary, SummaryError};
use crate::table::{
    Damage, Deletions, FileError, Identity, Known, Layout, LayoutError, Merge, Part, PartFile, Row,
    RunId, Shared, Snapshot, SnapshotNotes, Source, TableError, batch_to_rows, create_dir,
    finish_replacement, is_part, known_schema, part_source, remove_temporaries, schema,
    write_snapshot,
};

/// Rows turned at a time from their columns into [`Row`]s.
const BATCH_ROWS: usize = 1024;

/// What earlier runs left.
#[derive(Debug)]
pub struct State {
    pub(super) layout: Layout,
    snapshot: Option<Snapshot>,
    /// Undamaged parts of the runs whose rows the snapshot holds, oldest first.
    pub(super) older: Vec<PathBuf>,
    /// Whether such a part is damaged, so that some rows are in the snapshot alone.
    pub(super) lacks_rows: bool,
    /// Damaged files that nothing will write over.
    pub(super) to_move: Vec<PathBuf>,
    /// Parts of runs later than the snapshot, oldest first.
    parts: Vec<PathBuf>,
    later_runs: Vec<RunId>,
    /// The last run whose rows were current: the snapshot's, or where that is lost, the last one that
    /// says so of itself.
    published_until: Option<RunId>,
    /// Of `parts`, how many are of runs until then.
    published_parts: usize,
    damaged: Vec<Damage>,
    removed: Vec<PathBuf>,
}

/// The state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Summary(#[from] SummaryError),
}

impl State {
    /// Reads what is there, checking every file. Removes what interrupted runs left half-written.
    /// Damaged files are left out and listed by [`damaged`](Self::damaged); they stay where they are
    /// until [`repair`](Self::repair).
    pub fn open(layout: &Layout, _held: &Lock) -> Result<Self, StateError> {
        finish_replacement(layout)?;
        let removed = clean(layout)?;
        let state = Self::peek(layout)?;
        Ok(Self { removed, ..state })
    }

    /// As [`open`](Self::open), but touches nothing, so that another run may hold the lock. What that
    /// one does meanwhile is seen or not.
    pub fn peek(layout: &Layout) -> Result<Self, StateError> {
        let mut state = Self {
            layout: layout.clone(),
            snapshot: None,
            older: Vec::new(),
            lacks_rows: false,
            to_move: Vec::new(),
            parts: Vec::new(),
            later_runs: Vec::new(),
            published_until: None,
            published_parts: 0,
            damaged: Vec::new(),
            removed: Vec::new(),
        };
        state.open_snapshot()?;
        state.check_summaries()?;
        let last = state
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.notes().run_id);
        state.published_until = match last {
            Some(last) => Some(last),
            None => last_published(layout)?,
        };
        let mut rows_in_parts = 0;
        for run_id in layout.runs_with_rows()? {
            let in_snapshot = last.is_some_and(|last| run_id <= last);
            let parts = layout.parts(&run_id)?;
            // Killed while it wrote its first part, a run leaves a directory and nothing else.
            if !in_snapshot && !parts.is_empty() {
                state.later_runs.push(run_id);
            }
            for path in parts {
                let checked = PartFile::open(&path).and_then(|part| {
                    match in_snapshot {
                        true => part.verify()?,
                        false => part.check()?,
                    }
                    Ok(part.rows() as u64)
                });
                match checked {
                    Ok(rows) if in_snapshot => {
                        rows_in_parts += rows;
                        state.older.push(path);
                    }
                    Ok(_) => state.parts.push(path),
                    Err(error) if !error.is_damage() => return Err(error.into()),
                    Err(error) => {
                        state.note_damage(Damage::new(&path, &error));
                        state.lacks_rows |= in_snapshot;
                        state.to_move.push(path);
                    }
                }
            }
            if Some(run_id) <= state.published_until {
                state.published_parts = state.parts.len();
            }
        }
        state.look_for_missing_parts(rows_in_parts);
        Ok(state)
    }

    fn open_snapshot(&mut self) -> Result<(), StateError> {
        let path = self.layout.snapshot();
        let checked = Snapshot::open(&path).and_then(|snapshot| match snapshot {
            Some(snapshot) => snapshot.check().map(|()| Some(snapshot)),
            None => Ok(None),
        });
        match checked {
            Ok(snapshot) => self.snapshot = snapshot,
            Err(error) if !error.is_damage() => return Err(error.into()),
            // Left where it is: the run that was asked for puts a new one in its place.
            Err(error) => self.note_damage(Damage::new(&path, &error)),
        }
        Ok(())
    }

    /// Parts that somebody removed are noticed once all that are left have fewer rows than the snapshot.
    fn look_for_missing_parts(&mut self, rows_in_parts: u64) {
        let rows = self.snapshot.as_ref().map_or(0, Snapshot::rows);
        if rows_in_parts < rows && !self.lacks_rows {
            self.lacks_rows = true;
            tracing::warn!(
                path = %self.layout.captions().display(),
                "parts are missing: they have {rows_in_parts} rows, captions.arrow {rows}"
            );
        }
    }

    /// Nothing here depends on a summary that cannot be read, but whoever reads them would trip over it.
    fn check_summaries(&mut self) -> Result<(), StateError> {
        for run_id in self.layout.runs_with_summary()? {
            match RunSummary::read(&self.layout, &run_id) {
                Ok(_) => {}
                Err(error @ SummaryError::Json { .. }) => {
                    let path = self.layout.summary(&run_id);
                    self.note_damage(Damage::new(&path, &error));
                    self.to_move.push(path);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn note_damage(&mut self, damage: Damage) {
        tracing::warn!(
            path = %damage.path.display(),
            reason = damage.reason,
            "left out: images without a row are annotated again"
        );
        self.damaged.push(damage);
    }

    /// The current row of each image, in order.
    pub fn known(&self) -> Result<KnownRows, TableError> {
        Ok(KnownRows::new(self.sources(&known_schema())?))
    }

    /// As [`known`](Self::known), but of a file that `newer` has, the row there.
    pub fn known_with(&self, newer: Option<Source>) -> Result<KnownRows, TableError> {
        let mut sources = self.sources(&known_schema())?;
        sources.extend(newer);
        Ok(KnownRows::new(sources))
    }

    /// The current rows, captions and all, in order.
    pub fn rows(&self) -> Result<impl Iterator<Item = Result<Row, TableError>>, TableError> {
        Ok(self.rows_of(Merge::new(self.sources(&schema())?)))
    }

    /// The row of each image as it was when the table was last published, in order.
    pub fn published(&self) -> Result<KnownRows, TableError> {
        let parts = &self.parts[..self.published_parts];
        Ok(KnownRows {
            merge: Merge::new(self.sources_with(parts, &known_schema())?),
            shared: Shared::default(),
        })
    }

    /// Of each image that has rows written since, those of `parts` among them, the newest, deletions
    /// too, in order.
    pub fn unpublished(
        &self,
        parts: &[Part],
    ) -> Result<impl Iterator<Item = Result<Row, TableError>>, TableError> {
        let written = parts.iter().map(|part| self.layout.absolute(&part.file));
        let interrupted = self.parts[self.published_parts..].iter().cloned();
        let paths = interrupted.chain(written);
        let sources = paths.map(|path| part_source(&path, &schema()));
        let merge = Merge::with(sources.collect::<Result<_, _>>()?, Deletions::Keep);
        Ok(self.rows_of(merge))
    }

    fn rows_of(&self, merge: Merge) -> impl Iterator<Item = Result<Row, TableError>> + use<> {
        let path = self.layout.snapshot();
        let rows = merge.into_batches(BATCH_ROWS).map(move |batch| {
            let rows = batch.and_then(|batch| batch_to_rows(&batch, &path));
            match rows {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        });
        rows.flatten()
    }

    /// The captions that the table has of the model that `identity` names, found by content.
    pub fn captions(&self, identity: Identity) -> KnownCaptions {
        let snapshot = self.snapshot.iter().cloned().map(CaptionSource::Snapshot);
        let parts = self.parts.iter().cloned().map(CaptionSource::Part);
        KnownCaptions::new(snapshot.chain(parts).collect(), identity)
    }

    /// Writes the snapshot that holds these rows and those of `parts`, which the run `notes.run_id`
    /// has written.
    pub fn publish(&self, parts: &[Part], notes: &SnapshotNotes) -> Result<Part, TableError> {
        // Who loaded this snapshot knows it by the name of its run, and asks for it later: also if it
        // has no rows of its own, and is killed before its summary is there.
        create_dir(&self.layout.run(&notes.run_id))?;
        let mut sources = self.sources(&schema())?;
        for part in parts {
            sources.push(part_source(&self.layout.absolute(&part.file), &schema())?);
        }
        write_snapshot(&self.layout, sources, notes)
    }

    fn sources(&self, columns: &SchemaRef) -> Result<Vec<Source>, TableError> {
        self.sources_with(&self.parts, columns)
    }

    fn sources_with(
        &self,
        parts: &[PathBuf],
        columns: &SchemaRef,
    ) -> Result<Vec<Source>, TableError> {
        let snapshot = self
            .snapshot
            .iter()
            .map(|snapshot| Ok(snapshot.source(columns)));
        let parts = parts.iter().map(|path| part_source(path, columns));
        snapshot.chain(parts).collect()
    }

    /// Whether the snapshot on disk holds exactly the current rows: if no row changes, it may stay.
    pub fn is_published(&self) -> bool {
        self.snapshot.is_some() && self.parts.is_empty()
    }

    /// The snapshot, unless there is none or it is damaged.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The runs whose rows are not in the snapshot: interrupted ones, or all if it is lost.
    pub fn later_runs(&self) -> &[RunId] {
        &self.later_runs
    }

    /// The runs whose rows were never current, being interrupted.
    pub fn interrupted_runs(&self) -> impl Iterator<Item = &RunId> {
        let later = self.later_runs.iter();
        later.filter(|run_id| Some(**run_id) > self.published_until)
    }

    /// The files left out because they are damaged.
    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    /// The half-written files that were removed.
    pub fn removed(&self) -> &[PathBuf] {
        &self.removed
    }
}

/// The last run that says of itself that its rows are current.
fn last_published(layout: &Layout) -> Result<Option<RunId>, StateError> {
    let runs = layout.runs_with_summary()?;
    let published = runs.into_iter().rev().find(|run_id| {
        // One that cannot be read says nothing.
        let summary = RunSummary::read(layout, run_id).ok().flatten();
        summary.is_some_and(|summary| {
            // One that was stopped early publishes what it has.
            let is_current = summary.outcome == RunOutcome::Published || summary.snapshot.is_some();
            is_current && summary.captioner_id.is_some()
        })
    });
    Ok(published)
}

/// Removes what interrupted runs left half-written.
fn clean(layout: &Layout) -> Result<Vec<PathBuf>, StateError> {
    let snapshot = layout.snapshot();
    let replacement = layout.replacement();
    let is_ours = |name: &str| {
        let mut ours = [&snapshot, &replacement].into_iter();
        ours.any(|path| path.file_name().is_some_and(|own| own == name))
    };
    let mut removed = remove_temporaries(layout.out(), is_ours)?;
    for run_id in layout.runs_with_rows()? {
        removed.extend(remove_temporaries(&layout.run(&run_id), is_part)?);
    }
    let is_summary = |name: &str| {
        let run_id = name.strip_suffix(".json");
        run_id.is_some_and(|run_id| run_id.parse::<RunId>().is_ok())
    };
    removed.extend(remove_temporaries(&layout.summaries(), is_summary)?);
    for path in &removed {
        tracing::info!(path = %path.display(), "removed what an interrupted run left");
    }
    Ok(removed)
}

/// Streams the current rows in order.
pub struct KnownRows {
    merge: Merge,
    shared: Shared,
}

impl KnownRows {
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self {
            merge: Merge::new(sources),
            shared: Shared::default(),
        }
    }
}

impl Iterator for KnownRows {
    type Item = Result<Known, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.merge.next()?;
        Some(row.and_then(|row| row.known(&mut self.shared)))
    }
}

#[cfg(test)]
mod tests;
