//! Makes rows for tests: nasty strings, nulls, empty lists, and damage to files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::collection::SizeRange;
use proptest::option;
use proptest::prelude::*;

use super::{Identity, Outcome, Row, RunId};
use crate::archive::{Failure, ImageId, Stage, key_order};
use crate::captioner::Beam;

/// A directory for one test, in memory where the system has such: syncs cost nothing there.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A captioned row with nothing special about it.
pub fn row(uri: &str) -> Row {
    Row {
        uri: uri.to_owned(),
        root: "archive".into(),
        image_id: Some(ImageId::of(uri.as_bytes())),
        bytes: 1000,
        modified_at: 1_700_000_000_000_000,
        width: Some(640),
        height: Some(480),
        format: Some("jpeg".into()),
        outcome: Outcome::Captioned(vec![Beam {
            caption: format!("a picture of {uri}"),
            log_prob: -3.5,
            tokens: 5,
            score: -0.7,
            finished: true,
        }]),
        identity: Some(identity("captioner")),
        run_id: run_id(1),
        annotated_at: 1_700_000_001_000_000,
    }
}

/// An encoder that is always the same, and a captioner.
pub fn identity(captioner_id: &str) -> Identity {
    Identity {
        encoder_id: "encoder".into(),
        captioner_id: captioner_id.into(),
        decoding: r#"{"beam":3}"#.into(),
    }
}

/// The `number`th run.
pub fn run_id(number: u32) -> RunId {
    format!(
        "20250101T{:02}{:02}{:02}Z-00ff",
        number / 3600,
        number / 60 % 60,
        number % 60
    )
    .parse()
    .unwrap()
}

/// Any rows.
pub fn rows(count: impl Into<SizeRange>) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(any_row(), count)
}

/// Any rows in order, each key once.
pub fn unique_rows(count: impl Into<SizeRange>) -> impl Strategy<Value = Vec<Row>> {
    rows(count).prop_map(|rows| {
        let mut seen = std::collections::HashSet::new();
        let mut unique = rows;
        unique.retain(|row| seen.insert((row.root.clone(), row.uri.clone())));
        unique.sort_by(|a, b| key_order(a.key(), b.key()));
        unique
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("\0".to_owned()),
        Just("null".to_owned()),
        Just("a \"quoted\", line\r\nbroken\u{2028}caption \u{1f41f}".to_owned()),
        ".{0,12}",
    ]
}

fn shared_text() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Into::into)
}

fn beam() -> impl Strategy<Value = Beam> {
    (text(), -1e3f32..0.0, 0i32..50, -1e3f32..0.0, any::<bool>()).prop_map(
        |(caption, log_prob, tokens, score, finished)| Beam {
            caption,
            log_prob,
            tokens,
            score,
            finished,
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let stages = vec![Stage::Read, Stage::Decode, Stage::Encode, Stage::Caption];
    let failure = (prop::sample::select(stages), text());
    prop_oneof![
        3 => prop::collection::vec(beam(), 0..4).prop_map(Outcome::Captioned),
        1 => failure.prop_map(|(stage, reason)| Outcome::Failed(Failure { stage, reason })),
        1 => Just(Outcome::Deleted),
    ]
}

fn any_row() -> impl Strategy<Value = Row> {
    let key = ("[ab]", "[a.]{1,2}(/[a.]{1,2}){0,2}|\\PC{1,6}");
    let file = (
        option::of(any::<[u8; 32]>().prop_map(ImageId)),
        0..=i64::MAX as u64,
        any::<i64>(),
    );
    let pixels = || option::of(0..=i32::MAX as u32);
    let identity = (shared_text(), shared_text(), shared_text());
    let identity = identity.prop_map(|(encoder_id, captioner_id, decoding)| Identity {
        encoder_id,
        captioner_id,
        decoding,
    });
    (
        key,
        file,
        (pixels(), pixels(), option::of(shared_text())),
        outcome(),
        option::of(identity),
        (0u32..80_000, any::<i64>()),
    )
        .prop_map(|(key, file, picture, outcome, identity, run)| Row {
            uri: key.1,
            root: key.0.into(),
            image_id: file.0,
            bytes: file.1,
            modified_at: file.2,
            width: picture.0,
            height: picture.1,
            format: picture.2,
            outcome,
            identity,
            run_id: run_id(run.0),
            annotated_at: run.1,
        })
}

/// Copies a directory and all that is in it to `to`, which is not there yet.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Something that befalls a file.
#[derive(Debug, Clone)]
pub enum Damage {
    /// At this share of its length.
    Cut(f64),
    /// The bits of `1`, at this share of its length.
    Flip(f64, u8),
    /// From the first share of its length to the second, as after a power cut.
    Zero(f64, f64),
}

/// Any damage.
pub fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        1 => (0.0..1.0).prop_map(Damage::Cut),
        3 => (0.0..1.0, 1u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => (0.0..1.0, 0.0..1.0).prop_map(|(from, to)| Damage::Zero(from, to)),
    ]
}

impl Damage {
    pub fn apply(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let at = |share: f64| (share * bytes.len() as f64) as usize;
        match *self {
            Damage::Cut(share) => bytes.truncate(at(share)),
            Damage::Flip(share, bits) => {
                let at = at(share);
                bytes[at] ^= bits;
            }
            Damage::Zero(from, to) => {
                let (from, to) = (at(from.min(to)), at(from.max(to)));
                bytes[from..to].fill(0);
            }
        }
        fs::write(path, bytes).unwrap();
    }
}
