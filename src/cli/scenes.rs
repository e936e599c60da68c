//! `showtell scenes`: draws the demonstration data set.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use showtell::scenes::{self, Config, DESCRIPTION, Frame};

use super::exit::Exit;
use super::output::output;
use super::run::UsageError;
use super::terminal::Terminal;

/// Draws pictures with known truth and five captions each, as a data set in COCO's layout
///
/// Scene number I of seed S is always the same picture. Scenes that were drawn into the directory before give
/// way to those that are asked for; a directory that holds anything else is refused.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  showtell scenes --count 1000 --seed 5 --out scenes/
      writes scenes/images/ and scenes/scenes.json, which `showtell evaluate` takes as references")]
pub struct ScenesArguments {
    /// How many scenes
    #[arg(long, value_name = "N", required_unless_present = "samples")]
    count: Option<u64>,
    /// Which scenes: those of one seed are always the same
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// The number of the first scene
    #[arg(long, value_name = "I", default_value_t = 0)]
    first: u64,
    /// Directory to write
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Share of the scenes whose setting follows from their main object; 0 ties nothing
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    bias: f64,
    /// Width and height of most pictures, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    size: u32,
    /// Share of the pictures of other sizes and shapes
    #[arg(long, value_name = "P", default_value_t = 0.15)]
    other_sizes: f64,
    /// Share of the pictures that fade to white at their edges
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    faded: f64,
    /// Draw the 24 samples of data/samples instead, in all formats and orientations
    #[arg(long, conflicts_with_all = ["count", "seed", "first", "bias", "size", "other_sizes", "faded"])]
    samples: bool,
}

pub fn run(arguments: &ScenesArguments, terminal: &Terminal) -> anyhow::Result<Exit> {
    if arguments.samples {
        scenes::samples::write(&arguments.out)?;
        writeln!(output(), "{}", arguments.out.display())?;
        return Ok(Exit::Complete);
    }
    let frame = Frame::new(arguments.size, arguments.size)
        .ok_or_else(|| UsageError(format!("--size must be 32 to 4096, not {}", arguments.size)))?;
    for (option, share) in [
        ("--bias", arguments.bias),
        ("--other-sizes", arguments.other_sizes),
        ("--faded", arguments.faded),
    ] {
        if !(0.0..=1.0).contains(&share) {
            return Err(UsageError(format!("{option} is a share from 0 to 1, not {share}")).into());
        }
    }
    let count = arguments.count.unwrap_or_default();
    if arguments.first.checked_add(count).is_none() {
        let (first, last) = (arguments.first, u64::MAX - 1);
        let reason = format!("--first {first} --count {count}: the last scene is number {last}");
        return Err(UsageError(reason).into());
    }
    let config = Config {
        count,
        seed: arguments.seed,
        first_index: arguments.first,
        bias: arguments.bias,
        frame,
        other_sizes: arguments.other_sizes,
        faded: arguments.faded,
    };
    let bar = terminal.progress("{bar:30} {pos}/{len} scenes  {per_sec}  {eta} left");
    bar.set_length(config.count);
    let drawn = AtomicUsize::new(0);
    scenes::write_data_set(&arguments.out, &config, &|count| {
        drawn.fetch_max(count, Ordering::Relaxed);
        bar.set_position(drawn.load(Ordering::Relaxed) as u64);
    })?;
    bar.finish_and_clear();
    writeln!(output(), "{}", arguments.out.join(DESCRIPTION).display())?;
    Ok(Exit::Complete)
}
