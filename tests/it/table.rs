//! The table over several nights, and as programs read it that know nothing of showtell.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchReader};
use arrow::compute::concat_batches;
use arrow::datatypes::Float32Type;
use arrow::ipc::reader::FileReader;
use chrono::DateTime;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::schema::printer::print_schema;
use showtell::archive::{Failure, ImageId, ImageRef, Stage, Walked, key_order};
use showtell::cache::{Cache, CacheWriter, Precision, Spec};
use showtell::captioner::Beam;
use showtell::nightly::{Action, Lock, Plan, PlanOptions, State};
use showtell::table::{
    Identity, Layout, Outcome, Part, PartWriter, Row, RunId, SnapshotNotes, rows_to_batch,
};

const ROOT: &str = "/archive/photographs";

fn run_id(night: u32) -> RunId {
    format!("202501{night:02}T030000Z-00ff").parse().unwrap()
}

fn identity(captioner_id: &str) -> Identity {
    Identity {
        encoder_id: "vgg16-fc7-0123456789abcdef".into(),
        captioner_id: captioner_id.into(),
        decoding: r#"{"beam":2,"max_tokens":20}"#.into(),
    }
}

fn captioned(uri: &str, night: u32) -> Row {
    let beam = |caption: String, score: f32| Beam {
        tokens: 6,
        log_prob: score * 6.0,
        finished: score > -1.0,
        caption,
        score,
    };
    Row {
        uri: uri.to_owned(),
        root: ROOT.into(),
        image_id: Some(ImageId::of(uri.as_bytes())),
        bytes: 123_456,
        modified_at: 1_700_000_000_000_001,
        width: Some(4000),
        height: Some(3000),
        format: Some("jpeg".into()),
        outcome: Outcome::Captioned(vec![
            beam(format!("a photograph of {uri}"), -0.75),
            beam("a photograph".to_owned(), -1.125),
        ]),
        identity: Some(identity("show_tell-a")),
        run_id: run_id(night),
        annotated_at: 1_735_700_400_000_002,
    }
}

fn failed(uri: &str, night: u32, stage: Stage) -> Row {
    let unread = stage == Stage::Read;
    let row = captioned(uri, night);
    Row {
        image_id: row.image_id.filter(|_| !unread),
        width: None,
        height: None,
        format: row.format.filter(|_| !unread),
        outcome: Outcome::Failed(Failure {
            stage,
            reason: "the file ends \"early\",\nafter 0 bytes \0".to_owned(),
        }),
        ..row
    }
}

/// Rows with all that makes readers stumble.
fn strange_rows() -> Vec<Row> {
    let mut rows = vec![
        captioned("a.jpg", 1),
        captioned("a/b.jpg", 1),
        captioned("a-b/\u{1f41f} \u{e9}\u{301}, \"quoted\".jpg", 1),
        captioned("caf%E9\\x\r\n.jpg", 1),
        failed("broken.jpg", 1, Stage::Decode),
        failed("secret.jpg", 1, Stage::Read),
    ];
    rows[1].outcome = Outcome::Captioned(vec![Beam {
        caption: String::new(),
        log_prob: 0.0,
        tokens: 1,
        score: 0.0,
        finished: true,
    }]);
    rows[2].modified_at = -1;
    rows[2].format = None;
    rows
}

/// One night: keeps features, writes `rows` as parts of `size`, publishes.
fn night(layout: &Layout, night: u32, rows: Vec<Row>, size: usize) -> Vec<Part> {
    let lock = Lock::acquire(layout, DateTime::UNIX_EPOCH).unwrap();
    let state = State::open(layout, &lock).unwrap();
    assert_eq!(state.damaged(), []);
    let run_id = run_id(night);
    let spec = Spec {
        encoder_id: identity("").encoder_id.to_string(),
        dims: 5,
        precision: Precision::Bfloat16,
    };
    let cache = Arc::new(Cache::open(layout, spec).unwrap());
    let mut features = CacheWriter::new(cache, layout, &run_id);
    let mut parts = Vec::new();
    let mut rows = rows;
    rows.sort_by(|a, b| key_order(a.key(), b.key()));
    for (number, rows) in (0..).zip(rows.chunks(size)) {
        for id in rows.iter().filter_map(|row| row.image_id) {
            features
                .append(id, &[0.0, 0.1, 0.0, 123.456, 1e-9])
                .unwrap();
        }
        features.finish_part().unwrap();
        let mut part = PartWriter::create(layout, &run_id, number);
        rows.iter().cloned().for_each(|row| part.push(row).unwrap());
        parts.extend(part.finish().unwrap());
    }
    let model = "demo".to_owned();
    state
        .publish(&parts, &SnapshotNotes { run_id, model })
        .unwrap();
    parts
}

#[test]
fn plain_parquet_readers_see_the_contract() {
    let out = tempfile::tempdir().unwrap();
    let layout = Layout::create(out.path()).unwrap();
    let parts = night(&layout, 1, strange_rows(), 100);
    let file = File::open(layout.absolute(&parts[0].file)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();

    let mut schema = Vec::new();
    print_schema(&mut schema, reader.metadata().file_metadata().schema());
    assert_eq!(String::from_utf8(schema).unwrap(), PARQUET_SCHEMA);
    let row_group = reader.metadata().row_group(0);
    for column in row_group.columns() {
        assert!(matches!(column.compression(), Compression::ZSTD(_)));
        assert!(column.statistics().is_some(), "{}", column.column_path());
    }

    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let mut expected = strange_rows();
    let order = [
        "a/b.jpg",
        "a-b/\u{1f41f} \u{e9}\u{301}, \"quoted\".jpg",
        "a.jpg",
        "broken.jpg",
        "caf%E9\\x\r\n.jpg",
        "secret.jpg",
    ];
    expected.sort_by_key(|row| order.iter().position(|uri| *uri == row.uri));
    assert_eq!(batch, rows_to_batch(&expected).unwrap());
    assert_eq!(texts(&batch, "status").last(), Some(&"failed".to_owned()));
    let scores = batch
        .column_by_name("score")
        .unwrap()
        .as_primitive::<Float32Type>()
        .clone();
    assert_eq!(
        scores.iter().collect::<Vec<_>>(),
        [Some(0.0), Some(-0.75), Some(-0.75), None, Some(-0.75), None]
    );
    let beams = batch.column_by_name("beams").unwrap().as_list::<i32>();
    assert_eq!(
        (0..6).map(|row| beams.value(row).len()).collect::<Vec<_>>(),
        [1, 2, 2, 0, 2, 0]
    );
}

const PARQUET_SCHEMA: &str = "\
message arrow_schema {
  REQUIRED BYTE_ARRAY uri (STRING);
  REQUIRED BYTE_ARRAY root (STRING);
  OPTIONAL BYTE_ARRAY image_id (STRING);
  REQUIRED INT64 bytes;
  REQUIRED INT64 modified_at (TIMESTAMP(MICROS,true));
  OPTIONAL INT32 width;
  OPTIONAL INT32 height;
  OPTIONAL BYTE_ARRAY format (STRING);
  REQUIRED BYTE_ARRAY status (STRING);
  OPTIONAL BYTE_ARRAY error_stage (STRING);
  OPTIONAL BYTE_ARRAY error (STRING);
  OPTIONAL BYTE_ARRAY caption (STRING);
  OPTIONAL FLOAT score;
  REQUIRED group beams (LIST) {
    REPEATED group list {
      REQUIRED group element {
        REQUIRED INT32 rank;
        REQUIRED BYTE_ARRAY caption (STRING);
        REQUIRED FLOAT log_prob;
        REQUIRED INT32 tokens;
        REQUIRED FLOAT score;
        REQUIRED BOOLEAN finished;
      }
    }
  }
  OPTIONAL BYTE_ARRAY encoder_id (STRING);
  OPTIONAL BYTE_ARRAY captioner_id (STRING);
  OPTIONAL BYTE_ARRAY decoding (STRING);
  REQUIRED BYTE_ARRAY run_id (STRING);
  REQUIRED INT64 annotated_at (TIMESTAMP(MICROS,true));
}
";

#[test]
fn plain_arrow_readers_see_the_current_rows() {
    let out = tempfile::tempdir().unwrap();
    let layout = Layout::create(out.path()).unwrap();
    // More than one record batch, from several parts.
    let uris: Vec<_> = (0..5000).map(|number| format!("{number:05}.jpg")).collect();
    night(
        &layout,
        1,
        uris.iter().map(|uri| captioned(uri, 1)).collect(),
        1000,
    );
    let gone = Row {
        outcome: Outcome::Deleted,
        identity: None,
        ..captioned(&uris[4095], 2)
    };
    night(&layout, 2, vec![captioned(&uris[7], 2), gone], 1);

    let batch = snapshot(&layout);
    assert_eq!(batch.num_rows(), 4999);
    let runs = texts(&batch, "run_id");
    for (at, uri) in texts(&batch, "uri").iter().enumerate() {
        assert_eq!(*uri, uris[at + usize::from(at >= 4095)]);
        assert_eq!(runs[at], run_id(if at == 7 { 2 } else { 1 }).as_str());
    }
    let notes = batch.schema().metadata().clone();
    assert_eq!(notes["showtell.run_id"], run_id(2).as_str());
    assert_eq!(notes["showtell.model"], "demo");
    assert_eq!(notes["showtell.table_version"], "1");
}

#[test]
fn each_night_costs_what_is_new() {
    let out = tempfile::tempdir().unwrap();
    let layout = Layout::create(out.path()).unwrap();
    night(&layout, 1, strange_rows(), 2);
    let walk = |changed: &str| {
        let mut rows = strange_rows();
        rows.push(captioned("new.jpg", 1));
        rows.sort_by(|a, b| key_order(a.key(), b.key()));
        let met = rows.into_iter().map(|row| ImageRef {
            path: Path::new(ROOT).join(&row.uri),
            bytes: row.bytes + u64::from(row.uri == changed),
            root: row.root,
            uri: row.uri,
            modified: row.modified_at,
        });
        met.map(Walked::File).collect::<Vec<_>>()
    };
    let plan = |walk: Vec<Walked>, identity: Identity| {
        let lock = Lock::acquire(&layout, DateTime::UNIX_EPOCH).unwrap();
        let state = State::open(&layout, &lock).unwrap();
        let options = PlanOptions {
            roots: BTreeSet::from([ROOT.to_owned()]),
            identity,
            retry_failed: false,
            verify: false,
        };
        let plan = Plan::new(walk.into_iter(), state.known().unwrap(), options);
        let words = plan.map(|action| match action.unwrap() {
            Action::New(file) => format!("new {}", file.uri),
            Action::Read { file, because, .. } => format!("{because:?} {}", file.uri),
            Action::Recaption { file, .. } => format!("recaption {}", file.uri),
            Action::Unchanged { .. } | Action::UnchangedFailed { .. } => String::new(),
            Action::Unreadable { reason, .. } => reason,
            Action::Deleted(known) => format!("deleted {}", known.uri),
        });
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>()
    };

    let same = || identity("show_tell-a");
    let expected = ["Changed a.jpg", "new new.jpg", "Failed secret.jpg"];
    assert_eq!(plan(walk("a.jpg"), same()), expected);
    let all_gone: Vec<_> = plan(Vec::new(), same());
    assert_eq!(all_gone.len(), 6);
    assert!(all_gone.iter().all(|word| word.starts_with("deleted ")));
    let root = Walked::Unreadable {
        root: ROOT.into(),
        uri: String::new(),
        reason: "it is away".to_owned(),
    };
    assert_eq!(plan(vec![root], same()), ["it is away"]);
    let recaptioned = plan(walk(""), identity("show_tell-b"));
    assert_eq!(
        recaptioned
            .iter()
            .filter(|word| word.starts_with("recaption "))
            .count(),
        4
    );
}

/// Needs a Python with tests/readers/requirements.txt: `SHOWTELL_READERS=python cargo test`.
#[test]
fn pyarrow_duckdb_and_polars_read_the_same() {
    let Ok(python) = std::env::var("SHOWTELL_READERS") else {
        eprintln!("NOT RUN: SHOWTELL_READERS names no Python");
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let layout = Layout::create(out.path()).unwrap();
    let read = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/read.py");
        let read = Command::new(&python)
            .arg(script)
            .arg(out.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(read.status.success(), "{said}");
    };
    night(&layout, 1, Vec::new(), 1);
    read();
    night(
        &layout,
        2,
        strange_rows()
            .into_iter()
            .map(|row| Row {
                run_id: run_id(2),
                ..row
            })
            .collect(),
        2,
    );
    let gone = Row {
        outcome: Outcome::Deleted,
        identity: None,
        ..captioned("a.jpg", 3)
    };
    night(
        &layout,
        3,
        vec![gone, failed("a/b.jpg", 3, Stage::Read)],
        10,
    );
    read();
}

/// All of `captions.arrow`, by the plain reader.
fn snapshot(layout: &Layout) -> RecordBatch {
    let reader = FileReader::try_new(File::open(layout.snapshot()).unwrap(), None).unwrap();
    let schema = RecordBatchReader::schema(&reader);
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert!(batches.len() > 1);
    concat_batches(&schema, &batches).unwrap()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let column = batch.column_by_name(column).unwrap().as_string::<i32>();
    column.iter().map(|text| text.unwrap().to_owned()).collect()
}
