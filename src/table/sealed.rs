//! Turns record batches into a Parquet file that can tell whether it is still what was written.
//!
//! Parquet pages are compressed without checksums here, and a flipped bit may decode into a wrong
//! number, or make the decoder panic. So the file's footer, itself sealed, carries a digest of each
//! column's bytes in each row group, checked before they are decoded. Stands apart because caption
//! parts and embedding parts both need it, while to other readers they are plain Parquet.

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
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaDataBuilder, RowGroupMetaData,
};
use parquet::file::properties::WriterPropertiesBuilder;

use super::TableError;
use super::durable::{FileError, StagedFile, Written, temporary_path};
use super::seal::{SealedSink, check_footer};

/// Of each row group, of each column; the row groups parted by `;`, the columns by `,`.
const DIGESTS: &str = "showtell.columns.blake3";
const MAGIC: &[u8] = b"PAR1";

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
        writer.inner_mut().take_span();
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
        self.digests.push(digests);
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

/// Reads a Parquet file that a [`SealedWriter`] wrote, a row group at a time.
pub struct SealedFile {
    path: PathBuf,
    /// Where it is while it is written.
    temporary: Option<PathBuf>,
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
        for row_group in row_groups.clone() {
            self.check(row_group, &mask, &mut file)?;
        }
        let rows: usize = row_groups.clone().map(|at| self.rows_in(at)).sum();
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
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

    /// Whether every column of every row group is still what was written. Decodes nothing.
    pub fn verify(&self) -> Result<(), TableError> {
        let mut file = self.reopen()?;
        (0..self.row_groups()).try_for_each(|at| self.check(at, &ProjectionMask::all(), &mut file))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::arbitrary::{row, scratch};
    use crate::table::parts::properties;
    use crate::table::{rows_to_batch, schema};

    #[test]
    fn row_groups_are_read_before_and_after_the_file_is_finished() {
        let out = scratch();
        let path = out.path().join("part.parquet");
        let batches = ["a", "b", "c"].map(|uri| rows_to_batch(&[row(uri)]).unwrap());
        let columns: Vec<_> = schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let columns: Vec<_> = columns.iter().map(String::as_str).collect();
        let mut writer = SealedWriter::create(&path, schema(), properties()).unwrap();
        assert!(writer.so_far().is_err());
        writer.write_row_group(&batches[0]).unwrap();
        let first = writer.so_far().unwrap();
        assert!(!path.exists());
        writer.write_row_group(&batches[1]).unwrap();
        let both = writer.so_far().unwrap();
        writer.write(&batches[2]).unwrap();
        assert_eq!((first.row_groups(), both.row_groups()), (1, 2));
        let check = || {
            assert_eq!(first.read(0, &columns).unwrap(), batches[0]);
            for (at, batch) in batches.iter().enumerate().take(2) {
                assert_eq!(both.read(at, &columns).unwrap(), *batch);
            }
            both.verify().unwrap();
        };
        check();
        writer.finish().unwrap();
        check();
        let whole = SealedFile::open(&path).unwrap();
        assert_eq!(whole.row_groups(), 3);
        assert_eq!(whole.read(2, &columns).unwrap(), batches[2]);
    }
}
