//! What people and collectors see while a command runs: log lines and a progress bar on standard
//! error, results on standard output.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Debug, Args)]
pub struct LogArguments {
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true, help_heading = "Output")]
    log_format: LogFormat,
    /// Tell more: -v for details of a run, -vv for those of every image
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Output")]
    verbose: u8,
    /// Tell only of warnings and errors, without a progress bar
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line, for collectors
    Json,
}

/// Standard error, shared by the log and the progress bar.
pub struct Terminal {
    bar: ProgressBar,
    /// Whether anyone looks at a bar; otherwise progress becomes log lines.
    pub interactive: bool,
    pub quiet: bool,
    /// Whether log lines go to a collector, which wants no text for people.
    pub json: bool,
}

/// Sets up the log. Called once, by `main`.
pub fn start(arguments: &LogArguments) -> Terminal {
    let interactive =
        io::stderr().is_terminal() && arguments.log_format == LogFormat::Text && !arguments.quiet;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let level = match (arguments.quiet, arguments.verbose) {
        // What deltalake fails at, the command tells; its other notes are for those who look closer.
        (true, _) => "warn,deltalake_core=off,buoyant_kernel=off,object_store=off",
        (false, 0) => "info,deltalake_core=off,buoyant_kernel=off,object_store=warn",
        (false, 1) => "showtell=debug,info",
        (false, _) => "showtell=trace,debug",
    };
    let filter = EnvFilter::try_from_env("SHOWTELL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(AroundBar(bar.clone()))
        // A line that cannot be written must not end the run; by default it would be told on standard
        // error, where it could not be written either.
        .log_internal_errors(false)
        .with_ansi(interactive);
    match arguments.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text if interactive => {
            builder.without_time().with_target(false).compact().init()
        }
        LogFormat::Text => builder.with_target(false).init(),
    }
    Terminal {
        bar,
        interactive,
        quiet: arguments.quiet,
        json: arguments.log_format == LogFormat::Json,
    }
}

impl Terminal {
    /// Shows a bar until it is told to finish. `template`: as indicatif has it.
    pub fn progress(&self, template: &str) -> ProgressBar {
        if self.interactive {
            self.bar
                .set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style.progress_chars("━╸─"));
            }
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.bar.clone()
    }
}

/// Writes log lines above the bar.
#[derive(Clone)]
struct AroundBar(ProgressBar);

impl<'a> MakeWriter<'a> for AroundBar {
    type Writer = AroundBar;

    fn make_writer(&'a self) -> AroundBar {
        self.clone()
    }
}

impl Write for AroundBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
