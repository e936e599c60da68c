//! Turns record batches into a Parquet file that can tell whether it is still what was written.
//!
//! Parquet pages are compressed without checksums here, and a flipped bit may decode into a wrong
//! number, or make the decoder panic. So the file's footer, itself sealed, carries a digest of each
//! column's bytes in each row group, checked before they are decoded. Stands apart because caption
//! parts and embedding parts both need it, while to other readers they are plain Parquet.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, RowGroupMetaData};
use parquet::file::properties::WriterPropertiesBuilder;

use super::TableError;
use super::durable::{FileError, StagedFile, Written};
use super::seal::{SealedSink, check_footer};

/// Of each row group, of each column; the row groups parted by `;`, the columns by `,`.
const DIGESTS: &str = "showtell.columns.blake3";
const MAGIC: &[u8] = b"PAR1";

/// Writes one Parquet file, a row group at a time.
pub struct SealedWriter {
    path: PathBuf,
    writer: ArrowWriter<SealedSink>,
    digests: Vec<String>,
}

impl SealedWriter {
    /// Begins the file that [`finish`](Self::finish) puts at `path`, where there is none yet.
    pub fn create(
        path: &Path,
        schema: SchemaRef,
        properties: WriterPropertiesBuilder,
    ) -> Result<Self, TableError> {
        // A part that is durable is never written over, whatever number the caller thinks it has.
        if path.exists() {
            return Err(TableError::PartExists(path.to_owned()));
        }
        let properties = properties
            .set_created_by(concat!("showtell ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let mut writer = ArrowWriter::try_new(SealedSink::create(path)?, schema, Some(properties))
            .map_err(TableError::parquet("write", path))?;
        // The opening magic belongs to no row group.
        writer.sync().map_err(FileError::on("write", path))?;
        writer.inner_mut().take_span();
        Ok(Self {
            path: path.to_owned(),
            writer,
            digests: Vec::new(),
        })
    }

    /// Writes `batch` as a row group of its own.
    pub fn write_row_group(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let start = self.writer.inner().body().bytes;
        self.writer
            .write(batch)
            .and_then(|()| self.writer.flush())
            .map_err(TableError::parquet("write", &self.path))?;
        self.writer
            .sync()
            .map_err(FileError::on("write", &self.path))?;
        let span = self.writer.inner_mut().take_span();
        let columns = match self.writer.flushed_row_groups().last() {
            Some(row_group) => row_group.columns(),
            None => &[],
        };
        let digests: Option<Vec<_>> = columns
            .iter()
            .map(|column| {
                let Range { start: from, end } = place(column)?;
                let from = usize::try_from(from.checked_sub(start)?).ok()?;
                let end = usize::try_from(end.checked_sub(start)?).ok()?;
                let mut digest = blake3::Hasher::new();
                digest.update(span.get(from..end)?);
                Some(short(&digest))
            })
            .collect();
        let Some(digests) = digests else {
            // Only if the writer did not write what it says it did.
            return Err(TableError::damaged(
                &self.path,
                "a column is not in its row group",
            ));
        };
        self.digests.push(digests.join(","));
        Ok(())
    }

    /// Adds a key and a value to the file's metadata.
    pub fn note(&mut self, key: &str, value: impl Into<String>) {
        self.writer
            .append_key_value_metadata(KeyValue::new(key.to_owned(), value.into()));
    }

    /// Makes the file durable under its name.
    pub fn finish(self) -> Result<Written, TableError> {
        Ok(self.stage()?.publish()?)
    }

    /// As [`finish`](Self::finish), but the file has yet to get its name.
    pub fn stage(mut self) -> Result<StagedFile, TableError> {
        let digests = self.digests.join(";");
        self.note(DIGESTS, digests);
        self.writer.inner_mut().begin_footer();
        let sink = self
            .writer
            .into_inner()
            .map_err(TableError::parquet("write", &self.path))?;
        Ok(sink.stage(MAGIC)?)
    }
}

/// Reads a Parquet file that a [`SealedWriter`] wrote, a row group at a time.
pub struct SealedFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Of each row group, of each column.
    digests: Vec<Vec<String>>,
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
        let roots = self.schema().fields().iter().enumerate();
        let wanted = roots.filter(|(_, field)| columns.contains(&field.name().as_str()));
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), wanted.map(|(at, _)| at));
        let mut file = File::open(&self.path).map_err(FileError::on("open", &self.path))?;
        self.check(row_group, &mask, &mut file)?;
        let rows = self.rows_in(row_group);
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![row_group])
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

    /// Whether every column of every row group is still what was written. Decodes nothing.
    pub fn verify(&self) -> Result<(), TableError> {
        let mut file = File::open(&self.path).map_err(FileError::on("open", &self.path))?;
        (0..self.row_groups()).try_for_each(|at| self.check(at, &ProjectionMask::all(), &mut file))
    }

    fn check(
        &self,
        row_group: usize,
        mask: &ProjectionMask,
        file: &mut File,
    ) -> Result<(), TableError> {
        let columns = self.metadata.metadata().row_group(row_group).columns();
        let digests = columns.iter().zip(&self.digests[row_group]).enumerate();
        for (_, (column, expected)) in digests.filter(|(at, _)| mask.leaf_included(*at)) {
            let damaged = |what: &str| {
                let name = column.column_path();
                let what = format!("column {name} of row group {row_group} {what}");
                Err(TableError::damaged(&self.path, what))
            };
            let Some(place) = place(column) else {
                return damaged("has no place in the file");
            };
            let mut digest = blake3::Hasher::new();
            file.seek(SeekFrom::Start(place.start))
                .and_then(|_| {
                    digest.update_reader(file.take(place.end - place.start))?;
                    Ok(())
                })
                .map_err(FileError::on("read", &self.path))?;
            if short(&digest) != *expected {
                return damaged("has changed since it was written");
            }
        }
        Ok(())
    }
}

/// Where a column of a row group begins and ends in the file.
fn place(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let data = column.data_page_offset();
    let first = column.dictionary_page_offset();
    let start = u64::try_from(first.map_or(data, |first| first.min(data))).ok()?;
    let length = u64::try_from(column.compressed_size()).ok()?;
    Some(start..start.checked_add(length)?)
}

/// 128 bits guard against chance as well as 256, at half the footer.
fn short(digest: &blake3::Hasher) -> String {
    digest.finalize().to_hex()[..32].to_owned()
}
