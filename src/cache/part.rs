//! What a file of embeddings looks like, and how one is read.
//!
//! Columns `image_id` string and `embedding` list<float32>, in small row groups, so that one image's
//! features cost the decoding of few others.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::StringArray;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::Precision;
use crate::archive::ImageId;
use crate::table::{
    Columns, Layout, LayoutError, SealedFile, TableError, check_columns, embeddings_run, names,
};

/// Features of a row group, before compression; held in memory until it is full.
const ROW_GROUP_BYTES: usize = 1 << 20;
/// Features of a page, before compression.
const PAGE_BYTES: usize = 1 << 18;
/// Features of a part, before compression: what a run that is killed repeats at most.
const PART_BYTES: usize = 128 << 20;

pub const ENCODER_ID: &str = "showtell.encoder_id";
pub const DIMS: &str = "showtell.dims";
pub const PRECISION: &str = "showtell.precision";

/// Which embeddings: what has to agree before those of an earlier run can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Architecture, layer, preprocessing and digest of the weights.
    pub encoder_id: String,
    /// Values per image.
    pub dims: usize,
    pub precision: Precision,
}

impl Spec {
    /// Images in a row group.
    pub fn row_group_rows(&self) -> usize {
        rows_in(ROW_GROUP_BYTES, self.dims)
    }

    /// Images in a part.
    pub fn part_rows(&self) -> usize {
        rows_in(PART_BYTES, self.dims)
    }

    /// What earlier runs left, one for each encoder, in the order of their names. Parts that cannot be
    /// read are passed over.
    pub fn stored(layout: &Layout) -> Result<Vec<Self>, LayoutError> {
        let mut specs = Vec::new();
        for encoder_id in layout.encoders()? {
            let directory = layout.embeddings(&encoder_id)?;
            let parts = names(&directory)?.into_iter();
            let parts = parts.filter(|name| embeddings_run(name).is_some());
            let notes = parts.filter_map(|name| {
                let file = SealedFile::open(&directory.join(name)).ok()?;
                let dims: usize = file.note(DIMS)?.parse().ok()?;
                Some((dims, Precision::named(file.note(PRECISION)?)?))
            });
            // What is less exact in one part cannot be had more exactly from the others.
            let spec = notes.reduce(|(dims, precision), (_, other)| match other {
                Precision::Bfloat16 => (dims, other),
                Precision::Full => (dims, precision),
            });
            specs.extend(spec.map(|(dims, precision)| Spec {
                encoder_id,
                dims,
                precision,
            }));
        }
        Ok(specs)
    }

    /// Whether features kept with `precision` are at least as exact as these.
    fn is_served_by(&self, precision: Precision) -> bool {
        precision == Precision::Full || precision == self.precision
    }
}

fn rows_in(bytes: usize, dims: usize) -> usize {
    (bytes / (dims.max(1) * size_of::<f32>())).max(1)
}

/// The columns of a part.
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("image_id", DataType::Utf8, false),
        Field::new("embedding", DataType::List(value_field()), false),
    ]))
});

pub fn value_field() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

/// How a part is written.
pub fn properties() -> WriterPropertiesBuilder {
    let values = ColumnPath::from(vec!["embedding".into(), "list".into(), "element".into()]);
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        // A page is held as it is, in streams, and compressed.
        .set_data_page_size_limit(PAGE_BYTES)
        // No digest covers the indexes of pages.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_column_encoding(values.clone(), Encoding::BYTE_STREAM_SPLIT)
        // The least and the greatest of 4,096 mixed features tell nobody anything.
        .set_column_statistics_enabled(values, EnabledStatistics::None)
}

/// A part of an earlier or of this run, open for reading.
pub struct EmbeddingFile {
    file: SealedFile,
    spec: Spec,
    /// Of the file; at least that of `spec`.
    precision: Precision,
}

impl EmbeddingFile {
    /// Opens the part if it serves `spec`; `None` if its features are less exact than asked for.
    pub fn open(path: &Path, spec: &Spec) -> Result<Option<Self>, TableError> {
        let file = SealedFile::open(path)?;
        check_columns(file.schema(), &schema(), path)?;
        let note = |key: &str| file.note(key).unwrap_or_default();
        let expect = |key: &str, expected: &str| match note(key) {
            found if found == expected => Ok(()),
            found => Err(TableError::Damaged {
                path: path.to_owned(),
                what: format!("its {key} is {found:?}, expected {expected:?}"),
            }),
        };
        expect(ENCODER_ID, &spec.encoder_id)?;
        expect(DIMS, &spec.dims.to_string())?;
        let precision = Precision::named(note(PRECISION));
        match precision.filter(|precision| spec.is_served_by(*precision)) {
            Some(precision) => Ok(Some(Self {
                file,
                spec: spec.clone(),
                precision,
            })),
            None => Ok(None),
        }
    }

    /// The part that is being written, as far as it is in `file`.
    pub fn in_the_making(file: SealedFile, spec: &Spec) -> Self {
        Self {
            file,
            spec: spec.clone(),
            precision: spec.precision,
        }
    }

    /// Opens the part as it was written, whatever dimensions and precision that was with.
    pub fn open_as_written(path: &Path, encoder_id: &str) -> Result<Self, TableError> {
        let file = SealedFile::open(path)?;
        check_columns(file.schema(), &schema(), path)?;
        let note = |key: &str| file.note(key).unwrap_or_default();
        let wrong = |key: &str| {
            let what = format!("its {key} is {:?}", note(key));
            TableError::damaged(path, what)
        };
        if note(ENCODER_ID) != encoder_id {
            return Err(wrong(ENCODER_ID));
        }
        let dims = note(DIMS).parse().map_err(|_| wrong(DIMS))?;
        let precision = Precision::named(note(PRECISION)).ok_or_else(|| wrong(PRECISION))?;
        let spec = Spec {
            encoder_id: encoder_id.to_owned(),
            dims,
            precision,
        };
        Ok(Self {
            file,
            spec,
            precision,
        })
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The image ids of each row group.
    pub fn ids(&self) -> Result<Vec<Vec<ImageId>>, TableError> {
        let row_groups = 0..self.file.row_groups();
        let batch = self.file.read_groups(row_groups.clone(), &["image_id"])?;
        let columns = Columns {
            batch: &batch,
            path: self.file.path(),
        };
        let ids: StringArray = columns.required("image_id")?;
        let mut parsed = ids.iter().flatten().enumerate().map(|(row, id)| {
            id.parse().map_err(|_| TableError::Value {
                path: self.file.path().to_owned(),
                row,
                column: "image_id",
                value: format!("{id:?}"),
            })
        });
        row_groups
            .map(|at| parsed.by_ref().take(self.file.rows_in(at)).collect())
            .collect()
    }

    /// The features of a row group, in the precision asked for: `[rows, dims]`.
    pub fn features(&self, row_group: usize) -> Result<ScalarBuffer<f32>, TableError> {
        let dims = self.spec.dims;
        let mut features = self.file.read_lists(row_group, "embedding", dims)?;
        if self.precision != self.spec.precision {
            self.spec.precision.round(&mut features);
        }
        Ok(features.into())
    }
}
