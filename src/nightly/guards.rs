//! Turns what a run would change into what is wrong with it, if anything.
//!
//! A share that is not mounted looks like an archive that was deleted, a full network like an archive
//! of broken files, and a model fed with the wrong colours captions everything alike. Nobody looks
//! at the table every morning, so none of these may become current unasked. Pure functions over
//! counts: what a finding means for the run is decided elsewhere.

use std::fmt;

use super::caption_sample::CaptionSample;
use super::tally::{RootTally, Tally};

/// Shares are judged from this many images on: of ten files three may be broken.
pub const FEWEST_IMAGES: u64 = 100;
/// Captions are judged from this many different images on.
pub const FEWEST_CAPTIONS: u64 = 200;

/// Without earlier runs: at most this share of captions is the same one.
const MOST_ALIKE: f64 = 0.5;
/// Without earlier runs: at least this share of captions differs.
const FEWEST_DISTINCT: f64 = 0.02;
/// Against earlier runs: as many times fewer captions may differ.
const DISTINCT_FACTOR: f64 = 4.0;
/// Against earlier runs: as many times longer or shorter may captions be on average.
const LENGTH_FACTOR: f64 = 2.0;
/// Against earlier runs: by so much may the log-probability of a token be another on average. One is
/// a factor of e in its probability.
const SCORE_CHANGE: f64 = 1.0;

/// What is let through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guards {
    /// Share of the images tried that may fail; 1 switches the guard off.
    pub max_failures: f64,
    /// Share of a directory's images that may be gone; 1 switches the guard off.
    pub max_deletions: f64,
    /// Whether the run is published whatever is found.
    pub accept: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            max_failures: 0.5,
            max_deletions: 0.2,
            accept: false,
        }
    }
}

/// Something that is wrong with what a run would change.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// A directory could not be listed.
    Unlisted {
        root: String,
        reason: String,
    },
    /// All images of a directory are gone.
    Emptied {
        root: String,
        before: u64,
    },
    Deletions {
        root: String,
        deleted: u64,
        before: u64,
        most: f64,
    },
    Failures {
        failed: u64,
        tried: u64,
        most: f64,
        /// Path and reason of one.
        example: String,
    },
    Alike {
        commonest: u64,
        images: u64,
        caption: String,
    },
    FewDistinct {
        distinct: u64,
        images: u64,
        /// How many in the last run, and of how many images.
        earlier: Option<(u64, u64)>,
    },
    Length {
        words: f64,
        earlier: Option<f64>,
    },
    Score {
        found: f64,
        earlier: f64,
    },
}

impl Guards {
    /// Whether a directory has lost more than it may.
    pub fn too_many_deleted(&self, root: &RootTally) -> bool {
        self.max_deletions < 1.0
            && (is_emptied(root)
                || root.deleted >= FEWEST_IMAGES
                    && share(root.deleted, root.before) > self.max_deletions)
    }

    /// All that is wrong. `earlier`: the captions of the last published runs of the same model, the
    /// newest first.
    pub fn judge(&self, tally: &Tally, earlier: &[CaptionSample]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, root) in &tally.roots {
            if let Some(reason) = &root.unlisted {
                findings.push(Finding::Unlisted {
                    root: name.to_string(),
                    reason: reason.clone(),
                });
            }
            if !self.too_many_deleted(root) {
                continue;
            }
            findings.push(if is_emptied(root) {
                Finding::Emptied {
                    root: name.to_string(),
                    before: root.before,
                }
            } else {
                Finding::Deletions {
                    root: name.to_string(),
                    deleted: root.deleted,
                    before: root.before,
                    most: self.max_deletions,
                }
            });
        }
        if tally.tried >= FEWEST_IMAGES
            && self.max_failures < 1.0
            && share(tally.failed, tally.tried) > self.max_failures
        {
            let example = tally.failure.as_ref();
            findings.push(Finding::Failures {
                failed: tally.failed,
                tried: tally.tried,
                most: self.max_failures,
                example: example
                    .map(|(uri, failure)| format!("{uri}: {}", failure.reason))
                    .unwrap_or_default(),
            });
        }
        judge_captions(tally, earlier, &mut findings);
        findings
    }
}

fn is_emptied(root: &RootTally) -> bool {
    root.before > 0 && root.deleted == root.before && root.added == 0
}

fn judge_captions(tally: &Tally, earlier: &[CaptionSample], findings: &mut Vec<Finding>) {
    let (now, caption) = tally.captions.describe(u64::MAX);
    if now.images < FEWEST_CAPTIONS {
        return;
    }
    let earlier: Vec<_> = earlier
        .iter()
        .filter(|sample| sample.images >= FEWEST_CAPTIONS)
        .collect();

    // An archive may really show one thing: then it did so before.
    let alike_before = earlier
        .iter()
        .map(|sample| share(sample.commonest, sample.images))
        .fold(0.0, f64::max);
    if share(now.commonest, now.images) > f64::max(MOST_ALIKE, 2.0 * alike_before) {
        findings.push(Finding::Alike {
            commonest: now.commonest,
            images: now.images,
            caption,
        });
    }

    // The more images, the smaller the share of captions that differ: compared at the same number.
    // Fewer differ only if fewer do than in every earlier run.
    let few_before = earlier.iter().map(|sample| {
        let (same_size, _) = tally.captions.describe(sample.images);
        let fewest = share(sample.distinct, sample.images) / DISTINCT_FACTOR;
        let few = share(same_size.distinct, same_size.images) < fewest;
        (few, same_size, (sample.distinct, sample.images))
    });
    let few_before: Vec<_> = few_before.collect();
    let few = match few_before.first() {
        None => (share(now.distinct, now.images) < FEWEST_DISTINCT).then_some((now, None)),
        Some((_, same_size, before)) => few_before
            .iter()
            .all(|(few, ..)| *few)
            .then_some((*same_size, Some(*before))),
    };
    if let Some((sample, earlier)) = few {
        findings.push(Finding::FewDistinct {
            distinct: sample.distinct,
            images: sample.images,
            earlier,
        });
    }

    match mean(earlier.iter().map(|sample| sample.words)) {
        None if now.words < 1.0 => findings.push(Finding::Length {
            words: now.words,
            earlier: None,
        }),
        Some(before)
            if now.words < before / LENGTH_FACTOR || now.words > before * LENGTH_FACTOR =>
        {
            findings.push(Finding::Length {
                words: now.words,
                earlier: Some(before),
            });
        }
        _ => {}
    }
    if let Some(before) = mean(earlier.iter().map(|sample| sample.log_prob_per_token))
        && (now.log_prob_per_token - before).abs() > SCORE_CHANGE
    {
        findings.push(Finding::Score {
            found: now.log_prob_per_token,
            earlier: before,
        });
    }
}

fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: u64, whole: u64| 100.0 * share(part, whole);
        match self {
            Finding::Unlisted { root, reason } => write!(out, "{root}: {reason}"),
            Finding::Emptied { root, before } => write!(
                out,
                "{root}: of the {before} images in the table none is there any more; is it mounted?"
            ),
            Finding::Deletions {
                root,
                deleted,
                before,
                most,
            } => write!(
                out,
                "{root}: {deleted} of {before} images are gone, {:.0} %, and at most {:.0} % may be \
                 (--max-deletions)",
                percent(*deleted, *before),
                100.0 * most
            ),
            Finding::Failures {
                failed,
                tried,
                most,
                example,
            } => write!(
                out,
                "{failed} of {tried} new or changed images failed, {:.0} %, and at most {:.0} % may \
                 (--max-failures); the first: {example}",
                percent(*failed, *tried),
                100.0 * most
            ),
            Finding::Alike {
                commonest,
                images,
                caption,
            } => write!(
                out,
                "{commonest} of {images} different images have the same caption: {caption:?}"
            ),
            Finding::FewDistinct {
                distinct,
                images,
                earlier,
            } => {
                write!(
                    out,
                    "{images} different images have only {distinct} captions"
                )?;
                match earlier {
                    Some((before, of)) => write!(out, ", an earlier run had {before} for {of}"),
                    None => Ok(()),
                }
            }
            Finding::Length { words, earlier } => {
                write!(out, "captions have {words:.1} words on average")?;
                match earlier {
                    Some(earlier) => write!(out, ", in the runs before {earlier:.1}"),
                    None => Ok(()),
                }
            }
            Finding::Score { found, earlier } => write!(
                out,
                "a token of a caption has a log-probability of {found:.2} on average, in the runs \
                 before {earlier:.2}"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
