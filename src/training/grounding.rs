//! Tells from conv5_3 what is drawn where: a loss for scenes, whose truth knows the boxes.
//!
//! A network that starts from nothing sees only at the far end of fc7 that a caption should have
//! said "kite"; which of the pixels were the kite it has to find out for itself, and for a long time
//! it does not. Here each cell of the last feature map is asked what kind of object it lies in, and
//! of which colour, so the convolutions learn shapes from the first epoch.

use tch::nn::Path as Variables;
use tch::{Reduction, Tensor};

use super::question::{Question, SKIPPED};
use crate::scenes::{Colour, Kind, ObjectTruth};

/// The class of a cell that no object touches; kinds follow.
const NOTHING: i64 = 0;

/// Main object and second object.
const ROLES: usize = 2;

/// What lies in the cells of a feature map of `side` × `side`, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    /// [`NOTHING`], 1 + a kind's place in [`Kind::ALL`], or [`SKIPPED`]; the second object's kinds
    /// follow the main one's.
    kinds: Vec<i64>,
    /// A colour's place in [`Colour::ALL`], or [`SKIPPED`]; the second object's colours follow the
    /// main one's.
    colours: Vec<i64>,
}

impl Cells {
    /// `objects`: the main one first. Boxes are in pixels of a picture of `width` × `height`, which fills the feature map.
    ///
    /// A cell lies in an object when its middle does. One that an object only touches is not asked;
    /// the cell in an object's middle always belongs to it.
    pub fn new(objects: &[ObjectTruth], width: u32, height: u32, side: usize) -> Self {
        let mut cells = Cells {
            kinds: vec![NOTHING; side * side],
            colours: vec![SKIPPED; side * side],
        };
        let across = side as f32 / width as f32;
        let down = side as f32 / height as f32;
        for (role, object) in objects.iter().enumerate().take(ROLES) {
            let kind = (role * Kind::ALL.len() + object.kind as usize) as i64;
            let colour = (role * Colour::ALL.len() + object.colour as usize) as i64;
            for &[x, y, w, h] in &object.boxes {
                let (left, right) = (x as f32 * across, (x + w) as f32 * across);
                let (top, bottom) = (y as f32 * down, (y + h) as f32 * down);
                let last = |edge: f32| (edge.ceil() as usize).min(side);
                for row in top as usize..last(bottom) {
                    for column in left as usize..last(right) {
                        let (middle_x, middle_y) = (column as f32 + 0.5, row as f32 + 0.5);
                        let inside = (left..=right).contains(&middle_x)
                            && (top..=bottom).contains(&middle_y);
                        let central = column == ((left + right) / 2.0) as usize
                            && row == ((top + bottom) / 2.0) as usize;
                        let at = row * side + column;
                        if inside || central {
                            cells.kinds[at] = 1 + kind;
                            cells.colours[at] = colour;
                        } else if cells.kinds[at] == NOTHING {
                            cells.kinds[at] = SKIPPED;
                        }
                    }
                }
            }
        }
        cells
    }
}

/// Two questions to each cell of conv5_3.
pub struct Grounding {
    kinds: Question,
    colours: Question,
}

impl Grounding {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(variables: &Variables, channels: i64) -> Result<Self, tch::TchError> {
        let ask =
            |name: &str, answers: usize| Question::of_cells(&(variables / name), answers, channels);
        Ok(Grounding {
            kinds: ask("kinds", 1 + ROLES * Kind::ALL.len())?,
            colours: ask("colours", ROLES * Colour::ALL.len())?,
        })
    }

    /// Cross-entropy of a cell's kind plus that of its colour, in nats.
    ///
    /// `conv5_3`: `[pictures, channels, side, side]`, f32, after its ReLU; `cells`: one of each
    /// picture, of the same side.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn loss(&self, conv5_3: &Tensor, cells: &[Cells]) -> Result<Tensor, tch::TchError> {
        let kinds: Vec<i64> = cells.iter().flat_map(|c| &c.kinds).copied().collect();
        let colours: Vec<i64> = cells.iter().flat_map(|c| &c.colours).copied().collect();
        let kinds = self.kinds.loss(conv5_3, &kinds, Reduction::Mean)?;
        kinds.f_add(&self.colours.loss(conv5_3, &colours, Reduction::Mean)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenes::Size;

    fn object(kind: Kind, boxes: &[[u32; 4]]) -> ObjectTruth {
        ObjectTruth {
            kind,
            colour: Colour::Green,
            count: boxes.len() as u8,
            size: Size::Small,
            boxes: boxes.to_vec(),
        }
    }

    #[test]
    fn cells_inside_a_box_are_the_objects_and_those_at_its_edge_are_not_asked() {
        // Cells of 10 pixels: the box covers the second column whole and a little of the third.
        let cells = Cells::new(&[object(Kind::House, &[[10, 0, 12, 20]])], 40, 40, 4);
        let house = 1 + Kind::House as i64;
        #[rustfmt::skip]
        assert_eq!(cells.kinds, [
            0, house, SKIPPED, 0,
            0, house, SKIPPED, 0,
            0, 0, 0, 0,
            0, 0, 0, 0,
        ]);
        let coloured = cells.colours.iter().filter(|colour| **colour == 3).count();
        assert_eq!(coloured, 2);
    }

    #[test]
    fn the_second_object_is_told_from_the_main_one() {
        let objects = [
            object(Kind::House, &[[0, 0, 20, 20]]),
            object(Kind::House, &[[30, 30, 10, 10]]),
        ];
        let cells = Cells::new(&objects, 40, 40, 4);
        let house = 1 + Kind::House as i64;
        assert_eq!(cells.kinds[0], house);
        assert_eq!(cells.kinds[15], house + Kind::ALL.len() as i64);
        assert_eq!(
            cells.colours[0] + Colour::ALL.len() as i64,
            cells.colours[15]
        );
    }

    #[test]
    fn an_object_that_holds_no_cells_middle_still_has_a_cell() {
        let cells = Cells::new(&[object(Kind::Kite, &[[17, 22, 2, 3]])], 40, 40, 4);
        assert_eq!(cells.kinds[2 * 4 + 1], 1 + Kind::Kite as i64);
        assert_eq!(
            cells.kinds.iter().filter(|kind| **kind != NOTHING).count(),
            1
        );
    }
}
