//! `showtell dataset`: tells what is in a data set of captioned images.

mod text;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use showtell::dataset::{Features, Format, Located, Options, Restval, Source, SplitList};
use showtell::training::inspection::{FeatureCounts, Inspection, PictureCounts};
use showtell::training::vocabulary::{PRESETS, Preset};

use super::exit::Exit;
use super::output::output;
use super::run::UsageError;

/// Tells what is in a data set of captioned images
#[derive(Debug, Args)]
pub struct DatasetArguments {
    #[command(subcommand)]
    command: DatasetCommand,
}

#[derive(Debug, Subcommand)]
enum DatasetCommand {
    Inspect(InspectArguments),
}

/// Tells what is in a data set: images, captions, splits, words, and what is missing or odd
///
/// Reads Flickr8k's and Flickr30k's token files, CSV with the columns image and caption, Flickr30k's
/// results.csv from Kaggle, COCO's captions_*.json, Karpathy's dataset_*.json, and folders of images with
/// .txt files beside them.
/// Given a folder, it takes the captions, the lists of splits and the images that lie in it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct InspectArguments {
    /// The file of captions, or the folder of the data set
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// How captions are written down: tokens, csv, coco, karpathy or sidecars [default: found out]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Files that list the images of a split, a name a line; the split is in the file's name or before
    /// it: train=FILE
    #[arg(long, value_name = "FILE", num_args = 1..)]
    splits: Vec<PathBuf>,
    /// Count the images of the split restval among those to learn from
    #[arg(long)]
    restval_as_train: bool,
    /// The folder of the images [default: that beside the captions, if PATH is a folder]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Features of the images: a matrix saved by NumPy (.npy) with a row for each image or for each
    /// caption, or the output of `showtell embed`, where they are found by content
    #[arg(long, value_name = "FILE|OUT")]
    features: Option<PathBuf>,
    /// Which encoder's features, where the output holds those of several
    #[arg(long, value_name = "ID", requires = "features")]
    encoder: Option<String>,
    /// Tell of the words as one publication took them [possible values: tutorial, neuraltalk,
    /// show-and-tell, show-attend-tell; default: all]
    #[arg(long, value_name = "PRESET", value_parser = preset)]
    vocabulary: Option<Preset>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  showtell dataset inspect flickr8k/
      captions, lists of splits and images are found in the folder
  showtell dataset inspect results_20130124.token --splits train.txt val.txt test.txt \\
      --images flickr30k-images/
  showtell dataset inspect annotations/captions_train2014.json --images train2014/
  showtell dataset inspect dataset_coco.json --restval-as-train --vocabulary neuraltalk
  showtell dataset inspect results_20130124.token --features feats.npy
  showtell dataset inspect flickr8k/ --features out/ --json | jq .features.missing.count";

/// What the command prints as JSON.
#[derive(Serialize)]
struct Report<'a> {
    captions_from: &'a PathBuf,
    format: &'static str,
    split_lists: Vec<&'a PathBuf>,
    #[serde(flatten)]
    inspection: &'a Inspection,
}

pub fn run(arguments: &DatasetArguments) -> anyhow::Result<Exit> {
    match &arguments.command {
        DatasetCommand::Inspect(arguments) => inspect(arguments),
    }
}

fn inspect(arguments: &InspectArguments) -> anyhow::Result<Exit> {
    let lists = arguments.splits.iter().map(|list| SplitList::parse(list));
    let options = Options {
        format: arguments.format,
        split_lists: lists.collect::<Result<_, _>>()?,
        images: arguments.images.clone(),
    };
    let restval = match arguments.restval_as_train {
        true => Restval::AsTrain,
        false => Restval::Apart,
    };
    let source = Source::find(&arguments.path, options)?;
    let set = source.read()?;
    let located = source.pictures()?.map(|pictures| pictures.locate(&set));
    let mut inspection = Inspection::of(&set, arguments.vocabulary, restval);
    if let (Some(folder), Some(located)) = (&source.images, &located) {
        inspection.pictures = Some(PictureCounts::of(folder.clone(), located));
    }
    if let Some(path) = &arguments.features {
        let features = match path.is_dir() {
            true => of_cache(path, arguments.encoder.as_deref(), located.as_ref()),
            false => Features::of_matrix(path, &set).map_err(Into::into),
        };
        let features = features.context("cannot use the features")?;
        inspection.features = Some(FeatureCounts::of(&set, &features));
    }
    let mut printed = Vec::new();
    if arguments.json {
        let report = Report {
            captions_from: &source.captions,
            format: source.format.name(),
            split_lists: source.split_lists.iter().map(|list| &list.path).collect(),
            inspection: &inspection,
        };
        serde_json::to_writer_pretty(&mut printed, &report)?;
        printed.push(b'\n');
    } else {
        text::write(&source, &inspection, &mut printed)?;
    }
    output().write_all(&printed)?;
    Ok(Exit::Complete)
}

fn of_cache(
    out: &Path,
    encoder: Option<&str>,
    located: Option<&Located>,
) -> anyhow::Result<Features> {
    let located = located.ok_or_else(|| {
        UsageError(
            "features are found by the content of the images: name their folder with --images"
                .to_owned(),
        )
    })?;
    Ok(Features::of_cache(out, encoder, located)?)
}

fn preset(name: &str) -> Result<Preset, String> {
    let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
    Preset::named(name).ok_or_else(|| format!("expected {}", names.join(", ")))
}
