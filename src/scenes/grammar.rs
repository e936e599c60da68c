//! Turns the truth of a scene into five English captions.
//!
//! Every caption names the setting, the main object and its colour; many also say how many, how
//! large, and what stands where beside it. Which object is the main one shows in the caption: it
//! comes first, unless the caption opens with a place seen from the second object ("to the left of
//! a white tree there is a red boat at sea"). Words such as "it" and "their" mean the main object.

use super::dice::Dice;
use super::truth::{Kind, ObjectTruth, Relation, Setting, Size, Truth};

/// A caption's length in words.
const LENGTH: std::ops::RangeInclusive<usize> = 6..=16;

/// Five captions, no two alike, all true.
pub(super) fn captions(truth: &Truth, dice: &mut Dice) -> [String; 5] {
    let mut captions: [String; 5] = Default::default();
    for filled in 0..captions.len() {
        captions[filled] = loop {
            let caption = caption(truth, dice);
            let words = caption.split(' ').count();
            if LENGTH.contains(&words) && !captions[..filled].contains(&caption) {
                break caption;
            }
        };
    }
    captions
}

fn caption(truth: &Truth, dice: &mut Dice) -> String {
    let Some(main) = truth.main() else {
        return String::new();
    };
    let place = dice.pick(places(truth.setting));
    match (truth.second(), truth.relation) {
        (Some(second), Some(relation)) if dice.chance(0.65) => {
            with_second(main, second, relation, place, dice)
        }
        _ => alone(main, truth.objects.len() == 1, place, dice),
    }
}

/// Captions that speak of the main object only.
fn alone(main: &ObjectTruth, really_alone: bool, place: &str, dice: &mut Dice) -> String {
    let is = verb(main);
    let thing = phrase(main, Detail::free(dice), dice);
    match dice.below(10) {
        0 | 1 => format!("{thing} {place}"),
        2 => format!("there {is} {thing} {place}"),
        3 => format!("{place} there {is} {thing}"),
        4 => format!("{} {thing} {place}", dice.pick(OPENINGS)),
        5 => format!("{place} {} {thing}", dice.pick(&["we see", "you can see"])),
        6 => format!("{thing} can be seen {place}"),
        7 if really_alone && main.count == 1 => format!("{thing} all alone {place}"),
        7 | 8 => {
            let subject = definite(main, dice);
            let size = if dice.chance(0.4) {
                size_word(main, dice)
            } else {
                ""
            };
            let and = if size.is_empty() { "" } else { "and " };
            squeeze(&format!(
                "{subject} {place} {is} {size} {and}{}",
                main.colour
            ))
        }
        _ => format!("{thing} {is} {place}"),
    }
}

/// Captions that also name the second object.
fn with_second(
    main: &ObjectTruth,
    second: &ObjectTruth,
    relation: Relation,
    place: &str,
    dice: &mut Dice,
) -> String {
    let is = verb(main);
    let thing = phrase(main, Detail::free(dice), dice);
    let colour = if dice.chance(0.75) {
        Mention::Said
    } else {
        Mention::Left
    };
    let size = if dice.chance(0.25) {
        Mention::Said
    } else {
        Mention::Left
    };
    let other = phrase(second, Detail { colour, size }, dice);
    let seen_from = dice.pick(prepositions(relation));
    match dice.below(9) {
        0 | 1 => format!("{thing} {seen_from} {other} {place}"),
        2 => format!("{place} {thing} {is} {seen_from} {other}"),
        3 => format!("{place} there {is} {thing} {seen_from} {other}"),
        4 => format!("there {is} {thing} {seen_from} {other} {place}"),
        5 => {
            let towards = towards(main, relation.inverse(), dice);
            format!("{thing} {place} with {other} {towards}")
        }
        6 => format!("{seen_from} {other} there {is} {thing} {place}"),
        7 => format!("{thing} and {other} {place}"),
        _ => format!(
            "{} {thing} {seen_from} {other} {place}",
            dice.pick(OPENINGS)
        ),
    }
}

const OPENINGS: &[&str] = &[
    "a picture of",
    "a drawing of",
    "the picture shows",
    "this drawing shows",
    "we can see",
    "you can see",
];

fn places(setting: Setting) -> &'static [&'static str] {
    match setting {
        Setting::Sea => &["at sea", "on the sea", "on the water", "on the waves"],
        Setting::Meadow => &[
            "on a meadow",
            "in a meadow",
            "on the grass",
            "in a grassy meadow",
        ],
        Setting::Street => &[
            "on a street",
            "on the street",
            "on the road",
            "in the street",
        ],
        Setting::Snow => &[
            "in the snow",
            "on the snow",
            "in deep snow",
            "on snowy ground",
        ],
        Setting::Night => &[
            "at night",
            "under the stars",
            "in the moonlight",
            "on a starry night",
        ],
        Setting::Desert => &[
            "in the desert",
            "in a desert",
            "on the sand",
            "on desert sand",
        ],
        Setting::Forest => &[
            "in the forest",
            "in a forest",
            "in the woods",
            "deep in the forest",
        ],
        Setting::Room => &["in a room", "in the room", "inside a room", "indoors"],
    }
}

/// What stands between the main object and the second one.
fn prepositions(relation: Relation) -> &'static [&'static str] {
    match relation {
        Relation::Left => &[
            "to the left of",
            "left of",
            "on the left of",
            "beside",
            "next to",
        ],
        Relation::Right => &[
            "to the right of",
            "right of",
            "on the right of",
            "beside",
            "next to",
        ],
        Relation::Above => &["above", "above", "over"],
        Relation::Below => &["below", "under", "beneath"],
    }
}

/// Where something is, seen from the main object: "on its left", "above them".
fn towards(main: &ObjectTruth, relation: Relation, dice: &mut Dice) -> String {
    let (it, its) = if main.count == 1 {
        ("it", "its")
    } else {
        ("them", "their")
    };
    let side = dice.pick(&["on", "to"]);
    match relation {
        Relation::Left if dice.chance(0.25) => format!("beside {it}"),
        Relation::Right if dice.chance(0.25) => format!("beside {it}"),
        Relation::Left => format!("{side} {its} left"),
        Relation::Right => format!("{side} {its} right"),
        Relation::Above => format!("{} {it}", dice.pick(&["above", "over"])),
        Relation::Below => format!("{} {it}", dice.pick(&["below", "under", "beneath"])),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mention {
    Said,
    Left,
}

/// What a noun phrase says of its object besides kind and count.
#[derive(Clone, Copy)]
struct Detail {
    colour: Mention,
    size: Mention,
}

impl Detail {
    /// For the main object, whose colour is always said.
    fn free(dice: &mut Dice) -> Self {
        let size = if dice.chance(0.55) {
            Mention::Said
        } else {
            Mention::Left
        };
        Detail {
            colour: Mention::Said,
            size,
        }
    }
}

/// "a large red boat", "two small fish", "an orange car".
fn phrase(object: &ObjectTruth, detail: Detail, dice: &mut Dice) -> String {
    let size = if detail.size == Mention::Said {
        size_word(object, dice)
    } else {
        ""
    };
    let colour = if detail.colour == Mention::Said {
        object.colour.word()
    } else {
        ""
    };
    let rest = squeeze(&format!(
        "{size} {colour} {}",
        noun(object.kind, object.count)
    ));
    match object.count {
        1 => format!("{} {rest}", article(&rest)),
        2 => format!("two {rest}"),
        _ => format!("three {rest}"),
    }
}

/// "the boat", "both boats", "the three boats".
fn definite(object: &ObjectTruth, dice: &mut Dice) -> String {
    let determiner = match object.count {
        1 => "the",
        2 => dice.pick(&["the two", "both"]),
        _ => dice.pick(&["the three", "all three"]),
    };
    format!("{determiner} {}", noun(object.kind, object.count))
}

fn noun(kind: Kind, count: u8) -> &'static str {
    if count == 1 {
        kind.word()
    } else {
        kind.plural()
    }
}

fn verb(object: &ObjectTruth) -> &'static str {
    if object.count == 1 { "is" } else { "are" }
}

fn size_word(object: &ObjectTruth, dice: &mut Dice) -> &'static str {
    match object.size {
        Size::Small => dice.pick(&["small", "little"]),
        Size::Large => dice.pick(&["large", "big"]),
    }
}

fn article(next: &str) -> &'static str {
    if next.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Frame, describe};

    fn all_captions(scenes: u64) -> impl Iterator<Item = String> {
        let frame = Frame::new(224, 224).unwrap();
        (0..scenes).flat_map(move |index| describe(31, index, &frame, 0.0).1)
    }

    #[test]
    fn captions_are_plain_and_of_moderate_length() {
        for caption in all_captions(3000) {
            let plain = caption.chars().all(|c| c.is_ascii_lowercase() || c == ' ');
            assert!(plain && !caption.contains("  "), "{caption}");
            assert!((6..=16).contains(&caption.split(' ').count()), "{caption}");
        }
    }

    #[test]
    fn captions_of_a_scene_differ() {
        let frame = Frame::new(224, 224).unwrap();
        for index in 0..1000 {
            let captions = describe(32, index, &frame, 0.0).1;
            assert_eq!(
                captions.iter().collect::<BTreeSet<_>>().len(),
                5,
                "{captions:?}"
            );
        }
    }

    #[test]
    fn the_vocabulary_is_small() {
        let captions: Vec<String> = all_captions(4000).collect();
        let words: BTreeSet<&str> = captions
            .iter()
            .flat_map(|caption| caption.split(' '))
            .collect();
        assert!(
            (90..150).contains(&words.len()),
            "{} words: {words:?}",
            words.len()
        );
    }

    #[test]
    fn articles_and_numbers_agree() {
        for caption in all_captions(4000) {
            let words: Vec<&str> = caption.split(' ').collect();
            for pair in words.windows(2) {
                let vowel = pair[1].starts_with(['a', 'e', 'i', 'o', 'u']);
                if ["a", "an"].contains(&pair[0]) {
                    assert_eq!(pair[0] == "an", vowel, "{caption}");
                }
                assert_ne!(pair[0], pair[1], "{caption}");
            }
            let plural = words.iter().any(|w| ["two", "three", "both"].contains(w));
            let verb = if plural { "is" } else { "are" };
            assert!(!words.contains(&verb), "{caption}");
        }
    }
}
