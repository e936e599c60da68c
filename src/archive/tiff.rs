//! Turns the kinds of TIFF that `image` leaves out into pixels: scans with a palette, grey of two
//! and four bits, and JPEG in TIFF as scanners and slide digitisers write it.
//!
//! The decoder below knows no palettes either. It is told that the indices are levels of grey, in a
//! copy of the file in which that one tag is changed, and the palette is looked up here.
//!
//! Tags are those of TIFF 6.0 (Adobe, 1992).

use std::io::Cursor;

use image::metadata::Orientation;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::panics;

/// `PhotometricInterpretation`, section 8 and 21.
const WHITE_IS_ZERO: u16 = 0;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;
const YCBCR: u16 = 6;

/// A TIFF whose pixels need a last step here to become RGB.
pub(super) struct Tiff {
    pub width: u32,
    pub height: u32,
    pub orientation: Orientation,
    colours: Colours,
    decoder: Decoder<Cursor<Vec<u8>>>,
}

enum Colours {
    /// Samples of `bits` (1, 2, 4 or 8) are indices into the palette.
    Indexed {
        bits: u8,
        palette: Vec<[u8; 3]>,
    },
    YCbCr,
}

/// Whether this is a camera's raw file, of which the first picture is a preview: DNG by its version,
/// others (NEF, ARW, PEF, ...) by a first directory that calls itself reduced and points to more.
pub(super) fn is_camera_raw(bytes: &[u8]) -> bool {
    let looks_raw = || {
        let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
        let mut has = |tag| decoder.find_tag(tag).ok().flatten().is_some();
        if has(Tag::Unknown(50706)) {
            return Some(true);
        }
        let points_to_more = has(Tag::SubIfd);
        let kind = decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType);
        Some(points_to_more && kind.ok()?? & 1 == 1)
    };
    panics::catch(looks_raw).ok().flatten().unwrap_or(false)
}

impl Tiff {
    /// None if `image` can do it.
    pub(super) fn open(bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(reason)?;
        let mut tag = |tag| decoder.find_tag_unsigned_vec::<u16>(tag).map_err(reason);
        let photometric = first(tag(Tag::PhotometricInterpretation)?);
        let bits = first(tag(Tag::BitsPerSample)?).unwrap_or(1);
        let samples = first(tag(Tag::SamplesPerPixel)?).unwrap_or(1);
        let orientation = first(tag(Tag::Orientation).unwrap_or_default());

        let colours = match (photometric, bits, samples) {
            (Some(PALETTE), 1 | 2 | 4 | 8, 1) => Colours::Indexed {
                bits: bits as u8,
                palette: palette(&tag(Tag::ColorMap)?.unwrap_or_default(), bits)?,
            },
            (Some(WHITE_IS_ZERO | BLACK_IS_ZERO), 2 | 4, 1) => Colours::Indexed {
                bits: bits as u8,
                palette: grey_ramp(bits, photometric == Some(WHITE_IS_ZERO)),
            },
            (Some(YCBCR), 8, 3) => Colours::YCbCr,
            _ => return Ok(None),
        };
        let (width, height) = decoder.dimensions().map_err(reason)?;
        let mut bytes = bytes.to_vec();
        if matches!(colours, Colours::Indexed { .. }) {
            call_it_grey(&mut bytes).ok_or("its first directory cannot be read")?;
        }
        Ok(Some(Self {
            width,
            height,
            orientation: orientation
                .and_then(|value| Orientation::from_exif(value.min(255) as u8))
                .unwrap_or(Orientation::NoTransforms),
            colours,
            decoder: Decoder::new(Cursor::new(bytes)).map_err(reason)?,
        }))
    }

    /// Bytes that the samples take before they are RGB.
    pub(super) fn decoded_bytes(&self) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        match self.colours {
            Colours::Indexed { .. } => pixels,
            Colours::YCbCr => pixels * 3,
        }
    }

    /// The pixels, `[height, width, 3]`, u8.
    pub(super) fn read(self, max_memory: u64) -> Result<Vec<u8>, String> {
        let limit = usize::try_from(max_memory).unwrap_or(usize::MAX);
        let mut limits = Limits::default();
        limits.decoding_buffer_size = limit;
        limits.intermediate_buffer_size = limit;
        let mut decoder = self.decoder.with_limits(limits);
        let DecodingResult::U8(samples) = decoder.read_image().map_err(reason)? else {
            return Err("its samples are not of eight bits".to_owned());
        };
        let width = self.width as usize;
        let rgb: Vec<u8> = match self.colours {
            Colours::YCbCr => samples
                .as_chunks()
                .0
                .iter()
                .flat_map(ycbcr_to_rgb)
                .collect(),
            Colours::Indexed { bits, palette } => samples
                .chunks_exact((width * usize::from(bits)).div_ceil(8))
                .flat_map(|row| indices(row, bits).take(width))
                .flat_map(|index| palette.get(index).copied().unwrap_or_default())
                .collect(),
        };
        Ok(rgb)
    }
}

fn first(values: Option<Vec<u16>>) -> Option<u16> {
    values?.first().copied()
}

/// The indices of a row in which each takes `bits`, the first in the highest ones.
fn indices(row: &[u8], bits: u8) -> impl Iterator<Item = usize> {
    let mask = ((1u16 << bits) - 1) as u8;
    row.iter().flat_map(move |byte| {
        (1..=8 / bits).map(move |place| usize::from((byte >> (8 - place * bits)) & mask))
    })
}

/// The colours of a `ColorMap`: all reds, all greens, all blues, of 16 bits each.
fn palette(map: &[u16], bits: u16) -> Result<Vec<[u8; 3]>, String> {
    let colours = 1usize << bits;
    if map.len() < 3 * colours {
        return Err(format!(
            "its palette has {} numbers, expected {}",
            map.len(),
            3 * colours
        ));
    }
    // Some programs write levels of 8 bits where 16 are due.
    let shift = if map.iter().any(|&level| level > 255) {
        8
    } else {
        0
    };
    let level = |index: usize| (map[index] >> shift) as u8;
    Ok((0..colours)
        .map(|index| [index, index + colours, index + 2 * colours].map(level))
        .collect())
}

fn grey_ramp(bits: u16, white_is_zero: bool) -> Vec<[u8; 3]> {
    let last = (1u32 << bits) - 1;
    (0..=last)
        .map(|index| if white_is_zero { last - index } else { index })
        .map(|index| [(index * 255 / last) as u8; 3])
        .collect()
}

/// ITU-R BT.601 over the full range, which the JPEG file format (JFIF 1.02) prescribes.
fn ycbcr_to_rgb(sample: &[u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = sample.map(f32::from);
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    // Out of range saturates.
    [
        (y + 1.402 * cr).round() as u8,
        (y - 0.344_136 * cb - 0.714_136 * cr).round() as u8,
        (y + 1.772 * cb).round() as u8,
    ]
}

/// Changes `PhotometricInterpretation` of the first directory to "black is zero".
fn call_it_grey(bytes: &mut [u8]) -> Option<()> {
    const PHOTOMETRIC: u64 = 262;
    let little = bytes.starts_with(b"II");
    let number = |bytes: &[u8], at: usize, length: usize| -> Option<u64> {
        let field = bytes.get(at..at.checked_add(length)?)?;
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if little {
            field.iter().rev().fold(0, join)
        } else {
            field.iter().fold(0, join)
        })
    };
    // BigTIFF is the same with wider fields.
    let big = number(bytes, 2, 2)? == 43;
    let (offset_at, offset, count, entry, value) = if big {
        (8, 8, 8, 20, 12)
    } else {
        (4, 4, 2, 12, 8)
    };
    let directory = usize::try_from(number(bytes, offset_at, offset)?).ok()?;
    let entries = number(bytes, directory, count)?;
    for index in 0..usize::try_from(entries).ok()? {
        let at = directory
            .checked_add(count)?
            .checked_add(index.checked_mul(entry)?)?;
        if number(bytes, at, 2)? == PHOTOMETRIC {
            let grey = if little {
                BLACK_IS_ZERO.to_le_bytes()
            } else {
                BLACK_IS_ZERO.to_be_bytes()
            };
            bytes
                .get_mut(at + value..at + value + 2)?
                .copy_from_slice(&grey);
            return Some(());
        }
    }
    None
}

fn reason(error: tiff::TiffError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_read_from_the_high_bits_down() {
        let check = |bits, expected: &[usize]| {
            let found: Vec<usize> = indices(&[0b1001_0110], bits).collect();
            assert_eq!(found, expected);
        };
        check(1, &[1, 0, 0, 1, 0, 1, 1, 0]);
        check(2, &[2, 1, 1, 2]);
        check(4, &[9, 6]);
        check(8, &[0x96]);
    }

    #[test]
    fn palettes_of_eight_bit_levels_are_taken_as_meant() {
        let proper = [0x0100, 0xFFFF, 0x0200, 0x8000, 0x0300, 0x7F00];
        assert_eq!(palette(&proper, 1), Ok(vec![[1, 2, 3], [255, 128, 127]]));
        let eight_bits = [1, 255, 2, 128, 3, 127];
        assert_eq!(palette(&eight_bits, 1), palette(&proper, 1));
        assert!(palette(&proper[..5], 1).is_err());
    }

    #[test]
    fn ycbcr_is_that_of_jfif() {
        let check = |sample, rgb| assert_eq!(ycbcr_to_rgb(&sample), rgb);
        check([0, 128, 128], [0, 0, 0]);
        check([255, 128, 128], [255, 255, 255]);
        check([76, 85, 255], [254, 0, 0]);
        check([255, 255, 255], [255, 121, 255]);
        check([0, 0, 0], [0, 135, 0]);
    }

    #[test]
    fn a_circle_of_directories_is_no_raw_file() {
        assert!(!is_camera_raw(b""));
        assert!(!is_camera_raw(b"II*\0\x04\0\0\0"));
        assert!(!is_camera_raw(
            &[&b"MM\0+\0\x08\0\0"[..], &[0xFF; 40]].concat()
        ));
    }
}
