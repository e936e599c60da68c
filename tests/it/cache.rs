//! The embedding cache as programs read it that know nothing of showtell, and what it costs.

use std::fs::File;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Float32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding};
use parquet::schema::printer::print_schema;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use showtell::archive::ImageId;
use showtell::cache::{Cache, CacheWriter, Precision, Spec, round};
use showtell::table::{Layout, RunId};

const DIMS: usize = 4096;

fn id(number: u16) -> ImageId {
    ImageId::of(&number.to_le_bytes())
}

/// Features as a ReLU leaves them: half of them zeros, fewer than in those of a trained network.
fn features(count: usize) -> Vec<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut sum_of = |terms: usize| (0..terms).map(|_| random.random::<f32>()).sum::<f32>();
    (0..count)
        .map(|_| (0..DIMS).map(|_| (sum_of(12) - 6.0).max(0.0)).collect())
        .collect()
}

fn write(layout: &Layout, precision: Precision, features: &[Vec<f32>]) -> (Arc<Cache>, u64) {
    let spec = Spec {
        encoder_id: "vgg16-fc7-0123456789abcdef".to_owned(),
        dims: DIMS,
        precision,
    };
    let run_id: RunId = "20250101T030000Z-00ff".parse().unwrap();
    let cache = Arc::new(Cache::open(layout, spec).unwrap());
    let mut writer = CacheWriter::new(cache.clone(), layout, &run_id);
    for (number, features) in (0..).zip(features) {
        writer.append(id(number), features).unwrap();
    }
    let part = writer.finish_part().unwrap().unwrap();
    (cache, part.bytes)
}

#[test]
fn plain_parquet_readers_see_lists_of_floats() {
    let out = tempfile::tempdir().unwrap();
    let layout = Layout::create(out.path()).unwrap();
    let mut features = features(300);
    write(&layout, Precision::Bfloat16, &features);

    let directory = out.path().join("embeddings/vgg16-fc7-0123456789abcdef");
    let file = File::open(directory.join("part-20250101T030000Z-00ff-00000.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let metadata = reader.metadata().clone();
    let mut schema = Vec::new();
    print_schema(&mut schema, metadata.file_metadata().schema());
    assert_eq!(String::from_utf8(schema).unwrap(), PARQUET_SCHEMA);
    assert_eq!(metadata.num_row_groups(), 5);
    let values = metadata.row_group(0).column(1);
    assert!(
        values
            .encodings()
            .any(|encoding| encoding == Encoding::BYTE_STREAM_SPLIT)
    );
    assert!(matches!(values.compression(), Compression::ZSTD(_)));
    let notes = metadata.file_metadata().key_value_metadata().unwrap();
    let note = |key: &str| {
        let note = notes.iter().find(|note| note.key == key);
        note.and_then(|note| note.value.clone()).unwrap()
    };
    assert_eq!(note("showtell.encoder_id"), "vgg16-fc7-0123456789abcdef");
    assert_eq!(note("showtell.dims"), "4096");
    assert_eq!(note("showtell.precision"), "bfloat16");

    let mut row = 0;
    for batch in reader.build().unwrap().map(Result::unwrap) {
        let lists = batch.column_by_name("embedding").unwrap().as_list::<i32>();
        for list in lists.iter().flatten() {
            round(&mut features[row]);
            assert_eq!(
                list.as_primitive::<Float32Type>().values(),
                &features[row][..]
            );
            row += 1;
        }
    }
    assert_eq!(row, 300);
}

const PARQUET_SCHEMA: &str = "\
message arrow_schema {
  REQUIRED BYTE_ARRAY image_id (STRING);
  REQUIRED group embedding (LIST) {
    REPEATED group list {
      REQUIRED FLOAT element;
    }
  }
}
";

#[test]
fn a_million_images_take_a_quarter_of_plain_floats() {
    let features = features(300);
    let bytes = |precision| {
        let out = tempfile::tempdir().unwrap();
        let layout = Layout::create(out.path()).unwrap();
        let (cache, bytes) = write(&layout, precision, &features);
        let found = cache.get(&[id(0), id(299), id(300)]);
        assert!(found[0].is_some() && found[1].is_some() && found[2].is_none());
        bytes as usize / features.len()
    };
    let plain = DIMS * size_of::<f32>();
    let (rounded, full) = (bytes(Precision::Bfloat16), bytes(Precision::Full));
    assert!(rounded < plain / 4, "{rounded} bytes per image");
    assert!(full < plain * 6 / 10, "{full} bytes per image");
}
