//! Turns captions by people, which [`dataset`] reads, into references, image by image.
//!
//! It stands apart from what is measured against them: references are read once, candidates come from
//! several places.

use std::collections::HashMap;
use std::io;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;

use super::candidates::Key;
use crate::dataset::{self, DataSet, DatasetError, ImageEntry, JsonFault};
use crate::table::{DurableFile, FileError};

/// Why a file of references cannot be used.
#[derive(Debug, Error)]
pub enum ReferencesError {
    #[error("cannot read the references {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not a COCO captions file")]
    Parse { path: PathBuf, source: JsonFault },
    #[error(transparent)]
    Unusable(DatasetError),
}

impl From<DatasetError> for ReferencesError {
    fn from(error: DatasetError) -> Self {
        match error {
            DatasetError::Read { path, source } => ReferencesError::Read { path, source },
            DatasetError::Json { path, source } => ReferencesError::Parse { path, source },
            other => ReferencesError::Unusable(other),
        }
    }
}

/// An image and what people said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceImage {
    pub id: u64,
    /// Its name, perhaps with folders before it; none if the file lists captions alone.
    pub file_name: Option<String>,
    /// As written, one at least.
    pub captions: Vec<String>,
}

impl ReferenceImage {
    /// What to call the image in a message: its file name if it has one.
    pub fn name(&self) -> String {
        match &self.file_name {
            Some(name) => name.clone(),
            None => format!("image {}", self.id),
        }
    }
}

/// Images with references, in the order of their file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct References {
    images: Vec<ReferenceImage>,
    by_id: HashMap<u64, usize>,
    /// Places of images by the last part of their file name.
    by_last_part: HashMap<String, Vec<usize>>,
}

impl References {
    /// Reads `{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`.
    ///
    /// The images may be missing altogether; then they are those that have captions, and are known by
    /// their ids alone. Images without captions are left out, with a warning in the log.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is something else, lists an image twice, has captions of images that
    /// it does not list, or no captions at all.
    pub fn read(path: &Path) -> Result<Self, ReferencesError> {
        Ok(Self::of_coco(dataset::coco::read(path)?, path))
    }

    /// The same from anything that can be read; `path` is for messages.
    pub fn parse(reader: impl BufRead, path: &Path) -> Result<Self, ReferencesError> {
        Ok(Self::of_coco(dataset::coco::parse(reader, path)?, path))
    }

    fn of_coco(images: Vec<dataset::coco::Image>, path: &Path) -> Self {
        let all = images.len();
        let captioned = images
            .into_iter()
            .filter(|image| !image.captions.is_empty());
        let references = References::of(captioned.map(|image| ReferenceImage {
            id: image.id,
            file_name: image.file_name,
            captions: image.captions,
        }));
        if references.images.len() < all {
            let without = all - references.images.len();
            tracing::warn!(path = %path.display(), without, "images without reference captions are left out");
        }
        references
    }

    /// The images of a data set that have captions and are `wanted`. Where a data set gives no ids, an
    /// image's place in it, from zero, is its id.
    pub fn of_data_set(set: &DataSet, wanted: impl Fn(&ImageEntry) -> bool) -> Self {
        let numbered = set.images.iter().all(|image| image.id.is_some());
        let images = set.images.iter().enumerate();
        let wanted = images.filter(|(_, image)| !image.captions.is_empty() && wanted(image));
        References::of(wanted.map(|(place, image)| ReferenceImage {
            id: image.id.filter(|_| numbered).unwrap_or(place as u64),
            file_name: Some(image.file_name.clone()),
            captions: image.captions.clone(),
        }))
    }

    /// Writes COCO's captions file, which replaces `path` when it is whole.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let images = self.images.iter().map(|image| {
            json!({
                "id": image.id,
                // COCO's tools want a name.
                "file_name": image.file_name.clone().unwrap_or_else(|| image.id.to_string()),
            })
        });
        let captions = self
            .images
            .iter()
            .flat_map(|image| image.captions.iter().map(|caption| (image.id, caption)));
        let annotations = captions.enumerate().map(
            |(place, (image, caption))| json!({"id": place, "image_id": image, "caption": caption}),
        );
        let whole = json!({
            "info": {},
            "licenses": [],
            "type": "captions",
            "images": images.collect::<Vec<_>>(),
            "annotations": annotations.collect::<Vec<_>>(),
        });
        let mut file = DurableFile::create(path)?;
        writeln!(file, "{whole}").map_err(FileError::on("write", path))?;
        file.commit().map(|_| ())
    }

    /// References that come from elsewhere. Of images with the same id, the last is found by it.
    pub fn of(images: impl IntoIterator<Item = ReferenceImage>) -> Self {
        let mut references = References {
            images: Vec::new(),
            by_id: HashMap::new(),
            by_last_part: HashMap::new(),
        };
        for image in images {
            references.push(image);
        }
        references
    }

    fn push(&mut self, image: ReferenceImage) {
        let place = self.images.len();
        self.by_id.insert(image.id, place);
        if let Some(name) = &image.file_name {
            self.by_last_part
                .entry(last_part(name).to_owned())
                .or_default()
                .push(place);
        }
        self.images.push(image);
    }

    pub fn images(&self) -> &[ReferenceImage] {
        &self.images
    }

    /// How many captions there are.
    pub fn captions(&self) -> usize {
        self.images.iter().map(|image| image.captions.len()).sum()
    }

    /// The place of the image that a candidate is of; the first of several that it may mean.
    pub fn place(&self, key: &Key) -> Option<usize> {
        match key {
            Key::Id(id) => self.with_id(*id),
            Key::Uri(uri) => self.with_uri(uri).first().copied(),
        }
    }

    /// The place of the image with this id.
    pub fn with_id(&self, id: u64) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The places of the images that a `uri` may mean: that of its own name; else the one whose file name
    /// is the longest end of it; else all whose file name ends with it.
    pub fn with_uri(&self, uri: &str) -> Vec<usize> {
        let Some(places) = self.by_last_part.get(last_part(uri)) else {
            return Vec::new();
        };
        let name = |place: &usize| self.images[*place].file_name.as_deref().unwrap_or_default();
        let within = places
            .iter()
            .filter(|place| ends_with_path(uri, name(place)));
        let longest = within.clone().map(|place| name(place).len()).max();
        match longest {
            Some(length) => within
                .filter(|place| name(place).len() == length)
                .copied()
                .collect(),
            None => {
                let around = places
                    .iter()
                    .filter(|place| ends_with_path(name(place), uri));
                around.copied().collect()
            }
        }
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether `path` is `end`, or `end` below some folder.
fn ends_with_path(path: &str, end: &str) -> bool {
    path.strip_suffix(end)
        .is_some_and(|folders| folders.is_empty() || folders.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<References, ReferencesError> {
        References::parse(json.as_bytes(), Path::new("refs.json"))
    }

    fn check_error(json: &str, expected: &str) {
        let error = parse(json).unwrap_err();
        assert_eq!(error.to_string(), expected, "{json}");
    }

    fn named(names: &[&str]) -> References {
        References::of(names.iter().enumerate().map(|(i, name)| ReferenceImage {
            id: i as u64,
            file_name: Some((*name).into()),
            captions: vec!["a".into()],
        }))
    }

    #[test]
    fn coco_files() {
        let got = parse(
            r#"{"info": {"year": 2014}, "licenses": [],
                "images": [{"license": 5, "file_name": "b.jpg", "id": 7, "height": 3},
                           {"file_name": "a.jpg", "id": 5}, {"file_name": "no.jpg", "id": 6}],
                "annotations": [{"image_id": 5, "id": 1, "caption": "one"},
                                {"image_id": 7, "id": 2, "caption": "two"},
                                {"image_id": 5, "id": 3, "caption": "three"}]}"#,
        );
        let got = got.unwrap();
        let ids: Vec<u64> = got.images().iter().map(|image| image.id).collect();
        assert_eq!(ids, [7, 5]);
        assert_eq!(got.images()[1].captions, ["one", "three"]);
        assert_eq!(
            (got.captions(), got.with_id(5), got.with_id(6)),
            (3, Some(1), None)
        );
        assert_eq!(got.with_uri("a.jpg"), [1]);
    }

    #[test]
    fn any_data_set_will_do_and_can_be_written_for_others() {
        let image = |name: &str, split, captions: &[&str]| ImageEntry {
            file_name: name.into(),
            id: None,
            split: Some(split),
            captions: captions.iter().map(|&caption| caption.into()).collect(),
            first_caption: 0,
        };
        use dataset::Split::{Test, Train};
        let mut set = DataSet {
            images: vec![
                image("a.jpg", Train, &["one"]),
                image("b.jpg", Test, &["two", "three \"3\""]),
                image("c.jpg", Test, &[]),
            ],
            ..DataSet::default()
        };
        let of_test = |set: &DataSet| References::of_data_set(set, |i| i.split == Some(Test));
        let found = of_test(&set);
        assert_eq!((found.images().len(), found.captions()), (1, 2));
        assert_eq!(found.place(&Key::Id(1)), Some(0));
        assert_eq!(found.place(&Key::Uri("x/a.jpg".into())), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("references.json");
        found.write(&path).unwrap();
        assert_eq!(References::read(&path).unwrap(), found);

        set.images[1].id = Some(700);
        assert_eq!(of_test(&set).place(&Key::Id(1)), Some(0));
        set.images[0].id = Some(600);
        set.images[2].id = Some(800);
        assert_eq!(of_test(&set).place(&Key::Id(700)), Some(0));
    }

    #[test]
    fn captions_alone() {
        let got = parse(r#"{"annotations": [{"image_id": 3, "caption": "x"}]}"#).unwrap();
        assert_eq!(got.images()[0].name(), "image 3");
        assert_eq!(got.with_id(3), Some(0));
    }

    #[test]
    fn errors_name_the_file_and_the_fault() {
        check_error("[]", "refs.json is not a COCO captions file");
        check_error(r#"{"annotations": []}"#, "refs.json holds no captions");
        check_error(
            r#"{"images": [{"id": 1}, {"id": 1}], "annotations": []}"#,
            "refs.json lists image 1 twice",
        );
        check_error(
            r#"{"images": [], "annotations": [{"image_id": 2, "caption": ""}]}"#,
            "refs.json has 1 captions of images that it does not list, among them image 2",
        );
        let error = parse(r#"{"annotations": [{"image_id": 1}]}"#).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with("missing field `caption`"), "{source}");
        let error = References::read(Path::new("/no/such/file")).unwrap_err();
        assert!(matches!(error, ReferencesError::Read { .. }), "{error}");
    }

    #[test]
    fn uris_find_their_images() {
        let references = named(&["x.jpg", "train/y.jpg", "a/z.jpg", "b/z.jpg", "deep/a/z.jpg"]);
        assert_eq!(references.with_uri("x.jpg"), [0]);
        assert_eq!(references.with_uri("some/where/x.jpg"), [0]);
        assert_eq!(references.with_uri("coco/train/y.jpg"), [1]);
        assert_eq!(references.with_uri("y.jpg"), [1]);
        assert_eq!(references.with_uri("a/z.jpg"), [2]);
        assert_eq!(references.with_uri("very/deep/a/z.jpg"), [4]);
        assert_eq!(references.with_uri("z.jpg"), [2, 3, 4]);
        assert!(references.with_uri("xx.jpg").is_empty());
        assert!(references.with_uri("val/y.jpg").is_empty());
    }
}
