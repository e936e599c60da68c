//! Writes the metrics of a run, however it ended.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use chrono::Utc;
use showtell::nightly::{RunEnd, RunMetrics, RunSummary};
use showtell::pipeline::Live;

use super::exit::Exit;
use super::run::UsageError;

/// A run to be measured.
pub struct Measured<'a> {
    pub out: &'a Path,
    /// Where the metrics go, if anywhere.
    pub file: Option<&'a Path>,
    /// What images become: `captioned` or `embedded`.
    pub made: &'static str,
}

impl Measured<'_> {
    /// Runs `run`, and tells of it whatever comes of it. The run counts in what it is given.
    pub fn run(
        &self,
        run: impl FnOnce(&Live) -> anyhow::Result<(Exit, Option<RunSummary>)>,
    ) -> anyhow::Result<Exit> {
        let Some(file) = self.file else {
            return run(&Live::default()).map(|(exit, _)| exit);
        };
        check_place(file)?;
        let started = Utc::now();
        let live = Live::default();
        let result = run(&live);
        let exit = match &result {
            Ok((exit, _)) => *exit,
            Err(error) => Exit::of(error),
        };
        let summary = result.as_ref().ok().and_then(|(_, run)| run.as_ref());
        let metrics = RunMetrics {
            out: std::path::absolute(self.out)
                .unwrap_or_else(|_| self.out.to_owned())
                .display()
                .to_string(),
            end: end(exit),
            exit_code: exit.code(),
            started,
            finished: Utc::now(),
            counts: summary.map_or_else(|| live.counts(), |summary| summary.counts),
            made: self.made,
            bytes_read: summary.map_or_else(|| live.bytes_read(), |summary| summary.bytes_read),
            stages: summary.map_or_else(|| live.stages(), |summary| summary.stages.clone()),
            warnings: summary.map_or(0, |summary| summary.warnings.len() as u64),
        };
        if let Err(error) = metrics.write(file) {
            // The table is what it is; that nobody hears of it is worth a line.
            tracing::error!(
                "the metrics were not written: {:#}",
                anyhow::Error::from(error)
            );
        }
        result.map(|(exit, _)| exit)
    }
}

/// Found out now rather than after hours of work.
fn check_place(file: &Path) -> anyhow::Result<()> {
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    if file.file_name().is_none() || file.is_dir() || !directory.is_dir() {
        return Err(UsageError(format!(
            "--metrics-file {}: name a file in a directory that exists",
            file.display()
        ))
        .into());
    }
    if file.extension() != Some(OsStr::new("prom")) {
        return Err(UsageError(format!(
            "--metrics-file {}: name a file that ends in .prom: node_exporter reads no other",
            file.display()
        ))
        .into());
    }
    Ok(())
}

fn end(exit: Exit) -> RunEnd {
    match exit {
        Exit::Complete => RunEnd::Complete,
        Exit::SomeFailed => RunEnd::SomeFailed,
        Exit::Usage => RunEnd::Usage,
        Exit::Refused => RunEnd::Refused,
        Exit::Fatal => RunEnd::Fatal,
        Exit::Held => RunEnd::Held,
        Exit::Interrupted => RunEnd::Interrupted,
    }
}
