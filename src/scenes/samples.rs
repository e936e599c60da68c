//! Turns 24 scenes into the sample archive that ships with the program: every format that it
//! reads, every EXIF orientation, folders, and a truth to check captions against.
//!
//! ```text
//! DIR/phone/IMG_0001.jpg ...    the EXIF orientation is the last digit
//! DIR/scans/..., DIR/web/...
//! DIR/truth.json                images (with their truth), annotations
//! ```

use std::fs;
use std::io::{self, Cursor, Write};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::pnm::{PnmEncoder, PnmSubtype, SampleEncoding};
use image::codecs::tga::TgaEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, ImageResult, RgbImage, Rgba, RgbaImage};
use serde::Serialize;

use super::data_set::{CaptionEntry, Error, ImageEntry, Info, PARTIAL, replace};
use super::place::files_of_ours;
use super::plan::Plan;
use super::rim::opacity;
use super::truth::{Colour, Kind, Setting};
use super::{Frame, Scene, describe};

/// No data set to learn from may be drawn with this seed.
pub const SEED: u64 = 7_000_000;

/// The file that says what the samples show.
pub const TRUTH: &str = "truth.json";

/// Writes the sample archive into `dir`, which is made if it is missing.
///
/// # Errors
///
/// When `dir` holds anything but samples, or cannot be written.
pub fn write(dir: &Path) -> Result<(), Error> {
    files_of_ours(dir, |path| {
        let path = path.strip_suffix(PARTIAL).unwrap_or(path);
        path == TRUTH || ARCHIVE.iter().any(|(file_name, ..)| *file_name == path)
    })?;
    for sample in samples() {
        let path = dir.join(sample.file_name);
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder).map_err(|source| Error::Write {
            path: folder.into(),
            source,
        })?;
        let scene = Scene::draw(SEED, sample.index, &sample.frame, 0.0);
        let bytes = RgbImage::from_raw(scene.width, scene.height, scene.pixels)
            .ok_or_else(|| io::Error::other("the picture does not fill its frame").into())
            .and_then(|picture| sample.storage.encode(picture))
            .map_err(|source| Error::Encode {
                path: path.clone(),
                source,
            })?;
        replace(&path, |file| file.write_all(&bytes))?;
    }
    let path = dir.join(TRUTH);
    let text = truth().map_err(|source| Error::Write {
        path: path.clone(),
        source: source.into(),
    })?;
    replace(&path, |file| file.write_all(text.as_bytes()))
}

/// The content of the file [`TRUTH`].
pub fn truth() -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Description<'a> {
        info: Info,
        images: Vec<ImageEntry<'a>>,
        annotations: Vec<CaptionEntry<'a>>,
    }
    let samples = samples();
    let described: Vec<_> = samples
        .iter()
        .map(|sample| describe(SEED, sample.index, &sample.frame, 0.0))
        .collect();
    let images = (1..).zip(samples.iter().zip(&described));
    let images = images.map(|(id, (sample, (truth, _)))| ImageEntry {
        id,
        file_name: sample.file_name,
        width: sample.frame.width(),
        height: sample.frame.height(),
        truth,
    });
    let captions = (1..)
        .zip(&described)
        .flat_map(|(id, (_, captions))| captions.iter().map(move |caption| (id, caption.as_str())));
    let annotations = (1..)
        .zip(captions)
        .map(|(id, (image_id, caption))| CaptionEntry {
            id,
            image_id,
            caption,
        });
    let description = Description {
        info: Info::new(SEED, 0, samples.len() as u64, 0.0),
        images: images.collect(),
        annotations: annotations.collect(),
    };
    let mut text = serde_json::to_string_pretty(&description)?;
    text.push('\n');
    Ok(text)
}

/// One picture of the archive.
struct Sample {
    file_name: &'static str,
    storage: Storage,
    frame: Frame,
    /// The number of its scene.
    index: u64,
}

/// How a picture is stored.
#[derive(Debug, Clone, Copy)]
enum Storage {
    Jpeg,
    /// With an EXIF orientation, 1 to 8.
    Turned(u8),
    Plain(ImageFormat),
    /// PNG that fades to transparent at its edges.
    PngAlpha,
    PngPalette,
    /// Binary PPM.
    Pixmap,
    /// TGA with the footer that tells it from other files.
    Targa,
    Icon,
}

const ARCHIVE: [(&str, Storage, u32, u32); 24] = [
    ("phone/IMG_0001.jpg", Storage::Turned(1), 256, 192),
    ("phone/IMG_0002.jpg", Storage::Turned(2), 256, 192),
    ("phone/IMG_0003.jpg", Storage::Turned(3), 256, 192),
    ("phone/IMG_0004.jpg", Storage::Turned(4), 224, 224),
    ("phone/IMG_0005.jpg", Storage::Turned(5), 192, 256),
    ("phone/IMG_0006.jpg", Storage::Turned(6), 192, 256),
    ("phone/IMG_0007.jpg", Storage::Turned(7), 224, 224),
    ("phone/IMG_0008.jpg", Storage::Turned(8), 192, 256),
    ("first.png", Storage::Plain(ImageFormat::Png), 224, 224),
    ("second.jpg", Storage::Jpeg, 448, 448),
    ("web/banner.jpg", Storage::Jpeg, 384, 216),
    ("web/button.ico", Storage::Icon, 128, 128),
    ("web/cutout.png", Storage::PngAlpha, 192, 192),
    (
        "web/drawing.gif",
        Storage::Plain(ImageFormat::Gif),
        192,
        192,
    ),
    ("web/logo.qoi", Storage::Plain(ImageFormat::Qoi), 160, 160),
    ("web/palette.png", Storage::PngPalette, 192, 192),
    (
        "web/picture.webp",
        Storage::Plain(ImageFormat::WebP),
        192,
        192,
    ),
    ("web/thumbnail.jpg", Storage::Jpeg, 112, 112),
    (
        "scans/1998/page 1.tiff",
        Storage::Plain(ImageFormat::Tiff),
        160,
        160,
    ),
    (
        "scans/1998/page 2.bmp",
        Storage::Plain(ImageFormat::Bmp),
        160,
        160,
    ),
    ("scans/1999/slide.tga", Storage::Targa, 160, 160),
    ("scans/1999/slide.ppm", Storage::Pixmap, 160, 160),
    ("scans/1999/tall.jpg", Storage::Jpeg, 180, 240),
    ("scans/last.png", Storage::Plain(ImageFormat::Png), 192, 144),
];

/// The archive's pictures: each setting and colour three times, each kind twice.
fn samples() -> Vec<Sample> {
    let archive = ARCHIVE.iter().enumerate();
    archive
        .filter_map(|(i, &(file_name, storage, width, height))| {
            let frame = Frame::new(width, height)?;
            let wanted = (
                Setting::ALL[i % Setting::ALL.len()],
                Kind::ALL[i % Kind::ALL.len()],
                Colour::ALL[(i + i / Colour::ALL.len()) % Colour::ALL.len()],
            );
            let index = (0..).find(|&index| {
                let truth = Plan::new(SEED, index, &frame, 0.0).truth;
                truth
                    .main()
                    .map(|main| (truth.setting, main.kind, main.colour))
                    == Some(wanted)
            })?;
            Some(Sample {
                file_name,
                storage,
                frame,
                index,
            })
        })
        .collect()
}

impl Storage {
    /// The bytes of the file; `picture` is upright.
    fn encode(self, picture: RgbImage) -> ImageResult<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        match self {
            Storage::Jpeg => {
                JpegEncoder::new_with_quality(&mut bytes, 88).encode_image(&picture)?
            }
            Storage::Turned(orientation) => {
                let mut stored = DynamicImage::ImageRgb8(picture);
                stored.apply_orientation(undone(orientation));
                JpegEncoder::new_with_quality(&mut bytes, 88).encode_image(&stored)?;
                return Ok(with_exif(&bytes.into_inner(), orientation));
            }
            Storage::Plain(format) => picture.write_to(&mut bytes, format)?,
            Storage::PngAlpha => faded(&picture).write_to(&mut bytes, ImageFormat::Png)?,
            Storage::PngPalette => return palette_png(&picture),
            Storage::Pixmap => PnmEncoder::new(&mut bytes)
                .with_subtype(PnmSubtype::Pixmap(SampleEncoding::Binary))
                .encode(
                    picture.as_raw().as_slice(),
                    picture.width(),
                    picture.height(),
                    image::ExtendedColorType::Rgb8,
                )?,
            Storage::Targa => {
                // Run lengths that cross rows, as this encoder writes them, stop other readers.
                picture.write_with_encoder(TgaEncoder::new(&mut bytes).disable_rle())?;
                bytes.set_position(bytes.get_ref().len() as u64);
                // Truevision TGA 2.0, section "Footer": no extension area, no developer area.
                bytes.write_all(b"\0\0\0\0\0\0\0\0TRUEVISION-XFILE.\0")?;
            }
            Storage::Icon => {
                DynamicImage::ImageRgb8(picture)
                    .to_rgba8()
                    .write_to(&mut bytes, ImageFormat::Ico)?;
            }
        }
        Ok(bytes.into_inner())
    }
}

/// What turns an upright picture into the one that is stored with this EXIF orientation.
fn undone(orientation: u8) -> Orientation {
    // A quarter turn is undone by the opposite one, everything else by itself.
    let opposite = match orientation {
        6 => 8,
        8 => 6,
        other => other,
    };
    Orientation::from_exif(opposite).unwrap_or(Orientation::NoTransforms)
}

/// A JPEG file with an EXIF block that holds its orientation and nothing else (EXIF 2.3, section
/// 4.5.2: an APP1 segment with a TIFF file in it; tag 0x0112). Odd orientations are written in
/// Intel's byte order, even ones in Motorola's, because cameras use both.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let intel = orientation % 2 == 1;
    let short = |value: u16| {
        if intel {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    };
    let long = |value: u32| {
        if intel {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    };
    let mut tiff = Vec::new();
    tiff.extend(if intel { b"II" } else { b"MM" });
    tiff.extend(short(42));
    tiff.extend(long(8)); // where the directory starts
    tiff.extend(short(1)); // its number of entries
    tiff.extend(short(0x0112));
    tiff.extend(short(3)); // of type short
    tiff.extend(long(1)); // one value, padded to four bytes
    tiff.extend(short(u16::from(orientation)));
    tiff.extend(short(0));
    tiff.extend(long(0)); // no further directory
    let payload = [b"Exif\0\0".as_slice(), &tiff].concat();
    let length = (payload.len() as u16 + 2).to_be_bytes();
    let (start, rest) = jpeg.split_at(jpeg.len().min(2));
    [start, &[0xff, 0xe1], &length, &payload, rest].concat()
}

/// The picture with edges that run out into transparent white.
fn faded(picture: &RgbImage) -> RgbaImage {
    let (width, height) = picture.dimensions();
    RgbaImage::from_fn(width, height, |x, y| {
        let [r, g, b] = picture.get_pixel(x, y).0;
        let opacity = opacity(x, y, width, height);
        if opacity == 0 {
            Rgba([255, 255, 255, 0])
        } else {
            Rgba([r, g, b, opacity])
        }
    })
}

/// Levels of red, green and blue in the palette: 252 colours.
const LEVELS: [u32; 3] = [6, 7, 6];

fn palette_png(picture: &RgbImage) -> ImageResult<Vec<u8>> {
    const THRESHOLDS: [[u32; 4]; 4] =
        [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    let [reds, greens, blues] = LEVELS;
    let shade = |level: u32, levels: u32| (level * 255 / (levels - 1)) as u8;
    let palette: Vec<u8> = (0..reds * greens * blues)
        .flat_map(|i| {
            let (r, g, b) = (i / (greens * blues), i / blues % greens, i % blues);
            [shade(r, reds), shade(g, greens), shade(b, blues)]
        })
        .collect();
    let indices: Vec<u8> = picture
        .enumerate_pixels()
        .map(|(x, y, pixel)| {
            let threshold = THRESHOLDS[y as usize % 4][x as usize % 4];
            let level = |channel: u8, levels: u32| {
                (u32::from(channel) * (levels - 1) * 16 / 255 + threshold) / 16
            };
            let [r, g, b] = pixel.0;
            let (r, g, b) = (level(r, reds), level(g, greens), level(b, blues));
            ((r * greens + g) * blues + b) as u8
        })
        .collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&indices)?;
        writer.finish()
    });
    written.map_err(io::Error::from)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use image::ImageDecoder;

    use super::*;

    #[test]
    fn settings_kinds_and_colours_are_covered_evenly() {
        let mut seen = BTreeMap::new();
        for sample in samples() {
            let (truth, _) = describe(SEED, sample.index, &sample.frame, 0.0);
            let main = truth.main().unwrap();
            for word in [truth.setting.word(), main.kind.word(), main.colour.word()] {
                *seen.entry(word).or_insert(0) += 1;
            }
        }
        let twice = Kind::ALL.iter().map(|kind| (kind.word(), 2));
        let settings = Setting::ALL.iter().map(|setting| (setting.word(), 3));
        let colours = Colour::ALL.iter().map(|colour| (colour.word(), 3));
        assert_eq!(seen, twice.chain(settings).chain(colours).collect());
    }

    #[test]
    fn a_turned_picture_is_upright_when_its_orientation_is_applied() {
        let frame = Frame::new(64, 48).unwrap();
        let scene = Scene::draw(1, 1, &frame, 0.0);
        let upright = RgbImage::from_raw(64, 48, scene.pixels).unwrap();
        for orientation in 1..=8 {
            let bytes = Storage::Turned(orientation)
                .encode(upright.clone())
                .unwrap();
            let mut decoder = image::codecs::jpeg::JpegDecoder::new(Cursor::new(bytes)).unwrap();
            let told = decoder.orientation().unwrap();
            assert_eq!(Some(told), Orientation::from_exif(orientation));
            let mut decoded = DynamicImage::from_decoder(decoder).unwrap();
            decoded.apply_orientation(told);
            let distance = distance(&decoded.to_rgb8(), &upright);
            assert!(distance < 9.0, "orientation {orientation}: {distance}");
        }
    }

    #[test]
    fn palette_and_alpha_keep_the_picture() {
        let frame = Frame::new(96, 96).unwrap();
        let picture = RgbImage::from_raw(96, 96, Scene::draw(1, 2, &frame, 0.0).pixels).unwrap();
        for storage in [Storage::PngPalette, Storage::PngAlpha] {
            let bytes = storage.encode(picture.clone()).unwrap();
            let decoded = image::load_from_memory(&bytes).unwrap().to_rgb8();
            let distance = distance(&decoded, &picture);
            assert!(distance < 25.0, "{storage:?}: {distance}");
        }
    }

    /// Mean absolute difference of two pictures' channels, 0 to 255.
    fn distance(a: &RgbImage, b: &RgbImage) -> f64 {
        assert_eq!(a.dimensions(), b.dimensions());
        let differences = a
            .as_raw()
            .iter()
            .zip(b.as_raw())
            .map(|(a, b)| f64::from(a.abs_diff(*b)));
        differences.sum::<f64>() / a.as_raw().len() as f64
    }
}
