//! Pictures in every format against what Pillow shows, and the limits of what is decoded.

use showtell::archive::{Format, Limits, Loaded, decode, decode_at_least, dimensions};

use super::{load_golden, loaded};
use crate::broken::{Golden, golden_bytes, png_claiming};

#[test]
fn pictures_are_what_pillow_shows() {
    let mut wrong = Vec::new();
    for golden in Golden::all() {
        let picture = match decode(&load_golden(&golden.file), &Limits::default()) {
            Ok(picture) => picture,
            Err(failure) => {
                wrong.push(format!("{}: {}", golden.file, failure.reason));
                continue;
            }
        };
        let expected = golden_bytes(&golden.rgb);
        assert_eq!(expected.len(), (golden.width * golden.height * 3) as usize);
        let off = picture
            .rgb
            .iter()
            .zip(&expected)
            .map(|(level, expected)| level.abs_diff(*expected))
            .max();
        if (picture.width, picture.height) != (golden.width, golden.height)
            || off > Some(golden.tolerance)
        {
            wrong.push(format!(
                "{}: {}x{}, off by up to {off:?}",
                golden.file, picture.width, picture.height
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sequential_jpegs_are_what_pillow_shows_when_they_are_decoded_in_small() {
    let mut reduced = Vec::new();
    for golden in Golden::all() {
        // Of 18x11 pixels half are left.
        let loaded = load_golden(&golden.file);
        let shown = decode_at_least(&loaded, &Limits::default(), 5).unwrap();
        let (width, height) = (golden.width as usize, golden.height as usize);
        assert_eq!(shown.size, (golden.width, golden.height), "{}", golden.file);
        if shown.by == 1 {
            assert_eq!(Ok(shown.picture), decode(&loaded, &Limits::default()));
            continue;
        }
        assert_eq!(shown.by, 2);
        let across = shown.picture.width as usize;
        assert_eq!(across, width.div_ceil(2));
        assert_eq!(shown.picture.height as usize, height.div_ceil(2));
        let expected = golden_bytes(&golden.rgb);
        let (mut off, mut count) = (0.0, 0.0);
        for (y, x) in (0..height / 2).flat_map(|y| (0..width / 2).map(move |x| (y, x))) {
            for channel in 0..3 {
                let square = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(down, right)| {
                    let place = (2 * y + down) * width + 2 * x + right;
                    f32::from(expected[3 * place + channel])
                });
                let mean = square.iter().sum::<f32>() / 4.0;
                off += (f32::from(shown.picture.rgb[3 * (y * across + x) + channel]) - mean).abs();
                count += 1.0;
            }
        }
        // Colours have sharp edges here, which the whole picture shows more blurred than it need be.
        assert!(off / count < 6.0, "{}: off by {}", golden.file, off / count);
        reduced.push(golden.file.clone());
    }
    reduced.sort();
    let expected = [
        "jpeg-420.jpg",
        "jpeg-422.jpg",
        "jpeg-444.jpg",
        "jpeg-grey.jpg",
        "jpeg-no-end-marker.jpg",
        "jpeg-optimized.jpg",
        "jpeg-restart.jpg",
        "jpeg-trailing-garbage.jpg",
        "orientation-1.jpg",
    ];
    // Other kinds, and bytes between the headers, are for the decoder of whole pictures.
    assert_eq!(reduced, expected);
}

#[test]
fn formats_are_named_by_their_bytes() {
    for golden in Golden::all() {
        let format = load_golden(&golden.file).format;
        let kind = golden.file.split(['-', '.']).next().unwrap();
        if kind != "orientation" {
            assert_eq!(format.as_str(), kind, "{}", golden.file);
        }
    }
}

#[test]
fn limits_are_kept_and_name_their_options() {
    let check = |loaded: &Loaded, limits: Limits, words: &[&str]| {
        let failure = decode(loaded, &limits).unwrap_err();
        for words in words {
            assert!(failure.reason.contains(words), "{}", failure.reason);
        }
    };
    let defaults = Limits::default();
    for file in [
        "jpeg-420.jpg",
        "png-rgb.png",
        "tiff-palette.tif",
        "webp-lossy.webp",
    ] {
        let loaded = load_golden(file);
        let max_pixels = 18 * 11 - 1;
        check(
            &loaded,
            Limits {
                max_pixels,
                ..defaults
            },
            &[
                "too large",
                "18x11 = 198 pixels",
                "limit of 197",
                "--max-pixels",
            ],
        );
        assert!(
            decode(
                &loaded,
                &Limits {
                    max_pixels: 198,
                    ..defaults
                }
            )
            .is_ok()
        );
        check(
            &loaded,
            Limits {
                max_memory: 500,
                ..defaults
            },
            &["too large", "bytes of memory", "--max-memory"],
        );
    }
    // The header is enough to tell.
    let bomb = loaded(png_claiming(60_000, 60_000), Format::Png);
    check(&bomb, defaults, &["60000x60000", "--max-pixels"]);
    assert_eq!(dimensions(&bomb), Ok((60_000, 60_000)));
}

#[test]
fn a_png_is_turned_though_its_orientation_stands_behind_the_pixels() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[200; 18]).unwrap();
    // One entry: orientation (0x0112), a short, 6.
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    writer
        .write_chunk(png::chunk::ChunkType(*b"eXIf"), exif)
        .unwrap();
    writer.finish().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a.png");
    std::fs::write(&path, bytes).unwrap();
    let picture = showtell::archive::open(&path, &Limits::default()).unwrap();
    assert_eq!((picture.width, picture.height), (2, 3));
}
