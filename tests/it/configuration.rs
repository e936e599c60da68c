//! The command, told by a configuration file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use showtell::nightly::{RunSummary, runs};
use showtell::table::{Layout, Outcome, PartFile, Row};
use tempfile::TempDir;

/// A directory with two samples in `photos`, which the command runs in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("photos")).unwrap();
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/samples");
        for name in ["first.png", "second.jpg"] {
            fs::copy(samples.join(name), place.path("photos").join(name)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn says(&self, config: &str) {
        fs::create_dir_all(self.path("etc")).unwrap();
        fs::write(self.path("etc/night.toml"), config).unwrap();
    }

    fn showtell(&self, line: &str, exit: i32) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_showtell"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{errors}");
        output
    }

    fn last_run(&self, out: &str) -> (RunSummary, Vec<Row>) {
        let layout = Layout::open(&self.path(out)).unwrap();
        let run = runs(&layout).unwrap().pop().unwrap().unwrap();
        let read = |file: &str| {
            PartFile::open(&layout.absolute(file))
                .unwrap()
                .read()
                .unwrap()
        };
        let rows = run
            .captions
            .iter()
            .flat_map(|part| read(&part.file))
            .collect();
        (run, rows)
    }
}

/// What two runs with the same model and options have in common.
fn said_of(rows: &[Row]) -> Vec<(String, String, Outcome)> {
    let said = |row: &Row| (row.root.to_string(), row.uri.clone(), row.outcome.clone());
    rows.iter().map(said).collect()
}

#[test]
fn a_file_does_what_the_command_line_does() {
    let place = Place::new();
    place.showtell(
        "annotate photos --out by-hand --beam 2 --max-tokens 6 --length-penalty 0.5 --exclude second.* --quiet",
        0,
    );
    place.says(
        "directories = ['photos']\nout = 'by-file'\nbeam = 2\nmax-tokens = 6\nlength-penalty = 0.5\n\
         exclude = ['second.*']\nquiet = true\n",
    );
    let output = place.showtell("annotate --config etc/night.toml", 0);
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );

    let (by_hand, rows) = place.last_run("by-hand");
    let (by_file, rows_by_file) = place.last_run("by-file");
    assert_eq!(rows.len(), 1);
    assert_eq!(said_of(&rows), said_of(&rows_by_file));
    assert_eq!(by_hand.decoding, by_file.decoding);
    assert_eq!(by_hand.counts, by_file.counts);
}

#[test]
fn the_command_line_wins_and_the_run_records_what_was_in_force() {
    let place = Place::new();
    place.says("directories = ['absent']\nout = 'out'\nbeam = 3\nquiet = true\n");
    place.showtell("annotate photos --config etc/night.toml --beam 1", 0);
    let (run, rows) = place.last_run("out");
    assert_eq!(run.roots.len(), 1);
    assert!(run.roots[0].ends_with("photos"));
    for row in rows {
        assert!(matches!(&row.outcome, Outcome::Captioned(beams) if beams.len() == 1));
    }
    let said: Vec<&str> = run.options["command"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    assert_eq!(
        said,
        "annotate photos --config etc/night.toml --beam 1 --out=out --quiet"
            .split(' ')
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_wrong_file_touches_nothing_and_says_where() {
    let place = Place::new();
    let good = "directories = ['photos']\nout = 'out'\n";
    for (wrong, expected) in [
        (
            "beem = 2",
            "etc/night.toml, line 3: there is no option \"beem\", did you mean \"beam\"?",
        ),
        (
            "beam = 'two'",
            "etc/night.toml, line 3: beam takes an integer, not the string \"two\"",
        ),
        (
            "batch = 0",
            "etc/night.toml, line 3: batch: invalid value '0'",
        ),
        ("beam = ", "etc/night.toml, line 3: not valid TOML"),
        // Each right by itself.
        (
            "quiet = true\nverbose = 1",
            "with the options of etc/night.toml:",
        ),
    ] {
        place.says(&format!("{good}{wrong}\n"));
        let output = place.showtell("annotate --config etc/night.toml", 2);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(expected), "{errors}");
        let told_in_a_line = !expected.starts_with("with the options");
        assert!(
            !told_in_a_line || errors.trim().lines().count() == 1,
            "{errors}"
        );
        assert!(output.stdout.is_empty());
        assert!(!place.path("out").exists());
    }
    let output = place.showtell("annotate --config absent.toml", 2);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("cannot read the configuration file absent.toml"),
        "{errors}"
    );
}

#[test]
fn embed_takes_a_file_too() {
    let place = Place::new();
    place.says("directories = ['photos']\nout = 'out'\nweights = 'absent.pth'\n");
    let output = place.showtell("embed --config etc/night.toml", 2);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("absent.pth"), "{errors}");
    // An option of another command.
    place.says("beam = 2");
    let output = place.showtell("embed --config etc/night.toml", 2);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("`showtell embed --help` lists them"),
        "{errors}"
    );
}
