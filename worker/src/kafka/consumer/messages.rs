//! All that crosses between the consumer's thread and the writer.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use edgereel_crds::status::Reason;

use super::budget::Charge;
use crate::{frame::wire::Header, kafka::client::KafkaFault};

/// How long a commit may take then.
const COMMIT_TIME: Duration = Duration::from_secs(6);

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// What the group knows of one assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The partition.
    pub source: TopicPartition,
    /// The committed offset (the next to read) and its metadata.
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
    /// Its headers, in order.
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
}

/// What to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The assignment that it belongs to.
    pub generation: u64,
    /// The next offset to read of each partition, all in one request.
    pub offsets: Vec<(TopicPartition, i64)>,
    /// Stored with each of the offsets.
    pub metadata: String,
}

/// What the consumer tells the writer.
#[derive(Debug)]
pub enum Event {
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
    /// Everything that the partition held at the last fetch has been sent.
    EndOfPartition {
        /// The assignment's number.
        generation: u64,
        /// The partition.
        source: TopicPartition,
    },
    /// How far the partitions reach: the offset after the last record of each.
    Watermarks(Vec<(TopicPartition, i64)>),
    /// The partitions are asked back: flush, commit, finish, drop the handover.
    Revoked(Handover),
    /// The partitions are gone already: drop everything.
    Lost,
    /// A commit was answered.
    Committed {
        /// As in the [`Commit`].
        generation: u64,
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
    /// Commit; answered by [`Event::Committed`]. One at a time.
    Commit(Commit),
    /// Hand over ([`Event::Revoked`]), leave, and end ([`Event::Closed`]).
    Close,
}

/// The writer's side of a hand-over; dropping it lets the partitions go.
#[derive(Debug)]
pub struct Handover {
    pub(super) ask: mpsc::Sender<Commit>,
    pub(super) answer: mpsc::Receiver<Result<(), KafkaFault>>,
}

impl Handover {
    /// Commits, and waits for the answer.
    pub fn commit(&self, commit: Commit) -> Result<(), KafkaFault> {
        let gone = || KafkaFault::passing(Reason::NotAssigned, "the partitions went before the commit was made");
        self.ask.send(commit).map_err(|_| gone())?;
        self.answer.recv_timeout(COMMIT_TIME).map_err(|_| gone())?
    }
}
