//! Reads the images of a data set, one by one.

use std::path::Path;

use super::TrainingError;
use crate::archive::{self, ImageRef, Limits, LoadOutcome, Picture};
use crate::encoder::preprocess::Preprocess;

/// The picture in a file, upright.
///
/// # Errors
///
/// When it cannot be read or decoded, or is no image.
pub fn read(path: &Path) -> Result<Picture, TrainingError> {
    let failed = |reason: String| TrainingError::Picture {
        path: path.to_owned(),
        reason,
    };
    let file = ImageRef {
        root: "".into(),
        uri: path.display().to_string(),
        path: path.to_owned(),
        // No row is compared with these.
        bytes: 0,
        modified: 0,
    };
    let limits = Limits::default();
    match archive::load(&file, &limits) {
        LoadOutcome::Loaded(loaded) => {
            archive::decode(&loaded, &limits).map_err(|failure| failed(failure.reason))
        }
        LoadOutcome::Failed { failure, .. } => Err(failed(failure.reason)),
        LoadOutcome::NotAnImage => Err(failed("it is no image".to_owned())),
    }
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
