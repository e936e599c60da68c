//! The numbers of a training in long form, one row each, in memory and as Parquet.
//!
//! Long form, because what is measured differs from recipe to recipe, and because a reader can then
//! ask for one series by its name. The file is replaced whole each time: a Parquet file cannot grow,
//! and a number takes 32 bytes of memory and about ten on disk, so that even a million are no burden.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Position, RecordError};
use crate::table::{DurableFile, FileError};

/// Rows that are turned into columns at a time.
const BATCH: usize = 1 << 16;

/// What a number belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Step,
    Epoch,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Scope::Step => "step",
            Scope::Epoch => "epoch",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Scope::Step, Scope::Epoch]
            .into_iter()
            .find(|scope| scope.name() == name)
    }
}

/// One number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number<'a> {
    pub step: u64,
    pub epoch: u64,
    pub scope: Scope,
    pub name: &'a str,
    pub value: f64,
    /// Microseconds since 1970.
    pub at: i64,
}

/// All numbers, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers {
    /// In the order in which they were first met.
    names: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    step: i64,
    epoch: i32,
    scope: Scope,
    /// A place in `names`.
    name: u16,
    value: f64,
    at: i64,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("step", DataType::Int64, false),
        Field::new("epoch", DataType::Int32, false),
        Field::new("scope", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Float64, false),
        Field::new("recorded_at", time, false),
    ]))
});

impl Numbers {
    pub fn push(&mut self, number: Number) {
        let known = self.names.iter().position(|name| name == number.name);
        let name = known.unwrap_or_else(|| {
            self.names.push(number.name.to_owned());
            self.names.len() - 1
        });
        self.rows.push(Row {
            step: i64::try_from(number.step).unwrap_or(i64::MAX),
            epoch: i32::try_from(number.epoch).unwrap_or(i32::MAX),
            scope: number.scope,
            name: name as u16,
            value: number.value,
            at: number.at,
        });
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Number<'_>> {
        self.since(0)
    }

    /// Those from `place` on.
    pub fn since(&self, place: usize) -> impl Iterator<Item = Number<'_>> {
        let rows = self.rows.get(place..).unwrap_or_default();
        rows.iter().map(|row| Number {
            step: row.step.unsigned_abs(),
            epoch: u64::from(row.epoch.unsigned_abs()),
            scope: row.scope,
            name: &self.names[usize::from(row.name)],
            value: row.value,
            at: row.at,
        })
    }

    /// The names in `scope`, in the order in which they were first met.
    pub fn names(&self, scope: Scope) -> Vec<&str> {
        let mut met = vec![false; self.names.len()];
        for row in self.rows.iter().filter(|row| row.scope == scope) {
            met[usize::from(row.name)] = true;
        }
        let names = self.names.iter().zip(met);
        names
            .filter_map(|(name, met)| met.then_some(name.as_str()))
            .collect()
    }

    /// What was known at `position`.
    pub fn up_to(mut self, position: Position) -> Self {
        self.rows.retain(|row| match row.scope {
            Scope::Step => row.step.unsigned_abs() <= position.step,
            Scope::Epoch => u64::from(row.epoch.unsigned_abs()) <= position.epochs,
        });
        self
    }

    /// Whether `epoch` was told of.
    pub fn has_epoch(&self, epoch: u64) -> bool {
        self.rows
            .iter()
            .rev()
            .any(|row| row.scope == Scope::Epoch && u64::from(row.epoch.unsigned_abs()) == epoch)
    }

    /// Reads what [`write`](Self::write) wrote; nothing if the file is not there.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            file => file.map_err(FileError::on("open", path))?,
        };
        let unusable = |source| RecordError::Parquet {
            path: path.to_owned(),
            source,
        };
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unusable)?;
        if reader.schema().fields() != SCHEMA.fields() {
            return Err(RecordError::NotARecord {
                path: path.to_owned(),
                what: "it has other columns".to_owned(),
            });
        }
        let mut numbers = Self::default();
        for batch in reader.build().map_err(unusable)? {
            let batch = batch.map_err(|error| unusable(error.into()))?;
            numbers
                .append(&batch)
                .map_err(|what| RecordError::NotARecord {
                    path: path.to_owned(),
                    what,
                })?;
        }
        Ok(numbers)
    }

    /// `batch` has the columns of [`SCHEMA`].
    fn append(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let steps = batch.column(0).as_primitive::<Int64Type>();
        let epochs = batch.column(1).as_primitive::<Int32Type>();
        let scopes = batch.column(2).as_string::<i32>();
        let names = batch.column(3).as_string::<i32>();
        let values = batch.column(4).as_primitive::<Float64Type>();
        let times = batch.column(5).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let scope = scopes.value(row);
            let number = Number {
                step: steps.value(row).unsigned_abs(),
                epoch: u64::from(epochs.value(row).unsigned_abs()),
                scope: Scope::named(scope).ok_or_else(|| format!("a scope is {scope:?}"))?,
                name: names.value(row),
                value: values.value(row),
                at: times.value(row),
            };
            self.push(number);
        }
        Ok(())
    }

    /// Replaces `path` when all is written.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        let unwritable = |source| RecordError::Parquet {
            path: path.to_owned(),
            source,
        };
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let file = DurableFile::create(path)?;
        let mut writer =
            ArrowWriter::try_new(file, SCHEMA.clone(), Some(properties)).map_err(unwritable)?;
        for rows in self.rows.chunks(BATCH) {
            let batch = self.columns(rows).map_err(unwritable)?;
            writer.write(&batch).map_err(unwritable)?;
        }
        let file = writer.into_inner().map_err(unwritable)?;
        file.commit()?;
        Ok(())
    }

    fn columns(&self, rows: &[Row]) -> Result<RecordBatch, parquet::errors::ParquetError> {
        let names = rows.iter().map(|row| &self.names[usize::from(row.name)]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(
                rows.iter()
                    .map(|row| Some(row.step))
                    .collect::<Int64Array>(),
            ),
            Arc::new(
                rows.iter()
                    .map(|row| Some(row.epoch))
                    .collect::<Int32Array>(),
            ),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| row.scope.name()),
            )),
            Arc::new(StringArray::from_iter_values(names)),
            Arc::new(Float64Array::from_iter_values(
                rows.iter().map(|row| row.value),
            )),
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.at))
                    .with_timezone("UTC"),
            ),
        ];
        Ok(RecordBatch::try_new(SCHEMA.clone(), columns)?)
    }
}
