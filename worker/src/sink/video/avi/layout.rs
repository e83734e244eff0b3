//! The fixed header and the indexes of an AVI file, as bytes.

use super::{Format, Rate};

/// A frame in its RIFF's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From the FourCC `movi` to the chunk's header.
    pub offset: u32,
    /// The content's length.
    pub length: u32,
    /// Whether decoding can begin here.
    pub key: bool,
}

/// A closed RIFF in the file's list of indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Where its `ix00` stands in the file.
    pub index: u64,
    /// The length of `ix00`, its header included.
    pub index_length: u32,
    /// Frames in it.
    pub frames: u32,
}

/// What the header says of the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Speed.
    pub rate: Rate,
    /// Frames in the file, repetitions included.
    pub frames: u64,
    /// Frames in the first RIFF.
    pub first_frames: u64,
    /// Bytes of the first RIFF.
    pub first_bytes: u64,
    /// RIFFs with an index.
    pub closed: usize,
    /// Whether the first RIFF has its `idx1`.
    pub indexed: bool,
}

/// Where `indx` begins: RIFF, hdrl, avih, strl, strh, strf.
pub const INDX: u64 = 12 + 12 + 64 + 12 + 64 + 48;
/// Where the places in `indx` begin.
pub const PLACES: u64 = INDX + 8 + 24;
/// Bytes of one place in `indx`.
pub const PLACE: u64 = 16;
/// `dmlh`'s content; only its first four bytes mean something.
const DMLH: u64 = 248;
/// The bytes before the first frame are a multiple of this.
const ALIGN: u64 = 4096;
/// Room for a note in the `JUNK` that fills up, in bytes.
pub const NOTE: usize = 1024;
/// RIFF header, list header.
pub const AVIX_HEADER: u64 = 24;

/// Where `dmlh`'s count stands.
pub fn dmlh(riffs: usize) -> u64 {
    PLACES + PLACE * riffs as u64 + 12 + 8
}

/// Where the note stands, in the `JUNK` after `dmlh`.
pub fn note(riffs: usize) -> u64 {
    dmlh(riffs) + DMLH + 8
}

/// Where the FourCC `movi` of the first RIFF stands; the first frame follows it.
pub fn first_movi(riffs: usize) -> u64 {
    (note(riffs) + NOTE as u64 + 12).next_multiple_of(ALIGN) - 4
}

/// Grows by little-endian fields.
struct Fields(Vec<u8>);

impl Fields {
    fn tag(&mut self, tag: &[u8; 4]) -> &mut Self {
        self.0.extend_from_slice(tag);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn chunk(&mut self, tag: &[u8; 4], size: u64) -> &mut Self {
        self.tag(tag).u32(clamp(size))
    }
}

/// Fields of 32 bits that only inform (counts after many years) stay at their largest value rather than begin anew.
fn clamp(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The part of the header that changes, from the first byte to the places in `indx`.
pub fn head(format: &Format, totals: &Totals, riffs: usize) -> Vec<u8> {
    let Format { codec, width, height } = *format;
    let (w, h) = (u32::from(width), u32::from(height));
    let raw_bytes = clamp(3 * u64::from(width) * u64::from(height));
    let strl = 4 + 64 + 48 + 8 + 24 + PLACE * riffs as u64;
    let hdrl = 4 + 64 + 8 + strl + 8 + 4 + 8 + DMLH;
    let frame_us = 1_000_000 * u64::from(totals.rate.seconds) / u64::from(totals.rate.frames.max(1));
    // Flags: interleaved, chunk types can be trusted; has an index.
    let flags = 0x100 | 0x800 | if totals.indexed { 0x10 } else { 0 };
    let mut f = Fields(Vec::with_capacity(PLACES as usize));
    f.chunk(b"RIFF", totals.first_bytes - 8).tag(b"AVI ");
    f.chunk(b"LIST", hdrl).tag(b"hdrl");
    f.chunk(b"avih", 56).u32(clamp(frame_us)).u32(0).u32(0).u32(flags);
    f.u32(clamp(totals.first_frames)).u32(0).u32(1).u32(raw_bytes).u32(w).u32(h);
    f.u32(0).u32(0).u32(0).u32(0);
    f.chunk(b"LIST", strl).tag(b"strl");
    f.chunk(b"strh", 56).tag(b"vids").tag(&codec).u32(0).u32(0).u32(0);
    f.u32(totals.rate.seconds).u32(totals.rate.frames).u32(0).u32(clamp(totals.frames));
    f.u32(raw_bytes).u32(u32::MAX).u32(0).u16(0).u16(0).u16(width).u16(height);
    f.chunk(b"strf", 40).u32(40).u32(w).u32(h).u16(1).u16(24).tag(&codec);
    f.u32(raw_bytes).u32(0).u32(0).u32(0).u32(0);
    f.chunk(b"indx", 24 + PLACE * riffs as u64).u16(4).u16(0).u32(totals.closed as u32).tag(b"00dc");
    f.u32(0).u32(0).u32(0);
    debug_assert_eq!(f.0.len() as u64, PLACES);
    f.0
}

/// The whole header of a file without frames. Of `text`, as much is noted as there is room for.
pub fn header(format: &Format, totals: &Totals, riffs: usize, text: &str) -> Vec<u8> {
    let movi = first_movi(riffs);
    let mut f = Fields(head(format, totals, riffs));
    f.0.resize((PLACES + PLACE * riffs as u64) as usize, 0);
    f.chunk(b"LIST", 4 + 8 + DMLH).tag(b"odml").chunk(b"dmlh", DMLH);
    debug_assert_eq!(f.0.len() as u64, dmlh(riffs));
    let junk = dmlh(riffs) + DMLH;
    f.0.resize(junk as usize, 0);
    f.chunk(b"JUNK", movi - 8 - (junk + 8));
    f.0.extend_from_slice(&text.as_bytes()[..text.len().min(NOTE)]);
    f.0.resize((movi - 8) as usize, 0);
    f.chunk(b"LIST", 4).tag(b"movi");
    f.0
}

/// One place in `indx`.
pub fn place(closed: &Closed) -> Vec<u8> {
    let mut f = Fields(Vec::with_capacity(PLACE as usize));
    f.u64(closed.index).u32(closed.index_length).u32(closed.frames);
    f.0
}

/// The header of a RIFF after the first.
pub fn avix() -> Vec<u8> {
    let mut f = Fields(Vec::with_capacity(AVIX_HEADER as usize));
    f.chunk(b"RIFF", AVIX_HEADER - 8).tag(b"AVIX").chunk(b"LIST", 4).tag(b"movi");
    f.0
}

/// The header of a frame's chunk.
pub fn chunk_header(length: u32) -> [u8; 8] {
    let [a, b, c, d] = length.to_le_bytes();
    [b'0', b'0', b'd', b'c', a, b, c, d]
}

/// A RIFF's `ix00`. `movi` is where its FourCC `movi` stands in the file.
pub fn ix00(entries: &[Entry], movi: u64) -> Vec<u8> {
    let mut f = Fields(Vec::with_capacity(32 + 8 * entries.len()));
    f.chunk(b"ix00", 24 + 8 * entries.len() as u64);
    f.u16(2).0.extend_from_slice(&[0, 1]);
    f.u32(entries.len() as u32).tag(b"00dc").u64(movi).u32(0);
    for entry in entries {
        f.u32(entry.offset + 8).u32(entry.length | if entry.key { 0 } else { 1 << 31 });
    }
    f.0
}

/// The first RIFF's `idx1`, for readers that do not know OpenDML.
pub fn idx1(entries: &[Entry]) -> Vec<u8> {
    let mut f = Fields(Vec::with_capacity(8 + 16 * entries.len()));
    f.chunk(b"idx1", 16 * entries.len() as u64);
    for entry in entries {
        f.tag(b"00dc").u32(if entry.key { 0x10 } else { 0 }).u32(entry.offset).u32(entry.length);
    }
    f.0
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{
        super::{MJPG, read},
        *,
    };

    #[test]
    fn a_header_of_the_largest_pictures_is_written_and_read_back() {
        for (width, height) in [(1, 1), (65_535, 1), (65_535, 65_535)] {
            let format = Format { codec: MJPG, width, height };
            let rate = Rate::per_second(10);
            let totals = Totals { rate, frames: 0, first_frames: 0, first_bytes: 4096, closed: 0, indexed: false };
            let header = read::header(&mut Cursor::new(header(&format, &totals, 4, "ours"))).expect("a header");
            assert_eq!((header.format, header.note.as_str()), (format, "ours"));
        }
    }
}
