//! Turns polygons and lines into anti-aliased pixels.

use tiny_skia::{
    Color, FillRule, GradientStop, LineCap, LineJoin, LinearGradient, Mask, Paint, Path,
    PathBuilder, Pixmap, Shader, SpreadMode, Stroke, Transform,
};

use super::dice::Dice;
use super::palette::Rgb;
use super::shape::Point;

/// The picture while it is being painted.
pub(super) struct Canvas {
    /// Opaque once a background is painted.
    pixmap: Pixmap,
    /// Only what lies inside is painted.
    clip: Option<Mask>,
}

/// What a polygon is filled with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fill {
    Plain(Rgb, f32),
    /// From the first point to the second.
    Gradient(Point, Rgb, Point, Rgb),
}

/// A vertical gradient; above and below it, its end colours go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fade {
    pub top: f32,
    pub from: Rgb,
    pub bottom: f32,
    pub to: Rgb,
}

impl Fade {
    pub fn plain(colour: Rgb) -> Self {
        Fade {
            top: 0.0,
            from: colour,
            bottom: 1.0,
            to: colour,
        }
    }

    /// Red, green and blue, 0 to 255, at a height in pixels.
    fn at(&self, y: f32) -> [f32; 3] {
        let share = ((y - self.top) / (self.bottom - self.top).max(1.0)).clamp(0.0, 1.0);
        let Rgb(r, g, b) = self.from.mix(self.to, share);
        [r, g, b].map(|channel| channel.clamp(0.0, 1.0) * 255.0)
    }
}

impl Canvas {
    /// `None` if a side is 0 or the picture does not fit into memory's address range.
    pub fn new(width: u32, height: u32) -> Option<Self> {
        Some(Self {
            pixmap: Pixmap::new(width, height)?,
            clip: None,
        })
    }

    pub fn width(&self) -> f32 {
        self.pixmap.width() as f32
    }

    pub fn height(&self) -> f32 {
        self.pixmap.height() as f32
    }

    /// The shorter side in pixels, to which everything is scaled.
    pub fn unit(&self) -> f32 {
        self.width().min(self.height())
    }

    /// Fills polygons together: where they overlap, nothing is painted twice. All must go round
    /// the same way, or their overlap stays empty.
    pub fn fill(&mut self, polygons: &[&[Point]], fill: Fill) {
        let Some(path) = path(polygons, true) else {
            return;
        };
        self.pixmap.fill_path(
            &path,
            &paint(fill),
            FillRule::Winding,
            Transform::identity(),
            self.clip.as_ref(),
        );
    }

    pub fn fill_plain(&mut self, polygon: &[Point], colour: Rgb) {
        self.fill(&[polygon], Fill::Plain(colour, 1.0));
    }

    /// Draws closed outlines, `width` in pixels.
    pub fn outline(&mut self, polygons: &[&[Point]], colour: Rgb, opacity: f32, width: f32) {
        self.stroke(path(polygons, true), colour, opacity, width);
    }

    /// Draws open lines, `width` in pixels.
    pub fn lines(&mut self, lines: &[&[Point]], colour: Rgb, opacity: f32, width: f32) {
        self.stroke(path(lines, false), colour, opacity, width);
    }

    fn stroke(&mut self, path: Option<Path>, colour: Rgb, opacity: f32, width: f32) {
        let Some(path) = path else { return };
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        let paint = paint(Fill::Plain(colour, opacity));
        self.pixmap.stroke_path(
            &path,
            &paint,
            &stroke,
            Transform::identity(),
            self.clip.as_ref(),
        );
    }

    /// Lets `draw` paint inside the polygons only.
    pub fn clipped(&mut self, polygons: &[&[Point]], draw: impl FnOnce(&mut Self)) {
        let mask = Mask::new(self.pixmap.width(), self.pixmap.height());
        let Some(mut mask) = mask else { return };
        for path in polygons
            .iter()
            .filter_map(|&polygon| path(&[polygon], true))
        {
            mask.fill_path(&path, FillRule::Winding, true, Transform::identity());
        }
        let before = self.clip.replace(mask);
        draw(self);
        self.clip = before;
    }

    /// A band across the picture, from `top` to `bottom` in pixels, in a vertical gradient.
    pub fn band(&mut self, top: f32, bottom: f32, from: Rgb, to: Rgb) {
        let line = [(0.0, top), (self.width(), top)];
        self.below(
            &line,
            bottom,
            Fade {
                top,
                from,
                bottom,
                to,
            },
        );
    }

    /// Everything below a line that runs from the left edge to the right one.
    pub fn ground(&mut self, line: &[Point], fade: Fade) {
        self.below(line, self.height(), fade);
    }

    /// Sets pixels directly: backgrounds cover the picture several times over, and blending them
    /// would cost more than all the objects.
    fn below(&mut self, line: &[Point], bottom: f32, fade: Fade) {
        let (width, height) = (self.pixmap.width() as usize, self.pixmap.height() as usize);
        let end = (bottom.round().max(0.0) as usize).min(height);
        let tops = column_tops(line, width);
        let deepest = tops.iter().fold(0.0f32, |deepest, &top| deepest.max(top));
        let highest = tops
            .iter()
            .fold(deepest, |highest, &top| highest.min(top))
            .max(0.0);
        let data = self.pixmap.data_mut();
        for y in (highest as usize..end).take_while(|&y| y < height) {
            let [r, g, b] = fade.at(y as f32 + 0.5);
            let row = &mut data[4 * y * width..4 * (y + 1) * width];
            if y as f32 >= deepest {
                let colour = [r, g, b, 255.0].map(|channel| (channel + 0.5) as u8);
                row.chunks_exact_mut(4)
                    .for_each(|pixel| pixel.copy_from_slice(&colour));
                continue;
            }
            for (pixel, top) in row.chunks_exact_mut(4).zip(&tops) {
                let cover = (y as f32 + 1.0 - top).clamp(0.0, 1.0);
                for (channel, value) in pixel.iter_mut().zip([r, g, b, 255.0]) {
                    *channel = (f32::from(*channel) * (1.0 - cover) + value * cover + 0.5) as u8;
                }
            }
        }
    }

    /// The picture as RGB bytes, row by row, with paper grain of the given strength (0 to 1).
    pub fn into_rgb(self, grain: f32, dice: &mut Dice) -> Vec<u8> {
        let rgba = self.pixmap.data();
        let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
        let amplitude = (grain * 256.0) as i32;
        let mut state = dice.bits();
        for pixel in rgba.chunks_exact(4) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (((state >> 16) & 0xff) as i32 - 128) * amplitude / 128;
            for &channel in &pixel[..3] {
                rgb.push((i32::from(channel) + noise).clamp(0, 255) as u8);
            }
        }
        rgb
    }
}

/// The height of a line, which runs from left to right, in the middle of each column.
fn column_tops(line: &[Point], width: usize) -> Vec<f32> {
    let mut sides = line.windows(2).peekable();
    let mut height = line.first().map_or(0.0, |point| point.1);
    (0..width)
        .map(|column| {
            let x = column as f32 + 0.5;
            while sides.next_if(|side| side[1].0 < x).is_some() {}
            if let Some(&&[a, b]) = sides
                .peek()
                .and_then(|side| side.first_chunk::<2>())
                .as_ref()
            {
                height = a.1 + (b.1 - a.1) * ((x - a.0) / (b.0 - a.0));
            }
            height
        })
        .collect()
}

fn path(polygons: &[&[Point]], closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for polygon in polygons {
        let Some((&first, rest)) = polygon.split_first() else {
            continue;
        };
        builder.move_to(first.0, first.1);
        for &(x, y) in rest {
            builder.line_to(x, y);
        }
        if closed {
            builder.close();
        }
    }
    builder.finish()
}

fn paint(fill: Fill) -> Paint<'static> {
    let colour = |Rgb(r, g, b): Rgb, opacity: f32| {
        let clamp = |value: f32| value.clamp(0.0, 1.0);
        Color::from_rgba(clamp(r), clamp(g), clamp(b), clamp(opacity)).unwrap_or(Color::BLACK)
    };
    let shader = match fill {
        Fill::Plain(rgb, opacity) => Shader::SolidColor(colour(rgb, opacity)),
        Fill::Gradient(from, start, to, end) => LinearGradient::new(
            tiny_skia::Point::from_xy(from.0, from.1),
            tiny_skia::Point::from_xy(to.0, to.1),
            vec![
                GradientStop::new(0.0, colour(start, 1.0)),
                GradientStop::new(1.0, colour(end, 1.0)),
            ],
            SpreadMode::Pad,
            Transform::identity(),
        )
        .unwrap_or(Shader::SolidColor(colour(start, 1.0))),
    };
    Paint {
        shader,
        ..Paint::default()
    }
}
