//! The search of [`beam`](super::beam) in tensors, for devices that would wait for the host at each step.
//!
//! Captions, scores and what is searched are those of [`beam::search`](super::beam::search). What differs is
//! who decides: on the device, all pictures have as many open captions as there are beams, some of them
//! worth minus infinity, and nothing is fetched before the end. Only every [`CHECK`] steps the device is
//! asked which pictures are decided; the others go on alone. On a CPU, where asking costs nothing,
//! computing what nobody reads would.

use tch::{Device, Kind, TchError, Tensor};

use super::Decoding;
use super::beam::{Hypothesis, hypothesis, keep_best};
use super::candidates::{Choice, LanguageModel, column};
use super::vocabulary::{END, START, TokenId};

/// Steps after which the device is asked what is decided.
const CHECK: usize = 4;

/// Searches captions for `pictures` pictures; for each the hypotheses, best first.
///
/// # Errors
///
/// Those of `model`, and when the device fails.
pub fn search<M: LanguageModel>(
    model: &mut M,
    choice: &Choice,
    pictures: usize,
    decoding: &Decoding,
) -> Result<Vec<Vec<Hypothesis>>, TchError> {
    let mut found = vec![Vec::new(); pictures];
    let mut beams = Beams::new(pictures, decoding, choice.device())?;
    for length in 1..=decoding.max_tokens {
        beams.advance(model, choice, length)?;
        if length % CHECK == 0 && length < decoding.max_tokens {
            beams.part_with_decided(&mut found)?;
            if beams.pictures.is_empty() {
                return Ok(found);
            }
        }
    }
    beams.fetch(&mut found)?;
    Ok(found)
}

/// The captions of the pictures that are still searched.
struct Beams<'a> {
    decoding: &'a Decoding,
    /// Which picture is the first, the second and so on of those in the tensors.
    pictures: Vec<usize>,
    open: Open,
    finished: Finished,
}

/// Captions that have not ended, best first.
struct Open {
    /// `[pictures, open]`, f32; minus infinity where there is none.
    log_prob: Tensor,
    /// `[pictures, open, max_tokens]`, i64, without start.
    tokens: Tensor,
    /// `[pictures, open]`, i64: the rows of the model's last call that they continue.
    rows: Tensor,
}

/// Captions that have ended, best first.
struct Finished {
    /// `[pictures, beam]`, f32; minus infinity where there is none.
    score: Tensor,
    log_prob: Tensor,
    /// `[pictures, beam]`, i64: tokens with their end.
    length: Tensor,
    /// `[pictures, beam, max_tokens]`, i64.
    tokens: Tensor,
}

impl<'a> Beams<'a> {
    fn new(pictures: usize, decoding: &'a Decoding, device: Device) -> Result<Self, TchError> {
        let (count, beam) = (pictures as i64, decoding.beam as i64);
        let max_tokens = decoding.max_tokens as i64;
        let none = || {
            let options = (Kind::Float, device);
            Tensor::f_full([count, beam], f64::NEG_INFINITY, options)
        };
        Ok(Beams {
            decoding,
            pictures: (0..pictures).collect(),
            // One for each picture, of which nothing is said yet.
            open: Open {
                log_prob: Tensor::f_zeros([count, 1], (Kind::Float, device))?,
                tokens: Tensor::f_full(
                    [count, 1, max_tokens],
                    i64::from(START),
                    (Kind::Int64, device),
                )?,
                rows: Tensor::f_arange(count, (Kind::Int64, device))?.f_unsqueeze(1)?,
            },
            finished: Finished {
                score: none()?,
                log_prob: none()?,
                length: Tensor::f_zeros([count, beam], (Kind::Int64, device))?,
                tokens: Tensor::f_zeros([count, beam, max_tokens], (Kind::Int64, device))?,
            },
        })
    }

    /// Says one more token, the one of number `length`.
    fn advance<M: LanguageModel>(
        &mut self,
        model: &mut M,
        choice: &Choice,
        length: usize,
    ) -> Result<(), TchError> {
        let (pictures, open) = self.open.log_prob.size2()?;
        // What was said last; start before the first token.
        let last = self
            .open
            .tokens
            .f_select(2, (length as i64 - 2).max(0))?
            .f_reshape([-1])?;
        let logits = model.advance(&self.open.rows.f_reshape([-1])?, &last)?;
        let (log_probs, tokens) = choice.likeliest(&logits, self.decoding.beam, length == 1)?;
        let candidates = log_probs.size()[1];
        let of_each = [pictures, open * candidates];
        let tokens = tokens.f_view(of_each)?;
        // What is no finite number is no candidate.
        let log_probs = self
            .open
            .log_prob
            .f_unsqueeze(2)?
            .f_add(&log_probs.f_view([pictures, open, candidates])?)?
            .f_view(of_each)?
            .f_nan_to_num(f64::NEG_INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY)?;
        let ended = tokens.f_eq(i64::from(END))?;
        let ending = log_probs.f_masked_fill(&ended.f_logical_not()?, f64::NEG_INFINITY)?;
        self.finish(&ending, candidates, length)?;
        let going_on = log_probs.f_masked_fill(&ended, f64::NEG_INFINITY)?;
        self.go_on(&going_on, &tokens, candidates, length)?;
        self.decide()
    }

    /// Keeps the best of those that had ended and of those that `log_probs`, `[pictures, open * candidates]`,
    /// says end now.
    fn finish(
        &mut self,
        log_probs: &Tensor,
        candidates: i64,
        length: usize,
    ) -> Result<(), TchError> {
        let beam = self.decoding.beam as i64;
        let finished = &self.finished;
        let score = log_probs.f_div_scalar(f64::from(self.divisor(length)))?;
        let all = Tensor::f_cat(&[&finished.score, &score], 1)?;
        // A stable sort: among equals the earlier one stays.
        let (score, kept) = all.f_sort_stable(true, 1, true)?;
        let (score, kept) = (score.f_narrow(1, 0, beam)?, kept.f_narrow(1, 0, beam)?);
        let lengths = log_probs
            .f_full_like(length as i64)?
            .f_to_kind(Kind::Int64)?;
        let of_kept =
            |old: &Tensor, new: &Tensor| Tensor::f_cat(&[old, new], 1)?.f_gather(1, &kept, false);
        // What ends now is a candidate of one of the open captions.
        let parents = kept.f_sub_scalar(beam)?.f_floor_divide_scalar(candidates)?;
        let source = kept.f_where_self(&kept.f_lt(beam)?, &parents.f_add_scalar(beam)?)?;
        let tokens = Tensor::f_cat(&[&finished.tokens, &self.open.tokens], 1)?;
        self.finished = Finished {
            log_prob: of_kept(&finished.log_prob, log_probs)?,
            length: of_kept(&finished.length, &lengths)?,
            tokens: rows_of(&tokens, &source)?,
            score,
        };
        Ok(())
    }

    /// Goes on with the best of those that `log_probs`, `[pictures, open * candidates]`, says do not end.
    fn go_on(
        &mut self,
        log_probs: &Tensor,
        tokens: &Tensor,
        candidates: i64,
        length: usize,
    ) -> Result<(), TchError> {
        let (pictures, open) = self.open.log_prob.size2()?;
        let count = (self.decoding.beam as i64).min(open * candidates);
        let (log_prob, kept) = log_probs.f_sort_stable(true, 1, true)?;
        let (log_prob, kept) = (log_prob.f_narrow(1, 0, count)?, kept.f_narrow(1, 0, count)?);
        let parents = kept.f_floor_divide_scalar(candidates)?;
        let first_rows = Tensor::f_arange(pictures, (Kind::Int64, kept.device()))?
            .f_mul_scalar(open)?
            .f_unsqueeze(1)?;
        let said = rows_of(&self.open.tokens, &parents)?;
        said.f_select(2, length as i64 - 1)?
            .f_copy_(&tokens.f_gather(1, &kept, false)?)?;
        self.open = Open {
            log_prob,
            tokens: said,
            rows: first_rows.f_add(&parents)?,
        };
        Ok(())
    }

    /// Gives up the open captions of pictures where none of them can displace a finished one any more.
    fn decide(&mut self) -> Result<(), TchError> {
        let beam = self.decoding.beam as i64;
        let longest = f64::from(self.divisor(self.decoding.max_tokens));
        let best = self
            .open
            .log_prob
            .f_narrow(1, 0, 1)?
            .f_div_scalar(longest)?;
        let worst = self.finished.score.f_narrow(1, beam - 1, 1)?;
        let decided = worst
            .f_gt(f64::NEG_INFINITY)?
            .f_logical_and(&best.f_le_tensor(&worst)?)?;
        self.open.log_prob = self
            .open
            .log_prob
            .f_masked_fill(&decided, f64::NEG_INFINITY)?;
        Ok(())
    }

    /// What a score of so many tokens is divided by.
    fn divisor(&self, length: usize) -> f32 {
        (length as f32).powf(self.decoding.length_penalty)
    }

    /// Takes what was found of the pictures that have no open captions, and goes on with the others.
    fn part_with_decided(&mut self, found: &mut [Vec<Hypothesis>]) -> Result<(), TchError> {
        let best = self.open.log_prob.f_select(1, 0)?;
        let open: Vec<bool> = Vec::try_from(&best.f_gt(f64::NEG_INFINITY)?)?;
        if open.iter().all(|open| *open) {
            return Ok(());
        }
        let (open, decided): (Vec<usize>, Vec<usize>) =
            (0..open.len()).partition(|index| open[*index]);
        self.select(&decided)?.fetch(found)?;
        *self = self.select(&open)?;
        Ok(())
    }

    /// The beams of some of the pictures.
    fn select(&self, indices: &[usize]) -> Result<Self, TchError> {
        let numbers = indices.iter().map(|index| *index as i64);
        let chosen = column(numbers, self.open.rows.device())?;
        let of = |tensor: &Tensor| tensor.f_index_select(0, &chosen);
        Ok(Beams {
            decoding: self.decoding,
            pictures: indices.iter().map(|index| self.pictures[*index]).collect(),
            open: Open {
                log_prob: of(&self.open.log_prob)?,
                tokens: of(&self.open.tokens)?,
                rows: of(&self.open.rows)?,
            },
            finished: Finished {
                score: of(&self.finished.score)?,
                log_prob: of(&self.finished.log_prob)?,
                length: of(&self.finished.length)?,
                tokens: of(&self.finished.tokens)?,
            },
        })
    }

    /// Puts the hypotheses of each picture in its place. Where too few have ended, open ones follow.
    fn fetch(&self, found: &mut [Vec<Hypothesis>]) -> Result<(), TchError> {
        let (decoding, max_tokens) = (self.decoding, self.decoding.max_tokens);
        let finished = Captions::fetch(&self.finished.log_prob, &self.finished.tokens)?;
        let open = Captions::fetch(&self.open.log_prob, &self.open.tokens)?;
        let lengths = Vec::<i64>::try_from(&self.finished.length.f_reshape([-1])?)?;
        for (index, picture) in self.pictures.iter().enumerate() {
            let hypotheses = &mut found[*picture];
            for (place, tokens, log_prob) in finished.of(index) {
                let length = lengths[index * finished.each + place] as usize;
                let words = tokens[..length - 1].to_vec();
                hypotheses.push(hypothesis(words, log_prob, length, true, decoding));
            }
            let mut unfinished: Vec<Hypothesis> = open
                .of(index)
                .map(|(_, tokens, log_prob)| {
                    hypothesis(tokens.to_vec(), log_prob, max_tokens, false, decoding)
                })
                .collect();
            keep_best(&mut unfinished, decoding.beam - hypotheses.len());
            hypotheses.append(&mut unfinished);
        }
        Ok(())
    }
}

/// `values`: `[pictures, n, max_tokens]`, `index`: `[pictures, m]`. Returns `[pictures, m, max_tokens]`.
fn rows_of(values: &Tensor, index: &Tensor) -> Result<Tensor, TchError> {
    let (pictures, count) = index.size2()?;
    let size = [pictures, count, values.size()[2]];
    let index = index.f_unsqueeze(2)?.f_expand(size, false)?;
    values.f_gather(1, &index, false)
}

/// Captions of some pictures, fetched from the device.
struct Captions {
    /// For each picture.
    each: usize,
    max_tokens: usize,
    log_probs: Vec<f32>,
    tokens: Vec<TokenId>,
}

impl Captions {
    fn fetch(log_probs: &Tensor, tokens: &Tensor) -> Result<Self, TchError> {
        let tokens_each = tokens.size()[2] as usize;
        let tokens = Vec::<i64>::try_from(&tokens.f_reshape([-1])?)?;
        Ok(Captions {
            each: log_probs.size()[1] as usize,
            max_tokens: tokens_each,
            log_probs: Vec::try_from(&log_probs.f_reshape([-1])?)?,
            tokens: tokens.into_iter().map(|token| token as TokenId).collect(),
        })
    }

    /// Place, tokens and log-probability of each caption that a picture has.
    fn of(&self, picture: usize) -> impl Iterator<Item = (usize, &[TokenId], f32)> {
        let first = picture * self.each;
        (0..self.each)
            .map(move |place| {
                let at = (first + place) * self.max_tokens;
                let tokens = &self.tokens[at..at + self.max_tokens];
                (place, tokens, self.log_probs[first + place])
            })
            .filter(|(_, _, log_prob)| *log_prob > f32::NEG_INFINITY)
    }
}

#[cfg(test)]
mod tests;
