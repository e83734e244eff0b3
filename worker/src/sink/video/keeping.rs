//! Which videos may go to make room: those that are closed, the oldest first.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
    time::UNIX_EPOCH,
};

use edgereel_frame::wire::time;
use jiff::Timestamp;

use super::{Video, segment, sheet};
use crate::sink::{
    archive::archived::Archived,
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
pub(super) struct Stock {
    ledger: Ledger,
    closed: VecDeque<Closed>,
    /// What the archive has, where there is one: nothing else may go.
    archived: Option<Arc<Archived>>,
}

/// A closed video.
struct Closed {
    segment: u64,
    file: String,
    unit: Unit,
}

impl Stock {
    pub(super) fn open(folder: &Path, archived: Option<Arc<Archived>>, disk: &Disk) -> Result<Self, OutputError> {
        Ok(Stock { ledger: Ledger::open(folder, disk)?, closed: VecDeque::new(), archived })
    }

    /// Those that may go, of the segments up to this one.
    fn free(&self, committed: u64) -> impl Iterator<Item = &Closed> {
        let archived = |closed: &Closed| {
            self.archived.as_ref().is_none_or(|all| all.has(closed.segment, &closed.file, closed.unit.bytes))
        };
        self.closed.iter().take_while(move |closed| closed.segment <= committed && archived(closed))
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
        let Some(stock) = &mut self.stock else { return Ok(()) };
        stock.closed.clear();
        let open = self.current.as_ref().map(|_| self.number);
        for line in self.log.after(stock.ledger.gone.segment)? {
            if line.segment <= self.number && open != Some(line.segment) {
                stock.closed.extend(closed(&self.directory, line.segment, line.file));
            }
        }
        Ok(())
    }

    /// A video was closed.
    pub(super) fn now_closed(&mut self, segment: u64, file: String) {
        if let Some(stock) = &mut self.stock {
            stock.closed.extend(closed(&self.directory, segment, file));
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
        let closed = self.stock.iter().flat_map(|stock| &stock.closed);
        closed.for_each(|closed| totals.add(closed.unit.bytes));
        if let Some(open) = &self.current {
            let (video, rows) = open.lengths();
            totals.add(video + rows);
        }
        totals
    }

    fn oldest(&mut self) -> Result<Option<Unit>, OutputError> {
        let committed = self.settled.committed();
        Ok(self.stock.as_ref().and_then(|stock| stock.free(committed).next()).map(|closed| closed.unit))
    }

    fn delete(&mut self, most: usize, due: &mut dyn FnMut(Unit) -> bool) -> Result<Totals, OutputError> {
        let (mut deleted, committed) = (Totals::default(), self.settled.committed());
        let Some(stock) = &mut self.stock else { return Ok(deleted) };
        let count = stock.free(committed).take(most.min(MOST)).take_while(|closed| due(closed.unit)).count();
        if count == 0 {
            return Ok(deleted);
        }
        // First it is written down.
        for n in 0..count {
            let (segment, rows) =
                (stock.closed[n].segment, segment::csv_path(&self.directory.join(&stock.closed[n].file)));
            let file = match File::open(&rows) {
                // It was deleted before a crash.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                file => BufReader::new(file.at("read", &rows)?),
            };
            for row in file.lines() {
                let row = row.at("read", &rows)?;
                if let Some((topic, partition, offset)) = sheet::place(&row) {
                    let id = stock.id(topic, segment);
                    stock.ledger.gone.note(topic, &id, partition, offset);
                }
            }
        }
        stock.ledger.write()?;
        for _ in 0..count {
            let Some(closed) = stock.closed.front() else { break };
            let path = self.directory.join(&closed.file);
            let directory = path.parent().filter(|directory| directory.is_dir()).map(Standing::open).transpose()?;
            let note = format!("edgereel {} segment {}", self.sink, closed.segment);
            segment::remove_orphan(&path, &note, self.limits, &self.disk)?;
            if let Some(directory) = directory {
                self.disk.sync(directory.file()).at("sync", directory.path())?;
            }
            deleted.add(closed.unit.bytes);
            stock.ledger.gone.segment = closed.segment;
            stock.closed.pop_front();
        }
        stock.ledger.gone.totals.files += deleted.files;
        stock.ledger.gone.totals.bytes += deleted.bytes;
        stock.ledger.write()?;
        Ok(deleted)
    }
}
