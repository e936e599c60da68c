//! A Show and Tell that can be learnt (arXiv 1411.4555).

use std::path::Path;

use tch::nn::{Init, Path as Variables};
use tch::{Kind, Tensor};

use super::TrainingError;
use super::captioner::{CaptionBatch, Lesson, Loss, Regularisation, own_words, token_loss};
use crate::captioner::show_tell::{self, ShowTellConfig};

/// Captions that go through the LSTM together on a CPU. Sorted by length and cut into such pieces, a
/// batch has little padding; a GPU is better used by the whole batch at once.
const PIECE: i64 = 32;

/// See the [module](self).
pub struct TrainableShowTell {
    tensors: Vec<(&'static str, Tensor)>,
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
        let mut tensors = Vec::new();
        for (name, shape) in show_tell::tensors(config, words) {
            let init = if name.ends_with("bias") {
                Init::Const(0.0)
            } else {
                uniform
            };
            tensors.push((
                name,
                variables.f_var(&name.replace('.', "_"), &shape, init)?,
            ));
        }
        Ok(TrainableShowTell {
            tensors,
            hidden: config.hidden,
            against,
        })
    }

    fn tensor(&self, index: usize) -> &Tensor {
        &self.tensors[index].1
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
        // Step -1 is the picture, then come the words.
        let image = features.f_linear(self.tensor(0), Some(self.tensor(1)))?;
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
                true => self.word_by_word(&image, piece, lesson)?,
                false => self.at_once(&image, piece, lesson)?,
            };
            // What stands behind the ends of captions is left out before the largest product, that
            // with the words.
            let counted = piece.counted()?;
            outputs.push(of_piece.f_flatten(0, 1)?.f_index_select(0, &counted)?);
            let of_piece = piece.targets.f_flatten(0, 1)?;
            targets.push(of_piece.f_index_select(0, &counted)?);
        }
        let logits = Tensor::f_cat(&outputs, 0)?
            .f_dropout(self.against.dropout, lesson.is_training())?
            .f_linear(self.tensor(7), Some(self.tensor(8)))?;
        let targets = Tensor::f_cat(&targets, 0)?;
        token_loss(&logits, &targets, self.against.label_smoothing(lesson.mode))
    }

    /// The LSTM's outputs, `[captions, steps, hidden]`, when the captions' own words are fed.
    fn at_once(
        &self,
        image: &Tensor,
        captions: &CaptionBatch,
        lesson: Lesson,
    ) -> Result<Tensor, tch::TchError> {
        let training = lesson.is_training();
        let count = captions.inputs.size()[0];
        let words = Tensor::f_embedding(self.tensor(2), &captions.inputs, -1, false, false)?;
        let inputs = Tensor::f_cat(&[image.f_unsqueeze(1)?, words], 1)?
            .f_dropout(self.against.dropout, training)?;
        let zeros = || Tensor::f_zeros([1, count, self.hidden], (Kind::Float, image.device()));
        let weights: Vec<&Tensor> = (3..7).map(|index| self.tensor(index)).collect();
        let (outputs, _, _) = inputs.f_lstm(
            &[&zeros()?, &zeros()?],
            &weights,
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
        image: &Tensor,
        captions: &CaptionBatch,
        lesson: Lesson,
    ) -> Result<Tensor, tch::TchError> {
        let training = lesson.is_training();
        let dropout = self.against.dropout;
        let [count, steps] = captions.shape()?;
        let zeros = || Tensor::f_zeros([count, self.hidden], (Kind::Float, image.device()));
        let step = |input: &Tensor, state: &[Tensor; 2]| -> Result<[Tensor; 2], tch::TchError> {
            let (hidden, cell) = input.f_dropout(dropout, training)?.f_lstm_cell(
                &[&state[0], &state[1]],
                self.tensor(3),
                self.tensor(4),
                Some(self.tensor(5)),
                Some(self.tensor(6)),
            )?;
            Ok([hidden, cell])
        };
        let mut state = step(image, &[zeros()?, zeros()?])?;
        let mut outputs = Vec::new();
        for place in 0..steps {
            let mut words = captions.inputs.f_select(1, place)?;
            if place > 0 {
                let said = || state[0].f_linear(self.tensor(7), Some(self.tensor(8)));
                words = own_words(&words, said, lesson.own_words)?;
            }
            let words = Tensor::f_embedding(self.tensor(2), &words, -1, false, false)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captioner::vocabulary::TokenId;
    use crate::training::captioner::Mode;
    use tch::Device;
    use tch::nn::VarStore;

    fn model(variables: &VarStore) -> TrainableShowTell {
        tch::manual_seed(2);
        let config = ShowTellConfig {
            features: 5,
            embedding: 6,
            hidden: 7,
        };
        let against = Regularisation::default();
        TrainableShowTell::new(&variables.root(), &config, 12, against).unwrap()
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
    ) -> (f64, f64) {
        let features = Tensor::arange(20, (Kind::Float, Device::Cpu)).view([4, 5]) / 20.0;
        let batch = CaptionBatch::new(captions, Device::Cpu).unwrap();
        let lesson = Lesson {
            mode: Mode::Training,
            own_words,
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
        let variables = VarStore::new(Device::Cpu);
        let model = model(&variables);
        let all = captions(2 * PIECE as usize + 9);
        // Each half is too small to be cut.
        let (first, second) = all.split_at(all.len() / 2);
        let (first, second) = (loss(&model, first, 0.0), loss(&model, second, 0.0));
        let expected = (first.0 * first.1 + second.0 * second.1) / (first.1 + second.1);
        let (found, _) = loss(&model, &all, 0.0);
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn word_by_word_loses_what_at_once_does_until_words_are_its_own() {
        let variables = VarStore::new(Device::Cpu);
        let model = model(&variables);
        let captions = captions(20);
        let (expected, _) = loss(&model, &captions, 0.0);
        let (found, _) = loss(&model, &captions, 1e-12);
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        let (own, _) = loss(&model, &captions, 1.0);
        assert!((own - expected).abs() > 1e-4, "{own} {expected}");
    }
}
