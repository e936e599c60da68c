//! Data sets in every form, good and broken, against what pandas, pycocotools and numpy read
//! (`tests/golden/dataset`), and the command that tells what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use showtell::archive::ImageId;
use showtell::cache::{Cache, CacheWriter, Precision, Spec};
use showtell::dataset::{
    DataSet, DatasetError, Features, FeaturesError, Format, Matrix, NpyError, Options, Pictures,
    Restval, Source, Split, SplitList,
};
use showtell::table::{Layout, RunId};
use showtell::training::inspection::Inspection;
use showtell::training::vocabulary::{NEURALTALK, TUTORIAL};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dataset");
    folder.join(name)
}

fn expected() -> Value {
    serde_json::from_str(&fs::read_to_string(golden("expected.json")).unwrap()).unwrap()
}

/// A folder with these files, and folders for them.
fn folder<T: AsRef<[u8]>>(files: &[(&str, T)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn read(path: &Path) -> DataSet {
    let source = Source::find(path, Options::default()).unwrap();
    source.read().unwrap()
}

/// Name and captions of each image.
fn captions(set: &DataSet) -> Vec<(&str, Vec<&str>)> {
    let images = set.images.iter();
    images
        .map(|image| {
            let captions = image.captions.iter().map(String::as_str);
            (image.file_name.as_str(), captions.collect())
        })
        .collect()
}

#[test]
fn csv_is_read_as_pandas_reads_it() {
    for (name, rows) in expected()["csv"].as_object().unwrap() {
        let set = read(&golden(name));
        let got: Vec<Value> = set
            .images
            .iter()
            .flat_map(|image| image.captions.iter().map(|c| json!([image.file_name, c])))
            .collect();
        assert_eq!(&Value::from(got), rows, "{name}");
    }
}

#[test]
fn coco_is_read_as_pycocotools_reads_it() {
    let set = read(&golden("captions_val2014.json"));
    let got: BTreeMap<_, _> = captions(&set).into_iter().collect();
    assert_eq!(json!(got), expected()["coco"]);
    assert!(
        set.images
            .iter()
            .all(|image| image.split == Some(Split::Val))
    );
    assert_eq!(set.images[1].id, Some(5));
}

#[test]
fn matrices_are_read_as_numpy_reads_them() {
    for (name, rows) in expected()["matrices"].as_object().unwrap() {
        let matrix = Matrix::open(&golden(name)).unwrap();
        assert_eq!((matrix.rows(), matrix.dims()), (5, 3), "{name}");
        let mut values = [0.0; 9];
        matrix.read(&[4, 0, 2], &mut values).unwrap();
        let bits: Vec<Vec<u32>> = values
            .chunks(3)
            .map(|row| row.iter().map(|value| value.to_bits()).collect())
            .collect();
        assert_eq!(json!(bits), json!([rows[4], rows[0], rows[2]]), "{name}");
    }
    let error = |name: &str| Matrix::open(&golden(name)).unwrap_err();
    assert!(matches!(error("fortran.npy"), NpyError::FortranOrder(_)));
    assert!(matches!(error("big-endian.npy"), NpyError::Type { found, .. } if found == ">f4"));
    assert!(matches!(error("integers.npy"), NpyError::Type { found, .. } if found == "<i8"));
}

#[test]
fn words_and_lengths_are_counted_as_python_counts_them() {
    let set = read(&golden("captions.token"));
    let expected = &expected()["tokens"];
    let close = |got: &Value, expected: &Value| {
        let (got, expected) = (got.as_f64().unwrap(), expected.as_f64().unwrap());
        assert!((got - expected).abs() < 1e-12, "{got}, expected {expected}");
    };
    for preset in [TUTORIAL, NEURALTALK] {
        let got = Inspection::of(&set, Some(preset), Restval::Apart);
        let got = serde_json::to_value(&got).unwrap();
        assert_eq!(got["captions"], expected["captions"]);
        let sizes = got["vocabulary"]["presets"][0]["by_threshold"]
            .as_array()
            .unwrap();
        for (size, expected) in sizes.iter().zip(expected[preset.name].as_array().unwrap()) {
            assert_eq!(size["at_least"], expected["at_least"]);
            assert_eq!(size["words"], expected["words"], "{} {size}", preset.name);
            close(&size["coverage"], &expected["coverage"]);
        }
        if preset == TUTORIAL {
            for (name, expected) in expected["lengths"].as_object().unwrap() {
                close(&got["lengths"][name], expected);
            }
        }
        assert_eq!(got["duplicates"]["of_any_image"], expected["repeated"]);
    }
}

/// A data set that each form can hold.
#[derive(Debug, Clone)]
struct Example {
    /// Of each image, its split and captions.
    images: Vec<(Split, Vec<String>)>,
}

impl Example {
    fn named(&self) -> impl Iterator<Item = (String, Split, &Vec<String>)> {
        let images = self.images.iter().enumerate();
        images.map(|(n, (split, captions))| (format!("{n:03}.jpg"), *split, captions))
    }

    /// Writes it in one form; gives the path and the lists of splits.
    fn write(&self, format: Format, folder: &Path) -> (PathBuf, Vec<SplitList>) {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        match format {
            Format::Tokens => {
                let mut text = String::new();
                for (name, _, captions) in self.named() {
                    for (number, caption) in captions.iter().enumerate() {
                        text += &format!("{name}#{number}\t{caption}\n");
                    }
                }
                let lists = Split::ALL.map(|split| {
                    let names = self.named().filter(|(_, own, _)| *own == split);
                    let names: String = names.map(|(name, ..)| name + "\n").collect();
                    // An empty list is an error.
                    let path = write(&format!("{split}.txt"), names + "\n");
                    SplitList { split, path }
                });
                (write("x.token", text), lists.into())
            }
            Format::Csv => {
                let mut text = "split,image,caption\r\n".to_owned();
                for (name, split, captions) in self.named() {
                    for caption in captions {
                        let caption = caption.replace('"', "\"\"");
                        text += &format!("{split},{name},\"{caption}\"\r\n");
                    }
                }
                (write("x.csv", text), Vec::new())
            }
            Format::Coco => {
                let images: Vec<_> = self
                    .named()
                    .zip(100..)
                    .map(|((name, ..), id)| json!({"id": id, "file_name": name, "width": 3}))
                    .collect();
                let mut annotations = Vec::new();
                for ((_, _, captions), id) in self.named().zip(100..) {
                    let captions = captions.iter();
                    annotations
                        .extend(captions.map(|c| json!({"image_id": id, "id": 1, "caption": c})));
                }
                let file = json!({"annotations": annotations, "info": {}, "images": images});
                (write("x.json", file.to_string()), Vec::new())
            }
            Format::Karpathy => {
                let images = self.named().map(|(name, split, captions)| {
                    let sentences = captions.iter().map(|c| json!({"raw": c, "tokens": ["a"]}));
                    let sentences: Vec<_> = sentences.collect();
                    json!({"filename": name, "imgid": 1, "split": split.name(), "sentences": sentences})
                });
                let file = json!({"images": images.collect::<Vec<_>>(), "dataset": "x"});
                (write("x.json", file.to_string()), Vec::new())
            }
            Format::Sidecars => {
                for (name, split, captions) in self.named() {
                    fs::create_dir_all(folder.join(split.name())).unwrap();
                    let stem = format!("{split}/{name}");
                    write(&stem, String::new());
                    write(&stem.replace(".jpg", ".txt"), captions.join("\n"));
                }
                (folder.to_owned(), Vec::new())
            }
        }
    }
}

fn example() -> impl Strategy<Value = Example> {
    let caption = "[a-zA-Z.,\"'#{}\\\\é0-9]( ?[a-z.,\"'#\\[日]){0,8}";
    let image = (
        proptest::sample::select(Split::ALL.as_slice()),
        proptest::collection::vec(caption, 1..4),
    );
    proptest::collection::vec(image, 1..6).prop_map(|images| Example { images })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_same_captions_are_read_from_every_form(example in example()) {
        for format in Format::ALL {
            let folder = tempfile::tempdir().unwrap();
            let (path, split_lists) = example.write(format, folder.path());
            let options = Options { split_lists, ..Options::default() };
            let source = Source::find(&path, options).unwrap();
            prop_assert_eq!(source.format, format);
            let mut got: Vec<_> = source.read().unwrap().images.into_iter().map(|image| {
                let name = image.file_name.rsplit('/').next().unwrap_or_default().to_owned();
                // COCO keeps splits apart, in files of their own.
                let split = image.split.filter(|_| format != Format::Coco);
                (name, split, image.captions)
            }).collect();
            got.sort();
            let expected: Vec<_> = example.named().map(|(name, split, captions)| {
                (name, Some(split).filter(|_| format != Format::Coco), captions.clone())
            }).collect();
            prop_assert_eq!(got, expected, "{}", format);
        }
    }

    #[test]
    fn whatever_a_file_holds_it_is_read_or_an_error(
        start in "(\u{feff})?(image,caption\n|\\{\"images\": \\[|\\{\"annotations\": \\[\\{)?",
        text in "([a\t\r\n #,\"{}:0é\\[\\]]|a.jpg#0\t|\"caption\": \"|\"id\":){0,40}",
        bytes in proptest::collection::vec(any::<u8>(), 0..3),
    ) {
        let file = [start.as_bytes(), text.as_bytes(), &bytes].concat();
        let folder = folder(&[("x", file)]);
        let path = folder.path().join("x");
        for format in Format::ALL.map(Some).into_iter().chain([None]) {
            let options = Options { format, ..Options::default() };
            let set = Source::find(&path, options).and_then(|source| source.read());
            prop_assert!(set.is_err() || set.is_ok_and(|set| set.rows > 0));
        }
    }

    #[test]
    fn whatever_a_header_says_the_matrix_is_read_or_an_error(
        header in "[{}'\",:()L <f48FalseTrue0-9a-z]{0,40}",
        shape in "(\\{'descr': '<f[248]', 'fortran_order': False, 'shape': \\([0-9]{1,20}, [0-9]{1,20}\\)\\})?",
        cut in 0usize..12,
    ) {
        let text = if shape.is_empty() { header } else { shape };
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.as_bytes());
        file.truncate(file.len() - cut.min(file.len()));
        let folder = folder(&[("x", file)]);
        prop_assert!(Matrix::open(&folder.path().join("x")).is_err());
    }
}

#[test]
fn a_json_file_cut_anywhere_is_an_error_that_tells_where() {
    for name in ["captions_val2014.json"] {
        let whole = fs::read(golden(name)).unwrap();
        for length in (1..whole.len()).step_by(37) {
            let folder = folder(&[("c.json", &whole[..length])]);
            let path = folder.path().join("c.json");
            let options = Options {
                format: Some(Format::Coco),
                ..Options::default()
            };
            let error = Source::find(&path, options).unwrap().read().unwrap_err();
            let DatasetError::Json { source, .. } = error else {
                panic!("{error}");
            };
            assert!(source.error.is_eof(), "{source}");
        }
    }
}

/// What fc7 of these pictures might be.
fn features(number: u8) -> Vec<f32> {
    vec![f32::from(number), 0.0, 0.5]
}

#[test]
fn features_are_found_by_row_and_by_content() {
    let folder = folder(&[
        ("x.token", "a.jpg#0\tone\nb.jpg#0\ttwo\na.jpg#1\tthree\n"),
        ("images/a.jpg", "first"),
        ("images/below/b.jpg", "second"),
    ]);
    let set = read(&folder.path().join("x.token"));
    let matrix = |rows: usize| {
        let header =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 3), }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        let values = (0..rows).flat_map(|row| features(row as u8));
        bytes.extend(values.flat_map(f32::to_le_bytes));
        let path = folder.path().join("m.npy");
        fs::write(&path, bytes).unwrap();
        Features::of_matrix(&path, &set)
    };
    let of_both = |features: &Features| {
        let mut values = [0.0; 6];
        features
            .read(&[1, 0], &mut values)
            .map(|()| (values[0], values[3]))
    };
    assert_eq!(of_both(&matrix(2).unwrap()).unwrap(), (1.0, 0.0));
    assert_eq!(of_both(&matrix(3).unwrap()).unwrap(), (1.0, 0.0));
    let error = matrix(4).err().unwrap().to_string();
    let told = "m.npy has 4 rows, which fits neither the 2 images nor the 3 captions";
    assert!(error.ends_with(told), "{error}");

    // By content, wherever the file lies.
    let out = folder.path().join("out");
    let layout = Layout::create(&out).unwrap();
    let spec = Spec {
        encoder_id: "vgg16-fc7-0123456789abcdef".to_owned(),
        dims: 3,
        precision: Precision::Full,
    };
    let located = Pictures::below(&folder.path().join("images"))
        .unwrap()
        .locate(&set);
    let nothing = Features::of_cache(&out, None, &located).err().unwrap();
    assert!(matches!(nothing, FeaturesError::NoFeatures(_)), "{nothing}");
    let run_id: RunId = "20250101T030000Z-00ff".parse().unwrap();
    let cache = Arc::new(Cache::open(&layout, spec.clone()).unwrap());
    let mut writer = CacheWriter::new(cache, &layout, &run_id);
    writer.append(ImageId::of(b"second"), &features(7)).unwrap();
    writer.finish_part().unwrap().unwrap();
    // What a run is writing meanwhile is not touched.
    let directory = layout.embeddings(&spec.encoder_id).unwrap();
    let unfinished = directory.join(".part-20250101T030000Z-00ff-00001.parquet.tmp");
    fs::write(&unfinished, "").unwrap();
    let features = Features::of_cache(&out, None, &located).unwrap();
    assert!(unfinished.exists());
    assert_eq!(
        (features.has(0), features.has(1), features.has(2)),
        (false, true, false)
    );
    let mut values = [0.0; 3];
    features.read(&[1], &mut values).unwrap();
    assert_eq!(values, [7.0, 0.0, 0.5]);
    let missing = features.read(&[0], &mut values).unwrap_err();
    assert!(
        matches!(missing, FeaturesError::Missing { place: 0 }),
        "{missing}"
    );
    let other = Features::of_cache(&out, Some("vgg19"), &located)
        .err()
        .unwrap();
    assert!(
        matches!(other, FeaturesError::UnknownEncoder { .. }),
        "{other}"
    );
}

fn inspect(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_showtell"))
        .args(["dataset", "inspect"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn the_command_tells_what_is_in_a_folder_as_published() {
    let folder = folder(&[
        (
            "Flickr8k.token.txt",
            "a.jpg#0\tA dog .\na.jpg#1\tA dog .\nb.jpg.1#0\tTwo dogs run .\nc.jpg#0\tA red kite\n",
        ),
        ("Flickr_8k.trainImages.txt", "a.jpg\nb.jpg.1\n"),
        ("Flickr_8k.testImages.txt", "c.jpg\n"),
        ("images/a.jpg", ""),
        ("images/other.jpg", ""),
    ]);
    let output = inspect(&["."], folder.path());
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "./Flickr8k.token.txt (tokens)",
        "  3 images, 4 captions",
        "  2                         1     33.3 %",
        "  train               2          3",
        "  test                1          1",
        "  found: 1",
        "  missing: 2",
        "    c.jpg",
        "  other images, without captions: 1",
        "  of the same image: 1",
        "  odd names: 1",
        "    b.jpg.1 (not the ending of an image)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    let output = inspect(&[".", "--json", "--vocabulary", "tutorial"], folder.path());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["pictures"]["missing"]["count"], 2);
    assert_eq!(json["vocabulary"]["captions"], 3);
    assert_eq!(
        json["vocabulary"]["presets"][0]["by_threshold"][0]["words"],
        6
    );
    assert_eq!(json["lengths"]["max"], 4);
    assert_eq!(
        json["odd"]["odd_name"]["names"][0],
        "b.jpg.1 (not the ending of an image)"
    );
}

#[test]
fn the_command_names_what_is_broken() {
    let folder = folder::<&[u8]>(&[
        ("no-tab.token", b"a.jpg#0\tA dog\na.jpg#1 A cat\n"),
        ("latin.token", b"a.jpg#0\tcaf\xe9\n"),
        ("empty.token", b""),
        (
            "cut.json",
            b"{\"images\": [{\"id\": 1}], \"annotations\": [{\"image_id\": 1, \"capt",
        ),
        ("open.csv", b"image,caption\na.jpg,\"A dog\n"),
        ("good.token", b"\xef\xbb\xbfa.jpg#0\tA dog\r\n"),
        ("list.txt", b"a.jpg\n"),
        ("val.txt", b"a.jpg\n"),
        ("test.txt", b"a.jpg\n"),
    ]);
    fs::copy(golden("f32.npy"), folder.path().join("five.npy")).unwrap();
    let whole = fs::read(golden("f32.npy")).unwrap();
    fs::write(folder.path().join("cut.npy"), &whole[..whole.len() - 1]).unwrap();
    let check = |arguments: &[&str], expected: &str| {
        let output = inspect(arguments, folder.path());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(output.stdout.is_empty());
        assert!(message.contains(expected), "{message}");
    };
    check(&["no-tab.token"], "no-tab.token:2: there is no tab");
    check(
        &["latin.token"],
        "latin.token:1: byte 12 of the line is not UTF-8",
    );
    check(&["empty.token"], "empty.token is empty");
    check(&["cut.json"], "line 1 column 61, in annotations[0]");
    check(
        &["open.csv"],
        "open.csv:2: a quote is opened here and never closed",
    );
    check(&["nothing.csv"], "cannot read nothing.csv: No such file");
    check(
        &["good.token", "--splits", "list.txt"],
        "which split list.txt lists",
    );
    check(
        &["good.token", "--splits", "val.txt", "test.txt"],
        "test.txt:1: a.jpg is already in the split val, by val.txt",
    );
    check(
        &["good.token", "--images", "nowhere"],
        "cannot read nowhere",
    );
    check(
        &["good.token", "--features", "five.npy"],
        "five.npy has 5 rows",
    );
    check(&["good.token", "--features", "cut.npy"], "it was cut");
    check(&["five.npy"], "five.npy is a matrix of features");
    check(
        &["good.token", "--format", "yaml"],
        "expected tokens, csv, coco",
    );
    check(
        &["good.token", "--vocabulary", "bert"],
        "expected tutorial, neuraltalk",
    );
    let output = inspect(&["good.token", "--splits", "train=list.txt"], folder.path());
    assert!(output.status.success(), "{output:?}");
}
