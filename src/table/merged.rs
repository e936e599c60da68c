//! Turns a stream of rows in order into few large parts.
//!
//! The parts are staged, not yet under their names: they come to stand for parts that are there, and
//! [`Replacement`](super::Replacement) lets them take their places together. Stands apart from
//! [`parts`](super::parts) because a run makes its rows in memory and these only pass through it.

use arrow::array::{RecordBatch, StringArray};

use super::columns::Columns;
use super::durable::StagedFile;
use super::parts::{note_contents, properties};
use super::schema::schema;
use super::{Layout, MergedBatches, RunId, SealedWriter, TableError};

/// Rows in a merged part: some tens of megabytes.
pub const MERGED_PART_ROWS: usize = 131_072;

/// Larger than in the part of a run: merged parts are few, and few row groups are read faster.
const ROW_GROUP_ROWS: usize = 8192;

/// How large merged parts become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSize {
    pub rows: usize,
}

impl Default for PartSize {
    fn default() -> Self {
        Self {
            rows: MERGED_PART_ROWS,
        }
    }
}

impl PartSize {
    /// Rows in each batch of the stream; whole row groups fill a part.
    pub fn batch_rows(self) -> usize {
        ROW_GROUP_ROWS.min(self.rows.max(1))
    }

    /// The fewest parts for so many rows.
    pub fn parts(self, rows: u64) -> u64 {
        rows.div_ceil(self.rows.max(1) as u64)
    }
}

/// Writes `batches`, of all columns and of [`PartSize::batch_rows`] each, as parts of `run_id` from
/// number `first` on.
pub fn stage_merged(
    layout: &Layout,
    run_id: &RunId,
    first: u32,
    size: PartSize,
    batches: MergedBatches,
) -> Result<Vec<(StagedFile, u64)>, TableError> {
    let mut staged = Vec::new();
    let mut open: Option<(SealedWriter, usize)> = None;
    for batch in batches {
        let batch = batch?;
        let (mut writer, rows) = match open.take() {
            Some(open) => open,
            None => {
                let number = u32::try_from(staged.len()).unwrap_or(u32::MAX);
                let path = layout.part(run_id, first.saturating_add(number));
                let mut writer = SealedWriter::create(&path, schema(), properties())?;
                let (root, uri) = first_key(&batch, &path)?;
                note_contents(&mut writer, run_id, (&root, &uri));
                (writer, 0)
            }
        };
        writer.write_row_group(&batch)?;
        let rows = rows + batch.num_rows();
        if rows >= size.rows {
            staged.push((writer.stage()?, rows as u64));
        } else {
            open = Some((writer, rows));
        }
    }
    if let Some((writer, rows)) = open {
        staged.push((writer.stage()?, rows as u64));
    }
    Ok(staged)
}

fn first_key(batch: &RecordBatch, path: &std::path::Path) -> Result<(String, String), TableError> {
    let columns = Columns { batch, path };
    let first = |name| {
        let column: StringArray = columns.required(name)?;
        let first = column.iter().flatten().next();
        Ok::<_, TableError>(first.unwrap_or_default().to_owned())
    };
    Ok((first("root")?, first("uri")?))
}
