//! Turns the rows of a run into Parquet parts, and parts back into rows.
//!
//! A part is the unit of durability: once its file has its final name, its rows survive whatever
//! happens to the run. Rows of a part are in [`key_order`], each key once.

use std::cmp::Ordering;
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

/// Rows in a part at which a run begins the next one, unless told otherwise. A run that is killed
/// repeats at most this many.
pub const PART_ROWS: usize = 8192;

/// Small, as merging the parts of many runs holds a row group of each.
const ROW_GROUP_ROWS: usize = 2048;
/// A row group ends at so many bytes, encoded, however few its rows are.
const ROW_GROUP_BYTES: usize = 4 << 20;
/// Rows that are turned into columns together: as columns, encoded, they take much less memory.
const BATCH_ROWS: usize = 128;

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

/// Writes one part as its rows come: what is in memory is less than a row group.
pub struct PartWriter {
    layout: Layout,
    run_id: RunId,
    path: PathBuf,
    /// `root` and `uri` of the first row, and of the last that was given away.
    keys: Option<[(Arc<str>, String); 2]>,
    /// Not given away yet.
    rows: Vec<Row>,
    writer: Option<SealedWriter>,
    /// How many the writer has.
    written: usize,
}

impl PartWriter {
    /// Part `number` of the run. Nothing is on disk before there are rows, and nothing under the part's
    /// name before [`finish`](Self::finish).
    pub fn create(layout: &Layout, run_id: &RunId, number: u32) -> Self {
        Self::at(layout, run_id, layout.part(run_id, number))
    }

    /// As [`create`](Self::create), elsewhere than in the table.
    pub(super) fn at(layout: &Layout, run_id: &RunId, path: PathBuf) -> Self {
        Self {
            layout: layout.clone(),
            run_id: *run_id,
            path,
            keys: None,
            rows: Vec::new(),
            writer: None,
            written: 0,
        }
    }

    /// Adds a row, which comes after all that were added before.
    pub fn push(&mut self, row: Row) -> Result<(), TableError> {
        let last = self.rows.last().map(Row::key).or_else(|| {
            let [_, (root, uri)] = self.keys.as_ref()?;
            Some((&**root, uri.as_str()))
        });
        if let Some(last) = last {
            let named = || (row.root.to_string(), row.uri.clone());
            match key_order(last, row.key()) {
                Ordering::Less => {}
                Ordering::Equal => {
                    let (root, uri) = named();
                    return Err(TableError::TwoRows { root, uri });
                }
                Ordering::Greater => {
                    let (root, uri) = named();
                    return Err(TableError::Disorder { root, uri });
                }
            }
        }
        self.rows.push(row);
        if self.rows.len() == BATCH_ROWS {
            self.write_rows()?;
        }
        Ok(())
    }

    /// How many rows the part has so far.
    pub fn len(&self) -> usize {
        self.written + self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the rows durable; a part without rows leaves no file.
    pub fn finish(mut self) -> Result<Option<Part>, TableError> {
        self.write_rows()?;
        let (Some(mut writer), Some([first, _])) = (self.writer, self.keys) else {
            return Ok(None);
        };
        note_contents(&mut writer, &self.run_id, (&first.0, &first.1));
        let written = writer.finish()?;
        Ok(Some(Part {
            file: self.layout.relative(&self.path),
            rows: self.written as u64,
            bytes: written.bytes,
            blake3: written.digest.to_string(),
        }))
    }

    /// Gives the rows that came last to the file, under its temporary name.
    fn write_rows(&mut self) -> Result<(), TableError> {
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else {
            return Ok(());
        };
        let key = |row: &Row| (row.root.clone(), row.uri.clone());
        let first = match self.keys.take() {
            Some([first, _]) => first,
            None => key(first),
        };
        self.keys = Some([first, key(last)]);
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                create_dir(self.path.parent().unwrap_or(&self.path))?;
                let writer = SealedWriter::create(&self.path, schema(), properties())?;
                self.writer.insert(writer)
            }
        };
        let batch = rows_to_batch(&self.rows).map_err(TableError::arrow("write", &self.path))?;
        writer.write(&batch)?;
        let (rows, bytes) = writer.in_progress();
        if rows >= ROW_GROUP_ROWS || bytes >= ROW_GROUP_BYTES {
            writer.end_row_group()?;
        }
        self.written += self.rows.len();
        self.rows.clear();
        Ok(())
    }
}

/// Says in a part's metadata what it holds; `first` is `root` and `uri` of its first row.
pub(super) fn note_contents(writer: &mut SealedWriter, run_id: &RunId, first: (&str, &str)) {
    writer.note(VERSION, TABLE_VERSION);
    writer.note("showtell.run_id", run_id.as_str());
    writer.note(FIRST_ROOT, first.0);
    writer.note(FIRST_URI, first.1);
}

pub(super) fn properties() -> WriterPropertiesBuilder {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Indexes of pages would say nothing more of row groups this small, and no digest covers them.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
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
    use crate::table::names;

    fn write(layout: &Layout, rows: &[Row]) -> Result<Option<Part>, TableError> {
        let mut writer = PartWriter::create(layout, &run_id(1), 0);
        rows.iter().cloned().try_for_each(|row| writer.push(row))?;
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
            prop_assert_eq!(file.first_key(), Some(rows[0].key()));
            prop_assert_eq!(file.read().unwrap(), rows);
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
    fn rows_that_are_not_in_order_are_refused() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let number = |number: usize| row(&format!("{number:05}"));
        // Within what is held, and before what was given away.
        for count in [2, BATCH_ROWS] {
            let mut rows: Vec<_> = (1..=count).map(number).collect();
            rows.push(number(0));
            let error = write(&layout, &rows).unwrap_err();
            assert_eq!(
                error.to_string(),
                r#""00000" of "archive" was written after what comes after it"#
            );
            assert!(layout.parts(&run_id(1)).unwrap().is_empty());
            assert!(names(&layout.run(&run_id(1))).unwrap().is_empty());
        }
    }

    #[test]
    fn a_part_is_written_while_its_rows_come() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let count = ROW_GROUP_ROWS * 2 + 1;
        let rows: Vec<_> = (0..count).map(|at| row(&format!("{at:05}"))).collect();
        let mut writer = PartWriter::create(&layout, &run_id(1), 0);
        for row in &rows {
            writer.push(row.clone()).unwrap();
            assert!(writer.rows.len() < BATCH_ROWS);
        }
        assert_eq!(writer.len(), count);
        assert_eq!(
            names(&layout.run(&run_id(1))).unwrap(),
            [".part-00000.parquet.tmp"]
        );
        assert!(layout.parts(&run_id(1)).unwrap().is_empty());
        let part = writer.finish().unwrap().unwrap();
        let file = PartFile::open(&layout.absolute(&part.file)).unwrap();
        file.check().unwrap();
        let groups = (0..file.row_groups()).map(|at| file.file.rows_in(at));
        assert_eq!(
            groups.collect::<Vec<_>>(),
            [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 1]
        );
        assert_eq!(file.read().unwrap(), rows);
    }

    #[test]
    fn another_table_is_refused_by_the_column_it_lacks() {
        let out = scratch();
        let path = out.path().join("other.parquet");
        let batch = rows_to_batch(&[row("a")]).unwrap();
        let batch = batch.project(&[0, 1, 2]).unwrap();
        let mut writer = SealedWriter::create(&path, batch.schema(), properties()).unwrap();
        writer.write_row_group(&batch).unwrap();
        writer.finish().unwrap();
        let error = PartFile::open(&path).err().unwrap();
        assert!(
            error.to_string().ends_with("has no column \"bytes\""),
            "{error}"
        );
    }
}
