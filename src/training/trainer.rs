//! Learns encoder and captioner end to end, epoch by epoch, and keeps the best.
//!
//! Adam (arXiv 1412.6980) with a warm-up and a cosine to zero (arXiv 1608.03983). After each epoch
//! the model is saved as it ships, read back, and judged by the captions it gives to scenes that
//! it never saw.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tch::nn::{Adam, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};

use super::captioner::TrainableCaptioner;
use super::config::TrainingConfig;
use super::event::Event;
use super::grounding::Grounding;
use super::network::{CaptionBatch, Learnt, Mode, TrainableVgg16};
use super::presence::{Presence, WordPresence};
use super::roles::Roles;
use super::scenes::{AGREED, Batch, Loader, Validation, ValidationSet};
use super::{TrainingError, scenes};
use crate::captioner::model::{Model, ModelConfig};
use crate::captioner::vocabulary::{END, START, Vocabulary};
use crate::encoder::{self, Layer};

/// What came of a training.
#[derive(Debug)]
pub struct Outcome {
    pub model: PathBuf,
    pub best: Validation,
    /// Whether it was stopped before its last epoch.
    pub interrupted: bool,
}

/// Learns as `config` says. `command` is what the user typed, for the model's record of its origin.
/// Sets `stop` to end after the epoch's best so far.
///
/// # Errors
///
/// When the output cannot be written, the loss is no number any more, or the device fails.
pub fn train(
    config: &TrainingConfig,
    device: Device,
    command: &str,
    stop: &AtomicBool,
    mut tell: impl FnMut(Event),
) -> Result<Outcome, TrainingError> {
    let started = Instant::now();
    tch::manual_seed(config.seed);
    // A model that goes on learning keeps its words.
    let vocabulary = match &config.start {
        Some(model) => Vocabulary::read(&model.join("vocabulary.txt"))?,
        None => scenes::vocabulary(&config.data),
    };
    let words = vocabulary.len() as i64;
    let validation_set = ValidationSet::draw(config)?;

    let variables = VarStore::new(device);
    let root = variables.root();
    let mut encoder = TrainableVgg16::new(
        &(&root / "encoder"),
        &config.encoder,
        match config.training.freeze_convolutions {
            true => Learnt::NoMore,
            false => Learnt::Still,
        },
    )?;
    let dropout = config.training.dropout;
    let mut captioner = TrainableCaptioner::new(
        &(&root / "captioner"),
        &config.captioner,
        words,
        dropout,
        config.training.attention,
    )?;
    let width = match config.encoder.layer {
        Layer::Fc7 => config.encoder.hidden,
        Layer::Conv5_3 => config.encoder.widths[4],
    };
    let presence = Presence::new(&(&root / "presence"), width, words)?;
    let roles = Roles::new(&(&root / "roles"), width)?;
    let grounding = Grounding::new(&(&root / "grounding"), config.encoder.widths[4])?;
    if let Some(model) = &config.start {
        start_from(model, &validation_set, &mut encoder, &mut captioner, device)?;
    }
    let rate = config.training.learning_rate;
    let mut optimiser = Adam::default().build(&variables, rate)?;

    let batches = config.data.per_epoch / config.training.batch as u64;
    let steps = batches * config.training.epochs;
    let parameters = variables
        .trainable_variables()
        .iter()
        .map(Tensor::numel)
        .sum();
    tell(Event::Started {
        steps,
        steps_per_epoch: batches,
        resumed_at: 0,
        parameters,
        words: vocabulary.len(),
    });

    let mut best: Option<Validation> = None;
    let loader = Loader::start(config.clone(), vocabulary.clone());
    let mut step = 0;
    for epoch in 1..=config.training.epochs {
        let mut total = 0.0;
        for _ in 0..batches {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let batch = loader.next()?;
            let learning_rate = rate * schedule(step, steps, config.training.warm_up);
            optimiser.set_lr(learning_rate);
            let tensors = Tensors::new(&batch, words, device)?;
            let features = encoder.forward(&tensors.pixels, Mode::Training)?;
            let loss = captioner.loss(&features, &tensors.captions, Mode::Training)?;
            let presence = presence.loss(&features.whole, &tensors.present)?;
            let who = roles.loss(&features.whole, &batch.casts)?;
            let whereabouts = grounding.loss(&features.conv5_3, &batch.cells)?;
            let sum = loss
                .f_add(&presence.f_mul_scalar(config.training.word_presence)?)?
                .f_add(&who.f_mul_scalar(config.training.roles)?)?
                .f_add(&whereabouts.f_mul_scalar(config.training.grounding)?)?;
            optimiser.zero_grad();
            sum.f_backward()?;
            let gradient_norm = gradient_norm(&variables)?;
            optimiser.clip_grad_norm(config.training.clip);
            optimiser.step();
            step += 1;
            let (loss, presence) = (loss.f_double_value(&[])?, presence.f_double_value(&[])?);
            let whereabouts = whereabouts.f_double_value(&[])?;
            if !(loss + presence).is_finite() {
                return Err(TrainingError::Diverged { step, loss });
            }
            total += loss;
            let tokens = batch
                .captions
                .iter()
                .map(|(_, caption)| caption.len() + 1)
                .sum();
            tell(Event::Step {
                step,
                epoch,
                loss,
                losses: &[
                    ("presence", presence),
                    ("roles", who.f_double_value(&[])?),
                    ("grounding", whereabouts),
                ],
                learning_rate,
                gradient_norm,
                pictures: batch.pictures,
                tokens,
            });
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let candidate = beside(&config.output, "candidate");
        save(&candidate, config, &vocabulary, &encoder, &captioner)?;
        let validation = judge(&candidate, &validation_set, device)?;
        let saved = best
            .as_ref()
            .is_none_or(|best| validation.is_better_than(best));
        tell(Event::Epoch {
            epoch,
            step,
            loss: total / batches as f64,
            validation: &validation.measures(),
            samples: &validation.samples,
            saved,
        });
        if saved {
            record(&candidate, config, &validation, command, epoch, started)?;
            replace(&candidate, &config.output)?;
            best = Some(validation);
        } else {
            fs::remove_dir_all(&candidate).map_err(|source| unwritable(&candidate, source))?;
        }
    }
    let interrupted = stop.load(Ordering::Relaxed);
    match best {
        Some(best) => Ok(Outcome {
            model: config.output.clone(),
            best,
            interrupted,
        }),
        None => Err(TrainingError::Interrupted),
    }
}

/// L2 norm of all gradients together.
fn gradient_norm(variables: &VarStore) -> Result<f64, tch::TchError> {
    let mut norms = Vec::new();
    for variable in variables.trainable_variables() {
        let gradient = variable.f_grad()?;
        if gradient.defined() {
            norms.push(gradient.f_norm()?);
        }
    }
    Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])
}

/// Takes over the weights of the model in `directory`.
fn start_from(
    directory: &Path,
    scenes: &ValidationSet,
    encoder: &mut TrainableVgg16,
    captioner: &mut TrainableCaptioner,
    device: Device,
) -> Result<(), TrainingError> {
    captioner.start_from(&directory.join("captioner.safetensors"))?;
    encoder.start_from(
        &directory.join("encoder.safetensors"),
        &scenes.pixels(device)?,
    )
}

/// Share of the highest step size at `step` of `steps`.
fn schedule(step: u64, steps: u64, warm_up: u64) -> f64 {
    if step < warm_up {
        return (step + 1) as f64 / warm_up as f64;
    }
    let progress = (step - warm_up) as f64 / (steps.saturating_sub(warm_up)).max(1) as f64;
    0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

/// A batch on the device.
struct Tensors {
    /// `[pictures, 3, side, side]`, u8
    pixels: Tensor,
    captions: CaptionBatch,
    present: WordPresence,
}

impl Tensors {
    fn new(batch: &Batch, words: i64, device: Device) -> Result<Self, tch::TchError> {
        let side = batch.side as i64;
        let shape = [batch.pictures as i64, side, side, 3];
        let pixels = Tensor::f_from_data_size(&batch.pixels, &shape, Kind::Uint8)?
            .f_permute([0, 3, 1, 2])?
            .f_to_device(device)?;
        let count = batch.captions.len();
        let steps = batch
            .captions
            .iter()
            .map(|(_, caption)| caption.len() + 1)
            .max()
            .unwrap_or(1);
        let mut pictures = Vec::with_capacity(count);
        let mut inputs = vec![i64::from(END); count * steps];
        let mut targets = vec![CaptionBatch::PADDING; count * steps];
        for (row, (picture, caption)) in batch.captions.iter().enumerate() {
            pictures.push(*picture as i64);
            let at = row * steps;
            inputs[at] = i64::from(START);
            for (place, token) in caption.iter().enumerate() {
                inputs[at + place + 1] = i64::from(*token);
                targets[at + place] = i64::from(*token);
            }
            targets[at + caption.len()] = i64::from(END);
        }
        let mut present = vec![0.0f32; batch.pictures * words as usize];
        let mut counted = vec![1.0f32; present.len()];
        for (picture, tokens) in batch.present.iter().enumerate() {
            for (token, captions) in tokens {
                let at = picture * words as usize + *token as usize;
                if *captions >= AGREED {
                    present[at] = 1.0;
                } else {
                    counted[at] = 0.0;
                }
            }
        }
        let shape = [count as i64, steps as i64];
        let place = |values: &[i64], shape: &[i64]| {
            Tensor::f_from_slice(values)?
                .f_view(shape)?
                .f_to_device(device)
        };
        let per_word = |values: &[f32]| {
            Tensor::f_from_slice(values)?
                .f_view([batch.pictures as i64, words])?
                .f_to_device(device)
        };
        Ok(Tensors {
            pixels,
            captions: CaptionBatch {
                pictures: place(&pictures, &[count as i64])?,
                inputs: place(&inputs, &shape)?,
                targets: place(&targets, &shape)?,
            },
            present: WordPresence {
                present: per_word(&present)?,
                counted: per_word(&counted)?,
            },
        })
    }
}

/// Writes all of a model directory but where it came from.
fn save(
    directory: &Path,
    config: &TrainingConfig,
    vocabulary: &Vocabulary,
    encoder: &TrainableVgg16,
    captioner: &TrainableCaptioner,
) -> Result<(), TrainingError> {
    fs::create_dir_all(directory).map_err(|source| unwritable(directory, source))?;
    encoder.save(&directory.join("encoder.safetensors"))?;
    captioner.save(&directory.join("captioner.safetensors"))?;
    write(&directory.join("vocabulary.txt"), &vocabulary.to_text())?;
    write_description(directory, config, toml::Table::new(), None)
}

/// Adds to `model.toml` how the model came to be.
fn record(
    directory: &Path,
    config: &TrainingConfig,
    validation: &Validation,
    command: &str,
    epoch: u64,
    started: Instant,
) -> Result<(), TrainingError> {
    let mut origin = toml::Table::new();
    let mut say = |key: &str, value: toml::Value| origin.insert(key.to_owned(), value);
    say("command", command.to_owned().into());
    say(
        "date",
        chrono::Utc::now().format("%Y-%m-%d").to_string().into(),
    );
    say("showtell", env!("CARGO_PKG_VERSION").into());
    say("seed", config.seed.into());
    say("scenes_seed", (config.data.seed as i64).into());
    say(
        "scenes_seen",
        ((config.data.per_epoch * epoch) as i64).into(),
    );
    say("epoch", (epoch as i64).into());
    say("minutes", (started.elapsed().as_secs() as i64 / 60).into());
    say("threads", i64::from(tch::get_num_threads()).into());
    say("validation", validation.to_toml().into());
    let loaded = encoder::load(
        &config.encoder,
        &directory.join("encoder.safetensors"),
        Device::Cpu,
        Kind::Float,
    )?;
    write_description(directory, config, origin, Some(loaded.id().to_owned()))
}

fn write_description(
    directory: &Path,
    config: &TrainingConfig,
    origin: toml::Table,
    encoder_id: Option<String>,
) -> Result<(), TrainingError> {
    let mut encoder = config.encoder.clone();
    encoder.weights = Some("encoder.safetensors".into());
    encoder.id = encoder_id;
    let description = ModelConfig {
        name: config.name.clone(),
        purpose: config.purpose.clone(),
        demonstration: true,
        encoder,
        captioner: config.captioner.clone(),
        decoding: config.decoding,
        origin,
    };
    let file = directory.join("model.toml");
    let text = toml::to_string(&description).map_err(|error| TrainingError::Config {
        file: file.clone(),
        reason: error.to_string(),
    })?;
    write(&file, &text)
}

fn judge(
    directory: &Path,
    validation: &ValidationSet,
    device: Device,
) -> Result<Validation, TrainingError> {
    let model = Model::open(directory)?;
    let weights = directory.join("encoder.safetensors");
    let encoder = encoder::load(&model.config.encoder, &weights, device, Kind::Float)?;
    let captioner = model.captioner(device)?;
    validation.judge(encoder.as_ref(), captioner.as_ref(), &model.config.decoding)
}

/// Puts the finished directory `from` in the place of `to`.
fn replace(from: &Path, to: &Path) -> Result<(), TrainingError> {
    let old = beside(to, "old");
    if to.exists() {
        fs::rename(to, &old).map_err(|source| unwritable(to, source))?;
    }
    fs::rename(from, to).map_err(|source| unwritable(to, source))?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(|source| unwritable(&old, source))?;
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{suffix}"));
    path.with_file_name(name)
}

fn write(file: &Path, text: &str) -> Result<(), TrainingError> {
    fs::write(file, text).map_err(|source| unwritable(file, source))
}

fn unwritable(path: &Path, source: std::io::Error) -> TrainingError {
    TrainingError::Unwritable {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_size_rises_then_falls_to_zero() {
        assert_eq!(schedule(0, 100, 10), 0.1);
        assert_eq!(schedule(9, 100, 10), 1.0);
        assert_eq!(schedule(10, 100, 10), 1.0);
        assert!((schedule(55, 100, 10) - 0.5).abs() < 1e-9);
        assert!(schedule(100, 100, 10) < 1e-9);
        assert!(schedule(99, 100, 10) > 0.0);
    }
}
