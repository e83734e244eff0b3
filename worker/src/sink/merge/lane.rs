//! One partition's queue, and what its silence means.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    Item, PATIENCE,
    timeline::{Claim, Micros, Placed, Timeline, WITNESSES},
};

/// How long a record whose time is in doubt waits for those behind it.
const HEARING: Duration = Duration::from_millis(250);
/// A new interval's weight in the mean, as a divisor.
const SMOOTHING: u32 = 8;

/// One partition.
#[derive(Debug)]
pub struct Lane<T> {
    queue: VecDeque<Waiting<T>>,
    timeline: Timeline,
    /// Where the first of the queue stands, once that is known.
    head: Option<Placed>,
    /// Whether nothing was pushed since the end was met …
    at_end: bool,
    /// … and the moment at which that was so, or that of the last record.
    heard: Instant,
    ended: Option<Instant>,
    pushed: Option<Instant>,
    /// The mean interval between records, of late.
    rhythm: Option<Duration>,
    /// Since when the queue is empty, if it is.
    emptied: Instant,
}

#[derive(Debug)]
struct Waiting<T> {
    arrived: Instant,
    item: Item<T>,
}

/// The first of a lane.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Where it stands.
    pub placed: Placed,
    /// When it came.
    pub arrived: Instant,
    /// Whether all of its camera's records are in its partition.
    pub keyed: bool,
}

impl<T> Lane<T> {
    pub fn new(now: Instant) -> Self {
        Lane {
            queue: VecDeque::new(),
            timeline: Timeline::default(),
            head: None,
            at_end: false,
            heard: now,
            ended: None,
            pushed: None,
            rhythm: None,
            emptied: now,
        }
    }

    pub fn push(&mut self, item: Item<T>, now: Instant) {
        if let Some(before) = self.pushed {
            let interval = now.saturating_duration_since(before);
            self.rhythm = Some(self.rhythm.map_or(interval, |mean| {
                // One long pause says little; a lasting change is followed all the same.
                let interval = interval.min(4 * mean + Duration::from_millis(10));
                (mean * (SMOOTHING - 1) + interval) / SMOOTHING
            }));
        }
        self.pushed = Some(now);
        self.heard = self.heard.max(now);
        self.at_end = false;
        self.queue.push_back(Waiting { arrived: now, item });
    }

    pub fn end(&mut self, as_of: Instant) {
        self.at_end = true;
        self.ended = self.ended.max(Some(as_of));
        self.heard = self.heard.max(as_of);
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// What its capture times are, and were, shifted by.
    pub fn shifts(&self) -> [Micros; 2] {
        self.timeline.shifts()
    }

    /// The first of the queue, once it is known where it stands.
    pub fn head(&self) -> Option<Head> {
        let first = self.queue.front()?;
        Some(Head { placed: self.head?, arrived: first.arrived, keyed: first.item.keyed })
    }

    /// When it is known at the latest where the first of the queue stands.
    pub fn decided(&self) -> Option<Instant> {
        self.queue.front().map(|first| first.arrived + HEARING)
    }

    /// When the first of the queue was captured, by all that is known: on its camera's own clock.
    pub fn oldest(&self) -> Option<Micros> {
        let first = self.queue.front()?;
        let of_order = self.head.map(|head| head.own).or(self.timeline.latest());
        Some(of_order.map_or(first.item.time.as_microsecond(), |time| time.saturating_sub(self.timeline.shift())))
    }

    /// Finds out where the first of the queue stands, if that can be told yet.
    pub fn judge(&mut self, elsewhere: Option<(Micros, Instant)>, shifts: &[Micros], now: Instant) {
        let (None, Some(first)) = (self.head, self.queue.front()) else { return };
        let mut next = [0; WITNESSES];
        let behind = self.queue.iter().skip(1).take(WITNESSES);
        let known = behind.zip(&mut next).map(|(waiting, next)| *next = waiting.item.time.as_microsecond()).count();
        let claim = Claim { captured: first.item.time.as_microsecond(), arrived: first.arrived, next: &next[..known] };
        self.head = self.timeline.place(claim, elsewhere, shifts, now >= first.arrived + HEARING);
    }

    pub fn pop(&mut self, now: Instant) -> Option<(Item<T>, Placed)> {
        let placed = self.head.take()?;
        let first = self.queue.pop_front()?;
        if self.queue.is_empty() {
            self.emptied = now;
        }
        Some((first.item, placed))
    }

    /// Until when this other lane's head has to wait for this one.
    pub fn holds(&self, head: &Head, window: Duration, attentive: Instant) -> Option<Instant> {
        if self.head.is_some() || self.timeline.latest().is_some_and(|latest| latest >= head.placed.key) {
            return None;
        }
        if let Some(decided) = self.decided() {
            return Some(decided);
        }
        let asked = if head.keyed { head.arrived } else { head.arrived + window };
        if self.at_end && self.ended.is_some_and(|ended| ended >= asked) {
            return Some(asked);
        }
        let known_empty = self.ended.is_some_and(|ended| ended >= head.arrived);
        let silent_by_habit = known_empty || self.expected(window).is_none_or(|next| asked < next);
        let until = if self.at_end && silent_by_habit { asked } else { self.heard.max(self.emptied) + PATIENCE };
        Some(until.max(asked).max(attentive))
    }

    /// When a record should have come at the latest, by its habit; none if it has none.
    fn expected(&self, window: Duration) -> Option<Instant> {
        let empty_for = self.ended?.saturating_duration_since(self.pushed?);
        let usual = self.rhythm?.max(empty_for);
        self.heard.checked_add((2 * usual).max(window / 2))
    }
}
