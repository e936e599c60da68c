//! Writes captions as rows of Parquet and Arrow tables.
//!
//! [`Row`] -> [`PartWriter`] -> Parquet parts -> [`snapshot`] (the current row of each image).
//!
//! Everything here reaches its final name whole and synced, or not at all.

#[cfg(test)]
pub(crate) mod arbitrary;
mod columns;
mod durable;
mod error;
mod file_list;
mod layout;
mod merge;
mod merged;
mod parts;
mod replace;
mod row;
mod run_id;
mod schema;
mod seal;
mod sealed;
mod snapshot;
/// Publishes the current rows as a Delta Lake table.
#[cfg(feature = "delta")]
pub mod warehouse;

pub(crate) use columns::{BeamColumns, Columns, check_columns};
pub use columns::{Known, KnownColumns, Shared, Status, batch_to_rows, known_schema};
#[cfg(test)]
pub(crate) use durable::steps;
pub use durable::{DurableFile, FileError, StagedFile, Written};
pub(crate) use durable::{
    create_dir, create_empty, names, put_in_place, remove_temporaries, temporary_path,
};
pub use error::{Damage, TableError};
pub use file_list::{FileList, FileListError};
pub use layout::{Layout, LayoutError};
pub(crate) use layout::{embeddings_part, embeddings_run, is_part, part_number};
pub use merge::{Deletions, KeyedBatch, Merge, MergedBatches, MergedRow, Source};
pub use merged::{MERGED_PART_ROWS, PartSize, stage_merged};
pub use parts::{PART_ROWS, Part, PartFile, PartWriter};
pub use replace::{Replacement, finish_replacement};
pub use row::{Identity, Outcome, Row};
pub use run_id::{NotARunId, RunId};
pub(crate) use schema::CAPTIONED;
pub use schema::{rows_to_batch, schema};
pub use sealed::{SealedFile, SealedWriter};
pub use snapshot::{Snapshot, SnapshotBatches, SnapshotNotes, part_source, write_snapshot};
