//! Turns a model's description, or what is published of weights, into lines for a person.

use std::io::{self, Write};

use indicatif::DecimalBytes;
use showtell::hub::{Entry, FoundModel, State};

use super::Weights;

pub(super) fn write_entry(weights: &Weights, out: &mut dyn Write) -> io::Result<()> {
    let entry = weights.entry;
    let of = |values: [f32; 3]| values.map(|value| format!("{value:.5}")).join(" ");
    let preprocessing = entry.preprocessing;
    let rows = [
        ("name", entry.name.to_string()),
        ("about", entry.about.to_string()),
        ("architecture", entry.architecture.to_string()),
        ("layers", entry.layers.join(", ")),
        (
            "input",
            format!(
                "short side to {}, centre {2}x{2}, RGB / {}",
                preprocessing.resize, 255, preprocessing.crop
            ),
        ),
        ("mean", of(preprocessing.mean)),
        ("std", of(preprocessing.std)),
        ("licence", entry.licence.to_string()),
        ("origin", entry.origin.to_string()),
        ("address", entry.url.to_string()),
        ("SHA-256", entry.sha256.to_string()),
        ("on disk", describe_state(entry, &weights.state)),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<14}{value}")?;
    }
    Ok(())
}

pub(super) fn write_model(
    model: &FoundModel,
    table: &toml::Table,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "{:<14}{}", "name", model.name)?;
    writeln!(out, "{:<14}{}", "folder", model.folder.display())?;
    write_table(table, 0, out)?;
    let mut files: Vec<(String, u64)> = model
        .folder
        .read_dir()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let bytes = entry.metadata().ok().filter(|data| data.is_file())?.len();
            Some((entry.file_name().to_string_lossy().into_owned(), bytes))
        })
        .collect();
    files.sort();
    writeln!(out, "files")?;
    for (name, bytes) in files {
        writeln!(out, "  {name:<24}{}", DecimalBytes(bytes))?;
    }
    Ok(())
}

/// Values first, then the tables in it, each indented below its name.
fn write_table(table: &toml::Table, depth: usize, out: &mut dyn Write) -> io::Result<()> {
    let indent = "  ".repeat(depth);
    let width = 14_usize.saturating_sub(indent.len());
    for (name, value) in table.iter().filter(|(_, value)| !value.is_table()) {
        // A name as wide as its column still needs a space after it.
        let name = format!("{name} ");
        writeln!(out, "{indent}{name:<width$}{}", plain(value))?;
    }
    for (name, value) in table {
        if let toml::Value::Table(table) = value {
            writeln!(out, "{indent}{name}")?;
            write_table(table, depth + 1, out)?;
        }
    }
    Ok(())
}

/// Strings without quotes, on one line; lists without brackets.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        toml::Value::Array(values) if !values.iter().any(toml::Value::is_table) => {
            values.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

pub(super) fn describe_state(entry: &Entry, state: &State) -> String {
    match state {
        State::Absent => format!(
            "not here: `showtell model get {}` fetches {}",
            entry.name,
            DecimalBytes(entry.bytes)
        ),
        State::Partial { path, bytes } => format!(
            "{} of {} here: `showtell model get {}` fetches the rest to {}",
            DecimalBytes(*bytes),
            DecimalBytes(entry.bytes),
            entry.name,
            path.display()
        ),
        State::Present { path, bytes } => format!("{}, {}", path.display(), DecimalBytes(*bytes)),
    }
}
