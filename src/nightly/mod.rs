//! Decides what a run has to do: what is new, what is known.
//!
//! [`Lock`] (one run at a time) -> [`State`] (what earlier runs left) -> [`Plan`] (what to do about
//! each file) -> [`RunSummary`] (what was done).

mod caption_sample;
#[cfg(test)]
mod interruption;
mod lock;
mod model_files;
mod plan;
mod state;
mod summary;

pub use caption_sample::{CaptionSample, CaptionSampler};
pub use lock::{Lock, LockError};
pub use model_files::{ModelFile, ModelIds};
pub use plan::{Action, Because, Plan, PlanError, PlanOptions};
pub use state::{KnownRows, State, StateError};
pub use summary::{Counts, RunOutcome, RunSummary, StageTime, SummaryError, runs};
