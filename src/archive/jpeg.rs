//! Turns the bytes of a JPEG into pixels, or into the reason why they are not all there.
//!
//! libjpeg and those who follow it fill what is missing with grey and go on, so half a download
//! becomes half a picture with a caption. Here a JPEG whose data ends early or makes no sense is a
//! failure. What a viewer would not miss is forgiven: an absent end marker behind complete data,
//! bytes between the headers, anything behind the end. A progressive JPEG is only asked for its end
//! marker and for sense: what a scan lacks before the next one cannot be told from what it leaves out.
//!
//! zune-jpeg is the fast decoder and does nearly all there is. Where it is known to fail, another
//! takes over, see [`Structure::is_rare`].

use jpeg_decoder::PixelFormat;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::decode::TRUNCATED;
use super::reduced::{self, Reduced};

/// Zeros behind the picture's data. The decoder reads up to eight bytes ahead of what it decodes;
/// where it wants more than these, data is missing.
const READ_AHEAD: usize = 9;

/// A JPEG whose headers were read.
pub(super) struct Jpeg<'a> {
    /// The file up to its end marker, which is left out of a sequential picture: the decoder takes
    /// it for licence to invent what is missing before it.
    stream: &'a [u8],
    rare: bool,
    pub width: u32,
    pub height: u32,
    progressive: bool,
    /// How many channels [`Jpeg::read`] gives: 1 or 3.
    pub channels: usize,
    /// The EXIF block, without its `Exif` signature.
    pub exif: Option<Vec<u8>>,
}

impl<'a> Jpeg<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let structure = Structure::of(bytes);
        let rare = structure.is_rare();
        let stream = if !structure.progressive && !rare {
            &bytes[..structure.data_end]
        } else if structure.complete {
            bytes
        } else {
            return Err(TRUNCATED.to_owned());
        };

        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options());
        decoder.decode_headers().map_err(reason)?;
        let (Some((width, height)), Some(colours)) =
            (decoder.dimensions(), decoder.input_colorspace())
        else {
            return Err("its headers do not describe a picture".to_owned());
        };
        let exif = decoder.exif().cloned();
        let channels = if colours == ColorSpace::Luma { 1 } else { 3 };
        Ok(Self {
            width: width as u32,
            height: height as u32,
            progressive: structure.progressive,
            channels,
            exif,
            stream,
            rare,
        })
    }

    /// Bytes that decoding holds beside the finished picture, or as the picture itself.
    pub(super) fn decoded_bytes(&self) -> u64 {
        let samples = u64::from(self.width) * u64::from(self.height) * self.channels as u64;
        // A picture of many scans is held as 16-bit coefficients until the last.
        let times = if self.progressive || self.rare { 3 } else { 1 };
        samples * times + self.stream.len() as u64
    }

    /// The pixels, `[height, width, channels]`, u8.
    pub(super) fn read(self) -> Result<Vec<u8>, String> {
        if self.rare {
            return self.read_rare();
        }
        let colours = if self.channels == 1 {
            ColorSpace::Luma
        } else {
            ColorSpace::RGB
        };
        let lenient = options().jpeg_set_out_colorspace(colours);
        let mut padded = Vec::new();
        let stream = if self.progressive {
            self.stream
        } else {
            padded.reserve_exact(self.stream.len() + READ_AHEAD);
            padded.extend_from_slice(self.stream);
            padded.resize(self.stream.len() + READ_AHEAD, 0);
            &padded
        };
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), lenient);
        decoder.decode_headers().map_err(reason)?;
        // Strict from here on: about the data, not about the headers.
        decoder.set_options(lenient.set_strict_mode(true));
        decoder.decode().map_err(reason)
    }

    /// The pixels of the picture in small, one `by`th of its size (2, 4 or 8) and as many where that is
    /// no whole number; `None` if it has to be decoded whole.
    pub(super) fn read_reduced(&self, by: u32) -> Option<Reduced> {
        if self.rare || self.progressive {
            return None;
        }
        reduced::decode(self.stream, by as usize)
    }

    fn read_rare(self) -> Result<Vec<u8>, String> {
        let mut decoder = jpeg_decoder::Decoder::new(self.stream);
        let pixels = decoder.decode().map_err(|error| error.to_string())?;
        match decoder.info().map(|info| info.pixel_format) {
            Some(PixelFormat::L8) if self.channels == 1 => Ok(pixels),
            Some(PixelFormat::RGB24) if self.channels == 3 => Ok(pixels),
            Some(PixelFormat::CMYK32) if self.channels == 3 => {
                Ok(pixels.as_chunks().0.iter().flat_map(cmyk_to_rgb).collect())
            }
            other => Err(format!("its pixels are of an unexpected kind ({other:?})")),
        }
    }
}

/// Ink on white, without a colour profile.
fn cmyk_to_rgb(ink: &[u8; 4]) -> [u8; 3] {
    let [cyan, magenta, yellow, black] = ink.map(|level| 255 - u32::from(level));
    [cyan, magenta, yellow].map(|light| ((light * black + 127) / 255) as u8)
}

fn options() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(false)
        // A JPEG cannot claim more than 65535; what is too much is not for the decoder to say.
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
}

fn reason(error: DecodeErrors) -> String {
    match error {
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => TRUNCATED.to_owned(),
        DecodeErrors::Format(reason) => reason,
        DecodeErrors::FormatStatic(reason) => reason.to_owned(),
        error => format!("{error:?}"),
    }
}

/// Where the parts of a JPEG lie (ITU-T T.81, Annex B).
#[derive(Debug, Default, PartialEq, Eq)]
struct Structure {
    progressive: bool,
    /// Whether an end marker was found.
    complete: bool,
    /// Where the last scan's data ends.
    data_end: usize,
    /// How many colour components the picture has.
    components: u8,
    /// How many of them the first scan brings.
    in_first_scan: Option<u8>,
    /// Whether a component has more samples, across or down, than the first.
    first_is_coarser: bool,
}

impl Structure {
    /// Follows the markers to the first end marker that does not belong to an embedded preview.
    fn of(bytes: &[u8]) -> Self {
        let mut structure = Self {
            data_end: bytes.len(),
            ..Self::default()
        };
        let mut position = 2;
        while let Some((start, marker)) = next_marker(bytes, position) {
            let body = start + 2;
            match marker {
                0xD9 => {
                    structure.complete = true;
                    structure.data_end = start;
                    // Fill bytes before a marker belong to it.
                    while bytes[..structure.data_end].last() == Some(&0xFF) {
                        structure.data_end -= 1;
                    }
                    break;
                }
                // Markers without a segment. Restart markers stand within a scan's data.
                0x01 | 0xD0..=0xD8 => position = body,
                _ => {
                    let Some(length) = bytes.get(body..).and_then(|rest| rest.first_chunk()) else {
                        break;
                    };
                    position = body + usize::from(u16::from_be_bytes(*length).max(2));
                    let segment = bytes.get(body + 2..position).unwrap_or_default();
                    structure.note(marker, segment);
                }
            }
        }
        structure
    }

    /// Reads what is wanted of a frame header (B.2.2) or a scan header (B.2.3).
    fn note(&mut self, marker: u8, segment: &[u8]) {
        match marker {
            0xC0..=0xC2 => {
                self.progressive = marker == 0xC2;
                // Behind depth, height and width.
                self.components = segment.get(5).copied().unwrap_or_default();
                // Of each component: its name, four bits of sampling for each direction, a table.
                let sampling = |component: &[u8; 3]| (component[1] >> 4, component[1] & 0xF);
                let components = segment.get(6..).unwrap_or_default().as_chunks::<3>().0;
                let mut components = components.iter().map(sampling);
                let (across, down) = components.next().unwrap_or((0xF, 0xF));
                self.first_is_coarser = components.any(|(a, d)| a > across || d > down);
            }
            0xDA if self.in_first_scan.is_none() => {
                self.in_first_scan = segment.first().copied();
            }
            _ => {}
        }
    }

    /// Whether this is beyond zune-jpeg 0.5, which without an error puts the rows of a sequential
    /// picture with one scan per component in the wrong places, and stretches other components than
    /// the first by nothing but what the first has more.
    fn is_rare(&self) -> bool {
        let first = self.in_first_scan.unwrap_or(self.components);
        (!self.progressive && first < self.components) || self.first_is_coarser
    }
}

/// The next marker at or behind `position`: where its `FF` stands, and its code.
fn next_marker(bytes: &[u8], position: usize) -> Option<(usize, u8)> {
    let mut from = position;
    loop {
        let start = from + memchr::memchr(0xFF, bytes.get(from..)?)?;
        match bytes.get(start + 1)? {
            // A stuffed byte of data, or a fill byte before a marker.
            0x00 => from = start + 2,
            0xFF => from = start + 1,
            &marker => return Some((start, marker)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment with its marker and length.
    fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16 + 2).to_be_bytes();
        [&[0xFF, marker], &length[..], body].concat()
    }

    fn file(parts: &[&[u8]]) -> Vec<u8> {
        [b"\xFF\xD8", parts.concat().as_slice()].concat()
    }

    #[test]
    fn the_end_is_that_of_the_picture_not_of_its_preview() {
        let preview = segment(0xE1, b"Exif\0\0\xFF\xD8\xFF\xDA\0\x02data\xFF\xD9");
        let scan = segment(0xDA, b"\x01\x01\0\0\x3F\0");
        let data = b"\x12\xFF\0\x34\xFF\xD0\x56";
        let bytes = file(&[&preview, &scan, data, b"\xFF\xFF\xD9", b"more\xFF\xD9"]);
        let structure = Structure::of(&bytes);
        assert!(structure.complete);
        let end = 2 + preview.len() + scan.len() + data.len();
        assert_eq!(structure.data_end, end);
    }

    #[test]
    fn without_an_end_marker_the_data_goes_to_the_end() {
        let scan = segment(0xDA, b"\x01\x01\0\0\x3F\0");
        for tail in [
            &b"\x12\x34"[..],
            b"\x12\xFF",
            b"\x12\xFF\0",
            b"\xFF\xE1",
            b"\xFF\xE1\xFF",
        ] {
            let bytes = file(&[&scan, tail]);
            let structure = Structure::of(&bytes);
            assert!(!structure.complete);
            assert_eq!(structure.data_end, bytes.len());
        }
    }

    #[test]
    fn scans_of_single_components_are_rare_only_where_zune_fails() {
        let check = |frame: u8, first_scan: u8, rare| {
            let header = segment(frame, b"\x08\0\x10\0\x10\x03\x01\x22\0\x02\x11\0\x03\x11\0");
            let scan = segment(0xDA, &[first_scan, 1, 0, 0, 63, 0]);
            let structure = Structure::of(&file(&[&header, &scan, b"\xFF\xD9"]));
            assert_eq!(structure.progressive, frame == 0xC2);
            assert_eq!(structure.is_rare(), rare);
        };
        check(0xC0, 3, false);
        check(0xC0, 1, true);
        check(0xC1, 2, true);
        check(0xC2, 1, false);
    }
}
