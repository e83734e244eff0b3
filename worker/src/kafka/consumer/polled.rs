//! The thread that owns the consumer: polls, passes records on, sends commits and tells their answers.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edgereel_crds::status::Reason;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    error::RDKafkaErrorCode as Code,
    message::BorrowedMessage,
};

use super::{
    Listener, Settings,
    configure::{HEARTBEAT, SESSION_TIMEOUT},
    messages::{Command, Commit, Event, Record},
    native::Commits,
    rebalance::GroupContext,
    tenure::{PollClock, Tenure, boot_time_ms},
};
use crate::kafka::{
    client::{Context, KafkaFault},
    headers,
};

/// How long a poll waits for a record: also how late a command may be.
const POLL: Duration = Duration::from_millis(20);
/// How long a used-up share may hold up the polling before its partition is paused. A pause throws away what was
/// fetched ahead, so a writer that is only a little slower than the network is not paused at all.
const PATIENCE: Duration = Duration::from_millis(50);
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that the polling thread owns beside the consumer.
pub struct Polled {
    /// The connection's settings and the group's.
    pub config: ClientConfig,
    /// The client's context.
    pub context: Context,
    /// What to read.
    pub settings: Settings,
    /// The right to write, which this thread gives and takes.
    pub tenure: Tenure,
    /// Takes the events.
    pub send: Listener,
    /// Gives the commands.
    pub inbox: mpsc::Receiver<Command>,
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
    /// A consumer that has asked for its topics.
    pub fn open(&self) -> Result<BaseConsumer<GroupContext>, KafkaFault> {
        let group =
            GroupContext::new(self.context.clone(), self.settings.clone(), self.tenure.clone(), self.send.clone());
        let fault = |e: &KafkaError| self.context.subject().fault(e);
        let consumer: BaseConsumer<GroupContext> =
            self.config.create_with_context(group).map_err(|e: KafkaError| fault(&e))?;
        let topics: Vec<&str> = self.settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|e| fault(&e))?;
        Ok(consumer)
    }

    /// Polls until the end; joins anew as often as it takes.
    pub fn run(self, mut consumer: BaseConsumer<GroupContext>) {
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
        let record = Record {
            generation: taken.generation,
            source: taken.source.clone(),
            offset: message.offset(),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers: headers::read(message),
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
pub fn offsets_list(commit: &Commit) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(commit.offsets.len());
    for (source, next) in &commit.offsets {
        let mut element = list.add_partition(&source.topic, source.partition);
        element.set_offset(Offset::Offset(*next))?;
        element.set_metadata(&commit.metadata);
    }
    Ok(list)
}
