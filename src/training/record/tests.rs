use std::time::Duration;

use super::*;

const FIRST: u64 = 1_700_000_000;

/// A short training of two steps an epoch, from `from` on, until after `last` epochs.
fn learn(record: &mut Record, from: Position, last: u64) {
    for epoch in from.epochs + 1..=last {
        for step in 2 * epoch - 1..=2 * epoch {
            if step <= from.step {
                continue;
            }
            let numbers = StepNumbers {
                step,
                epoch,
                at: UNIX_EPOCH + Duration::from_secs(FIRST + step),
                token_loss: 5.0 / step as f64,
                further_losses: &[("presence", 0.5)],
                learning_rate: 0.001 * step as f64,
                tokens: 100 + step as usize,
                gradient_norm: Some(2.0),
            };
            record.step(&numbers).unwrap();
        }
        let samples = [Sample {
            image: "a.jpg".into(),
            caption: format!("said after {epoch}"),
            references: vec!["a dog".into()],
        }];
        let numbers = EpochNumbers {
            epoch,
            step: 2 * epoch,
            at: UNIX_EPOCH + Duration::from_secs(FIRST + 100 * epoch),
            train_loss: 4.0,
            metrics: &[("loss", 3.0), ("cider_d", 0.1 * epoch as f64)],
            samples: &samples,
            saved: epoch % 2 == 1,
        };
        record.epoch(&numbers).unwrap();
    }
}

fn open(directory: &Path, position: Position) -> Record {
    let at = UNIX_EPOCH + Duration::from_secs(FIRST);
    Record::open(directory, "seed = 1\n", position, at).unwrap()
}

/// Names and contents, whatever the name of TensorBoard's file.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let name = match events::is_ours(name) {
                true => "events".to_owned(),
                false => name.to_owned(),
            };
            (name, fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_training_leaves_its_files() {
    let scratch = tempfile::tempdir().unwrap();
    let run = scratch.path().join("run");
    learn(&mut open(&run, Position::default()), Position::default(), 2);
    let names: Vec<String> = files(&run).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [JOURNAL, CONFIG, CURVES, "events", METRICS, SAMPLES]);
    let numbers = Numbers::read(&run.join(METRICS)).unwrap();
    assert_eq!(
        numbers.names(Scope::Step),
        [
            "loss/token",
            "loss/presence",
            "learning_rate",
            "tokens",
            "gradient_norm"
        ]
    );
    assert_eq!(
        numbers.names(Scope::Epoch),
        [
            "train_loss",
            "saved",
            "validation/loss",
            "validation/cider_d"
        ]
    );
    let last = numbers.iter().last().unwrap();
    assert_eq!(
        last,
        Number {
            step: 4,
            epoch: 2,
            scope: Scope::Epoch,
            name: "validation/cider_d",
            value: 0.2,
            at: 1_000_000 * (FIRST as i64 + 200),
        }
    );
}

#[test]
fn what_goes_on_from_a_checkpoint_leaves_what_an_uninterrupted_training_leaves() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    learn(
        &mut open(&whole, Position::default()),
        Position::default(),
        4,
    );
    // In the middle of an epoch, at its end, there before it was judged, and from the beginning.
    for position in [
        Position::after(3, 2),
        Position::after(4, 2),
        Position { step: 4, epochs: 1 },
        Position::after(0, 2),
    ] {
        let Position { step, epochs } = position;
        let run = scratch.path().join(format!("{step}-{epochs}"));
        learn(&mut open(&run, Position::default()), Position::default(), 3);
        learn(&mut open(&run, position), position, 4);
        for (found, expected) in files(&run).iter().zip(&files(&whole)) {
            assert_eq!(found.0, expected.0);
            assert!(found.1 == expected.1, "{} after {position:?}", found.0);
        }
    }
}

#[test]
fn a_kill_takes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let run = scratch.path().join("run");
    let mut record = open(&run, Position::default());
    let numbers = StepNumbers {
        step: 1,
        epoch: 1,
        at: UNIX_EPOCH + Duration::from_secs(FIRST),
        token_loss: f64::NAN,
        further_losses: &[],
        learning_rate: 0.1,
        tokens: 7,
        gradient_norm: None,
    };
    record.step(&numbers).unwrap();
    record.flush().unwrap();
    record.step(&StepNumbers { step: 2, ..numbers }).unwrap();
    // As if killed: nothing is written out.
    std::mem::forget(record);
    let kept = Numbers::read(&run.join(METRICS)).unwrap();
    assert_eq!(kept.iter().map(|number| number.step).max(), Some(1));
    assert!(kept.iter().next().unwrap().value.is_nan());
    for (step, numbers) in [(2, 6), (1, 3)] {
        let position = Position { step, epochs: 0 };
        assert_eq!(open(&run, position).numbers().len(), numbers);
    }
}

#[test]
fn an_epoch_that_is_told_again_takes_its_place() {
    let scratch = tempfile::tempdir().unwrap();
    let [once, twice] = ["once", "twice"].map(|name| scratch.path().join(name));
    learn(
        &mut open(&once, Position::default()),
        Position::default(),
        2,
    );
    let mut record = open(&twice, Position::default());
    learn(&mut record, Position::default(), 2);
    learn(&mut record, Position { step: 4, epochs: 1 }, 2);
    for ((name, found), (_, expected)) in files(&twice).into_iter().zip(files(&once)) {
        // TensorBoard shows the last of two values of a step.
        assert!(name == "events" || found == expected, "{name}");
    }
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let metrics = scratch.path().join(METRICS);
    fs::write(&metrics, "epoch,loss\n1,2\n").unwrap();
    let position = Position { step: 1, epochs: 0 };
    let at = UNIX_EPOCH;
    let error = Record::open(scratch.path(), "", position, at)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        format!("cannot use {}", metrics.display())
    );
    assert!(std::error::Error::source(&error).is_some());
}
