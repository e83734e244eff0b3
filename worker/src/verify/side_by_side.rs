//! Records beside the rows that an output has for them.
//!
//! A partition's rows stand in the order of its offsets, over all files. So its records are held against its rows side
//! by side; for each partition the rows are read once. Where somebody set the group's offsets back, rows step back, too:
//! what they show is looked for once more.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    Look, Place,
    log::{self, Log},
    offsets::Offsets,
    past::{FormerRows, Past},
    report::{Finding, Findings},
};
use crate::sink::fault::OutputError;

/// Where a file's rows ended when it was looked at, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct End(pub(super) u64);

/// A kind of files with rows.
pub(super) trait Sheets {
    /// One of them, open.
    type Open: Open;

    /// Where the rows of a file end now.
    fn end(&self, path: &Path) -> Result<End, OutputError>;

    /// Opens a file up to where its rows ended; none where there is nothing to compare.
    fn open(&self, path: &Path, end: Option<End>) -> Result<Option<Self::Open>, OutputError>;
}

/// A file whose rows are read.
pub(super) trait Open {
    /// What a row says of its record.
    type Said;

    /// Where it is.
    fn path(&self) -> &Path;

    /// The next row of a partition that `fits`.
    fn next(&mut self, fits: impl Fn(&str, i32) -> bool) -> Result<Option<Row<Self::Said>>, OutputError>;
}

/// What the rows of a kind of files say.
type Said<S> = <<S as Sheets>::Open as Open>::Said;

/// A row, and the file that it is of.
type Next<S> = (Row<Said<S>>, PathBuf);

/// What a row says, and the open file that it is of.
type Found<'f, S> = (Said<S>, &'f <S as Sheets>::Open);

/// A row.
#[derive(Debug)]
pub(super) struct Row<S> {
    /// The record.
    pub(super) place: Place,
    /// Where in the file it begins.
    pub(super) begins: u64,
    /// What it says.
    pub(super) said: S,
}

/// All rows of an output.
pub(super) struct SideBySide<S: Sheets> {
    directory: PathBuf,
    log: Log,
    sheets: S,
    findings: Findings,
    partition: Partition<S>,
    past: Rc<Past>,
    /// How many rows are of former topics.
    former: u64,
}

/// The rows of one partition.
struct Partition<S: Sheets> {
    topic: String,
    number: i32,
    /// The files that were there when it was begun.
    files: Option<Opened<S>>,
    /// The next row, and of which file it is.
    next: Option<Next<S>>,
    /// Offsets that a row was found for.
    found: Offsets,
    /// Offsets of rows that stand behind later ones, of records that were not found so far.
    late: Offsets,
    /// Only rows of these are looked at, once some of them are looked for again.
    wanted: Option<Offsets>,
    /// Rows that are of a former topic of that name.
    former: FormerRows,
}

impl<S: Sheets> Partition<S> {
    fn new(topic: &str, number: i32, former: FormerRows) -> Self {
        let (found, late) = (Offsets::default(), Offsets::default());
        Partition { topic: topic.to_owned(), number, files: None, next: None, found, late, wanted: None, former }
    }
}

/// The files from the first to the one that was last in the log.
struct Opened<S: Sheets> {
    lines: log::Lines,
    /// Where the last one's rows ended.
    end: End,
    open: Option<S::Open>,
}

impl<S: Sheets> SideBySide<S> {
    /// The rows of the files in a list. `former` of them were already found to be of other topics.
    pub(super) fn new(directory: PathBuf, log: Log, sheets: S, former: u64) -> Self {
        let (partition, past) = (Partition::new("", 0, FormerRows::None), Rc::default());
        SideBySide { directory, log, sheets, findings: Findings::default(), partition, past, former }
    }

    /// What the sink's own folder says, before the first partition.
    pub(super) fn learn(&mut self, past: Rc<Past>) {
        self.past = past;
    }

    /// The records of a partition will be looked for, in order.
    pub(super) fn begin(&mut self, topic: &str, partition: i32) -> Result<(), OutputError> {
        self.partition = Partition::new(topic, partition, self.past.former_rows(topic));
        self.restart(None)
    }

    /// The next row of the partition that counts.
    fn next_row(&mut self) -> Result<Option<Next<S>>, OutputError> {
        if let Some(next) = self.partition.next.take() {
            return Ok(Some(next));
        }
        let Some(files) = &mut self.partition.files else { return Ok(None) };
        loop {
            let Some(rows) = &mut files.open else {
                let Some((number, name)) = files.lines.next_name()? else { return Ok(None) };
                let end = files.lines.is_last(number).then_some(files.end);
                files.open = self.sheets.open(&self.directory.join(name), end)?;
                continue;
            };
            let Some(row) =
                rows.next(|topic, number| (topic, number) == (self.partition.topic.as_str(), self.partition.number))?
            else {
                files.open = None;
                continue;
            };
            if self.partition.former.contains(files.lines.segment(), row.begins) {
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
    fn passed(&mut self, row: Row<Said<S>>, file: PathBuf, look: &Look) {
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
        self.partition.files = match self.log.last()? {
            None => None,
            Some((number, last)) => {
                let end = self.sheets.end(&self.directory.join(last))?;
                Some(Opened { lines: self.log.lines_to(number)?, end, open: None })
            }
        };
        Ok(())
    }

    /// The row of a record, with the open file that it is of; none where it has none.
    pub(super) fn find(&mut self, place: &Place, look: &Look) -> Result<Option<Found<'_, S>>, OutputError> {
        loop {
            match self.next_row()? {
                Some((row, file)) if row.place.offset < place.offset => self.passed(row, file, look),
                Some((row, _)) if row.place.offset == place.offset => {
                    self.partition.found.insert(place.offset);
                    let rows = self.partition.files.as_ref().and_then(|files| files.open.as_ref());
                    return Ok(rows.map(|rows| (row.said, rows)));
                }
                ahead => {
                    self.partition.next = ahead;
                    return Ok(None);
                }
            }
        }
    }

    /// The records of the partition were looked for. Those of these offsets are to be looked for again.
    pub(super) fn end(&mut self, look: &Look) -> Result<Offsets, OutputError> {
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

    /// What is wrong with rows, and how many are of former topics.
    pub(super) fn finish(&mut self) -> (Findings, u64) {
        (std::mem::take(&mut self.findings), self.former)
    }
}
