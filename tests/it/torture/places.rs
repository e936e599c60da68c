//! Outputs that another run holds, that vanish, that may not be written; clocks and files that change.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::strike::send;
use super::trial::{Trial, expect_exit};
use super::watch::Watch;
use super::{seed, table};

/// A run that stands still after its first part, with many to come.
fn stopped_run(trial: &Trial) -> Child {
    let mut watch = Watch::new(&trial.out);
    let mut child = trial.start();
    let runs = watch.follow(&mut child, |step| {
        let name = step.and_then(|step| step.path.file_name()?.to_str());
        name == Some("part-00000.parquet")
    });
    assert!(runs, "{}", trial.said());
    send(&child, Signal::SIGSTOP);
    child
}

#[test]
fn a_second_run_touches_nothing() {
    let trial = Trial::new(seed(), 30, 1);
    let mut first = stopped_run(&trial);
    let before = listing(&trial.out);
    let output = trial.command(&trial.out).output().unwrap();
    let said = expect_exit(&output, &[75]);
    assert!(said.contains(&format!("process {}", first.id())), "{said}");
    assert_eq!(listing(&trial.out), before);
    send(&first, Signal::SIGCONT);
    assert!(first.wait().unwrap().success(), "{}", trial.said());
    trial.assert_recovered();
}

#[test]
fn an_output_that_vanishes_is_not_made_again() {
    let trial = Trial::new(seed(), 30, 1);
    let mut run = stopped_run(&trial);
    let elsewhere = trial.scratch().join("elsewhere");
    fs::rename(&trial.out, &elsewhere).unwrap();
    send(&run, Signal::SIGCONT);
    assert_eq!(run.wait().unwrap().code(), Some(4), "{}", trial.said());
    let said = trial.said();
    assert!(said.contains(&*trial.out.to_string_lossy()), "{said}");
    assert!(said.contains("put it back"), "{said}");
    assert!(!trial.out.exists());

    fs::rename(&elsewhere, &trial.out).unwrap();
    trial.run();
    trial.assert_recovered();
}

#[test]
fn an_output_that_was_replaced_is_not_written_to() {
    let trial = Trial::new(seed(), 30, 1);
    let mut run = stopped_run(&trial);
    fs::rename(&trial.out, trial.scratch().join("elsewhere")).unwrap();
    fs::create_dir(&trial.out).unwrap();
    send(&run, Signal::SIGCONT);
    assert_eq!(run.wait().unwrap().code(), Some(4), "{}", trial.said());
    assert!(listing(&trial.out).is_empty(), "{:?}", listing(&trial.out));
    trial.run();
    trial.assert_recovered();
}

#[test]
fn an_output_that_is_a_file_is_left_alone() {
    let trial = Trial::new(seed(), 3, 1);
    fs::write(&trial.out, "my notes").unwrap();
    let output = trial.command(&trial.out).output().unwrap();
    let said = expect_exit(&output, &[2]);
    assert!(said.contains(&*trial.out.to_string_lossy()), "{said}");
    assert!(said.contains("has to be a directory"), "{said}");
    assert_eq!(fs::read_to_string(&trial.out).unwrap(), "my notes");
}

#[test]
fn directories_that_may_not_be_used_are_named_before_anything_is_written() {
    let mut trial = Trial::new(seed(), 10, 3);
    trial.run();
    trial.archive.add();
    let below = ["", "captions", "embeddings", "runs"];
    for (mode, below) in below
        .map(|below| (0o555, below))
        .into_iter()
        .chain([(0, "runs")])
    {
        let directory = trial.out.join(below);
        let before = listing(&trial.out);
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        let Some(mut command) = unprivileged(&trial) else {
            fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
            eprintln!(
                "NOT RUN: directories without permissions, because this is root without setpriv"
            );
            return;
        };
        let output = command.output().unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        let said = expect_exit(&output, &[4]);
        let named = directory.to_string_lossy().trim_end_matches('/').to_owned();
        assert!(said.contains(&named), "{said}");
        assert!(said.contains("Permission denied"), "{said}");
        assert!(said.contains("--out"), "{said}");
        assert_eq!(listing(&trial.out), before, "{below}");
    }
    trial.run();
    trial.assert_recovered();
}

/// The command, held to permissions as every user is: root is not, so it gives up that right.
fn unprivileged(trial: &Trial) -> Option<Command> {
    let is_root = fs::metadata(trial.scratch()).unwrap().uid() == 0;
    if !is_root {
        return Some(trial.command(&trial.out));
    }
    let plain = trial.command(&trial.out);
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-dac_override,-dac_read_search");
    let works = command
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success());
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-dac_override,-dac_read_search");
    command.arg(plain.get_program()).args(plain.get_args());
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    works.then_some(command)
}

/// A clock that was set back leaves runs that seem to come from the future.
#[test]
fn a_run_comes_after_those_of_the_future() {
    let mut trial = Trial::new(seed(), 10, 3);
    trial.run();
    let future = trial.out.join("captions/run=20990101T000000Z-0000");
    fs::create_dir(future).unwrap();
    for night in 1..4 {
        trial.archive.pass_a_day();
        trial.archive.add();
        trial.archive.delete();
        trial.run();
        trial.assert_recovered();
        let runs = trial.runs();
        let expected = format!("20990101T00000{night}Z");
        assert!(runs.last().unwrap().starts_with(&expected), "{runs:?}");
    }
}

/// Whatever a run saw of a file that was being written, a later one sees it as it is.
#[test]
fn files_that_change_while_they_are_read_are_read_again() {
    let trial = Trial::new(seed(), 20, 4);
    let files = super::archive::files(trial.archive.directory());
    let pictures: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for at in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                // As an upload: in two pieces, with time between them.
                let (path, picture) = (
                    &files[at % files.len()],
                    &pictures[(at * 7 + 3) % files.len()],
                );
                let (beginning, end) = picture.split_at(picture.len() / 2);
                fs::write(path, beginning).unwrap();
                thread::sleep(Duration::from_millis(2));
                fs::write(path, [beginning, end].concat()).unwrap();
            }
        });
        let _done = WhenDropped(|| done.store(true, Ordering::Relaxed));
        for _ in 0..3 {
            trial.run();
            table::assert_whole(&trial.out, false);
        }
    });
    trial.run();
    trial.assert_recovered();
}

/// Done whatever becomes of the test.
struct WhenDropped<F: FnMut()>(F);

impl<F: FnMut()> Drop for WhenDropped<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Each file and directory below `directory`, with all that tells whether it was touched.
fn listing(directory: &Path) -> BTreeMap<PathBuf, String> {
    let entries = walkdir::WalkDir::new(directory).min_depth(1);
    let entries = entries.into_iter().map(Result::unwrap);
    let described = entries.map(|entry| {
        let metadata = entry.metadata().unwrap();
        let digest = match metadata.is_file() {
            true => blake3::hash(&fs::read(entry.path()).unwrap()).to_string(),
            false => String::new(),
        };
        let (inode, seconds, nanoseconds) =
            (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
        let description = format!(
            "{inode} {seconds}.{nanoseconds} {} {digest}",
            metadata.len()
        );
        (entry.into_path(), description)
    });
    described.collect()
}
