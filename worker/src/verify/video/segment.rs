//! One segment, from start to end: the rows of its CSV, each with where its picture stands in the AVI.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::super::{
    Place, plain_file,
    side_by_side::{End, Row},
};
use crate::sink::{
    fault::OutputError,
    output::At,
    video::{
        avi::{
            MJPG,
            read::{self, AviError, FrameRef, Header, Walk},
        },
        segment::csv_path,
        sheet,
    },
};

/// No row is longer.
const LONGEST_ROW: u64 = 4096;

/// Where a record's picture stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown {
    /// There.
    At(FrameRef),
    /// The video has no such frame, or has it before the one of the row before.
    Nowhere(u64),
    /// It was left out to keep real time.
    LeftOut,
}

/// The whole rows of a CSV as text, without their line ends. A row that is half there is the last of a writer at work.
pub(super) struct Sheet {
    rows: Take<BufReader<File>>,
    /// Of the line that was read last, from 1.
    line: u64,
    /// Where that line begins, and where it ends.
    begins: u64,
    end: u64,
    text: Vec<u8>,
}

/// A row as it stands in the file.
pub(super) struct Line<'a> {
    /// The number of its line.
    pub(super) number: u64,
    /// Where it begins.
    pub(super) begins: u64,
    /// Its text.
    pub(super) row: &'a str,
    /// Whether its end is there.
    pub(super) whole: bool,
}

impl Sheet {
    /// None where there is no CSV, or not yet.
    pub(super) fn open(path: &Path, end: Option<End>) -> Result<Option<Self>, OutputError> {
        let file = match plain_file::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.at("read", path)?,
        };
        let Some(file) = file else { return Ok(None) };
        let length = end.map_or_else(|| file.metadata().map(|meta| meta.len()), |end| Ok(end.0)).at("read", path)?;
        Ok(Some(Sheet {
            rows: BufReader::with_capacity(1 << 16, file).take(length),
            line: 0,
            begins: 0,
            end: 0,
            text: vec![],
        }))
    }

    /// The next row, after the headings. None at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.text.clear();
            (&mut self.rows).take(LONGEST_ROW).read_until(b'\n', &mut self.text)?;
            if self.text.is_empty() {
                return Ok(None);
            }
            (self.begins, self.end) = (self.end, self.end + self.text.len() as u64);
            self.line += 1;
            if self.line > 1 {
                break;
            }
        }
        let whole = self.text.ends_with(b"\n");
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        // What is not text is no row.
        let row = std::str::from_utf8(text).unwrap_or("?");
        Ok(Some(Line { number: self.line, begins: self.begins, row, whole }))
    }
}

/// The rows of a segment for one partition.
pub(super) struct Rows {
    path: PathBuf,
    sheet: Sheet,
    frames: Frames,
    exact: bool,
}

impl Rows {
    /// Opens a segment up to where its rows ended; none where there is nothing to compare: it was moved away, it is only
    /// being begun, or it cannot be read at all.
    pub(super) fn open(path: &Path, end: Option<End>) -> Result<Option<Self>, OutputError> {
        // The rows first: each has its frame in the video by then.
        let Some(sheet) = Sheet::open(&csv_path(path), end)? else { return Ok(None) };
        match Frames::open(path) {
            Ok((header, frames)) => {
                let exact = header.format.codec == MJPG;
                Ok(Some(Rows { path: path.to_owned(), sheet, frames, exact }))
            }
            Err(AviError::Io(e)) if e.kind() != io::ErrorKind::NotFound => Err(e).at("read", path),
            Err(_) => Ok(None),
        }
    }

    /// The AVI.
    pub(super) fn avi(&self) -> &Path {
        &self.path
    }

    /// Whether the pictures are the records' own bytes.
    pub(super) fn is_exact(&self) -> bool {
        self.exact
    }

    /// The next row of a partition that `fits`.
    pub(super) fn next_row(&mut self, fits: impl Fn(&str, i32) -> bool) -> Result<Option<Row<Shown>>, OutputError> {
        loop {
            let line = self.sheet.next().at("read", &csv_path(&self.path))?;
            let Some(Line { begins, row, .. }) = line else { return Ok(None) };
            let Some(sheet::Row { frame: number, topic, partition, offset, .. }) = sheet::Row::parse(row) else {
                continue;
            };
            if !fits(topic, partition) {
                continue;
            }
            let place = Place { topic: topic.to_owned(), partition, offset };
            let said = match number {
                None => Shown::LeftOut,
                Some(number) => {
                    self.frames.number(number).at("read", &self.path)?.map_or(Shown::Nowhere(number), Shown::At)
                }
            };
            return Ok(Some(Row { place, begins, said }));
        }
    }

    /// A picture's bytes.
    pub(super) fn content(&self, frame: FrameRef) -> Result<Vec<u8>, OutputError> {
        self.frames.content(frame).at("read", &self.path)
    }
}

/// Where the rows of a segment end now.
pub(super) fn end(path: &Path) -> Result<End, OutputError> {
    let csv = csv_path(path);
    match csv.metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(End(0)),
        meta => Ok(End(meta.at("read", &csv)?.len())),
    }
}

/// A file that is read here and there without a buffer.
struct Sparse {
    file: File,
    at: u64,
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(_) => self.file.metadata()?.len(),
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

/// The frames of an AVI, one after the other.
pub(super) struct Frames {
    walk: Walk<Sparse>,
    contents: File,
    /// The last frame and its number.
    at: Option<(u64, FrameRef)>,
}

impl Frames {
    /// Opens a file, up to its present end.
    pub(super) fn open(path: &Path) -> Result<(Header, Self), AviError> {
        let file = plain_file::open(path)?.ok_or(AviError::Malformed("is not a file"))?;
        let header = read::header(&mut BufReader::new(&file))?;
        let walk = read::walk(Sparse { file: file.try_clone()?, at: 0 }, 0)?;
        Ok((header, Frames { walk, contents: file, at: None }))
    }

    /// The next frame and its number.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, FrameRef)>> {
        let Some(frame) = self.walk.next().transpose()? else { return Ok(None) };
        self.at = Some((self.at.map_or(0, |(number, _)| number + 1), frame));
        Ok(self.at)
    }

    /// The number of the last frame that was given.
    pub(super) fn position(&self) -> u64 {
        self.at.map_or(0, |(number, _)| number)
    }

    /// The frame of a number, which does not stand before the last one.
    fn number(&mut self, wanted: u64) -> io::Result<Option<FrameRef>> {
        loop {
            match self.at {
                Some((number, frame)) if number == wanted => return Ok(Some(frame)),
                Some((number, _)) if number > wanted => return Ok(None),
                _ => {}
            }
            if self.next()?.is_none() {
                return Ok(None);
            }
        }
    }

    /// A picture's bytes.
    pub(super) fn content(&self, frame: FrameRef) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; frame.length as usize];
        self.contents.read_exact_at(&mut bytes, frame.offset)?;
        Ok(bytes)
    }
}
