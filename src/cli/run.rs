//! What `annotate` and `embed` share: the options of a run, and watching it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use indicatif::HumanCount;
use showtell::archive::{Hidden, Limits, Walk, WalkConfig, quiet_panics};
use showtell::cache;
use showtell::encoder::device::{DeviceChoice, LazyDevice, Precision};
use showtell::nightly::{Guards, RunOutcome, RunSummary};
use showtell::pipeline::{self, Keep, Live, Models, RunConfig};
use showtell::table::PART_ROWS;

use super::config_file::ConfigFileArguments;
use super::metrics::Measured;
use super::models::{Records, Sources};
use super::named::{DEVICES, Named, PRECISIONS};
use super::signals;
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
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..), value_name = "N", default_value_t = Limits::default().max_pixels, help_heading = "Archive")]
    max_pixels: u64,
    /// Images whose decoding would hold more memory than this fail, in bytes
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..), value_name = "BYTES", default_value_t = Limits::default().max_memory, help_heading = "Archive")]
    max_memory: u64,
    /// Files larger than this fail, in bytes
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..), value_name = "BYTES", default_value_t = Limits::default().max_file_bytes, help_heading = "Archive")]
    max_file_bytes: u64,
    /// Try files again that failed before and have not changed since
    #[arg(long, help_heading = "Archive")]
    retry_failed: bool,
    /// Read every file again, to find changes that left size and time as they were; the model's and the
    /// features that are kept, too
    #[arg(long, help_heading = "Archive")]
    verify: bool,
    /// Tell what would be done, and how long it may take; touch nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write metrics here when the run ends, for node_exporter's textfile collector: a name in .prom
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    metrics_file: Option<PathBuf>,
    /// Images that go through the network together, as far as the device has room for them [default: 64,
    /// or 256 for each GPU, up to 1024]
    #[arg(long, allow_negative_numbers = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Computing")]
    batch: Option<u16>,
    /// Rows in a part of the table: fewer cost less when a run is killed, and make more files
    #[arg(long, allow_negative_numbers = true, value_name = "N", default_value_t = PART_ROWS as u32, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Computing")]
    part_rows: u32,
    /// Keep features in fp32 instead of rounding them to bfloat16: twice the space. Those that were kept
    /// rounded before stay beside them until `compact`
    #[arg(long, help_heading = "Computing")]
    full_precision_cache: bool,
    #[command(flatten)]
    config_file: ConfigFileArguments,
    /// What was said, for the record of the run.
    #[arg(skip)]
    said: Vec<String>,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct GuardArguments {
    /// Refuse a run in which more than this share of the new and changed images failed; 1 is never.
    /// Fewer than 100 images are not judged
    #[arg(long, value_name = "SHARE", default_value_t = Guards::default().max_failures, value_parser = share, help_heading = "Guards")]
    max_failures: f64,
    /// Refuse a run in which more than this share of a directory's images is gone, and at least 100,
    /// or all of them; 1 is never. What was only moved is not gone
    #[arg(long, value_name = "SHARE", default_value_t = Guards::default().max_deletions, value_parser = share, help_heading = "Guards")]
    max_deletions: f64,
    /// Publish whatever the guards say: for a run that was refused and is right
    #[arg(long, help_heading = "Guards")]
    accept: bool,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 1, such as 0.2".to_owned()),
    }
}

impl From<GuardArguments> for Guards {
    fn from(arguments: GuardArguments) -> Self {
        Guards {
            max_failures: arguments.max_failures,
            max_deletions: arguments.max_deletions,
            accept: arguments.accept,
        }
    }
}

#[derive(Debug, Clone, Copy, Args)]
pub struct DeviceArguments {
    /// Where to compute: auto, cpu, cuda:N, or all GPUs, which share each batch
    #[arg(long, default_value_t, value_parser = Named::<DeviceChoice>::new(DEVICES), hide_possible_values = true, help_heading = "Computing")]
    device: DeviceChoice,
    /// In which type: auto, fp32, bf16 or fp16
    #[arg(long, default_value_t, value_parser = Named::<Precision>::new(PRECISIONS), hide_possible_values = true, help_heading = "Computing")]
    precision: Precision,
}

impl DeviceArguments {
    /// Images to be passed to the device together, where nobody says how many.
    pub fn usual_batch(&self) -> usize {
        self.device.usual_batch()
    }

    /// The device and the type that were asked for.
    pub fn lazy(&self) -> LazyDevice {
        LazyDevice::new(self.device, self.precision)
    }
}

impl ArchiveArguments {
    /// The directory that is written to.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// How the run is measured that makes images `captioned` or `embedded`.
    pub fn measured(&self, made: &'static str) -> Measured<'_> {
        Measured {
            out: &self.out,
            // What is only thought of is no run.
            file: self.metrics_file.as_deref().filter(|_| !self.dry_run),
            made,
        }
    }

    /// Whether the ids that earlier runs recorded of a model's files are taken for true.
    pub fn records(&self) -> Records {
        match self.verify {
            true => Records::Ignore,
            false => Records::Believe,
        }
    }

    /// The run that these arguments describe, on `device`, of a model called `model` that lies in
    /// `sources`.
    pub fn config(
        &self,
        model: String,
        sources: Sources,
        keep_features: Keep,
        guards: Guards,
        device: DeviceArguments,
    ) -> RunConfig {
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
            batch: self.batch.map_or_else(|| device.usual_batch(), usize::from),
            part_rows: self.part_rows as usize,
            cache_precision: match self.full_precision_cache {
                true => cache::Precision::Full,
                false => cache::Precision::default(),
            },
            keep_features,
            retry_failed: self.retry_failed,
            verify: self.verify,
            guards,
            model,
            encoder_source: sources.encoder,
            captioner_source: sources.captioner,
            options: BTreeMap::from([("command".to_owned(), self.said.clone().into())]),
        }
    }

    /// Keeps what was said, a configuration file's options included, for the record of the run.
    /// `arguments` begin with the program's name.
    pub fn remember(&mut self, arguments: &[OsString]) {
        let said = arguments.iter().skip(1);
        self.said = said
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
    }
}

/// Runs the pipeline and shows how far it is, until it ends or is stopped by a signal.
pub fn watched(
    config: &RunConfig,
    models: &mut Models,
    live: &Live,
    terminal: &Terminal,
) -> anyhow::Result<RunSummary> {
    quiet_panics();
    let stop = signals::stop_flag();
    let (finished, ended) = bounded::<()>(0);
    let summary = std::thread::scope(|scope| {
        scope.spawn(|| watch(config, live, stop, terminal, &ended));
        let summary = pipeline::run(config, models, live, stop);
        drop(finished);
        summary
    })?;
    for finding in &summary.findings {
        match summary.outcome {
            RunOutcome::Refused => tracing::error!("refused: {finding}"),
            _ => tracing::warn!("accepted: {finding}"),
        }
    }
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
    let doing = match config.captioner_source {
        Some(_) => "annotating",
        None => "embedding",
    };
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
                    "{doing}"
                );
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    bar.finish_and_clear();
}
