//! Finds the files of a data set's images below a folder.
//!
//! The folder is listed once, not asked for each name: data sets have a hundred thousand images, and
//! many are unpacked with other folders around them than their captions tell.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{DataSet, DatasetError, Notes, Oddity};

/// Endings of names that images have.
const ENDINGS: [&str; 22] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "bmp", "tif", "tiff", "pnm", "pbm", "pgm",
    "ppm", "tga", "ico", "qoi", "heic", "heif", "avif", "jxl", "jp2",
];

/// Whether a file of this name is likely to be an image.
pub fn is_image_name(name: &str) -> bool {
    let ending = name
        .rsplit('/')
        .next()
        .and_then(|last| last.rsplit_once('.'));
    ending.is_some_and(|(_, ending)| ENDINGS.iter().any(|e| ending.eq_ignore_ascii_case(e)))
}

/// The files below a folder, by name.
#[derive(Debug, Clone, Default)]
pub struct Pictures {
    folder: PathBuf,
    /// Paths below the folder, `/`-separated, sorted.
    names: Vec<String>,
    by_name: HashMap<String, usize>,
    /// By the last part of the name.
    by_last_part: HashMap<String, Vec<usize>>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    At(PathBuf),
    /// Several files have the name, in different folders.
    Several,
    Missing,
}

/// Where the images of a data set are.
#[derive(Debug, Clone, Default)]
pub struct Located {
    /// Of each image of the data set, its file.
    pub paths: Vec<Option<PathBuf>>,
    /// Images without a file.
    pub missing: Vec<String>,
    /// Images whose names several files have.
    pub ambiguous: Vec<String>,
    /// Images below the folder that the data set does not name.
    pub unnamed: usize,
}

impl Pictures {
    /// Lists `folder` and the folders below it. Hidden ones are passed over; links are followed.
    pub fn below(folder: &Path) -> Result<Self, DatasetError> {
        let mut notes = Notes::default();
        let names = list(folder, &mut notes)?;
        Ok(Self::of(folder, names))
    }

    pub(super) fn of(folder: &Path, names: Vec<String>) -> Self {
        let mut by_last_part: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, name) in names.iter().enumerate() {
            let places = by_last_part.entry(last_part(name).to_owned());
            places.or_default().push(place);
        }
        Pictures {
            folder: folder.into(),
            by_name: names.iter().cloned().zip(0..).collect(),
            names,
            by_last_part,
        }
    }

    /// The file of this name; if there is none, the only one with the same last part.
    pub fn find(&self, name: &str) -> Found {
        match self.place(name) {
            Ok(place) => Found::At(self.folder.join(&self.names[place])),
            Err(not_found) => not_found,
        }
    }

    fn place(&self, name: &str) -> Result<usize, Found> {
        if let Some(place) = self.by_name.get(name) {
            return Ok(*place);
        }
        match self.by_last_part.get(last_part(name)).map(Vec::as_slice) {
            Some([place]) => Ok(*place),
            Some(_) => Err(Found::Several),
            None => Err(Found::Missing),
        }
    }

    /// Finds all images of a data set.
    pub fn locate(&self, set: &DataSet) -> Located {
        let mut located = Located::default();
        let mut named = HashSet::new();
        for image in &set.images {
            let place = self.place(&image.file_name);
            let name = || image.file_name.clone();
            match &place {
                Ok(place) => {
                    named.insert(*place);
                }
                Err(Found::Several) => located.ambiguous.push(name()),
                Err(_) => located.missing.push(name()),
            }
            let path = place.ok().map(|place| self.folder.join(&self.names[place]));
            located.paths.push(path);
        }
        let images = (self.names.iter().enumerate()).filter(|(_, name)| is_image_name(name));
        located.unnamed = images.filter(|(place, _)| !named.contains(place)).count();
        located
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The files below `folder`, `/`-separated, sorted.
pub(super) fn list(folder: &Path, notes: &mut Notes) -> Result<Vec<String>, DatasetError> {
    let mut names = Vec::new();
    let mut entered = HashSet::new();
    let mut left = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = left.pop() {
        let unreadable = |source| DatasetError::Read {
            path: folder.clone(),
            source,
        };
        // A link to a folder above would otherwise be followed for ever.
        if !entered.insert(fs::canonicalize(&folder).map_err(unreadable)?) {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    notes.add(Oddity::UnreadableName, &name.to_string_lossy());
                    continue;
                }
            };
            if name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type().map_err(unreadable)?;
            // A link that leads nowhere is no file.
            let is_folder = match kind.is_symlink() {
                true => match fs::metadata(entry.path()) {
                    Ok(target) => target.is_dir(),
                    Err(_) => continue,
                },
                false => kind.is_dir(),
            };
            let name = format!("{prefix}{name}");
            match is_folder {
                true => left.push((entry.path(), name + "/")),
                false => names.push(name),
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::super::Builder;
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn names_are_found_with_and_without_their_folders() {
        let folder = folder(&["a.jpg", "val/b.jpg", "x/c.jpg", "y/c.jpg", ".hidden/d.jpg"]);
        let pictures = Pictures::below(folder.path()).unwrap();
        let check = |name: &str, expected: &str| {
            let expected = Found::At(folder.path().join(expected));
            assert_eq!(pictures.find(name), expected, "{name}");
        };
        check("a.jpg", "a.jpg");
        check("val2014/a.jpg", "a.jpg");
        check("b.jpg", "val/b.jpg");
        check("y/c.jpg", "y/c.jpg");
        assert_eq!(pictures.find("c.jpg"), Found::Several);
        assert_eq!(pictures.find("d.jpg"), Found::Missing);
        assert_eq!(pictures.find("B.jpg"), Found::Missing);
    }

    #[test]
    fn a_data_set_is_located_as_a_whole() {
        let folder = folder(&["a.jpg", "new.png", "notes.txt", "x/c.jpg", "y/c.jpg"]);
        let mut builder = Builder::default();
        for name in ["a.jpg", "a.jpg.1", "c.jpg"] {
            builder.image(name);
        }
        let located = Pictures::below(folder.path())
            .unwrap()
            .locate(&builder.finish());
        assert_eq!(
            located.paths,
            [Some(folder.path().join("a.jpg")), None, None]
        );
        assert_eq!(located.missing, ["a.jpg.1"]);
        assert_eq!(located.ambiguous, ["c.jpg"]);
        assert_eq!(located.unnamed, 3);
    }

    #[test]
    fn links_are_followed_but_not_in_circles() {
        let folder = folder(&["there/a.jpg"]);
        let link = |to: &str, from: &str| {
            std::os::unix::fs::symlink(to, folder.path().join(from)).unwrap();
        };
        link("..", "there/up");
        link("nowhere", "b.jpg");
        link("there/a.jpg", "c.jpg");
        let names = list(folder.path(), &mut Notes::default()).unwrap();
        assert_eq!(names, ["c.jpg", "there/a.jpg"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = Pictures::below(Path::new("/no/such/folder")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /no/such/folder");
    }
}
