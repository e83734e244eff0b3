//! What is kept in memory between the camera and Kafka: bounded in bytes, dropping by policy, counting every fate.
//!
//! A frame is in the outbox from its capture to its acknowledgement: first *waiting*, then *in flight*. Both count
//! towards `buffer.memory`, with what a record has beside the picture. At most half of the memory is in flight, so that
//! `dropOldest` has something to drop.
//!
//! The outbox outlives the producers and the camera's runs: what waits when one of them fails is sent by the next. What
//! flies is known by its number, so that each fate counts once, whoever tells it and however late.
//!
//! Frames also wait here rather than in librdkafka while its window is full. An idempotent producer sends nothing more
//! to a partition with five records in flight, but its thread does not wait then: it polls without a pause until the
//! acknowledgement comes, a whole core for each camera as long as a broker is slow (librdkafka 2.12,
//! `rd_kafka_toppar_producer_serve`). So frames fly one by one while all that there are fit into the window; what has
//! piled up beyond it goes together, as one batch, when nothing flies any more: librdkafka sends no more than that
//! either. What waits for longer than `producer.deliveryTimeout` is given up here, as librdkafka gives up what it holds.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::camera_stream::{Buffer, WhenFull};
use edgereel_frame::{Frame, reasons::DropReason};
use tokio::sync::Notify;

use crate::capture::metrics::CameraMetrics;

/// The records in flight above which an idempotent producer of librdkafka sends no more (`RD_KAFKA_IDEMP_MAX_INFLIGHT`).
const WINDOW: usize = 5;
/// What a record's headers, key and framing take of a batch.
const RECORD_OVERHEAD: usize = 1024;

/// The queue between the task that reads the camera and the one that feeds the producer.
pub struct Outbox {
    memory: usize,
    when_full: WhenFull,
    /// How long a frame may wait.
    patience: Duration,
    /// What a frame's key and headers take of the memory.
    overhead: usize,
    metrics: CameraMetrics,
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
    /// The bytes of each frame in flight, by its number.
    flying: BTreeMap<u64, usize>,
    flying_bytes: usize,
    /// Frames that have landed, ever.
    landed: u64,
    /// The number of the next frame.
    next: u64,
    /// Bytes of frames in a batch, with [`RECORD_OVERHEAD`] for each.
    batch: usize,
    closed: bool,
}

impl Inner {
    fn bytes(&self) -> usize {
        self.waiting_bytes + self.flying_bytes
    }
}

impl Outbox {
    /// An empty outbox that tells `metrics` of each frame's fate. A frame may wait for `patience`, and takes `overhead`
    /// bytes beside those of its picture.
    pub fn new(spec: &Buffer, patience: Duration, overhead: usize, metrics: CameraMetrics) -> Self {
        Outbox {
            memory: spec.memory.as_usize(),
            when_full: spec.when_full,
            patience,
            overhead,
            metrics,
            inner: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes_of(&self, frame: &Frame) -> usize {
        frame.jpeg.len() + self.overhead
    }

    fn pop(&self, inner: &mut Inner) -> Option<(Instant, Frame)> {
        let oldest = inner.waiting.pop_front()?;
        inner.waiting_bytes -= self.bytes_of(&oldest.1);
        Some(oldest)
    }

    /// What waited was dropped.
    fn give_up(&self, inner: &Inner, reason: DropReason, frames: u64) -> u64 {
        self.metrics.give_up(reason, frames);
        self.metrics.buffer_bytes.set(inner.bytes() as i64);
        frames
    }

    /// Takes frames in (again), before a producer whose batches take frames of up to `batch` bytes.
    pub fn open(&self, batch: usize) {
        let mut inner = self.lock();
        inner.batch = batch;
        inner.closed = false;
    }

    /// The number of the next frame. No two frames of this outbox have the same.
    pub fn number(&self) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        inner.next - 1
    }

    /// Takes in a frame that came, and says how many frames (this one among them, perhaps) had to go for it. Never blocks.
    pub fn push(&self, frame: Frame, now: Instant) -> u64 {
        let mut inner = self.lock();
        self.metrics.take_in(frame.jpeg.len());
        let (bytes, mut dropped) = (self.bytes_of(&frame), 0);
        // `buffer.memory` may be that of one largest picture: alone, it fits with its key and headers.
        let room = |held: usize| held + bytes <= self.memory || held == 0 && frame.jpeg.len() <= self.memory;
        while !room(inner.bytes()) && self.when_full == WhenFull::DropOldest && self.pop(&mut inner).is_some() {
            dropped += 1;
        }
        if room(inner.bytes()) && !inner.closed {
            inner.waiting_bytes += bytes;
            inner.waiting.push_back((now, frame));
        } else {
            dropped += 1;
        }
        self.give_up(&inner, DropReason::buffer_full, dropped);
        drop(inner);
        self.changed.notify_one();
        dropped
    }

    /// The frames to send now, counted as in flight from here on; none when none wait or enough are in flight.
    pub fn take(&self) -> Vec<Taken> {
        let mut inner = self.lock();
        let fits = inner.flying.len() + inner.waiting.len() <= WINDOW;
        if !fits && !inner.flying.is_empty() {
            return Vec::new();
        }
        let mut taken = Vec::new();
        while let Some(next) = inner.waiting.front().map(|(_, frame)| self.bytes_of(frame)) {
            let flying = inner.flying_bytes + next;
            let batched = flying + (inner.flying.len() + 1) * RECORD_OVERHEAD;
            let may_fly = flying <= self.memory / 2 && (inner.flying.len() < WINDOW || batched <= inner.batch);
            // One frame may always fly, however large.
            if !may_fly && !inner.flying.is_empty() {
                break;
            }
            let Some((since, frame)) = self.pop(&mut inner) else { break };
            inner.flying.insert(frame.sequence, next);
            inner.flying_bytes += next;
            taken.push(Taken { frame, since });
        }
        taken
    }

    /// The producer did not take these frames after all: they wait again, in front and in their order.
    pub fn put_back(&self, frames: impl DoubleEndedIterator<Item = Taken>) {
        let mut inner = self.lock();
        for Taken { frame, since } in frames.rev() {
            if let Some(bytes) = inner.flying.remove(&frame.sequence) {
                inner.flying_bytes -= bytes;
                inner.waiting_bytes += bytes;
                inner.waiting.push_front((since, frame));
            }
        }
    }

    /// Gives up the frames that have waited for too long and says how many they are.
    pub fn expire(&self, now: Instant) -> u64 {
        let mut inner = self.lock();
        let mut expired = 0;
        while inner.waiting.front().is_some_and(|(since, _)| now.duration_since(*since) >= self.patience) {
            self.pop(&mut inner);
            expired += 1;
        }
        self.give_up(&inner, DropReason::delivery_timeout, expired)
    }

    /// The frame of this number is no longer in flight: it was acknowledged, or dropped for a reason. Says whether that is
    /// news; a second report of the same frame changes nothing.
    pub fn landed(&self, number: u64, fate: Result<(), DropReason>) -> bool {
        let mut inner = self.lock();
        let Some(bytes) = inner.flying.remove(&number) else { return false };
        inner.flying_bytes -= bytes;
        inner.landed += 1;
        match fate {
            Ok(()) => self.metrics.acknowledge(),
            Err(reason) => self.metrics.give_up(reason, 1),
        }
        self.metrics.buffer_bytes.set(inner.bytes() as i64);
        // The sender is woken only if there is something to do: as a rule nothing waits, thirty times a second.
        let wake = inner.closed || !inner.waiting.is_empty();
        drop(inner);
        if wake {
            self.changed.notify_one();
        }
        true
    }

    /// Waits for the next push or closing, or for a landing while frames wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Bytes waiting and in flight.
    pub fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    /// Bytes on their way to the broker.
    pub fn bytes_in_flight(&self) -> usize {
        self.lock().flying_bytes
    }

    /// Frames that met their fate in flight, ever.
    pub fn landings(&self) -> u64 {
        self.lock().landed
    }

    /// Whether more than a quarter of the memory is in use: Kafka is behind.
    pub fn is_pressed(&self) -> bool {
        self.bytes() > self.memory / 4
    }

    /// Whether frames wait to be sent.
    pub fn has_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Takes no more frames in, until it is opened again.
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

    /// Drops what still waits, since the worker stops, and says how many frames that were.
    pub fn discard(&self) -> u64 {
        let mut inner = self.lock();
        inner.waiting_bytes = 0;
        let count = inner.waiting.len() as u64;
        inner.waiting.clear();
        self.give_up(&inner, DropReason::shutdown, count)
    }
}

#[cfg(test)]
mod tests;
