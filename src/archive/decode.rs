//! Turns the bytes of an image into upright RGB pixels, within limits.
//!
//! What a header claims is checked before anything of that size is allocated, and whatever a
//! decoder does with a file that makes no sense, its panics included, is a [`Failure`].
//!
//! Pixels are shown as EXIF orientation says, transparency lies over white, of an animation the
//! first frame counts, and of an icon the largest picture. Colour profiles are ignored: sRGB is
//! taken for granted, as the networks that look at the pixels do.

use std::error::Error;
use std::io::Cursor;

use image::codecs::{bmp, gif, png, pnm, qoi, tga, tiff, webp};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageResult, RgbImage};

use super::jpeg::Jpeg;
use super::tiff::Tiff;
use super::{Failure, Format, Limits, Loaded, ico, panics};

pub(super) const TRUNCATED: &str = "the file is truncated: it ends before the picture does";

/// An image as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// `[height, width, 3]`, u8, red first, rows without padding.
    pub rgb: Vec<u8>,
}

/// An image as it is shown, or in small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Width and height of the whole, in pixels.
    pub size: (u32, u32),
    /// One `by`th of it in each direction; a part of a pixel that is left over is one more.
    pub picture: Picture,
    /// 1, 2, 4 or 8.
    pub by: u32,
}

/// As [`decode`], but at a half, a quarter or an eighth of its size where that is quicker and the
/// shorter side keeps at least `side` pixels.
pub fn decode_at_least(loaded: &Loaded, limits: &Limits, side: u32) -> Result<Shown, Failure> {
    guarded(loaded.format, || {
        let header = Header::read(loaded)?;
        header.check(limits)?;
        if let Some(shown) = header.reduced(side) {
            return Ok(shown);
        }
        let picture = header.pixels(limits)?;
        Ok(Shown {
            size: (picture.width, picture.height),
            picture,
            by: 1,
        })
    })
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

fn guarded<T>(format: Format, work: impl FnOnce() -> Result<T, Unfit>) -> Result<T, Failure> {
    let outcome = panics::catch(work).unwrap_or_else(|message| {
        Err(Unfit::Broken(format!(
            "its decoder broke down over it ({message})"
        )))
    });
    let title = format.title();
    outcome.map_err(|unfit| {
        Failure::decode(match unfit {
            Unfit::Broken(reason) => format!("cannot decode this {title}: {}", sentence(&reason)),
            Unfit::TooLarge(reason) => format!("this {title} is too large: {reason}"),
            Unfit::Unsupported => format!("{title} is not supported: convert to JPEG"),
        })
    })
}

/// What a decoder says, on one line, and in other words where all of them say the same.
fn sentence(reason: &str) -> String {
    // How the standard library puts `ErrorKind::UnexpectedEof`, under however many wrappings.
    // The last two are the GIF decoder's own.
    const ENDED: [&str; 4] = [
        "failed to fill whole buffer",
        "unexpected end of file",
        "Unexpected End of File",
        "image truncated",
    ];
    if ENDED.iter().any(|ended| reason.ends_with(ended)) {
        return TRUNCATED.to_owned();
    }
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Why an image has no pixels.
enum Unfit {
    Broken(String),
    TooLarge(String),
    /// The whole format, not a rare kind of a supported one.
    Unsupported,
}

impl From<String> for Unfit {
    fn from(reason: String) -> Self {
        Unfit::Broken(reason)
    }
}

impl From<ImageError> for Unfit {
    fn from(error: ImageError) -> Self {
        Unfit::Broken(reason(&error))
    }
}

/// An image of which the header was read and nothing of its size allocated.
struct Header<'a> {
    /// Width and height before orientation.
    stored: (u32, u32),
    orientation: Orientation,
    source: Source<'a>,
}

enum Source<'a> {
    Jpeg(Jpeg<'a>),
    Tiff(Box<Tiff>),
    Other(Box<dyn ImageDecoder + 'a>),
}

impl<'a> Header<'a> {
    fn read(loaded: &'a Loaded) -> Result<Self, Unfit> {
        if loaded.format == Format::Jpeg {
            let jpeg = Jpeg::new(&loaded.bytes)?;
            return Ok(Self {
                stored: (jpeg.width, jpeg.height),
                orientation: exif_orientation(jpeg.exif.as_deref()),
                source: Source::Jpeg(jpeg),
            });
        }
        if loaded.format == Format::Tiff
            && let Some(tiff) = Tiff::open(&loaded.bytes)?
        {
            return Ok(Self {
                stored: (tiff.width, tiff.height),
                orientation: tiff.orientation,
                source: Source::Tiff(Box::new(tiff)),
            });
        }
        let mut decoder = open(loaded)?;
        Ok(Self {
            stored: decoder.dimensions(),
            orientation: match loaded.format {
                Format::Png => exif_orientation(exif_of_png(&loaded.bytes)),
                format => orientation(format, decoder.as_mut()),
            },
            source: Source::Other(decoder),
        })
    }

    fn check(&self, limits: &Limits) -> Result<(), Unfit> {
        let (width, height) = self.stored;
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 {
            let reason = format!("its header claims {width}x{height} pixels");
            return Err(Unfit::Broken(reason));
        }
        if pixels > limits.max_pixels {
            return Err(Unfit::TooLarge(format!(
                "its header claims {width}x{height} = {pixels} pixels, more than the limit of {} (--max-pixels)",
                limits.max_pixels
            )));
        }
        let decoded = match &self.source {
            Source::Jpeg(jpeg) => jpeg.decoded_bytes(),
            Source::Tiff(tiff) => tiff.decoded_bytes(),
            Source::Other(decoder) => decoder.total_bytes(),
        };
        // The decoder's own form, and the picture before and after it is turned upright.
        let turned = if swaps_sides(self.orientation) { 2 } else { 1 };
        let needed = decoded.saturating_add(pixels * 3 * turned);
        if needed > limits.max_memory {
            return Err(Unfit::TooLarge(format!(
                "its {width}x{height} pixels need {needed} bytes of memory, more than the limit of {} (--max-memory)",
                limits.max_memory
            )));
        }
        Ok(())
    }

    /// The picture in small, if that is possible and leaves the shorter side at least `side` pixels.
    fn reduced(&self, side: u32) -> Option<Shown> {
        let Source::Jpeg(jpeg) = &self.source else {
            return None;
        };
        let (width, height) = self.stored;
        let fits = |by: &u32| {
            // Turned around, a part of a pixel would lie on the side where none is expected.
            let is_whole = width.is_multiple_of(*by) && height.is_multiple_of(*by);
            width.min(height) / by >= side
                && (is_whole || self.orientation == Orientation::NoTransforms)
        };
        let by = [8, 4, 2].into_iter().find(fits)?;
        let reduced = jpeg.read_reduced(by)?;
        let (across, down) = (reduced.width as u32, reduced.height as u32);
        let picture = upright(across, down, reduced.rgb, self.orientation)?;
        Some(Shown {
            size: if swaps_sides(self.orientation) {
                (height, width)
            } else {
                (width, height)
            },
            picture,
            by,
        })
    }

    fn pixels(self, limits: &Limits) -> Result<Picture, Unfit> {
        let (width, height) = self.stored;
        let rgb = match self.source {
            Source::Jpeg(jpeg) => {
                let channels = jpeg.channels;
                let pixels = jpeg.read()?;
                if channels == 1 {
                    grey_to_rgb(&pixels)
                } else {
                    pixels
                }
            }
            Source::Tiff(tiff) => tiff.read(limits.max_memory)?,
            Source::Other(mut decoder) => {
                let mut allowed = image::Limits::no_limits();
                allowed.max_alloc = Some(limits.max_memory);
                decoder.set_limits(allowed)?;
                flatten(DynamicImage::from_decoder(decoder)?).into_raw()
            }
        };
        upright(width, height, rgb, self.orientation).ok_or_else(|| {
            Unfit::Broken("its decoder gave fewer pixels than its header claims".to_owned())
        })
    }
}

/// Pixels as they are shown; `None` if they are not as many as they should be.
fn upright(width: u32, height: u32, rgb: Vec<u8>, orientation: Orientation) -> Option<Picture> {
    let mut image = DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, rgb)?);
    image.apply_orientation(orientation);
    Some(Picture {
        width: image.width(),
        height: image.height(),
        rgb: image.into_rgb8().into_raw(),
    })
}

fn open(loaded: &Loaded) -> Result<Box<dyn ImageDecoder + '_>, Unfit> {
    let bytes = Cursor::new(&loaded.bytes[..]);
    Ok(match loaded.format {
        Format::Png => Box::new(png::PngDecoder::new(bytes)?),
        Format::Gif => Box::new(gif::GifDecoder::new(bytes)?),
        Format::Webp => Box::new(webp::WebPDecoder::new(bytes)?),
        Format::Bmp => Box::new(bmp::BmpDecoder::new(bytes)?),
        Format::Tiff => Box::new(tiff::TiffDecoder::new(bytes)?),
        Format::Pnm => Box::new(pnm::PnmDecoder::new(bytes)?),
        Format::Tga => Box::new(tga::TgaDecoder::new(bytes)?),
        Format::Ico => ico::open(&loaded.bytes).ok_or_else(truncated)??,
        Format::Qoi => Box::new(qoi::QoiDecoder::new(bytes)?),
        Format::Jpeg
        | Format::Heic
        | Format::Avif
        | Format::Jxl
        | Format::Jp2
        | Format::Psd
        | Format::Exr
        | Format::Hdr
        | Format::Raw => return Err(Unfit::Unsupported),
    })
}

fn truncated() -> Unfit {
    Unfit::Broken(TRUNCATED.to_owned())
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

/// The eXIf chunk of a PNG, which may stand behind the pixels, where decoders have not read yet.
fn exif_of_png(bytes: &[u8]) -> Option<&[u8]> {
    const SIGNATURE: usize = 8;
    // Length and type stand before what a chunk holds, a checksum after.
    let mut rest = bytes.get(SIGNATURE..)?;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, data) = after.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        if kind == b"eXIf" {
            return data.get(..length);
        }
        rest = data.get(length.checked_add(4)?..)?;
    }
}

fn exif_orientation(exif: Option<&[u8]>) -> Orientation {
    exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms)
}

fn swaps_sides(orientation: Orientation) -> bool {
    orientation.to_exif() >= 5
}

/// What the decoder says, without the layers of wrapping that it says it in.
fn reason(error: &ImageError) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
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
