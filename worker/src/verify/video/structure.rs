//! Each segment by itself: whether its frames, its index and its rows fit together; and videos that are no segments.
//!
//! The last segment may be one that is being written: its rows come later than its frames, and the last row may be half
//! there.

use std::{collections::HashSet, fs, io::BufReader, path::Path};

use xxhash_rust::xxh3::xxh3_64;

use super::segment::{Frames, Line, Sheet};
use crate::{
    sink::{
        fault::OutputError,
        output::At,
        video::{
            avi::{
                MJPG,
                read::{self, AviError, FrameRef, Header},
            },
            segment::csv_path,
            sheet::Row,
        },
    },
    verify::{
        log::Log,
        report::{Finding, Findings},
    },
};

/// What is wrong with the segments, one by one. How many rows are of other topics than these.
pub(super) fn segments(
    directory: &Path,
    log: &Log,
    topics: &[String],
    findings: &mut Findings,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, OutputError> {
    let Some((last, _)) = log.last()? else { return Ok(0) };
    let mut lines = log.lines_to(last)?;
    let mut found = Damages { findings, topics, others: 0 };
    while let Some((number, name)) = lines.next_name()? {
        progress(number as u64);
        let path = directory.join(&name);
        // Whoever moved a closed segment away took its CSV along: its records will show as missing.
        if path.exists() {
            found.segment(&path, number == last)?;
        }
    }
    Ok(found.others)
}

struct Damages<'a> {
    findings: &'a mut Findings,
    topics: &'a [String],
    /// Rows of others.
    others: u64,
}

impl Damages<'_> {
    fn add(&mut self, file: &Path, detail: impl Into<String>) {
        self.findings.add(Finding::Damaged { file: file.into(), detail: detail.into() });
    }

    /// `open`: a writer may be at work on it.
    fn segment(&mut self, path: &Path, open: bool) -> Result<(), OutputError> {
        let csv = csv_path(path);
        // The rows first: each has its frame in the video by then.
        let Some(mut sheet) = Sheet::open(&csv, None)? else {
            if !open {
                self.add(path, "it has no CSV");
            }
            return Ok(());
        };
        let (header, mut frames) = match Frames::open(path) {
            Ok(opened) => opened,
            Err(AviError::Io(e)) => return Err(OutputError::from_io("read", path, &e)),
            Err(AviError::Malformed(why)) => {
                // Without a row yet, it is only being begun.
                if !open || sheet.next().at("read", &csv)?.is_some() {
                    self.add(path, why);
                }
                return Ok(());
            }
        };
        let mut index = Index::new(path, &header, open);
        let mut pictures = Pictures { exact: header.format.codec == MJPG, before: None, wrong: None };
        // One more than the last frame that has a row.
        let (mut with_rows, mut ended) = (0, false);
        while let Some(Line { number: line, row, whole, .. }) = sheet.next().at("read", &csv)? {
            let Some(Row { frame: number, topic, .. }) = Row::parse(row) else {
                if open && !whole {
                    break;
                }
                let message = format!("line {line} is not a row: `{}`", row.escape_debug());
                self.add(&csv, message);
                continue;
            };
            self.others += u64::from(!self.topics.iter().any(|ours| ours == topic));
            let Some(number) = number else { continue };
            while with_rows <= number && !ended {
                let Some((n, frame)) = frames.next().at("read", path)? else {
                    ended = true;
                    // Rows of the last may have come to the disk ahead of their frames. They are cut off if they are not
                    // committed; if they are, each shows as torn.
                    if !open {
                        self.add(&csv, format!("names frame {number}, the video has {with_rows}"));
                    }
                    break;
                };
                self.index_fits(path, &mut index, frame);
                pictures.see(&frames, frame, n == number).at("read", path)?;
                with_rows = n + 1;
            }
            if let Some(n) = pictures.wrong.take() {
                self.add(path, format!("shows a picture of no record as frame {n}"));
            }
        }
        // Pictures after the last row are of a writer that is at work; before it, each has its row or repeats the one before.
        let mut total = with_rows;
        while let Some((n, frame)) = frames.next().at("read", path)? {
            self.index_fits(path, &mut index, frame);
            total = n + 1;
        }
        index.end();
        if index.contradicts {
            self.add(path, "its index and its frames differ");
        } else if index.is_whole(total) && total != with_rows && !open {
            self.add(path, format!("has {total} frames, its CSV ends with number {with_rows}"));
        }
        Ok(())
    }

    fn index_fits(&mut self, path: &Path, index: &mut Index, frame: FrameRef) {
        if let Err(why) = index.see(frame) {
            self.add(path, why);
        }
    }
}

/// Holds pictures without a row against the one before each: it repeats it, with the same bytes or with none. Of an encoded
/// video only the number of frames is known.
struct Pictures {
    exact: bool,
    before: Option<FrameRef>,
    /// The first frame that does not.
    wrong: Option<u64>,
}

impl Pictures {
    fn see(&mut self, frames: &Frames, frame: FrameRef, has_row: bool) -> std::io::Result<()> {
        let number = frames.position();
        let before = self.before.replace(frame);
        if has_row || self.wrong.is_some() {
            return Ok(());
        }
        let repeats = match before {
            None => false,
            Some(_) if frame.length == 0 || !self.exact => true,
            Some(before) => before.length == frame.length && frames.content(before)? == frames.content(frame)?,
        };
        self.wrong = (!repeats).then_some(number);
        Ok(())
    }
}

/// The index, one RIFF after the other, beside the frames as they stand in the file.
struct Index<'a> {
    path: &'a Path,
    header: &'a Header,
    /// A writer that took the segment up has cut off its last index, and says so in the header with its next flush.
    open: bool,
    /// How many of the RIFFs were read.
    riffs: usize,
    entries: std::vec::IntoIter<FrameRef>,
    seen: u64,
    contradicts: bool,
}

impl<'a> Index<'a> {
    fn new(path: &'a Path, header: &'a Header, open: bool) -> Self {
        Index { path, header, open, riffs: 0, entries: vec![].into_iter(), seen: 0, contradicts: false }
    }

    /// The next frame as the index has it; none after the last RIFF that has one.
    fn next(&mut self) -> Result<Option<FrameRef>, &'static str> {
        loop {
            if let Some(entry) = self.entries.next() {
                self.seen += 1;
                return Ok(Some(entry));
            }
            let Some(closed) = self.header.closed.get(self.riffs) else { return Ok(None) };
            self.riffs += 1;
            let only = Header { closed: vec![*closed], ..self.header.clone() };
            let read = fs::File::open(self.path)
                .map_err(AviError::from)
                .and_then(|file| read::indexed(&mut BufReader::new(file), &only));
            self.entries = match read {
                Ok(entries) => entries.into_iter(),
                Err(AviError::Malformed(_)) if self.open && self.riffs == self.header.closed.len() => return Ok(None),
                Err(error) => {
                    self.riffs = usize::MAX;
                    return Err(match error {
                        AviError::Malformed(why) => why,
                        AviError::Io(_) => "an index cannot be read",
                    });
                }
            };
        }
    }

    /// The frame that stands next in the file.
    fn see(&mut self, frame: FrameRef) -> Result<(), &'static str> {
        let entry = self.next()?;
        self.contradicts |= entry.is_some_and(|e| (e.offset, e.length) != (frame.offset, frame.length));
        Ok(())
    }

    /// No frame follows in the file.
    fn end(&mut self) {
        self.contradicts |= matches!(self.next(), Ok(Some(_)));
    }

    /// Whether it has all frames: then the segment is finished.
    fn is_whole(&self, total: u64) -> bool {
        self.seen == total
    }
}

/// Videos in the output's directory that are not in the sink's own list.
pub(super) fn strangers(directory: &Path, log: &Log, findings: &mut Findings) -> Result<(), OutputError> {
    let known = known(directory, log)?;
    let mut found = vec![];
    for entry in fs::read_dir(directory).at("read", directory)? {
        let path = entry.at("read", directory)?.path();
        let is_video = path.extension().is_some_and(|e| e == "avi" || e == "csv");
        if is_video && !known.contains(&stem(&path)) {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    // What was begun meanwhile stands in the list by now: it gets its line before its file.
    let known = self::known(directory, log)?;
    found.retain(|path| !known.contains(&stem(path)));
    for file in found {
        findings.add(Finding::Foreign { file, detail: "not in the sink's list of segments".into() });
    }
    Ok(())
}

/// The segments' files without their endings, as hashes: eight bytes for each.
fn known(directory: &Path, log: &Log) -> Result<HashSet<u64>, OutputError> {
    let (mut lines, mut known) = (log.lines()?, HashSet::new());
    while let Some((_, name)) = lines.next_name()? {
        known.insert(stem(&directory.join(name)));
    }
    Ok(known)
}

fn stem(path: &Path) -> u64 {
    xxh3_64(path.with_extension("").as_os_str().as_encoded_bytes())
}
