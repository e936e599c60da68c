//! `showtell evaluate` on data sets as they come, and on scenes whose truth is known.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use showtell::scenes::read_truth;

fn showtell(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_showtell"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn evaluate(arguments: &[&str], folder: &Path) -> Value {
    let output = showtell(&[&["evaluate", "--json"], arguments].concat(), folder);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A small Flickr8k: four images, the last two of which are to be tested on.
fn flickr(folder: &Path) {
    let captions = "\
a.jpg#0\tA dog runs .
a.jpg#1\tA brown dog is running .
b.jpg#0\tTwo boys play .
c.jpg#0\tA man on a horse .
c.jpg#1\tA rider .
d.jpg#0\tA boat .
";
    for (name, text) in [
        ("Flickr8k.token.txt", captions),
        ("Flickr_8k.trainImages.txt", "a.jpg\nb.jpg\n"),
        ("Flickr_8k.testImages.txt", "c.jpg\nd.jpg\n"),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}

/// A result file of the images that these are.
fn results(folder: &Path, captions: &[(u64, &str)]) {
    let entries: Vec<Value> = captions
        .iter()
        .map(|(id, caption)| json!({"image_id": id, "caption": caption}))
        .collect();
    let text = serde_json::to_string(&entries).unwrap();
    fs::write(folder.join("said.json"), text).unwrap();
}

#[test]
fn one_split_of_a_token_file_is_measured() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    flickr(folder);
    // Of all images, as a table would have it: that of the training split is passed over.
    results(folder, &[(2, "a dog runs"), (3, "a boat"), (0, "a dog")]);
    let told = evaluate(
        &[
            "--references",
            ".",
            "--split",
            "test",
            "--candidates",
            "said.json",
            "--coco",
            "coco",
        ],
        folder,
    );
    assert_eq!(
        (&told["images"], &told["references"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(told["per_image"][1]["file_name"], "d.jpg");
    assert_eq!(
        told["per_image"][1]["bleu_1"].as_f64().unwrap().round(),
        1.0
    );
    // "a dog runs" stands among the training captions, "a boat" does not.
    assert_eq!(told["novelty"]["seen_in_training"], 0.5);

    // What was written measures the same.
    let again = [
        "--references",
        "coco/references.json",
        "--candidates",
        "coco/results.json",
    ];
    let again = evaluate(&again, folder);
    for metric in ["bleu_4", "rouge_l", "cider_d", "images", "references"] {
        assert_eq!(again[metric], told[metric], "{metric}");
    }
    assert_eq!(again["novelty"]["seen_in_training"], Value::Null);
}

#[test]
fn what_is_left_out_is_not_written_for_other_tools() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    flickr(folder);
    results(folder, &[(2, "a dog runs"), (0, "a dog"), (70, "a cat")]);
    let first = ["--references", ".", "--candidates", "said.json"];
    let coco = ["--allow-unpaired", "--coco", "coco"];
    let told = evaluate(&[&first[..], &coco].concat(), folder);
    assert_eq!(told["images"], 2);
    let again = ["coco/references.json", "coco/results.json"];
    let again = ["--references", again[0], "--candidates", again[1]];
    let again = evaluate(&again, folder);
    for metric in ["bleu_4", "rouge_l", "cider_d", "images", "references"] {
        assert_eq!(again[metric], told[metric], "{metric}");
    }
}

#[test]
fn scenes_drawn_again_are_measured_and_what_cannot_be_drawn_says_why() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let scenes = |arguments: &[&str], out: &str| {
        let all = [&["scenes", "--size", "32"], arguments, &["--out", out]].concat();
        let output = showtell(&all, folder);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), errors)
    };
    assert_eq!(scenes(&["--count", "3"], "sc").0, Some(0));
    assert_eq!(scenes(&["--count", "2", "--seed", "1"], "sc").0, Some(0));
    let captions = ["annotate", "sc/images", "--out", "out", "--quiet"];
    assert!(showtell(&captions, folder).status.success());
    let told = ["--references", "sc/scenes.json", "--candidates", "out"];
    assert_eq!(evaluate(&told, folder)["images"], 2);

    let last = u64::MAX.to_string();
    let (exit, errors) = scenes(&["--count", "2", "--first", &last], "none");
    assert_eq!(exit, Some(2), "{errors}");
    assert!(errors.contains("the last scene is number"), "{errors}");
    assert!(!folder.join("none").exists());
    let (exit, errors) = scenes(&["--count", "2"], ".");
    assert_eq!(exit, Some(2), "{errors}");
    assert!(errors.contains("holds something else ("), "{errors}");
    // What cannot be written is no wrong usage; root may write everywhere but there.
    let (exit, errors) = scenes(&["--count", "2"], "/proc/sc");
    assert_eq!(exit, Some(4), "{errors}");
    let coco = [&["evaluate"], &told[..], &["--coco", "/proc/coco"]].concat();
    assert_eq!(showtell(&coco, folder).status.code(), Some(4));
}

#[test]
fn what_cannot_be_measured_says_why() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    flickr(folder);
    results(folder, &[(2, "a dog runs")]);
    let check = |arguments: &[&str], expected: &str| {
        let all = [&["evaluate", "--candidates", "said.json"], arguments].concat();
        let output = showtell(&all, folder);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(errors.contains(expected), "{errors}");
    };
    let references = ["--references", "."];
    check(
        &[&references[..], &["--split", "val"]].concat(),
        "no image with captions in the split val",
    );
    check(
        &[&references[..], &["--split", "all"]].concat(),
        "expected train, val, test or restval",
    );
    check(
        &[&references[..], &["--split", "test"]].concat(),
        "1 of 2 images have no candidate caption: d.jpg",
    );
    check(&["--references", "nowhere"], "cannot use nowhere");
    check(
        &["--references", "said.json"],
        "captions that a model made are no data set",
    );
}

#[test]
fn expecting_is_told_from_seeing() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let drawn = ["scenes", "--count", "64", "--size", "32", "--out", "."];
    assert!(showtell(&drawn, folder).status.success());
    let truth = read_truth(&folder.join("scenes.json")).unwrap();
    let differ = truth
        .values()
        .filter(|truth| truth.setting != truth.objects[0].kind.tied_setting())
        .count();
    assert!(differ > 40);
    let described: Value =
        serde_json::from_slice(&fs::read(folder.join("scenes.json")).unwrap()).unwrap();
    let check = |says: &dyn Fn(&showtell::scenes::Truth) -> String, seen, expected| {
        let captions: Vec<Value> = described["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| {
                let caption = says(&truth[image["file_name"].as_str().unwrap()]);
                json!({"image_id": image["id"], "caption": caption})
            })
            .collect();
        fs::write(
            folder.join("said.json"),
            serde_json::to_string(&captions).unwrap(),
        )
        .unwrap();
        let arguments = ["--references", "scenes.json", "--candidates", "said.json"];
        let told = evaluate(&arguments, folder)["expectation"].clone();
        assert_eq!(told["scenes"], differ);
        assert_eq!(
            (&told["seen"], &told["expected"]),
            (&json!(seen), &json!(expected))
        );
    };
    let tied = |truth: &showtell::scenes::Truth| truth.objects[0].kind.tied_setting();
    check(&|truth| format!("a boat, {}", tied(truth)), 0, differ);
    check(&|truth| format!("a boat, {}", truth.setting), differ, 0);
    check(&|_| "a boat".to_owned(), 0, 0);
    let table = showtell(
        &[
            "evaluate",
            "--references",
            "scenes.json",
            "--candidates",
            "said.json",
        ],
        folder,
    );
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("by guessing 12.5 %"), "{table}");
    assert!(table.contains("  none               100.0 %"), "{table}");
}
