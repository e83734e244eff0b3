//! Pictures for tests: small, sound, and no two alike.

use jpeg_encoder::{ColorType, Encoder};

use crate::jpeg::{
    COM, SOI,
    several::{APP2, NUMBER_OF_IMAGES},
};

/// A picture of noise-like stripes; `seed` makes it another one.
pub fn picture(width: u16, height: u16, seed: u8) -> Vec<u8> {
    encode(width, height, seed, |_| {})
}

/// The same, with settings of the encoder.
pub fn encode(width: u16, height: u16, seed: u8, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let pixels: Vec<u8> = (0..u32::from(width) * u32::from(height) * 3)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed)
        .collect();
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, 80);
    set(&mut encoder);
    encoder.encode(&pixels, width, height, ColorType::Rgb).expect("a sound picture");
    jpeg
}

/// The same picture with a comment.
pub fn with_comment(jpeg: &[u8], text: &str) -> Vec<u8> {
    let length = (text.len() as u16 + 2).to_be_bytes();
    [&SOI, &[0xFF, COM][..], &length, text.as_bytes(), &jpeg[2..]].concat()
}

/// Pictures as one MPO.
pub fn mpo(pictures: &[Vec<u8>], little: bool) -> Vec<u8> {
    let number = pictures.len() as u32;
    let entry = |tag: u16, value: u32| match little {
        true => [&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat(),
        false => [&tag.to_be_bytes()[..], &[0, 4, 0, 0, 0, 1], &value.to_be_bytes()].concat(),
    };
    let head: &[u8] = if little { b"MPF\0II\x2A\0\x08\0\0\0\x02\0" } else { b"MPF\0MM\0\x2A\0\0\0\x08\0\x02" };
    let index = [head, &entry(0xB000, 100), &entry(NUMBER_OF_IMAGES, number), &[0; 4]].concat();
    let length = (index.len() as u16 + 2).to_be_bytes();
    let first = [&pictures[0][..2], &[0xFF, APP2], &length, &index, &pictures[0][2..]].concat();
    [first].into_iter().chain(pictures[1..].iter().cloned()).collect::<Vec<_>>().concat()
}

/// A PNG of one pixel with a comment.
pub fn png(text: &str) -> Vec<u8> {
    let chunk = |name: &[u8], content: &[u8]| {
        // Nobody looks at the checksum.
        [&(content.len() as u32).to_be_bytes()[..], name, content, &[0; 4]].concat()
    };
    let header = [&[0, 0, 0, 1, 0, 0, 0, 1][..], &[8, 0, 0, 0, 0]].concat();
    let pixel = [0x78, 0x9C, 0x63, 0x60, 0x00, 0x00, 0x00, 0x02, 0x00, 0x01];
    let comment = [b"Comment\0", text.as_bytes()].concat();
    let chunks = [chunk(b"IHDR", &header), chunk(b"tEXt", &comment), chunk(b"IDAT", &pixel), chunk(b"IEND", b"")];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
}

/// A WebP of one pixel with a chunk of its own.
pub fn webp(text: &str) -> Vec<u8> {
    const PIXEL: &[u8] = b"VP8 \x16\0\0\0\x30\x01\0\x9d\x01\x2a\x01\0\x01\0\x0e\xc0\xfe\x25\xa4\0\x03\x70\0\0\0\0";
    let even = [text.as_bytes(), &[0][..text.len() % 2]].concat();
    let chunks = [b"WEBP", PIXEL, b"TEXT", &(text.len() as u32).to_le_bytes(), &even].concat();
    [&b"RIFF"[..], &(chunks.len() as u32).to_le_bytes(), &chunks].concat()
}
