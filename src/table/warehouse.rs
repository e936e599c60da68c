//! Turns the current rows of an output directory into a Delta Lake table, which becomes equal to
//! them in one commit: readers see the table of before or the table of after.
//!
//! `captions.arrow` ⨝ the keys in the Delta table ([`Difference`]) -> one version of it (`commit`).
//!
//! Each commit carries the name of the last run whose rows it holds as a transaction identifier, so
//! that a run is published once, however often it is asked for. What has changed is not learnt from
//! runs that follow one another, but by comparing the two tables: they end equal even if runs were
//! skipped, their parts merged, or rows of the Delta table changed by other hands.
//!
//! Only `captions.arrow` is read, and the one that was opened first stays open to the end, so this
//! needs no lock and keeps no run waiting.

mod columns;
mod commit;
mod destination;
mod difference;
mod error;
mod target;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use crate::table::{Layout, RunId, Snapshot};

use columns::TargetColumns;
use commit::Way;
pub use destination::{Destination, DestinationError};
use difference::Difference;
pub use error::WarehouseError;
use target::Target;

/// Commits are tried this often when others write to the table at the same time.
const ATTEMPTS: u32 = 8;

/// What to do with a table that holds the rows of another output directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfAnother {
    Refuse,
    Replace,
}

/// What publishing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The last run whose rows the Delta table holds now.
    pub run_id: RunId,
    /// The Delta table's version.
    pub version: u64,
    /// Rows of the table.
    pub rows: u64,
    pub added: u64,
    pub changed: u64,
    pub deleted: u64,
    /// Whether this made the version, or found nothing to do.
    pub is_new: bool,
}

/// Makes the Delta table at `destination` equal to the current rows in `layout`.
///
/// # Errors
///
/// When the rows cannot be read, or the table cannot be written or is not to be. It is then what it
/// was; files that were written for the commit may stay beside it, unseen by readers, until a
/// `VACUUM`.
pub fn publish(
    layout: &Layout,
    destination: &Destination,
    of_another: OfAnother,
) -> Result<Published, WarehouseError> {
    let path = layout.snapshot();
    let snapshot =
        Snapshot::open(&path)?.ok_or_else(|| WarehouseError::NoSnapshot(path.clone()))?;
    snapshot.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(WarehouseError::Threads)?;
    runtime.block_on(publish_snapshot(layout, &snapshot, destination, of_another))
}

async fn publish_snapshot(
    layout: &Layout,
    snapshot: &Snapshot,
    destination: &Destination,
    of_another: OfAnother,
) -> Result<Published, WarehouseError> {
    let mut attempt = 1;
    loop {
        match try_once(layout, snapshot, destination, of_another).await {
            // The other writer's version is there now, and is what the next attempt starts from.
            Err(WarehouseError::Overtaken { .. }) if attempt < ATTEMPTS => {
                let wait = 50 * (1 << attempt) + rand::random_range(0..100);
                tracing::info!(attempt, "another writer was faster; trying again");
                tokio::time::sleep(Duration::from_millis(wait)).await;
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

/// Compares, and commits unless the table has a version that was not compared with.
async fn try_once(
    layout: &Layout,
    snapshot: &Snapshot,
    destination: &Destination,
    of_another: OfAnother,
) -> Result<Published, WarehouseError> {
    let run_id = snapshot.notes().run_id;
    let target = Target::open(destination).await?;
    let published = |version, difference: &Difference, is_new| Published {
        run_id,
        version,
        rows: snapshot.rows(),
        added: difference.added,
        changed: difference.changed,
        deleted: difference.deleted,
        is_new,
    };
    let old_version = target.version();
    let (columns, difference, way) = match old_version {
        None => {
            let difference = Difference::of_all(snapshot.rows());
            (TargetColumns::ours(), difference, Way::Create)
        }
        Some(version) => {
            let last_run = target.last_run().await?;
            if last_run == Some(run_id) {
                return Ok(published(version, &Difference::default(), false));
            }
            if of_another == OfAnother::Refuse {
                check_origin(layout, &target, last_run, run_id)?;
            }
            let columns = target.columns()?;
            let difference = Difference::between(&target, snapshot).await?;
            let Some(way) = Way::to_apply(&difference, &columns) else {
                return Ok(published(version, &difference, false));
            };
            (columns, difference, way)
        }
    };
    tracing::debug!(?way, ?difference, "committing");
    let difference = Arc::new(difference);
    let version = commit::commit(&target, snapshot, &difference, &columns, way).await?;
    Ok(published(
        version,
        &difference,
        Some(version) != old_version,
    ))
}

/// That the table holds rows of this output directory, and not newer ones, or none at all.
fn check_origin(
    layout: &Layout,
    target: &Target,
    last_run: Option<RunId>,
    run_id: RunId,
) -> Result<(), WarehouseError> {
    let url = || target.url().to_owned();
    let out = || layout.out().to_owned();
    let Some(last_run) = last_run else {
        return match target.is_empty()? {
            true => Ok(()),
            false => Err(WarehouseError::Foreign { url: url() }),
        };
    };
    if last_run > run_id {
        return Err(WarehouseError::Newer {
            url: url(),
            last_run,
            out: out(),
            run_id,
        });
    }
    let is_known = layout.runs_with_rows()?.contains(&last_run)
        || layout.runs_with_summary()?.contains(&last_run);
    match is_known {
        true => Ok(()),
        false => Err(WarehouseError::OtherOutput {
            url: url(),
            last_run,
            out: out(),
        }),
    }
}
