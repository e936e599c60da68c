//! What a person reads of a run that is only to be foretold.

use std::io::Write;

use indicatif::{HumanBytes, HumanCount, HumanDuration};
use showtell::pipeline::{Forecast, Models, RunConfig, forecast};

use super::exit::Exit;
use super::output::output;
use super::terminal::Terminal;

/// Tells what a run would do, and does nothing.
pub fn tell(config: &RunConfig, models: &Models, terminal: &Terminal) -> anyhow::Result<Exit> {
    let forecast = forecast(config, models)?;
    if terminal.json {
        tracing::info!(
            new = forecast.new,
            changed_or_touched = forecast.changed,
            retry = forecast.retry,
            verify = forecast.verify,
            recaption = forecast.recaption,
            reread = forecast.reread,
            unchanged = forecast.unchanged,
            unchanged_failed = forecast.unchanged_failed,
            deleted = forecast.deleted,
            unreadable = forecast.unreadable,
            skipped = forecast.skipped,
            files_to_read = forecast.to_read(),
            bytes_to_read = forecast.bytes_to_read,
            would_be_refused = forecast.findings.join("; "),
            estimated_seconds = forecast.time.map(|time| time.as_secs_f64()),
            "plan"
        );
    } else {
        write(&forecast, &mut output())?;
    }
    Ok(Exit::Complete)
}

fn write(forecast: &Forecast, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "Plan (nothing was touched)")?;
    let always = [
        (forecast.new, "new"),
        (forecast.changed, "changed or touched; reading tells which"),
        (forecast.unchanged, "unchanged"),
        (forecast.deleted, "deleted"),
    ];
    let sometimes = [
        (forecast.recaption, "to caption again, from cached features"),
        (
            forecast.reread,
            "to caption again, whose features are not cached",
        ),
        (forecast.retry, "failed before, to try again"),
        (
            forecast.unchanged_failed,
            "failed before and unchanged; --retry-failed tries them again",
        ),
        (forecast.verify, "unchanged, to read all the same"),
        (forecast.unreadable, "unreadable files and directories"),
        (
            forecast.skipped,
            "left out: hidden, excluded, links out of the directory, or special files",
        ),
    ];
    let sometimes = sometimes.into_iter().filter(|(count, _)| *count > 0);
    for (count, what) in always.into_iter().chain(sometimes) {
        writeln!(out, "{:>12}  {what}", HumanCount(count).to_string())?;
    }
    writeln!(
        out,
        "To read: {} files, {}",
        HumanCount(forecast.to_read()),
        HumanBytes(forecast.bytes_to_read)
    )?;
    if !forecast.findings.is_empty() {
        writeln!(
            out,
            "A guard would refuse it, unless it has only moved or --accept is given:"
        )?;
        for finding in &forecast.findings {
            writeln!(out, "  {finding}")?;
        }
    }
    match forecast.time {
        Some(time) => writeln!(
            out,
            "Estimated time: {}, by the rates of earlier runs",
            match time.as_secs() {
                0 => "less than a second".to_owned(),
                _ => HumanDuration(time).to_string(),
            }
        ),
        None => writeln!(
            out,
            "Estimated time: unknown, as no earlier run did such work"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(forecast: Forecast, expected: &str) {
        let mut out = Vec::new();
        write(&forecast, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_plan_reads_well() {
        let forecast = Forecast {
            new: 1200,
            unchanged: 3,
            retry: 1,
            bytes_to_read: 4 << 20,
            time: Some(Duration::from_secs(120)),
            ..Forecast::default()
        };
        check(
            forecast,
            "Plan (nothing was touched)\n       1,200  new\n           0  changed or touched; \
             reading tells which\n           3  unchanged\n           0  deleted\n           1  \
             failed before, to try again\nTo read: 1,201 files, 4.00 MiB\n\
             Estimated time: 2 minutes, by the rates of earlier runs\n",
        );
    }

    #[test]
    fn without_earlier_runs_the_time_is_unknown() {
        let mut out = Vec::new();
        write(&Forecast::default(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.ends_with("unknown, as no earlier run did such work\n"),
            "{text}"
        );
    }
}
