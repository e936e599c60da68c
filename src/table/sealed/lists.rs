//! Turns pages of lists that all have one length into their values.
//!
//! Parquet says with two levels for each value where lists begin and what is null. A general reader
//! makes numbers of them all, which takes longer than the values do. Of lists of one length they are
//! a few runs each row, and have only to be what is expected.

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::errors::Result;

/// The values of lists of `length` each, `[rows, length]`; `None` if that is not what the pages have,
/// or if they are encoded in a way that is left to the general reader.
pub fn read(pages: &mut dyn PageReader, rows: usize, length: usize) -> Result<Option<Vec<f32>>> {
    if length == 0 {
        return Ok(None);
    }
    let mut values = Vec::with_capacity(rows * length);
    while let Some(page) = pages.get_next_page()? {
        if decode(&page, length, &mut values).is_none() {
            return Ok(None);
        }
    }
    Ok((values.len() == rows * length).then_some(values))
}

/// Adds the values of a page that goes on where `values` end.
fn decode(page: &Page, length: usize, values: &mut Vec<f32>) -> Option<()> {
    let Page::DataPage {
        buf,
        num_values,
        encoding: Encoding::BYTE_STREAM_SPLIT,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        ..
    } = page
    else {
        return None;
    };
    let count = usize::try_from(*num_values).ok()?;
    let places = values.len()..values.len().checked_add(count)?;
    let (starts, rest) = prefixed(buf)?;
    let (nulls, streams) = prefixed(rest)?;
    // A list begins where its level is 0, and has a value where the other one is 1.
    check(starts, places.clone(), |at| at.next_multiple_of(length))?;
    check(nulls, places, |_| usize::MAX)?;
    if streams.len() != count.checked_mul(size_of::<f32>())? {
        return None;
    }
    let (low, high) = streams.split_at(2 * count);
    let ((a, b), (c, d)) = (low.split_at(count), high.split_at(count));
    let bytes = a.iter().zip(b).zip(c.iter().zip(d));
    values.extend(bytes.map(|((&a, &b), (&c, &d))| f32::from_le_bytes([a, b, c, d])));
    Some(())
}

/// What has its length in front of it, and what follows.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// Whether levels of one bit, of the values at `places`, are 0 just there where `next_zero` says that
/// the next such place is; `None` if they are not, or too few.
fn check(
    mut levels: &[u8],
    places: std::ops::Range<usize>,
    next_zero: impl Fn(usize) -> usize,
) -> Option<()> {
    let mut at = places.start;
    while at < places.end {
        let header = varint(&mut levels)?;
        let length = header >> 1;
        if header & 1 == 0 {
            // So many times the level that follows.
            let (level, rest) = levels.split_first()?;
            let end = at.checked_add(length)?.min(places.end);
            let is_expected = match level {
                0 => (at..end).all(|at| next_zero(at) == at),
                1 => next_zero(at) >= end,
                _ => false,
            };
            if !is_expected {
                return None;
            }
            (at, levels) = (end, rest);
        } else {
            // So many bytes of eight levels, the first one lowest; the last byte may be filled up.
            let (bytes, rest) = levels.split_at_checked(length)?;
            for bit in 0..(8 * length).min(places.end - at) {
                let level = bytes[bit / 8] >> (bit % 8) & 1;
                if (level == 0) != (next_zero(at) == at) {
                    return None;
                }
                at += 1;
            }
            levels = rest;
        }
    }
    Some(())
}

/// Takes a number of seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_to_be_those_of_lists_of_one_length() {
        let of = |levels: &[u8], places, length: usize| {
            check(levels, places, |at| at.next_multiple_of(length)).is_some()
        };
        // 0 1 1 0 1 1, then what fills the byte up.
        assert!(of(&[3, 0b0011_0110], 0..6, 3));
        assert!(!of(&[3, 0b0011_0111], 0..6, 3));
        assert!(!of(&[3, 0b0011_0110], 0..6, 2));
        assert!(!of(&[3, 0b0011_0110], 1..7, 3));
        // Twelve lists of one value.
        assert!(of(&[24, 0], 5..17, 1));
        assert!(!of(&[24, 0], 5..17, 2));
        // 200 values that begin no list.
        assert!(of(&[0x90, 3, 1], 1..200, 200));
        assert!(!of(&[0x90, 3, 1], 1..201, 200));
        for cut_short in [
            &[][..],
            &[24],
            &[3],
            &[24, 2],
            &[0x90],
            &[0, 1],
            &[0xFF; 20],
        ] {
            assert!(!of(cut_short, 0..12, 1), "{cut_short:?}");
        }
    }
}
