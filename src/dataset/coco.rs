//! Reads COCO's `captions_*.json`, for learning and for measuring alike.
//!
//! `{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`; everything else in it
//! is passed over.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use serde::de::MapAccess;

use super::json::{self, Fields, Missing, Value, object};
use super::{Builder, DatasetError, Oddity, Split};

/// An image as the file lists it, with its captions as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: u64,
    pub file_name: Option<String>,
    /// In the order of the file; there may be none.
    pub captions: Vec<String>,
}

/// Reads the images of a file in its order.
///
/// The images may be missing altogether; then they are those that have captions, and are known by
/// their numbers alone.
///
/// # Errors
///
/// If the file cannot be read, is something else, lists an image twice, has captions of images that it
/// does not list, or no captions at all.
pub fn read(path: &Path) -> Result<Vec<Image>, DatasetError> {
    let mut file = CocoFile::default();
    json::read_file(path, &mut file)?;
    file.images(path)
}

/// The same from anything that can be read; `path` is for messages.
pub fn parse(reader: impl BufRead, path: &Path) -> Result<Vec<Image>, DatasetError> {
    let mut file = CocoFile::default();
    json::read(reader, path, &mut file)?;
    file.images(path)
}

/// A data set of these images, in the split that the file's name tells.
pub(super) fn data_set(path: &Path) -> Result<Builder, DatasetError> {
    let split = Split::in_file_name(path);
    let mut builder = Builder::default();
    for image in read(path)? {
        let place = match &image.file_name {
            Some(name) => builder.image(name),
            None => {
                let name = image.id.to_string();
                builder.set.notes.add(Oddity::NoFileName, &name);
                builder.image(&name)
            }
        };
        let entry = &mut builder.set.images[place];
        entry.id = Some(image.id);
        entry.split = split;
        for caption in &image.captions {
            builder.caption(place, caption);
        }
    }
    Ok(builder)
}

#[derive(Default)]
struct CocoFile {
    images: Vec<Image>,
    /// Whether the file lists images.
    listed: bool,
    annotations: Option<Vec<(u64, String)>>,
}

impl CocoFile {
    fn images(self, path: &Path) -> Result<Vec<Image>, DatasetError> {
        let mut images = self.images;
        let mut places = HashMap::with_capacity(images.len());
        for (place, image) in images.iter().enumerate() {
            if places.insert(image.id, place).is_some() {
                return Err(DatasetError::DuplicateImage {
                    path: path.into(),
                    id: image.id,
                });
            }
        }
        let mut unlisted = Vec::new();
        let mut captions = 0;
        for (id, caption) in self.annotations.into_iter().flatten() {
            let place = match places.get(&id) {
                Some(place) => *place,
                None if self.listed => {
                    unlisted.push(id);
                    continue;
                }
                None => {
                    places.insert(id, images.len());
                    images.push(Image {
                        id,
                        file_name: None,
                        captions: Vec::new(),
                    });
                    images.len() - 1
                }
            };
            images[place].captions.push(caption);
            captions += 1;
        }
        match unlisted.first() {
            Some(id) => Err(DatasetError::UnlistedImage {
                path: path.into(),
                count: unlisted.len(),
                id: *id,
            }),
            None if captions == 0 => Err(DatasetError::NoCaptions(path.into())),
            None => Ok(images),
        }
    }
}

impl Fields for CocoFile {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        value: Value<'_, A>,
    ) -> Result<(), A::Error> {
        match key {
            "images" => {
                let images = &mut self.images;
                self.listed = value.objects("images", |item: ImageFields| {
                    images.push(Image {
                        id: item.id.ok_or(Missing("id"))?,
                        file_name: item.file_name,
                        captions: Vec::new(),
                    });
                    Ok(())
                })?;
                Ok(())
            }
            "annotations" => {
                let annotations = self.annotations.get_or_insert_default();
                value.objects("annotations", |item: AnnotationFields| {
                    let id = item.image_id.ok_or(Missing("image_id"))?;
                    annotations.push((id, item.caption.ok_or(Missing("caption"))?));
                    Ok(())
                })?;
                Ok(())
            }
            _ => value.skip(),
        }
    }

    fn end(&self) -> Result<(), Missing> {
        match self.annotations {
            Some(_) => Ok(()),
            None => Err(Missing("annotations")),
        }
    }
}

object!(ImageFields {
    id: u64 = "id",
    file_name: String = "file_name"
});

object!(AnnotationFields {
    image_id: u64 = "image_id",
    caption: String = "caption"
});

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    /// `place`: the line, and where it is not the top, the way to the value.
    fn check_error(json: &str, message: &str, place: &str) {
        let error = parse(json.as_bytes(), Path::new("c.json")).unwrap_err();
        assert_eq!(error.to_string(), "c.json cannot be read as captions");
        let source = error.source().unwrap().to_string();
        assert!(source.starts_with(message), "{source}");
        let (line, way) = place.split_once(", ").unwrap_or((place, ""));
        assert!(source.contains(&format!(" at {line} column ")), "{source}");
        let got = source.split_once(", in ").map_or("", |(_, way)| way);
        assert_eq!(got, way, "{source}");
    }

    #[test]
    fn faults_name_the_place() {
        check_error(
            "[1]",
            "invalid type: sequence, expected an object",
            "line 1",
        );
        check_error(r#"{"images": []}"#, "missing field `annotations`", "line 1");
        check_error(
            r#"{"images": [{"id": 1}, {"id": "2"}], "annotations": []}"#,
            "invalid type: string \"2\", expected u64",
            "line 1, images[1].id",
        );
        check_error(
            "{\"annotations\": [{\"image_id\": 1, \"caption\": \"a\"},\n {\"image_id\": 1}]}",
            "missing field `caption`",
            "line 2, annotations[1]",
        );
        check_error(
            r#"{"annotations": [{"image_id": 1, "caption": "a d"#,
            "EOF while parsing a string",
            "line 1, annotations[0].caption",
        );
        check_error(
            r#"{"annotations": [{"image_id": 1, "caption": "a"}]} x"#,
            "trailing characters",
            "line 1",
        );
        let error = parse(&b""[..], Path::new("c.json")).unwrap_err();
        assert_eq!(error.to_string(), "c.json is empty");
    }

    #[test]
    fn a_byte_order_mark_and_nulls_are_passed_over() {
        let json = "\u{feff}{\"images\": null, \"annotations\": [{\"image_id\": 7, \"caption\": \"a\", \"x\": [{}]}]}";
        let images = parse(json.as_bytes(), Path::new("c.json")).unwrap();
        assert_eq!((images[0].id, &images[0].file_name), (7, &None));
    }
}
