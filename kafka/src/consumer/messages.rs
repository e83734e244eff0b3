//! All that crosses between the consumer's thread and the writer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;

use super::{budget::Charge, mark::Mark};
use crate::{client::KafkaFault, headers::Header};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}, partition {}", self.topic, self.partition)
    }
}

/// What the group knows of one assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The partition.
    pub source: TopicPartition,
    /// The committed offset (the next to read) and the state that the output stored with it.
    pub committed: Option<(i64, String)>,
}

/// A record, out of librdkafka's memory.
#[derive(Debug)]
pub struct Record {
    /// The assignment that it belongs to.
    pub generation: u64,
    /// Where it stands.
    pub source: TopicPartition,
    /// Where it stands in its partition.
    pub offset: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none for a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order; names are bytes.
    pub headers: Vec<Header>,
    /// As it stands in the record, which should be milliseconds since 1970; none where there is none.
    pub timestamp_ms: Option<i64>,
    /// Its part of the memory budget.
    pub charge: Charge,
}

/// An assigned partition and where its reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// What the group knows of it.
    pub assigned: Assigned,
    /// The first offset to read.
    pub start: i64,
    /// The offset after its last record at that time.
    pub high: i64,
    /// Records that were gone before they were read.
    pub lost: u64,
    /// What stands for its topic beside the offset.
    pub mark: Mark,
    /// Whether that is committed already, just so.
    pub marked: bool,
}

/// What to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its own number: an answer is matched to its commit by it.
    pub id: u64,
    /// The assignment that it belongs to.
    pub generation: u64,
    /// The next offset to read of each partition, all in one request.
    pub offsets: Vec<(TopicPartition, i64)>,
    /// The output's state, stored with each of the offsets.
    pub state: String,
}

impl Commit {
    /// A commit with a number that no other of this process has.
    pub fn new(generation: u64, offsets: Vec<(TopicPartition, i64)>, state: String) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Commit { id: LAST.fetch_add(1, Ordering::Relaxed) + 1, generation, offsets, state }
    }
}

/// How far a partition was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadTo {
    /// The offset after all of it; beyond the last record where transaction markers stand.
    pub end: i64,
    /// The offset after the last record that was sent. Whoever did not take that one cannot pass over what lies before the
    /// end.
    pub sent: i64,
}

/// What the consumer tells the writer.
#[derive(Debug)]
pub enum Event {
    /// The group gave partitions, maybe none; where their reading begins is being asked.
    TakingUp {
        /// How many.
        partitions: usize,
    },
    /// These topics (maybe none) are not there yet: all that will ever stand in them comes after the sink's first start.
    Missing(Vec<String>),
    /// Partitions were assigned; any earlier assignment is over.
    Assigned {
        /// The assignment's number.
        generation: u64,
        /// The partitions; may be empty.
        partitions: Vec<Begun>,
        /// How many partitions the topics have, whoever reads them.
        total: usize,
    },
    /// A record, in the order of its partition.
    Record(Record),
    /// Everything that the partition held has been sent.
    EndOfPartition {
        /// The assignment's number.
        generation: u64,
        /// The partition.
        source: TopicPartition,
        /// How far it was read.
        read: ReadTo,
        /// When that was so.
        as_of: Instant,
    },
    /// How far the partitions reach: the offset after the last committed record of each.
    Ends {
        /// The assignment's number.
        generation: u64,
        /// Those that are known.
        ends: Vec<(TopicPartition, i64)>,
    },
    /// A partition cannot be read, or can be again.
    Partition {
        /// The assignment's number.
        generation: u64,
        /// The partition.
        source: TopicPartition,
        /// Why not; none when it can.
        fault: Option<KafkaFault>,
    },
    /// The partitions are asked back: flush, commit, finish, and answer with [`Command::HandedOver`].
    Revoked {
        /// The assignment's number.
        generation: u64,
    },
    /// The partitions are gone already: drop everything.
    Lost,
    /// A commit was answered.
    Committed {
        /// As in the [`Commit`].
        id: u64,
        /// Whether the offsets are stored.
        result: Result<(), KafkaFault>,
    },
    /// Something is wrong; unless `last`, it may pass and reading goes on by itself.
    Fault {
        /// What.
        fault: KafkaFault,
        /// The consumer has stopped because of it.
        last: bool,
    },
    /// The consumer has left and its thread ends: nothing follows.
    Closed,
}

/// What the writer asks of the consumer.
#[derive(Debug)]
pub enum Command {
    /// Commit; answered by [`Event::Committed`].
    Commit(Commit),
    /// All of this assignment is flushed and committed, or given up: let its partitions go.
    HandedOver {
        /// The assignment's number.
        generation: u64,
    },
    /// Hand over ([`Event::Revoked`]), leave, and end ([`Event::Closed`]).
    Close,
}
