//! Flush, then commit: what was disposed of becomes durable, and then Kafka hears of it, never the other way round.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{
    Runner, TICK,
    assignment::{Stage, UnderWay},
    flusher::{self, Flushed},
};
use crate::{
    fault::Fault,
    kafka::{client::KafkaFault, consumer::Command},
    sink::{fault::OutputError, output::FlushJob},
};

/// How long an uncommitted flush waits for the next try.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// How long a flush may wait for dead letters to be acknowledged; longer than their delivery timeout.
const DEAD_LETTER_TIME: Duration = Duration::from_secs(35);

impl Runner<'_> {
    /// Flushes when it is time to, one flush after another; how long to wait for the next.
    pub(super) fn flush_if_due(&mut self) -> Result<Duration, Fault> {
        let Some(a) = self.assignment.as_mut().filter(|_| self.ending.is_none()) else { return Ok(TICK) };
        let now = Instant::now();
        if a.under_way.is_some() {
            return Ok(TICK);
        }
        if a.not_before > now {
            return Ok(TICK.min(a.not_before - now));
        }
        if let Some(commit) = a.start_again.take() {
            a.start(commit, &self.consumer);
            return Ok(TICK);
        }
        if !a.progress.is_dirty() {
            return Ok(TICK);
        }
        let durability = &self.plan.spec.durability;
        // What was written before is long due when its commit failed.
        let due = a.dirty_since.map_or(now, |since| since + *durability.flush_interval);
        if due > now && a.batch.frames() < u64::from(durability.flush_frames) {
            return Ok(TICK.min(due - now));
        }
        let Some((job, metadata)) = self.seal()? else {
            self.assignment = None;
            return Ok(TICK);
        };
        let Some(a) = &mut self.assignment else { return Ok(TICK) };
        let generation = a.progress.generation();
        let commit = a.progress.commit(metadata);
        a.under_way = Some(UnderWay { stage: Stage::Flushing, commit, batch: std::mem::take(&mut a.batch) });
        a.dirty_since = None;
        self.flusher.run(generation, job);
        Ok(TICK)
    }

    /// The job that makes durable all that was disposed of, dead letters included, and what to commit beside the offsets
    /// then; none when the partitions went to another worker.
    pub(super) fn seal(&mut self) -> Result<Option<(flusher::Job, String)>, Fault> {
        let FlushJob { run, metadata } = match self.output.seal() {
            Ok(job) => job,
            Err(OutputError::Superseded) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let dead_letters = self.dead_letters.clone().map(|dead| (dead.sent(), dead));
        let job = move || {
            run()?;
            dead_letters.map_or(Ok(()), |(sent, dead)| dead.settle(sent, DEAD_LETTER_TIME))
        };
        Ok(Some((Box::new(job), metadata)))
    }

    /// The disk has it: Kafka may hear of it.
    pub(super) fn on_flushed(&mut self, done: Flushed) -> Result<(), Fault> {
        let Some(a) = self.assignment.as_mut().filter(|a| a.is(done.generation)) else { return Ok(()) };
        self.env.metrics.flush.observe(done.took.as_secs_f64());
        done.result?;
        if let Some(under_way) = a.under_way.as_mut().filter(|u| u.stage == Stage::Flushing) {
            under_way.stage = Stage::Committing;
            self.consumer.command(Command::Commit(under_way.commit.clone()));
        }
        Ok(())
    }

    /// Kafka has answered.
    pub(super) fn on_committed(&mut self, generation: u64, result: Result<(), KafkaFault>) -> Result<(), Fault> {
        let Some(a) = self.assignment.as_mut().filter(|a| a.is(generation)) else { return Ok(()) };
        let Some(under_way) = a.under_way.take_if(|u| u.stage != Stage::Flushing) else { return Ok(()) };
        match result {
            Ok(()) => {
                a.progress.committed(&under_way.commit);
                under_way.batch.settle(&self.env.metrics, Timestamp::now());
                if under_way.stage == Stage::Committing {
                    self.output.committed()?;
                }
                self.tell_lag();
            }
            Err(fault) => {
                if self.env.state.last_error().is_none_or(|last| last.message != fault.message) {
                    tracing::warn!(sink = %self.plan.name, "the commit failed and is tried again: {fault}");
                }
                self.env.state.note_error(&fault.message);
                a.not_before = Instant::now() + COMMIT_RETRY;
                match under_way.stage {
                    // Nothing was written yet: the same request again, later.
                    Stage::Starting => a.start_again = Some(under_way.commit),
                    _ => a.batch.absorb(under_way.batch),
                }
            }
        }
        Ok(())
    }
}
