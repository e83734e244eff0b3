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
