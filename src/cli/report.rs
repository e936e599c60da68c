//! What a person reads when a run is over.

use std::io::Write;
use std::path::Path;

use indicatif::{HumanBytes, HumanCount};
use showtell::captioner::model::ModelConfig;
use showtell::nightly::{RunOutcome, RunSummary};
use showtell::table::{Layout, Outcome, PartFile, batch_to_rows, schema};

use super::output::output;
use super::terminal::Terminal;

/// Captions that are shown.
const SHOWN: usize = 5;

/// That the end of a run could not be told, on a full disk perhaps, is logged: the run is what it is.
pub fn told(report: anyhow::Result<()>) {
    if let Err(error) = report {
        tracing::error!("what came of the run could not be told: {error:#}");
    }
}

/// Tells what `annotate` has done.
pub fn annotated(
    summary: &RunSummary,
    out: &Path,
    model: &ModelConfig,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    if log_only(summary, terminal) {
        return Ok(());
    }
    let mut text = output();
    let counts = &summary.counts;
    writeln!(text, "{}", headline(summary))?;
    writeln!(
        text,
        "  {} found = {} captioned + {} failed + {} unchanged",
        HumanCount(counts.found),
        HumanCount(counts.captioned),
        HumanCount(counts.failed),
        HumanCount(counts.unchanged),
    )?;
    others(&mut text, summary)?;
    let layout = Layout::open(out)?;
    for (place, (uri, caption, score)) in examples(&layout, summary)?.into_iter().enumerate() {
        if place == 0 {
            writeln!(text)?;
        }
        writeln!(text, "  {uri}: {caption}  ({score:.2})")?;
    }
    if summary.outcome == RunOutcome::Refused {
        return refused(&mut text, summary, &layout);
    }
    let failed = counts.failed + counts.unchanged_failed;
    writeln!(text, "\nTable: {}", layout.snapshot().display())?;
    writeln!(text, "  {}", query(out, "caption, last.score", "captioned"))?;
    if failed > 0 {
        writeln!(
            text,
            "Failures: {} of {}; why:\n  {}",
            HumanCount(failed),
            HumanCount(counts.found),
            query(out, "error_stage, last.error", "failed")
        )?;
    }
    if model.demonstration {
        let purpose = model.purpose.as_deref().unwrap_or("drawn scenes");
        writeln!(
            text,
            "\nThe model {} is a demonstration: it knows {purpose}.\n\
             For photographs, name a model that was trained on photographs with --model.",
            model.name
        )?;
    }
    Ok(())
}

/// What shows `columns` of the current rows of a status: of each image the newest row.
fn query(out: &Path, columns: &str, status: &str) -> String {
    let parts = out.join("captions/*/*.parquet").display().to_string();
    let sql = format!(
        "SELECT uri, last.{columns} FROM (SELECT uri, arg_max(c, run_id) AS last \
         FROM '{}' AS c GROUP BY root, uri) WHERE last.status = '{status}'",
        parts.replace('\'', "''")
    );
    let is_plain = |letter: char| !"\"$`\\".contains(letter);
    let quoted: String = sql
        .chars()
        .flat_map(|letter| {
            (!is_plain(letter))
                .then_some('\\')
                .into_iter()
                .chain([letter])
        })
        .collect();
    format!("duckdb -c \"{quoted}\"")
}

/// Tells why a run was kept out of the table, and what to do.
fn refused(text: &mut impl Write, summary: &RunSummary, layout: &Layout) -> anyhow::Result<()> {
    writeln!(text, "\nRefused, because")?;
    for finding in &summary.findings {
        writeln!(text, "  {finding}")?;
    }
    let table = match layout.snapshot() {
        path if path.exists() => format!("The table is as it was: {}", path.display()),
        _ => "There is no table yet.".to_owned(),
    };
    writeln!(
        text,
        "\n{table}\n\
         What this run wrote is kept aside: {}\n\
         If it is right all the same, run again with --accept; images that went through the encoder \
         do not do so again.",
        layout.refused(&summary.run_id).display()
    )?;
    Ok(())
}

/// Tells what `embed` has done.
pub fn embedded(summary: &RunSummary, out: &Path, terminal: &Terminal) -> anyhow::Result<()> {
    if log_only(summary, terminal) {
        return Ok(());
    }
    let mut text = output();
    let counts = &summary.counts;
    writeln!(text, "{}", headline(summary))?;
    writeln!(
        text,
        "  {} found = {} embedded or in the cache + {} failed + {} unchanged",
        HumanCount(counts.found),
        HumanCount(counts.captioned),
        HumanCount(counts.failed),
        HumanCount(counts.unchanged),
    )?;
    others(&mut text, summary)?;
    writeln!(
        text,
        "\nFeatures: {}",
        out.join("embeddings").join(&summary.encoder_id).display()
    )?;
    Ok(())
}

/// A collector gets the same as one event instead.
fn log_only(summary: &RunSummary, terminal: &Terminal) -> bool {
    let counts = &summary.counts;
    if terminal.json {
        tracing::info!(
            run_id = %summary.run_id,
            outcome = ?summary.outcome,
            found = counts.found,
            captioned = counts.captioned,
            failed = counts.failed,
            unchanged = counts.unchanged,
            deleted = counts.deleted,
            embedded = counts.embedded,
            seconds = seconds(summary),
            slowest_stage = summary.slowest_stage,
            "run finished"
        );
    }
    terminal.json || terminal.quiet
}

fn headline(summary: &RunSummary) -> String {
    let seconds = seconds(summary);
    let worked = summary.counts.captioned + summary.counts.failed;
    let rate = if seconds > 0.0 {
        worked as f64 / seconds
    } else {
        0.0
    };
    let how = match summary.outcome {
        RunOutcome::Interrupted => {
            "Stopped early; what was finished is kept, the next run goes on from there"
        }
        RunOutcome::Refused => "Refused by a guard",
        RunOutcome::Published => "Done",
    };
    format!(
        "{how}: run {} in {seconds:.1} s, {rate:.1} images/s",
        summary.run_id
    )
}

fn seconds(summary: &RunSummary) -> f64 {
    // Less than nothing where the clock was set back meanwhile.
    (summary.finished - summary.started)
        .as_seconds_f64()
        .max(0.0)
}

/// The counts that are worth a line only where they are not zero.
fn others(text: &mut impl Write, summary: &RunSummary) -> std::io::Result<()> {
    let counts = &summary.counts;
    let named = [
        (counts.embedded, "through the encoder"),
        (
            counts.from_table + counts.duplicates,
            "captioned as the same content was before",
        ),
        (
            counts.touched,
            "only touched: another time, the same content",
        ),
        (counts.deleted, "deleted since the last run"),
        (
            counts.unchanged_failed,
            "failed before and are unchanged (--retry-failed tries them again)",
        ),
        (counts.not_images, "other files"),
        (
            counts.skipped,
            "left out: hidden, excluded, links out of the directory, or special files",
        ),
    ];
    for (count, name) in named.into_iter().filter(|(count, _)| *count > 0) {
        writeln!(text, "  {} {name}", HumanCount(count))?;
    }
    if summary.bytes_read > 0 {
        writeln!(text, "  {} read", HumanBytes(summary.bytes_read))?;
    }
    if let Some(stages) = stages(summary) {
        writeln!(text, "  {stages}")?;
    }
    Ok(())
}

/// The slowest stage, and how busy all of them were; nothing of a run that had nothing to do.
fn stages(summary: &RunSummary) -> Option<String> {
    let slowest = summary.slowest_stage.as_deref()?;
    let rate = summary.stages.get(slowest)?.rate;
    let whole = Some(seconds(summary)).filter(|whole| *whole > 0.0)?;
    let busy: Vec<String> = summary
        .stages
        .iter()
        .filter(|(_, stage)| stage.items > 0)
        .map(|(name, stage)| format!("{name} {:.0} %", 100.0 * stage.seconds / whole))
        .collect();
    Some(format!(
        "slowest stage: {slowest}, {rate:.1} a second; busy: {}",
        busy.join(", ")
    ))
}

/// Uri, caption and score of the first images that this run captioned.
fn examples(layout: &Layout, summary: &RunSummary) -> anyhow::Result<Vec<(String, String, f32)>> {
    let Some(part) = summary.captions.first() else {
        return Ok(Vec::new());
    };
    let path = layout.absolute(&part.file);
    let file = PartFile::open(&path)?;
    let mut examples = Vec::new();
    // A part has many rows, and the first few will do.
    for batch in file.batches(&schema()) {
        let rows = batch_to_rows(&batch?, &path)?;
        let captioned = rows.into_iter().filter_map(|row| match row.outcome {
            Outcome::Captioned(beams) => {
                let best = beams.into_iter().next()?;
                Some((row.uri, best.caption, best.score))
            }
            _ => None,
        });
        examples.extend(captioned.take(SHOWN - examples.len()));
        if examples.len() == SHOWN {
            break;
        }
    }
    Ok(examples)
}
