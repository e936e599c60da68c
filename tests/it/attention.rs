//! The command with a captioner that looks at regions. Its weights are random: what it says is
//! nonsense, but every stage is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use showtell::captioner::show_attend_tell::{Gaze, Layers, ShowAttendTellConfig};
use showtell::encoder::vgg16::Convolution;
use showtell::nightly::{RunSummary, runs};
use showtell::table::Layout;
use tch::{Device, Kind, Tensor};

use crate::seeded::seeded;

const WIDTHS: [i64; 5] = [2, 3, 4, 5, 6];
const WORDS: [&str; 6] = ["<start>", "<end>", "<unk>", "boat", "sea", "red"];

const DESCRIPTION: &str = r#"
name = "looking"

[encoder]
architecture = "vgg16"
layer = "conv5_3"
widths = [2, 3, 4, 5, 6]
hidden = 8
weights = "encoder.safetensors"

[encoder.preprocess]
crop = 64
channels = "rgb"
scale = 0.004
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
resize = { mode = "stretch", size = 64 }

[captioner]
architecture = "show-attend-tell"
regions = 16
channels = 6
embedding = 5
hidden = 7
attention = 4
gaze = "soft"

[decoding]
beam = 2
max_tokens = 5
length_penalty = 0.0
"#;

/// A model directory beside an output that is not there yet.
struct Looking {
    scratch: tempfile::TempDir,
}

impl Looking {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let model = scratch.path().join("looking");
        fs::create_dir(&model).unwrap();
        fs::write(model.join("model.toml"), DESCRIPTION).unwrap();
        fs::write(model.join("vocabulary.txt"), WORDS.join("\n") + "\n").unwrap();
        let _alone = seeded(3);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let mut encoder = Vec::new();
        for layer in Convolution::layers(WIDTHS) {
            let name = format!("features.{}", layer.index);
            let shape = [layer.outputs, layer.inputs, 3, 3];
            encoder.push((format!("{name}.weight"), random(&shape)));
            encoder.push((format!("{name}.bias"), random(&[layer.outputs])));
        }
        Tensor::write_safetensors(&encoder, model.join("encoder.safetensors")).unwrap();
        let config = ShowAttendTellConfig {
            regions: 16,
            channels: 6,
            embedding: 5,
            hidden: 7,
            attention: 4,
            gaze: Gaze::Soft,
        };
        let mut captioner = Vec::new();
        Layers::new(&config, WORDS.len() as i64, |name, shape| {
            let tensor = random(shape);
            captioner.push((name, tensor.shallow_clone()));
            Ok::<_, ()>(tensor)
        })
        .unwrap();
        Tensor::write_safetensors(&captioner, model.join("captioner.safetensors")).unwrap();
        Looking { scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn run(&self, command: &[&str], more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_showtell"))
            .args(command)
            .arg("--model")
            .arg(self.path("looking"))
            .arg("--out")
            .args(more)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap()
    }

    /// Annotates the samples; what the run did.
    fn annotate(&self, out: &str, more: &[&str]) -> RunSummary {
        let out = self.path(out);
        let command = ["annotate", "data/samples"];
        let output = self.run(&command, &[&[out.to_str().unwrap()], more].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let layout = Layout::open(&out).unwrap();
        runs(&layout).unwrap().pop().unwrap().unwrap()
    }
}

#[test]
fn regions_are_kept_only_if_asked_for() {
    let looking = Looking::new();
    let first = looking.annotate("out", &[]);
    assert_eq!((first.counts.captioned, first.counts.embedded), (24, 24));
    assert!(first.embeddings.is_empty());
    let unchanged = looking.annotate("out", &[]);
    assert_eq!((unchanged.counts.unchanged, unchanged.bytes_read), (24, 0));
    let wider = looking.annotate("out", &["--beam", "4"]);
    assert_eq!((wider.counts.captioned, wider.counts.embedded), (24, 24));

    let kept = looking.annotate("kept", &["--cache-regions"]);
    assert!(!kept.embeddings.is_empty());
    let wider = looking.annotate("kept", &["--cache-regions", "--beam", "4"]);
    assert_eq!((wider.counts.captioned, wider.bytes_read), (24, 0));
}

#[test]
fn explain_draws_a_tile_for_each_word() {
    let looking = Looking::new();
    let strip = looking.path("strip.png");
    let command = ["explain", "data/samples/second.jpg"];
    let output = looking.run(&command, &[strip.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8(output.stdout).unwrap();
    let caption = said.split("  (").next().unwrap();
    let tiles = 1 + caption.split(' ').count() as u32;
    let drawn = image::open(&strip).unwrap();
    let across = tiles.min(6);
    assert_eq!(drawn.width(), 6 + across * (192 + 6), "{caption}");
}

/// What is a hit is told by the tests of `explain::pointing`; here, that the command finds the scenes,
/// their words and their boxes.
#[test]
fn explain_counts_how_often_it_looked_at_what_it_named() {
    let looking = Looking::new();
    // Whatever it says names an object.
    let words = ["<start>", "<end>", "<unk>", "boat", "boats", "tree"];
    let vocabulary = looking.path("looking/vocabulary.txt");
    fs::write(vocabulary, words.join("\n") + "\n").unwrap();
    let scenes = looking.path("scenes");
    let drawn = Command::new(env!("CARGO_BIN_EXE_showtell"))
        .args(["scenes", "--count", "40", "--seed", "8", "--out"])
        .arg(&scenes)
        .output()
        .unwrap();
    assert!(drawn.status.success());
    let explain = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_showtell"))
            .args(["explain", "--model"])
            .arg(looking.path("looking"))
            .arg("--scenes")
            .arg(&scenes)
            .args(more)
            .output()
            .unwrap()
    };
    let output = explain(&["--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |name: &str| found[name].as_u64().unwrap();
    assert_eq!(count("scenes"), 40);
    let shown = showtell::scenes::read_truth(&scenes.join("scenes.json")).unwrap();
    let shown = shown.values().filter(|truth| {
        use showtell::scenes::Kind::{Boat, Tree};
        let mut objects = truth.objects.iter();
        objects.any(|object| [Boat, Tree].contains(&object.kind))
    });
    let shown = shown.count() as u64;
    assert!(0 < shown && shown < 40);
    // One to five words of each scene.
    let said = count("words") + count("not_shown");
    assert!((40..=200).contains(&said), "{found}");
    assert!(count("words") <= 5 * shown, "{found}");
    assert!(count("not_shown") >= 40 - shown, "{found}");
    assert!(count("hits") <= count("words"));
    let chance = found["share_by_chance"].as_f64().unwrap();
    assert!(
        count("words") == 0 || (0.02..0.6).contains(&chance),
        "{found}"
    );
    let table = String::from_utf8(explain(&[]).stdout).unwrap();
    assert!(table.contains("by chance"), "{table}");
    let both = explain(&["data/samples/second.jpg"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn explain_overwrites_no_photograph_and_says_what_it_cannot_read() {
    let looking = Looking::new();
    let name = |name: &str| looking.path(name).to_str().unwrap().to_owned();
    let (photo, link) = (name("photo.png"), name("link.png"));
    let first = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/samples/first.png");
    fs::copy(&first, &photo).unwrap();
    std::os::unix::fs::symlink(&photo, &link).unwrap();
    let check = |image: &str, out: &str, more: &[&str], expected: &str| {
        let output = looking.run(&["explain", image], &[&[out], more].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(expected), "{expected}: {errors}");
    };
    check(&photo, &photo, &[], "it is the picture itself");
    check(&photo, &link, &[], "it is the picture itself");
    check(
        &photo,
        &name("strip.jpg"),
        &[],
        "name one that ends in .png",
    );
    check(&photo, "-", &[], "name one that ends in .png");
    check(&photo, &name("strip.png"), &["--json"], "cannot be used");
    check(
        &photo,
        &name("strip.png"),
        &["--max-pixels", "9"],
        "more than the limit of 9",
    );
    check("data", &name("strip.png"), &[], "data is a directory");
    assert_eq!(fs::read(&photo).unwrap(), fs::read(first).unwrap());
    for absent in ["strip.jpg", "strip.png"] {
        assert!(!looking.path(absent).exists(), "{absent}");
    }
}

#[test]
fn a_model_that_does_not_look_cannot_explain() {
    let scratch = tempfile::tempdir().unwrap();
    let strip = scratch.path().join("strip.png");
    let output = Command::new(env!("CARGO_BIN_EXE_showtell"))
        .args([
            "explain",
            "data/samples/second.jpg",
            "--model",
            "demo",
            "--out",
        ])
        .arg(&strip)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("does not look at regions"), "{errors}");
    assert!(!Path::new(&strip).exists());
}

#[test]
fn a_model_without_its_words_says_so() {
    let looking = Looking::new();
    fs::remove_file(looking.path("looking/vocabulary.txt")).unwrap();
    let out = looking.path("out");
    let output = looking.run(&["annotate", "data/samples"], &[out.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("cannot read /"), "{errors}");
    assert!(errors.contains("vocabulary.txt: No such file"), "{errors}");
}

#[test]
fn a_description_that_does_not_fit_together_says_where() {
    let looking = Looking::new();
    let file = looking.path("looking/model.toml");
    for (from, to, expected) in [
        (
            "regions = 16",
            "regions = 25",
            "the encoder gives 16 regions, the captioner takes 25",
        ),
        (
            "channels = 6",
            "channels = 7",
            "the encoder gives 6 channels, the captioner takes 7",
        ),
        (
            "gaze = \"soft\"",
            "gaze = \"blind\"",
            "unknown variant `blind`",
        ),
        (
            "layer = \"conv5_3\"",
            "layer = \"fc7\"",
            "looks at the regions of conv5_3",
        ),
    ] {
        fs::write(&file, DESCRIPTION.replace(from, to)).unwrap();
        let out = looking.path("out");
        let output = looking.run(&["annotate", "data/samples"], &[out.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(expected), "{errors}");
        assert!(!out.exists());
    }
}
