//! `showtell train` on captioned pictures, as its users meet it: from which data sets, what it leaves,
//! and what a kill costs; its optimisers against PyTorch.

mod kills;
mod pictures;
mod places;
mod refusals;

use std::fs;

use serde::Deserialize;
use showtell::captioner::model::Model;
use showtell::training::optimiser::{Group, Method, Optimiser};
use tch::nn::{Init, VarStore};
use tch::{Device, Tensor};

use places::{Place, recipe};

#[derive(Deserialize)]
struct Golden {
    start: Vec<f32>,
    target: Vec<f32>,
    rates: Vec<f64>,
    clip_value: f64,
    clip_norm: f64,
    methods: Vec<GoldenMethod>,
}

#[derive(Deserialize)]
struct GoldenMethod {
    name: String,
    method: Method,
    values: Vec<Vec<f32>>,
}

/// The state is taken out and put into a new optimiser half-way.
#[test]
fn optimisers_step_as_pytorch_does() {
    let text = include_str!("../golden/training/optimisers.json");
    let golden: Golden = serde_json::from_str(text).unwrap();
    assert_eq!(golden.methods.len(), 5);
    let target = Tensor::from_slice(&golden.target);
    for GoldenMethod {
        name,
        method,
        values,
    } in golden.methods
    {
        let variables = VarStore::new(Device::Cpu);
        let mut tensor = variables.root().var("x", &[5], Init::Const(0.0));
        tch::no_grad(|| tensor.copy_(&Tensor::from_slice(&golden.start)));
        let mut optimiser = Optimiser::new(method, &variables);
        for (step, (rate, expected)) in golden.rates.iter().zip(values).enumerate() {
            if step == 4 {
                let state = optimiser.state().unwrap().into_iter().collect();
                optimiser = Optimiser::new(method, &variables);
                assert!(optimiser.restore(&state).unwrap());
            }
            let loss = (&tensor - &target).square().sum(tch::Kind::Float);
            let mut gradients = optimiser.gradients(&loss).unwrap();
            gradients.clip_values(golden.clip_value).unwrap();
            let norm = gradients.norm().unwrap();
            gradients.clip_norm(norm, golden.clip_norm).unwrap();
            let rate = |group| {
                assert_eq!(group, Group::Others);
                *rate
            };
            optimiser.step(&gradients, rate).unwrap();
            for (place, expected) in expected.iter().enumerate() {
                let found = tensor.double_value(&[place as i64]);
                let difference = (found - f64::from(*expected)).abs();
                assert!(
                    difference < 2e-6,
                    "{name}, step {step}: {found}, {expected}"
                );
            }
        }
    }
}

#[test]
fn a_token_file_and_a_matrix_are_learnt_by_heart() {
    let place = Place::new();
    place.tokens_and_matrix();
    let ended = place.train(&recipe(60), &[]);
    assert!(ended.succeeded, "{}", ended.log);
    let (first, last) = (ended.losses[0], *ended.losses.last().unwrap());
    // A model that never looks at the features loses (ln 2 + 2 ln 3) / 7 = 0.41.
    assert!(first > 1.5 && last < 0.36, "{:?}", ended.losses);

    let model = Model::open(&place.model()).unwrap();
    assert!(!model.config.demonstration);
    let origin = &model.config.origin;
    assert_eq!(origin["captions"].as_integer(), Some(24));
    let judged = origin["validation"].as_table().unwrap();
    // A mean over both references: of 10, a caption that is one of them has about half.
    assert!(judged["cider_d"].as_float().unwrap() > 2.5, "{judged:?}");
    // Nothing is left to go on with.
    assert!(!place.checkpoint().exists());
    // "a" is in every caption, "of" in none.
    let words = fs::read_to_string(place.model().join("vocabulary.txt")).unwrap();
    assert!(words.starts_with("<start>\n<end>\n<unk>\n"), "{words}");
    assert!(
        words.contains("\na\n") && !words.contains("\nof\n"),
        "{words}"
    );
}

#[test]
fn what_papers_used_can_be_asked_for() {
    let place = Place::new();
    place.tokens_and_matrix();
    let papers = [
        "optimiser = { kind = \"sgd\", momentum = 0.5 }\nschedule = { kind = \"halving\", epochs = 2 }\n\
         clip_value = 0.1\noutput_bias = true",
        "optimiser = { kind = \"rmsprop\" }\nschedule = { kind = \"constant\" }\nwarm_up = 3\nclip = 5.0\n\
         dropout = 0.3\nlabel_smoothing = 0.1",
        "schedule = { kind = \"steps\", after = [1], factor = 0.5 }\n\
         scheduled_sampling = { decay = \"linear\", slope = 0.1, least = 0.5 }\njudge_every = 2",
    ];
    for paper in papers {
        let recipe = recipe(3).replace("[training]", &format!("[training]\n{paper}"));
        let ended = place.train(&recipe, &["--restart"]);
        assert!(ended.succeeded, "{paper}: {}", ended.log);
        let (first, last) = (ended.losses[0], *ended.losses.last().unwrap());
        assert!(last < first, "{paper}: {:?}", ended.losses);
    }
}

/// Of a CSV file, with images held out, all captions of an image at once, batches of like length.
#[test]
fn images_can_be_held_out_and_captions_come_together() {
    let place = Place::new();
    place.tokens_and_matrix();
    let tokens = fs::read_to_string(place.path().join("captions.token")).unwrap();
    let rows = tokens.lines().map(|line| {
        let (name, caption) = line.split_once('\t').unwrap();
        format!("{},{caption}\n", name.split('#').next().unwrap())
    });
    let csv = format!("image,caption\n{}", rows.collect::<String>());
    fs::write(place.path().join("captions.csv"), csv).unwrap();
    let recipe = recipe(25)
        .replace(
            "captions.token\"",
            "captions.csv\"\ncaptions_per_image = 2\nlike_length = true",
        )
        .replace("split = \"train\"", "hold_out = 3")
        .replace("at_least = 1", "commonest = 8");
    let ended = place.train(&recipe, &[]);
    assert!(ended.succeeded, "{}", ended.log);
    let (first, last) = (ended.losses[0], *ended.losses.last().unwrap());
    assert!(last < 0.6 * first, "{:?}", ended.losses);
    let origin = Model::open(&place.model()).unwrap().config.origin;
    let number = |key: &str| origin[key].as_integer().unwrap();
    assert_eq!((number("images"), number("judged_by")), (9, 3));
    let words = fs::read_to_string(place.model().join("vocabulary.txt")).unwrap();
    assert_eq!(words.lines().count(), 11);
}

#[test]
fn a_training_that_gets_no_better_ends() {
    let place = Place::new();
    place.tokens_and_matrix();
    let recipe = recipe(30)
        .replace("learning_rate = 0.02", "learning_rate = 1e-12")
        .replace("[training]", "[training]\npatience = 2");
    let ended = place.train(&recipe, &[]);
    assert!(ended.succeeded, "{}", ended.log);
    assert_eq!(ended.losses.len(), 3, "{}", ended.log);
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_learnt() {
    let place = Place::new();
    place.tokens_and_matrix();
    let check = |from: &str, to: &str, expected: &str| {
        let changed = recipe(2).replace(from, to);
        assert_ne!(changed, recipe(2), "{from}");
        let ended = place.train(&changed, &[]);
        assert_eq!(ended.code, Some(2), "{}", ended.log);
        assert!(ended.log.contains(expected), "{}", ended.log);
        // Nothing is left of it.
        assert!(
            !place.path().join("model.training").exists(),
            "{}",
            ended.log
        );
    };
    check(
        "hidden = 6\n",
        "hidden = 7\n",
        "the encoder gives 7 features, the captioner takes 6",
    );
    check(
        "matrix = \"features.npy\"",
        "matrix = \"none.npy\"",
        "none.npy",
    );
    check(
        "matrix = \"features.npy\"",
        "cache = \"none\"",
        "the images are needed",
    );
    check(
        "split = \"train\"",
        "split = \"val\"",
        "no split of it is for judging",
    );
    check(
        "split = \"train\"",
        "hold_out = 12",
        "0 images are left to learn from and 12 to judge by",
    );
    check(
        "seed = 5",
        "seed = 5\nstart = \"none\"",
        "cannot read none/vocabulary.txt",
    );
    check(
        "words = \"spaces\"",
        "words = \"spaces\"\npreset = \"bert\"",
        "expected one of tutorial",
    );
    check(
        "path = \"captions.token\"",
        "path = \"features.npy\"",
        "features.npy",
    );
    check(
        "kind = \"captions\"",
        "kind = \"poems\"",
        "data.kind must be scenes or captions",
    );
    check("[data]", "[data]\nsplit = 1", "unknown field `split`");
    check(
        "epochs = 2",
        "epochs = 2\nprecision = \"fp16\"",
        "training.precision is \"fp16\", expected auto, fp32 or bf16",
    );
    check(
        "epochs = 2",
        "epochs = 2\ngrounding = 1.0",
        "are for scenes",
    );
    check(
        "epochs = 2",
        "epochs = 2\nencoder = { from = \"conv6_1\", learning_rate = 1e-5 }",
        "expected conv1_1 to conv5_3, fc6 or fc7",
    );
}
