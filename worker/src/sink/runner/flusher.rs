//! Runs flush jobs on a thread of its own, and keeps what their frames' latencies are made from.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use edgereel_crds::status::Reason;
use edgereel_frame::wire::time;
use edgereel_runtime::fault::Fault;
use jiff::Timestamp;

use crate::sink::metrics::SinkMetrics;

/// Capture times kept between two commits; beyond that many, frames count without a latency.
const MAX_TIMES: usize = 100_000;

/// A job's outcome.
#[derive(Debug)]
pub struct Flushed {
    /// The number of the commit that it is for.
    pub id: u64,
    /// How long it took.
    pub took: Duration,
    /// Whether its frames are durable.
    pub result: Result<(), Fault>,
}

/// What a flush does.
pub type Job = Box<dyn FnOnce() -> Result<(), Fault> + Send>;

/// The thread.
pub struct Flusher {
    jobs: mpsc::Sender<(u64, Job)>,
}

impl Flusher {
    /// Starts the thread; it ends when this is dropped and its last job is done.
    pub fn start(done: impl Fn(Flushed) + Send + 'static) -> Result<Self, Fault> {
        let (jobs, inbox) = mpsc::channel::<(u64, Job)>();
        let work = move || {
            for (id, job) in inbox {
                let begun = Instant::now();
                // A job that panics is a fault of its sink, which waits for the outcome.
                let result = panic::catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
                    Err(Fault::new(
                        Reason::InternalError,
                        "a fault of ours: the flush panicked (the log has its words)",
                    ))
                });
                done(Flushed { id, took: begun.elapsed(), result });
            }
        };
        thread::Builder::new()
            .name("flush".into())
            .spawn(work)
            .map_err(|e| Fault::new(Reason::InternalError, format!("cannot start a thread: {e}")))?;
        Ok(Flusher { jobs })
    }

    /// Runs a job; its outcome comes through the callback.
    pub fn run(&self, id: u64, job: Job) {
        // The thread lives as long as this sender.
        let _ = self.jobs.send((id, job));
    }
}

/// Frames on their way to being durable.
#[derive(Debug, Default)]
pub struct Batch {
    frames: u64,
    captured_us: Vec<i64>,
}

impl Batch {
    /// A frame was written. One whose time says nothing of its age counts without a latency.
    pub fn add(&mut self, captured_at: Timestamp) {
        self.frames += 1;
        if self.captured_us.len() < MAX_TIMES && time::age(captured_at, Timestamp::now()).is_some() {
            self.captured_us.push(captured_at.as_microsecond());
        }
    }

    /// Frames in it.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Takes in another batch.
    pub fn absorb(&mut self, other: Batch) {
        self.frames += other.frames;
        let room = MAX_TIMES.saturating_sub(self.captured_us.len());
        self.captured_us.extend(other.captured_us.into_iter().take(room));
    }

    /// The frames are durable and committed.
    pub fn settle(self, metrics: &SinkMetrics, now: Timestamp) {
        metrics.durable.inc_by(self.frames);
        let now = now.as_microsecond();
        for captured in self.captured_us {
            metrics.durable_latency.observe((now - captured).max(0) as f64 / 1e6);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_that_panics_is_its_sinks_fault_and_the_next_one_is_run() {
        let (sender, inbox) = mpsc::channel();
        let flusher = Flusher::start(move |done| drop(sender.send(done))).expect("started");
        flusher.run(1, Box::new(|| panic!("in a job")));
        flusher.run(2, Box::new(|| Ok(())));
        let first = inbox.recv().expect("told");
        assert_eq!((first.id, first.result.map_err(|fault| fault.reason)), (1, Err(Reason::InternalError)));
        let second = inbox.recv().expect("told");
        assert_eq!((second.id, second.result), (2, Ok(())));
    }
}
