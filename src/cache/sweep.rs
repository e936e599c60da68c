//! Turns the parts of one encoder's features into fewer that hold only what is still wanted.
//!
//! A part is written anew if it holds features that are not wanted, or hold twice, or if there are
//! several small ones to be merged. [`Sweep`] is what is to be done: it is looked at before anything
//! is written, and it alone is what a dry run tells.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::part::{EmbeddingFile, properties, schema};
use super::writer::{batch, note_spec};
use super::{Precision, Spec};
use crate::archive::ImageId;
use crate::table::{
    Damage, FileError, Layout, Part, Replacement, RunId, SealedWriter, StagedFile, TableError,
    embeddings_part, embeddings_run, names, remove_temporaries,
};

/// How large merged parts become; by default as large as those of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepSize {
    pub part_rows: Option<usize>,
}

/// What is to be done with one encoder's features.
pub struct Sweep {
    directory: PathBuf,
    parts: Vec<SurveyedPart>,
    /// The place of each image's features that stay: which part, which row of it.
    places: HashMap<ImageId, (usize, u32)>,
    size: SweepSize,
    /// Files that cannot be read; they stay as they are.
    damaged: Vec<Damage>,
}

struct SurveyedPart {
    path: PathBuf,
    run_id: RunId,
    spec: Spec,
    bytes: u64,
    rows: u64,
    /// Of those, the ones that stay.
    live: u64,
    /// Whether it is one of those to be replaced.
    is_replaced: bool,
}

impl Sweep {
    /// Looks at what is in the encoder's `directory`. `wanted` says of an image, and the run that its features are of,
    /// whether the features are to stay. Leaves the files `damaged` alone.
    pub fn plan(
        directory: PathBuf,
        encoder_id: &str,
        size: SweepSize,
        damaged: Vec<Damage>,
        wanted: &dyn Fn(&RunId, &ImageId) -> bool,
    ) -> Result<Self, TableError> {
        let mut sweep = Self {
            directory,
            parts: Vec::new(),
            places: HashMap::new(),
            size,
            damaged,
        };
        for name in names(&sweep.directory)? {
            let path = sweep.directory.join(&name);
            let is_damaged = sweep.damaged.iter().any(|damage| damage.path == path);
            if let (Some(run_id), false) = (embeddings_run(&name), is_damaged) {
                match sweep.add(&path, run_id, encoder_id, wanted) {
                    Err(error) if error.damaged_file().is_some() => {
                        sweep.damaged.push(Damage::new(&path, &error));
                    }
                    added => added?,
                }
            }
        }
        for (part, _) in sweep.places.values() {
            sweep.parts[*part].live += 1;
        }
        sweep.choose();
        Ok(sweep)
    }

    fn add(
        &mut self,
        path: &Path,
        run_id: RunId,
        encoder_id: &str,
        wanted: &dyn Fn(&RunId, &ImageId) -> bool,
    ) -> Result<(), TableError> {
        let file = EmbeddingFile::open_as_written(path, encoder_id)?;
        let ids = file.ids()?;
        let bytes = fs::metadata(path).map_err(FileError::on("look at", path))?;
        let part = self.parts.len();
        let mut rows = 0;
        for id in ids.into_iter().flatten() {
            let place = (part, rows);
            rows += 1;
            if !wanted(&run_id, &id) {
                continue;
            }
            let spec = |part: usize| self.parts.get(part).map_or(file.spec(), |part| &part.spec);
            let better = |(before, _): &(usize, u32)| {
                let (before, now) = (spec(*before), file.spec());
                // As the cache has it, the later one counts; but exact features serve everyone.
                before.precision != Precision::Full || now.precision == Precision::Full
            };
            if self.places.get(&id).is_none_or(better) {
                self.places.insert(id, place);
            }
        }
        self.parts.push(SurveyedPart {
            path: path.to_owned(),
            run_id,
            spec: file.spec().clone(),
            bytes: bytes.len(),
            rows: u64::from(rows),
            live: 0,
            is_replaced: false,
        });
        Ok(())
    }

    /// Chooses the parts that are written anew, of each precision apart.
    fn choose(&mut self) {
        for group in self.groups().into_values() {
            let part_rows = self.part_rows(group[0]) as u64;
            let has_dead = |at: &&usize| self.parts[**at].live < self.parts[**at].rows;
            let is_small = |at: &&usize| self.parts[**at].rows * 2 < part_rows;
            let needed =
                group.iter().any(|at| has_dead(&at)) || group.iter().filter(is_small).count() > 1;
            let chosen: Vec<usize> = group
                .iter()
                .filter(|at| needed && (has_dead(at) || is_small(at)))
                .copied()
                .collect();
            for at in chosen {
                self.parts[at].is_replaced = true;
            }
        }
    }

    /// Which parts hold features of the same kind.
    fn groups(&self) -> BTreeMap<(usize, &'static str), Vec<usize>> {
        let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, part) in self.parts.iter().enumerate() {
            let kind = (part.spec.dims, part.spec.precision.name());
            groups.entry(kind).or_default().push(at);
        }
        groups
    }

    fn part_rows(&self, part: usize) -> usize {
        let own = self.parts[part].spec.part_rows();
        self.size.part_rows.unwrap_or(own).max(1)
    }

    /// Whether there is anything to do.
    pub fn is_needed(&self) -> bool {
        self.parts.iter().any(|part| part.is_replaced)
    }

    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    /// The parts that are written anew: how many, with how many rows and bytes.
    pub fn replaced(&self) -> (u64, u64, u64) {
        let replaced = self.parts.iter().filter(|part| part.is_replaced);
        replaced.fold((0, 0, 0), |(parts, rows, bytes), part| {
            (parts + 1, rows + part.rows, bytes + part.bytes)
        })
    }

    /// What is written in their place: how many parts with how many rows.
    pub fn merged(&self) -> (u64, u64) {
        let mut merged = (0, 0);
        for group in self.groups().into_values() {
            let replaced = group.iter().filter(|at| self.parts[**at].is_replaced);
            let rows: u64 = replaced.map(|at| self.parts[*at].live).sum();
            merged.0 += rows.div_ceil(self.part_rows(group[0]) as u64);
            merged.1 += rows;
        }
        merged
    }

    /// Writes what is to be written, and removes what that replaces. The caller holds the lock.
    pub fn carry_out(&self, layout: &Layout) -> Result<Vec<Part>, TableError> {
        remove_temporaries(&self.directory, |name| embeddings_run(name).is_some())?;
        let mut by = Vec::new();
        for group in self.groups().into_values() {
            let replaced = group.into_iter().filter(|at| self.parts[*at].is_replaced);
            self.merge(&replaced.collect::<Vec<_>>(), &mut by)?;
        }
        let parts = by.iter().map(|(staged, rows): &(StagedFile, u64)| Part {
            file: layout.relative(staged.path()),
            rows: *rows,
            bytes: staged.written().bytes,
            blake3: staged.written().digest.to_string(),
        });
        let parts = parts.collect();
        let replaced = self.parts.iter().filter(|part| part.is_replaced);
        let replacement = Replacement {
            by: by.into_iter().map(|(staged, _)| staged).collect(),
            replaced: replaced.map(|part| part.path.clone()).collect(),
        };
        replacement.commit(layout)?;
        Ok(parts)
    }

    /// Streams the rows that stay of `parts`, all of one kind, into new parts.
    fn merge(&self, parts: &[usize], by: &mut Vec<(StagedFile, u64)>) -> Result<(), TableError> {
        let Some(newest) = parts.iter().map(|at| self.parts[*at].run_id).max() else {
            return Ok(());
        };
        let spec = &self.parts[parts[0]].spec;
        let mut merging = Merging {
            spec,
            directory: &self.directory,
            run_id: newest,
            number: self.next_number(&newest, by)?,
            part_rows: self.part_rows(parts[0]),
            writer: None,
            rows: 0,
            ids: Vec::new(),
            features: Vec::new(),
            by,
        };
        for at in parts {
            let part = &self.parts[*at];
            let file = EmbeddingFile::open_as_written(&part.path, &spec.encoder_id)?;
            let mut row = 0;
            for (row_group, ids) in file.ids()?.into_iter().enumerate() {
                let stays: Vec<bool> = (row..)
                    .zip(&ids)
                    .map(|(row, id)| self.places.get(id) == Some(&(*at, row)))
                    .collect();
                row += u32::try_from(ids.len()).unwrap_or(u32::MAX);
                if !stays.contains(&true) {
                    continue;
                }
                let features = file.features(row_group)?;
                let rows = ids.iter().zip(features.chunks_exact(spec.dims.max(1)));
                for ((id, features), _) in rows.zip(&stays).filter(|(_, stays)| **stays) {
                    merging.append(*id, features)?;
                }
            }
        }
        merging.finish_part()
    }

    /// The first number that no part of the run has.
    fn next_number(&self, run_id: &RunId, by: &[(StagedFile, u64)]) -> Result<u32, TableError> {
        let staged = by
            .iter()
            .filter_map(|(staged, _)| staged.path().file_name()?.to_str());
        let mut next = 0;
        let there = names(&self.directory)?;
        for name in there.iter().map(String::as_str).chain(staged) {
            if embeddings_run(name) == Some(*run_id) {
                let number = name.trim_end_matches(".parquet").rsplit('-').next();
                let number = number.and_then(|number| number.parse::<u32>().ok());
                next = next.max(number.map_or(0, |number| number.saturating_add(1)));
            }
        }
        Ok(next)
    }
}

/// New parts in the making.
struct Merging<'a> {
    spec: &'a Spec,
    directory: &'a Path,
    run_id: RunId,
    number: u32,
    part_rows: usize,
    writer: Option<SealedWriter>,
    /// In the part's finished row groups.
    rows: usize,
    ids: Vec<ImageId>,
    /// `[ids, dims]`
    features: Vec<f32>,
    by: &'a mut Vec<(StagedFile, u64)>,
}

impl Merging<'_> {
    fn append(&mut self, id: ImageId, features: &[f32]) -> Result<(), TableError> {
        self.ids.push(id);
        self.features.extend_from_slice(features);
        let is_full = self.rows + self.ids.len() == self.part_rows;
        if is_full || self.ids.len() == self.spec.row_group_rows() {
            self.finish_row_group()?;
        }
        if is_full {
            self.finish_part()?;
        }
        Ok(())
    }

    fn finish_row_group(&mut self) -> Result<(), TableError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let path = self
            .directory
            .join(embeddings_part(&self.run_id, self.number));
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => SealedWriter::create(&path, schema(), properties())?,
        };
        let (ids, features) = (
            std::mem::take(&mut self.ids),
            std::mem::take(&mut self.features),
        );
        let rows = batch(&ids, features.into(), self.spec.dims)
            .map_err(TableError::arrow("write", &path))?;
        writer.write_row_group(&rows)?;
        self.rows += ids.len();
        self.writer = Some(writer);
        Ok(())
    }

    fn finish_part(&mut self) -> Result<(), TableError> {
        self.finish_row_group()?;
        if let Some(mut writer) = self.writer.take() {
            note_spec(&mut writer, self.spec);
            self.by.push((writer.stage()?, self.rows as u64));
            self.number = self.number.saturating_add(1);
            self.rows = 0;
        }
        Ok(())
    }
}
