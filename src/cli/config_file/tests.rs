use std::collections::BTreeSet;
use std::fs;

use clap::{CommandFactory, Parser};

use super::*;
use crate::cli::Arguments;

const NIGHTLY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/nightly.toml");

/// Reads the words of `line` with `--config` naming a file of `text`: the arguments for clap.
fn said(text: &str, line: &str) -> Result<Vec<String>, String> {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("night.toml");
    fs::write(&path, text).unwrap();
    let line = line.replace("CONFIG", path.to_str().unwrap());
    let given = line.split_whitespace().map(OsString::from).collect();
    let shown = |text: String| text.replace(path.to_str().unwrap(), "night.toml");
    match read(Arguments::command(), given) {
        Ok(said) => {
            let words = said.arguments.into_iter();
            Ok(words
                .map(|word| shown(word.into_string().unwrap()))
                .collect())
        }
        Err(error) => Err(shown(error.to_string())),
    }
}

/// What `text` adds to `showtell annotate --config night.toml`.
fn added(text: &str) -> Result<String, String> {
    let words = said(text, "showtell annotate --config CONFIG")?;
    Ok(words[4..].join(" "))
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(added(text).unwrap_err(), expected);
}

/// Keys that `command` can be told by a file.
fn keys(command: &str) -> BTreeSet<String> {
    let mut all = Arguments::command();
    all.build();
    let subcommand = all.find_subcommand(command).unwrap();
    let file = File {
        path: Path::new(""),
        text: "",
        command: &all,
        subcommand,
    };
    file.sayable().map(|arg| key_of(arg).to_owned()).collect()
}

#[test]
fn every_type_becomes_an_argument() {
    assert_eq!(
        added("directories = ['a', 'b c']\nout = 'o'\nexclude = ['*.tmp', '--x']").unwrap(),
        "--out=o --exclude=*.tmp --exclude=--x -- a b c"
    );
    assert_eq!(
        added("beam = 5\nbatch = 0x10\nmax-pixels = 1_000\nlength-penalty = 7e-1").unwrap(),
        "--beam=5 --batch=16 --max-pixels=1000 --length-penalty=7e-1"
    );
    assert_eq!(added("length-penalty = 1").unwrap(), "--length-penalty=1");
    assert_eq!(
        added("verify = true\nhidden = false\nverbose = 2").unwrap(),
        "--verify --verbose --verbose"
    );
    assert_eq!(
        added("device = 'cpu'\nlog-format = 'json'").unwrap(),
        "--device=cpu --log-format=json"
    );
    assert_eq!(added("").unwrap(), "");
}

#[test]
fn the_command_line_wins() {
    let text = "directories = ['a']\nout = 'o'\nbeam = 5\nexclude = ['x', 'y']\nquiet = true\nverify = true";
    let words = |line| said(text, line).unwrap().join(" ");
    assert_eq!(
        words("showtell annotate here --config CONFIG --beam 1"),
        "showtell annotate here --config night.toml --beam 1 --out=o --exclude=x --exclude=y --quiet --verify"
    );
    assert_eq!(
        words("showtell -v annotate --exclude z -o p --config=CONFIG -- -odd"),
        "showtell -v annotate --exclude z -o p --config=night.toml --beam=5 --verify -- -odd"
    );
    assert_eq!(
        words("showtell annotate --config CONFIG --"),
        "showtell annotate --config night.toml --out=o --beam=5 --exclude=x --exclude=y --quiet --verify -- a"
    );
}

#[test]
fn other_commands_and_wrong_lines_are_left_to_clap() {
    for line in [
        "showtell",
        "showtell annotate a --out o",
        "showtell annotate --config",
        "showtell annotate --help --config CONFIG",
        "showtell nonsense --config CONFIG",
        "showtell train --config CONFIG",
        "showtell doctor --config CONFIG",
    ] {
        let expected: Vec<String> = line
            .replace("CONFIG", "night.toml")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert_eq!(said("beem = 1", line).unwrap(), expected);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    refused(
        "out = 'o'\n\nbeem = 5",
        "night.toml, line 3: there is no option \"beem\", did you mean \"beam\"?; `showtell annotate --help` lists them",
    );
    refused(
        "Max_Tokens = 5",
        "night.toml, line 1: there is no option \"Max_Tokens\", did you mean \"max-tokens\"?; `showtell annotate --help` lists them",
    );
    refused(
        "colour = 'red'",
        "night.toml, line 1: there is no option \"colour\"; `showtell annotate --help` lists them",
    );
    refused(
        "help = true",
        "night.toml, line 1: there is no option \"help\"; `showtell annotate --help` lists them",
    );
    refused(
        "config = 'x'",
        "night.toml, line 1: a configuration file cannot name another one",
    );
    refused(
        "[decoding]\nbeam = 5",
        "night.toml, line 1: there is no option \"decoding\", and options are not grouped in tables: leave [decoding] out",
    );
    refused(
        "beam = '5'",
        "night.toml, line 1: beam takes an integer, not the string \"5\"",
    );
    refused(
        "beam = 5.5",
        "night.toml, line 1: beam takes an integer, not the number 5.5",
    );
    refused(
        "out = 5",
        "night.toml, line 1: out takes a string, not the integer 5",
    );
    refused(
        "out = { dir = 'o' }",
        "night.toml, line 1: out takes a string, not a table",
    );
    refused(
        "device = true",
        "night.toml, line 1: device takes a string or a number, not true",
    );
    refused(
        "verify = 1",
        "night.toml, line 1: verify takes true or false, not the integer 1",
    );
    refused(
        "verbose = true",
        "night.toml, line 1: verbose takes a count, not true",
    );
    refused(
        "verbose = 256",
        "night.toml, line 1: verbose takes a count up to 255, not the integer 256",
    );
    refused(
        "exclude = '*.tmp'",
        "night.toml, line 1: exclude takes a list, each of it a string, not the string \"*.tmp\"",
    );
    refused(
        "directories = [1]",
        "night.toml, line 1: directories takes a list, each of it a string, not a list that begins with the integer 1",
    );
    refused(
        "\nbatch = 5000",
        "night.toml, line 2: batch: invalid value '5000' for '--batch <N>': 5000 is not in 1..=4096",
    );
    refused(
        "log-format = 'xml'",
        "night.toml, line 1: log-format: invalid value 'xml' for '--log-format <LOG_FORMAT>' [possible values: text, json]",
    );
    let error = added("out = 'o'\nbeam = ").unwrap_err();
    assert!(
        error.starts_with("night.toml, line 2: not valid TOML: "),
        "{error}"
    );
    let error = added("beam = 1\nbeam = 2").unwrap_err();
    assert!(
        error.starts_with("night.toml, line 2: not valid TOML: duplicate key"),
        "{error}"
    );
}

/// An option of a shape that files cannot say would have to be told on the command line alone.
#[test]
fn every_option_can_be_said_in_a_file() {
    let mut all = Arguments::command();
    all.build();
    for command in ["annotate", "embed"] {
        let keys = keys(command);
        for arg in all.find_subcommand(command).unwrap().get_arguments() {
            let alone = ["help", "version", "config"].contains(&key_of(arg));
            assert_eq!(keys.contains(key_of(arg)), !alone, "{command}: {arg:?}");
            let several = arg
                .get_num_args()
                .is_some_and(|count| count.max_values() > 1);
            assert!(
                !several || arg.is_positional(),
                "{}: give it once for each value, not with several values at once",
                key_of(arg)
            );
        }
    }
}

/// `key = value` lines of the example: those in force, and those commented out.
fn nightly() -> (Vec<String>, Vec<String>) {
    let text = fs::read_to_string(NIGHTLY).unwrap();
    let is_setting = |line: &str| {
        line.split_once(" = ").is_some_and(|(key, _)| {
            key.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        })
    };
    let lines = text.lines();
    let (comments, said): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with('#'));
    let settings = |lines: Vec<&str>| -> Vec<String> {
        let lines = lines.into_iter().map(|line| line.trim_start_matches("# "));
        lines
            .filter(|line| is_setting(line))
            .map(str::to_owned)
            .collect()
    };
    (settings(said), settings(comments))
}

#[test]
fn the_example_shows_every_option() {
    let (said, comments) = nightly();
    let key = |line: &String| line.split_once(" = ").unwrap().0.to_owned();
    let shown: Vec<String> = said.iter().chain(&comments).map(key).collect();
    let once: BTreeSet<String> = shown.iter().cloned().collect();
    assert_eq!(shown.len(), once.len(), "shown twice");
    assert_eq!(
        once,
        keys("annotate"),
        "pipelines/nightly.toml and `showtell annotate --help`"
    );
}

#[test]
fn the_example_is_valid_commented_lines_too() {
    let whole = format!("showtell annotate --config {NIGHTLY}");
    let parse = |given: Vec<OsString>| {
        let said = read(Arguments::command(), given).unwrap();
        Arguments::try_parse_from(&said.arguments).unwrap_or_else(|error| panic!("{error}"));
    };
    parse(whole.split(' ').map(OsString::from).collect());

    let mut all = Arguments::command();
    all.build();
    let annotate = all.find_subcommand("annotate").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("night.toml");
    for line in nightly().1 {
        fs::write(&path, format!("directories = ['a']\nout = 'o'\n{line}")).unwrap();
        let given = ["showtell", "annotate", "--config", path.to_str().unwrap()];
        parse(given.map(OsString::from).to_vec());

        // A comment that shows a default has to go on showing it.
        let (key, value) = line.split_once(" = ").unwrap();
        let arg = annotate
            .get_arguments()
            .find(|arg| key_of(arg) == key)
            .unwrap();
        if let [default] = arg.get_default_values() {
            assert_eq!(value.trim_matches('"'), default.to_str().unwrap(), "{key}");
        }
    }
}
