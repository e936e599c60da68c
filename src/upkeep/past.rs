//! Lists the runs of an output directory, those too that left no summary.

use crate::nightly::{RunSummary, SummaryError, holder};
use crate::table::{Layout, LayoutError, RunId, embeddings_run, names};

/// A run, as far as it can be told.
#[derive(Debug)]
pub enum PastRun {
    /// It lived to write its summary.
    Ended(Box<RunSummary>),
    /// It was killed, or the machine went down. What it finished is kept.
    Killed(RunId),
    /// It holds the lock.
    UnderWay(RunId),
    /// Its summary cannot be read.
    Unreadable(RunId, SummaryError),
}

impl PastRun {
    pub fn run_id(&self) -> RunId {
        match self {
            Self::Ended(summary) => summary.run_id,
            Self::Killed(run_id) | Self::UnderWay(run_id) | Self::Unreadable(run_id, _) => *run_id,
        }
    }
}

/// All runs that left anything, oldest first.
pub fn past_runs(layout: &Layout) -> Result<Vec<PastRun>, LayoutError> {
    // Before the files are listed: a run that ends meanwhile is then not taken for a killed one.
    let is_held = holder(layout)?.is_some();
    let mut left = layout.runs_with_rows()?;
    for encoder in layout.encoders()? {
        let parts = names(&layout.embeddings(&encoder)?)?;
        left.extend(parts.iter().filter_map(|name| embeddings_run(name)));
    }
    left.extend(layout.runs_refused()?);
    left.extend(layout.runs_with_summary()?);
    left.sort_unstable();
    left.dedup();
    let last = left.last().copied();
    let run = |run_id: RunId| match RunSummary::read(layout, &run_id) {
        Ok(Some(summary)) => PastRun::Ended(Box::new(summary)),
        Ok(None) if is_held && Some(run_id) == last => PastRun::UnderWay(run_id),
        Ok(None) => PastRun::Killed(run_id),
        Err(error) => PastRun::Unreadable(run_id, error),
    };
    Ok(left.into_iter().map(run).collect())
}
