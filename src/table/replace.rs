//! Replaces files by others that hold the same, all of them or none.
//!
//! The new files are whole and synced, but under temporary names. A note of what is to be done is
//! made durable, the new files get their names, the old ones go, and the note goes. Killed before
//! the note is there, the old files stand; killed after, the next one who holds the lock does the
//! rest. Readers who look in between find rows twice, and never too few.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable::{
    DurableFile, StagedFile, put_in_place, remove_file, remove_files, temporary_path,
};
use super::{FileError, Layout};

/// Files that are to be replaced, and by what.
#[derive(Default)]
pub struct Replacement {
    pub by: Vec<StagedFile>,
    /// Removed in this order.
    pub replaced: Vec<PathBuf>,
}

/// What [`Layout::replacement`] holds; files are paths below OUT.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    by: Vec<Whole>,
    replaced: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    file: String,
    bytes: u64,
}

impl Replacement {
    /// Carries it out.
    pub fn commit(self, layout: &Layout) -> Result<(), FileError> {
        if self.by.is_empty() && self.replaced.is_empty() {
            return Ok(());
        }
        let whole = |file: &StagedFile| Whole {
            file: layout.relative(file.path()),
            bytes: file.written().bytes,
        };
        let note = Note {
            by: self.by.iter().map(whole).collect(),
            replaced: self
                .replaced
                .iter()
                .map(|path| layout.relative(path))
                .collect(),
        };
        let path = layout.replacement();
        let writing = || FileError::on("write", &path);
        let json = serde_json::to_vec_pretty(&note)
            .map_err(io::Error::from)
            .map_err(writing())?;
        let mut file = DurableFile::create(&path)?;
        file.write_all(&json).map_err(writing())?;
        file.commit()?;
        for staged in self.by {
            staged.publish()?;
        }
        remove_files(&self.replaced)?;
        remove_file(&path)
    }
}

/// Does the rest of a replacement that was interrupted. The caller holds the lock. To be called before
/// temporary files are removed.
pub fn finish_replacement(layout: &Layout) -> Result<(), FileError> {
    let path = layout.replacement();
    let json = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        json => json.map_err(FileError::on("read", &path))?,
    };
    match serde_json::from_slice::<Note>(&json) {
        Ok(note) if note.is_within() => {
            let mut is_whole = true;
            for new in &note.by {
                is_whole &= has_its_name(layout, new)?;
            }
            if is_whole {
                let replaced = note.replaced.iter().map(|file| layout.absolute(file));
                remove_files(&replaced.collect::<Vec<_>>())?;
                tracing::info!("finished an interrupted compaction");
            } else {
                // Then nothing was removed either: the old files are all there.
                tracing::warn!("gave up an interrupted compaction: not all that it wrote is there");
            }
        }
        _ => tracing::warn!(path = %path.display(), "is no note of a compaction, and was removed"),
    }
    remove_file(&path)
}

/// Whether the new file is there under its name, whole. Gives it its name if it has only that to get.
fn has_its_name(layout: &Layout, new: &Whole) -> Result<bool, FileError> {
    let path = layout.absolute(&new.file);
    let is_whole = |path: &Path| fs::metadata(path).is_ok_and(|found| found.len() == new.bytes);
    if is_whole(&path) {
        return Ok(true);
    }
    let temporary = temporary_path(&path);
    let is_staged = is_whole(&temporary) && !path.exists();
    if is_staged {
        put_in_place(&temporary, &path)?;
    }
    Ok(is_staged)
}

impl Note {
    /// Whether all its paths stay below OUT.
    fn is_within(&self) -> bool {
        let files = self.by.iter().map(|new| &new.file).chain(&self.replaced);
        let is_plain = |part: Component| matches!(part, Component::Normal(_));
        files
            .into_iter()
            .all(|file| !file.is_empty() && Path::new(file).components().all(is_plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::arbitrary::{run_id, scratch};

    #[test]
    fn a_note_cannot_reach_outside_the_output() {
        let above = scratch();
        let precious = above.path().join("precious");
        fs::write(&precious, "mine").unwrap();
        let layout = Layout::create(&above.path().join("out")).unwrap();
        for file in [
            "../precious".to_owned(),
            precious.display().to_string(),
            String::new(),
        ] {
            let note = Note {
                by: Vec::new(),
                replaced: vec![file],
            };
            fs::write(layout.replacement(), serde_json::to_vec(&note).unwrap()).unwrap();
            finish_replacement(&layout).unwrap();
            assert!(precious.exists());
            assert!(!layout.replacement().exists());
        }
    }

    #[test]
    fn nothing_is_removed_if_something_new_is_missing() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let (old, new) = (layout.part(&run_id(1), 0), layout.part(&run_id(1), 1));
        fs::create_dir(layout.run(&run_id(1))).unwrap();
        fs::write(&old, "old").unwrap();
        let note = Note {
            by: vec![Whole {
                file: layout.relative(&new),
                bytes: 3,
            }],
            replaced: vec![layout.relative(&old)],
        };
        let note = serde_json::to_vec(&note).unwrap();
        for half in ["", "ne"] {
            fs::write(layout.replacement(), &note).unwrap();
            fs::write(temporary_path(&new), half).unwrap();
            finish_replacement(&layout).unwrap();
            assert!(old.exists() && !new.exists());
            assert!(!layout.replacement().exists());
        }
        fs::write(layout.replacement(), &note).unwrap();
        fs::write(temporary_path(&new), "new").unwrap();
        finish_replacement(&layout).unwrap();
        assert!(!old.exists() && new.exists());
    }

    #[test]
    fn a_note_that_is_none_is_removed() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        fs::write(layout.replacement(), "{").unwrap();
        finish_replacement(&layout).unwrap();
        assert!(!layout.replacement().exists());
        finish_replacement(&layout).unwrap();
    }
}
