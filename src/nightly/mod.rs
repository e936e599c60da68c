//! Decides what a run has to do: what is new, what is known.
//!
//! [`Lock`] (one run at a time) -> [`State`] (what earlier runs left) -> [`Plan`] (what to do about
//! each file) -> [`publish`] (make it current, unless [`Guards`] are against it) -> [`RunSummary`]
//! (what was done).

mod caption_sample;
mod guards;
#[cfg(test)]
mod interruption;
mod known_captions;
mod lock;
mod metrics;
mod model_source;
mod plan;
mod publication;
mod repair;
mod state;
mod summary;
mod tally;

pub use caption_sample::{CaptionSample, CaptionSampler};
pub use guards::{Finding, Guards};
pub use known_captions::{CaptionSource, KnownCaptions};
pub use lock::{Lock, LockError, holder};
pub use metrics::{RunEnd, RunMetrics};
pub use model_source::{ModelFile, ModelSource, RecordedIds};
pub use plan::{Action, Because, Plan, PlanError, PlanOptions};
pub use publication::{Publication, PublicationError, Verdict, publish};
pub use state::{KnownRows, State, StateError};
pub use summary::{Counts, RunOutcome, RunSummary, StageTime, SummaryError, runs, slowest_stage};
pub use tally::Tally;
