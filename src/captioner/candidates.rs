//! What captioners share around the search: logits -> candidates, hypotheses -> beams.

use tch::{Device, Kind, Tensor};

use super::Beam;
use super::beam::{Candidate, Hypothesis};
use super::likeliest::likeliest;
use super::vocabulary::{START, TokenId, UNK, Vocabulary};

/// The tokens that are never emitted.
const WITHHELD: [TokenId; 2] = [START, UNK];

/// Picks the likeliest next tokens; never the start token, never one that stands for unknown words.
pub struct Choice {
    /// `[words]`: zero, or minus infinity for the tokens that are never emitted.
    withheld: Tensor,
    words: usize,
}

impl Choice {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(vocabulary: &Vocabulary, device: Device) -> Result<Self, tch::TchError> {
        let mut withheld = vec![0.0f32; vocabulary.len()];
        for token in WITHHELD {
            withheld[token as usize] = f32::NEG_INFINITY;
        }
        Ok(Choice {
            withheld: Tensor::f_from_slice(&withheld)?.f_to_device(device)?,
            words: vocabulary.len(),
        })
    }

    /// `logits`: `[rows, words]`, f32. Returns the `top` likeliest tokens of each row, best first.
    ///
    /// Withheld tokens keep their share of the probability: the others' are the model's own.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn best(&self, logits: &Tensor, top: usize) -> Result<Vec<Vec<Candidate>>, tch::TchError> {
        let top = top.min(self.words);
        if logits.device() == Device::Cpu && logits.kind() == Kind::Float {
            let logits = logits.f_contiguous()?;
            // SAFETY: as many f32 as it says lie there, and it outlives the slice.
            let values = unsafe {
                std::slice::from_raw_parts(logits.data_ptr().cast::<f32>(), logits.numel())
            };
            return Ok(likeliest(values, self.words, &WITHHELD, top));
        }
        let (log_probs, tokens) = logits
            .f_log_softmax(-1, Kind::Float)?
            .f_add(&self.withheld)?
            .f_topk(top as i64, -1, true, true)?;
        let mut log_prob = vec![0.0f32; log_probs.numel()];
        let mut token = vec![0i64; log_prob.len()];
        let length = log_prob.len();
        log_probs
            .f_to_device(Device::Cpu)?
            .f_copy_data(&mut log_prob, length)?;
        tokens
            .f_to_device(Device::Cpu)?
            .f_copy_data(&mut token, length)?;
        let candidates: Vec<Candidate> = token
            .into_iter()
            .zip(log_prob)
            .map(|(token, log_prob)| Candidate {
                token: token as u32,
                log_prob,
            })
            .collect();
        Ok(candidates.chunks(top).map(<[_]>::to_vec).collect())
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
pub fn column(values: impl Iterator<Item = i64>, device: Device) -> Result<Tensor, tch::TchError> {
    Tensor::f_from_slice(&values.collect::<Vec<i64>>())?.f_to_device(device)
}
