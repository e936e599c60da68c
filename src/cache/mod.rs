//! Keeps features as Parquet, keyed by content and encoder.
//!
//! image id and features -> [`CacheWriter`] -> `OUT/embeddings/<encoder_id>/part-<run_id>-NNNNN.parquet`
//! -> [`Cache`] -> features, the very values that were captioned.
//!
//! Nothing here knows of images or of captions. A damaged part costs its embeddings, never the run.

mod growing;
mod index;
mod part;
mod precision;
mod reader;
mod recent;
mod sweep;
mod writer;

pub use part::Spec;
pub use precision::{Precision, round};
pub use reader::Cache;
pub use sweep::{Sweep, SweepSize};
pub use writer::{CacheError, CacheWriter};
