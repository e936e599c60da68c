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

mod layers;
mod score;
mod step;

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::candidates::{self, Choice, Search, column};
use super::vocabulary::{START, Vocabulary};
use super::{Attention, Beam, Captioner, CaptionerError, Decoding};
use crate::encoder::fused::keep_buffers;
use crate::encoder::weights::{self, Weights};
pub use layers::{Layers, Regions, State};
use step::{Prepared, Stepper};

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
    prepared: Prepared,
    choice: Choice,
    search: Search,
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
        if device == Device::Cpu {
            keep_buffers();
        }
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
            search: Search::for_device(device),
            vocabulary,
            device,
            prepared: Prepared::new(&layers, config.gaze)?,
            layers,
        })
    }

    /// The same captioner, searching otherwise than [`Search::for_device`] says.
    pub fn searching(self, search: Search) -> Self {
        Self { search, ..self }
    }

    /// `[pictures, regions, channels]` of plain annotation vectors, picture by picture, region by
    /// region.
    fn annotations(&self, features: &[f32]) -> Result<Tensor, CaptionerError> {
        self.check(features)?;
        let pictures = (features.len() / self.dimensions()) as i64;
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
        let stepper = Stepper {
            prepared: &self.prepared,
            search: self.search,
            regions,
            state,
            pictures: Tensor::f_arange(pictures as i64, (Kind::Int64, self.device))?,
        };
        let found = self.search.run(stepper, &self.choice, pictures, decoding)?;
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
