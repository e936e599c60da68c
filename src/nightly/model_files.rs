//! Turns the model files that earlier runs read into the ids that they gave.
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

/// The ids that a model's files gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelIds {
    pub encoder_id: String,
    /// `None` where only features were wanted.
    pub captioner_id: Option<String>,
}

impl ModelIds {
    /// The ids that the newest run over exactly these files recorded; `None` if there is none. Only
    /// this version of the program is believed: another may have digested otherwise.
    pub fn recorded(layout: &Layout, files: &[ModelFile]) -> Result<Option<Self>, LayoutError> {
        for run_id in layout.runs_with_summary()?.iter().rev() {
            // What is no summary is not believed; the run itself names it.
            let Ok(Some(summary)) = RunSummary::read(layout, run_id) else {
                continue;
            };
            if summary.version == env!("CARGO_PKG_VERSION") && summary.model_files == files {
                return Ok(Some(ModelIds {
                    encoder_id: summary.encoder_id,
                    captioner_id: summary.captioner_id,
                }));
            }
        }
        Ok(None)
    }
}
