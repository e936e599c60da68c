//! `showtell train`: learns a model as a recipe says.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanCount;
use showtell::encoder::device::{DeviceChoice, load_cuda};
use showtell::training::{Event, TrainingConfig};

use super::exit::Exit;
use super::terminal::Terminal;

/// Learns an encoder and a captioner as a recipe says, and keeps the best epoch
#[derive(Debug, Args)]
pub struct TrainArguments {
    /// Recipe, such as pipelines/demo.toml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Model directory to write, instead of the recipe's
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Epochs to learn for, instead of the recipe's
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub fn run(arguments: &TrainArguments, terminal: &Terminal) -> anyhow::Result<Exit> {
    let mut config = TrainingConfig::read(&arguments.config)?;
    if let Some(output) = &arguments.output {
        config.output = output.clone();
    }
    if let Some(epochs) = arguments.epochs {
        config.training.epochs = epochs;
    }
    let device = arguments.device.resolve(load_cuda())?;
    let stop = super::stop_flag()?;
    let bar = terminal.progress("{bar:30} {pos}/{len} steps  {per_sec} steps/s  {eta} left  {msg}");
    let command: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("showtell {}", command.join(" "));
    let mut losses: Option<[f64; 4]> = None;
    let outcome =
        showtell::training::train(&config, device, &command, &stop, |event| match event {
            Event::Started {
                steps,
                parameters,
                words,
            } => {
                bar.set_length(steps);
                let parameters = HumanCount(parameters as u64);
                tracing::info!("learning {parameters} parameters and {words} words on {device:?}");
            }
            Event::Step {
                step,
                loss,
                presence,
                roles,
                grounding,
                ..
            } => {
                let now = [loss, presence, roles, grounding];
                let before = losses.unwrap_or(now);
                let smooth: [f64; 4] = std::array::from_fn(|i| 0.98 * before[i] + 0.02 * now[i]);
                losses = Some(smooth);
                bar.set_position(step);
                bar.set_message(format!("loss {:.3}", smooth[0]));
            }
            Event::Epoch {
                epoch,
                loss,
                validation,
                saved,
            } => {
                tracing::info!(
                    epoch,
                    loss = format!("{loss:.3}"),
                    presence = format!("{:.3}", losses.unwrap_or_default()[1]),
                    roles = format!("{:.3}", losses.unwrap_or_default()[2]),
                    grounding = format!("{:.3}", losses.unwrap_or_default()[3]),
                    main = validation.main,
                    setting = validation.setting,
                    kind = validation.kind,
                    colour = validation.colour,
                    count = validation.count,
                    relation = format!("{:.3}", validation.relation),
                    saved,
                    "\"{}\"",
                    validation.examples.join("\", \"")
                );
            }
        })?;
    bar.finish_and_clear();
    println!("{}", outcome.model.display());
    Ok(if outcome.interrupted {
        Exit::Interrupted
    } else {
        Exit::Complete
    })
}
