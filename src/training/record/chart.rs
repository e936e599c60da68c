//! Draws panels of lines as an SVG picture: axes with names and units, a legend beside the lines, on
//! white.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Of a panel, in pixels.
const WIDTH: u32 = 680;
const HEIGHT: u32 = 340;
/// Beside the lines of a panel that has several.
const LEGEND: u32 = 170;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(60, 60, 60);
const GRID: RGBColor = RGBColor(228, 228, 228);
/// Told apart by most people who confuse colours, too (Okabe and Ito's, with the yellow darkened).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(110, 110, 110),
    RGBColor(176, 160, 0),
];

/// One diagram.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    pub title: String,
    pub x: Axis,
    /// What the upright axis counts, with its unit.
    pub y: String,
    pub scale: Scale,
    pub lines: Vec<Line>,
}

/// What the level axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    Step,
    Epoch,
}

/// How values are set out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    /// For values above zero.
    Logarithmic,
}

/// One series of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// What the points were smoothed from, drawn faintly behind them.
    pub behind: Vec<(f64, f64)>,
    /// Whether each point is marked: few points are seen better.
    pub marked: bool,
}

/// The panels, two in a row. Each has a line, and each line a point; all values are finite.
pub fn draw(panels: &[Panel]) -> Result<String, Box<dyn Error + Send + Sync>> {
    let across = panels.len().clamp(1, 2);
    let down = panels.len().div_ceil(across).max(1);
    let mut svg = String::new();
    {
        let size = (across as u32 * WIDTH, down as u32 * HEIGHT);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        for (panel, area) in panels.iter().zip(root.split_evenly((down, across))) {
            panel.draw(&area)?;
        }
        root.present()?;
    }
    Ok(svg)
}

impl Panel {
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), Box<dyn Error + Send + Sync>>
    where
        B::ErrorType: 'static,
    {
        let beside = if self.lines.len() > 1 { LEGEND } else { 16 };
        let (lines, legend) = area.split_horizontally(WIDTH - beside);
        let ((left, right), (low, high)) = self.ranges();
        let mut chart = ChartBuilder::on(&lines)
            .caption(&self.title, (FONT, 17).into_font().color(&INK))
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(66)
            .build_cartesian_2d(left..right, low..high)?;
        let count = |x: &f64| match x.fract().abs() < 1e-9 {
            true => thousands(*x),
            false => String::new(),
        };
        let value = |y: &f64| short(self.scale.back(*y));
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK.stroke_width(1))
            .label_style((FONT, 13).into_font().color(&INK))
            .axis_desc_style((FONT, 14).into_font().color(&INK))
            .x_labels(match self.x {
                Axis::Step => 8,
                Axis::Epoch => 10.min((right - left) as usize + 1),
            })
            .y_labels(match self.scale {
                Scale::Linear => 6,
                // Powers of ten.
                Scale::Logarithmic => (high - low) as usize + 1,
            })
            .x_label_formatter(&count)
            .y_label_formatter(&value)
            .x_desc(match self.x {
                Axis::Step => "step",
                Axis::Epoch => "epoch",
            })
            .y_desc(&self.y)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let at = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
                points.iter().map(|&(x, y)| (x, self.scale.on(y))).collect()
            };
            chart.draw_series(LineSeries::new(at(&line.behind), colour.mix(0.25)))?;
            chart.draw_series(LineSeries::new(at(&line.points), colour.stroke_width(2)))?;
            if line.marked {
                let dots = at(&line.points).into_iter();
                chart.draw_series(dots.map(|point| Circle::new(point, 3, colour.filled())))?;
            }
        }
        if self.lines.len() > 1 {
            self.legend(&legend)?;
        }
        Ok(())
    }

    fn legend<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), Box<dyn Error + Send + Sync>>
    where
        B::ErrorType: 'static,
    {
        let style = (FONT, 13).into_font().color(&INK);
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        for (place, (line, colour)) in self.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let y = 48 + 20 * place as i32;
            let dash = PathElement::new(vec![(2, y), (20, y)], colour.stroke_width(3));
            area.draw(&dash)?;
            area.draw(&Text::new(line.name.clone(), (26, y), style.clone()))?;
        }
        Ok(())
    }

    /// From and to, across and up; with some air above and below.
    fn ranges(&self) -> ((f64, f64), (f64, f64)) {
        let all = self
            .lines
            .iter()
            .flat_map(|line| line.points.iter().chain(&line.behind));
        let whole = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (left, right) = whole(&mut all.clone().map(|&(x, _)| x));
        let (low, high) = whole(&mut all.map(|&(_, y)| self.scale.on(y)));
        let air = match high - low {
            // One value, or the same one all along.
            0.0 => low.abs().max(1e-9) * 0.1,
            between => between * 0.05,
        };
        let right = right.max(left + 1.0);
        ((left, right), (low - air, high + air))
    }
}

impl Scale {
    /// Where a value stands.
    fn on(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
        }
    }

    /// What stands there.
    fn back(self, place: f64) -> f64 {
        match self {
            Scale::Linear => place,
            Scale::Logarithmic => 10f64.powf(place),
        }
    }
}

/// A number of steps.
fn thousands(count: f64) -> String {
    match count.abs() {
        10_000.0.. if count % 1000.0 == 0.0 => format!("{} k", count / 1000.0),
        _ => format!("{count}"),
    }
}

/// A value in three digits.
fn short(value: f64) -> String {
    let size = value.abs();
    if size < 1e-12 {
        return "0".to_owned();
    }
    if !(1e-3..1e5).contains(&size) {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let digits = (2 - size.log10().floor() as i32).clamp(0, 5) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (1.0, "1"),
            (12.34, "12.3"),
            (1234.5, "1234"),
            (0.0004, "4e-4"),
            (-0.052, "-0.052"),
            (2.5e6, "2.5e6"),
        ] {
            assert_eq!(short(value), expected);
        }
        assert_eq!(thousands(250.0), "250");
        assert_eq!(thousands(20_000.0), "20 k");
        assert_eq!(thousands(12_500.0), "12500");
    }
}
