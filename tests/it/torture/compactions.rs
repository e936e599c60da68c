//! Compactions killed at any moment. What is current stays what it is, for whoever reads the snapshot
//! and for whoever reads the parts, and what follows finishes what was begun.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::strike::{Moment, Pace, Signal, strike, strike_child, watched};
use super::table::{self, View};
use super::trial::{Trial, expect_exit};
use super::watch::Watch;
use super::{rounds, seed};

/// What a compaction had left on disk when it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// Nothing, or everything.
    StartOrEnd,
    /// Merged parts that are not under their names.
    Staging,
    /// The note that says which parts come and which go.
    Replacing,
}

#[test]
fn a_killed_compaction_changes_nothing_that_is_current() {
    let kills = rounds(8, 100);
    let mut hits: BTreeMap<Progress, usize> = BTreeMap::new();
    let mut seed = seed();
    while hits.values().sum::<usize>() < kills {
        println!("SEED={seed}");
        compactions(seed, &mut hits);
        seed += 1;
    }
    println!("{hits:?}");
    if kills >= 100 {
        for progress in [Progress::Staging, Progress::Replacing] {
            let hits = hits.get(&progress).copied().unwrap_or(0);
            assert!(hits >= kills / 20, "only {hits} kills hit {progress:?}");
        }
    }
}

/// Nights over one archive, and compactions between them.
fn compactions(seed: u64, hits: &mut BTreeMap<Progress, usize>) {
    let mut random = ChaCha8Rng::seed_from_u64(!seed);
    let part_rows = [1, 3, 8][random.random_range(0..3)];
    let mut trial = Trial::new(seed, random.random_range(8..24), part_rows);
    let mut length = trial.run();
    for _ in 0..3 {
        for _ in 0..random.random_range(1..3) {
            trial.archive.pass_a_day();
            if random.random_bool(0.3) {
                // Other captions, of the same features.
                trial.set_beam(random.random_range(1..4));
            }
            length = trial.run();
        }
        if random.random_bool(0.4) {
            // Rows that are not current yet are left alone.
            trial.archive.add();
            let share = Moment::Share(random.random_range(0.5..1.0));
            strike(&trial, Pace { length, steps: 20 }, share, Signal::Kill);
        }
        suffer(&mut trial, &mut random, hits);
        if random.random_bool(0.5) {
            trial.archive.pass_a_day();
        }
        trial.run();
        trial.assert_recovered();
    }
}

/// Kills some compactions of the output, and perhaps lets one come to its end.
fn suffer(trial: &mut Trial, random: &mut ChaCha8Rng, hits: &mut BTreeMap<Progress, usize>) {
    let keep = [0, 0, 90][random.random_range(0..3)];
    let before = current(trial);
    let pace = undisturbed(trial, keep);
    trial.is_compacted = true;
    for _ in 0..random.random_range(1..5) {
        let moment = Moment::draw_in_compaction(random, pace);
        let mut watch = Watch::new(&trial.out);
        let mut command = compact(trial, keep);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        if strike_child(&mut watch, child, pace, moment, Signal::Kill) {
            *hits.entry(progress(trial)).or_default() += 1;
        }
        assert_current(trial, &before);
    }
    if random.random_bool(0.5) {
        expect_exit(&compact(trial, keep).output().unwrap(), &[0]);
        assert_eq!(progress(trial), Progress::StartOrEnd);
        assert_current(trial, &before);
        let again = compact(trial, keep).output().unwrap();
        expect_exit(&again, &[0]);
        assert_eq!(
            String::from_utf8_lossy(&again.stdout),
            "Nothing to compact.\n"
        );
    }
}

/// The table as the snapshot has it, and as the newest rows of the parts do.
fn current(trial: &Trial) -> [View; 2] {
    [table::snapshot(&trial.out), table::newest(&trial.out)]
}

fn assert_current(trial: &Trial, before: &[View; 2]) {
    let [snapshot, parts] = current(trial);
    table::assert_same("captions.arrow", &snapshot, &before[0]);
    table::assert_same("the newest rows of the parts", &parts, &before[1]);
}

fn compact(trial: &Trial, keep: u32) -> Command {
    let mut command = trial.program();
    command.arg("compact").arg(&trial.out);
    command.arg(format!("--keep={keep}"));
    command
}

/// How a compaction goes that nobody disturbs, of a copy of the output.
fn undisturbed(trial: &Trial, keep: u32) -> Pace {
    let copy = tempfile::tempdir_in(trial.scratch()).unwrap();
    let copied = copy.path().join("out");
    let mut copying = Command::new("cp");
    copying.arg("-a").arg(&trial.out).arg(&copied);
    assert!(copying.status().unwrap().success());
    let mut command = trial.program();
    command.arg("compact").arg(&copied);
    command.arg(format!("--keep={keep}")).stdout(Stdio::null());
    watched(&copied, command)
}

fn progress(trial: &Trial) -> Progress {
    if trial.out.join(".replacement.json").exists() {
        return Progress::Replacing;
    }
    match table::temporaries(&trial.out).is_empty() {
        true => Progress::StartOrEnd,
        false => Progress::Staging,
    }
}
