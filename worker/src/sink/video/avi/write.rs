//! Writes an AVI file: frames at the end, counts in place.

use std::os::unix::fs::FileExt;

use super::{
    Format, Limits, Rate,
    layout::{self, Closed, Entry, Totals},
    read,
};
use crate::sink::{disk::AppendFile, fault::OutputError, output::At};

/// An AVI file that grows. Between two calls it is a whole file up to its last [`patch`](Self::patch), and one without
/// an index after that.
pub struct AviWriter {
    pub(super) file: AppendFile,
    pub(super) format: Format,
    pub(super) limits: Limits,
    pub(super) rate: Rate,
    /// The RIFFs before the one that is written.
    pub(super) closed: Vec<Closed>,
    /// Frames in them.
    pub(super) frames_before: u64,
    /// Bytes of the first RIFF, once it is closed.
    pub(super) first_bytes: Option<u64>,
    /// Where the RIFF that is written begins, and its FourCC `movi`.
    pub(super) riff: u64,
    pub(super) movi: u64,
    /// Its frames.
    pub(super) entries: Vec<Entry>,
    /// Where the content of the last picture stands, and its length.
    pub(super) last: Option<(u64, u32)>,
    /// Whether the last index is written.
    pub(super) finished: bool,
}

impl AviWriter {
    /// Begins a file: `file` is empty. `note` says whose it is, see [`super::read::Header::note`].
    pub fn begin(
        mut file: AppendFile,
        format: Format,
        rate: Rate,
        limits: Limits,
        note: &str,
    ) -> Result<Self, OutputError> {
        let movi = layout::first_movi(limits.riffs);
        let totals = Totals { rate, frames: 0, first_frames: 0, first_bytes: movi + 4, closed: 0, indexed: false };
        file.append(&[&layout::header(&format, &totals, limits.riffs, note)])?;
        Ok(AviWriter {
            file,
            format,
            limits,
            rate,
            closed: Vec::new(),
            frames_before: 0,
            first_bytes: None,
            riff: 0,
            movi,
            entries: Vec::new(),
            last: None,
            finished: false,
        })
    }

    /// What it holds.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The file.
    pub fn file(&self) -> &AppendFile {
        &self.file
    }

    /// The speed in the header.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Frames so far, repetitions included.
    pub fn frames(&self) -> u64 {
        self.frames_before + self.entries.len() as u64
    }

    /// Bytes of the last picture; 0 before the first.
    pub fn last_length(&self) -> usize {
        self.last.map_or(0, |(_, length)| length as usize)
    }

    /// The last picture, to show it again; empty before the first.
    pub fn last_picture(&self) -> Result<Vec<u8>, OutputError> {
        let (offset, length) = self.last.unwrap_or_default();
        let mut content = vec![0; length as usize];
        self.file.shared().read_exact_at(&mut content, offset).at("read", self.file.path())?;
        Ok(content)
    }

    /// The file's size if it were finished after so many frames more, of so many bytes together.
    pub fn finished_bytes(&self, frames: usize, bytes: usize) -> u64 {
        let added = (frames * 9 + bytes) as u64;
        let entries = (self.entries.len() + frames) as u64;
        let ends = if self.needs_new_riff(frames, bytes) { layout::AVIX_HEADER + 64 } else { 32 + 8 };
        self.file.length() + added + ends + entries * (8 + if self.closed.is_empty() { 16 } else { 0 })
    }

    fn needs_new_riff(&self, frames: usize, bytes: usize) -> bool {
        let index = 40 + 24 * (self.entries.len() + frames);
        let bytes = self.file.length() - self.riff + (9 * frames + bytes + index) as u64;
        !self.entries.is_empty()
            && (bytes > self.limits.riff_bytes || self.entries.len() + frames > self.limits.riff_frames)
    }

    /// Whether the header has a place left for the RIFF that these frames need.
    pub fn has_room(&self, frames: usize, bytes: usize) -> bool {
        !self.needs_new_riff(frames, bytes) || self.closed.len() + 1 < self.limits.riffs
    }

    /// Writes `before` (the picture before, to be shown again) and then `content`. Gives the number of the frame, from 0,
    /// that shows `content`. See [`has_room`](Self::has_room) first.
    ///
    /// # Errors
    /// After an error none of them stands in the file.
    pub fn write(&mut self, before: &[&[u8]], content: &[u8]) -> Result<u64, OutputError> {
        let contents = || before.iter().copied().chain([content]);
        let (frames, bytes) = (before.len() + 1, contents().map(<[u8]>::len).sum());
        // The caller may have asked for room with less than it has now: a RIFF rather grows over its limit than past the
        // places in the header.
        if self.needs_new_riff(frames, bytes) && self.has_room(frames, bytes) {
            self.begin_riff()?;
        }
        let headers: Vec<_> = contents().map(|content| layout::chunk_header(content.len() as u32)).collect();
        let padding = |content: &[u8]| if content.len() % 2 == 1 { [0].as_slice() } else { &[] };
        let parts: Vec<&[u8]> = contents().zip(&headers).flat_map(|(c, header)| [header, c, padding(c)]).collect();
        let mut at = self.file.length();
        self.file.append(&parts)?;
        for content in contents() {
            let length = content.len() as u32;
            self.enter(at, length, !content.is_empty() && read::is_key(content));
            at += 8 + u64::from(length).next_multiple_of(2);
        }
        Ok(self.frames() - 1)
    }

    /// Writes a picture with zeros behind it, up to `length` bytes, that take no room on the disk.
    #[cfg(test)]
    pub fn write_sparse(&mut self, picture: &[u8], length: u32) {
        if self.needs_new_riff(1, length as usize) && self.has_room(1, length as usize) {
            self.begin_riff().unwrap();
        }
        let at = self.file.length();
        self.file.append(&[&layout::chunk_header(length), picture]).unwrap();
        self.file.append_hole(u64::from(length).next_multiple_of(2) - picture.len() as u64);
        self.enter(at, length, read::is_key(picture));
    }

    /// A chunk stands at this place in the file.
    fn enter(&mut self, at: u64, length: u32, key: bool) {
        self.entries.push(Entry { offset: (at - self.movi) as u32, length, key });
        if length > 0 {
            self.last = Some((at + 8, length));
        }
    }

    /// The index of the RIFF that is written, to be put at its end; and its place in the header.
    fn index(&self) -> (Closed, Vec<u8>, Vec<u8>) {
        let ix00 = layout::ix00(&self.entries, self.movi);
        let idx1 = if self.closed.is_empty() { layout::idx1(&self.entries) } else { Vec::new() };
        let closed =
            Closed { index: self.file.length(), index_length: ix00.len() as u32, frames: self.entries.len() as u32 };
        (closed, ix00, idx1)
    }

    /// Closes the RIFF, whose index of `ix00` and `idx1` bytes stands in the file now.
    fn close_riff(&mut self, closed: Closed, idx1: usize) -> Result<(), OutputError> {
        let movi_end = closed.index + u64::from(closed.index_length);
        self.patch_sizes(movi_end + idx1 as u64, movi_end)?;
        let place = layout::PLACES + layout::PLACE * self.closed.len() as u64;
        self.file.patch(place, &layout::place(&closed))?;
        if self.closed.is_empty() {
            self.first_bytes = Some(movi_end + idx1 as u64);
        }
        self.frames_before += self.entries.len() as u64;
        self.entries.clear();
        self.closed.push(closed);
        Ok(())
    }

    fn begin_riff(&mut self) -> Result<(), OutputError> {
        let (closed, ix00, idx1) = self.index();
        let before = self.file.length();
        self.file.append(&[&ix00, &idx1, &layout::avix()])?;
        if let Err(error) = self.close_riff(closed, idx1.len()) {
            self.file.cut(before)?;
            return Err(error);
        }
        self.riff = self.file.length() - layout::AVIX_HEADER;
        self.movi = self.file.length() - 4;
        Ok(())
    }

    /// Sets the sizes of the RIFF that is written: it ends at `end`, its frames and `ix00` at `movi_end`.
    fn patch_sizes(&self, end: u64, movi_end: u64) -> Result<(), OutputError> {
        self.file.patch(self.riff + 4, &((end - self.riff - 8) as u32).to_le_bytes())?;
        self.file.patch(self.movi - 4, &((movi_end - self.movi) as u32).to_le_bytes())
    }

    pub(super) fn patch_totals(&self) -> Result<(), OutputError> {
        let first_frames = self.closed.first().map_or(self.entries.len() as u64, |first| u64::from(first.frames));
        let totals = Totals {
            rate: self.rate,
            frames: self.frames(),
            first_frames,
            first_bytes: self.first_bytes.unwrap_or(self.file.length()),
            closed: self.closed.len(),
            indexed: !self.closed.is_empty(),
        };
        self.file.patch(0, &layout::head(&self.format, &totals, self.limits.riffs))?;
        let frames = u32::try_from(self.frames()).unwrap_or(u32::MAX);
        self.file.patch(layout::dmlh(self.limits.riffs), &frames.to_le_bytes())
    }

    /// Brings sizes, counts and speed in the header up to date, so that a player can open the file as it grows.
    pub fn patch(&mut self, rate: Rate) -> Result<(), OutputError> {
        self.rate = rate;
        self.patch_sizes(self.file.length(), self.file.length())?;
        self.patch_totals()
    }

    /// Writes the index of the last RIFF. Nothing can be written any more.
    ///
    /// # Errors
    /// After an error the file is as it was, without its last index; this can be tried again.
    pub fn finish(&mut self, rate: Rate) -> Result<(), OutputError> {
        self.rate = rate;
        if !self.finished {
            let (closed, ix00, idx1) = self.index();
            let before = self.file.length();
            self.file.append(&[&ix00, &idx1])?;
            if let Err(error) = self.close_riff(closed, idx1.len()) {
                self.file.cut(before)?;
                return Err(error);
            }
            self.finished = true;
        }
        self.patch_totals()
    }
}

/// Makes a file for [`AviWriter::begin`] in tests.
#[cfg(test)]
pub fn new_file(path: &std::path::Path) -> AppendFile {
    AppendFile::create(path.into(), &crate::sink::disk::Disk::default()).unwrap()
}
