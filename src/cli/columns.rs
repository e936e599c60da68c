//! Lines up text in columns.

use std::io::{self, Write};

/// Rows whose cells stand below each other.
#[derive(Debug, Default)]
pub struct Columns {
    rows: Vec<Vec<(Side, String)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

impl Columns {
    pub fn row(&mut self, cells: impl IntoIterator<Item = (Side, String)>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes the rows, each after `indent`.
    pub fn write(&self, text: &mut impl Write, indent: &str) -> io::Result<()> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.map(|(_, cell)| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..count).map(|at| width(at).unwrap_or(0)).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|((side, cell), width)| {
                let width = *width;
                match side {
                    Side::Left => format!("{cell:<width$}"),
                    Side::Right => format!("{cell:>width$}"),
                }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(text, "{indent}{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A cell of text.
pub fn left(cell: impl ToString) -> (Side, String) {
    (Side::Left, cell.to_string())
}

/// A cell with a number.
pub fn right(cell: impl ToString) -> (Side, String) {
    (Side::Right, cell.to_string())
}
