//! What a sink is doing: one of a few stages, from which all that is said of it follows.

use std::time::{Duration, Instant};

use edgereel_crds::status::Reason;
use edgereel_runtime::fault::Fault;

use super::assignment::Assignment;

/// How long the group may leave a worker without a word after its right to write has ended.
const SILENCE: Duration = Duration::from_secs(30);

/// What a sink is doing.
pub enum Stage {
    /// It waits for the group.
    Joining,
    /// The group gave it partitions, and the brokers are asked where they stand.
    TakingUp {
        /// How many.
        partitions: usize,
    },
    /// The group gave it nothing to write, of so many partitions.
    StandingBy {
        /// How many there are.
        total: usize,
    },
    /// It writes, or is about to, once its start offsets are committed.
    Writing(Assignment),
    /// The partitions were asked back: it flushes and commits.
    HandingOver(Assignment),
    /// Its right to write has ended since then; the group is about to say why.
    Superseded(Instant),
}

impl Stage {
    /// The partitions that it has.
    pub fn assignment(&self) -> Option<&Assignment> {
        match self {
            Stage::Writing(a) | Stage::HandingOver(a) => Some(a),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn assignment_mut(&mut self) -> Option<&mut Assignment> {
        match self {
            Stage::Writing(a) | Stage::HandingOver(a) => Some(a),
            _ => None,
        }
    }

    /// The partitions that may be written.
    pub fn writing_mut(&mut self) -> Option<&mut Assignment> {
        match self {
            Stage::Writing(a) => Some(a),
            _ => None,
        }
    }

    /// Takes the partitions out; it then waits for the group.
    pub fn take(&mut self) -> Option<Assignment> {
        match std::mem::replace(self, Stage::Joining) {
            Stage::Writing(a) | Stage::HandingOver(a) => Some(a),
            other => {
                *self = other;
                None
            }
        }
    }

    /// How many partitions this worker has, and how many there are, where that is known.
    pub fn partitions(&self) -> (usize, Option<usize>) {
        match self {
            Stage::Joining | Stage::TakingUp { .. } | Stage::Superseded(_) => (0, None),
            Stage::StandingBy { total } => (0, Some(*total)),
            Stage::Writing(a) | Stage::HandingOver(a) => (a.ours, Some(a.total)),
        }
    }

    /// A stage that waits for what may not come has its end.
    pub fn check(&self, now: Instant) -> Result<(), Fault> {
        match self {
            Stage::Superseded(since) if now.duration_since(*since) > SILENCE => {
                let message =
                    "this worker's right to its partitions has ended, and the group says nothing; it starts anew";
                Err(Fault::new(Reason::NotAssigned, message))
            }
            _ => Ok(()),
        }
    }
}
