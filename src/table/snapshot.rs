//! Turns the old snapshot and the parts written since into the new one: `captions.arrow`, the
//! current row of each image.
//!
//! An Arrow IPC file with plain buffers, so that any reader may map it into memory. It holds nothing
//! that the parts do not hold: damaged or lost, it is made again from them. Its footer, itself
//! sealed, carries the BLAKE3 of what precedes it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;

use super::columns::{check_columns, conform};
use super::durable::FileError;
use super::merge::{Batches, Merge, Source};
use super::schema::{TABLE_VERSION, check_version, schema};
use super::seal::{SealedSink, check_footer};
use super::{Layout, Part, PartFile, RunId, TableError};

/// Rows in each record batch of the file.
pub(super) const BATCH_ROWS: usize = 4096;

const MAGIC: &[u8] = b"ARROW1";
const VERSION: &str = "showtell.table_version";
const RUN_ID: &str = "showtell.run_id";
const MODEL: &str = "showtell.model";
const DIGEST: &str = "showtell.blake3";
const DIGESTED: &str = "showtell.blake3_bytes";
const ROWS: &str = "showtell.rows";

/// What the snapshot's schema metadata says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotNotes {
    /// The last run whose rows it holds.
    pub run_id: RunId,
    /// The model of that run.
    pub model: String,
}

/// Merges `sources`, oldest first, into a new snapshot and puts it in place of the old one.
pub fn write_snapshot(
    layout: &Layout,
    sources: Vec<Source>,
    notes: &SnapshotNotes,
) -> Result<Part, TableError> {
    let batches = Merge::new(sources).into_batches(BATCH_ROWS);
    write_batches(layout, &layout.snapshot(), &schema(), batches, notes)
}

/// Writes `batches` of `columns` to the file at `path` and puts it in place of the old one.
pub(super) fn write_batches(
    layout: &Layout,
    path: &Path,
    columns: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, TableError>>,
    notes: &SnapshotNotes,
) -> Result<Part, TableError> {
    let writing = || TableError::arrow("write", path);
    let metadata = HashMap::from([
        (VERSION.to_owned(), TABLE_VERSION.to_owned()),
        (RUN_ID.to_owned(), notes.run_id.to_string()),
        (MODEL.to_owned(), notes.model.clone()),
    ]);
    let with_notes = Schema::clone(columns).with_metadata(metadata);
    let mut writer =
        FileWriter::try_new(SealedSink::create(path)?, &with_notes).map_err(writing())?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(writing())?;
    }
    let body = writer.get_ref().body();
    writer.write_metadata(ROWS, rows.to_string());
    writer.write_metadata(DIGEST, body.digest.to_string());
    writer.write_metadata(DIGESTED, body.bytes.to_string());
    writer.get_mut().begin_footer();
    let sink = writer.into_inner().map_err(writing())?;
    let written = sink.finish(MAGIC)?;
    Ok(Part {
        file: layout.relative(path),
        rows,
        bytes: written.bytes,
        blake3: written.digest.to_string(),
    })
}

/// A snapshot on disk: the one that was opened, even if a run has put another in its place since.
#[derive(Debug, Clone)]
pub struct Snapshot {
    path: PathBuf,
    file: Arc<File>,
    notes: SnapshotNotes,
    /// As the file has it.
    schema: SchemaRef,
    rows: u64,
    digest: String,
    /// How many bytes from the start `digest` is of.
    digested: u64,
}

impl Snapshot {
    /// Opens the snapshot at `path`; `None` if there is none.
    pub fn open(path: &Path) -> Result<Option<Self>, TableError> {
        Self::open_with(path, &schema())
    }

    /// As [`open`](Self::open), of a file that has `columns`.
    pub(super) fn open_with(path: &Path, columns: &SchemaRef) -> Result<Option<Self>, TableError> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(FileError::on("open", path))?,
        };
        check_footer(&mut file, MAGIC, path)?;
        let file = Arc::new(file);
        let reader = FileReader::try_new(Stream::of(&file), None)
            .map_err(TableError::arrow("read", path))?;
        let found = reader.schema();
        check_version(found.metadata.get(VERSION).map(String::as_str), path)?;
        check_columns(&found, columns, path)?;
        let missing = |key: &str| TableError::damaged(path, format!("its metadata has no {key}"));
        let note = |notes: &HashMap<String, String>, key: &str| {
            notes.get(key).cloned().ok_or_else(|| missing(key))
        };
        let number = |key: &str| {
            let text = note(reader.custom_metadata(), key)?;
            text.parse::<u64>().map_err(|_| missing(key))
        };
        Ok(Some(Self {
            path: path.to_owned(),
            file: file.clone(),
            notes: SnapshotNotes {
                run_id: note(&found.metadata, RUN_ID)?
                    .parse()
                    .map_err(|_| missing(RUN_ID))?,
                model: note(&found.metadata, MODEL)?,
            },
            rows: number(ROWS)?,
            schema: found.clone(),
            digest: note(reader.custom_metadata(), DIGEST)?,
            digested: number(DIGESTED)?,
        }))
    }

    pub fn notes(&self) -> &SnapshotNotes {
        &self.notes
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads the file once, to see that it is what was written.
    pub fn check(&self) -> Result<(), TableError> {
        let mut digest = blake3::Hasher::new();
        digest
            .update_reader(Stream::of(&self.file).take(self.digested))
            .map_err(FileError::on("read", &self.path))?;
        if digest.count() != self.digested || digest.finalize().to_hex().as_str() != self.digest {
            return Err(TableError::damaged(
                &self.path,
                "it has changed since it was written",
            ));
        }
        Ok(())
    }

    /// Streams the rows, of their columns only `columns`.
    pub fn batches(&self, columns: SchemaRef) -> Result<Batches, TableError> {
        let mut batches = self.open_batches(columns)?;
        Ok(Box::new(
            (0..batches.count()).map(move |at| batches.read(at)),
        ))
    }

    /// The rows in batches that can be read in any order, of their columns only `columns`.
    pub fn open_batches(&self, columns: SchemaRef) -> Result<SnapshotBatches, TableError> {
        let fields = columns.fields().iter();
        let wanted = fields.filter_map(|field| self.schema.index_of(field.name()).ok());
        let reader = FileReader::try_new(Stream::of(&self.file), Some(wanted.collect()))
            .map_err(TableError::arrow("read", &self.path))?;
        Ok(SnapshotBatches {
            path: self.path.clone(),
            columns,
            reader,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The snapshot as a source of a [`Merge`].
    pub fn source(&self, columns: &SchemaRef) -> Source {
        let (snapshot, columns) = (self.clone(), columns.clone());
        Source {
            path: self.path.clone(),
            first_key: None,
            open: Box::new(move || snapshot.batches(columns)),
        }
    }
}

/// The batches of a snapshot, in any order.
pub struct SnapshotBatches {
    path: PathBuf,
    columns: SchemaRef,
    reader: FileReader<Stream>,
}

impl SnapshotBatches {
    pub fn count(&self) -> usize {
        self.reader.num_batches()
    }

    pub fn read(&mut self, at: usize) -> Result<RecordBatch, TableError> {
        let reading = || TableError::arrow("read", &self.path);
        self.reader.set_index(at).map_err(reading())?;
        match self.reader.next() {
            Some(batch) => conform(&batch.map_err(reading())?, &self.columns, &self.path),
            None => Err(TableError::damaged(
                &self.path,
                format!("it has no batch {at}"),
            )),
        }
    }
}

/// Reads a file that others read, too, each from a place of its own.
struct Stream {
    file: Arc<File>,
    at: u64,
}

impl Stream {
    fn of(file: &Arc<File>) -> Self {
        Self {
            file: file.clone(),
            at: 0,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The part at `path` as a source of a [`Merge`].
pub fn part_source(path: &Path, columns: &SchemaRef) -> Result<Source, TableError> {
    let first_key = PartFile::open(path)?
        .first_key()
        .map(|(root, uri)| (root.to_owned(), uri.to_owned()));
    let (file, columns) = (path.to_owned(), columns.clone());
    Ok(Source {
        path: path.to_owned(),
        first_key,
        // Opened again when it is due: a footer held for each of many parts adds up.
        open: Box::new(move || Ok(Box::new(PartFile::open(&file)?.into_batches(columns)))),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::table::arbitrary::{damage, row, run_id, scratch, unique_rows};
    use crate::table::{Outcome, PartWriter, Row, batch_to_rows};

    fn notes() -> SnapshotNotes {
        SnapshotNotes {
            run_id: run_id(7),
            model: "demo".to_owned(),
        }
    }

    fn read(layout: &Layout) -> Result<Vec<Row>, TableError> {
        let path = layout.snapshot();
        let snapshot = Snapshot::open(&path)?.unwrap();
        snapshot.check()?;
        let mut rows = Vec::new();
        for batch in snapshot.batches(schema())? {
            rows.extend(batch_to_rows(&batch?, &path)?);
        }
        assert_eq!(snapshot.rows(), rows.len() as u64);
        Ok(rows)
    }

    /// Each list of rows as a part of the `run`th run, oldest first.
    fn sources(layout: &Layout, run: u32, parts: &[Vec<Row>]) -> Vec<Source> {
        let mut sources = Vec::new();
        for (number, rows) in (0..).zip(parts) {
            let mut writer = PartWriter::create(layout, &run_id(run), number);
            rows.iter()
                .cloned()
                .for_each(|row| writer.push(row).unwrap());
            if let Some(part) = writer.finish().unwrap() {
                sources.push(part_source(&layout.absolute(&part.file), &schema()).unwrap());
            }
        }
        sources
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn holds_the_newest_row_of_each_image_in_order(
            old in prop::collection::vec(unique_rows(0..12), 0..4),
            new in prop::collection::vec(unique_rows(0..12), 0..4),
        ) {
            let out = scratch();
            let layout = Layout::create(out.path()).unwrap();
            write_snapshot(&layout, sources(&layout, 1, &old), &notes()).unwrap();
            let snapshot = Snapshot::open(&layout.snapshot()).unwrap().unwrap();
            let mut all = vec![snapshot.source(&schema())];
            all.extend(sources(&layout, 2, &new));
            write_snapshot(&layout, all, &notes()).unwrap();

            let mut newest = BTreeMap::new();
            for row in old.into_iter().chain(new).flatten() {
                let components = row.uri.split('/').map(|name| name.as_bytes().to_vec());
                newest.insert((row.root.to_string(), components.collect::<Vec<_>>()), row);
            }
            newest.retain(|_, row| row.outcome != Outcome::Deleted);
            prop_assert_eq!(read(&layout).unwrap(), newest.into_values().collect::<Vec<_>>());
        }

        #[test]
        fn damage_is_found_or_harmless(rows in unique_rows(1..20), damage in damage()) {
            let out = scratch();
            let layout = Layout::create(out.path()).unwrap();
            write_snapshot(&layout, sources(&layout, 1, &[rows]), &notes()).unwrap();
            let before = read(&layout).unwrap();
            damage.apply(&layout.snapshot());
            match read(&layout) {
                Ok(after) => prop_assert_eq!(after, before),
                Err(error) => prop_assert!(error.to_string().contains("captions.arrow")),
            }
        }
    }

    #[test]
    fn without_rows_it_is_a_table_without_rows() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        assert!(Snapshot::open(&layout.snapshot()).unwrap().is_none());
        let part = write_snapshot(&layout, Vec::new(), &notes()).unwrap();
        assert_eq!((part.file.as_str(), part.rows), ("captions.arrow", 0));
        assert_eq!(read(&layout).unwrap(), []);
        let snapshot = Snapshot::open(&layout.snapshot()).unwrap().unwrap();
        assert_eq!(snapshot.notes(), &notes());
    }

    #[test]
    fn stays_what_it_was_when_another_takes_its_place() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let write = |run, uri| {
            let sources = sources(&layout, run, &[vec![row(uri)]]);
            write_snapshot(&layout, sources, &notes()).unwrap();
            Snapshot::open(&layout.snapshot()).unwrap().unwrap()
        };
        let uris = |snapshot: &Snapshot| {
            snapshot.check().unwrap();
            let batch = snapshot.batches(schema()).unwrap().next().unwrap().unwrap();
            let rows = batch_to_rows(&batch, &layout.snapshot()).unwrap();
            rows.into_iter().map(|row| row.uri).collect::<Vec<_>>()
        };
        let old = write(1, "a");
        let new = write(2, "b");
        assert_eq!(
            (uris(&old), uris(&new)),
            (vec!["a".into()], vec!["b".into()])
        );
    }

    #[test]
    fn rows_out_of_order_are_damage() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let rows = ["b", "a"].map(row);
        let batch = crate::table::rows_to_batch(&rows).unwrap();
        let source = Source {
            path: "elsewhere.parquet".into(),
            first_key: None,
            open: Box::new(move || Ok(Box::new(std::iter::once(Ok(batch))))),
        };
        let error = write_snapshot(&layout, vec![source], &notes()).unwrap_err();
        let expected = r#"elsewhere.parquet is damaged: "a" of "archive" is out of order"#;
        assert_eq!(error.to_string(), expected);
        let left: Vec<_> = fs::read_dir(out.path()).unwrap().collect();
        assert!(!left.iter().any(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains("arrow")
        }));
    }
}
