//! Sends on what is not a frame, with its key, value and headers, and why it is none.
//!
//! The headers that say why are Kafka Connect's (KIP-298), so that the tools that read those work here too.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use edgereel_crds::{
    camera_stream::Producer as Settings,
    plan::{ObjectName, SinkPlan},
    status::Reason,
};
use jiff::Timestamp;

use crate::fault::Fault;
use crate::{
    frame::wire::Invalid,
    kafka::{
        client::KafkaFault,
        consumer,
        producer::{FrameProducer, Options, Record, Role, SendError},
        topics,
    },
    metrics::SinkMetrics,
    secrets::Secrets,
};

/// What may wait for the brokers' acknowledgement, in bytes.
const BUDGET: u64 = 8 << 20;
/// Header: the original record's timestamp, in Unix milliseconds; empty where it had none. Kafka Connect has no name for it.
const TIMESTAMP: &str = "dev.edgereel.timestamp";
/// The largest record that the topic should take: what the sink reads may be as large.
const LARGEST: u64 = 1 << 20;

/// A dead-letter topic.
pub struct DeadLetters {
    producer: FrameProducer<()>,
    ledger: Arc<Ledger>,
    topic: String,
    sink: ObjectName,
    replica: u32,
}

#[derive(Default)]
struct Ledger {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    sent: u64,
    acknowledged: u64,
    fault: Option<KafkaFault>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a record that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way; [`DeadLetters::settle`] says when it is there.
    Yes,
    /// Too much is on its way already: try again in a moment.
    Later,
}

impl DeadLetters {
    /// Opens the topic, which is made if it is not there. Blocks.
    pub fn open(
        plan: &SinkPlan,
        topic: &str,
        replica: u32,
        secrets: &Secrets,
        metrics: &SinkMetrics,
    ) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|e| Fault::new(Reason::InternalError, format!("cannot start the dead-letter client: {e}")))?;
        let report = runtime.block_on(topics::ensure_dead_letter(&plan.connection, secrets, topic, LARGEST))?;
        let settings = Settings::default();
        let options = Options {
            client_id: format!("edgereel-{}.{}-dead-letters", plan.name.namespace, plan.name.name),
            role: Role::DeadLetters,
            topic,
            settings: &settings,
            budget: BUDGET,
            limit: report.max_message_bytes.unwrap_or(LARGEST),
        };
        let ledger = Arc::<Ledger>::default();
        let (reports, counter) = (ledger.clone(), metrics.dead_lettered.clone());
        let producer = FrameProducer::new(&plan.connection, secrets, &options, move |delivery| {
            let mut counts = reports.lock();
            match delivery.result {
                Ok(_) => {
                    counts.acknowledged += 1;
                    counter.inc();
                }
                Err(undelivered) => counts.fault = Some(undelivered.fault),
            }
            reports.changed.notify_all();
        })?;
        Ok(DeadLetters { producer, ledger, topic: topic.to_owned(), sink: plan.name.clone(), replica })
    }

    /// Sends a record.
    pub fn send(&self, record: &consumer::Record, why: &Invalid) -> Result<Sent, Fault> {
        let said = annotations(record, why, &self.sink, self.replica);
        let own = record.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref()));
        let headers: Vec<_> = own.chain(said.iter().map(|(key, value)| (*key, Some(value.as_bytes())))).collect();
        let copy = Record {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers,
            // Retention goes by the record's time: with that of an old record, the letter could be deleted at once.
            timestamp: Timestamp::now(),
        };
        // Counted first: the report may come before `send` returns.
        self.ledger.lock().sent += 1;
        let refused = match self.producer.send(copy, ()) {
            Ok(()) => return Ok(Sent::Yes),
            Err(refused) => refused,
        };
        self.ledger.lock().sent -= 1;
        match refused {
            SendError::Full => Ok(Sent::Later),
            SendError::TooLarge => Err(Fault::new(
                Reason::MessageTooLarge,
                format!(
                    "{} is no frame ({why}) and larger than the dead-letter topic {} takes; raise that topic's \
                     max.message.bytes",
                    place(record),
                    self.topic
                ),
            )),
            SendError::Fatal(fault) => Err(fault.into()),
        }
    }

    /// How many records were sent: for [`settle`](Self::settle).
    pub fn sent(&self) -> u64 {
        self.ledger.lock().sent
    }

    /// Waits until the first `sent` records are acknowledged.
    pub fn settle(&self, sent: u64, patience: Duration) -> Result<(), Fault> {
        let deadline = Instant::now() + patience;
        let mut counts = self.ledger.lock();
        while counts.acknowledged < sent {
            if let Some(fault) = &counts.fault {
                return Err(fault.clone().into());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = format!("the dead-letter topic {} does not acknowledge; look at its brokers", self.topic);
                return Err(Fault::new(Reason::KafkaUnreachable, message));
            }
            counts =
                self.ledger.changed.wait_timeout(counts, left).map_or_else(|e| e.into_inner().0, |(counts, _)| counts);
        }
        Ok(())
    }
}

/// Where a record stands, for people.
pub fn place(record: &consumer::Record) -> String {
    format!("topic {}, partition {}, offset {}", record.source.topic, record.source.partition, record.offset)
}

/// Kafka Connect's headers for a record that failed.
fn annotations(
    record: &consumer::Record,
    why: &Invalid,
    sink: &ObjectName,
    replica: u32,
) -> [(&'static str, String); 10] {
    [
        ("__connect.errors.topic", record.source.topic.to_string()),
        ("__connect.errors.partition", record.source.partition.to_string()),
        ("__connect.errors.offset", record.offset.to_string()),
        (TIMESTAMP, record.timestamp_ms.map_or_else(String::new, |ms| ms.to_string())),
        ("__connect.errors.connector.name", sink.to_string()),
        ("__connect.errors.task.id", replica.to_string()),
        ("__connect.errors.stage", "VALUE_CONVERTER".to_owned()),
        ("__connect.errors.class.name", "dev.edgereel.FrameSink".to_owned()),
        ("__connect.errors.exception.class.name", format!("dev.edgereel.{}", why.reason.as_str())),
        ("__connect.errors.exception.message", why.message.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kafka::consumer::{TopicPartition, budget::Charge},
        metrics::InvalidReason,
    };

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
