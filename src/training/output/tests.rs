use super::*;

/// A directory with a model as a training writes it; `word` tells one from another.
fn model(directory: &Path, word: &str) {
    fs::create_dir_all(directory).unwrap();
    let description = format!("name = \"{word}\"\n[origin]\nshowtell = \"0.1.0\"\n");
    fs::write(directory.join(DESCRIPTION), description).unwrap();
    fs::write(directory.join("captioner.safetensors"), word).unwrap();
    fs::write(directory.join("vocabulary.txt"), word).unwrap();
}

fn word(directory: &Path) -> String {
    fs::read_to_string(directory.join("vocabulary.txt")).unwrap()
}

/// Writes the next model into the output's place.
fn replace(output: &Output, word: &str) -> Result<(), TrainingError> {
    let staged = output.stage()?;
    model(staged.path(), word);
    staged.put_in_place()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn what_no_training_wrote_is_refused_and_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let check = |name: &str, expected: &str| {
        let error = Output::find(&at(name)).unwrap_err();
        assert!(error.is_usage(), "{error}");
        let advice = "name a new or an empty directory as the output, or move away what is there";
        let expected = format!("{}{expected}: {advice}", scratch.path().display());
        assert_eq!(error.to_string(), expected);
    };
    model(&at("models/a"), "a");
    model(&at("models/b"), "b");
    check(
        "models",
        "/models holds a and 1 more that are no part of a model",
    );
    fs::write(at("file"), "mine").unwrap();
    check("file", "/file is a file");
    model(&at("noted"), "a");
    fs::write(at("noted/README"), "mine").unwrap();
    check("noted", "/noted holds README, which is no part of a model");
    fs::create_dir(at("weights")).unwrap();
    fs::write(at("weights/encoder.safetensors"), "mine").unwrap();
    check(
        "weights",
        "/weights holds encoder.safetensors, but no model.toml that a training wrote",
    );
    fs::write(at("weights/model.toml"), "name = \"by hand\"").unwrap();
    check(
        "weights",
        "/weights holds encoder.safetensors, model.toml, but no model.toml that a training wrote",
    );
    fs::create_dir_all(at("plans.training")).unwrap();
    fs::write(at("plans.training/config.toml"), "mine").unwrap();
    check(
        "plans",
        "/plans.training holds config.toml and no record of a training",
    );
    std::os::unix::fs::symlink("round", at("round")).unwrap();
    check("round", "/round is a link that leads to no end");
    assert_eq!(word(&at("models/a")), "a");
    assert_eq!(names(&at("noted")).len(), 4);
}

#[test]
fn a_model_replaces_none_an_empty_directory_or_the_one_before() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    // Names that were a training's once, and may be a user's.
    for mine in ["m.old", "m.candidate"] {
        model(&at(mine), mine);
    }
    fs::create_dir(at("empty")).unwrap();
    for name in ["m", "empty"] {
        let output = Output::find(&at(name)).unwrap();
        output.recover(output.was_killed()).unwrap();
        for word_of_it in ["first", "second"] {
            replace(&output, word_of_it).unwrap();
            assert_eq!(word(&at(name)), word_of_it);
        }
        drop(output.stage().unwrap());
    }
    assert_eq!(
        names(scratch.path()),
        ["empty", "m", "m.candidate", "m.old"]
    );
    assert_eq!(word(&at("m.old")), "m.old");
}

#[test]
fn what_came_to_the_place_while_a_model_was_learnt_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("m");
    let output = Output::find(&path).unwrap();
    replace(&output, "first").unwrap();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    let error = replace(&output, "second").unwrap_err();
    assert!(
        matches!(error, TrainingError::OutputTaken { .. }),
        "{error}"
    );
    assert_eq!(word(&path), "first");
    assert_eq!(names(scratch.path()), ["m"]);
}

#[test]
fn a_link_is_followed() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    model(&at("disk/first"), "before");
    std::os::unix::fs::symlink("disk/latest", at("latest")).unwrap();
    std::os::unix::fs::symlink("first", at("disk/latest")).unwrap();
    let mut slash = at("latest").into_os_string();
    slash.push("/");
    let output = Output::find(Path::new(&slash)).unwrap();
    assert_eq!(output.folder(), at("disk/first.training"));
    replace(&output, "after").unwrap();
    assert_eq!(word(&at("disk/first")), "after");
    assert!(at("latest").is_symlink() && at("disk/latest").is_symlink());
    // One that leads to what is not there yet.
    std::os::unix::fs::symlink("disk/second", at("next")).unwrap();
    replace(&Output::find(&at("next")).unwrap(), "second").unwrap();
    assert_eq!(word(&at("disk/second")), "second");
}

/// As after a kill before and after each rename.
#[test]
fn a_replacement_that_was_killed_is_undone_or_finished() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let check = |there: &[&str], expected: &str| {
        for name in there {
            model(&at(name), name);
        }
        let output = Output::find(&at("m")).unwrap();
        output.recover(output.was_killed()).unwrap();
        assert_eq!(names(scratch.path()), ["m"], "{there:?}");
        assert_eq!(word(&at("m")), expected, "{there:?}");
        fs::remove_dir_all(at("m")).unwrap();
    };
    check(&["m", ".m.showtell-new"], "m");
    check(
        &[".m.showtell-before", ".m.showtell-new"],
        ".m.showtell-before",
    );
    check(&[".m.showtell-before", "m"], "m");
}

#[test]
fn a_kill_of_a_version_before_is_undone_but_a_copy_of_a_users_is_left() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let recover = || {
        let output = Output::find(&at("m")).unwrap();
        output.recover(output.was_killed()).unwrap();
    };
    model(&at("m.old"), "old");
    model(&at("m.candidate"), "candidate");
    recover();
    assert_eq!(names(scratch.path()), ["m.candidate", "m.old"]);
    // Killed: the lock's file is still there.
    fs::create_dir(at("m.training")).unwrap();
    fs::write(at("m.training/.lock"), "").unwrap();
    recover();
    assert_eq!(word(&at("m")), "old");
    assert_eq!(names(scratch.path()), ["m", "m.candidate", "m.training"]);
}
