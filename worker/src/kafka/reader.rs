//! Reads what a topic holds now, from outside of any group: for `edgereel verify` and for tests.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edgereel_crds::plan::Connection;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
};

use super::{
    client::{Context, KafkaFault, Subject, client_config},
    headers,
    health::Snapshot,
};
use crate::{frame::wire::Header, secrets::Secrets};

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
    /// The offset that the next record gets.
    pub high: i64,
    /// The group's committed offset.
    pub committed: Option<i64>,
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
            .set("enable.partition.eof", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.message.max.bytes", "10485760")
            .set("receive.message.max.bytes", "1000000000")
            .set("queued.max.messages.kbytes", "65536");
        let context = Context::new(connection, secrets)?;
        let subject = context.subject().clone();
        let consumer = BaseConsumer::from_config_and_context(&config, context).map_err(|e| subject.fault(&e))?;
        Ok(TopicReader { consumer, subject })
    }

    /// What each partition of a topic holds; empty when there is no such topic.
    pub fn extents(&self, topic: &str) -> Result<BTreeMap<i32, Extent>, KafkaFault> {
        let metadata = self.ask(topic, REQUEST, || self.consumer.fetch_metadata(Some(topic), REQUEST))?;
        let partitions: Vec<i32> =
            metadata.topics().iter().flat_map(|t| t.partitions().iter().map(|p| p.id())).collect();
        let mut wanted = TopicPartitionList::new();
        for partition in &partitions {
            wanted.add_partition(topic, *partition);
        }
        let committed = self.ask(topic, SILENCE, || self.consumer.committed_offsets(wanted.clone(), REQUEST))?;
        let mut extents = BTreeMap::new();
        for partition in partitions {
            let (low, high) = self.ask(topic, SILENCE, || self.consumer.fetch_watermarks(topic, partition, REQUEST))?;
            let committed = match committed.find_partition(topic, partition).map(|p| p.offset()) {
                Some(Offset::Offset(offset)) => Some(offset),
                _ => None,
            };
            extents.insert(partition, Extent { low, high, committed });
        }
        Ok(extents)
    }

    /// Asks again for `patience` where an error may pass: one broker of several may be gone, and with it for a moment a
    /// partition's leader or the group's coordinator.
    fn ask<T>(
        &self,
        topic: &str,
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
                _ => self.subject.topic(topic).fault(&error),
            };
            if !fault.retriable || began.elapsed() >= patience {
                return Err(fault);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Gives every record within the extents to `take`, in offset order for each partition, until it fails.
    pub fn read<E: From<KafkaFault>>(
        &self,
        topic: &str,
        extents: &BTreeMap<i32, Extent>,
        mut take: impl FnMut(StoredRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let subject = self.subject.topic(topic);
        let mut left: BTreeMap<i32, i64> =
            extents.iter().filter(|(_, e)| e.low < e.high).map(|(p, e)| (*p, e.high)).collect();
        let mut assignment = TopicPartitionList::new();
        for partition in left.keys() {
            let start = Offset::Offset(extents[partition].low);
            assignment.add_partition_offset(topic, *partition, start).map_err(|e| subject.fault(&e))?;
        }
        self.consumer.assign(&assignment).map_err(|e| subject.fault(&e))?;
        let mut heard = Instant::now();
        while !left.is_empty() {
            match self.consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = left.get(&partition).copied() else { continue };
                    if offset + 1 >= end {
                        left.remove(&partition);
                    }
                    if offset < end {
                        take(stored(topic, &message))?;
                    }
                }
                // The loss of one broker shows here too; what it had comes from the others.
                Some(Err(e)) => {
                    let fault = subject.fault(&e);
                    if !fault.retriable || heard.elapsed() > SILENCE {
                        return Err(fault.into());
                    }
                }
                None => {
                    // Offsets at the end that hold no record (transaction markers, compaction) give no message: the
                    // position says that they are behind us.
                    let position = self.consumer.position().map_err(|e| subject.fault(&e))?;
                    left.retain(|partition, end| {
                        let at = position.find_partition(topic, *partition).and_then(|p| p.offset().to_raw());
                        at.is_none_or(|at| at < *end)
                    });
                    if heard.elapsed() > SILENCE {
                        let message = format!("topic {topic} gives no records though it has some: partitions {left:?}");
                        return Err(
                            KafkaFault::passing(edgereel_crds::status::Reason::KafkaUnreachable, message).into()
                        );
                    }
                }
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
