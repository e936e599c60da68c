//! The words of a data set's captions: which of them are learnt, and which captions are too long to be.

use crate::captioner::vocabulary::Vocabulary;
use crate::dataset::DataSet;
use crate::training::TrainingError;
use crate::training::config::CaptionsData;
use crate::training::vocabulary::{Cut, WordCounts, Words};

use super::choice::listed;

/// Captions of more words are left out unless the recipe says where to cut them off. Nobody says as much of
/// a picture, so such a line is a mistake in the file, and the memory of a step grows with the longest
/// caption of its batch.
const MOST_WORDS: usize = 1000;

/// Takes captions that are too long away from these images, and tells of them.
pub fn leave_out_long(set: &mut DataSet, places: &[usize], data: &CaptionsData, words: Words) {
    if data.most_words.is_some() {
        return;
    }
    // A word has a byte at least, so most captions need not be split.
    let is_long = |caption: &str| {
        caption.len() > MOST_WORDS
            && words.normalize(caption).split_whitespace().count() > MOST_WORDS
    };
    let mut names = Vec::new();
    let mut all = 0;
    for place in places {
        let image = &mut set.images[*place];
        all += image.captions.len();
        let before = image.captions.len();
        image.captions.retain(|caption| !is_long(caption));
        names.extend((image.captions.len()..before).map(|_| image.file_name.as_str().to_owned()));
    }
    if names.is_empty() {
        return;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    tracing::warn!(
        "{} of {all} captions are left out, since they have more than {MOST_WORDS} words: of {}; \
         data.most_words = N learns their first N words",
        names.len(),
        listed(&names)
    );
}

/// The words that are learnt of the captions of these images.
///
/// # Errors
///
/// When none would be.
pub fn vocabulary(
    set: &DataSet,
    places: &[usize],
    data: &CaptionsData,
    (words, cut): (Words, Cut),
) -> Result<Vocabulary, TrainingError> {
    let captions = |place: &usize| set.images[*place].captions.iter().map(String::as_str);
    let all: Vec<&str> = places.iter().flat_map(captions).collect();
    let counts = WordCounts::of(&all, words);
    let vocabulary = counts.vocabulary(cut);
    if !vocabulary.has_words() {
        return Err(TrainingError::NoWords {
            path: data.path.clone(),
            captions: all.len(),
            reason: counts.why_none(cut),
        });
    }
    Ok(vocabulary)
}
