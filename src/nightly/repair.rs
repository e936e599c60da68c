//! Turns the rows that damaged or missing parts have lost, and that the snapshot still holds, into new parts.
//!
//! The parts are the table for whoever reads them, and what the snapshot is made from when it is lost
//! in its turn. So what they say together has to be what the snapshot says, whichever of them is
//! damaged. No image is looked at: also rows of roots that the run does not walk are saved.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::state::{KnownRows, State, StateError};
use crate::archive::key_order;
use crate::table::{
    PART_ROWS, PartWriter, Row, RunId, Snapshot, TableError, batch_to_rows, known_schema,
    part_number, part_source, schema,
};

impl State {
    /// Writes the rows again that the snapshot has and, for damage, no part; then moves the damaged
    /// files out of the way of those who read the table.
    pub fn repair(&mut self, now: DateTime<Utc>) -> Result<(), StateError> {
        if let Some(snapshot) = self.snapshot().filter(|_| self.lacks_rows).cloned() {
            let written = self.write_lost_rows(&snapshot, now)?;
            tracing::warn!(
                rows = written,
                "rows of damaged or missing parts were written again from captions.arrow"
            );
        }
        // Last: killed before, the next run finds them again and writes what is still missing.
        for path in std::mem::take(&mut self.to_move) {
            self.layout.move_damaged(&path)?;
        }
        Ok(())
    }

    /// Writes what the undamaged parts do not say, or say otherwise than the snapshot. The rows lie
    /// with the last run that the snapshot holds, and stay those of the runs that made them.
    fn write_lost_rows(
        &mut self,
        snapshot: &Snapshot,
        now: DateTime<Utc>,
    ) -> Result<usize, StateError> {
        let now = now.timestamp_micros();
        let run_id = snapshot.notes().run_id;
        let sources = self.older.iter();
        let sources = sources.map(|path| part_source(path, &known_schema()));
        let mut in_parts = KnownRows::new(sources.collect::<Result<_, _>>()?);
        let mut current = rows(snapshot)?;
        let (mut row, mut known) = (current.next().transpose()?, in_parts.next().transpose()?);
        let mut writer = NumberedParts::after_those_of(self, run_id)?;
        loop {
            let order = match (&row, &known) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(row), Some(known)) => key_order(row.key(), known.key()),
            };
            let only_row = row.take_if(|_| order.is_le());
            let only_known = known.take_if(|_| order.is_ge());
            match (only_row, only_known) {
                (Some(row), Some(known)) if row.run_id == known.run_id => {}
                (Some(row), _) => writer.push(row)?,
                // The row that said so is lost.
                (None, Some(known)) => writer.push(known.deleted(run_id, now))?,
                (None, None) => {}
            }
            if order.is_le() {
                row = current.next().transpose()?;
            }
            if order.is_ge() {
                known = in_parts.next().transpose()?;
            }
        }
        writer.finish()
    }
}

/// The rows of the snapshot, in order.
fn rows(
    snapshot: &Snapshot,
) -> Result<impl Iterator<Item = Result<Row, TableError>> + use<>, TableError> {
    let path = snapshot.path().to_owned();
    let batches = snapshot.batches(schema())?;
    let rows = batches.map(move |batch| batch.and_then(|batch| batch_to_rows(&batch, &path)));
    Ok(rows.flat_map(|rows| match rows {
        Ok(rows) => rows.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }))
}

/// The parts of one run, one after another.
struct NumberedParts<'a> {
    state: &'a mut State,
    run_id: RunId,
    part: PartWriter,
    number: u32,
    rows: usize,
}

impl<'a> NumberedParts<'a> {
    /// Begins after all parts that the run has, damaged or not.
    fn after_those_of(state: &'a mut State, run_id: RunId) -> Result<Self, StateError> {
        let parts = state.layout.parts(&run_id)?;
        let names = parts.iter().filter_map(|path| path.file_name()?.to_str());
        let last = names.filter_map(part_number).max();
        let number = last.map_or(0, |last| last + 1);
        Ok(Self {
            part: PartWriter::create(&state.layout, &run_id, number),
            state,
            run_id,
            number,
            rows: 0,
        })
    }

    fn push(&mut self, row: Row) -> Result<(), StateError> {
        self.part.push(row)?;
        self.rows += 1;
        if self.part.len() >= PART_ROWS {
            self.finish_part()?;
        }
        Ok(())
    }

    fn finish_part(&mut self) -> Result<(), StateError> {
        self.number += 1;
        let next = PartWriter::create(&self.state.layout, &self.run_id, self.number);
        if let Some(part) = std::mem::replace(&mut self.part, next).finish()? {
            let path = self.state.layout.absolute(&part.file);
            self.state.older.push(path);
        }
        Ok(())
    }

    /// Returns how many rows there were.
    fn finish(mut self) -> Result<usize, StateError> {
        self.finish_part()?;
        Ok(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::nightly::Lock;
    use crate::table::arbitrary::{Damage, damage, row, run_id, scratch};
    use crate::table::{Layout, Outcome, SnapshotNotes};

    /// Of each night, the images and whether they are gone.
    type Nights = Vec<BTreeMap<u8, bool>>;

    fn nights() -> impl Strategy<Value = Nights> {
        let night = prop::collection::btree_map(0u8..8, prop::bool::weighted(0.3), 1..6);
        prop::collection::vec(night, 1..5)
    }

    /// Writes the nights, the last `unpublished` of them without a snapshot. Returns their parts.
    fn write(layout: &Layout, lock: &Lock, nights: &Nights, unpublished: usize) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for (number, night) in (1..).zip(nights) {
            let run_id = run_id(number);
            let state = State::open(layout, lock).unwrap();
            let mut part = PartWriter::create(layout, &run_id, 0);
            for (image, gone) in night {
                let mut row = row(&format!("{image}.jpg"));
                row.run_id = run_id;
                if *gone {
                    row.outcome = Outcome::Deleted;
                }
                part.push(row).unwrap();
            }
            let part = part.finish().unwrap().unwrap();
            paths.push(layout.absolute(&part.file));
            if number as usize + unpublished <= nights.len() {
                let model = "demo".to_owned();
                state
                    .publish(&[part], &SnapshotNotes { run_id, model })
                    .unwrap();
            }
        }
        paths
    }

    fn current(state: &State) -> Vec<Row> {
        state.rows().unwrap().map(Result::unwrap).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn parts_say_again_what_the_snapshot_says(
            nights in nights(),
            unpublished in 0usize..2,
            damages in prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..3),
        ) {
            let out = scratch();
            let layout = Layout::create(out.path()).unwrap();
            let lock = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
            let paths = write(&layout, &lock, &nights, unpublished);
            let before = current(&State::open(&layout, &lock).unwrap());
            let published = &paths[..nights.len().saturating_sub(unpublished)];
            prop_assume!(!published.is_empty());
            for (at, damage) in &damages {
                damage.apply(at.get::<PathBuf>(published));
            }
            let open = || State::open(&layout, &lock).unwrap();
            let mut state = open();
            state.repair(DateTime::UNIX_EPOCH).unwrap();
            prop_assert_eq!(current(&state), before.clone());
            for damage in state.damaged() {
                prop_assert!(!damage.path.exists());
            }

            // The parts alone say the same.
            std::fs::remove_file(layout.snapshot()).unwrap();
            let state = open();
            prop_assert_eq!(state.damaged(), &[]);
            prop_assert_eq!(current(&state), before);
        }
    }

    #[test]
    fn a_damaged_part_is_moved_aside_and_named_once() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let lock = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
        let night = BTreeMap::from([(1, false), (2, false)]);
        let paths = write(&layout, &lock, &vec![night], 0);
        Damage::Cut(0.5).apply(&paths[0]);
        let mut state = State::open(&layout, &lock).unwrap();
        state.repair(DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(state.damaged().len(), 1);
        assert_eq!(state.damaged()[0].path, paths[0]);
        let below = paths[0].strip_prefix(out.path()).unwrap();
        assert!(out.path().join("damaged").join(below).is_file());
        // The snapshot is as good as before.
        assert!(state.is_published());
        assert_eq!(State::open(&layout, &lock).unwrap().damaged(), []);
    }
}
