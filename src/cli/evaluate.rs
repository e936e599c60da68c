//! `showtell evaluate`: measures captions against references.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use showtell::evaluation::{
    self, Candidate, Key, References, Report, Tolerance, Tolerances, candidates,
};
use showtell::scenes::{self, Checker, Tally, Truth, Verdicts};
use showtell::table::{Outcome, PartFile, Row, Snapshot, batch_to_rows, schema};

use super::exit::Exit;
use super::run::UsageError;

/// Measures captions against references: BLEU, ROUGE-L, CIDEr, and what these hide
///
/// For drawn scenes it also tells how many captions say what is true.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  showtell scenes --count 1000 --seed 5 --out scenes/
  showtell annotate scenes/images --out out/
  showtell evaluate --references scenes/scenes.json --candidates out/")]
pub struct EvaluateArguments {
    /// Captions by people, as COCO's captions_*.json has them; `showtell scenes` writes such a file
    #[arg(long, value_name = "FILE")]
    references: PathBuf,
    /// Captions to measure: the output of `showtell annotate`, its captions.arrow, one of its Parquet
    /// parts, or a COCO result file
    #[arg(long, value_name = "FILE|OUT")]
    candidates: PathBuf,
    /// Measure although some images of the references have no caption, or captions no references
    #[arg(long)]
    allow_unpaired: bool,
    /// Print everything as JSON, the scores of each image too
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &EvaluateArguments) -> anyhow::Result<Exit> {
    let references = References::read(&arguments.references).with_context(|| {
        format!(
            "cannot use {} as references",
            arguments.references.display()
        )
    })?;
    let candidates = read_candidates(&arguments.candidates)?;
    let tolerance = match arguments.allow_unpaired {
        true => Tolerance::LeaveOut,
        false => Tolerance::Refuse,
    };
    let tolerances = Tolerances {
        missing: tolerance,
        unknown: tolerance,
        ..Tolerances::default()
    };
    let report = evaluation::evaluate(&references, candidates, tolerances, None)?;
    // References without truth are those of photographs.
    let truth = scenes::read_truth(&arguments.references)
        .ok()
        .filter(|truth| !truth.is_empty());
    let verdicts = truth.map(|truth| verdicts(&report, &truth));
    if arguments.json {
        let mut json = serde_json::to_value(&report)?;
        if let Some(verdicts) = &verdicts {
            json["truth"] = serde_json::to_value(Tally::of(verdicts.iter().copied()))?;
            json["main_true"] = main_share(verdicts).into();
        }
        println!("{}", serde_json::to_string_pretty(&json)?);
        return Ok(Exit::Complete);
    }
    print!("{}", report.table());
    if let Some(verdicts) = &verdicts {
        println!("\nTrue of the scenes");
        for tally in Tally::of(verdicts.iter().copied()) {
            println!("  {:<10} {:6.1} %", tally.name, 100.0 * tally.share_right());
        }
        println!(
            "  setting, kind and colour together  {:.1} %",
            100.0 * main_share(verdicts)
        );
    }
    Ok(Exit::Complete)
}

/// The verdict on each caption whose scene is known.
fn verdicts(report: &Report, truth: &BTreeMap<String, Truth>) -> Vec<Verdicts> {
    let known = report.per_image.iter().filter_map(|image| {
        let truth = truth.get(image.file_name.as_deref()?)?;
        Some(Checker::new(truth).check(&image.caption))
    });
    known.collect()
}

fn main_share(verdicts: &[Verdicts]) -> f64 {
    let right = verdicts
        .iter()
        .filter(|verdict| verdict.is_main_right())
        .count();
    right as f64 / verdicts.len().max(1) as f64
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
