//! Reads a folder of images with captions beside them: `photo.txt` for `photo.jpg`, a caption a line.
//!
//! `photo.jpg.txt` will do as well. Images below a folder named as a split (`train/`, `val/`, `test/`)
//! belong to it.

use std::collections::HashMap;
use std::path::Path;

use super::lines::Lines;
use super::pictures::{is_image_name, list};
use super::{Builder, DatasetError, Notes, Oddity, Split};

pub(super) fn data_set(folder: &Path) -> Result<Builder, DatasetError> {
    let mut notes = Notes::default();
    let names = list(folder, &mut notes)?;
    // Of each name without its ending, the images that have it.
    let mut images: HashMap<&str, Vec<&str>> = HashMap::new();
    for name in names.iter().filter(|name| is_image_name(name)) {
        images.entry(name).or_default().push(name);
        if let Some((stem, _)) = name.rsplit_once('.') {
            images.entry(stem).or_default().push(name);
        }
    }
    let mut captions: HashMap<&str, Vec<&str>> = HashMap::new();
    for name in &names {
        let Some(stem) = name.strip_suffix(".txt") else {
            continue;
        };
        match images.get(stem) {
            Some(images) => images
                .iter()
                .for_each(|image| captions.entry(image).or_default().push(name)),
            None => notes.add(Oddity::CaptionsWithoutImage, name),
        }
    }
    let mut builder = Builder::default();
    builder.set.notes = notes;
    for name in names.iter().filter(|name| is_image_name(name)) {
        let place = builder.image(name);
        let folder_name = name.split_once('/').map(|(folder, _)| folder);
        builder.set.images[place].split = folder_name.and_then(Split::named);
        for file in captions.get(name.as_str()).into_iter().flatten() {
            let mut lines = Lines::open(&folder.join(file))?;
            while let Some(line) = lines.next()? {
                if !line.trim().is_empty() {
                    builder.caption(place, line);
                }
            }
        }
    }
    match builder.set.rows {
        0 => Err(DatasetError::NoCaptions(folder.into())),
        _ => Ok(builder),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn captions_lie_beside_their_images() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("train/a.jpg", b"");
        write("train/a.txt", b"\xef\xbb\xbfA dog .\r\n\r\nA cat .\r\n");
        write("b.png", b"");
        write("b.png.txt", b"A boat");
        write("c.jpg", b"");
        write("README.txt", b"Read this");
        let set = data_set(folder.path()).unwrap().finish();
        let got: Vec<_> = set
            .images
            .iter()
            .map(|image| (image.file_name.as_str(), image.split, image.captions.len()))
            .collect();
        let expected = [
            ("b.png", None, 1),
            ("c.jpg", None, 0),
            ("train/a.jpg", Some(Split::Train), 2),
        ];
        assert_eq!(got, expected);
        assert_eq!(set.images[2].captions, ["A dog .", "A cat ."]);
        assert_eq!(set.notes.count(Oddity::ImageWithoutCaptions), 1);
        assert_eq!(set.notes.count(Oddity::CaptionsWithoutImage), 1);

        write("c.txt", b"ok\ncaf\xe9");
        let error = data_set(folder.path()).err().unwrap().to_string();
        assert!(error.contains("/c.txt:2: byte 4 "), "{error}");
    }
}
