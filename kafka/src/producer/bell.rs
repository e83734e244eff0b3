//! Tells of what a producer has to say, on a thread of its own or when asked.
//!
//! rdkafka's own `BaseProducer::poll` with a time-out waits in whole milliseconds and spins for what is left of the last
//! one: with a time-out of 100 ms, a hundredth of a core for each producer that does nothing.
#![allow(unsafe_code)] // calls into librdkafka; what each relies on stands beside it

use std::{
    ffi::c_void,
    ptr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use jiff::Timestamp;
use rdkafka::{
    bindings,
    producer::{BaseProducer, Producer, ProducerContext},
    types::{RDKafka, RDKafkaQueue},
};

/// What a ring leaves behind, for whoever serves.
#[derive(Debug)]
pub struct Ring {
    /// When the queue's first event came, in Unix microseconds; 0 once it is taken out.
    at: AtomicI64,
    /// When the event that is being served came; 0 if that is not known, or told already.
    serving: AtomicI64,
    prompt: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ring {
    /// Nothing has rung yet; each ring wakes the thread.
    pub fn new() -> Self {
        Ring {
            at: AtomicI64::new(0),
            serving: AtomicI64::new(0),
            prompt: AtomicBool::new(true),
            thread: OnceLock::new(),
        }
    }

    /// When what is being served came: known for the first after a ring; else it is now, which is never too early.
    pub fn came_at(&self) -> Timestamp {
        match self.serving.swap(0, Ordering::AcqRel) {
            0 => Timestamp::now(),
            micros => Timestamp::from_microsecond(micros).unwrap_or_else(|_| Timestamp::now()),
        }
    }
}

/// A producer's main queue.
pub struct Bell<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    queue: *mut RDKafkaQueue,
    ring: Arc<Ring>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl<C: ProducerContext> Send for Bell<C> {}
// SAFETY: as above; each call takes the queue's lock.
unsafe impl<C: ProducerContext> Sync for Bell<C> {}

impl<C: ProducerContext> Bell<C> {
    /// Rings from here on, whenever the queue is no longer empty.
    pub fn new(producer: Arc<BaseProducer<C>>, ring: Arc<Ring>) -> Self {
        // SAFETY: `self` keeps the client, and gives the queue's reference back; the callback's opaque is a `Ring` that
        // `self` keeps for as long as the callback is set.
        let queue = unsafe {
            let queue = bindings::rd_kafka_queue_get_main(producer.client().native_ptr());
            let opaque = Arc::as_ptr(&ring).cast_mut().cast::<c_void>();
            bindings::rd_kafka_queue_cb_event_enable(queue, Some(rung), opaque);
            queue
        };
        Bell { producer, queue, ring }
    }

    /// The client.
    pub fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }

    /// Whether there is something to serve.
    pub fn has_rung(&self) -> bool {
        // SAFETY: the queue lives.
        unsafe { bindings::rd_kafka_queue_length(self.queue) > 0 }
    }

    /// Calls back for all that there is. Never blocks.
    pub fn serve(&self) {
        while self.has_rung() {
            self.ring.serving.store(self.ring.at.swap(0, Ordering::AcqRel), Ordering::Release);
            self.producer.poll(Duration::ZERO);
            // It may have been no delivery: the next one has a time of its own.
            self.ring.serving.store(0, Ordering::Release);
        }
    }

    /// Serves promptly, on this thread, until `stop` is set and the thread is unparked.
    pub fn attend(&self, stop: &AtomicBool) {
        // One thread attends a bell.
        let _ = self.ring.thread.set(thread::current());
        while !stop.load(Ordering::Acquire) {
            if self.ring.prompt.load(Ordering::Acquire) {
                self.serve();
            }
            thread::park();
        }
    }

    /// Whether a ring wakes the thread that attends. Otherwise someone has to [`serve`](Self::serve) soon.
    pub fn set_prompt(&self, prompt: bool) {
        let was = self.ring.prompt.swap(prompt, Ordering::AcqRel);
        if prompt
            && !was
            && let Some(thread) = self.ring.thread.get()
        {
            thread.unpark();
        }
    }
}

impl<C: ProducerContext + 'static> Drop for Bell<C> {
    fn drop(&mut self) {
        // SAFETY: made in `new`, given back once. The first call takes the queue's lock, under which the callback runs:
        // after it, nobody holds the opaque.
        unsafe {
            bindings::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            bindings::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// On a thread of librdkafka's, under the queue's lock: it may call nothing of librdkafka's.
unsafe extern "C" fn rung(_client: *mut RDKafka, opaque: *mut c_void) {
    // SAFETY: the pointer that `new` gave, to what lives until the callback is taken away.
    let ring = unsafe { &*opaque.cast::<Ring>() };
    ring.at.store(Timestamp::now().as_microsecond(), Ordering::Release);
    if ring.prompt.load(Ordering::Acquire)
        && let Some(thread) = ring.thread.get()
    {
        thread.unpark();
    }
}
