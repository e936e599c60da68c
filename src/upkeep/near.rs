//! Finds the paths that somebody may have meant who named one that is not there.

use std::collections::BTreeSet;

/// As many as fit a glance.
const SHOWN: usize = 5;
/// Letters that may be wrong.
const TYPOS: usize = 3;

/// The nearest paths among those considered so far.
pub struct Near<'a> {
    meant: &'a str,
    lower: String,
    /// How far, and what.
    best: BTreeSet<(usize, String)>,
}

impl<'a> Near<'a> {
    pub fn new(meant: &'a str) -> Self {
        Self {
            meant,
            lower: meant.to_lowercase(),
            best: BTreeSet::new(),
        }
    }

    pub fn consider(&mut self, uri: &str) {
        let Some(distance) = self.distance(uri) else {
            return;
        };
        if self.best.len() == SHOWN
            && self
                .best
                .last()
                .is_some_and(|(worst, _)| *worst <= distance)
        {
            return;
        }
        self.best.insert((distance, uri.to_owned()));
        if self.best.len() > SHOWN {
            self.best.pop_last();
        }
    }

    /// Other capitals, then a few wrong letters, then the same file elsewhere, then a piece of a path.
    fn distance(&self, uri: &str) -> Option<usize> {
        let lower = uri.to_lowercase();
        if lower == self.lower {
            return Some(0);
        }
        if let Some(typos) = edit_distance(&lower, &self.lower, TYPOS) {
            return Some(typos);
        }
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        if name(&lower) == name(&self.lower) {
            return Some(TYPOS + 1);
        }
        let is_piece =
            !self.meant.is_empty() && (lower.contains(&self.lower) || self.lower.contains(&lower));
        is_piece.then_some(TYPOS + 2)
    }
}

/// The nearest ones, nearest first.
pub fn nearest(near: Near) -> Vec<String> {
    near.best.into_iter().map(|(_, uri)| uri).collect()
}

/// How many letters have to be put in, taken out or changed to make `a` into `b`, if not more than
/// `most`.
fn edit_distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    // From each beginning of `b` to what was seen of `a`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, letter) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (place, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
        if row.iter().all(|distance| *distance > most) {
            return None;
        }
    }
    Some(row[b.len()]).filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(meant: &str, among: &[&str], expected: &[&str]) {
        let mut near = Near::new(meant);
        among.iter().for_each(|uri| near.consider(uri));
        assert_eq!(nearest(near), expected, "{meant}");
    }

    #[test]
    fn the_likeliest_first() {
        let among = [
            "2019/IMG_1.jpg",
            "2020/beach.jpg",
            "2021/other.png",
            "beach.png",
        ];
        check("2019/img_1.jpg", &among, &["2019/IMG_1.jpg"]);
        check("2020/baech.jpg", &among, &["2020/beach.jpg"]);
        check("beach.jpg", &among, &["beach.png", "2020/beach.jpg"]);
        check("2021", &among, &["2021/other.png"]);
        check("nothing/like/it", &among, &[]);
        check("", &among, &[]);
    }

    #[test]
    fn only_a_few() {
        let many: Vec<_> = (0..20).map(|number| format!("{number:02}/a.jpg")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        check("x/y/z/a.jpg", &many, &many[..5]);
    }

    proptest! {
        #[test]
        fn distance_is_that_of_the_definition(a in "[ab]{0,6}", b in "[ab]{0,6}") {
            fn slow(a: &[u8], b: &[u8]) -> usize {
                match (a, b) {
                    ([], rest) | (rest, []) => rest.len(),
                    ([first, a_rest @ ..], [other, b_rest @ ..]) => (slow(a_rest, b_rest)
                        + usize::from(first != other))
                    .min(slow(a_rest, b) + 1)
                    .min(slow(a, b_rest) + 1),
                }
            }
            let expected = slow(a.as_bytes(), b.as_bytes());
            let expected = (expected <= 3).then_some(expected);
            prop_assert_eq!(edit_distance(&a, &b, 3), expected);
        }
    }
}
