//! What a cluster takes and gives with this client: for `edgereel bench kafka`.
//!
//! [`setting`] says what is tried and [`payload`] what is sent; `measure` sends it and reads it back, in a topic that is made for
//! that and deleted afterwards. [`results`] is what was found, and its CSV; [`plot`] draws it.

mod measure;
pub mod payload;
pub mod plot;
pub mod results;
pub mod setting;

use std::{collections::BTreeMap, sync::Arc};

use edgereel_crds::{
    camera_stream::{Acks, EnsureTopic, RecordKey, Topic},
    plan::Connection,
    status::Reason,
};
use edgereel_kafka::{client::KafkaFault, topics};
use edgereel_runtime::secrets::Secrets;
use payload::Payload;
use results::Row;
use setting::Setting;
use tokio_util::sync::CancellationToken;

/// Each topic's name begins with this.
pub const TOPIC: &str = "edgereel-bench-";
/// How long the brokers keep records of a topic that nobody could delete: one hour.
const RETENTION_MS: &str = "3600000";
/// What a record has beside its value, at most.
const OVERHEAD: u64 = 1024;

/// What all measurements have in common.
#[derive(Clone)]
pub struct Wish {
    /// The cluster.
    pub connection: Connection,
    /// Its login.
    pub secrets: Secrets,
    /// What is sent.
    pub payload: Arc<Payload>,
    /// How many records.
    pub records: u64,
    /// Whose acknowledgement counts.
    pub acks: Acks,
    /// Copies of the topics; the brokers' default without.
    pub replication_factor: Option<i32>,
}

/// Hears how many of the records are done; each counts twice, sent and read.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What came of a measurement.
pub struct Outcome {
    /// What was found; none when it was told to stop.
    pub found: Result<Option<Row>, KafkaFault>,
    /// Why the topic is still there, if it is.
    pub left: Option<KafkaFault>,
}

/// Makes the topic, measures, and deletes the topic, whatever happened meanwhile.
pub async fn measure(
    wish: &Wish,
    setting: &Setting,
    topic: &str,
    shutdown: &CancellationToken,
    progress: Progress,
) -> Outcome {
    let Wish { connection, secrets, payload, .. } = wish;
    // Or a batch would never be as large as it may be.
    let required = (payload.largest() + OVERHEAD).max(setting.batch.0.saturating_add(OVERHEAD));
    // Not left before it is over: a topic that the brokers are making cannot be deleted yet.
    let made = topics::make(connection, secrets, &wish.topic(topic, setting.partitions), required).await;
    let limit = match made {
        Ok(report) => report.max_message_bytes,
        Err(fault) => {
            // It may be there all the same. If it is not, or must not be made, this says nothing new.
            let _ = topics::delete(connection, secrets, topic).await;
            return Outcome { found: Err(fault), left: None };
        }
    };
    let job = measure::Job {
        wish: wish.clone(),
        setting: setting.clone(),
        topic: topic.to_owned(),
        limit: limit.unwrap_or(required),
        stop: shutdown.clone(),
        progress,
    };
    let measuring = tokio::task::spawn_blocking(move || job.run());
    let found = tokio::select! {
        // It ends by itself, and holds nobody up.
        () = shutdown.cancelled() => Ok(None),
        found = measuring => found.unwrap_or_else(|e| {
            Err(KafkaFault::passing(Reason::InternalError, format!("the measurement ended: {e}")))
        }),
    };
    let left = topics::delete(connection, secrets, topic).await.err();
    Outcome { found, left }
}

impl Wish {
    fn topic(&self, name: &str, partitions: i32) -> Topic {
        Topic {
            name: name.to_owned(),
            partitions,
            replication_factor: self.replication_factor,
            key: RecordKey::None,
            ensure: EnsureTopic::Create,
            config: BTreeMap::from([("retention.ms".to_owned(), RETENTION_MS.to_owned())]),
        }
    }
}
