//! The command line: one file per subcommand.

pub mod advice;
pub mod allocator;
pub mod exit;
pub mod signals;
pub mod terminal;

mod annotate;
mod columns;
mod compact;
mod completions;
mod config_file;
mod dataset;
mod doctor;
mod embed;
mod evaluate;
mod explain;
mod forecast;
mod history;
mod metrics;
mod model;
mod models;
mod named;
mod output;
mod publish;
mod report;
mod run;
mod runs;
mod scenes;
mod status;
mod train;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use exit::Exit;
use terminal::{LogArguments, Terminal};

/// Turns an archive of images into a table of captions.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None, max_term_width = 100, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub log: LogArguments,
}

const EXAMPLES: &str = "\
Examples:
  showtell annotate photos/ --out captions/
      captions every image below photos/; run it again and it does only what is new
  showtell status captions/
      tells how the table stands
  showtell model get vgg16
      fetches the weights of the full-size VGG-16
  showtell doctor
      tells what this machine has, and what is missing

Exit codes:
  0 every image has a caption    1 some images failed, their rows say why
  2 wrong usage                  3 refused: a guard kept the run out of the table
  4 fatal: disk full, device lost; what was finished is kept
  75 another run holds the output    130 interrupted; what was finished is kept";

#[derive(Debug, Subcommand)]
pub enum Command {
    Annotate(annotate::AnnotateArguments),
    Embed(embed::EmbedArguments),
    Runs(runs::RunsArguments),
    Status(status::StatusArguments),
    History(history::HistoryArguments),
    Compact(compact::CompactArguments),
    Publish(publish::PublishArguments),
    Model(model::ModelArgs),
    Doctor(doctor::DoctorArgs),
    Train(train::TrainArguments),
    Scenes(scenes::ScenesArguments),
    Evaluate(evaluate::EvaluateArguments),
    Explain(explain::ExplainArguments),
    Dataset(dataset::DatasetArguments),
    Completions(completions::CompletionsArguments),
}

/// Reads the command line, and the file that it names with `--config`. What is wrong in either is
/// told as clap tells it, and ends the process.
pub fn parse(given: Vec<OsString>) -> Arguments {
    let said = config_file::read(Arguments::command(), given).unwrap_or_else(|error| {
        clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")).exit()
    });
    let mut arguments = Arguments::try_parse_from(&said.arguments).unwrap_or_else(|error| {
        if let (Some(file), true) = (&said.file, error.use_stderr()) {
            let _ = writeln!(io::stderr(), "with the options of {}:", file.display());
        }
        error.exit()
    });
    match &mut arguments.command {
        Command::Annotate(annotate) => annotate.archive.remember(&said.arguments),
        Command::Embed(embed) => embed.archive.remember(&said.arguments),
        _ => {}
    }
    arguments
}

pub fn run(command: Command, terminal: &Terminal) -> anyhow::Result<Exit> {
    match command {
        Command::Annotate(arguments) => annotate::run(&arguments, terminal),
        Command::Embed(arguments) => embed::run(&arguments, terminal),
        Command::Runs(arguments) => runs::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::History(arguments) => history::run(&arguments),
        Command::Compact(arguments) => compact::run(&arguments),
        Command::Publish(arguments) => publish::run(&arguments, terminal),
        Command::Model(arguments) => {
            model::run(&arguments, &mut output::output())?;
            Ok(Exit::Complete)
        }
        Command::Doctor(arguments) => Ok(match doctor::run(&arguments, &mut output::output())? {
            doctor::Verdict::Usable => Exit::Complete,
            doctor::Verdict::Unusable => Exit::SomeFailed,
        }),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments, terminal),
        Command::Dataset(arguments) => dataset::run(&arguments),
        Command::Scenes(arguments) => scenes::run(&arguments, terminal),
        Command::Train(arguments) => train::run(&arguments, terminal),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
