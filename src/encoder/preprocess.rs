//! Turns a picture of any size into the square of pixels that an encoder looks at.
//!
//! The arithmetic is Pillow's and torchvision's, level for level where it can be: published weights
//! were trained on what those make of a photograph. Colours are shifted, scaled and ordered later,
//! on the device, by the constants kept here.
//!
//! Nothing here holds a tensor.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, IntoImageView, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use crate::archive::{Picture, Shown};

/// How an encoder wants its pictures. Read from `model.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Preprocess {
    pub resize: Resize,
    /// Side in pixels of the square that is cut out of the middle.
    pub crop: u32,
    pub channels: Channels,
    /// What levels of 0..=255 are multiplied with before `mean` and `std`.
    pub scale: f32,
    /// Subtracted from the scaled channels, in the order of `channels`.
    pub mean: [f32; 3],
    /// What the scaled channels less their mean are divided by, in the order of `channels`.
    pub std: [f32; 3],
}

/// To what size a picture is brought before its middle is cut out; sizes in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Resize {
    /// The shorter side becomes `size`, the other keeps the shape.
    ShortSide { size: u32 },
    /// Both sides become `size`, whatever the shape.
    Stretch { size: u32 },
}

/// The order of the colours that the encoder's first layer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    Rgb,
    Bgr,
}

/// The part of a picture that an encoder is shown, in pixels of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// Why pictures cannot be prepared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    #[error("preprocessing: {field} is {value}, expected {expected}")]
    Configuration {
        field: &'static str,
        value: String,
        expected: String,
    },
    #[error("a picture of {width}x{height} pixels has {bytes} bytes, expected {expected}")]
    Picture {
        width: u32,
        height: u32,
        bytes: usize,
        expected: u64,
    },
    #[error("cannot resize a picture: {0}")]
    Resize(String),
}

impl Preprocess {
    /// What torchvision's `VGG16_Weights.IMAGENET1K_V1` were trained with.
    pub fn torchvision_vgg16() -> Self {
        Self {
            resize: Resize::ShortSide { size: 256 },
            crop: 224,
            channels: Channels::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// What the original Caffe weights of Simonyan and Zisserman (arXiv 1409.1556) were trained with.
    pub fn caffe_vgg16() -> Self {
        Self {
            resize: Resize::ShortSide { size: 256 },
            crop: 224,
            channels: Channels::Bgr,
            scale: 1.0,
            mean: [103.939, 116.779, 123.68],
            std: [1.0; 3],
        }
    }

    /// Whether the numbers make sense together.
    pub fn validate(&self) -> Result<(), PreprocessError> {
        /// Larger than any published encoder's input; keeps a slip of the keyboard from memory.
        const MAX_SIDE: u32 = 8192;

        let size = self.resize.size();
        ensure((1..=MAX_SIDE).contains(&size), "resize.size", size, || {
            format!("1 to {MAX_SIDE} pixels")
        })?;
        ensure((1..=size).contains(&self.crop), "crop", self.crop, || {
            format!("1 to {size} pixels, the size after resizing")
        })?;
        ensure(
            self.scale.is_finite() && self.scale > 0.0,
            "scale",
            self.scale,
            || "a number above zero, such as 0.00392156862745098 (1/255) or 1".to_owned(),
        )?;
        for mean in self.mean {
            ensure(mean.is_finite(), "mean", mean, || "a number".to_owned())?;
        }
        for std in self.std {
            ensure(std.is_finite() && std > 0.0, "std", std, || {
                "a number above zero".to_owned()
            })?;
        }
        Ok(())
    }

    /// Factor and offset of each channel, in the order of `channels`, that turn levels of 0..=255
    /// into what the first layer wants: `level * factor + offset`.
    pub fn factor_and_offset(&self) -> ([f32; 3], [f32; 3]) {
        let factor = self.std.map(|std| self.scale / std);
        let offset = [0, 1, 2].map(|channel| -self.mean[channel] / self.std[channel]);
        (factor, offset)
    }

    /// One line that differs where two preprocessings differ.
    pub fn fingerprint(&self) -> String {
        format!("{self:?}")
    }

    /// The square that the encoder sees: `[crop, crop, 3]`, u8, red first whatever `channels` says.
    ///
    /// Only what ends up in the square is computed, so a picture of 1x5000 pixels costs no more
    /// than another.
    pub fn apply(&self, picture: &Picture) -> Result<Vec<u8>, PreprocessError> {
        let size = (picture.width, picture.height);
        self.square(picture, (size, 1), half_to_even, half_to_even)
    }

    /// As [`apply`](Self::apply), but with the square cut out elsewhere: `left` and `top` are the
    /// shares, 0 to 1, of what is cut off that lie left of it and above it.
    pub fn apply_at(
        &self,
        picture: &Picture,
        left: f64,
        top: f64,
    ) -> Result<Vec<u8>, PreprocessError> {
        let part = |share: f64| move |rest: u64| ((rest + 1) as f64 * share) as u64;
        let within = |share: f64| move |rest: u64| part(share)(rest).min(rest);
        let size = (picture.width, picture.height);
        self.square(picture, (size, 1), within(left), within(top))
    }

    /// The shorter side of a picture that is good enough to be resized from: twice what it becomes, so
    /// that the filter of [`Preprocess::apply`] still has several pixels to each.
    pub fn least_side(&self) -> u32 {
        2 * self.resize.size()
    }

    /// As [`Preprocess::apply`], of a picture that was decoded in small.
    pub fn apply_to_shown(&self, shown: &Shown) -> Result<Vec<u8>, PreprocessError> {
        let whole = (shown.size, shown.by);
        self.square(&shown.picture, whole, half_to_even, half_to_even)
    }

    /// `whole` is the size of the whole and by how much `picture` is smaller; `left` and `top` tell, of
    /// so many pixels that are cut off, how many lie before the square.
    fn square(
        &self,
        picture: &Picture,
        whole: ((u32, u32), u32),
        left: impl Fn(u64) -> u64,
        top: impl Fn(u64) -> u64,
    ) -> Result<Vec<u8>, PreprocessError> {
        self.validate()?;
        let (width, height) = (picture.width, picture.height);
        let expected = u64::from(width) * u64::from(height) * 3;
        let wrong_picture = || PreprocessError::Picture {
            width,
            height,
            bytes: picture.rgb.len(),
            expected,
        };
        if expected == 0 || picture.rgb.len() as u64 != expected {
            return Err(wrong_picture());
        }
        let source = ImageRef::new(width, height, &picture.rgb, PixelType::U8x3)
            .map_err(|_| wrong_picture())?;

        let (across, down) = self.spans(whole, left, top);
        let rows = down.reach(height);

        // Pillow goes across first and rounds to levels in between. Only the rows that the second
        // pass looks at are made.
        let strip = resample(
            &source,
            (across.begin, across.length),
            (f64::from(rows.start), f64::from(rows.end - rows.start)),
            (self.crop, rows.end - rows.start),
        )?;
        let square = resample(
            &strip,
            (0.0, f64::from(self.crop)),
            (down.begin - f64::from(rows.start), down.length),
            (self.crop, self.crop),
        )?;
        Ok(square.into_vec())
    }

    /// What of a picture of `width` × `height` ends up in the square.
    pub fn window(&self, width: u32, height: u32) -> Window {
        let (across, down) = self.spans(((width, height), 1), half_to_even, half_to_even);
        Window {
            left: across.begin,
            top: down.begin,
            width: across.length,
            height: down.length,
        }
    }

    /// What the square shows of a picture, across and down; arguments as of [`Preprocess::square`].
    fn spans(
        &self,
        ((width, height), by): ((u32, u32), u32),
        left: impl Fn(u64) -> u64,
        top: impl Fn(u64) -> u64,
    ) -> (Span, Span) {
        let (resized_width, resized_height) = self.resize.of(width, height);
        (
            Span::of(width, by, resized_width, self.crop, left),
            Span::of(height, by, resized_height, self.crop, top),
        )
    }
}

impl Resize {
    fn size(self) -> u32 {
        match self {
            Resize::ShortSide { size } | Resize::Stretch { size } => size,
        }
    }

    /// Width and height after resizing; the longer side is rounded down, as torchvision does.
    fn of(self, width: u32, height: u32) -> (u64, u64) {
        match self {
            Resize::Stretch { size } => (size.into(), size.into()),
            Resize::ShortSide { size } => {
                let size = u64::from(size);
                let (width, height) = (u64::from(width), u64::from(height));
                if width <= height {
                    (size, size * height / width)
                } else {
                    (size * width / height, size)
                }
            }
        }
    }
}

/// The part of a source line that ends up in the square, in source pixels.
#[derive(Debug, Clone, Copy)]
struct Span {
    begin: f64,
    length: f64,
    /// Source pixels per pixel of the square.
    scale: f64,
}

impl Span {
    /// What `crop` pixels show of a line of `length` pixels, of which one `by`th is there, that is resized
    /// to `resized`; `before` tells, of so many pixels that are cut off, how many lie before them.
    fn of(length: u32, by: u32, resized: u64, crop: u32, before: impl Fn(u64) -> u64) -> Self {
        let length = f64::from(length) / f64::from(by);
        let scale = length / resized as f64;
        let begin = before(resized.saturating_sub(crop.into())) as f64 * scale;
        Self {
            begin,
            // Rounding may carry the end past the last pixel by a hair, which would be refused.
            length: (f64::from(crop) * scale).min(length - begin),
            scale,
        }
    }

    /// The whole source pixels that a bilinear filter looks at, which reaches over both ends.
    fn reach(&self, length: u32) -> std::ops::Range<u32> {
        let support = self.scale.max(1.0);
        let first = (self.begin - support).floor().max(0.0);
        let end = (self.begin + self.length + support).ceil();
        first as u32..(end as u32).min(length)
    }
}

/// Antialiased bilinear, from a part of a picture (begin and length of each side) to `(width, height)`.
///
/// Pixels around the part count where the filter reaches them, so this is cutting after resizing.
fn resample(
    source: &impl IntoImageView,
    (left, width): (f64, f64),
    (top, height): (f64, f64),
    (to_width, to_height): (u32, u32),
) -> Result<Image<'static>, PreprocessError> {
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(false)
        .crop(left, top, width, height);
    let mut resized = Image::new(to_width, to_height, PixelType::U8x3);
    Resizer::new()
        .resize(source, &mut resized, &options)
        .map_err(|error| PreprocessError::Resize(error.to_string()))?;
    Ok(resized)
}

/// Half of `number`, as Python's `round` has it, by which torchvision's `CenterCrop` cuts.
fn half_to_even(number: u64) -> u64 {
    let half = number / 2;
    half + if number % 2 == 1 { half % 2 } else { 0 }
}

fn ensure<T: ToString>(
    holds: bool,
    field: &'static str,
    value: T,
    expected: impl FnOnce() -> String,
) -> Result<(), PreprocessError> {
    if holds {
        return Ok(());
    }
    Err(PreprocessError::Configuration {
        field,
        value: value.to_string(),
        expected: expected(),
    })
}

/// [`Preprocess`] as it stands in a file, before [`Preprocess::validate`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    resize: Resize,
    crop: u32,
    channels: Channels,
    scale: f32,
    mean: [f32; 3],
    std: [f32; 3],
}

impl TryFrom<Unchecked> for Preprocess {
    type Error = PreprocessError;

    fn try_from(unchecked: Unchecked) -> Result<Self, PreprocessError> {
        let preprocess = Self {
            resize: unchecked.resize,
            crop: unchecked.crop,
            channels: unchecked.channels,
            scale: unchecked.scale,
            mean: unchecked.mean,
            std: unchecked.std,
        };
        preprocess.validate()?;
        Ok(preprocess)
    }
}

#[cfg(test)]
mod tests;
