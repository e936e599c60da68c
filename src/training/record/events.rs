//! The numbers and samples of a training in the file that TensorBoard reads.
//!
//! A TFRecord file: each record is its length (u64), the checksum of the length, the bytes of an `Event`
//! as Protocol Buffers, and their checksum; all numbers little-endian, the checksums CRC-32C, masked as
//! <https://www.tensorflow.org/tutorials/load_data/tfrecord> says. The messages are those of TensorFlow's
//! `event.proto`, `summary.proto` and `tensor.proto`, as far as scalars and texts need them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use super::numbers::{Numbers, Scope};
use super::samples::Samples;
use crate::table::{DurableFile, FileError, names};

const CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

const PREFIX: &str = "events.out.tfevents.";
const SUFFIX: &str = ".showtell";
/// What TensorBoard looks for in the first event.
const FILE_VERSION: &str = "brain.Event:2";
/// Numbers are shown at the latest after so many microseconds.
const UNSEEN: i64 = 2_000_000;

/// Whether `name` is that of a file that is written here.
pub fn is_ours(name: &str) -> bool {
    seconds(name).is_some()
}

/// The time in such a file's name, by which TensorBoard orders files.
fn seconds(name: &str) -> Option<u64> {
    let seconds = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    seconds.parse().ok()
}

/// The file, open at its end.
pub struct EventFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// When it was written out last, in microseconds since 1970.
    flushed: i64,
}

impl EventFile {
    /// Writes a file that holds `recipe` and what there is so far, in the place of an earlier one.
    ///
    /// It gets a name of its own, after that of the earlier one: a TensorBoard that follows the
    /// directory goes on to it, and takes what comes again for what it is.
    pub fn begin(
        directory: &Path,
        recipe: &str,
        numbers: &Numbers,
        samples: &Samples,
        at: i64,
    ) -> Result<Self, FileError> {
        let earlier: Vec<String> = names(directory)?
            .into_iter()
            .filter(|name| is_ours(name))
            .collect();
        let last = earlier.iter().filter_map(|name| seconds(name)).max();
        let now = at.unsigned_abs() / 1_000_000;
        let name = now.max(last.map_or(0, |last| last + 1));
        let path = directory.join(format!("{PREFIX}{name:010}{SUFFIX}"));
        let mut file = DurableFile::create(&path)?;
        let mut put = |event: &Event| {
            file.write_all(&record(event))
                .map_err(FileError::on("write", &path))
        };
        let first = numbers.iter().map(|number| number.at).fold(at, i64::min);
        put(&Event::first(first))?;
        put(&Event::text(
            0,
            at,
            "recipe",
            &format!("```toml\n{recipe}\n```"),
        ))?;
        let mut sections = samples.sections().iter().peekable();
        for number in numbers.iter() {
            // An epoch's samples come before its numbers.
            if number.scope == Scope::Epoch
                && let Some(section) = sections.next_if(|section| section.epoch == number.epoch)
            {
                put(&Event::text(
                    section.step,
                    number.at,
                    "samples",
                    &section.table,
                ))?;
            }
            let tag = tag(number.scope, number.name);
            put(&Event::scalar(number.step, number.at, tag, number.value))?;
        }
        file.commit()?;
        for name in earlier {
            let path = directory.join(name);
            fs::remove_file(&path).map_err(FileError::on("remove", &path))?;
        }
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(FileError::on("open", &path))?;
        Ok(EventFile {
            path,
            file: BufWriter::new(file),
            flushed: at,
        })
    }

    pub fn scalars<'a>(
        &mut self,
        scope: Scope,
        step: u64,
        at: i64,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<(), FileError> {
        for (name, value) in values {
            self.put(&Event::scalar(step, at, tag(scope, name), value))?;
        }
        if at.saturating_sub(self.flushed) >= UNSEEN {
            self.flushed = at;
            self.file
                .flush()
                .map_err(FileError::on("write", &self.path))?;
        }
        Ok(())
    }

    pub fn samples(&mut self, step: u64, at: i64, table: &str) -> Result<(), FileError> {
        self.put(&Event::text(step, at, "samples", table))
    }

    /// Makes durable what was written so far.
    pub fn flush(&mut self) -> Result<(), FileError> {
        let synced = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_data());
        synced.map_err(FileError::on("write", &self.path))
    }

    fn put(&mut self, event: &Event) -> Result<(), FileError> {
        let written: io::Result<()> = self.file.write_all(&record(event));
        written.map_err(FileError::on("write", &self.path))
    }
}

/// TensorBoard groups by what is before the stroke.
fn tag(scope: Scope, name: &str) -> String {
    match name.contains('/') {
        true => name.to_owned(),
        false => format!("{}/{name}", scope.name()),
    }
}

/// A record of the file.
fn record(event: &Event) -> Vec<u8> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(&data);
    record.extend(masked(&data).to_le_bytes());
    record
}

fn masked(data: &[u8]) -> u32 {
    CRC_32C
        .checksum(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

impl Event {
    /// The first of a file.
    fn first(at: i64) -> Self {
        Event {
            wall_time: wall_time(at),
            step: 0,
            what: Some(What::FileVersion(FILE_VERSION.to_owned())),
        }
    }

    fn scalar(step: u64, at: i64, tag: String, value: f64) -> Self {
        let value = Value {
            tag,
            of: Some(Of::SimpleValue(value as f32)),
            metadata: None,
        };
        Self::summary(step, at, value)
    }

    /// `text` is Markdown.
    fn text(step: u64, at: i64, tag: &str, text: &str) -> Self {
        let value = Value {
            tag: tag.to_owned(),
            of: Some(Of::Tensor(TensorProto {
                dtype: TensorProto::STRING,
                tensor_shape: Some(TensorShape {
                    dim: vec![Dimension { size: 1 }],
                }),
                string_val: vec![text.as_bytes().to_vec()],
            })),
            metadata: Some(SummaryMetadata {
                plugin_data: Some(PluginData {
                    plugin_name: "text".to_owned(),
                }),
            }),
        };
        Self::summary(step, at, value)
    }

    fn summary(step: u64, at: i64, value: Value) -> Self {
        Event {
            wall_time: wall_time(at),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            what: Some(What::Summary(Summary { value: vec![value] })),
        }
    }
}

/// Seconds since 1970.
fn wall_time(at: i64) -> f64 {
    at as f64 / 1e6
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Of", tags = "2, 8")]
    of: Option<Of>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<SummaryMetadata>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Of {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    #[prost(message, tag = "8")]
    Tensor(TensorProto),
}

#[derive(Clone, PartialEq, Message)]
struct SummaryMetadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
}

#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    tensor_shape: Option<TensorShape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
}

impl TensorProto {
    /// `DT_STRING`.
    const STRING: i32 = 7;
}

#[derive(Clone, PartialEq, Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    size: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tests/golden/tensorboard/make.py says the same.
    #[test]
    fn the_bytes_are_those_of_tensorboards_writer() {
        let at = 1_700_000_000_250_000;
        let scalar = |step, at: i64, scope, name: &str, value| {
            Event::scalar(step, 1_000_000 * at, tag(scope, name), value)
        };
        let events = [
            Event::first(at),
            Event::text(0, at, "recipe", "```toml\nseed = 1\n\n```"),
            Event::scalar(1, 1_700_000_001_500_000, "loss/token".to_owned(), 9.125),
            scalar(300, 1_700_000_002, Scope::Step, "learning_rate", 4e-4),
            Event::text(300, 1_700_000_003_000_000, "samples", "| é |"),
            scalar(300, 1_700_000_003, Scope::Epoch, "saved", 0.0),
        ];
        let bytes: Vec<u8> = events.iter().flat_map(record).collect();
        let golden = include_bytes!("../../../tests/golden/tensorboard/events.bin");
        assert_eq!(bytes, golden);
    }

    #[test]
    fn files_of_others_are_left_alone() {
        assert!(is_ours("events.out.tfevents.1700000000.showtell"));
        assert!(!is_ours("events.out.tfevents.1700000000.host.12.0"));
        assert!(!is_ours("events.out.tfevents.showtell"));
    }
}
