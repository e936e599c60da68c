//! What a person reads of a data set.

use std::io::{self, Write};

use indicatif::HumanCount;
use showtell::dataset::{Note, Source};
use showtell::training::inspection::{Inspection, Lengths, Size, Vocabularies};

/// Characters of the longest bar.
const BAR: usize = 40;

pub fn write(source: &Source, inspection: &Inspection, text: &mut dyn Write) -> io::Result<()> {
    let count = |number: usize| HumanCount(number as u64);
    writeln!(text, "{} ({})", source.captions.display(), source.format)?;
    let (images, captions) = (inspection.images, inspection.captions);
    writeln!(
        text,
        "  {} images, {} captions",
        count(images),
        count(captions)
    )?;

    writeln!(text, "\nCaptions of an image   images")?;
    for (captions, images) in &inspection.captions_per_image {
        let share = 100.0 * *images as f64 / inspection.images.max(1) as f64;
        let images = count(*images).to_string();
        writeln!(text, "  {captions:<10}{images:>17}{share:>9.1} %")?;
    }

    writeln!(text, "\nSplits{:>17}{:>11}", "images", "captions")?;
    for split in &inspection.splits {
        let name = split.split.map_or("in none", |split| split.name());
        let (images, captions) = (count(split.images), count(split.captions));
        let (images, captions) = (images.to_string(), captions.to_string());
        writeln!(text, "  {name:<10}{images:>11}{captions:>11}")?;
    }

    write_lengths(&inspection.lengths, text)?;
    write_vocabularies(&inspection.vocabulary, text)?;

    let duplicates = inspection.duplicates;
    writeln!(
        text,
        "\nRepeated captions\n  of the same image: {}\n  of any image: {}",
        count(duplicates.of_same_image),
        count(duplicates.of_any_image)
    )?;
    if let Some(pictures) = &inspection.pictures {
        writeln!(text, "\nImages below {}", pictures.folder.display())?;
        writeln!(text, "  found: {}", count(pictures.found))?;
        write_note("missing", &pictures.missing, text)?;
        write_note("names that several files have", &pictures.ambiguous, text)?;
        if pictures.unnamed > 0 {
            writeln!(
                text,
                "  other images, without captions: {}",
                count(pictures.unnamed)
            )?;
        }
    }
    if let Some(features) = &inspection.features {
        writeln!(
            text,
            "\nFeatures of {} values, {}",
            count(features.dims),
            features.by
        )?;
        writeln!(text, "  found: {}", count(features.found))?;
        write_note("missing", &features.missing, text)?;
    }
    for (place, (oddity, note)) in inspection.odd.iter().enumerate() {
        if place == 0 {
            writeln!(text, "\nOddities")?;
        }
        write_note(oddity.describe(), note, text)?;
    }
    Ok(())
}

fn write_lengths(lengths: &Lengths, text: &mut dyn Write) -> io::Result<()> {
    writeln!(text, "\nWords of a caption ({})", lengths.words)?;
    writeln!(
        text,
        "  least {}, median {}, mean {:.1}, 95 % have at most {}, most {}",
        lengths.min, lengths.median, lengths.mean, lengths.percentile_95, lengths.max
    )?;
    let longest = lengths.histogram.iter().map(|bar| bar.captions).max();
    for bar in &lengths.histogram {
        let range = match bar.from == bar.to {
            true => bar.from.to_string(),
            false => format!("{}-{}", bar.from, bar.to),
        };
        // No bar of captions that there are is invisible.
        let length = (bar.captions * BAR).div_ceil(longest.unwrap_or(1).max(1));
        let count = HumanCount(bar.captions as u64).to_string();
        writeln!(text, "  {range:>8} {count:>9} {}", "#".repeat(length))?;
    }
    Ok(())
}

fn write_vocabularies(vocabularies: &Vocabularies, text: &mut dyn Write) -> io::Result<()> {
    let captions = HumanCount(vocabularies.captions as u64);
    writeln!(
        text,
        "\nVocabulary of the {captions} captions to learn from: words, and how much of all captions they cover"
    )?;
    let presets = &vocabularies.presets;
    write!(text, "  {:<12}", "occurrences")?;
    presets
        .iter()
        .try_for_each(|p| write!(text, "{:>20}", p.preset))?;
    let rows = presets
        .first()
        .map_or(0, |preset| preset.by_threshold.len());
    for row in 0..rows {
        let threshold = presets[0].by_threshold[row].at_least.unwrap_or_default();
        write!(text, "\n  {:<12}", format!("{threshold} or more"))?;
        for preset in presets {
            write!(text, "{:>20}", size(&preset.by_threshold[row]))?;
        }
    }
    write!(text, "\n  {:<12}", "published")?;
    for preset in presets {
        write!(text, "{:>20}", size(&preset.published))?;
    }
    write!(text, "\n  {:<12}", "")?;
    for preset in presets {
        let cut = match (preset.published.at_least, preset.published.commonest) {
            (Some(threshold), _) => format!("{threshold} or more"),
            (_, Some(words)) => format!("the {} first", HumanCount(words as u64)),
            _ => String::new(),
        };
        write!(text, "{cut:>20}")?;
    }
    writeln!(text)
}

fn size(size: &Size) -> String {
    let words = HumanCount(size.words as u64);
    format!("{words} {:6.2} %", 100.0 * size.coverage)
}

/// How much there is of something, and the first names; nothing if there is none.
fn write_note(what: &str, note: &Note, text: &mut dyn Write) -> io::Result<()> {
    if note.count == 0 {
        return Ok(());
    }
    writeln!(text, "  {what}: {}", HumanCount(note.count as u64))?;
    for name in &note.names {
        writeln!(text, "    {}", printable(name))?;
    }
    match note.count - note.names.len() {
        0 => Ok(()),
        more => writeln!(text, "    and {} more", HumanCount(more as u64)),
    }
}

/// A name that does nothing to the terminal.
fn printable(name: &str) -> String {
    let mut printable = String::with_capacity(name.len());
    for character in name.chars() {
        match character.is_control() {
            true => printable.extend(character.escape_default()),
            false => printable.push(character),
        }
    }
    printable
}
