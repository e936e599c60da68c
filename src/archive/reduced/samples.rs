//! Turns the lowest coefficients of a block into the samples of its reduction.

use super::blocks::ZIGZAG;

/// Turns a block's lowest coefficients into samples of so many columns and rows, the first of which
/// lie at the beginning of the slice, the others a stride further each.
pub type Transform = fn(&[f32; 64], &mut [u8], usize);

pub fn transform(width: usize, height: usize) -> Option<Transform> {
    Some(match (width, height) {
        (1, 1) => samples::<1, 1>,
        (2, 2) => samples::<2, 2>,
        (4, 4) => samples::<4, 4>,
        (8, 8) => samples::<8, 8>,
        (2, 1) => samples::<2, 1>,
        (4, 2) => samples::<4, 2>,
        (8, 4) => samples::<8, 4>,
        (1, 2) => samples::<1, 2>,
        (2, 4) => samples::<2, 4>,
        (4, 8) => samples::<4, 8>,
        _ => return None,
    })
}

/// How many coefficients, in zigzag order, hold all those of the first `width` columns and `height`
/// rows.
pub fn looked_at(width: usize, height: usize) -> usize {
    let is_low = |place: &u8| usize::from(place % 8) < width && usize::from(place / 8) < height;
    ZIGZAG.iter().rposition(is_low).map_or(0, |last| last + 1)
}

/// The inverse cosine transform (T.81, A.3.3) of the block that the lowest coefficients are of, in
/// smaller: as many samples as coefficients in each direction.
fn samples<const WIDTH: usize, const HEIGHT: usize>(
    block: &[f32; 64],
    out: &mut [u8],
    stride: usize,
) {
    let (across, down) = (basis::<WIDTH>(), basis::<HEIGHT>());
    // The innermost loops go along a line, so that the compiler does it in one instruction.
    let mut lines = [[0.0; WIDTH]; HEIGHT];
    for (row, line) in lines.iter_mut().enumerate() {
        for frequency in 0..WIDTH {
            let coefficient = block[row * 8 + frequency];
            for (sample, factor) in line.iter_mut().zip(&across[frequency]) {
                *sample += coefficient * factor;
            }
        }
    }
    for y in 0..HEIGHT {
        let mut samples = [128.5; WIDTH];
        for (line, factors) in lines.iter().zip(down) {
            for (sample, value) in samples.iter_mut().zip(line) {
                *sample += value * factors[y];
            }
        }
        let out = &mut out[y * stride..][..WIDTH];
        for (level, sample) in out.iter_mut().zip(samples) {
            *level = sample as u8;
        }
    }
}

/// By frequency and sample, orthonormal but for the factor that keeps the mean.
#[inline(always)]
fn basis<const SIDE: usize>() -> &'static [[f32; 8]; 8] {
    const fn table(side: usize) -> [[f32; 8]; 8] {
        // Cosines of the multiples of a sixteenth of half a turn.
        const COSINES: [f64; 8] = [
            1.0,
            0.980_785_280_403_230_4,
            0.923_879_532_511_286_7,
            0.831_469_612_302_545_2,
            std::f64::consts::FRAC_1_SQRT_2,
            0.555_570_233_019_602_2,
            0.382_683_432_365_089_8,
            0.195_090_322_016_128_27,
        ];
        let mut table = [[0.0; 8]; 8];
        let mut frequency = 0;
        while frequency < side {
            let mut x = 0;
            while x < side {
                // In sixteenths of half a turn, of which thirty-two are a whole one.
                let angle = (2 * x + 1) * frequency * (8 / side) % 32;
                let angle = if angle > 16 { 32 - angle } else { angle };
                let cosine = match angle {
                    0..8 => COSINES[angle],
                    8 => 0.0,
                    _ => -COSINES[16 - angle],
                };
                let norm = if frequency == 0 {
                    std::f64::consts::FRAC_1_SQRT_2
                } else {
                    1.0
                };
                // Orthonormal is the root of 2 / side, and the mean stays with the root of side / 8.
                table[frequency][x] = (cosine * norm / 2.0) as f32;
                x += 1;
            }
            frequency += 1;
        }
        table
    }
    const TABLES: [[[f32; 8]; 8]; 4] = [table(1), table(2), table(4), table(8)];
    static STORED: [[[f32; 8]; 8]; 4] = TABLES;
    &STORED[SIDE.trailing_zeros() as usize]
}
