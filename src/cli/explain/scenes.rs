//! `showtell explain --scenes`: how often a model looked at the drawn object that it named.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use rayon::prelude::*;
use serde::Serialize;
use showtell::archive::Limits;
use showtell::captioner::Captioner;
use showtell::encoder::preprocess::{Preprocess, Window};
use showtell::explain::pointing::Pointing;
use showtell::pipeline::Models;
use showtell::scenes::{self, DESCRIPTION, Kind, Truth};

use super::super::run::UsageError;
use super::super::terminal::Terminal;
use super::read;
use crate::cli::output::output;

/// Scenes that are read and captioned at once.
const TOGETHER: usize = 32;

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    scenes: usize,
    /// Words that name a kind of object which the scene shows.
    words: usize,
    /// Of these, those during which the heaviest region lay in a box of the object.
    hits: usize,
    share: f64,
    /// What `share` would be if the model looked anywhere.
    share_by_chance: f64,
    /// Words that name a kind which the scene does not show: nothing to look at.
    not_shown: usize,
    /// Words whose object is in no part of the picture that the network is shown.
    out_of_sight: usize,
}

/// Captions the scenes below `directory` and prints where the models looked.
pub fn run(
    directory: &Path,
    models: &Models,
    json: bool,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let truth = scenes::read_truth(&directory.join(DESCRIPTION))?;
    if truth.is_empty() {
        let reason = format!("{} holds no scenes", directory.display());
        return Err(UsageError(reason).into());
    }
    let bar = terminal.progress("{bar:30} {pos}/{len} scenes  {per_sec}  {eta} left");
    bar.set_length(truth.len() as u64);
    let outcome = watch(&directory.join("images"), truth, models, &|count| {
        bar.inc(count as u64);
    })?;
    bar.finish_and_clear();
    if json {
        writeln!(output(), "{}", serde_json::to_string_pretty(&outcome)?)?;
        return Ok(());
    }
    writeln!(
        output(),
        "scenes                               {:>8}",
        outcome.scenes
    )?;
    writeln!(
        output(),
        "words for objects that are shown     {:>8}",
        outcome.words
    )?;
    writeln!(
        output(),
        "  looked at most in the object's box {:>8.1} %  by chance {:.1} %",
        100.0 * outcome.share,
        100.0 * outcome.share_by_chance
    )?;
    writeln!(
        output(),
        "words for objects that are not shown {:>8}",
        outcome.not_shown
    )?;
    if outcome.out_of_sight > 0 {
        writeln!(
            output(),
            "words for objects out of sight       {:>8}",
            outcome.out_of_sight
        )?;
    }
    Ok(())
}

fn watch(
    images: &Path,
    truth: BTreeMap<String, Truth>,
    models: &Models,
    progress: &dyn Fn(usize),
) -> anyhow::Result<Outcome> {
    let Models { encoder, captioner } = models;
    let (captioner, decoding) = captioner.as_ref().context("the model has no captioner")?;
    let preprocess = encoder.preprocess();
    let truth: Vec<(String, Truth)> = truth.into_iter().collect();
    let mut outcome = Outcome::default();
    let mut pointing = Pointing::default();
    for scenes in truth.chunks(TOGETHER) {
        let shown = scenes
            .par_iter()
            .map(|(name, _)| show(&images.join(name), preprocess))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let pixels: Vec<&[u8]> = shown.iter().map(|(pixels, _)| pixels.as_slice()).collect();
        let features = encoder.encode(&pixels)?;
        let beams = captioner.caption(&features, decoding)?;
        let features = features.chunks(captioner.dimensions());
        let each = scenes.iter().zip(&shown).zip(features).zip(beams);
        for ((((_, truth), (_, window)), features), beams) in each {
            let Some(best) = beams.into_iter().next() else {
                continue;
            };
            let looked = Looked {
                captioner: captioner.as_ref(),
                features,
                window,
            };
            looked.count(&best.caption, truth, &mut pointing, &mut outcome)?;
        }
        outcome.scenes += scenes.len();
        progress(scenes.len());
    }
    outcome.words = pointing.words;
    outcome.hits = pointing.hits;
    outcome.share = pointing.share();
    outcome.share_by_chance = pointing.share_by_chance();
    Ok(outcome)
}

/// What the network is shown of a file, and which part of the picture that is.
fn show(path: &Path, preprocess: &Preprocess) -> anyhow::Result<(Vec<u8>, Window)> {
    // What is drawn is small.
    let picture = read(path, &Limits::default())?;
    let pixels = preprocess
        .apply(&picture)
        .with_context(|| format!("cannot use {}", path.display()))?;
    Ok((pixels, preprocess.window(picture.width, picture.height)))
}

/// A scene as the network was shown it.
struct Looked<'a> {
    captioner: &'a dyn Captioner,
    features: &'a [f32],
    window: &'a Window,
}

impl Looked<'_> {
    fn count(
        &self,
        caption: &str,
        truth: &Truth,
        pointing: &mut Pointing,
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        let words = self.captioner.attention(self.features, caption)?;
        for (word, weights) in words.unwrap_or_default() {
            let Some(kind) = Kind::of_word(&word) else {
                continue;
            };
            match truth.objects.iter().find(|object| object.kind == kind) {
                None => outcome.not_shown += 1,
                Some(object) => {
                    let counted = pointing.count(&weights, &object.boxes, self.window);
                    outcome.out_of_sight += usize::from(!counted);
                }
            }
        }
        Ok(())
    }
}
