//! Finds the runs whose rows can lie together, and puts them together.
//!
//! The rows of all runs up to a certain one become the table as it was after that run: of each image
//! the newest row, and none of an image that was gone by then. They lie with the last of those runs,
//! so whoever reads parts in the order of the runs, or takes the newest `run_id` of each image, finds
//! what was there before. The parts of each later run are merged among themselves, and keep every row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::datatypes::{Schema, SchemaRef};
use chrono::{DateTime, Utc};

use super::CompactError;
use crate::table::{
    Damage, Deletions, FileError, Layout, LayoutError, Merge, Part, PartFile, PartSize,
    Replacement, RunId, Source, TableError, create_empty, is_part, part_source, remove_temporaries,
    schema, stage_merged,
};

/// Runs whose rows are to lie together.
#[derive(Debug, Clone)]
pub struct Fold {
    /// The last of the runs: the merged parts are named as its parts.
    pub run_id: RunId,
    /// Their parts, oldest first.
    pub parts: Vec<FoldedPart>,
    /// Left out where no older rows are left that would come to light.
    pub deletions: Deletions,
}

#[derive(Debug, Clone)]
pub struct FoldedPart {
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
}

/// What is on disk, seen with an eye to merging it.
#[derive(Debug, Default)]
pub struct Survey {
    pub folds: Vec<Fold>,
    /// Parts that stay as they are: of runs that are not in the snapshot yet, or were kept back lately.
    pub others: Vec<PathBuf>,
    /// Parts of runs that a guard kept back, for longer than superseded rows are kept.
    pub refused: Vec<PathBuf>,
    /// Files that cannot be read. What is newer than the first of them is not merged with what is
    /// older, as nobody knows what it hid.
    pub damaged: Vec<Damage>,
}

impl Survey {
    /// Looks at the footers of all parts. `published` is the last run that the snapshot holds, and
    /// runs up to `superseded_before` are folded into one. Leaves the files `damaged` alone.
    pub fn of(
        layout: &Layout,
        published: Option<RunId>,
        superseded_before: DateTime<Utc>,
        damaged: &[Damage],
    ) -> Result<Self, CompactError> {
        let mut survey = Self {
            damaged: damaged.to_vec(),
            ..Self::default()
        };
        let is_old = |run_id: &RunId| {
            let moment = run_id.moment();
            moment.is_some_and(|moment| moment <= superseded_before)
        };
        for run_id in layout.runs_refused()? {
            let parts = layout.refused_parts(&run_id)?;
            match is_old(&run_id) {
                true => survey.refused.extend(parts),
                false => survey.others.extend(parts),
            }
        }
        let mut oldest: Option<Fold> = None;
        let mut later = Vec::new();
        let mut may_join = true;
        for run_id in layout.runs_with_rows()? {
            let parts = layout.parts(&run_id)?;
            if published.is_none_or(|published| run_id > published) {
                survey.others.extend(parts);
                continue;
            }
            let is_old = is_old(&run_id);
            let damage_before = survey.damaged.len();
            let known = survey
                .damaged
                .iter()
                .any(|damage| parts.contains(&damage.path));
            let mut sound = Vec::new();
            for path in &parts {
                match fold_part(path) {
                    Ok(part) => sound.push(part),
                    Err(error) if error.damaged_file().is_some() => survey.note(path, &error),
                    Err(error) => return Err(error.into()),
                }
            }
            if known || survey.damaged.len() > damage_before {
                may_join = false;
                survey.others.extend(parts);
            } else if is_old && may_join {
                let fold = oldest.get_or_insert_with(|| Fold {
                    run_id,
                    parts: Vec::new(),
                    deletions: Deletions::Drop,
                });
                fold.run_id = run_id;
                fold.parts.extend(sound);
            } else {
                later.push(Fold {
                    run_id,
                    parts: sound,
                    deletions: Deletions::Keep,
                });
            }
        }
        survey.folds.extend(oldest);
        survey.folds.extend(later);
        survey.folds.retain(|fold| !fold.parts.is_empty());
        Ok(survey)
    }

    fn note(&mut self, path: &Path, error: &dyn std::error::Error) {
        if !self.damaged.iter().any(|damage| damage.path == path) {
            self.damaged.push(Damage::new(path, error));
        }
    }
}

fn fold_part(path: &Path) -> Result<FoldedPart, TableError> {
    let rows = PartFile::open(path)?.rows() as u64;
    let found = fs::metadata(path).map_err(FileError::on("look at", path))?;
    Ok(FoldedPart {
        path: path.to_owned(),
        rows,
        bytes: found.len(),
    })
}

impl Fold {
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// How many rows stay.
    pub fn rows_that_stay(&self) -> Result<u64, TableError> {
        if self.deletions == Deletions::Keep {
            // A run has one row for an image.
            return Ok(self.rows());
        }
        let mut rows = 0;
        for row in Merge::with(self.sources(&key_columns())?, self.deletions) {
            row?;
            rows += 1;
        }
        Ok(rows)
    }

    /// Whether fewer parts, or fewer rows, would do.
    pub fn is_needed(&self, rows_that_stay: u64, size: PartSize) -> bool {
        let is_elsewhere = |part: &FoldedPart| {
            let run = format!("run={}", self.run_id);
            part.path.parent().and_then(Path::file_name) != Some(run.as_ref())
        };
        rows_that_stay < self.rows()
            || self.parts.len() as u64 > size.parts(rows_that_stay)
            || self.parts.iter().any(is_elsewhere)
    }

    /// The parts as sources of a merge, oldest first.
    pub fn sources(&self, columns: &SchemaRef) -> Result<Vec<Source>, TableError> {
        let parts = self.parts.iter();
        parts.map(|part| part_source(&part.path, columns)).collect()
    }

    /// Writes the merged parts and removes what they replace. The caller holds the lock.
    pub fn carry_out(&self, layout: &Layout, size: PartSize) -> Result<Vec<Part>, CompactError> {
        let directory = layout.run(&self.run_id);
        remove_temporaries(&directory, is_part).map_err(TableError::from)?;
        let merge = Merge::with(self.sources(&schema())?, self.deletions);
        let batches = merge.into_batches(size.batch_rows());
        let first = next_number(layout, &self.run_id)?;
        let staged = stage_merged(layout, &self.run_id, first, size, batches)?;
        let parts = staged.iter().map(|(file, rows)| Part {
            file: layout.relative(file.path()),
            rows: *rows,
            bytes: file.written().bytes,
            blake3: file.written().digest.to_string(),
        });
        let parts = parts.collect();
        self.keep_names(layout)?;
        let replacement = Replacement {
            by: staged.into_iter().map(|(file, _)| file).collect(),
            // Oldest first: a row that says `deleted` goes after those that it hides.
            replaced: self.parts.iter().map(|part| part.path.clone()).collect(),
        };
        replacement.commit(layout).map_err(TableError::from)?;
        Ok(parts)
    }
}

/// What keeps the directory of a run without rows.
const NO_SUMMARY: &str = ".no-summary";

impl Fold {
    /// Sees that the directories of runs stay that have no summary: by nothing else would their names
    /// be known, which a table that was published elsewhere may say it is of.
    fn keep_names(&self, layout: &Layout) -> Result<(), TableError> {
        let directories: BTreeSet<_> = self
            .parts
            .iter()
            .filter_map(|part| part.path.parent())
            .collect();
        for directory in directories {
            let name = directory.file_name().unwrap_or_default().to_string_lossy();
            let run_id = name
                .strip_prefix("run=")
                .and_then(|run_id| run_id.parse().ok());
            if run_id.is_some_and(|run_id| !layout.summary(&run_id).exists()) {
                create_empty(&directory.join(NO_SUMMARY))?;
            }
        }
        Ok(())
    }
}

/// The first number that no part of the run has.
fn next_number(layout: &Layout, run_id: &RunId) -> Result<u32, LayoutError> {
    let parts = layout.parts(run_id)?;
    let numbers = parts.iter().filter_map(|path| {
        let name = path.file_stem()?.to_str()?;
        name.strip_prefix("part-")?.parse::<u32>().ok()
    });
    Ok(numbers.max().map_or(0, |last| last.saturating_add(1)))
}

/// The columns that tell rows apart, and those that name features.
pub fn key_columns() -> SchemaRef {
    let wanted = ["uri", "root", "status", "image_id", "encoder_id"];
    let all = schema();
    let fields = all.fields().iter();
    let wanted = fields.filter(|field| wanted.contains(&field.name().as_str()));
    Schema::new(wanted.cloned().collect::<Vec<_>>()).into()
}
