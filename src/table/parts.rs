//! Turns the rows of a run into Parquet parts, and parts back into rows.
//!
//! A part is the unit of durability: once its file has its final name, its rows survive whatever
//! happens to the run. Rows of a part are in [`key_order`], each key once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

use super::columns::{Columns, batch_to_rows, check_columns, conform};
use super::durable::create_dir;
use super::schema::{TABLE_VERSION, check_version, rows_to_batch, schema};
use super::{Layout, Row, RunId, SealedFile, SealedWriter, TableError};
use crate::archive::key_order;

/// Rows in a part at which a run begins the next one, unless told otherwise. A part is held in memory
/// until it is finished, and a run that is killed repeats at most this many.
pub const PART_ROWS: usize = 8192;

/// Small, as merging the parts of many runs holds a row group of each.
const ROW_GROUP_ROWS: usize = 2048;

const VERSION: &str = "showtell.table_version";
const FIRST_ROOT: &str = "showtell.first_root";
const FIRST_URI: &str = "showtell.first_uri";

/// A finished file, as the run summary lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Path below OUT, `/`-separated.
    pub file: String,
    pub rows: u64,
    pub bytes: u64,
    /// BLAKE3 of the file, 64 hex digits.
    pub blake3: String,
}

/// Collects the rows of one part.
pub struct PartWriter {
    layout: Layout,
    run_id: RunId,
    path: PathBuf,
    rows: Vec<Row>,
}

impl PartWriter {
    /// Part `number` of the run; nothing is on disk before [`finish`](Self::finish).
    pub fn create(layout: &Layout, run_id: &RunId, number: u32) -> Self {
        Self {
            layout: layout.clone(),
            run_id: *run_id,
            path: layout.part(run_id, number),
            rows: Vec::new(),
        }
    }

    /// Adds a row; any order will do.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// How many rows the part has so far.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Sorts the rows and makes them durable; a part without rows leaves no file.
    pub fn finish(mut self) -> Result<Option<Part>, TableError> {
        self.rows.sort_by(|a, b| key_order(a.key(), b.key()));
        if let Some(two) = self
            .rows
            .windows(2)
            .find(|two| two[0].key() == two[1].key())
        {
            return Err(TableError::TwoRows {
                root: two[0].root.to_string(),
                uri: two[0].uri.clone(),
            });
        }
        let Some(first) = self.rows.first() else {
            return Ok(None);
        };
        create_dir(&self.layout.run(&self.run_id))?;
        let mut writer = SealedWriter::create(&self.path, schema(), properties(ROW_GROUP_ROWS))?;
        for rows in self.rows.chunks(ROW_GROUP_ROWS) {
            let batch = rows_to_batch(rows).map_err(TableError::arrow("write", &self.path))?;
            writer.write_row_group(&batch)?;
        }
        note_contents(&mut writer, &self.run_id, first.key());
        let written = writer.finish()?;
        Ok(Some(Part {
            file: self.layout.relative(&self.path),
            rows: self.rows.len() as u64,
            bytes: written.bytes,
            blake3: written.digest.to_string(),
        }))
    }
}

/// Says in a part's metadata what it holds; `first` is `root` and `uri` of its first row.
pub(super) fn note_contents(writer: &mut SealedWriter, run_id: &RunId, first: (&str, &str)) {
    writer.note(VERSION, TABLE_VERSION);
    writer.note("showtell.run_id", run_id.as_str());
    writer.note(FIRST_ROOT, first.0);
    writer.note(FIRST_URI, first.1);
}

pub(super) fn properties(row_group_rows: usize) -> WriterPropertiesBuilder {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Indexes of pages would say nothing more of row groups this small, and no digest covers them.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(row_group_rows));
    for unique in ["uri", "image_id"] {
        // A dictionary of values that are all different only costs.
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(unique), false);
    }
    properties
}

/// A finished part, open for reading.
pub struct PartFile {
    file: SealedFile,
}

impl PartFile {
    /// Opens a part and checks that it has the table's columns.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let file = SealedFile::open(path)?;
        check_version(file.note(VERSION), path)?;
        check_columns(file.schema(), &schema(), path)?;
        Ok(Self { file })
    }

    /// How many rows the part has.
    pub fn rows(&self) -> usize {
        self.file.rows()
    }

    /// `root` and `uri` of the first row; `None` if some other program wrote the file.
    pub fn first_key(&self) -> Option<(&str, &str)> {
        Some((self.file.note(FIRST_ROOT)?, self.file.note(FIRST_URI)?))
    }

    /// Reads the bytes of everything once: that they are those written. Much cheaper than
    /// [`check`](Self::check), for a part that was checked when it was new.
    pub fn verify(&self) -> Result<(), TableError> {
        self.file.verify()
    }

    /// Reads everything once: that each row group is what was written, decodes, and is in order.
    pub fn check(&self) -> Result<(), TableError> {
        let path = self.file.path();
        let mut last: Option<(String, String)> = None;
        for batch in self.batches(&schema()) {
            let batch = batch?;
            batch_to_rows(&batch, path)?;
            let columns = Columns {
                batch: &batch,
                path,
            };
            let roots: StringArray = columns.required("root")?;
            let uris: StringArray = columns.required("uri")?;
            for at in 0..batch.num_rows() {
                let key = (roots.value(at), uris.value(at));
                let after = |last: &(String, String)| key_order((&last.0, &last.1), key).is_lt();
                if !last.as_ref().is_none_or(after) {
                    return Err(out_of_order(path, key));
                }
                last = Some((key.0.to_owned(), key.1.to_owned()));
            }
        }
        Ok(())
    }

    /// The part's batches, each with exactly `columns`.
    pub fn batches(
        &self,
        columns: &SchemaRef,
    ) -> impl Iterator<Item = Result<RecordBatch, TableError>> + use<'_> {
        let columns = columns.clone();
        (0..self.file.row_groups()).map(move |at| self.batch(at, &columns))
    }

    /// As [`batches`](Self::batches), outliving the borrow.
    pub fn into_batches(
        self,
        columns: SchemaRef,
    ) -> impl Iterator<Item = Result<RecordBatch, TableError>> + Send {
        (0..self.file.row_groups()).map(move |at| self.batch(at, &columns))
    }

    /// How many batches there are.
    pub fn row_groups(&self) -> usize {
        self.file.row_groups()
    }

    /// One of the batches, with exactly `columns`.
    pub fn batch(&self, row_group: usize, columns: &SchemaRef) -> Result<RecordBatch, TableError> {
        let batch = self.file.read(row_group, &names(columns))?;
        conform(&batch, columns, self.file.path())
    }

    /// All rows of the part.
    pub fn read(&self) -> Result<Vec<Row>, TableError> {
        let mut rows = Vec::with_capacity(self.rows());
        for batch in self.batches(&schema()) {
            rows.extend(batch_to_rows(&batch?, self.file.path())?);
        }
        Ok(rows)
    }
}

/// The error of a file at `path` whose row `key` does not come after the row before it.
pub(super) fn out_of_order(path: &Path, key: (&str, &str)) -> TableError {
    TableError::damaged(path, format!("{:?} of {:?} is out of order", key.1, key.0))
}

fn names(columns: &Arc<Schema>) -> Vec<&str> {
    let fields = columns.fields().iter();
    fields.map(|field| field.name().as_str()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::table::arbitrary::{damage, row, run_id, scratch, unique_rows};

    fn write(layout: &Layout, rows: &[Row]) -> Result<Option<Part>, TableError> {
        let mut writer = PartWriter::create(layout, &run_id(1), 0);
        rows.iter().cloned().for_each(|row| writer.push(row));
        writer.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn rows_come_back_in_order(rows in unique_rows(1..20)) {
            let out = scratch();
            let layout = Layout::create(out.path()).unwrap();
            let part = write(&layout, &rows).unwrap().unwrap();
            let path = layout.absolute(&part.file);
            prop_assert_eq!(part.rows as usize, rows.len());
            prop_assert_eq!(part.bytes, fs::metadata(&path).unwrap().len());
            let digest = blake3::hash(&fs::read(&path).unwrap()).to_string();
            prop_assert_eq!(&part.blake3, &digest);

            let file = PartFile::open(&path).unwrap();
            file.check().unwrap();
            let mut expected = rows;
            expected.sort_by(|a, b| key_order(a.key(), b.key()));
            prop_assert_eq!(file.first_key(), Some(expected[0].key()));
            prop_assert_eq!(file.read().unwrap(), expected);
        }

        #[test]
        fn damage_is_found_or_harmless(rows in unique_rows(1..20), damage in damage()) {
            let out = scratch();
            let layout = Layout::create(out.path()).unwrap();
            let part = write(&layout, &rows).unwrap().unwrap();
            let path = layout.absolute(&part.file);
            let before = PartFile::open(&path).unwrap().read().unwrap();
            damage.apply(&path);
            let after = PartFile::open(&path).and_then(|file| {
                file.check()?;
                file.read()
            });
            match after {
                Ok(after) => prop_assert_eq!(after, before),
                Err(error) => prop_assert!(error.to_string().contains("part-00000.parquet")),
            }
        }
    }

    #[test]
    fn a_part_without_rows_is_no_file() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        assert_eq!(write(&layout, &[]).unwrap(), None);
        assert!(layout.runs_with_rows().unwrap().is_empty());
    }

    #[test]
    fn a_part_is_never_replaced() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let part = write(&layout, &[row("a")]).unwrap().unwrap();
        let error = write(&layout, &[row("b")]).unwrap_err();
        let path = layout.absolute(&part.file);
        assert!(matches!(error, TableError::PartExists(existing) if existing == path));
        assert_eq!(PartFile::open(&path).unwrap().read().unwrap(), [row("a")]);
    }

    #[test]
    fn one_image_cannot_have_two_rows() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let row = row("a/b.jpg");
        let error = write(&layout, &[row.clone(), row]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""a/b.jpg" of "archive" was given two rows in one part"#
        );
        assert!(layout.parts(&run_id(1)).unwrap().is_empty());
    }

    #[test]
    fn another_table_is_refused_by_the_column_it_lacks() {
        let out = scratch();
        let path = out.path().join("other.parquet");
        let batch = rows_to_batch(&[row("a")]).unwrap();
        let batch = batch.project(&[0, 1, 2]).unwrap();
        let mut writer = SealedWriter::create(&path, batch.schema(), properties(10)).unwrap();
        writer.write_row_group(&batch).unwrap();
        writer.finish().unwrap();
        let error = PartFile::open(&path).err().unwrap();
        assert!(
            error.to_string().ends_with("has no column \"bytes\""),
            "{error}"
        );
    }
}
