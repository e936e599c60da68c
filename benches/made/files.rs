//! Writes what `make bench-peers` measures with, where there is no PyTorch to make it: the same files
//! as `make` of benches/peers/worker.py.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use showtell::captioner::show_tell::ShowTellConfig;
use showtell::encoder::EncoderConfig;

use crate::made::{self, Outcome};

#[derive(Deserialize)]
pub struct Wanted {
    into: PathBuf,
    /// Taken instead of made ones.
    photographs: Vec<PathBuf>,
    /// Made photographs of 500×375 pixels, and of 12 megapixels.
    count: u32,
    large: u32,
    captioner: ShowTellConfig,
    words: usize,
    /// Rows of features to caption, and to cache.
    pictures: usize,
    cached: usize,
}

/// What was made, under the names by which run.py knows it.
pub fn make(wanted: &Wanted) -> Outcome<Map<String, Value>> {
    let small = match wanted.photographs[..] {
        [] => photographs(&wanted.into, "small", (500, 375), wanted.count)?,
        _ => wanted.photographs.clone(),
    };
    let large = photographs(&wanted.into, "large", (4000, 3000), wanted.large)?;

    let weights = wanted.into.join("vgg16.safetensors");
    made::write_encoder(&EncoderConfig::vgg16(), &weights)?;
    let captioner = wanted.into.join("captioner.safetensors");
    let words = made::write_captioner(&wanted.captioner, wanted.words, &captioner)?;
    let vocabulary = wanted.into.join("vocabulary.txt");
    fs::write(&vocabulary, words.to_text())?;

    let dimensions = usize::try_from(wanted.captioner.features)?;
    let [features, cached] = ["features", "cached"].map(|name| wanted.into.join(name));
    crate::write(&features, &made::features(wanted.pictures, dimensions))?;
    crate::write(&cached, &made::features(wanted.cached, dimensions))?;
    let made = json!({
        "small": small,
        "large": large,
        "weights": weights,
        "captioner": {"config": wanted.captioner, "vocabulary": vocabulary, "weights": captioner},
        "features": features,
        "cached": cached,
    });
    Ok(made.as_object().cloned().unwrap_or_default())
}

/// Each a little narrower than the one before, which makes it another picture.
fn photographs(
    into: &Path,
    name: &str,
    (width, height): (u32, u32),
    count: u32,
) -> Outcome<Vec<PathBuf>> {
    let make = |number: u32| -> Outcome<PathBuf> {
        let file = into.join(format!("{name}-{number}.jpg"));
        fs::write(&file, made::photograph(width - number % 64, height)?)?;
        Ok(file)
    };
    let made: Result<_, String> = (0..count)
        .into_par_iter()
        .map(|number| make(number).map_err(|error| error.to_string()))
        .collect();
    Ok(made?)
}
