//! Reads the images of a data set, one by one.

use std::path::Path;

use super::TrainingError;
use crate::archive::{self, Limits, Picture};
use crate::encoder::preprocess::Preprocess;

/// The picture in a file, upright.
///
/// # Errors
///
/// When it cannot be read or decoded, or is no image.
pub fn read(path: &Path) -> Result<Picture, TrainingError> {
    archive::open(path, &Limits::default()).map_err(|failure| TrainingError::Picture {
        path: path.to_owned(),
        reason: failure.reason,
    })
}

/// The square that an encoder sees; `path` is for messages.
///
/// # Errors
///
/// When the picture cannot be prepared.
pub fn square(
    picture: &Picture,
    preprocess: &Preprocess,
    path: &Path,
) -> Result<Vec<u8>, TrainingError> {
    preprocess
        .apply(picture)
        .map_err(|error| TrainingError::Picture {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}
