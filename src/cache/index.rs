//! Turns an image id into the place of its features: which part, row group and row.
//!
//! One sorted array of 36 bytes per entry, because an archive of ten million images has to fit in
//! memory beside the model.

use crate::archive::ImageId;

/// Where the features of each image are.
#[derive(Default)]
pub struct Index {
    /// Sorted by id, each id once.
    entries: Vec<Entry>,
    /// For each part, the number of its first row, and the first rows of its row groups. Rows are
    /// numbered through all parts.
    parts: Vec<Rows>,
}

#[derive(Clone, Copy)]
struct Entry {
    id: ImageId,
    row: u32,
}

struct Rows {
    first: u32,
    /// Of each row group, the row after its last, counted from the part's first.
    ends: Vec<u32>,
}

/// A row group of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    pub part: usize,
    pub row_group: usize,
}

impl Index {
    /// Adds a part's ids, given by row group. Returns the part's number; `None` if there is no room
    /// for more rows. They are found once [`settle`](Self::settle) was called.
    pub fn add_part(&mut self, row_groups: Vec<Vec<ImageId>>) -> Option<usize> {
        let first = self.parts.last().map_or(0, |part| part.first + part.rows());
        let mut ends = Vec::with_capacity(row_groups.len());
        let mut rows = 0u32;
        for ids in &row_groups {
            rows = rows.checked_add(u32::try_from(ids.len()).ok()?)?;
            ends.push(rows);
        }
        first.checked_add(rows)?;
        let ids = row_groups.into_iter().flatten();
        let added = ids.zip(first..).map(|(id, row)| Entry { id, row });
        self.entries.extend(added);
        self.parts.push(Rows { first, ends });
        Some(self.parts.len() - 1)
    }

    /// Puts what was added in its place; where an id was known before, the new place is taken.
    pub fn settle(&mut self) {
        // Merges two sorted stretches when one part is added to many.
        self.entries.sort_by_key(|entry| (entry.id, entry.row));
        keep_last_of_each(&mut self.entries);
    }

    /// The row group of the image's features, and the row in it.
    pub fn find(&self, id: &ImageId) -> Option<(Group, usize)> {
        let at = self
            .entries
            .binary_search_by_key(id, |entry| entry.id)
            .ok()?;
        let row = self.entries[at].row;
        let part = self.parts.partition_point(|part| part.first <= row) - 1;
        let Rows { first, ends } = &self.parts[part];
        let row = row - first;
        let row_group = ends.partition_point(|end| *end <= row);
        let begin = if row_group == 0 {
            0
        } else {
            ends[row_group - 1]
        };
        Some((Group { part, row_group }, (row - begin) as usize))
    }

    /// How many images it knows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Rows {
    fn rows(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }
}

/// Of neighbours with the same id, the last.
fn keep_last_of_each(entries: &mut Vec<Entry>) {
    entries.dedup_by(|later, kept| {
        let same = later.id == kept.id;
        if same {
            *kept = *later;
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 36);
    }

    proptest! {
        #[test]
        fn finds_the_last_place_of_each_id(
            parts in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0u8..40, 0..6), 0..5), 0..6),
        ) {
            let id = |byte: u8| ImageId([byte; 32]);
            let mut index = Index::default();
            let mut expected = HashMap::new();
            for (part, groups) in parts.iter().enumerate() {
                for (row_group, bytes) in groups.iter().enumerate() {
                    for (row, byte) in bytes.iter().enumerate() {
                        expected.insert(*byte, (Group { part, row_group }, row));
                    }
                }
                let groups = groups.iter().map(|bytes| bytes.iter().map(|b| id(*b)).collect());
                prop_assert_eq!(index.add_part(groups.collect()), Some(part));
                if part % 2 == 0 {
                    index.settle();
                }
            }
            index.settle();
            prop_assert_eq!(index.len(), expected.len());
            for byte in 0..40 {
                prop_assert_eq!(index.find(&id(byte)), expected.get(&byte).copied());
            }
        }
    }
}
