//! Beam search for a batch of pictures at once.
//!
//! A pure function over [`Step`]: no tensors, no words, no files. Show and Tell (arXiv 1609.06647,
//! section 3.1.2) keeps the `width` best partial captions at each step; those that reach the end
//! token move to the finished ones, of which the `width` best are kept.
//!
//! - A hypothesis is worth `log_prob / tokens ^ length_penalty`, finished or not.
//! - Width 1 is greedy search.
//! - A caption has at least one word; start and unknown tokens are the model's to withhold.
//! - Where fewer than `width` captions finish, the best unfinished ones fill the rest, behind.

use super::Decoding;
use super::vocabulary::{END, START, TokenId};

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub token: TokenId,
    /// Natural logarithm of its probability.
    pub log_prob: f32,
}

/// A row to continue: which row of the call before, and with which token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extend {
    pub row: usize,
    pub token: TokenId,
}

/// What a language model lends to the search. It keeps the states of the rows of the last call.
pub trait Step {
    type Error;

    /// Feeds each row its token and returns, for each, the `top` likeliest next tokens, best
    /// first. Before the first call there is one row per picture.
    ///
    /// # Errors
    ///
    /// When the model cannot be computed.
    fn advance(&mut self, rows: &[Extend], top: usize) -> Result<Vec<Vec<Candidate>>, Self::Error>;
}

/// A caption in tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// Without start and end.
    pub tokens: Vec<TokenId>,
    pub log_prob: f32,
    /// Tokens whose probabilities were summed: those above and, if finished, the end.
    pub length: usize,
    pub score: f32,
    pub finished: bool,
}

/// Searches captions for `pictures` pictures; for each the hypotheses, best first.
///
/// # Errors
///
/// Those of `model`.
pub fn search<M: Step>(
    model: &mut M,
    pictures: usize,
    decoding: &Decoding,
) -> Result<Vec<Vec<Hypothesis>>, M::Error> {
    let mut searches: Vec<Search> = (0..pictures).map(Search::new).collect();
    for length in 1..=decoding.max_tokens {
        // The rows of all pictures that are still searched, in one call.
        let rows: Vec<Extend> = searches
            .iter()
            .flat_map(|search| search.live.iter().map(Partial::extend))
            .collect();
        if rows.is_empty() {
            break;
        }
        // One more than the width, since the end token may be among them without counting.
        let candidates = model.advance(&rows, decoding.beam + 1)?;
        let mut first_row = 0;
        for search in &mut searches {
            let count = search.live.len();
            search.advance(
                &candidates[first_row..first_row + count],
                first_row,
                length,
                decoding,
            );
            first_row += count;
        }
    }
    Ok(searches
        .into_iter()
        .map(|search| search.finish(decoding))
        .collect())
}

/// A caption that has not ended.
#[derive(Debug, Clone)]
struct Partial {
    /// Row of the model's last call that it continues.
    row: usize,
    /// Start token first.
    tokens: Vec<TokenId>,
    log_prob: f32,
}

impl Partial {
    fn extend(&self) -> Extend {
        let token = self.tokens.last().copied().unwrap_or(START);
        Extend {
            row: self.row,
            token,
        }
    }
}

/// The search for one picture's captions.
struct Search {
    live: Vec<Partial>,
    finished: Vec<Hypothesis>,
    /// What is left of `live` when the search is over.
    unfinished: Vec<Partial>,
}

impl Search {
    fn new(picture: usize) -> Self {
        Search {
            live: vec![Partial {
                row: picture,
                tokens: vec![START],
                log_prob: 0.0,
            }],
            finished: Vec::new(),
            unfinished: Vec::new(),
        }
    }

    /// `candidates`: for each live caption; its row is `first_row` and its place among them.
    fn advance(
        &mut self,
        candidates: &[Vec<Candidate>],
        first_row: usize,
        length: usize,
        decoding: &Decoding,
    ) {
        let mut partial = Vec::with_capacity(decoding.beam * (decoding.beam + 1));
        for (place, (parent, candidates)) in self.live.iter().zip(candidates).enumerate() {
            let allowed = candidates
                .iter()
                .filter(|candidate| candidate.log_prob.is_finite())
                .filter(|candidate| length > 1 || candidate.token != END)
                .take(decoding.beam);
            for candidate in allowed {
                let log_prob = parent.log_prob + candidate.log_prob;
                if candidate.token == END {
                    let tokens = parent.tokens[1..].to_vec();
                    self.finished
                        .push(hypothesis(tokens, log_prob, length, true, decoding));
                } else {
                    partial.push((first_row + place, place, candidate.token, log_prob));
                }
            }
        }
        keep_best(&mut self.finished, decoding.beam);
        // A stable sort: among equals the one from the better parent stays.
        partial.sort_by(|a, b| b.3.total_cmp(&a.3));
        partial.truncate(decoding.beam);
        let live: Vec<Partial> = partial
            .into_iter()
            .map(|(row, place, token, log_prob)| {
                let mut tokens = self.live[place].tokens.clone();
                tokens.push(token);
                Partial {
                    row,
                    tokens,
                    log_prob,
                }
            })
            .collect();
        if self.is_decided(&live, decoding) {
            self.live.clear();
        } else if length == decoding.max_tokens {
            self.unfinished = live;
            self.live.clear();
        } else {
            self.live = live;
        }
    }

    /// Whether nothing that `live` could still become can displace a finished caption.
    fn is_decided(&self, live: &[Partial], decoding: &Decoding) -> bool {
        let Some(worst) = self
            .finished
            .last()
            .filter(|_| self.finished.len() >= decoding.beam)
        else {
            return false;
        };
        // Log-probabilities only fall, and the longest caption is divided by the most.
        let best = live
            .first()
            .map_or(f32::NEG_INFINITY, |partial| partial.log_prob);
        score(best, decoding.max_tokens, decoding) <= worst.score
    }

    fn finish(self, decoding: &Decoding) -> Vec<Hypothesis> {
        let mut unfinished: Vec<Hypothesis> = self
            .unfinished
            .into_iter()
            .map(|partial| {
                let length = partial.tokens.len() - 1;
                hypothesis(
                    partial.tokens[1..].to_vec(),
                    partial.log_prob,
                    length,
                    false,
                    decoding,
                )
            })
            .collect();
        keep_best(&mut unfinished, decoding.beam - self.finished.len());
        let mut hypotheses = self.finished;
        hypotheses.append(&mut unfinished);
        hypotheses
    }
}

pub(super) fn hypothesis(
    tokens: Vec<TokenId>,
    log_prob: f32,
    length: usize,
    finished: bool,
    decoding: &Decoding,
) -> Hypothesis {
    let score = score(log_prob, length, decoding);
    Hypothesis {
        tokens,
        log_prob,
        length,
        score,
        finished,
    }
}

fn score(log_prob: f32, length: usize, decoding: &Decoding) -> f32 {
    log_prob / (length as f32).powf(decoding.length_penalty)
}

pub(super) fn keep_best(hypotheses: &mut Vec<Hypothesis>, count: usize) {
    hypotheses.sort_by(|a, b| b.score.total_cmp(&a.score));
    hypotheses.truncate(count);
}

#[cfg(test)]
mod tests;
