//! Turns folders into the list of models that lie in them.
//!
//! A model is a folder with a `model.toml`. This looks at names and descriptions only; loading one is
//! the business of the encoder and the captioner.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// A model on disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundModel {
    /// The name of its folder.
    pub name: String,
    pub folder: PathBuf,
    /// What `model.toml` says, or why it cannot be read.
    #[serde(flatten)]
    pub description: Description,
}

/// A `model.toml`, uninterpreted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Description {
    Readable(toml::Table),
    Unreadable(String),
}

/// The models in these folders, in order of the folders and then of their names. Where two have the same
/// name the first one hides the second, as with programs in `PATH`.
pub fn find_models(folders: &[PathBuf]) -> Vec<FoundModel> {
    let mut found: Vec<FoundModel> = Vec::new();
    for folder in folders {
        let Ok(entries) = folder.read_dir() else {
            continue;
        };
        let mut models: Vec<FoundModel> = entries
            .filter_map(|entry| FoundModel::at(&entry.ok()?.path()))
            .collect();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        for model in models {
            if !found.iter().any(|earlier| earlier.name == model.name) {
                found.push(model);
            }
        }
    }
    found
}

impl FoundModel {
    /// The model in `folder`, if there is a `model.toml` in it.
    pub fn at(folder: &Path) -> Option<FoundModel> {
        let file = folder.join("model.toml");
        if !file.is_file() {
            return None;
        }
        let description = match std::fs::read_to_string(&file) {
            Ok(text) => match text.parse::<toml::Table>() {
                Ok(table) => Description::Readable(table),
                Err(error) => Description::Unreadable(error.to_string()),
            },
            Err(error) => Description::Unreadable(error.to_string()),
        };
        // `.` and `..` have no name of their own.
        let named = folder
            .canonicalize()
            .unwrap_or_else(|_| folder.to_path_buf());
        Some(FoundModel {
            name: named.file_name()?.to_string_lossy().into_owned(),
            folder: folder.to_path_buf(),
            description,
        })
    }

    /// A string in `model.toml`; of one in a table, the table's name comes before a dot.
    pub fn text(&self, key: &str) -> Option<&str> {
        let Description::Readable(table) = &self.description else {
            return None;
        };
        match key.split_once('.') {
            Some((name, key)) => table.get(name)?.get(key)?.as_str(),
            None => table.get(key)?.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_in_order_and_the_first_of_a_name_wins() {
        let place = tempfile::tempdir().unwrap();
        let model = |path: &str, text: &str| {
            let folder = place.path().join(path);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("model.toml"), text).unwrap();
        };
        model("a/late", "about = 'one'");
        model("a/early", "about = ");
        model("b/late", "about = 'hidden'");
        model("b/other", "");
        std::fs::create_dir_all(place.path().join("b/not-a-model")).unwrap();

        let folders = ["a", "none", "b"].map(|name| place.path().join(name));
        let found = find_models(&folders);
        let names: Vec<&str> = found.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["early", "late", "other"]);
        assert!(matches!(found[0].description, Description::Unreadable(_)));
        assert_eq!(found[1].text("about"), Some("one"));
        assert_eq!(found[2].text("about"), None);
    }
}
