//! Sends records to one topic and tells of each one's fate.
//!
//! A record is copied once, into librdkafka's queue; from there it goes to the socket as it is. Sending never blocks:
//! what does not fit into the budget is refused, and the owner decides what to drop.
//!
//! What is in flight is kept in a ledger of ours ([`flights`]): each record has one report, also those that librdkafka
//! still holds when the client ends. The client ends on its poller's thread, since purging and destroying it may block.

mod bell;
mod flights;
mod poller;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bell::{Bell, Ring};
use edgereel_crds::{plan::Connection, status::Reason};
use flights::Flights;
use jiff::Timestamp;
use poller::Poller;
use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{DeliveryResult, Message},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use super::{
    client::{Context, Health, KafkaFault, Snapshot, Subject, client_config},
    fault::Right,
    headers,
    producer_config::configure,
};
pub use super::{fault::Role, producer_config::Options};
use edgereel_runtime::secrets::Secrets;

/// A record to be sent.
#[derive(Clone, Debug)]
pub struct Record<'a, H> {
    /// Decides on the partition, as Java's clients do (murmur2). Without it, records spread at random.
    pub key: Option<&'a [u8]>,
    /// The value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
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
    /// When it was decided: a moment later at most than librdkafka heard of it.
    pub at: Timestamp,
    /// Its partition and offset, once acknowledged.
    pub result: Result<(i32, i64), Undelivered>,
}

/// What became of a record that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No acknowledgement came within the delivery timeout.
    TimedOut,
    /// It is larger than the broker takes.
    TooLarge,
    /// The broker refused it, or the producer failed while it was in flight.
    Refused,
    /// The producer was stopped.
    Stopped,
}

/// Why a record was not acknowledged. It may stand in the topic all the same, if only the acknowledgement was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// What became of it.
    pub fate: Fate,
    /// For the condition, and for people.
    pub fault: KafkaFault,
}

/// A producer for one topic, with its own thread for what comes back. Dropped, it gives up what is in flight, on that
/// thread.
pub struct FrameProducer<T: Send + Sync + 'static> {
    bell: Arc<Bell<Reports<T>>>,
    topic: String,
    budget: u64,
    subject: Subject,
    health: Health,
    counts: Arc<Counts>,
    /// Dropped last: it stops the thread, which then is the client's last holder.
    poller: Poller,
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
        let subject = context.subject().role(options.role).topic(options.topic).needing(Right::Write);
        let context = context.about(subject.clone());
        let health = context.health().clone();
        let counts = Arc::<Counts>::default();
        let ring = Arc::new(Ring::new());
        let reports = Reports {
            context,
            subject: subject.clone(),
            counts: counts.clone(),
            flights: Flights::default(),
            ending: Mutex::default(),
            ring: ring.clone(),
            on_delivery: Box::new(on_delivery),
        };
        let producer = BaseProducer::from_config_and_context(&config, reports).map_err(|e| subject.fault(&e))?;
        let bell = Arc::new(Bell::new(Arc::new(producer), ring));
        let poller = Poller::start(bell.clone())
            .map_err(|e| KafkaFault::passing(Reason::InternalError, format!("no thread: {e}")))?;
        Ok(FrameProducer {
            bell,
            topic: options.topic.to_owned(),
            budget: options.budget,
            subject,
            health,
            counts,
            poller,
        })
    }

    fn reports(&self) -> &Reports<T> {
        self.bell.producer().client().context()
    }

    /// Takes a record, or says why not; never blocks. `token` comes back with the delivery, and is dropped on an error.
    pub fn send<'h, H, N: AsRef<[u8]>>(&self, record: Record<'_, H>, token: T) -> Result<(), SendError>
    where
        H: IntoIterator<Item = (N, Option<&'h [u8]>)>,
    {
        let (native, mut bytes) = headers::written(record.headers);
        bytes += (record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len)) as u64;
        let take = |waiting: u64| (waiting == 0 || waiting + bytes <= self.budget).then_some(waiting + bytes);
        if self.counts.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_err() {
            return Err(SendError::Full);
        }
        // Noted first: the report may come before `send` returns.
        let flight = self.reports().flights.begin(InFlight { token, bytes });
        let mut native = BaseRecord::with_opaque_to(&self.topic, flight)
            // 0 would be librdkafka's "now".
            .timestamp(record.timestamp.as_millisecond().max(1))
            .headers(native);
        native.key = record.key;
        native.payload = record.value;
        self.bell.producer().send(native).map_err(|(error, _)| {
            self.reports().flights.end(flight);
            self.counts.bytes.fetch_sub(bytes, Ordering::AcqRel);
            match error.rdkafka_error_code() {
                Some(Code::QueueFull) => SendError::Full,
                Some(Code::MessageSizeTooLarge) => SendError::TooLarge,
                _ => SendError::Fatal(self.fatal().unwrap_or_else(|| self.subject.fault(&error))),
            }
        })
    }

    /// Calls `on_delivery` for all deliveries that there are, on this thread. Never blocks.
    pub fn serve(&self) {
        self.bell.serve();
    }

    /// Whether [`serve`](Self::serve) would have something to do.
    pub fn has_reports(&self) -> bool {
        self.bell.has_rung()
    }

    /// Whether deliveries are told of as they come, as they are at first. Otherwise they wait for [`serve`](Self::serve),
    /// which saves waking a thread for each.
    pub fn set_prompt(&self, prompt: bool) {
        self.bell.set_prompt(prompt);
    }

    /// Bytes that wait or are in flight: values, keys and headers.
    pub fn in_flight_bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Acquire)
    }

    /// Records that wait or are in flight, or whose report is on its way.
    pub fn in_flight_records(&self) -> u64 {
        u64::try_from(self.bell.producer().in_flight_count()).unwrap_or(0)
    }

    /// Whether the brokers are reached.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The error after which this producer sends nothing more, if there was one: make another.
    pub fn fatal(&self) -> Option<KafkaFault> {
        self.bell.producer().client().fatal_error().map(|(code, detail)| match code {
            Code::OutOfOrderSequenceNumber | Code::UnknownProducerId => self.subject.code(Code::Fatal, &detail),
            code => self.subject.code(code, &detail),
        })
    }

    /// Waits until all is delivered, `patience` at most, and gives up the rest. Every record has had its delivery
    /// report when this returns the number of those that were not delivered meanwhile. Blocks.
    pub fn close(self, patience: Duration) -> u64 {
        self.end(Ending::Stop, patience)
    }

    /// As [`close`](Self::close), for a producer that has failed: what is given up is told the failure.
    pub fn abandon(self, patience: Duration, failure: KafkaFault) -> u64 {
        self.end(Ending::Failure(failure), patience)
    }

    fn end(self, ending: Ending, patience: Duration) -> u64 {
        let before = self.counts.failed.load(Ordering::Acquire);
        *self.reports().ending.lock().unwrap_or_else(PoisonError::into_inner) = ending;
        // What is not delivered by now is purged as the client ends.
        let _ = self.bell.producer().flush(patience);
        let FrameProducer { bell, poller, counts, .. } = self;
        drop(bell);
        poller.join();
        counts.failed.load(Ordering::Acquire) - before
    }
}

/// Why a producer ends, once somebody has decided that.
#[derive(Default)]
enum Ending {
    #[default]
    None,
    Stop,
    Failure(KafkaFault),
}

/// What is remembered of a record in flight.
struct InFlight<T> {
    token: T,
    bytes: u64,
}

/// The producer's context: passes deliveries on.
struct Reports<T> {
    context: Context,
    subject: Subject,
    counts: Arc<Counts>,
    flights: Flights<InFlight<T>>,
    ending: Mutex<Ending>,
    ring: Arc<Ring>,
    on_delivery: Box<dyn Fn(Delivery<T>) + Send + Sync>,
}

impl<T: Send + Sync> ProducerContext for Reports<T> {
    /// The flight's number.
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, flight: usize) {
        // What the end of the client has told of already is not told again.
        let Some(in_flight) = self.flights.end(flight) else { return };
        let result = match report {
            Ok(message) => {
                self.context.health().progress();
                Ok((message.partition(), message.offset()))
            }
            Err((error, _)) if fate(error) == Fate::Stopped => Err(self.given_up()),
            Err((error, _)) => Err(Undelivered { fate: fate(error), fault: self.fault(error) }),
        };
        self.tell(in_flight, result);
    }
}

impl<T> Reports<T> {
    fn tell(&self, InFlight { token, bytes }: InFlight<T>, result: Result<(i32, i64), Undelivered>) {
        self.counts.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.counts.failed.fetch_add(u64::from(result.is_err()), Ordering::AcqRel);
        (self.on_delivery)(Delivery { token, at: self.ring.came_at(), result });
    }

    /// Tells those whose record has had no report that it will have none.
    fn settle(&self) {
        for in_flight in self.flights.end_all() {
            self.tell(in_flight, Err(self.given_up()));
        }
    }

    /// What was purged: because the worker stops, or the producer failed. librdkafka purges by itself after a fatal error,
    /// before anybody has met it.
    fn given_up(&self) -> Undelivered {
        let failure = match &*self.ending.lock().unwrap_or_else(PoisonError::into_inner) {
            Ending::Stop => {
                let fault = self.subject.code(Code::PurgeInflight, "");
                return Undelivered { fate: Fate::Stopped, fault };
            }
            Ending::Failure(fault) => Some(fault.clone()),
            Ending::None => None,
        };
        let fault = failure.unwrap_or_else(|| match self.context.health().snapshot() {
            Snapshot::Down(fault) => fault,
            _ => self.subject.code(Code::Fatal, ""),
        });
        Undelivered { fate: Fate::Refused, fault }
    }

    /// A record that timed out does not know why; the health does.
    fn fault(&self, error: &KafkaError) -> KafkaFault {
        let fault = self.subject.fault(error);
        match self.context.health().snapshot() {
            Snapshot::Down(cause) if fate(error) == Fate::TimedOut => {
                KafkaFault { message: format!("{fault}: {cause}"), ..cause }
            }
            _ => fault,
        }
    }
}

fn fate(error: &KafkaError) -> Fate {
    match error.rdkafka_error_code() {
        Some(Code::MessageTimedOut) => Fate::TimedOut,
        Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge) => Fate::TooLarge,
        Some(Code::PurgeQueue | Code::PurgeInflight) => Fate::Stopped,
        _ => Fate::Refused,
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
mod tests;
