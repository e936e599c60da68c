//! Show, Attend and Tell: Xu, Ba, Kiros, Cho, Courville, Salakhutdinov, Zemel, Bengio, "Show, Attend
//! and Tell: Neural Image Caption Generation with Visual Attention" (arXiv 1502.03044, sections
//! 3.1.2 and 4).
//!
//! A picture is a set of annotation vectors a_i, one for each region: the cells of VGG-16's conv5_3.
//! Before each word the model weighs the regions by what it has said so far, and says the word from
//! what it sees there:
//!
//! ```text
//! h(0), c(0) = tanh(W_h mean(a) + b_h), tanh(W_c mean(a) + b_c)
//! e_i  = u · tanh(W_a a_i + b_a + W_s h(t-1))      alpha = softmax(e)
//! z    = sigmoid(g · h(t-1) + b_g) Σ alpha_i a_i   soft; the likeliest a_i alone if hard
//! h(t) = LSTM([E y(t-1), z], h(t-1))
//! p(t) = softmax(L_o tanh(E y(t-1) + L_h h(t) + b_h + L_z z) + b_o)
//! ```

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::beam::{self, Candidate, Extend, Step};
use super::candidates::{self, Choice, column};
use super::mixed::{linear, lstm_step};
use super::vocabulary::{START, Vocabulary};
use super::{Attention, Beam, Captioner, CaptionerError, Decoding};
use crate::encoder::weights::{self, Weights};

/// The `[captioner]` table of a `model.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowAttendTellConfig {
    /// Annotation vectors per picture; 196 for conv5_3 of VGG-16.
    pub regions: i64,
    /// Channels of an annotation vector; 512 for conv5_3 of VGG-16.
    pub channels: i64,
    /// Size of the word embedding.
    pub embedding: i64,
    /// Units of the LSTM.
    pub hidden: i64,
    /// Units of the layer that scores a region.
    pub attention: i64,
    pub gaze: Gaze,
}

/// How the model looks at the regions that it has weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gaze {
    /// At all of them, as much as each weighs (section 4.2).
    Soft,
    /// At one (section 4.1): a sampled one while it learns, the likeliest when it captions.
    Hard,
}

/// The layers, of a model that captions and of one that learns.
///
/// In `captioner.safetensors` each tensor has the name that [`Layers::new`] asks for.
pub struct Layers {
    initial_hidden: [Tensor; 2],
    initial_cell: [Tensor; 2],
    word_embedding: Tensor,
    region: [Tensor; 2],
    state: Tensor,
    score: Tensor,
    gate: [Tensor; 2],
    lstm: [Tensor; 4],
    deep_hidden: [Tensor; 2],
    deep_seen: Tensor,
    output: [Tensor; 2],
}

/// Hidden and cell state of the LSTM, each `[rows, hidden]`, f32.
pub type State = [Tensor; 2];

/// The regions of some pictures, one row for each caption under way; f32 unless it is told otherwise.
pub struct Regions {
    /// `[rows, regions, channels]`, in the type of the layers' weights.
    pub annotations: Tensor,
    /// `[rows, regions, attention]`: what the score takes from the annotations, computed once.
    projected: Tensor,
}

impl Layers {
    /// Asks `take` for each tensor by name and shape. The LSTM's gates stand in the order input,
    /// forget, cell, output; its input is the word's embedding, then what was seen.
    ///
    /// # Errors
    ///
    /// Those of `take`.
    pub fn new<E>(
        config: &ShowAttendTellConfig,
        words: i64,
        mut take: impl FnMut(&'static str, &[i64]) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let &ShowAttendTellConfig {
            channels,
            embedding,
            hidden,
            attention,
            ..
        } = config;
        Ok(Layers {
            initial_hidden: [
                take("initial_hidden.weight", &[hidden, channels])?,
                take("initial_hidden.bias", &[hidden])?,
            ],
            initial_cell: [
                take("initial_cell.weight", &[hidden, channels])?,
                take("initial_cell.bias", &[hidden])?,
            ],
            word_embedding: take("word_embedding.weight", &[words, embedding])?,
            region: [
                take("attention.region.weight", &[attention, channels])?,
                take("attention.region.bias", &[attention])?,
            ],
            state: take("attention.state.weight", &[attention, hidden])?,
            score: take("attention.score.weight", &[1, attention])?,
            gate: [take("gate.weight", &[1, hidden])?, take("gate.bias", &[1])?],
            lstm: [
                take("lstm.weight_ih", &[4 * hidden, embedding + channels])?,
                take("lstm.weight_hh", &[4 * hidden, hidden])?,
                take("lstm.bias_ih", &[4 * hidden])?,
                take("lstm.bias_hh", &[4 * hidden])?,
            ],
            deep_hidden: [
                take("deep_output.hidden.weight", &[embedding, hidden])?,
                take("deep_output.hidden.bias", &[embedding])?,
            ],
            deep_seen: take("deep_output.seen.weight", &[embedding, channels])?,
            output: [
                take("output.weight", &[words, embedding])?,
                take("output.bias", &[words])?,
            ],
        })
    }

    /// The same layers for computing products in `kind`: copies of their weights, through which gradients
    /// flow back. Biases, the embedding of words, and what scores regions and opens the gate, a single row
    /// each, stay f32.
    ///
    /// # Errors
    ///
    /// When the device has no room.
    pub fn computing_in(&self, kind: Kind) -> Result<Self, tch::TchError> {
        let with_bias = |[weight, bias]: &[Tensor; 2]| {
            Ok::<_, tch::TchError>([weight.f_to_kind(kind)?, bias.shallow_clone()])
        };
        let [w_ih, w_hh, b_ih, b_hh] = &self.lstm;
        Ok(Layers {
            initial_hidden: with_bias(&self.initial_hidden)?,
            initial_cell: with_bias(&self.initial_cell)?,
            word_embedding: self.word_embedding.shallow_clone(),
            region: with_bias(&self.region)?,
            state: self.state.f_to_kind(kind)?,
            score: self.score.shallow_clone(),
            gate: self.gate.each_ref().map(Tensor::shallow_clone),
            lstm: [
                w_ih.f_to_kind(kind)?,
                w_hh.f_to_kind(kind)?,
                b_ih.shallow_clone(),
                b_hh.shallow_clone(),
            ],
            deep_hidden: with_bias(&self.deep_hidden)?,
            deep_seen: self.deep_seen.f_to_kind(kind)?,
            output: with_bias(&self.output)?,
        })
    }

    /// `annotations`: `[pictures, regions, channels]`, f32, after their ReLU.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn regions(&self, annotations: Tensor) -> Result<Regions, tch::TchError> {
        let [weight, bias] = &self.region;
        let annotations = annotations.f_to_kind(weight.kind())?;
        let projected = linear(&annotations, weight, Some(bias))?;
        Ok(Regions {
            annotations,
            projected,
        })
    }

    /// The state before the first word, from the mean annotation vector of each row.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn initial(&self, regions: &Regions) -> Result<State, tch::TchError> {
        let mean = regions
            .annotations
            .f_mean_dim(Some(&[1i64][..]), false, Kind::Float)?;
        let layer = |[weight, bias]: &[Tensor; 2]| linear(&mean, weight, Some(bias))?.f_tanh();
        Ok([layer(&self.initial_hidden)?, layer(&self.initial_cell)?])
    }

    /// The weight of each region, `[rows, regions]`, in sum one.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn weigh(&self, regions: &Regions, state: &State) -> Result<Tensor, tch::TchError> {
        let none: Option<&Tensor> = None;
        let from_state = linear(&state[0], &self.state, None)?.f_unsqueeze(1)?;
        regions
            .projected
            .f_add(&from_state)?
            .f_tanh()?
            .f_linear(&self.score, none)?
            .f_squeeze_dim(-1)?
            .f_softmax(-1, Kind::Float)
    }

    /// What is seen, `[rows, channels]`, by one who looks at each region as much as `gaze`,
    /// `[rows, regions]`, says.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn see(
        &self,
        regions: &Regions,
        gaze: &Tensor,
        state: &State,
    ) -> Result<Tensor, tch::TchError> {
        let [weight, bias] = &self.gate;
        let gate = state[0].f_linear(weight, Some(bias))?.f_sigmoid()?;
        gaze.f_to_kind(regions.annotations.kind())?
            .f_unsqueeze(1)?
            .f_bmm(&regions.annotations)?
            .f_squeeze_dim(1)?
            .f_to_kind(Kind::Float)?
            .f_mul(&gate)
    }

    /// Feeds the LSTM the last words, `[rows]`, i64, and what is seen.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn step(
        &self,
        words: &Tensor,
        seen: &Tensor,
        state: &State,
    ) -> Result<State, tch::TchError> {
        let embedded = self.word_embedding.f_index_select(0, words)?;
        let input = Tensor::f_cat(&[&embedded, seen], 1)?;
        lstm_step(&input, state, self.lstm.each_ref())
    }

    /// The deep output: `[rows, embedding]`, before the last layer.
    ///
    /// `words`: `[rows]`, the last words; `seen`: what the step was fed; `state`: what came of it.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn deep_output(
        &self,
        words: &Tensor,
        seen: &Tensor,
        hidden: &Tensor,
    ) -> Result<Tensor, tch::TchError> {
        let [weight, bias] = &self.deep_hidden;
        linear(hidden, weight, Some(bias))?
            .f_add(&self.word_embedding.f_index_select(0, words)?)?
            .f_add(&linear(seen, &self.deep_seen, None)?)?
            .f_tanh()
    }

    /// `[rows, words]`: the logits of the next words.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn logits(&self, deep_output: &Tensor) -> Result<Tensor, tch::TchError> {
        let [weight, bias] = &self.output;
        linear(deep_output, weight, Some(bias))
    }
}

impl Regions {
    /// The rows named in `rows`, `[n]`, i64.
    fn select(&self, rows: &Tensor) -> Result<Self, tch::TchError> {
        Ok(Regions {
            annotations: self.annotations.f_index_select(0, rows)?,
            projected: self.projected.f_index_select(0, rows)?,
        })
    }
}

impl Gaze {
    /// Where one looks who captions: `[rows, regions]`, in sum one.
    fn settled(self, weights: &Tensor) -> Result<Tensor, tch::TchError> {
        match self {
            Gaze::Soft => Ok(weights.shallow_clone()),
            Gaze::Hard => {
                let likeliest = weights.f_argmax(-1, true)?;
                weights.f_zeros_like()?.f_scatter_value(-1, &likeliest, 1.0)
            }
        }
    }
}

/// See the [module](self).
pub struct ShowAttendTell {
    id: String,
    config: ShowAttendTellConfig,
    vocabulary: Vocabulary,
    device: Device,
    layers: Layers,
    choice: Choice,
}

impl ShowAttendTell {
    /// Loads the tensors in `file` onto `device`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a tensor is missing or has another shape than `config` and
    /// `vocabulary` ask for.
    pub fn load(
        config: &ShowAttendTellConfig,
        vocabulary: Vocabulary,
        file: &Path,
        device: Device,
    ) -> Result<Self, CaptionerError> {
        let mut weights: Weights = weights::read(file)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(vocabulary.to_text().as_bytes());
        hasher.update(format!("{:?}", config.gaze).as_bytes());
        let layers = Layers::new(config, vocabulary.len() as i64, |name, shape| {
            let tensor = weights::take(&mut weights, file, name, shape)?;
            weights::digest(&mut hasher, [(name, &tensor)])?;
            Ok::<_, CaptionerError>(tensor.f_to_device(device)?)
        })?;
        Ok(ShowAttendTell {
            id: format!("show-attend-tell-{}", weights::short(&hasher)),
            config: config.clone(),
            choice: Choice::new(&vocabulary, device)?,
            vocabulary,
            device,
            layers,
        })
    }

    /// `[pictures, regions, channels]` of plain annotation vectors, picture by picture, region by
    /// region.
    fn annotations(&self, features: &[f32]) -> Result<Tensor, CaptionerError> {
        let dimensions = self.dimensions();
        if features.is_empty() || !features.len().is_multiple_of(dimensions) {
            return Err(CaptionerError::WrongFeatures {
                dimensions,
                found: features.len(),
            });
        }
        let pictures = (features.len() / dimensions) as i64;
        let shape = [pictures, self.config.regions, self.config.channels];
        let features = Tensor::f_from_slice(features)?.f_view(shape)?;
        Ok(features.f_to_device(self.device)?)
    }
}

impl Captioner for ShowAttendTell {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimensions(&self) -> usize {
        (self.config.regions * self.config.channels) as usize
    }

    fn caption(
        &self,
        features: &[f32],
        decoding: &Decoding,
    ) -> Result<Vec<Vec<Beam>>, CaptionerError> {
        if features.is_empty() {
            return Ok(Vec::new());
        }
        let _no_gradients = tch::no_grad_guard();
        let regions = self.layers.regions(self.annotations(features)?)?;
        let pictures = features.len() / self.dimensions();
        let state = self.layers.initial(&regions)?;
        let mut stepper = Stepper {
            model: self,
            regions,
            state,
            pictures: (0..pictures as i64).collect(),
        };
        let found = beam::search(&mut stepper, pictures, decoding)?;
        Ok(candidates::beams(found, &self.vocabulary))
    }

    fn attention(
        &self,
        features: &[f32],
        caption: &str,
    ) -> Result<Option<Attention>, CaptionerError> {
        if features.len() != self.dimensions() {
            return Err(CaptionerError::WrongFeatures {
                dimensions: self.dimensions(),
                found: features.len(),
            });
        }
        let _no_gradients = tch::no_grad_guard();
        let layers = &self.layers;
        let regions = layers.regions(self.annotations(features)?)?;
        let mut state = layers.initial(&regions)?;
        let mut last = START;
        let mut attention = Vec::new();
        for (word, token) in caption
            .split_whitespace()
            .zip(self.vocabulary.encode(caption))
        {
            let weights = layers.weigh(&regions, &state)?;
            let gaze = self.config.gaze.settled(&weights)?;
            let seen = layers.see(&regions, &gaze, &state)?;
            let fed = column(std::iter::once(i64::from(last)), self.device)?;
            state = layers.step(&fed, &seen, &state)?;
            let mut row = vec![0.0f32; self.config.regions as usize];
            let length = row.len();
            weights
                .f_to_device(Device::Cpu)?
                .f_copy_data(&mut row, length)?;
            attention.push((word.to_owned(), row));
            last = token;
        }
        Ok(Some(attention))
    }
}

/// The states of the rows of the last call.
struct Stepper<'a> {
    model: &'a ShowAttendTell,
    /// One row per picture.
    regions: Regions,
    state: State,
    /// The picture of each row.
    pictures: Vec<i64>,
}

impl Step for Stepper<'_> {
    type Error = tch::TchError;

    fn advance(
        &mut self,
        rows: &[Extend],
        top: usize,
    ) -> Result<Vec<Vec<Candidate>>, tch::TchError> {
        let (device, layers) = (self.model.device, &self.model.layers);
        self.pictures = rows.iter().map(|row| self.pictures[row.row]).collect();
        let parents = column(rows.iter().map(|row| row.row as i64), device)?;
        let words = column(rows.iter().map(|row| i64::from(row.token)), device)?;
        let pictures = column(self.pictures.iter().copied(), device)?;
        let [hidden, cell] = &self.state;
        let state = [
            hidden.f_index_select(0, &parents)?,
            cell.f_index_select(0, &parents)?,
        ];
        let regions = self.regions.select(&pictures)?;
        let weights = layers.weigh(&regions, &state)?;
        let gaze = self.model.config.gaze.settled(&weights)?;
        let seen = layers.see(&regions, &gaze, &state)?;
        self.state = layers.step(&words, &seen, &state)?;
        let deep_output = layers.deep_output(&words, &seen, &self.state[0])?;
        self.model.choice.best(&layers.logits(&deep_output)?, top)
    }
}
