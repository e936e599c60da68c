//! Pictures of known shapes and colours against what torchvision makes of them.

use proptest::prelude::*;

use super::*;

/// Fine texture over a slope, as `tests/golden/preprocess/make.py` draws it.
fn textured(width: u32, height: u32) -> Picture {
    let mut rgb = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let level = ((x * 7 + y * 3 + 85 * channel) ^ ((x * y) >> (3 + channel))) & 255;
                rgb.push(((level + x * 255 / width) / 2) as u8);
            }
        }
    }
    Picture { width, height, rgb }
}

fn plain(width: u32, height: u32, colour: [u8; 3]) -> Picture {
    let rgb = colour.repeat((width * height) as usize);
    Picture { width, height, rgb }
}

fn with(resize: Resize, crop: u32) -> Preprocess {
    Preprocess {
        resize,
        crop,
        ..Preprocess::torchvision_vgg16()
    }
}

#[derive(Debug, Deserialize)]
struct Golden {
    mode: String,
    size: u32,
    crop: u32,
    width: u32,
    height: u32,
    mean: [f64; 3],
    pixels: String,
}

#[test]
fn matches_torchvision() {
    let cases: Vec<Golden> = serde_json::from_str(include_str!(
        "../../../tests/golden/preprocess/torchvision.json"
    ))
    .unwrap();
    let mut compared = 0;
    let mut off_by_one = 0;
    for case in &cases {
        let size = case.size;
        let resize = match case.mode.as_str() {
            "stretch" => Resize::Stretch { size },
            _ => Resize::ShortSide { size },
        };
        let square = with(resize, case.crop)
            .apply(&textured(case.width, case.height))
            .unwrap();
        let crop = case.crop as usize;
        assert_eq!(square.len(), crop * crop * 3);

        for (channel, expected) in case.mean.iter().enumerate() {
            let sum: u64 = square
                .iter()
                .skip(channel)
                .step_by(3)
                .map(|&level| u64::from(level))
                .sum();
            let mean = sum as f64 / (crop * crop) as f64;
            assert!(
                (mean - expected).abs() < 0.05,
                "{case:?}: channel {channel} has mean {mean}"
            );
        }
        let mut seed = 12345_usize;
        for pixel in case.pixels.as_bytes().chunks(6) {
            seed = (seed * 1103515245 + 12345) % (1 << 31);
            let at = (seed / crop % crop * crop + seed % crop) * 3;
            for (channel, digits) in pixel.chunks(2).enumerate() {
                let digits = std::str::from_utf8(digits).unwrap();
                let expected = u8::from_str_radix(digits, 16).unwrap();
                let level = square[at + channel];
                assert!(
                    level.abs_diff(expected) <= 1,
                    "{case:?}: {level} for {expected} at byte {at}"
                );
                compared += 1;
                off_by_one += usize::from(level != expected);
            }
        }
    }
    assert_eq!(compared, cases.len() * 240);
    // The two round their filters' coefficients to different precisions, and hardly ever differ.
    assert!(
        off_by_one * 50 < compared,
        "{off_by_one} of {compared} levels are off by one"
    );
}

#[test]
fn halves_are_rounded_as_python_does() {
    let halves: Vec<u64> = (0..8).map(half_to_even).collect();
    assert_eq!(halves, [0, 0, 1, 2, 2, 2, 3, 4]);
}

#[test]
fn only_the_middle_is_seen() {
    // 300x100 becomes 768x256, of which columns 272..496 are seen: 106.25..193.75 of the source.
    let mut picture = plain(300, 100, [10, 20, 30]);
    for row in picture.rgb.chunks_exact_mut(900) {
        row[..3 * 100].fill(255);
        row[3 * 200..].fill(255);
    }
    let square = Preprocess::torchvision_vgg16().apply(&picture).unwrap();
    assert_eq!(square, [10, 20, 30].repeat(224 * 224));
}

#[test]
fn thin_pictures_cost_no_more_than_others() {
    for (width, height) in [
        (1, 5000),
        (5000, 1),
        (1, 1_000_000),
        (1_000_000, 2),
        (3, 40_000),
    ] {
        let square = Preprocess::torchvision_vgg16()
            .apply(&plain(width, height, [1, 2, 3]))
            .unwrap();
        assert_eq!(square, [1, 2, 3].repeat(224 * 224), "{width}x{height}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn one_colour_stays_that_colour(
        width in prop_oneof![1u32..40, 1u32..700, 1u32..20_000],
        height in 1u32..60,
        turned: bool,
        stretch: bool,
        size in 1u32..300,
        cut in 0u32..300,
        colour: [u8; 3],
    ) {
        let (width, height) = if turned { (height, width) } else { (width, height) };
        let crop = size.saturating_sub(cut).max(1);
        let resize = if stretch { Resize::Stretch { size } } else { Resize::ShortSide { size } };
        let square = with(resize, crop).apply(&plain(width, height, colour)).unwrap();
        prop_assert_eq!(square, colour.repeat((crop * crop) as usize));
    }
}

#[test]
fn a_file_gives_back_what_was_written() {
    for preprocess in [Preprocess::torchvision_vgg16(), Preprocess::caffe_vgg16()] {
        preprocess.validate().unwrap();
        let text = toml::to_string(&preprocess).unwrap();
        assert_eq!(
            toml::from_str::<Preprocess>(&text).unwrap(),
            preprocess,
            "{text}"
        );
    }
}

#[test]
fn a_file_is_read_as_documented() {
    let preprocess: Preprocess = toml::from_str(
        r#"
        resize = { mode = "stretch", size = 112 }
        crop = 112
        channels = "bgr"
        scale = 1
        mean = [103.939, 116.779, 123.68]
        std = [1, 1, 1]
        "#,
    )
    .unwrap();
    assert_eq!(preprocess.resize, Resize::Stretch { size: 112 });
    assert_eq!(preprocess.channels, Channels::Bgr);
}

#[test]
fn nonsense_is_named() {
    let check = |change: fn(&mut Preprocess), field: &str| {
        let mut preprocess = Preprocess::torchvision_vgg16();
        change(&mut preprocess);
        let error = preprocess.validate().unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
        assert_eq!(preprocess.apply(&plain(2, 2, [0; 3])), Err(error.clone()));
        let text = toml::to_string(&preprocess).unwrap();
        let read = toml::from_str::<Preprocess>(&text).unwrap_err();
        assert!(read.to_string().contains(&error.to_string()), "{read}");
    };
    check(
        |p| p.resize = Resize::ShortSide { size: 0 },
        "resize.size is 0",
    );
    check(
        |p| p.resize = Resize::Stretch { size: 1 << 20 },
        "resize.size is 1048576",
    );
    check(|p| p.crop = 0, "crop is 0");
    check(|p| p.crop = 257, "crop is 257, expected 1 to 256");
    check(|p| p.scale = 0.0, "scale is 0");
    check(|p| p.scale = f32::NAN, "scale is NaN");
    check(|p| p.mean[1] = f32::INFINITY, "mean is inf");
    check(|p| p.std[2] = 0.0, "std is 0");
    assert!(toml::from_str::<Preprocess>("resize = { mode = \"zoom\", size = 1 }").is_err());
}

#[test]
fn a_picture_that_is_not_what_it_says_is_refused() {
    let mut picture = plain(4, 4, [0; 3]);
    picture.rgb.pop();
    let error = Preprocess::torchvision_vgg16().apply(&picture).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a picture of 4x4 pixels has 47 bytes, expected 48"
    );
    let empty = plain(0, 4, [0; 3]);
    assert!(Preprocess::torchvision_vgg16().apply(&empty).is_err());
}

#[test]
fn the_window_is_the_part_of_the_picture_that_is_shown() {
    let window = |left, top, width, height| Window {
        left,
        top,
        width,
        height,
    };
    let mut preprocess = Preprocess::torchvision_vgg16();
    // 512×256 is its size already; the middle 224 pixels are cut out.
    assert_eq!(
        preprocess.window(512, 256),
        window(144.0, 16.0, 224.0, 224.0)
    );
    // Twice that size, upright.
    assert_eq!(
        preprocess.window(512, 1024),
        window(32.0, 288.0, 448.0, 448.0)
    );
    preprocess.resize = Resize::Stretch { size: 224 };
    assert_eq!(preprocess.window(512, 256), window(0.0, 0.0, 512.0, 256.0));
}
