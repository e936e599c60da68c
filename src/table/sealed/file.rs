//! Reads a sealed file, a row group at a time.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::FloatType;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use super::checked::Checked;
use super::{DIGESTS, MAGIC, lists, place, short};
use crate::table::TableError;
use crate::table::durable::FileError;
use crate::table::seal::check_footer;

/// Reads a Parquet file that a [`SealedWriter`] wrote, a row group at a time.
pub struct SealedFile {
    pub(super) path: PathBuf,
    /// Where it is while it is written.
    pub(super) temporary: Option<PathBuf>,
    pub(super) metadata: ArrowReaderMetadata,
    /// Of each row group, of each column.
    pub(super) digests: Vec<Vec<String>>,
}

impl SealedFile {
    /// Reads the footer, but no rows yet.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let mut file = File::open(path).map_err(FileError::on("open", path))?;
        check_footer(&mut file, MAGIC, path)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
            .map_err(TableError::parquet("read", path))?;
        let mut sealed = Self {
            path: path.to_owned(),
            temporary: None,
            metadata,
            digests: Vec::new(),
        };
        let digests = sealed.note(DIGESTS).unwrap_or_default();
        let row_groups = digests.split(';').filter(|row_group| !row_group.is_empty());
        sealed.digests = row_groups
            .map(|row_group| row_group.split(',').map(str::to_owned).collect())
            .collect();
        let of_columns = sealed.digests.iter().map(Vec::len);
        let row_groups = sealed.metadata.metadata().row_groups();
        if !of_columns.eq(row_groups.iter().map(RowGroupMetaData::num_columns)) {
            return Err(TableError::damaged(
                path,
                "it has not a digest for each column",
            ));
        }
        Ok(sealed)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// How many row groups the file has.
    pub fn row_groups(&self) -> usize {
        self.digests.len()
    }

    /// How many rows the row group has.
    pub fn rows_in(&self, row_group: usize) -> usize {
        let rows = self.metadata.metadata().row_group(row_group).num_rows();
        usize::try_from(rows).unwrap_or(0)
    }

    /// How many rows the file has.
    pub fn rows(&self) -> usize {
        (0..self.row_groups()).map(|at| self.rows_in(at)).sum()
    }

    /// The value that the file's metadata has for `key`.
    pub fn note(&self, key: &str) -> Option<&str> {
        let metadata = self.metadata.metadata().file_metadata();
        let notes = metadata.key_value_metadata()?;
        let note = notes.iter().rev().find(|note| note.key == key)?;
        note.value.as_deref()
    }

    /// The named columns of a row group, once their bytes are found to be those written.
    pub fn read(&self, row_group: usize, columns: &[&str]) -> Result<RecordBatch, TableError> {
        self.read_groups(row_group..row_group + 1, columns)
    }

    /// As [`read`](Self::read), of several row groups at once: of many small ones much faster.
    pub fn read_groups(
        &self,
        row_groups: Range<usize>,
        columns: &[&str],
    ) -> Result<RecordBatch, TableError> {
        let roots = self.schema().fields().iter().enumerate();
        let wanted = roots.filter(|(_, field)| columns.contains(&field.name().as_str()));
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), wanted.map(|(at, _)| at));
        let mut file = self.reopen()?;
        let mut checked = Checked::default();
        for row_group in row_groups.clone() {
            for column in self.columns(row_group, &mask) {
                column.keep(&mut file, &mut checked)?;
            }
        }
        let rows: usize = row_groups.clone().map(|at| self.rows_in(at)).sum();
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(checked, self.metadata.clone())
                .with_row_groups(row_groups.collect())
                .with_projection(mask)
                .with_batch_size(rows.max(1))
                .build()
                .map_err(TableError::parquet("read", &self.path))?;
        let schema = reader.schema();
        reader
            .collect::<Result<Vec<_>, _>>()
            .and_then(|batches| concat_batches(&schema, &batches))
            .map_err(TableError::arrow("read", &self.path))
    }

    /// The values of a column of lists of `length` f32 each, `[rows, length]`: as
    /// [`read`](Self::read), but without making lists of them, which takes longer than their values.
    pub fn read_lists(
        &self,
        row_group: usize,
        column: &'static str,
        length: usize,
    ) -> Result<Vec<f32>, TableError> {
        let schema = self.metadata.parquet_schema();
        let of_lists = |leaf: &usize| {
            let descriptor = schema.column(*leaf);
            schema.get_column_root(*leaf).name() == column
                && descriptor.physical_type() == Type::FLOAT
                && descriptor.max_rep_level() == 1
        };
        let leaf = (0..schema.num_columns()).find(of_lists);
        let leaf = leaf.ok_or_else(|| TableError::MissingColumn {
            path: self.path.clone(),
            column: column.to_owned(),
        })?;
        let mask = ProjectionMask::leaves(schema, [leaf]);
        let rows = self.rows_in(row_group);
        let mut checked = Checked::default();
        for column in self.columns(row_group, &mask) {
            column.keep(&mut self.reopen()?, &mut checked)?;
        }
        let chunk = self.metadata.metadata().row_group(row_group).column(leaf);
        let reading = || TableError::parquet("read", &self.path);
        let checked = Arc::new(checked);
        let pages = || {
            let pages = SerializedPageReader::new(checked.clone(), chunk, rows, None);
            pages.map_err(reading())
        };
        let found = lists::read(&mut pages()?, rows, length).map_err(reading())?;
        if let Some(values) = found {
            return Ok(values);
        }
        let pages = Box::new(pages()?);
        let mut reader = ColumnReaderImpl::<FloatType>::new(chunk.column_descr_ptr(), pages);
        let mut values = Vec::with_capacity(rows * length);
        let (mut nulls, mut starts) = (Vec::new(), Vec::new());
        // A row at a time, so that the first one of another length can be named.
        for row in 0..rows {
            nulls.clear();
            starts.clear();
            let read = reader
                .read_records(1, Some(&mut nulls), Some(&mut starts), &mut values)
                .map_err(reading())?;
            // An empty list has a place that no value is in.
            if read != (1, length, length) {
                return Err(TableError::Value {
                    path: self.path.clone(),
                    row,
                    column,
                    value: format!("of {} values", read.1),
                });
            }
        }
        Ok(values)
    }

    /// Whether every column of every row group is still what was written. Decodes nothing.
    pub fn verify(&self) -> Result<(), TableError> {
        let mut file = self.reopen()?;
        let all = ProjectionMask::all();
        let mut columns = (0..self.row_groups()).flat_map(|at| self.columns(at, &all));
        columns.try_for_each(|column| column.verify(&mut file))
    }

    fn reopen(&self) -> Result<File, FileError> {
        if let Some(temporary) = &self.temporary {
            match File::open(temporary) {
                // It has been given its name since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => return file.map_err(FileError::on("open", temporary)),
            }
        }
        File::open(&self.path).map_err(FileError::on("open", &self.path))
    }

    /// The columns of a row group that are asked for.
    fn columns<'a>(
        &'a self,
        row_group: usize,
        mask: &ProjectionMask,
    ) -> impl Iterator<Item = Column<'a>> {
        let columns = self.metadata.metadata().row_group(row_group).columns();
        let digests = columns.iter().zip(&self.digests[row_group]).enumerate();
        let wanted = digests.filter(|(leaf, _)| mask.leaf_included(*leaf));
        wanted.map(move |(_, (chunk, digest))| Column {
            path: &self.path,
            row_group,
            chunk,
            digest,
        })
    }
}

/// A column of a row group, as bytes.
struct Column<'a> {
    path: &'a Path,
    row_group: usize,
    chunk: &'a ColumnChunkMetaData,
    /// Of what was written.
    digest: &'a str,
}

impl Column<'_> {
    /// Reads its bytes into `checked` if they are those written.
    fn keep(&self, file: &mut File, checked: &mut Checked) -> Result<(), TableError> {
        let is_sound = checked.read(file, self.place()?, self.digest);
        self.judge(is_sound)
    }

    /// Whether its bytes are those written; holds few of them.
    fn verify(&self, file: &mut File) -> Result<(), TableError> {
        let place = self.place()?;
        let mut digest = blake3::Hasher::new();
        let read = file.seek(SeekFrom::Start(place.start)).and_then(|_| {
            digest.update_reader(file.take(place.end - place.start))?;
            Ok(short(&digest) == self.digest)
        });
        self.judge(read)
    }

    fn place(&self) -> Result<Range<u64>, TableError> {
        place(self.chunk).ok_or_else(|| self.damaged("has no place in the file"))
    }

    fn judge(&self, is_sound: io::Result<bool>) -> Result<(), TableError> {
        match is_sound.map_err(FileError::on("read", self.path))? {
            true => Ok(()),
            false => Err(self.damaged("has changed since it was written")),
        }
    }

    fn damaged(&self, what: &str) -> TableError {
        let (name, row_group) = (self.chunk.column_path(), self.row_group);
        let what = format!("column {name} of row group {row_group} {what}");
        TableError::damaged(self.path, what)
    }
}
