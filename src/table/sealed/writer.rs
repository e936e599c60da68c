//! Writes a sealed file, row group after row group.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaDataBuilder, RowGroupMetaData};
use parquet::file::properties::WriterPropertiesBuilder;

use super::{DIGESTS, MAGIC, SealedFile, place, short};
use crate::table::TableError;
use crate::table::durable::{FileError, StagedFile, Written, temporary_path};
use crate::table::seal::SealedSink;

/// Writes one Parquet file, of which it holds no more than the row group that is being filled.
pub struct SealedWriter {
    path: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<SealedSink>,
    /// Of each row group, of each column.
    digests: Vec<Vec<String>>,
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
            // One that ended by itself would have no digest.
            .set_max_row_group_row_count(None)
            .set_max_row_group_bytes(None)
            .build();
        let mut writer =
            ArrowWriter::try_new(SealedSink::create(path)?, schema.clone(), Some(properties))
                .map_err(TableError::parquet("write", path))?;
        // The opening magic belongs to no row group.
        writer.sync().map_err(FileError::on("write", path))?;
        writer.inner_mut().begin_span();
        Ok(Self {
            path: path.to_owned(),
            schema,
            writer,
            digests: Vec::new(),
        })
    }

    /// Writes `batch` as a row group of its own.
    pub fn write_row_group(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        self.write(batch)?;
        self.end_row_group()
    }

    /// Adds `batch` to the row group that is being filled, which is held, encoded, until it
    /// [ends](Self::end_row_group).
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        self.writer
            .write(batch)
            .map_err(TableError::parquet("write", &self.path))
    }

    /// Rows and, about, bytes of the row group that is being filled.
    pub fn in_progress(&self) -> (usize, usize) {
        let writer = &self.writer;
        (writer.in_progress_rows(), writer.in_progress_size())
    }

    /// Writes the row group that is being filled to the file; one without rows is none.
    pub fn end_row_group(&mut self) -> Result<(), TableError> {
        if self.writer.in_progress_rows() == 0 {
            return Ok(());
        }
        let start = self.writer.inner().body().bytes;
        self.writer
            .flush()
            .map_err(TableError::parquet("write", &self.path))?;
        self.writer
            .sync()
            .map_err(FileError::on("write", &self.path))?;
        let span = self.writer.inner().span();
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
        self.digests.push(digests);
        self.writer.inner_mut().begin_span();
        Ok(())
    }

    /// The row groups that are in the file by now, open for reading. What is read stays what it is
    /// once the file is finished.
    pub fn so_far(&mut self) -> Result<SealedFile, TableError> {
        self.writer.inner_mut().write_out()?;
        let reading = || TableError::parquet("read", &self.path);
        let row_groups = self.writer.flushed_row_groups();
        let Some(columns) = row_groups.first().map(RowGroupMetaData::schema_descr_ptr) else {
            return Err(TableError::damaged(&self.path, "it has no row group yet"));
        };
        let rows = row_groups.iter().map(RowGroupMetaData::num_rows).sum();
        let metadata =
            ParquetMetaDataBuilder::new(FileMetaData::new(1, rows, None, None, columns, None))
                .set_row_groups(row_groups.to_vec())
                .build();
        let options = ArrowReaderOptions::new().with_schema(self.schema.clone());
        Ok(SealedFile {
            path: self.path.clone(),
            temporary: Some(temporary_path(&self.path)),
            metadata: ArrowReaderMetadata::try_new(Arc::new(metadata), options)
                .map_err(reading())?,
            digests: self.digests.clone(),
        })
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
        self.end_row_group()?;
        let digests: Vec<_> = self
            .digests
            .iter()
            .map(|columns| columns.join(","))
            .collect();
        self.note(DIGESTS, digests.join(";"));
        self.writer.inner_mut().begin_footer();
        let sink = self
            .writer
            .into_inner()
            .map_err(TableError::parquet("write", &self.path))?;
        Ok(sink.stage(MAGIC)?)
    }
}
