//! Turns features into parts of the cache.
//!
//! Features can be asked for from the moment they are appended. Of the part that is being written only
//! the row group that is being filled is in memory. They are durable once their part is finished, which
//! a run does before it finishes the captions made from them.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::error::ArrowError;

use super::part::{DIMS, ENCODER_ID, PRECISION, properties, schema, value_field};
use super::{Cache, Spec};
use crate::archive::ImageId;
use crate::table::{Layout, Part, RunId, SealedWriter, TableError, create_dir, embeddings_part};

/// Values that are encoded together.
const ENCODED_VALUES: usize = 1 << 14;

/// Features that could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("features of {id} have {found} values, expected {expected}")]
    Dims {
        id: ImageId,
        expected: usize,
        found: usize,
    },
}

/// Writes the features that one run computes.
pub struct CacheWriter {
    cache: Arc<Cache>,
    layout: Layout,
    run_id: RunId,
    /// Of the part that is being written.
    number: u32,
    writer: Option<SealedWriter>,
    /// In its finished row groups.
    rows: usize,
    parts: Vec<Part>,
}

impl CacheWriter {
    /// Writes into `cache`, which finds what is appended from then on.
    pub fn new(cache: Arc<Cache>, layout: &Layout, run_id: &RunId) -> Self {
        Self {
            cache,
            layout: layout.clone(),
            run_id: *run_id,
            number: 0,
            writer: None,
            rows: 0,
            parts: Vec::new(),
        }
    }

    /// Appends an image's features, `[dims]`, rounding them. Returns the part that this filled and
    /// finished, if it did.
    pub fn append(&mut self, id: ImageId, features: &[f32]) -> Result<Option<Part>, CacheError> {
        let spec = self.cache.spec();
        if features.len() != spec.dims {
            return Err(CacheError::Dims {
                id,
                expected: spec.dims,
                found: features.len(),
            });
        }
        let (row_group_rows, part_rows) = (spec.row_group_rows(), spec.part_rows());
        let held = self.cache.append(id, features);
        if self.rows + held == part_rows {
            return self.finish_part();
        }
        if held == row_group_rows {
            self.write_row_group()?;
        }
        Ok(None)
    }

    /// Makes durable what was appended; `None` if nothing was since the last part.
    pub fn finish_part(&mut self) -> Result<Option<Part>, CacheError> {
        self.write_row_group()?;
        let Some(mut writer) = self.writer.take() else {
            return Ok(None);
        };
        let spec = self.cache.spec();
        note_spec(&mut writer, spec);
        let written = writer.finish()?;
        let path = self.path();
        self.cache.finish_part(&path)?;
        let part = Part {
            file: self.layout.relative(&path),
            rows: self.rows as u64,
            bytes: written.bytes,
            blake3: written.digest.to_string(),
        };
        self.number += 1;
        self.rows = 0;
        self.parts.push(part.clone());
        Ok(Some(part))
    }

    /// Writes again what can still be read of the parts that were found damaged while features were
    /// asked for, and moves those aside. The last to be done: the features of an image that nobody
    /// asks for are not missed before they are needed.
    pub fn replace_spoilt_parts(&mut self) -> Result<(), CacheError> {
        let parts = self.cache.spoilt_parts();
        for part in &parts {
            for (id, features) in self.cache.still_good(*part) {
                self.append(id, &features)?;
            }
        }
        self.finish_part()?;
        for path in parts.iter().filter_map(|part| self.cache.part_path(*part)) {
            self.layout.move_damaged(&path).map_err(TableError::from)?;
        }
        Ok(())
    }

    /// The parts finished so far.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn path(&self) -> PathBuf {
        self.cache
            .directory()
            .join(embeddings_part(&self.run_id, self.number))
    }

    fn write_row_group(&mut self) -> Result<(), CacheError> {
        let (ids, features) = self.cache.close_row_group();
        if ids.is_empty() {
            return Ok(());
        }
        let path = self.path();
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                create_dir(self.cache.directory()).map_err(TableError::from)?;
                let writer = SealedWriter::create(&path, schema(), properties())?;
                self.writer.insert(writer)
            }
        };
        let batch = batch(&ids, features, self.cache.spec().dims)
            .map_err(TableError::arrow("write", &path))?;
        // Taken all at once, the encoder's notes on where each value goes are several times as large.
        let slice = (ENCODED_VALUES / self.cache.spec().dims.max(1)).max(1);
        for begin in (0..ids.len()).step_by(slice) {
            writer.write(&batch.slice(begin, slice.min(ids.len() - begin)))?;
        }
        writer.end_row_group()?;
        self.rows += ids.len();
        self.cache.find_in_file(writer.so_far()?);
        Ok(())
    }
}

/// Says in a part's metadata which embeddings it holds.
pub(super) fn note_spec(writer: &mut SealedWriter, spec: &Spec) {
    writer.note(ENCODER_ID, spec.encoder_id.as_str());
    writer.note(DIMS, spec.dims.to_string());
    writer.note(PRECISION, spec.precision.name());
}

/// `features`: `[ids, dims]`.
pub(super) fn batch(
    ids: &[ImageId],
    features: ScalarBuffer<f32>,
    dims: usize,
) -> Result<RecordBatch, ArrowError> {
    let texts = ids.iter().map(ImageId::to_string);
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let lists = ListArray::try_new(
        value_field(),
        OffsetBuffer::from_lengths(std::iter::repeat_n(dims, ids.len())),
        Arc::new(Float32Array::new(features, None)),
        None,
    )?;
    RecordBatch::try_new(schema(), vec![ids, Arc::new(lists)])
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
    use proptest::prelude::*;

    use super::*;
    use crate::cache::Precision;
    use crate::table::arbitrary::{damage, run_id, scratch};
    use crate::table::names;

    fn spec(dims: usize, precision: Precision) -> Spec {
        Spec {
            encoder_id: "vgg16-fc7".to_owned(),
            dims,
            precision,
        }
    }

    fn id(number: u16) -> ImageId {
        ImageId::of(&number.to_le_bytes())
    }

    /// Mostly zeros, as after a ReLU.
    fn features(number: u16, dims: usize) -> Vec<f32> {
        let value = |at: usize| {
            let noise = (usize::from(number) * 31 + at * 17) % 101;
            (noise as f32 / 7.3 - 9.0).max(0.0)
        };
        (0..dims).map(value).collect()
    }

    fn open(layout: &Layout, spec: &Spec) -> Arc<Cache> {
        Arc::new(Cache::open(layout, spec.clone()).unwrap())
    }

    fn rounded(precision: Precision, mut features: Vec<f32>) -> Vec<f32> {
        precision.round(&mut features);
        features
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gives_back_what_was_appended(
            runs in prop::collection::vec(
                prop::collection::vec((0u16..30, prop::bool::weighted(0.2)), 0..40), 1..4),
            dims in 1usize..5,
            full in any::<bool>(),
        ) {
            let precision = if full { Precision::Full } else { Precision::Bfloat16 };
            let spec = spec(dims, precision);
            let out = scratch();
            let layout = Layout::create(out.path()).unwrap();
            let mut expected = HashMap::new();
            for (run, appended) in (1..).zip(runs) {
                let cache = open(&layout, &spec);
                let mut writer = CacheWriter::new(cache.clone(), &layout, &run_id(run));
                for (at, (number, finish)) in (0u16..).zip(appended) {
                    let features = features(number + 100 * at, dims);
                    writer.append(id(number), &features).unwrap();
                    expected.insert(number, rounded(precision, features));
                    if finish {
                        writer.finish_part().unwrap();
                    }
                    // Appended a moment ago or in an earlier run, finished or not.
                    let numbers: Vec<u16> = (0..30).collect();
                    let ids: Vec<_> = numbers.iter().map(|number| id(*number)).collect();
                    let wanted: Vec<_> = numbers.iter().map(|number| expected.get(number).cloned()).collect();
                    prop_assert_eq!(cache.get(&ids), wanted);
                }
                writer.finish_part().unwrap();
                prop_assert_eq!(cache.len(), expected.len());
                prop_assert_eq!(cache.damaged(), vec![]);
            }
        }

        #[test]
        fn damage_costs_features_but_never_gives_wrong_ones(damage in damage()) {
            let spec = Spec { dims: 2 << 20, ..spec(0, Precision::Bfloat16) };
            let out = scratch();
            let layout = Layout::create(out.path()).unwrap();
            let mut writer = CacheWriter::new(open(&layout, &spec), &layout, &run_id(1));
            // One row group each.
            prop_assert_eq!(spec.row_group_rows(), 1);
            let values: Vec<_> = (0..2).map(|number| features(number, spec.dims)).collect();
            for (number, values) in (0..).zip(&values) {
                writer.append(id(number), values).unwrap();
            }
            let part = writer.finish_part().unwrap().unwrap();
            damage.apply(&layout.absolute(&part.file));

            let cache = open(&layout, &spec);
            let found = cache.get(&[id(0), id(1)]);
            for (found, values) in found.iter().zip(values) {
                if let Some(found) = found {
                    prop_assert!(*found == rounded(spec.precision, values));
                }
            }
            let lost = found.iter().filter(|found| found.is_none()).count();
            prop_assert_eq!(lost > 0, !cache.damaged().is_empty());
        }
    }

    #[test]
    fn of_the_part_that_is_written_no_more_than_a_row_group_is_held() {
        let spec = spec(100_000, Precision::Full);
        assert_eq!((spec.row_group_rows(), spec.part_rows()), (2, 335));
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let cache = open(&layout, &spec);
        let mut writer = CacheWriter::new(cache.clone(), &layout, &run_id(1));
        let all: Vec<_> = (0..7).map(|number| features(number, spec.dims)).collect();
        let ids: Vec<_> = (0..7).map(id).collect();
        let wanted = |count: usize| -> Vec<_> {
            (0..7)
                .map(|at| (at < count).then(|| all[at].clone()))
                .collect()
        };
        for (at, features) in all.iter().enumerate() {
            // Each for the second time, too: the newest counts.
            let old = vec![1.0; spec.dims];
            writer.append(ids[at], &old).unwrap();
            assert!(cache.get(&ids[at..=at]) == [Some(old)]);
            writer.append(ids[at], features).unwrap();
            assert!(cache.get(&ids) == wanted(at + 1));
            assert!(cache.held_while_written() < spec.row_group_rows());
        }
        assert_eq!(writer.parts(), []);
        let directory = cache.directory().to_owned();
        let [temporary] = &*names(&directory).unwrap() else {
            panic!("there is more than one file");
        };
        assert!(temporary.ends_with(".parquet.tmp"), "{temporary}");
        writer.finish_part().unwrap();
        assert!(cache.get(&ids) == wanted(7));
        assert_eq!(cache.damaged(), []);
        assert!(open(&layout, &spec).get(&ids) == wanted(7));
    }

    #[test]
    fn what_was_damaged_can_be_appended_again() {
        let spec = spec(3, Precision::Bfloat16);
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let mut writer = CacheWriter::new(open(&layout, &spec), &layout, &run_id(1));
        writer.append(id(1), &[1.0, 2.0, 3.0]).unwrap();
        let part = writer.finish_part().unwrap().unwrap();
        let path = layout.absolute(&part.file);
        let file = std::fs::File::open(&path).unwrap();
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap();
        let values = metadata.metadata().row_group(0).column(1).byte_range();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[(values.0 + values.1 / 2) as usize] ^= 1;
        std::fs::write(&path, bytes).unwrap();

        let cache = open(&layout, &spec);
        assert_eq!(cache.get(&[id(1)]), [None]);
        assert_eq!(cache.damaged()[0].path, path);
        assert!(!cache.contains(&id(1)));
        let mut writer = CacheWriter::new(cache.clone(), &layout, &run_id(2));
        writer.append(id(1), &[1.0, 2.0, 3.0]).unwrap();
        writer.finish_part().unwrap();
        assert_eq!(cache.get(&[id(1)]), [Some(vec![1.0, 2.0, 3.0])]);
        let cache = open(&layout, &spec);
        assert_eq!(cache.get(&[id(1)]), [Some(vec![1.0, 2.0, 3.0])]);
    }

    #[test]
    fn parts_are_finished_when_they_are_full() {
        let spec = spec(8 << 20, Precision::Full);
        assert_eq!(spec.part_rows(), 4);
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let mut writer = CacheWriter::new(open(&layout, &spec), &layout, &run_id(1));
        let zeros = vec![0.0; spec.dims];
        let parts: Vec<_> = (0..5)
            .filter_map(|number| writer.append(id(number), &zeros).unwrap())
            .collect();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].rows, 4);
        assert_eq!(
            parts[0].file,
            "embeddings/vgg16-fc7/part-20250101T000001Z-00ff-00000.parquet"
        );
        assert_eq!(writer.parts(), parts);
    }

    #[test]
    fn less_exact_features_do_not_serve_and_more_exact_ones_do() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let (coarse, full) = (spec(1, Precision::Bfloat16), spec(1, Precision::Full));
        let value = 1.2345;
        for (run, number, spec) in [(1, 1, &coarse), (2, 2, &full)] {
            let mut writer = CacheWriter::new(open(&layout, spec), &layout, &run_id(run));
            writer.append(id(number), &[value]).unwrap();
            writer.finish_part().unwrap();
        }
        let ids = [id(1), id(2)];
        let rounded = rounded(Precision::Bfloat16, vec![value]);
        assert_ne!(rounded, [value]);
        assert_eq!(open(&layout, &full).get(&ids), [None, Some(vec![value])]);
        assert_eq!(
            open(&layout, &coarse).get(&ids),
            [Some(rounded.clone()), Some(rounded)]
        );
    }

    #[test]
    fn features_of_another_encoder_or_size_are_not_taken() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let spec = spec(2, Precision::Bfloat16);
        let mut writer = CacheWriter::new(open(&layout, &spec), &layout, &run_id(1));
        let error = writer.append(id(1), &[1.0]).unwrap_err();
        assert!(
            error.to_string().ends_with("have 1 values, expected 2"),
            "{error}"
        );
        writer.append(id(1), &[1.0, 2.0]).unwrap();
        writer.finish_part().unwrap();

        let wider = Spec {
            dims: 3,
            ..spec.clone()
        };
        let cache = open(&layout, &wider);
        assert!(cache.is_empty());
        let reason = &cache.damaged()[0].reason;
        assert!(
            reason.contains(r#"its showtell.dims is "2", expected "3""#),
            "{reason}"
        );

        // That part has been moved out of the way.
        let mut writer = CacheWriter::new(open(&layout, &spec), &layout, &run_id(2));
        writer.append(id(1), &[1.0, 2.0]).unwrap();
        writer.finish_part().unwrap();
        let other = layout.embeddings("inception").unwrap();
        std::fs::rename(layout.embeddings(&spec.encoder_id).unwrap(), other).unwrap();
        let moved = Spec {
            encoder_id: "inception".to_owned(),
            ..spec
        };
        assert!(
            open(&layout, &moved).damaged()[0]
                .reason
                .contains("encoder_id")
        );
    }
}
