//! Turns what a model lies in into the id that an earlier run computed from it.
//!
//! An id is a digest of weights, and reading half a gigabyte of them only to find that nothing has to
//! be computed is most of a quiet night's work. So a model's files are treated as images are: as long
//! as path, size and time are those that a run recorded, they are taken to be what they were then.
//! Whoever loads them later checks that.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::summary::RunSummary;
use crate::archive::Micros;
use crate::table::{Layout, LayoutError};

/// All that the id of an encoder or of a captioner depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSource {
    /// Architecture, dimensions, preprocessing, as JSON.
    pub description: String,
    pub files: Vec<ModelFile>,
}

/// A file of a model as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    pub path: String,
    pub bytes: u64,
    /// Modification time, in microseconds since 1970.
    pub modified: Micros,
}

impl ModelFile {
    /// Looks at a file without opening it.
    pub fn look_at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let micros = metadata.mtime().saturating_mul(1_000_000);
        Ok(ModelFile {
            path: fs::canonicalize(path)?.to_string_lossy().into_owned(),
            bytes: metadata.len(),
            modified: micros.saturating_add(metadata.mtime_nsec() / 1000),
        })
    }
}

/// The ids that earlier runs recorded.
#[derive(Debug, Default)]
pub struct RecordedIds {
    encoders: Vec<(ModelSource, String)>,
    captioners: Vec<(ModelSource, String)>,
}

impl RecordedIds {
    /// Reads what the runs of this version of the program recorded: another may have digested
    /// otherwise.
    pub fn read(layout: &Layout) -> Result<Self, LayoutError> {
        let mut recorded = Self::default();
        for run_id in layout.runs_with_summary()?.iter().rev() {
            // What is no summary is not believed; the run itself names it.
            let Ok(Some(summary)) = RunSummary::read(layout, run_id) else {
                continue;
            };
            if summary.version == env!("CARGO_PKG_VERSION") {
                let encoder = summary
                    .encoder_source
                    .map(|source| (source, summary.encoder_id));
                remember(&mut recorded.encoders, encoder);
                let captioner = summary.captioner_source.zip(summary.captioner_id);
                remember(&mut recorded.captioners, captioner);
            }
        }
        Ok(recorded)
    }

    /// The id of the encoder that lies in `source`, if it is known.
    pub fn encoder(&self, source: &ModelSource) -> Option<&str> {
        find(&self.encoders, source)
    }

    /// The id of the captioner that lies in `source`, if it is known.
    pub fn captioner(&self, source: &ModelSource) -> Option<&str> {
        find(&self.captioners, source)
    }
}

/// Keeps the newest id of each source; runs come the newest first.
fn remember(known: &mut Vec<(ModelSource, String)>, recorded: Option<(ModelSource, String)>) {
    if let Some((source, id)) = recorded
        && find(known, &source).is_none()
    {
        known.push((source, id));
    }
}

fn find<'a>(known: &'a [(ModelSource, String)], source: &ModelSource) -> Option<&'a str> {
    let found = known.iter().find(|(known, _)| known == source);
    found.map(|(_, id)| id.as_str())
}
