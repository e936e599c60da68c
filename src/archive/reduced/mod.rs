//! Turns a sequential JPEG into pixels at a half, a quarter or an eighth of its size, without making
//! those of the whole.
//!
//! A photograph of twelve megapixels ends up as a square of 224 pixels. Of each 8×8 block of its
//! coefficients the lowest are then all that is looked at, as in libjpeg's scaled decoding: what
//! remains is to step over the others, which takes half the time. zune-jpeg cannot, and
//! jpeg-decoder, which can, invents what a damaged file lacks.
//!
//! What this does not know (progressive, several scans, other colours than grey and YCbCr), and data
//! that ends early or makes no sense, is left to the decoder of whole pictures, to decode or to refuse.

mod bits;
mod blocks;
mod codes;
mod colours;
mod headers;
mod levels;
mod samples;

use bits::unstuffed;
use blocks::{Plane, read_segment};
use colours::to_rgb;
use headers::Frame;
use samples::{looked_at, transform};

/// Pixels of a picture that was reduced.
pub(super) struct Reduced {
    pub width: usize,
    pub height: usize,
    /// `[height, width, 3]`, u8, red first.
    pub rgb: Vec<u8>,
}

/// Decodes `stream`, which begins with the start marker and ends where the scan's data does, at one
/// `by`th of its size: 2, 4 or 8. `None` if it is of a kind that is not known here, or damaged.
pub(super) fn decode(stream: &[u8], by: usize) -> Option<Reduced> {
    reduce(&Frame::read(stream)?, by)
}

fn reduce(frame: &Frame, by: usize) -> Option<Reduced> {
    // Blocks of a picture of one component come one by one, whatever its sampling says.
    let single = frame.components.len() == 1;
    let (most_across, most_down) = match &frame.components[..] {
        [first, ..] if !single => (first.across, first.down),
        _ => (1, 1),
    };
    let units_across = frame.width.div_ceil(8 * most_across);
    let units_down = frame.height.div_ceil(8 * most_down);
    let side = 8 / by;
    let mut planes = Vec::new();
    for component in &frame.components {
        let (across, down) = match single {
            true => (1, 1),
            false => (component.across, component.down),
        };
        // A colour that was sampled more coarsely is reduced by so much less.
        let (width, height) = (side * most_across / across, side * most_down / down);
        planes.push(Plane {
            across,
            down,
            block: (width, height),
            transform: transform(width, height)?,
            looked_at: looked_at(width, height),
            quantisation: frame.quantisation.get(component.quantisation)?.as_ref()?,
            dc: frame.dc.get(component.dc)?.as_ref()?,
            ac: frame.ac.get(component.ac)?.as_ref()?,
            stride: units_across * across * width,
            predicted: 0,
            samples: vec![0; units_across * across * width * units_down * down * height],
        });
    }
    let segments = unstuffed(frame.data)?;
    let units = units_across * units_down;
    let restart = if frame.restart == 0 {
        units
    } else {
        frame.restart
    };
    if segments.len() != units.div_ceil(restart) {
        return None;
    }
    for (number, segment) in segments.iter().enumerate() {
        let units = number * restart..((number + 1) * restart).min(units);
        read_segment(segment, units, units_across, &mut planes)?;
    }
    let (width, height) = (frame.width.div_ceil(by), frame.height.div_ceil(by));
    Some(Reduced {
        width,
        height,
        rgb: to_rgb(&planes, width, height),
    })
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    use super::*;
    use crate::archive::jpeg::Jpeg;

    /// Smooth enough that its reduction is its mean over each square.
    fn picture(width: usize, height: usize, channels: usize) -> Vec<u8> {
        let level = |x: usize, y: usize, channel: usize| {
            let (x, y) = (x as f32 / 40.0, y as f32 / 55.0);
            (128.0 + 60.0 * (x + channel as f32).sin() + 50.0 * (y - x / 2.0).cos()) as u8
        };
        (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| (0..channels).map(move |channel| level(x, y, channel)))
            .collect()
    }

    fn jpeg(width: usize, height: usize, channels: usize) -> Vec<u8> {
        encoded(
            &picture(width, height, channels),
            width,
            height,
            channels,
            95,
        )
    }

    fn encoded(
        pixels: &[u8],
        width: usize,
        height: usize,
        channels: usize,
        quality: u8,
    ) -> Vec<u8> {
        let colours = match channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, quality)
            .write_image(pixels, width as u32, height as u32, colours)
            .unwrap();
        bytes
    }

    /// Without the end marker.
    fn stream(bytes: &[u8]) -> &[u8] {
        bytes.strip_suffix(&[0xFF, 0xD9]).unwrap()
    }

    /// The mean of each square of the whole picture, RGB.
    fn means(bytes: &[u8], width: usize, height: usize, by: usize) -> Vec<f32> {
        let jpeg = Jpeg::new(bytes).unwrap();
        let channels = jpeg.channels;
        let whole = jpeg.read().unwrap();
        let mut means = Vec::new();
        for top in (0..height).step_by(by) {
            for left in (0..width).step_by(by) {
                let (bottom, right) = ((top + by).min(height), (left + by).min(width));
                for channel in 0..3 {
                    let mut sum = 0.0;
                    for y in top..bottom {
                        for x in left..right {
                            let place = (y * width + x) * channels + channel.min(channels - 1);
                            sum += f32::from(whole[place]);
                        }
                    }
                    means.push(sum / ((bottom - top) * (right - left)) as f32);
                }
            }
        }
        means
    }

    #[test]
    fn a_reduced_picture_is_the_whole_one_in_small() {
        for (width, height, channels) in [(320, 240, 3), (323, 241, 3), (64, 200, 1), (8, 8, 3)] {
            let bytes = jpeg(width, height, channels);
            for by in [2, 4, 8] {
                let reduced = decode(stream(&bytes), by).unwrap();
                let size = (width.div_ceil(by), height.div_ceil(by));
                assert_eq!((reduced.width, reduced.height), size);
                let means = means(&bytes, width, height, by);
                assert_eq!(reduced.rgb.len(), means.len());
                for (place, (found, mean)) in reduced.rgb.iter().zip(means).enumerate() {
                    // What lies behind the edge counts in the last squares.
                    let (x, y) = (place / 3 % size.0, place / 3 / size.0);
                    let inside = (x + 1) * by <= width && (y + 1) * by <= height;
                    let off = (f32::from(*found) - mean).abs();
                    assert!(
                        !inside || off < 3.0,
                        "{width}x{height} by {by}: {off} at {x}, {y}"
                    );
                }
            }
        }
    }

    #[test]
    fn of_noise_no_coefficient_is_missed() {
        // Blocks whose last coefficient is not zero have no code for their end.
        let (width, height) = (160, 120);
        let mut state = 1u32;
        for quality in [100, 97, 90, 50] {
            for channels in [1, 3] {
                let level = |_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // None that colours are clipped at.
                    96 + (state >> 26) as u8
                };
                let pixels: Vec<_> = (0..width * height * channels).map(level).collect();
                let bytes = encoded(&pixels, width, height, channels, quality);
                let reduced = decode(stream(&bytes), 8).unwrap();
                let means = means(&bytes, width, height, 8);
                for (found, mean) in reduced.rgb.iter().zip(means) {
                    let off = (f32::from(*found) - mean).abs();
                    assert!(off < 3.0, "quality {quality}, {channels} channels: {off}");
                }
            }
        }
    }

    #[test]
    fn what_is_damaged_is_left_to_others() {
        let bytes = jpeg(320, 240, 3);
        let whole = stream(&bytes);
        for length in [
            0,
            1,
            2,
            20,
            400,
            whole.len() / 2,
            whole.len() - 40,
            whole.len() - 2,
        ] {
            assert!(decode(&whole[..length], 4).is_none(), "{length} bytes");
        }
        // Markers that are none of a sequential picture's.
        for marker in [0xC2, 0xC4, 0xDA, 0xD9, 0xD8] {
            let mut spoilt = whole.to_vec();
            let place = spoilt.len() - 100;
            spoilt[place..place + 2].copy_from_slice(&[0xFF, marker]);
            assert!(decode(&spoilt, 4).is_none(), "{marker:x}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let bytes = jpeg(48, 40, 3);
        let whole = stream(&bytes);
        for place in 2..whole.len() {
            for value in [0, 0xFF, whole[place] ^ 0x10] {
                let mut spoilt = whole.to_vec();
                spoilt[place] = value;
                // Sizes that memory has no room for are refused before anything is decoded.
                if Frame::read(&spoilt).is_some_and(|frame| frame.width * frame.height < 1 << 20) {
                    let _ = decode(&spoilt, 4);
                }
            }
        }
    }
}
