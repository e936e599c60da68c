//! Pairs candidates with the images whose references they are measured against.
//!
//! It stands apart because what does not pair must be told: a candidate left out silently makes a score that
//! cannot be compared.

use std::fmt;

use thiserror::Error;

use super::candidates::{Candidate, Key};
use super::references::References;

/// What to do with something that does not pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tolerance {
    /// It is an error.
    #[default]
    Refuse,
    /// Leave it out and name it.
    LeaveOut,
}

/// What to do with each kind of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tolerances {
    /// Images with references, without a candidate.
    pub missing: Tolerance,
    /// Candidates for images without references.
    pub unknown: Tolerance,
    /// Further candidates for an image that has one.
    pub repeated: Tolerance,
}

/// Why candidates and references cannot be paired.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PairingError {
    #[error("{} of {images} images have no candidate caption: {names}", names.0.len())]
    Missing { names: Names, images: usize },
    #[error("{} of {candidates} candidates are of images without references: {names}", names.0.len())]
    Unknown { names: Names, candidates: usize },
    #[error("{} candidates are of images that have one already: {names}", names.0.len())]
    Repeated { names: Names },
    #[error("{uri} may be any of several images: {names}")]
    Ambiguous { uri: String, names: Names },
}

/// Names of images, of which a message shows the first few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let shown = &self.0[..self.0.len().min(SHOWN)];
        f.write_str(&shown.join(", "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A candidate and its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The image's place in the references.
    pub image: usize,
    pub caption: String,
}

/// What paired, in the order of the references, and what did not, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairing {
    pub pairs: Vec<Pair>,
    pub missing: Vec<String>,
    pub unknown: Vec<String>,
    pub repeated: Vec<String>,
}

/// Pairs each image with its candidate.
///
/// # Errors
///
/// If an image has no candidate, a candidate no image, or an image several candidates, unless that is
/// tolerated; and always if a candidate's `uri` fits several images equally well.
pub fn pair(
    references: &References,
    candidates: impl IntoIterator<Item = Candidate>,
    tolerances: Tolerances,
) -> Result<Pairing, PairingError> {
    let mut captions: Vec<Option<String>> = vec![None; references.images().len()];
    let mut pairing = Pairing::default();
    let mut met = 0;
    for Candidate { key, caption } in candidates {
        met += 1;
        match find(references, &key)? {
            None => pairing.unknown.push(key.to_string()),
            Some(image) if captions[image].is_some() => pairing.repeated.push(key.to_string()),
            Some(image) => captions[image] = Some(caption),
        }
    }
    for (image, caption) in captions.into_iter().enumerate() {
        match caption {
            Some(caption) => pairing.pairs.push(Pair { image, caption }),
            None => pairing.missing.push(references.images()[image].name()),
        }
    }
    let refused = |tolerance, names: &[String]| tolerance == Tolerance::Refuse && !names.is_empty();
    if refused(tolerances.unknown, &pairing.unknown) {
        let names = Names(pairing.unknown);
        return Err(PairingError::Unknown {
            names,
            candidates: met,
        });
    }
    if refused(tolerances.repeated, &pairing.repeated) {
        return Err(PairingError::Repeated {
            names: Names(pairing.repeated),
        });
    }
    if refused(tolerances.missing, &pairing.missing) {
        let (names, images) = (Names(pairing.missing), references.images().len());
        return Err(PairingError::Missing { names, images });
    }
    Ok(pairing)
}

fn find(references: &References, key: &Key) -> Result<Option<usize>, PairingError> {
    let uri = match key {
        Key::Id(id) => return Ok(references.with_id(*id)),
        Key::Uri(uri) => uri,
    };
    match references.with_uri(uri)[..] {
        [] => Ok(None),
        [image] => Ok(Some(image)),
        ref several => {
            let names = several
                .iter()
                .map(|image| references.images()[*image].name());
            let names = Names(names.collect());
            Err(PairingError::Ambiguous {
                uri: uri.clone(),
                names,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::references::ReferenceImage;
    use super::*;

    fn references() -> References {
        let image = |(id, name): (u64, &str)| ReferenceImage {
            id,
            file_name: Some(name.into()),
            captions: vec!["a".into()],
        };
        References::of([(1, "a.jpg"), (2, "x/b.jpg"), (3, "y/b.jpg")].map(image))
    }

    fn candidate(key: Key) -> Candidate {
        Candidate {
            caption: format!("of {key}"),
            key,
        }
    }

    fn uri(uri: &str) -> Candidate {
        candidate(Key::Uri(uri.into()))
    }

    fn id(id: u64) -> Candidate {
        candidate(Key::Id(id))
    }

    const LENIENT: Tolerances = Tolerances {
        missing: Tolerance::LeaveOut,
        unknown: Tolerance::LeaveOut,
        repeated: Tolerance::LeaveOut,
    };

    fn check_error(candidates: Vec<Candidate>, expected: &str) {
        let error = pair(&references(), candidates, Tolerances::default()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn ids_and_uris_pair_in_the_order_of_the_references() {
        let candidates = [id(3), uri("root/x/b.jpg"), uri("a.jpg")];
        let got = pair(&references(), candidates, Tolerances::default()).unwrap();
        let captions: Vec<&str> = got.pairs.iter().map(|p| p.caption.as_str()).collect();
        assert_eq!(captions, ["of a.jpg", "of root/x/b.jpg", "of image 3"]);
    }

    #[test]
    fn what_does_not_pair_is_an_error_that_names_it() {
        check_error(
            vec![id(1)],
            "2 of 3 images have no candidate caption: x/b.jpg, y/b.jpg",
        );
        check_error(
            vec![id(1), id(9), uri("q.jpg")],
            "2 of 3 candidates are of images without references: image 9, q.jpg",
        );
        check_error(
            vec![id(1), id(2), id(3), uri("a.jpg")],
            "1 candidates are of images that have one already: a.jpg",
        );
        check_error(
            vec![uri("b.jpg")],
            "b.jpg may be any of several images: x/b.jpg, y/b.jpg",
        );
    }

    #[test]
    fn what_is_tolerated_is_left_out_and_named() {
        let candidates = [id(1), id(1), id(9)];
        let got = pair(&references(), candidates, LENIENT).unwrap();
        assert_eq!(got.pairs.len(), 1);
        assert_eq!(got.missing, ["x/b.jpg", "y/b.jpg"]);
        assert_eq!(got.unknown, ["image 9"]);
        assert_eq!(got.repeated, ["image 1"]);
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        let names = Names((0..8).map(|n| n.to_string()).collect());
        assert_eq!(names.to_string(), "0, 1, 2, 3, 4 and 3 more");
    }
}
