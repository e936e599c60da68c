//! What the command tells of itself: completions and help.

use std::fs::OpenOptions;
use std::process::{Command, Output};

fn showtell(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_showtell"))
        .args(arguments)
        .output()
        .unwrap()
}

fn said(arguments: &[&str]) -> String {
    String::from_utf8(showtell(arguments).stdout).unwrap()
}

#[test]
fn shells_are_offered_devices_and_types() {
    let script = said(&["completions", "bash"]);
    for names in ["auto cpu cuda:0 all", "auto fp32 bf16 fp16"] {
        assert!(
            script.contains(&format!("compgen -W \"{names}\"")),
            "{names}"
        );
    }
    // One GPU stands for all numbers: help says which there are.
    let help = said(&["annotate", "--help"]);
    assert!(!help.contains("cuda:0"), "{help}");
    for (device, expected) in [
        (
            "cuda:x",
            "unknown device `cuda:x`: expected auto, cpu, all, or cuda:N",
        ),
        ("cuda:99", "cuda:99 was asked for"),
    ] {
        let annotate = [
            "annotate",
            "data/samples",
            "--out",
            "/proc/none",
            "--device",
        ];
        let output = showtell(&[&annotate[..], &[device]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn completions_that_cannot_be_written_are_an_error() {
    for shell in ["bash", "zsh", "fish"] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_showtell"))
            .args(["completions", shell])
            .stdout(full)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{errors}");
        assert!(
            errors.contains("cannot write to standard output"),
            "{errors}"
        );
    }
}

#[test]
fn help_says_what_each_command_does() {
    let help = said(&["--help"]);
    for line in [
        "model        Lists models and published weights",
        "doctor       Tells what this machine has",
        "dataset      Tells what is in a data set",
    ] {
        assert!(help.contains(line), "{line} is missing in\n{help}");
    }
    assert!(!help.contains("asked to do"), "{help}");
}
