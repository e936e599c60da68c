//! Turns how a run ended into a file of metrics for node_exporter's textfile collector.
//!
//! Prometheus text format. Every sample carries the output directory as a label, so that the files of
//! several archives can lie side by side. What is counted over all runs, and when the last success
//! was, is carried over from the file as the run before left it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::fs;
use std::io::Write as _;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::{Counts, StageTime};
use crate::table::{DurableFile, FileError};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    Complete,
    /// Published, but some images have no caption.
    SomeFailed,
    /// Nothing was touched.
    Usage,
    /// A guard kept its rows back.
    Refused,
    Fatal,
    /// Another run holds the output.
    Held,
    Interrupted,
}

impl RunEnd {
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::SomeFailed,
        Self::Usage,
        Self::Refused,
        Self::Fatal,
        Self::Held,
        Self::Interrupted,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::SomeFailed => "some_failed",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Fatal => "fatal",
            Self::Held => "held",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the table is now what the archive is.
    fn is_success(self) -> bool {
        matches!(self, Self::Complete | Self::SomeFailed)
    }
}

/// What there is to tell of a run, whatever became of it.
#[derive(Debug, Clone)]
pub struct RunMetrics {
    /// The output directory, as a label.
    pub out: String,
    pub end: RunEnd,
    pub exit_code: u8,
    pub started: DateTime<Utc>,
    pub finished: DateTime<Utc>,
    pub counts: Counts,
    /// What images become that did not fail: `captioned` or `embedded`.
    pub made: &'static str,
    /// Read from the archive.
    pub bytes_read: u64,
    pub stages: BTreeMap<String, StageTime>,
    pub warnings: u64,
}

impl RunMetrics {
    /// Puts the metrics in place of those at `path`, whole.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        // What cannot be read is begun anew.
        let before = fs::read_to_string(path).unwrap_or_default();
        let mut file = DurableFile::create(path)?;
        file.write_all(self.text(&before).as_bytes())
            .map_err(FileError::on("write", path))?;
        file.commit()?;
        Ok(())
    }

    /// The metrics after a run that found those of `before`.
    pub fn text(&self, before: &str) -> String {
        let mut text = Text {
            out: &self.out,
            before,
            text: String::new(),
        };
        let counts = &self.counts;
        let version = env!("CARGO_PKG_VERSION");
        text.gauge("showtell_build_info", "The version that wrote this.");
        text.sample("showtell_build_info", &[("version", version)], 1);

        let name = "showtell_last_run_timestamp_seconds";
        text.gauge(name, "When the last run ended, in seconds since 1970.");
        text.sample(name, &[], seconds(self.finished));
        let name = "showtell_last_success_timestamp_seconds";
        let last = match self.end.is_success() {
            true => Some(seconds(self.finished)),
            false => text.carried_over(name, &[]),
        };
        if let Some(last) = last {
            text.gauge(
                name,
                "When the last run ended that left the table current, in seconds since 1970.",
            );
            text.sample(name, &[], last);
        }
        let name = "showtell_last_run_duration_seconds";
        text.gauge(name, "How long the last run took.");
        let took = (self.finished - self.started).as_seconds_f64();
        text.sample(name, &[], took);

        let name = "showtell_last_run_exit_code";
        text.gauge(name, "The exit code of the last run.");
        text.sample(name, &[], self.exit_code);
        let name = "showtell_last_run_state";
        text.gauge(name, "1 for how the last run ended, 0 for all other ways.");
        for end in RunEnd::ALL {
            let labels = [("state", end.name())];
            text.sample(name, &labels, u8::from(end == self.end));
        }

        let outcomes = [
            (self.made, counts.captioned),
            ("failed", counts.failed),
            ("unchanged", counts.unchanged),
        ];
        let name = "showtell_last_run_images";
        text.gauge(name, "Images of the last run by what became of them.");
        for (outcome, count) in outcomes {
            text.sample(name, &[("outcome", outcome)], count);
        }
        for (name, help, count) in [
            (
                "showtell_last_run_found_images",
                "Images that the last run found; a run that goes to its end has an outcome for each.",
                counts.found,
            ),
            (
                "showtell_last_run_unchanged_failed_images",
                "Of the unchanged images, those that failed before and were not tried again.",
                counts.unchanged_failed,
            ),
            (
                "showtell_last_run_deleted_images",
                "Images that the last run found gone.",
                counts.deleted,
            ),
            (
                "showtell_last_run_encoded_images",
                "Images of the last run that went through the encoder.",
                counts.embedded,
            ),
            (
                "showtell_last_run_other_files",
                "Files that the last run found to be no images.",
                counts.not_images,
            ),
            (
                "showtell_last_run_skipped_files",
                "Files that the last run was told to leave out.",
                counts.skipped,
            ),
            (
                "showtell_last_run_warnings",
                "Warnings in the summary of the last run.",
                self.warnings,
            ),
            (
                "showtell_last_run_read_bytes",
                "What the last run read from the archive.",
                self.bytes_read,
            ),
        ] {
            text.gauge(name, help);
            text.sample(name, &[], count);
        }

        let name = "showtell_last_run_stage_seconds";
        text.gauge(name, "How long each stage of the last run worked.");
        for (stage, time) in &self.stages {
            text.sample(name, &[("stage", stage)], time.seconds);
        }
        let name = "showtell_last_run_stage_items";
        text.gauge(name, "What each stage of the last run worked on.");
        for (stage, time) in &self.stages {
            text.sample(name, &[("stage", stage)], time.items);
        }

        let name = "showtell_runs_total";
        text.counter(name, "Runs by how they ended, since this file was begun.");
        for end in RunEnd::ALL {
            text.count(name, ("state", end.name()), u64::from(end == self.end));
        }
        let name = "showtell_images_total";
        text.counter(
            name,
            "Images by what became of them, since this file was begun.",
        );
        for (outcome, count) in outcomes {
            text.count(name, ("outcome", outcome), count);
        }
        text.text
    }
}

fn seconds(moment: DateTime<Utc>) -> f64 {
    moment.timestamp_millis() as f64 / 1e3
}

/// Metrics in the making.
struct Text<'a> {
    out: &'a str,
    before: &'a str,
    text: String,
}

impl Text<'_> {
    fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, "gauge", help);
    }

    fn counter(&mut self, name: &str, help: &str) {
        self.family(name, "counter", help);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = escape(help, &['\\', '\n']);
        self.text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text += &format!("{} {value}\n", self.series(name, labels));
    }

    /// Adds to what was counted before.
    fn count(&mut self, name: &str, label: (&str, &str), more: u64) {
        let before = self.carried_over(name, &[label]).unwrap_or(0.0);
        self.sample(name, &[label], before + more as f64);
    }

    /// The series' value in the file of the run before.
    fn carried_over(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let series = self.series(name, labels);
        let mut values = self.before.lines().filter_map(|line| {
            let value = line.strip_prefix(&series)?.strip_prefix(' ')?;
            value.parse().ok().filter(|value: &f64| value.is_finite())
        });
        values.next()
    }

    fn series(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let mut series = format!("{name}{{");
        for (at, (label, value)) in [("out", self.out)].iter().chain(labels).enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let value = escape(value, &['\\', '\n', '"']);
            // Writing to a string cannot fail.
            let _ = write!(series, "{comma}{label}=\"{value}\"");
        }
        series + "}"
    }
}

fn escape(text: &str, special: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' if special.contains(&c) => escaped += "\\n",
            c if special.contains(&c) => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::arbitrary::scratch;
    use proptest::prelude::*;

    fn metrics(out: &str, end: RunEnd, captioned: u64) -> RunMetrics {
        RunMetrics {
            out: out.to_owned(),
            end,
            exit_code: 0,
            started: DateTime::UNIX_EPOCH,
            finished: DateTime::from_timestamp(90, 0).unwrap(),
            counts: Counts {
                found: captioned,
                captioned,
                ..Counts::default()
            },
            made: "captioned",
            bytes_read: 1000,
            stages: BTreeMap::from([("read".to_owned(), StageTime::new(10, 2.5))]),
            warnings: 0,
        }
    }

    /// The value of the only line that begins like this.
    fn value(text: &str, series: &str) -> String {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(series));
        let value = lines
            .next()
            .unwrap_or_else(|| panic!("no {series} in {text}"));
        assert_eq!(lines.next(), None, "{series}");
        value.trim().to_owned()
    }

    proptest! {
        /// By the format: a quoted label value ends at the first quote that no backslash precedes.
        #[test]
        fn any_directory_can_be_a_label(out in any::<String>()) {
            let text = metrics(&out, RunEnd::Complete, 3).text("");
            let prefix = "showtell_last_run_exit_code{out=\"";
            let line = text.split('\n').find(|line| line.starts_with(prefix)).unwrap();
            let mut rest = line[prefix.len()..].chars();
            let mut read = String::new();
            loop {
                match rest.next().unwrap() {
                    '"' => break,
                    '\\' => read.push(match rest.next().unwrap() {
                        'n' => '\n',
                        c => c,
                    }),
                    c => read.push(c),
                }
            }
            prop_assert_eq!(read, out.clone());
            prop_assert_eq!(rest.as_str(), "} 0");

            let again = metrics(&out, RunEnd::Fatal, 4).text(&text);
            let total = again.split('\n').find(|line| line.starts_with("showtell_images_total")).unwrap();
            prop_assert!(total.ends_with("\"captioned\"} 7"), "{}", total);
        }
    }

    #[test]
    fn a_failure_leaves_the_time_of_the_last_success() {
        let name = "showtell_last_success_timestamp_seconds{out=\"o\"}";
        let never = metrics("o", RunEnd::Refused, 0).text("");
        assert!(!never.contains("last_success"));
        let once = metrics("o", RunEnd::SomeFailed, 0).text(&never);
        assert_eq!(value(&once, name), "90");
        let mut later = metrics("o", RunEnd::Fatal, 0);
        later.finished = DateTime::from_timestamp(5000, 0).unwrap();
        let failed = later.text(&once);
        assert_eq!(value(&failed, name), "90");
        let last = "showtell_last_run_timestamp_seconds{out=\"o\"}";
        assert_eq!(value(&failed, last), "5000");
        let runs = |state: &str| {
            let series = format!("showtell_runs_total{{out=\"o\",state=\"{state}\"}}");
            value(&failed, &series)
        };
        let counted = ["refused", "some_failed", "fatal", "held"].map(runs);
        assert_eq!(counted, ["1", "1", "1", "0"]);
    }

    #[test]
    fn every_family_says_what_it_is() {
        let text = metrics("o", RunEnd::Held, 0).text("");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split('{').next().unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
        }
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let directory = scratch();
        let path = directory.path().join("showtell.prom");
        for _ in 0..2 {
            metrics("o", RunEnd::Complete, 1).write(&path).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let series = "showtell_runs_total{out=\"o\",state=\"complete\"}";
        assert_eq!(value(&text, series), "2");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let error = metrics("o", RunEnd::Complete, 1)
            .write(&directory.path().join("absent/showtell.prom"))
            .unwrap_err();
        assert!(error.to_string().starts_with("cannot create "), "{error}");
    }
}
