//! Trainings that are killed at random moments, as often as `SHOWTELL_KILLS` says, and gone on with: they
//! end with the weights of one that was left alone.

use std::time::{Duration, Instant, SystemTime};

use showtell::encoder::device::Cpu;

use super::places::{Ended, Place, in_bf16, recipe};

/// Kills in each training unless the environment says otherwise.
const KILLS: u32 = 3;
/// Longest that a training may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn kills() -> u32 {
    match std::env::var("SHOWTELL_KILLS") {
        Ok(kills) => kills.parse().unwrap(),
        Err(_) => KILLS,
    }
}

/// Everything that a checkpoint has to remember: moments, dropout, sampled words, best and patience.
fn demanding(optimiser: &str) -> String {
    recipe(24).replace(
        "[training]",
        &format!(
            "[training]\noptimiser = {{ {optimiser} }}\ndropout = 0.2\nclip = 1.0\ncheckpoint_every = 1\n\
             scheduled_sampling = {{ decay = \"exponential\", base = 0.99 }}\npatience = 7\n\
             judge_every = 3"
        ),
    )
}

/// When the checkpoint was last written.
fn written(place: &Place) -> Option<SystemTime> {
    let metadata = std::fs::metadata(place.checkpoint()).ok()?;
    metadata.modified().ok()
}

fn check(recipe: &str, seed: u64) {
    let alone = Place::new();
    alone.tokens_and_matrix();
    let begun = Instant::now();
    let expected = alone.train(recipe, &[]);
    let whole = begun.elapsed();
    assert!(expected.succeeded, "{}", expected.log);
    let expected = expected.weights.unwrap();

    let place = Place::new();
    place.tokens_and_matrix();
    let mut dice = seed;
    let mut killed = 0;
    let mut went_on = 0;
    let last = loop {
        let mut child = place.start(recipe, &[]);
        if killed == kills() {
            break Ended::of(child);
        }
        dice = dice
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let share = f64::from((dice >> 40) as u32) / f64::from(1u32 << 24);
        let mut wait = whole.mul_f64(share / 4.0);
        // Three in four are let to write a checkpoint first, so that each gets further.
        if dice >> 62 != 0 {
            let before = written(&place);
            while written(&place) == before && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            wait /= kills();
        }
        std::thread::sleep(wait);
        if child.try_wait().unwrap().is_some() {
            break Ended::of(child);
        }
        child.kill().unwrap();
        let ended = Ended::of(child);
        went_on += u32::from(ended.log.contains("going on after step"));
        killed += 1;
        assert!(begun.elapsed() < PATIENCE, "{}", ended.log);
    };
    assert!(last.succeeded, "{}", last.log);
    went_on += u32::from(last.log.contains("going on after step"));
    assert!(
        killed > 0 && went_on > 0,
        "killed {killed} times, went on {went_on} times"
    );
    assert_eq!(last.weights.as_ref(), Some(&expected), "{}", last.log);
    let of = |place: &Place| std::fs::read(place.model().join("captioner.safetensors")).unwrap();
    assert_eq!(of(&alone), of(&place));
}

#[test]
fn a_killed_training_ends_with_the_weights_of_one_that_was_not() {
    check(&demanding("kind = \"adam\""), 1);
}

#[test]
fn momentum_survives_a_kill_too() {
    check(&demanding("kind = \"rmsprop\", momentum = 0.9"), 2);
}

#[test]
fn mixed_precision_survives_a_kill_too() {
    if !Cpu::detect().computes_bf16() {
        eprintln!("NOT RUN: this processor has no units for bf16, and no training takes it here");
        return;
    }
    let recipe = demanding("kind = \"adam\"");
    check(&in_bf16(&recipe), 3);
}

/// A training that was killed after its first checkpoint, and its recipe.
fn killed(place: &Place) -> String {
    let recipe = recipe(100_000).replace("[training]", "[training]\ncheckpoint_every = 1");
    let mut child = place.start(&recipe, &[]);
    wait_for_checkpoint(place);
    child.kill().unwrap();
    child.wait().unwrap();
    recipe
}

fn wait_for_checkpoint(place: &Place) {
    let begun = Instant::now();
    while !place.checkpoint().exists() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn another_recipe_does_not_go_on_from_a_checkpoint() {
    let place = Place::new();
    place.tokens_and_matrix();
    killed(&place);
    let other = super::places::recipe(1);
    let ended = place.train(&other, &[]);
    assert_eq!(ended.code, Some(2), "{}", ended.log);
    assert!(
        ended.log.contains("is a checkpoint of another recipe"),
        "{}",
        ended.log
    );
    let ended = place.train(&other, &["--restart"]);
    assert!(ended.succeeded, "{}", ended.log);
}

#[test]
fn other_features_do_not_go_on_from_a_checkpoint() {
    let place = Place::new();
    place.tokens_and_matrix();
    let recipe = killed(&place);
    let matrix = place.path().join("features.npy");
    let before = std::fs::read(&matrix).unwrap();
    let mut after = before.clone();
    *after.last_mut().unwrap() = 1;
    std::fs::write(&matrix, after).unwrap();
    let ended = place.train(&recipe, &[]);
    assert_eq!(ended.code, Some(2), "{}", ended.log);
    let said = "checkpoint.safetensors is a checkpoint of a training whose features were others than \
                those in features.npy are now";
    assert!(ended.log.contains(said), "{}", ended.log);

    // Written anew, at another time, they are the same.
    std::fs::write(&matrix, before).unwrap();
    let mut child = place.start(&recipe, &[]);
    let written_before = written(&place);
    let begun = Instant::now();
    while written(&place) == written_before {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    let log = Ended::of(child).log;
    assert!(log.contains("going on after step"), "{log}");
}

#[test]
fn two_trainings_do_not_write_to_one_output() {
    let place = Place::new();
    place.tokens_and_matrix();
    let recipe = recipe(100_000).replace("[training]", "[training]\ncheckpoint_every = 1");
    let mut first = place.start(&recipe, &[]);
    wait_for_checkpoint(&place);
    for arguments in [&[][..], &["--restart"]] {
        let second = place.train(&recipe, arguments);
        assert_eq!(second.code, Some(75), "{}", second.log);
        let said = format!("model.training/.lock is held by process {} on ", first.id());
        assert!(second.log.contains(&said), "{}", second.log);
    }
    assert!(place.checkpoint().exists());
    assert!(first.try_wait().unwrap().is_none(), "the first goes on");
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock went with the process.
    let ended = place.train(&super::places::recipe(1), &["--restart"]);
    assert!(ended.succeeded, "{}", ended.log);
    assert!(!place.path().join("model.training/.lock").exists());
}
