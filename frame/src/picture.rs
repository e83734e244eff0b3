//! Whole pictures of the kinds that data sets hold: JPEG, PNG and WebP, told by their bytes alone.

use crate::{
    jpeg::{self, SOI},
    reasons::{DropReason, InvalidReason},
};

/// A kind of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ITU-T T.81.
    Jpeg,
    /// ISO/IEC 15948.
    Png,
    /// RFC 9649.
    WebP,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Jpeg, Kind::Png, Kind::WebP];

    /// The ending of its files' names, with the dot.
    pub fn ending(self) -> &'static str {
        match self {
            Kind::Jpeg => ".jpg",
            Kind::Png => ".png",
            Kind::WebP => ".webp",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Kind::Jpeg => "image/jpeg",
            Kind::Png => "image/png",
            Kind::WebP => "image/webp",
        }
    }
}

/// What a picture's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// What it is.
    pub kind: Kind,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// Why bytes are no whole picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// None of the kinds.
    #[error("it is neither a JPEG nor a PNG nor a WebP")]
    NotPicture,
    /// It begins as one and ends too early.
    #[error("the picture ends too early")]
    Truncated,
}

impl From<Defect> for InvalidReason {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::Empty => InvalidReason::empty,
            Defect::NotPicture => InvalidReason::not_picture,
            Defect::Truncated => InvalidReason::truncated,
        }
    }
}

impl From<Defect> for DropReason {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::Empty => DropReason::empty,
            Defect::NotPicture => DropReason::not_picture,
            Defect::Truncated => DropReason::truncated,
        }
    }
}

impl From<jpeg::Defect> for Defect {
    fn from(defect: jpeg::Defect) -> Self {
        match defect {
            jpeg::Defect::Empty => Defect::Empty,
            jpeg::Defect::NotJpeg => Defect::NotPicture,
            jpeg::Defect::Truncated => Defect::Truncated,
        }
    }
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Checks that `data` is a whole picture, by its structure: nothing is decoded. What follows its end is allowed.
pub fn inspect(data: &[u8]) -> Result<Info, Defect> {
    if data.is_empty() {
        return Err(Defect::Empty);
    }
    if data.starts_with(&SOI) {
        return Ok(jpeg::inspect(data)?.into());
    }
    if data.starts_with(PNG) {
        return png(&data[PNG.len()..]);
    }
    if data.starts_with(b"RIFF") && data.get(8..12).is_some_and(|form| form == b"WEBP") {
        return webp(data);
    }
    Err(Defect::NotPicture)
}

impl From<jpeg::JpegInfo> for Info {
    fn from(info: jpeg::JpegInfo) -> Self {
        Info { kind: Kind::Jpeg, width: info.width.into(), height: info.height.into() }
    }
}

fn be32(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

fn le(data: &[u8], at: usize, bytes: usize) -> Option<u32> {
    Some(data.get(at..at + bytes)?.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// Chunks behind the signature, each with its length, name and checksum, from IHDR to IEND.
fn png(chunks: &[u8]) -> Result<Info, Defect> {
    let header = |at| be32(chunks, at).ok_or(Defect::Truncated);
    if chunks.get(4..8).ok_or(Defect::Truncated)? != b"IHDR" || header(0)? != 13 {
        return Err(Defect::NotPicture);
    }
    let info = Info { kind: Kind::Png, width: header(8)?, height: header(12)? };
    let mut at = 0usize;
    loop {
        let length = header(at)? as usize;
        let name = chunks.get(at + 4..at + 8).ok_or(Defect::Truncated)?;
        let end = at.checked_add(length).and_then(|end| end.checked_add(12)).ok_or(Defect::Truncated)?;
        if end > chunks.len() {
            return Err(Defect::Truncated);
        }
        if name == b"IEND" {
            return Ok(info);
        }
        at = end;
    }
}

/// A RIFF of the form WEBP, whose first chunk has the size.
fn webp(data: &[u8]) -> Result<Info, Defect> {
    let length = le(data, 4, 4).ok_or(Defect::Truncated)? as usize;
    if data.len() - 8 < length {
        return Err(Defect::Truncated);
    }
    let part = |at, bytes| le(data, at, bytes).ok_or(Defect::Truncated);
    let (width, height) = match data.get(12..16).ok_or(Defect::Truncated)? {
        b"VP8 " => (part(26, 2)? & 0x3FFF, part(28, 2)? & 0x3FFF),
        b"VP8L" => {
            let bits = part(21, 4)?;
            ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        }
        b"VP8X" => (part(24, 3)? + 1, part(27, 3)? + 1),
        _ => return Err(Defect::NotPicture),
    };
    Ok(Info { kind: Kind::WebP, width, height })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{picture, png, webp};

    #[test]
    fn a_picture_is_told_by_its_bytes_and_one_that_was_cut_short_is_none() {
        for (data, kind, size) in
            [(picture(32, 16, 0), Kind::Jpeg, (32, 16)), (png("a"), Kind::Png, (1, 1)), (webp("a"), Kind::WebP, (1, 1))]
        {
            let info = inspect(&data).expect("whole");
            assert_eq!((info.kind, info.width, info.height), (kind, size.0, size.1));
            let behind = [&data[..], b"\0\0\0"].concat();
            assert_eq!(inspect(&behind), Ok(info), "{kind:?}");
            for length in 12..data.len() {
                assert_eq!(inspect(&data[..length]), Err(Defect::Truncated), "{kind:?} {length}");
            }
        }
        assert_eq!(inspect(b""), Err(Defect::Empty));
        for other in [&b"GIF89a"[..], b"RIFF\x04\0\0\0WAVE", b"\x89PNG", b"{}"] {
            assert_eq!(inspect(other), Err(Defect::NotPicture));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_picture_or_not(data in prop::collection::vec(any::<u8>(), 0..100), kind in 0usize..3) {
            let start = [&SOI[..], PNG, b"RIFF\x10\0\0\0WEBP"][kind];
            let _ = inspect(&[start, &data[..]].concat());
        }
    }
}
