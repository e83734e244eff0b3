//! A record that is no frame, with what is said of it.

use bytes::Bytes;
use edgereel_crds::name::ObjectName;
use edgereel_frame::wire::{Header, Invalid};
use edgereel_kafka::consumer::{self, TopicPartition};

/// What a letter takes in the ledger beside its key, value and headers, about.
const OVERHEAD: usize = 512;
/// What the names of Kafka Connect's headers begin with.
pub const PREFIX: &str = "__connect.errors.";
/// Header: why it failed, as the last part of a class.
pub const CLASS: &str = "__connect.errors.exception.class.name";
/// Header: the topic of the record that a dead letter holds.
pub const TOPIC: &str = "__connect.errors.topic";
/// Header: its partition.
pub const PARTITION: &str = "__connect.errors.partition";
/// Header: its offset.
pub const OFFSET: &str = "__connect.errors.offset";
/// Header: the original record's timestamp, in Unix milliseconds; empty where it had none. Kafka Connect has no name for it.
pub const TIMESTAMP: &str = "dev.edgereel.timestamp";

/// A record that is no frame, as it is sent.
pub struct Letter {
    source: TopicPartition,
    offset: i64,
    /// The record's.
    pub key: Option<Bytes>,
    /// The record's.
    pub value: Option<Bytes>,
    /// The record's, and what is said of it.
    pub headers: Vec<Header>,
}

impl Letter {
    /// The letter of a record that this worker of the sink met.
    pub fn new(record: &consumer::Record, why: &Invalid, sink: &ObjectName, replica: u32) -> Self {
        let said = annotations(record, why, sink, replica);
        let said = said.into_iter().map(|(name, value)| (Bytes::from_static(name.as_bytes()), Some(value.into())));
        Letter {
            source: record.source.clone(),
            offset: record.offset,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.iter().cloned().chain(said).collect(),
        }
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        OVERHEAD + length(&self.key) + length(&self.value) + headers
    }
}

impl std::fmt::Display for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Letter { source, offset, .. } = self;
        write!(f, "topic {}, partition {}, offset {offset}", source.topic, source.partition)
    }
}

/// Kafka Connect's headers for a record that failed.
fn annotations(
    record: &consumer::Record,
    why: &Invalid,
    sink: &ObjectName,
    replica: u32,
) -> [(&'static str, String); 10] {
    [
        (TOPIC, record.source.topic.to_string()),
        (PARTITION, record.source.partition.to_string()),
        (OFFSET, record.offset.to_string()),
        (TIMESTAMP, record.timestamp_ms.map_or_else(String::new, |ms| ms.to_string())),
        ("__connect.errors.connector.name", sink.to_string()),
        ("__connect.errors.task.id", replica.to_string()),
        ("__connect.errors.stage", "VALUE_CONVERTER".to_owned()),
        ("__connect.errors.class.name", "dev.edgereel.FrameSink".to_owned()),
        (CLASS, format!("dev.edgereel.{}", why.reason.as_str())),
        ("__connect.errors.exception.message", why.message.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use edgereel_frame::reasons::InvalidReason;
    use edgereel_kafka::consumer::{TopicPartition, budget::Charge};

    use super::*;

    #[test]
    fn a_dead_letter_says_where_it_stood_and_why() {
        let record = consumer::Record {
            generation: 1,
            source: TopicPartition { topic: "AgriCam3".into(), partition: 2 },
            offset: 17,
            key: None,
            value: None,
            headers: vec![],
            timestamp_ms: None,
            charge: Charge::free(),
        };
        let why = Invalid { reason: InvalidReason::bad_json, message: "line 1: expected `:`".into() };
        let sink = ObjectName { namespace: "lab".into(), name: "frames".into() };
        let said = annotations(&record, &why, &sink, 0);
        let value = |name: &str| said.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        assert_eq!(value("__connect.errors.topic"), Some("AgriCam3"));
        assert_eq!(value("__connect.errors.partition"), Some("2"));
        assert_eq!(value("__connect.errors.offset"), Some("17"));
        assert_eq!(value("__connect.errors.connector.name"), Some("lab/frames"));
        assert_eq!(value("__connect.errors.exception.message"), Some("line 1: expected `:`"));
    }
}
