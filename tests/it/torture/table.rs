//! Reads what a run has left as programs do that know nothing of showtell, and proves that it is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::ipc::reader::FileReader;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::archive::files;

/// `root` and `uri`.
pub type Key = (String, String);
/// A row's values as text, by column. Floats are written so that no two look alike.
pub type Cells = BTreeMap<String, String>;
pub type View = BTreeMap<Key, Cells>;

const NULL: &str = "(null)";

/// The rows of `captions.arrow`; none if there is no such file.
pub fn snapshot(out: &Path) -> View {
    let Ok(file) = File::open(out.join("captions.arrow")) else {
        return View::new();
    };
    let reader = FileReader::try_new(file, None).unwrap();
    let mut view = View::new();
    for batch in reader {
        add(&mut view, &batch.unwrap(), "captions.arrow");
    }
    view
}

/// The latest row of each image over all parts, those of refused runs left out; deleted ones are none.
pub fn latest(out: &Path) -> View {
    let mut view = View::new();
    for run in runs(out).into_iter().filter(|run| !is_refused(out, run)) {
        view.extend(written(out, &run));
    }
    view.retain(|_, cells| cells["status"] != "deleted");
    view
}

/// Of each image the row of the greatest `run_id` over all parts, those of refused runs left out;
/// deleted ones are none. Right also while parts are being replaced, when rows may be there twice.
pub fn newest(out: &Path) -> View {
    let mut view = View::new();
    for run in runs(out).into_iter().filter(|run| !is_refused(out, run)) {
        for part in parquet_files(&out.join("captions").join(format!("run={run}"))) {
            let mut rows = View::new();
            for batch in read(&part) {
                add(&mut rows, &batch, &part.display().to_string());
            }
            for (key, cells) in rows {
                match view.get(&key) {
                    Some(other) if other["run_id"] > cells["run_id"] => {}
                    Some(other) if other["run_id"] == cells["run_id"] => {
                        assert_eq!(*other, cells, "two rows of one run for {key:?}");
                    }
                    _ => {
                        view.insert(key, cells);
                    }
                }
            }
        }
    }
    view.retain(|_, cells| cells["status"] != "deleted");
    view
}

/// All rows that a run has written.
pub fn written(out: &Path, run: &str) -> View {
    let mut view = View::new();
    for part in parquet_files(&out.join("captions").join(format!("run={run}"))) {
        for batch in read(&part) {
            add(&mut view, &batch, &part.display().to_string());
        }
    }
    view
}

/// The runs that left a directory of rows, oldest first.
pub fn runs(out: &Path) -> Vec<String> {
    let mut runs: Vec<_> = names(&out.join("captions"))
        .iter()
        .filter_map(|name| Some(name.strip_prefix("run=")?.to_owned()))
        .collect();
    runs.sort();
    runs
}

/// The summaries, oldest first, with the names of their runs.
pub fn summaries(out: &Path) -> Vec<(String, Value)> {
    let names = names(&out.join("runs"));
    let runs = names.iter().filter_map(|name| name.strip_suffix(".json"));
    runs.map(|run| {
        let text = fs::read_to_string(out.join("runs").join(format!("{run}.json"))).unwrap();
        (run.to_owned(), serde_json::from_str(&text).unwrap())
    })
    .collect()
}

fn is_refused(out: &Path, run: &str) -> bool {
    let summary = fs::read_to_string(out.join("runs").join(format!("{run}.json")));
    summary.is_ok_and(|text| {
        let summary: Value = serde_json::from_str(&text).unwrap();
        summary["outcome"] == "refused"
    })
}

/// What two outputs have to agree in: all but when a row was written, and of an image that cannot be
/// read, which model last tried.
pub fn content(view: &View) -> View {
    let mut content = view.clone();
    for cells in content.values_mut() {
        cells.remove("run_id");
        cells.remove("annotated_at");
        if cells["status"] == "failed" {
            for column in ["encoder_id", "captioner_id", "decoding"] {
                cells.remove(column);
            }
        }
    }
    content
}

/// Fails, with the first differences, unless both are the same.
pub fn assert_same(what: &str, found: &View, expected: &View) {
    let mut differences = Vec::new();
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    for key in keys {
        match (found.get(key), expected.get(key)) {
            (Some(found), Some(expected)) => {
                for (column, value) in expected {
                    if !agree(column, found, expected) {
                        differences.push(format!(
                            "{key:?}: {column} is {:?}, expected {value:?}",
                            found.get(column)
                        ));
                    }
                }
            }
            (None, Some(_)) => differences.push(format!("{key:?} is lost")),
            (Some(_), None) => differences.push(format!("{key:?} should not be there")),
            (None, None) => {}
        }
    }
    let shown = differences.iter().take(8).cloned().collect::<Vec<_>>();
    assert!(
        differences.is_empty(),
        "{what}: {} differences\n  {}",
        differences.len(),
        shown.join("\n  ")
    );
}

/// Whether a cell says the same. A run that goes on has other batches than one that was not disturbed, so
/// scores may differ by 1e-4, and of two captions that are that close either may come first.
fn agree(column: &str, found: &Cells, expected: &Cells) -> bool {
    let near = |column: &str| {
        let [found, expected] = [found, expected].map(|cells| scores(cells, column));
        let mut pairs = found.iter().zip(&expected);
        found.len() == expected.len()
            && !found.is_empty()
            && pairs.all(|(a, b)| (a - b).abs() <= 1e-4)
    };
    found.get(column) == expected.get(column)
        || match column {
            "score" | "beams" => near(column),
            "caption" => near("score"),
            _ => false,
        }
}

fn scores(cells: &Cells, column: &str) -> Vec<f32> {
    let text = cells.get(column).map_or("", String::as_str);
    let numbers = match column {
        "beams" => text.split(" score: ").skip(1).collect(),
        _ => vec![text],
    };
    let numbers = numbers.iter().filter_map(|rest| rest.split(',').next());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// The images that have embeddings of `encoder_id`.
pub fn embedded(out: &Path, encoder_id: &str) -> BTreeSet<String> {
    let parts = parquet_files(&out.join("embeddings").join(encoder_id));
    parts.iter().flat_map(|part| image_ids(part)).collect()
}

/// The images in a part.
pub fn image_ids(part: &Path) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for batch in read(part) {
        let column = batch.column_by_name("image_id").unwrap().as_string::<i32>();
        ids.extend(column.iter().map(|id| id.unwrap().to_owned()));
    }
    ids
}

/// Files that a killed run had not finished.
pub fn temporaries(out: &Path) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "tmp");
    files(out).into_iter().filter(is_temporary).collect()
}

/// Proves that a finished output is whole: both views agree, every captioned image has its embedding,
/// nothing half-written is left, every summary adds up and names files that are what it says. If the
/// output `is_compacted`, such files may be gone.
pub fn assert_whole(out: &Path, is_compacted: bool) {
    assert_eq!(temporaries(out), Vec::<PathBuf>::new());
    let current = snapshot(out);
    assert_same("latest rows of the parts", &latest(out), &current);

    let mut embeddings: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, cells) in &current {
        let encoder = &cells["encoder_id"];
        if cells["status"] != "captioned" {
            continue;
        }
        assert_ne!(cells["caption"], NULL, "{key:?}");
        let of_encoder = embeddings
            .entry(encoder.clone())
            .or_insert_with(|| embedded(out, encoder));
        assert!(
            of_encoder.contains(&cells["image_id"]),
            "{key:?} has no embedding"
        );
    }
    for (run, summary) in summaries(out) {
        assert_adds_up(out, &run, &summary, is_compacted);
    }
}

fn assert_adds_up(out: &Path, run: &str, summary: &Value, is_compacted: bool) {
    let count = |name: &str| summary["counts"][name].as_u64().unwrap();
    assert_eq!(summary["run_id"], run);
    assert_eq!(
        count("found"),
        count("captioned") + count("failed") + count("unchanged"),
        "{run}"
    );
    let mut rows = 0;
    for kind in ["captions", "embeddings"] {
        for part in summary[kind].as_array().unwrap() {
            let file = out.join(part["file"].as_str().unwrap());
            let damaged = out.join("damaged").join(part["file"].as_str().unwrap());
            if damaged.exists() || (is_compacted && !file.exists()) {
                continue;
            }
            let bytes =
                fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert_eq!(part["bytes"], bytes.len(), "{}", file.display());
            let digest = blake3::hash(&bytes).to_string();
            assert_eq!(part["blake3"], digest, "{}", file.display());
            let found: usize = read(&file).iter().map(RecordBatch::num_rows).sum();
            assert_eq!(part["rows"], found, "{}", file.display());
            if kind == "captions" {
                rows += part["rows"].as_u64().unwrap();
            }
        }
    }
    if !out.join("damaged").exists() && !is_compacted {
        assert_eq!(
            rows,
            count("captioned") + count("failed") + count("deleted"),
            "rows of {run}"
        );
    }
}

fn read(part: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(part).unwrap());
    let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", part.display()));
    reader.build().unwrap().map(Result::unwrap).collect()
}

/// Adds a batch's rows; each key may come once in a view.
fn add(view: &mut View, batch: &RecordBatch, source: &str) {
    let options = FormatOptions::new().with_null(NULL);
    let schema = batch.schema();
    let columns = batch.columns().iter().map(without_time_zone);
    let columns: Vec<ArrayRef> = columns.collect();
    let names = schema.fields().iter().map(|field| field.name());
    let columns: Vec<_> = names
        .zip(&columns)
        .map(|(name, column)| (name, ArrayFormatter::try_new(column, &options).unwrap()))
        .collect();
    for row in 0..batch.num_rows() {
        let cells: Cells = columns
            .iter()
            .map(|(name, column)| ((*name).clone(), column.value(row).to_string()))
            .collect();
        let key = (cells["root"].clone(), cells["uri"].clone());
        let twice = view.insert(key, cells);
        assert!(twice.is_none(), "twice in {source}: {twice:?}");
    }
}

/// Moments as microseconds: to write out a time zone takes a data base of them.
fn without_time_zone(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(moments) => Arc::new(moments.reinterpret_cast::<Int64Type>()),
        None => column.clone(),
    }
}

fn parquet_files(directory: &Path) -> Vec<PathBuf> {
    let names = names(directory);
    let parts = names
        .iter()
        .filter(|name| name.ends_with(".parquet") && !name.starts_with('.'));
    parts.map(|name| directory.join(name)).collect()
}

/// Names in a directory, sorted; none if it does not exist.
fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
