//! Which images of a data set are learnt from, and which a model is judged by.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::dataset::{DataSet, ImageEntry, Located, Options, Restval, Source, Split, SplitList};
use crate::training::TrainingError;
use crate::training::config::CaptionsData;
use crate::training::order::seed;

/// How many names a message shows.
const SHOWN: usize = 3;

/// The data set, and where its images are if there is a folder of them.
pub fn read(data: &CaptionsData) -> Result<(DataSet, Option<Located>), TrainingError> {
    let lists = data.splits.iter().map(|list| SplitList::parse(list));
    let options = Options {
        format: data.format.as_ref().and_then(|format| format.parse().ok()),
        split_lists: lists.collect::<Result<_, _>>()?,
        images: data.images.clone(),
    };
    let source = Source::find(&data.path, options)?;
    let set = source.read()?;
    let located = source.pictures()?.map(|pictures| pictures.locate(&set));
    Ok((set, located))
}

/// Places of images in the data set.
pub struct Chosen {
    pub learnt: Vec<usize>,
    pub judged: Vec<usize>,
}

/// The images that are learnt from and those that a model is judged by.
pub fn choose(
    set: &DataSet,
    data: &CaptionsData,
    seed_of_training: i64,
    restval: Restval,
) -> Result<Chosen, TrainingError> {
    let has_splits = set.images.iter().any(|image| image.split.is_some());
    let places = |fits: &dyn Fn(&ImageEntry) -> bool| -> Vec<usize> {
        let images = set.images.iter().enumerate();
        let fitting = images.filter(|(_, image)| !image.captions.is_empty() && fits(image));
        fitting.map(|(place, _)| place).collect()
    };
    let in_split = |image: &ImageEntry, split: Split| {
        image.split == Some(split)
            || restval == Restval::AsTrain
                && split == Split::Train
                && image.split == Some(Split::Restval)
    };
    let mut learnt = match has_splits {
        true => places(&|image| in_split(image, Split::Train)),
        false => places(&|_| true),
    };
    let validation = &data.validation;
    let split = Split::named(&validation.split).unwrap_or(Split::Val);
    let mut judged = match (has_splits, validation.hold_out, split) {
        (_, None, Split::Train) => learnt.clone(),
        (true, None, split) => places(&|image| in_split(image, split)),
        (false, Some(held), _) => {
            let mut shuffled = learnt.clone();
            shuffled.shuffle(&mut ChaCha8Rng::from_seed(seed(
                seed_of_training,
                "held out",
                &[],
            )));
            let mut judged: Vec<_> = shuffled.into_iter().take(held).collect();
            judged.sort_unstable();
            learnt.retain(|place| judged.binary_search(place).is_err());
            judged
        }
        (true, Some(_), _) => {
            return Err(TrainingError::HoldOut {
                path: data.path.clone(),
                reason: "the data set has splits: leave data.validation.hold_out out",
            });
        }
        (false, None, _) => {
            return Err(TrainingError::HoldOut {
                path: data.path.clone(),
                reason: "no split of it is for judging: give data.splits, data.validation.hold_out = \
                         N, or data.validation.split = \"train\" to judge by what is learnt from",
            });
        }
    };
    judged.truncate(validation.images.unwrap_or(usize::MAX));
    Ok(Chosen { learnt, judged })
}

/// Warns of images without files or features, of `all` that were wanted.
pub fn tell_left_out<'a>(set: &DataSet, places: impl Iterator<Item = &'a usize>, all: usize) {
    let names: Vec<&str> = places
        .map(|place| set.images[*place].file_name.as_str())
        .collect();
    if names.is_empty() {
        return;
    }
    tracing::warn!(
        "{} of {all} images are left out, since their files or features are missing: {}",
        names.len(),
        listed(&names)
    );
}

/// The first of these names, and how many more there are.
pub fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
