//! Sends records again: dead letters back to where they came from, or a range of a topic into another.
//!
//! [`choice`] says which, [`letter`] makes of a dead letter the record that it holds.

pub mod choice;
pub mod letter;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use choice::Choice;
use edgereel_crds::{
    camera_stream::{EnsureTopic, Producer as Settings, RecordKey, Topic},
    plan::Connection,
    status::Reason,
};
use edgereel_kafka::{
    client::KafkaFault,
    producer::{FrameProducer, Options, Record, Role, SendError},
    reader::{StoredRecord, TopicReader},
    topics,
};
use edgereel_runtime::{plain::plain, secrets::Secrets};
use jiff::Timestamp;
use serde::Serialize;

/// What may wait to be acknowledged, in bytes.
const BUDGET: u64 = 16 << 20;
/// How long the last records may take to be acknowledged: longer than each of them may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// From one try to the next, while so much waits.
const PAUSE: Duration = Duration::from_millis(5);
/// The largest record that a topic could take, where it does not say.
const LARGEST: u64 = 1_000_000_000;

/// What is to be sent again.
pub struct Wish<'a> {
    /// Where both topics are.
    pub connection: &'a Connection,
    /// Its login.
    pub secrets: &'a Secrets,
    /// The topic that is read: what it holds at this moment.
    pub from: &'a str,
    /// The topic that is written; without it, the one that each dead letter names.
    pub to: Option<&'a str>,
    /// Which records.
    pub choice: &'a Choice,
    /// Only look.
    pub dry_run: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// The topic that was read.
    pub from: String,
    /// Records that were looked at.
    pub looked_at: u64,
    /// Those of them that were chosen.
    pub chosen: u64,
    /// Chosen ones that name no topic: no dead letters of ours or of Kafka Connect.
    pub unaddressed: u64,
    /// Acknowledged ones, by the topic that took them; with a dry run, those that would have been sent.
    pub sent: BTreeMap<String, u64>,
    /// What was not acknowledged, and why; it may stand in its topic all the same.
    pub failed: Vec<Failed>,
}

/// A record that was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Where it stands in the topic that was read.
    pub partition: i32,
    /// Likewise.
    pub offset: i64,
    /// Why.
    pub message: String,
}

/// Sends what is wished for; `progress` hears how many of how many offsets are done. Blocks. Ends early at a fault of the
/// topic that is read, or of a topic that cannot be written at all.
pub fn replay(wish: &Wish<'_>, progress: &mut dyn FnMut(u64, u64)) -> Result<Done, KafkaFault> {
    let reader = TopicReader::open(wish.connection, wish.secrets, "edgereel-replay")?;
    let extents = reader.extents(wish.from)?;
    if extents.is_empty() {
        let message = format!("there is no topic {}, or this user may not read it", wish.from);
        return Err(KafkaFault::passing(Reason::TopicMissing, message));
    }
    let total: i64 = extents.values().map(|extent| extent.high - extent.low).sum();
    let mut run = Run { wish, senders: BTreeMap::new(), tally: Arc::default(), done: 0, total: total.unsigned_abs() };
    run.tally().from = wish.from.to_owned();
    for (partition, extent) in extents {
        let offsets = wish.choice.offsets(partition, extent.low..extent.high);
        if !offsets.is_empty() {
            reader.read(wish.from, partition, offsets, |record| run.take(&record, progress))?;
        }
    }
    Ok(run.finish())
}

type Tally = Arc<Mutex<Done>>;

/// Where a record stands in the topic that is read, and the topic that it went to.
struct Token {
    partition: i32,
    offset: i64,
    topic: Arc<str>,
}

struct Run<'a> {
    wish: &'a Wish<'a>,
    senders: BTreeMap<String, FrameProducer<Token>>,
    tally: Tally,
    done: u64,
    total: u64,
}

impl Run<'_> {
    fn tally(&self) -> std::sync::MutexGuard<'_, Done> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self, record: &StoredRecord, progress: &mut dyn FnMut(u64, u64)) -> Result<(), KafkaFault> {
        self.done += 1;
        progress(self.done, self.total);
        let letter = letter::read(record);
        let chosen = self.tally().chosen;
        self.tally().looked_at += 1;
        if !self.wish.choice.wants(record, letter.as_ref(), chosen) {
            return Ok(());
        }
        self.tally().chosen += 1;
        let Some(topic) = self.wish.to.or(letter.as_ref().map(|letter| letter.topic.as_str())) else {
            self.tally().unaddressed += 1;
            return Ok(());
        };
        if self.wish.dry_run {
            *self.tally().sent.entry(topic.to_owned()).or_default() += 1;
            return Ok(());
        }
        let timestamp = match &letter {
            Some(letter) => letter.timestamp,
            None => record.timestamp,
        };
        let timestamp = timestamp.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_else(Timestamp::now);
        let headers = letter::cleaned(record);
        let topic = topic.to_owned();
        let sender = match self.senders.contains_key(&topic) {
            true => &self.senders[&topic],
            false => {
                let sender = self.sender(&topic)?;
                self.senders.entry(topic.clone()).or_insert(sender)
            }
        };
        loop {
            let token = Token { partition: record.partition, offset: record.offset, topic: topic.as_str().into() };
            let record = Record {
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: headers.iter().map(|(name, value)| (name, value.as_deref())),
                timestamp,
            };
            match sender.send(record, token) {
                Ok(()) => return Ok(()),
                Err(SendError::Full) => thread::sleep(PAUSE),
                Err(SendError::TooLarge) => break,
                Err(SendError::Fatal(fault)) => return Err(fault),
            }
        }
        let message = format!("it is larger than topic {topic} takes: raise its max.message.bytes");
        self.tally().failed.push(Failed { partition: record.partition, offset: record.offset, message });
        Ok(())
    }

    /// A producer to a topic, which has to be there.
    fn sender(&self, topic: &str) -> Result<FrameProducer<Token>, KafkaFault> {
        let asked = Topic {
            name: topic.to_owned(),
            partitions: 1,
            replication_factor: None,
            key: RecordKey::None,
            ensure: EnsureTopic::Exists,
            config: BTreeMap::new(),
        };
        let Wish { connection, secrets, .. } = self.wish;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|e| KafkaFault::passing(Reason::InternalError, format!("cannot ask for topics: {}", plain(e))))?;
        let limit = runtime.block_on(topics::ensure(connection, secrets, &asked, 0))?.max_message_bytes;
        let settings = Settings::default();
        let options = Options {
            client_id: "edgereel-replay".into(),
            role: Role::Other,
            topic,
            settings: &settings,
            budget: BUDGET,
            limit: limit.unwrap_or(LARGEST),
            patient: false,
        };
        let tally = self.tally.clone();
        FrameProducer::new(connection, secrets, &options, move |delivery| {
            let mut done = tally.lock().unwrap_or_else(PoisonError::into_inner);
            let Token { partition, offset, topic } = delivery.token;
            match delivery.result {
                Ok(_) => *done.sent.entry(topic.as_ref().to_owned()).or_default() += 1,
                Err(undelivered) => {
                    done.failed.push(Failed { partition, offset, message: undelivered.fault.message });
                }
            }
        })
    }

    /// Waits for what is on its way.
    fn finish(self) -> Done {
        for (_, sender) in self.senders {
            sender.close(PATIENCE);
        }
        let mut done = std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        done.failed.sort_by_key(|failed| (failed.partition, failed.offset));
        done
    }
}
