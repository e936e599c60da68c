//! Turns a data set into the numbers that one wants to know before learning from it: splits, lengths of
//! captions, vocabularies, what is missing, what is odd.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use super::vocabulary::{Cut, PRESETS, Preset, SHOW_AND_TELL, WordCounts, Words};
use crate::dataset::{DataSet, Features, Located, Note, Notes, PerWhat, Restval, Split};

/// Occurrences that words are asked for.
pub const THRESHOLDS: [usize; 7] = [1, 2, 3, 4, 5, 10, 30];
/// Names shown of what is missing.
const NAMED: usize = 10;
/// Rows of a histogram.
const BARS: usize = 10;

/// What is in a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    pub images: usize,
    pub captions: usize,
    /// Those that have images, in the order of [`Split`]; images in no split last.
    pub splits: Vec<SplitCounts>,
    /// How many images have so many captions.
    pub captions_per_image: BTreeMap<usize, usize>,
    pub lengths: Lengths,
    pub vocabulary: Vocabularies,
    pub duplicates: Duplicates,
    pub odd: Notes,
    /// If it is known where the images are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures: Option<PictureCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<FeatureCounts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitCounts {
    /// None for the images that no split names.
    pub split: Option<Split>,
    pub images: usize,
    pub captions: usize,
}

/// How many words captions have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lengths {
    /// What counts as a word.
    pub words: &'static str,
    pub min: usize,
    /// The mean of the middle two, if their number is even.
    pub median: f64,
    pub mean: f64,
    /// The least length that at least 95 of 100 captions do not exceed.
    pub percentile_95: usize,
    pub max: usize,
    pub histogram: Vec<Bar>,
}

/// Captions of `from` to `to` words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bar {
    pub from: usize,
    pub to: usize,
    pub captions: usize,
}

/// What is left of the words by threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Vocabularies {
    /// The captions that the words are taken from: those of the training split, or all.
    pub captions: usize,
    pub presets: Vec<PresetSizes>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PresetSizes {
    pub preset: &'static str,
    /// How it splits captions.
    pub words: &'static str,
    /// Words in all captions, each as often as it occurs.
    pub occurrences: usize,
    /// As the publication cut it.
    pub published: Size,
    /// For each of [`THRESHOLDS`].
    pub by_threshold: Vec<Size>,
}

/// The size of a vocabulary, without special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Size {
    /// Kept are words that occur at least so often, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<usize>,
    /// ... or the so many commonest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commonest: Option<usize>,
    pub words: usize,
    /// The share of all occurrences that are of these words, 0 to 1.
    pub coverage: f64,
}

/// Captions that stand there more than once, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Captions that repeat an earlier one of the same image.
    pub of_same_image: usize,
    /// Captions that repeat an earlier one of any image.
    pub of_any_image: usize,
}

/// Which images are there as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PictureCounts {
    pub folder: PathBuf,
    pub found: usize,
    pub missing: Note,
    /// Images whose names several files have.
    pub ambiguous: Note,
    /// Image files that the data set does not name.
    pub unnamed: usize,
}

/// Which images have features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeatureCounts {
    /// Values per image.
    pub dims: usize,
    /// What a row of the matrix stands for, or how the cache is asked.
    pub by: &'static str,
    pub found: usize,
    pub missing: Note,
}

impl Inspection {
    /// Counts what is in a data set, with the vocabulary of `preset`, or of all.
    pub fn of(set: &DataSet, preset: Option<Preset>, restval: Restval) -> Self {
        let presets = match &preset {
            Some(preset) => std::slice::from_ref(preset),
            None => &PRESETS,
        };
        let training = set.training(restval);
        let training = training.iter().flat_map(|image| &image.captions);
        let training: Vec<&str> = training.map(String::as_str).collect();
        let captions = set.images.iter().flat_map(|image| &image.captions);
        let captions: Vec<&str> = captions.map(String::as_str).collect();
        let mut per_image = BTreeMap::new();
        for image in &set.images {
            *per_image.entry(image.captions.len()).or_default() += 1;
        }
        Inspection {
            images: set.images.len(),
            captions: captions.len(),
            splits: splits(set),
            captions_per_image: per_image,
            lengths: Lengths::of(&captions, preset.unwrap_or(SHOW_AND_TELL).words),
            vocabulary: Vocabularies {
                captions: training.len(),
                presets: sizes(presets, &training),
            },
            duplicates: Duplicates::of(set, &captions),
            odd: set.notes.clone(),
            pictures: None,
            features: None,
        }
    }
}

fn splits(set: &DataSet) -> Vec<SplitCounts> {
    let all = Split::ALL.map(Some).into_iter().chain([None]);
    let counts = all.map(|split| {
        let images = set.images.iter().filter(|image| image.split == split);
        SplitCounts {
            split,
            images: images.clone().count(),
            captions: images.map(|image| image.captions.len()).sum(),
        }
    });
    counts.filter(|counts| counts.images > 0).collect()
}

fn sizes(presets: &[Preset], captions: &[&str]) -> Vec<PresetSizes> {
    // Presets that split alike share their counts.
    let mut counted: Vec<(Words, WordCounts)> = Vec::new();
    for preset in presets {
        if counted.iter().all(|(words, _)| *words != preset.words) {
            counted.push((preset.words, WordCounts::of(captions, preset.words)));
        }
    }
    let sizes = presets.iter().filter_map(|preset| {
        let (words, counts) = counted.iter().find(|(words, _)| *words == preset.words)?;
        Some(PresetSizes {
            preset: preset.name,
            words: words.describe(),
            occurrences: counts.occurrences(),
            published: Size::of(counts, preset.cut),
            by_threshold: THRESHOLDS
                .map(|threshold| Size::of(counts, Cut::AtLeast(threshold)))
                .into(),
        })
    });
    sizes.collect()
}

impl Size {
    fn of(counts: &WordCounts, cut: Cut) -> Self {
        let (at_least, commonest) = match cut {
            Cut::AtLeast(threshold) => (Some(threshold), None),
            Cut::Commonest(words) => (None, Some(words)),
        };
        Size {
            at_least,
            commonest,
            words: counts.kept(cut),
            coverage: counts.coverage(cut),
        }
    }
}

impl Lengths {
    fn of(captions: &[&str], words: Words) -> Self {
        let length = |caption: &&str| words.normalize(caption).split_whitespace().count();
        let mut lengths: Vec<usize> = captions.par_iter().map(length).collect();
        lengths.sort_unstable();
        let at = |place: usize| lengths.get(place).copied().unwrap_or_default();
        let count = lengths.len();
        let median = (at(count.saturating_sub(1) / 2) + at(count / 2)) as f64 / 2.0;
        Lengths {
            words: words.describe(),
            min: at(0),
            median,
            mean: lengths.iter().sum::<usize>() as f64 / count.max(1) as f64,
            percentile_95: at((count * 95).div_ceil(100).saturating_sub(1)),
            max: at(count.saturating_sub(1)),
            histogram: histogram(&lengths),
        }
    }
}

/// Bars of equal width over sorted lengths; the last takes in the few long ones.
fn histogram(lengths: &[usize]) -> Vec<Bar> {
    let (Some(min), Some(max)) = (lengths.first(), lengths.last()) else {
        return Vec::new();
    };
    // Nearly all: a single caption of a hundred words would leave the others one bar.
    let nearly = lengths[(lengths.len() - 1) * 99 / 100];
    let width = (nearly - min + 1).div_ceil(BARS).max(1);
    let mut bars = Vec::new();
    let mut from = *min;
    let mut counted = 0;
    while counted < lengths.len() {
        let to = match bars.len() + 1 == BARS {
            true => *max,
            false => (from + width - 1).min(*max),
        };
        let until = lengths.partition_point(|length| *length <= to);
        bars.push(Bar {
            from,
            to,
            captions: until - counted,
        });
        counted = until;
        from = to + 1;
    }
    bars
}

impl Duplicates {
    fn of(set: &DataSet, captions: &[&str]) -> Self {
        let repeated = |captions: &mut dyn Iterator<Item = &str>| {
            let mut met = HashSet::new();
            captions.filter(|caption| !met.insert(*caption)).count()
        };
        let of_each = set.images.iter().map(|image| {
            let mut captions = image.captions.iter().map(String::as_str);
            repeated(&mut captions)
        });
        Duplicates {
            of_same_image: of_each.sum(),
            of_any_image: repeated(&mut captions.iter().copied()),
        }
    }
}

impl PictureCounts {
    pub fn of(folder: PathBuf, located: &Located) -> Self {
        PictureCounts {
            folder,
            found: located.paths.iter().flatten().count(),
            missing: note(&located.missing),
            ambiguous: note(&located.ambiguous),
            unnamed: located.unnamed,
        }
    }
}

impl FeatureCounts {
    pub fn of(set: &DataSet, features: &Features) -> Self {
        let missing = (set.images.iter().enumerate())
            .filter(|(place, _)| !features.has(*place))
            .map(|(_, image)| &image.file_name);
        let missing: Vec<_> = missing.cloned().collect();
        FeatureCounts {
            dims: features.dims(),
            by: match features {
                Features::Matrix {
                    per: PerWhat::Image,
                    ..
                } => "a row for each image",
                Features::Matrix {
                    per: PerWhat::Caption,
                    ..
                } => "a row for each caption",
                Features::Cache { .. } => "by the content of the images",
            },
            found: set.images.len() - missing.len(),
            missing: note(&missing),
        }
    }
}

fn note(names: &[String]) -> Note {
    Note {
        count: names.len(),
        names: names.iter().take(NAMED).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(lengths: &[usize]) -> Vec<(usize, usize, usize)> {
        let bars = histogram(lengths);
        bars.iter().map(|b| (b.from, b.to, b.captions)).collect()
    }

    #[test]
    fn bars_hold_every_caption_once() {
        assert_eq!(bars(&[]), []);
        assert_eq!(bars(&[3]), [(3, 3, 1)]);
        assert_eq!(
            bars(&[1, 2, 2, 4]),
            [(1, 1, 1), (2, 2, 2), (3, 3, 0), (4, 4, 1)]
        );
        let mut many: Vec<usize> = (1..=20).flat_map(|length| [length; 50]).collect();
        many.push(99);
        let bars = bars(&many);
        assert_eq!(bars.len(), BARS);
        assert_eq!(bars[0], (1, 2, 100));
        assert_eq!(bars[BARS - 1], (19, 99, 101));
        assert_eq!(bars.iter().map(|bar| bar.2).sum::<usize>(), many.len());
    }

    #[test]
    fn lengths_of_few_captions() {
        let lengths = Lengths::of(&["a", "a b", "a b c", "a b c d"], Words::Spaces);
        assert_eq!((lengths.min, lengths.max, lengths.percentile_95), (1, 4, 4));
        assert!((lengths.median - 2.5).abs() < 1e-12 && (lengths.mean - 2.5).abs() < 1e-12);
        let none = Lengths::of(&[], Words::Spaces);
        assert_eq!((none.min, none.max, none.histogram.len()), (0, 0, 0));
    }
}
