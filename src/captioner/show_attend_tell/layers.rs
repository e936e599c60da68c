//! The layers of Show, Attend and Tell, of a model that captions and of one that learns.

use tch::{Kind, Tensor};

use super::ShowAttendTellConfig;
use crate::captioner::mixed::{linear, lstm_step};

/// See the [module](self).
///
/// In `captioner.safetensors` each tensor has the name that [`Layers::new`] asks for.
pub struct Layers {
    initial_hidden: [Tensor; 2],
    initial_cell: [Tensor; 2],
    pub(super) word_embedding: Tensor,
    region: [Tensor; 2],
    pub(super) state: Tensor,
    pub(super) score: Tensor,
    pub(super) gate: [Tensor; 2],
    pub(super) lstm: [Tensor; 4],
    pub(super) deep_hidden: [Tensor; 2],
    pub(super) deep_seen: Tensor,
    pub(super) output: [Tensor; 2],
}

/// Hidden and cell state of the LSTM, each `[rows, hidden]`, f32.
pub type State = [Tensor; 2];

/// The regions of some pictures, one row for each caption under way; f32 unless it is told otherwise.
pub struct Regions {
    /// `[rows, regions, channels]`, in the type of the layers' weights.
    pub annotations: Tensor,
    /// `[rows, regions, attention]`: what the score takes from the annotations, computed once.
    pub(super) projected: Tensor,
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
