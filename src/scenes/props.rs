//! Turns nothing but chance into the small things of a background: clouds, gulls, stones, a
//! window, rolling ground. Captions do not mention them.

use super::canvas::{Canvas, Fill};
use super::dice::{Dice, sine};
use super::palette::Rgb;
use super::shape::{Point, arc, ellipse, rectangle};

pub(super) fn window(canvas: &mut Canvas, floor: f32, dice: &mut Dice) {
    let (w, _, unit) = measures(canvas);
    let (width, height) = (unit * 0.24, unit * 0.28);
    let left = dice.between(0.05 * w, w - width - 0.05 * w);
    let top = dice.between(0.08, 0.2) * floor;
    let (right, bottom) = (left + width, top + height);
    canvas.fill_plain(
        &rectangle(left, top, right, bottom),
        Rgb::bytes(206, 222, 230),
    );
    let middle = ((left + right) / 2.0, (top + bottom) / 2.0);
    let frame = Rgb::bytes(250, 248, 244);
    canvas.outline(
        &[&rectangle(left, top, right, bottom)],
        frame,
        1.0,
        unit * 0.018,
    );
    let bars: [&[Point]; 2] = [
        &[(middle.0, top), (middle.0, bottom)],
        &[(left, middle.1), (right, middle.1)],
    ];
    canvas.lines(&bars, frame, 1.0, unit * 0.012);
}

pub(super) fn clouds(canvas: &mut Canvas, horizon: f32, colour: Rgb, dice: &mut Dice) {
    let (w, _, unit) = measures(canvas);
    for _ in 0..1 + dice.below(3) {
        let (x, y) = (
            dice.between(0.05, 0.95) * w,
            horizon * dice.between(0.1, 0.6),
        );
        let size = unit * dice.between(0.035, 0.06);
        for (dx, dy, r) in [
            (-1.1, 0.1, 0.7),
            (0.0, -0.2, 1.0),
            (1.1, 0.1, 0.75),
            (0.0, 0.3, 0.9),
        ] {
            let puff = ellipse(
                x + dx * size,
                y + dy * size,
                r * size * 1.2,
                r * size * 0.75,
            );
            canvas.fill(&[&puff], Fill::Plain(colour, 0.85));
        }
    }
}

/// Far birds, two strokes each.
pub(super) fn gulls(canvas: &mut Canvas, horizon: f32, dice: &mut Dice) {
    let (w, _, unit) = measures(canvas);
    for _ in 0..1 + dice.below(3) {
        let (x, y) = (
            dice.between(0.05, 0.95) * w,
            horizon * dice.between(0.15, 0.7),
        );
        let size = unit * dice.between(0.014, 0.022);
        let wings = [
            arc((x - size, y), (size, size * 0.6), 0.5, 1.0),
            arc((x + size, y), (size, size * 0.6), 0.5, 1.0),
        ];
        canvas.lines(&slices(&wings), Rgb::bytes(90, 100, 116), 0.8, unit * 0.006);
    }
}

pub(super) fn stones(canvas: &mut Canvas, from: f32, dice: &mut Dice) {
    let (w, h, unit) = measures(canvas);
    for _ in 0..1 + dice.below(3) {
        let (x, y) = (
            dice.between(0.05, 0.95) * w,
            dice.between(from.min(h * 0.9), h),
        );
        let size = unit * dice.between(0.012, 0.022);
        let grey = Rgb::bytes(150, 140, 128).jitter(dice, 0.05);
        canvas.fill_plain(&arc((x, y), (size * 1.4, size), 0.5, 1.0), grey);
    }
}

/// A rolling line at the height `top`, plus or minus `roll`.
pub(super) fn hills(w: f32, top: f32, roll: f32, dice: &mut Dice) -> Vec<Point> {
    let (waves, phase, second) = (dice.between(0.5, 1.3), dice.unit(), dice.unit());
    const STEPS: usize = 24;
    (0..=STEPS)
        .map(|i| {
            let t = i as f32 / STEPS as f32;
            let rise = 0.7 * sine(t * waves + phase) + 0.3 * sine(t * waves * 2.3 + second);
            (t * w, top + roll * rise)
        })
        .collect()
}

/// Width, height and shorter side of the picture in pixels.
pub(super) fn measures(canvas: &Canvas) -> (f32, f32, f32) {
    (canvas.width(), canvas.height(), canvas.unit())
}

pub(super) fn slices(polygons: &[Vec<Point>]) -> Vec<&[Point]> {
    polygons.iter().map(Vec::as_slice).collect()
}
