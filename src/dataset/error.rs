//! Why a data set cannot be read: which file, and where in it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Format;

/// Why a data set cannot be read.
#[derive(Debug, Error)]
pub enum DatasetError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{line}: {fault}", path.display())]
    Line {
        path: PathBuf,
        /// From one.
        line: u64,
        fault: LineFault,
    },
    #[error("{} cannot be read as captions", path.display())]
    Json { path: PathBuf, source: JsonFault },
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    #[error("{} holds no captions", .0.display())]
    NoCaptions(PathBuf),
    #[error("{} lists image {id} twice", path.display())]
    DuplicateImage { path: PathBuf, id: u64 },
    #[error("{} has {count} captions of images that it does not list, among them image {id}", path.display())]
    UnlistedImage {
        path: PathBuf,
        count: usize,
        id: u64,
    },
    #[error("cannot tell what {} is: {found}; it may be {}, or name its form with --format", path.display(), Format::all_described())]
    UnknownFormat { path: PathBuf, found: String },
    #[error("{} is a {is}: {instead}", path.display())]
    NotADataSet {
        path: PathBuf,
        is: &'static str,
        instead: &'static str,
    },
    #[error("{} holds several data sets ({}); name one of them", path.display(), names.join(", "))]
    SeveralDataSets { path: PathBuf, names: Vec<String> },
    #[error(
        "{} holds no data set: no token file, CSV, COCO or Karpathy JSON, and no .txt beside an image",
        .0.display()
    )]
    NoDataSet(PathBuf),
    #[error("{} is a file; {what} is a folder", path.display())]
    NotAFolder { path: PathBuf, what: &'static str },
    #[error("{} holds no data set in the form {format}", path.display())]
    NoDataSetOf { path: PathBuf, format: Format },
    #[error(
        "cannot tell which split {} lists: write train=FILE, val=FILE or test=FILE",
        .0.display()
    )]
    UnknownSplit(PathBuf),
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LineFault {
    #[error("byte {byte} of the line is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// From one.
        byte: usize,
    },
    #[error("there is no tab; expected NAME#NUMBER, a tab, a caption")]
    NoTab,
    #[error("{found:?} before the tab; expected NAME#NUMBER")]
    NoNumber { found: String },
    #[error("expected NAME| NUMBER| CAPTION")]
    NoBars,
    #[error("there is no name before the caption")]
    NoName,
    #[error("the columns are {found}; expected a header with image and caption")]
    NoColumn { found: String },
    #[error(
        "{found} fields, expected {expected}; a field with a comma in it has to stand in quotes"
    )]
    Fields { found: usize, expected: usize },
    #[error("text after a closing quote; a quote inside a field has to be doubled")]
    AfterQuote,
    #[error("a quote is opened here and never closed")]
    OpenQuote,
    #[error("{found:?} is no split; expected train, val, test or restval")]
    NoSplit { found: String },
    #[error("{name} is already in the split {split}, by {}", list.display())]
    OtherSplit {
        name: String,
        split: super::Split,
        list: PathBuf,
    },
}

/// What is wrong with a JSON file, and where.
#[derive(Debug)]
pub struct JsonFault {
    /// The way to the value that could not be read: `annotations[17].caption`; empty at the top.
    pub place: String,
    /// Shown by this one, so not its source.
    pub error: serde_json::Error,
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        match self.place.is_empty() {
            true => Ok(()),
            false => write!(f, ", in {}", self.place),
        }
    }
}

impl std::error::Error for JsonFault {}
