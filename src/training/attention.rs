//! A Show, Attend and Tell that can be learnt, with soft and with hard attention (arXiv 1502.03044).
//!
//! The forward pass is the captioner's own ([`Layers`]); what stands here is what only learning
//! needs: losses, dropout, sampling.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::nn::{Init, Path as Variables};
use tch::{Kind, Tensor};

use super::TrainingError;
use super::captioner::{CaptionBatch, Lesson, Loss, Regularisation, own_words};
use crate::captioner::show_attend_tell::{Gaze, Layers, Regions, ShowAttendTellConfig};

/// Share of a new reward in the moving baseline (section 4.1: 0.9 of the old, 0.1 of the new).
const BASELINE_STEP: f64 = 0.1;
/// Share of the captions that are learnt from the expected gaze instead of a sampled one
/// (section 4.1).
const EXPECTED: f64 = 0.5;

/// What the losses of attention weigh. The defaults are the published ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionLoss {
    /// Lambda of the doubly stochastic term: each region should be looked at once in all
    /// (equation 14).
    pub doubly_stochastic: f64,
    /// Lambda_r: weight of the reward of a sampled gaze (section 4.1).
    pub reward: f64,
    /// Lambda_e: weight of the entropy of the weights, which keeps the samples varied.
    pub entropy: f64,
}

impl Default for AttentionLoss {
    fn default() -> Self {
        AttentionLoss {
            doubly_stochastic: 1.0,
            reward: 1.0,
            entropy: 0.002,
        }
    }
}

/// See the [module](self).
pub struct TrainableShowAttendTell {
    layers: Layers,
    tensors: Vec<(&'static str, Tensor)>,
    config: ShowAttendTellConfig,
    against: Regularisation,
    loss: AttentionLoss,
    /// Moving mean of a caption's log-probability, once there is one.
    baseline: Option<f64>,
}

impl TrainableShowAttendTell {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(
        variables: &Variables,
        config: &ShowAttendTellConfig,
        words: i64,
        against: Regularisation,
        loss: AttentionLoss,
    ) -> Result<Self, tch::TchError> {
        let mut tensors = Vec::new();
        let layers = Layers::new(config, words, |name, shape| {
            // Uniform within ±1/sqrt(inputs), as PyTorch initialises linear layers; for the
            // embedding of words that is ±1/sqrt(embedding).
            let inputs = if name.starts_with("lstm") {
                config.hidden
            } else {
                shape.last().copied().unwrap_or(1)
            };
            let bound = 1.0 / (inputs as f64).sqrt();
            let init = match name.ends_with("bias") {
                true => Init::Const(0.0),
                false => Init::Uniform {
                    lo: -bound,
                    up: bound,
                },
            };
            let tensor = variables.f_var(&name.replace('.', "_"), shape, init)?;
            tensors.push((name, tensor.shallow_clone()));
            Ok::<_, tch::TchError>(tensor)
        })?;
        Ok(TrainableShowAttendTell {
            layers,
            tensors,
            config: config.clone(),
            against,
            loss,
            baseline: None,
        })
    }

    /// Moving mean of a caption's log-probability, once there is one.
    pub fn baseline(&self) -> Option<f64> {
        self.baseline
    }

    /// Takes up what [`baseline`](Self::baseline) gave.
    pub fn set_baseline(&mut self, baseline: Option<f64>) {
        self.baseline = baseline;
    }

    /// Lets the output layer start from how often each word is a target.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn expect_words(&mut self, counts: &[u64]) -> Result<(), tch::TchError> {
        super::captioner::expect_words(&mut self.tensors, counts)
    }

    /// What is to be made small: mean negative log-probability of a token, in nats, and the terms of
    /// attention on the same scale.
    ///
    /// In the paper all of them are of a caption (equations 11 and 14): -log p(y) sums over its words as
    /// the doubly stochastic term sums over the regions. A mean over tokens is the sum over the captions
    /// divided by their tokens; so the other sums are divided by the tokens, too, which leaves the
    /// paper's objective as it is but for a factor.
    ///
    /// `features`: `[pictures, regions * channels]`, f32, after their ReLU.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn loss(
        &mut self,
        features: &Tensor,
        captions: &CaptionBatch,
        lesson: Lesson,
    ) -> Result<Loss, tch::TchError> {
        let annotations = features.f_view([-1, self.config.regions, self.config.channels])?;
        let layers = self.layers.computing_in(lesson.kind)?;
        let regions = layers.regions(annotations.f_index_select(0, &captions.pictures)?)?;
        let counted = captions
            .targets
            .f_ne(CaptionBatch::PADDING)?
            .f_to_kind(Kind::Float)?;
        let told = self.tell(&layers, &regions, captions, &counted, lesson)?;
        let tokens = counted.f_sum(Kind::Float)?;
        let token = told.log_probs.f_sum(Kind::Float)?.f_neg()?.f_div(&tokens)?;
        let mut objective = token.shallow_clone();
        let smoothing = self.against.label_smoothing(lesson.mode);
        if smoothing > 0.0 {
            let even = told
                .even
                .f_mul(&counted)?
                .f_sum(Kind::Float)?
                .f_neg()?
                .f_div(&tokens)?;
            objective = objective
                .f_mul_scalar(1.0 - smoothing)?
                .f_add(&even.f_mul_scalar(smoothing)?)?;
        }

        // 1 - Σ_t alpha_ti, squared, summed over the regions.
        let uneven = told
            .looked
            .f_neg()?
            .f_add_scalar(1.0)?
            .f_square()?
            .f_sum(Kind::Float)?
            .f_div(&tokens)?;
        objective = objective.f_add(&uneven.f_mul_scalar(self.loss.doubly_stochastic)?)?;
        let mut others = vec![("doubly_stochastic", uneven)];
        if self.config.gaze == Gaze::Hard && lesson.is_training() {
            let surrogate = self.surrogate(&told)?.f_div(&tokens)?;
            objective = objective.f_add(&surrogate)?;
            others.push(("reinforce", surrogate));
        }
        Ok(Loss {
            objective,
            token,
            others,
        })
    }

    /// A term whose gradient is that of REINFORCE (Williams 1992; section 4.1, equation 11): what
    /// was looked at becomes likelier by how much better than usual the caption went.
    fn surrogate(&mut self, told: &Told) -> Result<Tensor, tch::TchError> {
        let over_steps = Some(&[1i64][..]);
        let reward =
            told.log_probs
                .f_detach()?
                .f_sum_dim_intlist(over_steps, false, Kind::Float)?;
        let mean = reward.f_mean(Kind::Float)?.f_double_value(&[])?;
        let baseline = self.baseline.unwrap_or(mean);
        self.baseline = Some((1.0 - BASELINE_STEP) * baseline + BASELINE_STEP * mean);
        let advantage = reward.f_sub_scalar(baseline)?;
        let reinforced = advantage.f_mul(&told.log_gaze)?.f_sum(Kind::Float)?;
        let entropy = told.entropy.f_sum(Kind::Float)?;
        reinforced
            .f_mul_scalar(-self.loss.reward)?
            .f_sub(&entropy.f_mul_scalar(self.loss.entropy)?)
    }

    /// Goes through the captions word by word.
    fn tell(
        &self,
        layers: &Layers,
        regions: &Regions,
        captions: &CaptionBatch,
        counted: &Tensor,
        lesson: Lesson,
    ) -> Result<Told, tch::TchError> {
        let training = lesson.is_training();
        let dropout = self.against.dropout;
        let [count, steps] = captions.shape()?;
        let device = regions.annotations.device();
        let zeros = |columns: i64| Tensor::f_zeros([count, columns], (Kind::Float, device));
        let mut state = layers.initial(regions)?;
        let mut outputs: Vec<Tensor> = Vec::new();
        let mut looked = zeros(self.config.regions)?;
        let mut log_gaze = zeros(1)?.f_squeeze_dim(1)?;
        let mut entropy = log_gaze.shallow_clone();
        // Which captions are learnt from the expected gaze.
        let expected = Tensor::f_rand([count, 1], (Kind::Float, device))?.f_lt(EXPECTED)?;
        for step in 0..steps {
            let mut words = captions.inputs.f_select(1, step)?;
            if let (Some(last), true) = (outputs.last(), lesson.samples_words()) {
                words = own_words(&words, || layers.logits(last), lesson.own_words)?;
            }
            let is_word = counted.f_select(1, step)?;
            let weights = layers.weigh(regions, &state)?;
            let mut gaze = weights.shallow_clone();
            if self.config.gaze == Gaze::Hard && training {
                let region = weights.f_detach()?.f_multinomial(1, false)?;
                let sampled = weights.f_zeros_like()?.f_scatter_value(-1, &region, 1.0)?;
                gaze = weights.f_detach()?.f_where_self(&expected, &sampled)?;
                let log_weights = weights.f_clamp_min(1e-20)?.f_log()?;
                let chosen = log_weights.f_gather(-1, &region, false)?.f_squeeze_dim(1)?;
                log_gaze = log_gaze.f_add(&chosen.f_mul(&is_word)?)?;
                let spread = weights
                    .f_mul(&log_weights)?
                    .f_sum_dim_intlist(Some(&[-1i64][..]), false, Kind::Float)?
                    .f_neg()?;
                entropy = entropy.f_add(&spread.f_mul(&is_word)?)?;
            }
            looked = looked.f_add(&weights.f_mul(&is_word.f_unsqueeze(1)?)?)?;
            let seen = layers.see(regions, &gaze, &state)?;
            state = layers.step(&words, &seen, &state)?;
            let hidden = state[0].f_dropout(dropout, training)?;
            outputs.push(layers.deep_output(&words, &seen, &hidden)?);
        }
        let outputs = Tensor::f_stack(&outputs, 1)?.f_dropout(dropout, training)?;
        let none: Option<&Tensor> = None;
        let all = layers.logits(&outputs)?.f_flatten(0, 1)?;
        let targets = captions.targets.f_flatten(0, 1)?;
        let skip = CaptionBatch::PADDING;
        let all = all.f_log_softmax(-1, Kind::Float)?;
        let log_probs = all
            .f_nll_loss(&targets, none, tch::Reduction::None, skip)?
            .f_neg()?
            .f_view([count, steps])?;
        let even = all
            .f_mean_dim(Some(&[-1i64][..]), false, Kind::Float)?
            .f_view([count, steps])?;
        Ok(Told {
            log_probs,
            even,
            looked,
            log_gaze,
            entropy,
        })
    }

    /// Takes over the tensors of a `captioner.safetensors` of the same dimensions and vocabulary.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub fn start_from(&mut self, file: &Path) -> Result<(), TrainingError> {
        super::captioner::start_plain(&mut self.tensors, file)
    }

    /// Writes `captioner.safetensors`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), TrainingError> {
        super::captioner::save_plain(&self.tensors, file)
    }
}

/// What came of going through a batch of captions.
struct Told {
    /// `[captions, steps]`: log-probability of each token, 0 where there is none.
    log_probs: Tensor,
    /// `[captions, steps]`: mean of the log-probabilities of all words.
    even: Tensor,
    /// `[captions, regions]`: the weights of each region, summed over the words.
    looked: Tensor,
    /// `[captions]`: log-probability of the regions that were sampled.
    log_gaze: Tensor,
    /// `[captions]`: entropy of the weights, summed over the words.
    entropy: Tensor,
}
