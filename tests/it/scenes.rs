//! The sample archive that ships: what it shows is what the program would draw today.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use showtell::scenes::{Checker, Truth, Verdict, read_truth, samples};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/samples")
}

/// All files below a folder, as `/`-separated paths.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|file| {
            let name = file.path().strip_prefix(folder).unwrap().to_str().unwrap();
            (name.replace('\\', "/"), fs::read(file.path()).unwrap())
        })
        .collect()
}

fn format(name: &str, bytes: &[u8]) -> ImageFormat {
    match image::guess_format(bytes) {
        Ok(format) => format,
        // TGA has no signature at its beginning.
        Err(_) => ImageFormat::from_path(name).unwrap(),
    }
}

fn upright(name: &str, bytes: &[u8]) -> RgbImage {
    let reader = ImageReader::with_format(Cursor::new(bytes), format(name, bytes));
    let mut decoder = reader.into_decoder().unwrap();
    let orientation = decoder.orientation().unwrap();
    let mut picture = DynamicImage::from_decoder(decoder).unwrap();
    picture.apply_orientation(orientation);
    picture.to_rgb8()
}

#[test]
fn the_shipped_truth_is_what_the_generator_says() {
    let committed = fs::read_to_string(shipped().join(samples::TRUTH)).unwrap();
    let today = samples::truth().unwrap();
    for (line, (was, is)) in committed.lines().zip(today.lines()).enumerate() {
        assert_eq!(was, is, "line {} of {}", line + 1, samples::TRUTH);
    }
    assert_eq!(committed.len(), today.len());
}

#[test]
fn the_shipped_pictures_are_what_the_generator_draws() {
    let fresh = tempfile::tempdir().unwrap();
    samples::write(fresh.path()).unwrap();
    let (shipped, drawn) = (files(&shipped()), files(fresh.path()));
    assert_eq!(
        shipped.keys().collect::<Vec<_>>(),
        drawn.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in shipped.iter().filter(|(name, _)| *name != samples::TRUTH) {
        let (was, is) = (upright(name, bytes), upright(name, &drawn[name]));
        assert_eq!(was.dimensions(), is.dimensions(), "{name}");
        // Not byte by byte: encoders may improve, and vector units may round differently.
        let differences = was
            .as_raw()
            .iter()
            .zip(is.as_raw())
            .map(|(a, b)| a.abs_diff(*b) as u64);
        let mean = differences.sum::<u64>() as f64 / was.as_raw().len() as f64;
        assert!(mean < 1.0, "{name} differs by {mean}");
    }
}

#[test]
fn the_samples_are_small_and_of_many_formats() {
    let files = files(&shipped());
    let bytes: usize = files.values().map(Vec::len).sum();
    assert!(bytes < 1_500_000, "{bytes} bytes");
    let pictures = files.iter().filter(|(name, _)| *name != samples::TRUTH);
    let formats: std::collections::HashSet<ImageFormat> =
        pictures.map(|(name, bytes)| format(name, bytes)).collect();
    assert_eq!(formats.len(), 10, "{formats:?}");
}

#[test]
fn every_sample_has_a_truth_of_its_size_and_true_captions() {
    let truths: BTreeMap<String, Truth> = read_truth(&shipped().join(samples::TRUTH)).unwrap();
    assert_eq!(truths.len(), 24);
    let text = fs::read_to_string(shipped().join(samples::TRUTH)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut names = BTreeMap::new();
    for entry in json["images"].as_array().unwrap() {
        let name = entry["file_name"].as_str().unwrap();
        let picture = upright(name, &fs::read(shipped().join(name)).unwrap());
        assert_eq!(entry["width"], picture.width(), "{name}");
        assert_eq!(entry["height"], picture.height(), "{name}");
        names.insert(entry["id"].as_u64().unwrap(), name);
    }
    for annotation in json["annotations"].as_array().unwrap() {
        let name = names[&annotation["image_id"].as_u64().unwrap()];
        let caption = annotation["caption"].as_str().unwrap();
        let verdicts = Checker::new(&truths[name]).check(caption);
        assert!(verdicts.all_right(), "{name}: {caption}: {verdicts:?}");
        assert_eq!(verdicts.setting, Verdict::Right);
    }
}
