//! Turns a Huffman table (ITU-T T.81, annex C) into codes that are looked up by the bits that come next.

use super::bits::Bits;

/// Codes up to this length are looked up, longer ones searched for.
const LOOKED_UP: u32 = 10;

pub struct Codes {
    /// By the next bits; no bits where the code is longer or none.
    entries: Box<[Code; 1 << LOOKED_UP]>,
    /// Of each length, the first code behind those of this length, as 16 bits.
    ends: [u32; 17],
    /// Of each length, what a code's place among the symbols is more than its number.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

/// A code, which a value follows.
#[derive(Clone, Copy, Default)]
pub struct Code {
    symbol: u8,
    /// Of the code alone.
    bits: u8,
}

impl Code {
    /// How many bits it has, without the value.
    pub fn bits(self) -> u32 {
        u32::from(self.bits)
    }

    /// Coefficients of zero before this one.
    pub fn zeros(self) -> usize {
        usize::from(self.symbol >> 4)
    }

    /// Bits of the value.
    pub fn size(self) -> u32 {
        u32::from(self.symbol & 0xF)
    }
}

impl Codes {
    /// `counts`: codes of each length from 1 to 16. `None` if there are no such codes.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut entries = Box::new([Code::default(); 1 << LOOKED_UP]);
        let (mut ends, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut place) = (0u32, 0usize);
        for (bits, count) in (1u32..).zip(counts) {
            offsets[bits as usize] = place as i32 - code as i32;
            for _ in 0..*count {
                if code >> bits != 0 {
                    return None;
                }
                if bits <= LOOKED_UP {
                    let spare = LOOKED_UP - bits;
                    let first = (code << spare) as usize;
                    let symbol = *symbols.get(place)?;
                    let entry = Code {
                        symbol,
                        bits: bits as u8,
                    };
                    entries[first..first + (1 << spare)].fill(entry);
                }
                code += 1;
                place += 1;
            }
            ends[bits as usize] = code << (16 - bits);
            code <<= 1;
        }
        Some(Codes {
            entries,
            ends,
            offsets,
            symbols: symbols.to_vec(),
        })
    }

    /// The code that comes next; `None` if it is none.
    #[inline(always)]
    pub fn next(&self, bits: &Bits) -> Option<Code> {
        let code = self.entries[bits.next(LOOKED_UP)];
        if code.bits != 0 {
            return Some(code);
        }
        self.search(bits.next(16) as u32)
    }

    /// The code at the beginning of these 16 bits.
    pub fn first_of(&self, next: u16) -> Option<Code> {
        let code = self.entries[usize::from(next >> (16 - LOOKED_UP))];
        (code.bits != 0).then_some(code)
    }

    /// The code that these 16 bits begin with, if it is longer than those that are looked up.
    #[cold]
    fn search(&self, next: u32) -> Option<Code> {
        let bits = (LOOKED_UP + 1..=16).find(|bits| next < self.ends[*bits as usize])?;
        let code = (next >> (16 - bits)) as i32;
        let place = usize::try_from(code + self.offsets[bits as usize]).ok()?;
        let symbol = *self.symbols.get(place)?;
        Some(Code {
            symbol,
            bits: bits as u8,
        })
    }
}
