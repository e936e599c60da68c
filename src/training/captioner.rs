//! The captioner that a training learns: one of the published ones. What they share, a batch of
//! captions and the loss of its tokens, stands here too.

use std::path::Path;

use tch::nn::Path as Variables;
use tch::{Kind, Tensor};

use super::TrainingError;
use super::attention::{AttentionLoss, TrainableShowAttendTell};
use super::saving::write_tensors;
use super::show_tell::TrainableShowTell;
use crate::captioner::model::CaptionerConfig;
use crate::captioner::vocabulary::{END, START, TokenId};
use crate::encoder::weights;

/// See the [module](self).
pub enum TrainableCaptioner {
    ShowTell(Box<TrainableShowTell>),
    ShowAttendTell(Box<TrainableShowAttendTell>),
}

/// Whether statistics are the batch's and dropout is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Training,
    Inference,
}

/// How a batch is gone through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesson {
    pub mode: Mode,
    /// How often a word is fed that the model itself said (scheduled sampling, arXiv 1506.03099).
    pub own_words: f64,
    /// What products are computed in, `Float` or `BFloat16`; all else is f32.
    pub kind: Kind,
}

impl Lesson {
    /// To learn from the captions' own words, in f32.
    pub const PLAIN: Lesson = Lesson {
        mode: Mode::Training,
        own_words: 0.0,
        kind: Kind::Float,
    };

    pub fn is_training(self) -> bool {
        self.mode == Mode::Training
    }

    pub fn samples_words(self) -> bool {
        self.is_training() && self.own_words > 0.0
    }
}

/// What keeps a captioner from learning captions by heart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Regularisation {
    /// Share of the word embeddings and of the LSTM's outputs that is set to zero.
    pub dropout: f64,
    /// Share of a target's probability that all words have in equal parts.
    pub label_smoothing: f64,
}

impl Regularisation {
    pub(super) fn label_smoothing(&self, mode: Mode) -> f64 {
        match mode {
            Mode::Training => self.label_smoothing,
            Mode::Inference => 0.0,
        }
    }
}

/// What came of going through a batch.
pub struct Loss {
    /// What is to be made small.
    pub objective: Tensor,
    /// The mean negative log-probability of a token, in nats, whatever else the objective holds.
    pub token: Tensor,
    /// What else it holds, by name.
    pub others: Vec<(&'static str, Tensor)>,
}

/// Captions of a batch, padded to the longest.
pub struct CaptionBatch {
    /// `[captions]`, i64: the picture that each belongs to.
    pub pictures: Tensor,
    /// `[captions, steps]`, i64: start token and words; what stands behind them does not matter.
    pub inputs: Tensor,
    /// `[captions, steps]`, i64: words and end token, then [`CaptionBatch::PADDING`].
    pub targets: Tensor,
}

impl CaptionBatch {
    /// A target that does not count.
    pub const PADDING: i64 = -1;

    /// Picture and words of each caption.
    ///
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(
        captions: &[(usize, Vec<TokenId>)],
        device: tch::Device,
    ) -> Result<Self, tch::TchError> {
        let longest = captions.iter().map(|(_, words)| words.len()).max();
        let (count, steps) = (captions.len(), longest.unwrap_or(0) + 1);
        let mut pictures = Vec::with_capacity(count);
        let mut inputs = vec![i64::from(END); count * steps];
        let mut targets = vec![CaptionBatch::PADDING; count * steps];
        for (row, (picture, words)) in captions.iter().enumerate() {
            pictures.push(*picture as i64);
            let at = row * steps;
            inputs[at] = i64::from(START);
            for (place, token) in words.iter().enumerate() {
                inputs[at + place + 1] = i64::from(*token);
                targets[at + place] = i64::from(*token);
            }
            targets[at + words.len()] = i64::from(END);
        }
        let shape = [count as i64, steps as i64];
        let place = |values: &[i64], shape: &[i64]| {
            Tensor::f_from_slice(values)?
                .f_view(shape)?
                .f_to_device(device)
        };
        Ok(CaptionBatch {
            pictures: place(&pictures, &shape[..1])?,
            inputs: place(&inputs, &shape)?,
            targets: place(&targets, &shape)?,
        })
    }

    /// Captions and steps.
    pub(super) fn shape(&self) -> Result<[i64; 2], tch::TchError> {
        <[i64; 2]>::try_from(self.targets.size())
            .map_err(|shape| tch::TchError::Shape(format!("targets of shape {shape:?}")))
    }

    /// The captions sorted by length, `rows` in each piece, each padded to its own longest.
    pub(super) fn pieces(&self, rows: i64) -> Result<Vec<CaptionBatch>, tch::TchError> {
        let over_steps = Some(&[1i64][..]);
        let lengths = self
            .targets
            .f_ne(CaptionBatch::PADDING)?
            .f_sum_dim_intlist(over_steps, false, Kind::Int64)?;
        let (lengths, order) = lengths.f_sort_stable(true, 0, true)?;
        let [count, _] = self.shape()?;
        let mut pieces = Vec::new();
        for first in (0..count).step_by(rows.max(1) as usize) {
            let order = order.f_narrow(0, first, rows.min(count - first))?;
            let longest = lengths.f_int64_value(&[first])?.max(1);
            let of = |tensor: &Tensor| tensor.f_index_select(0, &order)?.f_narrow(1, 0, longest);
            pieces.push(CaptionBatch {
                pictures: self.pictures.f_index_select(0, &order)?,
                inputs: of(&self.inputs)?,
                targets: of(&self.targets)?,
            });
        }
        Ok(pieces)
    }

    /// `[tokens]`, i64: the places of the targets that count, in `[captions * steps]`.
    pub(super) fn counted(&self) -> Result<Tensor, tch::TchError> {
        self.targets
            .f_flatten(0, 1)?
            .f_ne(CaptionBatch::PADDING)?
            .f_nonzero()?
            .f_squeeze_dim(1)
    }
}

/// The loss of tokens. `logits`: `[tokens, words]`, f32; `targets`: `[tokens]`, i64, all of which
/// count.
pub(super) fn token_loss(
    logits: &Tensor,
    targets: &Tensor,
    label_smoothing: f64,
) -> Result<Loss, tch::TchError> {
    let none: Option<&Tensor> = None;
    let mean = tch::Reduction::Mean;
    let skip = CaptionBatch::PADDING;
    if label_smoothing == 0.0 {
        let token = logits.f_cross_entropy_loss(targets, none, mean, skip, 0.0)?;
        return Ok(Loss {
            objective: token.shallow_clone(),
            token,
            others: Vec::new(),
        });
    }
    let log_probs = logits.f_log_softmax(-1, Kind::Float)?;
    let token = log_probs.f_nll_loss(targets, none, mean, skip)?;
    let even = log_probs.f_mean(Kind::Float)?.f_neg()?;
    let objective = token
        .f_mul_scalar(1.0 - label_smoothing)?
        .f_add(&even.f_mul_scalar(label_smoothing)?)?;
    Ok(Loss {
        objective,
        token,
        others: Vec::new(),
    })
}

/// `words`, `[rows]`, i64, of which a share is replaced by words drawn from `said`, logits of
/// `[rows, words]`. No gradient flows through the choice (arXiv 1506.03099, section 2.4).
pub(super) fn own_words(
    words: &Tensor,
    said: impl FnOnce() -> Result<Tensor, tch::TchError>,
    share: f64,
) -> Result<Tensor, tch::TchError> {
    let _no_gradients = tch::no_grad_guard();
    let drawn = said()?
        .f_softmax(-1, Kind::Float)?
        .f_multinomial(1, false)?
        .f_squeeze_dim(1)?;
    let replaced = Tensor::f_rand(words.size(), (Kind::Float, words.device()))?.f_lt(share)?;
    drawn.f_where_self(&replaced, words)
}

/// Sets `output.bias` to the logarithm of each word's share of the targets. A word that is never a
/// target is taken to be half as frequent as one that is once.
pub(super) fn expect_words(
    tensors: &mut [(&'static str, Tensor)],
    counts: &[u64],
) -> Result<(), tch::TchError> {
    let _no_gradients = tch::no_grad_guard();
    let all: u64 = counts.iter().sum();
    let share = |count: &u64| (*count as f64).max(0.5) / all.max(1) as f64;
    let bias: Vec<f32> = counts.iter().map(|c| share(c).ln() as f32).collect();
    let bias = Tensor::f_from_slice(&bias)?;
    for (name, tensor) in tensors {
        if *name == "output.bias" {
            tensor.f_copy_(&bias)?;
        }
    }
    Ok(())
}

/// Lets tensors that are learnt begin as those of the same names in a file.
pub(super) fn start_plain(
    tensors: &mut [(&'static str, Tensor)],
    file: &Path,
) -> Result<(), TrainingError> {
    let _no_gradients = tch::no_grad_guard();
    let mut saved = weights::read(file)?;
    for (name, tensor) in tensors {
        tensor.f_copy_(&weights::take(&mut saved, file, name, &tensor.size())?)?;
    }
    Ok(())
}

/// Writes tensors that are still learnt as they are now.
pub(super) fn save_plain(
    tensors: &[(&'static str, Tensor)],
    file: &Path,
) -> Result<(), TrainingError> {
    let _no_gradients = tch::no_grad_guard();
    let mut plain = Vec::new();
    for (name, tensor) in tensors {
        plain.push((
            *name,
            tensor
                .f_detach()?
                .f_to_device(tch::Device::Cpu)?
                .f_contiguous()?,
        ));
    }
    write_tensors(&plain, file)
}

impl TrainableCaptioner {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(
        variables: &Variables,
        config: &CaptionerConfig,
        words: i64,
        against: Regularisation,
        attention: AttentionLoss,
    ) -> Result<Self, tch::TchError> {
        Ok(match config {
            CaptionerConfig::ShowAndTell(config) => {
                let model = TrainableShowTell::new(variables, config, words, against)?;
                TrainableCaptioner::ShowTell(Box::new(model))
            }
            CaptionerConfig::ShowAttendTell(config) => {
                let model =
                    TrainableShowAttendTell::new(variables, config, words, against, attention)?;
                TrainableCaptioner::ShowAttendTell(Box::new(model))
            }
        })
    }

    /// What is to be made small.
    ///
    /// `features`: `[pictures, features]`, f32, as the encoder that ships gives them: fc7, or the
    /// regions of conv5_3 row by row, each with its channels.
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
        match self {
            TrainableCaptioner::ShowTell(model) => model.loss(features, captions, lesson),
            TrainableCaptioner::ShowAttendTell(model) => model.loss(features, captions, lesson),
        }
    }

    /// Lets the output layer start from how often each word is a target.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn expect_words(&mut self, counts: &[u64]) -> Result<(), tch::TchError> {
        match self {
            TrainableCaptioner::ShowTell(model) => model.expect_words(counts),
            TrainableCaptioner::ShowAttendTell(model) => model.expect_words(counts),
        }
    }

    /// What is learnt outside of the variables: hard attention's moving baseline.
    pub fn baseline(&self) -> Option<f64> {
        match self {
            TrainableCaptioner::ShowTell(_) => None,
            TrainableCaptioner::ShowAttendTell(model) => model.baseline(),
        }
    }

    /// Takes up what [`baseline`](Self::baseline) gave.
    pub fn set_baseline(&mut self, baseline: Option<f64>) {
        if let TrainableCaptioner::ShowAttendTell(model) = self {
            model.set_baseline(baseline);
        }
    }

    /// Takes over the tensors of a `captioner.safetensors` of the same dimensions and vocabulary.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub fn start_from(&mut self, file: &Path) -> Result<(), TrainingError> {
        match self {
            TrainableCaptioner::ShowTell(model) => model.start_from(file),
            TrainableCaptioner::ShowAttendTell(model) => model.start_from(file),
        }
    }

    /// Writes `captioner.safetensors`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), TrainingError> {
        match self {
            TrainableCaptioner::ShowTell(model) => model.save(file),
            TrainableCaptioner::ShowAttendTell(model) => model.save(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::seeded;

    #[test]
    fn smoothed_labels_are_those_of_libtorch_and_the_token_loss_is_without() {
        let _alone = seeded(1);
        let logits = Tensor::randn([7, 5], (Kind::Float, tch::Device::Cpu));
        let targets = Tensor::from_slice(&[0i64, 4, 2, 2, 1, 3, 0]);
        let none: Option<&Tensor> = None;
        let libtorch = |smoothing: f64| {
            let mean = tch::Reduction::Mean;
            let loss = logits.cross_entropy_loss(&targets, none, mean, -1, smoothing);
            loss.double_value(&[])
        };
        let smoothed = token_loss(&logits, &targets, 0.1).unwrap();
        let found = [smoothed.objective, smoothed.token].map(|loss| loss.double_value(&[]));
        assert!((found[0] - libtorch(0.1)).abs() < 1e-6, "{found:?}");
        assert!((found[1] - libtorch(0.0)).abs() < 1e-6, "{found:?}");
        assert!((found[0] - found[1]).abs() > 1e-3, "{found:?}");
    }

    #[test]
    fn the_output_layer_expects_words_as_often_as_they_occur() {
        let bias = Tensor::zeros([3], (Kind::Float, tch::Device::Cpu));
        let mut tensors = [("output.bias", bias)];
        expect_words(&mut tensors, &[0, 30, 10]).unwrap();
        let found = Vec::<f32>::try_from(&tensors[0].1).unwrap();
        let expected = [0.5f32 / 40.0, 0.75, 0.25].map(f32::ln);
        assert_eq!(found, expected);
    }

    #[test]
    fn pieces_hold_every_caption_with_less_padding() {
        let captions = [
            (0, vec![4]),
            (1, vec![5, 6, 7, 8]),
            (2, vec![]),
            (0, vec![9, 10]),
        ];
        let batch = CaptionBatch::new(&captions, tch::Device::Cpu).unwrap();
        assert_eq!(batch.shape().unwrap(), [4, 5]);
        let pieces = batch.pieces(3).unwrap();
        let shapes: Vec<_> = pieces.iter().map(|piece| piece.shape().unwrap()).collect();
        assert_eq!(shapes, [[3, 5], [1, 1]]);
        let numbers = |tensor: &Tensor| Vec::<i64>::try_from(tensor.flatten(0, -1)).unwrap();
        assert_eq!(numbers(&pieces[0].pictures), [1, 0, 0]);
        assert_eq!(numbers(&pieces[0].inputs.get(1)), [0, 9, 10, 1, 1]);
        assert_eq!(numbers(&pieces[0].targets.get(2)), [4, 1, -1, -1, -1]);
        assert_eq!(numbers(&pieces[1].targets), [1]);
        assert_eq!(numbers(&pieces[0].counted().unwrap()).len(), 10);
    }
}
