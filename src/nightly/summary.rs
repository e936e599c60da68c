//! Turns what a run did into `runs/<run_id>.json`, the last file that it writes.
//!
//! For the person who asks what happened last night, and for the next run, which learns from it
//! whether the rows were published.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::caption_sample::CaptionSample;
use super::model_source::ModelSource;
use crate::table::{DurableFile, FileError, Layout, LayoutError, Part, RunId};

/// What one run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub run_id: RunId,
    pub outcome: RunOutcome,
    pub started: DateTime<Utc>,
    pub finished: DateTime<Utc>,
    /// Version of showtell.
    pub version: String,
    pub roots: Vec<String>,
    /// Options as given, by name.
    pub options: BTreeMap<String, serde_json::Value>,
    pub model: String,
    pub encoder_id: String,
    /// What that id was computed from.
    #[serde(default)]
    pub encoder_source: Option<ModelSource>,
    /// `None` for a run that only embeds.
    #[serde(default)]
    pub captioner_id: Option<String>,
    /// What that id was computed from.
    #[serde(default)]
    pub captioner_source: Option<ModelSource>,
    /// The decode parameters, as JSON; `None` for a run that only embeds.
    #[serde(default)]
    pub decoding: Option<String>,
    pub counts: Counts,
    /// Read from the archive.
    pub bytes_read: u64,
    /// By name of the stage.
    pub stages: BTreeMap<String, StageTime>,
    /// The one of them that the others waited for; `None` if the run had nothing to do, or is of
    /// before this was noted.
    #[serde(default)]
    pub slowest_stage: Option<String>,
    pub captions: Vec<Part>,
    pub embeddings: Vec<Part>,
    /// `captions.arrow`, if the run wrote it.
    #[serde(default)]
    pub snapshot: Option<Part>,
    /// The captions that the run was about to make current, taken together.
    #[serde(default)]
    pub caption_sample: Option<CaptionSample>,
    /// What the guards found amiss. If the run is published all the same, it was told to accept it.
    #[serde(default)]
    pub findings: Vec<String>,
    pub warnings: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunOutcome {
    /// All rows are in the snapshot.
    Published,
    /// A guard kept the rows out of the table and set them aside; the next run starts from before
    /// them.
    Refused,
    /// It was stopped; what it finished is kept, the next run goes on from there.
    Interrupted,
}

/// How many of what. Each path that the walk met and that is an image counts once in `found`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub found: u64,
    /// Rows written with captions.
    pub captioned: u64,
    /// Rows written with an error.
    pub failed: u64,
    /// Left as an earlier run has them.
    pub unchanged: u64,
    /// Of those unchanged, the ones that failed then and were not tried again.
    pub unchanged_failed: u64,
    /// Rows written for files that are gone.
    pub deleted: u64,
    /// Files that are no images.
    pub not_images: u64,
    /// Files that the user's filters left out.
    pub skipped: u64,
    /// Images that went through the encoder.
    pub embedded: u64,
    /// Images that did not, as their features were in the cache.
    pub from_cache: u64,
    /// Images that needed neither features nor the captioner, as the table has captions of the same
    /// bytes by the same model.
    #[serde(default)]
    pub from_table: u64,
    /// Images that needed neither, having the same bytes as an earlier one of this run.
    pub duplicates: u64,
    /// Of those captioned, files whose time or size is new and whose bytes are not.
    #[serde(default)]
    pub touched: u64,
}

/// A stage's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    pub seconds: f64,
    pub items: u64,
    /// Items per second.
    pub rate: f64,
}

impl StageTime {
    /// `items` done in `seconds`.
    pub fn new(items: u64, seconds: f64) -> Self {
        let rate = if seconds > 0.0 {
            items as f64 / seconds
        } else {
            0.0
        };
        Self {
            seconds,
            items,
            rate,
        }
    }
}

/// A summary that cannot be written, read or believed.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("{} is not a run summary", path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error(
        "counts do not add up: found {found}, but captioned {captioned} + failed {failed} + unchanged {unchanged}"
    )]
    Sum {
        found: u64,
        captioned: u64,
        failed: u64,
        unchanged: u64,
    },
    #[error("counts do not add up: {part} of {part_count} in {whole} of {whole_count}")]
    Share {
        part: &'static str,
        part_count: u64,
        whole: &'static str,
        whole_count: u64,
    },
}

impl Counts {
    /// Proves that every image found has come to exactly one end.
    pub fn check(&self) -> Result<(), SummaryError> {
        let Self {
            found,
            captioned,
            failed,
            unchanged,
            ..
        } = *self;
        if u128::from(found) != u128::from(captioned) + u128::from(failed) + u128::from(unchanged) {
            return Err(SummaryError::Sum {
                found,
                captioned,
                failed,
                unchanged,
            });
        }
        if self.unchanged_failed > unchanged {
            return Err(SummaryError::Share {
                part: "unchanged_failed",
                part_count: self.unchanged_failed,
                whole: "unchanged",
                whole_count: unchanged,
            });
        }
        Ok(())
    }
}

/// The stage that the others waited for: of those that did anything, the one that was busy longest. `None` for
/// a run that had nothing to do but to walk.
pub fn slowest_stage(stages: &BTreeMap<String, StageTime>, counts: &Counts) -> Option<String> {
    if counts.captioned + counts.failed + counts.embedded == 0 {
        return None;
    }
    let active = stages.iter().filter(|(_, stage)| stage.items > 0);
    let slowest = active.max_by(|(_, a), (_, b)| a.seconds.total_cmp(&b.seconds));
    slowest.map(|(name, _)| name.clone())
}

impl RunSummary {
    /// Makes the summary durable under its name.
    pub fn write(&self, layout: &Layout) -> Result<(), SummaryError> {
        let path = layout.summary(&self.run_id);
        let mut json = serde_json::to_vec_pretty(self).map_err(|source| SummaryError::Json {
            path: path.clone(),
            source,
        })?;
        json.push(b'\n');
        let mut file = DurableFile::create(&path)?;
        file.write_all(&json)
            .map_err(FileError::on("write", &path))?;
        file.commit()?;
        Ok(())
    }

    /// The summary of a run; `None` if there is none.
    pub fn read(layout: &Layout, run_id: &RunId) -> Result<Option<Self>, SummaryError> {
        let path = layout.summary(run_id);
        let json = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            json => json.map_err(FileError::on("read", &path))?,
        };
        let summary = serde_json::from_slice(&json);
        summary
            .map(Some)
            .map_err(|source| SummaryError::Json { path, source })
    }
}

/// The summaries of all runs, oldest first; an unreadable one is an error in its place.
pub fn runs(layout: &Layout) -> Result<Vec<Result<RunSummary, SummaryError>>, LayoutError> {
    let runs = layout.runs_with_summary()?;
    let read = |run_id: &RunId| RunSummary::read(layout, run_id).transpose();
    Ok(runs.iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::super::ModelFile;
    use super::*;
    use crate::table::arbitrary::{run_id, scratch};

    fn summary() -> RunSummary {
        RunSummary {
            run_id: run_id(1),
            outcome: RunOutcome::Published,
            started: DateTime::UNIX_EPOCH,
            finished: DateTime::from_timestamp(90, 0).unwrap(),
            version: "0.1.0".to_owned(),
            roots: vec!["archive".to_owned()],
            options: BTreeMap::from([("beam".to_owned(), 3.into())]),
            model: "demo".to_owned(),
            encoder_id: "encoder".to_owned(),
            encoder_source: Some(ModelSource {
                description: "{}".to_owned(),
                files: vec![ModelFile {
                    path: "/models/demo/encoder.safetensors".to_owned(),
                    bytes: 1 << 20,
                    modified: -1,
                }],
            }),
            captioner_id: Some("captioner".to_owned()),
            captioner_source: None,
            decoding: Some("{}".to_owned()),
            counts: Counts {
                found: 6,
                captioned: 1,
                failed: 2,
                unchanged: 3,
                unchanged_failed: 1,
                ..Counts::default()
            },
            bytes_read: 1 << 40,
            stages: BTreeMap::from([("encode".to_owned(), StageTime::new(90, 45.0))]),
            slowest_stage: Some("encode".to_owned()),
            captions: vec![Part {
                file: "captions/run=x/part-00000.parquet".to_owned(),
                rows: 3,
                bytes: 1000,
                blake3: "00".repeat(32),
            }],
            embeddings: Vec::new(),
            snapshot: None,
            caption_sample: Some(CaptionSample {
                images: 1,
                distinct: 1,
                commonest: 1,
                words: 7.5,
                log_prob_per_token: -0.75,
            }),
            findings: vec!["half of it is gone".to_owned()],
            warnings: vec!["a warning".to_owned()],
        }
    }

    #[test]
    fn comes_back_as_it_was_written() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        assert!(RunSummary::read(&layout, &run_id(1)).unwrap().is_none());
        summary().write(&layout).unwrap();
        let back = RunSummary::read(&layout, &run_id(1)).unwrap();
        assert_eq!(back, Some(summary()));
        assert_eq!(back.unwrap().stages["encode"].rate, 2.0);
    }

    #[test]
    fn the_slowest_stage_is_the_one_that_was_busy_longest() {
        let counts = summary().counts;
        let quiet = Counts {
            unchanged: counts.found,
            ..Counts::default()
        };
        let slowest = |stages: &[(&str, u64, f64)], counts: &Counts| {
            let stages = stages
                .iter()
                .map(|&(name, items, seconds)| (name.to_owned(), StageTime::new(items, seconds)));
            slowest_stage(&stages.collect(), counts)
        };
        let check = |stages: &[(&str, u64, f64)], expected: Option<&str>| {
            assert_eq!(slowest(stages, &counts).as_deref(), expected);
        };
        check(&[("read", 9, 5.0), ("encode", 9, 4.0)], Some("read"));
        let more = [("read", 9, 3.0), ("encode", 9, 4.0), ("caption", 9, 2.0)];
        check(&more, Some("encode"));
        check(&[("walk", 9, 0.1), ("write", 0, 0.3)], Some("walk"));
        check(&[("walk", 0, 0.1)], None);
        // On a quiet night nothing waits for the walk.
        assert_eq!(slowest(&[("walk", 9, 0.1)], &quiet), None);
    }

    #[test]
    fn a_summary_of_before_guards_is_read() {
        let mut old = serde_json::to_value(summary()).unwrap();
        for added in [
            "encoder_source",
            "captioner_source",
            "caption_sample",
            "findings",
            "slowest_stage",
        ] {
            old.as_object_mut().unwrap().remove(added);
        }
        for added in ["from_table", "touched"] {
            old["counts"].as_object_mut().unwrap().remove(added);
        }
        let read: RunSummary = serde_json::from_value(old).unwrap();
        assert_eq!(read.counts, summary().counts);
        assert_eq!(read.encoder_source, None);
    }

    #[test]
    fn lists_runs_and_names_what_is_no_summary() {
        let out = scratch();
        let layout = Layout::create(out.path()).unwrap();
        summary().write(&layout).unwrap();
        fs::write(layout.summary(&run_id(2)), "{").unwrap();
        fs::write(layout.summaries().join("notes.json"), "{}").unwrap();
        let runs = runs(&layout).unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0].as_ref().unwrap(), &summary());
        assert!(
            matches!(&runs[1], Err(SummaryError::Json { path, .. }) if *path == layout.summary(&run_id(2)))
        );
    }

    #[test]
    fn counts_have_to_add_up() {
        let counts = summary().counts;
        counts.check().unwrap();
        let one_lost = Counts { found: 7, ..counts };
        assert_eq!(
            one_lost.check().unwrap_err().to_string(),
            "counts do not add up: found 7, but captioned 1 + failed 2 + unchanged 3"
        );
        let impossible = Counts {
            unchanged_failed: 4,
            ..counts
        };
        assert!(matches!(
            impossible.check(),
            Err(SummaryError::Share { .. })
        ));
        let overflowing = Counts {
            captioned: u64::MAX,
            failed: u64::MAX,
            ..counts
        };
        assert!(matches!(overflowing.check(), Err(SummaryError::Sum { .. })));
    }
}
