//! Builds a folder of good, odd, broken and hostile files, and says what has to become of each.
//!
//! It is what an archive looks like after twenty years: downloads that stopped, cards that died,
//! names from other systems, links that lead nowhere, and files that say they are something else.

mod craft;
mod faults;
mod places;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use craft::png_claiming;

/// What has to become of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is decoded, to this size.
    Shown { width: u32, height: u32 },
    /// It is a failed row, and the reason has these words.
    Failed(&'static str),
    /// The walk reports it as unreadable, and the reason has these words.
    Unreadable(&'static str),
    /// It is no row.
    NoRow,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub uri: String,
    pub outcome: Outcome,
}

/// A file of `tests/golden/decode` and what Pillow shows for it.
#[derive(Debug, Deserialize)]
pub struct Golden {
    pub file: String,
    pub width: u32,
    pub height: u32,
    /// The file with the pixels, `[height, width, 3]`.
    pub rgb: String,
    /// How far a level may be off.
    pub tolerance: u8,
}

impl Golden {
    pub fn all() -> Vec<Self> {
        let manifest = fs::read_to_string(golden("manifest.json")).unwrap();
        serde_json::from_str(&manifest).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        golden_bytes(&self.file)
    }
}

pub fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/decode")
        .join(file)
}

pub fn golden_bytes(file: &str) -> Vec<u8> {
    fs::read(golden(file)).unwrap()
}

/// Fills an empty directory; what is expected comes in the order of a walk.
pub fn write_broken_folder(dir: &Path) -> Vec<Expected> {
    let mut folder = Folder {
        dir,
        expected: Vec::new(),
    };
    folder.every_format();
    folder.truncated();
    folder.corrupt();
    folder.hostile();
    folder.odd_exif();
    folder.not_what_the_name_says();
    folder.unsupported();
    folder.names();
    folder.links();
    folder.special();
    folder.hidden();
    let mut expected = folder.expected;
    expected.sort_by(|a, b| showtell::archive::uri_order(&a.uri, &b.uri));
    expected
}

struct Folder<'a> {
    dir: &'a Path,
    expected: Vec<Expected>,
}

impl Folder<'_> {
    fn expect(&mut self, uri: impl Into<String>, outcome: Outcome) {
        let uri = uri.into();
        self.expected.push(Expected { uri, outcome });
    }

    /// Writes a file whose uri is its name.
    fn write(&mut self, uri: impl Into<String>, bytes: impl AsRef<[u8]>, outcome: Outcome) {
        let uri = uri.into();
        self.write_as(OsStr::new(&uri), uri.clone(), bytes, outcome);
    }

    fn write_as(
        &mut self,
        name: &OsStr,
        uri: impl Into<String>,
        bytes: impl AsRef<[u8]>,
        outcome: Outcome,
    ) {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        self.expect(uri, outcome);
    }
}
