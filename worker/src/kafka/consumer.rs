//! A group's records, read by one thread that owns the consumer and polls it.
//!
//! All that crosses to the writer is [`Event`], and [`Command`] back. The writer may be slow (a full disk): then
//! partitions are paused and polling goes on, so that the group never gives this worker up for being busy.
//!
//! # How partitions are handed over
//!
//! The group asks for partitions back through a callback that runs inside `poll`, on this thread, and waits until it
//! returns; so does a stop. In it:
//!
//! 1. [`Event::Revoked`] goes to the writer with a [`Handover`]. Records that still wait in the channel are of no use
//!    any more; the writer passes over them.
//! 2. The writer makes durable what it has written, and calls [`Handover::commit`]. The commit is made *here*, in the
//!    callback and synchronously: an asynchronous one would be answered through `poll`, which cannot run while the
//!    callback does, and a commit from the writer's thread could go out after the partitions have changed hands, under
//!    the new generation.
//! 3. The writer finalises its files and drops the handover. Only then does the generation end and are the partitions
//!    given up.
//!
//! Nobody waits for ever: after [`HANDOVER_TIME`] the generation ends without the writer, whose [`Tenure`] then stops
//! it from renaming and committing. When partitions are *lost* (the session expired, another owner may be at work
//! already) the generation ends first and nothing is committed.

pub mod budget;
mod native;
mod rebalance;
pub mod start;
pub mod tenure;

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use edgereel_crds::{
    frame_sink::{OnOffsetLost, StartFrom},
    status::Reason,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    error::RDKafkaErrorCode as Code,
    message::{BorrowedMessage, Headers},
};

use self::{
    budget::Charge,
    native::Commits,
    rebalance::GroupContext,
    tenure::{PollClock, Tenure, boot_time_ms},
};
use super::client::{Context, KafkaFault};

/// How long the group waits for a heartbeat before it gives the partitions to others.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long the writer may take to flush and commit when partitions are asked back.
pub const HANDOVER_TIME: Duration = Duration::from_secs(15);
/// How long a commit may take then.
const COMMIT_TIME: Duration = Duration::from_secs(6);
/// How long a poll waits for a record: also how late a command may be.
const POLL: Duration = Duration::from_millis(20);
/// How long a used-up share may hold up the polling before its partition is paused. A pause throws away what was
/// fetched ahead, so a writer that is only a little slower than the network is not paused at all.
const PATIENCE: Duration = Duration::from_millis(50);
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);
/// What librdkafka may fetch ahead, for all partitions together.
const PREFETCH_KB: &str = "12288";

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// What the group knows of one assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The partition.
    pub source: TopicPartition,
    /// The committed offset (the next to read) and its metadata.
    pub committed: Option<(i64, String)>,
}

/// A record, out of librdkafka's memory.
#[derive(Debug)]
pub struct Record {
    /// The assignment that it belongs to.
    pub generation: u64,
    /// Where it stands.
    pub source: TopicPartition,
    /// Where it stands in its partition.
    pub offset: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none for a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Milliseconds since 1970; none for records of an old format.
    pub timestamp_ms: Option<i64>,
    /// Its part of the memory budget.
    pub charge: Charge,
}

/// An assigned partition and where its reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// What the group knows of it.
    pub assigned: Assigned,
    /// The first offset to read.
    pub start: i64,
    /// The offset after its last record at that time.
    pub high: i64,
    /// Records that were gone before they were read.
    pub lost: u64,
}

/// What to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The assignment that it belongs to.
    pub generation: u64,
    /// The next offset to read of each partition, all in one request.
    pub offsets: Vec<(TopicPartition, i64)>,
    /// Stored with each of the offsets.
    pub metadata: String,
}

/// What the consumer tells the writer.
#[derive(Debug)]
pub enum Event {
    /// Partitions were assigned; any earlier assignment is over.
    Assigned {
        /// The assignment's number.
        generation: u64,
        /// The partitions; may be empty.
        partitions: Vec<Begun>,
        /// How many partitions the topics have, whoever reads them.
        total: usize,
    },
    /// A record, in the order of its partition.
    Record(Record),
    /// Everything that the partition held at the last fetch has been sent.
    EndOfPartition {
        /// The assignment's number.
        generation: u64,
        /// The partition.
        source: TopicPartition,
    },
    /// How far the partitions reach: the offset after the last record of each.
    Watermarks(Vec<(TopicPartition, i64)>),
    /// The partitions are asked back: flush, commit, finish, drop the handover.
    Revoked(Handover),
    /// The partitions are gone already: drop everything.
    Lost,
    /// A commit was answered.
    Committed {
        /// As in the [`Commit`].
        generation: u64,
        /// Whether the offsets are stored.
        result: Result<(), KafkaFault>,
    },
    /// Something is wrong; unless `last`, it may pass and reading goes on by itself.
    Fault {
        /// What.
        fault: KafkaFault,
        /// The consumer has stopped because of it.
        last: bool,
    },
    /// The consumer has left and its thread ends: nothing follows.
    Closed,
}

/// What the writer asks of the consumer.
#[derive(Debug)]
pub enum Command {
    /// Commit; answered by [`Event::Committed`]. One at a time.
    Commit(Commit),
    /// Hand over ([`Event::Revoked`]), leave, and end ([`Event::Closed`]).
    Close,
}

/// The writer's side of a hand-over; dropping it lets the partitions go.
#[derive(Debug)]
pub struct Handover {
    ask: mpsc::Sender<Commit>,
    answer: mpsc::Receiver<Result<(), KafkaFault>>,
}

impl Handover {
    /// Commits, and waits for the answer.
    pub fn commit(&self, commit: Commit) -> Result<(), KafkaFault> {
        let gone = || KafkaFault::passing(Reason::NotAssigned, "the partitions went before the commit was made");
        self.ask.send(commit).map_err(|_| gone())?;
        self.answer.recv_timeout(COMMIT_TIME).map_err(|_| gone())?
    }
}

/// Which records to read, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The topics.
    pub topics: Vec<String>,
    /// The group.
    pub group: String,
    /// This worker's lasting identity in the group: a restart within the session timeout gets its partitions back
    /// without a rebalance.
    pub instance: String,
    /// Where to begin without a committed offset.
    pub start_from: StartFrom,
    /// What to do when the committed offset is gone.
    pub on_offset_lost: OnOffsetLost,
    /// Read only when all partitions of all topics are assigned to this worker.
    pub whole: bool,
    /// Bytes of records that may wait for the writer.
    pub memory: usize,
}

/// The consumer's thread, as the writer sees it.
pub struct Consumer {
    commands: mpsc::Sender<Command>,
    tenure: Tenure,
    thread: JoinHandle<()>,
}

impl Consumer {
    /// Starts reading. `config` is the connection's ([`super::client::client_config`]); `send` takes the events and is
    /// called on the consumer's thread; it says false when nobody listens any more, and the consumer then closes.
    pub fn start(
        mut config: ClientConfig,
        context: Context,
        settings: Settings,
        send: impl Fn(Event) -> bool + Send + Sync + 'static,
    ) -> Result<Self, KafkaFault> {
        let ours = [
            ("group.id", settings.group.as_str()),
            ("group.instance.id", settings.instance.as_str()),
            // Eager strategies, so that members that know no other (kafka-python) can be in the group meanwhile.
            ("partition.assignment.strategy", "range,roundrobin"),
            ("session.timeout.ms", &SESSION_TIMEOUT.as_millis().to_string()),
            ("heartbeat.interval.ms", &HEARTBEAT.as_millis().to_string()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            // A record goes out as it comes: the broker answers a fetch as soon as there is a byte.
            ("fetch.min.bytes", "1"),
            ("fetch.wait.max.ms", "500"),
            // The default of a second caps a backlog's throughput once the queue has been full.
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.error.backoff.ms", "200"),
            ("queued.min.messages", "1000"),
            ("queued.max.messages.kbytes", PREFETCH_KB),
            ("fetch.message.max.bytes", "1048576"),
            // A broker sends a first batch that is larger than these two all the same, so that 100 MB records pass.
            ("fetch.max.bytes", "4194304"),
            ("receive.message.max.bytes", "268435456"),
            // A topic that comes later, or gets more partitions, is noticed within seconds.
            ("topic.metadata.refresh.interval.ms", "5000"),
        ];
        for (key, value) in ours {
            config.set(key, value);
        }
        let tenure = Tenure::default();
        let (commands, inbox) = mpsc::channel();
        let subject = context.subject().group(&settings.group).topic(&settings.topics.join(", "));
        let polled = Polled {
            config,
            context: context.about(subject),
            settings,
            tenure: tenure.clone(),
            send: Arc::new(send),
            inbox,
        };
        // The first consumer is made here, so that a wrong setting is the caller's error.
        let first = polled.open()?;
        let thread = thread::Builder::new()
            .name("consumer".into())
            .spawn(move || polled.run(first))
            .map_err(|e| KafkaFault::passing(Reason::InternalError, format!("cannot start a thread: {e}")))?;
        Ok(Consumer { commands, tenure, thread })
    }

    /// Sends a command; without effect when the consumer has ended.
    pub fn command(&self, command: Command) {
        // Its end was told as an event.
        let _ = self.commands.send(command);
    }

    /// The right to write, for leases.
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// Lets the thread end, without a hand-over if it was not closed before, and waits for so long at most. True when it
    /// has ended.
    pub fn join(self, within: Duration) -> bool {
        let Consumer { commands, thread, .. } = self;
        drop(commands);
        let deadline = Instant::now() + within;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        thread.is_finished()
    }
}

type Listener = Arc<dyn Fn(Event) -> bool + Send + Sync>;

/// Everything that the polling thread owns beside the consumer.
struct Polled {
    config: ClientConfig,
    context: Context,
    settings: Settings,
    tenure: Tenure,
    send: Listener,
    inbox: mpsc::Receiver<Command>,
}

/// Why the polling of one consumer ended.
enum End {
    /// Asked to.
    Closed,
    /// It slept past its session: join anew.
    Slept(Duration),
    /// It cannot go on.
    Failed(KafkaFault),
}

impl Polled {
    fn open(&self) -> Result<BaseConsumer<GroupContext>, KafkaFault> {
        let group =
            GroupContext::new(self.context.clone(), self.settings.clone(), self.tenure.clone(), self.send.clone());
        let fault = |e: &KafkaError| self.context.subject().fault(e);
        let consumer: BaseConsumer<GroupContext> =
            self.config.create_with_context(group).map_err(|e: KafkaError| fault(&e))?;
        let topics: Vec<&str> = self.settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|e| fault(&e))?;
        Ok(consumer)
    }

    fn run(self, mut consumer: BaseConsumer<GroupContext>) {
        loop {
            let end = self.poll(&consumer);
            // Dropping a consumer revokes its partitions; they have been handed over by now, or are lost.
            consumer.context().leave();
            drop(consumer);
            let fault = match end {
                End::Closed => break,
                End::Failed(fault) => fault,
                End::Slept(gap) => {
                    let message = format!(
                        "this worker was stopped for {:.1} s, longer than its place in the group lasts; it joins anew",
                        gap.as_secs_f64()
                    );
                    (self.send)(Event::Fault { fault: KafkaFault::passing(Reason::NotAssigned, message), last: false });
                    match self.open() {
                        Ok(next) => {
                            consumer = next;
                            continue;
                        }
                        Err(fault) => fault,
                    }
                }
            };
            (self.send)(Event::Fault { fault, last: true });
            break;
        }
        (self.send)(Event::Closed);
    }

    fn poll(&self, consumer: &BaseConsumer<GroupContext>) -> End {
        let group = consumer.context().clone();
        let mut clock = PollClock::new(self.tenure.clone(), SESSION_TIMEOUT - HEARTBEAT, boot_time_ms());
        let mut commits = Commits::new(consumer);
        let mut watermarks = Instant::now();
        loop {
            if group.took_its_time() {
                clock.restart(boot_time_ms());
            }
            if let Err(gap) = clock.tick(boot_time_ms()) {
                self.tenure.end();
                (self.send)(Event::Lost);
                return End::Slept(gap);
            }
            match self.inbox.try_recv() {
                Ok(Command::Commit(commit)) => self.commit(&mut commits, commit),
                Ok(Command::Close) => {
                    group.hand_over(consumer);
                    return End::Closed;
                }
                Err(mpsc::TryRecvError::Empty) => {}
                // The writer has failed: it will commit nothing more.
                Err(mpsc::TryRecvError::Disconnected) => {
                    self.tenure.end();
                    return End::Closed;
                }
            }
            let listening = match consumer.poll(POLL) {
                None => true,
                Some(Ok(message)) => self.pass_on(consumer, &message),
                Some(Err(KafkaError::PartitionEOF(partition))) => group.ended(consumer, partition),
                Some(Err(error)) => match self.judge(&group, &error) {
                    Some(end) => return end,
                    None => true,
                },
            };
            if let Some(fault) = group.take_failure() {
                return End::Failed(fault);
            }
            self.tell_answers(&mut commits);
            group.resume_with_room(consumer);
            if watermarks.elapsed() >= WATERMARK_INTERVAL {
                watermarks = Instant::now();
                group.tell_watermarks(consumer);
            }
            if !listening {
                self.tenure.end();
                return End::Closed;
            }
        }
    }

    /// What an error from the poll means: the end, or something that passes by itself.
    fn judge(&self, group: &GroupContext, error: &KafkaError) -> Option<End> {
        let detail = group.take_reason();
        let subject = self.context.subject();
        let code = error.rdkafka_error_code()?;
        let fault = match code {
            Code::FencedInstanceId => KafkaFault::passing(
                Reason::NotAssigned,
                format!(
                    "another worker with the same identity `{}` has joined group {}; run each resource once",
                    self.settings.instance, self.settings.group
                ),
            ),
            Code::AutoOffsetReset | Code::OffsetOutOfRange => KafkaFault::passing(
                Reason::OffsetLost,
                format!(
                    "topic {}: records were deleted before they were read{}; make its retention longer than this sink \
                     is away or behind",
                    self.settings.topics.join(", "),
                    if detail.is_empty() { String::new() } else { format!(" ({detail})") },
                ),
            ),
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => KafkaFault::passing(
                Reason::TopicMissing,
                format!(
                    "there is no topic {} at KafkaConnection {subject}: make it, or start the camera that fills it; this \
                     sink begins when it is there",
                    self.settings.topics.join(" or "),
                ),
            ),
            code => subject.code(code, &detail),
        };
        let is_end = matches!(error, KafkaError::MessageConsumptionFatal(_))
            || matches!(code, Code::FencedInstanceId | Code::AutoOffsetReset | Code::OffsetOutOfRange);
        if is_end {
            self.tenure.end();
            (self.send)(Event::Lost);
            return Some(End::Failed(fault));
        }
        (self.send)(Event::Fault { fault, last: false });
        None
    }

    /// Sends a record on. A used-up share holds up the polling for a moment, then its partition is paused.
    fn pass_on(&self, consumer: &BaseConsumer<GroupContext>, message: &BorrowedMessage<'_>) -> bool {
        let group = consumer.context();
        let size = message.payload_len() + message.key_len();
        let Some(taken) = group.take(message.topic(), message.partition(), message.offset(), size) else {
            return true; // of an assignment that is over, or sent before
        };
        let headers = message.headers().map(|headers| {
            headers.iter().map(|h| (h.key.to_owned(), h.value.map(Bytes::copy_from_slice))).collect::<Vec<_>>()
        });
        let record = Record {
            generation: taken.generation,
            source: taken.source.clone(),
            offset: message.offset(),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers: headers.unwrap_or_default(),
            timestamp_ms: message.timestamp().to_millis(),
            charge: taken.charge,
        };
        let listening = (self.send)(Event::Record(record));
        if self.settings.whole {
            group.tell_end_after(consumer, &taken.source);
        }
        let deadline = Instant::now() + PATIENCE;
        while taken.share.is_used_up(taken.held.bytes()) {
            if Instant::now() >= deadline {
                group.pause(consumer, &taken.source);
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        listening
    }

    /// Commits without waiting; the answer comes through [`Self::tell_answers`].
    fn commit(&self, commits: &mut Commits<'_, GroupContext, u64>, commit: Commit) {
        let generation = commit.generation;
        let result = if self.tenure.is_current(generation) {
            offsets_list(&commit).and_then(|list| {
                let sent = commits.send(&list, generation);
                sent.map_err(KafkaError::ConsumerCommit)
            })
        } else {
            Err(KafkaError::ConsumerCommit(Code::IllegalGeneration))
        };
        if let Err(e) = result {
            let result = Err(self.context.subject().fault(&e));
            (self.send)(Event::Committed { generation, result });
        }
    }

    fn tell_answers(&self, commits: &mut Commits<'_, GroupContext, u64>) {
        while let Some((generation, result)) = commits.answer() {
            let result = result.map_err(|code| self.context.subject().fault(&KafkaError::ConsumerCommit(code)));
            (self.send)(Event::Committed { generation, result });
        }
    }
}

/// librdkafka's form of a commit.
fn offsets_list(commit: &Commit) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(commit.offsets.len());
    for (source, next) in &commit.offsets {
        let mut element = list.add_partition(&source.topic, source.partition);
        element.set_offset(Offset::Offset(*next))?;
        element.set_metadata(&commit.metadata);
    }
    Ok(list)
}
