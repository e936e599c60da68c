//! Draws scenes with known truth and captions, for the demonstration model to learn from.
//!
//! (seed, index) -> [`Truth`] and outlines -> pixels and captions -> a data set in COCO's layout.
//!
//! A scene is a pure function of its seed, its number and its [`Frame`]: it does not depend on the
//! platform, the number of threads or the scenes before it. A model that learned from one seed is
//! tested on another, and [`Checker`] says which parts of its captions are true.

use serde::{Deserialize, Serialize};

mod backdrop;
mod brush;
mod canvas;
mod checker;
mod claims;
mod data_set;
mod dice;
mod expectation;
mod grammar;
mod kinds;
mod palette;
mod place;
mod plan;
mod props;
mod rim;
pub mod samples;
mod shape;
mod truth;

pub use checker::{Checker, Tally, Verdict, Verdicts};
pub use data_set::{Config, DESCRIPTION, Error, read_truth, write_data_set};
pub use expectation::{Expectation, SettingSaid};
pub use truth::{Colour, Kind, ObjectTruth, Relation, Setting, Size, Style, Truth};

use canvas::Canvas;
use dice::{Dice, Purpose};
use plan::Plan;

/// Changes whenever the same seed would give other pictures, truths or captions than before.
pub const GENERATOR_VERSION: u32 = 1;

/// One drawn picture, what it shows, and five ways to say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    pub width: u32,
    pub height: u32,
    /// RGB, row by row: `3 * width * height` bytes.
    pub pixels: Vec<u8>,
    pub truth: Truth,
    /// Lower case, 6 to 16 words each, no punctuation, no two alike.
    pub captions: [String; 5],
}

impl Scene {
    /// Draws scene `index` of `seed`. With probability `bias` (0 to 1) the main object's kind
    /// decides the setting; at 0 all combinations are equally likely.
    pub fn draw(seed: u64, index: u64, frame: &Frame, bias: f64) -> Scene {
        let plan = Plan::new(seed, index, frame, bias);
        let mut dice = Dice::new(seed, index, Purpose::Paint);
        let mut pixels = Vec::new();
        if let Some(mut canvas) = Canvas::new(frame.width, frame.height) {
            backdrop::paint(&mut canvas, plan.truth.setting, &mut dice);
            for figure in &plan.figures {
                brush::paint(
                    &mut canvas,
                    figure,
                    plan.truth.setting,
                    plan.truth.style,
                    &mut dice,
                );
            }
            let grain = if dice.chance(0.5) {
                dice.between(0.01, 0.05)
            } else {
                0.0
            };
            pixels = canvas.into_rgb(grain, &mut dice);
        }
        let captions = captions(seed, index, &plan.truth);
        Scene {
            width: frame.width,
            height: frame.height,
            pixels,
            truth: plan.truth,
            captions,
        }
    }
}

/// What scene `index` of `seed` shows and how it is captioned, without drawing it.
pub fn describe(seed: u64, index: u64, frame: &Frame, bias: f64) -> (Truth, [String; 5]) {
    let truth = Plan::new(seed, index, frame, bias).truth;
    let captions = captions(seed, index, &truth);
    (truth, captions)
}

fn captions(seed: u64, index: u64, truth: &Truth) -> [String; 5] {
    grammar::captions(truth, &mut Dice::new(seed, index, Purpose::Words))
}

/// A picture's width and height in pixels, each 32 to 4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    width: u32,
    height: u32,
}

impl Frame {
    /// The size of most pictures: twice what a narrow encoder looks at, so that what it sees was
    /// scaled down as a photograph is.
    pub const DEFAULT: Frame = Frame {
        width: 224,
        height: 224,
    };

    /// `None` if a side is out of range.
    pub fn new(width: u32, height: u32) -> Option<Self> {
        let range = 32..=4096;
        (range.contains(&width) && range.contains(&height)).then_some(Self { width, height })
    }

    pub fn width(&self) -> u32 {
        self.width
    }

    pub fn height(&self) -> u32 {
        self.height
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_depends_on_seed_and_number_alone() {
        let frame = Frame::new(96, 80).unwrap();
        let scene = Scene::draw(4, 17, &frame, 0.0);
        assert_eq!(scene.pixels.len(), 3 * 96 * 80);
        let elsewhere = std::thread::spawn(move || Scene::draw(4, 17, &frame, 0.0));
        assert_eq!(scene, elsewhere.join().unwrap());
        assert_eq!(
            (scene.truth.clone(), scene.captions.clone()),
            describe(4, 17, &frame, 0.0)
        );
        assert_ne!(scene, Scene::draw(4, 18, &frame, 0.0));
        assert_ne!(scene, Scene::draw(5, 17, &frame, 0.0));
    }

    #[test]
    fn frames_out_of_range_are_refused() {
        assert!(Frame::new(0, 224).is_none());
        assert!(Frame::new(224, 5000).is_none());
        assert!(Frame::new(32, 4096).is_some());
    }

    /// The middle of each object's body has the colour that the truth names: counted over many
    /// scenes, because a window or a wheel may lie in the middle of one of them.
    #[test]
    fn objects_are_painted_in_their_colours() {
        let frame = Frame::new(224, 224).unwrap();
        let (mut hits, mut all) = (0, 0);
        for index in 0..60 {
            let scene = Scene::draw(6, index, &frame, 0.0);
            let main = &scene.truth.objects[0];
            let [x, y, w, h] = main.boxes[0];
            let mut votes = std::collections::BTreeMap::new();
            for row in y..y + h {
                for column in x..x + w {
                    let at = 3 * (row * 224 + column) as usize;
                    let [r, g, b] = [0, 1, 2].map(|i| i32::from(scene.pixels[at + i]));
                    *votes.entry(nearest(r, g, b)).or_insert(0) += 1;
                }
            }
            let share = votes.get(&main.colour).copied().unwrap_or(0) as f32 / (w * h) as f32;
            hits += usize::from(share > 0.12);
            all += 1;
        }
        assert!(hits * 10 >= all * 9, "{hits} of {all}");
    }

    fn nearest(r: i32, g: i32, b: i32) -> Colour {
        let typical = |colour: &Colour| match colour {
            Colour::Red => (218, 30, 34),
            Colour::Orange => (248, 124, 22),
            Colour::Yellow => (250, 216, 42),
            Colour::Green => (38, 152, 62),
            Colour::Blue => (40, 94, 214),
            Colour::Purple => (124, 48, 168),
            Colour::Black => (32, 31, 36),
            Colour::White => (248, 248, 248),
        };
        let distance = |colour: &&Colour| {
            let (cr, cg, cb) = typical(colour);
            (r - cr).pow(2) + (g - cg).pow(2) + (b - cb).pow(2)
        };
        *Colour::ALL.iter().min_by_key(distance).unwrap()
    }
}
