//! Turns image ids into their features, from whichever part holds them.
//!
//! An index over all parts is made when the cache is opened; features are read a row group at a
//! time, when asked for. A part or a row group that turns out damaged is named and passed over: its
//! images are then computed again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::buffer::ScalarBuffer;
use rayon::prelude::*;

use super::Spec;
use super::growing::{Growing, Place};
use super::index::{Group, Index};
use super::part::EmbeddingFile;
use super::recent::Recent;
use crate::archive::ImageId;
use crate::table::{
    Damage, Layout, LayoutError, SealedFile, TableError, embeddings_run, names, remove_temporaries,
};

/// Bytes of features kept for the next question, unless told otherwise.
const RECENT_BYTES: usize = 64 << 20;

/// The features kept for one encoder. Shared between the thread that asks and the one that appends.
pub struct Cache {
    spec: Spec,
    directory: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    index: Index,
    parts: Vec<Arc<EmbeddingFile>>,
    /// The part that is being written. It has the number after those of `parts`.
    growing: Growing,
    recent: Recent<Group, ScalarBuffer<f32>>,
    unreadable: HashSet<Group>,
    damaged: Vec<Damage>,
}

impl Cache {
    /// Opens what earlier runs left for `spec`. Damaged parts are left out, moved out of
    /// readers' way and listed by [`damaged`](Self::damaged); half-written ones are removed. So the
    /// caller holds the lock.
    pub fn open(layout: &Layout, spec: Spec) -> Result<Self, LayoutError> {
        Self::with_budget(layout, spec, RECENT_BYTES)
    }

    /// As [`open`](Self::open), keeping at most `budget` bytes of features for the next question.
    pub fn with_budget(layout: &Layout, spec: Spec, budget: usize) -> Result<Self, LayoutError> {
        let directory = layout.embeddings(&spec.encoder_id)?;
        remove_temporaries(&directory, is_part)?;
        let (cache, to_move) = Self::load(directory, spec, budget)?;
        for path in to_move {
            layout.move_damaged(&path)?;
        }
        Ok(cache)
    }

    /// As [`open`](Self::open), but touches nothing, so that another run may hold the lock.
    pub fn peek(layout: &Layout, spec: Spec) -> Result<Self, LayoutError> {
        let directory = layout.embeddings(&spec.encoder_id)?;
        Ok(Self::load(directory, spec, RECENT_BYTES)?.0)
    }

    /// The cache, and the parts that are damaged.
    fn load(
        directory: PathBuf,
        spec: Spec,
        budget: usize,
    ) -> Result<(Self, Vec<PathBuf>), LayoutError> {
        let mut to_move = Vec::new();
        let cache = Self {
            inner: Mutex::new(Inner {
                index: Index::default(),
                parts: Vec::new(),
                growing: Growing::default(),
                recent: Recent::new(budget),
                unreadable: HashSet::new(),
                damaged: Vec::new(),
            }),
            spec,
            directory,
        };
        for name in names(&cache.directory)?.iter().filter(|name| is_part(name)) {
            let path = cache.directory.join(name);
            if let Err(error) = cache.add_part(&path, |_| {}) {
                cache.lock().note_damage(Damage::new(&path, &error));
                if error.is_damage() {
                    to_move.push(path);
                }
            }
        }
        cache.lock().index.settle();
        Ok((cache, to_move))
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// How many images have features here, not counting the part that is being written.
    pub fn len(&self) -> usize {
        self.lock().index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts and row groups found damaged so far.
    pub fn damaged(&self) -> Vec<Damage> {
        self.lock().damaged.clone()
    }

    /// Whether [`get`](Self::get) is likely to find the image: its part may yet prove damaged.
    pub fn contains(&self, id: &ImageId) -> bool {
        let inner = self.lock();
        inner.growing.contains(id)
            || inner
                .index
                .find(id)
                .is_some_and(|(group, _)| !inner.unreadable.contains(&group))
    }

    /// For each image its features, `[dims]`, rounded as the cache keeps them; `None` where they
    /// have to be computed.
    pub fn get(&self, ids: &[ImageId]) -> Vec<Option<Vec<f32>>> {
        let mut found = vec![None; ids.len()];
        let mut wanted: BTreeMap<Group, Vec<(usize, usize)>> = BTreeMap::new();
        let dims = self.spec.dims;
        {
            let inner = self.lock();
            for (at, id) in ids.iter().enumerate() {
                let (group, row) = match inner.growing.find(id, dims) {
                    Some(Place::Here(features)) => {
                        found[at] = Some(features);
                        continue;
                    }
                    Some(Place::InFile { row_group, row }) => {
                        let part = inner.parts.len();
                        (Group { part, row_group }, row)
                    }
                    None => match inner.index.find(id) {
                        Some(place) => place,
                        None => continue,
                    },
                };
                wanted.entry(group).or_default().push((at, row));
            }
        }
        // Decoding a row group is most of the work. What is wanted of it is copied at once, so that
        // no more of them are held than are decoded.
        let read = wanted.into_par_iter().flat_map_iter(|(group, rows)| {
            let features = self.row_group(group, rows.len());
            let row_of = move |(at, row): (usize, usize)| {
                let features = features.as_ref()?.get(row * dims..(row + 1) * dims)?;
                Some((at, features.to_vec()))
            };
            rows.into_iter().filter_map(row_of).collect::<Vec<_>>()
        });
        for (at, features) in read.collect::<Vec<_>>() {
            found[at] = Some(features);
        }
        found
    }

    /// Reads all that is kept, so that damage is known before somebody relies on it.
    pub fn verify(&self) {
        let parts = self.lock().parts.clone();
        let groups = parts.iter().enumerate().flat_map(|(part, file)| {
            let sizes = file.ids().into_iter().flatten().map(|ids| ids.len());
            sizes
                .enumerate()
                .map(move |(row_group, rows)| (Group { part, row_group }, rows))
        });
        groups.par_bridge().for_each(|(group, rows)| {
            self.row_group(group, rows);
        });
    }

    /// The features of a row group, of which so many rows are `wanted`, `[rows, dims]`; `None` if they
    /// cannot be read.
    fn row_group(&self, group: Group, wanted: usize) -> Option<ScalarBuffer<f32>> {
        let part = {
            let mut inner = self.lock();
            if inner.unreadable.contains(&group) {
                return None;
            }
            if let Some(features) = inner.recent.get(&group) {
                return Some(features);
            }
            inner.part(group.part)?.clone()
        };
        // Read with the cache unlocked: others may ask and append meanwhile.
        match part.features(group.row_group) {
            Ok(features) => {
                // Of one that is wanted whole nothing is left to ask for.
                if features.len() > wanted * self.spec.dims {
                    let bytes = size_of_val(&*features);
                    self.lock().recent.insert(group, features.clone(), bytes);
                }
                Some(features)
            }
            Err(error) => {
                let mut inner = self.lock();
                inner.unreadable.insert(group);
                inner.note_damage(Damage::new(part.path(), &error));
                None
            }
        }
    }

    /// The parts of which a row group was found damaged.
    pub(super) fn spoilt_parts(&self) -> Vec<usize> {
        let inner = self.lock();
        let parts: BTreeSet<_> = inner.unreadable.iter().map(|group| group.part).collect();
        parts.into_iter().collect()
    }

    /// Where the part is.
    pub(super) fn part_path(&self, part: usize) -> Option<PathBuf> {
        Some(self.lock().parts.get(part)?.path().to_owned())
    }

    /// The images whose features can still be read from the part, and from no newer one.
    pub(super) fn still_good(&self, part: usize) -> Vec<(ImageId, Vec<f32>)> {
        let Some(file) = self.lock().parts.get(part).cloned() else {
            return Vec::new();
        };
        let mut good = Vec::new();
        for (row_group, ids) in file.ids().into_iter().flatten().enumerate() {
            let group = Group { part, row_group };
            let Some(features) = self.row_group(group, ids.len()) else {
                continue;
            };
            let rows = ids.into_iter().zip(features.chunks_exact(self.spec.dims));
            for (row, (id, features)) in rows.enumerate() {
                if self.lock().index.find(&id) == Some((group, row)) {
                    good.push((id, features.to_vec()));
                }
            }
        }
        good
    }

    /// Adds an image's features, `[dims]`, to the part that is being written, rounding them. Returns how
    /// many rows the row group has that they are in.
    pub(super) fn append(&self, id: ImageId, features: &[f32]) -> usize {
        self.lock().growing.append(id, features, &self.spec)
    }

    /// What was appended since the last row group: ids, and features `[ids, dims]`.
    pub(super) fn close_row_group(&self) -> (Vec<ImageId>, ScalarBuffer<f32>) {
        self.lock().growing.close_row_group()
    }

    /// How many images' features are in memory to be written.
    #[cfg(test)]
    pub(super) fn held_while_written(&self) -> usize {
        self.lock().growing.held()
    }

    /// Finds from now on in `file` what was closed last.
    pub(super) fn find_in_file(&self, file: SealedFile) {
        let file = EmbeddingFile::in_the_making(file, &self.spec);
        self.lock().growing.written(file);
    }

    /// Finds from now on in the finished part what was in the one that was written.
    pub(super) fn finish_part(&self, path: &Path) -> Result<(), TableError> {
        self.add_part(path, |inner| {
            inner.index.settle();
            inner.growing = Growing::default();
        })
    }

    /// Adds a part that serves, `then` does the rest while nobody looks.
    fn add_part(&self, path: &Path, then: impl FnOnce(&mut Inner)) -> Result<(), TableError> {
        let Some(file) = EmbeddingFile::open(path, &self.spec)? else {
            return Ok(());
        };
        let ids = file.ids()?;
        let mut inner = self.lock();
        if inner.index.add_part(ids).is_some() {
            inner.parts.push(Arc::new(file));
        }
        then(&mut inner);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing is left half-changed by a panic elsewhere in the pipeline.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_part(name: &str) -> bool {
    embeddings_run(name).is_some()
}

impl Inner {
    /// A part, or what there is by now of the one that is being written.
    fn part(&self, part: usize) -> Option<&Arc<EmbeddingFile>> {
        match part == self.parts.len() {
            true => self.growing.file(),
            false => self.parts.get(part),
        }
    }

    fn note_damage(&mut self, damage: Damage) {
        tracing::warn!(
            path = %damage.path.display(),
            reason = damage.reason,
            "embeddings cannot be read, and will be computed again"
        );
        self.damaged.push(damage);
    }
}
