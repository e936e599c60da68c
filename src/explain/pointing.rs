//! Tells whether a captioner looked at the object that it named: the pointing game (Zhang et al.,
//! "Top-down Neural Attention by Excitation Backprop", arXiv 1608.00507, section 4.1), word by word.
//!
//! A hit is a word whose heaviest region lies in a box of what it names. A region is a cell of a grid
//! over what the network was shown, which is a part of the picture, stretched; so boxes, which are in
//! pixels of the picture, are carried over first.

use super::square;
use crate::encoder::preprocess::Window;

/// Left, top, width and height, in pixels of the upright picture.
pub type PixelBox = [u32; 4];

/// The region that weighs most: column, row, and regions in a row; the first of several. `None` if the
/// weights are no square grid.
pub fn peak(weights: &[f32]) -> Option<(usize, usize, usize)> {
    let side = square(weights.len()).filter(|side| *side > 0)?;
    let heaviest = |best: usize, at: usize| {
        if weights[at] > weights[best] {
            at
        } else {
            best
        }
    };
    let at = (0..weights.len()).fold(0, heaviest);
    Some((at % side, at / side, side))
}

/// An object as the network was shown it: its boxes on the grid of regions.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Left, top, right, bottom; in regions.
    boxes: Vec<[f64; 4]>,
    side: usize,
}

impl Target {
    /// `window`: the part of the picture that the network was shown; `side`: regions in a row. `None` if
    /// no box shows there.
    pub fn new(boxes: &[PixelBox], window: &Window, side: usize) -> Option<Self> {
        let across = side as f64 / window.width;
        let down = side as f64 / window.height;
        let last = side as f64;
        let on_grid = |&[x, y, width, height]: &PixelBox| {
            let [x, y, width, height] = [x, y, width, height].map(f64::from);
            let (left, top) = ((x - window.left) * across, (y - window.top) * down);
            let (right, bottom) = (left + width * across, top + height * down);
            [left, top, right, bottom].map(|edge| edge.clamp(0.0, last))
        };
        let boxes: Vec<[f64; 4]> = boxes
            .iter()
            .map(on_grid)
            .filter(|[left, top, right, bottom]| right > left && bottom > top)
            .collect();
        (!boxes.is_empty()).then_some(Target { boxes, side })
    }

    /// Whether a region lies in a box: its middle does, or it holds the middle of a box that is smaller
    /// than a region.
    pub fn holds(&self, column: usize, row: usize) -> bool {
        let middle = (column as f64 + 0.5, row as f64 + 0.5);
        self.boxes.iter().any(|&[left, top, right, bottom]| {
            let inside = (left..=right).contains(&middle.0) && (top..=bottom).contains(&middle.1);
            let central =
                column == ((left + right) / 2.0) as usize && row == ((top + bottom) / 2.0) as usize;
            inside || central
        })
    }

    /// Share of the regions that lie in a box: what a gaze that falls anywhere hits.
    pub fn share(&self) -> f64 {
        let regions = self.side * self.side;
        let held = (0..regions)
            .filter(|at| self.holds(at % self.side, at / self.side))
            .count();
        held as f64 / regions as f64
    }
}

/// Hits among the words that name an object.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pointing {
    pub words: usize,
    pub hits: usize,
    /// Sum of what chance would have hit of each word.
    by_chance: f64,
}

impl Pointing {
    /// Counts a word that was said with `weights` and names `boxes`. `false` if it cannot be counted:
    /// the object is outside `window`, or the weights are no square grid.
    pub fn count(&mut self, weights: &[f32], boxes: &[PixelBox], window: &Window) -> bool {
        let Some((column, row, side)) = peak(weights) else {
            return false;
        };
        let Some(target) = Target::new(boxes, window, side) else {
            return false;
        };
        self.words += 1;
        self.hits += usize::from(target.holds(column, row));
        self.by_chance += target.share();
        true
    }

    /// Of the words; 0 if there are none.
    pub fn share(&self) -> f64 {
        self.hits as f64 / self.words.max(1) as f64
    }

    /// What [`share`](Self::share) would be if the model looked anywhere.
    pub fn share_by_chance(&self) -> f64 {
        self.by_chance / self.words.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Window = Window {
        left: 0.0,
        top: 0.0,
        width: 100.0,
        height: 100.0,
    };

    /// Looks hardest at one region of 4 × 4.
    fn looking(column: usize, row: usize) -> Vec<f32> {
        let mut weights = vec![0.04; 16];
        weights[row * 4 + column] = 0.4;
        weights
    }

    fn hit(weights: &[f32], boxes: &[PixelBox], window: &Window) -> bool {
        let mut pointing = Pointing::default();
        assert!(pointing.count(weights, boxes, window));
        pointing.hits == 1
    }

    #[test]
    fn the_heaviest_region_is_found() {
        assert_eq!(peak(&looking(3, 1)), Some((3, 1, 4)));
        assert_eq!(peak(&[0.25; 4]), Some((0, 0, 2)));
        assert_eq!(peak(&[0.5; 3]), None);
        assert_eq!(peak(&[]), None);
    }

    #[test]
    fn a_word_hits_if_its_peak_lies_in_a_box_of_what_it_names() {
        // The two upper regions of the right half, and a bit more.
        let boxes = [[50, 0, 50, 30]];
        assert!(hit(&looking(2, 0), &boxes, &WHOLE));
        assert!(hit(&looking(3, 0), &boxes, &WHOLE));
        assert!(!hit(&looking(1, 0), &boxes, &WHOLE));
        assert!(!hit(&looking(3, 1), &boxes, &WHOLE));
        assert!(hit(&looking(0, 3), &[boxes[0], [0, 75, 25, 25]], &WHOLE));
        // Smaller than a region, and not in its middle.
        assert!(hit(&looking(0, 0), &[[1, 1, 3, 3]], &WHOLE));
        assert!(!hit(&looking(1, 0), &[[1, 1, 3, 3]], &WHOLE));
    }

    #[test]
    fn boxes_follow_the_picture_through_stretching_and_cutting() {
        // 400 wide and 100 high, squeezed: a box in the last quarter is in the last column.
        let squeezed = Window {
            width: 400.0,
            ..WHOLE
        };
        assert!(hit(&looking(3, 2), &[[300, 50, 100, 25]], &squeezed));
        assert!(!hit(&looking(2, 2), &[[300, 50, 100, 25]], &squeezed));
        // Its middle alone: what begins at pixel 150 begins at the left edge.
        let middle = Window {
            left: 150.0,
            ..WHOLE
        };
        assert!(hit(&looking(0, 0), &[[100, 0, 75, 25]], &middle));
        assert!(!hit(&looking(1, 0), &[[100, 0, 75, 25]], &middle));
        let mut pointing = Pointing::default();
        assert!(!pointing.count(&looking(0, 0), &[[0, 0, 150, 100]], &middle));
        assert_eq!(pointing, Pointing::default());
    }

    #[test]
    fn chance_is_the_share_of_the_regions_in_the_boxes() {
        let mut pointing = Pointing::default();
        pointing.count(&looking(0, 0), &[[0, 0, 50, 50]], &WHOLE);
        pointing.count(&looking(0, 0), &[[50, 0, 50, 100]], &WHOLE);
        assert_eq!((pointing.words, pointing.share()), (2, 0.5));
        assert_eq!(pointing.share_by_chance(), (0.25 + 0.5) / 2.0);
        assert_eq!(Pointing::default().share(), 0.0);
    }
}
