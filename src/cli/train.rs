//! `showtell train`: learns a model as a recipe says.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::HumanCount;
use showtell::encoder::device::{Cpu, DeviceChoice, Precision, load_cuda};
use showtell::training::config::DataConfig;
use showtell::training::{Event, Measure, Resume, TrainingConfig, precision, train};

use super::exit::Exit;
use super::named::Named;
use super::output::output;
use super::run::UsageError;
use super::terminal::Terminal;

/// Learns a captioner as a recipe says, and an encoder if it says so, and keeps the best epoch
///
/// A training that was interrupted, in whatever way, is gone on with by the same command: what it needs
/// lies in OUTPUT.training. docs/training.md tells what stands in a recipe.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  showtell train --config pipelines/demo.toml
  showtell train --config recipe.toml --data flickr8k/ --epochs 20")]
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
    /// Data set to learn from, instead of the recipe's: its folder, or its file of captions
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Folder of the data set's images, instead of the recipe's
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Weights that the encoder starts from, instead of the recipe's: .pth or .safetensors
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Begin anew, whatever an interrupted training has left
    #[arg(long)]
    restart: bool,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto", value_parser = Named::<DeviceChoice>::new(&["auto", "cpu", "cuda:0"]), hide_possible_values = true)]
    device: DeviceChoice,
    /// What products and convolutions are computed in, instead of the recipe's: auto, fp32 or bf16
    #[arg(long, value_parser = Named::<Precision>::new(&["auto", "fp32", "bf16"]), hide_possible_values = true)]
    precision: Option<Precision>,
}

impl TrainArguments {
    fn config(&self) -> anyhow::Result<TrainingConfig> {
        let mut scenes = false;
        let config = TrainingConfig::read_with(&self.config, |config| {
            if let Some(output) = &self.output {
                config.output = output.clone();
            }
            if let Some(epochs) = self.epochs {
                config.training.epochs = epochs;
            }
            if let Some(precision) = self.precision {
                config.training.precision = precision;
            }
            if let Some(weights) = &self.weights {
                config.encoder.weights = Some(weights.clone());
            }
            match &mut config.data {
                DataConfig::Scenes(_) => scenes = true,
                DataConfig::Captions(data) => {
                    if let Some(path) = &self.data {
                        data.path = path.clone();
                    }
                    if let Some(images) = &self.images {
                        data.images = Some(images.clone());
                    }
                }
            }
        })?;
        if scenes && (self.data.is_some() || self.images.is_some() || self.weights.is_some()) {
            let recipe = self.config.display();
            return Err(UsageError(format!(
                "{recipe} learns from drawn scenes, which have no --data, --images or --weights"
            ))
            .into());
        }
        Ok(config)
    }
}

pub fn run(arguments: &TrainArguments, terminal: &Terminal) -> anyhow::Result<Exit> {
    let config = arguments.config()?;
    super::allocator::reuse_memory();
    let runtime = load_cuda();
    let [device] = arguments.device.find(runtime)?[..] else {
        let text = "a training takes one device; name it, such as --device cuda:0";
        return Err(UsageError(text.to_owned()).into());
    };
    let asked = config.training.precision;
    let kind = precision::resolve(asked, device, runtime, &Cpu::detect())?;
    let stop = super::signals::stop_flag();
    let resume = match arguments.restart {
        true => Resume::Never,
        false => Resume::IfThere,
    };
    let bar = terminal.progress("{bar:30} {pos}/{len} steps  {msg}  {eta} left");
    let command: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("showtell {}", command.join(" "));
    let mut smooth = Smooth::default();
    let mut pace = Pace::default();
    let outcome = train(
        &config,
        device,
        kind,
        &command,
        resume,
        stop,
        |event| match event {
            Event::Started {
                steps,
                resumed_at,
                parameters,
                words,
                ..
            } => {
                bar.set_length(steps);
                bar.set_position(resumed_at);
                bar.reset_eta();
                if resumed_at > 0 {
                    tracing::info!("going on after step {resumed_at} of {steps}");
                }
                let parameters = HumanCount(parameters as u64);
                let precision = precision::named(kind);
                tracing::info!(
                    "learning {parameters} parameters and {words} words on {device:?} in {precision}"
                );
            }
            Event::Step {
                step,
                loss,
                losses,
                tokens,
                ..
            } => {
                smooth.add(loss, losses);
                pace.add(tokens);
                bar.set_position(step);
                let rate = HumanCount(pace.per_second() as u64);
                bar.set_message(format!("loss {:.3}  {rate} tokens/s", smooth.loss()));
            }
            Event::Epoch {
                epoch,
                loss,
                validation,
                samples,
                saved,
                ..
            } => {
                let said: Vec<_> = samples
                    .iter()
                    .map(|sample| format!("\"{}\"", sample.caption))
                    .collect();
                tracing::info!(
                    epoch,
                    loss = format!("{loss:.3}"),
                    tokens_per_second = pace.per_second() as u64,
                    losses = listed(&smooth.others),
                    validation = listed(validation),
                    saved,
                    "{}",
                    match said.is_empty() {
                        true => "not judged".to_owned(),
                        false => said.join(", "),
                    }
                );
                pace = Pace::default();
            }
            Event::Checkpoint { .. } => {}
        },
    )?;
    bar.finish_and_clear();
    let (steps, weights) = (outcome.steps, &outcome.weights);
    match outcome.interrupted {
        true => tracing::info!("interrupted after {steps} steps; the same command goes on"),
        false => tracing::info!("learnt for {steps} steps; weights {weights}"),
    }
    writeln!(output(), "{}", outcome.model.display())?;
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

/// Tokens that are learnt from in a second, on average over the steps of an epoch.
#[derive(Default)]
struct Pace {
    /// When the first step ended, and the last one.
    between: Option<(Instant, Instant)>,
    tokens: usize,
}

impl Pace {
    fn add(&mut self, tokens: usize) {
        let now = Instant::now();
        self.between = Some(match self.between {
            Some((first, _)) => {
                self.tokens += tokens;
                (first, now)
            }
            None => (now, now),
        });
    }

    fn per_second(&self) -> f64 {
        let seconds = |(first, last): (Instant, Instant)| (last - first).as_secs_f64();
        self.tokens as f64 / self.between.map_or(0.0, seconds).max(1e-9)
    }
}
