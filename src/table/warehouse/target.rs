//! Turns a destination into an open Delta table, if there is one yet.

use std::path::Path;
use std::sync::Arc;

use deltalake::datafusion::execution::SendableRecordBatchStream;
use deltalake::datafusion::prelude::SessionContext;
use deltalake::delta_datafusion::DeltaSessionContext;
use deltalake::kernel::EagerSnapshot;
use deltalake::logstore::logstore_factories;
use deltalake::{DeltaResult, DeltaTable, DeltaTableBuilder, DeltaTableError, ensure_table_uri};
use url::{ParseError, Url};

use super::WarehouseError;
use super::columns::{TargetColumns, compare};
use super::destination::{Destination, store};
use super::difference::KEY_AND_RUN;
use super::transaction::{APPLICATION, run_of};
use crate::table::durable::{create_dir, names};
use crate::table::{FileError, RunId};

/// The Delta table at one version, or the place where it is going to be.
pub struct Target {
    table: DeltaTable,
    url: String,
}

impl Target {
    /// Opens the latest version, if there is a table.
    pub async fn open(destination: &Destination) -> Result<Self, WarehouseError> {
        let place = match destination {
            Destination::S3 { url, .. } => url.clone(),
            Destination::Directory(path) => directory(path)?,
        };
        let table = load(&place, destination)
            .await
            .map_err(|error| WarehouseError::delta("open", &place, error))?;
        if let (None, Destination::Directory(path)) = (table.version(), destination) {
            check_empty(path)?;
        }
        Ok(Self { table, url: place })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn table(&self) -> &DeltaTable {
        &self.table
    }

    /// `None` if there is no table yet.
    pub fn version(&self) -> Option<u64> {
        self.table.version()
    }

    /// The last run whose rows the table holds; `None` if showtell never wrote to it.
    pub async fn last_run(&self) -> Result<Option<RunId>, WarehouseError> {
        let log = self.table.log_store();
        let version = self
            .state()?
            .transaction_version(log.as_ref(), APPLICATION)
            .await
            .map_err(|error| self.failed("read", error))?;
        match version {
            None => Ok(None),
            Some(found) => run_of(found).map(Some).ok_or(WarehouseError::Transaction {
                url: self.url.clone(),
                found,
            }),
        }
    }

    fn state(&self) -> Result<&EagerSnapshot, WarehouseError> {
        match self.table.snapshot() {
            Ok(state) => Ok(state.snapshot()),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> Result<bool, WarehouseError> {
        match self.table.get_file_uris() {
            Ok(mut files) => Ok(files.next().is_none()),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Compares the table's columns with ours.
    pub fn columns(&self) -> Result<TargetColumns, WarehouseError> {
        compare(&self.state()?.arrow_schema(), &self.url)
    }

    /// Streams the columns that tell rows.
    pub async fn scan(&self) -> Result<SendableRecordBatchStream, WarehouseError> {
        let scan = async {
            let session = self.session()?;
            self.table.update_datafusion_session(&session.state())?;
            let rows = session.read_table(self.table.table_provider().await?)?;
            let stream = rows.select_columns(&KEY_AND_RUN)?.execute_stream().await?;
            Ok::<_, DeltaTableError>(stream)
        };
        scan.await.map_err(|error| self.failed("read", error))
    }

    /// That what was being done to the table failed.
    pub fn failed(&self, doing: &'static str, error: impl Into<DeltaTableError>) -> WarehouseError {
        WarehouseError::delta(doing, &self.url, error)
    }

    /// A session that reads and writes in one stream, so that rows keep their order and files are
    /// few.
    pub fn session(&self) -> DeltaResult<SessionContext> {
        let one_stream = [("datafusion.execution.target_partitions", "1")];
        let options = one_stream.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let session = DeltaSessionContext::new_with_session_overrides(&options.into())?;
        Ok(session.into_inner())
    }
}

/// The table at `place`, loaded if there is one.
async fn load(place: &str, destination: &Destination) -> DeltaResult<DeltaTable> {
    let builder = match destination {
        Destination::Directory(_) => DeltaTableBuilder::from_url(ensure_table_uri(place)?)?,
        Destination::S3 { settings, .. } => {
            let url = parse(place)?;
            know_s3()?;
            let store = Arc::new(store(place, settings)?);
            DeltaTableBuilder::from_url(url.clone())?.with_storage_backend(store, url)
        }
    };
    let mut table = builder.build()?;
    match table.load().await {
        Ok(()) | Err(DeltaTableError::NotATable(_)) => Ok(table),
        Err(error) => Err(error),
    }
}

/// Has deltalake keep the log of a table in S3 as it does in directories: each version is put under
/// its name if that is free.
fn know_s3() -> DeltaResult<()> {
    let factories = logstore_factories();
    let default = factories.get(&parse("file://")?);
    let default = default.map(|factory| Arc::clone(factory.value()));
    if let Some(default) = default {
        for scheme in ["s3://", "s3a://"] {
            factories.insert(parse(scheme)?, Arc::clone(&default));
        }
    }
    Ok(())
}

fn parse(url: &str) -> DeltaResult<Url> {
    let wrong =
        |error: ParseError| DeltaTableError::InvalidTableLocation(format!("{url}: {error}"));
    Url::parse(url).map_err(wrong)
}

/// The absolute path of a directory that is there.
fn directory(path: &Path) -> Result<String, WarehouseError> {
    create_dir(path)?;
    let path = path
        .canonicalize()
        .map_err(FileError::on("look at", path))?;
    Ok(path.display().to_string())
}

fn check_empty(path: &Path) -> Result<(), WarehouseError> {
    match names(path)?.into_iter().find(|name| !name.starts_with('.')) {
        // A table's first commit that was never made leaves its files.
        Some(found) if found != "_delta_log" && !is_data_file(&found) => {
            Err(WarehouseError::SomethingElse {
                url: path.display().to_string(),
                found,
            })
        }
        _ => Ok(()),
    }
}

/// Whether the crate names its data files so.
fn is_data_file(name: &str) -> bool {
    name.starts_with("part-") && name.contains(".parquet")
}
