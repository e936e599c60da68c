//! What is done about each file, by example and against looking everything up.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::archive::Failure;
use crate::table::arbitrary::{identity, run_id};

fn file(root: &str, uri: &str) -> ImageRef {
    ImageRef {
        root: root.into(),
        uri: uri.to_owned(),
        path: uri.into(),
        bytes: 10,
        modified: 20,
    }
}

fn known(root: &str, uri: &str) -> Known {
    Known {
        root: root.into(),
        uri: uri.to_owned(),
        bytes: 10,
        modified_at: 20,
        image_id: None,
        width: None,
        height: None,
        format: None,
        status: Status::Captioned,
        identity: Some(identity("captioner")),
        run_id: run_id(1),
    }
}

fn failed(uri: &str, stage: Stage, captioner_id: &str) -> Known {
    Known {
        status: Status::Failed(Failure {
            stage,
            reason: "no luck".to_owned(),
        }),
        identity: Some(identity(captioner_id)),
        ..known("a", uri)
    }
}

fn unreadable(root: &str, uri: &str) -> Walked {
    Walked::Unreadable {
        root: root.into(),
        uri: uri.to_owned(),
        reason: "no luck".to_owned(),
    }
}

fn options() -> PlanOptions {
    PlanOptions {
        roots: BTreeSet::from(["a".to_owned(), "b".to_owned()]),
        identity: identity("captioner"),
        retry_failed: false,
        verify: false,
    }
}

type Planned = Vec<Result<Action, PlanError<Infallible>>>;

fn plan(walk: Vec<Walked>, known: Vec<Known>, options: PlanOptions) -> Planned {
    Plan::new(walk.into_iter(), known.into_iter().map(Ok), options).collect()
}

/// The actions by path, each as one word.
fn words(planned: Planned) -> Vec<(String, String, &'static str)> {
    let word = |action: Result<_, _>| match action.unwrap() {
        Action::New(file) => (file, "new"),
        Action::Read { file, because, .. } => match because {
            Because::Changed => (file, "changed"),
            Because::Failed => (file, "retry"),
            Because::Verify => (file, "verify"),
        },
        Action::Recaption { file, .. } => (file, "recaption"),
        Action::Unchanged { file, .. } => (file, "unchanged"),
        Action::UnchangedFailed { file, .. } => (file, "unchanged failed"),
        Action::Unreadable { root, uri, .. } => (file(&root, &uri), "unreadable"),
        Action::Deleted(known) => (file(&known.root, &known.uri), "deleted"),
    };
    let words = planned.into_iter().map(word);
    words
        .map(|(file, word)| (file.root.to_string(), file.uri, word))
        .collect()
}

fn check_one(met: ImageRef, row: Known, options: PlanOptions, expected: &str) {
    let words = words(plan(vec![Walked::File(met)], vec![row.clone()], options));
    assert_eq!(words.len(), 1);
    assert_eq!(words[0].2, expected, "{row:?}");
}

#[test]
fn what_is_done_about_a_known_file() {
    let met = || file("a", "x");
    let with = |change: fn(&mut PlanOptions)| {
        let mut options = options();
        change(&mut options);
        options
    };
    check_one(met(), known("a", "x"), options(), "unchanged");
    check_one(
        ImageRef { bytes: 11, ..met() },
        known("a", "x"),
        options(),
        "changed",
    );
    check_one(
        ImageRef {
            modified: 21,
            ..met()
        },
        known("a", "x"),
        options(),
        "changed",
    );
    check_one(met(), known("a", "x"), with(|o| o.verify = true), "verify");
    let other = || with(|o| o.identity = identity("other"));
    check_one(met(), known("a", "x"), other(), "recaption");
    check_one(
        met(),
        Known {
            identity: None,
            ..known("a", "x")
        },
        options(),
        "recaption",
    );

    let failed = |stage| failed("x", stage, "captioner");
    check_one(met(), failed(Stage::Decode), options(), "unchanged failed");
    check_one(met(), failed(Stage::Decode), other(), "unchanged failed");
    check_one(
        met(),
        failed(Stage::Decode),
        with(|o| o.retry_failed = true),
        "retry",
    );
    check_one(
        ImageRef { bytes: 11, ..met() },
        failed(Stage::Decode),
        options(),
        "changed",
    );
    check_one(met(), failed(Stage::Read), options(), "retry");
    check_one(
        met(),
        failed(Stage::Read),
        with(|o| o.verify = true),
        "retry",
    );
    check_one(
        met(),
        failed(Stage::Decode),
        with(|o| o.verify = true),
        "verify",
    );
    check_one(met(), failed(Stage::Encode), other(), "unchanged failed");
    let encoder = with(|o| o.identity.encoder_id = "other".into());
    check_one(met(), failed(Stage::Encode), encoder, "retry");
    check_one(met(), failed(Stage::Caption), options(), "unchanged failed");
    check_one(met(), failed(Stage::Caption), other(), "retry");
}

#[test]
fn what_cannot_be_seen_is_not_deleted() {
    let walk = vec![
        unreadable("a", "dir"),
        Walked::File(file("a", "dir/seen")),
        Walked::File(file("a", "dir2/new")),
        unreadable("b", ""),
    ];
    let rows = [
        ("a", "dir/gone?"),
        ("a", "dir/seen"),
        ("a", "dir/sub/gone?"),
        ("a", "dir.jpg"),
        ("a", "dir2/gone"),
        ("b", "gone?"),
        ("c", "of another root"),
    ];
    let rows = rows.map(|(root, uri)| known(root, uri)).to_vec();
    let words = words(plan(walk, rows, options()));
    let words: Vec<_> = words
        .iter()
        .map(|(_, uri, word)| (uri.as_str(), *word))
        .collect();
    let expected = [
        ("dir", "unreadable"),
        ("dir/seen", "unchanged"),
        ("dir.jpg", "deleted"),
        ("dir2/gone", "deleted"),
        ("dir2/new", "new"),
        ("", "unreadable"),
    ];
    assert_eq!(words, expected);
}

#[test]
fn a_walk_out_of_order_ends_the_plan() {
    let walk = ["b", "a"].map(|uri| Walked::File(file("a", uri))).to_vec();
    let mut planned = plan(walk, vec![known("a", "c")], options()).into_iter();
    assert!(matches!(planned.next(), Some(Ok(Action::New(_)))));
    assert!(matches!(
        planned.next(),
        Some(Err(PlanError::OutOfOrder { .. }))
    ));
    assert!(planned.next().is_none());
}

#[test]
fn an_unreadable_state_ends_the_plan() {
    let walk = vec![Walked::File(file("a", "x"))].into_iter();
    let state = vec![Err(std::fmt::Error)].into_iter();
    let planned: Vec<_> = Plan::new(walk, state, options()).collect();
    assert!(matches!(planned[..], [Err(PlanError::Known(_))]));
}

/// A tree of few names, so that the two sides meet.
fn uris() -> impl Strategy<Value = Vec<(String, String, u8)>> {
    let root = prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    prop::collection::vec((root, "[xy.]{1,2}(/[xy.]{1,2}){0,2}", 0u8..8), 0..30)
}

/// In the order of the streams, each key once.
fn in_order<T>(items: Vec<(String, String, T)>) -> Vec<(String, String, T)> {
    let unique: HashMap<_, _> = items.into_iter().map(|(r, u, t)| ((r, u), t)).collect();
    let mut items: Vec<_> = unique.into_iter().map(|((r, u), t)| (r, u, t)).collect();
    items.sort_by(|a, b| key_order((&a.0, &a.1), (&b.0, &b.1)));
    items
}

proptest! {
    #[test]
    fn agrees_with_looking_everything_up(met in uris(), rows in uris()) {
        let met: Vec<_> = in_order(met)
            .into_iter()
            .filter(|(root, _, _)| root != "c")
            .map(|(root, uri, kind)| match kind {
                0 => unreadable(&root, &uri),
                1 => Walked::File(ImageRef { bytes: 11, ..file(&root, &uri) }),
                _ => Walked::File(file(&root, &uri)),
            })
            .collect();
        let rows: Vec<_> = in_order(rows)
            .into_iter()
            .map(|(root, uri, kind)| match kind {
                0 => Known { identity: Some(identity("older")), ..known(&root, &uri) },
                1 => Known { root: root.into(), ..failed(&uri, Stage::Decode, "captioner") },
                _ => known(&root, &uri),
            })
            .collect();

        let mut expected = BTreeMap::new();
        let by_key: HashMap<_, _> = rows.iter().map(|row| (row.key(), row)).collect();
        let mut seen = BTreeSet::new();
        let mut blind = Vec::new();
        for met in &met {
            seen.insert(met.key());
            match met {
                Walked::Unreadable { root, uri, .. } => {
                    blind.push((&**root, format!("{uri}/")));
                    expected.insert(met.key(), "unreadable");
                }
                Walked::File(file) => {
                    let word = match by_key.get(&met.key()) {
                        None => "new",
                        Some(row) if row.bytes != file.bytes => "changed",
                        Some(row) if row.status != Status::Captioned => "unchanged failed",
                        Some(row) if row.identity != Some(identity("captioner")) => "recaption",
                        Some(_) => "unchanged",
                    };
                    expected.insert(met.key(), word);
                }
            }
        }
        for row in &rows {
            let hidden = blind.iter().any(|(root, below)| {
                *root == &*row.root && row.uri.starts_with(below)
            });
            if &*row.root != "c" && !seen.contains(&row.key()) && !hidden {
                expected.insert(row.key(), "deleted");
            }
        }

        let words = words(plan(met.clone(), rows.clone(), options()));
        let keys: Vec<_> = words.iter().map(|(root, uri, _)| (root.as_str(), uri.as_str())).collect();
        prop_assert!(keys.is_sorted_by(|a, b| key_order(*a, *b).is_lt()));
        let planned: BTreeMap<_, _> = keys.into_iter().zip(words.iter().map(|(.., w)| *w)).collect();
        prop_assert_eq!(planned, expected);
    }
}
