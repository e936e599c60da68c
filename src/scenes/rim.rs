//! How a picture with transparent edges fades towards them, and what it looks like on white.

use super::Scene;

/// Opacity, 0 to 255, of the pixel at `x`, `y` of a picture of `width` × `height`: none at the edge, all
/// from a rim of a twenty-fourth of the shorter side on.
pub(super) fn opacity(x: u32, y: u32, width: u32, height: u32) -> u8 {
    let rim = width.min(height) / 24 + 1;
    let edge = x.min(y).min(width - 1 - x).min(height - 1 - y).min(rim);
    (edge * 255 / rim) as u8
}

/// Fades a scene to white at its edges, as it looks once its transparent edges lie on white.
pub(super) fn fade(scene: &mut Scene) {
    let (width, height) = (scene.width, scene.height);
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    for ((x, y), pixel) in places.zip(scene.pixels.chunks_exact_mut(3)) {
        let opacity = u32::from(opacity(x, y, width, height));
        for value in pixel {
            *value = ((u32::from(*value) * opacity + 255 * (255 - opacity)) / 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::*;

    #[test]
    fn the_edge_is_white_and_the_middle_as_it_was() {
        let frame = Frame::new(96, 64).unwrap();
        let whole = Scene::draw(3, 5, &frame, 0.0);
        let mut faded = whole.clone();
        fade(&mut faded);
        assert_eq!(faded.pixels[..3 * 96], vec![255; 3 * 96][..]);
        let row = |scene: &Scene| scene.pixels[3 * (96 * 32 + 10)..3 * (96 * 32 + 86)].to_vec();
        assert_eq!(row(&faded), row(&whole));
        assert_eq!(faded.captions, whole.captions);
    }
}
