//! Pictures in every format against what Pillow shows, and the limits of what is decoded.

use showtell::archive::{Format, Limits, Loaded, decode, dimensions};

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
