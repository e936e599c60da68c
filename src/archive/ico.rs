//! Turns an icon file into the largest picture in it.
//!
//! `image` prefers colour depth to size and refuses an icon of which the directory and the picture
//! disagree, as they often do on the web. So the choice is made here, and what goes to its decoder is
//! an icon file of one entry that agrees.

use std::io::Cursor;

use image::codecs::{ico, png};
use image::{ImageDecoder, ImageResult};

use super::sniff::{u16_le, u32_le};

const HEADER: usize = 6;
const ENTRY: usize = 16;

/// A decoder for the largest picture, of the deepest colours among equals. None if its bytes are not
/// all in the file, or no picture is listed.
pub(super) fn open(bytes: &[u8]) -> Option<ImageResult<Box<dyn ImageDecoder + '_>>> {
    let count = usize::from(u16_le(bytes, 4)?);
    let picture = (0..count)
        .filter_map(|index| Picture::of(bytes, HEADER + index * ENTRY))
        .max_by_key(|picture| {
            let pixels = u64::from(picture.width) * u64::from(picture.height);
            (pixels, picture.depth)
        })?;
    Some(open_picture(&picture, picture.bytes?))
}

struct Picture<'a> {
    width: u32,
    height: u32,
    /// Bits per pixel.
    depth: u16,
    /// None if the file ends before them.
    bytes: Option<&'a [u8]>,
}

impl<'a> Picture<'a> {
    /// What the directory's entry at this place in the file lists.
    fn of(file: &'a [u8], at: usize) -> Option<Self> {
        let [width, height, ..] = *file.get(at..)?.first_chunk::<ENTRY>()?;
        let length = u64::from(u32_le(file, at + 8)?);
        let offset = u64::from(u32_le(file, at + 12)?);
        let range = usize::try_from(offset).ok()?..usize::try_from(offset + length).ok()?;
        let bytes = file.get(range);
        // Zero stands for 256, and the directory cannot say more; the picture's own header can.
        let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
        let own = bytes.and_then(own_size);
        let (width, height) = own.unwrap_or((side(width), side(height)));
        Some(Self {
            width,
            height,
            depth: u16_le(file, at + 6)?,
            bytes,
        })
    }
}

/// Width and height by the picture's header.
fn own_size(picture: &[u8]) -> Option<(u32, u32)> {
    if is_png(picture) {
        let side = |at: usize| Some(u32::from_be_bytes(*picture.get(at..)?.first_chunk()?));
        return Some((side(16)?, side(20)?));
    }
    // A bitmap in an icon counts its rows twice: once for the colours, once for the mask.
    Some((u32_le(picture, 4)?, u32_le(picture, 8)? / 2))
}

fn open_picture<'a>(
    picture: &Picture<'_>,
    bytes: &'a [u8],
) -> ImageResult<Box<dyn ImageDecoder + 'a>> {
    if is_png(bytes) {
        return Ok(Box::new(png::PngDecoder::new(Cursor::new(bytes))?));
    }
    let bytes = without_short_mask(bytes).unwrap_or(bytes);
    // Zero stands for 256 here too; larger bitmaps are not told apart by the decoder.
    let side = |side: u32| if side >= 256 { 0 } else { side as u8 };
    let mut file = vec![0, 0, 1, 0, 1, 0];
    file.extend([side(picture.width), side(picture.height), 0, 0, 1, 0]);
    file.extend(picture.depth.to_le_bytes());
    file.extend((bytes.len() as u32).to_le_bytes());
    file.extend(((HEADER + ENTRY) as u32).to_le_bytes());
    file.extend(bytes);
    Ok(Box::new(ico::IcoDecoder::new(Cursor::new(file))?))
}

/// A bitmap without its mask of transparency, if that is shorter than its rows, padded to 32 bits,
/// would be: Pillow writes them without the padding. None if the bitmap is fine as it is.
fn without_short_mask(bitmap: &[u8]) -> Option<&[u8]> {
    let field = |at| u32_le(bitmap, at).map(u64::from);
    let (header, width, height) = (field(0)?, field(4)?, field(8)? / 2);
    let depth = u64::from(u16_le(bitmap, 14)?);
    let palette = match (field(32)?, depth) {
        (0, 1..=8) => 1 << depth,
        (colours, _) => colours,
    };
    let row = |bits: u64| (width * bits).div_ceil(32) * 4;
    let pixels_end = header + palette * 4 + row(depth).checked_mul(height)?;
    let mask_end = pixels_end.checked_add(row(1).checked_mul(height)?)?;
    if bitmap.len() as u64 >= mask_end {
        return None;
    }
    bitmap.get(..usize::try_from(pixels_end).ok()?)
}

fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1A\n")
}
