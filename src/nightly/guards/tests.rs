//! What trips a guard, and what must not.

use super::*;
use crate::archive::{Failure, ImageId};
use crate::captioner::Beam;

fn deletions(before: u64, deleted: u64, added: u64) -> Tally {
    let mut tally = Tally::default();
    let root = tally.roots.entry("photos".into()).or_default();
    root.before = before;
    root.deleted = deleted;
    root.added = added;
    tally
}

fn failures(tried: u64, failed: u64) -> Tally {
    Tally {
        tried,
        failed,
        failure: (failed > 0).then(|| ("a.jpg".to_owned(), Failure::decode("no luck"))),
        ..Tally::default()
    }
}

/// Captions of `images` images, each as `caption` says, of the given log-probability a token.
fn captions(images: u32, log_prob: f32, caption: impl Fn(u32) -> String) -> Tally {
    let mut tally = Tally::default();
    for number in 0..images {
        let caption = caption(number);
        let tokens = 1 + caption.split_whitespace().count() as i32;
        let beam = Beam {
            caption,
            tokens,
            log_prob: log_prob * tokens as f32,
            score: log_prob * tokens as f32,
            finished: true,
        };
        tally
            .captions
            .add(ImageId::of(&number.to_le_bytes()), &beam);
    }
    tally
}

fn many(number: u32) -> String {
    format!("a dog number {number} on a lawn")
}

fn judge(tally: &Tally, earlier: &[CaptionSample]) -> Vec<String> {
    let findings = Guards::default().judge(tally, earlier);
    findings.iter().map(ToString::to_string).collect()
}

fn check(tally: &Tally, earlier: &[CaptionSample], expected: &[&str]) {
    let found = judge(tally, earlier);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found} lacks {expected}");
    }
}

#[test]
fn few_images_never_trip_by_their_share() {
    check(&deletions(99, 98, 0), &[], &[]);
    check(&failures(99, 99), &[], &[]);
    check(&captions(199, -1.0, |_| "a dog".to_owned()), &[], &[]);
    check(&Tally::default(), &[], &[]);
}

#[test]
fn an_emptied_directory_trips_however_small_it_was() {
    check(
        &deletions(1, 1, 0),
        &[],
        &["photos: of the 1 images in the table none"],
    );
    check(&deletions(5000, 5000, 0), &[], &["is it mounted?"]);
    // All renamed and changed, as a tool that writes captions into files does.
    check(&deletions(3, 3, 3), &[], &[]);
    // Nothing was there to lose.
    check(&deletions(0, 0, 0), &[], &[]);
}

#[test]
fn a_share_of_deletions_and_failures_trips_beyond_its_limit() {
    check(&deletions(1000, 200, 0), &[], &[]);
    check(
        &deletions(1000, 201, 0),
        &[],
        &["201 of 1000 images are gone, 20 %, and at most 20 % may be (--max-deletions)"],
    );
    check(&failures(1000, 500), &[], &[]);
    check(
        &failures(1000, 501),
        &[],
        &[
            "501 of 1000 new or changed images failed, 50 %, and at most 50 % may (--max-failures); the first: a.jpg: no luck",
        ],
    );
}

#[test]
fn a_directory_is_judged_by_itself() {
    let mut tally = deletions(1_000_000, 10, 0);
    let share = tally.roots.entry("share".into()).or_default();
    (share.before, share.deleted) = (150, 150);
    check(&tally, &[], &["share: of the 150 images"]);
}

#[test]
fn a_limit_of_one_switches_a_guard_off() {
    let off = Guards {
        max_failures: 1.0,
        max_deletions: 1.0,
        accept: false,
    };
    assert_eq!(off.judge(&deletions(1000, 1000, 0), &[]), []);
    assert_eq!(off.judge(&failures(1000, 1000), &[]), []);
}

#[test]
fn a_directory_that_cannot_be_listed_trips() {
    let mut tally = Tally::default();
    let root = tally.roots.entry("photos".into()).or_default();
    root.unlisted = Some("cannot list the directory: stale file handle".to_owned());
    check(&tally, &[], &["photos: cannot list the directory: stale"]);
}

#[test]
fn captions_that_are_all_alike_trip_without_earlier_runs() {
    let alike = captions(400, -1.0, |_| "a red \"bus\"".to_owned());
    let expected = [
        "400 of 400 different images have the same caption: \"a red \\\"bus\\\"\"",
        "only 1 captions",
    ];
    check(&alike, &[], &expected);
    let empty = captions(400, -1.0, |_| String::new());
    check(
        &empty,
        &[],
        &["same caption: \"\"", "only 1 captions", "0.0 words"],
    );
    // A small vocabulary repeats itself.
    check(&captions(1000, -1.0, |number| many(number % 30)), &[], &[]);
    check(&captions(1000, -1.0, many), &[], &[]);
}

#[test]
fn captions_are_held_against_those_of_earlier_runs() {
    let before = [captions(1000, -1.0, many).captions.sample().unwrap()];
    check(&captions(1000, -1.2, many), &before, &[]);
    check(
        &captions(1000, -1.0, |number| many(number % 100)),
        &before,
        &["1000 different images have only 100 captions, an earlier run had 1000 for 1000"],
    );
    check(
        &captions(1000, -2.5, many),
        &before,
        &["log-probability of -2.50 on average, in the runs before -1.00"],
    );
    check(
        &captions(1000, -1.0, |number| format!("dog {number}")),
        &before,
        &["2.0 words on average, in the runs before 7.0"],
    );
}

#[test]
fn nights_of_different_size_can_be_compared() {
    // 60 captions: nearly a third of those of 200 images differ, and 6 % of those of 1000.
    let tally = |images| captions(images, -1.0, |number| many(number.wrapping_mul(7919) % 60));
    let small = [tally(200).captions.sample().unwrap()];
    let large = [tally(1000).captions.sample().unwrap()];
    check(&tally(1000), &small, &[]);
    check(&tally(200), &large, &[]);
    // Too few to tell.
    let tiny = [captions(50, -9.0, many).captions.sample().unwrap()];
    check(&tally(1000), &tiny, &[]);
}

#[test]
fn an_archive_that_really_shows_one_thing_is_accepted_once() {
    let street = captions(1000, -1.0, |number| many(number / 900 * number));
    check(&street, &[], &["same caption"]);
    let before = [street.captions.sample().unwrap()];
    check(&street, &before, &[]);
}
