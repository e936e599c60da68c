//! Turns a kind of object into its outline: twelve silhouettes that can be told apart when they
//! are twenty pixels wide.

use super::dice::{cosine, sine};
use super::shape::{Ink, Point, Shape, arc, circle, curve, ellipse, rectangle, tilted};
use super::truth::Kind;

impl Kind {
    /// The kind's outline in the unit box, facing right.
    pub(super) fn shape(self) -> Shape {
        match self {
            Kind::Boat => boat(),
            Kind::House => house(),
            Kind::Tree => tree(),
            Kind::Car => car(),
            Kind::Dog => dog(),
            Kind::Bird => bird(),
            Kind::Fish => fish(),
            Kind::Flower => flower(),
            Kind::Umbrella => umbrella(),
            Kind::Chair => chair(),
            Kind::Balloon => balloon(),
            Kind::Kite => kite(),
        }
    }
}

fn joined(pieces: &[Vec<Point>]) -> Vec<Point> {
    pieces.concat()
}

/// A sailing boat: hull and mainsail in its colour, the jib pale.
fn boat() -> Shape {
    let hull = joined(&[
        vec![(-0.5, 0.2), (0.5, 0.2)],
        curve((0.5, 0.2), (0.44, 0.46), (0.3, 0.47)),
        curve((-0.32, 0.47), (-0.44, 0.44), (-0.5, 0.2)),
    ]);
    let mainsail = joined(&[
        curve((0.05, -0.48), (0.36, -0.2), (0.42, 0.12)),
        vec![(0.05, 0.12)],
    ]);
    let jib = joined(&[
        curve((-0.06, -0.38), (-0.16, -0.06), (-0.4, 0.12)),
        vec![(-0.06, 0.12)],
    ]);
    Shape::default()
        .with(Ink::Wood, rectangle(-0.03, -0.5, 0.03, 0.24))
        .with(Ink::Pale, jib)
        .with(Ink::Body, mainsail)
        .with(Ink::Body, hull)
        .with(Ink::Line(0.02), vec![(-0.46, 0.29), (0.46, 0.29)])
}

fn house() -> Shape {
    Shape::default()
        .with(Ink::Shade, rectangle(0.19, -0.44, 0.32, -0.12))
        .with(Ink::Body, rectangle(-0.4, -0.08, 0.4, 0.48))
        .with(Ink::Shade, vec![(-0.5, -0.05), (0.0, -0.48), (0.5, -0.05)])
        .with(Ink::Wood, rectangle(-0.08, 0.16, 0.1, 0.48))
        .with(Ink::Pale, rectangle(-0.32, 0.06, -0.16, 0.24))
        .with(Ink::Pale, rectangle(0.18, 0.06, 0.34, 0.24))
        .with(Ink::Line(0.018), vec![(-0.24, 0.06), (-0.24, 0.24)])
        .with(Ink::Line(0.018), vec![(0.26, 0.06), (0.26, 0.24)])
}

/// A fir of three tiers.
fn tree() -> Shape {
    let tier = |top: f32, bottom: f32, half: f32| vec![(0.0, top), (half, bottom), (-half, bottom)];
    Shape::default()
        .with(Ink::Wood, rectangle(-0.07, 0.26, 0.07, 0.5))
        .with(Ink::Body, tier(-0.12, 0.3, 0.4))
        .with(Ink::Body, tier(-0.32, 0.07, 0.32))
        .with(Ink::Body, tier(-0.5, -0.15, 0.23))
        .with(Ink::Line(0.016), vec![(-0.1, 0.19), (-0.02, 0.23)])
        .with(Ink::Line(0.016), vec![(0.06, -0.03), (0.13, -0.01)])
}

fn car() -> Shape {
    let body = joined(&[
        curve((-0.5, 0.2), (-0.52, -0.0), (-0.42, -0.03)),
        vec![(-0.33, -0.05)],
        curve((-0.24, -0.28), (-0.22, -0.32), (-0.14, -0.32)),
        curve((0.1, -0.32), (0.16, -0.32), (0.2, -0.27)),
        vec![(0.32, -0.05)],
        curve((0.42, -0.03), (0.5, 0.0), (0.5, 0.2)),
    ]);
    Shape::default()
        .with(Ink::Body, body)
        .with(
            Ink::Pale,
            vec![
                (-0.25, -0.05),
                (-0.18, -0.25),
                (-0.04, -0.25),
                (-0.04, -0.05),
            ],
        )
        .with(
            Ink::Pale,
            vec![(0.02, -0.05), (0.02, -0.25), (0.13, -0.25), (0.24, -0.05)],
        )
        .with(Ink::Line(0.018), vec![(-0.01, -0.02), (-0.01, 0.16)])
        .with(Ink::Amber, ellipse(0.45, 0.06, 0.035, 0.04))
        .with(Ink::Dark, circle(-0.28, 0.2, 0.125))
        .with(Ink::Dark, circle(0.28, 0.2, 0.125))
        .with(Ink::Pale, circle(-0.28, 0.2, 0.055))
        .with(Ink::Pale, circle(0.28, 0.2, 0.055))
}

fn dog() -> Shape {
    let leg = |x: f32| rectangle(x - 0.05, 0.1, x + 0.05, 0.45);
    let tail = joined(&[
        curve((-0.3, -0.06), (-0.46, -0.12), (-0.47, -0.36)),
        curve((-0.42, -0.38), (-0.36, -0.2), (-0.26, -0.14)),
    ]);
    let trunk = joined(&[
        curve((-0.34, 0.2), (-0.42, -0.13), (-0.2, -0.15)),
        curve((0.1, -0.13), (0.16, -0.2), (0.2, -0.3)),
        vec![(0.4, -0.1)],
        curve((0.3, 0.1), (0.28, 0.24), (0.22, 0.24)),
    ]);
    Shape::default()
        .with(Ink::Shade, leg(-0.17))
        .with(Ink::Shade, leg(0.09))
        .with(Ink::Body, tail)
        .with(Ink::Body, leg(-0.28))
        .with(Ink::Body, leg(0.2))
        .with(Ink::Body, trunk)
        .with(Ink::Body, ellipse(0.3, -0.24, 0.16, 0.16))
        .with(Ink::Body, ellipse(0.41, -0.18, 0.12, 0.09))
        .with(Ink::Shade, tilted(0.2, -0.2, 0.07, 0.16, 0.03))
        .with(Ink::Dark, circle(0.5, -0.22, 0.035))
        .with(Ink::Pale, circle(0.345, -0.28, 0.038))
        .with(Ink::Dark, circle(0.352, -0.28, 0.022))
}

/// A songbird in flight: one wing raised.
fn bird() -> Shape {
    let body = joined(&[
        curve((-0.22, 0.04), (-0.02, -0.16), (0.12, -0.14)),
        curve((0.3, -0.08), (0.28, 0.22), (0.02, 0.24)),
        curve((-0.12, 0.24), (-0.2, 0.14), (-0.22, 0.04)),
    ]);
    let wing = joined(&[
        curve((0.12, 0.06), (0.06, -0.28), (-0.24, -0.46)),
        curve((-0.24, -0.46), (-0.3, -0.06), (-0.12, 0.08)),
    ]);
    Shape::default()
        .with(Ink::Amber, vec![(0.36, -0.15), (0.5, -0.06), (0.35, -0.03)])
        .with(
            Ink::Shade,
            vec![
                (-0.14, 0.02),
                (-0.5, 0.02),
                (-0.44, 0.11),
                (-0.48, 0.2),
                (-0.12, 0.16),
            ],
        )
        .with(Ink::Body, body)
        .with(Ink::Body, circle(0.25, -0.1, 0.15))
        .with(Ink::Shade, wing)
        .with(
            Ink::Line(0.016),
            curve((-0.17, -0.3), (-0.18, -0.14), (-0.08, -0.02)),
        )
        .with(Ink::Pale, circle(0.29, -0.13, 0.038))
        .with(Ink::Dark, circle(0.298, -0.13, 0.024))
        .with(Ink::Rod(0.022), vec![(0.0, 0.23), (-0.06, 0.34)])
        .with(Ink::Rod(0.022), vec![(0.08, 0.23), (0.03, 0.34)])
}

fn fish() -> Shape {
    let body = joined(&[
        curve((-0.26, 0.0), (0.02, -0.36), (0.34, -0.16)),
        curve((0.34, -0.16), (0.47, -0.08), (0.5, 0.02)),
        curve((0.5, 0.02), (0.44, 0.12), (0.34, 0.18)),
        curve((0.34, 0.18), (0.02, 0.36), (-0.26, 0.0)),
    ]);
    Shape::default()
        .with(
            Ink::Shade,
            vec![(-0.18, 0.0), (-0.5, -0.26), (-0.41, 0.0), (-0.5, 0.26)],
        )
        .with(
            Ink::Shade,
            joined(&[
                curve((-0.08, -0.14), (-0.04, -0.34), (0.02, -0.35)),
                vec![(0.22, -0.18)],
            ]),
        )
        .with(Ink::Shade, vec![(0.0, 0.15), (-0.06, 0.33), (0.14, 0.2)])
        .with(Ink::Body, body)
        .with(
            Ink::Light,
            joined(&[
                arc((-0.02, 0.0), (0.07, 0.155), -0.25, 0.25),
                arc((-0.06, 0.0), (0.05, 0.13), 0.25, -0.25),
            ]),
        )
        .with(Ink::Line(0.02), arc((0.2, 0.01), (0.06, 0.17), -0.22, 0.22))
        .with(Ink::Pale, circle(0.35, -0.04, 0.055))
        .with(Ink::Dark, circle(0.36, -0.04, 0.03))
}

fn flower() -> Shape {
    let mut shape = Shape::default()
        .with(
            Ink::Stem,
            vec![(-0.03, -0.1), (0.03, -0.1), (0.035, 0.5), (-0.035, 0.5)],
        )
        .with(
            Ink::Stem,
            joined(&[
                curve((0.0, 0.44), (0.08, 0.2), (0.32, 0.18)),
                curve((0.32, 0.18), (0.26, 0.4), (0.0, 0.44)),
            ]),
        )
        .with(
            Ink::Stem,
            joined(&[
                curve((0.0, 0.36), (-0.08, 0.14), (-0.3, 0.12)),
                curve((-0.3, 0.12), (-0.24, 0.34), (0.0, 0.36)),
            ]),
        );
    for petal in 0..6 {
        let turn = petal as f32 / 6.0 + 1.0 / 12.0;
        shape = shape.with(
            Ink::Body,
            tilted(
                0.2 * cosine(turn),
                -0.17 + 0.2 * sine(turn),
                0.155,
                0.115,
                turn,
            ),
        );
    }
    shape.with(Ink::Amber, circle(0.0, -0.17, 0.11))
}

fn umbrella() -> Shape {
    let scallop = |i: i32| arc((0.375 - 0.25 * i as f32, 0.02), (0.125, 0.09), 0.0, -0.5);
    let canopy = joined(&[
        arc((0.0, 0.02), (0.5, 0.48), -0.5, 0.0),
        scallop(0),
        scallop(1),
        scallop(2),
        scallop(3),
    ]);
    let rib = |x: f32, bend: f32| curve((0.0, -0.46), (bend, -0.34), (x, 0.02));
    let stick = joined(&[
        vec![(0.0, -0.5), (0.0, 0.4)],
        arc((0.075, 0.4), (0.075, 0.09), 0.5, 0.0),
    ]);
    Shape::default()
        .with(Ink::Rod(0.05), stick)
        .with(Ink::Body, canopy)
        .with(Ink::Line(0.018), rib(-0.25, -0.22))
        .with(Ink::Line(0.018), rib(0.0, 0.0))
        .with(Ink::Line(0.018), rib(0.25, 0.22))
}

/// A kitchen chair from the front: a back of two bars, a seat, four legs.
fn chair() -> Shape {
    let seat = vec![(-0.32, 0.02), (0.32, 0.02), (0.4, 0.17), (-0.4, 0.17)];
    Shape::default()
        .with(Ink::Shade, rectangle(-0.25, 0.1, -0.17, 0.42))
        .with(Ink::Shade, rectangle(0.17, 0.1, 0.25, 0.42))
        .with(Ink::Body, rectangle(-0.4, 0.15, -0.3, 0.5))
        .with(Ink::Body, rectangle(0.3, 0.15, 0.4, 0.5))
        .with(Ink::Body, rectangle(-0.34, -0.5, -0.24, 0.06))
        .with(Ink::Body, rectangle(0.24, -0.5, 0.34, 0.06))
        .with(Ink::Body, rectangle(-0.3, -0.47, 0.3, -0.32))
        .with(Ink::Body, rectangle(-0.3, -0.23, 0.3, -0.1))
        .with(Ink::Body, seat)
}

/// A hot-air balloon with its basket.
fn balloon() -> Shape {
    let envelope = joined(&[
        arc((0.0, -0.13), (0.37, 0.37), 0.46, 1.04),
        curve((0.35, -0.02), (0.28, 0.14), (0.1, 0.27)),
        curve((-0.1, 0.27), (-0.28, 0.14), (-0.35, -0.02)),
    ]);
    let gore = joined(&[
        curve((0.0, -0.5), (-0.26, -0.1), (-0.05, 0.27)),
        curve((0.05, 0.27), (0.26, -0.1), (0.0, -0.5)),
    ]);
    Shape::default()
        .with(Ink::Rod(0.02), vec![(-0.09, 0.26), (-0.075, 0.38)])
        .with(Ink::Rod(0.02), vec![(0.09, 0.26), (0.075, 0.38)])
        .with(
            Ink::Wood,
            vec![(-0.1, 0.36), (0.1, 0.36), (0.08, 0.5), (-0.08, 0.5)],
        )
        .with(Ink::Body, envelope)
        .with(Ink::Light, gore)
}

fn kite() -> Shape {
    let tail = joined(&[
        curve((0.0, 0.2), (0.12, 0.27), (0.02, 0.34)),
        curve((0.02, 0.34), (-0.1, 0.4), (0.04, 0.5)),
    ]);
    let bow = |x: f32, y: f32| {
        vec![
            (x - 0.08, y - 0.045),
            (x + 0.08, y + 0.045),
            (x + 0.08, y - 0.045),
            (x - 0.08, y + 0.045),
        ]
    };
    Shape::default()
        .with(Ink::Line(0.024), tail)
        .with(Ink::Shade, bow(0.05, 0.3))
        .with(Ink::Shade, bow(-0.02, 0.42))
        .with(
            Ink::Body,
            vec![(0.0, -0.5), (0.32, -0.16), (0.0, 0.22), (-0.32, -0.16)],
        )
        .with(Ink::Shade, vec![(0.0, -0.5), (0.32, -0.16), (0.0, -0.16)])
        .with(Ink::Shade, vec![(0.0, 0.22), (-0.32, -0.16), (0.0, -0.16)])
        .with(Ink::Line(0.018), vec![(0.0, -0.5), (0.0, 0.22)])
        .with(Ink::Line(0.018), vec![(-0.32, -0.16), (0.32, -0.16)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_fills_the_unit_box_and_shows_its_colour() {
        for &kind in Kind::ALL {
            let shape = kind.shape();
            let (left, top, right, bottom) = shape.bounds();
            let (width, height) = (right - left, bottom - top);
            assert!(
                (0.9..=1.03).contains(&width.max(height)),
                "{kind}: {width} x {height}"
            );
            assert!(
                width.min(height) >= 0.6,
                "{kind} is too thin: {width} x {height}"
            );
            assert!(
                shape.parts.iter().any(|part| part.ink == Ink::Body),
                "{kind}"
            );
            assert!(
                shape.parts.iter().all(|part| part.points.len() > 1),
                "{kind}"
            );
        }
    }
}
