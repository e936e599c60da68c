//! Files of earlier runs that were cut short, or in which bits have changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::archive::files;
use super::trial::Trial;
use super::{rounds, seed, table};

#[test]
fn damaged_files_are_named_and_what_they_held_is_made_again() {
    for round in 0..rounds(4, 80) {
        let seed = seed() + round as u64;
        println!("SEED={seed}");
        let mut random = ChaCha8Rng::seed_from_u64(!seed);
        let mut trial = Trial::new(seed, 20, [2, 50][random.random_range(0..2)]);
        for _ in 0..3 {
            trial.run();
            trial.archive.pass_a_day();
            trial.archive.delete();
            trial.archive.add();
        }
        trial.run();

        let mut damaged = BTreeSet::new();
        let wanted = random.random_range(1..4);
        while damaged.len() < wanted {
            let path = any_file(&trial.out, &mut random);
            // Features that no image needs any more are not looked at.
            if is_needed(&trial.out, &path) {
                damaged.insert(path);
            }
        }
        damaged.iter().for_each(|path| damage(path, &mut random));
        println!("{damaged:?}");
        if random.random_bool(0.5) {
            trial.archive.pass_a_day();
        }
        if damaged
            .iter()
            .any(|path| path.starts_with(trial.out.join("embeddings")))
        {
            // Features are looked at when they are needed.
            trial.set_beam(3);
        }
        trial.run();
        let (_, summary) = table::summaries(&trial.out).pop().unwrap();
        let warnings = summary["warnings"].to_string();
        for path in &damaged {
            let name = path.strip_prefix(&trial.out).unwrap().to_string_lossy();
            assert!(
                warnings.contains(&*name),
                "{name} is not named in {warnings}"
            );
        }
        trial.assert_recovered();

        // Nothing is left of it for the night after.
        trial.run();
        let (_, summary) = table::summaries(&trial.out).pop().unwrap();
        assert_eq!(
            summary["warnings"].as_array().unwrap().len(),
            0,
            "{summary}"
        );
        trial.assert_recovered();
    }
}

/// A part, a snapshot or a summary.
fn any_file(out: &Path, random: &mut ChaCha8Rng) -> PathBuf {
    let below = [
        "captions",
        "captions",
        "embeddings",
        "captions.arrow",
        "runs",
    ];
    let below = below[random.random_range(0..below.len())];
    let files = files(&out.join(below));
    files[random.random_range(0..files.len())].clone()
}

/// Whether the file is none of features, or one of features that a current row came from.
fn is_needed(out: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(out.join("embeddings")) else {
        return true;
    };
    let encoder_id = below.iter().next().unwrap().to_string_lossy();
    let ids = table::image_ids(path);
    let current = table::latest(out);
    let mut current = current
        .values()
        .filter(|cells| cells["encoder_id"] == *encoder_id);
    current.any(|cells| ids.contains(&cells["image_id"]))
}

/// Damages a file where it is certain that it is no longer what it was.
fn damage(path: &Path, random: &mut ChaCha8Rng) {
    let mut bytes = fs::read(path).unwrap();
    let length = bytes.len();
    let is_summary = path.extension().is_some_and(|ending| ending == "json");
    match random.random_range(0..4) {
        0 => bytes.clear(),
        1 => bytes.truncate(random.random_range(1..length - 2)),
        // A summary has no digest: what is still JSON may well be true.
        _ if is_summary => bytes[random.random_range(0..length / 2)] = 0,
        2 => bytes[body(length, random)] ^= 1 << random.random_range(0..8),
        _ => {
            let from = body(length, random);
            let zeros = &mut bytes[from..];
            zeros.fill(0);
        }
    }
    fs::write(path, bytes).unwrap();
}

/// A place among the values: past the opening magic, before what only other readers' indexes use.
fn body(length: usize, random: &mut ChaCha8Rng) -> usize {
    random.random_range(8..length / 4)
}
