//! Gives the partitions back: flush, commit, finish the files, while the group waits.

use std::time::{Duration, Instant};

use edgereel_crds::status::Reason;
use jiff::Timestamp;

use super::{Message, Runner, STOP_TIME, assignment::Stage, readiness::Membership};
use crate::{fault::Fault, kafka::consumer::Handover, sink::fault::OutputError};

/// How long dead letters may hold up a hand-over; what is not there by then is sent again by the next owner.
const LETTERS: Duration = Duration::from_secs(3);

impl Runner<'_> {
    /// The consumer's thread waits for this: see [`crate::kafka::consumer`].
    pub(super) fn hand_over(&mut self, handover: &Handover) -> Result<(), Fault> {
        self.stuck = None;
        self.membership = Membership::Joining;
        if let Some(dead_letters) = &self.dead_letters {
            dead_letters.hurry(LETTERS);
        }
        let Some(mut a) = self.assignment.take() else { return Ok(()) };
        if !a.has_started() {
            return Ok(());
        }
        if let Some(under_way) = a.under_way.take() {
            if under_way.stage == Stage::Flushing {
                self.await_flush(a.progress.generation())?;
            }
            // Its commit is made, or made again, by the one below.
            a.batch.absorb(under_way.batch);
        }
        let Some((job, metadata)) = self.seal()? else { return Ok(()) };
        if a.progress.is_dirty() {
            let begun = Instant::now();
            job()?;
            self.env.metrics.flush.observe(begun.elapsed().as_secs_f64());
            let commit = a.progress.commit(metadata);
            if let Err(fault) = handover.commit(commit.clone()) {
                tracing::warn!(sink = %self.plan.name, "the last commit failed, these frames will be written again: {fault}");
                return Ok(());
            }
            a.progress.committed(&commit);
            a.batch.settle(&self.env.metrics, Timestamp::now());
            self.output.committed()?;
        }
        match self.output.finish() {
            Ok(()) | Err(OutputError::Superseded) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for the flush under way. Meanwhile the consumer's thread waits for us, so that only records which it sent
    /// before can come: they belong to the next owner.
    fn await_flush(&mut self, generation: u64) -> Result<(), Fault> {
        let deadline = Instant::now() + STOP_TIME;
        loop {
            match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Message::Flushed(done)) if done.generation == generation => {
                    self.env.metrics.flush.observe(done.took.as_secs_f64());
                    return done.result;
                }
                Ok(_) => {}
                Err(_) => {
                    let message = format!("the disk of {} takes too long to sync", self.root.display());
                    return Err(Fault::new(Reason::StorageError, message));
                }
            }
        }
    }
}
