//! Turns a picture and where a captioner looked into a strip of pictures, one for each word.
//!
//! Where the model looked the picture is as it is; the less it looked, the darker. Weights are shown
//! relative to the largest of their word, spread smoothly between the middles of the regions
//! (arXiv 1502.03044, figures 2 and 3, do much the same).
//!
//! [`pointing`] counts instead of drawing: how often it looked at what it named.

mod letters;
pub mod pointing;

/// Height of a letter's cell with its margins, in letter pixels.
const LINE: usize = letters::HEIGHT + 6;
/// Between two tiles and around them, in pixels.
const MARGIN: usize = 6;
/// What remains of a pixel that was not looked at.
const DARKEST: f32 = 0.12;
/// Tiles in a row.
const ACROSS: usize = 6;

/// A picture that was drawn: `3 * width * height` bytes, RGB, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

/// The weights do not belong to the picture.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExplainError {
    #[error("{bytes} bytes are no square picture of RGB pixels")]
    NoSquare { bytes: usize },
    #[error("{word:?} has {found} weights, which are no square grid of regions")]
    NoGrid { word: String, found: usize },
    #[error("there are no words to explain")]
    NoWords,
}

/// Draws the strip: the picture itself, then once for each word.
///
/// `pixels`: `[side, side, 3]`, what the network was shown; `words`: each with the weights of the
/// regions, row by row, in sum one. Tiles are drawn at `scale` times the size of the picture.
///
/// # Errors
///
/// When `pixels` or weights are no square.
pub fn strip(
    pixels: &[u8],
    words: &[(String, Vec<f32>)],
    scale: usize,
) -> Result<Strip, ExplainError> {
    let bytes = pixels.len();
    let side = square(bytes / 3)
        .filter(|side| side * side * 3 == bytes && *side > 0)
        .ok_or(ExplainError::NoSquare { bytes })?;
    if words.is_empty() {
        return Err(ExplainError::NoWords);
    }
    let scale = scale.max(1);
    let (tile, line) = (side * scale, LINE * letter_scale(side * scale));
    let tiles = words.len() + 1;
    let across = tiles.min(ACROSS);
    let down = tiles.div_ceil(across);
    let mut strip = Strip::white(
        MARGIN + across * (tile + MARGIN),
        MARGIN + down * (tile + line + MARGIN),
    );
    for place in 0..tiles {
        let left = MARGIN + place % across * (tile + MARGIN);
        let top = MARGIN + place / across * (tile + line + MARGIN);
        let word = place.checked_sub(1).map(|place| &words[place]);
        let light = match word {
            Some((word, weights)) => Some(Light::new(word, weights)?),
            None => None,
        };
        for y in 0..tile {
            for x in 0..tile {
                let at = 3 * (y / scale * side + x / scale);
                let share = light.as_ref().map_or(1.0, |light| {
                    light.at(
                        (x as f32 + 0.5) / tile as f32,
                        (y as f32 + 0.5) / tile as f32,
                    )
                });
                let bright = DARKEST + (1.0 - DARKEST) * share;
                let pixel = [0, 1, 2].map(|c| (f32::from(pixels[at + c]) * bright) as u8);
                strip.set(left + x, top + line + y, pixel);
            }
        }
        if let Some((word, _)) = word {
            strip.write(word, left, top, tile);
        }
    }
    Ok(strip)
}

/// The whole root of `n`, if it has one.
fn square(n: usize) -> Option<usize> {
    let root = n.isqrt();
    (root * root == n).then_some(root)
}

/// Letters are as large as a tile has room for.
fn letter_scale(tile: usize) -> usize {
    (tile / 100).clamp(1, 4)
}

/// How much light falls where.
struct Light<'a> {
    weights: &'a [f32],
    side: usize,
    most: f32,
}

impl<'a> Light<'a> {
    fn new(word: &str, weights: &'a [f32]) -> Result<Self, ExplainError> {
        let side = square(weights.len()).filter(|side| *side > 0);
        let side = side.ok_or_else(|| ExplainError::NoGrid {
            word: word.to_owned(),
            found: weights.len(),
        })?;
        let most = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        Ok(Light {
            weights,
            side,
            most,
        })
    }

    /// 0 to 1, at a place given as shares of width and height; bilinear between the regions'
    /// middles.
    fn at(&self, x: f32, y: f32) -> f32 {
        let last = (self.side - 1) as f32;
        let place = |share: f32| (share * self.side as f32 - 0.5).clamp(0.0, last);
        let (x, y) = (place(x), place(y));
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(self.side - 1), (top + 1).min(self.side - 1));
        let weight = |column: usize, row: usize| self.weights[row * self.side + column] / self.most;
        let (across, down) = (x - left as f32, y - top as f32);
        let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
        mix(
            mix(weight(left, top), weight(right, top), across),
            mix(weight(left, bottom), weight(right, bottom), across),
            down,
        )
    }
}

impl Strip {
    fn white(width: usize, height: usize) -> Self {
        Strip {
            width,
            height,
            rgb: vec![255; 3 * width * height],
        }
    }

    fn set(&mut self, x: usize, y: usize, pixel: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            self.rgb[at..at + 3].copy_from_slice(&pixel);
        }
    }

    /// Writes as much of `text` as `room` pixels hold.
    fn write(&mut self, text: &str, left: usize, top: usize, room: usize) {
        let scale = letter_scale(room);
        for (place, letter) in text.chars().enumerate() {
            let start = place * (letters::WIDTH + 1) * scale;
            if start + letters::WIDTH * scale > room {
                return;
            }
            for (row, bits) in letters::rows(letter).into_iter().enumerate() {
                for column in 0..letters::WIDTH {
                    if bits >> (letters::WIDTH - 1 - column) & 1 == 0 {
                        continue;
                    }
                    for y in 0..scale {
                        for x in 0..scale {
                            self.set(
                                left + start + column * scale + x,
                                top + (3 + row) * scale + y,
                                [20, 20, 20],
                            );
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brightness(strip: &Strip, x: usize, y: usize) -> u8 {
        strip.rgb[3 * (y * strip.width + x)]
    }

    #[test]
    fn it_is_light_where_the_model_looked() {
        let words = [("sea".to_owned(), vec![0.0, 1.0, 0.0, 0.0])];
        let strip = strip(&[200; 3 * 40 * 40], &words, 1).unwrap();
        assert_eq!(strip.width, 3 * MARGIN + 80);
        assert_eq!(strip.rgb.len(), 3 * strip.width * strip.height);
        let (left, top) = (2 * MARGIN + 40, MARGIN + LINE);
        assert_eq!(brightness(&strip, left + 39, top), 200);
        assert_eq!(brightness(&strip, left, top + 39), 24);
        // The first tile is the picture as it is.
        assert_eq!(brightness(&strip, MARGIN, top + 39), 200);
    }

    #[test]
    fn many_words_go_on_in_the_next_row() {
        let words: Vec<_> = (0..9).map(|n| (format!("w{n}"), vec![1.0])).collect();
        let strip = strip(&[9; 3 * 32 * 32], &words, 2).unwrap();
        assert_eq!(strip.width, MARGIN + 6 * (64 + MARGIN));
        assert_eq!(strip.height, MARGIN + 2 * (64 + LINE + MARGIN));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let word = |weights: usize| [("boat".to_owned(), vec![0.1; weights])];
        assert_eq!(
            strip(&[0; 10], &word(4), 1),
            Err(ExplainError::NoSquare { bytes: 10 })
        );
        let refused = strip(&[0; 12], &word(5), 1).unwrap_err();
        assert!(refused.to_string().contains("\"boat\" has 5 weights"));
        assert_eq!(strip(&[0; 12], &[], 1), Err(ExplainError::NoWords));
    }
}
