//! Turns a caption and the truth of a scene into verdicts: what the caption says rightly, what
//! wrongly, and what it leaves out.
//!
//! Made for a model's captions, which name things wrongly and leave things out.

use serde::Serialize;

use super::claims::Claims;
use super::truth::Truth;

/// What a caption is worth in one respect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Right,
    Wrong,
    #[default]
    NotSaid,
}

/// A verdict on each thing that a caption can say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    pub setting: Verdict,
    /// The main object's, as are colour, count and size.
    pub kind: Verdict,
    pub colour: Verdict,
    pub count: Verdict,
    pub size: Verdict,
    /// The second object's kind, and its colour and count if they are said.
    pub second: Verdict,
    pub relation: Verdict,
}

impl Verdicts {
    /// Each verdict with its name, in the order of the fields.
    pub fn named(&self) -> [(&'static str, Verdict); 7] {
        [
            ("setting", self.setting),
            ("kind", self.kind),
            ("colour", self.colour),
            ("count", self.count),
            ("size", self.size),
            ("second", self.second),
            ("relation", self.relation),
        ]
    }

    /// Whether the caption names setting, main object and its colour, and all three rightly.
    pub fn is_main_right(&self) -> bool {
        [self.setting, self.kind, self.colour] == [Verdict::Right; 3]
    }

    /// Whether the caption says nothing wrong and names setting, main object and its colour.
    pub fn all_right(&self) -> bool {
        self.is_main_right()
            && self
                .named()
                .iter()
                .all(|&(_, verdict)| verdict != Verdict::Wrong)
    }
}

/// How many captions were right, wrong or silent in one respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The field of [`Verdicts`] that was counted.
    pub name: &'static str,
    pub right: usize,
    pub wrong: usize,
    pub not_said: usize,
}

impl Tally {
    /// Counts verdicts, field by field.
    pub fn of(verdicts: impl IntoIterator<Item = Verdicts>) -> Vec<Tally> {
        let fields = Verdicts::default().named();
        let mut tallies: Vec<Tally> = fields
            .iter()
            .map(|&(name, _)| Tally {
                name,
                right: 0,
                wrong: 0,
                not_said: 0,
            })
            .collect();
        for verdicts in verdicts {
            for (tally, (_, verdict)) in tallies.iter_mut().zip(verdicts.named()) {
                match verdict {
                    Verdict::Right => tally.right += 1,
                    Verdict::Wrong => tally.wrong += 1,
                    Verdict::NotSaid => tally.not_said += 1,
                }
            }
        }
        tallies
    }

    /// Right among all captions, silent ones included; 0 if there are none.
    pub fn share_right(&self) -> f64 {
        let all = self.right + self.wrong + self.not_said;
        if all == 0 {
            0.0
        } else {
            self.right as f64 / all as f64
        }
    }

    /// Right among the captions that say something; `None` if none does.
    pub fn precision(&self) -> Option<f64> {
        let said = self.right + self.wrong;
        (said > 0).then(|| self.right as f64 / said as f64)
    }
}

/// Says which parts of a caption are true of a scene.
#[derive(Debug, Clone, Copy)]
pub struct Checker<'a> {
    truth: &'a Truth,
}

impl<'a> Checker<'a> {
    pub fn new(truth: &'a Truth) -> Self {
        Self { truth }
    }

    /// Letter case and punctuation do not matter.
    pub fn check(&self, caption: &str) -> Verdicts {
        let claims = Claims::read(caption);
        let main = self.truth.main();
        let second = self.truth.second();
        let is_main = |matches: &dyn Fn(&super::ObjectTruth) -> bool| main.is_some_and(matches);
        Verdicts {
            setting: all(&claims.settings, |setting| setting == self.truth.setting),
            kind: said(claims.kind, |kind| is_main(&|main| main.kind == kind)),
            colour: all(&claims.colours, |colour| {
                is_main(&|main| main.colour == colour)
            }),
            count: said(claims.count, |count| is_main(&|main| count.is(main.count))),
            size: all(&claims.sizes, |size| is_main(&|main| main.size == size)),
            second: said(claims.second, |claim| {
                second.is_some_and(|truth| {
                    truth.kind == claim.kind
                        && claim.colour.is_none_or(|colour| colour == truth.colour)
                        && claim.count.is_none_or(|count| count.is(truth.count))
                })
            }),
            relation: all(&claims.relations, |claim| {
                let claim = if self.swaps_roles(&claims) {
                    claim.inverse()
                } else {
                    claim
                };
                self.truth
                    .relation
                    .is_some_and(|relation| claim.agrees(relation))
            }),
        }
    }
}

impl Checker<'_> {
    /// Whether the caption takes the second object for the main one and the main one for the
    /// second. Where they are can be right all the same.
    fn swaps_roles(&self, claims: &Claims) -> bool {
        let kinds = (
            self.truth.main().map(|m| m.kind),
            self.truth.second().map(|s| s.kind),
        );
        claims.kind.is_some() && (claims.second.map(|s| s.kind), claims.kind) == kinds
    }
}

fn said<T: Copy>(claim: Option<T>, is_true: impl Fn(T) -> bool) -> Verdict {
    match claim {
        None => Verdict::NotSaid,
        Some(claim) if is_true(claim) => Verdict::Right,
        Some(_) => Verdict::Wrong,
    }
}

/// Right if something is said and all of it is true.
fn all<T: Copy>(claims: &[T], is_true: impl Fn(T) -> bool) -> Verdict {
    if claims.is_empty() {
        Verdict::NotSaid
    } else if claims.iter().all(|&claim| is_true(claim)) {
        Verdict::Right
    } else {
        Verdict::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::truth::{Colour, Kind, ObjectTruth, Relation, Setting, Size, Style};
    use super::super::{Frame, describe};
    use super::*;
    use Verdict::{NotSaid, Right, Wrong};

    /// Two large red boats at sea, to the left of a white tree.
    fn truth() -> Truth {
        let object = |kind, colour, count, size| ObjectTruth {
            kind,
            colour,
            count,
            size,
            boxes: Vec::new(),
        };
        Truth {
            setting: Setting::Sea,
            objects: vec![
                object(Kind::Boat, Colour::Red, 2, Size::Large),
                object(Kind::Tree, Colour::White, 1, Size::Small),
            ],
            relation: Some(Relation::Left),
            style: Style::Flat,
        }
    }

    /// Setting, kind, colour, count, size, second, relation: r, w or -.
    fn check(caption: &str, expected: &str) {
        let letters: String = Checker::new(&truth())
            .check(caption)
            .named()
            .iter()
            .map(|(_, verdict)| match verdict {
                Right => 'r',
                Wrong => 'w',
                NotSaid => '-',
            })
            .collect();
        assert_eq!(letters, expected, "{caption}");
    }

    #[test]
    fn sentences_are_understood() {
        check("two large red boats at sea", "rrrrr--");
        check("Two big red boats on the water.", "rrrrr--");
        check("both boats on the waves are large and red", "rrrrr--");
        check(
            "two red boats to the left of a white tree at sea",
            "rrrr-rr",
        );
        check(
            "to the left of a tree there are two red boats at sea",
            "rrrr-rr",
        );
        check("two red boats at sea with a tree on their right", "rrrr-rr");
        check("two red boats and a tree at sea", "rrrr-r-");
        check("at sea two red boats beside a tree", "rrrr-rr");
        check("two red boats next to a tree on the waves", "rrrr-rr");
    }

    #[test]
    fn falsehoods_are_found_where_they_are() {
        check("two red boats in the snow", "wrrr---");
        check("a red boat at sea", "rrrw---");
        check("three small red boats at sea", "rrrww--");
        check("two blue boats at sea", "rrwr---");
        check("two red cars at sea", "rwrr---");
        check(
            "two red boats to the right of a white tree at sea",
            "rrrr-rw",
        );
        check("two red boats at sea with a tree on their left", "rrrr-rw");
        check("two red boats above a black tree at sea", "rrrr-ww");
        check("two red boats and a dog at sea", "rrrr-w-");
        check(
            "to the left of two red boats there is a tree at sea",
            "rw-w-ww",
        );
        check(
            "a white tree to the right of two red boats at sea",
            "rwww-wr",
        );
    }

    #[test]
    fn broken_captions_are_judged_by_what_they_say() {
        check("", "-------");
        check("a picture of", "-------");
        check("under the stars", "w------");
        check("two red boats under the stars", "wrrr---");
        check("boats boats red", "-rrr-w-");
        check("two red boats with a tree on the right", "-rrr-rr");
        check("red two boats left of", "-rrr--w");
        check("at sea in the snow two red boats", "wrrr---");
    }

    #[test]
    fn captions_of_a_scene_are_right_about_it_and_wrong_about_others() {
        let frame = Frame::new(224, 224).unwrap();
        let scenes: Vec<_> = (0..3000)
            .map(|index| describe(21, index, &frame, 0.0))
            .collect();
        for ((truth, captions), (other, _)) in scenes.iter().zip(scenes.iter().skip(1)) {
            for caption in captions {
                let verdicts = Checker::new(truth).check(caption);
                assert!(verdicts.all_right(), "{caption}: {verdicts:?} of {truth:?}");
                let about_other = Checker::new(other).check(caption);
                let (ours, theirs) = (&truth.objects[0], &other.objects[0]);
                let pairs = [
                    (about_other.setting, truth.setting == other.setting),
                    (about_other.kind, ours.kind == theirs.kind),
                    (about_other.colour, ours.colour == theirs.colour),
                ];
                for (verdict, same) in pairs {
                    assert_eq!(
                        verdict,
                        if same { Right } else { Wrong },
                        "{caption}: {other:?}"
                    );
                }
                for (verdict, same) in [
                    (about_other.count, ours.count == theirs.count),
                    (about_other.size, ours.size == theirs.size),
                ] {
                    assert!(
                        verdict == NotSaid || (verdict == Right) == same,
                        "{caption}"
                    );
                }
            }
        }
    }

    #[test]
    fn tallies_add_up() {
        let truth = truth();
        let captions = [
            "two red boats at sea",
            "a red boat in the snow",
            "boats",
            "a red",
        ];
        let tallies = Tally::of(captions.map(|caption| Checker::new(&truth).check(caption)));
        let count = tallies.iter().find(|tally| tally.name == "count").unwrap();
        assert_eq!((count.right, count.wrong, count.not_said), (2, 1, 1));
        assert_eq!(count.precision(), Some(2.0 / 3.0));
        assert_eq!(count.share_right(), 0.5);
        assert_eq!(tallies[6].precision(), None);
        assert_eq!(Tally::of([])[0].share_right(), 0.0);
    }

    #[test]
    fn everything_that_can_be_said_is_said_often_enough() {
        let frame = Frame::new(224, 224).unwrap();
        let mut said = [0; 7];
        for index in 0..1000 {
            let (truth, captions) = describe(22, index, &frame, 0.0);
            for caption in &captions {
                for (n, (_, verdict)) in said
                    .iter_mut()
                    .zip(Checker::new(&truth).check(caption).named())
                {
                    *n += i32::from(verdict != NotSaid);
                }
            }
        }
        assert_eq!(
            said[..3],
            [5000; 3],
            "setting, kind and colour are always said"
        );
        assert!(said[3..].iter().all(|&n| n > 1000), "{said:?}");
    }
}
