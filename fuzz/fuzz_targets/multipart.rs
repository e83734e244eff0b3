//! What a camera sends: the parser never panics, finds the same parts however the bytes arrive, and no part is too large.
#![no_main]

use bytes::Bytes;
use edgereel_worker::source::{
    Part,
    multipart::{MultipartParser, ParseError},
};
use libfuzzer_sys::fuzz_target;

const MAX: usize = 4096;

fn parts<'a>(content_type: &str, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Part, ParseError>> {
    let mut parser = MultipartParser::new(content_type, MAX);
    let mut parts = Vec::new();
    for piece in pieces {
        parser.push(Bytes::copy_from_slice(piece));
        while let Some(part) = parser.next() {
            parts.push(part);
        }
    }
    parts
}

fuzz_target!(|data: &[u8]| {
    let Some((&[how, piece], stream)) = data.split_first_chunk::<2>() else { return };
    let content_type = ["multipart/x-mixed-replace; boundary=frame", "", "image/jpeg"][usize::from(how % 3)];
    let whole = parts(content_type, [stream].into_iter());
    for part in whole.iter().flatten() {
        if let Part::Picture(jpeg) = part {
            assert!(jpeg.starts_with(&[0xFF, 0xD8]) && jpeg.len() <= MAX);
        }
    }
    assert_eq!(parts(content_type, stream.chunks(usize::from(piece) + 1)), whole);
});
