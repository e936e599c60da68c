//! A folder with a small data set, and what a training in it said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Colours and things: what a picture's features tell, and its captions say.
const COLOURS: [&str; 3] = ["red", "green", "blue"];
const THINGS: [&str; 3] = ["boat", "kite", "house"];
/// Pictures; the last one has no features in a cache, as its file is missing.
pub const PICTURES: usize = 12;

/// See the [module](self).
pub struct Place(pub tempfile::TempDir);

/// How a training ended.
pub struct Ended {
    pub succeeded: bool,
    pub code: Option<i32>,
    pub log: String,
    /// Of each epoch.
    pub losses: Vec<f64>,
    /// Digest of what was learnt.
    pub weights: Option<String>,
}

/// Learns from a token file and a matrix, judged by what is learnt.
pub fn recipe(epochs: u64) -> String {
    format!(
        r#"
name = "tiny"
output = "model"
seed = 5

[data]
kind = "captions"
path = "captions.token"

[data.features]
matrix = "features.npy"

[data.vocabulary]
words = "spaces"
at_least = 1

[data.validation]
split = "train"

[encoder]
architecture = "vgg16"
layer = "fc7"
widths = [2, 2, 2, 2, 2]
hidden = 6

[encoder.preprocess]
resize = {{ mode = "short-side", size = 40 }}
crop = 32
channels = "rgb"
scale = 0.00392156862745098
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]

[captioner]
architecture = "show-and-tell"
features = 6
embedding = 8
hidden = 16

[decoding]
beam = 2
max_tokens = 10
length_penalty = 0.0

[training]
epochs = {epochs}
batch = 5
learning_rate = 0.02
"#
    )
}

/// The recipe with products and convolutions in bfloat16.
pub fn in_bf16(recipe: &str) -> String {
    recipe.replace("[training]", "[training]\nprecision = \"bf16\"")
}

pub fn colour_and_thing(picture: usize) -> (usize, usize) {
    (picture % 3, picture / 3 % 3)
}

impl Place {
    pub fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn model(&self) -> PathBuf {
        self.path().join("model")
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.path().join("model.training/checkpoint.safetensors")
    }

    /// Two captions of each picture in a token file, and a matrix of features that tell them.
    pub fn tokens_and_matrix(&self) {
        self.tokens();
        let mut values = Vec::new();
        for picture in 0..PICTURES {
            let (colour, thing) = colour_and_thing(picture);
            let told = |n: usize| {
                if n == colour || n == 3 + thing {
                    // Large, so that they are noticed before the language is learnt.
                    4.0f32
                } else {
                    0.0
                }
            };
            values.extend((0..6).flat_map(|n| told(n).to_le_bytes()));
        }
        let header =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({PICTURES}, 6), }}");
        let padded = format!("{header:<117}\n");
        let mut npy = b"\x93NUMPY\x01\x00".to_vec();
        npy.extend((padded.len() as u16).to_le_bytes());
        npy.extend(padded.bytes());
        npy.extend(values);
        fs::write(self.path().join("features.npy"), npy).unwrap();
    }

    pub fn tokens(&self) {
        let mut tokens = String::new();
        for picture in 0..PICTURES {
            let (colour, thing) = colour_and_thing(picture);
            let (colour, thing) = (COLOURS[colour], THINGS[thing]);
            tokens += &format!("{picture}.png#0\tA {colour} {thing} .\n");
            tokens += &format!("{picture}.png#1\tThere is a {thing} that is {colour} .\n");
        }
        fs::write(self.path().join("captions.token"), tokens).unwrap();
    }

    pub fn start(&self, recipe: &str, arguments: &[&str]) -> Child {
        fs::write(self.path().join("recipe.toml"), recipe).unwrap();
        Command::new(env!("CARGO_BIN_EXE_showtell"))
            .args(["train", "--config", "recipe.toml", "--device", "cpu"])
            .args(arguments)
            .current_dir(self.path())
            // As many in each run, or sums are added up in another order.
            .env("OMP_NUM_THREADS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub fn train(&self, recipe: &str, arguments: &[&str]) -> Ended {
        Ended::of(self.start(recipe, arguments))
    }
}

impl Ended {
    pub fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let after = |line: &str, key: &str| {
            let rest = line.split_once(key)?.1;
            let end = rest.find([' ', '"']).unwrap_or(rest.len());
            Some(rest[..end].to_owned())
        };
        let epochs = log.lines().filter(|line| line.contains("validation="));
        let losses = epochs.filter_map(|line| after(line, "loss=\"")?.parse().ok());
        Ended {
            succeeded: output.status.success(),
            code: output.status.code(),
            losses: losses.collect(),
            weights: log.lines().find_map(|line| after(line, "steps; weights ")),
            log,
        }
    }
}
