//! Turns a walk over the archive and the rows known of it into what to do about each file.
//!
//! A merge-join of two streams in the same order, so a million files cost no more memory than ten.
//! Pure: neither stream needs a disk.
//!
//! Nothing is called deleted on doubt: not what lies below a directory that could not be read, and
//! not what belongs to another root.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;

use crate::archive::{ImageRef, Stage, Walked, key_order};
use crate::table::{Identity, Known, Status};

/// What to do about a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing is known of it.
    New(ImageRef),
    /// It has to be read again. If its bytes turn out to be those of `known`, a caption of the
    /// present model can be kept: only the row's time is new, and to [`Because::Verify`] not even
    /// that.
    Read {
        file: ImageRef,
        known: Known,
        because: Because,
    },
    /// Its bytes are as they were, but another model or other parameters made its caption. Needs no
    /// reading if its features are cached.
    Recaption { file: ImageRef, known: Known },
    /// Its row stands.
    Unchanged { file: ImageRef, known: Known },
    /// It failed before, and nothing that the failure depends on has changed.
    UnchangedFailed { file: ImageRef, known: Known },
    /// A file or directory that could not be looked at; what is known of it and below it stands.
    Unreadable {
        root: Arc<str>,
        uri: String,
        reason: String,
    },
    /// It is gone.
    Deleted(Known),
}

/// Why a known file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// Its size or time is another.
    Changed,
    /// It failed, and may fare better now.
    Failed,
    /// Files are read again whatever their time says. Without that its row would stand, or be
    /// captioned again if the model is another.
    Verify,
}

/// What a run was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanOptions {
    /// The roots that the walk covers, as rows name them.
    pub roots: BTreeSet<String>,
    /// What this run would caption with.
    pub identity: Identity,
    /// Try failed files again though nothing has changed.
    pub retry_failed: bool,
    /// Read every file again, to find changes that left size and time as they were.
    pub verify: bool,
}

/// Streams the action for all that the walk met and for each row whose file is gone.
pub struct Plan<W: Iterator, K: Iterator> {
    walk: Peekable<W>,
    known: Peekable<K>,
    options: PlanOptions,
    /// What could not be read, each below the one before it.
    unreadable: Vec<(Arc<str>, String)>,
    last: Option<(String, String)>,
    failed: bool,
}

/// The plan cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PlanError<E: std::error::Error + 'static> {
    #[error("cannot read what is known of the archive")]
    Known(#[source] E),
    #[error("the walk over {root:?} met {uri:?} out of order")]
    OutOfOrder { root: String, uri: String },
}

impl<W, K, E> Plan<W, K>
where
    W: Iterator<Item = Walked>,
    K: Iterator<Item = Result<Known, E>>,
    E: std::error::Error + 'static,
{
    /// Joins `walk` and `known`, both in the order of [`key_order`], each key once.
    pub fn new(walk: W, known: K, options: PlanOptions) -> Self {
        Self {
            walk: walk.peekable(),
            known: known.peekable(),
            options,
            unreadable: Vec::new(),
            last: None,
            failed: false,
        }
    }

    fn step(&mut self) -> Result<Option<Action>, PlanError<E>> {
        loop {
            let order = match (self.walk.peek(), self.known.peek()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) | (Some(_), Some(Err(_))) => Ordering::Greater,
                (Some(met), Some(Ok(known))) => key_order(met.key(), known.key()),
            };
            let known = if order.is_ge() {
                self.known.next().transpose().map_err(PlanError::Known)?
            } else {
                None
            };
            let met = if order.is_le() {
                self.walk.next()
            } else {
                None
            };
            if let Some(met) = &met {
                self.check_order(met.key())?;
            }
            match (met, known) {
                (Some(Walked::File(file)), None) => return Ok(Some(Action::New(file))),
                (Some(Walked::File(file)), Some(known)) => {
                    return Ok(Some(self.met_again(file, known)));
                }
                (Some(Walked::Unreadable { root, uri, reason }), _) => {
                    self.leave_unreadable(&root, &uri);
                    self.unreadable.push((root.clone(), uri.clone()));
                    return Ok(Some(Action::Unreadable { root, uri, reason }));
                }
                (None, Some(known)) => {
                    self.leave_unreadable(&known.root, &known.uri);
                    let is_ours = self.options.roots.contains(&*known.root);
                    if is_ours && self.unreadable.is_empty() {
                        return Ok(Some(Action::Deleted(known)));
                    }
                }
                (None, None) => return Ok(None),
            }
        }
    }

    /// A walk out of order would make deletions out of files that are still to come.
    fn check_order(&mut self, key: (&str, &str)) -> Result<(), PlanError<E>> {
        let after = |last: &(String, String)| key_order((&last.0, &last.1), key).is_lt();
        if !self.last.as_ref().is_none_or(after) {
            return Err(PlanError::OutOfOrder {
                root: key.0.to_owned(),
                uri: key.1.to_owned(),
            });
        }
        self.last = Some((key.0.to_owned(), key.1.to_owned()));
        Ok(())
    }

    /// Drops what was unreadable and does not hold `uri`: in this order nothing below it can follow.
    fn leave_unreadable(&mut self, root: &str, uri: &str) {
        while let Some((above_root, above)) = self.unreadable.last() {
            if **above_root == *root && is_at_or_below(uri, above) {
                return;
            }
            self.unreadable.pop();
        }
    }

    fn met_again(&self, file: ImageRef, known: Known) -> Action {
        let same_file = file.bytes == known.bytes && file.modified == known.modified_at;
        let read = |file, known, because| Action::Read {
            file,
            known,
            because,
        };
        if !same_file {
            return read(file, known, Because::Changed);
        }
        let verify = self.options.verify;
        let identity = &self.options.identity;
        let same_identity = known.identity.as_ref() == Some(identity);
        match &known.status {
            Status::Captioned if verify => read(file, known, Because::Verify),
            Status::Captioned if same_identity => Action::Unchanged { file, known },
            Status::Captioned => Action::Recaption { file, known },
            Status::Failed(failure) => {
                let encoder = known.identity.as_ref().map(|known| &known.encoder_id);
                let may_succeed = match failure.stage {
                    // A network file system that was away, a permission since given.
                    Stage::Read => true,
                    Stage::Decode => false,
                    Stage::Encode => encoder != Some(&identity.encoder_id),
                    Stage::Caption => !same_identity,
                };
                if may_succeed || self.options.retry_failed {
                    read(file, known, Because::Failed)
                } else if verify {
                    read(file, known, Because::Verify)
                } else {
                    Action::UnchangedFailed { file, known }
                }
            }
            // No such row is current; should one be given, the file has come back.
            Status::Deleted => read(file, known, Because::Changed),
        }
    }
}

impl<W, K, E> Iterator for Plan<W, K>
where
    W: Iterator<Item = Walked>,
    K: Iterator<Item = Result<Known, E>>,
    E: std::error::Error + 'static,
{
    type Item = Result<Action, PlanError<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let action = self.step();
        self.failed = action.is_err();
        action.transpose()
    }
}

fn is_at_or_below(uri: &str, above: &str) -> bool {
    match uri.strip_prefix(above) {
        Some(rest) => above.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests;
