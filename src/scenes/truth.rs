//! What a scene shows, as data: the words that captions are made of and that captions are checked
//! against.

use serde::{Deserialize, Serialize};

/// Everything that a caption of the scene may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    pub setting: Setting,
    /// The main object first; then the second one, if there is one.
    pub objects: Vec<ObjectTruth>,
    /// Where the main object is, seen from the second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<Relation>,
    pub style: Style,
}

impl Truth {
    /// The biggest object, or the one that there are several of.
    pub fn main(&self) -> Option<&ObjectTruth> {
        self.objects.first()
    }

    /// The visibly smaller object beside the main one.
    pub fn second(&self) -> Option<&ObjectTruth> {
        self.objects.get(1)
    }
}

/// One kind of object in a scene.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectTruth {
    pub kind: Kind,
    pub colour: Colour,
    /// 1, 2 or 3; the second object of a scene is always alone.
    pub count: u8,
    pub size: Size,
    /// `[x, y, width, height]` in pixels of the upright picture, one for each of `count`.
    pub boxes: Vec<[u32; 4]>,
}

/// Declares an enum of things that have a word, with the list of all of them.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word that captions use (for an object: in the singular).
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// Where the scene takes place.
    Setting {
        Sea = "sea", Meadow = "meadow", Street = "street", Snow = "snow",
        Night = "night", Desert = "desert", Forest = "forest", Room = "room",
    }
}

words! {
    /// What kind of thing an object is. Each has an outline of its own.
    Kind {
        Boat = "boat", House = "house", Tree = "tree", Car = "car",
        Dog = "dog", Bird = "bird", Fish = "fish", Flower = "flower",
        Umbrella = "umbrella", Chair = "chair", Balloon = "balloon", Kite = "kite",
    }
}

words! {
    /// The colour of an object's body.
    Colour {
        Red = "red", Orange = "orange", Yellow = "yellow", Green = "green",
        Blue = "blue", Purple = "purple", Black = "black", White = "white",
    }
}

words! {
    /// Small: longer side below a third of the picture's shorter side; large: above 0.38 of it.
    Size { Small = "small", Large = "large" }
}

words! {
    /// Where the main object is, seen from the second one, in the viewer's directions.
    Relation { Left = "left", Right = "right", Above = "above", Below = "below" }
}

words! {
    /// How the scene is drawn. Captions do not mention it.
    Style {
        Flat = "flat", Outlined = "outlined", Shaded = "shaded",
        Sketched = "sketched", Hatched = "hatched", Watercolour = "watercolour",
    }
}

impl Kind {
    /// The setting that a bias ties a main object of this kind to.
    pub fn tied_setting(self) -> Setting {
        Setting::ALL[self as usize % Setting::ALL.len()]
    }

    /// The kind that a word of a caption names, in the singular or the plural.
    pub fn of_word(word: &str) -> Option<Self> {
        let named = |kind: &&Kind| kind.word() == word || kind.plural() == word;
        Kind::ALL.iter().find(named).copied()
    }

    pub fn plural(self) -> &'static str {
        match self {
            Kind::Boat => "boats",
            Kind::House => "houses",
            Kind::Tree => "trees",
            Kind::Car => "cars",
            Kind::Dog => "dogs",
            Kind::Bird => "birds",
            Kind::Fish => "fish",
            Kind::Flower => "flowers",
            Kind::Umbrella => "umbrellas",
            Kind::Chair => "chairs",
            Kind::Balloon => "balloons",
            Kind::Kite => "kites",
        }
    }
}

impl Relation {
    /// Where the second object is, seen from the main one.
    pub fn inverse(self) -> Self {
        match self {
            Relation::Left => Relation::Right,
            Relation::Right => Relation::Left,
            Relation::Above => Relation::Below,
            Relation::Below => Relation::Above,
        }
    }
}
