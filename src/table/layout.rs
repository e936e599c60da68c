//! Turns an output directory into the places of the files in it.
//!
//! ```text
//! OUT/
//!   .lock                                          who is writing
//!   .replacement.json                              while parts are replaced by merged ones
//!   captions/run=<run_id>/part-00000.parquet       all rows that the run wrote
//!   captions.arrow                                 the current row of each image
//!   embeddings/<encoder_id>/part-<run_id>-00000.parquet
//!   embeddings/<encoder_id>/files.arrow            which file has which content, by `embed`
//!   runs/<run_id>.json                             what the run did; written last
//!   refused/run=<run_id>/part-00000.parquet        rows that a guard kept out of the table
//!   damaged/captions/run=<run_id>/...              files found damaged, out of readers' way
//! ```
//!
//! Nothing else knows these names.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{Access, access};

use super::RunId;
use super::durable::{FileError, create_dir, create_dir_all, move_dir, move_file, names};

const LOCK: &str = ".lock";
const CAPTIONS: &str = "captions";
const SNAPSHOT: &str = "captions.arrow";
const EMBEDDINGS: &str = "embeddings";
const FILE_LIST: &str = "files.arrow";
const RUNS: &str = "runs";
const REFUSED: &str = "refused";
const DAMAGED: &str = "damaged";
const REPLACEMENT: &str = ".replacement.json";

/// Where everything below one output directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    out: PathBuf,
}

/// An output directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is a file; the output has to be a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    #[error(
        "{} holds something else ({found}, ...); name an empty directory or one that showtell made",
        path.display()
    )]
    SomethingElse { path: PathBuf, found: String },
    #[error("cannot write in {}", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("{0:?} cannot name a directory of embeddings")]
    EncoderId(String),
    #[error("no run can come after {0}: the year 9999 ends there")]
    LastRun(RunId),
}

impl Layout {
    /// Takes `out` for writing: makes it if it is missing, and sees that it is empty or ours, and
    /// writable.
    pub fn create(out: &Path) -> Result<Self, LayoutError> {
        match fs::metadata(out) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create_dir_all(out)?,
            Err(error) => return Err(FileError::on("look at", out)(error).into()),
            Ok(found) if !found.is_dir() => return Err(LayoutError::NotADirectory(out.to_owned())),
            Ok(_) => {}
        }
        let layout = Self {
            out: out.to_owned(),
        };
        layout.check_ours()?;
        // The lock's file does as a probe: it is needed anyway, and stays.
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(layout.lock())
            .map_err(|source| LayoutError::NotWritable {
                // Another user's, perhaps, in a directory that is everybody's.
                path: match layout.lock() {
                    lock if lock.exists() => lock,
                    _ => out.to_owned(),
                },
                source,
            })?;
        for directory in [CAPTIONS, EMBEDDINGS, RUNS] {
            create_dir(&out.join(directory))?;
        }
        // Found out now rather than when the first hours of work are to be written.
        for directory in ["", CAPTIONS, EMBEDDINGS, RUNS] {
            let path = out.join(directory);
            access(&path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).map_err(
                |errno| LayoutError::NotWritable {
                    path,
                    source: errno.into(),
                },
            )?;
        }
        Ok(layout)
    }

    /// Takes `out` for reading.
    pub fn open(out: &Path) -> Result<Self, LayoutError> {
        match fs::metadata(out) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LayoutError::Missing(out.to_owned()));
            }
            Err(error) => return Err(FileError::on("look at", out)(error).into()),
            Ok(found) if !found.is_dir() => return Err(LayoutError::NotADirectory(out.to_owned())),
            Ok(_) => {}
        }
        let layout = Self {
            out: out.to_owned(),
        };
        layout.check_ours()?;
        Ok(layout)
    }

    /// Someone else's directory is left alone, lest rows and photographs get mixed up.
    fn check_ours(&self) -> Result<(), LayoutError> {
        let names = names(&self.out)?;
        let ours = [CAPTIONS, SNAPSHOT, EMBEDDINGS, RUNS, REFUSED, DAMAGED];
        if names.iter().any(|name| ours.contains(&name.as_str())) {
            return Ok(());
        }
        // What file systems and desktops leave in empty directories.
        let mut others = names.iter().filter(|name| !name.starts_with('.'));
        match others.find(|name| *name != "lost+found") {
            None => Ok(()),
            Some(found) => Err(LayoutError::SomethingElse {
                path: self.out.clone(),
                found: found.clone(),
            }),
        }
    }

    /// The output directory itself.
    pub fn out(&self) -> &Path {
        &self.out
    }

    pub fn lock(&self) -> PathBuf {
        self.out.join(LOCK)
    }

    /// The directory of the runs' rows.
    pub fn captions(&self) -> PathBuf {
        self.out.join(CAPTIONS)
    }

    /// The directory of one run's rows.
    pub fn run(&self, run_id: &RunId) -> PathBuf {
        self.captions().join(format!("run={run_id}"))
    }

    /// The directory of the rows of a run that was refused.
    pub fn refused(&self, run_id: &RunId) -> PathBuf {
        self.out.join(REFUSED).join(format!("run={run_id}"))
    }

    /// The parts of a run that was refused, in order.
    pub fn refused_parts(&self, run_id: &RunId) -> Result<Vec<PathBuf>, LayoutError> {
        parts_in(&self.refused(run_id))
    }

    /// Takes a run's rows out of the table and keeps them aside; nothing happens if there are none.
    pub fn set_aside(&self, run_id: &RunId) -> Result<(), FileError> {
        let rows = self.run(run_id);
        if !rows.exists() {
            return Ok(());
        }
        create_dir(&self.out.join(REFUSED))?;
        move_dir(&rows, &self.refused(run_id))
    }

    /// A part of one run's rows.
    pub fn part(&self, run_id: &RunId, number: u32) -> PathBuf {
        self.run(run_id).join(format!("part-{number:05}.parquet"))
    }

    pub fn snapshot(&self) -> PathBuf {
        self.out.join(SNAPSHOT)
    }

    /// The directory of one encoder's embeddings.
    pub fn embeddings(&self, encoder_id: &str) -> Result<PathBuf, LayoutError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        if encoder_id.is_empty() || encoder_id.starts_with('.') || !encoder_id.chars().all(plain) {
            return Err(LayoutError::EncoderId(encoder_id.to_owned()));
        }
        Ok(self.out.join(EMBEDDINGS).join(encoder_id))
    }

    /// The list of the files that one encoder's embeddings are of.
    pub fn file_list(&self, encoder_id: &str) -> Result<PathBuf, LayoutError> {
        Ok(self.embeddings(encoder_id)?.join(FILE_LIST))
    }

    /// The encoders of which there are embeddings, in order.
    pub fn encoders(&self) -> Result<Vec<String>, LayoutError> {
        let mut encoders = names(&self.out.join(EMBEDDINGS))?;
        encoders.retain(|name| self.embeddings(name).is_ok_and(|path| path.is_dir()));
        Ok(encoders)
    }

    /// What says which files are being replaced by which, while they are.
    pub fn replacement(&self) -> PathBuf {
        self.out.join(REPLACEMENT)
    }

    /// The directory of the run summaries.
    pub fn summaries(&self) -> PathBuf {
        self.out.join(RUNS)
    }

    pub fn summary(&self, run_id: &RunId) -> PathBuf {
        self.summaries().join(format!("{run_id}.json"))
    }

    /// Moves a damaged file to `damaged/`, so that it neither fails the programs that read the table
    /// nor is found again by the next run. Returns where it is now.
    pub fn move_damaged(&self, path: &Path) -> Result<PathBuf, FileError> {
        let below = path.strip_prefix(&self.out).unwrap_or(path);
        let aside = self.out.join(DAMAGED).join(below);
        if let Some(directory) = aside.parent() {
            create_dir_all(directory)?;
        }
        move_file(path, &aside)?;
        Ok(aside)
    }

    /// `path` below the output directory, `/`-separated.
    pub fn relative(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.out).unwrap_or(path);
        let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
        names.join("/")
    }

    /// The file that [`relative`](Self::relative) named.
    pub fn absolute(&self, relative: &str) -> PathBuf {
        self.out.join(relative)
    }

    /// The runs that left rows in the table, in order.
    pub fn runs_with_rows(&self) -> Result<Vec<RunId>, LayoutError> {
        runs_in(&self.captions())
    }

    /// The runs whose rows were set aside, in order.
    pub fn runs_refused(&self) -> Result<Vec<RunId>, LayoutError> {
        runs_in(&self.out.join(REFUSED))
    }

    /// The runs that left a summary, in order.
    pub fn runs_with_summary(&self) -> Result<Vec<RunId>, LayoutError> {
        let names = names(&self.summaries())?;
        let runs = names.iter().filter_map(|name| name.strip_suffix(".json"));
        Ok(runs.filter_map(|run| run.parse().ok()).collect())
    }

    /// The finished parts of a run's rows, in order.
    pub fn parts(&self, run_id: &RunId) -> Result<Vec<PathBuf>, LayoutError> {
        parts_in(&self.run(run_id))
    }

    /// A name for a run that starts at `now`, after all that left anything here.
    pub fn next_run_id(&self, now: DateTime<Utc>, random: u16) -> Result<RunId, LayoutError> {
        let mut last = self.runs_with_rows()?.last().copied();
        last = last.max(self.runs_with_summary()?.last().copied());
        last = last.max(self.runs_refused()?.last().copied());
        for encoder in names(&self.out.join(EMBEDDINGS))? {
            let parts = names(&self.out.join(EMBEDDINGS).join(encoder))?;
            last = last.max(parts.iter().filter_map(|name| embeddings_run(name)).max());
        }
        let name = RunId::after(now, random, last);
        // Without a last run only a clock past the year 9999 has no name.
        name.ok_or_else(|| LayoutError::LastRun(last.unwrap_or(RunId::LAST)))
    }
}

/// The runs that have a directory in this one.
fn runs_in(directory: &Path) -> Result<Vec<RunId>, LayoutError> {
    let names = names(directory)?;
    let runs = names.iter().filter_map(|name| name.strip_prefix("run="));
    Ok(runs.filter_map(|run| run.parse().ok()).collect())
}

/// The finished parts in a run's directory, in order.
fn parts_in(directory: &Path) -> Result<Vec<PathBuf>, LayoutError> {
    let names = names(directory)?;
    let parts = names.iter().filter(|name| is_part(name));
    Ok(parts.map(|name| directory.join(name)).collect())
}

/// Whether a file is named as a part of a run's rows.
pub fn is_part(name: &str) -> bool {
    part_number(name).is_some()
}

/// The number of a part of a run's rows, if it is named as one.
pub fn part_number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    let plain = number.len() >= 5 && number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|_| plain)
}

/// The name of a part of a run's embeddings.
pub fn embeddings_part(run_id: &RunId, number: u32) -> String {
    format!("part-{run_id}-{number:05}.parquet")
}

/// The run that wrote a file of embeddings, if it is named as one.
pub fn embeddings_run(name: &str) -> Option<RunId> {
    let rest = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    let (run_id, number) = rest.rsplit_once('-')?;
    let is_number = number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit());
    run_id.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::arbitrary::{run_id, scratch};

    #[test]
    fn makes_what_is_missing_and_takes_it_again() {
        let above = scratch();
        let out = above.path().join("new/out");
        assert!(matches!(Layout::open(&out), Err(LayoutError::Missing(_))));
        let layout = Layout::create(&out).unwrap();
        assert_eq!(Layout::create(&out).unwrap(), layout);
        assert_eq!(Layout::open(&out).unwrap(), layout);
    }

    #[test]
    fn leaves_other_directories_alone() {
        let out = scratch();
        fs::write(out.path().join(".DS_Store"), "").unwrap();
        fs::create_dir(out.path().join("lost+found")).unwrap();
        fs::write(out.path().join("holiday.jpg"), "").unwrap();
        match Layout::create(out.path()) {
            Err(LayoutError::SomethingElse { found, .. }) => assert_eq!(found, "holiday.jpg"),
            other => panic!("{other:?}"),
        }
        assert!(!out.path().join("captions").exists());
        fs::remove_file(out.path().join("holiday.jpg")).unwrap();
        Layout::create(out.path()).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let above = scratch();
        let file = above.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(
            matches!(Layout::create(&file), Err(LayoutError::NotADirectory(path)) if path == file)
        );
        assert!(
            matches!(Layout::open(&file), Err(LayoutError::NotADirectory(path)) if path == file)
        );

        let out = above.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("captions"), "").unwrap();
        match Layout::create(&out) {
            Err(LayoutError::File(error)) => assert_eq!(error.path, out.join("captions")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_encoder_cannot_name_a_place_elsewhere() {
        let layout = Layout { out: "out".into() };
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a\\b", "a\0b"] {
            assert!(
                matches!(layout.embeddings(name), Err(LayoutError::EncoderId(_))),
                "{name}"
            );
        }
        let directory = layout.embeddings("vgg16-fc7-9f2c41d07ab35e18").unwrap();
        assert_eq!(
            directory,
            Path::new("out/embeddings/vgg16-fc7-9f2c41d07ab35e18")
        );
    }

    #[test]
    fn a_run_is_named_after_all_that_left_anything() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        let now = DateTime::UNIX_EPOCH;
        let name = |layout: &Layout| layout.next_run_id(now, 7).unwrap();
        assert_eq!(name(&layout).to_string(), "19700101T000000Z-0007");

        fs::create_dir(layout.run(&run_id(1))).unwrap();
        assert_eq!(name(&layout).to_string(), "20250101T000002Z-0007");
        fs::write(layout.summary(&run_id(2)), "").unwrap();
        assert_eq!(name(&layout).to_string(), "20250101T000003Z-0007");
        let embeddings = layout.embeddings("vgg16").unwrap();
        fs::create_dir(&embeddings).unwrap();
        fs::write(embeddings.join(embeddings_part(&run_id(3), 0)), "").unwrap();
        assert_eq!(name(&layout).to_string(), "20250101T000004Z-0007");
        fs::create_dir(layout.run(&run_id(4))).unwrap();
        layout.set_aside(&run_id(4)).unwrap();
        assert_eq!(name(&layout).to_string(), "20250101T000005Z-0007");
    }

    #[test]
    fn a_run_that_is_set_aside_is_no_longer_in_the_table() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        fs::create_dir(layout.run(&run_id(1))).unwrap();
        fs::write(layout.part(&run_id(1), 0), "rows").unwrap();
        layout.set_aside(&run_id(1)).unwrap();
        layout.set_aside(&run_id(2)).unwrap();
        assert!(layout.runs_with_rows().unwrap().is_empty());
        assert_eq!(layout.runs_refused().unwrap(), [run_id(1)]);
        let kept = layout.refused(&run_id(1)).join("part-00000.parquet");
        assert_eq!(fs::read(kept).unwrap(), b"rows");
    }

    #[test]
    fn parts_are_told_by_their_names() {
        assert!(is_part("part-00000.parquet"));
        assert!(is_part("part-123456.parquet"));
        assert!(!is_part("part-0.parquet"));
        assert!(!is_part(".part-00000.parquet.tmp"));
        let name = embeddings_part(&run_id(1), 3);
        assert_eq!(name, "part-20250101T000001Z-00ff-00003.parquet");
        assert_eq!(embeddings_run(&name), Some(run_id(1)));
        assert_eq!(embeddings_run("part-00000.parquet"), None);
    }
}
