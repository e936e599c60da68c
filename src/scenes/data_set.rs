//! Turns a number of scenes into a data set on disk in the layout of COCO's captions.
//!
//! ```text
//! DIR/images/scene-00000000.jpg    PNG and JPEG, mixed
//! DIR/scenes.json                  images (with their truth), annotations; written last
//! ```
//!
//! Nothing is kept in memory but the scenes being drawn: the JSON file is written from the scenes'
//! descriptions, which are cheap to make twice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ImageEncoder, ImageError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::dice::{Dice, Purpose};
use super::place::files_of_ours;
use super::rim::fade;
use super::{Frame, GENERATOR_VERSION, Scene, Truth, describe};

/// How a data set is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How many scenes.
    pub count: u64,
    pub seed: u64,
    /// The number of the first scene: data sets of one seed that share no number share no scene.
    pub first_index: u64,
    /// Probability, 0 to 1, that the main object's kind decides the setting.
    pub bias: f64,
    /// The size of most pictures.
    pub frame: Frame,
    /// Share of the pictures, 0 to 1, that are larger, smaller, wide or tall instead.
    pub other_sizes: f64,
    /// Share of the pictures, 0 to 1, that fade to white at their edges.
    pub faded: f64,
}

/// Why a data set could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot encode {path}")]
    Encode { path: PathBuf, source: ImageError },
    #[error("{0} is a file; scenes are drawn into a directory")]
    NotADirectory(PathBuf),
    #[error(
        "{dir} holds something else ({found}); name an empty directory or one that scenes were drawn into"
    )]
    SomethingElse { dir: PathBuf, found: PathBuf },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not a description of drawn scenes")]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
}

/// The file that describes the pictures of a data set.
pub const DESCRIPTION: &str = "scenes.json";

/// The directory with the pictures of a data set.
const IMAGES: &str = "images";

/// Draws the data set into `dir`, which is made if it is missing. Calls `progress` on the calling
/// thread with the number of pictures finished so far, after each.
///
/// Scenes that were drawn there before and are not of this data set are removed: a picture without its
/// description, or two of one number, would be no data set.
///
/// # Errors
///
/// When `dir` holds anything but drawn scenes, which is left as it is, or cannot be written.
pub fn write_data_set(dir: &Path, config: &Config, progress: &dyn Fn(usize)) -> Result<(), Error> {
    config.remove_others(dir)?;
    let images = dir.join(IMAGES);
    fs::create_dir_all(&images).map_err(|source| Error::Write {
        path: images.clone(),
        source,
    })?;
    let (finished, reports) = mpsc::channel::<()>();
    let drawn = std::thread::scope(|scope| {
        let drawing = scope.spawn(|| {
            let finished = finished;
            let indices = config.indices();
            indices
                .into_par_iter()
                .try_for_each_with(finished, |finished, index| {
                    config.write_picture(&images, index)?;
                    // Nobody listens any more only if the caller is gone, and then nobody minds.
                    let _ = finished.send(());
                    Ok(())
                })
        });
        for (done, ()) in reports.iter().enumerate() {
            progress(done + 1);
        }
        drawing.join()
    });
    match drawn {
        Ok(result) => result?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    let path = dir.join(DESCRIPTION);
    replace(&path, |file| config.write_description(file))
}

/// What each picture of a data set shows, by its `file_name`.
pub fn read_truth(path: &Path) -> Result<BTreeMap<String, Truth>, Error> {
    #[derive(Deserialize)]
    struct Description {
        images: Vec<Image>,
    }
    #[derive(Deserialize)]
    struct Image {
        file_name: String,
        truth: Truth,
    }
    let file = File::open(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })?;
    let description: Description =
        serde_json::from_reader(BufReader::new(file)).map_err(|source| Error::Parse {
            path: path.into(),
            source,
        })?;
    Ok(description
        .images
        .into_iter()
        .map(|image| (image.file_name, image.truth))
        .collect())
}

/// A picture, as COCO's `images` lists it, with its truth.
#[derive(Serialize)]
pub(super) struct ImageEntry<'a> {
    pub id: u64,
    pub file_name: &'a str,
    pub width: u32,
    pub height: u32,
    pub truth: &'a Truth,
}

/// A caption, as COCO's `annotations` lists it.
#[derive(Serialize)]
pub(super) struct CaptionEntry<'a> {
    pub id: u64,
    pub image_id: u64,
    pub caption: &'a str,
}

/// Where a data set comes from.
#[derive(Serialize)]
pub(super) struct Info {
    pub description: &'static str,
    pub generator: &'static str,
    pub generator_version: u32,
    pub seed: u64,
    pub first_index: u64,
    pub count: u64,
    pub bias: f64,
}

impl Info {
    pub fn new(seed: u64, first_index: u64, count: u64, bias: f64) -> Self {
        Info {
            description: "drawn scenes with their truth and five captions each",
            generator: concat!("showtell ", env!("CARGO_PKG_VERSION")),
            generator_version: GENERATOR_VERSION,
            seed,
            first_index,
            count,
            bias,
        }
    }
}

/// How a scene is shown and stored.
struct Stored {
    frame: Frame,
    encoding: Encoding,
    faded: bool,
}

#[derive(Clone, Copy)]
enum Encoding {
    Png,
    /// Quality, 1 to 100.
    Jpeg(u8),
}

impl Config {
    fn indices(&self) -> Range<u64> {
        self.first_index..self.first_index.saturating_add(self.count)
    }

    /// How scene `index` is shown and stored.
    fn file(&self, index: u64) -> Stored {
        let mut dice = Dice::new(self.seed, index, Purpose::File);
        let other = dice.chance(self.other_sizes);
        let side = |side: u32, percent: u32| (side * percent / 100).clamp(32, 4096);
        let (w, h) = dice.pick(&[(133, 100), (100, 133), (150, 150), (75, 75), (178, 100)]);
        let (width, height) = (side(self.frame.width(), w), side(self.frame.height(), h));
        let frame = match Frame::new(width, height) {
            Some(frame) if other => frame,
            _ => self.frame,
        };
        let quality = 70 + dice.below(26) as u8;
        let encoding = if dice.chance(0.7) {
            Encoding::Jpeg(quality)
        } else {
            Encoding::Png
        };
        Stored {
            frame,
            encoding,
            faded: dice.chance(self.faded),
        }
    }

    fn file_name(&self, index: u64) -> String {
        let suffix = match self.file(index).encoding {
            Encoding::Png => "png",
            Encoding::Jpeg(_) => "jpg",
        };
        format!("scene-{index:08}.{suffix}")
    }

    /// Removes what an older data set has left in `dir`.
    fn remove_others(&self, dir: &Path) -> Result<(), Error> {
        let mut found = files_of_ours(dir, is_ours)?;
        let description = Path::new(DESCRIPTION);
        if found.iter().any(|path| path == description) && !is_description(&dir.join(DESCRIPTION))?
        {
            return Err(Error::SomethingElse {
                dir: dir.into(),
                found: DESCRIPTION.into(),
            });
        }
        // The description first: without it, nobody takes what a kill leaves for a data set.
        found.sort_by_key(|path| path != description);
        for path in found.iter().filter(|path| !self.has_picture(path)) {
            let path = dir.join(path);
            fs::remove_file(&path).map_err(|source| Error::Write { path, source })?;
        }
        Ok(())
    }

    /// Whether a file at this path in the data set's directory is one of its pictures.
    fn has_picture(&self, path: &Path) -> bool {
        let name = path.to_str().and_then(|path| path.strip_prefix(IMAGES));
        let name = name.and_then(|name| name.strip_prefix('/'));
        name.is_some_and(|name| {
            number(name).is_some_and(|number| {
                self.indices().contains(&number) && self.file_name(number) == name
            })
        })
    }

    /// Draws scene `index` as it is in this data set.
    pub fn draw(&self, index: u64) -> Scene {
        let file = self.file(index);
        let mut scene = Scene::draw(self.seed, index, &file.frame, self.bias);
        if file.faded {
            fade(&mut scene);
        }
        scene
    }

    /// What [`draw`](Self::draw) shows and how it is captioned, without drawing it.
    pub fn describe(&self, index: u64) -> (Truth, [String; 5]) {
        describe(self.seed, index, &self.file(index).frame, self.bias)
    }

    fn write_picture(&self, images: &Path, index: u64) -> Result<(), Error> {
        let encoding = self.file(index).encoding;
        let scene = self.draw(index);
        let path = images.join(self.file_name(index));
        let mut bytes = Vec::new();
        let (pixels, rgb) = (&scene.pixels, ExtendedColorType::Rgb8);
        match encoding {
            Encoding::Png => {
                PngEncoder::new(&mut bytes).write_image(pixels, scene.width, scene.height, rgb)
            }
            Encoding::Jpeg(quality) => JpegEncoder::new_with_quality(&mut bytes, quality)
                .write_image(pixels, scene.width, scene.height, rgb),
        }
        .map_err(|source| Error::Encode {
            path: path.clone(),
            source,
        })?;
        replace(&path, |file| file.write_all(&bytes))
    }

    fn write_description(&self, file: &mut dyn Write) -> io::Result<()> {
        let info = Info::new(self.seed, self.first_index, self.count, self.bias);
        writeln!(file, "{{\"info\": {},", serde_json::to_string(&info)?)?;
        writeln!(file, "\"images\": [")?;
        let indices = self.indices();
        for index in indices.clone() {
            let frame = self.file(index).frame;
            let (truth, _) = self.describe(index);
            let entry = ImageEntry {
                id: index,
                file_name: &self.file_name(index),
                width: frame.width(),
                height: frame.height(),
                truth: &truth,
            };
            write_entry(file, &entry, index + 1 == indices.end)?;
        }
        writeln!(file, "],\n\"annotations\": [")?;
        for index in indices.clone() {
            let (_, captions) = self.describe(index);
            for (number, caption) in (0..).zip(&captions) {
                let entry = CaptionEntry {
                    id: (index - self.first_index) * 5 + number,
                    image_id: index,
                    caption,
                };
                write_entry(file, &entry, index + 1 == indices.end && number == 4)?;
            }
        }
        writeln!(file, "]}}")
    }
}

/// Whether a file at this path in a data set's directory, going by its name, was written here.
fn is_ours(path: &str) -> bool {
    let path = path.strip_suffix(PARTIAL).unwrap_or(path);
    let name = path.strip_prefix(IMAGES);
    let name = name.and_then(|name| name.strip_prefix('/'));
    path == DESCRIPTION || name.and_then(number).is_some()
}

/// The number of the scene that a picture of this name shows.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("scene-")?;
    let digits = [".jpg", ".png"]
        .iter()
        .find_map(|suffix| digits.strip_suffix(suffix))?;
    let number = digits.parse().ok()?;
    (format!("{number:08}") == digits).then_some(number)
}

/// Whether a file of the description's name begins as descriptions do, or is empty, as a power cut may
/// leave one.
fn is_description(path: &Path) -> Result<bool, Error> {
    const START: &[u8] = b"{\"info\": {\"description\":\"drawn scenes ";
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(START.len() as u64).read_to_end(&mut start))
        .map_err(|source| Error::Read {
            path: path.into(),
            source,
        })?;
    Ok(start.is_empty() || start == START)
}

/// One line of a JSON array.
fn write_entry(file: &mut dyn Write, entry: &impl Serialize, last: bool) -> io::Result<()> {
    writeln!(
        file,
        "{}{}",
        serde_json::to_string(entry)?,
        if last { "" } else { "," }
    )
}

/// Ends the name of a file that is not whole yet.
pub(super) const PARTIAL: &str = ".partial";

/// Writes a file under a temporary name and renames it, so that the final name never stands for
/// half a file. Nothing is synced: what a power cut takes is drawn again.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(PARTIAL);
    let partial = PathBuf::from(name);
    let attempt = || -> io::Result<()> {
        let mut file = BufWriter::new(File::create(&partial)?);
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(&partial, path)
    };
    attempt().map_err(|source| {
        let _ = fs::remove_file(&partial);
        Error::Write {
            path: path.into(),
            source,
        }
    })
}

#[cfg(test)]
mod tests;
