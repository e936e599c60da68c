//! `showtell evaluate`: measures captions against references.

mod references;
mod told;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use showtell::evaluation::{
    self, Candidate, Key, References, Report, Tolerance, Tolerances, candidates,
};
use showtell::scenes;
use showtell::table::{Outcome, PartFile, Row, Snapshot, batch_to_rows, schema};

use super::exit::Exit;
use super::output::output;
use super::run::UsageError;
use references::{ReferenceArguments, Wanted};
use told::Told;

/// Measures captions against references: BLEU, ROUGE-L, CIDEr, and what these hide
///
/// For drawn scenes it also tells how many captions say what is true, and how often the setting that is
/// said is the one that `showtell scenes --bias` ties the main object to instead of the one that is seen.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  showtell scenes --count 1000 --seed 5 --out scenes/
  showtell annotate scenes/images --out out/
  showtell evaluate --references scenes/scenes.json --candidates out/
  showtell evaluate --references flickr8k/ --split test --candidates out/
  showtell evaluate --references dataset_coco.json --split test --candidates out/ --coco coco/
      and writes captions and references for COCO's own tools")]
pub struct EvaluateArguments {
    #[command(flatten)]
    references: ReferenceArguments,
    /// Captions to measure: the output of `showtell annotate`, its captions.arrow, one of its Parquet
    /// parts, or a COCO result file
    #[arg(long, value_name = "FILE|OUT")]
    candidates: PathBuf,
    /// Measure although some images of the references have no caption, or captions no references
    #[arg(long)]
    allow_unpaired: bool,
    /// Write what was measured for other tools, METEOR's and SPICE's and COCO's server among them: DIR/
    /// gets results.json and references.json
    #[arg(long, value_name = "DIR")]
    coco: Option<PathBuf>,
    /// Print everything as JSON, the scores of each image too
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &EvaluateArguments) -> anyhow::Result<Exit> {
    let Wanted {
        captions,
        references,
        others,
        training,
    } = arguments.references.read()?;
    let mut candidates = read_candidates(&arguments.candidates)?;
    if let Some(others) = &others {
        // An output has captions of the other splits, too, which nobody wants measured here.
        candidates.retain(|candidate| {
            references.place(&candidate.key).is_some() || others.place(&candidate.key).is_none()
        });
    }
    let tolerance = match arguments.allow_unpaired {
        true => Tolerance::LeaveOut,
        false => Tolerance::Refuse,
    };
    let tolerances = Tolerances {
        missing: tolerance,
        unknown: tolerance,
        ..Tolerances::default()
    };
    let report = evaluation::evaluate(&references, candidates, tolerances, training.as_ref())?;
    // References without truth are those of photographs.
    let truth = scenes::read_truth(&captions)
        .ok()
        .filter(|truth| !truth.is_empty());
    let told = truth.as_ref().map(|truth| Told::new(&report, truth));
    if let Some(directory) = &arguments.coco {
        write_coco(directory, &references, &report)?;
    }
    if arguments.json {
        let mut json = serde_json::to_value(&report)?;
        if let Some(told) = &told {
            told.add_to(&mut json)?;
        }
        writeln!(output(), "{}", serde_json::to_string_pretty(&json)?)?;
        return Ok(Exit::Complete);
    }
    write!(output(), "{}", report.table())?;
    if let Some(told) = &told {
        told.print()?;
    }
    Ok(Exit::Complete)
}

/// The images that were measured, and no others: such as have no caption were left out.
fn write_coco(directory: &Path, references: &References, report: &Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let captions = report.per_image.iter();
    let captions = captions.map(|image| (image.image_id, image.caption.as_str()));
    candidates::write_results(&directory.join("results.json"), captions)?;
    let measured: HashSet<(u64, Option<&str>)> = report
        .per_image
        .iter()
        .map(|image| (image.image_id, image.file_name.as_deref()))
        .collect();
    let of_measured = references
        .images()
        .iter()
        .filter(|image| measured.contains(&(image.id, image.file_name.as_deref())));
    let references = References::of(of_measured.cloned());
    Ok(references.write(&directory.join("references.json"))?)
}

fn read_candidates(path: &Path) -> anyhow::Result<Vec<Candidate>> {
    let path = match path.is_dir() {
        true => path.join("captions.arrow"),
        false => path.to_owned(),
    };
    let rows = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => return Ok(candidates::read_results(&path)?),
        Some("arrow") => snapshot_rows(&path)?,
        Some("parquet") => PartFile::open(&path)?.read()?,
        _ => {
            return Err(UsageError(format!(
                "{} is neither an output directory nor a .arrow, .parquet or .json file",
                path.display()
            ))
            .into());
        }
    };
    let captions = rows.into_iter().filter_map(|row| match row.outcome {
        Outcome::Captioned(beams) => {
            let caption = beams.into_iter().next()?.caption;
            Some(Candidate {
                key: Key::Uri(row.uri),
                caption,
            })
        }
        _ => None,
    });
    Ok(captions.collect())
}

fn snapshot_rows(path: &Path) -> anyhow::Result<Vec<Row>> {
    let snapshot = Snapshot::open(path)?.ok_or_else(|| {
        UsageError(format!(
            "{} is not there; `showtell annotate` writes it",
            path.display()
        ))
    })?;
    let mut rows = Vec::new();
    for batch in snapshot.batches(schema())? {
        rows.extend(batch_to_rows(&batch?, path)?);
    }
    Ok(rows)
}
