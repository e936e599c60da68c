//! Turns the bytes of an image into upright RGB pixels, within limits.
//!
//! What a header claims is checked before anything of that size is allocated, and whatever a
//! decoder does with a file that makes no sense, its panics included, is a [`Failure`].
//!
//! Pixels are shown as EXIF orientation says, transparency lies over white, of an animation the
//! first frame counts, and of an icon the largest picture. Colour profiles are ignored: sRGB is
//! taken for granted, as the networks that look at the pixels do.

use std::io::Cursor;

use image::codecs::{bmp, gif, ico, png, pnm, qoi, tga, tiff, webp};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageResult, RgbImage};

use super::jpeg::Jpeg;
use super::{Failure, Format, Limits, Loaded, panics};

/// An image as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// `[height, width, 3]`, u8, red first, rows without padding.
    pub rgb: Vec<u8>,
}

/// The pixels of an image. A failure's stage is [`super::Stage::Decode`].
pub fn decode(loaded: &Loaded, limits: &Limits) -> Result<Picture, Failure> {
    guarded(loaded.format, || {
        let header = Header::read(loaded)?;
        header.check(limits)?;
        header.pixels(limits)
    })
}

/// Width and height of an image as it is shown, from its header alone.
pub fn dimensions(loaded: &Loaded) -> Result<(u32, u32), Failure> {
    guarded(loaded.format, || {
        let header = Header::read(loaded)?;
        let (width, height) = header.stored;
        Ok(if swaps_sides(header.orientation) {
            (height, width)
        } else {
            (width, height)
        })
    })
}

fn guarded<T>(format: Format, work: impl FnOnce() -> Result<T, String>) -> Result<T, Failure> {
    let outcome = panics::catch(work)
        .unwrap_or_else(|message| Err(format!("its decoder broke down over it ({message})")));
    outcome.map_err(|reason| {
        Failure::decode(format!("cannot decode this {}: {reason}", format.title()))
    })
}

/// An image of which the header was read and nothing of its size allocated.
struct Header<'a> {
    /// Width and height before orientation.
    stored: (u32, u32),
    orientation: Orientation,
    source: Source<'a>,
}

enum Source<'a> {
    Jpeg(Jpeg),
    Other(Box<dyn ImageDecoder + 'a>),
}

impl<'a> Header<'a> {
    fn read(loaded: &'a Loaded) -> Result<Self, String> {
        if loaded.format == Format::Jpeg {
            let jpeg = Jpeg::new(&loaded.bytes)?;
            return Ok(Self {
                stored: (jpeg.width, jpeg.height),
                orientation: exif_orientation(jpeg.exif.as_deref()),
                source: Source::Jpeg(jpeg),
            });
        }
        let mut decoder = open(loaded)?;
        Ok(Self {
            stored: decoder.dimensions(),
            orientation: orientation(loaded.format, decoder.as_mut()),
            source: Source::Other(decoder),
        })
    }

    fn check(&self, limits: &Limits) -> Result<(), String> {
        let (width, height) = self.stored;
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 {
            return Err(format!("its header claims {width}x{height} pixels"));
        }
        if pixels > limits.max_pixels {
            return Err(format!(
                "its header claims {width}x{height} = {pixels} pixels, more than the limit of {} (--max-pixels)",
                limits.max_pixels
            ));
        }
        let decoded = match &self.source {
            Source::Jpeg(jpeg) => {
                let samples = pixels * jpeg.channels as u64;
                // A progressive picture is held as 16-bit coefficients until its last scan.
                samples * if jpeg.progressive { 3 } else { 1 }
            }
            Source::Other(decoder) => decoder.total_bytes(),
        };
        // The decoder's own form, and the picture before and after it is turned upright.
        let turned = if swaps_sides(self.orientation) { 2 } else { 1 };
        let needed = decoded.saturating_add(pixels * 3 * turned);
        if needed > limits.max_memory {
            return Err(format!(
                "its {width}x{height} pixels need {needed} bytes of memory, more than the limit of {}",
                limits.max_memory
            ));
        }
        Ok(())
    }

    fn pixels(self, limits: &Limits) -> Result<Picture, String> {
        let (width, height) = self.stored;
        let image = match self.source {
            Source::Jpeg(jpeg) => {
                let channels = jpeg.channels;
                let pixels = jpeg.read()?;
                let rgb = if channels == 1 {
                    grey_to_rgb(&pixels)
                } else {
                    pixels
                };
                RgbImage::from_raw(width, height, rgb)
                    .ok_or("its decoder gave fewer pixels than its header claims")?
            }
            Source::Other(mut decoder) => {
                let mut allowed = image::Limits::no_limits();
                allowed.max_alloc = Some(limits.max_memory);
                decoder.set_limits(allowed).map_err(reason)?;
                flatten(DynamicImage::from_decoder(decoder).map_err(reason)?)
            }
        };
        let mut image = DynamicImage::ImageRgb8(image);
        image.apply_orientation(self.orientation);
        Ok(Picture {
            width: image.width(),
            height: image.height(),
            rgb: image.into_rgb8().into_raw(),
        })
    }
}

fn open(loaded: &Loaded) -> Result<Box<dyn ImageDecoder + '_>, String> {
    let bytes = Cursor::new(&loaded.bytes[..]);
    Ok(match loaded.format {
        Format::Png => Box::new(png::PngDecoder::new(bytes).map_err(reason)?),
        Format::Gif => Box::new(gif::GifDecoder::new(bytes).map_err(reason)?),
        Format::Webp => Box::new(webp::WebPDecoder::new(bytes).map_err(reason)?),
        Format::Bmp => Box::new(bmp::BmpDecoder::new(bytes).map_err(reason)?),
        Format::Tiff => Box::new(tiff::TiffDecoder::new(bytes).map_err(reason)?),
        Format::Pnm => Box::new(pnm::PnmDecoder::new(bytes).map_err(reason)?),
        Format::Tga => Box::new(tga::TgaDecoder::new(bytes).map_err(reason)?),
        Format::Ico => Box::new(ico::IcoDecoder::new(bytes).map_err(reason)?),
        Format::Qoi => Box::new(qoi::QoiDecoder::new(bytes).map_err(reason)?),
        unsupported => {
            return Err(format!(
                "{} is not supported: convert it to JPEG",
                unsupported.title()
            ));
        }
    })
}

/// An orientation that cannot be read is none: metadata never fails an image.
fn orientation(format: Format, decoder: &mut dyn ImageDecoder) -> Orientation {
    let found: ImageResult<Orientation> = match format {
        Format::Tiff => decoder.orientation(),
        _ => decoder
            .exif_metadata()
            .map(|exif| exif_orientation(exif.as_deref())),
    };
    found.unwrap_or(Orientation::NoTransforms)
}

fn exif_orientation(exif: Option<&[u8]>) -> Orientation {
    exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms)
}

fn swaps_sides(orientation: Orientation) -> bool {
    orientation.to_exif() >= 5
}

fn reason(error: ImageError) -> String {
    error.to_string()
}

/// Any kind of pixels as RGB, with transparency over white.
fn flatten(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    let (width, height) = rgba.dimensions();
    let mut rgb = RgbImage::new(width, height);
    for (over, pixel) in rgb.pixels_mut().zip(rgba.pixels()) {
        let [red, green, blue, alpha] = pixel.0;
        let alpha = u32::from(alpha);
        over.0 = [red, green, blue]
            .map(|level| ((u32::from(level) * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    rgb
}

fn grey_to_rgb(grey: &[u8]) -> Vec<u8> {
    grey.iter().flat_map(|&level| [level; 3]).collect()
}
