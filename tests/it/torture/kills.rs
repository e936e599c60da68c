//! Runs killed at any moment, night after night.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::strike::{self, Moment, Pace, Phase, Tally, run_watched, send, strike};
use super::table::{self, View};
use super::trial::Trial;
use super::watch::Watch;
use super::{rounds, seed};

/// Kills over one archive, before the next one is begun.
const OF_ONE_ARCHIVE: usize = 25;

#[test]
fn a_killed_run_loses_nothing_and_does_nothing_twice() {
    let kills = rounds(10, 200);
    let mut tally = Tally::default();
    let mut seed = seed();
    while tally.kills() < kills {
        println!("SEED={seed}");
        nights(seed, kills.min(tally.kills() + OF_ONE_ARCHIVE), &mut tally);
        seed += 1;
    }
    println!("{tally}");
    if kills >= 200 {
        for phase in Phase::ALL {
            let hits = tally.kills_in(phase);
            assert!(hits >= kills / 50, "only {hits} kills hit {phase:?}");
        }
    }
}

#[test]
fn signals_leave_alone_what_is_computed() {
    let trial = Trial::new(seed(), 30, 8);
    let mut watch = Watch::new(&trial.out);
    let mut child = trial.start();
    assert!(watch.follow(&mut child, |step| step.is_some()));
    let mut sent = 0;
    while child.try_wait().unwrap().is_none() {
        // It ends nothing, so it may be sent as often as one likes.
        send(&child, Signal::SIGXFSZ);
        sent += 1;
        thread::sleep(Duration::from_millis(1));
    }
    let status = child.wait().unwrap();
    assert!(
        matches!(status.code(), Some(0 | 1)),
        "{status:?} after {sent} signals: {}",
        trial.said()
    );
    trial.assert_recovered();
}

/// Nights over one archive, until `tally` has `kills`.
fn nights(seed: u64, kills: usize, tally: &mut Tally) {
    let mut random = ChaCha8Rng::seed_from_u64(!seed);
    let files = random.random_range(5..30);
    let part_rows = [1, 3, 8][random.random_range(0..3)];
    let mut trial = Trial::new(seed, files, part_rows);
    let first = trial.run_elsewhere();
    let mut pace = Pace {
        length: first,
        steps: 20,
    };
    while tally.kills() < kills {
        trial.archive.pass_a_day();
        if random.random_bool(0.15) {
            trial.set_beam(random.random_range(1..4));
        }
        // Rows that killed runs have finished, and that nothing has made out of date since.
        let mut finished = View::new();
        for _ in 0..random.random_range(1..4) {
            if random.random_bool(0.3) {
                trial.archive.change();
                finished.clear();
            }
            let before = table::runs(&trial.out);
            let signal = strike::Signal::draw(&mut random);
            let phase = strike(&trial, pace, Moment::draw(&mut random, pace), signal);
            tally.add(phase, signal, &trial);
            // Readers find whole files at any moment.
            table::snapshot(&trial.out);
            for run in table::runs(&trial.out) {
                if !before.contains(&run) {
                    finished.extend(table::written(&trial.out, &run));
                }
            }
        }
        if random.random_bool(0.15) {
            // The archive changes under a run.
            let at = random.random_range(1..=pace.steps.max(1));
            run_watched(&mut trial, |step, archive| {
                if step == at {
                    (0..5).for_each(|_| archive.change());
                }
            });
            finished.clear();
        }
        pace = run_watched(&mut trial, |_, _| {});
        let current = trial.assert_recovered();
        Trial::assert_kept(&finished, &current);
        if random.random_bool(0.1) {
            assert_nothing_left_to_do(&trial);
        }
    }
}

/// A further run finds nothing to do but to look again at what cannot be read.
fn assert_nothing_left_to_do(trial: &Trial) {
    let before = table::runs(&trial.out);
    trial.run();
    for run in table::runs(&trial.out) {
        if !before.contains(&run) {
            for (key, cells) in table::written(&trial.out, &run) {
                assert_eq!(cells["error_stage"], "read", "{key:?} was done again");
            }
        }
    }
}
