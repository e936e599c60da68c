//! Turns rows into Arrow record batches: the table's contract with everyone who reads it.
//!
//! Plain lists and strings on purpose: fixed-size lists and large lists are read wrongly or not at
//! all by some warehouses. A column is nullable exactly where a row may have nothing to say.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use super::{Outcome, Row, TableError};
use crate::archive::{Failure, Stage};
use crate::captioner::Beam;

/// The version of the columns below; written into every file's metadata.
pub const TABLE_VERSION: &str = "1";

/// That the file at `path` is of the version that this program knows. One that says nothing of it was
/// written by another program, and its columns speak for themselves.
pub fn check_version(found: Option<&str>, path: &Path) -> Result<(), TableError> {
    match found {
        Some(found) if found != TABLE_VERSION => Err(TableError::Version {
            path: path.to_owned(),
            found: found.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The caption table's columns.
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = || DataType::Utf8;
    let moment = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let beams = DataType::List(beam_field());
    let columns = [
        required("uri", text(), "path below root, /-separated"),
        required("root", text(), "the archive's directory as given"),
        optional("image_id", text(), "BLAKE3 of the file's bytes"),
        required("bytes", DataType::Int64, "size of the file"),
        required("modified_at", moment(), "when the file was changed"),
        optional("width", DataType::Int32, "in pixels, as shown"),
        optional("height", DataType::Int32, "in pixels, as shown"),
        optional("format", text(), "jpeg, png, ... by the bytes"),
        required("status", text(), "captioned, failed or deleted"),
        optional("error_stage", text(), "read, decode, encode or caption"),
        optional("error", text(), "why it failed"),
        optional("caption", text(), "the best beam's"),
        optional("score", DataType::Float32, "the best beam's"),
        required("beams", beams, "captions, best first"),
        optional("encoder_id", text(), "what made the features"),
        optional("captioner_id", text(), "what made the captions"),
        optional("decoding", text(), "the decode parameters, as JSON"),
        required("run_id", text(), "the run that wrote the row"),
        required("annotated_at", moment(), "when the row was made"),
    ];
    Arc::new(Schema::new(columns.to_vec()))
});

fn required(name: &str, kind: DataType, comment: &str) -> Field {
    optional(name, kind, comment).with_nullable(false)
}

fn optional(name: &str, kind: DataType, comment: &str) -> Field {
    // "comment" is the key that Delta and Spark show as a column's description.
    let comment = HashMap::from([("comment".to_owned(), comment.to_owned())]);
    Field::new(name, kind, true).with_metadata(comment)
}

fn beam_field() -> Arc<Field> {
    // "element" is the name that the Parquet specification gives to a list's items.
    Arc::new(Field::new(
        "element",
        DataType::Struct(beam_fields()),
        false,
    ))
}

fn beam_fields() -> Fields {
    Fields::from(vec![
        Field::new("rank", DataType::Int32, false),
        Field::new("caption", DataType::Utf8, false),
        Field::new("log_prob", DataType::Float32, false),
        Field::new("tokens", DataType::Int32, false),
        Field::new("score", DataType::Float32, false),
        Field::new("finished", DataType::Boolean, false),
    ])
}

/// Rows as one batch of [`schema`]. Sizes beyond the columns' types are clamped to their ends.
pub fn rows_to_batch(rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let text = |of: fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let moment = |of: fn(&Row) -> i64| -> ArrayRef {
        let moments = rows.iter().map(of).collect::<Vec<_>>();
        Arc::new(TimestampMicrosecondArray::from(moments).with_timezone("UTC"))
    };
    let pixels = |of: fn(&Row) -> Option<u32>| -> ArrayRef {
        let clamp = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
        Arc::new(
            rows.iter()
                .map(|row| of(row).map(clamp))
                .collect::<Int32Array>(),
        )
    };
    let image_ids = rows.iter().map(|row| row.image_id.map(|id| id.to_string()));
    let bytes = rows
        .iter()
        .map(|row| i64::try_from(row.bytes).unwrap_or(i64::MAX));
    let scores = rows.iter().map(|row| best(row).map(|beam| beam.score));

    RecordBatch::try_new(
        schema(),
        vec![
            text(|row| Some(&row.uri)),
            text(|row| Some(&row.root)),
            Arc::new(image_ids.collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(bytes)),
            moment(|row| row.modified_at),
            pixels(|row| row.width),
            pixels(|row| row.height),
            text(|row| row.format.as_deref()),
            text(|row| Some(status(&row.outcome))),
            text(|row| failure(row).map(|failure| stage_name(failure.stage))),
            text(|row| failure(row).map(|failure| failure.reason.as_str())),
            text(|row| best(row).map(|beam| beam.caption.as_str())),
            Arc::new(scores.collect::<Float32Array>()),
            Arc::new(beams_to_list(rows)?),
            text(|row| row.identity.as_ref().map(|made| &*made.encoder_id)),
            text(|row| row.identity.as_ref().map(|made| &*made.captioner_id)),
            text(|row| row.identity.as_ref().map(|made| &*made.decoding)),
            text(|row| Some(row.run_id.as_str())),
            moment(|row| row.annotated_at),
        ],
    )
}

fn best(row: &Row) -> Option<&Beam> {
    beams_of(row).first()
}

fn beams_of(row: &Row) -> &[Beam] {
    match &row.outcome {
        Outcome::Captioned(beams) => beams,
        Outcome::Failed(_) | Outcome::Deleted => &[],
    }
}

fn failure(row: &Row) -> Option<&Failure> {
    match &row.outcome {
        Outcome::Failed(failure) => Some(failure),
        Outcome::Captioned(_) | Outcome::Deleted => None,
    }
}

fn status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Captioned(_) => CAPTIONED,
        Outcome::Failed(_) => FAILED,
        Outcome::Deleted => DELETED,
    }
}

pub const CAPTIONED: &str = "captioned";
pub const FAILED: &str = "failed";
pub const DELETED: &str = "deleted";

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Read => "read",
        Stage::Decode => "decode",
        Stage::Encode => "encode",
        Stage::Caption => "caption",
    }
}

/// The stage that a row's `error_stage` names.
pub fn stage_named(name: &str) -> Option<Stage> {
    [Stage::Read, Stage::Decode, Stage::Encode, Stage::Caption]
        .into_iter()
        .find(|stage| stage_name(*stage) == name)
}

fn beams_to_list(rows: &[Row]) -> Result<ListArray, ArrowError> {
    let lists: Vec<&[Beam]> = rows.iter().map(beams_of).collect();
    let ranks = lists.iter().flat_map(|beams| (1..).take(beams.len()));
    let flat: Vec<&Beam> = lists.iter().copied().flatten().collect();
    let beams = || flat.iter();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(ranks.collect::<Vec<i32>>())),
        Arc::new(StringArray::from_iter_values(beams().map(|b| &b.caption))),
        Arc::new(Float32Array::from_iter_values(beams().map(|b| b.log_prob))),
        Arc::new(Int32Array::from_iter_values(beams().map(|b| b.tokens))),
        Arc::new(Float32Array::from_iter_values(beams().map(|b| b.score))),
        Arc::new(beams().map(|b| Some(b.finished)).collect::<BooleanArray>()),
    ];
    ListArray::try_new(
        beam_field(),
        OffsetBuffer::from_lengths(lists.iter().map(|beams| beams.len())),
        Arc::new(StructArray::try_new(beam_fields(), columns, None)?),
        None,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::table::arbitrary::rows;
    use crate::table::batch_to_rows;

    proptest! {
        #[test]
        fn rows_come_back_as_they_went(rows in rows(0..20)) {
            let batch = rows_to_batch(&rows).unwrap();
            let back = batch_to_rows(&batch, Path::new("batch")).unwrap();
            prop_assert_eq!(back, rows);
        }
    }

    #[test]
    fn nulls_are_where_the_contract_has_them() {
        let nullable: Vec<_> = schema()
            .fields()
            .iter()
            .filter(|field| field.is_nullable())
            .map(|field| field.name().clone())
            .collect();
        let expected = "image_id width height format error_stage error caption score encoder_id \
                        captioner_id decoding";
        assert_eq!(nullable.join(" "), expected);
    }

    #[test]
    fn a_column_of_another_type_is_named() {
        let batch = rows_to_batch(&[]).unwrap();
        let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
        let mut columns = batch.columns().to_vec();
        fields[3] = Arc::new(Field::new("bytes", DataType::Int32, false));
        columns[3] = Arc::new(Int32Array::from(Vec::<i32>::new()));
        let other = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        match batch_to_rows(&other, Path::new("other")) {
            Err(TableError::ColumnType { path, column, .. }) => {
                assert_eq!((path.as_path(), &*column), (Path::new("other"), "bytes"));
            }
            other => panic!("{other:?}"),
        }
    }
}
