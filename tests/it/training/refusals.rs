//! What a training refuses before it learns, and that nothing is touched then; and what it leaves out.

use std::fs;
use std::path::Path;

use super::places::{Ended, PICTURES, Place, recipe};

/// Every file and directory below, with what is in it.
fn everything(directory: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        all.push((path.display().to_string(), fs::read(&path).ok()));
        if path.is_dir() {
            all.extend(everything(&path));
        }
    }
    all.sort();
    all
}

/// The training ends with 2 and these words, and leaves the place as it was.
fn refused(place: &Place, recipe: &str, arguments: &[&str], expected: &str) {
    fs::write(place.path().join("recipe.toml"), recipe).unwrap();
    let before = everything(place.path());
    let ended = place.train(recipe, arguments);
    assert_eq!(ended.code, Some(2), "{}", ended.log);
    assert!(ended.log.contains(expected), "{}", ended.log);
    assert!(everything(place.path()) == before, "{}", ended.log);
}

#[test]
fn an_output_that_is_somebodys_is_left_alone() {
    let place = Place::new();
    place.tokens_and_matrix();
    fs::create_dir_all(place.path().join("models/dear")).unwrap();
    fs::write(place.path().join("models/dear/captioner.safetensors"), "1").unwrap();
    fs::write(place.path().join("models/notes.txt"), "mine").unwrap();
    for arguments in [
        &["--output", "models"][..],
        &["--output", "models", "--restart"],
    ] {
        let said = "models holds dear and 1 more that are no part of a model: name a new or an empty \
                    directory as the output, or move away what is there";
        refused(&place, &recipe(1), arguments, said);
    }
    let file = ["--output", "features.npy"];
    refused(&place, &recipe(1), &file, "features.npy is a file: name");
    let below = ["--output", "features.npy/model"];
    refused(&place, &recipe(1), &below, "would lie in a file");
}

#[test]
fn siblings_stay_and_a_link_is_followed() {
    let place = Place::new();
    place.tokens_and_matrix();
    for name in ["model.old", "model.candidate"] {
        fs::create_dir(place.path().join(name)).unwrap();
        fs::write(place.path().join(name).join("model.toml"), "mine").unwrap();
    }
    std::os::unix::fs::symlink("disk", place.model()).unwrap();
    for _ in 0..2 {
        let ended = place.train(&recipe(2), &[]);
        assert!(ended.succeeded, "{}", ended.log);
    }
    assert!(place.model().is_symlink() && place.model().join("model.toml").exists());
    let mut names: Vec<_> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "captions.token",
        "disk",
        "disk.training",
        "features.npy",
        "model",
        "model.candidate",
        "model.old",
        "recipe.toml",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_vocabulary_of_no_words_is_refused() {
    let place = Place::new();
    place.tokens_and_matrix();
    let check = |to: &str, expected: &str| {
        refused(
            &place,
            &recipe(1).replace("at_least = 1", to),
            &[],
            expected,
        );
    };
    check(
        "at_least = 99",
        "captions.token: no word of its 24 captions would be learnt: they have 11 different words, the \
         commonest of which, \".\", occurs 24 times, and words of at least 99 occurrences are kept: lower \
         data.vocabulary.at_least",
    );
    check("commonest = 0", "raise data.vocabulary.commonest");
}

#[test]
fn features_that_are_no_numbers_are_told_by_their_row() {
    let place = Place::new();
    place.tokens_and_matrix();
    let matrix = place.path().join("features.npy");
    let mut bytes = fs::read(&matrix).unwrap();
    let (header, row) = (bytes.len() - PICTURES * 24, 7);
    bytes[header + row * 24 + 4..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&matrix, bytes).unwrap();
    let said = "features.npy: row 7, counted from 0, holds values that are no finite numbers";
    refused(&place, &recipe(1), &[], said);
}

/// Adds a caption of so many words to an image.
fn with_long_caption(place: &Place, words: usize) {
    place.tokens_and_matrix();
    let file = place.path().join("captions.token");
    let text = fs::read_to_string(&file).unwrap();
    let long = vec!["boat"; words].join(" ");
    fs::write(&file, format!("{text}3.png#2\t{long}\n")).unwrap();
}

#[test]
fn captions_of_too_many_words_are_left_out_and_named() {
    let left_out = "1 of 25 captions are left out, since they have more than 1000 words: of 3.png";
    let train = |words: usize, data: &str| -> Ended {
        let place = Place::new();
        with_long_caption(&place, words);
        let recipe = recipe(1).replace("[data.features]", &format!("{data}\n[data.features]"));
        let ended = place.train(&recipe, &[]);
        assert!(ended.succeeded, "{}", ended.log);
        ended
    };
    let ended = train(100_000, "");
    assert!(ended.log.contains(left_out), "{}", ended.log);
    for (words, data) in [(1000, ""), (100_000, "most_words = 6")] {
        let ended = train(words, data);
        assert!(!ended.log.contains("left out"), "{}", ended.log);
    }
}
