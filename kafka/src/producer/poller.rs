//! The thread of a producer: it tells of deliveries, and ends the client.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::producer::{Producer, PurgeConfig};

use super::{Reports, bell::Bell};

/// How long the reports of purged records may take; they come from memory.
const PURGE: Duration = Duration::from_secs(2);

/// The thread's owner. Dropped, the thread purges what the client still holds and ends the client; nobody waits for it.
pub struct Poller {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Poller {
    /// Tells of what comes back to the client of this bell, until it is stopped. The caller lets go of the bell first.
    pub fn start<T: Send + Sync + 'static>(bell: Arc<Bell<Reports<T>>>) -> io::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let seen = stop.clone();
        let work = move || {
            bell.attend(&seen);
            end(&bell);
        };
        let thread = thread::Builder::new().name("kafka producer".into()).spawn(work)?;
        Ok(Poller { stop, thread: Some(thread) })
    }

    /// Stops the thread and waits for the client's end.
    pub fn join(mut self) {
        self.stop();
        // The owner may close the producer in a delivery callback. A panic there has been reported by its own hook.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Each record that is still in flight has its report when this returns.
fn end<T: Send + Sync>(bell: &Bell<Reports<T>>) {
    let producer = bell.producer();
    let reports = producer.client().context();
    producer.purge(PurgeConfig::default().queue().inflight());
    if let Err(e) = producer.flush(PURGE) {
        tracing::warn!(topic = reports.subject.topic_name(), "records were given up without a report: {e}");
    }
    reports.settle();
}
