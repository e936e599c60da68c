//! `showtell model get`: fetches weights and shows how it goes.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use showtell::hub::{
    self, Downloader, HubError, Network, Note, Origin, Progress, Request, Retry, Roots, Store,
};

use super::user_store;

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// Which weights; `showtell model list` names them
    name: String,
    /// Put the file into this folder instead of the user's cache
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Fetch the file from this address instead of the published one; it must be the same file
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Believe the certificates in this PEM file instead of Mozilla's [default: SSL_CERT_FILE, if set]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Fetches, and writes the path of the file to `out`.
pub(super) fn get(args: &GetArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let entry = hub::find(&args.name)?;
    let store = match &args.to {
        Some(folder) => Store::new(folder),
        None => user_store()
            .context("there is no home folder to keep weights in: say where with --to DIR")?,
    };
    let mut network = Network::from_environment();
    // Not clap's own `env`: that refuses an empty variable, which everybody else takes for none.
    let of_environment = || std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
    if let Some(file) = args
        .ca_file
        .clone()
        .or_else(|| of_environment().map(PathBuf::from))
    {
        network.roots = Roots::File(file);
    }
    let request = Request::of(entry, &store, args.from.as_deref());
    let downloader = Downloader::new(&network, Retry::patient())?;
    let mut meter = Meter::new(entry.name);
    let fetched = downloader.fetch(&request, &mut meter);
    meter.finish();
    let fetched = fetched.map_err(|error| advise(error, args))?;
    let digest = match entry.sha256.is_whole() {
        true => "is the published one",
        false => "begins as published",
    };
    let how = match fetched.origin {
        Origin::AlreadyHere => "was here already",
        Origin::Fetched | Origin::Resumed { .. } => "is here",
    };
    meter.say(&format!(
        "{} {how}; its SHA-256 {digest}: {}",
        entry.name, fetched.sha256
    ));
    writeln!(out, "{}", fetched.path.display())?;
    Ok(())
}

/// Adds what the user can do where the error alone does not tell.
fn advise(error: HubError, args: &GetArgs) -> anyhow::Error {
    let advice = match &error {
        HubError::GaveUp { .. } => {
            "What has come is kept: the same command carries on from there. Another address of the same \
             file can be given with --from URL, a proxy in the variable HTTPS_PROXY"
        }
        HubError::Connection { .. } if args.ca_file.is_none() => {
            "Behind a proxy that opens TLS its certificate has to be given with --ca-file FILE"
        }
        HubError::Refused { .. } if args.from.is_none() => {
            "Another address of the same file can be given with --from URL"
        }
        HubError::NoSpace { .. } | HubError::DiskFull { .. } => {
            "Another disk can be chosen with --to DIR"
        }
        _ => return error.into(),
    };
    Advised { error, advice }.into()
}

/// An error and what to do about it. Its causes are those of the error, which is not one of them.
#[derive(Debug)]
struct Advised {
    error: HubError,
    advice: &'static str,
}

impl fmt::Display for Advised {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}. {}", self.error, self.advice)
    }
}

impl Error for Advised {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// A bar on a terminal, a log line for every tenth elsewhere.
struct Meter {
    bar: ProgressBar,
    name: &'static str,
    is_terminal: bool,
    tenth: Option<u64>,
}

impl Meter {
    fn new(name: &'static str) -> Meter {
        let is_terminal = io::stderr().is_terminal();
        let target = match is_terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Meter {
            bar: ProgressBar::with_draw_target(None, target).with_message(name),
            name,
            is_terminal,
            tenth: None,
        }
    }

    fn say(&self, text: &str) {
        match self.is_terminal {
            true => self.bar.suspend(|| eprintln!("{text}")),
            false => tracing::info!("{text}"),
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Meter {
    fn progress(&mut self, done: u64, total: Option<u64>) {
        if self.tenth.is_none() {
            let template = match total {
                Some(_) => {
                    "{msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}, {eta} left"
                }
                None => "{msg} {spinner} {decimal_bytes} {decimal_bytes_per_sec}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style.progress_chars("=> "));
            }
            self.bar.set_position(done);
            self.bar.reset_eta();
        }
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
        let tenth = 10 * done / total.unwrap_or(u64::MAX).max(1);
        if self.tenth != Some(tenth) {
            self.tenth = Some(tenth);
            if !self.is_terminal {
                let of = total.map_or(String::new(), |total| {
                    format!(" of {}", DecimalBytes(total))
                });
                tracing::info!("{}: {}{of}", self.name, DecimalBytes(done));
            }
        }
    }

    fn note(&mut self, note: Note<'_>) {
        let text = match note {
            Note::Damaged { path } => {
                format!(
                    "{} is not the published file; fetching it again",
                    path.display()
                )
            }
            Note::Resuming { bytes } => format!("{} are here already", DecimalBytes(bytes)),
            Note::StartingOver { reason } => format!("starting over: {reason}"),
            Note::Retrying { reason, wait } => {
                format!("{reason}; trying again in {} s", wait.as_secs())
            }
        };
        self.say(&text);
    }
}
