//! Keeps to `spec.retention`: deletes what is due, and says when the disk is too full to go on.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use edgereel_crds::{
    plan::SinkPlan,
    retention::{MinFree, Retention, WhenFull},
};
use edgereel_runtime::fault::Fault;
use jiff::Timestamp;

use super::{Runner, storage};
use crate::sink::{
    fault::OutputError,
    retention::{
        policy::{Disk, Due, min_free},
        stored_log::Totals,
        turns::Turns,
    },
};

/// How often it is looked at what is due, where nothing is in the way.
const INTERVAL: Duration = Duration::from_secs(1);
/// After a fault.
const AFTER_FAULT: Duration = Duration::from_secs(10);
/// So much is deleted between two looks at the events.
const MOST: usize = 250;
/// So many frames are written between two looks at a disk that is to keep some room.
const UNSEEN: u32 = 16;
/// How long somebody else's turn is waited for where the disk is full: it may be unable to delete.
const PATIENCE: Duration = Duration::from_secs(30);

/// What keeps to a sink's retention.
pub(super) struct Tender {
    retention: Retention,
    root: PathBuf,
    /// None where this user may not write at the volume's root: others do not know of it then.
    turns: Option<Turns>,
    next: Instant,
    /// Somebody else is to make room since then.
    waiting: Option<Instant>,
    short: Option<String>,
    /// Frames since the last look at the disk.
    unseen: u32,
}

impl Tender {
    /// For a sink that asks for it.
    pub(super) fn open(plan: &SinkPlan, root: &Path, replica: u32) -> Option<Self> {
        let retention = plan.spec.retention.clone()?;
        let turns = Turns::join(root, &plan.name, replica).inspect_err(|error| {
            tracing::warn!(sink = %plan.name, "retention: {error}; it deletes without regard to the other sinks of the volume");
        });
        let turns = turns.ok();
        let (root, next) = (root.to_owned(), Instant::now());
        Some(Tender { retention, root, turns, next, waiting: None, short: None, unseen: 0 })
    }

    /// Before a frame is written: why none may be, where less is free than is to stay free. Only a few frames are written
    /// between two looks at the disk.
    pub(super) fn short(&mut self) -> Option<&str> {
        if self.retention.when_full == WhenFull::Wait {
            self.unseen += 1;
            if self.unseen >= UNSEEN || self.short.is_some() {
                self.look(false);
            }
        }
        self.short.as_deref()
    }

    fn look(&mut self, full: bool) -> Disk {
        self.unseen = 0;
        let (size, free) = storage::figures(&self.root).unwrap_or((0, u64::MAX));
        let disk = Disk { size, free, full };
        let waits = self.retention.when_full == WhenFull::Wait && free < min_free(&self.retention, &disk);
        self.short = waits.then(|| {
            let least = self.retention.min_free.unwrap_or(MinFree::Percent(0.0));
            format!(
                "less than {least} of the disk of {} is free (spec.retention.minFree, whenFull: wait): free some space, frames \
                 wait in Kafka meanwhile",
                self.root.display()
            )
        });
        disk
    }
}

impl Runner<'_> {
    /// Deletes some of what is due.
    pub(super) fn tend(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        if self.tender.as_ref().is_none_or(|tender| tender.next > now) || self.ending.is_some() {
            return Ok(());
        }
        match self.delete_some() {
            Ok(deleted) => {
                let more = deleted.files >= MOST as u64;
                if let Some(tender) = &mut self.tender {
                    tender.next = if more { now } else { now + INTERVAL };
                }
                // There is room: what waits is tried again.
                if let Some(stuck) = self.stuck.as_mut().filter(|stuck| stuck.storage.is_some() && deleted.bytes > 0) {
                    stuck.until = now;
                }
            }
            Err(error) => {
                tracing::warn!(sink = %self.plan.name, "retention: {error}");
                self.env.state.note_error(format!("retention: {error}"));
                if let Some(tender) = &mut self.tender {
                    tender.next = now + AFTER_FAULT;
                }
            }
        }
        Ok(())
    }

    fn delete_some(&mut self) -> Result<Totals, OutputError> {
        let full = self.stuck.as_ref().is_some_and(|stuck| stuck.storage.is_some());
        let (Some(tender), metrics) = (&mut self.tender, &self.env.metrics) else { return Ok(Totals::default()) };
        let disk = tender.look(full && tender.short.is_none());
        let Some(kept) = self.output.kept() else { return Ok(Totals::default()) };
        let now = Timestamp::now().as_second();
        let due = |others| Due::now(&tender.retention, kept.totals(), &disk, others, now);
        let (mut due, oldest) = (due(tender.turns.as_ref().and_then(Turns::others)), kept.oldest()?);
        if due.waits(oldest) {
            let since = *tender.waiting.get_or_insert_with(Instant::now);
            if full && since.elapsed() > PATIENCE {
                due = Due::now(&tender.retention, kept.totals(), &disk, None, now);
            }
        } else {
            tender.waiting = None;
        }
        let deleted = kept.delete(MOST, &mut |unit| due.takes(unit))?;
        let oldest = if deleted.files > 0 { kept.oldest()? } else { oldest };
        let deletes = tender.retention.when_full == WhenFull::DeleteOldest;
        if let Some(turns) = &mut tender.turns {
            turns.tell(oldest.filter(|_| deletes).map(|unit| unit.time))?;
        }
        let left = kept.totals();
        metrics.deleted.inc_by(deleted.files);
        metrics.deleted_bytes.inc_by(deleted.bytes);
        metrics.kept.set(left.files as i64);
        metrics.kept_bytes.set(left.bytes as i64);
        metrics.oldest_frame.set(oldest.map_or(0.0, |unit| unit.time as f64));
        metrics.room.set(room(&tender.retention, left, &disk) as i64);
        if deleted.files > 0 {
            tracing::debug!(sink = %self.plan.name, files = deleted.files, bytes = deleted.bytes, "deleted by retention");
        }
        Ok(deleted)
    }
}

/// How many bytes there can be at most before the oldest go.
fn room(retention: &Retention, left: Totals, disk: &Disk) -> u64 {
    let by_disk = left.bytes.saturating_add(disk.free.saturating_sub(min_free(retention, disk)));
    retention.max_bytes.map_or(by_disk, |max| max.0.min(by_disk))
}
