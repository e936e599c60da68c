//! The kinds of image that are told apart, and what they are called.

use std::fmt;

/// What a file's bytes say that it is. Not all that is recognised can be decoded. Drawings that are
/// programs (SVG, PostScript, PDF) are documents, not images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Jpeg,
    Png,
    Gif,
    Webp,
    Bmp,
    Tiff,
    Pnm,
    Tga,
    Ico,
    Qoi,
    Heic,
    Avif,
    Jxl,
    Jp2,
    Psd,
    Exr,
    Hdr,
    /// A camera's raw file: CR2, CR3, DNG, NEF, RAF, ORF, RW2, ...
    Raw,
}

impl Format {
    /// The name that the table uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::Gif => "gif",
            Format::Webp => "webp",
            Format::Bmp => "bmp",
            Format::Tiff => "tiff",
            Format::Pnm => "pnm",
            Format::Tga => "tga",
            Format::Ico => "ico",
            Format::Qoi => "qoi",
            Format::Heic => "heic",
            Format::Avif => "avif",
            Format::Jxl => "jxl",
            Format::Jp2 => "jp2",
            Format::Psd => "psd",
            Format::Exr => "exr",
            Format::Hdr => "hdr",
            Format::Raw => "raw",
        }
    }

    /// How people write the name.
    pub const fn title(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::Gif => "GIF",
            Format::Webp => "WebP",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
            Format::Pnm => "PNM",
            Format::Tga => "TGA",
            Format::Ico => "ICO",
            Format::Qoi => "QOI",
            Format::Heic => "HEIC",
            Format::Avif => "AVIF",
            Format::Jxl => "JPEG XL",
            Format::Jp2 => "JPEG 2000",
            Format::Psd => "Photoshop",
            Format::Exr => "OpenEXR",
            Format::Hdr => "Radiance HDR",
            Format::Raw => "camera raw",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
