//! Looks at how directories are named: rows are keyed by the name, so that two names make two rows.

use crate::archive::Walk;
use crate::nightly::runs;
use crate::table::{Layout, LayoutError};

/// What there is to say of the names of the walk's roots, before it begins.
pub fn warnings(walk: &Walk, layout: &Layout) -> Result<Vec<String>, LayoutError> {
    let nested = walk.nested_roots().into_iter().map(|(outer, inner)| {
        format!("{inner} lies in {outer}: what is in both has two rows; name {outer} alone")
    });
    let last = runs(layout)?.into_iter().rev().find_map(Result::ok);
    let before = last.map_or_else(Vec::new, |run| run.roots);
    let renamed = before.iter().filter_map(|before| {
        let now = walk.other_spelling(before)?;
        Some(format!(
            "{now} was {before} in the last run, whose rows stay beside the new ones: name it as before"
        ))
    });
    Ok(nested.chain(renamed).collect())
}
