//! Turns a caption and the truth of a scene into verdicts: what the caption says rightly, what
//! wrongly, and what it leaves out.
//!
//! Made for a model's captions, which mix sentences, stop halfway and name things wrongly: it looks
//! for words and their neighbourhood, and parses no sentence.

use serde::Serialize;

use super::truth::{Colour, Kind, Relation, Setting, Size, Truth};

/// What a caption is worth in one respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Right,
    Wrong,
    NotSaid,
}

/// A verdict on each thing that a caption can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

    /// Whether the caption says nothing wrong and names setting, main object and its colour.
    pub fn all_right(&self) -> bool {
        [self.setting, self.kind, self.colour] == [Verdict::Right; 3]
            && self
                .named()
                .iter()
                .all(|&(_, verdict)| verdict != Verdict::Wrong)
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

/// What a caption says.
#[derive(Debug, Default, PartialEq)]
struct Claims {
    settings: Vec<Setting>,
    kind: Option<Kind>,
    colours: Vec<Colour>,
    count: Option<Count>,
    sizes: Vec<Size>,
    second: Option<SecondClaim>,
    relations: Vec<RelationClaim>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct SecondClaim {
    kind: Kind,
    colour: Option<Colour>,
    count: Option<Count>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Count {
    Exactly(u8),
    /// A bare plural.
    Several,
}

impl Count {
    fn is(self, count: u8) -> bool {
        match self {
            Count::Exactly(n) => n == count,
            Count::Several => count > 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum RelationClaim {
    Is(Relation),
    /// "beside": to the left or to the right.
    Beside,
}

impl RelationClaim {
    fn agrees(self, relation: Relation) -> bool {
        match self {
            RelationClaim::Is(claim) => claim == relation,
            RelationClaim::Beside => matches!(relation, Relation::Left | Relation::Right),
        }
    }

    fn inverse(self) -> Self {
        match self {
            RelationClaim::Is(relation) => RelationClaim::Is(relation.inverse()),
            RelationClaim::Beside => RelationClaim::Beside,
        }
    }
}

/// What a single word means.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Word {
    Setting(Setting),
    Kind(Kind, Number),
    Colour(Colour),
    Size(Size),
    Count(u8),
    Relation(RelationClaim),
    /// "it", "its", "them", "their": the main object.
    Pronoun,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Singular,
    Plural,
    /// "fish".
    Either,
}

impl Word {
    fn read(word: &str) -> Self {
        if let Some(kind) = Kind::ALL
            .iter()
            .find(|kind| kind.word() == word || kind.plural() == word)
        {
            let number = match (kind.word() == word, kind.plural() == word) {
                (true, true) => Number::Either,
                (true, false) => Number::Singular,
                _ => Number::Plural,
            };
            return Word::Kind(*kind, number);
        }
        if let Some(colour) = Colour::ALL.iter().find(|colour| colour.word() == word) {
            return Word::Colour(*colour);
        }
        match word {
            "sea" | "water" | "waves" => Word::Setting(Setting::Sea),
            "meadow" | "grass" | "grassy" => Word::Setting(Setting::Meadow),
            "street" | "road" => Word::Setting(Setting::Street),
            "snow" | "snowy" => Word::Setting(Setting::Snow),
            "night" | "stars" | "starry" | "moonlight" => Word::Setting(Setting::Night),
            "desert" | "sand" => Word::Setting(Setting::Desert),
            "forest" | "woods" => Word::Setting(Setting::Forest),
            "room" | "indoors" => Word::Setting(Setting::Room),
            "small" | "little" => Word::Size(Size::Small),
            "large" | "big" => Word::Size(Size::Large),
            "a" | "an" | "one" => Word::Count(1),
            "two" | "both" => Word::Count(2),
            "three" => Word::Count(3),
            "left" => Word::Relation(RelationClaim::Is(Relation::Left)),
            "right" => Word::Relation(RelationClaim::Is(Relation::Right)),
            "above" | "over" => Word::Relation(RelationClaim::Is(Relation::Above)),
            "below" | "under" | "beneath" => Word::Relation(RelationClaim::Is(Relation::Below)),
            "beside" | "next" => Word::Relation(RelationClaim::Beside),
            "it" | "its" | "them" | "their" => Word::Pronoun,
            _ => Word::Other,
        }
    }

    fn is_noun(self) -> bool {
        matches!(self, Word::Kind(..) | Word::Setting(_))
    }
}

/// A kind named in the caption, with the adjectives before it.
#[derive(Debug)]
struct NounPhrase {
    kind: Kind,
    colours: Vec<Colour>,
    sizes: Vec<Size>,
    count: Option<Count>,
    /// Of the noun among the words.
    position: usize,
}

impl Claims {
    fn read(caption: &str) -> Self {
        let lower = caption.to_lowercase();
        let words: Vec<Word> = lower
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(Word::read)
            .collect();
        // Colours and sizes before any noun, a setting's too, belong to that noun.
        let mut taken = vec![false; words.len()];
        let mut phrases = Vec::new();
        for (position, &word) in words.iter().enumerate() {
            if word.is_noun() {
                let start = phrase_start(&words, position);
                taken[start..position].fill(true);
                if let Word::Kind(kind, number) = word {
                    phrases.push(NounPhrase::new(
                        kind,
                        number,
                        &words[start..position],
                        position,
                    ));
                }
            }
        }
        let relations = relations(&words);
        let second_first = phrases.len() > 1
            && relations
                .iter()
                .any(|(_, seen_from)| *seen_from == Some(phrases[0].position));
        if second_first {
            phrases.swap(0, 1);
        }
        let mut claims = Claims {
            settings: words
                .iter()
                .filter_map(|word| {
                    if let Word::Setting(s) = word {
                        Some(*s)
                    } else {
                        None
                    }
                })
                .collect(),
            relations: relations.into_iter().map(|(claim, _)| claim).collect(),
            ..Claims::default()
        };
        let mut phrases = phrases.into_iter();
        if let Some(main) = phrases.next() {
            claims.kind = Some(main.kind);
            claims.count = main.count;
            claims.colours = main.colours;
            claims.sizes = main.sizes;
            // "the boat at sea is big and red".
            for (&word, _) in words.iter().zip(&taken).filter(|(_, taken)| !**taken) {
                match word {
                    Word::Colour(colour) => claims.colours.push(colour),
                    Word::Size(size) => claims.sizes.push(size),
                    _ => {}
                }
            }
        }
        claims.second = phrases.next().map(|second| SecondClaim {
            kind: second.kind,
            colour: second.colours.last().copied(),
            count: second.count,
        });
        claims
    }
}

impl NounPhrase {
    fn new(kind: Kind, number: Number, before: &[Word], position: usize) -> Self {
        let mut phrase = NounPhrase {
            kind,
            colours: Vec::new(),
            sizes: Vec::new(),
            count: None,
            position,
        };
        for &word in before {
            match word {
                Word::Colour(colour) => phrase.colours.push(colour),
                Word::Size(size) => phrase.sizes.push(size),
                Word::Count(n) => phrase.count = Some(Count::Exactly(n)),
                _ => {}
            }
        }
        phrase.count = phrase.count.or(match number {
            Number::Singular => Some(Count::Exactly(1)),
            Number::Plural => Some(Count::Several),
            Number::Either => None,
        });
        phrase
    }
}

/// Where the run of counts, sizes and colours before a noun begins.
fn phrase_start(words: &[Word], noun: usize) -> usize {
    let mut start = noun;
    while start > 0 {
        match words[start - 1] {
            Word::Colour(_) | Word::Size(_) => start -= 1,
            Word::Count(_) => return start - 1,
            _ => break,
        }
    }
    start
}

/// Where the main object is, seen from the second one, as each relation word says; with the
/// position of the noun that it is seen from, unless that is a pronoun.
fn relations(words: &[Word]) -> Vec<(RelationClaim, Option<usize>)> {
    let mut found = Vec::new();
    for (position, &word) in words.iter().enumerate() {
        let Word::Relation(claim) = word else {
            continue;
        };
        let next_noun = (position + 1..words.len()).find(|&i| words[i].is_noun());
        // "on its left", "above it", "next to it"
        let nearby = words[position.saturating_sub(1)..].iter().take(4);
        let pronoun = nearby.enumerate().any(|(i, word)| {
            let before_noun = next_noun.is_none_or(|noun| position.saturating_sub(1) + i < noun);
            *word == Word::Pronoun && before_noun
        });
        match next_noun.map(|noun| (noun, words[noun])) {
            _ if pronoun => found.push((claim.inverse(), None)),
            Some((noun, Word::Kind(..))) => found.push((claim, Some(noun))),
            // "under the stars"
            Some(_) => {}
            // "with a tree on the left"
            None => found.push((claim.inverse(), None)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::truth::{ObjectTruth, Style};
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
