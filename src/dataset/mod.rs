//! Reads published data sets of captioned images, in whichever form they come.
//!
//! path -> [`Source`] (which files, in which [`Format`]) -> [`DataSet`] (images, their captions and
//! splits), with [`Pictures`] (where the files are) and [`Features`] (what an encoder made of them).
//!
//! Captions are kept as written, without the blanks around them; splitting them into words is not
//! done here. A file that is broken is an error that names the line or the place in the JSON. What is
//! merely odd is counted and named in [`Notes`]: every published data set has some of it.

pub mod coco;
mod csv;
mod error;
mod features;
mod json;
mod karpathy;
mod lines;
mod notes;
mod npy;
mod pictures;
mod piped;
mod sidecars;
mod source;
mod splits;
mod tokens;

use std::collections::HashMap;

pub use error::{DatasetError, JsonFault, LineFault};
pub(crate) use features::identity;
pub use features::{Features, FeaturesError, PerWhat};
pub use notes::{Note, Notes, Oddity};
pub use npy::{Matrix, NpyError, Number};
pub use pictures::{Found, Located, Pictures};
pub use source::{Format, Options, Source};
pub use splits::{Restval, Split, SplitList};

/// An image and what people said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEntry {
    /// As the data set writes it, perhaps with folders before it.
    pub file_name: String,
    /// Its number, where the data set gives one (COCO's).
    pub id: Option<u64>,
    /// None if no split names it.
    pub split: Option<Split>,
    /// In the order of the file. An image may have none.
    pub captions: Vec<String>,
    /// The place of its first caption among all captions of the file, from zero; blank ones count.
    pub first_caption: usize,
}

/// Captioned images, in the order in which their files name them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataSet {
    pub images: Vec<ImageEntry>,
    /// Captions of the file, those included that were left out because they are blank.
    pub rows: usize,
    /// What is odd about it.
    pub notes: Notes,
}

impl DataSet {
    /// How many captions there are.
    pub fn captions(&self) -> usize {
        self.images.iter().map(|image| image.captions.len()).sum()
    }

    /// The images of one split. Those of [`Split::Restval`] are images of [`Split::Train`] too if
    /// `restval` says so, as the papers that report on Karpathy's splits of COCO train on them.
    pub fn of_split(&self, split: Split, restval: Restval) -> impl Iterator<Item = &ImageEntry> {
        self.images.iter().filter(move |image| {
            let own = image.split == Some(split);
            let added = restval == Restval::AsTrain
                && split == Split::Train
                && image.split == Some(Split::Restval);
            own || added
        })
    }

    /// The images that are learnt from: those of the training split, or all where there are no splits.
    pub fn training(&self, restval: Restval) -> Vec<&ImageEntry> {
        match self.images.iter().any(|image| image.split.is_some()) {
            true => self.of_split(Split::Train, restval).collect(),
            false => self.images.iter().collect(),
        }
    }
}

/// Puts a data set together from captions that come one by one.
#[derive(Default)]
struct Builder {
    set: DataSet,
    places: HashMap<String, usize>,
}

impl Builder {
    /// The place of the image with this name, which is added if it is new.
    fn image(&mut self, file_name: &str) -> usize {
        // Captions of one image mostly stand together.
        if let Some(last) = self.set.images.last()
            && last.file_name == file_name
        {
            return self.set.images.len() - 1;
        }
        if let Some(place) = self.places.get(file_name) {
            return *place;
        }
        let place = self.set.images.len();
        if let Some(reason) = odd_name(file_name) {
            let name = format!("{file_name} ({reason})");
            self.set.notes.add(Oddity::OddName, &name);
        }
        self.places.insert(file_name.to_owned(), place);
        self.set.images.push(ImageEntry {
            file_name: file_name.to_owned(),
            id: None,
            split: None,
            captions: Vec::new(),
            first_caption: self.set.rows,
        });
        place
    }

    fn caption(&mut self, image: usize, caption: &str) {
        let row = self.set.rows;
        self.set.rows += 1;
        let entry = &mut self.set.images[image];
        let trimmed = caption.trim();
        if trimmed.is_empty() {
            let name = &entry.file_name;
            self.set.notes.add(Oddity::BlankCaption, name);
            return;
        }
        if entry.captions.is_empty() {
            entry.first_caption = row;
        }
        entry.captions.push(trimmed.to_owned());
    }

    fn finish(mut self) -> DataSet {
        let without = |image: &&ImageEntry| image.captions.is_empty();
        for image in self.set.images.iter().filter(without) {
            self.set
                .notes
                .add(Oddity::ImageWithoutCaptions, &image.file_name);
        }
        self.set
    }
}

/// Why a name is unlikely to be that of an image's file.
fn odd_name(name: &str) -> Option<&'static str> {
    if name != name.trim() {
        Some("blanks around it")
    } else if name.chars().any(char::is_control) {
        Some("a control character in it")
    } else if name.starts_with('/') || name.split(['/', '\\']).any(|part| part == "..") {
        Some("a path that leaves the folder of images")
    } else if name.contains('\\') {
        Some("a backslash in it")
    } else if !pictures::is_image_name(name) {
        Some("not the ending of an image")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_of_one_image_come_together_wherever_they_stand() {
        let mut builder = Builder::default();
        for (name, caption) in [("a.jpg", "one"), ("b.jpg", " "), ("a.jpg", " two\t")] {
            let image = builder.image(name);
            builder.caption(image, caption);
        }
        let image = builder.image("b.jpg");
        builder.caption(image, "three");
        let set = builder.finish();
        assert_eq!((set.images.len(), set.captions(), set.rows), (2, 3, 4));
        assert_eq!(set.images[0].captions, ["one", "two"]);
        assert_eq!(set.images[1].first_caption, 3);
        assert_eq!(set.notes.count(Oddity::BlankCaption), 1);
        assert_eq!(set.notes.count(Oddity::ImageWithoutCaptions), 0);
    }

    #[test]
    fn odd_names_are_told_from_good_ones() {
        for name in ["a.jpg", "train/b.PNG", "c d.jpeg", "x.y.webp"] {
            assert_eq!(odd_name(name), None, "{name}");
        }
        for name in [
            "2258277193_586949ec62.jpg.1",
            " a.jpg",
            "../a.jpg",
            "/a.jpg",
            "a\\b.jpg",
            "a",
        ] {
            assert!(odd_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn restval_is_for_training_if_asked() {
        let image = |split| ImageEntry {
            file_name: "a.jpg".into(),
            id: None,
            split,
            captions: vec!["a".into()],
            first_caption: 0,
        };
        let splits = [Split::Train, Split::Val, Split::Test, Split::Restval];
        let mut set = DataSet {
            images: splits.map(|split| image(Some(split))).into(),
            ..DataSet::default()
        };
        assert_eq!(set.training(Restval::Apart).len(), 1);
        assert_eq!(set.training(Restval::AsTrain).len(), 2);
        assert_eq!(set.of_split(Split::Val, Restval::AsTrain).count(), 1);
        assert_eq!(set.of_split(Split::Restval, Restval::AsTrain).count(), 1);
        set.images = vec![image(None), image(None)];
        assert_eq!(set.training(Restval::Apart).len(), 2);
    }
}
