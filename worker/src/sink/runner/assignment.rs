//! Partitions that the group gave to this worker, with all that is known of them.

use std::{collections::BTreeMap, time::Instant};

use edgereel_kafka::{
    client::KafkaFault,
    consumer::{Begun, Commit, TopicPartition},
};
use jiff::Timestamp;

use super::{flusher::Batch, intake::Queue, progress::Progress};

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
    /// Where it began; taken when the start offsets are committed and the sink's folder has noted them.
    pub starting: Option<Starting>,
    /// Not before this: a commit failed.
    pub not_before: Instant,
    /// The offset after each partition's last record.
    pub ends: Vec<(TopicPartition, i64)>,
    /// The partitions that cannot be read now.
    pub unreadable: BTreeMap<TopicPartition, KafkaFault>,
    /// The capture time of what was disposed of last.
    pub last_time: Option<Timestamp>,
    /// How many partitions the topics have, whoever reads them.
    pub total: usize,
    /// How many are ours.
    pub ours: usize,
}

/// What has to happen before the first write.
pub struct Starting {
    /// The partitions, for the sink's folder.
    pub begun: Vec<Begun>,
    /// The output's state, for the same.
    pub state: String,
    /// The start offsets, where they have to be committed and no such commit is under way.
    pub commit: Option<Commit>,
    /// Since when it is tried.
    pub since: Instant,
    /// The full disk that it waits for, for people.
    pub storage: Option<String>,
}

/// A flush and its commit.
pub struct UnderWay {
    /// How far it is.
    pub step: Step,
    /// What is committed when the flush is done.
    pub commit: Commit,
    pub batch: Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
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

    /// Takes in how far partitions reach. What is not known anew stays as it was: a partition that cannot be asked is not
    /// left out of the lag.
    pub fn learn_ends(&mut self, ends: Vec<(TopicPartition, i64)>) {
        for (source, end) in ends {
            if let Some(known) = self.ends.iter_mut().find(|(known, _)| *known == source) {
                known.1 = end;
            }
        }
    }

    /// Whether frames may be written: the start offsets are committed, and the sink's folder knows of them.
    pub fn has_started(&self) -> bool {
        self.starting.is_none()
    }
}
