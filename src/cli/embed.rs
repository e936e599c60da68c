//! `showtell embed`: from directories of images to cached features.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use showtell::encoder::EncoderConfig;
use showtell::nightly::{Guards, RunOutcome, RunSummary};
use showtell::pipeline::{Keep, Live};

use super::exit::Exit;
use super::models::WantedModel;
use super::run::{ArchiveArguments, DeviceArguments, watched};
use super::terminal::Terminal;
use super::{forecast, report};

/// Computes the features of every image below some directories, and keeps them as Parquet
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  showtell model get vgg16
  showtell embed photos/ --out captions/ --encoder vgg16 --weights ~/.cache/showtell/models/vgg16-397923af.pth")]
pub struct EmbedArguments {
    #[command(flatten)]
    pub archive: ArchiveArguments,
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
    let measured = arguments.archive.measured("embedded");
    measured.run(|live| embed(arguments, live, terminal))
}

fn embed(
    arguments: &EmbedArguments,
    live: &Live,
    terminal: &Terminal,
) -> anyhow::Result<(Exit, Option<RunSummary>)> {
    let description = match arguments.encoder {
        EncoderName::Vgg16 => EncoderConfig::vgg16(),
    };
    let archive = &arguments.archive;
    let wanted = WantedModel {
        encoder: description,
        weights: arguments.weights.clone(),
        captioner: None,
        device: arguments.device,
    };
    let (mut models, sources) = wanted.prepare(archive.out(), archive.records())?;
    // Features are kept by content: there is no current table that a guard could keep them out of.
    let config = archive.config(
        "vgg16".to_owned(),
        sources,
        Keep::Features,
        Guards::default(),
        arguments.device,
    );
    if archive.dry_run {
        return Ok((forecast::tell(&config, &models, terminal)?, None));
    }
    let summary = watched(&config, &mut models, live, terminal)?;
    report::told(report::embedded(&summary, &config.out, terminal));
    let exit = match summary.outcome {
        RunOutcome::Interrupted => Exit::Interrupted,
        _ if summary.counts.failed + summary.counts.unchanged_failed > 0 => Exit::SomeFailed,
        _ => Exit::Complete,
    };
    Ok((exit, Some(summary)))
}
