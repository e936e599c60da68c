//! Counts what is odd about a data set, and remembers the first names of each kind.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Names kept of each kind.
const NAMED: usize = 10;

/// What can be odd about a data set without making it useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// A name that no image's file is likely to have.
    OddName,
    ImageWithoutCaptions,
    /// Left out.
    BlankCaption,
    /// The same NAME#NUMBER on several lines; all are kept.
    RepeatedNumber,
    /// Images that the file gives no name; they are called by their numbers.
    NoFileName,
    /// Names in a split list that are not in the data set.
    SplitWithoutImage,
    /// Names that stand in one split list several times.
    RepeatedInSplit,
    /// A `.txt` with no image beside it; left out.
    CaptionsWithoutImage,
    /// Files whose names are not UTF-8; left out.
    UnreadableName,
}

impl Oddity {
    /// What there is some of.
    pub fn describe(self) -> &'static str {
        match self {
            Oddity::OddName => "odd names",
            Oddity::ImageWithoutCaptions => "images without captions",
            Oddity::BlankCaption => "blank captions, left out",
            Oddity::RepeatedNumber => "caption numbers that an image has twice",
            Oddity::NoFileName => "images without a file name, called by their numbers",
            Oddity::SplitWithoutImage => "names in split lists that have no captions",
            Oddity::RepeatedInSplit => "names that stand in a split list twice",
            Oddity::CaptionsWithoutImage => "files of captions without an image, left out",
            Oddity::UnreadableName => "file names that are not UTF-8, left out",
        }
    }
}

/// How much there is of one kind, and the first names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Note {
    pub count: usize,
    /// Ten at most.
    pub names: Vec<String>,
}

/// All that is odd about a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes(BTreeMap<Oddity, Note>);

impl Notes {
    pub fn add(&mut self, oddity: Oddity, name: &str) {
        let note = self.0.entry(oddity).or_default();
        note.count += 1;
        if note.names.len() < NAMED {
            note.names.push(name.to_owned());
        }
    }

    pub fn count(&self, oddity: Oddity) -> usize {
        self.0.get(&oddity).map_or(0, |note| note.count)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Oddity, &Note)> {
        self.0.iter().map(|(oddity, note)| (*oddity, note))
    }
}

impl Serialize for Notes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_named() {
        let mut notes = Notes::default();
        for number in 0..12 {
            notes.add(Oddity::BlankCaption, &format!("{number}.jpg"));
        }
        assert_eq!(notes.count(Oddity::BlankCaption), 12);
        assert_eq!(notes.count(Oddity::OddName), 0);
        let (_, note) = notes.iter().next().unwrap();
        assert_eq!(note.names.len(), NAMED);
        let json = serde_json::to_value(&notes).unwrap();
        assert_eq!(json["blank_caption"]["count"], 12);
    }
}
