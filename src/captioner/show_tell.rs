//! Show and Tell: Vinyals, Toshev, Bengio, Erhan, "Show and Tell: A Neural Image Caption
//! Generator" (arXiv 1411.4555, equations 10 to 12).
//!
//! The image embedding is the input of an LSTM at step -1, the start token at step 0; from then on
//! each word gives the probabilities of the next:
//!
//! ```text
//! x(-1) = W_i image + b_i      x(t) = W_e word(t)      p(t+1) = softmax(W_o LSTM(x(t)) + b_o)
//! ```
//!
//! The embedding has no activation, and step -1 predicts nothing.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::beam::{self, Candidate, Extend, Step};
use super::candidates::{self, Choice, column};
use super::vocabulary::Vocabulary;
use super::{Beam, Captioner, CaptionerError, Decoding};
use crate::encoder::weights;

/// The `[captioner]` table of a `model.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowTellConfig {
    /// Features per picture.
    pub features: i64,
    /// Size of the image and word embeddings.
    pub embedding: i64,
    /// Units of the LSTM.
    pub hidden: i64,
}

/// Names and shapes of the tensors in `captioner.safetensors`. The LSTM's gates stand in the order
/// input, forget, cell, output.
pub fn tensors(config: &ShowTellConfig, words: i64) -> [(&'static str, Vec<i64>); 9] {
    let ShowTellConfig {
        features,
        embedding,
        hidden,
    } = *config;
    [
        ("image_embedding.weight", vec![embedding, features]),
        ("image_embedding.bias", vec![embedding]),
        ("word_embedding.weight", vec![words, embedding]),
        ("lstm.weight_ih", vec![4 * hidden, embedding]),
        ("lstm.weight_hh", vec![4 * hidden, hidden]),
        ("lstm.bias_ih", vec![4 * hidden]),
        ("lstm.bias_hh", vec![4 * hidden]),
        ("output.weight", vec![words, hidden]),
        ("output.bias", vec![words]),
    ]
}

/// See the [module](self).
pub struct ShowTell {
    id: String,
    config: ShowTellConfig,
    vocabulary: Vocabulary,
    device: Device,
    image_embedding: [Tensor; 2],
    word_embedding: Tensor,
    lstm: [Tensor; 4],
    output: [Tensor; 2],
    choice: Choice,
}

impl ShowTell {
    /// Loads the tensors in `file` onto `device`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a tensor is missing or has another shape than `config` and
    /// `vocabulary` ask for.
    pub fn load(
        config: &ShowTellConfig,
        vocabulary: Vocabulary,
        file: &Path,
        device: Device,
    ) -> Result<Self, CaptionerError> {
        let mut weights = weights::read(file)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(vocabulary.to_text().as_bytes());
        let load = |(name, shape): (&'static str, Vec<i64>)| {
            let tensor = weights::take(&mut weights, file, name, &shape)?;
            weights::digest(&mut hasher, [(name, &tensor)])?;
            Ok::<_, CaptionerError>(tensor.f_to_device(device)?)
        };
        let [
            image_weight,
            image_bias,
            word_embedding,
            w_ih,
            w_hh,
            b_ih,
            b_hh,
            out_weight,
            out_bias,
        ] = tensors(config, vocabulary.len() as i64).map(load);
        Ok(ShowTell {
            image_embedding: [image_weight?, image_bias?],
            word_embedding: word_embedding?,
            lstm: [w_ih?, w_hh?, b_ih?, b_hh?],
            output: [out_weight?, out_bias?],
            id: format!("show-and-tell-{}", weights::short(&hasher)),
            config: config.clone(),
            choice: Choice::new(&vocabulary, device)?,
            vocabulary,
            device,
        })
    }

    /// One step of the LSTM. `input`: `[rows, embedding]`; `state`: hidden and cell, each
    /// `[rows, hidden]`.
    fn step(&self, input: &Tensor, state: &[Tensor; 2]) -> Result<[Tensor; 2], tch::TchError> {
        let [w_ih, w_hh, b_ih, b_hh] = &self.lstm;
        let state = [&state[0], &state[1]];
        let (hidden, cell) = input.f_lstm_cell(&state, w_ih, w_hh, Some(b_ih), Some(b_hh))?;
        Ok([hidden, cell])
    }
}

impl Captioner for ShowTell {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.config.features as usize
    }

    fn caption(
        &self,
        features: &[f32],
        decoding: &Decoding,
    ) -> Result<Vec<Vec<Beam>>, CaptionerError> {
        let dimensions = self.dimensions();
        if !features.len().is_multiple_of(dimensions) {
            return Err(CaptionerError::WrongFeatures {
                dimensions,
                found: features.len(),
            });
        }
        if features.is_empty() {
            return Ok(Vec::new());
        }
        let _no_gradients = tch::no_grad_guard();
        let pictures = features.len() / dimensions;
        let features = Tensor::f_from_slice(features)?
            .f_view([pictures as i64, dimensions as i64])?
            .f_to_device(self.device)?;
        let [weight, bias] = &self.image_embedding;
        let image = features.f_linear(weight, Some(bias))?;
        let zeros = || {
            let shape = [pictures as i64, self.config.hidden];
            Tensor::f_zeros(shape, (Kind::Float, self.device))
        };
        let state = self.step(&image, &[zeros()?, zeros()?])?;
        let mut stepper = Stepper { model: self, state };
        let found = beam::search(&mut stepper, pictures, decoding)?;
        Ok(candidates::beams(found, &self.vocabulary))
    }
}

/// Hidden and cell state of the rows of the last call.
struct Stepper<'a> {
    model: &'a ShowTell,
    state: [Tensor; 2],
}

impl Step for Stepper<'_> {
    type Error = tch::TchError;

    fn advance(
        &mut self,
        rows: &[Extend],
        top: usize,
    ) -> Result<Vec<Vec<Candidate>>, tch::TchError> {
        let model = self.model;
        let parents = column(rows.iter().map(|row| row.row as i64), model.device)?;
        let tokens = column(rows.iter().map(|row| i64::from(row.token)), model.device)?;
        let words = model.word_embedding.f_index_select(0, &tokens)?;
        let [hidden, cell] = &self.state;
        let parents = [
            hidden.f_index_select(0, &parents)?,
            cell.f_index_select(0, &parents)?,
        ];
        self.state = model.step(&words, &parents)?;

        let [weight, bias] = &model.output;
        let logits = self.state[0].f_linear(weight, Some(bias))?;
        model.choice.best(&logits, top)
    }
}
