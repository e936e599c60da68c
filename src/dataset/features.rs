//! Finds what an encoder made of the images of a data set: in a matrix, or in the cache of an output
//! directory, by content.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use thiserror::Error;

use super::{DataSet, Located, Matrix, NpyError};
use crate::archive::ImageId;
use crate::cache::{Cache, Spec};
use crate::table::{Layout, LayoutError, TableError};

/// Why features cannot be used.
#[derive(Debug, Error)]
pub enum FeaturesError {
    #[error(transparent)]
    Matrix(#[from] NpyError),
    #[error(
        "{} has {rows} rows, which fits neither the {images} images nor the {captions} captions",
        path.display()
    )]
    Rows {
        path: PathBuf,
        rows: usize,
        images: usize,
        captions: usize,
    },
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("{} holds no features; `showtell embed` and `showtell annotate` write them", .0.display())]
    NoFeatures(PathBuf),
    #[error("{} holds no features of the encoder {encoder_id}, but of {}", out.display(), known.join(", "))]
    UnknownEncoder {
        out: PathBuf,
        encoder_id: String,
        known: Vec<String>,
    },
    #[error("{} holds features of several encoders ({}); name one of them", out.display(), known.join(", "))]
    SeveralEncoders { out: PathBuf, known: Vec<String> },
    #[error("cannot read {}", path.display())]
    Image { path: PathBuf, source: io::Error },
    #[error("there are no features of image number {place} of the data set")]
    Missing {
        /// From zero.
        place: usize,
    },
    #[error(
        "{}: row {row}, counted from 0, holds values that are no finite numbers; its features have to be \
         computed again",
        path.display()
    )]
    NotFinite { path: PathBuf, row: usize },
    #[error("room for {found} values, but the images asked for have {expected}")]
    Room { expected: usize, found: usize },
}

/// What a row of a matrix stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerWhat {
    /// The images, in the order in which the captions first name them.
    Image,
    /// The captions, in their order, each with the features of its image.
    Caption,
}

/// Features of the images of a data set.
pub enum Features {
    Matrix {
        matrix: Matrix,
        per: PerWhat,
        /// Of each image, its row.
        rows: Vec<Option<usize>>,
    },
    Cache {
        cache: Box<Cache>,
        /// Of each image that has a file, its identity.
        ids: Vec<Option<ImageId>>,
    },
}

impl Features {
    /// Takes a matrix with a row for each image of the data set, or for each caption.
    pub fn of_matrix(path: &Path, set: &DataSet) -> Result<Self, FeaturesError> {
        let matrix = Matrix::open(path)?;
        let (images, captions) = (set.images.len(), set.rows);
        let (per, rows) = if matrix.rows() == images {
            (PerWhat::Image, (0..images).map(Some).collect())
        } else if matrix.rows() == captions {
            let row = |image: &super::ImageEntry| {
                (!image.captions.is_empty()).then_some(image.first_caption)
            };
            (PerWhat::Caption, set.images.iter().map(row).collect())
        } else {
            return Err(FeaturesError::Rows {
                path: path.into(),
                rows: matrix.rows(),
                images,
                captions,
            });
        };
        Ok(Features::Matrix { matrix, per, rows })
    }

    /// Looks the images up in the output directory of `showtell embed` or `annotate`, by their content.
    /// Reads every image's file once. `encoder_id` may be left open where there is one only.
    pub fn of_cache(
        out: &Path,
        encoder_id: Option<&str>,
        located: &Located,
    ) -> Result<Self, FeaturesError> {
        let layout = Layout::open(out)?;
        let mut specs = Spec::stored(&layout)?;
        let known = |specs: &[Spec]| specs.iter().map(|s| s.encoder_id.clone()).collect();
        if let Some(encoder_id) = encoder_id {
            let known = known(&specs);
            specs.retain(|spec| spec.encoder_id == encoder_id);
            if specs.is_empty() {
                return Err(FeaturesError::UnknownEncoder {
                    out: out.into(),
                    encoder_id: encoder_id.into(),
                    known,
                });
            }
        }
        let spec = match specs.as_slice() {
            [] => return Err(FeaturesError::NoFeatures(out.into())),
            [spec] => spec.clone(),
            several => {
                return Err(FeaturesError::SeveralEncoders {
                    out: out.into(),
                    known: known(several),
                });
            }
        };
        let cache = Box::new(Cache::peek(&layout, spec)?);
        let ids = located.paths.par_iter().map(|path| match path {
            Some(path) => identity(path).map(Some),
            None => Ok(None),
        });
        let ids = ids.collect::<Result<_, _>>()?;
        Ok(Features::Cache { cache, ids })
    }

    /// Values per image.
    pub fn dims(&self) -> usize {
        match self {
            Features::Matrix { matrix, .. } => matrix.dims(),
            Features::Cache { cache, .. } => cache.spec().dims,
        }
    }

    /// What tells a matrix from another. A cache has none: it keeps each image's features under the names
    /// of its content and of the encoder.
    pub fn digest(&self) -> Result<Option<String>, FeaturesError> {
        match self {
            Features::Matrix { matrix, .. } => Ok(Some(matrix.digest()?)),
            Features::Cache { .. } => Ok(None),
        }
    }

    /// Whether there are features of the image at this place of the data set.
    pub fn has(&self, image: usize) -> bool {
        match self {
            Features::Matrix { rows, .. } => rows.get(image).is_some_and(Option::is_some),
            Features::Cache { cache, ids } => {
                let id = ids.get(image).and_then(Option::as_ref);
                id.is_some_and(|id| cache.contains(id))
            }
        }
    }

    /// Reads the features of the images at these places, in this order, into `[images.len(), dims]`.
    ///
    /// # Errors
    ///
    /// If one has none, they cannot be read, or those in a matrix are no finite numbers.
    pub fn read(&self, images: &[usize], into: &mut [f32]) -> Result<(), FeaturesError> {
        let dims = self.dims();
        let (expected, found) = (images.len() * dims, into.len());
        if expected != found {
            return Err(FeaturesError::Room { expected, found });
        }
        let missing = |place| FeaturesError::Missing { place };
        match self {
            Features::Matrix { matrix, rows, .. } => {
                let row = |image: &usize| {
                    let row = rows.get(*image).copied().flatten();
                    row.ok_or_else(|| missing(*image))
                };
                let rows = images.iter().map(row).collect::<Result<Vec<_>, _>>()?;
                matrix.read(&rows, into)?;
                let is_broken = |row: &[f32]| row.iter().any(|value| !value.is_finite());
                let read = rows.iter().zip(into.chunks_exact(dims));
                match read.into_iter().find(|(_, values)| is_broken(values)) {
                    Some((row, _)) => Err(FeaturesError::NotFinite {
                        path: matrix.path().into(),
                        row: *row,
                    }),
                    None => Ok(()),
                }
            }
            Features::Cache { cache, ids } => {
                let id = |image: &usize| {
                    let id = ids.get(*image).copied().flatten();
                    id.ok_or_else(|| missing(*image))
                };
                let ids = images.iter().map(id).collect::<Result<Vec<_>, _>>()?;
                let found = cache.get(&ids);
                for ((features, into), image) in
                    found.iter().zip(into.chunks_exact_mut(dims)).zip(images)
                {
                    match features {
                        Some(features) => into.copy_from_slice(features),
                        None => return Err(missing(*image)),
                    }
                }
                Ok(())
            }
        }
    }
}

/// The identity of a file, read in pieces.
pub(crate) fn identity(path: &Path) -> Result<ImageId, FeaturesError> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(|_| ()));
    read.map_err(|source| FeaturesError::Image {
        path: path.into(),
        source,
    })?;
    Ok(ImageId(*hasher.finalize().as_bytes()))
}
