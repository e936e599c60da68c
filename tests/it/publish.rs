//! The current rows as a Delta table; without the feature, how to get it.

#[cfg(feature = "delta")]
mod delta;

use std::process::{Command, Output};

fn publish(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_showtell"))
        .arg("publish")
        .args(arguments)
        .output()
        .unwrap()
}

#[cfg(not(feature = "delta"))]
#[test]
fn without_the_feature_it_says_how_to_get_it() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out").display().to_string();
    let output = publish(&[&out, "--to", &format!("delta:{out}/table")]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("make build FEATURES=delta"), "{errors}");
    assert!(!scratch.path().join("out").exists());
}
