//! Turns the bytes of a JPEG into pixels, or into the reason why they are not all there.
//!
//! libjpeg and those who follow it fill what is missing with grey and go on, so half a download
//! becomes half a picture with a caption. Here a JPEG whose data ends early or makes no sense is a
//! failure. What a viewer would not miss is forgiven: an absent end marker behind complete data,
//! bytes between the headers, anything behind the end.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::decode::TRUNCATED;

/// Zeros behind the picture's data. The decoder reads up to eight bytes ahead of what it decodes;
/// where it wants more than these, data is missing.
const READ_AHEAD: usize = 9;

/// A JPEG whose headers were read.
pub(super) struct Jpeg {
    /// The file up to its end marker, which is left out of a sequential picture: the decoder takes
    /// it for licence to invent what is missing before it.
    stream: Vec<u8>,
    pub width: u32,
    pub height: u32,
    progressive: bool,
    /// How many channels [`Jpeg::read`] gives: 1 or 3.
    pub channels: usize,
    /// The EXIF block, without its `Exif` signature.
    pub exif: Option<Vec<u8>>,
}

impl Jpeg {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, String> {
        let structure = Structure::of(bytes);
        let mut stream;
        if structure.progressive {
            if !structure.complete {
                return Err(TRUNCATED.to_owned());
            }
            stream = bytes.to_vec();
        } else {
            stream = Vec::with_capacity(structure.data_end + READ_AHEAD);
            stream.extend_from_slice(&bytes[..structure.data_end]);
            stream.resize(structure.data_end + READ_AHEAD, 0);
        }

        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&stream[..]), options());
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
        })
    }

    /// Bytes that decoding holds beside the finished picture, or as the picture itself.
    pub(super) fn decoded_bytes(&self) -> u64 {
        let samples = u64::from(self.width) * u64::from(self.height) * self.channels as u64;
        // A progressive picture is held as 16-bit coefficients until its last scan.
        samples * if self.progressive { 3 } else { 1 } + self.stream.len() as u64
    }

    /// The pixels, `[height, width, channels]`, u8.
    pub(super) fn read(self) -> Result<Vec<u8>, String> {
        let colours = if self.channels == 1 {
            ColorSpace::Luma
        } else {
            ColorSpace::RGB
        };
        let lenient = options().jpeg_set_out_colorspace(colours);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&self.stream[..]), lenient);
        decoder.decode_headers().map_err(reason)?;
        // Strict from here on: about the data, not about the headers.
        decoder.set_options(lenient.set_strict_mode(true));
        decoder.decode().map_err(reason)
    }
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
#[derive(Debug, PartialEq, Eq)]
struct Structure {
    progressive: bool,
    /// Whether an end marker was found.
    complete: bool,
    /// Where the last scan's data ends.
    data_end: usize,
}

impl Structure {
    /// Follows the markers to the first end marker that does not belong to an embedded preview.
    fn of(bytes: &[u8]) -> Self {
        let mut structure = Self {
            progressive: false,
            complete: false,
            data_end: bytes.len(),
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
                    if marker == 0xC2 {
                        structure.progressive = true;
                    }
                    let length = bytes.get(body..).and_then(|rest| rest.first_chunk());
                    let Some(length) = length.map(|length| u16::from_be_bytes(*length)) else {
                        break;
                    };
                    position = body + usize::from(length.max(2));
                }
            }
        }
        structure
    }
}

/// The next marker at or behind `position`: where its `FF` stands, and its code.
fn next_marker(bytes: &[u8], position: usize) -> Option<(usize, u8)> {
    let mut from = position;
    loop {
        let start = from + memchr(bytes.get(from..)?)?;
        match bytes.get(start + 1)? {
            // A stuffed byte of data, or a fill byte before a marker.
            0x00 => from = start + 2,
            0xFF => from = start + 1,
            &marker => return Some((start, marker)),
        }
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == 0xFF)
}
