//! What is kept in memory between the camera and Kafka: bounded in bytes, dropping by policy, counting every drop.
//!
//! A frame is in the outbox from its capture to its acknowledgement: first *waiting*, then *in flight*. Both count
//! towards `buffer.memory`. At most half of the memory is in flight, so that `dropOldest` has something to drop.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use edgereel_crds::camera_stream::{Buffer, WhenFull};
use tokio::sync::Notify;

use crate::frame::Frame;

/// The queue between the task that reads the camera and the one that feeds the producer.
#[derive(Debug)]
pub struct Outbox {
    memory: usize,
    when_full: WhenFull,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Frame>,
    waiting_bytes: usize,
    in_flight_bytes: usize,
    closed: bool,
}

impl Inner {
    fn pop(&mut self) -> Option<Frame> {
        let frame = self.waiting.pop_front()?;
        self.waiting_bytes -= frame.jpeg.len();
        Some(frame)
    }
}

impl Outbox {
    /// An empty outbox.
    pub fn new(spec: &Buffer) -> Self {
        Outbox {
            memory: spec.memory.as_usize(),
            when_full: spec.when_full,
            inner: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame in and says how many frames (this one among them, perhaps) had to go for it. Never blocks.
    #[must_use = "every dropped frame is counted"]
    pub fn push(&self, frame: Frame) -> u64 {
        let mut inner = self.lock();
        let mut dropped = 0;
        let room = |inner: &Inner| inner.waiting_bytes + inner.in_flight_bytes + frame.jpeg.len() <= self.memory;
        while !room(&inner) && self.when_full == WhenFull::DropOldest && inner.pop().is_some() {
            dropped += 1;
        }
        if room(&inner) && !inner.closed {
            inner.waiting_bytes += frame.jpeg.len();
            inner.waiting.push_back(frame);
        } else {
            dropped += 1;
        }
        drop(inner);
        self.changed.notify_one();
        dropped
    }

    /// The next frame to send, now counted as in flight; none when none waits or too much is in flight.
    pub fn take(&self) -> Option<Frame> {
        let mut inner = self.lock();
        let next = inner.waiting.front()?.jpeg.len();
        // One frame may always fly, however large.
        if inner.in_flight_bytes > 0 && inner.in_flight_bytes + next > self.memory / 2 {
            return None;
        }
        let frame = inner.pop()?;
        inner.in_flight_bytes += frame.jpeg.len();
        Some(frame)
    }

    /// The producer did not take this frame after all: it waits again, in front.
    pub fn put_back(&self, frame: Frame) {
        let mut inner = self.lock();
        inner.in_flight_bytes -= frame.jpeg.len();
        inner.waiting_bytes += frame.jpeg.len();
        inner.waiting.push_front(frame);
    }

    /// A frame of this size is no longer in flight, whatever its fate.
    pub fn landed(&self, bytes: usize) {
        let mut inner = self.lock();
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

    fn outbox(memory: u64, when_full: WhenFull) -> Outbox {
        Outbox::new(&Buffer { memory: ByteSize(memory), when_full })
    }

    fn frame(sequence: u64, bytes: usize) -> Frame {
        Frame { jpeg: Bytes::from(vec![0; bytes]), captured_at: Timestamp::UNIX_EPOCH, sequence }
    }

    #[test]
    fn the_oldest_waiting_frame_goes_first_and_one_in_flight_never() {
        let outbox = outbox(100, WhenFull::DropOldest);
        assert_eq!((0..4).map(|i| outbox.push(frame(i, 25))).sum::<u64>(), 0);
        assert_eq!(outbox.take().map(|f| f.sequence), Some(0));
        assert_eq!(outbox.push(frame(4, 50)), 2, "1 and 2 make room");
        assert_eq!(outbox.take().map(|f| f.sequence), Some(3));
        assert_eq!(outbox.take(), None, "half of the memory is in flight");
        outbox.landed(25);
        outbox.landed(25);
        assert_eq!(outbox.take().map(|f| f.sequence), Some(4));
    }

    #[test]
    fn drop_newest_keeps_what_waits() {
        let outbox = outbox(100, WhenFull::DropNewest);
        assert_eq!((0..5).map(|i| outbox.push(frame(i, 25))).sum::<u64>(), 1);
        assert_eq!(outbox.take().map(|f| f.sequence), Some(0));
    }

    #[test]
    fn a_frame_that_was_put_back_keeps_its_place() {
        let outbox = outbox(100, WhenFull::DropOldest);
        assert_eq!(outbox.push(frame(0, 10)) + outbox.push(frame(1, 10)), 0);
        let first = outbox.take().expect("one waits");
        outbox.put_back(first);
        assert_eq!(outbox.take().map(|f| f.sequence), Some(0));
        assert_eq!(outbox.bytes(), 20);
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
            let mut flying: Vec<Frame> = vec![];
            for step in steps {
                match step {
                    Step::Push(bytes) => { dropped += outbox.push(frame(pushed, bytes)); pushed += 1; }
                    Step::Take => flying.extend(outbox.take()),
                    Step::PutBack => if let Some(last) = flying.pop() { outbox.put_back(last) },
                    Step::Land => if let Some(first) = flying.pop() { outbox.landed(first.jpeg.len()); landed += 1; },
                }
                prop_assert!(outbox.bytes() <= 100);
            }
            let waiting = outbox.discard();
            prop_assert_eq!(pushed, dropped + landed + flying.len() as u64 + waiting);
        }
    }
}
