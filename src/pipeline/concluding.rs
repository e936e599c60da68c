//! Turns what the stages have written into the current table, if guards let it, and the run's summary.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};

use super::writing::WrittenParts;
use super::{Live, Models, PipelineError, RunConfig};
use crate::cache::Cache;
use crate::nightly::{Publication, RunOutcome, RunSummary, State, Verdict, publish, slowest_stage};
use crate::table::{FileList, Layout, Part, SnapshotNotes};

/// What is known of a run whose stages are done.
pub struct Conclusion<'a> {
    pub config: &'a RunConfig,
    pub models: &'a Models,
    pub live: &'a Live,
    pub layout: &'a Layout,
    pub state: &'a State,
    pub cache: &'a Cache,
    /// Where only features are wanted.
    pub files: Option<&'a FileList>,
    pub notes: SnapshotNotes,
    pub started: DateTime<Utc>,
    pub roots: Vec<String>,
    /// What there is to say of their names.
    pub spelling: Vec<String>,
}

impl Conclusion<'_> {
    /// Publishes `parts` or sets them aside, and leaves the summary, which is the last that is written.
    pub fn of(self, parts: WrittenParts) -> Result<RunSummary, PipelineError> {
        let publication = match &self.models.captioner {
            Some(_) => self.live.write.time(1, || self.publish(parts.captions))?,
            // Features are kept by content; they need no table.
            None => {
                if let (Some(files), Some(seen)) = (self.files, &parts.seen) {
                    self.live
                        .write
                        .time(1, || files.replace(seen, &self.notes))?;
                }
                Publication::nothing()
            }
        };
        let warnings = self.warnings(&publication.verdict);
        // Asked to stop when all was found already, a run is as whole as any other.
        let whole = self.live.walked.load(Ordering::Relaxed);
        let (outcome, snapshot) = match publication.verdict {
            Verdict::Refused(_) => (RunOutcome::Refused, None),
            Verdict::Published(snapshot) if whole => (RunOutcome::Published, snapshot),
            Verdict::Published(snapshot) => (RunOutcome::Interrupted, snapshot),
        };
        let Self { config, live, .. } = self;
        let findings = publication.findings.iter();
        let identity = self.models.identity();
        let captions = self.models.captioner.is_some();
        let (counts, stages) = (live.counts(), live.stages());
        let summary = RunSummary {
            run_id: self.notes.run_id,
            outcome,
            started: self.started,
            finished: Utc::now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            roots: self.roots,
            options: config.options.clone(),
            model: config.model.clone(),
            encoder_id: identity.encoder_id.to_string(),
            encoder_source: Some(config.encoder_source.clone()),
            captioner_id: captions.then(|| identity.captioner_id.to_string()),
            captioner_source: config.captioner_source.clone(),
            decoding: captions.then(|| identity.decoding.to_string()),
            counts,
            bytes_read: live.bytes.load(Ordering::Relaxed),
            slowest_stage: slowest_stage(&stages, &counts),
            stages,
            captions: publication.captions,
            embeddings: parts.embeddings,
            snapshot,
            caption_sample: publication.caption_sample,
            findings: findings.map(ToString::to_string).collect(),
            warnings,
        };
        summary.counts.check()?;
        summary.write(self.layout)?;
        Ok(summary)
    }

    fn publish(&self, captions: Vec<Part>) -> Result<Publication, PipelineError> {
        let identity = self.models.identity();
        let guards = &self.config.guards;
        Ok(publish(
            self.layout,
            self.state,
            captions,
            &identity,
            guards,
            &self.notes,
        )?)
    }

    fn warnings(&self, verdict: &Verdict) -> Vec<String> {
        let cache = self.cache.damaged();
        let files = self.files.and_then(FileList::damaged);
        let damaged = self.state.damaged().iter().chain(&cache).chain(files);
        let damaged = damaged
            .map(|damage| format!("{} was left out: {}", damage.path.display(), damage.reason));
        let aside = match verdict {
            Verdict::Refused(interrupted) => interrupted.as_slice(),
            Verdict::Published(_) => &[],
        };
        let aside = aside.iter().map(|run_id| {
            format!("the rows of {run_id}, which was interrupted, are set aside too")
        });
        let spelling = self.spelling.iter().cloned();
        damaged
            .chain(aside)
            .chain(spelling)
            .chain(self.nothing_found())
            .collect()
    }

    /// That there was no image at all: more likely a wrong directory than an empty archive.
    fn nothing_found(&self) -> Option<String> {
        let counts = self.live.counts();
        if counts.found > 0 || !self.live.walked.load(Ordering::Relaxed) {
            return None;
        }
        let roots = self.config.walk.roots.iter();
        let roots: Vec<_> = roots.map(|root| root.display().to_string()).collect();
        let mut text = format!("no image was found below {}", roots.join(", "));
        if counts.not_images > 0 {
            text += &format!("; other files: {}", counts.not_images);
        }
        if counts.skipped > 0 {
            text += &format!(
                "; left out as hidden, excluded, links out of the directory or special files: {}",
                counts.skipped
            );
        }
        Some(text)
    }
}
