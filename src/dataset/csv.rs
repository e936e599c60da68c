//! Reads captions from CSV (RFC 4180) with a header that names the columns `image` and `caption`, and
//! perhaps `split`; other columns are passed over. What has the header of Kaggle's Flickr30k is passed on to
//! [`piped`].
//!
//! A record is read at a time. As in most readers, a quote inside a field that does not begin with
//! one is a character like any other; whatever else the RFC forbids is an error that names the line.

use std::io::BufRead;

use super::lines::Lines;
use super::{Builder, DatasetError, LineFault, Split, piped};

/// The records of a CSV file.
struct Records<R> {
    lines: Lines<R>,
    record: Record,
}

/// The fields of one record; only the first `count` are its own.
#[derive(Default)]
struct Record {
    fields: Vec<String>,
    count: usize,
}

/// Where in a record its reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Bare,
    Quoted,
    /// After a quote in a quoted field: its end, or the first half of a doubled quote.
    Quote,
}

impl<R: BufRead> Records<R> {
    fn new(lines: Lines<R>) -> Self {
        Records {
            lines,
            record: Record::default(),
        }
    }

    /// Reads the next record that is not a blank line; gives the number of its first line.
    fn next(&mut self) -> Result<Option<u64>, DatasetError> {
        let mut state = State::FieldStart;
        let mut first = None;
        let mut opened = 0;
        self.record.count = 0;
        loop {
            let number = self.lines.number() + 1;
            let Some(line) = self.lines.next_with_end()? else {
                return match first {
                    Some(_) => Err(self.lines.fault_at(opened, LineFault::OpenQuote)),
                    None => Ok(None),
                };
            };
            let text = line.strip_suffix('\n').unwrap_or(line);
            let text = text.strip_suffix('\r').unwrap_or(text);
            if first.is_none() {
                if text.trim().is_empty() {
                    continue;
                }
                first = Some(number);
                self.record.begin_field();
            }
            for character in text.chars() {
                match (state, character) {
                    (State::FieldStart, '"') => {
                        state = State::Quoted;
                        opened = number;
                    }
                    (State::FieldStart | State::Bare | State::Quote, ',') => {
                        state = State::FieldStart;
                        self.record.begin_field();
                    }
                    (State::FieldStart | State::Bare, other) => {
                        state = State::Bare;
                        self.record.push(other);
                    }
                    (State::Quoted, '"') => state = State::Quote,
                    (State::Quote, '"') => {
                        state = State::Quoted;
                        self.record.push('"');
                    }
                    (State::Quoted, other) => self.record.push(other),
                    (State::Quote, _) => return Err(self.lines.fault(LineFault::AfterQuote)),
                }
            }
            if state != State::Quoted {
                return Ok(first);
            }
            line[text.len()..]
                .chars()
                .for_each(|end| self.record.push(end));
        }
    }

    fn fields(&self) -> &[String] {
        &self.record.fields[..self.record.count]
    }
}

impl Record {
    fn begin_field(&mut self) {
        match self.fields.get_mut(self.count) {
            Some(field) => field.clear(),
            None => self.fields.push(String::new()),
        }
        self.count += 1;
    }

    fn push(&mut self, character: char) {
        if let Some(field) = self.fields[..self.count].last_mut() {
            field.push(character);
        }
    }
}

/// Reads all captions.
pub fn read<R: BufRead>(lines: Lines<R>) -> Result<Builder, DatasetError> {
    let mut records = Records::new(lines);
    let Some(line) = records.next()? else {
        return Err(DatasetError::Empty(records.lines.path().into()));
    };
    if let [header] = records.fields()
        && piped::is_header(header)
    {
        return piped::read(records.lines);
    }
    let columns = Columns::of(records.fields()).ok_or_else(|| {
        let found = records.fields().join(",");
        let fault = LineFault::NoColumn {
            found: shortened(&found),
        };
        records.lines.fault_at(line, fault)
    })?;
    let mut builder = Builder::default();
    while let Some(line) = records.next()? {
        let fields = records.fields();
        let fault = |fault| Err(records.lines.fault_at(line, fault));
        if fields.len() != columns.count {
            return fault(LineFault::Fields {
                found: fields.len(),
                expected: columns.count,
            });
        }
        let name = &fields[columns.image];
        if name.trim().is_empty() {
            return fault(LineFault::NoName);
        }
        let image = builder.image(name);
        if let Some(split) = columns.split.map(|split| fields[split].trim())
            && !split.is_empty()
        {
            let Some(split) = Split::named(split) else {
                return fault(LineFault::NoSplit {
                    found: split.into(),
                });
            };
            let entry = &mut builder.set.images[image];
            if let Some(earlier) = entry.split.filter(|earlier| *earlier != split) {
                return fault(LineFault::OtherSplit {
                    name: name.clone(),
                    split: earlier,
                    list: records.lines.path().into(),
                });
            }
            entry.split = Some(split);
        }
        builder.caption(image, &fields[columns.caption]);
    }
    Ok(builder)
}

/// Whether a line is the header of such a file.
pub fn is_header(line: &str) -> bool {
    let mut records = Records::new(Lines::new(line.as_bytes(), "".as_ref()));
    piped::is_header(line)
        || matches!(records.next(), Ok(Some(_))) && Columns::of(records.fields()).is_some()
}

/// Which column holds what.
struct Columns {
    image: usize,
    caption: usize,
    split: Option<usize>,
    count: usize,
}

impl Columns {
    fn of(header: &[String]) -> Option<Self> {
        let named = |name: &str| {
            let mut fields = header.iter();
            fields.position(|field| field.trim().eq_ignore_ascii_case(name))
        };
        Some(Columns {
            image: named("image")?,
            caption: named("caption")?,
            split: named("split"),
            count: header.len(),
        })
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::DataSet;
    use super::*;

    fn read_text(text: &str) -> Result<DataSet, String> {
        let read = read(Lines::new(text.as_bytes(), Path::new("x.csv")));
        read.map(Builder::finish).map_err(|error| error.to_string())
    }

    fn check(text: &str, expected: &[(&str, &[&str])]) {
        let set = read_text(text).unwrap();
        let got: Vec<_> = set
            .images
            .iter()
            .map(|image| (image.file_name.as_str(), image.captions.clone()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, captions)| (*name, captions.iter().map(|c| (*c).to_owned()).collect()))
            .collect();
        assert_eq!(got, expected, "{text:?}");
    }

    fn check_error(text: &str, expected: &str) {
        assert_eq!(read_text(text).unwrap_err(), expected, "{text:?}");
    }

    fn records(text: &str) -> Vec<Vec<String>> {
        let mut records = Records::new(Lines::new(text.as_bytes(), Path::new("x.csv")));
        let mut all = Vec::new();
        while records.next().unwrap().is_some() {
            all.push(records.fields().to_vec());
        }
        all
    }

    #[test]
    fn captions_with_and_without_quotes() {
        check(
            "image,caption\r\na.jpg,A dog .\r\n\"b.jpg\",\"A man , \"\"a boat\"\" .\"\r\na.jpg,two",
            &[
                ("a.jpg", &["A dog .", "two"]),
                ("b.jpg", &["A man , \"a boat\" ."]),
            ],
        );
        check(
            "image,caption\na.jpg,a 12\" pizza\n",
            &[("a.jpg", &["a 12\" pizza"])],
        );
        check(
            "image,caption\na.jpg,\"two\nlines\"\n",
            &[("a.jpg", &["two\nlines"])],
        );
        check(
            "\u{feff}n,Caption , Image,x\n1,one,a.jpg,\n\n2,\"\",a.jpg,\"\n\"\n",
            &[("a.jpg", &["one"])],
        );
    }

    #[test]
    fn flickr30k_as_kaggle_has_it_is_read() {
        check(
            "\u{feff}image_name| comment_number| comment\r\na.jpg| 0| A dog , running .\r\n\
             a.jpg| 1   \"Two\" dogs .\r\n\r\nb.jpg| 0| A man .\n",
            &[
                ("a.jpg", &["A dog , running .", "\"Two\" dogs ."]),
                ("b.jpg", &["A man ."]),
            ],
        );
        check_error(
            "image_name| comment_number| comment\na.jpg, A dog\n",
            "x.csv:2: expected NAME| NUMBER| CAPTION",
        );
    }

    #[test]
    fn a_column_may_tell_the_split() {
        let set = read_text("image,split,caption\na.jpg,dev,x\nb.jpg,,y\na.jpg,val,z\n").unwrap();
        let splits: Vec<_> = set.images.iter().map(|image| image.split).collect();
        assert_eq!(splits, [Some(Split::Val), None]);
        check_error(
            "image,split,caption\na.jpg,dev,x\na.jpg,train,z\n",
            "x.csv:3: a.jpg is already in the split val, by x.csv",
        );
        check_error(
            "image,split,caption\na.jpg,other,x\n",
            "x.csv:2: \"other\" is no split; expected train, val, test or restval",
        );
    }

    #[test]
    fn faults_name_the_line_where_the_record_begins() {
        check_error("", "x.csv is empty");
        check_error(
            "image_name|comment\n",
            "x.csv:1: the columns are image_name|comment; expected a header with image and caption",
        );
        check_error(
            "image,caption\na.jpg,\"x\ny\"\nb.jpg,one, two\n",
            "x.csv:4: 3 fields, expected 2; a field with a comma in it has to stand in quotes",
        );
        check_error(
            "image,caption\na.jpg,\"x\ny\n",
            "x.csv:2: a quote is opened here and never closed",
        );
        check_error(
            "image,caption\na.jpg,\"x\" y\n",
            "x.csv:2: text after a closing quote; a quote inside a field has to be doubled",
        );
        check_error(
            "image,caption\n,x\n",
            "x.csv:2: there is no name before the caption",
        );
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(
            rows in proptest::collection::vec(proptest::collection::vec("[a,\"\n\ré ]{0,6}", 2..4), 1..6)
        ) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| {
                let fields: Vec<_> = row.iter().map(quoted).collect();
                fields.join(",") + "\r\n"
            };
            let text: String = rows.iter().map(line).collect();
            prop_assert_eq!(records(&text), rows);
        }
    }
}
