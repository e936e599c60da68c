//! `showtell embed`: from directories of images to cached features.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use showtell::encoder::device::load_cuda;
use showtell::encoder::{self, EncoderConfig};
use showtell::nightly::RunOutcome;
use showtell::pipeline::Models;

use super::exit::Exit;
use super::report;
use super::run::{ArchiveArguments, DeviceArguments, watched};
use super::terminal::Terminal;

/// Computes the features of every image below some directories, and keeps them as Parquet
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  showtell model get vgg16
  showtell embed photos/ --out captions/ --encoder vgg16 --weights ~/.cache/showtell/models/vgg16-397923af.pth")]
pub struct EmbedArguments {
    #[command(flatten)]
    archive: ArchiveArguments,
    /// The network that computes the features
    #[arg(long, value_enum, default_value = "vgg16", help_heading = "Model")]
    encoder: EncoderName,
    /// Its weights: torchvision's or timm's, .pth or .safetensors
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    weights: PathBuf,
    #[command(flatten)]
    device: DeviceArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EncoderName {
    /// VGG-16, fc7 after its ReLU: 4,096 features
    Vgg16,
}

pub fn run(arguments: &EmbedArguments, terminal: &Terminal) -> anyhow::Result<Exit> {
    let description = match arguments.encoder {
        EncoderName::Vgg16 => EncoderConfig::vgg16(),
    };
    let runtime = load_cuda();
    let device = arguments.device.device.resolve(runtime)?;
    let kind = arguments.device.precision.resolve(device, runtime)?;
    let config = arguments.archive.config("vgg16".to_owned());
    let models = Models {
        encoder: encoder::load(&description, &arguments.weights, device, kind)?,
        captioner: None,
    };
    let summary = watched(&config, &models, terminal)?;
    report::embedded(&summary, &config.out, terminal)?;
    Ok(match summary.outcome {
        RunOutcome::Interrupted => Exit::Interrupted,
        _ if summary.counts.failed > 0 => Exit::SomeFailed,
        _ => Exit::Complete,
    })
}
