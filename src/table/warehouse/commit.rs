//! Turns a difference into one version of the Delta table.
//!
//! Whatever the way, a commit either becomes the version after the one that was compared with, or
//! fails: nothing is left to a conflict check, which might let two publishers add the same rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use deltalake::datafusion::catalog::streaming::StreamingTable;
use deltalake::datafusion::datasource::provider_as_source;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::{SendableRecordBatchStream, TaskContext};
use deltalake::datafusion::logical_expr::LogicalPlanBuilder;
use deltalake::datafusion::physical_plan::stream::RecordBatchReceiverStream;
use deltalake::datafusion::physical_plan::streaming::PartitionStream;
use deltalake::datafusion::prelude::{col, lit};
use deltalake::kernel::transaction::CommitProperties;
use deltalake::operations::write::SchemaMode;
use deltalake::parquet::basic::{Compression, ZstdLevel};
use deltalake::parquet::file::properties::WriterProperties;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaResult, DeltaTable};
use futures::StreamExt;

use super::WarehouseError;
use super::columns::TargetColumns;
use super::difference::{Difference, Rows};
use super::target::Target;
use super::transaction::transaction_of;
use crate::table::schema::DELETED;
use crate::table::{Snapshot, TableError, schema};

/// Rows merged in memory, at most; with more, the table is written anew in a stream.
const MERGED_ROWS: u64 = 1 << 17;

/// Held in memory while it is written.
const ROW_GROUP_ROWS: usize = 1 << 15;

/// How a difference is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// There is no table yet.
    Create,
    /// New rows come in files of their own, all others stay where they are.
    Append,
    /// Only files with rows that change or go are written anew.
    Merge,
    /// All rows are written anew.
    Rewrite,
}

impl Way {
    /// The cheapest way that leaves the table equal to the snapshot; `None` if it is so already.
    pub fn to_apply(difference: &Difference, columns: &TargetColumns) -> Option<Self> {
        let merged = difference.changed + difference.deleted;
        if difference.has_doubles {
            return Some(Self::Rewrite);
        }
        // A rewrite would lose what others put into columns of their own.
        if !columns.some_added
            && (columns.some_missing || merged > 0 && merged + difference.added > MERGED_ROWS)
        {
            return Some(Self::Rewrite);
        }
        match (difference.added, merged) {
            (0, 0) => None,
            (_, 0) => Some(Self::Append),
            _ => Some(Self::Merge),
        }
    }
}

/// Commits, and returns the version that the table has then.
pub async fn commit(
    target: &Target,
    snapshot: &Snapshot,
    difference: &Arc<Difference>,
    columns: &TargetColumns,
    way: Way,
) -> Result<u64, WarehouseError> {
    let selection = Selection {
        columns: columns.ours.clone(),
        snapshot: snapshot.clone(),
        difference: difference.clone(),
        rows: match way {
            Way::Create | Way::Rewrite => Rows::All,
            Way::Append => Rows::Added,
            Way::Merge => Rows::AddedOrChanged,
        },
    };
    let table = match way {
        Way::Create => write(target, selection, SaveMode::ErrorIfExists, None).await,
        Way::Append | Way::Rewrite => {
            let mode = match way {
                Way::Append => SaveMode::Append,
                _ => SaveMode::Overwrite,
            };
            let differs = columns.some_added || columns.some_missing;
            write(
                target,
                selection,
                mode,
                differs.then_some(SchemaMode::Merge),
            )
            .await
        }
        Way::Merge => {
            let batches = merge_source(target, selection, difference).await?;
            merge(target, batches, snapshot, columns).await
        }
    };
    let table = table.map_err(|error| target.failed("write", error))?;
    Ok(table.version().unwrap_or_default())
}

fn properties(snapshot: &Snapshot) -> CommitProperties {
    let run_id = &snapshot.notes().run_id;
    let notes = serde_json::json!({
        "run_id": run_id,
        "model": snapshot.notes().model,
        "version": env!("CARGO_PKG_VERSION"),
    });
    CommitProperties::default()
        .with_max_retries(0)
        .with_application_transaction(transaction_of(run_id))
        .with_metadata([("showtell".to_owned(), notes)])
}

fn parquet() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build()
}

/// Streams the selection into new files.
async fn write(
    target: &Target,
    selection: Selection,
    mode: SaveMode,
    schema_mode: Option<SchemaMode>,
) -> DeltaResult<DeltaTable> {
    let session = target.session()?;
    let commit = properties(&selection.snapshot);
    let stream = StreamingTable::try_new(selection.columns.clone(), vec![Arc::new(selection)])?;
    let plan = LogicalPlanBuilder::scan("snapshot", provider_as_source(Arc::new(stream)), None)?;
    let mut write = target
        .table()
        .clone()
        .write(Vec::new())
        .with_input_plan(plan.build()?)
        .with_session_state(Arc::new(session.state()))
        .with_save_mode(mode)
        .with_table_name("captions")
        .with_description("The current row of each image, published by showtell")
        .with_writer_properties(parquet())
        .with_commit_properties(commit);
    if let Some(mode) = schema_mode {
        write = write.with_schema_mode(mode);
    }
    write.await
}

/// The rows to put in, and for each to take out its key and the status `deleted`.
async fn merge_source(
    target: &Target,
    selection: Selection,
    difference: &Difference,
) -> Result<Vec<RecordBatch>, WarehouseError> {
    let mut batches = Vec::new();
    for batch in selection.nullable().batches()? {
        let batch = batch?;
        if batch.num_rows() > 0 {
            batches.push(batch);
        }
    }
    if difference.deleted > 0 {
        let mut stored = target.scan().await?;
        while let Some(batch) = stored.next().await {
            let batch = batch.map_err(|error| target.failed("read", error))?;
            let deleted = difference.select_deleted(&batch);
            let deleted = deleted.and_then(|keys| deletions(&keys));
            let deleted = deleted.map_err(|error| target.failed("read", error))?;
            if deleted.num_rows() > 0 {
                batches.push(deleted);
            }
        }
    }
    Ok(batches)
}

/// Rows that say of these roots and uris that they are deleted, and nothing else.
fn deletions(keys: &[(String, String)]) -> Result<RecordBatch, ArrowError> {
    let text = |texts: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let schema = all_nullable(&schema());
    let columns = schema.fields().iter().map(|field| match &**field.name() {
        "root" => text(keys.iter().map(|(root, _)| root.as_str()).collect()),
        "uri" => text(keys.iter().map(|(_, uri)| uri.as_str()).collect()),
        "status" => text(vec![DELETED; keys.len()]),
        _ => new_null_array(field.data_type(), keys.len()),
    });
    RecordBatch::try_new(schema.clone(), columns.collect())
}

fn all_nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let nullable = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(nullable.collect::<Vec<_>>()))
}

async fn merge(
    target: &Target,
    source: Vec<RecordBatch>,
    snapshot: &Snapshot,
    columns: &TargetColumns,
) -> DeltaResult<DeltaTable> {
    let session = target.session()?;
    let source = session.read_batches(source)?;
    let is_deleted = || col("source.status").eq(lit(DELETED));
    let names: Vec<String> = schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let of_source = |name: &str| col(format!("source.{name}"));
    let is_same = of_source("root")
        .eq(col("target.root"))
        .and(of_source("uri").eq(col("target.uri")));
    let (table, metrics) = target
        .table()
        .clone()
        .merge(source, is_same)
        .with_source_alias("source")
        .with_target_alias("target")
        .with_session_state(Arc::new(session.state()))
        .with_writer_properties(parquet())
        .with_commit_properties(properties(snapshot))
        .with_merge_schema(columns.some_missing)
        .when_matched_delete(|delete| delete.predicate(is_deleted()))?
        .when_matched_update(|update| {
            let names = names.iter();
            names.fold(update, |update, name| {
                update.update(name.as_str(), of_source(name))
            })
        })?
        .when_not_matched_insert(|insert| {
            let insert = insert.predicate(col("source.status").not_eq(lit(DELETED)));
            let names = names.iter();
            names.fold(insert, |insert, name| {
                insert.set(name.as_str(), of_source(name))
            })
        })?
        .await?;
    tracing::debug!(?metrics, "merged");
    Ok(table)
}

/// Rows of a snapshot, each time that they are asked for.
#[derive(Debug)]
struct Selection {
    /// Ours, with what may be null in them.
    columns: SchemaRef,
    snapshot: Snapshot,
    difference: Arc<Difference>,
    rows: Rows,
}

impl Selection {
    /// The same with columns that may all be null.
    fn nullable(self) -> Self {
        Self {
            columns: all_nullable(&self.columns),
            ..self
        }
    }

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, TableError>> + use<>, TableError> {
        let path = self.snapshot.path().to_owned();
        let (difference, rows) = (self.difference.clone(), self.rows);
        let columns = self.columns.clone();
        let batches = self.snapshot.batches(schema())?;
        Ok(batches.map(move |batch| {
            let selected = difference.select(&batch?, rows);
            let selected = selected
                .and_then(|batch| RecordBatch::try_new(columns.clone(), batch.columns().to_vec()));
            selected.map_err(TableError::arrow("read", &path))
        }))
    }
}

impl PartitionStream for Selection {
    fn schema(&self) -> &SchemaRef {
        &self.columns
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(self.columns.clone(), 2);
        let sender = stream.tx();
        let batches = self.batches();
        // The snapshot is read with blocking calls.
        stream.spawn_blocking(move || {
            let outside = |error: TableError| DataFusionError::External(Box::new(error));
            for batch in batches.map_err(outside)? {
                if sender.blocking_send(batch.map_err(outside)).is_err() {
                    // Nobody reads on: whoever did says why.
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(counts: [u64; 3], [missing, added, doubles]: [bool; 3], expected: Option<Way>) {
        let difference = Difference {
            added: counts[0],
            changed: counts[1],
            deleted: counts[2],
            has_doubles: doubles,
            ..Difference::default()
        };
        let columns = TargetColumns {
            ours: schema(),
            some_missing: missing,
            some_added: added,
        };
        assert_eq!(Way::to_apply(&difference, &columns), expected);
    }

    #[test]
    fn the_way_is_the_cheapest_that_keeps_what_others_have_added() {
        let many = MERGED_ROWS + 1;
        let alike = [false, false, false];
        check([0, 0, 0], alike, None);
        check([many, 0, 0], alike, Some(Way::Append));
        check([1, 1, 0], alike, Some(Way::Merge));
        check([0, 0, 1], alike, Some(Way::Merge));
        check([many, 0, 1], alike, Some(Way::Rewrite));
        check([0, many, 0], alike, Some(Way::Rewrite));
        let some_missing = [true, false, false];
        check([0, 0, 0], some_missing, Some(Way::Rewrite));
        let some_added = [false, true, false];
        check([0, many, 0], some_added, Some(Way::Merge));
        check([0, 0, 0], [true, true, false], None);
        check([0, 0, 0], [false, true, true], Some(Way::Rewrite));
    }
}
