//! Partitions that the group gave to this worker: taken up, with all that is known of them.

use std::time::Instant;

use jiff::Timestamp;

use super::{Runner, flusher::Batch, intake::Queue, progress::Progress, readiness::Membership};
use crate::{
    fault::Fault,
    kafka::consumer::{Begun, Command, Commit, Consumer, TopicPartition},
    sink::{fault::OutputError, output::Lease},
};

/// One assignment's partitions.
pub struct Assignment {
    /// How far each partition is.
    pub progress: Progress,
    /// What waits to be written.
    pub queue: Queue,
    /// Written since the last seal.
    pub batch: Batch,
    /// When the first of what is not sealed was written.
    pub dirty_since: Option<Instant>,
    /// The flush and commit that are not answered yet.
    pub under_way: Option<UnderWay>,
    /// The start offsets, where their commit failed and is to be sent again.
    pub start_again: Option<Commit>,
    /// Not before this: a commit failed.
    pub not_before: Instant,
    /// The offset after each partition's last record.
    pub ends: Vec<(TopicPartition, i64)>,
    /// The capture time of what was disposed of last.
    pub last_time: Option<Timestamp>,
}

/// A flush and its commit.
pub struct UnderWay {
    /// How far it is.
    pub stage: Stage,
    /// What is committed when the flush is done.
    pub commit: Commit,
    pub batch: Batch,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The start offsets are being committed: nothing is written before.
    Starting,
    /// The disk works.
    Flushing,
    /// Kafka works.
    Committing,
}

impl Assignment {
    /// Whether it is this one.
    pub fn is(&self, generation: u64) -> bool {
        self.progress.generation() == generation
    }

    /// Whether frames may be written: the start offsets are committed.
    pub fn has_started(&self) -> bool {
        self.start_again.is_none() && self.under_way.as_ref().is_none_or(|u| u.stage != Stage::Starting)
    }

    /// Has the start offsets committed. Nothing is written before they are.
    pub fn start(&mut self, commit: Commit, consumer: &Consumer) {
        consumer.command(Command::Commit(commit.clone()));
        self.under_way = Some(UnderWay { stage: Stage::Starting, commit, batch: Batch::default() });
    }
}

impl Runner<'_> {
    pub(super) fn on_assigned(&mut self, generation: u64, begun: &[Begun], total: usize) -> Result<(), Fault> {
        self.env.metrics.rebalances.inc();
        self.stuck = None;
        self.assignment = None;
        self.membership = Membership::Assigned { ours: begun.len(), total };
        if begun.is_empty() {
            return Ok(());
        }
        self.fault = None;
        for partition in begun.iter().filter(|p| p.lost > 0) {
            let source = &partition.assigned.source;
            let message = format!(
                "topic {}, partition {}: {} records were gone before they were read; going on at offset {}",
                source.topic, source.partition, partition.lost, partition.start
            );
            tracing::error!(sink = %self.plan.name, "{message}");
            self.env.state.note_error(message);
            self.env.metrics.lost.inc_by(partition.lost);
        }
        let tenure = self.consumer.tenure();
        let lease = Lease::new(generation, tenure.generation.clone(), tenure.valid_until.clone());
        let assigned: Vec<_> = begun.iter().map(|b| b.assigned.clone()).collect();
        let metadata = match self.output.resume(&assigned, lease) {
            Ok(metadata) => metadata,
            // The group has moved on already: its next event is on its way.
            Err(OutputError::Superseded) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let progress = Progress::new(generation, begun);
        let mut assignment = Assignment {
            queue: Queue::new(&self.plan.spec.output, begun),
            batch: Batch::default(),
            dirty_since: None,
            under_way: None,
            start_again: None,
            not_before: Instant::now(),
            ends: begun.iter().map(|b| (b.assigned.source.clone(), b.high)).collect(),
            last_time: None,
            progress,
        };
        // Offsets that a tool reset, or that another program committed for this group, come without the output's state.
        let stateless = |b: &Begun| b.assigned.committed.as_ref().is_some_and(|(_, known)| *known != metadata);
        if assignment.progress.wants_start() || begun.iter().any(stateless) {
            let commit = assignment.progress.commit(metadata);
            assignment.start(commit, &self.consumer);
        }
        tracing::info!(
            sink = %self.plan.name, group = self.plan.group, partitions = begun.len(), total, "partitions assigned"
        );
        self.assignment = Some(assignment);
        self.tell_lag();
        Ok(())
    }
}
