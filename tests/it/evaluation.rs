//! Captions measured here give the values of the COCO evaluation (pycocoevalcap 1.2).
//!
//! `tests/golden/evaluation` holds a small set and the scripts that made its values. Those of a large
//! published set are compared too if `SHOWTELL_EVALUATION` names a folder that `flickr8k.py` filled.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use showtell::evaluation::bleu::bleu;
use showtell::evaluation::candidates::read_results;
use showtell::evaluation::cider::cider;
use showtell::evaluation::rouge::rouge_l;
use showtell::evaluation::tokenizer::tokenize;
use showtell::evaluation::{
    Candidate, CiderD, Corpus, Key, References, Report, Tolerance, Tolerances, Training, evaluate,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/evaluation")
}

fn published() -> Option<PathBuf> {
    let folder = std::env::var_os("SHOWTELL_EVALUATION").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("NOT RUN: SHOWTELL_EVALUATION names no folder of reference values");
    }
    folder
}

/// The share of captions whose tokens are the reference's.
fn token_agreement(folder: &Path) -> f64 {
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    let (captions, tokens) = (read("captions.txt"), read("tokens.txt"));
    let captions: Vec<&str> = captions.trim_end_matches('\n').split('\n').collect();
    let tokens: Vec<&str> = tokens.split('\n').collect();
    let mut equal = 0;
    for (caption, expected) in captions.iter().zip(&tokens) {
        let got = tokenize(caption);
        if got == *expected {
            equal += 1;
        } else {
            eprintln!("{caption:?}\n  expected {expected:?}\n  got      {got:?}");
        }
    }
    equal as f64 / captions.len() as f64
}

fn report(folder: &Path) -> Report {
    let references = References::read(&folder.join("references.json")).unwrap();
    let candidates = read_results(&folder.join("candidates.json")).unwrap();
    evaluate(&references, candidates, Tolerances::default(), None).unwrap()
}

/// Compares every metric of every image and of all of them.
fn check_metrics(folder: &Path) {
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("metrics.json")).unwrap()).unwrap();
    let got: Value = serde_json::from_str(&report(folder).to_json().unwrap()).unwrap();
    check_near("overall", &got, &expected["overall"]);
    let images = expected["per_image"].as_array().unwrap();
    assert_eq!(got["per_image"].as_array().unwrap().len(), images.len());
    for (i, image) in images.iter().enumerate() {
        check_near(&format!("image {i}"), &got["per_image"][i], image);
    }
}

fn check_near(what: &str, got: &Value, expected: &Value) {
    for (metric, value) in expected.as_object().unwrap() {
        let (got, value) = (got[metric].as_f64().unwrap(), value.as_f64().unwrap());
        assert!(
            (got - value).abs() < 1e-6,
            "{what}: {metric} is {got}, expected {value}"
        );
    }
}

#[test]
fn tokens_are_the_reference_tokens() {
    assert_eq!(token_agreement(&golden()), 1.0);
}

#[test]
fn metrics_are_the_reference_metrics() {
    check_metrics(&golden());
}

#[test]
fn a_published_data_set_is_measured_alike() {
    if let Some(folder) = published() {
        let agreement = token_agreement(&folder);
        assert!(agreement >= 0.999, "{agreement}");
        check_metrics(&folder);
    }
}

#[test]
fn a_table_is_matched_by_file_name() {
    let folder = golden();
    let references = References::read(&folder.join("references.json")).unwrap();
    let by_id = read_results(&folder.join("candidates.json")).unwrap();
    let by_uri = by_id
        .iter()
        .zip(references.images())
        .map(|(candidate, image)| Candidate {
            key: Key::Uri(format!("2024/summer/{}", image.file_name.as_ref().unwrap())),
            caption: candidate.caption.clone(),
        });
    let by_uri = evaluate(&references, by_uri, Tolerances::default(), None).unwrap();
    assert_eq!(by_uri, report(&folder));
}

#[test]
fn what_is_left_out_is_reported() {
    let references = References::read(&golden().join("references.json")).unwrap();
    let candidates = || {
        [("identical.jpg", "a dog"), ("nowhere.jpg", "a cat")].map(|(uri, caption)| Candidate {
            key: Key::Uri(uri.into()),
            caption: caption.into(),
        })
    };
    let error = evaluate(&references, candidates(), Tolerances::default(), None).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        source,
        "1 of 2 candidates are of images without references: nowhere.jpg"
    );

    let lenient = Tolerances {
        missing: Tolerance::LeaveOut,
        unknown: Tolerance::LeaveOut,
        repeated: Tolerance::Refuse,
    };
    let training = Training::new(["A dog."]);
    let report = evaluate(&references, candidates(), lenient, Some(&training)).unwrap();
    assert_eq!((report.images, report.references), (1, 5));
    assert_eq!(report.left_out.missing.len(), references.images().len() - 1);
    assert_eq!(report.left_out.unknown, ["nowhere.jpg"]);
    assert_eq!(report.novelty.seen_in_training, Some(1.0));
}

#[test]
fn a_report_survives_json_and_gives_a_row_an_image() {
    let report = report(&golden());
    let back: Report = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(back.table(), report.table());
    assert_eq!(back.per_image.len(), report.per_image.len());

    let mut rows = Vec::new();
    report.write_rows(&mut rows).unwrap();
    let rows: Vec<Value> = rows
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!(rows.len(), report.images);
    assert_eq!(rows[0]["file_name"], "identical.jpg");
    assert_eq!(rows[0]["rouge_l"], 1.0);
}

#[test]
fn a_table_shows_every_measurement() {
    let table = report(&golden()).table();
    let beginning = "\
score    x100
BLEU-1                  0.7600    76.0
BLEU-2                  0.6325    63.2
BLEU-3                  0.5211    52.1
BLEU-4                  0.4111    41.1
ROUGE-L                 0.6482    64.8
CIDEr-D                 1.6324   163.2  CIDEr in the COCO evaluation
CIDEr                   1.9106   191.1  neither clipped nor charged for length
";
    assert!(table.trim_start().starts_with(beginning), "{table}");
    let ending = "\
length ratio            1.2324
images                      25
references                 117
distinct captions           23  92.0 %
commonest caption        8.0 %  \"\"
distinct-1              0.5943
distinct-2              0.8553
vocabulary                 104
words a caption           7.00  0 to 35
";
    assert!(table.ends_with(ending), "{table}");
    assert!(!table.contains("left out"), "{table}");
}

/// A caption of few different words, so that captions share n-grams.
fn caption() -> impl Strategy<Value = String> {
    proptest::collection::vec(0..6u8, 0..9).prop_map(|words| {
        words
            .iter()
            .map(|w| ["a", "dog", "runs", "cat", "on", "grass"][usize::from(*w)])
            .collect::<Vec<_>>()
            .join(" ")
    })
}

/// Candidates and references of one image or more.
fn images() -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
    proptest::collection::vec(
        (caption(), proptest::collection::vec(caption(), 1..4)),
        1..8,
    )
}

fn corpus(images: &[(String, Vec<String>)]) -> Corpus {
    let (candidates, references): (Vec<_>, Vec<_>) = images.iter().cloned().unzip();
    Corpus::new(&candidates, &references).unwrap()
}

/// BLEU-1 to BLEU-4, ROUGE-L, CIDEr-D and CIDEr of each image, and then of all.
fn measure(images: &[(String, Vec<String>)]) -> Vec<[f64; 7]> {
    let corpus = corpus(images);
    let (bleu, rouge, cider) = (bleu(&corpus), rouge_l(&corpus), cider(&corpus));
    let row =
        |[a, b, c, d]: [f64; 4], rouge, cider_d, original| [a, b, c, d, rouge, cider_d, original];
    let mut rows: Vec<[f64; 7]> = (0..images.len())
        .map(|i| {
            row(
                bleu.images[i],
                rouge.images[i],
                cider.d.images[i],
                cider.original.images[i],
            )
        })
        .collect();
    rows.push(row(
        bleu.corpus,
        rouge.mean,
        cider.d.mean,
        cider.original.mean,
    ));
    rows
}

fn near(a: &[f64; 7], b: &[f64; 7]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
}

proptest! {
    #[test]
    fn metrics_stay_within_their_bounds(images in images()) {
        for row in measure(&images) {
            prop_assert!(row[..5].iter().all(|v| (0.0..=1.0).contains(v)), "{row:?}");
            prop_assert!(row[5..].iter().all(|v| (0.0..=10.0 + 1e-9).contains(v)), "{row:?}");
            prop_assert!(row[5] <= row[6] + 1e-9, "clipping never adds: {row:?}");
        }
    }

    #[test]
    fn a_candidate_that_is_a_reference_scores_fully(images in images(), which in 0..4usize) {
        let images: Vec<_> = images
            .into_iter()
            .map(|(_, references)| (references[which % references.len()].clone(), references))
            .collect();
        let rows = measure(&images);
        for (row, (candidate, references)) in rows.iter().zip(&images) {
            prop_assert!((row[4] - 1.0).abs() < 1e-9, "ROUGE-L {row:?}");
            let order = candidate.split_whitespace().count().min(4);
            prop_assert!(row[..order].iter().all(|v| *v > 1.0 - 1e-6), "BLEU {row:?}");
            let alone = references.iter().all(|reference| reference == candidate);
            prop_assert!(!alone || (row[5] - row[6]).abs() < 1e-9, "CIDEr {row:?}");
        }
    }

    #[test]
    fn the_order_of_references_does_not_matter(images in images()) {
        let reversed: Vec<_> = images
            .iter()
            .map(|(candidate, references)| (candidate.clone(), references.iter().rev().cloned().collect()))
            .collect();
        for (a, b) in measure(&images).iter().zip(&measure(&reversed)) {
            prop_assert!(near(a, b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_order_of_images_does_not_matter(images in images(), by in 0..8usize) {
        let mut rotated = images.clone();
        rotated.rotate_left(by % images.len());
        let (mut before, after) = (measure(&images), measure(&rotated));
        let last = before.len() - 1;
        before[..last].rotate_left(by % images.len());
        for (a, b) in before.iter().zip(&after) {
            prop_assert!(near(a, b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_reward_is_the_metric_of_its_image(images in images(), stranger in "[x-z]{1,3}") {
        let references: Vec<_> = images.iter().map(|(_, references)| references.clone()).collect();
        let documents = CiderD::new(&references);
        let measured = cider(&corpus(&images));
        for (i, (candidate, _)) in images.iter().enumerate() {
            let reward = documents.score(candidate.split_whitespace(), i);
            prop_assert!((reward - measured.d.images[i]).abs() < 1e-9);
            let strange = documents.score([stranger.as_str()], i);
            prop_assert!(strange == 0.0, "words that no reference has earn nothing: {strange}");
        }
    }

    #[test]
    fn tokens_are_words_of_the_caption(caption in "[A-Za-z]{2,9}( [A-Za-z]{2,9}){0,5}[.!?]?") {
        let tokens = tokenize(&caption);
        let lower = caption.to_lowercase();
        let words: HashSet<&str> = lower.split([' ', '.', '!', '?']).collect();
        for token in tokens.split(' ').map(|token| token.trim_end_matches('.')) {
            let part = ["can", "not", "gon", "na", "got", "ta", "lem", "me", "gim", "wan"].contains(&token);
            prop_assert!(part || words.contains(token), "{caption:?} gives {token:?}");
        }
    }
}
