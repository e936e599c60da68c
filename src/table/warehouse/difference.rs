//! Turns a Delta table and a snapshot into what one has that the other has not.
//!
//! A row is told by `root` and `uri`, and its contents by `run_id`: a run writes one row for an
//! image, and rows never change. So three columns of each table say it all. Of the Delta table, in
//! whatever order its rows are, 25 bytes a row are held, about 60 with what the map takes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::StreamExt;

use super::WarehouseError;
use super::target::Target;
use crate::table::{Snapshot, TableError, schema};

/// What a snapshot has that a Delta table has not, and the other way round.
#[derive(Default)]
pub struct Difference {
    /// The Delta table's rows.
    pub(super) held: HashMap<Digest, Held>,
    /// Rows whose image the Delta table does not know.
    pub added: u64,
    /// Rows of an image that the Delta table has another row of.
    pub changed: u64,
    /// Images that the Delta table alone has.
    pub deleted: u64,
    /// Whether the Delta table has two rows of one image. No commit of ours leaves such.
    pub has_doubles: bool,
}

/// What tells a row, and which one it is.
pub const KEY_AND_RUN: [&str; 3] = ["root", "uri", "run_id"];

/// The first half of a BLAKE3.
pub(super) type Digest = [u8; 16];

pub(super) struct Held {
    run: u64,
    /// Whether the snapshot has the image, too.
    is_current: bool,
}

/// Which rows of the snapshot are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    All,
    Added,
    AddedOrChanged,
}

impl Difference {
    /// The difference to no table at all.
    pub fn of_all(rows: u64) -> Self {
        Self {
            added: rows,
            ..Self::default()
        }
    }

    pub async fn between(target: &Target, snapshot: &Snapshot) -> Result<Self, WarehouseError> {
        let mut difference = Self::default();
        let mut batches = target.scan().await?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| target.failed("read", error))?;
            let held = difference.hold(&batch);
            held.map_err(|error| target.failed("read", error))?;
        }
        for batch in snapshot.batches(narrow(&KEY_AND_RUN))? {
            let compared = difference.compare(&batch?);
            compared.map_err(TableError::arrow("read", snapshot.path()))?;
        }
        difference.count_deleted();
        Ok(difference)
    }

    /// Notes rows of the Delta table.
    fn hold(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = Columns::of(batch)?;
        self.held.reserve(batch.num_rows());
        for at in 0..batch.num_rows() {
            let held = Held {
                run: columns.run(at),
                is_current: false,
            };
            match self.held.entry(columns.key(at)) {
                Entry::Vacant(place) => {
                    place.insert(held);
                }
                Entry::Occupied(_) => self.has_doubles = true,
            }
        }
        Ok(())
    }

    /// Counts rows of the snapshot.
    fn compare(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = Columns::of(batch)?;
        for at in 0..batch.num_rows() {
            match self.held.get_mut(&columns.key(at)) {
                None => self.added += 1,
                Some(held) => {
                    held.is_current = true;
                    self.changed += u64::from(held.run != columns.run(at));
                }
            }
        }
        Ok(())
    }

    /// Once all rows of the snapshot are counted.
    fn count_deleted(&mut self) {
        let held = self.held.values();
        self.deleted = held.filter(|held| !held.is_current).count() as u64;
    }

    /// Those of a batch's rows, which are the snapshot's, that are asked for.
    pub fn select(&self, batch: &RecordBatch, which: Rows) -> Result<RecordBatch, ArrowError> {
        if which == Rows::All {
            return Ok(batch.clone());
        }
        let columns = Columns::of(batch)?;
        let is_wanted = |at| match self.held.get(&columns.key(at)) {
            None => true,
            Some(held) => which == Rows::AddedOrChanged && held.run != columns.run(at),
        };
        let wanted = (0..batch.num_rows()).map(|at| Some(is_wanted(at)));
        filter_record_batch(batch, &wanted.collect::<BooleanArray>())
    }

    /// Root and uri of those of a batch's rows, which are the Delta table's, that are deleted.
    pub fn select_deleted(&self, batch: &RecordBatch) -> Result<Vec<(String, String)>, ArrowError> {
        let columns = Columns::of(batch)?;
        let is_deleted = |at: &usize| {
            let held = self.held.get(&columns.key(*at));
            held.is_some_and(|held| !held.is_current)
        };
        let text = |column: &StringArray, at| column.value(at).to_owned();
        let deleted = (0..batch.num_rows()).filter(is_deleted);
        Ok(deleted
            .map(|at| (text(&columns.root, at), text(&columns.uri, at)))
            .collect())
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Difference")
            .field("held", &self.held.len())
            .field("added", &self.added)
            .field("changed", &self.changed)
            .field("deleted", &self.deleted)
            .field("has_doubles", &self.has_doubles)
            .finish()
    }
}

/// The columns that tell rows.
struct Columns {
    root: StringArray,
    uri: StringArray,
    run_id: StringArray,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let text = |name: &str| {
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| ArrowError::SchemaError(format!("there is no column {name:?}")))?;
            // Readers give text as they like to hold it.
            let column = cast(column, &DataType::Utf8)?;
            Ok::<_, ArrowError>(column.as_string::<i32>().clone())
        };
        Ok(Self {
            root: text("root")?,
            uri: text("uri")?,
            run_id: text("run_id")?,
        })
    }

    fn key(&self, at: usize) -> Digest {
        let (root, uri) = (self.root.value(at), self.uri.value(at));
        let mut digest = blake3::Hasher::new();
        // With its length, so that no two pairs are one text.
        digest.update(&root.len().to_le_bytes());
        digest.update(root.as_bytes());
        digest.update(uri.as_bytes());
        first(digest.finalize())
    }

    fn run(&self, at: usize) -> u64 {
        u64::from_le_bytes(first(blake3::hash(self.run_id.value(at).as_bytes())))
    }
}

/// The first bytes of a digest.
fn first<const N: usize>(digest: blake3::Hash) -> [u8; N] {
    std::array::from_fn(|at| digest.as_bytes()[at])
}

/// The table's columns of these names.
fn narrow(names: &[&str]) -> SchemaRef {
    let schema = schema();
    let fields = schema.fields().iter();
    let named = fields.filter(|field| names.contains(&field.name().as_str()));
    Arc::new(Schema::new(named.cloned().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::table::arbitrary::unique_rows;
    use crate::table::{Row, rows_to_batch};

    fn by_key(rows: &[Row]) -> BTreeMap<(&str, &str), &Row> {
        rows.iter().map(|row| (row.key(), row)).collect()
    }

    proptest! {
        #[test]
        fn is_what_has_to_be_done_to_make_one_the_other(
            there in unique_rows(0..12),
            here in unique_rows(0..12),
        ) {
            let (there_batch, here_batch) =
                (rows_to_batch(&there).unwrap(), rows_to_batch(&here).unwrap());
            let mut difference = Difference::default();
            difference.hold(&there_batch).unwrap();
            difference.compare(&here_batch).unwrap();
            difference.count_deleted();

            let (there, here) = (by_key(&there), by_key(&here));
            let is_added = |key: &(&str, &str)| !there.contains_key(key);
            let is_changed = |(key, row): (&(&str, &str), &&Row)| {
                there.get(key).is_some_and(|old| old.run_id != row.run_id)
            };
            let added = here.keys().filter(|key| is_added(key)).count();
            let changed = here.iter().filter(|row| is_changed(*row)).count();
            let deleted = there.keys().filter(|key| !here.contains_key(*key)).count();
            let counts = (difference.added, difference.changed, difference.deleted);
            prop_assert_eq!(counts, (added as u64, changed as u64, deleted as u64));
            let selected = |which| difference.select(&here_batch, which).unwrap().num_rows();
            prop_assert_eq!(selected(Rows::All), here.len());
            prop_assert_eq!(selected(Rows::Added), added);
            prop_assert_eq!(selected(Rows::AddedOrChanged), added + changed);
            let gone = difference.select_deleted(&there_batch).unwrap();
            prop_assert_eq!(gone.len(), deleted);
            for (root, uri) in &gone {
                prop_assert!(!here.contains_key(&(root.as_str(), uri.as_str())));
            }
            prop_assert!(!difference.has_doubles);
        }
    }

    #[test]
    fn an_image_with_two_rows_is_noticed() {
        let batch = rows_to_batch(&[crate::table::arbitrary::row("a")]).unwrap();
        let mut difference = Difference::default();
        difference.hold(&batch).unwrap();
        assert!(!difference.has_doubles);
        difference.hold(&batch).unwrap();
        assert!(difference.has_doubles);
    }
}
