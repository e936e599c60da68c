//! Generated captions and where they come from: a table's rows, known by `uri`, or COCO result files, known
//! by image id.
//!
//! It stands apart from the references because a result file is also what others' tools write and read.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a result file cannot be read or written.
#[derive(Debug, Error)]
pub enum ResultsError {
    #[error("cannot read the results {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not a COCO result file")]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("cannot write the results {path}")]
    Write { path: PathBuf, source: io::Error },
}

/// Which image a caption belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// Path below an archive's root.
    Uri(String),
    /// Number in the references.
    Id(u64),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Uri(uri) => f.write_str(uri),
            Key::Id(id) => write!(f, "image {id}"),
        }
    }
}

/// A generated caption, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub key: Key,
    pub caption: String,
}

/// An entry of a result file; others in it are skipped.
#[derive(Serialize, Deserialize)]
struct Entry<S> {
    image_id: u64,
    caption: S,
}

/// Reads `[{"image_id", "caption"}]`.
///
/// # Errors
///
/// If the file cannot be read or is something else.
pub fn read_results(path: &Path) -> Result<Vec<Candidate>, ResultsError> {
    let file = File::open(path).map_err(|source| ResultsError::Read {
        path: path.into(),
        source,
    })?;
    parse_results(BufReader::new(file), path)
}

/// The same from anything that can be read; `path` is for messages.
pub fn parse_results(reader: impl Read, path: &Path) -> Result<Vec<Candidate>, ResultsError> {
    let entries: Vec<Entry<String>> = serde_json::from_reader(reader).map_err(|source| {
        let path = path.into();
        match source.classify() {
            serde_json::error::Category::Io => ResultsError::Read {
                path,
                source: source.into(),
            },
            _ => ResultsError::Parse { path, source },
        }
    })?;
    let candidate = |Entry { image_id, caption }| Candidate {
        key: Key::Id(image_id),
        caption,
    };
    Ok(entries.into_iter().map(candidate).collect())
}

/// Writes captions by image id as a result file, which replaces `path` when it is whole.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write_results<'a>(
    path: &Path,
    captions: impl IntoIterator<Item = (u64, &'a str)>,
) -> Result<(), ResultsError> {
    let entries: Vec<Entry<&str>> = captions
        .into_iter()
        .map(|(image_id, caption)| Entry { image_id, caption })
        .collect();
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".part");
    let unfinished = PathBuf::from(unfinished);
    let write = || -> io::Result<()> {
        let mut file = BufWriter::new(File::create(&unfinished)?);
        serde_json::to_writer(&mut file, &entries)?;
        file.write_all(b"\n")?;
        file.into_inner()?.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|source| ResultsError::Write {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_survive_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        write_results(&path, [(5, "a \"dog\""), (3, "")]).unwrap();
        let got = read_results(&path).unwrap();
        let expected = [(5, "a \"dog\""), (3, "")].map(|(id, caption)| Candidate {
            key: Key::Id(id),
            caption: caption.into(),
        });
        assert_eq!(got, expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn results_of_other_tools_may_hold_more() {
        let json = r#"[{"image_id": 1, "caption": "x", "score": -1.5}]"#;
        let got = parse_results(json.as_bytes(), Path::new("r.json")).unwrap();
        assert_eq!(got[0].key, Key::Id(1));
    }

    #[test]
    fn errors_name_the_file() {
        let error = parse_results(&b"{}"[..], Path::new("r.json")).unwrap_err();
        assert_eq!(error.to_string(), "r.json is not a COCO result file");
        let error = read_results(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the results /no/such/file");
        let error = write_results(Path::new("/no/such/folder/r.json"), []).unwrap_err();
        assert!(matches!(error, ResultsError::Write { .. }), "{error}");
    }
}
