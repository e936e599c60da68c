//! Against libtorch's convolutions, on maps of all kinds of sides.

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::encoder::Layer as Feature;
use crate::encoder::preprocess::Channels;
use crate::seeded::seeded;

fn config(feature: Feature, crop: u32, channels: Channels) -> EncoderConfig {
    let mut config = EncoderConfig::vgg16();
    config.layer = feature;
    config.widths = [32, 64, 32, 64, 96];
    config.preprocess.crop = crop;
    config.preprocess.channels = channels;
    config
}

/// Weights that keep numbers about as large as they are.
fn weights(layers: &[Convolution]) -> Vec<(Tensor, Tensor)> {
    let options = (Kind::Float, Device::Cpu);
    let random = |layer: &Convolution| {
        let spread = (2.0 / (9.0 * layer.inputs as f64)).sqrt();
        let weight = Tensor::randn([layer.outputs, layer.inputs, 3, 3], options) * spread;
        (weight, Tensor::randn([layer.outputs], options) * 0.1)
    };
    layers.iter().map(random).collect()
}

/// `[batch, height, width, channels]`, in double precision.
fn expected(
    config: &EncoderConfig,
    layers: &[Convolution],
    weights: &[(Tensor, Tensor)],
    pixels: &Tensor,
) -> Tensor {
    let (factor, offset) = config.preprocess.factor_and_offset();
    let spread = |values: [f32; 3]| {
        Tensor::from_slice(&values)
            .to_kind(Kind::Double)
            .view([1, 3, 1, 1])
    };
    let mut x = pixels.permute([0, 3, 1, 2]).to_kind(Kind::Double);
    if config.preprocess.channels == Channels::Bgr {
        x = x.flip([1]);
    }
    x = x * spread(factor) + spread(offset);
    for (index, (layer, (weight, bias))) in layers.iter().zip(weights).enumerate() {
        let (weight, bias) = (weight.to_kind(Kind::Double), bias.to_kind(Kind::Double));
        x = x.conv2d(&weight, Some(&bias), 1, 1, 1, 1).relu();
        let is_feature = config.layer == Feature::Conv5_3 && index + 1 == layers.len();
        if layer.pooled && !is_feature {
            x = x.max_pool2d(2, 2, 0, 1, false);
        }
    }
    x.permute([0, 2, 3, 1])
}

fn apply(convolutions: &Convolutions, pixels: &Tensor) -> Vec<f32> {
    let bytes: Vec<u8> = Vec::try_from(&pixels.view(-1)).unwrap();
    let picture = convolutions.side * convolutions.side * 3;
    convolutions.apply(&bytes.chunks_exact(picture).collect::<Vec<_>>())
}

fn random_pixels(batch: i64, crop: u32) -> Tensor {
    let side = i64::from(crop);
    Tensor::randint(256, [batch, side, side, 3], (Kind::Uint8, Device::Cpu))
}

/// The kinds of vectors that this processor has and that these layers fill: AVX2, AVX-512.
fn vectors(layers: &[Convolution]) -> Vec<Arch> {
    #[cfg(target_arch = "x86_64")]
    let all = [
        pulp::x86::V3::try_new().map(Arch::V3),
        pulp::x86::V4::try_new().map(Arch::V4),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let all = [Some(Arch::new())];
    let fitting: Vec<Arch> = all
        .into_iter()
        .flatten()
        .filter(|arch| Convolutions::fit_on(*arch, layers))
        .collect();
    if fitting.is_empty() {
        eprintln!("NOT RUN: this processor has neither AVX2 nor AVX-512");
    }
    fitting
}

/// What differs, relative to the largest number.
fn difference(found: &[f32], expected: &Tensor) -> f64 {
    let found = Tensor::from_slice(found)
        .to_kind(Kind::Double)
        .view_as(expected);
    ((found - expected).abs().max() / expected.abs().max()).double_value(&[])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn maps_are_those_of_plain_convolutions(
        crop in 32u32..75,
        batch in 1i64..7,
        regions in any::<bool>(),
        blue_first in any::<bool>(),
        seed in any::<i32>(),
    ) {
        let _alone = seeded(i64::from(seed));
        let feature = if regions { Feature::Conv5_3 } else { Feature::Fc7 };
        let channels = if blue_first { Channels::Bgr } else { Channels::Rgb };
        let config = config(feature, crop, channels);
        let layers = Convolution::layers(config.widths);
        let weights = weights(&layers);
        let pixels = random_pixels(batch, crop);
        let expected = expected(&config, &layers, &weights, &pixels);
        for arch in vectors(&layers) {
            let weights = weights.iter().map(|(weight, bias)| (weight.copy(), bias.copy()));
            let convolutions = Convolutions::on(arch, &config, &layers, weights.collect()).unwrap();
            prop_assert_eq!(&expected.size()[1..], &convolutions.shape());
            let found = difference(&apply(&convolutions, &pixels), &expected);
            prop_assert!(found < 1e-5, "with {:?} they differ by {}", arch, found);
        }
    }
}

#[test]
fn a_picture_gives_the_same_bits_in_every_batch() {
    let config = config(Feature::Fc7, 48, Channels::Rgb);
    let layers = Convolution::layers(config.widths);
    if !Convolutions::fit(&layers) {
        return;
    }
    let _alone = seeded(1);
    let convolutions = Convolutions::new(&config, &layers, weights(&layers)).unwrap();
    let pixels = random_pixels(11, 48);
    let together = apply(&convolutions, &pixels);
    let apart: Vec<f32> = (0..11)
        .flat_map(|index| apply(&convolutions, &pixels.get(index)))
        .collect();
    assert_eq!(together, apart);
}

#[test]
fn buffers_of_larger_batches_leave_no_trace() {
    let config = config(Feature::Conv5_3, 41, Channels::Rgb);
    let layers = Convolution::layers(config.widths);
    if !Convolutions::fit(&layers) {
        return;
    }
    let _alone = seeded(2);
    let convolutions = Convolutions::new(&config, &layers, weights(&layers)).unwrap();
    let picture = random_pixels(1, 41);
    let before = apply(&convolutions, &picture);
    apply(&convolutions, &random_pixels(9, 41));
    assert_eq!(before, apply(&convolutions, &picture));
}

#[test]
fn narrow_and_odd_layers_are_left_to_libtorch() {
    assert!(!Convolutions::fit(&Convolution::layers([
        8, 16, 32, 64, 80
    ])));
    assert!(!Convolutions::fit(&Convolution::layers([
        64, 100, 256, 512, 512
    ])));
}

#[test]
fn pictures_are_shared_out_evenly() {
    assert_eq!(shares(16, 2), 4);
    assert_eq!(shares(10, 2), 3);
    assert_eq!(shares(2, 2), 1);
    assert_eq!(shares(1, 4), 1);
    assert_eq!(shares(5, 1), 3);
}
