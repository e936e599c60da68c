//! Turns a path below a root into the text that names it in the table, and back.
//!
//! A file name is any bytes but `/` and NUL; a column of strings is UTF-8, and a name with a line
//! break in it tears every log and CSV that it meets. So bytes that are no UTF-8, control
//! characters, and `%` itself are written as `%XX`; all else stays as the user knows it. The
//! mapping is injective: two files never share a uri.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

/// The uri of `path`, which is relative to its root: `beach/caf%E9.jpg`.
///
/// Components that name no entry of their own (`.`, `..`, a leading `/`) are left out; a walk does
/// not meet them.
pub fn encode_uri(path: &Path) -> String {
    let mut uri = String::with_capacity(path.as_os_str().len());
    for component in path.components() {
        if let Component::Normal(name) = component {
            if !uri.is_empty() {
                uri.push('/');
            }
            push_encoded(&mut uri, name.as_bytes());
        }
    }
    uri
}

/// The path below the root that `uri` names; the inverse of [`encode_uri`].
pub fn decode_uri(uri: &str) -> PathBuf {
    let bytes: Vec<u8> = percent_decode_str(uri).collect();
    OsString::from_vec(bytes).into()
}

/// The order in which a walk yields the files of one root: component by component, as bytes.
///
/// So all that lies in `a/` comes before the file `a.jpg`, although `.` sorts before `/`.
pub fn uri_order(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

/// The order of a whole walk: by root, then by [`uri_order`]. Keys are `(root, uri)`.
pub fn key_order(a: (&str, &str), b: (&str, &str)) -> Ordering {
    a.0.cmp(b.0).then_with(|| uri_order(a.1, b.1))
}

/// The order of paths as their uris have it: of those in one directory, that of the walk.
pub(super) fn encoded_order(a: &Path, b: &Path) -> Ordering {
    let (a, b) = (a.as_os_str().as_bytes(), b.as_os_str().as_bytes());
    let differ = a.iter().zip(b).find(|(a, b)| a != b);
    match differ {
        // What comes before is alike in both, and these two stay what they are.
        Some((a, b)) if is_plain(*a) && is_plain(*b) => a.cmp(b),
        _ => encode_name(a).cmp(&encode_name(b)),
    }
}

/// The uri form of one file name.
pub(super) fn encode_name(name: &[u8]) -> String {
    let mut encoded = String::with_capacity(name.len());
    push_encoded(&mut encoded, name);
    encoded
}

/// Whether a byte is its own uri form whatever stands around it.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'%'
}

fn push_encoded(uri: &mut String, name: &[u8]) {
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '%' || character.is_control() {
                let mut buffer = [0; 4];
                push_escaped(uri, character.encode_utf8(&mut buffer).as_bytes());
            } else {
                uri.push(character);
            }
        }
        push_escaped(uri, chunk.invalid());
    }
}

fn push_escaped(uri: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(uri, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::*;

    fn path(bytes: &[u8]) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(bytes))
    }

    #[test]
    fn names_read_as_the_user_knows_them() {
        let check = |bytes: &[u8], uri: &str| assert_eq!(encode_uri(&path(bytes)), uri);
        check(b"beach/IMG 0001.JPG", "beach/IMG 0001.JPG");
        check("été/日本.jpg".as_bytes(), "été/日本.jpg");
        check(b"caf\xe9.jpg", "caf%E9.jpg");
        check(b"100%.jpg", "100%25.jpg");
        check(b"caf%E9.jpg", "caf%25E9.jpg");
        check(b"two\nlines\x7f.jpg", "two%0Alines%7F.jpg");
        check("next\u{85}line".as_bytes(), "next%C2%85line");
        check(b"cut \xf0\x9f\x98.jpg", "cut %F0%9F%98.jpg");
        check(b"back\\slash", "back\\slash");
        check(b"", "");
    }

    #[test]
    fn order_is_by_component() {
        let sorted = [
            "", "a", "a/b", "a/b/c", "a/b.c", "a b", "a%25", "a.b", "a.b/a", "b", "é",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(uri_order(a, b), i.cmp(&j), "{a:?} against {b:?}");
            }
        }
        assert_eq!(key_order(("r", "z"), ("s", "a")), Ordering::Less);
        assert_eq!(key_order(("r", "z"), ("r", "a")), Ordering::Greater);
    }

    /// A relative path of any bytes that Linux allows in names.
    fn any_path() -> impl Strategy<Value = PathBuf> {
        let name = prop::collection::vec(
            prop_oneof![
                4 => prop::sample::select(b"ab.%/ 2E\n\xc3\xa9\xff".to_vec()),
                1 => 1u8..=255,
            ],
            1..8,
        )
        .prop_map(|mut name| {
            for byte in &mut name {
                if *byte == b'/' {
                    *byte = b'_';
                }
            }
            name
        })
        .prop_filter("no entry of its own", |name| name != b"." && name != b"..");
        prop::collection::vec(name, 1..4).prop_map(|names| path(&names.join(&b'/')))
    }

    proptest! {
        #[test]
        fn every_path_comes_back(path in any_path()) {
            let uri = encode_uri(&path);
            prop_assert_eq!(decode_uri(&uri), path);
            prop_assert!(!uri.chars().any(char::is_control), "{uri:?}");
        }

        #[test]
        fn no_two_paths_share_a_uri(a in any_path(), b in any_path()) {
            prop_assert_eq!(encode_uri(&a) == encode_uri(&b), a == b);
            prop_assert_eq!(uri_order(&encode_uri(&a), &encode_uri(&b)).is_eq(), a == b);
            let directory = Path::new("caf\u{e9}/\u{e9}%");
            for (a, b) in a.iter().zip(&b) {
                let as_text = encode_name(a.as_bytes()).cmp(&encode_name(b.as_bytes()));
                prop_assert_eq!(encoded_order(&directory.join(a), &directory.join(b)), as_text);
            }
        }
    }
}
