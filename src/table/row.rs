//! What the table says of an image: one [`Row`] per image and run.
//!
//! The in-memory form, apart from its Arrow form, so that the stages before need not know Arrow.

use std::sync::Arc;

use crate::archive::{Failure, ImageId, Micros};
use crate::captioner::Beam;
use crate::table::RunId;

/// One row of the caption table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Path below `root`, `/`-separated.
    pub uri: String,
    /// The archive's directory as the user gave it.
    pub root: Arc<str>,
    /// `None` if the file could not be read.
    pub image_id: Option<ImageId>,
    /// Size of the file in bytes.
    pub bytes: u64,
    pub modified_at: Micros,
    /// In pixels, as shown, after EXIF orientation; `None` if undecoded.
    pub width: Option<u32>,
    /// In pixels, as shown, after EXIF orientation; `None` if undecoded.
    pub height: Option<u32>,
    /// `jpeg`, `png`, ... from the bytes, never from the name; `None` if unknown.
    pub format: Option<Arc<str>>,
    pub outcome: Outcome,
    /// What captioned the image, or tried to; `None` for deleted rows.
    pub identity: Option<Identity>,
    pub run_id: RunId,
    pub annotated_at: Micros,
}

impl Row {
    /// What tells rows of one run apart, in the order of [`key_order`](crate::archive::key_order).
    pub fn key(&self) -> (&str, &str) {
        (&self.root, &self.uri)
    }
}

/// What came of an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Best beam first; its caption and score are the row's.
    Captioned(Vec<Beam>),
    Failed(Failure),
    /// The file is gone since an earlier run.
    Deleted,
}

/// What a caption depends on besides the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Architecture, layer, preprocessing and digest of the weights.
    pub encoder_id: Arc<str>,
    /// Architecture and digest of weights, vocabulary and configuration.
    pub captioner_id: Arc<str>,
    /// The decode parameters, as JSON.
    pub decoding: Arc<str>,
}
