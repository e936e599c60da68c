//! Turns a scan's data into bits.

/// The scan's data, bit by bit, with zeros behind its end.
///
/// What is called without being inlined gets it by value: what something points at cannot stay in
/// registers.
#[derive(Clone, Copy)]
pub struct Bits<'a> {
    data: &'a [u8],
    /// Of the next byte that is not held.
    place: usize,
    /// The next bits, the first one uppermost.
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Bits {
            data,
            place: 0,
            held: 0,
            count: 0,
        }
    }

    /// Holds at least 56 bits afterwards: more than a code and its value have.
    #[inline(always)]
    pub fn refill(&mut self) {
        let next = match self.data.get(self.place..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => last_bytes(self.data.get(self.place..).unwrap_or_default()),
        };
        self.held |= next >> self.count;
        self.place += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    #[inline(always)]
    pub fn skip(&mut self, bits: u32) {
        self.held <<= bits;
        self.count -= bits;
    }

    /// The next bits, at most as many as are held.
    #[inline(always)]
    pub fn next(&self, count: u32) -> usize {
        (self.held >> (64 - count)) as usize
    }

    /// Takes a value of so many bits (T.81, F.2.2.1).
    #[inline(always)]
    pub fn value(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let value = (self.held >> (64 - size)) as i32;
        self.skip(size);
        extended(value, size)
    }

    /// Whether bits were taken that are not there.
    pub fn is_beyond_the_end(&self) -> bool {
        self.place * 8 - self.count as usize > self.data.len() * 8
    }
}

/// Fewer than eight bytes, with zeros behind them.
#[cold]
fn last_bytes(rest: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}

/// What the bits of a value stand for.
#[inline(always)]
pub fn extended(value: i32, size: u32) -> i32 {
    // A first bit of zero makes it negative.
    if value >> (size - 1) == 0 {
        value - (1 << size) + 1
    } else {
        value
    }
}

/// The data between the restart markers, without the zeros that were stuffed into it. `None` if
/// other markers are in it.
pub fn unstuffed(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut segments = Vec::new();
    let mut segment = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some(place) = memchr::memchr(0xFF, rest) {
        let marker = rest.get(place + 1).copied();
        segment.extend_from_slice(&rest[..place]);
        match marker {
            Some(0x00) => {
                segment.push(0xFF);
                rest = &rest[place + 2..];
            }
            // A fill byte.
            Some(0xFF) => rest = &rest[place + 1..],
            Some(0xD0..=0xD7) => {
                segments.push(std::mem::take(&mut segment));
                rest = &rest[place + 2..];
            }
            Some(_) => return None,
            // Half a marker: the data ends early, or just before the end marker.
            None => rest = &[],
        }
    }
    segment.extend_from_slice(rest);
    segments.push(segment);
    Some(segments)
}
