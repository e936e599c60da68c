//! `showtell annotate`: from directories of images to a table of captions.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use showtell::captioner::model::Model;
use showtell::encoder::Layer;
use showtell::hub;
use showtell::nightly::{RunOutcome, RunSummary};
use showtell::pipeline::{Keep, Live};

use super::exit::Exit;
use super::models::WantedModel;
use super::run::{ArchiveArguments, DeviceArguments, GuardArguments, UsageError, watched};
use super::terminal::Terminal;
use super::{forecast, model, report};

/// Captions every image below some directories, and writes the captions as a table
///
/// Run again over the same output, it does only what is new or has changed; with another model or
/// other decode parameters it captions again from cached features, without reading an image.
///
/// Before anything becomes current, guards look at the whole: a directory that went away or has been
/// emptied, too many images gone or failed, captions that are all alike or quite unlike those of
/// the runs before. What they refuse is set aside in OUT/refused, captions.arrow stays as it was, and
/// the exit code is 3. If it is right all the same, run again with --accept: fc7 is kept, so
/// only reading and captioning are done again.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AnnotateArguments {
    #[command(flatten)]
    pub archive: ArchiveArguments,
    /// A model's name (see `showtell model list`) or directory
    #[arg(
        long,
        value_name = "NAME|DIR",
        default_value = "demo",
        help_heading = "Model"
    )]
    model: String,
    /// The encoder's weights, for a model that does not bring them: .pth or .safetensors
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    weights: Option<PathBuf>,
    /// Captions kept at each step of the search; 1 is greedy [default: the model's]
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "N",
        help_heading = "Decoding"
    )]
    beam: Option<usize>,
    /// Most tokens of a caption, its end included [default: the model's]
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "N",
        help_heading = "Decoding"
    )]
    max_tokens: Option<usize>,
    /// Scores are divided by the length to this power; 0 leaves them [default: the model's]
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "A",
        help_heading = "Decoding"
    )]
    length_penalty: Option<f32>,
    /// Keep the features of conv5_3 too, which a model with attention looks at: 200 KB an image (for
    /// the full-size VGG-16), that another captioner or beam then need not compute again
    #[arg(long, help_heading = "Computing")]
    cache_regions: bool,
    #[command(flatten)]
    guards: GuardArguments,
    #[command(flatten)]
    device: DeviceArguments,
}

const EXAMPLES: &str = "\
Examples:
  showtell annotate photos/ --out captions/
  showtell annotate photos/ scans/ --out captions/ --exclude '*.tmp' --exclude thumbs
  showtell annotate photos/ --out captions/ --beam 5 --length-penalty 0.7
  showtell annotate photos/ --out captions/ --dry-run
  showtell annotate --config pipelines/nightly.toml
  showtell annotate photos/ --out captions/ --model models/mine --weights vgg16-397923af.pth

Reading the table:
  duckdb -c \"SELECT uri, last.caption, last.score FROM (SELECT uri, arg_max(c, run_id) AS last
             FROM 'captions/captions/*/*.parquet' AS c GROUP BY root, uri)\"
  python -c \"import pyarrow.ipc as a; print(a.open_file('captions/captions.arrow').read_all())\"";

pub fn run(arguments: &AnnotateArguments, terminal: &Terminal) -> anyhow::Result<Exit> {
    let measured = arguments.archive.measured("captioned");
    measured.run(|live| annotate(arguments, live, terminal))
}

fn annotate(
    arguments: &AnnotateArguments,
    live: &Live,
    terminal: &Terminal,
) -> anyhow::Result<(Exit, Option<RunSummary>)> {
    let found = find_model(&arguments.model)?;
    let mut decoding = found.config.decoding;
    decoding.beam = arguments.beam.unwrap_or(decoding.beam);
    decoding.max_tokens = arguments.max_tokens.unwrap_or(decoding.max_tokens);
    decoding.length_penalty = arguments.length_penalty.unwrap_or(decoding.length_penalty);
    decoding.check().map_err(UsageError)?;

    let weights = encoder_weights(&found, arguments.weights.as_deref())?;
    let archive = &arguments.archive;
    let wanted = WantedModel {
        encoder: found.config.encoder.clone(),
        weights,
        captioner: Some((found.clone(), decoding)),
        device: arguments.device,
    };
    let (mut models, sources) = wanted.prepare(archive.out(), archive.records())?;
    let config = archive.config(
        found.config.name.clone(),
        sources,
        match found.config.encoder.layer {
            Layer::Conv5_3 if !arguments.cache_regions => Keep::Nothing,
            _ => Keep::Features,
        },
        arguments.guards.into(),
        arguments.device,
    );
    if archive.dry_run {
        return Ok((forecast::tell(&config, &models, terminal)?, None));
    }
    let summary = watched(&config, &mut models, live, terminal)?;
    report::told(report::annotated(
        &summary,
        &config.out,
        &found.config,
        terminal,
    ));
    let exit = match summary.outcome {
        RunOutcome::Refused => Exit::Refused,
        RunOutcome::Interrupted => Exit::Interrupted,
        _ if summary.counts.failed + summary.counts.unchanged_failed > 0 => Exit::SomeFailed,
        _ => Exit::Complete,
    };
    Ok((exit, Some(summary)))
}

/// Where the model called `name` lies: a directory, or a name in one of the models' folders.
pub(super) fn find_model(name: &str) -> anyhow::Result<Model> {
    let as_directory = Path::new(name);
    if as_directory.join("model.toml").is_file() {
        return Ok(Model::open(as_directory)?);
    }
    let folders = model::model_folders();
    if let Some(folder) = folders
        .iter()
        .find(|folder| folder.join(name).join("model.toml").is_file())
    {
        return Ok(Model::open(&folder.join(name))?);
    }
    let looked: Vec<String> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    Err(UsageError(format!(
        "there is no model {name:?}: it is neither a directory with a model.toml, nor in {}; \
         `showtell model list` shows what is there",
        looked.join(", ")
    ))
    .into())
}

/// The file with the encoder's weights: the user's, the model's, or those fetched from the hub.
pub(super) fn encoder_weights(model: &Model, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(file) = given {
        return Ok(file.to_owned());
    }
    if let Some(file) = model.encoder_weights() {
        return Ok(file);
    }
    let fetched =
        model::user_store().map(|store| Ok::<_, anyhow::Error>(store.path(hub::find("vgg16")?)));
    match fetched
        .transpose()
        .context("cannot look for fetched weights")?
    {
        Some(file) if file.is_file() => Ok(file),
        _ => Err(UsageError(format!(
            "the model {} does not bring its encoder's weights: fetch them with \
             `showtell model get vgg16`, or name them with --weights FILE",
            model.config.name
        ))
        .into()),
    }
}
