//! Turns the samples of all components into pixels.

use super::blocks::Plane;

/// Colours as JFIF has them.
pub fn to_rgb(planes: &[Plane], width: usize, height: usize) -> Vec<u8> {
    let mut rgb = vec![0; width * height * 3];
    for (y, out) in rgb.chunks_exact_mut(width * 3).enumerate() {
        let out = out.as_chunks_mut::<3>().0.iter_mut();
        let line = |plane: &Plane| {
            let begin = y * plane.stride;
            begin..begin + width
        };
        match planes {
            [luma, blue, red] => {
                let colours = blue.samples[line(blue)].iter().zip(&red.samples[line(red)]);
                let levels = luma.samples[line(luma)].iter().zip(colours);
                for (pixel, (&luma, (&blue, &red))) in out.zip(levels) {
                    *pixel = colour(luma, blue, red);
                }
            }
            _ => {
                let levels = &planes[0].samples[line(&planes[0])];
                for (pixel, &level) in out.zip(levels) {
                    *pixel = [level; 3];
                }
            }
        }
    }
    rgb
}

#[inline(always)]
fn colour(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    // In 65536ths, with a half for rounding.
    let level = (i32::from(luma) << 16) + (1 << 15);
    let (blue, red) = (i32::from(blue) - 128, i32::from(red) - 128);
    [
        level + 91_881 * red,
        level - 22_554 * blue - 46_802 * red,
        level + 116_130 * blue,
    ]
    .map(|level| (level >> 16).clamp(0, 255) as u8)
}
