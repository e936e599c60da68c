//! Turns codes of coefficients that are not a block's first into what is looked up for them: those
//! that are looked at with their values, and those that are not in strides of several at once.

use super::bits::{Bits, extended};
use super::codes::{Code, Codes};

/// Bits by which a coefficient is looked up with its value.
const READ: u32 = 10;
/// Bits by which a stride is looked up.
const STRIDDEN: u32 = 12;

/// More coefficients than a block has: of the code that says that there are only zeros left.
const END: u8 = 128;

pub struct Levels {
    codes: Codes,
    /// By the next bits; no bits where code and value are longer, or the code is none.
    levels: Box<[Level; 1 << READ]>,
    /// By the next bits; no bits where the code is longer or none.
    strides: Box<[Stride; 1 << STRIDDEN]>,
}

/// A coefficient.
#[derive(Clone, Copy, Default)]
pub struct Level {
    pub value: i16,
    /// Coefficients of zero before it; [`END`] if there are no others left.
    zeros: u8,
    /// Of code and value.
    bits: u8,
}

/// One code or more, with their values.
#[derive(Clone, Copy, Default)]
struct Stride {
    /// Those that they stand for, and [`END`] more if the last code is the end of the block.
    coefficients: u8,
    bits: u8,
}

/// What came of looking for a coefficient.
pub enum Next {
    /// At this place of the block, in zigzag order.
    Level(usize, i16),
    End,
}

impl Levels {
    pub fn new(codes: Codes) -> Self {
        let mut levels = Box::new([Level::default(); 1 << READ]);
        for (next, level) in (0u32..).zip(levels.iter_mut()) {
            *level = looked_up(&codes, next).unwrap_or_default();
        }
        let mut strides = Box::new([Stride::default(); 1 << STRIDDEN]);
        for (next, stride) in (0u32..).zip(strides.iter_mut()) {
            *stride = looked_over(&codes, next);
        }
        Self {
            codes,
            levels,
            strides,
        }
    }

    /// Takes the coefficient that comes after those before `place`; `None` if there is no such one.
    #[inline(always)]
    pub fn next(&self, bits: &mut Bits, place: usize) -> Option<Next> {
        bits.refill();
        let mut level = self.levels[bits.next(READ)];
        match level.bits {
            0 => (*bits, level) = self.long(*bits)?,
            taken => bits.skip(u32::from(taken)),
        }
        let place = place + usize::from(level.zeros);
        if place < 64 {
            return Some(Next::Level(place, level.value));
        }
        // Or more coefficients than a block has.
        (level.zeros == END).then_some(Next::End)
    }

    /// Takes a coefficient that is not looked up.
    #[inline(never)]
    fn long<'a>(&self, mut bits: Bits<'a>) -> Option<(Bits<'a>, Level)> {
        let code = self.codes.next(&bits)?;
        let zeros = coefficients(code)?;
        bits.skip(code.bits());
        let level = Level {
            value: bits.value(code.size()) as i16,
            zeros: if zeros == END { END } else { zeros - 1 },
            bits: 0,
        };
        Some((bits, level))
    }

    /// Takes the coefficients of a block from `place` on; `None` if there are no such ones.
    #[inline(always)]
    pub fn step_over(&self, bits: &mut Bits, mut place: usize) -> Option<()> {
        loop {
            bits.refill();
            // As many bits as are held are enough for two strides.
            for _ in 0..2 {
                let stride = self.strides[bits.next(STRIDDEN)];
                let behind = place + usize::from(stride.coefficients);
                if stride.bits == 0 || behind > 63 {
                    if (usize::from(END)..64 + usize::from(END)).contains(&behind) {
                        bits.skip(u32::from(stride.bits));
                        return Some(());
                    }
                    // What comes next is looked at one by one: a code that is not looked up, or the
                    // last of the block before those of another.
                    (*bits, place) = self.step(*bits, place)?;
                    if place > 63 {
                        return Some(());
                    }
                    break;
                }
                bits.skip(u32::from(stride.bits));
                place = behind;
            }
        }
    }

    /// Takes one code and its value. Returns the place behind them, more than 63 at the block's end.
    #[inline(never)]
    fn step<'a>(&self, mut bits: Bits<'a>, place: usize) -> Option<(Bits<'a>, usize)> {
        bits.refill();
        let code = self.codes.next(&bits)?;
        let coefficients = coefficients(code)?;
        bits.skip(code.bits() + code.size());
        let place = place + usize::from(coefficients);
        (place <= 64 || coefficients == END).then_some((bits, place))
    }
}

/// How many coefficients the code stands for; `None` if there is no such one.
fn coefficients(code: Code) -> Option<u8> {
    match (code.zeros(), code.size()) {
        (0, 0) => Some(END),
        // Sixteen zeros.
        (15, 0) => Some(16),
        (_, 0) => None,
        (zeros, _) => Some(zeros as u8 + 1),
    }
}

/// The coefficient at the beginning of these bits, if they are enough to tell.
fn looked_up(codes: &Codes, next: u32) -> Option<Level> {
    let code = codes.first_of((next << (16 - READ)) as u16)?;
    let coefficients = coefficients(code)?;
    let spare = READ.checked_sub(code.bits() + code.size())?;
    let value = match code.size() {
        0 => 0,
        size => extended((next >> spare & ((1 << size) - 1)) as i32, size),
    };
    Some(Level {
        value: value as i16,
        zeros: if coefficients == END {
            END
        } else {
            coefficients - 1
        },
        bits: (code.bits() + code.size()) as u8,
    })
}

/// As many codes as are whole in these bits.
fn looked_over(codes: &Codes, next: u32) -> Stride {
    let mut stride = Stride::default();
    while u32::from(stride.bits) < STRIDDEN {
        let rest = next << (16 - STRIDDEN + u32::from(stride.bits));
        let left = STRIDDEN - u32::from(stride.bits);
        let code = codes
            .first_of(rest as u16)
            .filter(|code| code.bits() <= left);
        let Some((code, coefficients)) = code.and_then(|code| Some((code, coefficients(code)?)))
        else {
            break;
        };
        // No block has so many behind its first.
        if coefficients != END && stride.coefficients + coefficients > 63 {
            break;
        }
        stride.coefficients += coefficients;
        stride.bits += (code.bits() + code.size()) as u8;
        if coefficients == END {
            break;
        }
    }
    stride
}
