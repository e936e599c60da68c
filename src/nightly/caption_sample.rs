//! Turns the captions of a run into a few figures that tell when captions have gone wrong.
//!
//! How many captions differ depends on how many are looked at, so the figures are those of a sample
//! that has the same size every night: the images with the smallest ids. An id is a digest, so this
//! is a fair sample, it does not depend on the order of the rows, and equal images count once.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::archive::ImageId;
use crate::captioner::Beam;

/// Images in a sample, where there are as many.
const SAMPLE: usize = 1000;

/// What the captions of a sample look like, taken together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptionSample {
    /// Images in the sample.
    pub images: u64,
    /// Captions that differ.
    pub distinct: u64,
    /// Images that have the commonest caption.
    pub commonest: u64,
    /// Words of a caption, on average.
    pub words: f64,
    /// Log-probability of a token, on average over the captions.
    pub log_prob_per_token: f64,
}

/// Collects a sample.
#[derive(Debug, Default)]
pub struct CaptionSampler {
    /// The images with the smallest ids so far.
    images: BTreeMap<ImageId, Sampled>,
}

#[derive(Debug)]
struct Sampled {
    caption: String,
    log_prob_per_token: f64,
}

impl CaptionSampler {
    /// Looks at an image and its best caption.
    pub fn add(&mut self, image_id: ImageId, best: &Beam) {
        if self.images.len() >= SAMPLE {
            if self
                .images
                .last_key_value()
                .is_some_and(|(last, _)| image_id >= *last)
            {
                return;
            }
            self.images.pop_last();
        }
        self.images.insert(
            image_id,
            Sampled {
                caption: best.caption.clone(),
                log_prob_per_token: f64::from(best.log_prob) / f64::from(best.tokens.max(1)),
            },
        );
    }

    /// The figures of the first `most` images of the sample, with the commonest caption.
    pub fn describe(&self, most: u64) -> (CaptionSample, String) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let sampled = || self.images.values().take(most);
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for image in sampled() {
            *counts.entry(&image.caption).or_default() += 1;
        }
        // Of captions that are as common, the first in the alphabet.
        let commonest = counts
            .iter()
            .max_by(|(a, many), (b, as_many)| many.cmp(as_many).then_with(|| b.cmp(a)));
        let (caption, commonest) = commonest.map_or(("", 0), |(caption, count)| (caption, *count));
        let images = sampled().count() as u64;
        let mean = |of: &dyn Fn(&Sampled) -> f64| match images {
            0 => 0.0,
            images => sampled().map(of).sum::<f64>() / images as f64,
        };
        let sample = CaptionSample {
            images,
            distinct: counts.len() as u64,
            commonest,
            words: mean(&|image| image.caption.split_whitespace().count() as f64),
            log_prob_per_token: mean(&|image| image.log_prob_per_token),
        };
        (sample, caption.to_owned())
    }

    /// The figures of the whole sample; `None` if it is empty.
    pub fn sample(&self) -> Option<CaptionSample> {
        let (sample, _) = self.describe(u64::MAX);
        (sample.images > 0).then_some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beam(caption: &str, log_prob: f32, tokens: i32) -> Beam {
        Beam {
            caption: caption.to_owned(),
            log_prob,
            tokens,
            score: log_prob,
            finished: true,
        }
    }

    fn id(number: u32) -> ImageId {
        ImageId::of(&number.to_le_bytes())
    }

    #[test]
    fn figures_are_those_of_the_captions() {
        let mut sampler = CaptionSampler::default();
        assert_eq!(sampler.sample(), None);
        sampler.add(id(1), &beam("a red house", -4.0, 4));
        sampler.add(id(2), &beam("a red house", -2.0, 4));
        sampler.add(id(3), &beam("", 0.0, 0));
        let (sample, commonest) = sampler.describe(1000);
        assert_eq!(commonest, "a red house");
        let expected = CaptionSample {
            images: 3,
            distinct: 2,
            commonest: 2,
            words: 2.0,
            log_prob_per_token: -0.5,
        };
        assert_eq!(sample, expected);
    }

    #[test]
    fn equal_images_count_once_and_the_order_does_not_matter() {
        let mut forwards = CaptionSampler::default();
        let mut backwards = CaptionSampler::default();
        let caption = |number: u32| beam(&format!("picture {}", number % 7), -1.0, 3);
        for number in 0..5000 {
            forwards.add(id(number), &caption(number));
            forwards.add(id(number), &caption(number));
            backwards.add(id(4999 - number), &caption(4999 - number));
        }
        assert_eq!(forwards.sample(), backwards.sample());
        assert_eq!(forwards.sample().unwrap().images, SAMPLE as u64);
        assert_eq!(forwards.describe(100), backwards.describe(100));
        assert_eq!(forwards.describe(100).0.images, 100);
    }
}
