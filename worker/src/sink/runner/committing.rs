//! Flush, then commit: what was disposed of becomes durable, and then Kafka hears of it, never the other way round.

use std::time::{Duration, Instant};

use edgereel_kafka::{client::KafkaFault, consumer::Command};
use edgereel_runtime::fault::Fault;
use jiff::Timestamp;

use super::{
    Runner, TICK,
    assignment::{Step, UnderWay},
    flusher::{self, Flushed},
    stage::Stage,
};
use crate::sink::{fault::OutputError, output::FlushJob};

/// How long an uncommitted flush waits for the next try.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// How long a flush may wait for dead letters to be acknowledged; longer than their delivery timeout.
const DEAD_LETTER_TIME: Duration = Duration::from_secs(35);

impl Runner<'_> {
    /// Flushes when it is time to, one flush after another; how long to wait for the next.
    pub(super) fn flush_if_due(&mut self) -> Result<Duration, Fault> {
        let Some(a) = self.stage.writing_mut().filter(|_| self.ending.is_none()) else { return Ok(TICK) };
        let now = Instant::now();
        if a.under_way.is_some() {
            return Ok(TICK);
        }
        if a.not_before > now {
            return Ok(TICK.min(a.not_before - now));
        }
        if !a.has_started() {
            self.start()?;
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
        self.flush()?;
        Ok(TICK)
    }

    /// Begins a flush of all that was disposed of, and then its commit.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        let Some((job, state)) = self.seal()? else {
            self.superseded();
            return Ok(());
        };
        let Some(a) = self.stage.assignment_mut() else { return Ok(()) };
        let commit = a.progress.commit(state);
        let id = commit.id;
        a.under_way = Some(UnderWay { step: Step::Flushing, commit, batch: std::mem::take(&mut a.batch) });
        a.dirty_since = None;
        self.flusher.run(id, job);
        Ok(())
    }

    /// The job that makes durable all that was disposed of, dead letters included, and what to commit beside the offsets
    /// then; none when the partitions went to another worker.
    fn seal(&mut self) -> Result<Option<(flusher::Job, String)>, Fault> {
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
        let under_way = self.stage.assignment_mut().and_then(|a| a.under_way.as_mut());
        let Some(under_way) = under_way.filter(|u| u.step == Step::Flushing && u.commit.id == done.id) else {
            return Ok(());
        };
        self.env.metrics.flush.observe(done.took.as_secs_f64());
        done.result?;
        under_way.step = Step::Committing;
        self.consumer.command(Command::Commit(under_way.commit.clone()));
        Ok(())
    }

    /// Kafka has answered.
    pub(super) fn on_committed(&mut self, id: u64, result: Result<(), KafkaFault>) -> Result<(), Fault> {
        let Some(a) = self.stage.assignment_mut() else { return Ok(()) };
        let Some(under_way) = a.under_way.take_if(|u| u.commit.id == id && u.step != Step::Flushing) else {
            return Ok(());
        };
        match result {
            Ok(()) => {
                a.progress.committed(&under_way.commit);
                under_way.batch.settle(&self.env.metrics, Timestamp::now());
                match under_way.step {
                    Step::Starting => self.start()?,
                    _ => {
                        self.output.committed()?;
                        self.tell_archive();
                    }
                }
                self.tell_lag();
            }
            Err(fault) => {
                if self.env.state.last_error().is_none_or(|last| last.message != fault.message) {
                    tracing::warn!(sink = %self.plan.name, "a commit failed: {fault}");
                }
                self.env.state.note_error(&fault.message);
                a.not_before = Instant::now() + COMMIT_RETRY;
                a.batch.absorb(under_way.batch);
                // Nothing was written yet: the same again, later.
                if let Some(starting) = a.starting.as_mut().filter(|_| under_way.step == Step::Starting) {
                    starting.commit = Some(a.progress.commit(under_way.commit.state));
                }
                if matches!(self.stage, Stage::HandingOver(_)) {
                    tracing::warn!(sink = %self.plan.name, "these frames will be written again by their next owner");
                    self.give_back();
                }
            }
        }
        self.go_on_handing_over()
    }
}
