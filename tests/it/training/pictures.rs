//! Trainings that look at the pictures themselves: features that are computed once, and an encoder that
//! goes on learning.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use showtell::captioner::model::Model;
use showtell::encoder::device::Cpu;
use showtell::encoder::vgg16::Convolution;
use showtell::encoder::{self, EncoderConfig};
use tch::{Device, Kind, Tensor};

use crate::seeded::seeded;

use super::places::{PICTURES, Place, colour_and_thing, in_bf16, recipe};

const WIDTHS: [i64; 5] = [4, 4, 6, 6, 8];

/// A folder of pictures that show what their captions say, without the last, and a small VGG-16 of
/// random weights.
fn photographs(place: &Place) {
    place.tokens();
    let folder = place.path().join("images");
    fs::create_dir(&folder).unwrap();
    for picture in 0..PICTURES - 1 {
        let (colour, thing) = colour_and_thing(picture);
        let image = RgbImage::from_fn(48, 44, |x, y| {
            let inside = match thing {
                0 => x > 10 && x < 38,
                1 => y > 10 && y < 34,
                _ => (x + y) % 12 < 6,
            };
            let mut rgb = [20, 20, 20];
            rgb[colour] = if inside { 250 } else { 60 };
            Rgb(rgb)
        });
        image.save(folder.join(format!("{picture}.png"))).unwrap();
    }
    let _alone = seeded(3);
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[i64]| {
        let inputs: i64 = shape[1..].iter().product();
        let scale = (2.0 / inputs as f64).sqrt();
        let weight = Tensor::randn(shape, (Kind::Float, Device::Cpu)) * scale;
        tensors.push((format!("{name}.weight"), weight));
        let bias = Tensor::zeros(&shape[..1], (Kind::Float, Device::Cpu));
        tensors.push((format!("{name}.bias"), bias));
    };
    for layer in Convolution::layers(WIDTHS) {
        add(
            format!("features.{}", layer.index),
            &[layer.outputs, layer.inputs, 3, 3],
        );
    }
    add("classifier.0".to_owned(), &[6, WIDTHS[4]]);
    add("classifier.3".to_owned(), &[6, 6]);
    Tensor::write_safetensors(&tensors, place.path().join("vgg.safetensors")).unwrap();
}

fn of_pictures(epochs: u64, layer: &str, training: &str) -> String {
    let recipe = recipe(epochs)
        .replace("[data.features]\nmatrix = \"features.npy\"", "")
        .replace(
            "widths = [2, 2, 2, 2, 2]",
            "widths = [4, 4, 6, 6, 8]\nweights = \"vgg.safetensors\"",
        )
        .replace(
            "path = \"captions.token\"",
            "path = \"captions.token\"\nimages = \"images\"",
        )
        .replace("[training]", &format!("[training]\n{training}"));
    match layer {
        "fc7" => recipe,
        layer => recipe
            .replace("layer = \"fc7\"", &format!("layer = \"{layer}\""))
            .replace(
                "architecture = \"show-and-tell\"\nfeatures = 6",
                "architecture = \"show-attend-tell\"\nregions = 4\nchannels = 8\nattention = 8\n\
                 gaze = \"hard\"",
            ),
    }
}

fn id_of(config: &EncoderConfig, weights: &Path) -> String {
    let config = EncoderConfig {
        id: None,
        ..config.clone()
    };
    let encoder = encoder::load(&config, weights, Device::Cpu, Kind::Float).unwrap();
    encoder.id().to_owned()
}

#[test]
fn features_are_computed_once_and_a_missing_picture_is_named() {
    let place = Place::new();
    photographs(&place);
    let recipe = of_pictures(2, "fc7", "");
    let ended = place.train(&recipe, &[]);
    assert!(ended.succeeded, "{}", ended.log);
    let named = "1 of 12 images are left out, since their files or features are missing: 11.png";
    assert!(ended.log.contains(named), "{}", ended.log);

    let model = Model::open(&place.model()).unwrap();
    let frozen = id_of(&model.config.encoder, &place.path().join("vgg.safetensors"));
    assert_eq!(model.config.encoder.id.as_ref(), Some(&frozen));
    // It is small, so it comes with the model, and annotate takes the two.
    let out = place.path().join("out");
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_showtell"))
        .args([
            "annotate", "images", "--quiet", "--model", "model", "--out", "out",
        ])
        .current_dir(place.path())
        .status()
        .unwrap();
    assert!(status.success() && out.join("captions.arrow").exists());

    // From the parts that are there, without the pictures' weights, the same is learnt.
    let features = place.path().join("model.training/features");
    let parts = fs::read_dir(features.join("embeddings").join(&frozen)).unwrap();
    assert_eq!(parts.count(), 1);
    let from_cache = recipe.replace("weights = \"vgg.safetensors\"", "").replace(
        "[data.vocabulary]",
        "[data.features]\ncache = \"model.training/features\"\n\n[data.vocabulary]",
    );
    let again = place.train(&from_cache, &[]);
    assert!(again.succeeded, "{}", again.log);
    assert_eq!(again.weights, ended.weights);

    // A picture that came since is not added to them, though there are weights.
    let images = place.path().join("images");
    fs::write(
        images.join("11.png"),
        fs::read(images.join("10.png")).unwrap(),
    )
    .unwrap();
    let mut other = image::open(images.join("11.png")).unwrap().to_rgb8();
    other.put_pixel(0, 0, Rgb([1, 2, 3]));
    other.save(images.join("11.png")).unwrap();
    let with_weights =
        from_cache.replace("hidden = 6", "hidden = 6\nweights = \"vgg.safetensors\"");
    let before = names_below(&features);
    let without_it = place.train(&with_weights, &[]);
    assert!(without_it.succeeded, "{}", without_it.log);
    for said in ["lacks the features of 1 images", named] {
        assert!(without_it.log.contains(said), "{}", without_it.log);
    }
    assert_eq!(names_below(&features), before);
}

fn names_below(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        names.push(path.display().to_string());
        if path.is_dir() {
            names.extend(names_below(&path));
        }
    }
    names.sort();
    names
}

#[test]
fn what_does_not_fit_is_said_before_features_are_computed() {
    let place = Place::new();
    photographs(&place);
    let recipe = of_pictures(1, "fc7", "");
    let before = names_below(place.path()).len();
    let check = |from: &str, to: &str, expected: &str| {
        let changed = recipe.replace(from, to);
        assert_ne!(changed, recipe, "{from}");
        let ended = place.train(&changed, &[]);
        assert_eq!(ended.code, Some(2), "{}", ended.log);
        assert!(ended.log.contains(expected), "{}", ended.log);
        // The recipe alone was added.
        assert_eq!(names_below(place.path()).len(), before + 1, "{}", ended.log);
    };
    check(
        "split = \"train\"",
        "hold_out = 12",
        "0 images are left to learn from and 11 to judge by",
    );
    check(
        "at_least = 1",
        "at_least = 99",
        "lower data.vocabulary.at_least",
    );
    check(
        "vgg.safetensors",
        "captions.token",
        "cannot read weights from captions.token",
    );
    check(
        "vgg.safetensors",
        "none.pth",
        "cannot read weights from none.pth",
    );
    for from in ["[data.vocabulary]", "[data.validation]"] {
        let cache = format!("[data.features]\ncache = \"mistyped\"\n\n{from}");
        let said = "data.features.cache cannot be used: mistyped does not exist";
        check(from, &cache, said);
    }
}

#[test]
fn an_encoder_is_frozen_first_and_then_tuned_from_a_layer_up() {
    let place = Place::new();
    photographs(&place);
    // Judged at the end alone, so that the model that is kept is the tuned one, good or bad.
    let training = "judge_every = 3\n\
                    encoder = { from = \"conv5_2\", learning_rate = 0.01, start_epoch = 2, dropout = 0.1 }";
    let ended = place.train(&of_pictures(3, "fc7", training), &[]);
    assert!(ended.succeeded, "{}", ended.log);
    check_tuned(&place, "features.26.weight", "features.24.weight");
}

#[test]
fn attention_tunes_an_encoder_too() {
    let place = Place::new();
    photographs(&place);
    let training = "judge_every = 2\nencoder = { from = \"conv5_3\", learning_rate = 0.01 }";
    let ended = place.train(&of_pictures(2, "conv5_3", training), &[]);
    assert!(ended.succeeded, "{}", ended.log);
    check_tuned(&place, "features.28.weight", "features.26.weight");
}

/// Both captioners and an encoder that is tuned; what is saved is f32, so the model is read as any other.
#[test]
fn pictures_are_learnt_from_in_mixed_precision() {
    let place = Place::new();
    photographs(&place);
    let training =
        "judge_every = 2\nencoder = { from = \"conv5_2\", learning_rate = 0.01, dropout = 0.1 }";
    for (layer, changed, kept) in [
        ("fc7", "features.26.weight", "features.24.weight"),
        ("conv5_3", "features.26.bias", "features.24.bias"),
    ] {
        let recipe = in_bf16(&of_pictures(6, layer, training));
        let ended = place.train(&recipe, &["--restart"]);
        if !Cpu::detect().computes_bf16() {
            assert_eq!(ended.code, Some(2), "{}", ended.log);
            let said = "bf16 cannot be computed on this CPU: it has no units for bf16";
            assert!(ended.log.contains(said), "{}", ended.log);
            assert!(!place.path().join("model.training").exists());
            return;
        }
        assert!(ended.succeeded, "{}", ended.log);
        assert!(ended.log.contains("on Cpu in bf16"), "{}", ended.log);
        let (first, last) = (ended.losses[0], *ended.losses.last().unwrap());
        assert!(last < first, "{:?}", ended.losses);
        check_tuned(&place, changed, kept);
        let origin = Model::open(&place.model()).unwrap().config.origin;
        assert_eq!(origin["precision"].as_str(), Some("bf16"));
        let saved = Tensor::read_safetensors(place.model().join("captioner.safetensors")).unwrap();
        assert!(saved.iter().all(|(_, tensor)| tensor.kind() == Kind::Float));
    }
}

/// Of the saved encoder the one tensor has changed, the other has not, and its id is its own.
fn check_tuned(place: &Place, changed: &str, kept: &str) {
    let before = place.path().join("vgg.safetensors");
    let after = place.model().join("encoder.safetensors");
    let tensor = |file: &Path, name: &str| {
        let tensors = Tensor::read_safetensors(file).unwrap();
        tensors.into_iter().find(|(n, _)| n == name).unwrap().1
    };
    assert!(tensor(&before, kept) == tensor(&after, kept));
    assert!(tensor(&before, changed) != tensor(&after, changed));
    let config = Model::open(&place.model()).unwrap().config.encoder;
    let id = config.id.clone().unwrap();
    assert_eq!(id, id_of(&config, &after));
    assert_ne!(id, id_of(&config, &before));
}
