//! What goes wrong inside a file.

use super::craft::{png_claiming, with_exif, with_tag};
use super::{Folder, Golden, Outcome, golden_bytes};

impl Folder<'_> {
    pub(super) fn every_format(&mut self) {
        for golden in Golden::all() {
            let (width, height) = (golden.width, golden.height);
            self.write(
                format!("formats/{}", golden.file),
                golden.bytes(),
                Outcome::Shown { width, height },
            );
        }
    }

    pub(super) fn truncated(&mut self) {
        // Of an animation only the first frame counts, and a baseline JPEG may lack its last bytes.
        let files = [
            "jpeg-420.jpg",
            "jpeg-progressive-420.jpg",
            "jpeg-grey.jpg",
            "jpeg-cmyk.jpg",
            "jpeg-restart.jpg",
            "jpeg-separate-scans.jpg",
            "png-rgb.png",
            "png-interlaced.png",
            "gif.gif",
            "webp-lossy.webp",
            "webp-lossless.webp",
            "bmp-24-bit.bmp",
            "bmp-8-bit.bmp",
            "tiff-rgb.tif",
            "tiff-rgb-lzw.tif",
            "tiff-palette.tif",
            "pnm-p3.ppm",
            "pnm-p6.ppm",
            "tga-rgb.tga",
            "ico.ico",
            "qoi.qoi",
        ];
        for file in files {
            let bytes = golden_bytes(file);
            // The header is kept, so that it is still seen for what it was.
            for (name, end) in [
                ("header", 26),
                ("third", bytes.len() / 3),
                ("half", bytes.len() / 2),
                ("most", bytes.len() - 40),
            ] {
                self.write(
                    format!("truncated/{name}-{file}"),
                    &bytes[..end],
                    Outcome::Failed(""),
                );
            }
        }
        let said = |file: &str| {
            let bytes = golden_bytes(file);
            bytes[..bytes.len() - 30].to_vec()
        };
        self.write(
            "truncated/said.png",
            said("png-rgb.png"),
            Outcome::Failed("truncated"),
        );
        self.write(
            "truncated/said.bmp",
            said("bmp-24-bit.bmp"),
            Outcome::Failed("truncated"),
        );
        self.write(
            "truncated/said.ppm",
            said("pnm-p6.ppm"),
            Outcome::Failed("truncated"),
        );
        let jpeg = golden_bytes("jpeg-444.jpg");
        self.write(
            "truncated/said.jpg",
            &jpeg[..jpeg.len() - 60],
            Outcome::Failed("truncated"),
        );
        // Lost in the middle, with the end marker in place.
        let mut middle = jpeg;
        middle.drain(middle.len() - 120..middle.len() - 2);
        self.write("truncated/middle.jpg", middle, Outcome::Failed("truncated"));
    }

    pub(super) fn corrupt(&mut self) {
        let overwrite = |file: &str, from_end: usize, with: &[u8]| {
            let mut bytes = golden_bytes(file);
            let at = bytes.len() - from_end;
            bytes[at..at + with.len()].copy_from_slice(with);
            bytes
        };
        let failed = Outcome::Failed("cannot decode this");
        self.write(
            "corrupt/marker-in-data.jpg",
            overwrite("jpeg-444.jpg", 100, b"\xFF\xC4\xFF\xC0\xFF\xD8\xFF\xDB"),
            failed.clone(),
        );
        self.write(
            "corrupt/noise.jpg",
            overwrite("jpeg-progressive-444.jpg", 130, &[0xFE; 100]),
            failed.clone(),
        );
        self.write(
            "corrupt/checksum.png",
            overwrite("png-rgb.png", 30, &[0x55; 8]),
            failed.clone(),
        );
        self.write(
            "corrupt/lossless.webp",
            overwrite("webp-lossless.webp", 200, &[0xFF; 150]),
            failed.clone(),
        );
        self.write(
            "corrupt/deflate.tif",
            {
                let mut bytes = golden_bytes("tiff-rgb-deflate.tif");
                let stream = bytes
                    .windows(2)
                    .position(|pair| pair == b"\x78\x9C")
                    .unwrap();
                bytes[stream + 20..stream + 60].fill(0xEE);
                bytes
            },
            failed.clone(),
        );
        self.write(
            "corrupt/letters.ppm",
            b"P3\n2 2\n255\none two three",
            failed.clone(),
        );
        self.write(
            "corrupt/too-bright.pgm",
            b"P2\n2 2\n9\n1 2 3 400\n",
            failed.clone(),
        );
        self.write(
            "corrupt/only-the-signature.png",
            b"\x89PNG\r\n\x1A\n",
            failed.clone(),
        );
        self.write("corrupt/only-the-signature.gif", b"GIF89a", failed.clone());
        self.write(
            "corrupt/only-the-signature.jpg",
            b"\xFF\xD8\xFF",
            failed.clone(),
        );
        self.write(
            "corrupt/only-the-ends.jpg",
            b"\xFF\xD8\xFF\xD9",
            failed.clone(),
        );
        self.write(
            "corrupt/only-the-signature.webp",
            b"RIFF\x04\0\0\0WEBP",
            failed.clone(),
        );
        self.write(
            "corrupt/only-the-signature.tif",
            b"II*\0\x08\0\0\0",
            failed.clone(),
        );
        self.write("corrupt/circle.tif", b"MM\0*\0\0\0\x04", failed);
    }

    /// Small files that claim to be huge, or nothing.
    pub(super) fn hostile(&mut self) {
        let large = Outcome::Failed("--max-pixels");
        let patched = |file: &str, patches: &[(usize, &[u8])]| {
            let mut bytes = golden_bytes(file);
            for (at, with) in patches {
                bytes[*at..*at + with.len()].copy_from_slice(with);
            }
            bytes
        };
        let jpeg = golden_bytes("jpeg-444.jpg");
        let frame = jpeg
            .windows(2)
            .position(|pair| pair == b"\xFF\xC0")
            .unwrap();
        let frame = frame + 5;
        self.write("huge/bomb.png", png_claiming(60_000, 60_000), large.clone());
        self.write("huge/wide.png", png_claiming(0x7FFF_FFFF, 1), large.clone());
        self.write(
            "huge/huge.jpg",
            patched("jpeg-444.jpg", &[(frame, b"\xFF\xDC\xFF\xDC")]),
            large.clone(),
        );
        self.write(
            "huge/huge.gif",
            patched("gif.gif", &[(6, &[0xFF; 4])]),
            large.clone(),
        );
        self.write(
            "huge/huge.bmp",
            patched("bmp-24-bit.bmp", &[(18, b"\x60\xEA\0\0\x60\xEA\0\0")]),
            large.clone(),
        );
        self.write("huge/huge.ppm", b"P6 60000 60000 255 abc", large.clone());
        self.write(
            "huge/huge.tga",
            patched("tga-rgb.tga", &[(12, &[0xFF; 4])]),
            large.clone(),
        );
        self.write(
            "huge/huge.qoi",
            patched("qoi.qoi", &[(4, b"\0\0\x4E\x20\0\0\x2E\xE0")]),
            large.clone(),
        );
        self.write(
            "huge/huge.tif",
            [256, 257, 278]
                .iter()
                .fold(golden_bytes("tiff-rgb.tif"), |tiff, &tag| {
                    with_tag(&tiff, tag, 60_000)
                }),
            large,
        );

        let failed = Outcome::Failed("cannot decode this");
        self.write("empty/zero.png", png_claiming(0, 0), failed.clone());
        self.write("empty/zero-wide.png", png_claiming(0, 5), failed.clone());
        self.write(
            "empty/zero.gif",
            patched("gif.gif", &[(6, &[0; 4])]),
            failed.clone(),
        );
        self.write(
            "empty/zero.bmp",
            patched("bmp-24-bit.bmp", &[(18, &[0; 8])]),
            failed.clone(),
        );
        self.write("empty/zero.pgm", b"P5 0 0 255 ", failed.clone());
        self.write(
            "empty/zero.jpg",
            patched("jpeg-444.jpg", &[(frame, &[0; 4])]),
            failed.clone(),
        );
        self.write(
            "empty/zero.tif",
            with_tag(&golden_bytes("tiff-rgb.tif"), 257, 0),
            failed,
        );

        self.write(
            "shape/dot.pgm",
            b"P5 1 1 255 a",
            Outcome::Shown {
                width: 1,
                height: 1,
            },
        );
        let mut tall = b"P5 1 5000 255 ".to_vec();
        tall.resize(tall.len() + 5000, b'x');
        self.write(
            "shape/tall.pgm",
            tall,
            Outcome::Shown {
                width: 1,
                height: 5000,
            },
        );
        let mut wide = b"P4 40000 1\n".to_vec();
        wide.resize(wide.len() + 5000, 0x5A);
        self.write(
            "shape/wide.pbm",
            wide,
            Outcome::Shown {
                width: 40_000,
                height: 1,
            },
        );
    }

    /// Metadata that makes no sense costs no image its pixels.
    pub(super) fn odd_exif(&mut self) {
        let blocks: [(&str, &[u8]); 8] = [
            ("nothing", b""),
            ("cut", b"II*\0"),
            ("garbage", &[0x13; 80]),
            ("far", b"MM\0*\xFF\xFF\xFF\xF0"),
            ("circle", b"II*\0\0\0\0\0"),
            ("many", b"II*\0\x08\0\0\0\xFF\xFF\x12\x01\x03\0"),
            (
                "value-99",
                b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0",
            ),
            (
                "value-0",
                b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0",
            ),
        ];
        for (name, block) in blocks {
            let bytes = with_exif(&golden_bytes("jpeg-444.jpg"), block);
            self.write(
                format!("exif/{name}.jpg"),
                bytes,
                Outcome::Shown {
                    width: 18,
                    height: 11,
                },
            );
        }
        let preview = golden_bytes("jpeg-grey.jpg");
        self.write(
            "exif/preview.jpg",
            with_exif(&golden_bytes("jpeg-444.jpg"), &preview),
            Outcome::Shown {
                width: 18,
                height: 11,
            },
        );
        let turned = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
        self.write(
            "exif/turned.jpg",
            with_exif(&golden_bytes("jpeg-444.jpg"), turned),
            Outcome::Shown {
                width: 11,
                height: 18,
            },
        );
    }
}
