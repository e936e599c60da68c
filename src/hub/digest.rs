//! Turns bytes into a SHA-256 and holds it against the digits that were published.
//!
//! It stands apart because publishers differ in how many digits they give: torchvision writes the first
//! eight into the file's name, Hugging Face gives all 64.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::error::HubError;

/// The published SHA-256 of a file, or its first digits: 8 to 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Digest(Cow<'static, str>);

/// The SHA-256 of bytes that are here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha256Sum(pub [u8; 32]);

/// The SHA-256 of a file.
///
/// # Errors
/// [`HubError::File`] where it cannot be read.
pub fn digest_of(path: &Path) -> Result<Sha256Sum, HubError> {
    let failed = |source| HubError::file("read", path, source);
    let mut hash = Hash::default();
    hash.read_from(&mut File::open(path).map_err(failed)?)
        .map_err(failed)?;
    Ok(hash.sum())
}

impl Digest {
    /// For constants; `tests` hold each of the registry's against [`Digest::from_str`].
    pub(super) const fn published(digits: &'static str) -> Digest {
        Digest(Cow::Borrowed(digits))
    }

    /// Whether `sum` begins with the published digits.
    pub fn matches(&self, sum: &Sha256Sum) -> bool {
        sum.to_string().starts_with(self.0.as_ref())
    }

    /// Whether all 64 digits were published.
    pub fn is_whole(&self) -> bool {
        self.0.len() == 64
    }
}

impl FromStr for Digest {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Digest, HubError> {
        let digits = text.to_ascii_lowercase();
        let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_hexadecimal && (8..=64).contains(&digits.len()) {
            Ok(Digest(digits.into()))
        } else {
            Err(HubError::BadDigest {
                text: text.to_string(),
            })
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.is_whole() { "" } else { "..." };
        write!(out, "{}{more}", self.0)
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sha256Sum({self})")
    }
}

impl Serialize for Sha256Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A SHA-256 in the making.
#[derive(Clone, Default)]
pub(super) struct Hash(Sha256);

impl Hash {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Takes in all that `reader` still has; returns how many bytes that was.
    pub(super) fn read_from(&mut self, reader: &mut impl Read) -> io::Result<u64> {
        let mut buffer = vec![0; 1 << 18];
        let mut total = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(count) => {
                    self.update(&buffer[..count]);
                    total += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn sum(&self) -> Sha256Sum {
        Sha256Sum(self.0.clone().finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn sum(bytes: &[u8]) -> Sha256Sum {
        let mut hash = Hash::default();
        hash.update(bytes);
        hash.sum()
    }

    #[test]
    fn sums_are_the_standard_s_and_made_in_pieces_too() {
        assert_eq!(sum(b"abc").to_string(), ABC);
        let mut hash = Hash::default();
        hash.update(b"a");
        assert_eq!(hash.read_from(&mut &b"bc"[..]).unwrap(), 2);
        assert_eq!(hash.sum(), sum(b"abc"));
    }

    #[test]
    fn a_prefix_matches_what_begins_with_it() {
        let digest = |text: &str| text.parse::<Digest>().unwrap();
        assert!(digest(ABC).matches(&sum(b"abc")));
        assert!(digest(&ABC[..8]).matches(&sum(b"abc")));
        assert!(digest(&ABC.to_uppercase()).matches(&sum(b"abc")));
        assert!(!digest(&ABC[..8]).matches(&sum(b"abd")));
        assert!(!digest(&ABC[1..9]).matches(&sum(b"abc")));
    }

    #[test]
    fn too_few_digits_prove_nothing() {
        for text in ["", "ba7816b", "ba7816bg", &format!("{ABC}0")] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_is_hashed_like_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(digest_of(&path).unwrap().to_string(), ABC);
        assert!(matches!(
            digest_of(&folder.path().join("none")),
            Err(HubError::File { .. })
        ));
    }
}
