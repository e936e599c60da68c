//! The published weights that showtell can fetch, as data.
//!
//! It stands apart so that another file of weights is another entry and nothing else.

use serde::Serialize;

use super::digest::Digest;
use super::error::HubError;

/// A published file of weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// What the user calls it.
    pub name: &'static str,
    /// Its name on disk.
    pub file: &'static str,
    pub url: &'static str,
    pub sha256: Digest,
    /// Its size, to a kilobyte or so: for the progress bar and the check for disk space.
    pub bytes: u64,
    pub about: &'static str,
    pub architecture: &'static str,
    /// The layers whose features it gives.
    pub layers: &'static [&'static str],
    pub preprocessing: Preprocessing,
    pub licence: &'static str,
    /// Who made it, and where that is written.
    pub origin: &'static str,
}

/// How an image becomes the input that weights were trained on: the short side is resized (bilinear,
/// antialiased), the centre is cropped, RGB is divided by 255, then `(value - mean) / std` per channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Preprocessing {
    /// Short side after resizing, in pixels.
    pub resize: u32,
    /// Side of the square that is cropped, in pixels.
    pub crop: u32,
    /// Of red, green and blue, on the scale 0 to 1.
    pub mean: [f32; 3],
    /// Of red, green and blue, on the scale 0 to 1.
    pub std: [f32; 3],
}

/// All that can be fetched.
pub const REGISTRY: &[Entry] = &[
    Entry {
        name: "vgg16",
        file: "vgg16-397923af.pth",
        url: "https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256: Digest::published(
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        ),
        bytes: 553_433_881,
        about: "VGG-16 trained on ImageNet by torchvision; 71.6 % top-1",
        architecture: "vgg16",
        layers: &["fc7", "conv5_3"],
        preprocessing: IMAGENET,
        licence: "BSD-3-Clause",
        origin: "torchvision, VGG16_Weights.IMAGENET1K_V1: \
                 https://docs.pytorch.org/vision/stable/models/vgg.html",
    },
    Entry {
        name: "vgg16-caffe",
        file: "vgg16_features-amdegroot-88682ab5.pth",
        url: "https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth",
        // torchvision publishes no more digits than the file's name has.
        sha256: Digest::published("88682ab5"),
        bytes: 553_440_510,
        about: "The convolutions of the original VGG-16 of 2014, which the attention papers used; \
                its fully connected layers are not in the file",
        architecture: "vgg16",
        layers: &["conv5_3"],
        preprocessing: Preprocessing {
            resize: 256,
            crop: 224,
            mean: [0.48235, 0.45882, 0.40784],
            std: [1.0 / 255.0; 3],
        },
        licence: "CC BY 4.0 (Visual Geometry Group, University of Oxford)",
        origin: "torchvision, VGG16_Weights.IMAGENET1K_FEATURES, from ssd.pytorch: \
                 https://docs.pytorch.org/vision/stable/models/vgg.html",
    },
    Entry {
        name: "vgg16-timm",
        file: "vgg16.tv_in1k.safetensors",
        // A revision, not a branch: what it names cannot change under its digest.
        url: "https://huggingface.co/timm/vgg16.tv_in1k/resolve/\
              b8d8aa2dd860af9233c8c67385a8097fd6c35d3f/model.safetensors",
        sha256: Digest::published(
            "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
        ),
        bytes: 553_433_016,
        about: "The weights of vgg16 as safetensors, from Hugging Face; the fully connected layers are \
                stored as convolutions",
        architecture: "vgg16",
        layers: &["fc7", "conv5_3"],
        preprocessing: IMAGENET,
        licence: "BSD-3-Clause",
        origin: "timm, vgg16.tv_in1k: https://huggingface.co/timm/vgg16.tv_in1k",
    },
];

/// What torchvision and most that followed it train with.
const IMAGENET: Preprocessing = Preprocessing {
    resize: 256,
    crop: 224,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
};

/// The entry of this name, or of this file name.
///
/// # Errors
/// [`HubError::UnknownName`], which lists the names there are.
pub fn find(name: &str) -> Result<&'static Entry, HubError> {
    REGISTRY
        .iter()
        .find(|entry| entry.name == name || entry.file == name)
        .ok_or_else(|| HubError::UnknownName {
            name: name.to_string(),
            known: REGISTRY
                .iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn entries_are_well_formed() {
        let mut names = HashSet::new();
        for entry in REGISTRY {
            assert!(
                names.insert(entry.name) && names.insert(entry.file),
                "{entry:?}"
            );
            assert!(
                entry.url.starts_with("https://") && !entry.url.contains(' '),
                "{entry:?}"
            );
            assert!(entry.file.ends_with(".pth") || entry.file.ends_with(".safetensors"));
            let digits = entry.sha256.to_string();
            let digits = digits.trim_end_matches("...");
            assert_eq!(digits.parse::<Digest>().unwrap(), entry.sha256);
            // torchvision's own check: the file's name ends in the first digits.
            if entry.file.ends_with(".pth") {
                assert!(entry.file.contains(&digits[..8]), "{entry:?}");
                assert!(entry.url.ends_with(entry.file), "{entry:?}");
            }
            // VGG-16 has 138,357,544 parameters of four bytes; the rest is names and shapes.
            let names_and_shapes = entry.bytes - 4 * 138_357_544;
            assert!((1_000..20_000).contains(&names_and_shapes), "{entry:?}");
            // What is published as std = 1/255 is a mean subtracted on the scale 0 to 255.
            assert!(entry.preprocessing.std.iter().all(|&std| std > 0.0));
        }
    }

    #[test]
    fn names_and_file_names_are_found_and_others_are_listed() {
        assert_eq!(find("vgg16").unwrap().file, "vgg16-397923af.pth");
        assert_eq!(find("vgg16-397923af.pth").unwrap().name, "vgg16");
        let error = find("vgg19").unwrap_err().to_string();
        assert_eq!(
            error,
            "no weights are called `vgg19`; there are: vgg16, vgg16-caffe, vgg16-timm"
        );
    }
}
