//! Says how the table stands: what is current, by which models, how large it all is, and what is not
//! as it should be.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow::array::{Array, StringArray};
use arrow::datatypes::Schema;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::captions::Survey;
use super::{CompactError, CompactOptions};
use crate::nightly::holder;
use crate::table::{
    Columns, FileError, Layout, LayoutError, PartFile, RunId, SealedFile, Snapshot, TableError,
    embeddings_run, names, schema,
};

/// How the table stands.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// The last run whose rows are current; `None` before the first.
    pub run_id: Option<RunId>,
    /// That run's model.
    pub model: Option<String>,
    /// When the table became what it is.
    pub published: Option<DateTime<Utc>>,
    /// Current rows by status, and the failed ones by stage.
    pub rows: BTreeMap<String, u64>,
    pub failed_by_stage: BTreeMap<String, u64>,
    /// What made the current captions.
    pub models: Vec<ModelRows>,
    /// Runs that have written rows since, which the next run will take up.
    pub pending_runs: Vec<RunId>,
    /// Runs whose rows a guard kept out of the table, and that are still there to be looked at.
    pub refused_runs: Vec<RunId>,
    pub captions: Size,
    pub snapshot: Size,
    pub embeddings: Vec<EncoderSize>,
    /// How many parts of captions compacting would merge, and into how many at most.
    pub parts_to_merge: u64,
    pub parts_merged: u64,
    /// Who holds the lock: a run that is under way.
    pub under_way: Option<String>,
    /// Files whose footers cannot be read.
    pub damaged: Vec<String>,
}

/// Current rows that one model made.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ModelRows {
    pub encoder_id: String,
    pub captioner_id: String,
    pub decoding: String,
    pub rows: u64,
}

/// Files, and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Size {
    pub files: u64,
    pub bytes: u64,
}

/// The features of one encoder.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EncoderSize {
    pub encoder_id: String,
    pub rows: u64,
    #[serde(flatten)]
    pub size: Size,
}

/// The table cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Compact(#[from] CompactError),
}

impl Standing {
    /// Looks at `layout`. Reads the snapshot, and of parts only the footers. `options` are those that
    /// compacting would be done with.
    pub fn of(layout: &Layout, options: &CompactOptions) -> Result<Self, StandingError> {
        let mut standing = Self {
            run_id: None,
            model: None,
            published: None,
            rows: BTreeMap::new(),
            failed_by_stage: BTreeMap::new(),
            models: Vec::new(),
            pending_runs: Vec::new(),
            refused_runs: layout.runs_refused()?,
            captions: Size::default(),
            snapshot: Size::default(),
            embeddings: Vec::new(),
            parts_to_merge: 0,
            parts_merged: 0,
            under_way: holder(layout).map_err(TableError::from)?,
            damaged: Vec::new(),
        };
        match standing.count_current(layout) {
            Err(error) if error.damaged_file().is_some() => standing.note(&error),
            counted => counted?,
        }
        standing.measure_captions(layout)?;
        standing.measure_embeddings(layout)?;
        standing.look_for_gain(layout, options)?;
        Ok(standing)
    }

    fn note(&mut self, error: &TableError) {
        let mut line = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            line = format!("{line}: {source}");
        }
        self.damaged.push(line);
    }

    fn count_current(&mut self, layout: &Layout) -> Result<(), TableError> {
        let path = layout.snapshot();
        let Some(snapshot) = Snapshot::open(&path)? else {
            return Ok(());
        };
        let found = fs::metadata(&path).map_err(FileError::on("look at", &path))?;
        self.snapshot = Size {
            files: 1,
            bytes: found.len(),
        };
        self.published = found.modified().ok().map(DateTime::from);
        self.run_id = Some(snapshot.notes().run_id);
        self.model = Some(snapshot.notes().model.clone());
        let mut by_model: BTreeMap<[String; 3], u64> = BTreeMap::new();
        for batch in snapshot.batches(status_columns())? {
            let batch = batch?;
            let columns = Columns {
                batch: &batch,
                path: &path,
            };
            let column = |name| columns.get::<StringArray>(name);
            let (status, stage) = (column("status")?, column("error_stage")?);
            let made = [
                column("encoder_id")?,
                column("captioner_id")?,
                column("decoding")?,
            ];
            for at in 0..batch.num_rows() {
                count(&mut self.rows, status.value(at));
                if stage.is_valid(at) {
                    count(&mut self.failed_by_stage, stage.value(at));
                }
                if status.value(at) == "captioned" {
                    let key = made.each_ref().map(|column| column.value(at));
                    match by_model.iter_mut().find(|(known, _)| **known == key) {
                        Some((_, rows)) => *rows += 1,
                        None => {
                            by_model.insert(key.map(str::to_owned), 1);
                        }
                    }
                }
            }
        }
        let models = by_model.into_iter().map(|(key, rows)| {
            let [encoder_id, captioner_id, decoding] = key;
            ModelRows {
                encoder_id,
                captioner_id,
                decoding,
                rows,
            }
        });
        self.models = models.collect();
        self.models
            .sort_by_key(|model| std::cmp::Reverse(model.rows));
        Ok(())
    }

    fn measure_captions(&mut self, layout: &Layout) -> Result<(), StandingError> {
        for run_id in layout.runs_with_rows()? {
            let parts = layout.parts(&run_id)?;
            let is_pending = self.run_id.is_none_or(|published| run_id > published);
            if is_pending && !parts.is_empty() {
                self.pending_runs.push(run_id);
            }
            for path in parts {
                let opened = PartFile::open(&path).map(|_| ());
                self.measure(&path, opened, |standing| &mut standing.captions)?;
            }
        }
        Ok(())
    }

    fn measure_embeddings(&mut self, layout: &Layout) -> Result<(), StandingError> {
        for encoder_id in layout.encoders()? {
            let directory = layout.embeddings(&encoder_id)?;
            self.embeddings.push(EncoderSize {
                encoder_id,
                rows: 0,
                size: Size::default(),
            });
            let of_encoder = self.embeddings.len() - 1;
            for name in names(&directory).map_err(TableError::from)? {
                if embeddings_run(&name).is_none() {
                    continue;
                }
                let path = directory.join(name);
                let opened = SealedFile::open(&path);
                if let Ok(file) = &opened {
                    self.embeddings[of_encoder].rows += file.rows() as u64;
                }
                let opened = opened.map(|_| ());
                self.measure(&path, opened, |standing| {
                    &mut standing.embeddings[of_encoder].size
                })?;
            }
        }
        Ok(())
    }

    fn measure(
        &mut self,
        path: &Path,
        opened: Result<(), TableError>,
        size: impl FnOnce(&mut Self) -> &mut Size,
    ) -> Result<(), TableError> {
        match opened {
            Err(error) if error.damaged_file().is_some() => self.note(&error),
            // Merged away since it was listed.
            Err(TableError::File(error)) if error.is_missing() => return Ok(()),
            opened => opened?,
        }
        let bytes = fs::metadata(path).map_or(0, |found| found.len());
        let size = size(self);
        size.files += 1;
        size.bytes += bytes;
        Ok(())
    }

    fn look_for_gain(
        &mut self,
        layout: &Layout,
        options: &CompactOptions,
    ) -> Result<(), StandingError> {
        let before = options.superseded_before;
        let survey = match Survey::of(layout, self.run_id, before, &[]) {
            // A compaction that is under way takes parts away.
            Err(CompactError::Table(TableError::File(error))) if error.is_missing() => {
                return Ok(());
            }
            survey => survey?,
        };
        for fold in &survey.folds {
            // As if all rows stayed: to know better, all keys would have to be read.
            if fold.is_needed(fold.rows(), options.part_size) {
                self.parts_to_merge += fold.parts.len() as u64;
                self.parts_merged += options.part_size.parts(fold.rows());
            }
        }
        Ok(())
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

fn status_columns() -> arrow::datatypes::SchemaRef {
    let wanted = [
        "status",
        "error_stage",
        "encoder_id",
        "captioner_id",
        "decoding",
    ];
    let all = schema();
    let fields = all.fields().iter();
    let wanted = fields.filter(|field| wanted.contains(&field.name().as_str()));
    Schema::new(wanted.cloned().collect::<Vec<_>>()).into()
}
