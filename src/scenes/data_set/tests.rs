//! Data sets that are drawn, read back, and drawn over.

use std::cell::RefCell;

use super::*;

fn config(count: u64) -> Config {
    Config {
        count,
        seed: 9,
        first_index: 100,
        bias: 0.0,
        frame: Frame::new(64, 64).unwrap(),
        other_sizes: 0.3,
        faded: 0.3,
    }
}

#[test]
fn a_data_set_is_whole_and_its_pictures_are_as_described() {
    let dir = tempfile::tempdir().unwrap();
    let reports = RefCell::new(Vec::new());
    write_data_set(dir.path(), &config(40), &|done| {
        reports.borrow_mut().push(done)
    })
    .unwrap();
    assert_eq!(*reports.borrow(), (1..=40).collect::<Vec<_>>());

    let text = fs::read_to_string(dir.path().join(DESCRIPTION)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["info"]["count"], 40);
    assert_eq!(json["annotations"].as_array().unwrap().len(), 200);
    assert_eq!(json["annotations"][7]["image_id"], 101);
    let mut sizes = std::collections::BTreeSet::new();
    for entry in json["images"].as_array().unwrap() {
        let name = entry["file_name"].as_str().unwrap();
        let picture = image::open(dir.path().join("images").join(name)).unwrap();
        assert_eq!(entry["width"], picture.width(), "{name}");
        assert_eq!(entry["height"], picture.height(), "{name}");
        sizes.insert((picture.width(), picture.height()));
    }
    assert!(sizes.len() > 2, "{sizes:?}");
    assert_eq!(fs::read_dir(dir.path().join("images")).unwrap().count(), 40);

    let truth = read_truth(&dir.path().join(DESCRIPTION)).unwrap();
    assert_eq!(truth.len(), 40);
    let (name, frame) = (config(40).file_name(123), config(40).file(123).frame);
    assert_eq!(truth[&name], describe(9, 123, &frame, 0.0).0);
}

#[test]
fn data_sets_of_one_seed_continue_each_other() {
    let [whole, part] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    write_data_set(whole.path(), &config(6), &|_| {}).unwrap();
    let later = Config {
        first_index: 104,
        count: 2,
        ..config(0)
    };
    write_data_set(part.path(), &later, &|_| {}).unwrap();
    for entry in fs::read_dir(part.path().join("images")).unwrap() {
        let name = entry.unwrap().file_name();
        let read = |dir: &Path| fs::read(dir.join("images").join(&name)).unwrap();
        assert_eq!(read(whole.path()), read(part.path()));
    }
}

/// The names of the pictures in a data set's directory.
fn pictures(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join(IMAGES)).unwrap();
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_drawn_before_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    write_data_set(dir.path(), &config(12), &|_| {}).unwrap();
    let cut = dir.path().join(IMAGES).join("scene-00000777.jpg.partial");
    fs::write(&cut, "killed").unwrap();
    fs::write(dir.path().join(".directory"), "a desktop's").unwrap();
    let other = Config {
        seed: 10,
        ..config(8)
    };
    write_data_set(dir.path(), &other, &|_| {}).unwrap();
    let expected: Vec<String> = other
        .indices()
        .map(|index| other.file_name(index))
        .collect();
    assert_eq!(pictures(dir.path()), expected);
    let truth = read_truth(&dir.path().join(DESCRIPTION)).unwrap();
    assert!(truth.into_keys().eq(expected));
    assert!(dir.path().join(".directory").exists());
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    for (path, text) in [
        ("holiday.jpg", "a photograph"),
        ("images/holiday.jpg", "a photograph"),
        ("images/scene-1.jpg", "another's number"),
        ("deep/down/notes.txt", "notes"),
        (DESCRIPTION, "{\"scenes\": []}"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join(IMAGES).join("scene-00000001.jpg");
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        fs::write(&old, "of ours").unwrap();
        let other = dir.path().join(path);
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::write(&other, text).unwrap();
        let error = write_data_set(dir.path(), &config(1), &|_| {}).unwrap_err();
        let expected = format!("holds something else ({path})");
        assert!(error.to_string().contains(&expected), "{error}");
        assert_eq!(fs::read_to_string(&other).unwrap(), text);
        assert!(old.exists());
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = write_data_set(file.path(), &config(1), &|_| {}).unwrap_err();
    assert!(matches!(error, Error::NotADirectory(_)), "{error}");
}

#[test]
fn an_empty_data_set_is_valid_json() {
    let dir = tempfile::tempdir().unwrap();
    write_data_set(dir.path(), &config(0), &|_| {}).unwrap();
    assert!(
        read_truth(&dir.path().join(DESCRIPTION))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn errors_name_the_path() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("images"), "in the way").unwrap();
    let error = write_data_set(dir.path(), &config(1), &|_| {}).unwrap_err();
    assert!(error.to_string().contains("images"), "{error}");
    let missing = read_truth(&dir.path().join("none.json")).unwrap_err();
    assert!(missing.to_string().contains("none.json"), "{missing}");
    let broken = dir.path().join("broken.json");
    fs::write(&broken, "{").unwrap();
    assert!(matches!(read_truth(&broken), Err(Error::Parse { .. })));
}
