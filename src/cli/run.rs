//! What `annotate` and `embed` share: the options of a run, and watching it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use indicatif::HumanCount;
use showtell::archive::{Hidden, Limits, Walk, WalkConfig, quiet_panics};
use showtell::cache;
use showtell::encoder::device::{DeviceChoice, Precision};
use showtell::nightly::RunSummary;
use showtell::pipeline::{self, Live, Models, RunConfig};

use super::terminal::Terminal;

/// The user asked for something that cannot be done; nothing was touched.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

#[derive(Debug, Args)]
pub struct ArchiveArguments {
    /// Directories of images, at any depth
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Directory for the table, the cache and the records of runs
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Leave out what matches: a name at any depth (thumbs, *.tmp) or a path below DIR (2019/**/raw)
    #[arg(long, value_name = "GLOB", help_heading = "Archive")]
    exclude: Vec<String>,
    /// Take files and directories whose name begins with a dot, too
    #[arg(long, help_heading = "Archive")]
    hidden: bool,
    /// Images with more pixels than this fail
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_pixels, help_heading = "Archive")]
    max_pixels: u64,
    /// Images whose decoding would hold more memory than this fail, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_memory, help_heading = "Archive")]
    max_memory: u64,
    /// Files larger than this fail, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_file_bytes, help_heading = "Archive")]
    max_file_bytes: u64,
    /// Try files again that failed before and have not changed since
    #[arg(long, help_heading = "Archive")]
    retry_failed: bool,
    /// Read every file again, to find changes that left size and time as they were
    #[arg(long, help_heading = "Archive")]
    verify: bool,
    /// Images that go through the network together
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Computing")]
    batch: u16,
    /// Keep features in fp32 instead of rounding them to bfloat16: twice the space
    #[arg(long, help_heading = "Computing")]
    full_precision_cache: bool,
}

#[derive(Debug, Args)]
pub struct DeviceArguments {
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value_t, help_heading = "Computing")]
    pub device: DeviceChoice,
    /// In which type: auto, fp32, bf16 or fp16
    #[arg(long, default_value_t, help_heading = "Computing")]
    pub precision: Precision,
}

impl ArchiveArguments {
    /// The run that these arguments describe, of a model called `model`.
    pub fn config(&self, model: String) -> RunConfig {
        RunConfig {
            walk: WalkConfig {
                roots: self.directories.clone(),
                exclude: self.exclude.clone(),
                hidden: if self.hidden {
                    Hidden::Include
                } else {
                    Hidden::Skip
                },
            },
            out: self.out.clone(),
            limits: Limits {
                max_file_bytes: self.max_file_bytes,
                max_pixels: self.max_pixels,
                max_memory: self.max_memory,
            },
            batch: usize::from(self.batch),
            cache_precision: match self.full_precision_cache {
                true => cache::Precision::Full,
                false => cache::Precision::default(),
            },
            retry_failed: self.retry_failed,
            verify: self.verify,
            model,
            model_files: Vec::new(),
            options: BTreeMap::from([(
                "command".to_owned(),
                std::env::args().skip(1).collect::<Vec<_>>().into(),
            )]),
        }
    }
}

/// Runs the pipeline and shows how far it is, until it ends or is stopped by a signal.
pub fn watched(
    config: &RunConfig,
    models: &Models,
    terminal: &Terminal,
) -> anyhow::Result<RunSummary> {
    quiet_panics();
    let stop = super::stop_flag()?;
    let live = Live::default();
    let (finished, ended) = bounded::<()>(0);
    let summary = std::thread::scope(|scope| {
        scope.spawn(|| watch(config, &live, &stop, terminal, &ended));
        let summary = pipeline::run(config, models, &live, &stop);
        drop(finished);
        summary
    })?;
    for warning in &summary.warnings {
        tracing::warn!("{warning}");
    }
    Ok(summary)
}

/// Without a terminal a line this often.
const QUIET_INTERVAL: Duration = Duration::from_secs(60);

fn watch(
    config: &RunConfig,
    live: &Live,
    stop: &AtomicBool,
    terminal: &Terminal,
    ended: &Receiver<()>,
) {
    let bar = terminal.progress("{bar:30} {pos}/{len} images  {per_sec}  {eta} left  {msg}");
    let interval = if terminal.interactive {
        Duration::from_millis(200)
    } else {
        QUIET_INTERVAL
    };
    // How many files there are is not known before the walk is over, and the walk waits for the
    // network. A second walk that only counts is far ahead of it.
    let counted = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if terminal.interactive {
            scope.spawn(|| {
                for _ in Walk::new(config.walk.clone()).into_iter().flatten() {
                    counted.fetch_add(1, Ordering::Relaxed);
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let mut said_stop = false;
        while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            let counts = live.counts();
            let done = counts.captioned + counts.failed + counts.unchanged;
            let total = match live.walked.load(Ordering::Relaxed) {
                true => counts.found,
                false => counts.found.max(counted.load(Ordering::Relaxed)),
            };
            bar.set_length(total);
            bar.set_position(done);
            let mut message = String::new();
            if counts.failed > 0 {
                message = format!("{} failed", HumanCount(counts.failed));
            }
            if stop.load(Ordering::Relaxed) {
                "finishing what is under way; Ctrl-C again ends at once".clone_into(&mut message);
                if !said_stop && !terminal.interactive {
                    tracing::info!("{message}");
                }
                said_stop = true;
            }
            bar.set_message(message);
            if !terminal.interactive {
                tracing::info!(
                    done,
                    found = counts.found,
                    failed = counts.failed,
                    "annotating"
                );
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    bar.finish_and_clear();
}
