//! Show and Tell, and Show, Attend and Tell, against PyTorch: what they lose while they learn, and
//! what their search finds.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use showtell::captioner::model::Model;
use showtell::captioner::show_attend_tell::{Gaze, ShowAttendTell, ShowAttendTellConfig};
use showtell::captioner::show_tell::{ShowTell, ShowTellConfig};
use showtell::captioner::vocabulary::{END, START, Vocabulary};
use showtell::captioner::{Captioner, Decoding, Search};
use showtell::training::attention::{AttentionLoss, TrainableShowAttendTell};
use showtell::training::captioner::{CaptionBatch, Lesson, Regularisation};
use showtell::training::show_tell::TrainableShowTell;
use tch::nn::{Adam, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};

use crate::seeded::seeded;

/// Nothing stands against learning by heart, so that numbers compare.
const AGAINST: Regularisation = Regularisation {
    dropout: 0.0,
    label_smoothing: 0.0,
};

#[derive(Deserialize)]
struct Golden<C> {
    config: C,
    words: i64,
    learning_rate: f64,
    clip: f64,
    steps: Vec<LearningStep>,
    pictures: Vec<Vec<f32>>,
    searches: Vec<ExpectedSearch>,
}

#[derive(Deserialize)]
struct LearningStep {
    features: Vec<Vec<f32>>,
    /// Picture and words.
    captions: Vec<(i64, Vec<i64>)>,
    loss: f64,
}

#[derive(Deserialize)]
struct ExpectedSearch {
    beam: usize,
    max_tokens: usize,
    length_penalty: f32,
    pictures: Vec<Vec<ExpectedBeam>>,
}

/// Words, log-probability, tokens, score, whether it ended.
type ExpectedBeam = (Vec<i64>, f32, i32, f32, bool);

fn golden<C: DeserializeOwned>(name: &str) -> Golden<C> {
    let text = fs::read(file(&format!("{name}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/captioners");
    folder.join(name)
}

fn vocabulary(words: i64) -> Vocabulary {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("vocabulary.txt");
    let words: Vec<String> = (3..words).map(word).collect();
    let text = format!("<start>\n<end>\n<unk>\n{}\n", words.join("\n"));
    fs::write(&file, text).unwrap();
    Vocabulary::read(&file).unwrap()
}

fn word(token: i64) -> String {
    format!("w{token}")
}

fn batch(captions: &[(i64, Vec<i64>)]) -> CaptionBatch {
    let steps = 1 + captions.iter().map(|(_, words)| words.len()).max().unwrap();
    let padded = |before: Option<i64>, words: &[i64], after: i64| {
        let mut row: Vec<i64> = before.into_iter().chain(words.iter().copied()).collect();
        row.resize(steps, after);
        row
    };
    let mut inputs = Vec::new();
    let mut targets = Vec::new();
    for (_, words) in captions {
        inputs.extend(padded(Some(i64::from(START)), words, i64::from(END)));
        let ended = [words.as_slice(), &[i64::from(END)]].concat();
        targets.extend(padded(None, &ended, CaptionBatch::PADDING));
    }
    let shape = [captions.len() as i64, steps as i64];
    let pictures: Vec<i64> = captions.iter().map(|(picture, _)| *picture).collect();
    CaptionBatch {
        pictures: Tensor::from_slice(&pictures),
        inputs: Tensor::from_slice(&inputs).view(shape),
        targets: Tensor::from_slice(&targets).view(shape),
    }
}

/// How near the losses come to PyTorch's while products are computed in a type. Over 50 steps rounding
/// to bfloat16 adds up.
const NEAR: [(Kind, f64); 2] = [(Kind::Float, 1e-4), (Kind::BFloat16, 0.03)];

/// Learns from the golden batches; `loss` takes features, `[pictures, dimensions]`, and captions.
fn check_learning<C>(
    golden: &Golden<C>,
    variables: &VarStore,
    allowed: f64,
    mut loss: impl FnMut(&Tensor, &CaptionBatch) -> Tensor,
) {
    let mut optimiser = Adam::default()
        .build(variables, golden.learning_rate)
        .unwrap();
    assert_eq!(golden.steps.len(), 50);
    for (number, step) in golden.steps.iter().enumerate() {
        let features = Tensor::from_slice2(&step.features);
        let loss = loss(&features, &batch(&step.captions));
        let found = loss.double_value(&[]);
        let expected = step.loss;
        assert!(
            (found - expected).abs() < allowed,
            "step {number}: {found}, PyTorch has {expected}"
        );
        optimiser.zero_grad();
        loss.backward();
        optimiser.clip_grad_norm(golden.clip);
        optimiser.step();
    }
}

fn check_search<C>(golden: &Golden<C>, model: &dyn Captioner) {
    for search in &golden.searches {
        let decoding = Decoding {
            beam: search.beam,
            max_tokens: search.max_tokens,
            length_penalty: search.length_penalty,
        };
        let found = model.caption(&golden.pictures.concat(), &decoding).unwrap();
        assert_eq!(found.len(), search.pictures.len());
        for (found, expected) in found.iter().zip(&search.pictures) {
            assert_eq!(found.len(), expected.len(), "{decoding:?}");
            for (beam, (tokens, log_prob, length, score, finished)) in found.iter().zip(expected) {
                let caption: Vec<String> = tokens.iter().copied().map(word).collect();
                assert_eq!(beam.caption, caption.join(" "), "{decoding:?}");
                let ending = (beam.tokens, beam.finished);
                assert_eq!(ending, (*length, *finished), "{beam:?}");
                assert!((beam.log_prob - log_prob).abs() < 1e-4, "{beam:?}");
                assert!((beam.score - score).abs() < 1e-4, "{beam:?}");
            }
        }
    }
}

#[test]
fn show_and_tell_learns_as_in_pytorch() {
    let golden: Golden<ShowTellConfig> = golden("show_tell");
    for (kind, allowed) in NEAR {
        let _alone = seeded(0);
        let variables = VarStore::new(Device::Cpu);
        let root = variables.root();
        let mut model =
            TrainableShowTell::new(&root, &golden.config, golden.words, AGAINST).unwrap();
        model
            .start_from(&file("show_tell-initial.safetensors"))
            .unwrap();
        let lesson = Lesson {
            kind,
            ..Lesson::PLAIN
        };
        check_learning(&golden, &variables, allowed, |features, captions| {
            model.loss(features, captions, lesson).unwrap().objective
        });
    }
}

#[test]
fn show_and_tell_finds_what_the_plainest_search_finds() {
    let golden: Golden<ShowTellConfig> = golden("show_tell");
    let weights = file("show_tell-trained.safetensors");
    let words = vocabulary(golden.words);
    let model = ShowTell::load(&golden.config, words, &weights, Device::Cpu).unwrap();
    check_search(&golden, &model);
    check_search(&golden, &model.searching(Search::OnDevice));
}

#[test]
fn devices_share_the_captions_of_a_batch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/models/demo");
    let model = Model::open(&folder).unwrap();
    let [one, two] = [1, 2].map(|count| model.captioner_on(&vec![Device::Cpu; count]).unwrap());
    assert_eq!((one.id(), one.dimensions()), (two.id(), two.dimensions()));
    let features: Vec<f32> = (0..7 * one.dimensions())
        .map(|at| (at as f32 * 0.7).sin().max(0.0))
        .collect();
    let decoding = model.config.decoding;
    let [expected, found] = [one, two].map(|model| model.caption(&features, &decoding).unwrap());
    assert_eq!((expected.len(), found.len()), (7, 7));
    for (expected, found) in expected.iter().flatten().zip(found.iter().flatten()) {
        assert_eq!(expected.caption, found.caption);
        assert!((expected.score - found.score).abs() < 1e-4);
    }
}

/// As in the golden script.
const LOSS: AttentionLoss = AttentionLoss {
    doubly_stochastic: 0.5,
    reward: 1.0,
    entropy: 0.002,
};

#[test]
fn soft_attention_learns_as_in_pytorch() {
    let golden: Golden<ShowAttendTellConfig> = golden("show_attend_tell");
    let config = &golden.config;
    for (kind, allowed) in NEAR {
        let _alone = seeded(0);
        let variables = VarStore::new(Device::Cpu);
        let root = variables.root();
        let mut model =
            TrainableShowAttendTell::new(&root, config, golden.words, AGAINST, LOSS).unwrap();
        model
            .start_from(&file("show_attend_tell-initial.safetensors"))
            .unwrap();
        let lesson = Lesson {
            kind,
            ..Lesson::PLAIN
        };
        check_learning(&golden, &variables, allowed, |features, captions| {
            model.loss(features, captions, lesson).unwrap().objective
        });
    }
}

#[test]
fn soft_attention_finds_what_the_plainest_search_finds() {
    let golden: Golden<ShowAttendTellConfig> = golden("show_attend_tell");
    let weights = file("show_attend_tell-trained.safetensors");
    let words = vocabulary(golden.words);
    let model = ShowAttendTell::load(&golden.config, words, &weights, Device::Cpu).unwrap();
    check_search(&golden, &model);
    check_search(&golden, &model.searching(Search::OnDevice));
}

#[test]
fn attention_is_a_distribution_for_each_word() {
    let golden: Golden<ShowAttendTellConfig> = golden("show_attend_tell");
    let weights = file("show_attend_tell-trained.safetensors");
    let words = vocabulary(golden.words);
    let model = ShowAttendTell::load(&golden.config, words, &weights, Device::Cpu).unwrap();
    let looked = model
        .attention(&golden.pictures[0], "w7 w10 unheard")
        .unwrap()
        .unwrap();
    let said: Vec<&str> = looked.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(said, ["w7", "w10", "unheard"]);
    for (_, weights) in &looked {
        assert_eq!(weights.len(), golden.config.regions as usize);
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(weights.iter().all(|weight| *weight >= 0.0));
    }
    assert_ne!(looked[0].1, looked[1].1);
}

/// One region of each picture says which caption it has; the others are noise. Who samples where to
/// look has to find that region by reward alone.
#[test]
fn hard_attention_learns_where_to_look() {
    let _alone = seeded(5);
    let config = ShowAttendTellConfig {
        regions: 6,
        channels: 8,
        embedding: 12,
        hidden: 24,
        attention: 16,
        gaze: Gaze::Hard,
    };
    let loss = AttentionLoss {
        doubly_stochastic: 0.0,
        ..AttentionLoss::default()
    };
    let variables = VarStore::new(Device::Cpu);
    let words = 9;
    let mut model =
        TrainableShowAttendTell::new(&variables.root(), &config, words, AGAINST, loss).unwrap();
    let mut optimiser = Adam::default().build(&variables, 0.01).unwrap();
    let pictures = 64;
    // Channel 0 marks the region that matters, channels 1 to 6 tell the word.
    let draw = |model: &mut TrainableShowAttendTell| {
        let place = Tensor::randint(6, [pictures, 1, 1], (tch::Kind::Int64, Device::Cpu));
        let word = Tensor::randint(6, [pictures, 1], (tch::Kind::Int64, Device::Cpu));
        let told = word.one_hot(6).to_kind(tch::Kind::Float);
        let marked = Tensor::cat(
            &[
                Tensor::ones([pictures, 1, 1], (tch::Kind::Float, Device::Cpu)),
                told,
                Tensor::zeros([pictures, 1, 1], (tch::Kind::Float, Device::Cpu)),
            ],
            2,
        );
        let noise = Tensor::randint(6, [pictures, 6], (tch::Kind::Int64, Device::Cpu));
        let noise = noise.one_hot(6).to_kind(tch::Kind::Float);
        let empty = Tensor::zeros([pictures, 6, 1], (tch::Kind::Float, Device::Cpu));
        let annotations = Tensor::cat(&[&empty, &noise, &empty], 2).scatter(
            1,
            &place.expand([pictures, 1, 8], false),
            &marked,
        );
        let words = word.squeeze_dim(1) + 3;
        let captions: Vec<(i64, Vec<i64>)> = (0..pictures)
            .map(|picture| (picture, vec![words.int64_value(&[picture])]))
            .collect();
        let features = annotations.flatten(1, 2);
        model
            .loss(&features, &batch(&captions), Lesson::PLAIN)
            .unwrap()
            .objective
    };
    for _ in 0..600 {
        let loss = draw(&mut model);
        optimiser.zero_grad();
        loss.backward();
        optimiser.clip_grad_norm(5.0);
        optimiser.step();
    }
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("captioner.safetensors");
    model.save(&weights).unwrap();
    let learnt = ShowAttendTell::load(&config, vocabulary(words), &weights, Device::Cpu).unwrap();
    let mut right = 0;
    for place in 0..6 {
        for word in 0..6 {
            let mut features = vec![0.0f32; 48];
            for region in 0..6 {
                features[region * 8 + 1 + (region + place) % 6] = 1.0;
            }
            features[place * 8..place * 8 + 8].fill(0.0);
            features[place * 8] = 1.0;
            features[place * 8 + 1 + word] = 1.0;
            let greedy = Decoding {
                beam: 1,
                max_tokens: 3,
                length_penalty: 0.0,
            };
            let said = &learnt.caption(&features, &greedy).unwrap()[0][0].caption;
            right += usize::from(*said == format!("w{}", word + 3));
        }
    }
    assert!(right >= 32, "{right} of 36");
}
