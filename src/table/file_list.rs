//! Which file has which content, as far as one encoder's features are concerned: how `embed`, which
//! writes no rows of the table, knows files again without reading them.
//!
//! An Arrow file beside the features, replaced whole when a run ends, that also tells people which
//! file an embedding is of. It says nothing of features: whether those are there is asked of the cache
//! each time. Nor does it say what is current: a file whose size or time is another than here is read
//! again. So it cannot disagree with either, and if it is lost, files are read once more.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};

use super::columns::{conform, known_schema};
use super::durable::{create_dir, remove_file, temporary_path};
use super::merge::{Merge, Source};
use super::schema::{CAPTIONED, FAILED};
use super::snapshot::{BATCH_ROWS, Snapshot, SnapshotNotes, part_source, write_batches};
use super::{Damage, FileError, Layout, LayoutError, Part, PartWriter, TableError};

/// See the [module](self).
#[derive(Debug)]
pub struct FileList {
    layout: Layout,
    encoder_id: Arc<str>,
    path: PathBuf,
    /// Where the rows of a run are while it is on.
    seen: PathBuf,
    snapshot: Option<Snapshot>,
    damaged: Option<Damage>,
}

impl FileList {
    /// Opens what the last run left for the encoder. A list that is damaged is none, and is told by
    /// [`damaged`](Self::damaged).
    pub fn open(layout: &Layout, encoder_id: &str) -> Result<Self, FileListError> {
        let path = layout.file_list(encoder_id)?;
        let checked = Snapshot::open_with(&path, &columns()).and_then(|snapshot| match snapshot {
            Some(snapshot) => snapshot.check().map(|()| Some(snapshot)),
            None => Ok(None),
        });
        let (snapshot, damaged) = match checked {
            Ok(snapshot) => (snapshot, None),
            Err(error) if !error.is_damage() => return Err(error.into()),
            Err(error) => (None, Some(Damage::new(&path, &error))),
        };
        Ok(Self {
            layout: layout.clone(),
            encoder_id: encoder_id.into(),
            seen: path.with_file_name(".seen.parquet"),
            path,
            snapshot,
            damaged,
        })
    }

    /// The list, if it was found damaged.
    pub fn damaged(&self) -> Option<&Damage> {
        self.damaged.as_ref()
    }

    /// The files, as rows of a run that wanted nothing but features.
    pub fn source(&self) -> Option<Source> {
        let snapshot = self.snapshot.clone()?;
        let (encoder_id, path) = (self.encoder_id.clone(), self.path.clone());
        Some(Source {
            path: self.path.clone(),
            first_key: None,
            open: Box::new(move || {
                let batches = snapshot.batches(columns())?;
                Ok(Box::new(batches.map(move |batch| {
                    as_known(&batch?, &encoder_id).map_err(TableError::arrow("read", &path))
                })))
            }),
        })
    }

    /// Takes the rows that the run makes. What a killed run has left is removed; so the caller holds
    /// the lock. From now on there is a list, if only of no files, which says that somebody wants the
    /// encoder's features for their own sake.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written to.
    pub fn writer(&self, notes: &SnapshotNotes) -> Result<PartWriter, FileListError> {
        for path in [
            &self.seen,
            &temporary_path(&self.seen),
            &temporary_path(&self.path),
        ] {
            remove_file(path)?;
        }
        if self.snapshot.is_none() {
            create_dir(&self.layout.embeddings(&self.encoder_id)?)?;
            let nothing = std::iter::empty();
            write_batches(&self.layout, &self.path, &columns(), nothing, notes)?;
        }
        let seen = self.seen.clone();
        Ok(PartWriter::at(&self.layout, &notes.run_id, seen))
    }

    /// Puts a list in place that has the files of `seen`, which [`writer`](Self::writer) has written,
    /// too, in place of what it had of them.
    pub fn replace(&self, seen: &Part, notes: &SnapshotNotes) -> Result<Part, TableError> {
        let seen = self.layout.absolute(&seen.file);
        let mut sources: Vec<_> = self.source().into_iter().collect();
        sources.push(part_source(&seen, &known_schema())?);
        let batches = Merge::new(sources).into_batches(BATCH_ROWS);
        let batches = batches.map(|batch| conform(&batch?, &columns(), &self.path));
        let list = write_batches(&self.layout, &self.path, &columns(), batches, notes)?;
        remove_file(&seen)?;
        Ok(list)
    }
}

/// A list of files that cannot be used, for another reason than damage.
#[derive(Debug, thiserror::Error)]
pub enum FileListError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Table(#[from] TableError),
}

/// The columns of the list: those of a row that are of the file.
fn columns() -> SchemaRef {
    let of_the_model = ["status", "encoder_id", "captioner_id", "decoding"];
    let known = known_schema();
    let fields = known.fields().iter();
    let of_the_file = fields.filter(|field| !of_the_model.contains(&field.name().as_str()));
    Arc::new(Schema::new(of_the_file.cloned().collect::<Vec<_>>()))
}

/// Adds to a batch of the list what its rows have in common.
fn as_known(
    batch: &RecordBatch,
    encoder_id: &str,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let rows = batch.num_rows();
    let same = |text: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            text, rows,
        )))
    };
    let status = || -> ArrayRef {
        let errors = batch.column_by_name("error_stage");
        let errors = errors.and_then(|errors| errors.as_string_opt::<i32>());
        let status = (0..rows).map(|row| {
            let failed = errors.is_some_and(|errors| arrow::array::Array::is_valid(errors, row));
            if failed { FAILED } else { CAPTIONED }
        });
        Arc::new(StringArray::from_iter_values(status))
    };
    let known = known_schema();
    let columns = known.fields().iter().filter_map(|field| {
        Some(match field.name().as_str() {
            "status" => status(),
            "encoder_id" => same(encoder_id),
            "captioner_id" | "decoding" => same(""),
            name => batch.column_by_name(name)?.clone(),
        })
    });
    RecordBatch::try_new(known.clone(), columns.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Failure, Stage};
    use crate::table::arbitrary::{row, run_id, scratch};
    use crate::table::{Identity, Known, Outcome, Row, Shared, Status, names};

    const ENCODER: &str = "vgg16-fc7";

    fn embedded(uri: &str, night: u32) -> Row {
        Row {
            outcome: Outcome::Captioned(Vec::new()),
            identity: Some(Identity {
                encoder_id: ENCODER.into(),
                captioner_id: "".into(),
                decoding: "".into(),
            }),
            run_id: run_id(night),
            ..row(uri)
        }
    }

    fn night(layout: &Layout, number: u32, rows: Vec<Row>) {
        let list = FileList::open(layout, ENCODER).unwrap();
        assert_eq!(list.damaged(), None);
        let notes = SnapshotNotes {
            run_id: run_id(number),
            model: "vgg16".to_owned(),
        };
        let mut writer = list.writer(&notes).unwrap();
        rows.into_iter().for_each(|row| writer.push(row).unwrap());
        let seen = writer.finish().unwrap().unwrap();
        list.replace(&seen, &notes).unwrap();
    }

    fn known(list: &FileList) -> Vec<Known> {
        let mut shared = Shared::default();
        let rows = Merge::new(list.source().into_iter().collect());
        rows.map(|row| row.unwrap().known(&mut shared).unwrap())
            .collect()
    }

    #[test]
    fn has_the_newest_of_each_file_and_nothing_else_stays() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        assert!(FileList::open(&layout, ENCODER).unwrap().source().is_none());
        let failure = Failure {
            stage: Stage::Decode,
            reason: "it is cut short".to_owned(),
        };
        let failed = Row {
            outcome: Outcome::Failed(failure.clone()),
            ..embedded("b", 1)
        };
        let gone = |uri| Row {
            outcome: Outcome::Deleted,
            identity: None,
            ..embedded(uri, 2)
        };
        let newer = Row {
            bytes: 77,
            ..embedded("d", 2)
        };
        let first = vec![
            embedded("a", 1),
            failed.clone(),
            embedded("c", 1),
            embedded("d", 1),
        ];
        night(&layout, 1, first);
        night(&layout, 2, vec![gone("c"), newer.clone(), embedded("e", 2)]);
        let list = FileList::open(&layout, ENCODER).unwrap();
        let known = known(&list);
        let found: Vec<_> = known
            .iter()
            .map(|known| (&*known.uri, known.run_id))
            .collect();
        let (one, two) = (run_id(1), run_id(2));
        assert_eq!(found, [("a", one), ("b", one), ("d", two), ("e", two)]);
        assert_eq!(known[1].status, Status::Failed(failure));
        assert_eq!((known[2].bytes, &known[2].status), (77, &Status::Captioned));
        assert_eq!(known[0].identity, embedded("a", 1).identity);
        let directory = layout.embeddings(ENCODER).unwrap();
        assert_eq!(names(&directory).unwrap(), ["files.arrow"]);
    }

    #[test]
    fn a_damaged_list_is_none_and_what_a_killed_run_left_goes() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        night(&layout, 1, vec![embedded("a", 1)]);
        let path = layout.file_list(ENCODER).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let directory = layout.embeddings(ENCODER).unwrap();
        for left in [".seen.parquet", "..seen.parquet.tmp", ".files.arrow.tmp"] {
            std::fs::write(directory.join(left), "half").unwrap();
        }
        let list = FileList::open(&layout, ENCODER).unwrap();
        assert_eq!(list.damaged().map(|damage| &*damage.path), Some(&*path));
        assert!(list.source().is_none());
        let notes = SnapshotNotes {
            run_id: run_id(2),
            model: "vgg16".to_owned(),
        };
        list.writer(&notes).unwrap();
        assert_eq!(names(&directory).unwrap(), ["files.arrow"]);
        let mut again = list.writer(&notes).unwrap();
        again.push(embedded("a", 2)).unwrap();
        list.replace(&again.finish().unwrap().unwrap(), &notes)
            .unwrap();
        assert_eq!(known(&FileList::open(&layout, ENCODER).unwrap()).len(), 1);
    }
}
