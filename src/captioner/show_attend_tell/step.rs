//! A step of the search: the same layers, their weights laid out for it.
//!
//! What the last word gives the gates of the LSTM is computed once for each word; what was seen and said
//! before is one product.

use std::cell::RefCell;

use tch::{Kind, TchError, Tensor};

use super::score::scores;
use super::{Gaze, Layers, Regions, State};
use crate::captioner::candidates::{LanguageModel, Numbers, Search};
use crate::captioner::mixed::lstm_from_gates;
use crate::captioner::word_gates::WordGates;
use crate::encoder::fused::Linear;

/// Rows that weights are laid out for: those of a batch of 64 in a search of width 3.
const ROWS: i64 = 192;

/// The layers that a step takes, laid out.
pub struct Prepared {
    /// What the state gives the scores of regions; without bias.
    state: Linear,
    score: Tensor,
    gate: [Tensor; 2],
    word_gates: RefCell<WordGates>,
    /// What was seen and the hidden state, side by side, give the gates, and both biases.
    gates: Linear,
    word_embedding: Tensor,
    /// The hidden state and what was seen, side by side, to the deep output but for its word.
    deep: Linear,
    output: Linear,
    gaze: Gaze,
}

impl Prepared {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(layers: &Layers, gaze: Gaze) -> Result<Self, TchError> {
        let embedding = layers.word_embedding.size()[1];
        let [w_ih, w_hh, b_ih, b_hh] = &layers.lstm;
        let from_word = w_ih.f_narrow(1, 0, embedding)?.f_contiguous()?;
        let from_seen = w_ih.f_narrow(1, embedding, w_ih.size()[1] - embedding)?;
        let no_bias = Tensor::f_zeros(
            [layers.state.size()[0]],
            (Kind::Float, layers.state.device()),
        )?;
        let [deep_weight, deep_bias] = &layers.deep_hidden;
        let [out_weight, out_bias] = &layers.output;
        let side_by_side = |a: &Tensor, b: &Tensor| Tensor::f_cat(&[a, b], 1);
        Ok(Prepared {
            state: Linear::new(layers.state.shallow_clone(), no_bias, ROWS)?,
            score: layers.score.shallow_clone(),
            gate: layers.gate.each_ref().map(Tensor::shallow_clone),
            word_gates: RefCell::new(WordGates::new(
                layers.word_embedding.shallow_clone(),
                from_word,
            )?),
            gates: Linear::new(side_by_side(&from_seen, w_hh)?, b_ih.f_add(b_hh)?, ROWS)?,
            word_embedding: layers.word_embedding.shallow_clone(),
            deep: Linear::new(
                side_by_side(deep_weight, &layers.deep_seen)?,
                deep_bias.shallow_clone(),
                ROWS,
            )?,
            output: Linear::new(out_weight.shallow_clone(), out_bias.shallow_clone(), ROWS)?,
            gaze,
        })
    }

    /// What each row sees, `[rows, channels]`, before its gate, on a CPU: picture by picture, since what is known of
    /// a picture's regions fits its cache, and need not be copied for each of its rows.
    fn see_by_picture(
        &self,
        regions: &Regions,
        pictures: &[i64],
        from_state: &Tensor,
    ) -> Result<Tensor, TchError> {
        let count = regions.projected.size()[1];
        let scores = scores(
            &Numbers::of(&regions.projected)?,
            &Numbers::of(from_state)?,
            pictures,
            &Numbers::of(&self.score)?,
            count as usize,
        );
        let weights = Tensor::f_from_slice(&scores)?
            .f_view([pictures.len() as i64, count])?
            .f_softmax(-1, Kind::Float)?;
        let gaze = self.gaze.settled(&weights)?;
        let mut seen = Vec::new();
        let mut first = 0;
        for rows in pictures.chunk_by(|a, b| a == b) {
            let gaze = gaze.f_narrow(0, first, rows.len() as i64)?;
            seen.push(gaze.f_matmul(&regions.annotations.f_select(0, rows[0])?)?);
            first += rows.len() as i64;
        }
        Tensor::f_cat(&seen, 0)
    }

    /// The same for all rows at once, as a GPU likes it.
    fn see_at_once(
        &self,
        regions: &Regions,
        pictures: &Tensor,
        from_state: &Tensor,
    ) -> Result<Tensor, TchError> {
        let weights = regions
            .projected
            .f_index_select(0, pictures)?
            .f_add_(&from_state.f_unsqueeze(1)?)?
            .f_tanh_()?
            .f_linear(&self.score, None::<&Tensor>)?
            .f_squeeze_dim(-1)?
            .f_softmax(-1, Kind::Float)?;
        let annotations = regions.annotations.f_index_select(0, pictures)?;
        let gaze = self.gaze.settled(&weights)?;
        gaze.f_unsqueeze(1)?.f_bmm(&annotations)?.f_squeeze_dim(1)
    }
}

/// The states of the rows of the last call.
pub struct Stepper<'a> {
    pub prepared: &'a Prepared,
    pub search: Search,
    /// One row per picture.
    pub regions: Regions,
    pub state: State,
    /// `[rows]`, i64: the picture of each row.
    pub pictures: Tensor,
}

impl LanguageModel for Stepper<'_> {
    fn advance(&mut self, parents: &Tensor, words: &Tensor) -> Result<Tensor, TchError> {
        let prepared = self.prepared;
        self.pictures = self.pictures.f_index_select(0, parents)?;
        let [hidden, cell] = &self.state;
        let hidden = hidden.f_index_select(0, parents)?;
        let cell = cell.f_index_select(0, parents)?;
        let from_state = prepared.state.apply(&hidden)?;
        let mut word_gates = prepared.word_gates.borrow_mut();
        let (seen, from_words) = match self.search {
            Search::OnHost => {
                let pictures = Vec::<i64>::try_from(&self.pictures)?;
                let seen = prepared.see_by_picture(&self.regions, &pictures, &from_state)?;
                (seen, word_gates.of(words)?)
            }
            Search::OnDevice => {
                let seen = prepared.see_at_once(&self.regions, &self.pictures, &from_state)?;
                (seen, word_gates.compute(words)?)
            }
        };
        let [weight, bias] = &prepared.gate;
        let gate = hidden.f_linear(weight, Some(bias))?.f_sigmoid_()?;
        let seen = seen.f_mul(&gate)?;
        let gates = prepared
            .gates
            .apply(&Tensor::f_cat(&[&seen, &hidden], 1)?)?;
        self.state = lstm_from_gates(&gates.f_add(&from_words)?, &cell)?;
        let said = prepared.word_embedding.f_index_select(0, words)?;
        let deep_output = prepared
            .deep
            .apply(&Tensor::f_cat(&[&self.state[0], &seen], 1)?)?
            .f_add(&said)?
            .f_tanh_()?;
        prepared.output.apply(&deep_output)
    }
}
