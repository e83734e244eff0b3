//! Sends records to one topic and tells of each one's fate.
//!
//! A record is copied once, into librdkafka's queue; from there it goes to the socket as it is. Sending never blocks:
//! what does not fit into the budget is refused, and the owner decides what to drop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use edgereel_crds::{
    camera_stream::{Acks, Compression, Producer as Settings},
    common::FrameFormat,
    plan::{CameraPlan, Connection},
    status::Reason,
    units::ByteSize,
};
use jiff::Timestamp;
use rdkafka::{
    ClientConfig, ClientContext,
    client::OAuthToken,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{DeliveryResult, Header, Message, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig},
};

use super::client::{Context, Health, KafkaFault, Subject, client_config};
use crate::{metrics::DropReason, secrets::Secrets};

/// Room for the key, the headers and Kafka's own framing of a record; ours take about 400 bytes.
const RECORD_OVERHEAD: u64 = 4096;
/// The range of librdkafka's `message.max.bytes`.
const MESSAGE_MAX_BYTES: (u64, u64) = (1_000, 1_000_000_000);
/// How long the polling thread waits for an event; bounds how long a stop takes.
const POLL: Duration = Duration::from_millis(100);
/// How long the reports of purged records may take; they come from memory.
const PURGE: Duration = Duration::from_secs(2);

/// The size of the largest record that frames up to `max_frame` make, with key, headers and framing.
pub fn largest_record(max_frame: ByteSize, format: FrameFormat) -> u64 {
    let value = match format {
        FrameFormat::Jpeg => max_frame.0,
        FrameFormat::Json => max_frame.0.div_ceil(3).saturating_mul(4),
    };
    value.saturating_add(RECORD_OVERHEAD)
}

/// What a producer is made from.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// How the brokers' logs name it.
    pub client_id: String,
    /// The topic that it sends to.
    pub topic: &'a str,
    /// Acknowledgement, batches and patience.
    pub settings: &'a Settings,
    /// How many bytes may wait or be in flight. A single record is always taken.
    pub budget: u64,
    /// The largest record or batch that the topic takes (its `max.message.bytes`).
    pub limit: u64,
}

impl<'a> Options<'a> {
    /// A camera's producer, to a topic that takes records up to `topic_limit` (as [`super::topics::ensure`] reports).
    pub fn for_camera(plan: &'a CameraPlan, topic_limit: Option<u64>) -> Self {
        let encoding = &plan.spec.encoding;
        Options {
            client_id: format!("edgereel-{}.{}", plan.name.namespace, plan.name.name),
            topic: &plan.spec.topic.name,
            settings: &plan.spec.producer,
            budget: plan.spec.buffer.memory.0,
            limit: topic_limit.unwrap_or_else(|| largest_record(encoding.max_frame_bytes, encoding.format)),
        }
    }
}

/// A record to be sent.
#[derive(Clone, Debug)]
pub struct Record<'a, H> {
    /// Decides on the partition, as Java's clients do (murmur2). Without it, records spread at random.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: &'a [u8],
    /// The headers, in their order.
    pub headers: H,
    /// The record's time; kept in milliseconds.
    pub timestamp: Timestamp,
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The budget is used up: drop something, or try again after a delivery.
    #[error("the buffer is full")]
    Full,
    /// Larger than the topic takes.
    #[error("the record is larger than the topic takes")]
    TooLarge,
    /// This producer will send nothing more: drop it, look at the topic, and make another.
    #[error(transparent)]
    Fatal(KafkaFault),
}

/// A record's fate.
#[derive(Clone, Debug)]
pub struct Delivery<T> {
    /// What was given with the record.
    pub token: T,
    /// Its partition and offset, once acknowledged.
    pub result: Result<(i32, i64), Undelivered>,
}

/// Why a record was not acknowledged. It may stand in the topic all the same, if only the acknowledgement was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// For the metric.
    pub reason: DropReason,
    /// For the condition, and for people.
    pub fault: KafkaFault,
}

/// A producer for one topic, with its own polling thread.
pub struct FrameProducer<T: Send + Sync + 'static> {
    producer: Arc<BaseProducer<Reports<T>>>,
    topic: String,
    budget: u64,
    subject: Subject,
    health: Health,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    poller: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Bytes that wait or are in flight.
    bytes: AtomicU64,
    /// Records that were not delivered, ever.
    failed: AtomicU64,
}

impl<T: Send + Sync + 'static> FrameProducer<T> {
    /// A producer that calls `on_delivery` once for every record that [`send`](Self::send) took, on a thread of its own
    /// (and on the caller's in [`close`](Self::close)). It connects in the background: see [`health`](Self::health).
    pub fn new(
        connection: &Connection,
        secrets: &Secrets,
        options: &Options<'_>,
        on_delivery: impl Fn(Delivery<T>) + Send + Sync + 'static,
    ) -> Result<Self, KafkaFault> {
        let mut config = client_config(connection, secrets, &options.client_id)?;
        configure(&mut config, options);
        let context = Context::new(connection, secrets)?;
        let subject = context.subject().topic(options.topic);
        let context = context.about(subject.clone());
        let health = context.health().clone();
        let counts = Arc::<Counts>::default();
        let reports =
            Reports { context, subject: subject.clone(), counts: counts.clone(), on_delivery: Box::new(on_delivery) };
        let producer = BaseProducer::from_config_and_context(&config, reports).map_err(|e| subject.fault(&e))?;
        let (producer, stop) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let poll = {
            let (producer, stop) = (producer.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    producer.poll(POLL);
                }
            }
        };
        let poller = thread::Builder::new().name("kafka producer".into()).spawn(poll);
        let poller = poller.map_err(|e| KafkaFault::passing(Reason::InternalError, format!("no thread: {e}")))?;
        Ok(FrameProducer {
            producer,
            topic: options.topic.to_owned(),
            budget: options.budget,
            subject,
            health,
            counts,
            stop,
            poller: Some(poller),
        })
    }

    /// Takes a record, or says why not; never blocks. `token` comes back with the delivery, and is dropped on an error.
    pub fn send<'h, H>(&self, record: Record<'_, H>, token: T) -> Result<(), SendError>
    where
        H: IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
    {
        let headers = record.headers.into_iter();
        let mut bytes = (record.value.len() + record.key.map_or(0, <[u8]>::len)) as u64;
        let mut native = OwnedHeaders::new_with_capacity(headers.size_hint().0);
        for (key, value) in headers {
            bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
            native = native.insert(Header { key, value });
        }
        let take = |waiting: u64| (waiting == 0 || waiting + bytes <= self.budget).then_some(waiting + bytes);
        if self.counts.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_err() {
            return Err(SendError::Full);
        }
        let mut native = BaseRecord::with_opaque_to(&self.topic, Box::new(InFlight { token, bytes }))
            .payload(record.value)
            // 0 would be librdkafka's "now".
            .timestamp(record.timestamp.as_millisecond().max(1))
            .headers(native);
        native.key = record.key;
        self.producer.send(native).map_err(|(error, _)| {
            self.counts.bytes.fetch_sub(bytes, Ordering::AcqRel);
            match error.rdkafka_error_code() {
                Some(Code::QueueFull) => SendError::Full,
                Some(Code::MessageSizeTooLarge) => SendError::TooLarge,
                _ => SendError::Fatal(self.fatal().unwrap_or_else(|| self.subject.fault(&error))),
            }
        })
    }

    /// Bytes that wait or are in flight: values, keys and headers.
    pub fn in_flight_bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Acquire)
    }

    /// Records that wait or are in flight, or whose report is on its way.
    pub fn in_flight_records(&self) -> u64 {
        u64::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// Whether the brokers are reached.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The error after which this producer sends nothing more, if there was one: make another.
    pub fn fatal(&self) -> Option<KafkaFault> {
        self.producer.client().fatal_error().map(|(code, detail)| match code {
            Code::OutOfOrderSequenceNumber | Code::UnknownProducerId => self.subject.code(Code::Fatal, &detail),
            code => self.subject.code(code, &detail),
        })
    }

    /// Waits until all is delivered, `patience` at most, and gives up the rest. Every record has had its delivery
    /// report when this returns the number of those that were not delivered meanwhile. Blocks.
    pub fn close(mut self, patience: Duration) -> u64 {
        let before = self.counts.failed.load(Ordering::Acquire);
        if self.producer.flush(patience).is_err() {
            self.producer.purge(PurgeConfig::default().queue().inflight());
            if let Err(e) = self.producer.flush(PURGE) {
                tracing::warn!(topic = self.topic, "records were given up without a report: {e}");
            }
        }
        self.stop_polling();
        self.counts.failed.load(Ordering::Acquire) - before
    }

    fn stop_polling(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(poller) = self.poller.take()
            // The owner may drop the producer in a delivery callback.
            && poller.thread().id() != thread::current().id()
        {
            // A panic there has been reported by its own hook.
            let _ = poller.join();
        }
    }
}

impl<T: Send + Sync + 'static> Drop for FrameProducer<T> {
    fn drop(&mut self) {
        self.stop_polling();
    }
}

/// A producer's own settings.
fn configure(config: &mut ClientConfig, options: &Options<'_>) {
    let settings = options.settings;
    let patience = settings.delivery_timeout.as_millis().clamp(1_000, i32::MAX as u128);
    // A broker that hangs is left for its successor in time for another try, or two.
    let answer = (patience / 3).clamp(1_000, 60_000);
    let limit = options.limit.clamp(MESSAGE_MAX_BYTES.0, MESSAGE_MAX_BYTES.1);
    // librdkafka's own limit is only the second fence: ours counts headers too.
    let queue = options.budget.max(limit).div_ceil(1024).min(i32::MAX as u64);
    let (acks, idempotent) = match settings.acks {
        Acks::All => ("all", "true"),
        Acks::Leader => ("1", "false"),
    };
    let compression = match settings.compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    for (key, value) in [
        ("acks", acks.to_owned()),
        ("enable.idempotence", idempotent.to_owned()),
        ("max.in.flight.requests.per.connection", "5".to_owned()),
        ("compression.type", compression.to_owned()),
        ("linger.ms", format!("{}", settings.linger.as_secs_f64().clamp(0.0, 900.0) * 1000.0)),
        ("batch.size", settings.batch_bytes.0.clamp(1, i32::MAX as u64).to_string()),
        ("message.timeout.ms", patience.to_string()),
        ("request.timeout.ms", answer.to_string()),
        ("socket.timeout.ms", (answer + 1_000).to_string()),
        // Also the largest batch: never more than the topic takes, since librdkafka does not split a refused batch.
        ("message.max.bytes", limit.to_string()),
        ("queue.buffering.max.kbytes", queue.to_string()),
        ("queue.buffering.max.messages", "1000000".to_owned()),
        ("partitioner", "murmur2_random".to_owned()),
        // Each record without a key finds its own partition, as the Python producers' do.
        ("sticky.partitioning.linger.ms", "0".to_owned()),
    ] {
        config.set(key, value);
    }
}

/// What travels with a record.
struct InFlight<T> {
    token: T,
    bytes: u64,
}

/// The producer's context: passes deliveries on.
struct Reports<T> {
    context: Context,
    subject: Subject,
    counts: Arc<Counts>,
    on_delivery: Box<dyn Fn(Delivery<T>) + Send + Sync>,
}

impl<T: Send + Sync> ProducerContext for Reports<T> {
    type DeliveryOpaque = Box<InFlight<T>>;

    fn delivery(&self, report: &DeliveryResult<'_>, in_flight: Self::DeliveryOpaque) {
        let InFlight { token, bytes } = *in_flight;
        self.counts.bytes.fetch_sub(bytes, Ordering::AcqRel);
        let result = match report {
            Ok(message) => {
                self.context.health().progress();
                Ok((message.partition(), message.offset()))
            }
            Err((error, _)) => {
                self.counts.failed.fetch_add(1, Ordering::AcqRel);
                Err(Undelivered { reason: drop_reason(error), fault: self.subject.fault(error) })
            }
        };
        (self.on_delivery)(Delivery { token, result });
    }
}

fn drop_reason(error: &KafkaError) -> DropReason {
    match error.rdkafka_error_code() {
        Some(Code::MessageTimedOut) => DropReason::delivery_timeout,
        Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge) => DropReason::too_large,
        Some(Code::PurgeQueue | Code::PurgeInflight) => DropReason::shutdown,
        _ => DropReason::delivery_failed,
    }
}

impl<T: Send + Sync> ClientContext for Reports<T> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, kind: &str, message: &str) {
        self.context.log(level, kind, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.context.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.context.generate_oauth_token(config)
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::units;

    use super::*;

    fn configured(settings: Settings, budget: u64, limit: u64) -> ClientConfig {
        let mut config = ClientConfig::new();
        let options = Options { client_id: "c".into(), topic: "t", settings: &settings, budget, limit };
        configure(&mut config, &options);
        config.create_native_config().expect("librdkafka takes every setting");
        config
    }

    #[test]
    fn acks_all_means_idempotent_and_acks_leader_does_not() {
        for (acks, expected) in [(Acks::All, ("all", "true")), (Acks::Leader, ("1", "false"))] {
            let config = configured(Settings { acks, ..Settings::default() }, 64 << 20, 1 << 20);
            assert_eq!((config.get("acks"), config.get("enable.idempotence")), (Some(expected.0), Some(expected.1)));
        }
    }

    #[test]
    fn no_batch_is_larger_than_the_topic_takes_and_one_largest_record_always_fits_the_queue() {
        for (budget, limit, message, queue) in [
            (64 << 20, 1_048_588, "1048588", "65536"),
            (1 << 20, 104_857_600, "104857600", "102400"),
            (1, 1, "1000", "1"),
            (u64::MAX, u64::MAX, "1000000000", "2147483647"),
        ] {
            let config = configured(Settings::default(), budget, limit);
            assert_eq!(config.get("message.max.bytes"), Some(message));
            assert_eq!(config.get("queue.buffering.max.kbytes"), Some(queue));
        }
    }

    #[test]
    fn extreme_settings_are_brought_into_librdkafkas_ranges() {
        for millis in [0, 1, 30_000, u64::from(u32::MAX) * 1000] {
            let settings = Settings {
                delivery_timeout: units::Duration::millis(millis),
                linger: units::Duration::millis(millis),
                batch_bytes: ByteSize(millis),
                ..Settings::default()
            };
            let config = configured(settings, millis, millis);
            let number = |key| config.get(key).and_then(|v| v.parse::<u64>().ok()).expect("a number");
            assert!(number("message.timeout.ms") >= number("request.timeout.ms"), "{millis}");
            assert!(number("socket.timeout.ms") > number("request.timeout.ms"), "{millis}");
        }
    }

    #[test]
    fn a_json_record_is_a_third_larger_than_its_frame() {
        assert_eq!(largest_record(ByteSize(300), FrameFormat::Jpeg), 300 + RECORD_OVERHEAD);
        assert_eq!(largest_record(ByteSize(300), FrameFormat::Json), 400 + RECORD_OVERHEAD);
        assert_eq!(largest_record(ByteSize(u64::MAX), FrameFormat::Json), u64::MAX);
    }

    #[test]
    fn each_failed_delivery_counts_under_its_own_reason() {
        for (code, reason) in [
            (Code::MessageTimedOut, DropReason::delivery_timeout),
            (Code::MessageSizeTooLarge, DropReason::too_large),
            (Code::PurgeQueue, DropReason::shutdown),
            (Code::PurgeInflight, DropReason::shutdown),
            (Code::TopicAuthorizationFailed, DropReason::delivery_failed),
            (Code::NotEnoughReplicas, DropReason::delivery_failed),
        ] {
            assert_eq!(drop_reason(&KafkaError::MessageProduction(code)), reason, "{code:?}");
        }
    }
}
