//! Which captions by people are measured against, and which were learnt from.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use showtell::dataset::{DataSet, Format, Options, Restval, Source, Split, SplitList};
use showtell::evaluation::{References, Training};

use super::super::run::UsageError;

#[derive(Debug, Args)]
pub struct ReferenceArguments {
    /// Captions by people: COCO's captions_*.json, what `showtell scenes` wrote, or a data set in any form
    /// that `showtell dataset inspect` reads
    #[arg(long, value_name = "FILE|DIR")]
    references: PathBuf,
    /// How captions are written down: tokens, csv, coco, karpathy or sidecars [default: found out]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Files that list the images of a split, a name a line; the split is in the file's name or before
    /// it: test=FILE
    #[arg(long, value_name = "FILE", num_args = 1..)]
    splits: Vec<PathBuf>,
    /// Measure the images of this split alone: train, val, test or restval. What the data set's training
    /// split says is then what was seen in training
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Data set that was learnt from, to tell how many captions were seen there word for word
    #[arg(long, value_name = "FILE|DIR")]
    training: Option<PathBuf>,
}

/// What the arguments ask for.
pub struct Wanted {
    /// The file that the references are from.
    pub captions: PathBuf,
    pub references: References,
    /// Images of other splits, if one is asked for.
    pub others: Option<References>,
    pub training: Option<Training>,
}

impl ReferenceArguments {
    pub fn read(&self) -> anyhow::Result<Wanted> {
        let unusable = || format!("cannot use {} as references", self.references.display());
        let lists = self.splits.iter().map(|list| SplitList::parse(list));
        let options = Options {
            format: self.format,
            split_lists: lists.collect::<Result<_, _>>()?,
            images: None,
        };
        let source = Source::find(&self.references, options).with_context(unusable)?;
        let mut training = match &self.training {
            Some(path) => Some(learnt(path)?),
            None => None,
        };
        let captions = source.captions.clone();
        let Some(split) = self.split else {
            let references = match source.format {
                // Takes captions without a list of images, too.
                Format::Coco => References::read(&captions).with_context(unusable)?,
                _ => References::of_data_set(&source.read().with_context(unusable)?, |_| true),
            };
            return Ok(Wanted {
                captions,
                references,
                others: None,
                training,
            });
        };
        let set = source.read().with_context(unusable)?;
        let references = References::of_data_set(&set, |image| image.split == Some(split));
        if references.images().is_empty() {
            let reason = format!(
                "{} has no image with captions in the split {split}; name lists of splits with --splits",
                self.references.display()
            );
            return Err(UsageError(reason).into());
        }
        let to_learn_from = matches!(split, Split::Val | Split::Test);
        if to_learn_from && training.is_none() {
            training = Some(said_in_training(&set));
        }
        let others = References::of_data_set(&set, |image| image.split != Some(split));
        Ok(Wanted {
            captions,
            references,
            others: Some(others),
            training,
        })
    }
}

/// The training captions of a data set.
fn learnt(path: &Path) -> anyhow::Result<Training> {
    let source = Source::find(path, Options::default());
    let set = source.and_then(|source| source.read());
    let unusable = || format!("cannot use {} as what was learnt from", path.display());
    Ok(said_in_training(&set.with_context(unusable)?))
}

fn said_in_training(set: &DataSet) -> Training {
    let images = set.training(Restval::AsTrain).into_iter();
    Training::new(images.flat_map(|image| &image.captions))
}

fn split(name: &str) -> Result<Split, String> {
    Split::named(name).ok_or_else(|| "expected train, val, test or restval".to_owned())
}
