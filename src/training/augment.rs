//! Varies pictures while an encoder learns from them: where they are cut out, which way round they are,
//! and their colours, as Show and Tell's published code does it (im2txt, `image_processing.py`).

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::TuningConfig;
use crate::archive::Picture;
use crate::encoder::preprocess::{Preprocess, PreprocessError};

/// Most that is added to or taken from all levels, of 255.
const BRIGHTNESS: f32 = 32.0;
/// Saturation and contrast are multiplied by one less or more than this.
const SPREAD: f32 = 0.5;
/// Most that the hue is turned by, of a whole turn.
const HUE: f32 = 0.032;

/// The square of pixels that an encoder learns from, `[crop, crop, 3]`, RGB. The same `seed` gives the
/// same square.
///
/// # Errors
///
/// When the picture cannot be prepared.
pub fn varied(
    picture: &Picture,
    preprocess: &Preprocess,
    tuning: &TuningConfig,
    seed: [u8; 32],
) -> Result<Vec<u8>, PreprocessError> {
    let mut dice = ChaCha8Rng::from_seed(seed);
    // All are thrown, so that one option does not change what another does.
    let (left, top): (f64, f64) = (dice.random(), dice.random());
    let mirrored: bool = dice.random();
    let mut rgb = match tuning.crops {
        true => preprocess.apply_at(picture, left, top)?,
        false => preprocess.apply(picture)?,
    };
    if tuning.flips && mirrored {
        mirror(&mut rgb, preprocess.crop as usize);
    }
    if tuning.colours {
        Colours::throw(&mut dice).apply(&mut rgb);
    }
    Ok(rgb)
}

/// Mirrors left and right. `rgb`: `[side, side, 3]`.
fn mirror(rgb: &mut [u8], side: usize) {
    for row in rgb.chunks_exact_mut(side * 3) {
        for x in 0..side / 2 {
            for channel in 0..3 {
                row.swap(x * 3 + channel, (side - 1 - x) * 3 + channel);
            }
        }
    }
}

/// A change of colours.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Colours {
    /// Added to all levels, of 255.
    brightness: f32,
    saturation: f32,
    /// Of a whole turn.
    hue: f32,
    contrast: f32,
    /// Whether contrast comes before saturation and hue; one of the two orders that im2txt takes.
    contrast_first: bool,
}

impl Colours {
    fn throw(dice: &mut impl Rng) -> Self {
        let mut around =
            |middle: f32, most: f32| middle + most * (2.0 * dice.random::<f32>() - 1.0);
        Colours {
            brightness: around(0.0, BRIGHTNESS),
            saturation: around(1.0, SPREAD),
            hue: around(0.0, HUE),
            contrast: around(1.0, SPREAD),
            contrast_first: dice.random(),
        }
    }

    fn apply(&self, rgb: &mut [u8]) {
        let mut levels: Vec<f32> = rgb.iter().map(|level| f32::from(*level) / 255.0).collect();
        for level in &mut levels {
            *level += self.brightness / 255.0;
        }
        if self.contrast_first {
            spread(&mut levels, self.contrast);
        }
        for pixel in levels.chunks_exact_mut(3) {
            let turned = turn([pixel[0], pixel[1], pixel[2]], self.saturation, self.hue);
            pixel.copy_from_slice(&turned);
        }
        if !self.contrast_first {
            spread(&mut levels, self.contrast);
        }
        for (level, value) in rgb.iter_mut().zip(levels) {
            *level = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
        }
    }
}

/// Moves each channel away from its mean, or towards it.
fn spread(levels: &mut [f32], factor: f32) {
    let pixels = (levels.len() / 3).max(1) as f32;
    for channel in 0..3 {
        let sum: f32 = levels.iter().skip(channel).step_by(3).sum();
        let mean = sum / pixels;
        for level in levels.iter_mut().skip(channel).step_by(3) {
            *level = mean + (*level - mean) * factor;
        }
    }
}

/// A pixel of another saturation and hue, by way of HSV.
fn turn([r, g, b]: [f32; 3], saturation: f32, hue: f32) -> [f32; 3] {
    let value = r.max(g).max(b);
    let chroma = value - r.min(g).min(b);
    if chroma <= 0.0 || value <= 0.0 {
        return [r, g, b];
    }
    // In sixths of a turn.
    let sixths = if value == r {
        ((g - b) / chroma).rem_euclid(6.0)
    } else if value == g {
        (b - r) / chroma + 2.0
    } else {
        (r - g) / chroma + 4.0
    };
    let sixths = (sixths + hue * 6.0).rem_euclid(6.0);
    let chroma = value * (chroma / value * saturation).clamp(0.0, 1.0);
    [5.0, 3.0, 1.0].map(|offset: f32| {
        let k = (offset + sixths).rem_euclid(6.0);
        value - chroma * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: [f32; 3], expected: [f32; 3]) {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(
            found.iter().zip(&expected).all(near),
            "{found:?}, expected {expected:?}"
        );
    }

    #[test]
    fn saturation_and_hue_are_those_of_hsv() {
        // Python: colorsys.hsv_to_rgb((h + hue) % 1, s * saturation, v) of colorsys.rgb_to_hsv(...).
        check(turn([0.8, 0.4, 0.2], 1.0, 0.0), [0.8, 0.4, 0.2]);
        check(turn([0.8, 0.4, 0.2], 0.5, 0.0), [0.8, 0.6, 0.5]);
        check(turn([1.0, 0.0, 0.0], 1.0, 1.0 / 3.0), [0.0, 1.0, 0.0]);
        check(turn([1.0, 0.0, 0.0], 1.0, -1.0 / 3.0), [0.0, 0.0, 1.0]);
        check(turn([0.5, 0.5, 0.5], 1.5, 0.1), [0.5, 0.5, 0.5]);
    }

    #[test]
    fn contrast_keeps_the_mean() {
        let mut levels = [0.0, 0.2, 0.4, 1.0, 0.2, 0.6];
        spread(&mut levels, 0.5);
        check([levels[0], levels[1], levels[2]], [0.25, 0.2, 0.45]);
        check([levels[3], levels[4], levels[5]], [0.75, 0.2, 0.55]);
    }

    #[test]
    fn a_mirrored_row_reads_backwards() {
        let mut rgb = [
            1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        mirror(&mut rgb, 3);
        assert_eq!(rgb[..9], [7, 8, 9, 4, 5, 6, 1, 2, 3]);
        assert_eq!(rgb[9..18], [2, 2, 2, 1, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn a_seed_gives_one_square_and_another_seed_another() {
        let mut rgb = Vec::new();
        for place in 0..60 * 50 {
            rgb.extend([(place % 251) as u8, (place / 60 * 5) as u8, 77]);
        }
        let picture = Picture {
            width: 60,
            height: 50,
            rgb,
        };
        let mut preprocess = Preprocess::torchvision_vgg16();
        preprocess.resize = crate::encoder::preprocess::Resize::ShortSide { size: 40 };
        preprocess.crop = 32;
        let mut tuning = TuningConfig {
            from: "fc7".to_owned(),
            learning_rate: 1e-5,
            start_epoch: 1,
            dropout: 0.0,
            crops: true,
            flips: true,
            colours: true,
        };
        let square = |tuning: &TuningConfig, seed: u8| {
            varied(&picture, &preprocess, tuning, [seed; 32]).unwrap()
        };
        assert_eq!(square(&tuning, 1), square(&tuning, 1));
        assert_ne!(square(&tuning, 1), square(&tuning, 2));
        assert_eq!(square(&tuning, 1).len(), 32 * 32 * 3);
        (tuning.crops, tuning.flips, tuning.colours) = (false, false, false);
        assert_eq!(square(&tuning, 1), preprocess.apply(&picture).unwrap());
    }
}
