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
    /// What was not acknowledged, and why; it may stand in its topic all the same. With a dry run, what could not be sent.
    pub failed: Vec<Failed>,
    /// Why it ended before all was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// A record that was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Where it stands in the topic that was read.
    pub partition: i32,
    /// Likewise.
    pub offset: i64,
    /// The topic that it was for.
    pub topic: String,
    /// Why.
    pub message: String,
}

/// Sends what is wished for; `progress` hears how many of how many offsets are done. Blocks. A topic that cannot be written
/// fails the records for it and no others; a fault of the topic that is read ends it early, and [`Done`] says what was done.
///
/// # Errors
/// Nothing could be read, or the one topic that is to be written cannot be.
pub fn replay(wish: &Wish<'_>, progress: &mut dyn FnMut(u64, u64)) -> Result<Done, KafkaFault> {
    let reader = TopicReader::open(wish.connection, wish.secrets, "edgereel-replay")?;
    let extents = reader.extents(wish.from)?;
    if extents.is_empty() {
        let message = format!("there is no topic {}, or this user may not read it", wish.from);
        return Err(KafkaFault::passing(Reason::TopicMissing, message));
    }
    let total: i64 = extents.values().map(|extent| extent.high - extent.low).sum();
    let mut run = Run { wish, targets: BTreeMap::new(), tally: Arc::default(), done: 0, total: total.unsigned_abs() };
    run.tally().from = wish.from.to_owned();
    if let Some(to) = wish.to {
        let target = run.target(to)?;
        run.targets.insert(to.to_owned(), Ok(target));
    }
    for (partition, extent) in extents {
        let offsets = wish.choice.offsets(partition, extent.low..extent.high);
        if !offsets.is_empty() {
            let read = reader.read(wish.from, partition, offsets, |record| run.take(&record, progress));
            if let Err(fault) = read {
                return run.finish(Some(fault));
            }
        }
    }
    run.finish(None)
}

type Tally = Arc<Mutex<Done>>;

/// Where a record stands in the topic that is read, and the topic that it went to.
struct Token {
    partition: i32,
    offset: i64,
    topic: Arc<str>,
}

/// A topic that is written; with a dry run, without a producer.
type Target = Option<FrameProducer<Token>>;

struct Run<'a> {
    wish: &'a Wish<'a>,
    /// Or why one cannot be written.
    targets: BTreeMap<String, Result<Target, KafkaFault>>,
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
        let topic = topic.to_owned();
        if !self.targets.contains_key(&topic) {
            let target = self.target(&topic);
            self.targets.insert(topic.clone(), target);
        }
        let failed = |message: String| {
            let (partition, offset) = (record.partition, record.offset);
            self.tally().failed.push(Failed { partition, offset, topic: topic.clone(), message });
        };
        let sender = match &self.targets[&topic] {
            Ok(Some(sender)) => sender,
            Ok(None) => {
                *self.tally().sent.entry(topic).or_default() += 1;
                return Ok(());
            }
            Err(fault) => {
                failed(fault.message.clone());
                return Ok(());
            }
        };
        let timestamp = match &letter {
            Some(letter) => letter.timestamp,
            None => record.timestamp,
        };
        let timestamp = timestamp.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_else(Timestamp::now);
        let headers = letter::cleaned(record);
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
                Err(SendError::Fatal(fault)) => {
                    failed(fault.message.clone());
                    return Err(fault);
                }
            }
        }
        failed(format!("it is larger than topic {topic} takes: raise its max.message.bytes"));
        Ok(())
    }

    /// A topic to write, which has to be there.
    fn target(&self, topic: &str) -> Result<Target, KafkaFault> {
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
        let limit =
            runtime.block_on(topics::ensure(connection, secrets, &asked, 0)).map_err(|fault| missing(topic, fault))?;
        let limit = limit.max_message_bytes;
        if self.wish.dry_run {
            return Ok(None);
        }
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
        let producer = FrameProducer::new(connection, secrets, &options, move |delivery| {
            let mut done = tally.lock().unwrap_or_else(PoisonError::into_inner);
            let Token { partition, offset, topic } = delivery.token;
            match delivery.result {
                Ok(_) => *done.sent.entry(topic.as_ref().to_owned()).or_default() += 1,
                Err(undelivered) => {
                    let (topic, message) = (topic.as_ref().to_owned(), undelivered.fault.message);
                    done.failed.push(Failed { partition, offset, topic, message });
                }
            }
        })?;
        Ok(Some(producer))
    }

    /// Waits for what is on its way. A fault before anything was looked at is all that there is to say.
    fn finish(self, ended: Option<KafkaFault>) -> Result<Done, KafkaFault> {
        for sender in self.targets.into_values().flatten().flatten() {
            sender.close(PATIENCE);
        }
        let mut done = std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        done.failed.sort_by_key(|failed| (failed.partition, failed.offset));
        match ended {
            Some(fault) if done.looked_at == 0 => Err(fault),
            ended => Ok(Done { ended: ended.map(|fault| fault.message), ..done }),
        }
    }
}

/// What to do about a topic that is not there is not what a camera's would be told.
fn missing(topic: &str, fault: KafkaFault) -> KafkaFault {
    match fault.reason {
        Reason::TopicMissing => {
            let message = format!("there is no topic {topic}: make it, or name another with `--to`");
            KafkaFault { message, ..fault }
        }
        _ => fault,
    }
}
