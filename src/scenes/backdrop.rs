//! Turns a setting into a background: sky and ground in its colours, its texture, and now and
//! then a small thing that captions do not mention.

use super::canvas::{Canvas, Fade, Fill};
use super::dice::Dice;
use super::palette::Rgb;
use super::props::{clouds, gulls, hills, measures, slices, stones, window};
use super::shape::{Point, circle, curve, ellipse, rectangle};
use super::truth::Setting;

/// Paints the whole picture.
pub(super) fn paint(canvas: &mut Canvas, setting: Setting, dice: &mut Dice) {
    match setting {
        Setting::Sea => sea(canvas, dice),
        Setting::Meadow => meadow(canvas, dice),
        Setting::Street => street(canvas, dice),
        Setting::Snow => snow(canvas, dice),
        Setting::Night => night(canvas, dice),
        Setting::Desert => desert(canvas, dice),
        Setting::Forest => forest(canvas, dice),
        Setting::Room => room(canvas, dice),
    }
}

const fn rgb(r: u8, g: u8, b: u8) -> Rgb {
    Rgb::bytes(r, g, b)
}

/// Pale sky, teal water with rows of waves.
fn sea(canvas: &mut Canvas, dice: &mut Dice) {
    let (w, h, unit) = measures(canvas);
    let horizon = h * dice.between(0.26, 0.42);
    let sky = rgb(196, 226, 240).jitter(dice, 0.03);
    canvas.band(0.0, horizon + 1.0, sky, sky.mix(rgb(250, 246, 230), 0.6));
    if dice.chance(0.6) {
        clouds(canvas, horizon, rgb(255, 255, 255), dice);
    }
    if dice.chance(0.4) {
        gulls(canvas, horizon, dice);
    }
    let water = rgb(76, 164, 180).jitter(dice, 0.03);
    canvas.band(
        horizon,
        h,
        water.mix(rgb(190, 230, 228), 0.25),
        water.mix(rgb(18, 82, 112), 0.55),
    );
    let mut y = horizon + unit * 0.05;
    let mut depth = 0.6;
    while y < h {
        let length = unit * 0.09 * depth;
        let mut x = -length * dice.unit();
        let mut crests = Vec::new();
        while x < w {
            let half = length * dice.between(0.8, 1.2);
            crests.push(curve(
                (x, y),
                (x + half * 0.5, y - half * 0.45),
                (x + half, y),
            ));
            x += half * dice.between(1.0, 1.9);
        }
        let foam = rgb(222, 244, 244);
        canvas.lines(
            &slices(&crests),
            foam,
            dice.between(0.55, 0.85),
            unit * 0.008 * depth,
        );
        y += unit * 0.075 * depth;
        depth += 0.12;
    }
}

/// Blue sky, bright yellowish green ground with blades of grass.
fn meadow(canvas: &mut Canvas, dice: &mut Dice) {
    let (w, h, unit) = measures(canvas);
    let horizon = h * dice.between(0.30, 0.48);
    let sky = rgb(158, 208, 242).jitter(dice, 0.03);
    canvas.band(0.0, h, sky, rgb(236, 244, 240));
    if dice.chance(0.7) {
        clouds(canvas, horizon, rgb(255, 255, 255), dice);
    }
    let grass = rgb(158, 206, 98).jitter(dice, 0.04);
    let far = hills(w, horizon, unit * 0.05, dice);
    canvas.ground(&far, Fade::plain(grass.mix(rgb(120, 180, 130), 0.35)));
    let near = hills(w, horizon + unit * 0.07, unit * 0.03, dice);
    canvas.ground(
        &near,
        Fade {
            top: horizon,
            from: grass,
            bottom: h,
            to: grass.mix(rgb(84, 146, 50), 0.55),
        },
    );
    for (colour, blades) in [(rgb(92, 152, 56), 60), (rgb(196, 226, 130), 30)] {
        let blades: Vec<Vec<Point>> = (0..blades)
            .map(|_| {
                let y = dice.between(horizon + unit * 0.14, h + unit * 0.02);
                let size = unit * 0.035 * (0.6 + (y - horizon) / h);
                let x = dice.between(0.0, w);
                let lean = dice.between(-0.5, 0.5) * size;
                curve((x, y), (x, y - size * 0.6), (x + lean, y - size))
            })
            .collect();
        canvas.lines(&slices(&blades), colour, 0.85, unit * 0.007);
    }
}

/// Grey walls, a kerb, asphalt with a dashed line.
fn street(canvas: &mut Canvas, dice: &mut Dice) {
    let (w, h, unit) = measures(canvas);
    let horizon = h * dice.between(0.40, 0.52);
    let sky = rgb(206, 208, 214).jitter(dice, 0.03);
    canvas.band(0.0, horizon, sky, rgb(228, 226, 222));
    let mut left = -unit * 0.1 * dice.unit();
    while left < w {
        let width = unit * dice.between(0.16, 0.30);
        let top = horizon - h * dice.between(0.14, 0.34);
        let wall = rgb(172, 168, 168).jitter(dice, 0.05);
        canvas.fill_plain(&rectangle(left, top, left + width, horizon), wall);
        let mut panes = Vec::new();
        let step = unit * 0.055;
        let mut y = top + step * 0.6;
        while y + step < horizon {
            let mut x = left + step * 0.5;
            while x + step * 0.5 < left + width {
                panes.push(rectangle(x, y, x + step * 0.45, y + step * 0.55));
                x += step;
            }
            y += step * 1.1;
        }
        let pane = wall.mix(rgb(90, 98, 112), 0.45);
        canvas.fill(&slices(&panes), Fill::Plain(pane, 1.0));
        left += width + unit * 0.012;
    }
    let kerb = horizon + unit * 0.10;
    canvas.band(horizon, kerb, rgb(192, 188, 182), rgb(178, 174, 170));
    canvas.band(
        kerb,
        kerb + unit * 0.022,
        rgb(224, 222, 216),
        rgb(208, 206, 200),
    );
    let asphalt = rgb(98, 98, 104).jitter(dice, 0.04);
    canvas.band(
        kerb + unit * 0.022,
        h,
        asphalt.mix(rgb(140, 140, 144), 0.3),
        asphalt,
    );
    let middle = kerb + (h - kerb) * dice.between(0.48, 0.62);
    let slant = unit * 0.03;
    let mut x = -unit * 0.2 * dice.unit();
    let mut dashes = Vec::new();
    while x < w {
        let (near, far) = (middle + unit * 0.018, middle - unit * 0.018);
        let end = x + unit * 0.15;
        dashes.push(vec![
            (x + slant, far),
            (end + slant, far),
            (end, near),
            (x, near),
        ]);
        x += unit * 0.26;
    }
    canvas.fill(&slices(&dashes), Fill::Plain(rgb(238, 236, 226), 1.0));
}

/// A pale sky, white drifts in blue shadow, flakes.
fn snow(canvas: &mut Canvas, dice: &mut Dice) {
    let (w, h, unit) = measures(canvas);
    let horizon = h * dice.between(0.32, 0.48);
    let sky = rgb(172, 188, 208).jitter(dice, 0.03);
    canvas.band(0.0, h, sky, rgb(222, 230, 240));
    let far = hills(w, horizon, unit * 0.06, dice);
    canvas.ground(
        &far,
        Fade {
            top: horizon,
            from: rgb(236, 242, 250),
            bottom: h,
            to: rgb(206, 218, 236),
        },
    );
    let near = hills(w, horizon + unit * 0.16, unit * 0.05, dice);
    let bottom = rgb(218, 228, 242);
    canvas.ground(
        &near,
        Fade {
            top: horizon + unit * 0.1,
            from: rgb(252, 253, 255),
            bottom: h,
            to: bottom,
        },
    );
    let shadows: Vec<Vec<Point>> = (0..6)
        .map(|_| {
            let (x, y) = (
                dice.between(-0.1, 0.9) * w,
                dice.between(horizon + unit * 0.24, h),
            );
            let length = unit * dice.between(0.12, 0.3);
            curve(
                (x, y),
                (x + length * 0.5, y - length * 0.14),
                (x + length, y),
            )
        })
        .collect();
    canvas.lines(&slices(&shadows), rgb(176, 194, 222), 0.7, unit * 0.009);
    for _ in 0..46 {
        let flake = circle(
            dice.between(0.0, w),
            dice.between(0.0, h),
            unit * dice.between(0.006, 0.013),
        );
        canvas.fill(&[&flake], Fill::Plain(rgb(255, 255, 255), 0.95));
    }
}

/// A dark blue sky with stars and a moon above dark hills.
fn night(canvas: &mut Canvas, dice: &mut Dice) {
    let (w, h, unit) = measures(canvas);
    let horizon = h * dice.between(0.62, 0.78);
    let sky = rgb(20, 24, 66).jitter(dice, 0.02);
    canvas.band(
        0.0,
        h,
        sky.mix(rgb(6, 8, 30), 0.4),
        sky.mix(rgb(70, 72, 130), 0.55),
    );
    let stars: Vec<Vec<Point>> = (0..44)
        .map(|_| {
            let radius = unit * dice.between(0.003, 0.008);
            circle(dice.between(0.0, w), dice.between(0.0, horizon), radius)
        })
        .collect();
    canvas.fill(&slices(&stars), Fill::Plain(rgb(255, 250, 220), 0.95));
    let moon = (w * dice.between(0.08, 0.92), h * dice.between(0.07, 0.16));
    let radius = unit * dice.between(0.05, 0.075);
    canvas.fill(
        &[&circle(moon.0, moon.1, radius * 1.35)],
        Fill::Plain(rgb(255, 246, 200), 0.14),
    );
    canvas.fill_plain(&circle(moon.0, moon.1, radius), rgb(250, 240, 196));
    if dice.chance(0.6) {
        let side = if dice.chance(0.5) { 0.5 } else { -0.5 };
        let shadow = circle(
            moon.0 + radius * side,
            moon.1 - radius * 0.15,
            radius * 0.86,
        );
        canvas.fill_plain(&shadow, sky.mix(rgb(6, 8, 30), 0.3));
    }
    canvas.ground(
        &hills(w, horizon, unit * 0.06, dice),
        Fade::plain(rgb(26, 30, 60)),
    );
    canvas.ground(
        &hills(w, horizon + unit * 0.1, unit * 0.04, dice),
        Fade::plain(rgb(16, 20, 42)),
    );
}

/// A hot pale sky and a sun, sandy dunes with ripples.
fn desert(canvas: &mut Canvas, dice: &mut Dice) {
    let (w, h, unit) = measures(canvas);
    let horizon = h * dice.between(0.32, 0.48);
    canvas.band(
        0.0,
        h,
        rgb(244, 224, 190).jitter(dice, 0.03),
        rgb(250, 240, 214),
    );
    let sun = (w * dice.between(0.1, 0.9), horizon * dice.between(0.2, 0.6));
    canvas.fill(
        &[&circle(sun.0, sun.1, unit * 0.085)],
        Fill::Plain(rgb(255, 252, 236), 0.5),
    );
    canvas.fill_plain(&circle(sun.0, sun.1, unit * 0.055), rgb(255, 253, 240));
    let sand = rgb(222, 184, 128).jitter(dice, 0.03);
    let steps = [(0.0, 0.30), (0.12, 0.12), (0.28, 0.0)];
    for (down, pale) in steps {
        let top = horizon + unit * down;
        let dune = hills(w, top, unit * 0.07, dice);
        let crest = sand.mix(rgb(248, 226, 180), 0.35 + pale);
        canvas.ground(
            &dune,
            Fade {
                top: top - unit * 0.08,
                from: crest,
                bottom: top + unit * 0.35,
                to: sand.mix(rgb(180, 136, 88), 0.28),
            },
        );
    }
    let ripples: Vec<Vec<Point>> = (0..12)
        .map(|_| {
            let (x, y) = (
                dice.between(-0.1, 0.95) * w,
                dice.between(horizon + unit * 0.2, h),
            );
            let length = unit * dice.between(0.08, 0.2);
            curve(
                (x, y),
                (x + length * 0.5, y - length * 0.18),
                (x + length, y),
            )
        })
        .collect();
    canvas.lines(&slices(&ripples), rgb(170, 124, 76), 0.6, unit * 0.007);
    if dice.chance(0.4) {
        stones(canvas, horizon + unit * 0.3, dice);
    }
}

/// Dim green depth behind tall trunks that leave the picture, a mossy floor.
fn forest(canvas: &mut Canvas, dice: &mut Dice) {
    let (w, h, unit) = measures(canvas);
    let floor = h * dice.between(0.66, 0.78);
    let depth = rgb(46, 84, 62).jitter(dice, 0.02);
    canvas.band(
        0.0,
        h,
        depth.mix(rgb(16, 44, 34), 0.5),
        depth.mix(rgb(120, 160, 110), 0.35),
    );
    let rows = [(rgb(62, 72, 54), 0.026, 9), (rgb(84, 66, 46), 0.05, 5)];
    for (row, (bark, width, trunks)) in rows.into_iter().enumerate() {
        let bark = bark.jitter(dice, 0.03);
        for i in 0..trunks {
            let x = w * (i as f32 + dice.between(0.1, 0.9)) / trunks as f32;
            let half = unit * width * dice.between(0.35, 0.6);
            let foot = floor + unit * (0.02 + 0.05 * row as f32);
            canvas.fill_plain(
                &[
                    (x - half, -1.0),
                    (x + half, -1.0),
                    (x + half * 1.5, foot),
                    (x - half * 1.5, foot),
                ],
                bark,
            );
        }
    }
    let moss = rgb(66, 92, 44).jitter(dice, 0.03);
    let ground = hills(w, floor, unit * 0.03, dice);
    canvas.ground(
        &ground,
        Fade {
            top: floor,
            from: moss,
            bottom: h,
            to: moss.mix(rgb(30, 44, 24), 0.6),
        },
    );
    let leaf = rgb(30, 66, 40).jitter(dice, 0.02);
    for i in 0..9 {
        let x = w * (i as f32 + dice.between(0.0, 1.0)) / 9.0;
        let radius = unit * dice.between(0.07, 0.12);
        let tone = leaf.mix(rgb(76, 120, 66), dice.between(0.0, 0.35));
        canvas.fill_plain(
            &ellipse(x, dice.between(-0.02, 0.03) * h, radius * 1.3, radius),
            tone,
        );
    }
    let ferns: Vec<Vec<Point>> = (0..34)
        .map(|_| {
            let (x, y) = (dice.between(0.0, w), dice.between(floor + unit * 0.05, h));
            let size = unit * dice.between(0.02, 0.04);
            let lean = dice.between(-0.8, 0.8) * size;
            curve((x, y), (x, y - size), (x + lean, y - size * 0.8))
        })
        .collect();
    canvas.lines(&slices(&ferns), rgb(112, 140, 72), 0.8, unit * 0.007);
}

/// Pastel wallpaper, a skirting board, floorboards.
fn room(canvas: &mut Canvas, dice: &mut Dice) {
    let (w, h, unit) = measures(canvas);
    let floor = h * dice.between(0.64, 0.76);
    let wall = Rgb::hsv(
        dice.between(0.0, 60.0),
        dice.between(0.06, 0.14),
        dice.between(0.90, 0.95),
    );
    canvas.band(0.0, floor, wall, wall.mix(rgb(210, 196, 186), 0.35));
    let pattern = wall.mix(rgb(176, 140, 140), 0.35);
    let step = unit * dice.between(0.075, 0.11);
    let mut x = step * dice.unit();
    let stripes = dice.chance(0.6);
    while x < w {
        if stripes {
            canvas.fill(
                &[&rectangle(x, 0.0, x + step * 0.4, floor)],
                Fill::Plain(pattern, 0.7),
            );
        } else {
            let mut y = step * 0.5;
            let dots: Vec<Vec<Point>> = std::iter::from_fn(|| {
                y += step;
                (y < floor + step).then(|| circle(x, y - step, step * 0.13))
            })
            .collect();
            canvas.fill(&slices(&dots), Fill::Plain(pattern, 1.0));
        }
        x += step;
    }
    if dice.chance(0.5) {
        window(canvas, floor, dice);
    }
    canvas.band(
        floor - unit * 0.04,
        floor,
        rgb(250, 248, 244),
        rgb(232, 228, 222),
    );
    let board = rgb(178, 132, 92).jitter(dice, 0.04);
    canvas.band(floor, h, board.mix(rgb(120, 84, 56), 0.25), board);
    let seam = board.mix(rgb(70, 44, 28), 0.5);
    canvas.lines(&[&[(0.0, floor), (w, floor)]], seam, 0.9, unit * 0.008);
    let seams: Vec<Vec<Point>> = (-3..12)
        .map(|i| {
            let top = w * (i as f32 + 0.5) / 8.0;
            vec![(top, floor), (top + (top - w / 2.0) * 0.6, h)]
        })
        .collect();
    canvas.lines(&slices(&seams), seam, 0.8, unit * 0.006);
}
