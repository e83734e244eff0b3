//! Puts the records of several partitions into the order of their capture: pure, the clock is an argument.
//!
//! Producers without a key spread one camera's frames over all partitions of its topic, and Kafka keeps order within a
//! partition only. Each partition has a queue here, and the first in the order goes out once nothing before it can come:
//!
//! - every partition has a record waiting: certain, whatever order the partitions were fetched in;
//! - those that have none are *at their end*, and it came the window ago, since an older one may be on its way from the
//!   producer. (One with a key does not wait: its camera's frames are all in its partition.)
//!
//! An end has a date: it says that there was nothing more at that moment. A partition whose end is older than the record
//! is still taken to be empty as long as its silence is its habit ([`lane`]): it is not yet due. One that is overdue (its
//! broker may be away), and one that was not read to its end, is waited for until it gives a record, or is known to have
//! been empty after the other came, or has been silent for [`PATIENCE`].
//!
//! So arrival and the window decide, never the cameras' clocks: these only say what stands before what, and not even that
//! without witnesses ([`timeline`]). A record that stands before one that went out already is *late*: it goes out at once
//! and is counted.

mod lane;
mod timeline;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use self::{
    lane::{Head, Lane},
    timeline::Micros,
};
use super::output::{Standing, TopicPartition};

/// How long a silent partition holds up the others.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Who comes back so much later than he was to did not listen meanwhile: he wrote, and what came is still on its way …
const BUSY: Duration = Duration::from_millis(100);
/// … for so long.
const TAKE_IN: Duration = Duration::from_millis(50);

/// What is known of a record.
#[derive(Clone, Debug)]
pub struct Item<T> {
    /// When it says that it was captured.
    pub time: Timestamp,
    /// Whether all of its camera's records are in its partition.
    pub keyed: bool,
    /// The record.
    pub what: T,
}

/// What [`Merge::pop`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// The next record.
    Record {
        /// The record.
        what: T,
        /// Where it stands.
        standing: Standing,
    },
    /// Nothing yet; ask again at that time or when something was pushed.
    Wait(Option<Instant>),
}

/// The queues of one assignment.
#[derive(Debug)]
pub struct Merge<T> {
    lanes: BTreeMap<TopicPartition, Lane<T>>,
    window: Duration,
    /// Where the last that went out stands, and when it came.
    reached: Option<(Micros, Instant)>,
    /// When the caller should be here again.
    due: Option<Instant>,
    /// From then on all that came while the caller was busy has been pushed.
    attentive: Instant,
}

impl<T> Merge<T> {
    /// Queues for the partitions of an assignment. A record without a key waits `window` for those before it.
    pub fn new(partitions: impl IntoIterator<Item = TopicPartition>, window: Duration, now: Instant) -> Self {
        let lanes = partitions.into_iter().map(|p| (p, Lane::new(now))).collect();
        Merge { lanes, window, reached: None, due: None, attentive: now }
    }

    /// A record came. False when the partition is not of this assignment.
    pub fn push(&mut self, source: &TopicPartition, item: Item<T>, now: Instant) -> bool {
        self.attend(now);
        self.due.get_or_insert(now);
        let Some(lane) = self.lanes.get_mut(source) else { return false };
        lane.push(item, now);
        true
    }

    /// All that the partition had at the moment `as_of` was pushed.
    pub fn end(&mut self, source: &TopicPartition, as_of: Instant) {
        if let Some(lane) = self.lanes.get_mut(source) {
            lane.end(as_of);
        }
    }

    /// The oldest capture time that waits, as far as it can be believed.
    pub fn oldest(&self) -> Option<Timestamp> {
        let oldest = self.lanes.values().filter_map(Lane::oldest).min()?;
        Timestamp::from_microsecond(oldest).ok()
    }

    /// Records that wait.
    pub fn len(&self) -> usize {
        self.lanes.values().map(Lane::len).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next record, if it may go out.
    pub fn pop(&mut self, now: Instant) -> Next<T> {
        self.attend(now);
        let next = self.next(now);
        self.due = match &next {
            Next::Record { .. } => Some(now),
            Next::Wait(until) => *until,
        };
        next
    }

    fn next(&mut self, now: Instant) -> Next<T> {
        let shifts: Vec<Micros> = self.lanes.values().flat_map(Lane::shifts).filter(|shift| *shift != 0).collect();
        for lane in self.lanes.values_mut() {
            lane.judge(self.reached, &shifts, now);
        }
        let heads = self.lanes.iter().filter_map(|(source, lane)| Some((source, lane.head()?)));
        let Some((source, head)) = heads.min_by_key(|(_, head)| head.placed.key) else {
            return Next::Wait(self.lanes.values().filter_map(Lane::decided).min());
        };
        let reached = self.reached.map_or(Micros::MIN, |(time, _)| time);
        let late = head.placed.key < reached;
        if let Some(until) = self.held_until(&head).filter(|until| !late && *until > now) {
            return Next::Wait(Some(until));
        }
        let source = source.clone();
        let Some((item, placed)) = self.lanes.get_mut(&source).and_then(|lane| lane.pop(now)) else {
            return Next::Wait(None);
        };
        let key = placed.key.max(reached);
        self.reached = Some((key, head.arrived));
        let time = Timestamp::from_microsecond(key).unwrap_or(item.time);
        let standing = Standing { time, behind: placed.own < key, late, far: placed.far };
        Next::Record { what: item.what, standing }
    }

    /// Until when the first in the order has to wait for other partitions.
    fn held_until(&self, head: &Head) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.holds(head, self.window, self.attentive)).max()
    }

    fn attend(&mut self, now: Instant) {
        if self.due.is_some_and(|due| now > due + BUSY) {
            self.attentive = now + TAKE_IN;
            self.due = Some(now);
        }
    }
}
