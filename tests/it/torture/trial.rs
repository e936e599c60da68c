//! One archive with one output: runs the command over them and compares with undisturbed runs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::archive::Archive;
use super::table::{self, View};

/// See the [module](self). What it made stays on disk if its test fails.
pub struct Trial {
    scratch: Option<TempDir>,
    pub archive: Archive,
    pub out: PathBuf,
    /// Of the command, beside directory and output.
    pub options: Vec<String>,
    /// Whether parts may have been merged since their runs told of them.
    pub is_compacted: bool,
    seed: u64,
}

impl Trial {
    /// Over a new archive of `files` pictures.
    pub fn new(seed: u64, files: usize, part_rows: usize) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let archive = Archive::new(scratch.path(), seed, files);
        let options = [
            // So that the same picture has the same score in every run, to the last bit.
            "--batch=1",
            "--precision=fp32",
            "--device=cpu",
            "--beam=2",
            // So many changes in so few files would trip the guards.
            "--accept",
            &format!("--part-rows={part_rows}"),
        ];
        Self {
            out: scratch.path().join("out"),
            archive,
            options: options.map(str::to_owned).into(),
            scratch: Some(scratch),
            is_compacted: false,
            seed,
        }
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.as_ref().unwrap().path()
    }

    /// Makes the next runs search with `beam` captions, which makes all captions anew.
    pub fn set_beam(&mut self, beam: usize) {
        self.options.retain(|option| !option.starts_with("--beam"));
        self.options.push(format!("--beam={beam}"));
    }

    /// The command over the archive, into `out`.
    pub fn command(&self, out: &Path) -> Command {
        let mut command = self.program();
        command.arg("annotate").arg(self.archive.directory());
        command.arg("--out").arg(out).args(&self.options);
        command
    }

    /// The program, without arguments.
    pub fn program(&self) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// As [`command`](Self::command), by way of a shell that runs `first`.
    pub fn command_after(&self, first: &str) -> Command {
        let plain = self.command(&self.out);
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{first} && exec \"$@\""))
            .arg("sh");
        command.arg(plain.get_program()).args(plain.get_args());
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// Starts a run; what it says goes to a file.
    pub fn start(&self) -> Child {
        let log = File::create(self.log()).unwrap();
        let mut command = self.command(&self.out);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command.spawn().unwrap()
    }

    /// What the last started run said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.scratch().join("log")
    }

    /// Runs to the end with no disturbance, and expects success, but for images that fail.
    pub fn run(&self) -> Duration {
        let started = Instant::now();
        expect_success(self.command(&self.out));
        started.elapsed()
    }

    /// How long a run into a new output takes.
    pub fn run_elsewhere(&self) -> Duration {
        let started = Instant::now();
        self.undisturbed();
        started.elapsed()
    }

    /// Proves that the output is whole and equal to that of a run over the same archive into a new
    /// output. Returns the current rows.
    pub fn assert_recovered(&self) -> View {
        table::assert_whole(&self.out, self.is_compacted);
        let found = table::snapshot(&self.out);
        let undisturbed = self.undisturbed();
        table::assert_same("the table", &table::content(&found), &undisturbed);
        found
    }

    /// The content of a new output.
    pub fn undisturbed(&self) -> View {
        let out = tempfile::tempdir_in(self.scratch()).unwrap();
        expect_success(self.command(out.path()));
        table::assert_whole(out.path(), false);
        table::content(&table::snapshot(out.path()))
    }

    /// Proves that rows which were finished before are not made again: in `current`, the images of
    /// `finished` still have the rows of the runs that wrote them.
    pub fn assert_kept(finished: &View, current: &View) {
        for (key, cells) in finished {
            // A failure to read is tried again each night.
            if cells["status"] == "deleted" || cells["error_stage"] == "read" {
                continue;
            }
            assert_eq!(
                current[key]["run_id"], cells["run_id"],
                "{key:?} was done again"
            );
        }
    }

    /// All runs that left anything, by the names of their files.
    pub fn runs(&self) -> BTreeSet<String> {
        let mut runs: BTreeSet<String> = table::runs(&self.out).into_iter().collect();
        runs.extend(table::summaries(&self.out).into_iter().map(|(run, _)| run));
        runs
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(scratch) = self.scratch.take()
        {
            let kept = scratch.keep();
            eprintln!("The archive and its output are kept in {}", kept.display());
            eprintln!("To repeat this: SEED={} make torture", self.seed);
            let log = fs::read_to_string(kept.join("log")).unwrap_or_default();
            eprintln!("The last run that was disturbed said:\n{log}");
        }
    }
}

/// The program: another one than the tests were built with, if `SHOWTELL` names it.
fn binary() -> PathBuf {
    std::env::var_os("SHOWTELL")
        .map_or_else(|| env!("CARGO_BIN_EXE_showtell").into(), PathBuf::from)
}

fn expect_success(mut command: Command) {
    let output = command.output().unwrap();
    expect_exit(&output, &[0, 1]);
}

/// Fails unless the exit code is one of `codes`; returns what was said.
pub fn expect_exit(output: &Output, codes: &[i32]) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| codes.contains(&code)),
        "{:?}\n{said}",
        output.status
    );
    assert!(!said.contains("panicked"), "{said}");
    said
}
