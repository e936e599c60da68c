//! Measures captions against references, with the numbers that the captioning literature prints.
//!
//! captions as written -> [`tokenizer`] -> [`Corpus`] of numbered words -> [`bleu`], [`rouge`], [`cider`]
//! -> [`Report`]; [`novelty`] tells what these hide. The values are those of pycocoevalcap 1.2.

/// Counts n-grams that candidates share with references.
pub mod bleu;
/// Holds generated captions and their files.
pub mod candidates;
/// Weighs shared n-grams by their rarity.
pub mod cider;
mod corpus;
mod lexicon;
/// Tells how varied captions are.
pub mod novelty;
/// Finds the references of each candidate.
pub mod pairing;
/// Reads captions by people.
pub mod references;
/// Shows all measurements.
pub mod report;
/// Measures common subsequences.
pub mod rouge;
/// Splits captions into tokens.
pub mod tokenizer;

use rayon::prelude::*;
use thiserror::Error;

pub use candidates::{Candidate, Key};
pub use cider::CiderD;
pub use corpus::{Corpus, CorpusError};
pub use novelty::Training;
pub use pairing::{PairingError, Tolerance, Tolerances};
pub use references::References;
pub use report::Report;

use report::{ImageScores, LeftOut, Metrics};

/// Why candidates cannot be measured.
#[derive(Debug, Error)]
pub enum EvaluationError {
    #[error("candidates and references do not fit together")]
    Pairing(#[from] PairingError),
    #[error("there is nothing to measure")]
    Corpus(#[from] CorpusError),
}

/// Measures candidates by every metric.
///
/// # Errors
///
/// If candidates and references do not pair and that is not tolerated, or if nothing pairs.
pub fn evaluate(
    references: &References,
    candidates: impl IntoIterator<Item = Candidate>,
    tolerances: Tolerances,
    training: Option<&Training>,
) -> Result<Report, EvaluationError> {
    let paired = pairing::pair(references, candidates, tolerances)?;
    let images: Vec<_> = paired
        .pairs
        .iter()
        .map(|p| &references.images()[p.image])
        .collect();
    let (tokenized, tokenized_references): (Vec<String>, Vec<Vec<String>>) = paired
        .pairs
        .par_iter()
        .zip(&images)
        .map(|(pair, image)| {
            let references = image.captions.iter().map(|c| tokenizer::tokenize(c));
            (
                tokenizer::tokenize(&pair.caption),
                references.collect::<Vec<_>>(),
            )
        })
        .unzip();
    let corpus = Corpus::new(&tokenized, &tokenized_references)?;
    let (bleu, (rouge_l, cider)) = rayon::join(
        || bleu::bleu(&corpus),
        || rayon::join(|| rouge::rouge_l(&corpus), || cider::cider(&corpus)),
    );
    let per_image = paired.pairs.into_iter().zip(&images).enumerate();
    Ok(Report {
        images: images.len(),
        references: tokenized_references.iter().map(Vec::len).sum(),
        metrics: Metrics {
            bleu: bleu.corpus.into(),
            rouge_l: rouge_l.mean,
            cider_d: cider.d.mean,
            cider_original: cider.original.mean,
        },
        candidate_words: bleu.candidate_words,
        reference_words: bleu.reference_words,
        novelty: novelty::novelty(&tokenized, training),
        left_out: LeftOut {
            missing: paired.missing,
            unknown: paired.unknown,
            repeated: paired.repeated,
        },
        per_image: per_image
            .map(|(i, (pair, image))| ImageScores {
                image_id: image.id,
                file_name: image.file_name.clone(),
                caption: pair.caption,
                metrics: Metrics {
                    bleu: bleu.images[i].into(),
                    rouge_l: rouge_l.images[i],
                    cider_d: cider.d.images[i],
                    cider_original: cider.original.images[i],
                },
            })
            .collect(),
    })
}
