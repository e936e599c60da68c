//! Which features the rows of the table refer to.
//!
//! A row refers to the features of its image by its encoder. One that names no encoder, because the
//! file is gone, refers to its image's features by any: the file may come back.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, StringArray};

use super::captions::{Survey, key_columns};
use crate::archive::ImageId;
use crate::table::{Columns, Damage, Merge, PartFile, Snapshot, Source, TableError};

/// See the [module](self).
#[derive(Default)]
pub struct References {
    by_encoder: HashMap<String, HashSet<ImageId>>,
    by_any: HashSet<ImageId>,
}

impl References {
    /// The references of all rows that stay once `survey` is carried out. A file that cannot be read
    /// is given back as the error.
    pub fn of(survey: &Survey, snapshot: Option<&Snapshot>) -> Result<Self, Damage> {
        let mut references = Self::default();
        let columns = key_columns();
        for fold in &survey.folds {
            let merged = fold.sources(&columns).and_then(|sources| {
                for batch in Merge::with(sources, fold.deletions).into_batches(8192) {
                    references.add(&batch?, &fold.parts[0].path)?;
                }
                Ok(())
            });
            merged.map_err(|error| damage(&error, &fold.parts[0].path))?;
        }
        for path in &survey.others {
            let read = PartFile::open(path).and_then(|part| {
                for batch in part.batches(&columns) {
                    references.add(&batch?, path)?;
                }
                Ok(())
            });
            read.map_err(|error| damage(&error, path))?;
        }
        if let Some(snapshot) = snapshot {
            let Source { path, open, .. } = snapshot.source(&columns);
            let read = open().and_then(|batches| {
                for batch in batches {
                    references.add(&batch?, &path)?;
                }
                Ok(())
            });
            read.map_err(|error| damage(&error, &path))?;
        }
        Ok(references)
    }

    fn add(
        &mut self,
        batch: &arrow::array::RecordBatch,
        path: &std::path::Path,
    ) -> Result<(), TableError> {
        let columns = Columns { batch, path };
        let ids: StringArray = columns.get("image_id")?;
        let encoders: StringArray = columns.get("encoder_id")?;
        for at in 0..batch.num_rows() {
            if ids.is_null(at) {
                continue;
            }
            let id: ImageId = ids.value(at).parse().map_err(|_| TableError::Value {
                path: path.to_owned(),
                row: at,
                column: "image_id",
                value: format!("{:?}", ids.value(at)),
            })?;
            if encoders.is_null(at) {
                self.by_any.insert(id);
            } else if let Some(known) = self.by_encoder.get_mut(encoders.value(at)) {
                known.insert(id);
            } else {
                self.by_encoder
                    .insert(encoders.value(at).to_owned(), HashSet::from([id]));
            }
        }
        Ok(())
    }

    /// Whether some row names the encoder.
    pub fn know(&self, encoder_id: &str) -> bool {
        self.by_encoder.contains_key(encoder_id)
    }

    /// Whether some row refers to the image's features by the encoder.
    pub fn hold(&self, encoder_id: &str, id: &ImageId) -> bool {
        let by_encoder = self.by_encoder.get(encoder_id);
        by_encoder.is_some_and(|ids| ids.contains(id)) || self.by_any.contains(id)
    }
}

fn damage(error: &TableError, path: &std::path::Path) -> Damage {
    Damage::new(error.damaged_file().unwrap_or(path), error)
}
