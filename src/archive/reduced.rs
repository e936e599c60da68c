//! Turns a sequential JPEG into pixels at a half, a quarter or an eighth of its size, without making
//! those of the whole.
//!
//! A photograph of twelve megapixels ends up as a square of 224 pixels. Of each 8×8 block of its
//! coefficients the lowest are then all that is looked at, as in libjpeg's scaled decoding: what
//! remains is to step over the others, which takes a third of the time. zune-jpeg cannot, and
//! jpeg-decoder, which can, invents what a damaged file lacks.
//!
//! What this does not know (progressive, several scans, other colours than grey and YCbCr), and data
//! that ends early or makes no sense, is left to the decoder of whole pictures, to decode or to refuse.

/// Pixels of a picture that was reduced.
pub(super) struct Reduced {
    pub width: usize,
    pub height: usize,
    /// `[height, width, 3]`, u8, red first.
    pub rgb: Vec<u8>,
}

/// Decodes `stream`, which begins with the start marker and ends where the scan's data does, at one
/// `by`th of its size: 2, 4 or 8. `None` if it is of a kind that is not known here, or damaged.
pub(super) fn decode(stream: &[u8], by: usize) -> Option<Reduced> {
    Frame::read(stream)?.decode(by)
}

/// Where the coefficients of a block lie, in the order in which they come (ITU-T T.81, figure 5).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// What the headers say.
#[derive(Default)]
struct Frame<'a> {
    width: usize,
    height: usize,
    components: Vec<Component>,
    /// In zigzag order.
    quantisation: [Option<[f32; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// Blocks of all components between two restart markers; 0 where there are none.
    restart: usize,
    /// Behind the scan's header.
    data: &'a [u8],
}

struct Component {
    name: u8,
    /// Blocks across and down in each unit.
    across: usize,
    down: usize,
    quantisation: usize,
    dc: usize,
    ac: usize,
}

impl<'a> Frame<'a> {
    /// Reads the headers up to the first scan; `None` if the picture is of another kind.
    fn read(stream: &'a [u8]) -> Option<Self> {
        let mut frame = Frame::default();
        let mut rest = stream.strip_prefix(&[0xFF, 0xD8])?;
        loop {
            let [0xFF, marker, tail @ ..] = rest else {
                return None;
            };
            if *marker == 0xFF {
                rest = &rest[1..];
                continue;
            }
            let length = usize::from(u16::from_be_bytes(*tail.first_chunk()?));
            let (segment, behind) = (tail.get(2..length)?, tail.get(length..)?);
            match marker {
                0xC0 | 0xC1 => frame.note_frame(segment)?,
                0xC4 => frame.note_huffman(segment)?,
                0xDB => frame.note_quantisation(segment)?,
                0xDD => frame.restart = usize::from(u16::from_be_bytes(*segment.first_chunk()?)),
                0xDA => {
                    frame.note_scan(segment)?;
                    frame.data = behind;
                    return frame.is_known().then_some(frame);
                }
                // Adobe's: 1 is YCbCr, anything else is another thing.
                0xEE if segment.starts_with(b"Adobe") && segment.get(11) != Some(&1) => {
                    return None;
                }
                0xE0..=0xEF | 0xFE => {}
                _ => return None,
            }
            rest = behind;
        }
    }

    fn note_frame(&mut self, segment: &[u8]) -> Option<()> {
        let &[8, h1, h0, w1, w0, count, ref components @ ..] = segment else {
            return None;
        };
        self.height = usize::from(u16::from_be_bytes([h1, h0]));
        self.width = usize::from(u16::from_be_bytes([w1, w0]));
        let components = components.as_chunks::<3>().0;
        if !self.components.is_empty() || components.len() != usize::from(count) {
            return None;
        }
        self.components = components
            .iter()
            .map(|&[name, sampling, quantisation]| Component {
                name,
                across: usize::from(sampling >> 4),
                down: usize::from(sampling & 0xF),
                quantisation: usize::from(quantisation),
                dc: 0,
                ac: 0,
            })
            .collect();
        Some(())
    }

    fn note_quantisation(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [which, rest @ ..] = segment {
            let mut table = [0.0; 64];
            let bytes = if which >> 4 == 0 { 64 } else { 128 };
            let values = rest.get(..bytes)?;
            for (place, value) in table.iter_mut().enumerate() {
                *value = match bytes {
                    64 => f32::from(values[place]),
                    _ => f32::from(u16::from_be_bytes([
                        values[2 * place],
                        values[2 * place + 1],
                    ])),
                };
            }
            *self.quantisation.get_mut(usize::from(which & 0xF))? = Some(table);
            segment = &rest[bytes..];
        }
        Some(())
    }

    fn note_huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [which, rest @ ..] = segment {
            let counts = rest.first_chunk::<16>()?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let symbols = rest[16..].get(..total)?;
            let table = Huffman::new(counts, symbols)?;
            let tables = if which >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            *tables.get_mut(usize::from(which & 0xF))? = Some(table);
            segment = &rest[16 + total..];
        }
        Some(())
    }

    /// Of a scan of all components, in their order.
    fn note_scan(&mut self, segment: &[u8]) -> Option<()> {
        let (&count, rest) = segment.split_first()?;
        let selectors = rest.get(..2 * usize::from(count))?.as_chunks::<2>().0;
        if selectors.len() != self.components.len() {
            return None;
        }
        for (component, &[name, tables]) in self.components.iter_mut().zip(selectors) {
            if component.name != name {
                return None;
            }
            (component.dc, component.ac) = (usize::from(tables >> 4), usize::from(tables & 0xF));
        }
        Some(())
    }

    fn is_known(&self) -> bool {
        let sampling = |component: &Component| (component.across, component.down);
        let colours = match &self.components[..] {
            [_] => true,
            // What calls its components so has them, whatever else it says.
            [first, ..] if first.name == b'R' => false,
            [first, second, third] => {
                matches!(sampling(first), (1 | 2, 1 | 2))
                    && sampling(second) == (1, 1)
                    && sampling(third) == (1, 1)
            }
            _ => false,
        };
        colours && self.width > 0 && self.height > 0
    }

    fn decode(&self, by: usize) -> Option<Reduced> {
        // Blocks of a picture of one component come one by one, whatever its sampling says.
        let single = self.components.len() == 1;
        let (most_across, most_down) = match &self.components[..] {
            [first, ..] if !single => (first.across, first.down),
            _ => (1, 1),
        };
        let units_across = self.width.div_ceil(8 * most_across);
        let units_down = self.height.div_ceil(8 * most_down);
        let side = 8 / by;
        let mut planes = Vec::new();
        for component in &self.components {
            let (across, down) = match single {
                true => (1, 1),
                false => (component.across, component.down),
            };
            // A colour that was sampled more coarsely is reduced by so much less.
            let (width, height) = (side * most_across / across, side * most_down / down);
            planes.push(Plane {
                across,
                down,
                block: (width, height),
                transform: transform(width, height)?,
                looked_at: looked_at(width, height),
                quantisation: self.quantisation.get(component.quantisation)?.as_ref()?,
                dc: self.dc.get(component.dc)?.as_ref()?,
                ac: self.ac.get(component.ac)?.as_ref()?,
                stride: units_across * across * width,
                predicted: 0,
                samples: vec![0; units_across * across * width * units_down * down * height],
            });
        }
        let segments = unstuffed(self.data)?;
        let units = units_across * units_down;
        let restart = if self.restart == 0 {
            units
        } else {
            self.restart
        };
        if segments.len() != units.div_ceil(restart) {
            return None;
        }
        for (number, segment) in segments.iter().enumerate() {
            let units = number * restart..((number + 1) * restart).min(units);
            read_segment(segment, units, units_across, &mut planes)?;
        }
        let (width, height) = (self.width.div_ceil(by), self.height.div_ceil(by));
        Some(Reduced {
            width,
            height,
            rgb: to_rgb(&planes, width, height),
        })
    }
}

/// A component on its way to samples.
struct Plane<'a> {
    /// Blocks in each unit.
    across: usize,
    down: usize,
    /// Width and height of what a block becomes.
    block: (usize, usize),
    transform: Transform,
    /// Coefficients in zigzag order that matter.
    looked_at: usize,
    quantisation: &'a [f32; 64],
    dc: &'a Huffman,
    ac: &'a Huffman,
    stride: usize,
    /// The last block's first coefficient.
    predicted: i32,
    samples: Vec<u8>,
}

/// Reads the blocks of some units; `None` if they are not all there.
fn read_segment(
    data: &[u8],
    units: std::ops::Range<usize>,
    units_across: usize,
    planes: &mut [Plane],
) -> Option<()> {
    let mut bits = Bits::new(data);
    for plane in planes.iter_mut() {
        plane.predicted = 0;
    }
    for unit in units {
        let (column, line) = (unit % units_across, unit / units_across);
        for plane in planes.iter_mut() {
            for down in 0..plane.down {
                for across in 0..plane.across {
                    let mut block = [0.0; 64];
                    plane.predicted = read_block(&mut bits, plane, &mut block)?;
                    let (width, height) = plane.block;
                    let x = (column * plane.across + across) * width;
                    let y = (line * plane.down + down) * height;
                    let place = y * plane.stride + x;
                    (plane.transform)(&block, &mut plane.samples[place..], plane.stride);
                }
            }
        }
        if bits.is_beyond_the_end() {
            return None;
        }
    }
    Some(())
}

/// Reads one block's coefficients, those that matter into `block`, row by row. Returns the first, as
/// it came; `None` if there are no such coefficients.
#[inline(always)]
fn read_block(bits: &mut Bits, plane: &Plane, block: &mut [f32; 64]) -> Option<i32> {
    bits.refill();
    let entry = plane.dc.look_up(bits)?;
    if entry.run() != 0 {
        return None;
    }
    let first = plane.predicted.wrapping_add(bits.value(entry));
    block[0] = first as f32 * plane.quantisation[0];
    let mut place = 1;
    while place < plane.looked_at {
        bits.refill();
        let entry = plane.ac.look_up(bits)?;
        if entry.symbol == 0 {
            // The end of the block.
            bits.skip(entry.bits());
            return Some(first);
        }
        if entry.size() == 0 && entry.run() != 15 {
            return None;
        }
        place += entry.run();
        if place > 63 {
            // More coefficients than a block has.
            return None;
        }
        let value = bits.value(entry) as f32;
        block[usize::from(ZIGZAG[place])] = value * plane.quantisation[place];
        place += 1;
    }
    if place < 64 {
        step_over(bits, plane.ac, place)?;
    }
    Some(first)
}

/// Takes the coefficients of a block from `place` on; `None` if there are no such ones.
#[inline(always)]
fn step_over(bits: &mut Bits, ac: &Huffman, mut place: usize) -> Option<()> {
    loop {
        bits.refill();
        // As many bits as are held are enough for two of those that are looked up.
        for _ in 0..2 {
            let mut step = ac.steps[(bits.held >> (64 - LOOKED_UP)) as usize];
            let is_long = step.bits == 0;
            if is_long {
                bits.refill();
                step = Step::of(ac.search(bits)?);
                if step.bits == 0 {
                    return None;
                }
            }
            bits.skip(u32::from(step.bits));
            place += usize::from(step.coefficients);
            if place > 63 {
                // Either the last one or the end of the block was just met.
                return (place == 64 || step.coefficients == END).then_some(());
            }
            if is_long {
                break;
            }
        }
    }
}

/// A code's symbol, and how many bits code and value have together.
#[derive(Clone, Copy, Default)]
struct Entry {
    symbol: u8,
    code_bits: u8,
}

impl Entry {
    /// Coefficients of zero before this one.
    fn run(self) -> usize {
        usize::from(self.symbol >> 4)
    }

    /// Bits of the value.
    fn size(self) -> u32 {
        u32::from(self.symbol & 0xF)
    }

    fn bits(self) -> u32 {
        u32::from(self.code_bits) + self.size()
    }
}

/// What it takes to step over a code and its value.
#[derive(Clone, Copy, Default)]
struct Step {
    /// Coefficients that they stand for; [`END`] if they are the last.
    coefficients: u8,
    /// None where there is no such code, or it is not looked up.
    bits: u8,
}

const END: u8 = 128;

impl Step {
    /// Of a coefficient that is not a block's first.
    fn of(entry: Entry) -> Self {
        let coefficients = match entry.symbol {
            0 => END,
            // Sixteen zeros.
            0xF0 => 16,
            symbol if symbol & 0xF == 0 => return Step::default(),
            symbol => (symbol >> 4) + 1,
        };
        match entry.code_bits {
            0 => Step::default(),
            _ => Step {
                coefficients,
                bits: entry.bits() as u8,
            },
        }
    }
}

/// Codes up to this length are looked up, longer ones searched for.
const LOOKED_UP: u32 = 10;

struct Huffman {
    /// By the next bits; no bits where the code is longer or none.
    entries: Box<[Entry; 1 << LOOKED_UP]>,
    /// The same for stepping over.
    steps: Box<[Step; 1 << LOOKED_UP]>,
    /// Of each length, the first code behind those of this length, as 16 bits.
    ends: [u32; 17],
    /// Of each length, what a code's place among the symbols is more than its number.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// `counts`: codes of each length from 1 to 16. `None` if there are no such codes.
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut entries = Box::new([Entry::default(); 1 << LOOKED_UP]);
        let (mut ends, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut place) = (0u32, 0usize);
        for (length, count) in (1u32..).zip(counts) {
            offsets[length as usize] = place as i32 - code as i32;
            for _ in 0..*count {
                if code >> length != 0 {
                    return None;
                }
                if length <= LOOKED_UP {
                    let spare = LOOKED_UP - length;
                    let first = (code << spare) as usize;
                    let entry = Entry {
                        symbol: *symbols.get(place)?,
                        code_bits: length as u8,
                    };
                    entries[first..first + (1 << spare)].fill(entry);
                }
                code += 1;
                place += 1;
            }
            ends[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(Huffman {
            steps: Box::new(entries.map(Step::of)),
            entries,
            ends,
            offsets,
            symbols: symbols.to_vec(),
        })
    }

    /// The code that comes next; `None` if it is none.
    #[inline(always)]
    fn look_up(&self, bits: &Bits) -> Option<Entry> {
        let entry = self.entries[(bits.held >> (64 - LOOKED_UP)) as usize];
        if entry.code_bits != 0 {
            return Some(entry);
        }
        self.search(bits)
    }

    #[cold]
    fn search(&self, bits: &Bits) -> Option<Entry> {
        let next = (bits.held >> 48) as u32;
        let length = (LOOKED_UP + 1..=16).find(|length| next < self.ends[*length as usize])?;
        let code = (next >> (16 - length)) as i32;
        let place = usize::try_from(code + self.offsets[length as usize]).ok()?;
        Some(Entry {
            symbol: *self.symbols.get(place)?,
            code_bits: length as u8,
        })
    }
}

/// The scan's data, bit by bit, with zeros behind its end.
struct Bits<'a> {
    data: &'a [u8],
    /// Of the next byte that is not held.
    place: usize,
    /// The next bits, the first one uppermost.
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Bits {
            data,
            place: 0,
            held: 0,
            count: 0,
        }
    }

    /// Holds at least 56 bits afterwards: more than a code and its value have.
    #[inline(always)]
    fn refill(&mut self) {
        let next = match self.data.get(self.place..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => self.last_bytes(),
        };
        self.held |= next >> self.count;
        self.place += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    #[cold]
    fn last_bytes(&self) -> u64 {
        let rest = self.data.get(self.place..).unwrap_or_default();
        let mut bytes = [0; 8];
        bytes[..rest.len()].copy_from_slice(rest);
        u64::from_be_bytes(bytes)
    }

    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.held <<= bits;
        self.count -= bits;
    }

    /// Takes a code and its value (T.81, F.2.2.1).
    #[inline(always)]
    fn value(&mut self, entry: Entry) -> i32 {
        let size = entry.size();
        self.skip(u32::from(entry.code_bits));
        if size == 0 {
            return 0;
        }
        let value = (self.held >> (64 - size)) as i32;
        self.skip(size);
        // A first bit of zero makes it negative.
        if value >> (size - 1) == 0 {
            value - (1 << size) + 1
        } else {
            value
        }
    }

    /// Whether bits were taken that are not there.
    fn is_beyond_the_end(&self) -> bool {
        self.place * 8 - self.count as usize > self.data.len() * 8
    }
}

/// The data between the restart markers, without the zeros that were stuffed into it. `None` if
/// other markers are in it.
fn unstuffed(data: &[u8]) -> Option<Vec<Vec<u8>>> {
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

/// Turns a block's lowest coefficients into samples of so many columns and rows, the first of which
/// lie at the beginning of the slice, the others a stride further each.
type Transform = fn(&[f32; 64], &mut [u8], usize);

fn transform(width: usize, height: usize) -> Option<Transform> {
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
fn looked_at(width: usize, height: usize) -> usize {
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

/// Colours as JFIF has them.
fn to_rgb(planes: &[Plane], width: usize, height: usize) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    use super::*;
    use crate::archive::jpeg::Jpeg;

    /// Smooth enough that its reduction is its mean over each square.
    fn picture(width: usize, height: usize, channels: usize) -> Vec<u8> {
        let level = |x: usize, y: usize, channel: usize| {
            let (x, y) = (x as f32 / 40.0, y as f32 / 55.0);
            (128.0 + 60.0 * (x + channel as f32).sin() + 50.0 * (y - x / 2.0).cos()) as u8
        };
        (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| (0..channels).map(move |channel| level(x, y, channel)))
            .collect()
    }

    fn jpeg(width: usize, height: usize, channels: usize) -> Vec<u8> {
        let colours = match channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut bytes = Vec::new();
        let pixels = picture(width, height, channels);
        JpegEncoder::new_with_quality(&mut bytes, 95)
            .write_image(&pixels, width as u32, height as u32, colours)
            .unwrap();
        bytes
    }

    /// Without the end marker.
    fn stream(bytes: &[u8]) -> &[u8] {
        bytes.strip_suffix(&[0xFF, 0xD9]).unwrap()
    }

    /// The mean of each square of the whole picture, RGB.
    fn means(bytes: &[u8], width: usize, height: usize, by: usize) -> Vec<f32> {
        let jpeg = Jpeg::new(bytes).unwrap();
        let channels = jpeg.channels;
        let whole = jpeg.read().unwrap();
        let mut means = Vec::new();
        for top in (0..height).step_by(by) {
            for left in (0..width).step_by(by) {
                let (bottom, right) = ((top + by).min(height), (left + by).min(width));
                for channel in 0..3 {
                    let mut sum = 0.0;
                    for y in top..bottom {
                        for x in left..right {
                            let place = (y * width + x) * channels + channel.min(channels - 1);
                            sum += f32::from(whole[place]);
                        }
                    }
                    means.push(sum / ((bottom - top) * (right - left)) as f32);
                }
            }
        }
        means
    }

    #[test]
    fn a_reduced_picture_is_the_whole_one_in_small() {
        for (width, height, channels) in [(320, 240, 3), (323, 241, 3), (64, 200, 1), (8, 8, 3)] {
            let bytes = jpeg(width, height, channels);
            for by in [2, 4, 8] {
                let reduced = decode(stream(&bytes), by).unwrap();
                let size = (width.div_ceil(by), height.div_ceil(by));
                assert_eq!((reduced.width, reduced.height), size);
                let means = means(&bytes, width, height, by);
                assert_eq!(reduced.rgb.len(), means.len());
                for (place, (found, mean)) in reduced.rgb.iter().zip(means).enumerate() {
                    // What lies behind the edge counts in the last squares.
                    let (x, y) = (place / 3 % size.0, place / 3 / size.0);
                    let inside = (x + 1) * by <= width && (y + 1) * by <= height;
                    let off = (f32::from(*found) - mean).abs();
                    assert!(
                        !inside || off < 3.0,
                        "{width}x{height} by {by}: {off} at {x}, {y}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_damaged_is_left_to_others() {
        let bytes = jpeg(320, 240, 3);
        let whole = stream(&bytes);
        for length in [
            0,
            1,
            2,
            20,
            400,
            whole.len() / 2,
            whole.len() - 40,
            whole.len() - 2,
        ] {
            assert!(decode(&whole[..length], 4).is_none(), "{length} bytes");
        }
        // Markers that are none of a sequential picture's.
        for marker in [0xC2, 0xC4, 0xDA, 0xD9, 0xD8] {
            let mut spoilt = whole.to_vec();
            let place = spoilt.len() - 100;
            spoilt[place..place + 2].copy_from_slice(&[0xFF, marker]);
            assert!(decode(&spoilt, 4).is_none(), "{marker:x}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let bytes = jpeg(48, 40, 3);
        let whole = stream(&bytes);
        for place in 2..whole.len() {
            for value in [0, 0xFF, whole[place] ^ 0x10] {
                let mut spoilt = whole.to_vec();
                spoilt[place] = value;
                // Sizes that memory has no room for are refused before anything is decoded.
                if Frame::read(&spoilt).is_some_and(|frame| frame.width * frame.height < 1 << 20) {
                    let _ = decode(&spoilt, 4);
                }
            }
        }
    }
}
