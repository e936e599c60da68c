//! Turns the name of a colour into the shades that an object is painted with.
//!
//! Hues jitter within a range that stays clear of the neighbouring colour's range.

use super::dice::Dice;
use super::truth::{Colour, Setting};

/// Red, green and blue, each 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rgb(pub f32, pub f32, pub f32);

impl Rgb {
    /// From bytes, as colours are usually written.
    pub const fn bytes(r: u8, g: u8, b: u8) -> Self {
        Rgb(r as f32 / 255.0, g as f32 / 255.0, b as f32 / 255.0)
    }

    /// From hue in degrees, saturation and value in 0 to 1.
    pub fn hsv(hue: f32, saturation: f32, value: f32) -> Self {
        let channel = |offset: f32| {
            let k = offset + hue / 60.0;
            let k = k - (k / 6.0).floor() * 6.0;
            value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        Rgb(channel(5.0), channel(3.0), channel(1.0))
    }

    /// This colour with `share` of the other in it.
    pub fn mix(self, other: Rgb, share: f32) -> Self {
        let blend = |a: f32, b: f32| a + (b - a) * share;
        Rgb(
            blend(self.0, other.0),
            blend(self.1, other.1),
            blend(self.2, other.2),
        )
    }

    /// Each channel moved by at most `amount`, all channels mostly together.
    pub fn jitter(self, dice: &mut Dice, amount: f32) -> Self {
        let all = dice.between(-amount, amount);
        let mut shift =
            |c: f32| (c + all + dice.between(-amount / 3.0, amount / 3.0)).clamp(0.0, 1.0);
        Rgb(shift(self.0), shift(self.1), shift(self.2))
    }
}

pub(super) const INK: Rgb = Rgb::bytes(34, 30, 38);
pub(super) const CREAM: Rgb = Rgb::bytes(250, 244, 226);

/// The shades that one object is painted with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shades {
    pub body: Rgb,
    pub shade: Rgb,
    pub light: Rgb,
    /// Around the object, against the background.
    pub outline: Rgb,
    /// Lines inside the object.
    pub line: Rgb,
    /// Wheels, eyes.
    pub dark: Rgb,
    /// Windows, highlights.
    pub pale: Rgb,
    /// Masts, trunks, doors.
    pub wood: Rgb,
    /// Beaks, the heart of a flower.
    pub amber: Rgb,
    pub stem: Rgb,
    /// Whether body and background are so alike that the object needs an outline in any style.
    pub needs_outline: bool,
}

impl Shades {
    pub fn new(colour: Colour, setting: Setting, dice: &mut Dice) -> Self {
        let mut hsv = |hue: (f32, f32), saturation: (f32, f32), value: (f32, f32)| {
            Rgb::hsv(
                dice.between(hue.0, hue.1),
                dice.between(saturation.0, saturation.1),
                dice.between(value.0, value.1),
            )
        };
        let body = match colour {
            Colour::Red => hsv((352.0, 363.0), (0.80, 0.92), (0.80, 0.92)),
            Colour::Orange => hsv((23.0, 30.0), (0.86, 0.97), (0.94, 1.0)),
            Colour::Yellow => hsv((49.0, 56.0), (0.76, 0.92), (0.95, 1.0)),
            Colour::Green => hsv((124.0, 146.0), (0.68, 0.85), (0.52, 0.68)),
            Colour::Blue => hsv((213.0, 228.0), (0.74, 0.88), (0.76, 0.92)),
            Colour::Purple => hsv((274.0, 289.0), (0.60, 0.78), (0.58, 0.74)),
            Colour::Black => hsv((200.0, 280.0), (0.04, 0.18), (0.09, 0.16)),
            Colour::White => hsv((30.0, 220.0), (0.0, 0.03), (0.95, 1.0)),
        };
        let dark_setting = matches!(setting, Setting::Night | Setting::Forest);
        let dark_body = matches!(colour, Colour::Black | Colour::Purple | Colour::Blue)
            || (colour == Colour::Green && dark_setting);
        let outline = if dark_setting && dark_body {
            CREAM
        } else {
            INK
        };
        let (shade, light, line) = match colour {
            Colour::Black => (
                Rgb::bytes(62, 62, 70),
                Rgb::bytes(78, 78, 88),
                Rgb::bytes(176, 176, 184),
            ),
            Colour::White => (Rgb::bytes(206, 209, 216), Rgb::bytes(255, 255, 255), INK),
            _ => (
                body.mix(Rgb(0.05, 0.02, 0.12), 0.21),
                body.mix(Rgb(1.0, 1.0, 1.0), 0.34),
                INK,
            ),
        };
        Self {
            body,
            shade,
            light,
            outline,
            line,
            dark: if colour == Colour::Black {
                Rgb::bytes(90, 90, 98)
            } else {
                INK
            },
            pale: if colour == Colour::White {
                Rgb::bytes(150, 170, 186)
            } else {
                Rgb::bytes(236, 242, 244)
            },
            wood: Rgb::bytes(128, 86, 52).jitter(dice, 0.05),
            amber: if matches!(colour, Colour::Yellow | Colour::Orange) {
                Rgb::bytes(112, 70, 40)
            } else {
                Rgb::bytes(244, 186, 60)
            },
            stem: Rgb::bytes(86, 122, 70),
            needs_outline: clash(colour, setting),
        }
    }
}

/// Whether an object of this colour could be lost in the setting without an outline.
fn clash(colour: Colour, setting: Setting) -> bool {
    match colour {
        Colour::White => true,
        Colour::Black | Colour::Purple => matches!(setting, Setting::Night | Setting::Forest),
        Colour::Blue => matches!(setting, Setting::Sea | Setting::Night | Setting::Snow),
        Colour::Green => matches!(setting, Setting::Meadow | Setting::Forest | Setting::Night),
        Colour::Yellow | Colour::Orange => matches!(setting, Setting::Desert | Setting::Room),
        Colour::Red => false,
    }
}
