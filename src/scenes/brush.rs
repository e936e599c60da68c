//! Turns one object, as polygons in pixels, into paint, in any of the drawing styles.

use super::canvas::{Canvas, Fill};
use super::dice::{Dice, sine};
use super::palette::{Rgb, Shades};
use super::plan::Figure;
use super::shape::{Ink, Part, Point, subdivided};
use super::truth::{Setting, Style};

/// Paints the object.
pub(super) fn paint(
    canvas: &mut Canvas,
    figure: &Figure,
    setting: Setting,
    style: Style,
    dice: &mut Dice,
) {
    let shades = Shades::new(figure.colour, setting, dice);
    let unit = canvas.unit();
    let (left, top, right, bottom) = figure.shape.bounds();
    // Small objects are drawn with a finer pen, or their outline would be all one sees of them.
    let scale = ((right - left).max(bottom - top) / unit / 0.4).clamp(0.5, 1.0);
    let pen = unit * scale * dice.between(0.007, 0.011);
    let bend = Bend::new(style, unit * scale, dice);
    let parts: Vec<Part> = figure
        .shape
        .parts
        .iter()
        .map(|part| bend.part(part))
        .collect();
    match style {
        Style::Flat => {
            let around = if shades.needs_outline {
                shades.outline
            } else {
                shades.shade
            };
            halo(
                canvas,
                &parts,
                around,
                1.0,
                pen * if shades.needs_outline { 1.3 } else { 0.7 },
            );
            fill(canvas, &parts, &shades, Tone::Even);
        }
        Style::Outlined => {
            halo(canvas, &parts, shades.outline, 1.0, pen * 2.2);
            fill(canvas, &parts, &shades, Tone::Even);
            contours(canvas, &parts, shades.line, 0.8, pen * 0.6);
        }
        Style::Shaded => {
            halo(canvas, &parts, shades.outline, 0.85, pen);
            fill(canvas, &parts, &shades, Tone::Round);
        }
        Style::Sketched => {
            halo(canvas, &parts, shades.outline, 0.45, pen);
            fill(canvas, &parts, &shades, Tone::Even);
            for _ in 0..2 {
                let stray = Bend::new(style, unit * scale, dice);
                let strayed: Vec<Part> = parts.iter().map(|part| stray.part(part)).collect();
                contours(canvas, &strayed, shades.outline, 0.75, pen * 0.55);
            }
        }
        Style::Hatched => {
            halo(canvas, &parts, shades.outline, 1.0, pen * 1.4);
            fill(canvas, &parts, &shades, Tone::Even);
            hatch(canvas, &parts, &shades, dice);
            contours(canvas, &parts, shades.line, 0.7, pen * 0.45);
        }
        Style::Watercolour => {
            let strength = if shades.needs_outline { 0.8 } else { 0.4 };
            halo(canvas, &parts, shades.outline, strength, pen * 1.1);
            fill(canvas, &parts, &shades, Tone::Washed);
            wash(canvas, &parts, &shades, dice);
        }
    }
}

/// How a part's colour runs across it.
#[derive(Clone, Copy, PartialEq)]
enum Tone {
    Even,
    /// Light at the top left, dark at the bottom right.
    Round,
    /// Dark at the top, running out downwards.
    Washed,
}

fn fill(canvas: &mut Canvas, parts: &[Part], shades: &Shades, tone: Tone) {
    let unit = canvas.unit();
    let (left, top, right, bottom) = extent(parts);
    for part in parts {
        let colour = shades.of(part.ink);
        if let Some(width) = part.ink.line_width() {
            let width = (width * (right - left).max(bottom - top)).max(unit * 0.006);
            canvas.lines(&[&part.points], colour, 1.0, width);
            continue;
        }
        let white = Rgb(1.0, 1.0, 1.0);
        let fill = match tone {
            Tone::Even => Fill::Plain(colour, 1.0),
            Tone::Round => Fill::Gradient(
                (left, top),
                colour.mix(white, 0.22),
                (right, bottom),
                colour.mix(Rgb(0.0, 0.0, 0.05), 0.20),
            ),
            Tone::Washed => {
                Fill::Gradient((left, top), colour, (left, bottom), colour.mix(white, 0.16))
            }
        };
        canvas.fill(&[&part.points], fill);
    }
}

/// An edge around the whole object, behind it, `width` pixels wide.
fn halo(canvas: &mut Canvas, parts: &[Part], colour: Rgb, opacity: f32, width: f32) {
    let solid = parts.iter().filter(|part| part.ink.line_width().is_none());
    let solid: Vec<&[Point]> = solid.map(|part| part.points.as_slice()).collect();
    canvas.outline(&solid, colour, opacity, width * 2.0);
}

/// The edges of the parts, on top of them.
fn contours(canvas: &mut Canvas, parts: &[Part], colour: Rgb, opacity: f32, width: f32) {
    let solid = parts.iter().filter(|part| part.ink.line_width().is_none());
    let solid: Vec<&[Point]> = solid.map(|part| part.points.as_slice()).collect();
    canvas.outline(&solid, colour, opacity, width);
}

fn hatch(canvas: &mut Canvas, parts: &[Part], shades: &Shades, dice: &mut Dice) {
    let coloured: Vec<&[Point]> = coloured(parts);
    let unit = canvas.unit();
    let (left, top, right, bottom) = extent(parts);
    let step = unit * dice.between(0.022, 0.034);
    let slope = dice.between(0.6, 1.5) * if dice.chance(0.5) { 1.0 } else { -1.0 };
    let height = bottom - top;
    let reach = height * slope.abs();
    let mut strokes = Vec::new();
    let mut x = left - reach;
    while x < right + reach {
        strokes.push([(x, top), (x + height * slope, bottom)]);
        x += step * dice.between(0.8, 1.2);
    }
    let lines: Vec<&[Point]> = strokes.iter().map(|stroke| stroke.as_slice()).collect();
    let colour = shades.body.mix(shades.shade, 0.85);
    canvas.clipped(&coloured, |canvas| {
        canvas.lines(&lines, colour, 0.9, unit * 0.007)
    });
}

/// Blots of thinner and thicker paint.
fn wash(canvas: &mut Canvas, parts: &[Part], shades: &Shades, dice: &mut Dice) {
    let coloured: Vec<&[Point]> = coloured(parts);
    let (left, top, right, bottom) = extent(parts);
    let blots: Vec<(Vec<Point>, bool)> = (0..7)
        .map(|_| {
            let centre = (dice.between(left, right), dice.between(top, bottom));
            let radii = (
                (right - left) * dice.between(0.1, 0.28),
                (bottom - top) * dice.between(0.08, 0.2),
            );
            (
                super::shape::ellipse(centre.0, centre.1, radii.0, radii.1),
                dice.chance(0.5),
            )
        })
        .collect();
    canvas.clipped(&coloured, |canvas| {
        for (blot, thick) in &blots {
            let colour = if *thick { shades.shade } else { shades.light };
            canvas.fill(&[blot], Fill::Plain(colour, 0.22));
        }
    });
}

fn coloured(parts: &[Part]) -> Vec<&[Point]> {
    parts
        .iter()
        .filter(|part| part.ink == Ink::Body)
        .map(|part| part.points.as_slice())
        .collect()
}

fn extent(parts: &[Part]) -> (f32, f32, f32, f32) {
    parts.iter().flat_map(|part| &part.points).fold(
        (f32::MAX, f32::MAX, f32::MIN, f32::MIN),
        |(l, t, r, b), &(x, y)| (l.min(x), t.min(y), r.max(x), b.max(y)),
    )
}

impl Shades {
    fn of(&self, ink: Ink) -> Rgb {
        match ink {
            Ink::Body => self.body,
            Ink::Shade => self.shade,
            Ink::Light => self.light,
            Ink::Dark => self.dark,
            Ink::Pale => self.pale,
            Ink::Wood | Ink::Rod(_) => self.wood,
            Ink::Amber => self.amber,
            Ink::Stem => self.stem,
            Ink::Line(_) => self.line,
        }
    }
}

/// An unsteady hand: a slow wave across the picture that moves points by a pixel or two.
struct Bend {
    /// In pixels; 0 is a ruler.
    amplitude: f32,
    /// Waves per pixel, along each axis.
    waves: [f32; 2],
    phases: [f32; 4],
}

impl Bend {
    /// For an object drawn on a scale of `unit` pixels.
    fn new(style: Style, unit: f32, dice: &mut Dice) -> Self {
        let amplitude = match style {
            Style::Sketched => dice.between(0.005, 0.008),
            Style::Watercolour => dice.between(0.003, 0.005),
            Style::Hatched => dice.between(0.001, 0.004),
            _ => 0.0,
        };
        Self {
            amplitude: amplitude * unit,
            waves: [
                dice.between(6.0, 11.0) / unit,
                dice.between(6.0, 11.0) / unit,
            ],
            phases: [dice.unit(), dice.unit(), dice.unit(), dice.unit()],
        }
    }

    fn part(&self, part: &Part) -> Part {
        if self.amplitude == 0.0 {
            return part.clone();
        }
        let closed = part.ink.line_width().is_none();
        let mut points = subdivided(&part.points, closed, 4.0 * self.amplitude.max(1.0));
        for (x, y) in &mut points {
            let (across, down) = (*x * self.waves[0], *y * self.waves[1]);
            let wave = |a: f32, b: f32| 0.6 * sine(a) + 0.4 * sine(b);
            *x += self.amplitude * wave(down + self.phases[0], across + down + self.phases[1]);
            *y += self.amplitude * wave(across + self.phases[2], across - down + self.phases[3]);
        }
        Part {
            points,
            ink: part.ink,
        }
    }
}
