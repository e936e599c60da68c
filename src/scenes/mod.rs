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
mod dice;
mod grammar;
mod kinds;
mod palette;
mod plan;
mod shape;
mod truth;

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
