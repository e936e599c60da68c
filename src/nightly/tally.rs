//! Turns the rows that are about to become current into what they would change.
//!
//! A merge-join of the table as it is published with the rows written since, so that whatever wrote
//! them is counted: this run, and those before it that were interrupted. Pure: neither stream needs a
//! disk.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Action;
use super::caption_sample::CaptionSampler;
use crate::archive::{Failure, ImageId, key_order};
use crate::table::{Identity, Known, Outcome, Row, Status};

/// What would change.
#[derive(Debug, Default)]
pub struct Tally {
    /// Images that were new, changed or captioned anew, without those that failed before and failed
    /// again.
    pub tried: u64,
    /// Of those tried, the ones that failed.
    pub failed: u64,
    /// One of those that failed: its path and why.
    pub failure: Option<(String, Failure)>,
    pub roots: BTreeMap<Arc<str>, RootTally>,
    pub captions: CaptionSampler,
}

/// What would change in one of the archive's directories.
#[derive(Debug, Default)]
pub struct RootTally {
    /// Images in the published table.
    pub before: u64,
    /// Of those, the ones whose files are gone.
    pub deleted: u64,
    /// Images that were not there before.
    pub added: u64,
    /// Why the directory itself could not be listed.
    pub unlisted: Option<String>,
    /// How many files of which content are gone.
    gone: HashMap<Content, u64>,
}

/// Enough of an image id to tell contents apart where a mistake does no harm.
type Content = [u8; 8];

impl Tally {
    /// Joins the `published` rows with the newest of those `written` since for each image, deletions
    /// among them, both in the order of [`key_order`]. Captions count if `identity` made them.
    pub fn over<E>(
        published: impl Iterator<Item = Result<Known, E>>,
        written: impl Iterator<Item = Result<Row, E>>,
        identity: &Identity,
    ) -> Result<Self, E> {
        let mut tally = Self::default();
        let mut published = published.peekable();
        for row in written {
            let row = row?;
            let before = loop {
                let order = match published.peek() {
                    None => Ordering::Greater,
                    Some(Err(_)) => Ordering::Less,
                    Some(Ok(known)) => key_order(known.key(), row.key()),
                };
                if order.is_gt() {
                    break None;
                }
                let known = published.next().transpose()?;
                if let Some(known) = &known {
                    tally.root(&known.root).before += 1;
                }
                if order.is_eq() {
                    break known;
                }
            };
            tally.count(row, before, identity);
        }
        for known in published {
            tally.root(&known?.root).before += 1;
        }
        Ok(tally)
    }

    /// Counts what a run would do, as far as can be told without reading files.
    pub fn foresee(&mut self, action: &Action) {
        match action {
            Action::New(file) => self.root(&file.root).added += 1,
            Action::Deleted(known) => {
                let root = self.root(&known.root);
                root.before += 1;
                root.deleted += 1;
            }
            Action::Read { known, .. }
            | Action::Recaption { known, .. }
            | Action::Unchanged { known, .. }
            | Action::UnchangedFailed { known, .. } => self.root(&known.root).before += 1,
            Action::Unreadable { root, uri, reason } if uri.is_empty() => {
                self.root(root).unlisted = Some(reason.clone());
            }
            Action::Unreadable { .. } => {}
        }
    }

    fn root(&mut self, name: &Arc<str>) -> &mut RootTally {
        self.roots.entry(name.clone()).or_default()
    }

    fn count(&mut self, row: Row, before: Option<Known>, identity: &Identity) {
        let root = self.root(&row.root);
        if row.outcome == Outcome::Deleted {
            if let Some(before) = before {
                root.deleted += 1;
                if let Some(id) = before.image_id {
                    *root.gone.entry(content(&id)).or_default() += 1;
                }
            }
            return;
        }
        match &row.outcome {
            // The walk gives the directory itself only where it could not be listed.
            Outcome::Failed(failure) if row.uri.is_empty() => {
                root.unlisted = Some(failure.reason.clone());
                return;
            }
            _ if before.is_none() => root.added += 1,
            _ => {}
        }
        let failed_before = before.is_some_and(|before| matches!(before.status, Status::Failed(_)));
        match row.outcome {
            Outcome::Failed(_) if failed_before => {}
            Outcome::Failed(failure) => {
                self.tried += 1;
                self.failed += 1;
                self.failure.get_or_insert((row.uri, failure));
            }
            Outcome::Captioned(beams) => {
                self.tried += 1;
                if let (Some(id), Some(best)) = (row.image_id, beams.first())
                    && row.identity.as_ref() == Some(identity)
                {
                    self.captions.add(id, best);
                }
            }
            Outcome::Deleted => {}
        }
    }

    /// Takes back deletions of what is elsewhere now: a renamed directory is no loss. `written` is
    /// the same stream again.
    pub fn forgive_moved<E>(
        &mut self,
        written: impl Iterator<Item = Result<Row, E>>,
    ) -> Result<(), E> {
        for row in written {
            let row = row?;
            let (Outcome::Captioned(_), Some(id)) = (&row.outcome, &row.image_id) else {
                continue;
            };
            for root in self.roots.values_mut() {
                root.deleted -= root.gone.remove(&content(id)).unwrap_or(0);
            }
        }
        Ok(())
    }
}

fn content(id: &ImageId) -> Content {
    id.0.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::archive::Stage;
    use crate::table::arbitrary::{identity, row, run_id};

    fn known(uri: &str) -> Known {
        let row = row(uri);
        Known {
            root: row.root,
            uri: row.uri,
            bytes: row.bytes,
            modified_at: row.modified_at,
            image_id: row.image_id,
            width: row.width,
            height: row.height,
            format: row.format,
            status: Status::Captioned,
            identity: row.identity,
            run_id: run_id(1),
        }
    }

    fn failure() -> Failure {
        Failure {
            stage: Stage::Decode,
            reason: "no luck".to_owned(),
        }
    }

    fn failed(uri: &str) -> Row {
        Row {
            outcome: Outcome::Failed(failure()),
            ..row(uri)
        }
    }

    fn deleted(uri: &str) -> Row {
        Row {
            outcome: Outcome::Deleted,
            ..row(uri)
        }
    }

    fn over(published: &[Known], written: &[Row]) -> Tally {
        let published = published.iter().cloned().map(Ok::<_, Infallible>);
        let written = written.iter().cloned().map(Ok);
        Tally::over(published, written, &identity("captioner")).unwrap()
    }

    #[test]
    fn each_kind_of_row_counts_where_it_belongs() {
        let failed_before = Known {
            status: Status::Failed(failure()),
            ..known("f")
        };
        let published = [
            known("a"),
            known("c"),
            known("d"),
            failed_before,
            known("z"),
        ];
        let written = [
            row("b"),
            row("c"),
            deleted("d"),
            failed("e"),
            failed("f"),
            // Written and gone again since the table was published.
            deleted("g"),
        ];
        let tally = over(&published, &written);
        assert_eq!((tally.tried, tally.failed), (3, 1));
        assert_eq!(tally.failure, Some(("e".to_owned(), failure())));
        let root = &tally.roots["archive"];
        assert_eq!((root.before, root.deleted, root.added), (5, 1, 2));
        assert_eq!(tally.captions.sample().unwrap().images, 2);
    }

    #[test]
    fn a_directory_that_could_not_be_listed_is_no_image() {
        let tally = over(&[], &[failed("")]);
        let root = &tally.roots["archive"];
        assert_eq!(root.unlisted.as_deref(), Some("no luck"));
        assert_eq!((root.added, tally.tried, tally.failed), (0, 0, 0));
    }

    #[test]
    fn what_is_elsewhere_now_was_moved() {
        let moved = |from: &str, to: &str| Row {
            image_id: row(from).image_id,
            ..row(to)
        };
        let published = [known("old/1"), known("old/2"), known("old/3")];
        let written = [
            moved("old/1", "new/1"),
            moved("old/1", "new/copy"),
            moved("old/2", "new/2"),
            deleted("old/1"),
            deleted("old/2"),
            deleted("old/3"),
        ];
        let mut tally = over(&published, &written);
        assert_eq!(tally.roots["archive"].deleted, 3);
        let written = written.iter().cloned().map(Ok::<_, Infallible>);
        tally.forgive_moved(written).unwrap();
        assert_eq!(tally.roots["archive"].deleted, 1);
    }

    #[test]
    fn captions_of_another_model_are_left_out_of_the_sample() {
        let other = Row {
            identity: Some(identity("other")),
            ..row("a")
        };
        let tally = over(&[], &[other]);
        assert_eq!((tally.tried, tally.captions.sample()), (1, None));
    }
}
