//! Turns the segments of a JPEG before its first scan into what they say.

use super::codes::Codes;
use super::levels::Levels;

/// What the headers say.
#[derive(Default)]
pub struct Frame<'a> {
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
    /// In zigzag order.
    pub quantisation: [Option<[f32; 64]>; 4],
    pub dc: [Option<Codes>; 4],
    pub ac: [Option<Levels>; 4],
    /// Blocks of all components between two restart markers; 0 where there are none.
    pub restart: usize,
    /// Behind the scan's header.
    pub data: &'a [u8],
}

pub struct Component {
    name: u8,
    /// Blocks across and down in each unit.
    pub across: usize,
    pub down: usize,
    pub quantisation: usize,
    pub dc: usize,
    pub ac: usize,
}

impl<'a> Frame<'a> {
    /// Reads the headers up to the first scan; `None` if the picture is of another kind.
    pub fn read(stream: &'a [u8]) -> Option<Self> {
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
            let codes = Codes::new(counts, symbols)?;
            let number = usize::from(which & 0xF);
            match which >> 4 {
                0 => *self.dc.get_mut(number)? = Some(codes),
                _ => *self.ac.get_mut(number)? = Some(Levels::new(codes)),
            }
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
}
