//! What a `video` output holds: its segments, found through their CSVs.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use edgereel_frame::reencode::MAX_PIXELS;
use ffmpeg_next::{codec, format::Pixel, frame::Video as Picture};
use jiff::Timestamp;

use super::{
    cut::{At as Where, Frame, Range},
    rows::{Rows, SLACK},
};
use crate::{
    ffmpeg::{decoder::Decoder, words},
    sink::{
        fault::OutputError,
        output::At,
        video::{
            avi::{
                MJPG,
                read::{self, AviError, FrameRef, Header},
            },
            segment::csv_path,
        },
    },
    verify::{log::Log, plain_file},
};

/// A segment on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The AVI.
    pub path: PathBuf,
    /// When its first and its last frame were captured; of one that has no rows, nothing.
    pub extent: Option<(Timestamp, Timestamp)>,
    /// The bytes of the AVI.
    pub bytes: u64,
}

/// The segments of a sink's log, in its order; those that are not there any more are passed over.
pub fn all(directory: &Path, log: &Log) -> Result<Vec<Segment>, OutputError> {
    let (mut lines, mut found) = (log.lines()?, vec![]);
    while let Some((_, name)) = lines.next_name()? {
        let path = directory.join(name);
        let Some(rows) = open(&csv_path(&path))? else { continue };
        let extent = Rows::of(&rows).and_then(|rows| rows.extent()).at("read", &csv_path(&path))?;
        let bytes = match path.metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            meta => meta.at("read", &path)?.len(),
        };
        found.push(Segment { path, extent, bytes });
    }
    Ok(found)
}

/// Opens a file to read it; none where there is none.
fn open(path: &Path) -> Result<Option<File>, OutputError> {
    match plain_file::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.at("read", path),
    }
}

impl Segment {
    /// Whether it may hold frames of the range.
    pub fn may_hold(&self, range: &Range) -> bool {
        let wide = range.widened(SLACK);
        self.extent.is_some_and(|(a, b)| a.min(b) < wide.to && a.max(b) >= wide.from)
    }

    /// Its frames of the range, as those of the source of this number; and how many were left out to keep real time. With
    /// `all`, each row of its CSV is looked at.
    pub fn frames(&self, range: &Range, source: usize, all: bool, frames: &mut Vec<Frame>) -> Result<u64, OutputError> {
        let path = csv_path(&self.path);
        let Some(file) = open(&path)? else { return Ok(0) };
        let (mut left_out, mut topic) = (0, Rc::<str>::from(""));
        let rows = Rows::of(&file).at("read", &path)?;
        let read = rows.read(range, all, |row, time| {
            let Some(number) = row.frame else {
                left_out += 1;
                return;
            };
            if *topic != *row.topic {
                topic = row.topic.into();
            }
            let (topic, at) = (topic.clone(), Where::Number(number));
            frames.push(Frame { time, topic, partition: row.partition, offset: row.offset, source, at });
        });
        read.at("read", &path)?;
        Ok(left_out)
    }
}

/// An AVI whose frames are taken out by their numbers. It may grow meanwhile: what its CSV named before it was opened is there.
pub struct Avi {
    path: PathBuf,
    file: File,
    header: Header,
    /// Those behind the last index, once they were looked for.
    tail: Option<Vec<FrameRef>>,
    /// Of an encoded video: the decoder, and the number of the frame that it takes next.
    decoder: Option<(Decoder, u64)>,
}

/// What a frame of a video is.
pub enum Content {
    /// The camera's own JPEG.
    Jpeg(Vec<u8>),
    /// Decoded, as it was asked for.
    Picture(Picture),
}

impl Avi {
    /// Opens a video; frames that have to be decoded are given in this format.
    pub fn open(path: &Path, to: Pixel) -> Result<Self, String> {
        let said = |what: String| format!("{}: {what}", path.display());
        let file = plain_file::open(path).map_err(|e| said(e.to_string()))?.ok_or_else(|| said("is no file".into()))?;
        let header = read::header(&mut &file).map_err(|e| said(e.to_string()))?;
        let decoder = match header.format.codec {
            MJPG => None,
            _ => {
                let decoder = Decoder::new(codec::Id::MPEG4, MAX_PIXELS, to);
                Some((decoder.map_err(|e| said(format!("FFmpeg cannot decode it: {}", words(e))))?, 0))
            }
        };
        Ok(Avi { path: path.to_owned(), file, header, tail: None, decoder })
    }

    /// Its codec, as FFmpeg names it.
    pub fn codec(&self) -> &'static str {
        if self.decoder.is_some() { "mpeg4" } else { "mjpeg" }
    }

    /// Where a frame stands; none where there is no such frame.
    fn locate(&mut self, number: u64) -> Result<Option<FrameRef>, AviError> {
        let mut before = 0;
        for closed in &self.header.closed {
            let frames = u64::from(closed.frames);
            if number < before + frames {
                return read::entry(&mut &self.file, closed, number - before).map(Some);
            }
            before += frames;
        }
        let tail = match &mut self.tail {
            Some(tail) => tail,
            None => {
                // What has no index yet is walked from the last that there is: a gibibyte at most.
                let from = self.header.closed.last().map_or(0, |last| last.index);
                let frames: Result<_, _> = read::walk(&self.file, from)?.collect();
                self.tail.insert(frames?)
            }
        };
        Ok(usize::try_from(number - before).ok().and_then(|n| tail.get(n)).copied())
    }

    fn bytes(&self, frame: FrameRef) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; frame.length as usize];
        std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut bytes, frame.offset)?;
        Ok(bytes)
    }

    /// A frame's content; in words, why it cannot be had.
    pub fn content(&mut self, number: u64) -> Result<Content, String> {
        let said = |path: &Path, what: &dyn std::fmt::Display| format!("{}: frame {number}: {what}", path.display());
        let path = self.path.clone();
        let there = |found: Result<Option<FrameRef>, AviError>| {
            found.map_err(|e| said(&path, &e))?.ok_or_else(|| said(&path, &"it is not there"))
        };
        let frame = there(self.locate(number))?;
        let Some(next) = self.decoder.as_ref().map(|(_, next)| *next) else {
            return self.bytes(frame).map(Content::Jpeg).map_err(|e| said(&path, &e));
        };
        // Decoding begins at a key frame, or goes on.
        let mut first = number;
        while first != next && !there(self.locate(first))?.key && first > 0 {
            first -= 1;
        }
        let mut picture = None;
        for n in first..=number {
            let frame = there(self.locate(n))?;
            // The picture before, shown again.
            if frame.length == 0 {
                continue;
            }
            let bytes = self.bytes(frame).map_err(|e| said(&path, &e))?;
            let Some((decoder, next)) = &mut self.decoder else { break };
            *next = n + 1;
            picture = Some(decoder.decode(&bytes).map_err(|e| said(&path, &words(e)))?);
        }
        picture.map(Content::Picture).ok_or_else(|| said(&path, &"it has no picture of its own"))
    }
}
