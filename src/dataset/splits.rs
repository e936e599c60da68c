//! Which images are for learning, for choosing and for testing: the splits, and the files that list
//! them, a name a line.

use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::lines::Lines;
use super::pictures::is_image_name;
use super::{DataSet, DatasetError, LineFault, Oddity};

/// What the images of a data set are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    /// For choosing among models; Flickr8k's `dev`.
    Val,
    Test,
    /// What Karpathy's splits leave over of COCO's validation set.
    Restval,
}

/// Whether images of [`Split::Restval`] are learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restval {
    #[default]
    Apart,
    AsTrain,
}

impl Split {
    pub const ALL: [Split; 4] = [Split::Train, Split::Val, Split::Test, Split::Restval];

    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
            Split::Restval => "restval",
        }
    }

    /// The split of this name. What Flickr8k calls `dev` others call `val`.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Split::Train),
            "val" | "valid" | "validation" | "dev" => Some(Split::Val),
            "test" | "testing" => Some(Split::Test),
            "restval" => Some(Split::Restval),
            _ => None,
        }
    }

    /// The only split that the name of a file speaks of: `Flickr_8k.devImages.txt`,
    /// `captions_val2014.json`, `test.txt`.
    pub fn in_file_name(path: &Path) -> Option<Self> {
        let name = path.file_stem()?.to_str()?;
        let mut words = words(name).filter_map(Split::named);
        let split = words.next()?;
        words.all(|other| other == split).then_some(split)
    }
}

/// The words of a name: runs of letters, divided also before a capital.
fn words(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        let first = rest.chars().next()?;
        let continues = |c: char| match first.is_ascii_uppercase() {
            true => c.is_ascii_alphabetic(),
            false => c.is_ascii_lowercase(),
        };
        let length = rest.find(|c| !continues(c)).unwrap_or(rest.len());
        let (word, left) = rest.split_at(length);
        rest = left;
        Some(word)
    })
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A file that lists the names of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitList {
    pub split: Split,
    pub path: PathBuf,
}

impl SplitList {
    /// Reads `SPLIT=FILE`, or a file whose name tells the split.
    pub fn parse(text: &Path) -> Result<Self, DatasetError> {
        let named = text.to_str().and_then(|text| {
            let (split, path) = text.split_once('=')?;
            Some((Split::named(split)?, PathBuf::from(path)))
        });
        let told = || Some((Split::in_file_name(text)?, text.to_owned()));
        match named.or_else(told) {
            Some((split, path)) => Ok(SplitList { split, path }),
            None => Err(DatasetError::UnknownSplit(text.into())),
        }
    }
}

/// Puts the images of a data set into the splits that `lists` say, whatever splits they had.
pub fn assign(set: &mut DataSet, lists: &[SplitList]) -> Result<(), DatasetError> {
    if lists.is_empty() {
        return Ok(());
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    for (place, image) in set.images.iter_mut().enumerate() {
        image.split = None;
        places.insert(image.file_name.clone(), place);
    }
    // Flickr30k's lists leave the endings away.
    for (place, image) in set.images.iter().enumerate() {
        if let Some((stem, _)) = image.file_name.rsplit_once('.')
            && is_image_name(&image.file_name)
        {
            places.entry(stem.to_owned()).or_insert(place);
        }
    }
    // Of each image, the list that has named it.
    let mut named: Vec<Option<usize>> = vec![None; set.images.len()];
    for (number, list) in lists.iter().enumerate() {
        let lines = Lines::open(&list.path)?;
        assign_list(set, &places, &mut named, lists, number, lines)?;
    }
    Ok(())
}

fn assign_list<R: BufRead>(
    set: &mut DataSet,
    places: &HashMap<String, usize>,
    named: &mut [Option<usize>],
    lists: &[SplitList],
    number: usize,
    mut lines: Lines<R>,
) -> Result<(), DatasetError> {
    let split = lists[number].split;
    while let Some(line) = lines.next()? {
        let name = line.trim();
        if name.is_empty() {
            continue;
        }
        let Some(place) = places.get(name).copied() else {
            set.notes.add(Oddity::SplitWithoutImage, name);
            continue;
        };
        let image = &mut set.images[place];
        match image.split {
            None => image.split = Some(split),
            Some(earlier) if earlier == split => set.notes.add(Oddity::RepeatedInSplit, name),
            Some(earlier) => {
                let list = named[place].map_or(&lists[number].path, |list| &lists[list].path);
                let fault = LineFault::OtherSplit {
                    name: name.to_owned(),
                    split: earlier,
                    list: list.clone(),
                };
                return Err(lines.fault(fault));
            }
        }
        named[place] = Some(number);
    }
    match lines.number() {
        0 => Err(DatasetError::Empty(lines.path().into())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Builder;
    use super::*;

    #[test]
    fn file_names_tell_their_split() {
        let check = |name: &str, expected| {
            assert_eq!(Split::in_file_name(Path::new(name)), expected, "{name}");
        };
        check("Flickr_8k.trainImages.txt", Some(Split::Train));
        check("Flickr_8k.devImages.txt", Some(Split::Val));
        check("x/captions_val2014.json", Some(Split::Val));
        check("x/captions_train2017.json", Some(Split::Train));
        check("TEST.txt", Some(Split::Test));
        check("karpathy-restval.txt", Some(Split::Restval));
        check("train_test.txt", None);
        check("contest.txt", None);
        check("images.txt", None);
    }

    fn list(text: &str) -> Option<(Split, PathBuf)> {
        let list = SplitList::parse(Path::new(text)).ok()?;
        Some((list.split, list.path))
    }

    #[test]
    fn a_split_may_be_named_before_its_file() {
        assert_eq!(
            list("val=a/list.txt"),
            Some((Split::Val, "a/list.txt".into()))
        );
        assert_eq!(list("dev.txt"), Some((Split::Val, "dev.txt".into())));
        assert_eq!(list("list.txt"), None);
        assert_eq!(
            list("odd=train.txt"),
            Some((Split::Train, "odd=train.txt".into()))
        );
    }

    #[test]
    fn lists_put_images_into_splits() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            SplitList::parse(&path).unwrap()
        };
        let set = || {
            let mut builder = Builder::default();
            for name in ["1.jpg", "2.jpg", "3.jpg.1", "4.jpg"] {
                let image = builder.image(name);
                builder.caption(image, "a dog");
            }
            builder.finish()
        };
        let train = write("train.txt", "1.jpg\r\n\r\n3.jpg.1\n9.jpg\n1.jpg\n");
        let test = write("test.txt", "2\n");
        let mut got = set();
        assign(&mut got, &[train.clone(), test.clone()]).unwrap();
        let splits: Vec<_> = got.images.iter().map(|image| image.split).collect();
        let train_and_test = [Some(Split::Train), Some(Split::Test)];
        assert_eq!(
            splits,
            [
                train_and_test[0],
                train_and_test[1],
                train_and_test[0],
                None
            ]
        );
        assert_eq!(got.notes.count(Oddity::SplitWithoutImage), 1);
        assert_eq!(got.notes.count(Oddity::RepeatedInSplit), 1);

        let overlapping = write("val.txt", "4.jpg\n3.jpg.1\n");
        let error = assign(&mut set(), &[train.clone(), overlapping]).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("val.txt:2: 3.jpg.1 is already in the split train"),
            "{message}"
        );
        assert!(message.ends_with("train.txt"), "{message}");

        let empty = write("dev.txt", "");
        let error = assign(&mut set(), &[empty]).unwrap_err();
        assert!(matches!(error, DatasetError::Empty(_)), "{error}");
    }
}
