//! `showtell status`: how a table stands, on one screen.

use std::io::{self, Write};
use std::path::PathBuf;

use chrono::Utc;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use showtell::table::Layout;
use showtell::upkeep::{PastRun, Size, Standing, past_runs};

use super::columns::{Columns, left, right};
use super::compact::{DEFAULT_KEEP_DAYS, options};
use super::exit::Exit;
use super::output::output;
use super::runs;

/// Tells how a table stands: current rows, models, last runs, sizes, what is not as it should be
///
/// Only reads, and works beside a run. Damage is looked for in the footers of the files; `showtell
/// annotate` checks all that it uses.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// The output directory of `showtell annotate` or `embed`
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Last runs that are shown.
const RUNS: usize = 5;
/// Models that are shown.
const MODELS: usize = 4;

pub fn run(arguments: &StatusArguments) -> anyhow::Result<Exit> {
    let layout = Layout::open(&arguments.out)?;
    let standing = Standing::of(&layout, &options(DEFAULT_KEEP_DAYS, Utc::now()))?;
    let past = past_runs(&layout)?;
    let last = &past[past.len().saturating_sub(RUNS)..];
    let mut text = output();
    if arguments.json {
        let mut json = serde_json::to_value(&standing)?;
        let last: Result<Vec<_>, _> = last.iter().map(runs::run_json).collect();
        json["last_runs"] = last?.into();
        serde_json::to_writer_pretty(&mut text, &json)?;
        writeln!(text)?;
        return Ok(Exit::Complete);
    }
    rows(&mut text, arguments, &standing)?;
    models(&mut text, &standing)?;
    if !last.is_empty() {
        writeln!(
            text,
            "\nLast runs (showtell runs lists {})",
            HumanCount(past.len() as u64)
        )?;
        runs::table(last).write(&mut text, "  ")?;
    }
    sizes(&mut text, &standing)?;
    worries(&mut text, arguments, &standing, &past)?;
    Ok(Exit::Complete)
}

fn rows(text: &mut impl Write, arguments: &StatusArguments, standing: &Standing) -> io::Result<()> {
    let out = arguments.out.display();
    let Some(run_id) = standing.run_id else {
        return writeln!(text, "{out} holds no captions yet");
    };
    let total: u64 = standing.rows.values().sum();
    write!(
        text,
        "{out} holds {} images as of run {run_id}",
        HumanCount(total)
    )?;
    match standing.published {
        Some(published) => writeln!(text, ", published {} UTC", published.format(runs::MOMENT))?,
        None => writeln!(text)?,
    }
    let mut table = Columns::default();
    for (status, count) in &standing.rows {
        let mut cells = vec![left(status), right(HumanCount(*count))];
        if status == "failed" {
            let stages = standing.failed_by_stage.iter();
            let stages = stages.map(|(stage, count)| format!("{stage} {}", HumanCount(*count)));
            cells.push(left(stages.collect::<Vec<_>>().join(", ")));
        }
        table.row(cells);
    }
    table.write(text, "  ")
}

fn models(text: &mut impl Write, standing: &Standing) -> io::Result<()> {
    if standing.models.is_empty() {
        return Ok(());
    }
    let name = standing.model.as_deref().unwrap_or_default();
    writeln!(text, "\nModels (the last run's is {name})")?;
    let mut table = Columns::default();
    for model in standing.models.iter().take(MODELS) {
        table.row([
            right(HumanCount(model.rows)),
            left(&model.captioner_id),
            left(&model.encoder_id),
            left(&model.decoding),
        ]);
    }
    table.write(text, "  ")?;
    if standing.models.len() > MODELS {
        writeln!(text, "  and {} more", standing.models.len() - MODELS)?;
    }
    Ok(())
}

fn sizes(text: &mut impl Write, standing: &Standing) -> io::Result<()> {
    writeln!(text, "\nSizes")?;
    let mut table = Columns::default();
    let files = |size: &Size| match size.files {
        1 => "1 file".to_owned(),
        files => format!("{} files", HumanCount(files)),
    };
    for (name, size) in [
        ("captions", &standing.captions),
        ("captions.arrow", &standing.snapshot),
    ] {
        table.row([
            left(name),
            right(HumanBytes(size.bytes)),
            right(files(size)),
        ]);
    }
    for encoder in &standing.embeddings {
        table.row([
            left(format!("embeddings/{}", encoder.encoder_id)),
            right(HumanBytes(encoder.size.bytes)),
            right(files(&encoder.size)),
            right(format!("{} rows", HumanCount(encoder.rows))),
        ]);
    }
    table.write(text, "  ")?;
    if standing.parts_to_merge > 0 {
        writeln!(
            text,
            "  showtell compact would merge {} parts of captions into {}; with --dry-run it tells more",
            HumanCount(standing.parts_to_merge),
            HumanCount(standing.parts_merged),
        )?;
    }
    Ok(())
}

fn worries(
    text: &mut impl Write,
    arguments: &StatusArguments,
    standing: &Standing,
    past: &[PastRun],
) -> io::Result<()> {
    if let Some(by) = &standing.under_way {
        writeln!(text, "\nUnder way: {by} holds {}", arguments.out.display())?;
    }
    let is_under_way = |run: &&PastRun| matches!(run, PastRun::UnderWay(_));
    let under_way = past.iter().find(is_under_way).map(PastRun::run_id);
    let mut pending = standing.pending_runs.clone();
    pending.retain(|run_id| Some(*run_id) != under_way);
    if !pending.is_empty() {
        let runs: Vec<String> = pending.iter().map(ToString::to_string).collect();
        writeln!(
            text,
            "\nNot current yet, taken up by the next run: what was finished by {}",
            runs.join(", ")
        )?;
    }
    if !standing.refused_runs.is_empty() {
        let runs = standing.refused_runs.iter().map(ToString::to_string);
        writeln!(
            text,
            "\nKept out of the table by a guard, and set aside in {}/refused: {}",
            arguments.out.display(),
            runs.collect::<Vec<_>>().join(", ")
        )?;
    }
    if standing.damaged.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nDamaged")?;
    for damaged in &standing.damaged {
        writeln!(text, "  {damaged}")?;
    }
    Ok(())
}
