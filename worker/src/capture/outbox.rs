//! What is kept in memory between the camera and Kafka: bounded in bytes, dropping by policy, counting every drop.
//!
//! A frame is in the outbox from its capture to its acknowledgement: first *waiting*, then *in flight*. Both count
//! towards `buffer.memory`. At most half of the memory is in flight, so that `dropOldest` has something to drop.
//!
//! Frames also wait here rather than in librdkafka while its window is full. An idempotent producer sends nothing more
//! to a partition with five records in flight, but its thread does not wait then: it polls without a pause until the
//! acknowledgement comes, a whole core for each camera as long as a broker is slow (librdkafka 2.12,
//! `rd_kafka_toppar_producer_serve`). So frames fly one by one while all that there are fit into the window; what has
//! piled up beyond it goes together, as one batch, when nothing flies any more: librdkafka sends no more than that
//! either. What waits for longer than
//! `producer.deliveryTimeout` is given up here, as librdkafka gives up what it holds.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::camera_stream::{Buffer, WhenFull};
use tokio::sync::Notify;

use crate::frame::Frame;

/// The records in flight above which an idempotent producer of librdkafka sends no more (`RD_KAFKA_IDEMP_MAX_INFLIGHT`).
const WINDOW: usize = 5;
/// What a record's headers, key and framing take of a batch.
const RECORD_OVERHEAD: usize = 1024;

/// The queue between the task that reads the camera and the one that feeds the producer.
#[derive(Debug)]
pub struct Outbox {
    memory: usize,
    when_full: WhenFull,
    /// Bytes of frames in a batch, with [`RECORD_OVERHEAD`] for each.
    batch: usize,
    /// How long a frame may wait.
    patience: Duration,
    inner: Mutex<Inner>,
    changed: Notify,
}

/// A frame that was taken out to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The frame.
    pub frame: Frame,
    since: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    /// Each with the time since when it waits.
    waiting: VecDeque<(Instant, Frame)>,
    waiting_bytes: usize,
    in_flight: usize,
    in_flight_bytes: usize,
    closed: bool,
}

impl Inner {
    fn pop(&mut self) -> Option<(Instant, Frame)> {
        let oldest = self.waiting.pop_front()?;
        self.waiting_bytes -= oldest.1.jpeg.len();
        Some(oldest)
    }
}

impl Outbox {
    /// An empty outbox, before a producer whose batches take frames of up to `batch` bytes. A frame may wait for
    /// `patience`.
    pub fn new(spec: &Buffer, batch: usize, patience: Duration) -> Self {
        Outbox {
            memory: spec.memory.as_usize(),
            when_full: spec.when_full,
            batch,
            patience,
            inner: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame in and says how many frames (this one among them, perhaps) had to go for it. Never blocks.
    #[must_use = "every dropped frame is counted"]
    pub fn push(&self, frame: Frame, now: Instant) -> u64 {
        let mut inner = self.lock();
        let mut dropped = 0;
        let room = |inner: &Inner| inner.waiting_bytes + inner.in_flight_bytes + frame.jpeg.len() <= self.memory;
        while !room(&inner) && self.when_full == WhenFull::DropOldest && inner.pop().is_some() {
            dropped += 1;
        }
        if room(&inner) && !inner.closed {
            inner.waiting_bytes += frame.jpeg.len();
            inner.waiting.push_back((now, frame));
        } else {
            dropped += 1;
        }
        drop(inner);
        self.changed.notify_one();
        dropped
    }

    /// The frames to send now, counted as in flight from here on; none when none wait or enough are in flight.
    pub fn take(&self) -> Vec<Taken> {
        let mut inner = self.lock();
        let fits = inner.in_flight + inner.waiting.len() <= WINDOW;
        if !fits && inner.in_flight > 0 {
            return Vec::new();
        }
        let mut taken = Vec::new();
        while let Some(next) = inner.waiting.front().map(|(_, frame)| frame.jpeg.len()) {
            let flying = inner.in_flight_bytes + next;
            let batched = flying + (inner.in_flight + 1) * RECORD_OVERHEAD;
            let may_fly = flying <= self.memory / 2 && (inner.in_flight < WINDOW || batched <= self.batch);
            // One frame may always fly, however large.
            if !may_fly && inner.in_flight > 0 {
                break;
            }
            taken.extend(inner.pop().map(|(since, frame)| Taken { frame, since }));
            inner.in_flight += 1;
            inner.in_flight_bytes += next;
        }
        taken
    }

    /// The producer did not take these frames after all: they wait again, in front and in their order.
    pub fn put_back(&self, frames: impl DoubleEndedIterator<Item = Taken>) {
        let mut inner = self.lock();
        for Taken { frame, since } in frames.rev() {
            inner.in_flight -= 1;
            inner.in_flight_bytes -= frame.jpeg.len();
            inner.waiting_bytes += frame.jpeg.len();
            inner.waiting.push_front((since, frame));
        }
    }

    /// Gives up the frames that have waited for too long and says how many they are.
    #[must_use = "every dropped frame is counted"]
    pub fn expire(&self, now: Instant) -> u64 {
        let mut inner = self.lock();
        let mut expired = 0;
        while inner.waiting.front().is_some_and(|(since, _)| now.duration_since(*since) >= self.patience) {
            inner.pop();
            expired += 1;
        }
        expired
    }

    /// A frame of this size is no longer in flight, whatever its fate.
    pub fn landed(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.in_flight = inner.in_flight.saturating_sub(1);
        inner.in_flight_bytes = inner.in_flight_bytes.saturating_sub(bytes);
        // The sender is woken only if there is something to do: as a rule nothing waits, thirty times a second.
        let wake = inner.closed || !inner.waiting.is_empty();
        drop(inner);
        if wake {
            self.changed.notify_one();
        }
    }

    /// Waits for the next push or closing, or for a landing while frames wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Bytes waiting and in flight.
    pub fn bytes(&self) -> usize {
        let inner = self.lock();
        inner.waiting_bytes + inner.in_flight_bytes
    }

    /// Bytes on their way to the broker.
    pub fn bytes_in_flight(&self) -> usize {
        self.lock().in_flight_bytes
    }

    /// Whether more than a quarter of the memory is in use: Kafka is behind.
    pub fn is_pressed(&self) -> bool {
        self.bytes() > self.memory / 4
    }

    /// Whether frames wait to be sent.
    pub fn has_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Takes no more frames in.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Whether it takes no more frames in.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether it is closed and nothing waits any more.
    pub fn is_drained(&self) -> bool {
        let inner = self.lock();
        inner.closed && inner.waiting.is_empty()
    }

    /// Throws away what still waits and says how many frames that were.
    #[must_use = "every dropped frame is counted"]
    pub fn discard(&self) -> u64 {
        let mut inner = self.lock();
        inner.waiting_bytes = 0;
        let count = inner.waiting.len() as u64;
        inner.waiting.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use edgereel_crds::units::ByteSize;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn outbox(memory: u64, when_full: WhenFull) -> Outbox {
        Outbox::new(&Buffer { memory: ByteSize(memory), when_full }, 20 << 10, PATIENCE)
    }

    fn frame(sequence: u64, bytes: usize) -> Frame {
        Frame { jpeg: Bytes::from(vec![0; bytes]), captured_at: Timestamp::UNIX_EPOCH, sequence }
    }

    fn push(outbox: &Outbox, sequence: u64, bytes: usize) -> u64 {
        outbox.push(frame(sequence, bytes), Instant::now())
    }

    fn taken(outbox: &Outbox) -> Vec<u64> {
        outbox.take().iter().map(|taken| taken.frame.sequence).collect()
    }

    #[test]
    fn the_oldest_waiting_frame_goes_first_and_one_in_flight_never() {
        let outbox = outbox(100, WhenFull::DropOldest);
        assert_eq!(push(&outbox, 0, 50), 0);
        assert_eq!(taken(&outbox), [0]);
        assert_eq!((1..3).map(|i| push(&outbox, i, 25)).sum::<u64>(), 0);
        assert_eq!(push(&outbox, 3, 50), 2, "1 and 2 make room");
        assert_eq!(taken(&outbox), [0u64; 0], "half of the memory is in flight");
        outbox.landed(50);
        assert_eq!(taken(&outbox), [3]);
    }

    #[test]
    fn drop_newest_keeps_what_waits() {
        let outbox = outbox(100, WhenFull::DropNewest);
        assert_eq!((0..5).map(|i| push(&outbox, i, 25)).sum::<u64>(), 1);
        assert_eq!(taken(&outbox), [0, 1]);
    }

    #[test]
    fn frames_that_were_put_back_keep_their_places() {
        let outbox = outbox(100, WhenFull::DropOldest);
        assert_eq!((0..3).map(|i| push(&outbox, i, 10)).sum::<u64>(), 0);
        let mut all = outbox.take().into_iter();
        assert_eq!(all.next().map(|sent| sent.frame.sequence), Some(0));
        outbox.put_back(all);
        assert_eq!(outbox.bytes_in_flight(), 10);
        assert_eq!(taken(&outbox), [1, 2]);
        assert_eq!(outbox.bytes(), 30);
    }

    #[test]
    fn what_does_not_fit_into_the_window_waits_until_nothing_flies_and_then_goes_as_one_batch() {
        let outbox = outbox(1 << 20, WhenFull::DropOldest);
        for sequence in 0..5 {
            assert_eq!(push(&outbox, sequence, 100), 0);
            assert_eq!(taken(&outbox), [sequence]);
        }
        assert_eq!((5..30).map(|sequence| push(&outbox, sequence, 100)).sum::<u64>(), 0);
        for _ in 0..5 {
            assert_eq!(taken(&outbox), [0u64; 0]);
            outbox.landed(100);
        }
        assert_eq!(taken(&outbox), Vec::from_iter(5..23), "18 of 1124 bytes each");
        (5..22).for_each(|_| outbox.landed(100));
        assert_eq!(taken(&outbox), [0u64; 0]);
        outbox.landed(100);
        assert_eq!(taken(&outbox), Vec::from_iter(23..30));
    }

    #[test]
    fn five_frames_that_are_larger_than_a_batch_fly_at_once() {
        let outbox = outbox(1 << 20, WhenFull::DropOldest);
        assert_eq!((0..7).map(|sequence| push(&outbox, sequence, 50_000)).sum::<u64>(), 0);
        assert_eq!(taken(&outbox), Vec::from_iter(0..5));
    }

    #[test]
    fn a_frame_that_has_waited_for_the_delivery_timeout_is_given_up_even_if_it_was_put_back() {
        let (outbox, start) = (outbox(1000, WhenFull::DropOldest), Instant::now());
        for second in 0..3 {
            assert_eq!(outbox.push(frame(second, 10), start + Duration::from_secs(second)), 0);
        }
        outbox.put_back(outbox.take().into_iter());
        assert_eq!(outbox.expire(start + PATIENCE - Duration::from_millis(1)), 0);
        assert_eq!(outbox.expire(start + PATIENCE + Duration::from_secs(1)), 2);
        assert_eq!((taken(&outbox), outbox.bytes()), (vec![2], 10));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Take,
        PutBack,
        Land,
    }

    proptest! {
        #[test]
        fn memory_stays_within_its_bound_and_every_frame_is_accounted_for(
            steps in prop::collection::vec(prop_oneof![
                (1usize..120).prop_map(Step::Push), Just(Step::Take), Just(Step::PutBack), Just(Step::Land),
            ], 1..300),
            oldest in any::<bool>(),
        ) {
            let outbox = outbox(100, if oldest { WhenFull::DropOldest } else { WhenFull::DropNewest });
            let (mut pushed, mut dropped, mut landed) = (0u64, 0u64, 0u64);
            let mut flying: Vec<Taken> = vec![];
            for step in steps {
                match step {
                    Step::Push(bytes) => { dropped += push(&outbox, pushed, bytes); pushed += 1; }
                    Step::Take => flying.extend(outbox.take()),
                    Step::PutBack => outbox.put_back(flying.pop().into_iter()),
                    Step::Land => if let Some(first) = flying.pop() {
                        outbox.landed(first.frame.jpeg.len());
                        landed += 1;
                    },
                }
                prop_assert!(outbox.bytes() <= 100);
            }
            let waiting = outbox.discard();
            prop_assert_eq!(pushed, dropped + landed + flying.len() as u64 + waiting);
        }
    }
}
