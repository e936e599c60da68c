//! What the model that ships says of pictures whose truth is known.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use showtell::scenes::{Checker, DESCRIPTION, Truth, read_truth};
use showtell::table::{Outcome, Snapshot, batch_to_rows, schema};

/// A seed that no recipe learns from or validates with.
const UNSEEN: &str = "424242";

fn showtell(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_showtell"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// The captions that do not name setting, main object and colour as `truths` has them.
fn untrue(archive: &Path, truths: &BTreeMap<String, Truth>) -> Vec<String> {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("out");
    let (archive, directory) = (archive.to_str().unwrap(), out.to_str().unwrap());
    showtell(&["annotate", archive, "--out", directory, "--model", "demo"]);
    let snapshot = out.join("captions.arrow");
    let batches = Snapshot::open(&snapshot).unwrap().unwrap();
    let rows = batches.batches(schema()).unwrap();
    let rows = rows.flat_map(|batch| batch_to_rows(&batch.unwrap(), &snapshot).unwrap());
    let mut untrue = Vec::new();
    let mut met = 0;
    for row in rows {
        let Outcome::Captioned(beams) = &row.outcome else {
            panic!("{}: {:?}", row.uri, row.outcome)
        };
        let (caption, truth) = (&beams[0].caption, &truths[&row.uri]);
        met += 1;
        if !Checker::new(truth).check(caption).is_main_right() {
            untrue.push(format!("{}: {caption}", row.uri));
        }
    }
    assert_eq!(met, truths.len());
    untrue
}

#[test]
fn the_samples_are_told_by_setting_main_object_and_colour() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/samples");
    let truths = read_truth(&samples.join("truth.json")).unwrap();
    assert_eq!(truths.len(), 24);
    let untrue = untrue(&samples, &truths);
    assert!(untrue.is_empty(), "{untrue:#?}");
}

/// `make truth` measures the share over 1,000 scenes. These are always the same 200.
#[test]
fn what_is_said_of_unseen_scenes_is_true() {
    let scenes = tempfile::tempdir().unwrap();
    let directory = scenes.path().to_str().unwrap();
    showtell(&[
        "scenes", "--count", "200", "--seed", UNSEEN, "--out", directory,
    ]);
    let truths = read_truth(&scenes.path().join(DESCRIPTION)).unwrap();
    let untrue = untrue(&scenes.path().join("images"), &truths);
    assert!(untrue.len() <= 10, "{} of 200: {untrue:#?}", untrue.len());
}
