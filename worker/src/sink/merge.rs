//! Puts the records of several partitions into the order of their capture: pure, the clock is an argument.
//!
//! Producers without a key spread one camera's frames over all partitions of its topic, and Kafka keeps order within a
//! partition only. Each partition has a queue here; the record with the smallest capture time goes out once nothing
//! older can come:
//!
//! - every partition has a record waiting: certain, whatever order the partitions were fetched in;
//! - the others are at their end: a record with a key goes out at once (its camera's frames are all in its partition),
//!   one without is held for [`WINDOW`], since an older one may be on its way from the producer. Frames that are old
//!   by the wall clock are not held: what is older than them was produced long ago.
//!
//! A record that is older than one that went out already is *late*: it goes out at once and is counted. A partition
//! that neither gives records nor comes to its end for [`PATIENCE`] (its leader is away) is not waited for any longer.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::output::TopicPartition;

/// How long a record without a key waits for older ones.
pub const WINDOW: Duration = Duration::from_millis(250);
/// How long a silent partition holds up the others.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Frames older than this are not held.
const RECENT: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);

/// The time, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For waiting.
    pub instant: Instant,
    /// For the age of a frame.
    pub wall: Timestamp,
}

impl Now {
    /// The time now.
    pub fn read() -> Self {
        Now { instant: Instant::now(), wall: Timestamp::now() }
    }
}

/// What is known of a record.
#[derive(Clone, Debug)]
pub struct Item<T> {
    /// When it was captured.
    pub time: Timestamp,
    /// Whether all of its camera's records are in its partition.
    pub keyed: bool,
    /// The record.
    pub what: T,
}

/// What [`Merge::pop`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// The next record; `late` when it stands out of order.
    Record {
        /// The record.
        what: T,
        /// It is older than one that went out before.
        late: bool,
    },
    /// Nothing yet; ask again at that time or when something was pushed.
    Wait(Option<Instant>),
}

/// The queues of one assignment.
#[derive(Debug)]
pub struct Merge<T> {
    lanes: BTreeMap<TopicPartition, Lane<T>>,
    last_out: Option<Timestamp>,
}

#[derive(Debug)]
struct Lane<T> {
    queue: VecDeque<Waiting<T>>,
    /// The latest time pushed: a record that is older than its predecessor sorts with it, so that the order of the
    /// partition is kept.
    highest: Timestamp,
    ended: bool,
    /// When something was last heard of the partition.
    heard: Instant,
}

#[derive(Debug)]
struct Waiting<T> {
    key: Timestamp,
    arrived: Instant,
    item: Item<T>,
}

impl<T> Merge<T> {
    /// Queues for the partitions of an assignment.
    pub fn new(partitions: impl IntoIterator<Item = TopicPartition>, now: Instant) -> Self {
        let lane = || Lane { queue: VecDeque::new(), highest: Timestamp::MIN, ended: false, heard: now };
        Merge { lanes: partitions.into_iter().map(|p| (p, lane())).collect(), last_out: None }
    }

    /// A record came. False when the partition is not of this assignment.
    pub fn push(&mut self, source: &TopicPartition, item: Item<T>, now: Instant) -> bool {
        let Some(lane) = self.lanes.get_mut(source) else { return false };
        lane.highest = lane.highest.max(item.time);
        lane.ended = false;
        lane.heard = now;
        lane.queue.push_back(Waiting { key: lane.highest, arrived: now, item });
        true
    }

    /// The partition was read to its end.
    pub fn end(&mut self, source: &TopicPartition, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(source) {
            lane.ended = true;
            lane.heard = now;
        }
    }

    /// The oldest capture time that waits.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.lanes.values().filter_map(|lane| lane.queue.front()).map(|w| w.item.time).min()
    }

    /// Records that wait.
    pub fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.queue.len()).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.lanes.values().all(|lane| lane.queue.is_empty())
    }

    /// The next record, if it may go out.
    pub fn pop(&mut self, now: Now) -> Next<T> {
        let Some((source, head)) = self
            .lanes
            .iter()
            .filter_map(|(source, lane)| Some((source, lane.queue.front()?)))
            .min_by_key(|(_, head)| head.key)
        else {
            return Next::Wait(None);
        };
        let late = self.last_out.is_some_and(|last| head.item.time < last);
        let until = if late { None } else { self.hold_until(head, now) };
        if let Some(until) = until.filter(|until| *until > now.instant) {
            return Next::Wait(Some(until));
        }
        let source = source.clone();
        let Some(head) = self.lanes.get_mut(&source).and_then(|lane| lane.queue.pop_front()) else {
            return Next::Wait(None);
        };
        self.last_out = self.last_out.max(Some(head.item.time));
        Next::Record { what: head.item.what, late }
    }

    /// Until when the oldest record has to wait for the empty partitions.
    fn hold_until(&self, head: &Waiting<T>, now: Now) -> Option<Instant> {
        let recent = head.item.time.checked_add(RECENT).is_ok_and(|end| end > now.wall);
        let after_end = (!head.item.keyed && recent).then(|| head.arrived + WINDOW);
        self.lanes
            .values()
            .filter(|lane| lane.queue.is_empty())
            .filter_map(|lane| if lane.ended { after_end } else { Some(lane.heard + PATIENCE) })
            .max()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(n: i32) -> TopicPartition {
        TopicPartition { topic: "frames".into(), partition: n }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + ms).expect("in range")
    }

    fn item(ms: i64, keyed: bool) -> Item<i64> {
        Item { time: at(ms), keyed, what: ms }
    }

    struct Bench {
        merge: Merge<i64>,
        start: Instant,
    }

    impl Bench {
        fn new(partitions: i32) -> Self {
            let start = Instant::now();
            Bench { merge: Merge::new((0..partitions).map(partition), start), start }
        }

        fn instant(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        /// All that goes out at this time.
        fn drain(&mut self, ms: u64) -> Vec<(i64, bool)> {
            let now = Now { instant: self.instant(ms), wall: at(ms as i64) };
            std::iter::from_fn(|| match self.merge.pop(now) {
                Next::Record { what, late } => Some((what, late)),
                Next::Wait(_) => None,
            })
            .collect()
        }

        fn push(&mut self, n: i32, ms: i64, keyed: bool, now: u64) {
            assert!(self.merge.push(&partition(n), item(ms, keyed), self.instant(now)));
        }

        fn end(&mut self, n: i32, now: u64) {
            self.merge.end(&partition(n), self.instant(now));
        }
    }

    #[test]
    fn a_backlog_comes_out_in_capture_order_though_one_partition_is_fetched_before_the_other() {
        let mut bench = Bench::new(2);
        for ms in [-90_000, -70_000, -50_000] {
            bench.push(0, ms, false, 0);
        }
        assert_eq!(bench.drain(5), [], "the other partition may hold older ones");
        for ms in [-80_000, -60_000] {
            bench.push(1, ms, false, 10);
        }
        let out: Vec<i64> = bench.drain(10).into_iter().map(|(ms, _)| ms).collect();
        assert_eq!(out, [-90_000, -80_000, -70_000, -60_000]);
        bench.end(1, 20);
        assert_eq!(bench.drain(20), [(-50_000, false)], "an old frame is not held at the end");
    }

    #[test]
    fn a_live_record_without_a_key_waits_for_its_elders_and_no_longer() {
        let mut bench = Bench::new(2);
        bench.end(0, 0);
        bench.end(1, 0);
        bench.push(0, 30, false, 31);
        assert_eq!(bench.drain(40), []);
        bench.push(1, 20, false, 41);
        bench.end(1, 41);
        assert_eq!(bench.drain(41), [(20, false)], "with both heads there the order is certain");
        assert_eq!(bench.drain(280), []);
        assert_eq!(bench.drain(281), [(30, false)]);
        bench.push(1, 25, false, 290);
        assert_eq!(bench.drain(290), [(25, true)], "too late for its place: at once, and counted");
    }

    #[test]
    fn a_record_with_a_key_waits_for_nobody_at_the_end() {
        let mut bench = Bench::new(3);
        for n in 0..3 {
            bench.end(n, 0);
        }
        bench.push(1, 10, true, 10);
        assert_eq!(bench.drain(10), [(10, false)]);
    }

    #[test]
    fn a_partition_whose_leader_is_away_holds_up_the_rest_for_ten_seconds_only() {
        let mut bench = Bench::new(2);
        bench.push(0, 10, true, 10);
        assert_eq!(bench.drain(9_999), []);
        assert_eq!(bench.drain(10_000), [(10, false)]);
    }

    #[test]
    fn a_foreign_partition_is_refused() {
        let mut bench = Bench::new(1);
        assert!(!bench.merge.push(&partition(7), item(0, true), bench.start));
    }

    proptest! {
        /// Whatever comes in which order at what time: each record goes out once, each partition keeps its order,
        /// nothing is stuck, and what is not late is in order.
        #[test]
        fn every_record_comes_out_once_and_in_the_order_of_its_partition(
            steps in prop::collection::vec((0i32..3, -20_000i64..20_000, any::<bool>(), 0u64..400, any::<bool>()), 0..80),
        ) {
            let mut bench = Bench::new(3);
            let mut now = 0;
            let mut put: Vec<Vec<i64>> = vec![Vec::new(); 3];
            let mut out = Vec::new();
            for (unique, (n, ms, keyed, pause, end)) in steps.iter().enumerate() {
                now += pause;
                // Distinct values; the time within the millisecond carries the number of the step.
                let ms = ms * 100 + unique as i64;
                bench.push(*n, ms, *keyed, now);
                put[*n as usize].push(ms);
                if *end {
                    bench.end(*n, now);
                }
                out.extend(bench.drain(now));
            }
            out.extend(bench.drain(now + 60_000_000));
            prop_assert!(bench.merge.is_empty(), "stuck");
            let mut highest = i64::MIN;
            for (ms, late) in &out {
                prop_assert_eq!(*late, *ms < highest);
                highest = highest.max(*ms);
            }
            for lane in put {
                let kept: Vec<i64> = out.iter().map(|(ms, _)| *ms).filter(|ms| lane.contains(ms)).collect();
                prop_assert_eq!(kept, lane);
            }
        }

        /// However a backlog is fetched: sorted partitions come out sorted.
        #[test]
        fn a_sorted_backlog_comes_out_sorted(
            records in prop::collection::vec((0usize..3, 1i64..1000), 1..100), order in prop::collection::vec(0usize..3, 0..300),
        ) {
            let mut lanes: Vec<VecDeque<i64>> = vec![VecDeque::new(); 3];
            let mut time = -10_000_000;
            for (lane, step) in &records {
                time += step;
                lanes[*lane].push_back(time);
            }
            let mut bench = Bench::new(3);
            let mut out = Vec::new();
            for lane in order.into_iter().chain((0..300).map(|i| i % 3)) {
                match lanes[lane].pop_front() {
                    Some(ms) => bench.push(lane as i32, ms, false, 0),
                    None => bench.end(lane as i32, 0),
                }
                out.extend(bench.drain(0));
            }
            prop_assert_eq!(out.len(), records.len());
            prop_assert!(out.windows(2).all(|w| w[0].0 < w[1].0));
            prop_assert!(out.iter().all(|(_, late)| !late));
        }
    }
}
