//! Sends on what is not a frame, with its key, value and headers, and why it is none.
//!
//! The headers that say why are Kafka Connect's (KIP-298), so that the tools that read those work here too. They stand
//! behind the record's own, of which some may have the same names: it may have been a dead letter before.
//!
//! A letter counts as delivered when it was acknowledged itself ([`ledger`]). One that the topic refuses is sent again
//! until the topic takes it; meanwhile nothing is [settled](DeadLetters::settle), so that nothing is committed.

mod ledger;
pub mod letter;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::{camera_stream::Producer as Settings, name::ObjectName, plan::SinkPlan, status::Reason};
use jiff::Timestamp;

pub use self::{
    ledger::Mark,
    letter::{OFFSET, PARTITION, TOPIC},
};
use edgereel_frame::wire::Invalid;
use edgereel_kafka::{
    client::KafkaFault,
    consumer,
    producer::{FrameProducer, Options, Record, Role, SendError},
    topics,
};
use edgereel_runtime::{backoff::Backoff, fault::Fault, secrets::Secrets};

use self::{
    ledger::{Ledger, Number, Settled},
    letter::Letter,
};
use crate::sink::metrics::SinkMetrics;

/// What may wait for the brokers' acknowledgement, in bytes.
const BUDGET: u64 = 8 << 20;
/// From one try to send what was refused to the next.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// The largest record that the topic should take: what the sink reads may be as large.
pub const LARGEST: u64 = 1 << 20;

/// A dead-letter topic.
pub struct DeadLetters {
    producer: FrameProducer<Number>,
    book: Arc<Book>,
    topic: String,
    sink: ObjectName,
    replica: u32,
}

/// The ledger, and who waits for it.
struct Book {
    pages: Mutex<Pages>,
    changed: Condvar,
}

struct Pages {
    ledger: Ledger<Letter, KafkaFault>,
    backoff: Backoff,
    /// When refused letters are sent again.
    again: Option<Instant>,
    /// Nobody waits longer than this.
    hurry: Option<Instant>,
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// Whether the letter was one that is waited for.
    fn acknowledged(&mut self, number: Number) -> bool {
        let known = self.ledger.strike_out(number);
        if self.ledger.standing().is_none() {
            self.backoff.reset();
        }
        known
    }

    fn refused(&mut self, number: Number, fault: KafkaFault) {
        if self.ledger.refuse(number, fault) && self.again.is_none() {
            self.again = Some(Instant::now() + self.backoff.next(&mut rand::rng()));
        }
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
            patient: false,
        };
        let pages = Pages {
            ledger: Ledger::new(BUDGET as usize),
            backoff: Backoff::new(AGAIN.0, AGAIN.1),
            again: None,
            hurry: None,
        };
        let book = Arc::new(Book { pages: Mutex::new(pages), changed: Condvar::new() });
        let (reports, counter, sink) = (book.clone(), metrics.dead_lettered.clone(), plan.name.clone());
        let producer = FrameProducer::new(&plan.connection, secrets, &options, move |delivery| {
            let mut pages = reports.lock();
            match delivery.result {
                Ok(_) => {
                    if pages.acknowledged(delivery.token) {
                        counter.inc();
                    }
                }
                Err(undelivered) => {
                    if pages.ledger.standing().is_none() {
                        tracing::warn!(%sink, "a dead letter was refused and is sent again: {}", undelivered.fault);
                    }
                    pages.refused(delivery.token, undelivered.fault);
                }
            }
            reports.changed.notify_all();
        })?;
        Ok(DeadLetters { producer, book, topic: topic.to_owned(), sink: plan.name.clone(), replica })
    }

    /// Sends a record.
    pub fn send(&self, record: &consumer::Record, why: &Invalid) -> Result<Sent, Fault> {
        let letter = Arc::new(Letter::new(record, why, &self.sink, self.replica));
        let bytes = letter.bytes();
        let number = {
            let mut pages = self.book.lock();
            if !pages.ledger.has_room(bytes) {
                return Ok(Sent::Later);
            }
            // Entered first: the report may come before `send` returns.
            pages.ledger.enter(letter.clone(), bytes)
        };
        let sent = self.dispatch(number, &letter);
        if !matches!(sent, Ok(Sent::Yes)) {
            self.book.lock().ledger.strike_out(number);
        }
        sent
    }

    fn dispatch(&self, number: Number, letter: &Letter) -> Result<Sent, Fault> {
        let copy = Record {
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
            headers: letter.headers.iter().map(|(name, value)| (name, value.as_deref())),
            // Retention goes by the record's time: with that of an old record, the letter could be deleted at once.
            timestamp: Timestamp::now(),
        };
        match self.producer.send(copy, number) {
            Ok(()) => Ok(Sent::Yes),
            Err(SendError::Full) => Ok(Sent::Later),
            Err(SendError::TooLarge) => Err(Fault::new(
                Reason::MessageTooLarge,
                format!(
                    "{letter} is no frame, and larger than the dead-letter topic {} takes; raise that topic's \
                     max.message.bytes",
                    self.topic
                ),
            )),
            Err(SendError::Fatal(fault)) => Err(self.stands(letter, fault)),
        }
    }

    /// Here: for [`settle`](Self::settle).
    pub fn sent(&self) -> Mark {
        self.book.lock().ledger.mark()
    }

    /// Waits until each letter sent before the mark is acknowledged; what was refused is sent again meanwhile. When
    /// `patience` is over: why the first one stands.
    pub fn settle(&self, mark: Mark, patience: Duration) -> Result<(), Fault> {
        let deadline = Instant::now().checked_add(patience);
        loop {
            self.send_again()?;
            let pages = self.book.lock();
            match pages.ledger.settled(mark) {
                Settled::Yes => return Ok(()),
                Settled::NotYet => {}
                Settled::Never => {
                    let message = "the partitions went before their dead letters were acknowledged";
                    return Err(Fault::new(Reason::NotAssigned, message));
                }
            }
            let now = Instant::now();
            let deadline = [deadline, pages.hurry].into_iter().flatten().min();
            if deadline.is_some_and(|deadline| deadline <= now) {
                drop(pages);
                return Err(self.standing().unwrap_or_else(|| {
                    let message =
                        format!("the dead-letter topic {} does not acknowledge; look at its brokers", self.topic);
                    Fault::new(Reason::KafkaUnreachable, message)
                }));
            }
            let wait = [deadline, pages.again].into_iter().flatten().min().map_or(patience, |until| until - now);
            // What woke it is looked at above, whatever it was.
            drop(self.book.changed.wait_timeout(pages, wait));
        }
    }

    /// Looks after what was refused: sends it again when it is time to, and says why the first one stands, until the topic
    /// has taken it. Nothing from its place on is committed meanwhile. Call it every now and then.
    pub fn tend(&self) -> Option<Fault> {
        self.send_again().err().or_else(|| self.standing())
    }

    fn standing(&self) -> Option<Fault> {
        let pages = self.book.lock();
        let (letter, fault) = pages.ledger.standing()?;
        Some(self.stands(letter, fault.clone()))
    }

    /// Whoever waits for letters waits no longer than this from now on, until they are [forgotten](Self::forget): the
    /// partitions are to be handed over.
    pub fn hurry(&self, patience: Duration) {
        self.book.lock().hurry = Instant::now().checked_add(patience);
        self.book.changed.notify_all();
    }

    /// Forgets the letters of partitions that are no longer this worker's: whoever has them now reads their records, and
    /// sends them, again.
    pub fn forget(&self) {
        let mut pages = self.book.lock();
        pages.ledger.clear();
        pages.again = None;
        pages.hurry = None;
        self.book.changed.notify_all();
    }

    /// Sends what was refused again, if it is time to.
    fn send_again(&self) -> Result<(), Fault> {
        if self.book.lock().again.is_none_or(|again| again > Instant::now()) {
            return Ok(());
        }
        loop {
            let Some((number, letter)) = ({
                let mut pages = self.book.lock();
                pages.again = None;
                pages.ledger.send_again()
            }) else {
                return Ok(());
            };
            match self.dispatch(number, &letter) {
                Ok(Sent::Yes) => {}
                // The rest a moment later, when some of these are there.
                Ok(Sent::Later) => {
                    self.put_back(number);
                    return Ok(());
                }
                Err(fault) => {
                    self.put_back(number);
                    return Err(fault);
                }
            }
        }
    }

    fn put_back(&self, number: Number) {
        let mut pages = self.book.lock();
        pages.ledger.wait(number);
        pages.again = Some(Instant::now() + AGAIN.0);
    }

    fn stands(&self, letter: &Letter, fault: KafkaFault) -> Fault {
        let KafkaFault { reason, message, .. } = fault;
        let why = match reason {
            // What is said of it elsewhere is said of a camera's topic.
            Reason::MessageTooLarge => "its brokers say that it is too large; raise that topic's max.message.bytes",
            _ => &message,
        };
        let message = format!(
            "{letter} is no frame, and the dead-letter topic {} does not take it: {why}. It is sent again until the topic \
             does; nothing from there on is committed",
            self.topic
        );
        Fault::new(reason, message)
    }
}

/// Where a record stands, for people.
pub fn place(record: &consumer::Record) -> String {
    format!("topic {}, partition {}, offset {}", record.source.topic, record.source.partition, record.offset)
}
