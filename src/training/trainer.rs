//! Learns step by step, judges epoch by epoch, keeps the best, and writes down how far it is.
//!
//! Everything that happens in a step follows from the step's number and from what a checkpoint holds:
//! the batch, the step size, and the seed of whatever is drawn while the step is computed. So a
//! training that was killed and is gone on with ends, on a CPU and with as many threads, with exactly
//! the weights of one that was not.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tch::nn::VarStore;
use tch::{Device, Kind};

use super::TrainingError;
use super::captioned::Captioned;
use super::captioner::{CaptionBatch, Lesson, Mode, Regularisation, TrainableCaptioner};
use super::checkpoint::{self, Best, Progress};
use super::config::{DataConfig, LearningConfig, TrainingConfig};
use super::drawn::Drawn;
use super::event::{Event, Measure};
use super::folder::Folder;
use super::optimiser::{Group, Optimiser};
use super::order::seed;
use super::output::Output;
use super::precision;
use super::record::Recorder;
use super::saving::{self, Candidate, Origin};
use super::schedule::Place;
use super::subject::{Loader, Subject};

/// What a training does with the checkpoint of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Goes on from it if it is of the same recipe.
    IfThere,
    /// Removes it and begins anew.
    Never,
}

/// What came of a training.
#[derive(Debug)]
pub struct Outcome {
    pub model: PathBuf,
    /// The judgement that the model was saved for, if any was made.
    pub best: Option<Best>,
    /// Steps done.
    pub steps: u64,
    /// Digest of all that was learnt, as it was after the last step.
    pub weights: String,
    /// Whether it was stopped before its end; it can be gone on with.
    pub interrupted: bool,
}

/// Learns as `config` says, with products and convolutions in `kind`, which [`precision::resolve`] tells of
/// the recipe's. `command` is what the user typed, for the model's record of its origin.
/// Set `stop` to end after the step under way, with a checkpoint.
///
/// # Errors
///
/// When data or weights cannot be read or do not fit, the output cannot be written, a checkpoint is of
/// another recipe, the loss is no number any more, or the device fails.
pub fn train(
    config: &TrainingConfig,
    device: Device,
    kind: Kind,
    command: &str,
    resume: Resume,
    stop: &AtomicBool,
    mut listener: impl FnMut(Event),
) -> Result<Outcome, TrainingError> {
    let started = Instant::now();
    let output = Output::find(&config.output)?;
    let was_killed = output.was_killed();
    let folder = Folder::take(output.folder())?;
    output.recover(was_killed)?;
    tch::manual_seed(config.seed);
    let variables = VarStore::new(device);
    let root = variables.root();
    let subject: Result<Box<dyn Subject>, TrainingError> = match &config.data {
        DataConfig::Scenes(data) => {
            Drawn::new(config, data, &root, kind).map(|drawn| Box::new(drawn) as _)
        }
        DataConfig::Captions(data) => {
            let beside = folder.path().join("features");
            Captioned::new(config, data, &root, &beside, kind, stop)
                .map(|captioned| Box::new(captioned) as _)
        }
    };
    let subject = subject.map_err(TrainingError::before_learning)?;
    let learning = &config.training;
    let mut captioner = new_captioner(config, subject.as_ref(), &variables)
        .map_err(TrainingError::before_learning)?;
    let optimiser = Optimiser::new(learning.optimiser, &variables);

    let file = folder.path().join(checkpoint::FILE);
    let steps_per_epoch = subject.steps_per_epoch();
    let mut run = Run {
        steps: steps_per_epoch * learning.epochs,
        steps_per_epoch,
        progress: Progress {
            recipe: identity(config, kind, subject.as_ref()),
            features: subject.matrix().map(|matrix| matrix.digest.clone()),
            step: 0,
            epoch_loss: 0.0,
            best: None,
            stale: 0,
            ended: false,
            baseline: None,
            seconds: 0,
        },
        file,
        output: &output,
        variables,
        optimiser,
        learning,
        kind,
        spent: started,
    };
    run.take_up(resume, subject.as_ref())?;
    let recipe = toml::to_string(config).map_err(|error| TrainingError::Config {
        file: config.output.clone(),
        reason: error.to_string(),
    })?;
    let mut recorder = Recorder::new(folder.path().to_owned(), recipe);
    let mut tell = |event: Event| -> Result<(), TrainingError> {
        recorder.take(&event)?;
        listener(event);
        Ok(())
    };
    captioner.set_baseline(run.progress.baseline);
    tell(Event::Started {
        steps: run.steps,
        steps_per_epoch,
        resumed_at: run.progress.step,
        parameters: run.optimiser.values(),
        words: subject.vocabulary().len(),
    })?;

    let loader = Loader::start(subject.batches(), run.progress.step..run.steps);
    let mut written = run.progress.step;
    while !run.is_done() && !stop.load(Ordering::Relaxed) {
        run.step(
            config.seed,
            &loader,
            subject.as_ref(),
            &mut captioner,
            &mut tell,
        )?;
        let step = run.progress.step;
        run.progress.baseline = captioner.baseline();
        if step.is_multiple_of(steps_per_epoch) {
            let origin = Origin {
                command,
                epoch: step / steps_per_epoch,
                seconds: run.seconds(),
                kind,
            };
            run.end_epoch(config, subject.as_ref(), &captioner, &origin, &mut tell)?;
        } else if !step.is_multiple_of(learning.checkpoint_every) {
            continue;
        }
        tell(Event::Checkpoint { step })?;
        run.write_checkpoint()?;
        written = step;
    }
    let step = run.progress.step;
    let interrupted = !run.is_done();
    if interrupted && written < step {
        tell(Event::Checkpoint { step })?;
        run.write_checkpoint()?;
    }
    let outcome = Outcome {
        model: config.output.clone(),
        best: run.progress.best,
        steps: step,
        weights: checkpoint::digest(&run.variables)?,
        interrupted,
    };
    if !interrupted {
        // Nothing is left to go on with, and the same command begins anew.
        run.remove_checkpoint()?;
    }
    Ok(outcome)
}

/// The captioner as it is before the first step.
fn new_captioner(
    config: &TrainingConfig,
    subject: &dyn Subject,
    variables: &VarStore,
) -> Result<TrainableCaptioner, TrainingError> {
    let learning = &config.training;
    let mut captioner = TrainableCaptioner::new(
        &(variables.root() / "captioner"),
        &config.captioner,
        subject.vocabulary().len() as i64,
        Regularisation {
            dropout: learning.dropout,
            label_smoothing: learning.label_smoothing,
        },
        learning.attention,
    )?;
    match &config.start {
        Some(model) => captioner.start_from(&model.join("captioner.safetensors"))?,
        None if learning.output_bias => captioner.expect_words(&subject.word_counts())?,
        None => {}
    }
    Ok(captioner)
}

/// Digest of all that decides what is learnt.
fn identity(config: &TrainingConfig, kind: Kind, subject: &dyn Subject) -> String {
    let mut decisive = config.clone();
    // These may change between a kill and what comes after.
    decisive.name = String::new();
    decisive.purpose = None;
    decisive.output = PathBuf::new();
    decisive.training.checkpoint_every = 1;
    // What `auto` came to here; on another machine it may be something else.
    decisive.training.precision = precision::named(kind);
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{decisive:?}").as_bytes());
    subject.identify(&mut hasher);
    hasher.finalize().to_hex().to_string()
}

/// A training under way.
struct Run<'a> {
    progress: Progress,
    /// Of the whole training.
    steps: u64,
    steps_per_epoch: u64,
    file: PathBuf,
    output: &'a Output,
    variables: VarStore,
    optimiser: Optimiser,
    learning: &'a LearningConfig,
    /// What products and convolutions are computed in.
    kind: Kind,
    spent: Instant,
}

impl Run<'_> {
    fn is_done(&self) -> bool {
        self.progress.step >= self.steps || self.progress.ended
    }

    /// Time spent, that before a kill included.
    fn seconds(&self) -> u64 {
        self.progress.seconds + self.spent.elapsed().as_secs()
    }

    /// Goes on from a checkpoint, if there is one and that is wanted.
    fn take_up(&mut self, resume: Resume, subject: &dyn Subject) -> Result<(), TrainingError> {
        if resume == Resume::Never {
            return self.remove_checkpoint();
        }
        let Some(found) = checkpoint::read(&self.file)? else {
            return Ok(());
        };
        if found.progress.recipe != self.progress.recipe {
            let file = self.file.clone();
            return Err(TrainingError::OtherRecipe { file });
        }
        if let Some(matrix) = subject.matrix()
            && found.progress.features.as_ref() != Some(&matrix.digest)
        {
            return Err(TrainingError::OtherFeatures {
                file: self.file.clone(),
                matrix: matrix.path.clone(),
            });
        }
        self.progress = found.restore(&self.file, &self.variables, &mut self.optimiser)?;
        Ok(())
    }

    fn write_checkpoint(&self) -> Result<(), TrainingError> {
        let progress = Progress {
            seconds: self.seconds(),
            ..self.progress.clone()
        };
        checkpoint::write(&self.file, &progress, &self.variables, &self.optimiser)
    }

    fn remove_checkpoint(&self) -> Result<(), TrainingError> {
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(saving::unwritable(&self.file, error))
            }
            _ => Ok(()),
        }
    }

    fn step(
        &mut self,
        seed_of_training: i64,
        loader: &Loader,
        subject: &dyn Subject,
        captioner: &mut TrainableCaptioner,
        tell: &mut impl FnMut(Event) -> Result<(), TrainingError>,
    ) -> Result<(), TrainingError> {
        let step = self.progress.step;
        let learning = self.learning;
        let batch = loader.next()?;
        // Dropout and sampled words and regions.
        let drawn = seed(seed_of_training, "step", &[step]);
        let [a, b, c, d, e, f, g, h, ..] = drawn;
        tch::manual_seed(i64::from_le_bytes([a, b, c, d, e, f, g, h]));
        let lesson = Lesson {
            mode: Mode::Training,
            own_words: learning
                .scheduled_sampling
                .as_ref()
                .map_or(0.0, |sampling| sampling.share(step)),
            kind: self.kind,
        };

        let device = self.variables.device();
        let captions = CaptionBatch::new(&batch.captions, device)?;
        let seen = subject.see(&batch, Mode::Training)?;
        let loss = captioner.loss(&seen.features, &captions, lesson)?;
        let mut objective = loss.objective;
        for (_, value, weight) in &seen.losses {
            objective = objective.f_add(&value.f_mul_scalar(*weight)?)?;
        }
        let mut gradients = self.optimiser.gradients(&objective)?;
        if let Some(most) = learning.clip_value {
            gradients.clip_values(most)?;
        }
        let gradient_norm = gradients.norm()?;
        if let Some(most) = learning.clip {
            gradients.clip_norm(gradient_norm, most)?;
        }
        let place = Place {
            step,
            steps: self.steps,
            steps_per_epoch: self.steps_per_epoch,
        };
        let factor = learning.schedule.factor(place, learning.warm_up);
        let learning_rate = learning.learning_rate * factor;
        let of_encoder = learning.encoder.as_ref();
        let of_encoder = of_encoder.map_or(learning_rate, |tuning| tuning.learning_rate * factor);
        let token = loss.token.f_double_value(&[])?;
        if !(token + gradient_norm).is_finite() {
            return Err(TrainingError::Diverged {
                step: step + 1,
                loss: token,
            });
        }
        self.optimiser.step(&gradients, |group| match group {
            Group::Encoder => of_encoder,
            Group::Others => learning_rate,
        })?;
        self.progress.step += 1;
        self.progress.epoch_loss += token;

        let named = loss.others.iter().map(|(name, value)| (*name, value));
        let of_encoder = seen.losses.iter().map(|(name, value, _)| (*name, value));
        let others: Vec<Measure> = named
            .chain(of_encoder)
            .map(|(name, value)| Ok((name, value.f_double_value(&[])?)))
            .collect::<Result<_, tch::TchError>>()?;
        tell(Event::Step {
            step: step + 1,
            epoch: step / self.steps_per_epoch + 1,
            loss: token,
            losses: &others,
            learning_rate,
            gradient_norm,
            pictures: batch.pictures,
            tokens: batch
                .captions
                .iter()
                .map(|(_, words)| words.len() + 1)
                .sum(),
        })
    }

    /// Judges the model and keeps it if it is the best so far.
    fn end_epoch(
        &mut self,
        config: &TrainingConfig,
        subject: &dyn Subject,
        captioner: &TrainableCaptioner,
        origin: &Origin,
        tell: &mut impl FnMut(Event) -> Result<(), TrainingError>,
    ) -> Result<(), TrainingError> {
        let (step, epoch) = (self.progress.step, origin.epoch);
        let loss = self.progress.epoch_loss / self.steps_per_epoch as f64;
        self.progress.epoch_loss = 0.0;
        if !epoch.is_multiple_of(self.learning.judge_every) && step < self.steps {
            tell(Event::Epoch {
                epoch,
                step,
                loss,
                validation: &[],
                samples: &[],
                saved: false,
            })?;
            return Ok(());
        }
        let candidate = Candidate::write(config, self.output, subject, captioner, step)?;
        let judgement = subject.judge(candidate.directory(), step)?;
        let best = Best {
            epoch,
            rank: judgement.rank,
        };
        let saved = self
            .progress
            .best
            .is_none_or(|before| best.rank > before.rank);
        match saved {
            true => {
                candidate.keep(subject, &judgement, origin)?;
                self.progress.best = Some(best);
                self.progress.stale = 0;
            }
            false => {
                candidate.discard()?;
                self.progress.stale += 1;
            }
        }
        let patience = self.learning.patience;
        self.progress.ended = patience.is_some_and(|most| self.progress.stale >= most);
        tell(Event::Epoch {
            epoch,
            step,
            loss,
            validation: &judgement.measures,
            samples: &judgement.samples,
            saved,
        })
    }
}
