//! Turns Arrow record batches back into rows, naming the file, row and column of what does not fit.
//!
//! Two depths: [`Known`] is a row without its captions, all that the next run needs to know of an
//! image and cheap to stream by the million; [`Row`] is everything.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::schema::{CAPTIONED, DELETED, FAILED, schema, stage_named};
use super::{Identity, Outcome, Row, RunId, TableError};
use crate::archive::{Failure, ImageId, Micros};
use crate::captioner::Beam;

/// A row without its captions.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub root: Arc<str>,
    pub uri: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    pub modified_at: Micros,
    pub image_id: Option<ImageId>,
    /// In pixels, as shown.
    pub width: Option<u32>,
    /// In pixels, as shown.
    pub height: Option<u32>,
    pub format: Option<Arc<str>>,
    pub status: Status,
    pub identity: Option<Identity>,
    /// The run that wrote the row.
    pub run_id: RunId,
}

impl Known {
    /// What tells images apart, in the order of [`key_order`](crate::archive::key_order).
    pub fn key(&self) -> (&str, &str) {
        (&self.root, &self.uri)
    }

    /// The row that says that the file is gone.
    pub fn deleted(self, run_id: RunId, annotated_at: Micros) -> Row {
        Row {
            uri: self.uri,
            root: self.root,
            image_id: self.image_id,
            bytes: self.bytes,
            modified_at: self.modified_at,
            width: self.width,
            height: self.height,
            format: self.format,
            outcome: Outcome::Deleted,
            identity: None,
            run_id,
            annotated_at,
        }
    }
}

/// What came of an image, without its captions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Captioned,
    Failed(Failure),
    Deleted,
}

/// The columns that [`KnownColumns`] reads.
pub fn known_schema() -> SchemaRef {
    let captions = ["caption", "score", "beams", "annotated_at"];
    let fields = schema();
    let fields = fields.fields().iter();
    let known = fields.filter(|field| !captions.contains(&field.name().as_str()));
    Arc::new(Schema::new(known.cloned().collect::<Vec<_>>()))
}

/// The columns of one batch, from which a [`Known`] is made for each row asked for.
pub struct KnownColumns {
    path: PathBuf,
    uri: StringArray,
    root: StringArray,
    image_id: StringArray,
    bytes: Int64Array,
    modified_at: TimestampMicrosecondArray,
    width: Int32Array,
    height: Int32Array,
    format: StringArray,
    status: StringArray,
    error_stage: StringArray,
    error: StringArray,
    encoder_id: StringArray,
    captioner_id: StringArray,
    decoding: StringArray,
    run_id: StringArray,
}

impl KnownColumns {
    /// Takes the columns out of a batch read from `path`.
    pub fn new(batch: &RecordBatch, path: &Path) -> Result<Self, TableError> {
        let columns = Columns { batch, path };
        Ok(Self {
            path: path.to_owned(),
            uri: columns.required("uri")?,
            root: columns.required("root")?,
            image_id: columns.get("image_id")?,
            bytes: columns.required("bytes")?,
            modified_at: columns.required("modified_at")?,
            width: columns.get("width")?,
            height: columns.get("height")?,
            format: columns.get("format")?,
            status: columns.required("status")?,
            error_stage: columns.get("error_stage")?,
            error: columns.get("error")?,
            encoder_id: columns.get("encoder_id")?,
            captioner_id: columns.get("captioner_id")?,
            decoding: columns.get("decoding")?,
            run_id: columns.required("run_id")?,
        })
    }

    /// Row `at`, its repeated strings shared with the rows made before through `shared`.
    pub fn known(&self, at: usize, shared: &mut Shared) -> Result<Known, TableError> {
        let image_id = match text(&self.image_id, at) {
            Some(id) => Some(id.parse().map_err(|_| self.wrong(at, "image_id", id))?),
            None => None,
        };
        let bytes = self.bytes.value(at);
        let run_id = self.run_id.value(at);
        let identity = match (
            text(&self.encoder_id, at),
            text(&self.captioner_id, at),
            text(&self.decoding, at),
        ) {
            (Some(encoder_id), Some(captioner_id), Some(decoding)) => Some(Identity {
                encoder_id: shared.encoder_id.get(encoder_id),
                captioner_id: shared.captioner_id.get(captioner_id),
                decoding: shared.decoding.get(decoding),
            }),
            _ => None,
        };
        Ok(Known {
            root: shared.root.get(self.root.value(at)),
            uri: self.uri.value(at).to_owned(),
            bytes: bytes
                .try_into()
                .map_err(|_| self.wrong(at, "bytes", bytes))?,
            modified_at: self.modified_at.value(at),
            image_id,
            width: self.pixels(&self.width, "width", at)?,
            height: self.pixels(&self.height, "height", at)?,
            format: text(&self.format, at).map(|format| shared.format.get(format)),
            status: self.status(at)?,
            identity,
            run_id: run_id
                .parse()
                .map_err(|_| self.wrong(at, "run_id", run_id))?,
        })
    }

    fn status(&self, at: usize) -> Result<Status, TableError> {
        match self.status.value(at) {
            CAPTIONED => Ok(Status::Captioned),
            DELETED => Ok(Status::Deleted),
            FAILED => {
                let stage = text(&self.error_stage, at).unwrap_or_default();
                Ok(Status::Failed(Failure {
                    stage: stage_named(stage)
                        .ok_or_else(|| self.wrong(at, "error_stage", stage))?,
                    reason: text(&self.error, at).unwrap_or_default().to_owned(),
                }))
            }
            other => Err(self.wrong(at, "status", other)),
        }
    }

    fn pixels(
        &self,
        column: &Int32Array,
        name: &'static str,
        at: usize,
    ) -> Result<Option<u32>, TableError> {
        if column.is_null(at) {
            return Ok(None);
        }
        let pixels = column.value(at);
        let checked = pixels
            .try_into()
            .map_err(|_| self.wrong(at, name, pixels))?;
        Ok(Some(checked))
    }

    fn wrong(&self, row: usize, column: &'static str, value: impl Debug) -> TableError {
        TableError::Value {
            path: self.path.clone(),
            row,
            column,
            value: format!("{value:?}"),
        }
    }
}

/// Strings that most rows repeat, kept once while they repeat.
#[derive(Default)]
pub struct Shared {
    root: Repeated,
    format: Repeated,
    encoder_id: Repeated,
    captioner_id: Repeated,
    decoding: Repeated,
}

#[derive(Default)]
struct Repeated(Option<Arc<str>>);

impl Repeated {
    fn get(&mut self, text: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *text => last.clone(),
            _ => self.0.insert(text.into()).clone(),
        }
    }
}

/// The rows of a batch of the caption table, read from `path`.
pub fn batch_to_rows(batch: &RecordBatch, path: &Path) -> Result<Vec<Row>, TableError> {
    let columns = Columns { batch, path };
    let beams = BeamColumns::new(&columns)?;
    let annotated_at: TimestampMicrosecondArray = columns.required("annotated_at")?;
    let known = KnownColumns::new(batch, path)?;
    let mut shared = Shared::default();
    let row = |at| {
        let known = known.known(at, &mut shared)?;
        Ok(Row {
            uri: known.uri,
            root: known.root,
            image_id: known.image_id,
            bytes: known.bytes,
            modified_at: known.modified_at,
            width: known.width,
            height: known.height,
            format: known.format,
            outcome: match known.status {
                Status::Captioned => Outcome::Captioned(beams.of(at)),
                Status::Failed(failure) => Outcome::Failed(failure),
                Status::Deleted => Outcome::Deleted,
            },
            identity: known.identity,
            run_id: known.run_id,
            annotated_at: annotated_at.value(at),
        })
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The captions of a batch.
pub struct BeamColumns {
    lists: ListArray,
    caption: StringArray,
    log_prob: Float32Array,
    tokens: Int32Array,
    score: Float32Array,
    finished: BooleanArray,
}

impl BeamColumns {
    pub fn new(columns: &Columns) -> Result<Self, TableError> {
        let lists: ListArray = columns.required("beams")?;
        let batch = match lists.values().as_struct_opt() {
            Some(beams) => RecordBatch::from(beams.clone()),
            None => return Err(columns.mistyped("beams", "a list of structs", lists.data_type())),
        };
        let inner = Columns {
            batch: &batch,
            path: columns.path,
        };
        Ok(Self {
            caption: inner.required("caption")?,
            log_prob: inner.required("log_prob")?,
            tokens: inner.required("tokens")?,
            score: inner.required("score")?,
            finished: inner.required("finished")?,
            lists,
        })
    }

    /// Those of one row, best first.
    pub fn of(&self, row: usize) -> Vec<Beam> {
        let offsets = self.lists.value_offsets();
        (offsets[row] as usize..offsets[row + 1] as usize)
            .map(|at| Beam {
                caption: self.caption.value(at).to_owned(),
                log_prob: self.log_prob.value(at),
                tokens: self.tokens.value(at),
                score: self.score.value(at),
                finished: self.finished.value(at),
            })
            .collect()
    }
}

/// Typed access to the columns of a batch, by name.
pub struct Columns<'a> {
    pub batch: &'a RecordBatch,
    pub path: &'a Path,
}

impl Columns<'_> {
    /// The column, which may hold nulls.
    pub fn get<A: Array + Clone + 'static>(&self, name: &str) -> Result<A, TableError> {
        let Some(column) = self.batch.column_by_name(name) else {
            return Err(TableError::MissingColumn {
                path: self.path.to_owned(),
                column: name.to_owned(),
            });
        };
        match column.as_any().downcast_ref::<A>() {
            Some(typed) => Ok(typed.clone()),
            None => Err(self.mistyped(name, std::any::type_name::<A>(), column.data_type())),
        }
    }

    /// The column, which may not.
    pub fn required<A: Array + Clone + 'static>(&self, name: &str) -> Result<A, TableError> {
        let column: A = self.get(name)?;
        match column.null_count() {
            0 => Ok(column),
            nulls => Err(TableError::damaged(
                self.path,
                format!("column {name:?} has {nulls} nulls"),
            )),
        }
    }

    fn mistyped(&self, name: &str, expected: &str, found: &DataType) -> TableError {
        TableError::ColumnType {
            path: self.path.to_owned(),
            column: name.to_owned(),
            expected: expected.to_owned(),
            found: found.to_string(),
        }
    }
}

/// `batch`, read from `path`, with exactly the columns of `schema` in its order.
pub fn conform(
    batch: &RecordBatch,
    schema: &SchemaRef,
    path: &Path,
) -> Result<RecordBatch, TableError> {
    check_columns(&batch.schema(), schema, path)?;
    let columns = schema
        .fields()
        .iter()
        .filter_map(|field| batch.column_by_name(field.name()));
    RecordBatch::try_new(schema.clone(), columns.cloned().collect())
        .map_err(TableError::arrow("read", path))
}

/// That a file at `path` whose columns are `found` has those of `expected`, in any order, among any
/// others.
pub fn check_columns(found: &Schema, expected: &Schema, path: &Path) -> Result<(), TableError> {
    for field in expected.fields() {
        match found.field_with_name(field.name()) {
            Err(_) => {
                return Err(TableError::MissingColumn {
                    path: path.to_owned(),
                    column: field.name().clone(),
                });
            }
            Ok(other) if other.data_type() != field.data_type() => {
                return Err(TableError::ColumnType {
                    path: path.to_owned(),
                    column: field.name().clone(),
                    expected: field.data_type().to_string(),
                    found: other.data_type().to_string(),
                });
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn text(column: &StringArray, at: usize) -> Option<&str> {
    column.is_valid(at).then(|| column.value(at))
}
