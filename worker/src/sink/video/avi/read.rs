//! Finds the frames of an AVI file, by walking its chunks or through its index.
//!
//! Nothing in the file is trusted: every size is held against the file's length, every step goes forward, memory is
//! bounded. A file that was not finished (crashed, still growing) has no last index and stale sizes: the walk does not
//! need them, it goes chunk by chunk and stops where no whole chunk is left.

use std::io::{self, Read, Seek, SeekFrom};

use super::{
    Format, Rate,
    layout::{self, Closed, INDX, PLACE, PLACES},
};

/// Why a file cannot be read as AVI.
#[derive(Debug, thiserror::Error)]
pub enum AviError {
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file.
    #[error("not an AVI file of ours: {0}")]
    Malformed(&'static str),
}

/// Where a frame stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRef {
    /// Of its content.
    pub offset: u64,
    /// Of its content, in bytes; 0 shows the picture before it again.
    pub length: u32,
    /// Whether decoding can begin here.
    pub key: bool,
}

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the file's end.
    Whole,
    /// In front of something that is no whole chunk, at this offset.
    Torn(u64),
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Codec and size of the pictures.
    pub format: Format,
    /// Speed.
    pub rate: Rate,
    /// Frames at the last time that the header was brought up to date, repetitions included.
    pub frames: u32,
    /// Places in the list of indexes.
    pub riffs: usize,
    /// Those in use.
    pub closed: Vec<Closed>,
    /// What its writer noted.
    pub note: String,
}

/// More places than this are not believed: 1 MiB.
const MOST_RIFFS: usize = 1 << 16;
/// A longer index of one RIFF is not believed, in bytes.
const LONGEST_INDEX: u64 = 64 << 20;
/// What stands in an index before its entries, in bytes.
const INDEX_HEAD: u64 = 32;

fn u32_at(bytes: &[u8], at: u64) -> u32 {
    let at = at as usize;
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: u64) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn tag_at(bytes: &[u8], at: u64) -> [u8; 4] {
    u32_at(bytes, at).to_le_bytes()
}

/// Reads the header of a file that [`super::write`] wrote.
pub fn header(file: &mut (impl Read + Seek)) -> Result<Header, AviError> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::with_capacity(PLACES as usize);
    file.take(PLACES).read_to_end(&mut head)?;
    if (head.len() as u64) < PLACES || tag_at(&head, 0) != *b"RIFF" || tag_at(&head, 8) != *b"AVI " {
        return Err(AviError::Malformed("no AVI header"));
    }
    let (strh, strf) = (INDX - 112, INDX - 48);
    let tags = [(24, b"avih"), (strh, b"strh"), (strf, b"strf"), (INDX, b"indx")];
    if tags.iter().any(|(at, tag)| tag_at(&head, *at) != **tag) {
        return Err(AviError::Malformed("its header has another layout"));
    }
    let rate = Rate { seconds: u32_at(&head, strh + 28), frames: u32_at(&head, strh + 32) };
    let (width, height) = (u32_at(&head, strf + 12), u32_at(&head, strf + 16));
    let (Ok(width), Ok(height)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(AviError::Malformed("its pictures are too large"));
    };
    if rate.seconds == 0 || rate.frames == 0 {
        return Err(AviError::Malformed("it has no frame rate"));
    }
    let riffs = (u64::from(u32_at(&head, INDX + 4)).saturating_sub(24) / PLACE) as usize;
    let used = u32_at(&head, INDX + 12) as usize;
    if riffs > MOST_RIFFS || used > riffs {
        return Err(AviError::Malformed("its list of indexes is too long"));
    }
    let mut places = Vec::with_capacity(used * PLACE as usize);
    file.take(used as u64 * PLACE).read_to_end(&mut places)?;
    let closed = places.chunks_exact(PLACE as usize).map(|place| Closed {
        index: u64_at(place, 0),
        index_length: u32_at(place, 8),
        frames: u32_at(place, 12),
    });
    file.seek(SeekFrom::Start(layout::note(riffs)))?;
    let mut note = Vec::with_capacity(layout::NOTE);
    file.take(layout::NOTE as u64).read_to_end(&mut note)?;
    note.truncate(note.iter().position(|b| *b == 0).unwrap_or(note.len()));
    Ok(Header {
        note: String::from_utf8_lossy(&note).into_owned(),
        format: Format { codec: tag_at(&head, strh + 12), width, height },
        rate,
        frames: u32_at(&head, strh + 40),
        riffs,
        closed: closed.collect(),
    })
}

/// Walks the chunks from `from` (0, or where a RIFF begins) to the file's end.
pub fn walk<R: Read + Seek>(mut file: R, from: u64) -> io::Result<Walk<R>> {
    let end = file.seek(SeekFrom::End(0))?;
    Ok(walk_to(file, from, end))
}

/// Walks the chunks from `from` to `end`, which lies inside the file.
pub fn walk_to<R: Read + Seek>(file: R, from: u64, end: u64) -> Walk<R> {
    Walk { file, at: from, end, ended: None }
}

/// The frames of a file, in order.
pub struct Walk<R> {
    file: R,
    at: u64,
    end: u64,
    ended: Option<End>,
}

impl<R> Walk<R> {
    /// Where it ended, once it has.
    pub fn ended(&self) -> Option<End> {
        self.ended
    }

    /// Where the next chunk is looked for.
    pub fn position(&self) -> u64 {
        self.at
    }
}

impl<R: Read + Seek> Walk<R> {
    fn step(&mut self) -> io::Result<Option<FrameRef>> {
        loop {
            if self.at == self.end {
                self.ended = Some(End::Whole);
                return Ok(None);
            }
            let torn = Some(End::Torn(self.at));
            // A chunk's header, and of a frame the bytes that tell whether it is a key frame.
            let mut bytes = [0; 16];
            let there = self.end.saturating_sub(self.at).min(16) as usize;
            self.file.seek(SeekFrom::Start(self.at))?;
            self.file.read_exact(&mut bytes[..there])?;
            if there < 8 {
                self.ended = torn;
                return Ok(None);
            }
            let length = u32_at(&bytes, 4);
            let next = self.at + 8 + u64::from(length).next_multiple_of(2);
            match (tag_at(&bytes, 0), tag_at(&bytes, 8)) {
                // Into it; its size may be stale.
                (tag, kind)
                    if (&tag == b"RIFF" && [*b"AVI ", *b"AVIX"].contains(&kind))
                        || (&tag == b"LIST" && &kind == b"movi") =>
                {
                    if there < 12 {
                        self.ended = torn;
                        return Ok(None);
                    }
                    self.at += 12;
                }
                (tag, _) if next <= self.end && &tag == b"00dc" => {
                    let frame = FrameRef { offset: self.at + 8, length, key: length > 0 && is_key(&bytes[8..]) };
                    self.at = next;
                    return Ok(Some(frame));
                }
                (b, _) if next <= self.end && [b"JUNK", b"LIST", b"ix00", b"idx1"].contains(&&b) => self.at = next,
                _ => {
                    self.ended = torn;
                    return Ok(None);
                }
            }
        }
    }
}

impl<R: Read + Seek> Iterator for Walk<R> {
    type Item = io::Result<FrameRef>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended.is_some() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.ended = Some(End::Torn(self.at));
        }
        step.transpose()
    }
}

/// Whether a frame's content can be decoded alone: every JPEG; of MPEG-4, all but what begins with the start code of a
/// picture (`00 00 01 B6`) whose coding type is not "intra" (ISO/IEC 14496-2, 6.2.5). Key frames begin with other headers.
pub fn is_key(content: &[u8]) -> bool {
    match content {
        [0, 0, 1, 0xB6, picture, ..] => picture >> 6 == 0,
        _ => true,
    }
}

/// The frames as the index has them.
///
/// # Errors
/// When the index contradicts the file.
pub fn indexed(file: &mut (impl Read + Seek), header: &Header) -> Result<Vec<FrameRef>, AviError> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut frames = Vec::new();
    for closed in &header.closed {
        let base = index_base(file, closed, end)?;
        let mut entries = vec![0; 8 * closed.frames as usize];
        file.read_exact(&mut entries)?;
        for entry in entries.chunks_exact(8) {
            frames.push(entry_of(entry, base, end)?);
        }
    }
    Ok(frames)
}

/// The frame of this number, from 0, in a closed RIFF, by its index: a few bytes of it are read.
///
/// # Errors
/// When the index contradicts the file, or has no such frame.
pub fn entry(file: &mut (impl Read + Seek), closed: &Closed, number: u64) -> Result<FrameRef, AviError> {
    let end = file.seek(SeekFrom::End(0))?;
    let base = index_base(file, closed, end)?;
    if number >= u64::from(closed.frames) {
        return Err(AviError::Malformed("an index has fewer frames"));
    }
    file.seek(SeekFrom::Start(closed.index + INDEX_HEAD + 8 * number))?;
    let mut entry = [0; 8];
    file.read_exact(&mut entry)?;
    entry_of(&entry, base, end)
}

/// Where a RIFF's index counts from; the file stands at its first entry then.
fn index_base(file: &mut (impl Read + Seek), closed: &Closed, end: u64) -> Result<u64, AviError> {
    let length = u64::from(closed.index_length);
    let inside = closed.index.checked_add(length).is_some_and(|index_end| index_end <= end);
    if !(INDEX_HEAD..=LONGEST_INDEX).contains(&length) || !inside {
        return Err(AviError::Malformed("an index lies outside the file"));
    }
    file.seek(SeekFrom::Start(closed.index))?;
    let mut head = [0; INDEX_HEAD as usize];
    file.read_exact(&mut head)?;
    let count = u32_at(&head, 12);
    if tag_at(&head, 0) != *b"ix00" || u64::from(count) * 8 + INDEX_HEAD > length || count != closed.frames {
        return Err(AviError::Malformed("an index is damaged"));
    }
    Ok(u64_at(&head, 20))
}

fn entry_of(entry: &[u8], base: u64, end: u64) -> Result<FrameRef, AviError> {
    let size = u32_at(entry, 4);
    let frame = FrameRef {
        offset: base.saturating_add(u64::from(u32_at(entry, 0))),
        length: size & !(1 << 31),
        key: size >> 31 == 0,
    };
    if frame.offset.saturating_add(u64::from(frame.length)) > end {
        return Err(AviError::Malformed("an index points outside the file"));
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Cursor};

    use proptest::prelude::*;

    use super::{
        super::{
            Limits, MJPG,
            write::{AviWriter, new_file},
        },
        *,
    };

    const SMALL: Limits = Limits { riff_bytes: 2000, riff_frames: 20, riffs: 16 };

    /// A finished file of these frames; `None` repeats.
    fn file(frames: &[Option<Vec<u8>>], finished: bool) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.avi");
        let format = Format { codec: MJPG, width: 640, height: 480 };
        let mut avi = AviWriter::begin(new_file(&path), format, Rate::per_second(10), SMALL, "lab/gate 7").unwrap();
        let mut repeats = 0;
        for frame in frames {
            match frame {
                None => repeats += 1,
                Some(content) => {
                    avi.write(&vec![&[][..]; std::mem::take(&mut repeats)], content).unwrap();
                }
            }
        }
        if finished {
            avi.finish(Rate::per_second(12)).unwrap();
        }
        fs::read(path).unwrap()
    }

    fn contents(bytes: &[u8], frames: &[FrameRef]) -> Vec<Vec<u8>> {
        frames.iter().map(|f| bytes[f.offset as usize..][..f.length as usize].to_vec()).collect()
    }

    fn walked(bytes: &[u8]) -> (Vec<FrameRef>, End) {
        let mut walk = walk(Cursor::new(bytes), 0).unwrap();
        let frames = walk.by_ref().map(Result::unwrap).collect();
        (frames, walk.ended().unwrap())
    }

    fn some_frames() -> Vec<Option<Vec<u8>>> {
        (0..100u8).map(|n| (n % 7 != 3).then(|| vec![n; usize::from(n) + 1])).collect()
    }

    #[test]
    fn walk_and_index_find_the_same_frames_over_several_riffs() {
        let frames = some_frames();
        let bytes = file(&frames, true);
        let (by_walk, end) = walked(&bytes);
        let header = header(&mut Cursor::new(&bytes)).unwrap();
        let by_index = indexed(&mut Cursor::new(&bytes), &header).unwrap();
        assert_eq!(end, End::Whole);
        assert_eq!(by_walk.len(), by_index.len());
        assert!(header.closed.len() > 3, "{header:?}");
        assert_eq!((header.frames, header.rate), (100, Rate::per_second(12)));
        assert_eq!(header.note, "lab/gate 7");
        assert_eq!(header.format, Format { codec: MJPG, width: 640, height: 480 });
        let expected: Vec<_> = frames.into_iter().map(Option::unwrap_or_default).collect();
        assert_eq!(contents(&bytes, &by_walk), expected);
        assert_eq!(contents(&bytes, &by_index), expected);
        let closed = header.closed.iter().flat_map(|closed| (0..closed.frames).map(move |n| (closed, n.into())));
        let one_by_one: Vec<_> =
            closed.map(|(closed, n)| entry(&mut Cursor::new(&bytes), closed, n).unwrap()).collect();
        assert_eq!(one_by_one, by_index);
        assert!(entry(&mut Cursor::new(&bytes), &header.closed[0], header.closed[0].frames.into()).is_err());
    }

    #[test]
    fn a_file_cut_anywhere_gives_its_whole_frames() {
        let bytes = file(&some_frames(), false);
        let (all, end) = walked(&bytes);
        assert_eq!((all.len(), end), (100, End::Whole));
        for cut in (all[0].offset as usize..bytes.len()).step_by(13) {
            let (frames, _) = walked(&bytes[..cut]);
            let whole = all.iter().filter(|f| f.offset + u64::from(f.length).next_multiple_of(2) <= cut as u64).count();
            assert_eq!(frames, all[..whole], "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail_or_point_outside(
            tail in proptest::collection::vec(any::<u8>(), 0..200),
            pokes in proptest::collection::vec((0usize..6000, any::<u8>()), 0..20),
            cut in 0usize..9000,
        ) {
            let mut bytes = file(&some_frames(), true);
            for (at, value) in pokes {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            bytes.truncate(cut);
            bytes.extend(tail);
            let (frames, _) = walked(&bytes);
            let header = header(&mut Cursor::new(&bytes));
            if let Ok(indexed) = header.and_then(|header| indexed(&mut Cursor::new(&bytes), &header)) {
                prop_assert!(indexed.iter().all(|f| f.offset + u64::from(f.length) <= bytes.len() as u64));
            }
            prop_assert!(frames.iter().all(|f| f.offset + u64::from(f.length) <= bytes.len() as u64));
        }
    }
}
