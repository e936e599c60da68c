//! Turns record batches into a Parquet file that can tell whether it is still what was written.
//!
//! Parquet pages are compressed without checksums here, and a flipped bit may decode into a wrong
//! number, or make the decoder panic. So the file's footer, itself sealed, carries a digest of each
//! column's bytes in each row group, checked before they are decoded. Stands apart because caption
//! parts and embedding parts both need it, while to other readers they are plain Parquet.

mod checked;
mod file;
mod lists;
mod writer;

use std::ops::Range;

use parquet::file::metadata::ColumnChunkMetaData;

pub use file::SealedFile;
pub use writer::SealedWriter;

/// Of each row group, of each column; the row groups parted by `;`, the columns by `,`.
const DIGESTS: &str = "showtell.columns.blake3";
const MAGIC: &[u8] = b"PAR1";

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
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::basic::Encoding;
    use parquet::file::properties::WriterProperties;
    use parquet::schema::types::ColumnPath;

    use super::*;
    use crate::table::TableError;
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

    /// Row groups of lists, read as `[rows, length]`.
    fn lists(row_groups: &[&[&[f32]]], length: usize) -> Vec<Result<Vec<f32>, TableError>> {
        let out = scratch();
        let path = out.path().join("part.parquet");
        let element = Arc::new(Field::new("element", DataType::Float32, false));
        let schema = Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("values", DataType::List(element.clone()), false),
        ]));
        let values = ColumnPath::from(["values", "list", "element"].map(str::to_owned).to_vec());
        let properties = WriterProperties::builder()
            .set_column_encoding(values, Encoding::BYTE_STREAM_SPLIT)
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(1 << 10);
        let mut writer = SealedWriter::create(&path, schema.clone(), properties).unwrap();
        for rows in row_groups {
            let names = StringArray::from(vec!["a"; rows.len()]);
            let values: Vec<f32> = rows.concat();
            let lists = ListArray::new(
                element.clone(),
                OffsetBuffer::from_lengths(rows.iter().map(|row| row.len())),
                Arc::new(Float32Array::from(values)),
                None,
            );
            let columns: Vec<ArrayRef> = vec![Arc::new(names), Arc::new(lists)];
            let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
            writer.write_row_group(&batch).unwrap();
        }
        writer.finish().unwrap();
        let file = SealedFile::open(&path).unwrap();
        let row_groups = 0..file.row_groups();
        let read = |row_group| file.read_lists(row_group, "values", length);
        row_groups.map(read).collect()
    }

    #[test]
    fn lists_of_one_length_are_read_as_their_values() {
        let long: Vec<f32> = (0..1000).map(|at| (at as f32 / 3.0).sin()).collect();
        // Pages end in the middle of a row group, and of a list that is longer than they.
        let [found] = &lists(&[&[&long, &long, &long]], 1000)[..] else {
            panic!("there is more than one row group");
        };
        assert_eq!(found.as_ref().unwrap(), &long.repeat(3));
        let found = lists(&[&[&[1.0], &[2.0]], &[&[3.0]]], 1);
        let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
        assert_eq!(found, [vec![1.0, 2.0], vec![3.0]]);
    }

    #[test]
    fn a_list_of_another_length_is_named() {
        let check = |rows: &[&[f32]], length, expected: &str| {
            let error = lists(&[rows], length).remove(0).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        };
        let (two, three, none): (&[f32], &[f32], &[f32]) = (&[1.0, 2.0], &[1.0; 3], &[]);
        check(&[two, three], 2, "values cannot be of 3 values");
        check(&[two, two], 3, "values cannot be of 2 values");
        check(&[two, none], 2, "values cannot be of 0 values");
        check(&[none, two], 0, "values cannot be of 0 values");
        // As many values as two lists of two have.
        check(&[three, &[1.0]], 2, "values cannot be of 3 values");
    }
}
