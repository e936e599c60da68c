//! Finds out which files make up a data set, and reads them.
//!
//! A file is told by what is in it, never by its name alone; in a folder, names say which files to
//! look at, because published data sets come with lists and annotations beside their captions.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::lines::{BYTE_ORDER_MARK, Lines};
use super::pictures::{is_image_name, list};
use super::splits::assign;
use super::{
    DataSet, DatasetError, Notes, Pictures, Split, SplitList, coco, csv, karpathy, sidecars, tokens,
};

/// Bytes that a file is told by.
const HEAD: u64 = 1 << 16;

/// How captions are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Flickr8k's and Flickr30k's token files.
    Tokens,
    Csv,
    /// COCO's `captions_*.json`.
    Coco,
    /// Karpathy's `dataset_*.json`.
    Karpathy,
    /// A folder of images with `.txt` files beside them.
    Sidecars,
}

impl Format {
    pub const ALL: [Format; 5] = [
        Format::Tokens,
        Format::Csv,
        Format::Coco,
        Format::Karpathy,
        Format::Sidecars,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Format::Tokens => "tokens",
            Format::Csv => "csv",
            Format::Coco => "coco",
            Format::Karpathy => "karpathy",
            Format::Sidecars => "sidecars",
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Format::Tokens => {
                "a token file as of Flickr8k and Flickr30k (NAME#NUMBER, a tab, a caption)"
            }
            Format::Csv => {
                "a CSV file with the columns image and caption or Kaggle's results.csv of Flickr30k"
            }
            Format::Coco => "COCO's captions_*.json",
            Format::Karpathy => "Karpathy's dataset_*.json",
            Format::Sidecars => "a folder of images with .txt files beside them",
        }
    }

    pub(super) fn all_described() -> String {
        let all: Vec<_> = Format::ALL.iter().map(|format| format.describe()).collect();
        all.join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no [`Format`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected tokens, csv, coco, karpathy or sidecars")]
pub struct NotAFormat;

impl FromStr for Format {
    type Err = NotAFormat;

    fn from_str(text: &str) -> Result<Self, NotAFormat> {
        let mut all = Format::ALL.into_iter();
        all.find(|format| format.name() == text).ok_or(NotAFormat)
    }
}

/// What is known about a data set beside where it is.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Found out if it is not given.
    pub format: Option<Format>,
    /// Which images belong to which split. Where there are none, those of the file count, and those
    /// that lie in the folder of the data set.
    pub split_lists: Vec<SplitList>,
    /// The folder of the images; that beside the captions if it is not given.
    pub images: Option<PathBuf>,
}

/// The files of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file of captions; of sidecars, their folder.
    pub captions: PathBuf,
    pub format: Format,
    pub split_lists: Vec<SplitList>,
    pub images: Option<PathBuf>,
}

impl Source {
    /// Finds the files of the data set at `path`: the file of captions, or a folder that holds one.
    ///
    /// # Errors
    ///
    /// If nothing is there that can be read, or several things are.
    pub fn find(path: &Path, options: Options) -> Result<Self, DatasetError> {
        let unreadable = |source| DatasetError::Read {
            path: path.into(),
            source,
        };
        if !fs::metadata(path).map_err(unreadable)?.is_dir() {
            let format = match options.format {
                Some(Format::Sidecars) => {
                    return Err(DatasetError::NotAFolder {
                        path: path.into(),
                        what: "a data set of sidecars",
                    });
                }
                Some(format) => format,
                None => tell(path)?,
            };
            return Ok(Source {
                captions: path.into(),
                format,
                split_lists: options.split_lists,
                images: options.images,
            });
        }
        let (captions, format) = match options.format {
            Some(Format::Sidecars) => (path.to_owned(), Format::Sidecars),
            format => in_folder(path, format)?,
        };
        let images = || match format {
            Format::Sidecars => Some(path.to_owned()),
            _ => images_folder(path),
        };
        let listed = matches!(format, Format::Tokens | Format::Csv);
        let split_lists = match options.split_lists.is_empty() && listed {
            true => split_lists(path, &captions).map_err(unreadable)?,
            false => options.split_lists,
        };
        Ok(Source {
            images: options.images.or_else(images),
            captions,
            format,
            split_lists,
        })
    }

    /// Reads captions and splits.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or is broken; the error names the line, or the place in the JSON.
    pub fn read(&self) -> Result<DataSet, DatasetError> {
        let path = &self.captions;
        let builder = match self.format {
            Format::Tokens => tokens::read(Lines::open(path)?)?,
            Format::Csv => csv::read(Lines::open(path)?)?,
            Format::Coco => coco::data_set(path)?,
            Format::Karpathy => karpathy::data_set(path)?,
            Format::Sidecars => sidecars::data_set(path)?,
        };
        if builder.set.rows == 0 {
            return Err(DatasetError::NoCaptions(path.clone()));
        }
        let mut set = builder.finish();
        assign(&mut set, &self.split_lists)?;
        Ok(set)
    }

    /// Lists the folder of the images, if there is one.
    pub fn pictures(&self) -> Result<Option<Pictures>, DatasetError> {
        self.images.as_deref().map(Pictures::below).transpose()
    }
}

/// Tells a file by its beginning.
fn tell(path: &Path) -> Result<Format, DatasetError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.map_err(|source| DatasetError::Read {
        path: path.into(),
        source,
    })?;
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&head);
    if head.trim_ascii().is_empty() {
        return Err(DatasetError::Empty(path.into()));
    }
    let other = |is, instead| DatasetError::NotADataSet {
        path: path.into(),
        is,
        instead,
    };
    if head.starts_with(b"\x93NUMPY") {
        let instead = "name the file of captions, and this one with --features";
        return Err(other("matrix of features", instead));
    }
    let unknown = |found: String| DatasetError::UnknownFormat {
        path: path.into(),
        found,
    };
    let trimmed = head.trim_ascii_start();
    if trimmed.starts_with(b"{") {
        // Only Karpathy's has sentences; what COCO calls annotations may come late in the file.
        let holds = |key: &[u8]| head.windows(key.len()).any(|window| window == key);
        return Ok(match holds(b"\"sentences\"") || holds(b"\"sentids\"") {
            true => Format::Karpathy,
            false => Format::Coco,
        });
    }
    if trimmed.starts_with(b"[") {
        let instead = "captions that a model made are no data set to learn from";
        return Err(other("JSON list, as COCO result files are", instead));
    }
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return Err(unknown("it is UTF-16; save it as UTF-8".to_owned()));
    }
    if head.contains(&0) {
        return Err(unknown("it is no text".to_owned()));
    }
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.find(|line| !line.trim_ascii().is_empty());
    let first = String::from_utf8_lossy(first.unwrap_or_default());
    if tokens::parse(&first).is_ok() || first.contains('\t') {
        Ok(Format::Tokens)
    } else if csv::is_header(&first) {
        Ok(Format::Csv)
    } else {
        let shown: String = first.chars().take(60).collect();
        Err(unknown(format!("its first line is {shown:?}")))
    }
}

/// The file of captions in a folder, if one only can be meant.
fn in_folder(folder: &Path, format: Option<Format>) -> Result<(PathBuf, Format), DatasetError> {
    let names = names(folder).map_err(|source| DatasetError::Read {
        path: folder.into(),
        source,
    })?;
    let mut found = Vec::new();
    for name in names.into_iter().filter(|name| may_hold_captions(name)) {
        let path = folder.join(&name);
        match (tell(&path), format) {
            (Ok(told), Some(format)) if told == format => found.push((name, told)),
            (Ok(told), None) => found.push((name, told)),
            // Some other CSV, or a note.
            (Ok(_), _) | (Err(DatasetError::UnknownFormat { .. }), _) => {}
            (Err(DatasetError::NotADataSet { .. }), _) => {}
            (Err(error), _) => return Err(error),
        }
    }
    match (found.as_slice(), format) {
        ([(name, format)], _) => Ok((folder.join(name), *format)),
        ([], None) if has_sidecars(folder)? => Ok((folder.to_owned(), Format::Sidecars)),
        ([], Some(format)) => Err(DatasetError::NoDataSetOf {
            path: folder.into(),
            format,
        }),
        ([], None) => Err(DatasetError::NoDataSet(folder.into())),
        (several, _) => Err(DatasetError::SeveralDataSets {
            path: folder.into(),
            names: several.iter().map(|(name, _)| name.clone()).collect(),
        }),
    }
}

/// Whether a file in the folder of a data set is named as captions are.
fn may_hold_captions(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // Flickr8k comes with its captions twice: as written, and with every word's base form.
    let token = name.ends_with(".token") || name.ends_with(".token.txt");
    let json = name.starts_with("captions_") || name.starts_with("dataset");
    (token && !name.contains(".lemma."))
        || (json || name == "scenes.json") && name.ends_with(".json")
        || name == "captions.txt"
        || name.ends_with(".csv")
}

/// The lists of splits in the folder of a data set: `Flickr_8k.trainImages.txt`, `train.txt`.
fn split_lists(folder: &Path, captions: &Path) -> io::Result<Vec<SplitList>> {
    let lists = names(folder)?.into_iter().filter_map(|name| {
        let stem = name.strip_suffix(".txt")?;
        let list = stem.ends_with("Images") || Split::named(stem).is_some();
        let path = folder.join(&name);
        let split = Split::in_file_name(&path)?;
        (list && path != captions).then_some(SplitList { split, path })
    });
    let mut lists: Vec<_> = lists.collect();
    lists.sort_by_key(|list| list.split);
    Ok(lists)
}

/// The folder of images beside captions, as published data sets call it.
fn images_folder(folder: &Path) -> Option<PathBuf> {
    const NAMES: [&str; 6] = [
        "images",
        "Images",
        "Flicker8k_Dataset",
        "Flickr8k_Dataset",
        "flickr30k_images",
        "flickr30k-images",
    ];
    let mut folders = NAMES.iter().map(|name| folder.join(name));
    folders.find(|folder| folder.is_dir())
}

fn has_sidecars(folder: &Path) -> Result<bool, DatasetError> {
    let names = list(folder, &mut Notes::default())?;
    Ok(names.iter().any(|name| name.ends_with(".txt"))
        && names.iter().any(|name| is_image_name(name)))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn check_told(text: &str, expected: Format) {
        let folder = folder(&[("x", text)]);
        assert_eq!(tell(&folder.path().join("x")).unwrap(), expected, "{text}");
    }

    fn check_error(files: &[(&str, &str)], path: &str, expected: &str) {
        let folder = folder(files);
        let found = Source::find(&folder.path().join(path), Options::default());
        let message = found.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn files_are_told_by_what_is_in_them() {
        check_told("a.jpg#0\tA dog", Format::Tokens);
        check_told("\u{feff}\r\na.jpg\tA dog", Format::Tokens);
        check_told("a.jpg#0\t\r\n", Format::Tokens);
        check_told("image,caption\na.jpg,A dog", Format::Csv);
        check_told("\"Caption\",\"Image\"\r\n", Format::Csv);
        check_told(
            "image_name| comment_number| comment\na.jpg| 0| A dog",
            Format::Csv,
        );
        check_told(" {\"images\": [{\"id\": 1}]}", Format::Coco);
        check_told("{\"images\": [{\"sentids\": [0]", Format::Karpathy);
    }

    #[test]
    fn what_is_no_data_set_is_told_too() {
        check_error(&[("x", " \n")], "x", "x is empty");
        check_error(
            &[("x", "Dear reader")],
            "x",
            "its first line is \"Dear reader\"",
        );
        check_error(&[("x", "\u{0}\u{1}")], "x", "it is no text");
        check_error(&[("x", "[{}]")], "x", "x is a JSON list");
        check_error(&[("a.jpg", "")], "", "holds no data set");
        check_error(&[], "x", "cannot read");
        check_error(&[("x", "\u{feff}")], "x", "x is empty");
        check_error(
            &[("a.csv", "image,caption\n"), ("b.csv", "image,caption\n")],
            "",
            "several data sets (a.csv, b.csv)",
        );
    }

    #[test]
    fn a_folder_as_published_is_found_whole() {
        let folder = folder(&[
            ("Flickr8k.token.txt", "a.jpg#0\tA dog\n"),
            ("Flickr8k.lemma.token.txt", "a.jpg#0\tA dog\n"),
            ("Flickr_8k.devImages.txt", "a.jpg\n"),
            ("CrowdFlowerAnnotations.txt", "a.jpg\tb.jpg#2\t1\n"),
            ("Flicker8k_Dataset/a.jpg", ""),
            ("readme.txt", "x"),
        ]);
        let source = Source::find(folder.path(), Options::default()).unwrap();
        assert_eq!(source.captions, folder.path().join("Flickr8k.token.txt"));
        assert_eq!(source.format, Format::Tokens);
        assert_eq!(source.split_lists.len(), 1);
        assert_eq!(source.images, Some(folder.path().join("Flicker8k_Dataset")));
        let set = source.read().unwrap();
        assert_eq!(set.images[0].split, Some(Split::Val));

        let coco = Options {
            format: Some(Format::Coco),
            ..Options::default()
        };
        let message = Source::find(folder.path(), coco).unwrap_err().to_string();
        assert!(
            message.ends_with("holds no data set in the form coco"),
            "{message}"
        );

        // Naming the file alone takes nothing from beside it.
        let source = Source::find(&source.captions, Options::default()).unwrap();
        assert_eq!((source.split_lists.len(), source.images), (0, None));
    }

    #[test]
    fn a_folder_of_sidecars_holds_its_images() {
        let folder = folder(&[("a.jpg", ""), ("a.txt", "A dog\n")]);
        let source = Source::find(folder.path(), Options::default()).unwrap();
        assert_eq!(source.format, Format::Sidecars);
        let pictures = source.pictures().unwrap().unwrap();
        assert!(pictures.locate(&source.read().unwrap()).missing.is_empty());
    }

    #[test]
    fn formats_have_names() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert_eq!("pickle".parse::<Format>(), Err(NotAFormat));
    }
}
