//! The part that is being written, as those see it who ask for features.
//!
//! Its row groups are read from the file that is not finished yet; only the one that is being filled is
//! in memory, so that what is held does not grow with the part.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::buffer::ScalarBuffer;

use super::Spec;
use super::part::EmbeddingFile;
use crate::archive::ImageId;

/// See the [module](self).
#[derive(Default)]
pub struct Growing {
    /// Row group and row of each image; the newest, where it was appended again.
    places: HashMap<ImageId, (usize, usize)>,
    /// The row groups that are in the file.
    file: Option<Arc<EmbeddingFile>>,
    row_groups: usize,
    /// Of the row group that is being filled.
    ids: Vec<ImageId>,
    /// `[ids, dims]`
    features: Vec<f32>,
    /// Features of a row group that is full, while it is written to the file.
    closed: Option<ScalarBuffer<f32>>,
}

/// Where features are.
pub enum Place {
    /// These are they.
    Here(Vec<f32>),
    /// In a row of a row group of the file.
    InFile { row_group: usize, row: usize },
}

impl Growing {
    /// Adds an image's features, `[dims]`, rounding them. Returns how many rows the row group has now.
    pub fn append(&mut self, id: ImageId, features: &[f32], spec: &Spec) -> usize {
        if self.ids.is_empty() {
            self.features
                .reserve_exact(spec.row_group_rows() * spec.dims);
        }
        self.places.insert(id, (self.row_groups, self.ids.len()));
        self.ids.push(id);
        let begin = self.features.len();
        self.features.extend_from_slice(features);
        spec.precision.round(&mut self.features[begin..]);
        self.ids.len()
    }

    pub fn contains(&self, id: &ImageId) -> bool {
        self.places.contains_key(id)
    }

    pub fn find(&self, id: &ImageId, dims: usize) -> Option<Place> {
        let (row_group, row) = *self.places.get(id)?;
        if row_group < self.row_groups {
            return Some(Place::InFile { row_group, row });
        }
        let features: &[f32] = match &self.closed {
            Some(closed) => closed,
            None => &self.features,
        };
        let features = features.get(row * dims..(row + 1) * dims)?;
        Some(Place::Here(features.to_vec()))
    }

    /// How many images' features are in memory.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        assert!(self.closed.is_none());
        self.ids.len()
    }

    /// The row groups that are in the file.
    pub fn file(&self) -> Option<&Arc<EmbeddingFile>> {
        self.file.as_ref()
    }

    /// The row group that was being filled, to be written. It is found here until
    /// [`written`](Self::written).
    pub fn close_row_group(&mut self) -> (Vec<ImageId>, ScalarBuffer<f32>) {
        let features = ScalarBuffer::from(std::mem::take(&mut self.features));
        self.closed = (!self.ids.is_empty()).then(|| features.clone());
        (std::mem::take(&mut self.ids), features)
    }

    /// Says that the closed row group is the last one in `file`.
    pub fn written(&mut self, file: EmbeddingFile) {
        self.file = Some(Arc::new(file));
        self.row_groups += 1;
        self.closed = None;
    }
}
