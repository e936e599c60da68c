//! What captioners share around the search: logits -> candidates, hypotheses -> beams.

use std::ops::Deref;

use tch::{Device, Kind, TchError, Tensor};

use super::beam::{self, Candidate, Extend, Hypothesis, Step};
use super::likeliest::likeliest;
use super::on_device;
use super::vocabulary::{END, START, TokenId, UNK, Vocabulary};
use super::{Beam, Decoding};

/// The tokens that are never emitted.
const WITHHELD: [TokenId; 2] = [START, UNK];

/// What says how likely the next words are, in tensors. It keeps the states of the rows of the last call.
pub trait LanguageModel {
    /// Feeds each row a token and returns the logits of the next, `[rows, words]`, f32. Before the first call
    /// there is one row per picture.
    ///
    /// `parents`: `[rows]`, i64, the rows of the call before that they continue; `tokens`: `[rows]`, i64.
    ///
    /// # Errors
    ///
    /// When the device fails.
    fn advance(&mut self, parents: &Tensor, tokens: &Tensor) -> Result<Tensor, TchError>;
}

/// Where it is decided which captions are gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// [`beam::search`]
    OnHost,
    /// [`on_device::search`]
    OnDevice,
}

impl Search {
    /// The faster one for models on `device`.
    pub fn for_device(device: Device) -> Self {
        match device {
            Device::Cpu => Search::OnHost,
            _ => Search::OnDevice,
        }
    }

    /// Searches captions for `pictures` pictures; for each the hypotheses, best first.
    ///
    /// # Errors
    ///
    /// Those of `model`.
    pub fn run<M: LanguageModel>(
        self,
        mut model: M,
        choice: &Choice,
        pictures: usize,
        decoding: &Decoding,
    ) -> Result<Vec<Vec<Hypothesis>>, TchError> {
        match self {
            Search::OnHost => beam::search(&mut OnHost { model, choice }, pictures, decoding),
            Search::OnDevice => on_device::search(&mut model, choice, pictures, decoding),
        }
    }
}

/// A language model whose candidates are fetched at each step.
struct OnHost<'a, M> {
    model: M,
    choice: &'a Choice,
}

impl<M: LanguageModel> Step for OnHost<'_, M> {
    type Error = TchError;

    fn advance(&mut self, rows: &[Extend], top: usize) -> Result<Vec<Vec<Candidate>>, TchError> {
        let device = self.choice.device();
        let parents = column(rows.iter().map(|row| row.row as i64), device)?;
        let tokens = column(rows.iter().map(|row| i64::from(row.token)), device)?;
        let logits = self.model.advance(&parents, &tokens)?;
        self.choice.best(&logits, top)
    }
}

/// Picks the likeliest next tokens; never the start token, never one that stands for unknown words.
///
/// Withheld tokens keep their share of the probability: the others' are the model's own.
pub struct Choice {
    /// `[words]`: zero, or minus infinity for the tokens that are never emitted.
    withheld: Tensor,
    /// The same for the first word, which is no end.
    withheld_first: Tensor,
    words: usize,
}

impl Choice {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(vocabulary: &Vocabulary, device: Device) -> Result<Self, TchError> {
        Self::among(vocabulary.len(), device)
    }

    /// Among `words` tokens.
    pub(super) fn among(words: usize, device: Device) -> Result<Self, TchError> {
        let mut withheld = vec![0.0f32; words];
        for token in WITHHELD {
            withheld[token as usize] = f32::NEG_INFINITY;
        }
        let on_device = |values: &[f32]| Tensor::f_from_slice(values)?.f_to_device(device);
        let everywhere = on_device(&withheld)?;
        withheld[END as usize] = f32::NEG_INFINITY;
        Ok(Choice {
            withheld: everywhere,
            withheld_first: on_device(&withheld)?,
            words,
        })
    }

    pub fn device(&self) -> Device {
        self.withheld.device()
    }

    /// The `top` likeliest tokens of each row of `logits`, `[rows, words]`, f32, best first.
    ///
    /// # Errors
    ///
    /// When the device fails.
    fn best(&self, logits: &Tensor, top: usize) -> Result<Vec<Vec<Candidate>>, TchError> {
        let top = top.min(self.words);
        let logits = Numbers::of(logits)?;
        Ok(likeliest(&logits, self.words, &WITHHELD, top))
    }

    /// The same on the device: log-probabilities and tokens, each `[rows, top]`, or as many as there are words.
    /// The end is none of them where the `first` word is to be said.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub(super) fn likeliest(
        &self,
        logits: &Tensor,
        top: usize,
        first: bool,
    ) -> Result<(Tensor, Tensor), TchError> {
        let withheld = if first {
            &self.withheld_first
        } else {
            &self.withheld
        };
        logits
            .f_log_softmax(-1, Kind::Float)?
            .f_add(withheld)?
            .f_topk(top.min(self.words) as i64, -1, true, true)
    }
}

/// The numbers of a tensor, as f32 on the CPU, row by row.
pub struct Numbers(Tensor);

impl Numbers {
    /// Copies nothing if they lie there so already.
    ///
    /// # Errors
    ///
    /// When they cannot be fetched.
    pub fn of(tensor: &Tensor) -> Result<Self, TchError> {
        let on_cpu = tensor.f_to_device(Device::Cpu)?;
        Ok(Numbers(on_cpu.f_to_kind(Kind::Float)?.f_contiguous()?))
    }
}

impl Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        if self.0.numel() == 0 {
            return &[];
        }
        // SAFETY: as many f32 as it says lie there, for as long as the tensor is held.
        unsafe { std::slice::from_raw_parts(self.0.data_ptr().cast::<f32>(), self.0.numel()) }
    }
}

/// The hypotheses of each picture as beams in words.
pub fn beams(found: Vec<Vec<Hypothesis>>, vocabulary: &Vocabulary) -> Vec<Vec<Beam>> {
    let beam = |hypothesis: Hypothesis| Beam {
        caption: vocabulary.decode(&hypothesis.tokens),
        log_prob: hypothesis.log_prob,
        tokens: hypothesis.length as i32,
        score: hypothesis.score,
        finished: hypothesis.finished,
    };
    let of_picture = |hypotheses: Vec<Hypothesis>| hypotheses.into_iter().map(beam).collect();
    found.into_iter().map(of_picture).collect()
}

/// A list of token or row numbers on `device`.
///
/// # Errors
///
/// When the device has no room.
pub fn column(values: impl Iterator<Item = i64>, device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(&values.collect::<Vec<i64>>())?.f_to_device(device)
}
