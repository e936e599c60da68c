//! Turns a content into the captions that the table has of it already, whatever file held it then.
//!
//! A caption depends on nothing but content, model and parameters, so a renamed, copied or touched
//! file takes over those of its earlier self, without encoder or captioner. Nothing is read before the
//! first question. Then an index of twelve bytes for each captioned row is made, and rows are read a
//! batch at a time, when asked for.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};

use crate::archive::ImageId;
use crate::captioner::Beam;
use crate::table::{
    BeamColumns, CAPTIONED, Columns, Identity, PartFile, Snapshot, SnapshotBatches, TableError,
    schema,
};

/// Batches kept for the next question: files are asked for in the order of the table, as a rule.
const RECENT_BATCHES: usize = 8;

/// The captions of one model in a table.
pub struct KnownCaptions {
    sources: Vec<CaptionSource>,
    identity: Identity,
    index: OnceLock<Index>,
    recent: Mutex<VecDeque<(usize, Arc<Held>)>>,
}

/// A file with rows of the table.
#[derive(Debug, Clone)]
pub enum CaptionSource {
    Snapshot(Snapshot),
    Part(PathBuf),
}

#[derive(Default)]
struct Index {
    /// Sorted.
    entries: Vec<Entry>,
    batches: Vec<Batch>,
    /// How many there are; they are numbered through all batches.
    rows: u32,
}

/// A captioned row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// The first bytes of the image id; the row has the others.
    id: [u8; 8],
    row: u32,
}

#[derive(Debug, Clone, Copy)]
struct Batch {
    source: usize,
    /// Place in the source.
    at: usize,
    first_row: u32,
}

/// What is kept of a batch.
struct Held {
    ids: StringArray,
    beams: BeamColumns,
}

impl KnownCaptions {
    /// The captions in `sources` that were made as `identity` says.
    pub fn new(sources: Vec<CaptionSource>, identity: Identity) -> Self {
        KnownCaptions {
            sources,
            identity,
            index: OnceLock::new(),
            recent: Mutex::default(),
        }
    }

    /// Whether [`get`](Self::get) is likely to find captions.
    pub fn contains(&self, id: &ImageId) -> bool {
        self.index().find(id).next().is_some()
    }

    /// The captions of each of these contents that are known.
    pub fn get(&self, ids: &[ImageId]) -> HashMap<ImageId, Vec<Beam>> {
        let index = self.index();
        let mut found = HashMap::new();
        for id in ids {
            let beams = index.find(id).find_map(|row| {
                let (number, at) = index.place(row)?;
                let held = self.held(number)?;
                let is_same = held.ids.is_valid(at) && held.ids.value(at) == id.to_string();
                is_same.then(|| held.beams.of(at))
            });
            found.extend(beams.map(|beams| (*id, beams)));
        }
        found
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let mut index = Index::default();
            for (number, source) in self.sources.iter().enumerate() {
                if let Err(error) = index.add(number, source, &self.identity) {
                    // Whatever is not found is captioned again.
                    tracing::warn!(%error, "captions of earlier runs cannot be looked up");
                }
            }
            index.entries.sort_unstable();
            index
        })
    }

    /// A batch; `None` if it cannot be read.
    fn held(&self, number: usize) -> Option<Arc<Held>> {
        let lock = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, held)) = lock().iter().find(|(recent, _)| *recent == number) {
            return Some(held.clone());
        }
        let batch = self.index().batches.get(number)?;
        let read = || {
            let source = &self.sources[batch.source];
            let batch = source.open(&["image_id", "beams"])?.read(batch.at)?;
            let columns = Columns {
                batch: &batch,
                path: source.path(),
            };
            Ok::<_, TableError>(Held {
                ids: columns.get("image_id")?,
                beams: BeamColumns::new(&columns)?,
            })
        };
        match read() {
            Ok(held) => {
                let held = Arc::new(held);
                let mut recent = lock();
                recent.truncate(RECENT_BATCHES - 1);
                recent.push_front((number, held.clone()));
                Some(held)
            }
            Err(error) => {
                tracing::warn!(%error, "captions of earlier runs cannot be read");
                None
            }
        }
    }
}

impl Index {
    fn add(
        &mut self,
        number: usize,
        source: &CaptionSource,
        identity: &Identity,
    ) -> Result<(), TableError> {
        let names = [
            "image_id",
            "status",
            "encoder_id",
            "captioner_id",
            "decoding",
        ];
        let mut batches = source.open(&names)?;
        for at in 0..batches.count() {
            let batch = batches.read(at)?;
            let columns = Columns {
                batch: &batch,
                path: source.path(),
            };
            let ids: StringArray = columns.get("image_id")?;
            let status: StringArray = columns.required("status")?;
            let made: [(StringArray, &str); 3] = [
                (columns.get("encoder_id")?, &identity.encoder_id),
                (columns.get("captioner_id")?, &identity.captioner_id),
                (columns.get("decoding")?, &identity.decoding),
            ];
            let first_row = self.rows;
            for (row, at) in (first_row..).zip(0..batch.num_rows()) {
                let same = |(column, wanted): &(StringArray, &str)| {
                    column.is_valid(at) && column.value(at) == *wanted
                };
                if status.value(at) == CAPTIONED
                    && ids.is_valid(at)
                    && made.iter().all(same)
                    && let Ok(id) = ids.value(at).parse::<ImageId>()
                {
                    let id = first_bytes(&id);
                    self.entries.push(Entry { id, row });
                }
            }
            self.rows = first_row.saturating_add(batch.num_rows() as u32);
            self.batches.push(Batch {
                source: number,
                at,
                first_row,
            });
        }
        Ok(())
    }

    /// The rows that may have this content.
    fn find(&self, id: &ImageId) -> impl Iterator<Item = u32> {
        let id = first_bytes(id);
        let begin = self.entries.partition_point(|entry| entry.id < id);
        let entries = self.entries[begin..].iter();
        entries
            .take_while(move |entry| entry.id == id)
            .map(|entry| entry.row)
    }

    /// The number of the batch that a row is in, and its place there.
    fn place(&self, row: u32) -> Option<(usize, usize)> {
        let after = self.batches.partition_point(|batch| batch.first_row <= row);
        let number = after.checked_sub(1)?;
        Some((number, (row - self.batches[number].first_row) as usize))
    }
}

fn first_bytes(id: &ImageId) -> [u8; 8] {
    id.0.first_chunk().copied().unwrap_or_default()
}

impl CaptionSource {
    fn path(&self) -> &Path {
        match self {
            CaptionSource::Snapshot(snapshot) => snapshot.path(),
            CaptionSource::Part(path) => path,
        }
    }

    fn open(&self, names: &[&str]) -> Result<Batches, TableError> {
        let fields = names.iter().filter_map(|name| {
            let schema = schema();
            schema.field_with_name(name).ok().cloned()
        });
        let columns = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(match self {
            CaptionSource::Snapshot(snapshot) => Batches::Snapshot(snapshot.open_batches(columns)?),
            CaptionSource::Part(path) => Batches::Part(PartFile::open(path)?, columns),
        })
    }
}

/// The batches of a file, in any order.
enum Batches {
    Snapshot(SnapshotBatches),
    Part(PartFile, SchemaRef),
}

impl Batches {
    fn count(&self) -> usize {
        match self {
            Batches::Snapshot(batches) => batches.count(),
            Batches::Part(file, _) => file.row_groups(),
        }
    }

    fn read(&mut self, at: usize) -> Result<RecordBatch, TableError> {
        match self {
            Batches::Snapshot(batches) => batches.read(at),
            Batches::Part(file, columns) => file.batch(at, columns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::arbitrary::{identity, row, run_id, scratch};
    use crate::table::{
        Layout, Outcome, PartWriter, Row, SnapshotNotes, part_source, write_snapshot,
    };

    const MANY: usize = 10_000;

    fn uri(number: usize) -> String {
        format!("{number:05}.jpg")
    }

    /// A part with a row for each number, captioned by turns by two captioners.
    fn write(layout: &Layout, part: u32, numbers: std::ops::Range<usize>) -> PathBuf {
        let mut writer = PartWriter::create(layout, &run_id(1), part);
        for number in numbers {
            let by = ["captioner", "other"][number % 2];
            let row = Row {
                identity: Some(identity(by)),
                ..row(&uri(number))
            };
            writer.push(row).unwrap();
        }
        writer.finish().unwrap();
        layout.part(&run_id(1), part)
    }

    fn ids(numbers: impl Iterator<Item = usize>) -> Vec<ImageId> {
        let id = |number| ImageId::of(uri(number).as_bytes());
        numbers.map(id).collect()
    }

    #[test]
    fn finds_what_the_same_model_said_of_a_content() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let old = write(&layout, 0, 0..MANY);
        let notes = SnapshotNotes {
            run_id: run_id(1),
            model: "demo".to_owned(),
        };
        let source = part_source(&old, &schema()).unwrap();
        write_snapshot(&layout, vec![source], &notes).unwrap();
        let new = write(&layout, 1, MANY..MANY + 100);
        let snapshot = Snapshot::open(&layout.snapshot()).unwrap().unwrap();
        let sources = vec![CaptionSource::Snapshot(snapshot), CaptionSource::Part(new)];
        let known = KnownCaptions::new(sources, identity("captioner"));

        let wanted = ids((0..MANY + 200).rev());
        let found = known.get(&wanted);
        assert_eq!(found.len(), (MANY + 100) / 2);
        for (number, id) in (0..MANY + 200).rev().zip(&wanted) {
            let expected = (number < MANY + 100 && number % 2 == 0).then(|| row(&uri(number)));
            assert_eq!(known.contains(id), expected.is_some(), "{number}");
            let expected = expected.map(|row| match row.outcome {
                Outcome::Captioned(beams) => beams,
                other => panic!("{other:?}"),
            });
            assert_eq!(found.get(id), expected.as_ref(), "{number}");
        }
    }

    #[test]
    fn ids_that_begin_alike_are_told_apart() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let alike = |last: u8| {
            let mut id = [7; 32];
            id[31] = last;
            ImageId(id)
        };
        let mut writer = PartWriter::create(&layout, &run_id(1), 0);
        for last in 0..3 {
            let row = Row {
                image_id: Some(alike(last)),
                ..row(&uri(usize::from(last)))
            };
            writer.push(row).unwrap();
        }
        writer.finish().unwrap();
        let sources = vec![CaptionSource::Part(layout.part(&run_id(1), 0))];
        let known = KnownCaptions::new(sources, identity("captioner"));
        let found = known.get(&[alike(1), alike(9)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[&alike(1)][0].caption, "a picture of 00001.jpg");
    }

    #[test]
    fn a_table_that_cannot_be_read_knows_nothing() {
        let sources = vec![CaptionSource::Part("absent/part-00000.parquet".into())];
        let known = KnownCaptions::new(sources, identity("captioner"));
        assert!(!known.contains(&ids(0..1)[0]));
        assert!(known.get(&ids(0..5)).is_empty());
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 12);
    }
}
