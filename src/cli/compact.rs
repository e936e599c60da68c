//! `showtell compact`: keeps an output directory small.

use std::io::{self, Write};
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use showtell::cache::SweepSize;
use showtell::nightly::Lock;
use showtell::table::{Layout, PartSize};
use showtell::upkeep::{CompactOptions, Compaction, Merged, compact, forecast};

use super::exit::Exit;
use super::output::output;

/// How long superseded rows are kept unless the user says otherwise.
pub const DEFAULT_KEEP_DAYS: u32 = 90;

/// Merges small parts, drops rows superseded long ago and features that nothing refers to
///
/// The current row of each image stays, whatever its age, and so does every row that was current at
/// any time in the last DAYS days. Features stay as long as a row names their image and encoder, and
/// those of `showtell embed` for good. `captions.arrow` is not touched.
///
/// May be killed at any moment: the next run or compaction finishes it. Whoever reads the parts
/// meanwhile may find a row twice, never too few; one who listed files that are gone asks again.
#[derive(Debug, Args)]
pub struct CompactArguments {
    /// The output directory of `showtell annotate` or `embed`
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Drop rows that were superseded longer ago than this; 0 leaves the current ones alone
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_KEEP_DAYS)]
    keep: u32,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// What a compaction at `now` does that keeps rows for `keep` days.
pub fn options(keep: u32, now: DateTime<Utc>) -> CompactOptions {
    CompactOptions {
        superseded_before: match keep {
            // Whatever the clock said when the runs were named.
            0 => DateTime::<Utc>::MAX_UTC,
            days => now
                .checked_sub_signed(TimeDelta::days(i64::from(days)))
                .unwrap_or(DateTime::<Utc>::MIN_UTC),
        },
        part_size: PartSize::default(),
        sweep_size: SweepSize::default(),
    }
}

pub fn run(arguments: &CompactArguments) -> anyhow::Result<Exit> {
    let layout = Layout::open(&arguments.out)?;
    let now = Utc::now();
    let options = options(arguments.keep, now);
    let done = if arguments.dry_run {
        forecast(&layout, &options)?
    } else {
        let lock = Lock::acquire(&layout, now)?;
        compact(&layout, &lock, &options)?
    };
    for damaged in &done.damaged {
        tracing::warn!("{damaged}");
    }
    let mut text = output();
    if arguments.json {
        serde_json::to_writer_pretty(&mut text, &done)?;
        writeln!(text)?;
    } else {
        tell(&mut text, &done, arguments)?;
    }
    Ok(Exit::Complete)
}

fn tell(text: &mut impl Write, done: &Compaction, arguments: &CompactArguments) -> io::Result<()> {
    if done.is_empty() {
        return writeln!(text, "Nothing to compact.");
    }
    if arguments.dry_run {
        writeln!(text, "Would be done:")?;
    }
    for merged in &done.captions {
        line(text, &format!("captions/run={}", merged.name), merged)?;
    }
    for merged in &done.embeddings {
        line(text, &format!("embeddings/{}", merged.name), merged)?;
    }
    if done.refused_parts > 0 {
        writeln!(
            text,
            "  {} parts of refused runs dropped",
            HumanCount(done.refused_parts)
        )?;
    }
    let all = || done.captions.iter().chain(&done.embeddings);
    let before: u64 = all().map(|merged| merged.bytes_before).sum();
    let after: Option<u64> = all().map(|merged| merged.bytes_after).sum();
    match after {
        Some(after) => writeln!(text, "{} became {}", HumanBytes(before), HumanBytes(after)),
        None => writeln!(text, "{} would be written anew", HumanBytes(before)),
    }
}

fn line(text: &mut impl Write, name: &str, merged: &Merged) -> io::Result<()> {
    let dropped = merged.rows_before.saturating_sub(merged.rows_after);
    writeln!(
        text,
        "  {name}: {} parts into {}, {} rows kept, {} dropped",
        HumanCount(merged.parts_before),
        HumanCount(merged.parts_after),
        HumanCount(merged.rows_after),
        HumanCount(dropped),
    )
}
