//! Makes what the benches work on: photographs, networks with random weights, features.
//!
//! Nothing of it is learnt or real: what a network costs does not depend on what it says.

use std::error::Error;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use showtell::captioner::Captioner;
use showtell::captioner::show_tell::{self, ShowTell, ShowTellConfig};
use showtell::captioner::vocabulary::Vocabulary;
use showtell::encoder::vgg16::Convolution;
use showtell::encoder::{Encoder, EncoderConfig, load};
use tch::{Device, Kind, Tensor};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A JPEG of quality 90 with about as much detail as a photograph has.
pub fn photograph(width: u32, height: u32) -> Outcome<Vec<u8>> {
    let mut dice = ChaCha8Rng::seed_from_u64(u64::from(width));
    let waves: Vec<[f32; 4]> = (0..12)
        .map(|octave| {
            let most = 2f32.powf(octave as f32 / 1.5);
            [
                dice.random_range(-most..most),
                dice.random_range(-most..most),
                dice.random_range(0.0..6.3),
                40.0 / most.sqrt(),
            ]
        })
        .collect();
    let mut rgb = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
            let level: f32 = waves
                .iter()
                .map(|[a, b, phase, strength]| strength * (6.3 * (a * u + b * v) + phase).sin())
                .sum();
            let grain = (dice.next_u32() % 8) as f32;
            rgb.extend([0.8, 1.0, 1.2].map(|tint| (128.0 + level * tint + grain) as u8));
        }
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 90).write_image(
        &rgb,
        width,
        height,
        ExtendedColorType::Rgb8,
    )?;
    Ok(jpeg)
}

/// A VGG-16 of these dimensions with random weights.
pub fn encoder(config: &EncoderConfig, kind: Kind) -> Outcome<Box<dyn Encoder>> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("encoder.safetensors");
    write_encoder(config, &file)?;
    Ok(load(config, &file, Device::Cpu, kind)?)
}

/// Writes random weights for a VGG-16 of these dimensions.
pub fn write_encoder(config: &EncoderConfig, file: &Path) -> Outcome<()> {
    let mut weights = Vec::new();
    for layer in Convolution::layers(config.widths) {
        let shape = [layer.outputs, layer.inputs, 3, 3];
        weights.push((format!("features.{}.weight", layer.index), random(&shape)?));
        let bias = random(&[layer.outputs, 1])?.f_view([layer.outputs])?;
        weights.push((format!("features.{}.bias", layer.index), bias));
    }
    let flat = config.widths[4] * config.pooled_side().pow(2);
    for (name, inputs) in [("classifier.0", flat), ("classifier.3", config.hidden)] {
        weights.push((format!("{name}.weight"), random(&[config.hidden, inputs])?));
        let bias = random(&[config.hidden, 1])?.f_view([config.hidden])?;
        weights.push((format!("{name}.bias"), bias));
    }
    Ok(Tensor::write_safetensors(&weights, file)?)
}

/// Show and Tell with random weights.
pub fn captioner(config: &ShowTellConfig, words: usize) -> Outcome<Box<dyn Captioner>> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("captioner.safetensors");
    let vocabulary = write_captioner(config, words, &file)?;
    let captioner = ShowTell::load(config, vocabulary, &file, Device::Cpu)?;
    Ok(Box::new(captioner))
}

/// Writes random weights for a Show and Tell, and returns the words that it knows.
pub fn write_captioner(config: &ShowTellConfig, words: usize, file: &Path) -> Outcome<Vocabulary> {
    let words: Vec<String> = (3..words).map(|word| format!("word{word}")).collect();
    let vocabulary = Vocabulary::of(words.iter().map(String::as_str));
    let weights = show_tell::tensors(config, vocabulary.len() as i64)
        .into_iter()
        .map(|(name, shape)| {
            let weight = match shape[..] {
                [length] => random(&[length, 1])?.f_view([length])?,
                _ => random(&shape)?,
            };
            Ok((name, weight))
        })
        .collect::<Outcome<Vec<_>>>()?;
    Tensor::write_safetensors(&weights, file)?;
    Ok(vocabulary)
}

/// Values that keep the size of what passes through (arXiv 1502.01852); a last side of one is a bias.
fn random(shape: &[i64]) -> Outcome<Tensor> {
    let inputs: i64 = shape[1..].iter().product();
    let spread = if inputs == 1 {
        0.01
    } else {
        (2.0 / inputs as f64).sqrt()
    };
    let values = Tensor::f_randn(shape, (Kind::Float, Device::Cpu))?;
    Ok(values.f_mul_scalar(spread)?)
}

/// `[count, dimensions]`: half of them zero, as after a ReLU.
pub fn features(count: usize, dimensions: usize) -> Vec<f32> {
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    (0..count * dimensions)
        .map(|_| dice.random_range(-3.0f32..3.0).max(0.0))
        .collect()
}
