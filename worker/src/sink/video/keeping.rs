//! Which videos may go to make room: those that are closed, the oldest first.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
    time::UNIX_EPOCH,
};

use edgereel_frame::wire::time;
use jiff::Timestamp;

use super::{Video, segment, sheet};
use crate::sink::{
    disk::{Disk, standing::Standing},
    fault::OutputError,
    output::At,
    retention::{Kept, Unit, gone::Ledger, stored_log::Totals},
};

/// Videos deleted at once: each may be large.
const MOST: usize = 8;
/// A row is no longer.
const ROW: u64 = 4096;

/// The closed videos of a sink.
pub(super) struct Archive {
    ledger: Ledger,
    closed: VecDeque<Closed>,
    /// The last segment that was closed when the state was sealed, and in the state that is committed: a file that a commit
    /// wants to go on with has to be there.
    sealed: u64,
    committed: u64,
}

/// A closed video.
struct Closed {
    segment: u64,
    file: String,
    unit: Unit,
}

impl Archive {
    pub(super) fn open(folder: &Path, disk: &Disk) -> Result<Self, OutputError> {
        Ok(Archive { ledger: Ledger::open(folder, disk)?, closed: VecDeque::new(), sealed: 0, committed: 0 })
    }

    /// The state is taken up, or sealed, in which this is the last closed segment.
    pub(super) fn seal(&mut self, closed: u64) {
        self.sealed = closed;
    }

    /// What was sealed is committed.
    pub(super) fn commit(&mut self) {
        self.committed = self.sealed;
    }

    /// Those that may go.
    fn free(&self) -> impl Iterator<Item = &Closed> {
        self.closed.iter().take_while(|closed| closed.segment <= self.committed)
    }

    /// Whether one of these topics has another id than it had; from this segment on it has this one.
    pub(super) fn topics(&mut self, ids: &BTreeMap<String, String>, next: u64) -> Result<bool, OutputError> {
        let (mut changed, mut anew) = (false, false);
        for (name, id) in ids {
            let known = self.ledger.gone.since.entry(name.clone()).or_default();
            if known.last().is_none_or(|(_, last)| last != id) {
                anew |= !known.is_empty();
                changed = true;
                // What is there already when this is first kept is of a topic that nobody has noted.
                known.push((if known.is_empty() { next.max(1) } else { next }, id.clone()));
            }
        }
        if changed {
            self.ledger.write()?;
        }
        Ok(anew)
    }

    /// The id that a topic had in a segment; empty where nobody knows.
    fn id(&self, topic: &str, segment: u64) -> String {
        let known = self.ledger.gone.since.get(topic);
        let of = |ids: &Vec<(u64, String)>| ids.iter().rfind(|(since, _)| *since <= segment).map(|(_, id)| id.clone());
        known.and_then(of).unwrap_or_default()
    }
}

impl Video {
    /// Lists the closed videos, but for the one that grows.
    pub(super) fn list_closed(&mut self) -> Result<(), OutputError> {
        let Some(archive) = &mut self.archive else { return Ok(()) };
        archive.closed.clear();
        let open = self.current.as_ref().map(|_| self.number);
        for line in self.log.after(archive.ledger.gone.segment)? {
            if line.segment <= self.number && open != Some(line.segment) {
                archive.closed.extend(closed(&self.directory, line.segment, line.file));
            }
        }
        Ok(())
    }

    /// A video was closed.
    pub(super) fn now_closed(&mut self, segment: u64, file: String) {
        if let Some(archive) = &mut self.archive {
            archive.closed.extend(closed(&self.directory, segment, file));
        }
    }
}

/// A closed video; none where it was moved away.
fn closed(directory: &Path, segment: u64, file: String) -> Option<Closed> {
    let path = directory.join(&file);
    let video = fs::metadata(&path).ok()?;
    let rows = segment::csv_path(&path);
    let bytes = video.len() + fs::metadata(&rows).map_or(0, |meta| meta.len());
    let written = video.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let time = last_time(&rows).unwrap_or(i64::try_from(written.as_secs()).unwrap_or(i64::MAX));
    Some(Closed { segment, file, unit: Unit { time, bytes } })
}

/// When the last frame of a CSV was captured, in seconds since 1970, where that says how old it is.
fn last_time(csv: &Path) -> Option<i64> {
    let mut file = File::open(csv).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(ROW))).ok()?;
    let mut text = String::new();
    file.take(ROW).read_to_string(&mut text).ok()?;
    let captured: Timestamp = text.lines().last()?.rsplit(',').next()?.parse().ok()?;
    time::age(captured, Timestamp::now()).map(|_| captured.as_second())
}

impl Kept for Video {
    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        let closed = self.archive.iter().flat_map(|archive| &archive.closed);
        closed.for_each(|closed| totals.add(closed.unit.bytes));
        if let Some(open) = &self.current {
            let (video, rows) = open.lengths();
            totals.add(video + rows);
        }
        totals
    }

    fn oldest(&mut self) -> Result<Option<Unit>, OutputError> {
        Ok(self.archive.as_ref().and_then(|archive| archive.free().next()).map(|closed| closed.unit))
    }

    fn delete(&mut self, most: usize, due: &mut dyn FnMut(Unit) -> bool) -> Result<Totals, OutputError> {
        let mut deleted = Totals::default();
        let Some(archive) = &mut self.archive else { return Ok(deleted) };
        let count = archive.free().take(most.min(MOST)).take_while(|closed| due(closed.unit)).count();
        if count == 0 {
            return Ok(deleted);
        }
        // First it is written down.
        for n in 0..count {
            let (segment, rows) =
                (archive.closed[n].segment, segment::csv_path(&self.directory.join(&archive.closed[n].file)));
            let file = match File::open(&rows) {
                // It was deleted before a crash.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                file => BufReader::new(file.at("read", &rows)?),
            };
            for row in file.lines() {
                let row = row.at("read", &rows)?;
                if let Some((topic, partition, offset)) = sheet::place(&row) {
                    let id = archive.id(topic, segment);
                    archive.ledger.gone.note(topic, &id, partition, offset);
                }
            }
        }
        archive.ledger.write()?;
        for _ in 0..count {
            let Some(closed) = archive.closed.front() else { break };
            let path = self.directory.join(&closed.file);
            let directory = path.parent().filter(|directory| directory.is_dir()).map(Standing::open).transpose()?;
            let note = format!("edgereel {} segment {}", self.sink, closed.segment);
            segment::remove_orphan(&path, &note, self.limits, &self.disk)?;
            if let Some(directory) = directory {
                self.disk.sync(directory.file()).at("sync", directory.path())?;
            }
            deleted.add(closed.unit.bytes);
            archive.ledger.gone.segment = closed.segment;
            archive.closed.pop_front();
        }
        archive.ledger.gone.totals.files += deleted.files;
        archive.ledger.gone.totals.bytes += deleted.bytes;
        archive.ledger.write()?;
        Ok(deleted)
    }
}
