//! Topics for tests: made, filled, read whole, and their offsets.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use edgereel_kafka::headers;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

use super::Cluster;
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// A record as it stands in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Kafka's own terms
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Unix time in milliseconds.
    pub timestamp: i64,
    /// Names that are not text are made text.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// A header's value as text; of the last of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.iter().rfind(|(n, _)| n == name).map(|(_, v)| v);
        value.map(|v| String::from_utf8_lossy(v).into_owned())
    }
}

/// A record to be produced. Fields that are `None` are left to the producer.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // Kafka's own terms
pub struct NewRecord {
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Unix time in milliseconds.
    pub timestamp: Option<i64>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl NewRecord {
    /// A record that is only a value.
    pub fn value(value: impl Into<Vec<u8>>) -> Self {
        NewRecord { value: Some(value.into()), ..NewRecord::default() }
    }
}

/// Blocks on a future of the admin client, which needs no runtime.
fn block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts").block_on(future)
}

impl Cluster {
    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.client().create().context("an admin client")
    }

    fn reader(&self, group: &str) -> Result<BaseConsumer> {
        let mut config = self.client();
        config.set("group.id", group).set("enable.auto.commit", "false").set("enable.partition.eof", "false");
        config.set("fetch.message.max.bytes", "110000000").set("receive.message.max.bytes", "210000000");
        config.create().context("a consumer")
    }

    /// Every topic, and how many partitions it has.
    ///
    /// # Panics
    /// When the brokers cannot be asked.
    pub fn topics(&self) -> BTreeMap<String, usize> {
        let metadata = self.reader("topics").and_then(|reader| Ok(reader.fetch_metadata(None, PATIENCE)?));
        let metadata = metadata.unwrap_or_else(|e| panic!("cannot ask for the topics: {e:#}"));
        metadata.topics().iter().map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect()
    }

    /// Makes a topic with as many copies as the cluster gives, and waits until every partition has a leader.
    ///
    /// # Panics
    /// When that does not work.
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        self.try_create_topic(name, partitions, config).unwrap_or_else(|e| panic!("cannot make topic {name}: {e:#}"));
    }

    fn try_create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        // Tests send records of any age: the brokers' default retention would delete old ones under a test's feet.
        if config.iter().all(|(key, _)| *key != "retention.ms") {
            topic = topic.set("retention.ms", "-1");
        }
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        let admin = self.admin()?;
        let made = block(admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(PATIENCE))))?;
        for result in made {
            if let Err((_, code)) = result {
                bail!("{code}");
            }
        }
        wait::try_until(PATIENCE, || {
            let metadata =
                admin.inner().fetch_metadata(Some(name), Duration::from_secs(5)).map_err(|e| e.to_string())?;
            let found = metadata.topics().iter().find(|t| t.name() == name).ok_or("not in the metadata")?;
            let led = found.partitions().iter().filter(|p| p.leader() >= 0).count();
            if led == partitions as usize { Ok(()) } else { Err(format!("{led} of {partitions} have a leader")) }
        })
        .map_err(anyhow::Error::msg)
    }

    /// Deletes a topic.
    ///
    /// # Panics
    /// When that does not work.
    pub fn delete_topic(&self, name: &str) {
        let delete = || -> Result<()> {
            for result in block(self.admin()?.delete_topics(&[name], &AdminOptions::new()))? {
                result.map_err(|(_, code)| anyhow::anyhow!("{code}"))?;
            }
            Ok(())
        };
        delete().unwrap_or_else(|e| panic!("cannot delete topic {name}: {e:#}"));
    }

    /// Each partition's first offset and the one after its last. Fails while the topic is not there.
    pub fn offsets(&self, topic: &str) -> Result<Vec<(i64, i64)>> {
        let reader = self.reader("edgereel-tests-offsets")?;
        let metadata = reader.fetch_metadata(Some(topic), PATIENCE)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none());
        let partitions = found.map_or(0, |t| t.partitions().len());
        if partitions == 0 {
            bail!("there is no topic {topic}");
        }
        (0..partitions as i32).map(|p| Ok(reader.fetch_watermarks(topic, p, PATIENCE)?)).collect()
    }

    /// How many records the topic holds; 0 while it is not there.
    pub fn record_count(&self, topic: &str) -> i64 {
        self.offsets(topic).map_or(0, |all| all.iter().map(|(low, high)| high - low).sum())
    }

    /// A group's committed offset and its metadata, for each partition of the topic that has one.
    pub fn committed(&self, group: &str, topic: &str) -> Result<Vec<(i32, i64, String)>> {
        let reader = self.reader(group)?;
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.offsets(topic)?.len() {
            asked.add_partition(topic, partition as i32);
        }
        let committed = reader.committed_offsets(asked, PATIENCE)?;
        let of = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match e.offset() {
            Offset::Offset(offset) => Some((e.partition(), offset, e.metadata().to_owned())),
            _ => None,
        };
        Ok(committed.elements().iter().filter_map(of).collect())
    }

    /// Records of the topic that the group has not committed; partitions without a commit count whole.
    pub fn lag(&self, group: &str, topic: &str) -> Result<i64> {
        let committed = self.committed(group, topic)?;
        let done =
            |p: usize| committed.iter().find(|(partition, ..)| *partition == p as i32).map(|(_, offset, _)| *offset);
        let offsets = self.offsets(topic)?;
        Ok(offsets.iter().enumerate().map(|(p, (low, high))| high - done(p).unwrap_or(*low)).sum())
    }

    /// All records that the topic holds now, by partition and offset.
    ///
    /// # Panics
    /// When they cannot be read.
    pub fn consume_all(&self, topic: &str) -> Vec<Record> {
        self.try_consume_all(topic).unwrap_or_else(|e| panic!("cannot read topic {topic}: {e:#}"))
    }

    fn try_consume_all(&self, topic: &str) -> Result<Vec<Record>> {
        let reader = self.reader("edgereel-tests-reader")?;
        let ends = self.offsets(topic)?;
        let mut list = TopicPartitionList::new();
        for p in 0..ends.len() as i32 {
            list.add_partition_offset(topic, p, Offset::Beginning)?;
        }
        reader.assign(&list)?;
        let mut records = Vec::new();
        // Compacted or transactional topics have gaps: the position says when the end is reached.
        let mut open: Vec<bool> = ends.iter().map(|(low, high)| high > low).collect();
        while open.contains(&true) {
            let message = match reader.poll(PATIENCE).with_context(|| format!("no record within {PATIENCE:?}"))? {
                // One of several brokers is gone: the others have its records.
                Err(e) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::BrokerTransportFailure) => continue,
                message => message?,
            };
            open[message.partition() as usize] = message.offset() + 1 < ends[message.partition() as usize].1;
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            let headers = headers::read(&message).into_iter();
            records.push(Record {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(Into::into),
                value: message.payload().map(Into::into),
                timestamp: message.timestamp().to_millis().unwrap_or(-1),
                headers: headers.map(|(name, value)| (text(&name), value.unwrap_or_default().to_vec())).collect(),
            });
        }
        records.sort_by_key(|r| (r.partition, r.offset));
        Ok(records)
    }

    /// Produces records and waits until all are acknowledged.
    ///
    /// # Panics
    /// When they are not.
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = NewRecord>) {
        let before = self.record_count(topic);
        let mut config = self.client();
        config.set("message.max.bytes", "110000000").set("enable.idempotence", "true");
        config.set("queue.buffering.max.kbytes", "1000000").set("sticky.partitioning.linger.ms", "0");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
        let mut sent = 0;
        for record in records {
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
            let mut base = BaseRecord::<[u8], [u8]>::to(topic).headers(headers);
            base.partition = record.partition;
            base.timestamp = record.timestamp;
            base.key = record.key.as_deref();
            base.payload = record.value.as_deref();
            producer.send(base).unwrap_or_else(|(e, _)| panic!("cannot produce to {topic}: {e}"));
            sent += 1;
        }
        producer.flush(Duration::from_secs(60)).unwrap_or_else(|e| panic!("cannot produce to {topic}: {e}"));
        let after = self.record_count(topic);
        assert!(after - before >= sent, "only {} of {sent} records came to {topic}", after - before);
    }
}
