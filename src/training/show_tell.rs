//! A Show and Tell that can be learnt (arXiv 1411.4555).

use std::path::Path;

use tch::nn::{Init, Path as Variables};
use tch::{Kind, Tensor};

use super::TrainingError;
use super::captioner::{CaptionBatch, Lesson, Loss, Regularisation, own_words, token_loss};
use crate::captioner::mixed::{linear, lstm_from_gates, lstm_step};
use crate::captioner::show_tell::{self, ShowTellConfig};

/// Captions that go through the LSTM together on a CPU. Sorted by length and cut into such pieces, a
/// batch has little padding; a GPU is better used by the whole batch at once.
const PIECE: i64 = 32;

/// See the [module](self).
pub struct TrainableShowTell {
    tensors: [(&'static str, Tensor); 9],
    hidden: i64,
    against: Regularisation,
}

impl TrainableShowTell {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(
        variables: &Variables,
        config: &ShowTellConfig,
        words: i64,
        against: Regularisation,
    ) -> Result<Self, tch::TchError> {
        // Uniform within ±1/sqrt(hidden), as PyTorch initialises an LSTM.
        let bound = 1.0 / (config.hidden as f64).sqrt();
        let uniform = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        let variable = |(name, shape): (&'static str, Vec<i64>)| {
            let init = match name.ends_with("bias") {
                true => Init::Const(0.0),
                false => uniform,
            };
            let tensor = variables.f_var(&name.replace('.', "_"), &shape, init)?;
            Ok::<_, tch::TchError>((name, tensor))
        };
        let [a, b, c, d, e, f, g, h, i] = show_tell::tensors(config, words).map(variable);
        let tensors = [a?, b?, c?, d?, e?, f?, g?, h?, i?];
        Ok(TrainableShowTell {
            tensors,
            hidden: config.hidden,
            against,
        })
    }

    /// The weights for computing products in `kind`: copies, through which gradients flow back.
    fn computing_in(&self, kind: Kind) -> Result<Weights, tch::TchError> {
        let [
            image,
            image_bias,
            words,
            w_ih,
            w_hh,
            b_ih,
            b_hh,
            output,
            output_bias,
        ] = self.tensors.each_ref().map(|(_, tensor)| tensor);
        Ok(Weights {
            image: [image.f_to_kind(kind)?, image_bias.shallow_clone()],
            words: words.shallow_clone(),
            lstm: [
                w_ih.f_to_kind(kind)?,
                w_hh.f_to_kind(kind)?,
                b_ih.shallow_clone(),
                b_hh.shallow_clone(),
            ],
            output: [output.f_to_kind(kind)?, output_bias.shallow_clone()],
        })
    }

    /// The mean negative log-probability of a token, in nats.
    ///
    /// `features`: `[pictures, features]`, f32.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn loss(
        &self,
        features: &Tensor,
        captions: &CaptionBatch,
        lesson: Lesson,
    ) -> Result<Loss, tch::TchError> {
        let weights = self.computing_in(lesson.kind)?;
        // Step -1 is the picture, then come the words.
        let image = linear(features, &weights.image[0], Some(&weights.image[1]))?;
        let whole;
        let pieces = match image.device().is_cuda() || captions.shape()?[0] < 2 * PIECE {
            true => std::slice::from_ref(captions),
            false => {
                whole = captions.pieces(PIECE)?;
                &whole[..]
            }
        };
        let mut outputs = Vec::new();
        let mut targets = Vec::new();
        for piece in pieces {
            let image = image.f_index_select(0, &piece.pictures)?;
            let of_piece = match lesson.samples_words() {
                true => self.word_by_word(&weights, &image, piece, lesson)?,
                false => self.at_once(&weights, &image, piece, lesson)?,
            };
            // What stands behind the ends of captions is left out before the largest product, that
            // with the words.
            let counted = piece.counted()?;
            outputs.push(of_piece.f_flatten(0, 1)?.f_index_select(0, &counted)?);
            let of_piece = piece.targets.f_flatten(0, 1)?;
            targets.push(of_piece.f_index_select(0, &counted)?);
        }
        let outputs =
            Tensor::f_cat(&outputs, 0)?.f_dropout(self.against.dropout, lesson.is_training())?;
        let logits = weights.logits(&outputs)?;
        let targets = Tensor::f_cat(&targets, 0)?;
        token_loss(&logits, &targets, self.against.label_smoothing(lesson.mode))
    }

    /// The LSTM's outputs, `[captions, steps, hidden]`, when the captions' own words are fed.
    fn at_once(
        &self,
        weights: &Weights,
        image: &Tensor,
        captions: &CaptionBatch,
        lesson: Lesson,
    ) -> Result<Tensor, tch::TchError> {
        let training = lesson.is_training();
        let count = captions.inputs.size()[0];
        let words = Tensor::f_embedding(&weights.words, &captions.inputs, -1, false, false)?;
        let inputs = Tensor::f_cat(&[image.f_unsqueeze(1)?, words], 1)?
            .f_dropout(self.against.dropout, training)?;
        let zeros = || Tensor::f_zeros([1, count, self.hidden], (Kind::Float, image.device()));
        if lesson.kind != Kind::Float {
            // libtorch's LSTM of such weights would round the states, too.
            let outputs = weights.unroll(&inputs, zeros()?.f_squeeze_dim(0)?)?;
            return Tensor::f_stack(&outputs[1..], 1);
        }
        let (outputs, _, _) = inputs.f_lstm(
            &[&zeros()?, &zeros()?],
            &weights.lstm.each_ref(),
            true,
            1,
            0.0,
            training,
            false,
            true,
        )?;
        outputs.f_narrow(1, 1, captions.targets.size()[1])
    }

    /// The same when some of the words that are fed are what the model said at the step before.
    fn word_by_word(
        &self,
        weights: &Weights,
        image: &Tensor,
        captions: &CaptionBatch,
        lesson: Lesson,
    ) -> Result<Tensor, tch::TchError> {
        let training = lesson.is_training();
        let dropout = self.against.dropout;
        let [count, steps] = captions.shape()?;
        let zeros = || Tensor::f_zeros([count, self.hidden], (Kind::Float, image.device()));
        let step = |input: &Tensor, state: &[Tensor; 2]| -> Result<[Tensor; 2], tch::TchError> {
            let input = input.f_dropout(dropout, training)?;
            lstm_step(&input, state, weights.lstm.each_ref())
        };
        let mut state = step(image, &[zeros()?, zeros()?])?;
        let mut outputs = Vec::new();
        for place in 0..steps {
            let mut words = captions.inputs.f_select(1, place)?;
            if place > 0 {
                let said = || weights.logits(&state[0]);
                words = own_words(&words, said, lesson.own_words)?;
            }
            let words = Tensor::f_embedding(&weights.words, &words, -1, false, false)?;
            state = step(&words, &state)?;
            outputs.push(state[0].shallow_clone());
        }
        Tensor::f_stack(&outputs, 1)
    }

    /// Lets the output layer start from how often each word is a target.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn expect_words(&mut self, counts: &[u64]) -> Result<(), tch::TchError> {
        super::captioner::expect_words(&mut self.tensors, counts)
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

/// What a batch is computed with: see [`TrainableShowTell::computing_in`].
struct Weights {
    image: [Tensor; 2],
    words: Tensor,
    lstm: [Tensor; 4],
    output: [Tensor; 2],
}

impl Weights {
    /// `[rows, words]`, of the LSTM's outputs.
    fn logits(&self, outputs: &Tensor) -> Result<Tensor, tch::TchError> {
        linear(outputs, &self.output[0], Some(&self.output[1]))
    }

    /// The hidden states, `[rows, hidden]`, after each step of `inputs`, `[rows, steps, inputs]`; the first
    /// step's comes from a state of `zeros`, `[rows, hidden]`.
    fn unroll(&self, inputs: &Tensor, zeros: Tensor) -> Result<Vec<Tensor>, tch::TchError> {
        let [w_ih, w_hh, b_ih, b_hh] = &self.lstm;
        let from_inputs = linear(inputs, w_ih, Some(&b_ih.f_add(b_hh)?))?;
        let mut state = [zeros.shallow_clone(), zeros];
        let mut outputs = Vec::new();
        for from_input in from_inputs.f_unbind(1)? {
            let gates = linear(&state[0], w_hh, Some(&from_input))?;
            state = lstm_from_gates(&gates, &state[1])?;
            outputs.push(state[0].shallow_clone());
        }
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captioner::vocabulary::TokenId;
    use crate::seeded::seeded;
    use crate::training::captioner::Mode;
    use tch::Device;
    use tch::nn::VarStore;

    fn model(variables: &VarStore) -> TrainableShowTell {
        let config = ShowTellConfig {
            features: 5,
            embedding: 6,
            hidden: 7,
        };
        let against = Regularisation::default();
        let model = TrainableShowTell::new(&variables.root(), &config, 12, against).unwrap();
        // So that what it would say is not all equally likely.
        tch::no_grad(|| {
            for (_, tensor) in &model.tensors {
                let _ = tensor.shallow_clone().f_mul_scalar_(4.0).unwrap();
            }
        });
        model
    }

    /// Captions of 0 to 6 words.
    fn captions(count: usize) -> Vec<(usize, Vec<TokenId>)> {
        let words = |n: usize| (0..n * 3 % 7).map(move |place| 3 + ((n + place) % 9) as TokenId);
        (0..count).map(|n| (n % 4, words(n).collect())).collect()
    }

    fn loss(
        model: &TrainableShowTell,
        captions: &[(usize, Vec<TokenId>)],
        own_words: f64,
        kind: Kind,
    ) -> (f64, f64) {
        let features = Tensor::arange(20, (Kind::Float, Device::Cpu)).view([4, 5]) / 20.0;
        let batch = CaptionBatch::new(captions, Device::Cpu).unwrap();
        let lesson = Lesson {
            mode: Mode::Training,
            own_words,
            kind,
        };
        let loss = model.loss(&features, &batch, lesson).unwrap();
        let tokens = captions
            .iter()
            .map(|(_, words)| words.len() + 1)
            .sum::<usize>();
        (loss.token.double_value(&[]), tokens as f64)
    }

    #[test]
    fn pieces_of_a_batch_lose_what_the_whole_does() {
        let _alone = seeded(2);
        let variables = VarStore::new(Device::Cpu);
        let model = model(&variables);
        let all = captions(2 * PIECE as usize + 9);
        // Each half is too small to be cut.
        let (first, second) = all.split_at(all.len() / 2);
        let (first, second) = (
            loss(&model, first, 0.0, Kind::Float),
            loss(&model, second, 0.0, Kind::Float),
        );
        let expected = (first.0 * first.1 + second.0 * second.1) / (first.1 + second.1);
        let (found, _) = loss(&model, &all, 0.0, Kind::Float);
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn word_by_word_loses_what_at_once_does_until_words_are_its_own() {
        let _alone = seeded(2);
        let variables = VarStore::new(Device::Cpu);
        let model = model(&variables);
        let captions = captions(20);
        for (kind, allowed) in [(Kind::Float, 1e-5), (Kind::BFloat16, 1e-4)] {
            let (expected, _) = loss(&model, &captions, 0.0, kind);
            let (found, _) = loss(&model, &captions, 1e-12, kind);
            assert!((found - expected).abs() < allowed, "{found} {expected}");
            let (own, _) = loss(&model, &captions, 1.0, kind);
            assert!((own - expected).abs() > 1e-4, "{own} {expected}");
        }
    }

    #[test]
    fn mixed_precision_loses_nearly_what_f32_does_and_learns_all_weights() {
        let _alone = seeded(2);
        let variables = VarStore::new(Device::Cpu);
        let model = model(&variables);
        let all = captions(2 * PIECE as usize + 9);
        let (exact, _) = loss(&model, &all, 0.0, Kind::Float);
        let (mixed, _) = loss(&model, &all, 0.0, Kind::BFloat16);
        let difference = (mixed - exact).abs();
        assert!(0.0 < difference && difference < 2e-3, "{mixed} {exact}");
        let features = Tensor::arange(20, (Kind::Float, Device::Cpu)).view([4, 5]) / 20.0;
        let batch = CaptionBatch::new(&all, Device::Cpu).unwrap();
        let gradients = |kind: Kind| {
            let lesson = Lesson {
                kind,
                ..Lesson::PLAIN
            };
            let loss = model.loss(&features, &batch, lesson).unwrap();
            let tensors = model.tensors.each_ref().map(|(_, tensor)| tensor);
            Tensor::run_backward(&[loss.objective], &tensors, false, false)
        };
        let (exact, mixed) = (gradients(Kind::Float), gradients(Kind::BFloat16));
        for (exact, mixed) in exact.iter().zip(&mixed) {
            let largest = |x: &Tensor| x.abs().max().double_value(&[]);
            assert_eq!(mixed.kind(), Kind::Float);
            let difference = largest(&(exact - mixed));
            let allowed = 0.05 * largest(exact);
            assert!(difference < allowed, "{difference}, {allowed}");
        }
    }
}
