//! `showtell train`: learns a model as a recipe says.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanCount;
use showtell::encoder::device::{DeviceChoice, load_cuda};
use showtell::training::{Event, Measure, TrainingConfig};

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
    let mut smooth = Smooth::default();
    let outcome =
        showtell::training::train(&config, device, &command, &stop, |event| match event {
            Event::Started {
                steps,
                resumed_at,
                parameters,
                words,
                ..
            } => {
                bar.set_length(steps);
                bar.set_position(resumed_at);
                let parameters = HumanCount(parameters as u64);
                tracing::info!("learning {parameters} parameters and {words} words on {device:?}");
            }
            Event::Step {
                step, loss, losses, ..
            } => {
                smooth.add(loss, losses);
                bar.set_position(step);
                bar.set_message(format!("loss {:.3}", smooth.loss()));
            }
            Event::Epoch {
                epoch,
                loss,
                validation,
                samples,
                saved,
                ..
            } => {
                let said: Vec<_> = samples.iter().map(|s| s.caption.as_str()).collect();
                tracing::info!(
                    epoch,
                    loss = format!("{loss:.3}"),
                    losses = listed(&smooth.others),
                    validation = listed(validation),
                    saved,
                    "\"{}\"",
                    said.join("\", \"")
                );
            }
            Event::Checkpoint { .. } => {}
        })?;
    bar.finish_and_clear();
    println!("{}", outcome.model.display());
    Ok(if outcome.interrupted {
        Exit::Interrupted
    } else {
        Exit::Complete
    })
}

/// Losses as they are over about fifty steps.
#[derive(Default)]
struct Smooth {
    loss: Option<f64>,
    others: Vec<Measure>,
}

impl Smooth {
    const NEW: f64 = 0.02;

    fn add(&mut self, loss: f64, others: &[Measure]) {
        let mix = |before: f64, now: f64| (1.0 - Self::NEW) * before + Self::NEW * now;
        self.loss = Some(self.loss.map_or(loss, |before| mix(before, loss)));
        match self.others.len() == others.len() {
            true => {
                for (smooth, (_, now)) in self.others.iter_mut().zip(others) {
                    smooth.1 = mix(smooth.1, *now);
                }
            }
            false => self.others = others.to_vec(),
        }
    }

    fn loss(&self) -> f64 {
        self.loss.unwrap_or_default()
    }
}

fn listed(measures: &[Measure]) -> String {
    let each = measures
        .iter()
        .map(|(name, value)| format!("{name} {value:.3}"));
    each.collect::<Vec<_>>().join(", ")
}
