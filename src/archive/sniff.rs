//! Turns the first bytes of a file into the kind of image that it holds, if any.
//!
//! Names lie and magic numbers are short: what begins with `BM` may be a letter and what begins with
//! `P1 ` a shopping list. So where a magic number is weak, the header behind it has to make sense.

use super::Format;

/// How many bytes of a file [`sniff`] wants to see, where the file has as many.
pub(super) const HEADER_BYTES: usize = 512;

/// The last bytes of a TGA file of version 2.
pub(super) const TGA_FOOTER: &[u8; 18] = b"TRUEVISION-XFILE.\0";

/// What [`sniff`] may look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'a> {
    /// The first [`HEADER_BYTES`] of the file, or all of a shorter one.
    pub header: &'a [u8],
    /// Size of the whole file in bytes.
    pub file_bytes: u64,
    /// What the file's name ends in, in lower case, without the dot; empty if it has none.
    pub extension: &'a str,
}

/// The verdict on a file's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sniffed {
    Image(Format),
    /// An image if its last bytes are [`TGA_FOOTER`].
    TgaIfFooter,
    NotAnImage,
}

/// Tells what a file is by its first bytes; the name only speaks for TGA, which has no magic number,
/// and for the bare form of JPEG XL, whose has two bytes.
pub(super) fn sniff(evidence: Evidence<'_>) -> Sniffed {
    let header = evidence.header;
    let format = if header.starts_with(b"\xFF\xD8\xFF") {
        Some(Format::Jpeg)
    } else if header.starts_with(b"\x89PNG\r\n\x1A\n") {
        Some(Format::Png)
    } else if header.starts_with(b"GIF87a") || header.starts_with(b"GIF89a") {
        Some(Format::Gif)
    } else if header.starts_with(b"RIFF") && at(header, 8, b"WEBP") {
        Some(Format::Webp)
    } else if is_camera_raw(header) {
        Some(Format::Raw)
    } else if [&b"II*\0"[..], b"MM\0*", b"II+\0", b"MM\0+"]
        .iter()
        .any(|magic| header.starts_with(magic))
    {
        Some(Format::Tiff)
    } else if header.starts_with(b"qoif") && matches!(byte(header, 12), Some(3 | 4)) {
        Some(Format::Qoi)
    } else if header.starts_with(b"8BPS\0\x01") || header.starts_with(b"8BPS\0\x02") {
        Some(Format::Psd)
    } else if header.starts_with(b"\x76\x2F\x31\x01") {
        Some(Format::Exr)
    } else if header.starts_with(b"#?RADIANCE\n") || header.starts_with(b"#?RGBE\n") {
        Some(Format::Hdr)
    } else if header.starts_with(b"\0\0\0\x0CJXL \r\n\x87\n")
        || (header.starts_with(b"\xFF\x0A") && evidence.extension == "jxl")
    {
        Some(Format::Jxl)
    } else if header.starts_with(b"\0\0\0\x0CjP  \r\n\x87\n")
        || header.starts_with(b"\xFF\x4F\xFF\x51\0")
    {
        Some(Format::Jp2)
    } else if let Some(format) = iso_media(header) {
        Some(format)
    } else if is_bmp(header, evidence.file_bytes) {
        Some(Format::Bmp)
    } else if is_ico(header, evidence.file_bytes) {
        Some(Format::Ico)
    } else if is_pnm(header) {
        Some(Format::Pnm)
    } else {
        None
    };
    match format {
        Some(format) => Sniffed::Image(format),
        None if !could_be_tga(header) => Sniffed::NotAnImage,
        None if matches!(evidence.extension, "tga" | "targa") => Sniffed::Image(Format::Tga),
        None => Sniffed::TgaIfFooter,
    }
}

/// Whether a name with this ending (lower case, no dot) promises an image.
pub(super) fn promises_image(extension: &str) -> bool {
    matches!(
        extension,
        "jpg"
            | "jpeg"
            | "jpe"
            | "jfif"
            | "png"
            | "apng"
            | "gif"
            | "webp"
            | "bmp"
            | "dib"
            | "tif"
            | "tiff"
            | "pnm"
            | "ppm"
            | "pgm"
            | "pbm"
            | "pam"
            | "tga"
            | "targa"
            | "ico"
            | "qoi"
            | "heic"
            | "heif"
            | "avif"
            | "jxl"
            | "jp2"
    )
}

/// Canon's, Fuji's, Olympus's and Panasonic's raw files. Others are TIFF by their first bytes.
fn is_camera_raw(header: &[u8]) -> bool {
    (header.starts_with(b"II*\0") && at(header, 8, b"CR\x02"))
        || header.starts_with(b"FUJIFILMCCD-RAW")
        || header.starts_with(b"IIRO")
        || header.starts_with(b"IIRS")
        || header.starts_with(b"MMOR")
        || header.starts_with(b"IIU\0")
        || (at(header, 4, b"ftypcrx "))
}

/// HEIC and AVIF are ISO media files like MP4; the brands in the first box tell them apart.
fn iso_media(header: &[u8]) -> Option<Format> {
    if !at(header, 4, b"ftyp") {
        return None;
    }
    let length = usize::try_from(u32_be(header, 0)?).ok()?;
    let brands: Vec<&[u8]> = header
        .get(8..length.clamp(16, header.len().max(16)))?
        .chunks_exact(4)
        .enumerate()
        // The second word is the version of the first, not a brand.
        .filter_map(|(index, brand)| (index != 1).then_some(brand))
        .collect();
    let any = |known: &[&[u8; 4]]| {
        brands
            .iter()
            .any(|brand| known.iter().any(|known| *brand == known.as_slice()))
    };
    if any(&[b"avif", b"avis"]) {
        Some(Format::Avif)
    } else if any(&[
        b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1",
    ]) {
        Some(Format::Heic)
    } else {
        None
    }
}

fn is_bmp(header: &[u8], file_bytes: u64) -> bool {
    if !header.starts_with(b"BM") {
        return false;
    }
    let (Some(pixels_at), Some(info_bytes)) = (u32_le(header, 10), u32_le(header, 14)) else {
        // Cut off inside its header. `BM` and the two reserved words are all there is to tell by.
        return header.len() >= 10 && at(header, 6, &[0; 4]) && file_bytes < 18;
    };
    let (planes, depth) = if info_bytes == 12 {
        (u16_le(header, 22), u16_le(header, 24))
    } else {
        (u16_le(header, 26), u16_le(header, 28))
    };
    matches!(info_bytes, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124)
        && u64::from(pixels_at) >= 14 + u64::from(info_bytes)
        && planes.is_none_or(|planes| planes == 1)
        && depth.is_none_or(|depth| matches!(depth, 0 | 1 | 2 | 4 | 8 | 16 | 24 | 32))
}

fn is_ico(header: &[u8], file_bytes: u64) -> bool {
    let Some(count) = u16_le(header, 4) else {
        return false;
    };
    if !header.starts_with(b"\0\0\x01\0") || count == 0 || count > 1024 {
        return false;
    }
    let directory_end = 6 + 16 * u64::from(count);
    if header.len() < 22 || file_bytes < directory_end {
        return false;
    }
    // Each entry: width, height, colours, 0, planes u16, depth u16, size u32, offset u32.
    header[6..]
        .chunks_exact(16)
        .take(usize::from(count))
        .all(|entry| {
            entry[3] == 0
                && matches!(u16_le(entry, 4), Some(0..=4))
                && matches!(u16_le(entry, 6), Some(0 | 1 | 2 | 4 | 8 | 16 | 24 | 32))
                && u32_le(entry, 8) > Some(0)
                && u32_le(entry, 12).is_some_and(|offset| u64::from(offset) >= directory_end)
        })
}

/// `P1` to `P6` and then numbers in ASCII, or `P7` and then its keywords; comments may stand between.
fn is_pnm(header: &[u8]) -> bool {
    let (Some(b'P'), Some(kind @ b'1'..=b'7')) = (byte(header, 0), byte(header, 1)) else {
        return false;
    };
    if !byte(header, 2).is_some_and(|byte| byte.is_ascii_whitespace() || byte == b'#') {
        return false;
    }
    let mut tokens = Tokens(&header[2..]);
    if kind == b'7' {
        return tokens.next().is_some_and(|token| {
            [&b"WIDTH"[..], b"HEIGHT", b"DEPTH", b"MAXVAL", b"TUPLTYPE"].contains(&token)
        });
    }
    let wanted = if matches!(kind, b'1' | b'4') { 2 } else { 3 };
    let mut seen = 0;
    for token in tokens.by_ref().take(wanted) {
        let digits = token.iter().all(u8::is_ascii_digit) && token.len() <= 10;
        // The last number may be cut off by the end of what was read, not by white space.
        if !digits {
            return false;
        }
        seen += 1;
    }
    // A comment may be longer than what was read of the file.
    seen == wanted || header.len() >= HEADER_BYTES
}

/// Words separated by white space, `#` comments left out.
struct Tokens<'a>(&'a [u8]);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let start = self.0.iter().position(|byte| !byte.is_ascii_whitespace())?;
            self.0 = &self.0[start..];
            if self.0[0] != b'#' {
                break;
            }
            let end = self.0.iter().position(|&byte| byte == b'\n')?;
            self.0 = &self.0[end..];
        }
        let end = self
            .0
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || *byte == b'#')
            .unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(token)
    }
}

/// Whether the 18 bytes of a TGA header make sense; many a binary file's do.
fn could_be_tga(header: &[u8]) -> bool {
    let [
        _,
        colour_map,
        image_type,
        _,
        _,
        _,
        _,
        map_depth,
        _,
        _,
        _,
        _,
        w0,
        w1,
        h0,
        h1,
        depth,
        descriptor,
        ..,
    ] = header
    else {
        return false;
    };
    let mapped = matches!(image_type, 1 | 9);
    (*colour_map == 0 || *colour_map == 1)
        && (!mapped || (*colour_map == 1 && matches!(map_depth, 15 | 16 | 24 | 32)))
        && matches!(image_type, 1 | 2 | 3 | 9 | 10 | 11)
        && matches!(depth, 8 | 15 | 16 | 24 | 32)
        && (w0 | w1) != 0
        && (h0 | h1) != 0
        && descriptor & 0xC0 == 0
}

fn at(bytes: &[u8], offset: usize, expected: &[u8]) -> bool {
    bytes
        .get(offset..)
        .is_some_and(|rest| rest.starts_with(expected))
}

fn byte(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

pub(super) fn u16_le(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

pub(super) fn u32_le(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn u32_be(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(header: &[u8], extension: &str) -> Sniffed {
        sniff(Evidence {
            header: &header[..header.len().min(HEADER_BYTES)],
            file_bytes: header.len() as u64,
            extension,
        })
    }

    #[test]
    fn images_are_told_by_their_bytes() {
        let check = |header: &[u8], format| {
            assert_eq!(verdict(header, "txt"), Sniffed::Image(format));
        };
        check(b"\xFF\xD8\xFF\xE0", Format::Jpeg);
        check(b"\x89PNG\r\n\x1A\n", Format::Png);
        check(b"GIF89a\x01", Format::Gif);
        check(b"RIFF\0\0\0\0WEBPVP8 ", Format::Webp);
        check(b"II*\0\x08\0\0\0", Format::Tiff);
        check(b"MM\0*\0\0\0\x08", Format::Tiff);
        check(b"II*\0\x10\0\0\0CR\x02\0", Format::Raw);
        check(b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", Format::Raw);
        check(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Format::Heic);
        check(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Format::Heic);
        check(b"\0\0\0\x1Cftypmif1\0\0\0\0mif1avifmiaf", Format::Avif);
        check(b"\0\0\0\x0CJXL \r\n\x87\n", Format::Jxl);
        check(b"8BPS\0\x01\0\0\0\0", Format::Psd);
        check(b"P3 # a comment\n2 2\n255\n0 0 0", Format::Pnm);
        check(b"P6\n#\n# two\n640 480 255\n", Format::Pnm);
        check(b"P1\n2 2\n0 1 1 0\n", Format::Pnm);
        check(b"P7\nWIDTH 2\nHEIGHT 2\n", Format::Pnm);
        check(b"qoif\0\0\0\x01\0\0\0\x01\x04\0", Format::Qoi);
    }

    #[test]
    fn other_files_are_not() {
        let check = |header: &[u8]| {
            assert_eq!(verdict(header, "bin"), Sniffed::NotAnImage, "{header:?}");
        };
        check(b"");
        check(b"\xFF");
        check(b"BM: the meeting is moved to Tuesday, please tell all the others\n");
        check(b"P1 buy milk\n");
        check(b"P3 and P4 are due");
        check(b"P5\n");
        check(b"P7 is missing");
        check(b"\0\0\x01\0\0\0\0\0");
        check(b"\0\0\x01\0\x05\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        check(b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2avc1mp41");
        check(b"\0\0\0\x14ftypqt  \0\0\0\0qt  ");
        check(b"RIFF\0\0\0\0WAVEfmt ");
        check(b"<!DOCTYPE html><html><svg></svg></html>");
        check(b"<?xml version='1.0'?><feed/>");
        check(b"<svg xmlns='http://www.w3.org/2000/svg'/>");
        check(b"\xFF\x0A\0\0");
        check(b"qoifish story, told at length");
        check(b"8BPS is how a Photoshop file begins");
        check(b"%PDF-1.7\n");
        check(b"PK\x03\x04");
        check(b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3E\0");
    }

    #[test]
    fn tga_wants_a_second_witness() {
        let mut header = [0u8; 18];
        header[2] = 2;
        header[12] = 4;
        header[14] = 4;
        header[16] = 24;
        assert_eq!(verdict(&header, "bin"), Sniffed::TgaIfFooter);
        assert_eq!(verdict(&header, "tga"), Sniffed::Image(Format::Tga));
        header[16] = 25;
        assert_eq!(verdict(&header, "tga"), Sniffed::NotAnImage);
        assert_eq!(verdict(b"\xFF\x0A\0\0", "jxl"), Sniffed::Image(Format::Jxl));
    }
}
