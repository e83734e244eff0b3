//! Reads what a topic holds now, from outside of any group: for `edgereel verify` and for tests.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edgereel_crds::plan::Connection;
use edgereel_runtime::secrets::Secrets;
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
        let subject = context.subject().clone();
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
        mut take: impl FnMut(StoredRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        if offsets.is_empty() {
            return Ok(());
        }
        let subject = self.subject.topic(topic);
        let mut assignment = TopicPartitionList::new();
        let start = Offset::Offset(offsets.start);
        assignment.add_partition_offset(topic, partition, start).map_err(|e| subject.fault(&e))?;
        self.consumer.assign(&assignment).map_err(|e| subject.fault(&e))?;
        let mut heard = Instant::now();
        loop {
            match self.consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let offset = message.offset();
                    // What an earlier assignment had asked for is none of this one's.
                    if message.partition() != partition || message.topic() != topic || offset < offsets.start {
                        continue;
                    }
                    if offset < offsets.end {
                        take(stored(topic, &message))?;
                    }
                    if offset + 1 >= offsets.end {
                        break;
                    }
                }
                // It reaches beyond the range, which was there before.
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => break,
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                // The loss of one broker shows here too; what it had comes from the others.
                Some(Err(e)) => {
                    let fault = subject.fault(&e);
                    if !fault.retriable || heard.elapsed() > SILENCE {
                        return Err(fault.into());
                    }
                }
                None if heard.elapsed() > SILENCE => {
                    let message = format!("topic {topic} gives no records of partition {partition} though it has some");
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
