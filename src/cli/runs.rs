//! `showtell runs`: lists the runs of an output directory.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use indicatif::HumanCount;
use serde_json::{Value, json};
use showtell::nightly::{RunOutcome, RunSummary};
use showtell::table::{Layout, RunId};
use showtell::upkeep::{PastRun, past_runs};

use super::columns::{Columns, left, right};
use super::exit::Exit;
use super::output::output;

/// Lists the runs of an output directory: when, how long, what came of it
///
/// `killed` is a run that left no summary: what it finished is kept, and the next run took it up.
/// Times are UTC. Only reads, and works beside a run.
#[derive(Debug, Args)]
pub struct RunsArguments {
    /// The output directory of `showtell annotate` or `embed`
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Only the last N runs; 0 for all
    #[arg(long, value_name = "N", default_value_t = 30)]
    last: usize,
    /// Print the runs' summaries as a JSON array
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &RunsArguments) -> anyhow::Result<Exit> {
    let layout = Layout::open(&arguments.out)?;
    let runs = past_runs(&layout)?;
    let shown = match arguments.last {
        0 => &runs[..],
        last => &runs[runs.len().saturating_sub(last)..],
    };
    let mut text = output();
    if arguments.json {
        let runs: Vec<Value> = shown.iter().map(run_json).collect::<Result<_, _>>()?;
        serde_json::to_writer_pretty(&mut text, &runs)?;
        writeln!(text)?;
        return Ok(Exit::Complete);
    }
    if shown.is_empty() {
        writeln!(text, "There were no runs yet.")?;
        return Ok(Exit::Complete);
    }
    if shown.len() < runs.len() {
        let earlier = runs.len() - shown.len();
        writeln!(
            text,
            "{earlier} earlier runs are not shown (--last 0 shows all)"
        )?;
    }
    table(shown).write(&mut text, "")?;
    for run in shown {
        if let PastRun::Unreadable(_, error) = run {
            tracing::warn!("{:#}", anyhow::anyhow!("{error}"));
        }
    }
    Ok(Exit::Complete)
}

/// The runs, a line each, below a heading.
pub fn table(runs: &[PastRun]) -> Columns {
    let mut table = Columns::default();
    table.row([
        left("run"),
        left("started"),
        right("took"),
        left("outcome"),
        right("found"),
        right("captioned"),
        right("failed"),
        right("unchanged"),
        right("deleted"),
        right("images/s"),
    ]);
    for run in runs {
        let summary = match run {
            PastRun::Ended(summary) => summary,
            other => {
                let started = started(&other.run_id());
                table.row([
                    left(other.run_id()),
                    left(started),
                    right("-"),
                    left(outcome(other)),
                ]);
                continue;
            }
        };
        let counts = &summary.counts;
        table.row([
            left(summary.run_id),
            left(summary.started.format(MOMENT)),
            right(duration(seconds(summary))),
            left(outcome(run)),
            right(HumanCount(counts.found)),
            right(HumanCount(counts.captioned)),
            right(HumanCount(counts.failed)),
            right(HumanCount(counts.unchanged)),
            right(HumanCount(counts.deleted)),
            right(format!("{:.1}", rate(summary))),
        ]);
    }
    table
}

pub const MOMENT: &str = "%Y-%m-%d %H:%M:%S";

fn started(run_id: &RunId) -> String {
    let moment = run_id.moment();
    moment.map_or_else(String::new, |moment| moment.format(MOMENT).to_string())
}

fn outcome(run: &PastRun) -> &'static str {
    match run {
        PastRun::Ended(summary) => match summary.outcome {
            // Of `embed`, which publishes no rows.
            RunOutcome::Published if summary.captioner_id.is_none() => "embedded",
            RunOutcome::Published => "published",
            RunOutcome::Refused => "refused",
            RunOutcome::Interrupted => "interrupted",
        },
        PastRun::Killed(_) => "killed",
        PastRun::UnderWay(_) => "under way",
        PastRun::Unreadable(..) => "unreadable",
    }
}

/// A run for machines: its summary as it is on disk, and what follows from it.
pub fn run_json(run: &PastRun) -> serde_json::Result<Value> {
    let mut json = match run {
        PastRun::Ended(summary) => serde_json::to_value(summary)?,
        PastRun::Unreadable(run_id, error) => {
            json!({ "run_id": run_id, "error": error.to_string() })
        }
        PastRun::Killed(run_id) | PastRun::UnderWay(run_id) => json!({ "run_id": run_id }),
    };
    json["outcome"] = outcome(run).into();
    if let PastRun::Ended(summary) = run {
        json["seconds"] = seconds(summary).into();
        json["images_per_second"] = rate(summary).into();
    }
    Ok(json)
}

/// How long the run took.
pub fn seconds(summary: &RunSummary) -> f64 {
    (summary.finished - summary.started).as_seconds_f64()
}

/// Images that the run worked on, per second.
pub fn rate(summary: &RunSummary) -> f64 {
    let worked = summary.counts.captioned + summary.counts.failed;
    match seconds(summary) {
        seconds if seconds > 0.0 => worked as f64 / seconds,
        _ => 0.0,
    }
}

fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_at_a_glance() {
        let read = [0.04, 59.4, 59.96, 61.0, 3599.7, 90_061.0].map(duration);
        let expected = [
            "0.0 s",
            "59.4 s",
            "1 min 00 s",
            "1 min 01 s",
            "1 h 00 min",
            "25 h 01 min",
        ];
        assert_eq!(read, expected);
    }
}
