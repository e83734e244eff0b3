//! The files of a `video` output: each segment's AVI with its CSV.
//!
//! - [`log`] reads the list of segments, [`segment`] one segment's rows and frames, both from start to end: a video that
//!   has grown for months needs no more memory than a young one.
//! - [`structure`] looks at each segment by itself.
//!
//! A partition's rows stand in the order of its offsets, over all segments. So its records are held against its rows side
//! by side; for each partition the rows are read once. Where somebody set the group's offsets back, rows step back, too:
//! what they show is looked for once more.

mod log;
mod segment;
mod structure;

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use edgereel_crds::{frame_sink, plan::SinkPlan};
use edgereel_frame::wire::Decoded;

use self::{
    log::Log,
    segment::{Row, Rows, Shown},
};
use super::{
    Extents, Files, Found, Look, Place,
    offsets::Offsets,
    past::{FormerRows, Past},
    report::{Finding, Findings},
};
use crate::sink::{fault::OutputError, video::transcode::refuses};

/// All segments.
pub(super) struct Video {
    directory: PathBuf,
    log: Log,
    /// What is wrong with the segments themselves.
    findings: Findings,
    partition: Partition,
    past: Rc<Past>,
    /// How many rows are of former topics.
    former: u64,
}

/// The rows of one partition.
#[derive(Default)]
struct Partition {
    topic: String,
    number: i32,
    /// The segments that were there when it was begun.
    segments: Option<Segments>,
    /// The next row, and of which segment it is.
    next: Option<(Row, PathBuf)>,
    /// Offsets that a row was found for.
    found: Offsets,
    /// Offsets of rows that stand behind later ones, of records that were not found so far.
    late: Offsets,
    /// Only rows of these are looked at, once some of them are looked for again.
    wanted: Option<Offsets>,
    /// Rows that are of a former topic of that name.
    former: FormerRows,
}

/// The segments from the first to the one that was last in the log.
struct Segments {
    lines: log::Lines,
    /// Where the last one's rows ended.
    end: segment::End,
    open: Option<Rows>,
}

impl Video {
    /// Looks at the segments by themselves. `progress` hears of so many.
    pub(super) fn list(
        root: &Path,
        spec: &frame_sink::Video,
        plan: &SinkPlan,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, OutputError> {
        let directory = root.join(&spec.directory);
        let log = Log::of(&directory, plan)?;
        let mut findings = Findings::default();
        let former = structure::segments(&directory, &log, &plan.topics, &mut findings, progress)?;
        // A storage's root is other outputs' place, too; so are directories that the template makes.
        if !spec.directory.is_empty() {
            structure::strangers(&directory, &log, &mut findings)?;
        }
        Ok(Video { directory, log, findings, partition: Partition::default(), past: Rc::default(), former })
    }

    /// The next row of the partition that counts.
    fn next_row(&mut self) -> Result<Option<(Row, PathBuf)>, OutputError> {
        if let Some(next) = self.partition.next.take() {
            return Ok(Some(next));
        }
        let Some(segments) = &mut self.partition.segments else { return Ok(None) };
        loop {
            let Some(rows) = &mut segments.open else {
                let Some((number, name)) = segments.lines.next_name()? else { return Ok(None) };
                let end = segments.lines.is_last(number).then_some(segments.end);
                segments.open = Rows::open(&self.directory.join(name), end)?;
                continue;
            };
            let Some(row) =
                rows.next(|topic, number| (topic, number) == (self.partition.topic.as_str(), self.partition.number))?
            else {
                segments.open = None;
                continue;
            };
            if self.partition.former.contains(segments.lines.segment(), row.begins) {
                // Counted when all rows are looked at for the first time.
                self.former += u64::from(self.partition.wanted.is_none());
                continue;
            }
            if self.partition.wanted.as_ref().is_none_or(|wanted| wanted.contains(row.place.offset)) {
                return Ok(Some((row, rows.path().to_owned())));
            }
        }
    }

    /// A row whose record is not the one that is looked for: it was passed already, or there is none.
    fn passed(&mut self, row: Row, file: PathBuf, look: &Look) {
        let offset = row.place.offset;
        // Below `low`, the topic's retention has taken the record: there is nothing to compare with. What is not committed
        // may be cut off and written again.
        let pending = !look.is_committed(offset) && offset < look.extent.high;
        if offset < look.extent.low || pending || self.partition.wanted.is_some() {
            return;
        }
        if self.partition.found.contains(offset) {
            self.findings.add(Finding::Duplicate { place: row.place, file });
        } else if look.absent.contains(offset) {
            if !self.partition.late.insert(offset) {
                self.findings.add(Finding::Duplicate { place: row.place, file });
            }
        } else {
            let detail = format!("shows {}, which the topic does not hold", row.place);
            self.findings.add(Finding::Foreign { file, detail });
        }
    }

    fn restart(&mut self, wanted: Option<Offsets>) -> Result<(), OutputError> {
        self.partition.wanted = wanted;
        self.partition.next = None;
        self.partition.segments = match self.log.last()? {
            None => None,
            Some((number, last)) => {
                let end = segment::end(&self.directory.join(last))?;
                Some(Segments { lines: self.log.lines_to(number)?, end, open: None })
            }
        };
        Ok(())
    }
}

impl Files for Video {
    fn learn(&mut self, past: Rc<Past>) {
        self.past = past;
    }

    fn begin(&mut self, topic: &str, partition: i32) -> Result<(), OutputError> {
        let former = self.past.former_rows(topic);
        self.partition = Partition { topic: topic.to_owned(), number: partition, former, ..Partition::default() };
        self.restart(None)
    }

    fn find(&mut self, place: &Place, frame: &Decoded, look: &Look) -> Result<Found, OutputError> {
        loop {
            let row = self.next_row()?;
            match row {
                Some((row, file)) if row.place.offset < place.offset => self.passed(row, file, look),
                Some((row, _)) if row.place.offset == place.offset => {
                    self.partition.found.insert(place.offset);
                    let Some(rows) = self.partition.segments.as_ref().and_then(|s| s.open.as_ref()) else {
                        return Ok(Found::Missing);
                    };
                    return compare(rows, row.shown, &frame.jpeg);
                }
                ahead => {
                    self.partition.next = ahead;
                    let refused = look.is_committed(place.offset) && refuses(self.log.codec(), &frame.jpeg)?;
                    return Ok(if refused { Found::Refused } else { Found::Missing });
                }
            }
        }
    }

    fn end(&mut self, look: &Look) -> Result<Offsets, OutputError> {
        while let Some((row, file)) = self.next_row()? {
            self.passed(row, file, look);
        }
        let again = match &self.partition.wanted {
            None => std::mem::take(&mut self.partition.late),
            // What was found this time is no longer looked for.
            Some(before) => {
                let left = before.iter().filter(|offset| !self.partition.found.contains(*offset)).collect::<Offsets>();
                if left.len() == before.len() { Offsets::default() } else { left }
            }
        };
        if !again.is_empty() {
            self.restart(Some(again.clone()))?;
        }
        Ok(again)
    }

    fn finish(&mut self, _: &Extents, found: &mut Findings) -> Result<(), OutputError> {
        found.absorb(std::mem::take(&mut self.findings));
        Ok(())
    }

    fn former(&self) -> u64 {
        self.former
    }
}

/// Holds a picture against its record.
fn compare(rows: &Rows, shown: Shown, jpeg: &[u8]) -> Result<Found, OutputError> {
    let path = rows.path().display();
    let picture = match shown {
        Shown::LeftOut => return Ok(Found::LeftOut),
        Shown::Nowhere(number) => return Ok(Found::Torn(format!("{path} has no frame {number} where its CSV says"))),
        Shown::At(picture) => picture,
    };
    if !rows.is_exact() {
        let nothing = || Found::Torn(format!("{path} shows nothing for it"));
        return Ok(if picture.length > 0 { Found::Whole } else { nothing() });
    }
    if picture.length as usize != jpeg.len() {
        return Ok(Found::Torn(format!("{path} has {} bytes, the record {}", picture.length, jpeg.len())));
    }
    let differs = || Found::Torn(format!("{path} has other bytes than the record"));
    Ok(if rows.content(picture)? == jpeg { Found::Whole } else { differs() })
}
