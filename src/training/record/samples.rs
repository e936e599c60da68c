//! Captions of a few images, epoch by epoch, as a Markdown file to read and compare.
//!
//! Each epoch is a section under a comment that says how far the training was, so that a training that
//! goes on from a checkpoint finds where to cut.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use super::Sample;
use crate::table::FileError;

const TITLE: &str = "# What the model says, epoch by epoch\n";
const MARK: &str = "<!-- epoch ";

/// The sections, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    sections: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub epoch: u64,
    pub step: u64,
    /// A table.
    pub table: String,
}

impl Samples {
    /// Reads what [`to_text`](Self::to_text) made; nothing if the file is not there.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            text => Ok(Self::parse(&text.map_err(FileError::on("read", path))?)),
        }
    }

    /// Sections whose mark somebody has edited are passed over.
    fn parse(text: &str) -> Self {
        let sections = text.split(MARK).skip(1).filter_map(|section| {
            let (epoch, rest) = section.split_once(", step ")?;
            let (step, rest) = rest.split_once(" -->")?;
            let (_, table) = rest.split_once("\n\n")?;
            Some(Section {
                epoch: epoch.parse().ok()?,
                step: step.parse().ok()?,
                table: table.trim_end().to_owned() + "\n",
            })
        });
        Samples {
            sections: sections.collect(),
        }
    }

    /// What was said after the first epochs.
    pub fn up_to(mut self, epochs: u64) -> Self {
        self.sections.retain(|section| section.epoch <= epochs);
        self
    }

    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Adds a section; returns its table, unless there are no samples.
    pub fn push(&mut self, epoch: u64, step: u64, samples: &[Sample]) -> Option<String> {
        if samples.is_empty() {
            return None;
        }
        let mut table = String::from("| image | the model | people |\n|---|---|---|\n");
        for sample in samples {
            let people: Vec<String> = sample.references.iter().map(|text| cell(text)).collect();
            let (image, caption) = (cell(&sample.image), cell(&sample.caption));
            let _ = writeln!(table, "| {image} | {caption} | {} |", people.join("<br>"));
        }
        self.sections.push(Section {
            epoch,
            step,
            table: table.clone(),
        });
        Some(table)
    }

    pub fn to_text(&self) -> String {
        let mut text = TITLE.to_owned();
        for Section { epoch, step, table } in &self.sections {
            let _ = write!(
                text,
                "\n{MARK}{epoch}, step {step} -->\n## Epoch {epoch}\n\n{table}"
            );
        }
        text
    }
}

/// Text that stays in its cell of a table, and cannot be taken for a mark.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match character {
            '\n' | '\r' | '\t' => cell.push(' '),
            '|' => cell.push_str("\\|"),
            '<' => cell.push_str("&lt;"),
            other => cell.push(other),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(image: &str, caption: &str, references: &[&str]) -> Sample {
        Sample {
            image: image.into(),
            caption: caption.into(),
            references: references.iter().map(|&text| text.into()).collect(),
        }
    }

    #[test]
    fn a_section_an_epoch_that_comes_back_as_it_was() {
        let mut samples = Samples::default();
        samples.push(
            1,
            20,
            &[sample("a.jpg", "a dog", &["a dog runs", "one dog"])],
        );
        samples.push(
            2,
            40,
            &[sample("a.jpg", "a | <!-- epoch 9, step 1 -->\n", &[])],
        );
        let text = samples.to_text();
        assert_eq!(
            text,
            "\
# What the model says, epoch by epoch

<!-- epoch 1, step 20 -->
## Epoch 1

| image | the model | people |
|---|---|---|
| a.jpg | a dog | a dog runs<br>one dog |

<!-- epoch 2, step 40 -->
## Epoch 2

| image | the model | people |
|---|---|---|
| a.jpg | a \\| &lt;!-- epoch 9, step 1 --> |  |
"
        );
        assert_eq!(Samples::parse(&text), samples);
        assert_eq!(
            Samples::parse(&text).up_to(1).sections(),
            &samples.sections()[..1]
        );
    }
}
