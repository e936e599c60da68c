//! Keeps an output directory small: merges parts, drops rows that were superseded long ago and
//! features that no row names.
//!
//! What changes is how many files there are and how far back the table remembers; which row of an
//! image is the current one never changes. Each step replaces some files by others that hold the same
//! ([`Replacement`](crate::table::Replacement)), and can be interrupted.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::captions::{Fold, Survey};
use super::references::References;
use crate::archive::ImageId;
use crate::cache::{Sweep, SweepSize};
use crate::nightly::{Lock, State, StateError, runs};
use crate::table::{Damage, Layout, LayoutError, Part, PartSize, Replacement, RunId, TableError};

/// What to keep, and how.
#[derive(Debug, Clone, Copy)]
pub struct CompactOptions {
    /// Rows superseded by a run up to then go.
    pub superseded_before: DateTime<Utc>,
    pub part_size: PartSize,
    pub sweep_size: SweepSize,
}

/// What was done, or would be.
#[derive(Debug, Default, Serialize)]
pub struct Compaction {
    /// Of captions; the first are those that are merged across runs.
    pub captions: Vec<Merged>,
    /// Of each encoder's features.
    pub embeddings: Vec<Merged>,
    /// Parts of runs that a guard kept back, dropped.
    pub refused_parts: u64,
    /// Files that could not be read and were left as they are.
    pub damaged: Vec<String>,
}

/// Parts that became fewer.
#[derive(Debug, Serialize)]
pub struct Merged {
    /// The run that the merged parts lie with, or the encoder.
    pub name: String,
    pub parts_before: u64,
    pub parts_after: u64,
    pub rows_before: u64,
    pub rows_after: u64,
    pub bytes_before: u64,
    /// Not known before it is done.
    pub bytes_after: Option<u64>,
    /// The parts written.
    pub written: Vec<Part>,
}

/// Why it could not go on. Whatever is done is done, and the rest can be done again.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Compacts `layout`.
pub fn compact(
    layout: &Layout,
    held: &Lock,
    options: &CompactOptions,
) -> Result<Compaction, CompactError> {
    let state = State::open(layout, held)?;
    Work {
        layout,
        state,
        options,
        mode: Mode::Do,
        done: Compaction::default(),
    }
    .all()
}

/// Tells what compacting `layout` would do. Touches nothing, and takes no lock.
pub fn forecast(layout: &Layout, options: &CompactOptions) -> Result<Compaction, CompactError> {
    let state = State::peek(layout)?;
    Work {
        layout,
        state,
        options,
        mode: Mode::Tell,
        done: Compaction::default(),
    }
    .all()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Tell,
    Do,
}

struct Work<'a> {
    layout: &'a Layout,
    state: State,
    options: &'a CompactOptions,
    mode: Mode,
    done: Compaction,
}

impl Work<'_> {
    fn all(mut self) -> Result<Compaction, CompactError> {
        let survey = self.captions()?;
        self.embeddings(&survey)?;
        let damaged = survey.damaged.iter().map(describe);
        self.done.damaged.extend(damaged);
        Ok(self.done)
    }

    /// The last run whose rows the snapshot holds.
    fn published(&self) -> Option<RunId> {
        let snapshot = self.state.snapshot()?;
        Some(snapshot.notes().run_id)
    }

    fn survey(&self) -> Result<Survey, CompactError> {
        let before = self.options.superseded_before;
        Survey::of(self.layout, self.published(), before, self.state.damaged())
    }

    /// Returns what is there afterwards, or would be.
    fn captions(&mut self) -> Result<Survey, CompactError> {
        let survey = self.survey()?;
        for fold in &survey.folds {
            let rows = fold.rows_that_stay()?;
            if fold.is_needed(rows, self.options.part_size) {
                let merged = self.merge_captions(fold, rows)?;
                self.done.captions.push(merged);
            }
        }
        self.done.refused_parts = survey.refused.len() as u64;
        if self.mode == Mode::Tell {
            return Ok(survey);
        }
        let replacement = Replacement {
            by: Vec::new(),
            replaced: survey.refused,
        };
        replacement.commit(self.layout).map_err(TableError::from)?;
        self.survey()
    }

    fn merge_captions(&self, fold: &Fold, rows: u64) -> Result<Merged, CompactError> {
        let size = self.options.part_size;
        let written = match self.mode {
            Mode::Tell => Vec::new(),
            Mode::Do => fold.carry_out(self.layout, size)?,
        };
        Ok(Merged {
            name: fold.run_id.to_string(),
            parts_before: fold.parts.len() as u64,
            parts_after: size.parts(rows),
            rows_before: fold.rows(),
            rows_after: rows,
            bytes_before: fold.bytes(),
            bytes_after: self.bytes_of(&written),
            written,
        })
    }

    fn embeddings(&mut self, survey: &Survey) -> Result<(), CompactError> {
        let published = self.published();
        let references = match References::of(survey, self.state.snapshot()) {
            // Nobody knows what a file that cannot be read refers to.
            _ if !survey.damaged.is_empty() => None,
            Ok(references) => Some(references),
            Err(damage) => {
                self.done.damaged.push(describe(&damage));
                None
            }
        };
        let droppable = Droppable::of(self.layout, references.as_ref())?;
        for encoder in self.layout.encoders()? {
            let wanted = |run_id: &RunId, id: &ImageId| {
                let is_pending = published.is_none_or(|published| *run_id > published);
                match &references {
                    Some(references) if droppable.contains(&encoder) => {
                        is_pending || references.hold(&encoder, id)
                    }
                    _ => true,
                }
            };
            let merged = self.merge_embeddings(&encoder, &wanted)?;
            self.done.embeddings.extend(merged);
        }
        Ok(())
    }

    fn merge_embeddings(
        &mut self,
        encoder_id: &str,
        wanted: &dyn Fn(&RunId, &ImageId) -> bool,
    ) -> Result<Option<Merged>, CompactError> {
        let mut damaged = Vec::new();
        loop {
            let directory = self.layout.embeddings(encoder_id)?;
            let size = self.options.sweep_size;
            let sweep = Sweep::plan(directory, encoder_id, size, damaged, wanted)?;
            let written = match self.mode {
                Mode::Do if sweep.is_needed() => sweep.carry_out(self.layout),
                _ => Ok(Vec::new()),
            };
            let written = match written {
                Ok(written) => written,
                Err(error) => {
                    let Some(path) = error.damaged_file() else {
                        return Err(error.into());
                    };
                    damaged = sweep.damaged().to_vec();
                    damaged.push(Damage::new(path, &error));
                    continue;
                }
            };
            self.done
                .damaged
                .extend(sweep.damaged().iter().map(describe));
            if !sweep.is_needed() {
                return Ok(None);
            }
            let (parts_before, rows_before, bytes_before) = sweep.replaced();
            let (parts_after, rows_after) = sweep.merged();
            return Ok(Some(Merged {
                name: encoder_id.to_owned(),
                parts_before,
                parts_after,
                rows_before,
                rows_after,
                bytes_before,
                bytes_after: self.bytes_of(&written),
                written,
            }));
        }
    }

    fn bytes_of(&self, written: &[Part]) -> Option<u64> {
        let bytes = written.iter().map(|part| part.bytes).sum();
        (self.mode == Mode::Do).then_some(bytes)
    }
}

/// The encoders whose features may go where no row names them.
struct Droppable<'a> {
    references: Option<&'a References>,
    /// Encoders of runs that made captions.
    captioned: HashSet<String>,
    /// Encoders of runs that only made features: those are what the user asked for. Such a run leaves a
    /// list of files from its beginning, whatever becomes of it and of its summary.
    asked_for: HashSet<String>,
    /// Whether all runs could be asked.
    is_certain: bool,
}

impl<'a> Droppable<'a> {
    fn of(layout: &Layout, references: Option<&'a References>) -> Result<Self, LayoutError> {
        let mut droppable = Self {
            references,
            captioned: HashSet::new(),
            asked_for: HashSet::new(),
            is_certain: true,
        };
        for run in runs(layout)? {
            match run {
                Ok(run) if run.captioner_id.is_some() => {
                    droppable.captioned.insert(run.encoder_id);
                }
                Ok(run) => {
                    droppable.asked_for.insert(run.encoder_id);
                }
                Err(_) => droppable.is_certain = false,
            }
        }
        for encoder_id in layout.encoders()? {
            if layout.file_list(&encoder_id)?.exists() {
                droppable.asked_for.insert(encoder_id);
            }
        }
        Ok(droppable)
    }

    fn contains(&self, encoder_id: &str) -> bool {
        let by_rows = self.references.is_some_and(|rows| rows.know(encoder_id));
        self.is_certain
            && !self.asked_for.contains(encoder_id)
            && (by_rows || self.captioned.contains(encoder_id))
    }
}

fn describe(damage: &Damage) -> String {
    format!(
        "{} was left as it is: {}",
        damage.path.display(),
        damage.reason
    )
}

impl Compaction {
    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.captions.is_empty() && self.embeddings.is_empty() && self.refused_parts == 0
    }
}
