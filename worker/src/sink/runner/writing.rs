//! Writes what waits: a frame to the output, what is no frame to where the resource says.

use std::time::{Duration, Instant};

use edgereel_crds::{frame_sink::OnInvalid, status::Reason};
use edgereel_frame::wire::{Invalid, time};
use edgereel_kafka::consumer::Record;
use edgereel_runtime::fault::Fault;
use jiff::Timestamp;

use super::{Runner, TICK, intake::Entry, tending::Tender};
use crate::sink::{
    dead_letter::{Sent, place},
    fault::OutputError,
    metrics::SinkMetrics,
    output::{SinkFrame, Written},
};

/// Entries written between two looks at the events.
const BURST: usize = 32;
/// An entry that could not be disposed of for now.
pub struct Stuck {
    /// What it is.
    pub entry: Entry,
    /// Whether it stands out of the order of capture.
    pub late: bool,
    /// When to try again.
    pub until: Instant,
    /// The full disk, for people; none when the dead letters are behind.
    pub storage: Option<String>,
}

impl Runner<'_> {
    /// Writes what may be written now; how long to wait for more.
    pub(super) fn pump(&mut self) -> Result<Duration, Fault> {
        for _ in 0..BURST {
            if self.ending.is_some() {
                return Ok(TICK);
            }
            let Some(assignment) = self.stage.writing_mut().filter(|a| a.has_started()) else { return Ok(TICK) };
            let now = Instant::now();
            let (entry, late) = match self.stuck.take_if(|stuck| stuck.until <= now) {
                Some(stuck) => (stuck.entry, stuck.late),
                None => {
                    if let Some(stuck) = &self.stuck {
                        return Ok(TICK.min(stuck.until - now));
                    }
                    match assignment.queue.pop() {
                        Ok(next) => next,
                        Err(wait) => return Ok(wait.unwrap_or(TICK).min(TICK)),
                    }
                }
            };
            self.dispose(entry, late)?;
        }
        Ok(Duration::ZERO)
    }

    /// Writes a frame, or deals with a record that is none.
    fn dispose(&mut self, entry: Entry, late: bool) -> Result<(), Fault> {
        let frame = match &entry.content {
            Ok(frame) => frame,
            Err(why) => {
                let why = why.clone();
                return self.on_invalid(entry, late, &why);
            }
        };
        if let Some(short) = self.tender.as_mut().and_then(Tender::short) {
            let storage = Some(short.to_owned());
            self.stuck = Some(Stuck { entry, late, until: Instant::now() + TICK, storage });
            self.state_told = None;
            return Ok(());
        }
        let metrics = &self.env.metrics;
        match self.output.write(frame) {
            Ok(written) => {
                if is_first(metrics, &entry.record) {
                    count(metrics, frame, written, late);
                }
                let captured_at = frame.captured_at;
                self.disposed(&entry);
                if let Some(a) = self.stage.writing_mut().filter(|_| written.stored) {
                    a.batch.add(captured_at);
                }
                if self.backoff.failures() > 0 {
                    self.backoff.reset();
                    tracing::info!(sink = %self.plan.name, "the disk takes frames again");
                }
                Ok(())
            }
            Err(error @ OutputError::NoSpace { .. }) => {
                let until = Instant::now() + self.backoff.next(&mut rand::rng());
                if let Some(held_back) = self.full_said.allow(Instant::now()) {
                    tracing::warn!(sink = %self.plan.name, held_back, "{error}");
                }
                self.stuck = Some(Stuck { entry, late, until, storage: Some(error.to_string()) });
                self.state_told = None;
                Ok(())
            }
            Err(OutputError::Superseded) => {
                self.superseded();
                Ok(())
            }
            Err(OutputError::Frame { reason, message }) => self.on_invalid(entry, late, &Invalid { reason, message }),
            Err(error @ OutputError::Storage { .. }) => Err(error.into()),
        }
    }

    /// The record is done with.
    fn disposed(&mut self, entry: &Entry) {
        if let Some(a) = self.stage.writing_mut() {
            a.progress.dispose(&entry.record.source, entry.record.offset);
            a.dirty_since.get_or_insert_with(Instant::now);
            a.last_time = Some(entry.time());
        }
    }

    fn on_invalid(&mut self, entry: Entry, late: bool, why: &Invalid) -> Result<(), Fault> {
        let message = format!("{} is no frame: {why}", place(&entry.record));
        match (self.plan.on_invalid, &self.dead_letters) {
            (OnInvalid::DeadLetter, Some(dead_letters)) => {
                if dead_letters.send(&entry.record, why)? == Sent::Later {
                    let until = Instant::now() + Duration::from_millis(20);
                    self.stuck = Some(Stuck { entry, late, until, storage: None });
                    return Ok(());
                }
            }
            (OnInvalid::Skip, _) => {}
            (OnInvalid::Fail | OnInvalid::DeadLetter, _) => {
                self.env.metrics.invalid(why.reason).inc();
                let remedy = "set spec.onInvalid to `skip`, or to `deadLetter` with spec.deadLetter, to go on past it";
                self.end(Err(Fault::new(Reason::InvalidRecord, format!("{message}; {remedy}"))));
                return Ok(());
            }
        }
        if is_first(&self.env.metrics, &entry.record) {
            self.env.metrics.invalid(why.reason).inc();
        }
        if let Some(held_back) = self.invalid_said.allow(Instant::now()) {
            tracing::warn!(sink = %self.plan.name, held_back, "{message}");
        }
        self.env.state.note_error(message);
        self.disposed(&entry);
        Ok(())
    }
}

/// Whether a record is counted. What was disposed of before a fault, and not committed, comes once more; it was counted then.
fn is_first(metrics: &SinkMetrics, record: &Record) -> bool {
    metrics.counted.is_first(&record.source.topic, record.source.partition, record.offset)
}

fn count(metrics: &SinkMetrics, frame: &SinkFrame, written: Written, late: bool) {
    if written.stored {
        metrics.stored.inc();
        metrics.stored_bytes.inc_by(frame.picture.len() as u64);
        if let Some(age) = time::age(frame.captured_at, Timestamp::now()) {
            metrics.file_latency.observe(age.as_secs_f64());
            metrics.last_frame.set(frame.captured_at.as_microsecond() as f64 / 1e6);
        }
    } else {
        metrics.skipped.inc();
    }
    metrics.repeated.inc_by(u64::from(written.repeated));
    metrics.late.inc_by(u64::from(late));
    metrics.implausible.inc_by(u64::from(frame.standing.far));
}
