//! Turns the rows that a run wrote into the current table, or sets them aside.
//!
//! Guards look at all rows that are not current yet: this run's and those of interrupted runs before
//! it. What is refused is moved out of the table first and told in the run's summary afterwards, so
//! that a kill in between leaves nothing that the next run could take for good. A kill before leaves
//! an interrupted run, whose rows the next run judges together with its own.

use super::caption_sample::CaptionSample;
use super::guards::{Finding, Guards};
use super::state::State;
use super::summary::{RunOutcome, RunSummary};
use super::tally::Tally;
use crate::table::{
    FileError, Identity, Layout, LayoutError, Part, RunId, SnapshotNotes, TableError,
};

/// How many earlier runs captions are held against.
const EARLIER_RUNS: usize = 5;

/// What became of the rows that a run wrote.
#[derive(Debug)]
pub struct Publication {
    pub verdict: Verdict,
    /// The run's parts, where they are now.
    pub captions: Vec<Part>,
    pub caption_sample: Option<CaptionSample>,
    pub findings: Vec<Finding>,
}

impl Publication {
    /// Of a run that wrote no rows: the table stands as it was.
    pub fn nothing() -> Self {
        Publication {
            verdict: Verdict::Published(None),
            captions: Vec::new(),
            caption_sample: None,
            findings: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub enum Verdict {
    /// They are current; the snapshot, if it was written anew.
    Published(Option<Part>),
    /// They are set aside, and so are those of these interrupted runs.
    Refused(Vec<RunId>),
}

/// The rows could be neither published nor set aside.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Publishes the rows of `parts`, which the run `notes.run_id` has written under `identity`, and
/// those of interrupted runs, unless `guards` are against it.
pub fn publish(
    layout: &Layout,
    state: &State,
    parts: Vec<Part>,
    identity: &Identity,
    guards: &Guards,
    notes: &SnapshotNotes,
) -> Result<Publication, PublicationError> {
    if parts.is_empty() && state.is_published() {
        return Ok(Publication::nothing());
    }
    let mut tally = Tally::over(state.published()?, state.unpublished(&parts)?, identity)?;
    if tally
        .roots
        .values()
        .any(|root| guards.too_many_deleted(root))
    {
        tally.forgive_moved(state.unpublished(&parts)?)?;
    }
    let findings = guards.judge(&tally, &earlier_samples(layout, identity)?);
    let caption_sample = tally.captions.sample();
    let (verdict, captions) = if findings.is_empty() || guards.accept {
        let snapshot = state.publish(&parts, notes)?;
        (Verdict::Published(Some(snapshot)), parts)
    } else {
        let interrupted = set_aside(layout, state, &notes.run_id)?;
        let aside = layout.refused(&notes.run_id);
        let moved = |part: Part| Part {
            file: layout.relative(&aside.join(part.file.rsplit('/').next().unwrap_or_default())),
            ..part
        };
        (
            Verdict::Refused(interrupted),
            parts.into_iter().map(moved).collect(),
        )
    };
    Ok(Publication {
        verdict,
        captions,
        caption_sample,
        findings,
    })
}

/// Takes all rows out of the table that are not current yet, those of `run_id` last. Returns the other
/// runs that had any.
pub(super) fn set_aside(
    layout: &Layout,
    state: &State,
    run_id: &RunId,
) -> Result<Vec<RunId>, FileError> {
    let interrupted: Vec<RunId> = state.interrupted_runs().copied().collect();
    for run_id in interrupted.iter().chain([run_id]) {
        layout.set_aside(run_id)?;
    }
    Ok(interrupted)
}

/// What captions looked like in the last published runs of the same model, the newest first.
fn earlier_samples(
    layout: &Layout,
    identity: &Identity,
) -> Result<Vec<CaptionSample>, LayoutError> {
    let runs = layout.runs_with_summary()?;
    let published = runs.iter().rev().filter_map(|run_id| {
        // One that cannot be read is of no use here; whoever lists runs names it.
        let summary = RunSummary::read(layout, run_id).ok().flatten()?;
        let same_model = summary.encoder_id == *identity.encoder_id
            && summary.captioner_id.as_deref() == Some(&*identity.captioner_id)
            && summary.decoding.as_deref() == Some(&*identity.decoding);
        let counts = same_model && summary.outcome == RunOutcome::Published;
        summary.caption_sample.filter(|_| counts)
    });
    Ok(published.take(EARLIER_RUNS).collect())
}
