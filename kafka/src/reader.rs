//! Reads what a topic holds now, from outside of any group: for `edgereel verify` and for tests.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edgereel_crds::plan::Connection;
use edgereel_runtime::secrets::Secrets;
use jiff::Timestamp;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
    metadata::{MetadataPartition, MetadataTopic},
};
use serde::Serialize;

use super::{
    client::{Context, KafkaFault, Subject, client_config},
    consumer::{
        describe,
        earlier::same,
        elements_of,
        mark::{Mark, TopicId},
    },
    fault::{Right, Role},
    headers,
    health::Snapshot,
};
use crate::headers::Header;

/// What a single request to the brokers may take.
const REQUEST: Duration = Duration::from_secs(10);
/// A topic that gives nothing for this long, though it has records left, is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// From one try of a request to the next.
const PAUSE: Duration = Duration::from_millis(200);

/// The records of one partition: `low..high`, and what the group has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first offset that is still there.
    pub low: i64,
    /// The offset that the next record gets; of a transaction that is open, nothing counts yet.
    pub high: i64,
    /// The group's committed offset.
    pub committed: Option<i64>,
    /// Where the group's reading began, where that is known.
    pub began: Option<Began>,
}

/// Where reading began. The smaller is the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// There.
    At(i64),
    /// Before it: it is where reading was when that was first noted.
    Before(i64),
}

impl Began {
    /// The earlier one.
    #[must_use]
    pub fn min(self, other: Began) -> Began {
        let key = |began| match began {
            Began::At(offset) => (offset, 0),
            Began::Before(offset) => (offset, 1),
        };
        if key(other) < key(self) { other } else { self }
    }
}

/// A record.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // Kafka's own terms
pub struct StoredRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
    /// As it stands in the record.
    pub timestamp: Option<i64>,
}

/// A topic as the brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    /// Its name.
    pub name: String,
    /// In their order.
    pub partitions: Vec<DescribedPartition>,
}

/// A partition as the brokers describe it; brokers by their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribedPartition {
    /// Its number.
    pub partition: i32,
    /// Who serves it, if somebody does.
    pub leader: Option<i32>,
    /// Who is to have a copy.
    pub replicas: Vec<i32>,
    /// Whose copy is up to date.
    pub in_sync: Vec<i32>,
}

/// Reads topics without a group's rebalancing. Blocks.
pub struct TopicReader {
    consumer: BaseConsumer<Context>,
    subject: Subject,
}

impl TopicReader {
    /// A reader that sees `group`'s commits, without joining it.
    pub fn open(connection: &Connection, secrets: &Secrets, group: &str) -> Result<Self, KafkaFault> {
        let mut config = client_config(connection, secrets, "edgereel-verify")?;
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            // Offsets at the end that hold no record (marks of transactions, records that were given up) give no message.
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            // What retention takes while it is read is passed over.
            .set("auto.offset.reset", "earliest")
            // What is fetched ahead is bounded in bytes and, since each record takes some more, in number.
            .set("fetch.message.max.bytes", "2097152")
            .set("queued.min.messages", "1000")
            .set("receive.message.max.bytes", "1000000000")
            .set("queued.max.messages.kbytes", "16384");
        let context = Context::new(connection, secrets)?;
        let subject = context.subject().group(group).role(Role::Other);
        let consumer = BaseConsumer::from_config_and_context(&config, context).map_err(|e| subject.fault(&e))?;
        Ok(TopicReader { consumer, subject })
    }

    /// Every topic that this user may see, by name.
    pub fn topics(&self) -> Result<Vec<Described>, KafkaFault> {
        let metadata = self.ask_about(&self.subject, REQUEST, || self.consumer.fetch_metadata(None, REQUEST))?;
        let partition = |p: &MetadataPartition| DescribedPartition {
            partition: p.id(),
            leader: (p.leader() >= 0).then(|| p.leader()),
            replicas: p.replicas().to_vec(),
            in_sync: p.isr().to_vec(),
        };
        let topic = |topic: &MetadataTopic| {
            let mut partitions: Vec<_> = topic.partitions().iter().map(partition).collect();
            partitions.sort_by_key(|p| p.partition);
            Described { name: topic.name().to_owned(), partitions }
        };
        let mut topics: Vec<Described> = metadata.topics().iter().map(topic).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// A topic's id, where there is one.
    pub fn id(&self, topic: &str) -> Result<Option<TopicId>, KafkaFault> {
        let names = [topic.to_owned()];
        let found = self.ask(topic, SILENCE, || {
            describe(self.consumer.client(), &names, REQUEST).map_err(|(code, _)| KafkaError::AdminOp(code))
        })?;
        Ok(found.into_iter().find_map(|topic| topic.id))
    }

    /// What each partition of a topic holds; empty when there is no such topic. What was committed for a former topic of
    /// that name is not committed.
    pub fn extents(&self, topic: &str) -> Result<BTreeMap<i32, Extent>, KafkaFault> {
        let metadata = self.ask(topic, REQUEST, || self.consumer.fetch_metadata(Some(topic), REQUEST))?;
        let partitions: Vec<i32> =
            metadata.topics().iter().flat_map(|t| t.partitions().iter().map(|p| p.id())).collect();
        let mut wanted = TopicPartitionList::new();
        for partition in &partitions {
            wanted.add_partition(topic, *partition);
        }
        let committed = self.ask(topic, SILENCE, || self.consumer.committed_offsets(wanted.clone(), REQUEST))?;
        let committed = elements_of(&committed);
        let id = self.id(topic)?;
        let mut extents = BTreeMap::new();
        for partition in partitions {
            let (low, high) = self.watermarks(topic, partition)?;
            let ours = committed.iter().find(|element| element.source.partition == partition && element.offset >= 0);
            let ours = ours.filter(|element| same(Mark::split(&element.metadata).0.id.as_ref(), id.as_ref()));
            extents.insert(partition, Extent { low, high, committed: ours.map(|element| element.offset), began: None });
        }
        Ok(extents)
    }

    /// The first offset of each partition that is still there, and the one that the next record gets; empty when there is no such
    /// topic.
    pub fn bounds(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, KafkaFault> {
        let metadata = self.ask(topic, REQUEST, || self.consumer.fetch_metadata(Some(topic), REQUEST))?;
        let partitions = metadata.topics().iter().flat_map(|t| t.partitions().iter().map(|p| p.id()));
        partitions.map(|partition| Ok((partition, self.watermarks(topic, partition)?))).collect()
    }

    /// The first offset of a partition that is still there, and the one that the next record gets.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaFault> {
        self.ask(topic, SILENCE, || self.consumer.fetch_watermarks(topic, partition, REQUEST))
    }

    /// Of each partition of a topic, the first offset whose record has this time or a later one; none where there is no such
    /// record.
    pub fn offsets_at(&self, topic: &str, time: Timestamp) -> Result<BTreeMap<i32, Option<i64>>, KafkaFault> {
        let metadata = self.ask(topic, REQUEST, || self.consumer.fetch_metadata(Some(topic), REQUEST))?;
        let mut wanted = TopicPartitionList::new();
        // Before 1970 there is none, and some negative numbers mean something else.
        let wanted_time = Offset::Offset(time.as_millisecond().max(0));
        for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
            let added = wanted.add_partition_offset(topic, partition.id(), wanted_time);
            added.map_err(|e| self.subject.topic(topic).fault(&e))?;
        }
        let found = self.ask(topic, SILENCE, || self.consumer.offsets_for_times(wanted.clone(), REQUEST))?;
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok(found.elements().iter().map(|element| (element.partition(), offset(element.offset()))).collect())
    }

    /// Asks again for `patience` where an error may pass: one broker of several may be gone, and with it for a moment a
    /// partition's leader or the group's coordinator.
    fn ask<T>(
        &self,
        topic: &str,
        patience: Duration,
        request: impl Fn() -> Result<T, KafkaError>,
    ) -> Result<T, KafkaFault> {
        self.ask_about(&self.subject.topic(topic), patience, request)
    }

    fn ask_about<T>(
        &self,
        subject: &Subject,
        patience: Duration,
        request: impl Fn() -> Result<T, KafkaError>,
    ) -> Result<T, KafkaFault> {
        let began = Instant::now();
        loop {
            let error = match request() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let fault = match self.consumer.context().health().snapshot() {
                Snapshot::Down(fault) => fault,
                _ => subject.fault(&error),
            };
            if !fault.retriable || began.elapsed() >= patience {
                return Err(fault);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Gives every record of a partition whose offset is in the range to `take`, in order, until it fails.
    pub fn read<E: From<KafkaFault>>(
        &self,
        topic: &str,
        partition: i32,
        offsets: Range<i64>,
        take: impl FnMut(StoredRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read_all(topic, &BTreeMap::from([(partition, offsets)]), take)
    }

    /// Gives every record of these partitions whose offset is in the partition's range to `take`, until it fails: each
    /// partition's in order, and of several as they come.
    pub fn read_all<E: From<KafkaFault>>(
        &self,
        topic: &str,
        ranges: &BTreeMap<i32, Range<i64>>,
        mut take: impl FnMut(StoredRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut open: BTreeMap<i32, &Range<i64>> = ranges.iter().map(|(p, offsets)| (*p, offsets)).collect();
        open.retain(|_, offsets| !offsets.is_empty());
        if open.is_empty() {
            return Ok(());
        }
        let subject = self.subject.topic(topic).needing(Right::Read);
        let mut assignment = TopicPartitionList::new();
        for (partition, offsets) in &open {
            let start = Offset::Offset(offsets.start);
            assignment.add_partition_offset(topic, *partition, start).map_err(|e| subject.fault(&e))?;
        }
        self.consumer.assign(&assignment).map_err(|e| subject.fault(&e))?;
        let mut heard = Instant::now();
        while !open.is_empty() {
            match self.consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(offsets) = open.get(&partition) else { continue };
                    // What an earlier assignment had asked for is none of this one's.
                    if message.topic() != topic || offset < offsets.start {
                        continue;
                    }
                    let (wanted, last) = (offset < offsets.end, offset + 1 >= offsets.end);
                    if wanted {
                        take(stored(topic, &message))?;
                    }
                    if last {
                        open.remove(&partition);
                    }
                }
                // It reaches beyond the range, which was there before.
                Some(Err(KafkaError::PartitionEOF(ended))) => drop(open.remove(&ended)),
                // The loss of one broker shows here too; what it had comes from the others.
                Some(Err(e)) => {
                    let fault = subject.fault(&e);
                    if !fault.retriable || heard.elapsed() > SILENCE {
                        return Err(fault.into());
                    }
                }
                None if heard.elapsed() > SILENCE => {
                    let silent: Vec<&i32> = open.keys().collect();
                    let message =
                        format!("topic {topic} gives no records of partitions {silent:?} though they have some");
                    return Err(KafkaFault::passing(edgereel_crds::status::Reason::KafkaUnreachable, message).into());
                }
                None => {}
            }
        }
        self.consumer.unassign().map_err(|e| subject.fault(&e))?;
        Ok(())
    }
}

fn stored(topic: &str, message: &BorrowedMessage<'_>) -> StoredRecord {
    StoredRecord {
        topic: topic.to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: headers::read(message),
        timestamp: message.timestamp().to_millis(),
    }
}
