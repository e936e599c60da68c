//! Finds every row that was ever written for one image.
//!
//! Reads all parts, but of most only the paths. They may be merged while they are read, so what was
//! listed and is gone is looked for again.

use std::path::{Path, PathBuf};

use arrow::array::StringArray;

use super::near::{Near, nearest};
use crate::table::{
    Columns, Damage, Layout, LayoutError, PartFile, Row, Snapshot, TableError, batch_to_rows,
    schema,
};

/// What was ever said of an image.
#[derive(Debug)]
pub struct History {
    /// By root, then in the order of the runs.
    pub rows: Vec<Said>,
    /// Files that cannot be read, and may hold more.
    pub damaged: Vec<Damage>,
}

/// A row, and whether it holds.
#[derive(Debug)]
pub struct Said {
    pub row: Row,
    pub standing: RowStanding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowStanding {
    /// The newest of its root.
    Current,
    /// A later run wrote another.
    Superseded,
    /// A guard kept its run back.
    KeptBack,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the table has no image {uri:?}{}", meant(.near))]
    Unknown { uri: String, near: Vec<String> },
    #[error("the parts of {} are being merged; try again", .0.display())]
    Moving(PathBuf),
}

fn meant(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => {
            let near: Vec<String> = near.iter().map(|uri| format!("{uri:?}")).collect();
            format!("; nearest to it: {}", near.join(", "))
        }
    }
}

/// How often parts may vanish under the reader.
const TRIES: usize = 5;

impl History {
    /// All rows of the image `uri`, which may be given with its root before it.
    pub fn of(layout: &Layout, uri: &str) -> Result<Self, HistoryError> {
        let mut near = None;
        for _ in 0..TRIES {
            let mut search = Search {
                uri,
                rows: Vec::new(),
                damaged: Vec::new(),
                near: near.take(),
            };
            let before = parts(layout)?;
            match search.all(&before) {
                Err(TableError::File(error)) if error.is_missing() => continue,
                found => found?,
            }
            let after = parts(layout)?;
            if !before.iter().all(|part| after.contains(part)) {
                continue;
            }
            if !search.damaged.is_empty() {
                // It holds the current rows of damaged parts too.
                search.snapshot(layout)?;
            }
            match search.near {
                Some(near) if search.rows.is_empty() => {
                    return Err(HistoryError::Unknown {
                        uri: uri.to_owned(),
                        near: nearest(near),
                    });
                }
                // It is not there: once more, to see what is.
                None if search.rows.is_empty() => near = Some(Near::new(uri)),
                _ => return Ok(search.finish()),
            }
        }
        Err(HistoryError::Moving(layout.out().to_owned()))
    }
}

/// All parts, and whether they belong to the table or were kept out of it.
fn parts(layout: &Layout) -> Result<Vec<(PathBuf, Place)>, LayoutError> {
    let mut parts = Vec::new();
    for run_id in layout.runs_with_rows()? {
        let paths = layout.parts(&run_id)?.into_iter();
        parts.extend(paths.map(|path| (path, Place::Table)));
    }
    for run_id in layout.runs_refused()? {
        let paths = layout.refused_parts(&run_id)?.into_iter();
        parts.extend(paths.map(|path| (path, Place::Aside)));
    }
    Ok(parts)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Table,
    Aside,
}

struct Search<'a> {
    uri: &'a str,
    rows: Vec<(Row, Place)>,
    damaged: Vec<Damage>,
    /// Only wanted if there are no rows.
    near: Option<Near<'a>>,
}

impl Search<'_> {
    fn all(&mut self, parts: &[(PathBuf, Place)]) -> Result<(), TableError> {
        for (path, place) in parts {
            match self.part(path, *place) {
                Err(error) if error.damaged_file().is_some() => {
                    self.damaged.push(Damage::new(path, &error));
                }
                read => read?,
            }
        }
        Ok(())
    }

    fn part(&mut self, path: &Path, place: Place) -> Result<(), TableError> {
        let part = PartFile::open(path)?;
        for row_group in 0..part.row_groups() {
            let keys = part.batch(row_group, &schema_of(&["uri", "root"]))?;
            let found = self.find(&keys, path)?;
            if found.is_empty() {
                continue;
            }
            let rows = batch_to_rows(&part.batch(row_group, &schema())?, path)?;
            let rows = rows.into_iter().enumerate();
            let rows = rows.filter(|(at, _)| found.contains(at));
            self.rows.extend(rows.map(|(_, row)| (row, place)));
        }
        Ok(())
    }

    fn snapshot(&mut self, layout: &Layout) -> Result<(), TableError> {
        let path = layout.snapshot();
        let Some(snapshot) = Snapshot::open(&path)? else {
            return Ok(());
        };
        for batch in snapshot.batches(schema())? {
            let batch = batch?;
            for at in self.find(&batch, &path)? {
                let rows = batch_to_rows(&batch.slice(at, 1), &path)?.into_iter();
                self.rows.extend(rows.map(|row| (row, Place::Table)));
            }
        }
        Ok(())
    }

    /// Which rows of the batch are of the image.
    fn find(
        &mut self,
        batch: &arrow::array::RecordBatch,
        path: &Path,
    ) -> Result<Vec<usize>, TableError> {
        let columns = Columns { batch, path };
        let uris: StringArray = columns.required("uri")?;
        let roots: StringArray = columns.required("root")?;
        let mut found = Vec::new();
        for at in 0..batch.num_rows() {
            let (root, uri) = (roots.value(at), uris.value(at));
            let is_meant = uri == self.uri
                || self
                    .uri
                    .strip_prefix(root)
                    .and_then(|rest| rest.strip_prefix('/'))
                    == Some(uri);
            if is_meant {
                found.push(at);
            } else if let Some(near) = &mut self.near {
                near.consider(uri);
            }
        }
        Ok(found)
    }

    fn finish(mut self) -> History {
        // While parts are merged, or after that was interrupted, a row is there twice.
        let key = |row: &Row| (row.root.clone(), row.uri.clone(), row.run_id);
        self.rows.sort_by_key(|(row, _)| key(row));
        self.rows.dedup_by_key(|(row, _)| key(row));
        let mut rows: Vec<Said> = Vec::with_capacity(self.rows.len());
        // From the end, where the newest row of each root comes first.
        let mut current: Option<Row> = None;
        for (row, place) in self.rows.into_iter().rev() {
            let standing = match &current {
                _ if place == Place::Aside => RowStanding::KeptBack,
                Some(newest) if newest.key() == row.key() => RowStanding::Superseded,
                _ => {
                    current = Some(row.clone());
                    RowStanding::Current
                }
            };
            rows.push(Said { row, standing });
        }
        rows.reverse();
        History {
            rows,
            damaged: self.damaged,
        }
    }
}

fn schema_of(names: &[&str]) -> arrow::datatypes::SchemaRef {
    let all = schema();
    let fields = all.fields().iter();
    let wanted = fields.filter(|field| names.contains(&field.name().as_str()));
    arrow::datatypes::Schema::new(wanted.cloned().collect::<Vec<_>>()).into()
}
