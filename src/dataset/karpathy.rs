//! Reads Karpathy's `dataset_flickr8k.json`, `dataset_flickr30k.json` and `dataset_coco.json`: the
//! captions and splits that most papers report on.
//!
//! `{"images": [{"filename", "filepath", "split", "cocoid", "sentences": [{"raw"}]}]}`. Captions are
//! taken as `raw`; where that is missing, as the `tokens` joined by spaces.

use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess};

use super::json::{self, Fields, Missing, Value, object};
use super::{Builder, DatasetError, Split};

pub(super) fn data_set(path: &Path) -> Result<Builder, DatasetError> {
    let mut file = KarpathyFile::default();
    json::read_file(path, &mut file)?;
    match file.builder.set.rows {
        0 => Err(DatasetError::NoCaptions(path.into())),
        _ => Ok(file.builder),
    }
}

#[derive(Default)]
struct KarpathyFile {
    builder: Builder,
    listed: bool,
}

impl Fields for KarpathyFile {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        value: Value<'_, A>,
    ) -> Result<(), A::Error> {
        if key != "images" {
            return value.skip();
        }
        let builder = &mut self.builder;
        self.listed = value.objects("images", |item: ImageFields| {
            let file_name = item.file_name.ok_or(Missing("filename"))?;
            let name = match item.folder.as_deref().map(|f| f.trim_end_matches('/')) {
                Some(folder) if !folder.is_empty() => format!("{folder}/{file_name}"),
                _ => file_name,
            };
            let place = builder.image(&name);
            let entry = &mut builder.set.images[place];
            entry.id = item.id;
            entry.split = Some(item.split.ok_or(Missing("split"))?);
            for caption in item.captions.ok_or(Missing("sentences"))? {
                builder.caption(place, &caption);
            }
            Ok(())
        })?;
        Ok(())
    }

    fn end(&self) -> Result<(), Missing> {
        match self.listed {
            true => Ok(()),
            false => Err(Missing("images")),
        }
    }
}

#[derive(Default)]
struct ImageFields {
    file_name: Option<String>,
    folder: Option<String>,
    id: Option<u64>,
    split: Option<Split>,
    captions: Option<Vec<String>>,
}

impl Fields for ImageFields {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        value: Value<'_, A>,
    ) -> Result<(), A::Error> {
        match key {
            "filename" => self.file_name = Some(value.read("filename")?),
            "filepath" => self.folder = value.read("filepath")?,
            "cocoid" => self.id = value.read("cocoid")?,
            "split" => self.split = Some(value.read::<NamedSplit>("split")?.0),
            "sentences" => {
                let captions = self.captions.get_or_insert_default();
                value.objects("sentences", |item: SentenceFields| {
                    let raw = item.raw.or_else(|| Some(item.tokens?.join(" ")));
                    captions.push(raw.ok_or(Missing("raw"))?);
                    Ok(())
                })?;
            }
            _ => value.skip()?,
        }
        Ok(())
    }
}

struct NamedSplit(Split);

impl<'de> Deserialize<'de> for NamedSplit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let split = Split::named(&name).map(NamedSplit);
        let expected = "train, val, test or restval";
        split.ok_or_else(|| D::Error::custom(format!("split {name:?}, expected {expected}")))
    }
}

object!(SentenceFields { raw: String = "raw", tokens: Vec<String> = "tokens" });

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;

    use super::super::DataSet;
    use super::*;

    fn read(json: &str) -> Result<DataSet, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dataset_x.json");
        fs::write(&path, json).unwrap();
        data_set(&path).map(Builder::finish)
    }

    fn check_error(json: &str, message: &str, place: &str) {
        let error = read(json).unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(source.starts_with(message), "{source}");
        assert!(source.ends_with(place), "{source}");
    }

    #[test]
    fn images_with_folders_splits_and_numbers() {
        let set = read(
            r#"{"images": [
                {"filepath": "val2014", "sentids": [770337], "filename": "a.jpg", "imgid": 0,
                 "split": "restval", "cocoid": 391895,
                 "sentences": [{"tokens": ["a", "man"], "raw": "A man. ", "imgid": 0, "sentid": 770337},
                               {"tokens": ["a", "dog"]}]},
                {"sentids": [], "filename": "b.jpg", "split": "test", "sentences": []}],
                "dataset": "coco"}"#,
        )
        .unwrap();
        assert_eq!(set.images[0].file_name, "val2014/a.jpg");
        assert_eq!(set.images[0].captions, ["A man.", "a dog"]);
        assert_eq!(set.images[0].split, Some(Split::Restval));
        assert_eq!(set.images[0].id, Some(391_895));
        assert_eq!(set.images[1].split, Some(Split::Test));
    }

    #[test]
    fn faults_name_the_place() {
        check_error(
            r#"{"images": [{"filename": "a.jpg", "split": "some", "sentences": []}]}"#,
            "split \"some\", expected train, val, test or restval",
            ", in images[0].split",
        );
        check_error(
            r#"{"images": [{"filename": "a.jpg", "split": "val", "sentences": [{"raw": 1}]}]}"#,
            "invalid type: integer `1`, expected a string",
            ", in images[0].sentences[0].raw",
        );
        check_error(
            r#"{"images": [{"filename": "a.jpg", "sentences": []}]}"#,
            "missing field `split`",
            ", in images[0]",
        );
        check_error("{}", "missing field `images`", "at line 1 column 2");
        let error = read(r#"{"images": []}"#).unwrap_err();
        assert!(error.to_string().ends_with("holds no captions"), "{error}");
    }
}
