//! Turns random choices into what a scene shows and where: its truth, and its objects as polygons
//! in pixels. No pixel is painted here, so the truth of a million scenes costs a few seconds.

use super::Frame;
use super::dice::{Dice, Purpose};
use super::shape::{Placement, Point, Shape};
use super::truth::{Colour, Kind, ObjectTruth, Relation, Setting, Size, Style, Truth};

/// A scene before it is painted.
pub(super) struct Plan {
    pub truth: Truth,
    /// Back to front.
    pub figures: Vec<Figure>,
}

/// One object in its place.
pub(super) struct Figure {
    pub colour: Colour,
    /// In pixels.
    pub shape: Shape,
}

/// Objects keep this distance from the edge of the picture's central square, as a share of it.
const MARGIN: f32 = 0.03;
const ROOM: f32 = 1.0 - 2.0 * MARGIN;
/// Least distance between two objects.
const GAP: f32 = 0.025;

impl Plan {
    /// Scene `index` of `seed`: a pure function of its arguments.
    pub fn new(seed: u64, index: u64, frame: &Frame, bias: f64) -> Self {
        let mut dice = Dice::new(seed, index, Purpose::Plan);
        let kind = dice.pick(Kind::ALL);
        let free = dice.pick(Setting::ALL);
        let setting = if dice.chance(bias) {
            kind.tied_setting()
        } else {
            free
        };
        let colour = dice.pick(Colour::ALL);
        let count = dice.pick(&[1u8, 1, 2, 3]);
        let size = dice.pick(Size::ALL);
        let style = dice.pick(Style::ALL);
        // Three large objects leave no room for another.
        let accompanied = dice.chance(0.6) && !(count == 3 && size == Size::Large);
        let relation = accompanied.then(|| dice.pick(Relation::ALL));
        let other = |dice: &mut Dice| {
            let kind =
                Kind::ALL[(kind as usize + 1 + dice.below(Kind::ALL.len() - 1)) % Kind::ALL.len()];
            let colour = Colour::ALL
                [(colour as usize + 1 + dice.below(Colour::ALL.len() - 1)) % Colour::ALL.len()];
            (kind, colour)
        };
        let second = accompanied.then(|| other(&mut dice));

        let extent = extent(size, count, accompanied, &mut dice);
        let places = Places::new(extent, count, relation, &mut dice);
        let mut figures = Vec::new();
        let mut object =
            |kind: Kind, colour, size, places: &[Point], extent: f32, dice: &mut Dice| {
                let stretch = dice.between(0.94, 1.06);
                let boxes = places.iter().map(|&centre| {
                    let placement = Placement {
                        centre: frame.point(centre),
                        extent: extent * dice.between(0.96, 1.0) * frame.unit(),
                        stretch,
                        rotation: dice.between(-0.016, 0.016),
                        mirrored: dice.chance(0.5),
                    };
                    let shape = kind.shape().placed(&placement);
                    let bounds = frame.bounds(&shape);
                    figures.push(Figure { colour, shape });
                    bounds
                });
                let boxes: Vec<[u32; 4]> = boxes.collect();
                ObjectTruth {
                    kind,
                    colour,
                    count: places.len() as u8,
                    size,
                    boxes,
                }
            };
        let mut objects = vec![object(kind, colour, size, &places.main, extent, &mut dice)];
        if let (Some((kind, colour)), Some(place)) = (second, places.second) {
            let extent = second_extent(extent);
            objects.push(object(
                kind,
                colour,
                Size::Small,
                &[place],
                extent,
                &mut dice,
            ));
        }
        figures.sort_by(|a, b| a.shape.bounds().3.total_cmp(&b.shape.bounds().3));
        Plan {
            truth: Truth {
                setting,
                objects,
                relation,
                style,
            },
            figures,
        }
    }
}

/// The longer side of a main object, as a share of the picture's shorter side.
fn extent(size: Size, count: u8, accompanied: bool, dice: &mut Dice) -> f32 {
    let (low, high) = match (size, count, accompanied) {
        (Size::Small, ..) => (0.25, 0.30),
        (Size::Large, 1, false) => (0.50, 0.68),
        (Size::Large, 1, true) => (0.46, 0.60),
        (Size::Large, 2, _) => (0.40, 0.45),
        (Size::Large, ..) => (0.40, 0.44),
    };
    dice.between(low, high)
}

/// The second object's longer side: visibly less than the main object's.
fn second_extent(main: f32) -> f32 {
    (main * 0.6).clamp(0.17, 0.26)
}

/// Where the objects' centres are, in the unit square.
struct Places {
    main: Vec<Point>,
    second: Option<Point>,
}

impl Places {
    fn new(extent: f32, count: u8, relation: Option<Relation>, dice: &mut Dice) -> Self {
        let second = relation.map(|_| second_extent(extent));
        let beside = matches!(relation, Some(Relation::Left | Relation::Right));
        let fits = |size: &Point| match second {
            None => size.0 <= ROOM && size.1 <= ROOM,
            Some(side) if beside => size.0 + GAP + side <= ROOM && size.1 <= ROOM,
            Some(side) => size.1 + GAP + side <= ROOM && size.0 <= ROOM,
        };
        let gap = dice.between(GAP, 0.07);
        let arrangements: Vec<Vec<Point>> = arrangements(count)
            .iter()
            .map(|cells| spread(cells, extent, gap))
            .collect();
        let fitting: Vec<&Vec<Point>> = arrangements
            .iter()
            .filter(|group| fits(&size(group, extent)))
            .collect();
        let tight;
        let group = if fitting.is_empty() {
            tight = spread(arrangements_that_always_fit(count, beside), extent, GAP);
            &tight
        } else {
            fitting[dice.below(fitting.len())]
        };
        place(group, extent, second.zip(relation), dice)
    }
}

/// Ways to set out objects, in units of one object and its gap; y points down.
fn arrangements(count: u8) -> &'static [&'static [Point]] {
    match count {
        1 => &[&[(0.0, 0.0)]],
        2 => &[
            &[(0.0, 0.0), (1.0, 0.0)],
            &[(0.0, 0.12), (1.0, 0.0)],
            &[(0.0, 0.0), (1.0, 0.3)],
            &[(0.0, 0.0), (0.1, 1.0)],
        ],
        _ => &[
            &[(0.0, 0.0), (1.0, 0.1), (2.0, 0.0)],
            &[(0.0, 1.0), (0.5, 0.0), (1.0, 1.0)],
            &[(0.0, 0.0), (0.5, 1.0), (1.0, 0.0)],
            &[(0.0, 0.0), (0.1, 1.0), (0.0, 2.0)],
        ],
    }
}

fn arrangements_that_always_fit(count: u8, beside: bool) -> &'static [Point] {
    match (count, beside) {
        (1, _) => &[(0.0, 0.0)],
        (2, true) => &[(0.0, 0.0), (0.0, 1.0)],
        (2, false) => &[(0.0, 0.0), (1.0, 0.0)],
        _ => &[(0.0, 1.0), (0.5, 0.0), (1.0, 1.0)],
    }
}

fn spread(cells: &[Point], extent: f32, gap: f32) -> Vec<Point> {
    cells
        .iter()
        .map(|&(x, y)| (x * (extent + gap), y * (extent + gap)))
        .collect()
}

/// Width and height of a group of squares with these centres.
fn size(group: &[Point], extent: f32) -> Point {
    let reach = |value: fn(&Point) -> f32| {
        let values = group.iter().map(value);
        let low = values.clone().fold(f32::MAX, f32::min);
        values.fold(f32::MIN, f32::max) - low + extent
    };
    (reach(|p| p.0), reach(|p| p.1))
}

/// Sets the group, and the second object beside it, down in the unit square.
fn place(group: &[Point], extent: f32, second: Option<(f32, Relation)>, dice: &mut Dice) -> Places {
    let (width, height) = size(group, extent);
    // Left, top, right, bottom that the second object needs beyond the group.
    let mut beyond = [0.0f32; 4];
    let mut between = 0.0;
    if let Some((side, relation)) = second {
        let free = if matches!(relation, Relation::Left | Relation::Right) {
            ROOM - width - side
        } else {
            ROOM - height - side
        };
        between = dice.between(GAP, free.clamp(GAP, 0.16));
        let edge = match relation {
            Relation::Left => 2,
            Relation::Right => 0,
            Relation::Above => 3,
            Relation::Below => 1,
        };
        beyond[edge] = (side + between).min(free + side);
    }
    let free = (
        (ROOM - width - beyond[0] - beyond[2]).max(0.0),
        (ROOM - height - beyond[1] - beyond[3]).max(0.0),
    );
    // Rather low than high: most objects look better on the ground.
    let down = dice.unit().max(dice.unit());
    let corner = (
        MARGIN + beyond[0] + free.0 * dice.unit(),
        MARGIN + beyond[1] + free.1 * down,
    );
    let leftmost = group.iter().map(|p| p.0).fold(f32::MAX, f32::min);
    let topmost = group.iter().map(|p| p.1).fold(f32::MAX, f32::min);
    let main = group
        .iter()
        .map(|&(x, y)| {
            (
                corner.0 + extent / 2.0 + x - leftmost,
                corner.1 + extent / 2.0 + y - topmost,
            )
        })
        .collect();
    let second = second.map(|(side, relation)| {
        let half = side / 2.0;
        let along = |start: f32, length: f32, dice: &mut Dice| {
            let slack = (length - side).max(0.0) / 2.0;
            let middle = start + length / 2.0;
            dice.between(middle - slack, middle + slack)
                .clamp(MARGIN + half, 1.0 - MARGIN - half)
        };
        match relation {
            Relation::Left => (
                corner.0 + width + between + half,
                along(corner.1, height, dice),
            ),
            Relation::Right => (corner.0 - between - half, along(corner.1, height, dice)),
            Relation::Above => (
                along(corner.0, width, dice),
                corner.1 + height + between + half,
            ),
            Relation::Below => (along(corner.0, width, dice), corner.1 - between - half),
        }
    });
    Places { main, second }
}

impl Frame {
    /// From the unit square to the picture's central square.
    fn point(&self, (x, y): Point) -> Point {
        let unit = self.unit();
        let (left, top) = (
            (self.width() as f32 - unit) / 2.0,
            (self.height() as f32 - unit) / 2.0,
        );
        (left + x * unit, top + y * unit)
    }

    fn unit(&self) -> f32 {
        self.width().min(self.height()) as f32
    }

    /// The shape's box in whole pixels inside the picture.
    fn bounds(&self, shape: &Shape) -> [u32; 4] {
        let (left, top, right, bottom) = shape.bounds();
        let clip = |value: f32, limit: u32| value.clamp(0.0, limit as f32) as u32;
        let (x, y) = (
            clip(left.floor(), self.width()),
            clip(top.floor(), self.height()),
        );
        let (right, bottom) = (
            clip(right.ceil(), self.width()),
            clip(bottom.ceil(), self.height()),
        );
        [x, y, right - x, bottom - y]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(count: u64) -> impl Iterator<Item = Plan> {
        let frame = Frame::new(224, 224).unwrap();
        (0..count).map(move |index| Plan::new(11, index, &frame, 0.0))
    }

    /// Left, top, right, bottom of all boxes together.
    fn hull(boxes: &[[u32; 4]]) -> [u32; 4] {
        let edge = |i: usize| {
            boxes
                .iter()
                .map(move |b| if i < 2 { b[i] } else { b[i - 2] + b[i] })
        };
        [
            edge(0).min().unwrap(),
            edge(1).min().unwrap(),
            edge(2).max().unwrap(),
            edge(3).max().unwrap(),
        ]
    }

    #[test]
    fn boxes_prove_the_relation() {
        for plan in plans(4000) {
            let truth = &plan.truth;
            let (Some(main), Some(second)) = (truth.main(), truth.second()) else {
                continue;
            };
            let ([ml, mt, mr, mb], [sl, st, sr, sb]) = (hull(&main.boxes), hull(&second.boxes));
            let proven = match truth.relation.unwrap() {
                Relation::Left => mr <= sl + 2,
                Relation::Right => sr <= ml + 2,
                Relation::Above => mb <= st + 2,
                Relation::Below => sb <= mt + 2,
            };
            assert!(proven, "{truth:?}");
        }
    }

    #[test]
    fn boxes_prove_size_and_count_and_lie_apart() {
        for plan in plans(4000) {
            let all: Vec<[u32; 4]> = plan
                .truth
                .objects
                .iter()
                .flat_map(|object| object.boxes.clone())
                .collect();
            for object in &plan.truth.objects {
                assert_eq!(object.boxes.len(), usize::from(object.count));
                for &[_, _, w, h] in &object.boxes {
                    let share = w.max(h) as f32 / 224.0;
                    match object.size {
                        Size::Small => assert!((0.14..0.34).contains(&share), "{share}"),
                        Size::Large => assert!((0.36..0.76).contains(&share), "{share}"),
                    }
                }
            }
            for (i, a) in all.iter().enumerate() {
                assert!(a[0] + a[2] <= 224 && a[1] + a[3] <= 224);
                for b in &all[i + 1..] {
                    let across = (a[0] + a[2])
                        .min(b[0] + b[2])
                        .saturating_sub(a[0].max(b[0]));
                    let down = (a[1] + a[3])
                        .min(b[1] + b[3])
                        .saturating_sub(a[1].max(b[1]));
                    assert!(across.min(down) <= 4, "{a:?} and {b:?} in {:?}", plan.truth);
                }
            }
        }
    }

    #[test]
    fn the_main_object_is_visibly_bigger_than_the_second() {
        for plan in plans(4000) {
            let (Some(main), Some(second)) = (plan.truth.main(), plan.truth.second()) else {
                continue;
            };
            let side = |b: &[u32; 4]| b[2].max(b[3]) as f32;
            assert!(
                side(&main.boxes[0]) > 1.25 * side(&second.boxes[0]),
                "{:?}",
                plan.truth
            );
            assert_ne!(main.kind, second.kind);
            assert_ne!(main.colour, second.colour);
        }
    }

    #[test]
    fn bias_ties_kinds_to_settings_and_changes_nothing_else() {
        let frame = Frame::new(224, 224).unwrap();
        let mut moved = 0;
        for index in 0..500 {
            let (free, tied) = (
                Plan::new(5, index, &frame, 0.0),
                Plan::new(5, index, &frame, 1.0),
            );
            let kind = tied.truth.objects[0].kind as usize;
            assert_eq!(tied.truth.setting as usize, kind % Setting::ALL.len());
            assert_eq!(free.truth.objects, tied.truth.objects);
            moved += usize::from(free.truth.setting != tied.truth.setting);
        }
        assert!(moved > 350, "{moved}");
    }

    #[test]
    fn every_combination_is_as_likely_as_any_other() {
        let mut seen = std::collections::BTreeMap::new();
        for plan in plans(38_400) {
            let main = &plan.truth.objects[0];
            *seen.entry((plan.truth.setting, main.kind)).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), Setting::ALL.len() * Kind::ALL.len());
        assert!(seen.values().all(|n| (310..500).contains(n)), "{seen:?}");
    }
}
