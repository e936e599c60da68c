//! Small files made by hand: headers that claim too much, metadata that makes no sense.

/// A PNG of grey pixels with a header that claims a size and hardly any data.
pub fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1A\n".to_vec();
    let mut chunk = |kind: &[u8; 4], body: &[u8]| {
        bytes.extend((body.len() as u32).to_be_bytes());
        let from = bytes.len();
        bytes.extend(kind);
        bytes.extend(body);
        let sum = crc32(&bytes[from..]);
        bytes.extend(sum.to_be_bytes());
    };
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 0, 0, 0, 0]);
    chunk(b"IHDR", &header);
    // A deflated stream of nothing.
    chunk(b"IDAT", b"\x78\x9C\x03\0\0\0\0\x01");
    chunk(b"IEND", b"");
    bytes
}

/// The checksum of PNG (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

/// A JPEG with an EXIF block as its first segment.
pub fn with_exif(jpeg: &[u8], block: &[u8]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend(b"\xFF\xE1");
    bytes.extend((block.len() as u16 + 8).to_be_bytes());
    bytes.extend(b"Exif\0\0");
    bytes.extend(block);
    bytes.extend(&jpeg[2..]);
    bytes
}

/// A little-endian TIFF whose first directory has this tag, in the place of one it had or as one
/// more. The directory is written anew behind all else.
pub fn with_tag(tiff: &[u8], tag: u16, value: u32) -> Vec<u8> {
    let word = |at: usize| u16::from_le_bytes([tiff[at], tiff[at + 1]]);
    let long = |at: usize| u32::from_le_bytes(*tiff[at..].first_chunk().unwrap());
    assert!(tiff.starts_with(b"II*\0"));
    let directory = long(4) as usize;
    let count = usize::from(word(directory));
    let mut entries: Vec<[u8; 12]> = (0..count)
        .map(|index| *tiff[directory + 2 + index * 12..].first_chunk().unwrap())
        .filter(|entry| u16::from_le_bytes([entry[0], entry[1]]) != tag)
        .collect();
    let mut entry = [0; 12];
    entry[..2].copy_from_slice(&tag.to_le_bytes());
    entry[2..4].copy_from_slice(&4u16.to_le_bytes());
    entry[4..8].copy_from_slice(&1u32.to_le_bytes());
    entry[8..].copy_from_slice(&value.to_le_bytes());
    entries.push(entry);
    entries.sort_by_key(|entry| u16::from_le_bytes([entry[0], entry[1]]));

    let mut bytes = tiff.to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let at = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&at.to_le_bytes());
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend(entries.concat());
    bytes.extend([0; 4]);
    bytes
}
