//! Turns a caption into what it claims: which setting, which objects, how many, where.
//!
//! It looks for words and their neighbourhood and parses no sentence, because a model's captions
//! mix sentences, stop halfway and repeat themselves.

use super::truth::{Colour, Kind, Relation, Setting, Size};

/// What a caption says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Claims {
    pub settings: Vec<Setting>,
    pub kind: Option<Kind>,
    pub colours: Vec<Colour>,
    pub count: Option<Count>,
    pub sizes: Vec<Size>,
    pub second: Option<SecondClaim>,
    pub relations: Vec<RelationClaim>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SecondClaim {
    pub kind: Kind,
    pub colour: Option<Colour>,
    pub count: Option<Count>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Count {
    Exactly(u8),
    /// A bare plural.
    Several,
}

impl Count {
    pub fn is(self, count: u8) -> bool {
        match self {
            Count::Exactly(n) => n == count,
            Count::Several => count > 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RelationClaim {
    Is(Relation),
    /// "beside": to the left or to the right.
    Beside,
}

impl RelationClaim {
    pub fn agrees(self, relation: Relation) -> bool {
        match self {
            RelationClaim::Is(claim) => claim == relation,
            RelationClaim::Beside => matches!(relation, Relation::Left | Relation::Right),
        }
    }

    pub fn inverse(self) -> Self {
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
        if let Some(kind) = Kind::of_word(word) {
            let number = match (kind.word() == word, kind.plural() == word) {
                (true, true) => Number::Either,
                (true, false) => Number::Singular,
                _ => Number::Plural,
            };
            return Word::Kind(kind, number);
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
    pub fn read(caption: &str) -> Self {
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
