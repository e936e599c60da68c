//! Turns captions and truths into how often a model says the setting that it expects instead of the one
//! that it sees.
//!
//! Scenes drawn with a bias tie each kind of main object to a setting, as giraffes always stand by a tree
//! in the photographs that people collect. A model that learnt from them may name the object and guess
//! the rest. Scenes without bias tell: wherever an object stands in another setting than its own,
//! looking and expecting come to different words.

use serde::Serialize;

use super::claims::Claims;
use super::truth::{Setting, Truth};

/// Which setting a caption says, of a scene whose main object is elsewhere than where it is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingSaid {
    Seen,
    /// The one that the main object is tied to.
    Expected,
    /// A third one, or several different ones.
    Other,
    None,
}

impl SettingSaid {
    /// `None` if the scene shows the very setting that is expected, so that nothing can be told.
    pub fn of(caption: &str, truth: &Truth) -> Option<Self> {
        let expected = truth.main()?.kind.tied_setting();
        if expected == truth.setting {
            return None;
        }
        let said = Claims::read(caption).settings;
        let is = |setting: Setting| said.iter().all(|said| *said == setting);
        Some(match said.is_empty() {
            true => SettingSaid::None,
            false if is(truth.setting) => SettingSaid::Seen,
            false if is(expected) => SettingSaid::Expected,
            false => SettingSaid::Other,
        })
    }
}

/// How often each was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Expectation {
    /// Scenes whose setting is not the one that their main object is tied to.
    pub scenes: usize,
    pub seen: usize,
    pub expected: usize,
    pub other: usize,
    pub none: usize,
    /// `expected` of `scenes`.
    pub share_expected: f64,
    /// What `share_expected` would be for settings that are guessed blindly.
    pub share_expected_by_guessing: f64,
    /// `expected` of the wrong settings; 0 if none is wrong.
    pub share_of_wrong: f64,
    /// What `share_of_wrong` would be if what is expected did not matter.
    pub share_of_wrong_by_chance: f64,
}

impl Expectation {
    /// Counts captions, each with the truth of its scene.
    pub fn of<'a>(captions: impl IntoIterator<Item = (&'a str, &'a Truth)>) -> Self {
        let settings = Setting::ALL.len() as f64;
        let mut found = Expectation {
            share_expected_by_guessing: 1.0 / settings,
            share_of_wrong_by_chance: 1.0 / (settings - 1.0),
            ..Expectation::default()
        };
        for (caption, truth) in captions {
            let Some(said) = SettingSaid::of(caption, truth) else {
                continue;
            };
            found.scenes += 1;
            *match said {
                SettingSaid::Seen => &mut found.seen,
                SettingSaid::Expected => &mut found.expected,
                SettingSaid::Other => &mut found.other,
                SettingSaid::None => &mut found.none,
            } += 1;
        }
        let share = |of: usize| found.expected as f64 / of.max(1) as f64;
        (found.share_expected, found.share_of_wrong) =
            (share(found.scenes), share(found.expected + found.other));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Frame, Kind, describe};
    use super::*;

    fn truth(kind: Kind, setting: Setting) -> Truth {
        let frame = Frame::new(64, 64).unwrap();
        let (mut truth, _) = describe(1, 1, &frame, 0.0);
        truth.objects[0].kind = kind;
        truth.setting = setting;
        truth
    }

    #[test]
    fn what_is_said_is_seen_expected_or_neither() {
        // Boats are tied to the sea.
        let boat = truth(Kind::Boat, Setting::Desert);
        for (caption, expected) in [
            ("a red boat in the desert", SettingSaid::Seen),
            ("a red boat on the sand", SettingSaid::Seen),
            ("a red boat at sea", SettingSaid::Expected),
            ("a red boat in the snow", SettingSaid::Other),
            ("a red boat at sea in the desert", SettingSaid::Other),
            ("a red boat", SettingSaid::None),
        ] {
            assert_eq!(SettingSaid::of(caption, &boat), Some(expected), "{caption}");
        }
        let at_home = truth(Kind::Boat, Setting::Sea);
        assert_eq!(SettingSaid::of("a red boat at sea", &at_home), None);
    }

    #[test]
    fn shares_stand_beside_what_chance_gives() {
        let boat = truth(Kind::Boat, Setting::Desert);
        let at_home = truth(Kind::Boat, Setting::Sea);
        let found = Expectation::of([
            ("a boat in the desert", &boat),
            ("a boat at sea", &boat),
            ("a boat on the waves", &boat),
            ("a boat in the snow", &boat),
            ("a boat", &boat),
            ("a boat at sea", &at_home),
        ]);
        assert_eq!((found.scenes, found.seen, found.expected), (5, 1, 2));
        assert_eq!((found.other, found.none), (1, 1));
        assert_eq!(found.share_expected, 0.4);
        assert_eq!(found.share_of_wrong, 2.0 / 3.0);
        assert_eq!(found.share_expected_by_guessing, 0.125);
        let none = Expectation::of([]);
        assert_eq!((none.share_expected, none.share_of_wrong), (0.0, 0.0));
    }

    /// Whoever tells the tied setting, whatever is drawn, is found out, and who tells the drawn one
    /// is not; who guesses comes to chance.
    #[test]
    fn three_kinds_of_captions_over_many_scenes() {
        let frame = Frame::new(64, 64).unwrap();
        let truths: Vec<Truth> = (0..4000).map(|i| describe(9, i, &frame, 0.0).0).collect();
        let with = |setting: &dyn Fn(usize, &Truth) -> Setting| {
            let captions: Vec<String> = truths
                .iter()
                .enumerate()
                .map(|(i, truth)| format!("a boat {}", setting(i, truth)))
                .collect();
            Expectation::of(captions.iter().map(String::as_str).zip(&truths))
        };
        let expecting = with(&|_, truth| truth.objects[0].kind.tied_setting());
        assert_eq!(expecting.share_expected, 1.0);
        // Seven scenes of eight show another setting.
        assert!((3400..3600).contains(&expecting.scenes), "{expecting:?}");
        let seeing = with(&|_, truth| truth.setting);
        assert_eq!((seeing.expected, seeing.seen), (0, seeing.scenes));
        let guessing = with(&|i, _| Setting::ALL[i % Setting::ALL.len()]);
        assert!(
            (guessing.share_expected - 0.125).abs() < 0.02,
            "{guessing:?}"
        );
        assert!((guessing.share_of_wrong - 1.0 / 7.0).abs() < 0.02);
    }
}
