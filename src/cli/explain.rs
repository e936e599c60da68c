//! `showtell explain`: where a model looked while it said each word.

mod scenes;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use showtell::archive::{self, Limits};
use showtell::captioner::model::CaptionerConfig;
use showtell::explain;
use showtell::pipeline::Models;

use super::annotate::{encoder_weights, find_model};
use super::exit::Exit;
use super::models::WantedModel;
use super::output::output;
use super::run::{DeviceArguments, UsageError};
use super::terminal::Terminal;

/// Tiles are drawn at least this wide, in pixels.
const TILE: usize = 192;

/// Draws where a model with attention looked while it said each word of its caption
///
/// Writes a PNG strip: the picture as the network saw it, then once for each word, light where the
/// model looked and dark where it did not. The model has to be a Show, Attend and Tell.
///
/// With --scenes it draws nothing and counts instead: of the words that name an object which a scene
/// shows, during how many the model looked at that object most.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  showtell explain photo.jpg --model models/mine --out looked.png
  showtell scenes --count 500 --seed 5 --out scenes/
  showtell explain --scenes scenes/ --model models/mine")]
pub struct ExplainArguments {
    /// The picture
    #[arg(
        value_name = "IMAGE",
        required_unless_present = "scenes",
        requires = "out"
    )]
    image: Option<PathBuf>,
    /// Count over drawn scenes instead: a directory that `showtell scenes` wrote
    #[arg(long, value_name = "DIR", conflicts_with_all = ["image", "out"])]
    scenes: Option<PathBuf>,
    /// Print the counts as JSON
    #[arg(long, requires = "scenes", conflicts_with = "image")]
    json: bool,
    /// A model's name (see `showtell model list`) or directory
    #[arg(long, value_name = "NAME|DIR")]
    model: String,
    /// The encoder's weights, for a model that does not bring them: .pth or .safetensors
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// PNG file to write, a name in .png
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Refuse a picture with more pixels than this
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_pixels, conflicts_with = "scenes")]
    max_pixels: u64,
    /// Refuse a picture whose decoding would hold more memory than this, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_memory, conflicts_with = "scenes")]
    max_memory: u64,
    /// Refuse a file larger than this, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_file_bytes, conflicts_with = "scenes")]
    max_file_bytes: u64,
    #[command(flatten)]
    device: DeviceArguments,
}

impl ExplainArguments {
    fn limits(&self) -> Limits {
        Limits {
            max_file_bytes: self.max_file_bytes,
            max_pixels: self.max_pixels,
            max_memory: self.max_memory,
        }
    }
}

pub fn run(arguments: &ExplainArguments, terminal: &Terminal) -> anyhow::Result<Exit> {
    if let (Some(image), Some(out)) = (&arguments.image, &arguments.out) {
        check_place(out, image)?;
    }
    let found = find_model(&arguments.model)?;
    if !matches!(found.config.captioner, CaptionerConfig::ShowAttendTell(_)) {
        let name = &found.config.name;
        let reason = format!(
            "the model {name} does not look at regions, so there is nothing to draw: name one whose \
             model.toml says architecture = \"show-attend-tell\""
        );
        return Err(UsageError(reason).into());
    }
    // Before the weights, which take longer to read.
    let picture = match &arguments.image {
        Some(image) => Some((image, read(image, &arguments.limits())?)),
        None => None,
    };
    let weights = encoder_weights(&found, arguments.weights.as_deref())?;
    let models = WantedModel {
        encoder: found.config.encoder.clone(),
        weights,
        captioner: Some((found.clone(), found.config.decoding)),
        device: arguments.device,
    }
    .load()?;
    if let Some(directory) = &arguments.scenes {
        scenes::run(directory, &models, arguments.json, terminal)?;
        return Ok(Exit::Complete);
    }
    let (Some((image, picture)), Some(out)) = (picture, &arguments.out) else {
        return Err(UsageError("name an image and --out, or --scenes".to_owned()).into());
    };
    let Models { encoder, captioner } = models;
    let pixels = encoder
        .preprocess()
        .apply(&picture)
        .with_context(|| format!("cannot use {}", image.display()))?;
    let features = encoder.encode(&[&pixels])?;
    let Some((captioner, decoding)) = captioner else {
        bail!("the model {} has no captioner", found.config.name);
    };
    let beams = captioner.caption(&features, &decoding)?;
    let best = beams.first().and_then(|beams| beams.first());
    let best = best.with_context(|| format!("no caption was found for {}", image.display()))?;
    let words = captioner
        .attention(&features, &best.caption)?
        .unwrap_or_default();
    let side = encoder.preprocess().crop as usize;
    let strip = explain::strip(&pixels, &words, TILE.div_ceil(side))?;
    let png = encode(&strip).with_context(|| format!("cannot draw {}", out.display()))?;
    fs::write(out, png).with_context(|| format!("cannot write {}", out.display()))?;
    writeln!(output(), "{}  ({:.2})", best.caption, best.score)?;
    Ok(Exit::Complete)
}

/// Found out before anything is computed, and before a photograph is gone.
fn check_place(out: &Path, image: &Path) -> Result<(), UsageError> {
    let refused = |reason: &str| Err(UsageError(format!("--out {}: {reason}", out.display())));
    let extension = out.extension().unwrap_or_default();
    if !extension.eq_ignore_ascii_case("png") {
        return refused("a PNG file is written, so name one that ends in .png");
    }
    if out.is_dir() {
        return refused("it is a directory");
    }
    if is_same_file(out, image) {
        return refused("it is the picture itself, which would be overwritten");
    }
    Ok(())
}

/// Whether both names are of one file, be it by a link.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn read(path: &Path, limits: &Limits) -> anyhow::Result<archive::Picture> {
    if path.is_dir() {
        bail!("{} is a directory: name a picture", path.display());
    }
    archive::open(path, limits).map_err(|failure| anyhow!("{}: {}", path.display(), failure.reason))
}

/// In memory, so that what cannot be drawn leaves a file of that name as it was.
fn encode(strip: &explain::Strip) -> anyhow::Result<Vec<u8>> {
    let mut png = Vec::new();
    let (width, height) = (u32::try_from(strip.width)?, u32::try_from(strip.height)?);
    PngEncoder::new(&mut png).write_image(&strip.rgb, width, height, ExtendedColorType::Rgb8)?;
    Ok(png)
}
