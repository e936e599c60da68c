//! VGG-16 against torchvision's, on weights in every file format that it is published in.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use showtell::encoder::preprocess::{Preprocess, Resize};
use showtell::encoder::{Encoder, EncoderConfig, Layer, load, load_on};
use tch::{Device, Kind, Tensor};

#[derive(Deserialize)]
struct Golden {
    widths: [i64; 5],
    hidden: i64,
    side: u32,
    fc7: Vec<Vec<f32>>,
    /// Of each picture the regions, row by row.
    conv5_3: Vec<Vec<f32>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vgg16")
}

fn golden() -> Golden {
    serde_json::from_slice(&fs::read(folder().join("narrow.json")).unwrap()).unwrap()
}

fn config(golden: &Golden) -> EncoderConfig {
    EncoderConfig {
        widths: golden.widths,
        hidden: golden.hidden,
        preprocess: Preprocess {
            resize: Resize::Stretch { size: golden.side },
            crop: golden.side,
            ..Preprocess::torchvision_vgg16()
        },
        ..EncoderConfig::vgg16()
    }
}

fn open(file: &str) -> Box<dyn Encoder> {
    load(
        &config(&golden()),
        &folder().join(file),
        Device::Cpu,
        Kind::Float,
    )
    .unwrap()
}

/// The pictures that the golden script draws, each `[side, side, 3]`.
fn pictures(side: usize) -> [Vec<u8>; 3] {
    [0, 1, 2].map(|number| {
        let mut levels = Vec::new();
        for y in 0..side {
            for x in 0..side {
                levels
                    .extend((0..3).map(|c| (x * 7 + y * 13 + c * 71 + x * y * (number + 1)) as u8));
            }
        }
        levels
    })
}

fn encode(encoder: &dyn Encoder, pictures: &[Vec<u8>]) -> Vec<f32> {
    let pictures: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
    encoder.encode(&pictures).unwrap()
}

fn assert_close(found: &[f32], expected: &[f32]) {
    let scale = expected
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs() / scale;
        assert!(
            error < 1e-5,
            "{found} is not {expected}: off by {error} of the largest"
        );
    }
}

#[test]
fn fc7_is_torchvisions() {
    let golden = golden();
    let encoder = open("narrow.safetensors");
    let found = encode(encoder.as_ref(), &pictures(golden.side as usize));
    assert_eq!(found.len(), 3 * golden.hidden as usize);
    assert_close(&found, &golden.fc7.concat());
}

#[test]
fn conv5_3_is_torchvisions() {
    let golden = golden();
    let mut config = config(&golden);
    config.layer = Layer::Conv5_3;
    let file = folder().join("narrow.safetensors");
    let encoder = load(&config, &file, Device::Cpu, Kind::Float).unwrap();
    assert!(encoder.id().starts_with("vgg16-conv5_3-"));
    let found = encode(encoder.as_ref(), &pictures(golden.side as usize));
    assert_eq!(found.len(), 3 * 16 * golden.widths[4] as usize);
    assert_close(&found, &golden.conv5_3.concat());
}

#[test]
fn a_picture_is_encoded_alike_alone_and_in_a_batch() {
    let side = golden().side as usize;
    let encoder = open("narrow.safetensors");
    let pictures = pictures(side);
    let together = encode(encoder.as_ref(), &pictures);
    let alone: Vec<f32> = pictures
        .chunks(1)
        .flat_map(|picture| encode(encoder.as_ref(), picture))
        .collect();
    assert_close(&alone, &together);
}

#[test]
fn devices_share_a_batch() {
    let golden = golden();
    let file = folder().join("narrow.safetensors");
    let devices = [Device::Cpu; 2];
    let encoder = load_on(&config(&golden), &file, &devices, Kind::Float).unwrap();
    assert_eq!(encoder.id(), open("narrow.safetensors").id());
    let found = encode(encoder.as_ref(), &pictures(golden.side as usize));
    assert_close(&found, &golden.fc7.concat());
}

#[test]
fn the_same_weights_are_the_same_encoder_in_every_format() {
    let id = open("narrow.safetensors").id().to_owned();
    assert!(id.starts_with("vgg16-fc7-"), "{id}");
    assert_eq!(open("narrow.pth").id(), id);
    assert_eq!(open("narrow-legacy.pth").id(), id);
    assert_eq!(open("narrow-timm.safetensors").id(), id);
    let mut other = config(&golden());
    other.preprocess.mean[0] = 0.5;
    let file = folder().join("narrow.safetensors");
    let other = load(&other, &file, Device::Cpu, Kind::Float).unwrap();
    assert_ne!(other.id(), id, "another preprocessing gives other features");
}

#[test]
fn weights_within_another_module_are_the_same_encoder() {
    let golden = golden();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("weights.safetensors");
    for (whole, prefix) in [
        ("narrow.safetensors", "module."),
        ("narrow.safetensors", "model.net."),
        ("narrow-timm.safetensors", "model."),
    ] {
        let tensors = Tensor::read_safetensors(folder().join(whole)).unwrap();
        let named = tensors.iter();
        let named: Vec<_> = named
            .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
            .collect();
        Tensor::write_safetensors(&named, &file).unwrap();
        let encoder = load(&config(&golden), &file, Device::Cpu, Kind::Float).unwrap();
        assert_eq!(encoder.id(), open(whole).id(), "{prefix}");
    }
    // All that conv5_3 needs begins alike and is no module around the network.
    let tensors = Tensor::read_safetensors(folder().join("narrow.safetensors")).unwrap();
    let features = |(name, _): &&(String, Tensor)| name.starts_with("features.");
    let tensors: Vec<_> = tensors.iter().filter(features).collect();
    let tensors: Vec<_> = tensors.into_iter().map(|(n, t)| (n, t)).collect();
    Tensor::write_safetensors(&tensors, &file).unwrap();
    let mut config = config(&golden);
    config.layer = Layer::Conv5_3;
    assert!(load(&config, &file, Device::Cpu, Kind::Float).is_ok());
}

#[test]
fn weights_of_another_network_are_told_by_their_names() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("weights.safetensors");
    let check = |names: &[&str], expected: &str| {
        let tensors: Vec<(&str, Tensor)> = names
            .iter()
            .map(|name| (*name, Tensor::zeros([1], (Kind::Float, Device::Cpu))))
            .collect();
        Tensor::write_safetensors(&tensors, &file).unwrap();
        let refused = message(&config(&golden()), &file);
        assert!(refused.contains(expected), "{refused}");
        assert!(refused.contains("torchvision's vgg16"), "{refused}");
    };
    check(
        &[
            "bn1.bias",
            "conv1.weight",
            "fc.bias",
            "layer1.0.bn1.bias",
            "layer1.0.bn1.weight",
        ],
        "lacks the tensor features.0.weight, and has bn1.bias, conv1.weight, fc.bias, \
         layer1.0.bn1.bias and 1 more; expected",
    );
    check(
        &["classifier.0.bias", "features.1.running_mean"],
        "lacks the tensor features.0.weight, and has features.1.running_mean; expected",
    );
    check(&[], "and has no others; expected");
}

fn message(config: &EncoderConfig, file: &Path) -> String {
    match load(config, file, Device::Cpu, Kind::Float) {
        Ok(encoder) => panic!("{} was accepted", encoder.id()),
        Err(error) => format!("{:#}", anyhow::Error::from(error)),
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_with_the_tensors_name() {
    let config = config(&golden());
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("weights.safetensors");

    let mut wide = config.clone();
    wide.widths[2] = 7;
    let refused = message(&wide, &folder().join("narrow.safetensors"));
    assert!(
        refused.contains("tensor features.10.weight has shape [4, 3, 3, 3], expected [7, 3, 3, 3]"),
        "{refused}"
    );

    let some = [(
        "features.0.weight",
        Tensor::zeros([2, 3, 3, 3], (Kind::Float, Device::Cpu)),
    )];
    Tensor::write_safetensors(&some, &file).unwrap();
    let refused = message(&config, &file);
    assert!(
        refused.contains("lacks the tensor features.0.bias"),
        "{refused}"
    );

    for spoilt in [f32::NAN, f32::INFINITY] {
        let whole = folder().join("narrow.safetensors");
        let mut tensors = Tensor::read_safetensors(&whole).unwrap();
        let of_one = |(name, _): &&mut (String, Tensor)| name == "features.5.weight";
        let (_, tensor) = tensors.iter_mut().find(of_one).unwrap();
        let _ = tensor.get(0).get(1).get(2).get(0).fill_(f64::from(spoilt));
        Tensor::write_safetensors(&tensors, &file).unwrap();
        let refused = message(&config, &file);
        assert!(
            refused.contains("tensor features.5.weight has values that are no finite numbers"),
            "{refused}"
        );
    }

    fs::write(&file, "no weights").unwrap();
    let refused = message(&config, &file);
    assert!(
        refused.contains("neither a .safetensors file nor a .pth file"),
        "{refused}"
    );

    let whole = fs::read(folder().join("narrow.pth")).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let refused = message(&config, &file);
    assert!(
        refused.contains("cannot read weights from") && !refused.contains('\n'),
        "{refused}"
    );

    let refused = message(&config, &scratch.path().join("absent"));
    assert!(
        refused.contains("absent") && refused.contains("No such file"),
        "{refused}"
    );

    let mut other = config.clone();
    other.id = Some("vgg16-fc7-0000000000000000".to_owned());
    let refused = message(&other, &folder().join("narrow.pth"));
    assert!(
        refused.contains("the captioner was trained on vgg16-fc7-0000000000000000"),
        "{refused}"
    );
}
