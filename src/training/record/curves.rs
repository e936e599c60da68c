//! Chooses which numbers of a training are drawn together, and smooths them.

use std::error::Error;

use super::chart::{self, Axis, Line, Panel, Scale};
use super::numbers::{Numbers, Scope};

/// Points of a line at most: more than that nobody can see.
const POINTS: usize = 600;
/// A smoothed point is the mean of so large a share of the line.
const SMOOTHED: usize = 40;
/// Lines of fewer points are drawn as they are.
const FEW: usize = 80;
/// What is measured is drawn by its size, and called so: the larger would press the smaller flat.
const MAGNITUDES: [(f64, &str); 3] = [
    (1.5, "score or share"),
    (15.0, "score or words"),
    (f64::INFINITY, "count"),
];
/// Values that differ by more than this factor are set out by their logarithm.
const WIDE: f64 = 30.0;

/// The picture, or `None` if there is nothing to draw yet.
pub fn draw(numbers: &Numbers) -> Result<Option<String>, Box<dyn Error + Send + Sync>> {
    let panels = panels(numbers);
    if panels.is_empty() {
        return Ok(None);
    }
    chart::draw(&panels).map(Some)
}

fn panels(numbers: &Numbers) -> Vec<Panel> {
    let step = |name: &str| series(numbers, Scope::Step, name);
    let mut panels = Vec::new();

    let mut token = vec![smoothed("training", step("loss/token"))];
    token.push(epochs("validation", at_steps(numbers, "validation/loss")));
    let nats = "nats per token";
    panels.push((Axis::Step, "Loss of a token", nats, Scale::Linear, token));

    let further = numbers.names(Scope::Step).into_iter();
    let further = further.filter_map(|name| Some((name, name.strip_prefix("loss/")?)));
    let further: Vec<Line> = further
        .filter(|(_, loss)| *loss != "token")
        .map(|(name, loss)| smoothed(loss, step(name)))
        .collect();
    let scale = scale_of(&further);
    let title = "Further losses";
    panels.push((Axis::Step, title, "loss", scale, further));

    let measured = numbers.names(Scope::Epoch).into_iter();
    let measured = measured.filter_map(|name| Some((name, name.strip_prefix("validation/")?)));
    let measured: Vec<Line> = measured
        .filter(|(_, metric)| *metric != "loss")
        .map(|(name, metric)| epochs(metric, series(numbers, Scope::Epoch, name)))
        .collect();
    let title = "On the validation set";
    let mut at_least = 0.0;
    for (at_most, unit) in MAGNITUDES {
        let lines = measured.iter().filter(|line| {
            let largest = line.points.iter().map(|(_, y)| y.abs()).fold(0.0, f64::max);
            largest <= at_most && (largest > at_least || at_least == 0.0)
        });
        let lines = lines.cloned().collect();
        panels.push((Axis::Epoch, title, unit, Scale::Linear, lines));
        at_least = at_most;
    }

    let rate = vec![as_it_is("learning rate", step("learning_rate"))];
    let title = "Optimiser";
    panels.push((Axis::Step, title, "step size", Scale::Linear, rate));

    let norm = vec![smoothed("before clipping", step("gradient_norm"))];
    let title = "Gradient";
    panels.push((Axis::Step, title, "Euclidean norm", scale_of(&norm), norm));

    let finished = panels.into_iter().map(|(x, title, y, scale, mut lines)| {
        lines.retain(|line| !line.points.is_empty());
        let title = match &lines[..] {
            // A single line has no legend.
            [line] => format!("{title}: {}", line.name),
            _ => title.to_owned(),
        };
        Panel {
            title,
            x,
            y: y.to_owned(),
            scale,
            lines,
        }
    });
    finished.filter(|panel| !panel.lines.is_empty()).collect()
}

fn scale_of(lines: &[Line]) -> Scale {
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let (low, high) = (
        values().fold(f64::MAX, f64::min),
        values().fold(f64::MIN, f64::max),
    );
    match low > 0.0 && high > WIDE * low {
        true => Scale::Logarithmic,
        false => Scale::Linear,
    }
}

/// The finite values of a name, over steps or epochs.
fn series(numbers: &Numbers, scope: Scope, name: &str) -> Vec<(f64, f64)> {
    let named = numbers
        .iter()
        .filter(|number| number.scope == scope && number.name == name && number.value.is_finite());
    let point = |number: super::Number| match scope {
        Scope::Step => (number.step as f64, number.value),
        Scope::Epoch => (number.epoch as f64, number.value),
    };
    named.map(point).collect()
}

/// The finite values of something measured each epoch, over steps.
fn at_steps(numbers: &Numbers, name: &str) -> Vec<(f64, f64)> {
    let named = numbers.iter().filter(|number| {
        number.scope == Scope::Epoch && number.name == name && number.value.is_finite()
    });
    named
        .map(|number| (number.step as f64, number.value))
        .collect()
}

fn epochs(name: &str, points: Vec<(f64, f64)>) -> Line {
    Line {
        name: name.to_owned(),
        points,
        behind: Vec::new(),
        marked: true,
    }
}

fn as_it_is(name: &str, points: Vec<(f64, f64)>) -> Line {
    Line {
        name: name.to_owned(),
        points: fewer(&points),
        behind: Vec::new(),
        marked: false,
    }
}

fn smoothed(name: &str, points: Vec<(f64, f64)>) -> Line {
    if points.len() < FEW {
        return as_it_is(name, points);
    }
    Line {
        name: name.to_owned(),
        points: fewer(&moving_mean(&points, points.len() / SMOOTHED)),
        behind: fewer(&points),
        marked: false,
    }
}

/// Each value as the mean of those around it; the values at either end have too few around them.
fn moving_mean(points: &[(f64, f64)], width: usize) -> Vec<(f64, f64)> {
    let mut sums = Vec::with_capacity(points.len() + 1);
    sums.push(0.0);
    for (_, y) in points {
        sums.push(sums[sums.len() - 1] + y);
    }
    let mean = |(at, &(x, _)): (usize, &(f64, f64))| {
        // As far ahead as back, so that a falling line is not shifted at its ends.
        let reach = (width / 2).min(at).min(points.len() - 1 - at);
        let (from, to) = (at - reach, at + reach + 1);
        let enough = 4 * reach + 3 >= width;
        enough.then(|| (x, (sums[to] - sums[from]) / (to - from) as f64))
    };
    points.iter().enumerate().filter_map(mean).collect()
}

/// Means of neighbours, as many as can be seen.
fn fewer(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let together = points.len().div_ceil(POINTS).max(1);
    let mean = |part: &[(f64, f64)]| {
        let count = part.len() as f64;
        let sum = part
            .iter()
            .fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x, sy + y));
        (sum.0 / count, sum.1 / count)
    };
    points.chunks(together).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_is_drawn_together() {
        let mut numbers = Numbers::default();
        let mut push = |scope, name, value| {
            numbers.push(super::super::Number {
                step: 3,
                epoch: 1,
                scope,
                name,
                value,
                at: 0,
            });
        };
        for (name, value) in [
            ("loss/token", 9.0),
            ("loss/presence", 0.5),
            ("loss/roles", 40.0),
            ("loss/broken", f64::NAN),
        ] {
            push(Scope::Step, name, value);
        }
        for (name, value) in [
            ("train_loss", 5.0),
            ("validation/loss", 4.0),
            ("validation/bleu_4", 0.0),
            ("validation/cider_d", 0.8),
            ("validation/words", 800.0),
        ] {
            push(Scope::Epoch, name, value);
        }
        let panels = panels(&numbers);
        let drawn: Vec<_> = panels
            .iter()
            .map(|panel| {
                let names: Vec<_> = panel.lines.iter().map(|line| line.name.as_str()).collect();
                (panel.title.as_str(), panel.scale, names.join(" "))
            })
            .collect();
        let (linear, logarithmic) = (Scale::Linear, Scale::Logarithmic);
        let expected = [
            ("Loss of a token", linear, "training validation"),
            ("Further losses", logarithmic, "presence roles"),
            ("On the validation set", linear, "bleu_4 cider_d"),
            ("On the validation set: words", linear, "words"),
        ];
        let expected = expected.map(|(title, scale, names)| (title, scale, names.to_owned()));
        assert_eq!(drawn, expected);
        let svg = draw(&numbers).unwrap().unwrap();
        assert!(
            svg.contains("nats per token") && svg.contains("cider_d"),
            "{svg}"
        );
        assert_eq!(draw(&Numbers::default()).unwrap(), None);
    }

    #[test]
    fn a_straight_line_stays_straight() {
        let line: Vec<(f64, f64)> = (0..1000)
            .map(|x| (f64::from(x), f64::from(2 * x)))
            .collect();
        for (x, y) in moving_mean(&line, 50).into_iter().chain(fewer(&line)) {
            assert!((y - 2.0 * x).abs() < 1e-6, "{x} {y}");
        }
        assert_eq!(fewer(&line).len(), 500);
    }

    #[test]
    fn the_last_value_alone_bends_no_curve() {
        let mut line: Vec<(f64, f64)> = (0..1000).map(|x| (f64::from(x), 1.0)).collect();
        line[999].1 = 100.0;
        let smooth = moving_mean(&line, 50);
        assert!(smooth.iter().all(|(_, y)| *y < 5.0), "{:?}", smooth.last());
        assert_eq!(moving_mean(&line[..4], 0).len(), 4);
    }
}
