//! Nights that come and go, published now and then, and the Delta table read back by its own crate.
//!
//! Readers of others are in tests/warehouse/delta.py.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::{RecordBatch, StringArray};
use arrow::compute::cast;
use chrono::{DateTime, Utc};
use deltalake::datafusion::prelude::SessionContext;
use deltalake::{DeltaTable, ensure_table_uri, open_table};
use proptest::prelude::*;
use showtell::archive::{ImageId, key_order};
use showtell::cache::SweepSize;
use showtell::captioner::Beam;
use showtell::nightly::{Lock, State};
use showtell::table::warehouse::{Destination, OfAnother, Published, WarehouseError, publish};
use showtell::table::{
    Identity, Layout, Outcome, PartSize, PartWriter, Row, RunId, Snapshot, SnapshotNotes,
    batch_to_rows, schema,
};
use showtell::upkeep::{CompactOptions, compact};

fn run_id(night: u32) -> RunId {
    format!("202501{night:02}T030000Z-00ff").parse().unwrap()
}

fn row(uri: &str) -> Row {
    Row {
        uri: uri.to_owned(),
        root: "/archive".into(),
        image_id: Some(ImageId::of(uri.as_bytes())),
        bytes: 123_456,
        modified_at: 1_700_000_000_000_001,
        width: Some(4000),
        height: Some(3000),
        format: None,
        outcome: Outcome::Captioned(vec![Beam {
            caption: format!("a picture of {uri}"),
            log_prob: -4.5,
            tokens: 6,
            score: -0.75,
            finished: true,
        }]),
        identity: Some(Identity {
            encoder_id: "vgg16-fc7-0123456789abcdef".into(),
            captioner_id: "show_tell-a".into(),
            decoding: r#"{"beam":1}"#.into(),
        }),
        run_id: run_id(1),
        annotated_at: 1_735_700_400_000_002,
    }
}

fn deleted(uri: &str) -> Row {
    Row {
        outcome: Outcome::Deleted,
        identity: None,
        ..row(uri)
    }
}

/// An output directory, and a place for a table beside it.
struct Warehouse {
    scratch: tempfile::TempDir,
    layout: Layout,
}

impl Warehouse {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::create(&scratch.path().join("out")).unwrap();
        Self { scratch, layout }
    }

    /// A run that writes `rows`, and is killed before it has written its summary.
    fn night(&self, night: u32, rows: Vec<Row>) {
        let lock = Lock::acquire(&self.layout, DateTime::UNIX_EPOCH).unwrap();
        let state = State::open(&self.layout, &lock).unwrap();
        let run_id = run_id(night);
        let mut part = PartWriter::create(&self.layout, &run_id, 0);
        let mut rows = rows;
        rows.sort_by(|a, b| key_order(a.key(), b.key()));
        for row in rows {
            part.push(Row { run_id, ..row }).unwrap();
        }
        let part = part.finish().unwrap();
        let model = "demo".to_owned();
        let notes = SnapshotNotes { run_id, model };
        state.publish(part.as_slice(), &notes).unwrap();
    }

    /// Merges all runs into one.
    fn compact(&self) {
        let lock = Lock::acquire(&self.layout, DateTime::UNIX_EPOCH).unwrap();
        let options = CompactOptions {
            superseded_before: DateTime::<Utc>::MAX_UTC,
            part_size: PartSize::default(),
            sweep_size: SweepSize::default(),
        };
        compact(&self.layout, &lock, &options).unwrap();
    }

    fn table(&self) -> PathBuf {
        self.scratch.path().join("a table, 100% ours #1")
    }

    fn publish_with(&self, of_another: OfAnother) -> Result<Published, WarehouseError> {
        publish(
            &self.layout,
            &Destination::Directory(self.table()),
            of_another,
        )
    }

    fn publish(&self) -> Published {
        self.publish_with(OfAnother::Refuse).unwrap()
    }

    fn refusal(&self) -> String {
        let error = self.publish_with(OfAnother::Refuse).unwrap_err();
        assert!(error.is_usage(), "{error:?}");
        error.to_string()
    }

    /// That the table is at `version`, and equal to the current rows.
    fn check(&self, version: u64) {
        let (found, rows) = read(&self.table());
        assert_eq!(found, version);
        assert_eq!(rows, current(&self.layout));
    }
}

type Rows = BTreeMap<(String, String), Row>;

fn by_key(rows: impl IntoIterator<Item = Row>) -> Rows {
    let rows = rows.into_iter();
    let mut by_key = Rows::new();
    for row in rows {
        let key = (row.root.to_string(), row.uri.clone());
        assert!(by_key.insert(key, row).is_none(), "two rows of one image");
    }
    by_key
}

fn current(layout: &Layout) -> Rows {
    let path = layout.snapshot();
    let snapshot = Snapshot::open(&path).unwrap().unwrap();
    let batches = snapshot.batches(schema()).unwrap();
    by_key(batches.flat_map(|batch| batch_to_rows(&batch.unwrap(), &path).unwrap()))
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

async fn open(path: &Path) -> DeltaTable {
    let url = ensure_table_uri(path.to_str().unwrap()).unwrap();
    open_table(url).await.unwrap()
}

/// The table's version and rows.
fn read(path: &Path) -> (u64, Rows) {
    block_on(async {
        let table = open(path).await;
        let session = SessionContext::new();
        table.update_datafusion_session(&session.state()).unwrap();
        let provider = table.table_provider().await.unwrap();
        let rows = session.read_table(provider).unwrap();
        let batches = rows.collect().await.unwrap();
        let rows = batches
            .iter()
            .flat_map(|batch| batch_to_rows(&as_stored(batch), path).unwrap());
        (table.version().unwrap(), by_key(rows))
    })
}

/// The batch with columns of the types that ours have; readers hold text in others.
fn as_stored(batch: &RecordBatch) -> RecordBatch {
    let schema = schema();
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).unwrap();
        cast(column, field.data_type()).unwrap()
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

/// SQL that another program runs on the table.
fn delete_by_hand(path: &Path, condition: &str) {
    block_on(async {
        let table = open(path).await;
        table.delete().with_predicate(condition).await.unwrap();
    });
}

#[test]
fn each_run_is_published_once_and_whole() {
    let warehouse = Warehouse::new();
    warehouse.night(1, ["a", "b", "c/d", "e"].map(row).to_vec());
    let first = warehouse.publish();
    assert_eq!((first.version, first.added, first.rows), (0, 4, 4));
    warehouse.check(0);

    let again = warehouse.publish();
    assert_eq!((again.version, again.is_new), (0, false));
    assert_eq!((again.added, again.changed, again.deleted), (0, 0, 0));

    warehouse.night(2, ["f", "g"].map(row).to_vec());
    let more = warehouse.publish();
    assert_eq!((more.version, more.added, more.changed), (1, 2, 0));
    warehouse.check(1);

    // Two nights at once: what the one added, the other deletes.
    warehouse.night(3, vec![row("a"), row("h"), deleted("b")]);
    warehouse.night(4, vec![row("f"), deleted("h"), row("i")]);
    let changed = warehouse.publish();
    assert_eq!((changed.added, changed.changed, changed.deleted), (1, 2, 1));
    assert_eq!((changed.version, changed.run_id), (2, run_id(4)));
    warehouse.check(2);
    assert!(!warehouse.publish().is_new);
}

#[test]
fn a_table_becomes_empty_and_full_again() {
    let warehouse = Warehouse::new();
    warehouse.night(1, Vec::new());
    assert_eq!(warehouse.publish().rows, 0);
    warehouse.check(0);
    warehouse.night(2, vec![row("a")]);
    warehouse.publish();
    warehouse.check(1);
    warehouse.night(3, vec![deleted("a")]);
    assert_eq!(warehouse.publish().deleted, 1);
    warehouse.check(2);
    warehouse.night(4, vec![row("a")]);
    warehouse.publish();
    warehouse.check(3);
}

#[test]
fn a_run_that_was_killed_and_compacted_away_is_still_ours() {
    let warehouse = Warehouse::new();
    warehouse.night(1, vec![row("a")]);
    // Without rows of its own.
    warehouse.night(2, Vec::new());
    for night in 3..6 {
        assert_eq!(warehouse.publish().run_id, run_id(night - 1));
        warehouse.night(night, vec![row("a"), row(&format!("b{night}"))]);
        warehouse.compact();
    }
    warehouse.publish();
    warehouse.check(3);
}

#[test]
fn what_other_hands_did_to_the_rows_is_undone_by_the_next_run() {
    let warehouse = Warehouse::new();
    warehouse.night(1, ["a", "b", "c"].map(row).to_vec());
    warehouse.publish();
    delete_by_hand(&warehouse.table(), "uri = 'b'");
    warehouse.night(2, vec![row("c")]);
    let published = warehouse.publish();
    assert_eq!((published.added, published.changed), (1, 1));
    warehouse.check(2);
}

#[test]
fn parts_may_be_gone() {
    let warehouse = Warehouse::new();
    warehouse.night(1, ["a", "b"].map(row).to_vec());
    warehouse.publish();
    warehouse.night(2, vec![deleted("a"), row("c")]);
    fs::remove_file(warehouse.layout.part(&run_id(2), 0)).unwrap();
    warehouse.publish();
    warehouse.check(1);
}

#[test]
fn a_table_of_another_output_is_left_alone_unless_told() {
    let warehouse = Warehouse::new();
    warehouse.night(2, vec![row("a"), row("b")]);
    warehouse.publish();

    let other = Warehouse::new();
    other.night(1, vec![row("b")]);
    let into = |layout: &Layout, of_another| {
        publish(
            layout,
            &Destination::Directory(warehouse.table()),
            of_another,
        )
    };
    let newer = into(&other.layout, OfAnother::Refuse).unwrap_err();
    assert!(matches!(newer, WarehouseError::Newer { .. }), "{newer:?}");
    other.night(3, vec![row("c")]);
    let unknown = into(&other.layout, OfAnother::Refuse).unwrap_err();
    assert!(
        matches!(unknown, WarehouseError::OtherOutput { .. }),
        "{unknown:?}"
    );
    assert!(unknown.is_usage() && newer.is_usage());
    warehouse.check(0);

    let replaced = into(&other.layout, OfAnother::Replace).unwrap();
    assert_eq!((replaced.version, replaced.rows), (1, 2));
    let (_, rows) = read(&warehouse.table());
    assert_eq!(rows, current(&other.layout));
}

#[test]
fn what_is_no_table_of_ours_is_named() {
    let warehouse = Warehouse::new();
    let missing = warehouse.refusal();
    assert!(missing.contains("captions.arrow is not there"), "{missing}");

    warehouse.night(1, vec![row("a")]);
    fs::create_dir(warehouse.table()).unwrap();
    fs::write(warehouse.table().join("holiday.jpg"), "").unwrap();
    let other = warehouse.refusal();
    assert!(other.contains("holiday.jpg"), "{other}");
    fs::remove_dir_all(warehouse.table()).unwrap();

    // A Delta table with our columns and rows that somebody else has written.
    block_on(async {
        let url = ensure_table_uri(warehouse.table().to_str().unwrap()).unwrap();
        let table = DeltaTable::try_from_url(url).await.unwrap();
        let batch = showtell::table::rows_to_batch(&[row("z")]).unwrap();
        table.write([batch]).await.unwrap();
    });
    let foreign = warehouse.refusal();
    assert!(foreign.contains("has not written"), "{foreign}");
    warehouse.publish_with(OfAnother::Replace).unwrap();
    warehouse.check(1);
    assert!(!warehouse.publish().is_new);
}

#[test]
fn a_column_of_another_type_is_named() {
    let warehouse = Warehouse::new();
    warehouse.night(1, vec![row("a")]);
    block_on(async {
        let url = ensure_table_uri(warehouse.table().to_str().unwrap()).unwrap();
        let table = DeltaTable::try_from_url(url).await.unwrap();
        let text = std::sync::Arc::new(StringArray::from(vec!["1"]));
        let batch = RecordBatch::try_from_iter([("bytes", text as _)]).unwrap();
        table.write([batch]).await.unwrap();
    });
    let error = warehouse.publish_with(OfAnother::Replace).unwrap_err();
    assert!(error.is_usage());
    let expected = "is Utf8, expected Int64";
    assert!(error.to_string().ends_with(expected), "{error}");
}

#[test]
fn a_damaged_snapshot_is_not_published() {
    let warehouse = Warehouse::new();
    warehouse.night(1, vec![row("a")]);
    let path = warehouse.layout.snapshot();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = warehouse.publish_with(OfAnother::Refuse).unwrap_err();
    assert!(!error.is_usage());
    assert!(
        error.to_string().contains("captions.arrow is damaged"),
        "{error}"
    );
    assert!(!warehouse.table().exists());
}

#[test]
fn several_at_once_publish_once() {
    let warehouse = Warehouse::new();
    for night in 1..=3 {
        let rows = (0..20).map(|number| row(&format!("{night}-{number}")));
        warehouse.night(night, rows.chain([row("changes")]).collect());
        let published: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| warehouse.publish()))
                .collect();
            let threads = threads.into_iter();
            threads.map(|thread| thread.join().unwrap()).collect()
        });
        let new = published.iter().filter(|published| published.is_new);
        assert_eq!(new.count(), 1, "{published:?}");
        warehouse.check(u64::from(night) - 1);
    }
}

#[test]
fn a_place_that_cannot_be_is_an_error_of_files() {
    let warehouse = Warehouse::new();
    warehouse.night(1, vec![row("a")]);
    let below_a_file = warehouse.layout.snapshot().join("table");
    let destination = Destination::Directory(below_a_file);
    let error = publish(&warehouse.layout, &destination, OfAnother::Refuse).unwrap_err();
    assert!(matches!(error, WarehouseError::File(_)), "{error:?}");
    assert!(!error.is_usage());
}

#[test]
fn the_command_says_what_is_wrong() {
    let output = super::publish(&["missing", "--to", "delta:gs://a/b"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("only directories and S3"), "{errors}");
    let output = super::publish(&["missing", "--to", "delta:table"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("missing does not exist"), "{errors}");
}

proptest! {
    // Each takes a second: a debug build of DataFusion.
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_current_rows_whatever_the_nights_did(
        nights in prop::collection::vec(
            (prop::collection::btree_map(0usize..6, prop::bool::weighted(0.7), 0..5), any::<bool>()),
            1..5,
        ),
    ) {
        let warehouse = Warehouse::new();
        let mut versions = None;
        for (night, (changes, is_published)) in (1..).zip(nights) {
            let rows = changes.into_iter().map(|(image, stays)| {
                let uri = format!("{}/{image}", image % 2);
                if stays { row(&uri) } else { deleted(&uri) }
            });
            warehouse.night(night, rows.collect());
            if is_published {
                let published = warehouse.publish();
                prop_assert!(versions.is_none_or(|last| published.version <= last + 1));
                versions = Some(published.version);
                warehouse.check(published.version);
            }
        }
    }
}
