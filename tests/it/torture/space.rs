//! Runs that have no room: a limit on the size of files, a full disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::archive::files;
use super::table::{self, View};
use super::trial::{Trial, expect_exit};
use super::{rounds, seed};

#[test]
fn what_was_finished_before_a_file_grew_too_large_is_kept() {
    for round in 0..rounds(2, 30) {
        let seed = seed() + round as u64;
        let (mut trial, mut random) = begun(seed);
        if random.random_bool(0.5) {
            trial.run();
            (0..10).for_each(|_| trial.archive.add());
        }
        // What no run gets around is the snapshot.
        let blocks = snapshot_bytes(&trial) / 512;
        let limit = random.random_range(1..blocks);
        let limited = trial
            .command_after(&format!("ulimit -f {limit}"))
            .output()
            .unwrap();
        let said = expect_exit(&limited, &[4]);
        assert!(said.contains(&*trial.out.to_string_lossy()), "{said}");
        assert!(said.contains("File too large"), "{said}");
        assert!(said.contains("Raise the limit"), "{said}");
        recovers(&trial);
    }
}

/// Needs the right to mount a file system.
#[test]
fn what_was_finished_before_the_disk_was_full_is_kept() {
    for round in 0..rounds(2, 30) {
        let seed = seed() + round as u64;
        let (mut trial, mut random) = begun(seed);
        let needed = pages(&trial);
        let Some(disk) = SmallDisk::mount(trial.scratch(), random.random_range(4..needed)) else {
            eprintln!("NOT RUN: a full disk, because no file system may be mounted here");
            return;
        };
        trial.out = disk.path.join("out");
        let output = trial.command(&trial.out).output().unwrap();
        let said = expect_exit(&output, &[4]);
        assert!(said.contains(&*trial.out.to_string_lossy()), "{said}");
        assert!(said.contains("No space left on device"), "{said}");
        assert!(said.contains("Make room"), "{said}");
        // Still full, and still no harm.
        expect_exit(&trial.command(&trial.out).output().unwrap(), &[4]);
        disk.remount("size=64m");
        recovers(&trial);

        disk.remount("ro");
        trial.archive.add();
        let said = expect_exit(&trial.command(&trial.out).output().unwrap(), &[4]);
        assert!(said.contains("Read-only file system"), "{said}");
        assert!(said.contains("--out"), "{said}");
        disk.remount("rw");
        recovers(&trial);
    }
}

fn begun(seed: u64) -> (Trial, ChaCha8Rng) {
    println!("SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(!seed);
    let part_rows = [2, 8, 64][random.random_range(0..3)];
    (
        Trial::new(seed, random.random_range(20..40), part_rows),
        random,
    )
}

/// The next run, which has room, keeps what is there and does the rest.
fn recovers(trial: &Trial) {
    assert_eq!(table::temporaries(&trial.out), Vec::<PathBuf>::new());
    let mut finished = View::new();
    for run in table::runs(&trial.out) {
        finished.extend(table::written(&trial.out, &run));
    }
    trial.run();
    let current = trial.assert_recovered();
    Trial::assert_kept(&finished, &current);
}

fn snapshot_bytes(trial: &Trial) -> u64 {
    let out = trial.scratch().join("measured");
    expect_exit(&trial.command(&out).output().unwrap(), &[0, 1]);
    let bytes = fs::metadata(out.join("captions.arrow")).unwrap().len();
    fs::remove_dir_all(out).unwrap();
    bytes
}

/// Pages of 4 KiB that a new output takes, but for the summary, whose length varies.
fn pages(trial: &Trial) -> u64 {
    let out = trial.scratch().join("measured");
    expect_exit(&trial.command(&out).output().unwrap(), &[0, 1]);
    let files = files(&out);
    let written = files
        .iter()
        .filter(|path| path.extension().is_none_or(|ending| ending != "json"));
    let pages = written
        .map(|path| fs::metadata(path).unwrap().len().div_ceil(4096))
        .sum();
    fs::remove_dir_all(out).unwrap();
    pages
}

/// A file system in memory, of few pages.
pub struct SmallDisk {
    pub path: PathBuf,
}

impl SmallDisk {
    /// `None` where nothing may be mounted.
    fn mount(scratch: &Path, pages: u64) -> Option<Self> {
        let path = scratch.join("disk");
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={}k", 4 * pages);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self { path })
    }

    fn remount(&self, option: &str) {
        let mut mount = Command::new("mount");
        mount
            .arg("-o")
            .arg(format!("remount,{option}"))
            .arg(&self.path);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}
