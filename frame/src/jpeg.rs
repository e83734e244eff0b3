//! A JPEG's structure, without decoding it (ITU-T T.81 Annex B).
//!
//! - [`inspect`] reads the header and looks at the end: the cost does not grow with the picture.
//! - [`mend`] puts in what cameras leave out; [`EoiHabit`] decides what a missing end means (the one place that decodes).
//! - [`Walk`] finds the end of a JPEG in a stream.
//! - [`first_of`] tells pictures apart that stand one behind the other.

mod complete;
mod huffman;
mod mend;
pub mod several;
mod walk;

pub use huffman::STANDARD_HUFFMAN_SEGMENT;
pub use mend::{EoiHabit, Mended, MissingEnd, mend};
pub use several::{first_of, images};
pub use walk::{End, Walk};

use memchr::memchr;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::reasons::{DropReason, InvalidReason};

/// The two bytes that a JPEG begins with.
pub const SOI: [u8; 2] = [0xFF, 0xD8];
/// What the beginning of a JPEG is looked for by, among other bytes: a marker follows its SOI.
pub const BEGINNING: [u8; 3] = [0xFF, 0xD8, 0xFF];
/// The two bytes that a JPEG ends with.
pub const EOI: [u8; 2] = [0xFF, 0xD9];

pub(crate) const DHT: u8 = 0xC4;
pub(crate) const COM: u8 = 0xFE;

/// How much padding behind the end is looked through before the slow search for the end begins.
const MAX_PADDING: usize = 64 << 10;

/// What the header says, and where its parts lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JpegInfo {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Colour components: 1 is grey, 3 is colour.
    pub components: u8,
    /// Horizontal and vertical sampling of the first component: `(2, 2)` is 4:2:0, `(2, 1)` is 4:2:2.
    pub sampling: (u8, u8),
    /// Baseline or extended sequential with Huffman coding; progressive and rarer processes are not.
    pub sequential: bool,
    /// Whether a Huffman table stands before the scan. Some cameras leave out the standard ones.
    pub has_huffman_tables: bool,
    /// Offset of the first SOS marker, in bytes.
    pub scan_start: u32,
    /// Bytes from SOI to EOI, both included; what follows is padding.
    pub length: u32,
}

/// Why bytes are not a whole JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// The structure is not that of a JPEG.
    #[error("it is not a JPEG")]
    NotJpeg,
    /// It begins as a JPEG and ends too early.
    #[error("the JPEG ends too early")]
    Truncated,
}

impl From<Defect> for DropReason {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::Empty => DropReason::empty,
            Defect::NotJpeg => DropReason::not_jpeg,
            Defect::Truncated => DropReason::truncated,
        }
    }
}

impl From<Defect> for InvalidReason {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::Empty => InvalidReason::empty,
            Defect::NotJpeg => InvalidReason::not_jpeg,
            Defect::Truncated => InvalidReason::truncated,
        }
    }
}

/// Checks that `data` is a whole JPEG: a sound header, then, without looking at the scan, an EOI at the end. Padding
/// behind the EOI is allowed ([`JpegInfo::length`] leaves it out).
pub fn inspect(data: &[u8]) -> Result<JpegInfo, Defect> {
    let (info, scan_data) = header(data)?;
    let length = length(data, scan_data).ok_or(Defect::Truncated)?;
    Ok(JpegInfo { length, ..info })
}

/// Where the picture ends: at the end, before some padding, or (slow, and rare) wherever the scan's EOI lies. What looks
/// like one before `scan_data` is none.
fn length(data: &[u8], scan_data: usize) -> Option<u32> {
    let floor = data.len().saturating_sub(MAX_PADDING).max(scan_data);
    let padding = data[floor..].iter().rev().take_while(|b| matches!(b, 0x00 | 0xFF | b'\r' | b'\n')).count();
    let unpadded = data.len() - padding;
    let end = if data[scan_data..unpadded].ends_with(&EOI) {
        unpadded
    } else {
        match Walk::new().feed(data)? {
            End::After(n) => n,
            End::Restarts => return None,
        }
    };
    u32::try_from(end).ok()
}

/// Reads the header, and tells where the scan's data begin. The `length` is that of `data`.
fn header(data: &[u8]) -> Result<(JpegInfo, usize), Defect> {
    if data.is_empty() {
        return Err(Defect::Empty);
    }
    let length = u32::try_from(data.len()).map_err(|_| Defect::NotJpeg)?;
    let mut frame = None;
    let mut has_huffman_tables = false;
    let mut segments = Segments::new(data)?;
    while let Some(segment) = segments.next()? {
        match segment.marker {
            DHT => has_huffman_tables = true,
            // JPG and DAC lie between the SOFs without being any.
            0xC0..=0xCF if !matches!(segment.marker, 0xC8 | 0xCC) => {
                frame = Some(FrameHeader::read(segment).ok_or(Defect::NotJpeg)?);
            }
            _ => {}
        }
    }
    let FrameHeader { width, height, components, sampling, sequential } = frame.ok_or(Defect::NotJpeg)?;
    let scan_start = segments.at as u32;
    let info = JpegInfo { width, height, components, sampling, sequential, has_huffman_tables, scan_start, length };
    Ok((info, segments.scan_data))
}

/// What a SOF segment says.
struct FrameHeader {
    width: u16,
    height: u16,
    components: u8,
    sampling: (u8, u8),
    sequential: bool,
}

impl FrameHeader {
    fn read(segment: Segment<'_>) -> Option<Self> {
        let [_precision, h1, h0, w1, w0, components, rest @ ..] = segment.body else { return None };
        let (width, height) = (u16::from_be_bytes([*w1, *w0]), u16::from_be_bytes([*h1, *h0]));
        let [_id, sampling, ..] = rest else { return None };
        let sampling = (sampling >> 4, sampling & 15);
        let sound = width > 0 && height > 0 && (1..=4).contains(components) && rest.len() >= 3 * *components as usize;
        let sound = sound && (1..=4).contains(&sampling.0) && (1..=4).contains(&sampling.1);
        let sequential = matches!(segment.marker, 0xC0 | 0xC1);
        sound.then_some(FrameHeader { width, height, components: *components, sampling, sequential })
    }
}

/// One segment of the header.
#[derive(Clone, Copy)]
struct Segment<'a> {
    marker: u8,
    /// From the marker's FF to the end of the segment.
    whole: &'a [u8],
    /// Behind the length.
    body: &'a [u8],
}

/// The segments between SOI and the first SOS.
struct Segments<'a> {
    data: &'a [u8],
    /// Where the next segment begins; after the last one, where the SOS begins.
    at: usize,
    /// After the last one, where the SOS ends.
    scan_data: usize,
}

impl<'a> Segments<'a> {
    fn new(data: &'a [u8]) -> Result<Self, Defect> {
        if data.starts_with(&SOI) { Ok(Segments { data, at: 2, scan_data: 0 }) } else { Err(Defect::NotJpeg) }
    }

    /// The next segment; `None` at a whole SOS. Stray bytes between two segments are passed over, as decoders do.
    fn next(&mut self) -> Result<Option<Segment<'a>>, Defect> {
        loop {
            let Some(stray) = memchr(0xFF, self.data.get(self.at..).unwrap_or_default()) else {
                // Without any marker it is something else that begins like a JPEG.
                let foreign = self.at == SOI.len() && self.at < self.data.len();
                return Err(if foreign { Defect::NotJpeg } else { Defect::Truncated });
            };
            self.at += stray;
            match *self.data.get(self.at + 1).ok_or(Defect::Truncated)? {
                // Fill bytes may stand before any marker; TEM and RSTn have no body; a stuffed zero is no marker.
                0xFF => self.at += 1,
                0x00 | 0x01 | 0xD0..=0xD7 => self.at += 2,
                0x02..=0xBF | 0xD8 | 0xD9 => return Err(Defect::NotJpeg),
                _ => break,
            }
        }
        let rest = &self.data[self.at..];
        let [_, marker, l1, l0, ..] = *rest else { return Err(Defect::Truncated) };
        let end = 2 + usize::from(u16::from_be_bytes([l1, l0]));
        if end < 4 {
            return Err(Defect::NotJpeg);
        }
        let whole = rest.get(..end).ok_or(Defect::Truncated)?;
        if marker == 0xDA {
            self.scan_data = self.at + end;
            return Ok(None);
        }
        self.at += end;
        Ok(Some(Segment { marker, whole, body: &whole[4..] }))
    }
}

/// A fingerprint of the picture alone: its tables and scans, without application data and comments, so that a clock in
/// the metadata does not hide a frozen picture. `info` must come from these bytes; others give a meaningless value.
pub fn picture_hash(data: &[u8], info: &JpegInfo) -> u64 {
    let mut hash = 0;
    if let Ok(mut segments) = Segments::new(data) {
        while let Ok(Some(segment)) = segments.next() {
            if !matches!(segment.marker, 0xE0..=0xEF | COM) {
                hash = xxh3_64_with_seed(segment.whole, hash);
            }
        }
    }
    let scan = data.get(info.scan_start as usize..(info.length as usize).min(data.len()));
    xxh3_64_with_seed(scan.unwrap_or_default(), hash)
}

/// The text of the first comment segment.
pub fn comment(data: &[u8]) -> Option<&[u8]> {
    let mut segments = Segments::new(data).ok()?;
    while let Ok(Some(segment)) = segments.next() {
        if segment.marker == COM {
            return Some(segment.body);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::SamplingFactor;
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{encode, picture, with_comment};

    #[test]
    fn the_header_tells_size_sampling_and_process() {
        let info = inspect(&encode(64, 48, 1, |e| e.set_sampling_factor(SamplingFactor::F_2_2))).expect("sound");
        assert_eq!((info.width, info.height, info.components, info.sampling), (64, 48, 3, (2, 2)));
        assert!(info.sequential && info.has_huffman_tables);
        let info = inspect(&encode(64, 48, 1, |e| e.set_progressive(true))).expect("sound");
        assert!(!info.sequential);
    }

    #[test]
    fn what_is_no_whole_jpeg_is_refused_with_its_reason() {
        let jpeg = picture(32, 32, 0);
        let without_end = &jpeg[..jpeg.len() - 2];
        let cases: [(&[u8], Defect); 8] = [
            (b"", Defect::Empty),
            (b"<html>", Defect::NotJpeg),
            (&SOI, Defect::Truncated),
            (&[0xFF, 0xD8, 0xFF, 0xD9], Defect::NotJpeg),
            (&[0xFF, 0xD8, 0xFF, 0xDA, 0, 2, 0xFF, 0xD9], Defect::NotJpeg),
            (&[0xFF, 0xD8, 0xFF, 0xE0, 0, 1, 0xFF, 0xD9], Defect::NotJpeg),
            (without_end, Defect::Truncated),
            (&jpeg[..100], Defect::Truncated),
        ];
        for (data, defect) in cases {
            assert_eq!(inspect(data), Err(defect), "{:02x?}", &data[..data.len().min(16)]);
        }
    }

    #[test]
    fn padding_behind_the_end_is_found_and_left_out() {
        let jpeg = picture(32, 32, 0);
        for padding in [&b"\r\n"[..], &[0; 70_000], &[0xFF; 100], b"trailer of some maker", &[0xFF, 0xD9]] {
            let info = inspect(&[&jpeg, padding].concat()).expect("sound");
            // A second EOI is indistinguishable from the first without reading the scan: it may stay.
            let expected = if padding == EOI { jpeg.len() + 2 } else { jpeg.len() };
            assert_eq!(info.length as usize, expected);
        }
    }

    #[test]
    fn fill_bytes_and_thumbnails_do_not_confuse_the_walk() {
        let jpeg = picture(32, 32, 0);
        let thumbnail = picture(16, 16, 9);
        let length = (thumbnail.len() as u16 + 2).to_be_bytes();
        let data = [&[0xFF, 0xD8, 0xFF, 0xFF, 0xFF, 0xE1][..], &length, &thumbnail, &jpeg[2..]].concat();
        let info = inspect(&data).expect("sound");
        assert_eq!((info.width, info.length as usize), (32, data.len()));
    }

    #[test]
    fn stray_bytes_between_segments_are_passed_over_as_decoders_do() {
        let jpeg = encode(32, 32, 0, |e| {
            e.add_app_segment(1, b"a segment before them".to_vec()).expect("small");
        });
        // Behind the SOI, and behind the first segment. Among them a stuffed zero; but never a marker.
        let first = 4 + usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
        for stray in [vec![7; 608], b"\xFF\x00".to_vec(), b"text\r\n".to_vec()] {
            for at in [2, first - 2] {
                let data = [&jpeg[..at], &stray, &jpeg[at..]].concat();
                let info = inspect(&data).unwrap_or_else(|e| panic!("{at}: {e}"));
                assert_eq!((info.width, info.length as usize), (32, data.len()), "at {at}");
            }
        }
        assert_eq!(inspect(b"\xFF\xD8 and then text"), Err(Defect::NotJpeg));
    }

    #[test]
    fn an_end_within_the_scans_header_is_none() {
        let jpeg = picture(32, 32, 0);
        let info = inspect(&jpeg).expect("sound");
        let sos = info.scan_start as usize;
        let cut = [&jpeg[..sos], &[0xFF, 0xDA, 0, 40, 3, 0xFF, 0xD9], &[0; 60]].concat();
        assert_eq!(inspect(&cut), Err(Defect::Truncated));
    }

    #[test]
    fn a_comment_changes_neither_the_picture_nor_its_hash() {
        let (one, other) = (picture(32, 32, 1), picture(32, 32, 2));
        let hash = |data: &[u8]| picture_hash(data, &inspect(data).expect("sound"));
        let commented = with_comment(&one, "frame 7");
        assert_eq!(comment(&commented), Some(&b"frame 7"[..]));
        assert_eq!(comment(&one), None);
        assert_eq!(hash(&one), hash(&commented));
        assert_eq!(hash(&one), hash(&[&one[..], &[0; 9]].concat()));
        assert_ne!(hash(&one), hash(&other));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..400), jpegish in any::<bool>()) {
            let data = if jpegish { [&SOI[..], &[0xFF], &data].concat() } else { data };
            if let Ok(info) = inspect(&data) {
                prop_assert!(info.scan_start < info.length && info.length as usize <= data.len());
                picture_hash(&data, &info);
            }
            comment(&data);
        }

        #[test]
        fn a_jpeg_cut_anywhere_is_never_taken_for_whole(cut in 0usize..10_000) {
            let jpeg = picture(48, 48, 3);
            let cut = cut % (jpeg.len() - 1);
            prop_assert!(inspect(&jpeg[..cut]).is_err());
        }

        #[test]
        fn a_damaged_jpeg_never_panics(at in 0usize..10_000, value in any::<u8>()) {
            let mut jpeg = picture(48, 48, 3);
            let at = at % jpeg.len();
            jpeg[at] = value;
            if let Ok(info) = inspect(&jpeg) {
                prop_assert!(info.length as usize <= jpeg.len());
            }
        }
    }
}
