//! Looks after an output directory between runs.
//!
//! [`compact`](compact()) keeps it small; [`PastRun`], [`Standing`] and [`History`] say what is in it. Those
//! three only read: they take no lock, remove nothing, and work beside a run.

mod captions;
mod compact;
mod history;
mod near;
mod past;
mod references;
mod standing;

#[cfg(test)]
mod interruption;

pub use compact::{CompactError, CompactOptions, Compaction, Merged, compact, forecast};
pub use history::{History, HistoryError, RowStanding, Said};
pub use past::{PastRun, past_runs};
pub use standing::{EncoderSize, ModelRows, Size, Standing, StandingError};
