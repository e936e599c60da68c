//! Turns curves into polygons, and polygons of the unit box into polygons in pixels.
//!
//! Everything that is drawn is a polygon: any style can then bend, shift or hatch it, and its box
//! is exact.

use super::dice::{cosine, sine};

pub(super) type Point = (f32, f32);

/// What a part of an object is painted with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ink {
    /// The colour that captions name.
    Body,
    Shade,
    Light,
    Dark,
    Pale,
    Wood,
    Amber,
    Stem,
    /// An open line in the line colour; its width as a share of the object's extent.
    Line(f32),
    /// The same in wood.
    Rod(f32),
}

impl Ink {
    pub fn line_width(self) -> Option<f32> {
        match self {
            Ink::Line(width) | Ink::Rod(width) => Some(width),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Part {
    pub points: Vec<Point>,
    pub ink: Ink,
}

/// An object, part by part from back to front. As the kinds give it, its longer side is 1, its
/// centre (0, 0), and y points down.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    pub parts: Vec<Part>,
}

/// How a shape of the unit box comes to its place in the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement {
    /// Of the shape's box, in pixels.
    pub centre: Point,
    /// Longer side in pixels before `stretch` and rotation.
    pub extent: f32,
    /// Width is multiplied by it, height divided.
    pub stretch: f32,
    /// Clockwise, in turns.
    pub rotation: f32,
    pub mirrored: bool,
}

impl Shape {
    pub fn with(mut self, ink: Ink, points: Vec<Point>) -> Self {
        self.parts.push(Part { points, ink });
        self
    }

    /// The shape in pixels, its box centred on the placement's centre.
    pub fn placed(mut self, placement: &Placement) -> Self {
        let (sin, cos) = (sine(placement.rotation), cosine(placement.rotation));
        let side = if placement.mirrored { -1.0 } else { 1.0 };
        for (x, y) in self.parts.iter_mut().flat_map(|part| &mut part.points) {
            let across = *x * side * placement.stretch * placement.extent;
            let down = *y / placement.stretch * placement.extent;
            (*x, *y) = (across * cos - down * sin, across * sin + down * cos);
        }
        let (left, top, right, bottom) = self.bounds();
        let shift = (
            placement.centre.0 - (left + right) / 2.0,
            placement.centre.1 - (top + bottom) / 2.0,
        );
        for (x, y) in self.parts.iter_mut().flat_map(|part| &mut part.points) {
            *x += shift.0;
            *y += shift.1;
        }
        self
    }

    /// Left, top, right, bottom.
    pub fn bounds(&self) -> (f32, f32, f32, f32) {
        let points = self.parts.iter().flat_map(|part| &part.points);
        points.fold(
            (f32::MAX, f32::MAX, f32::MIN, f32::MIN),
            |(l, t, r, b), &(x, y)| (l.min(x), t.min(y), r.max(x), b.max(y)),
        )
    }
}

pub(super) fn ellipse(cx: f32, cy: f32, rx: f32, ry: f32) -> Vec<Point> {
    const CORNERS: usize = 28;
    (0..CORNERS)
        .map(|i| {
            let turn = i as f32 / CORNERS as f32;
            (cx + rx * cosine(turn), cy + ry * sine(turn))
        })
        .collect()
}

pub(super) fn circle(cx: f32, cy: f32, r: f32) -> Vec<Point> {
    ellipse(cx, cy, r, r)
}

/// An ellipse turned clockwise about its centre.
pub(super) fn tilted(cx: f32, cy: f32, rx: f32, ry: f32, turns: f32) -> Vec<Point> {
    let (sin, cos) = (sine(turns), cosine(turns));
    ellipse(0.0, 0.0, rx, ry)
        .into_iter()
        .map(|(x, y)| (cx + x * cos - y * sin, cy + x * sin + y * cos))
        .collect()
}

pub(super) fn rectangle(left: f32, top: f32, right: f32, bottom: f32) -> Vec<Point> {
    vec![(left, top), (right, top), (right, bottom), (left, bottom)]
}

/// The arc of an ellipse from one angle to another, in turns, clockwise from the right.
pub(super) fn arc(centre: Point, radii: Point, from: f32, to: f32) -> Vec<Point> {
    const STEPS: usize = 16;
    (0..=STEPS)
        .map(|i| {
            let turn = from + (to - from) * i as f32 / STEPS as f32;
            (
                centre.0 + radii.0 * cosine(turn),
                centre.1 + radii.1 * sine(turn),
            )
        })
        .collect()
}

/// A quadratic curve from `a` to `c`, drawn towards `b`.
pub(super) fn curve(a: Point, b: Point, c: Point) -> Vec<Point> {
    const STEPS: usize = 10;
    (0..=STEPS)
        .map(|i| {
            let t = i as f32 / STEPS as f32;
            let (p, q, r) = ((1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t);
            (p * a.0 + q * b.0 + r * c.0, p * a.1 + q * b.1 + r * c.1)
        })
        .collect()
}

/// The same polygon with no side longer than `longest`, so that it can be bent.
pub(super) fn subdivided(points: &[Point], closed: bool, longest: f32) -> Vec<Point> {
    let mut fine = Vec::with_capacity(points.len() * 2);
    let sides = if closed {
        points.len()
    } else {
        points.len().saturating_sub(1)
    };
    for i in 0..sides {
        let (a, b) = (points[i], points[(i + 1) % points.len()]);
        let length = ((b.0 - a.0) * (b.0 - a.0) + (b.1 - a.1) * (b.1 - a.1)).sqrt();
        let pieces = (length / longest).ceil().clamp(1.0, 64.0) as usize;
        fine.extend((0..pieces).map(|piece| {
            let t = piece as f32 / pieces as f32;
            (a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t)
        }));
    }
    if !closed {
        fine.extend(points.last());
    }
    fine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placed_shape_is_centred_and_keeps_its_extent() {
        let shape = Shape::default().with(Ink::Body, rectangle(-0.5, -0.25, 0.5, 0.25));
        let placement = Placement {
            centre: (100.0, 60.0),
            extent: 40.0,
            stretch: 1.0,
            rotation: 0.0,
            mirrored: true,
        };
        assert_eq!(
            shape.clone().placed(&placement).bounds(),
            (80.0, 50.0, 120.0, 70.0)
        );
        let upright = Placement {
            rotation: 0.25,
            ..placement
        };
        let (left, top, right, bottom) = shape.placed(&upright).bounds();
        assert!((right - left - 20.0).abs() < 1e-2 && (bottom - top - 40.0).abs() < 1e-2);
    }

    #[test]
    fn subdividing_keeps_corners_and_bounds_sides() {
        let fine = subdivided(&rectangle(0.0, 0.0, 1.0, 1.0), true, 0.3);
        assert_eq!(fine.len(), 16);
        for corner in rectangle(0.0, 0.0, 1.0, 1.0) {
            assert!(fine.contains(&corner));
        }
        assert_eq!(subdivided(&[(0.0, 0.0), (1.0, 0.0)], false, 0.5).len(), 3);
    }
}
