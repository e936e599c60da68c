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

use std::cell::RefCell;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::candidates::{self, Choice, LanguageModel, Search};
use super::vocabulary::Vocabulary;
use super::word_gates::WordGates;
use super::{Beam, Captioner, CaptionerError, Decoding};
use crate::encoder::fused::{Linear, keep_buffers};
use crate::encoder::weights;

/// Rows that weights are laid out for: those of a batch of 64 in a search of width 3.
const ROWS: i64 = 192;

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
    image_embedding: Linear,
    /// What an image embedding gives the gates, without bias.
    image_gates: Tensor,
    word_gates: RefCell<WordGates>,
    /// What the hidden state gives the gates, and both biases.
    hidden_gates: Linear,
    output: Linear,
    choice: Choice,
    search: Search,
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
        if device == Device::Cpu {
            keep_buffers();
        }
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
        let (image_weight, image_bias) = (image_weight?, image_bias?);
        let (word_embedding, w_ih) = (word_embedding?, w_ih?);
        let (w_hh, b_ih, b_hh) = (w_hh?, b_ih?, b_hh?);
        let (out_weight, out_bias) = (out_weight?, out_bias?);
        Ok(ShowTell {
            id: format!("show-and-tell-{}", weights::short(&hasher)),
            config: config.clone(),
            choice: Choice::new(&vocabulary, device)?,
            search: Search::for_device(device),
            vocabulary,
            device,
            image_embedding: Linear::new(image_weight, image_bias, ROWS)?,
            image_gates: w_ih.shallow_clone(),
            word_gates: RefCell::new(WordGates::new(word_embedding, w_ih)?),
            hidden_gates: Linear::new(w_hh, b_ih.f_add(&b_hh)?, ROWS)?,
            output: Linear::new(out_weight, out_bias, ROWS)?,
        })
    }

    /// The same captioner, searching otherwise than [`Search::for_device`] says.
    pub fn searching(self, search: Search) -> Self {
        Self { search, ..self }
    }

    /// One step of the LSTM. `input`: what the input gives the gates, `[rows, 4 * hidden]`; `state`:
    /// hidden and cell, each `[rows, hidden]`.
    fn step(&self, input: &Tensor, state: &[Tensor; 2]) -> Result<[Tensor; 2], tch::TchError> {
        let [hidden, cell] = state;
        let gates = self.hidden_gates.apply(hidden)?.f_add_(input)?;
        let gates = gates.f_chunk(4, 1)?;
        let new = gates[0].f_sigmoid()?.f_mul_(&gates[2].f_tanh()?)?;
        let cell = gates[1].f_sigmoid()?.f_mul_(cell)?.f_add_(&new)?;
        let hidden = gates[3].f_sigmoid()?.f_mul_(&cell.f_tanh()?)?;
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
        self.check(features)?;
        let dimensions = self.dimensions();
        if features.is_empty() {
            return Ok(Vec::new());
        }
        let _no_gradients = tch::no_grad_guard();
        let pictures = features.len() / dimensions;
        let features = Tensor::f_from_slice(features)?
            .f_view([pictures as i64, dimensions as i64])?
            .f_to_device(self.device)?;
        let image = self.image_embedding.apply(&features)?;
        let image = image.f_linear(&self.image_gates, None::<&Tensor>)?;
        let zeros = || {
            let shape = [pictures as i64, self.config.hidden];
            Tensor::f_zeros(shape, (Kind::Float, self.device))
        };
        let state = self.step(&image, &[zeros()?, zeros()?])?;
        let stepper = Stepper { model: self, state };
        let found = self.search.run(stepper, &self.choice, pictures, decoding)?;
        Ok(candidates::beams(found, &self.vocabulary))
    }
}

/// Hidden and cell state of the rows of the last call.
struct Stepper<'a> {
    model: &'a ShowTell,
    state: [Tensor; 2],
}

impl LanguageModel for Stepper<'_> {
    fn advance(&mut self, parents: &Tensor, tokens: &Tensor) -> Result<Tensor, tch::TchError> {
        let model = self.model;
        let mut word_gates = model.word_gates.borrow_mut();
        let words = match model.search {
            Search::OnHost => word_gates.of(tokens)?,
            Search::OnDevice => word_gates.compute(tokens)?,
        };
        let parents = self
            .state
            .each_ref()
            .map(|state| state.f_index_select(0, parents));
        let [hidden, cell] = parents;
        self.state = model.step(&words, &[hidden?, cell?])?;
        model.output.apply(&self.state[0])
    }
}
