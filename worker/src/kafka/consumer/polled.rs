//! The thread that owns the consumer: takes events as they come, and is always in one of a few stages.
//!
//! *Joining* waits for the group. *Taking up* asks the brokers where the partitions that it gave stand. *Reading* passes
//! records on. *Handing over* waits for the writer to flush and commit. Each has an end of its own: nothing waits for an
//! event that may not come.

use std::{
    sync::{PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edgereel_crds::status::Reason;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{
    HANDOVER_TIME, Listener, Settings,
    configure::{HEARTBEAT, SESSION_TIMEOUT},
    context::GroupContext,
    ends::Ends,
    messages::{Command, Commit, Event, Record, TopicPartition},
    native::{EventQueue, Happened, NativeAnswer, NativeRecord, Waker, cached_high},
    partitions::Partitions,
    questions::{self, Wanted},
    taking_up::{Answer, Decision, Question, TakingUp, start_time},
    tenure::{PollClock, Tenure, boot_time_ms},
};
use crate::kafka::client::{Context, KafkaFault, Subject};

/// How long a poll waits when nothing is due: commands and events end it at once.
const IDLE: Duration = Duration::from_secs(1);
/// The same while a partition is paused: nobody tells when the writer has made room.
const PAUSED: Duration = Duration::from_millis(20);
/// How long a used-up share may hold up the polling before its partition is paused. A pause throws away what was
/// fetched ahead, so a writer that is only a little slower than the network is not paused at all.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long the brokers may take for one answer.
const ANSWER: Duration = Duration::from_secs(15);
/// So often in a row the group is asked for another assignment before that is a fault.
const REJOINS: u32 = 4;

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
    /// Ends a poll when a command was given.
    pub waker: Waker,
}

/// Why the polling of one consumer ended.
enum End {
    /// Asked to.
    Closed,
    /// What is known of the group or its topics is over: join anew.
    Anew(KafkaFault),
    /// It cannot go on.
    Failed(KafkaFault),
}

enum Stage {
    Joining,
    TakingUp(TakingUp),
    /// Empty where the group gave nothing.
    Reading(Option<Partitions>, Ends),
    HandingOver {
        partitions: Partitions,
        deadline: Instant,
        then: Then,
    },
}

/// What follows a hand-over.
enum Then {
    /// The group has asked for the partitions: let them go.
    LetGo,
    Leave,
    Anew(KafkaFault),
}

impl Polled {
    /// A consumer that has asked for its topics.
    pub fn open(&self) -> Result<BaseConsumer<GroupContext>, KafkaFault> {
        let fault = |e: &KafkaError| self.context.subject().fault(e);
        let consumer: BaseConsumer<GroupContext> =
            self.config.create_with_context(GroupContext(self.context.clone())).map_err(|e: KafkaError| fault(&e))?;
        self.subscribe(&consumer)?;
        Ok(consumer)
    }

    fn subscribe(&self, consumer: &BaseConsumer<GroupContext>) -> Result<(), KafkaFault> {
        let topics: Vec<&str> = self.settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|e| self.context.subject().fault(&e))
    }

    /// Polls until the end; joins anew as often as it takes.
    pub fn run(self, mut consumer: BaseConsumer<GroupContext>) {
        // Whatever ends this thread, the writer hears of it.
        let farewell = Farewell(self.send.clone());
        let mut number = 0;
        loop {
            let end = Poll::new(&self, &consumer, &mut number).run();
            // Dropping a consumer lets its partitions go; they have been handed over by now, or are lost.
            drop(consumer);
            let fault = match end {
                End::Closed => break,
                End::Failed(fault) => fault,
                End::Anew(fault) => {
                    (self.send)(Event::Fault { fault, last: false });
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
        drop(farewell);
    }
}

/// Says that the thread ends, even where it panics.
struct Farewell(Listener);

impl Drop for Farewell {
    fn drop(&mut self) {
        if thread::panicking() {
            let message = "a fault of ours: the Kafka client's thread panicked (the log has its words)";
            (self.0)(Event::Fault { fault: KafkaFault::passing(Reason::InternalError, message), last: true });
        }
        (self.0)(Event::Closed);
    }
}

/// One consumer's life.
struct Poll<'a> {
    polled: &'a Polled,
    consumer: &'a BaseConsumer<GroupContext>,
    queue: EventQueue<'a>,
    stage: Stage,
    /// The last number given to a commit's or a question's answer.
    number: &'a mut u64,
    /// How often in a row the group gave what cannot be read.
    rejoins: u32,
    /// The question which topics are there, asked because one is not.
    missing: Option<u64>,
    listening: bool,
    end: Option<End>,
}

impl<'a> Poll<'a> {
    fn new(polled: &'a Polled, consumer: &'a BaseConsumer<GroupContext>, number: &'a mut u64) -> Self {
        let queue = EventQueue::new(consumer, &polled.waker);
        Poll {
            polled,
            consumer,
            queue,
            stage: Stage::Joining,
            number,
            rejoins: 0,
            missing: None,
            listening: true,
            end: None,
        }
    }

    fn subject(&self) -> &Subject {
        self.polled.context.subject()
    }

    fn send(&mut self, event: Event) {
        self.listening &= (self.polled.send)(event);
    }

    fn run(mut self) -> End {
        let mut clock = PollClock::new(self.polled.tenure.clone(), SESSION_TIMEOUT - HEARTBEAT, boot_time_ms());
        loop {
            if let Err(gap) = clock.tick(boot_time_ms()) {
                self.lose();
                let message = format!(
                    "this worker was stopped for {:.1} s, longer than its place in the group lasts; it joins anew",
                    gap.as_secs_f64()
                );
                return End::Anew(KafkaFault::passing(Reason::NotAssigned, message));
            }
            self.obey();
            self.look(Instant::now());
            if !self.listening {
                self.polled.tenure.end();
                return End::Closed;
            }
            if let Some(end) = self.end.take() {
                return end;
            }
            let timeout = self.patience(Instant::now());
            if let Some(happened) = self.queue.poll(timeout) {
                self.on(happened);
            }
        }
    }

    /// How long the next poll may wait.
    fn patience(&self, now: Instant) -> Duration {
        let until = |due: Instant| due.saturating_duration_since(now).min(IDLE);
        match &self.stage {
            Stage::Reading(Some(partitions), _) if partitions.has_paused() => PAUSED,
            Stage::Reading(Some(_), ends) => until(ends.due()),
            Stage::TakingUp(taking) => taking.again().map_or(IDLE, until),
            Stage::HandingOver { deadline, .. } => until(*deadline),
            Stage::Joining | Stage::Reading(None, _) => IDLE,
        }
    }

    /// Takes the commands.
    fn obey(&mut self) {
        loop {
            match self.polled.inbox.try_recv() {
                Ok(Command::Commit(commit)) => self.commit(&commit),
                Ok(Command::HandedOver { generation }) => {
                    if matches!(&self.stage, Stage::HandingOver { partitions, .. } if partitions.generation == generation)
                    {
                        self.handed_over();
                    }
                }
                Ok(Command::Close) => self.hand_over(Then::Leave),
                Err(mpsc::TryRecvError::Empty) => return,
                // The writer has failed: it will commit nothing more.
                Err(mpsc::TryRecvError::Disconnected) => {
                    self.listening = false;
                    return;
                }
            }
        }
    }

    /// What the time brings.
    fn look(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Joining => {}
            Stage::TakingUp(taking) => match taking.overdue(now) {
                Some(fault) => self.fail(fault),
                None => self.ask(now),
            },
            Stage::Reading(None, _) => {}
            Stage::Reading(Some(partitions), ends) => {
                partitions.resume_with_room(self.consumer);
                ends.ask(&self.queue, partitions, &self.polled.settings.topics, self.number, now);
                let (generation, news) = (partitions.generation, partitions.news(now));
                for (source, fault) in news {
                    self.send(Event::Partition { generation, source, fault });
                }
            }
            Stage::HandingOver { deadline, .. } if now >= *deadline => {
                tracing::warn!(
                    group = self.polled.settings.group,
                    "the writer did not finish in time; the next owner writes again what is not committed"
                );
                self.handed_over();
            }
            Stage::HandingOver { .. } => {}
        }
    }

    fn on(&mut self, happened: Happened) {
        match happened {
            Happened::Record(record) => self.pass_on(&record),
            Happened::End(source, end) => {
                if let Stage::Reading(Some(partitions), _) = &mut self.stage {
                    let generation = partitions.generation;
                    if let Some(found) = partitions.find(&source.topic, source.partition) {
                        found.reach(end);
                        self.send(Event::EndOfPartition { generation, source, end, as_of: Instant::now() });
                    }
                }
            }
            Happened::PartitionFailed(source, code, words) => self.on_partition_failed(&source, code, &words),
            Happened::Given(given) => {
                let given: Vec<_> = given.into_iter().map(|element| element.source).collect();
                self.send(Event::TakingUp { partitions: given.len() });
                self.stage = Stage::TakingUp(TakingUp::new(given, Instant::now()));
            }
            Happened::Taken => {
                if self.consumer.assignment_lost() {
                    self.lose();
                    self.unassign();
                } else {
                    self.hand_over(Then::LetGo);
                }
            }
            Happened::Failed(code, words, fatal) => self.on_failed(code, &words, fatal),
            Happened::Committed(id, result) => {
                let result = result.map_err(|code| self.subject().fault(&KafkaError::ConsumerCommit(code)));
                self.send(Event::Committed { id, result });
            }
            Happened::Answered(number, answer) => self.on_answer(number, &answer),
        }
    }

    // --- joining and taking up -------------------------------------------------------------------------------------------

    fn ask(&mut self, now: Instant) {
        let Stage::TakingUp(taking) = &mut self.stage else { return };
        let settings = &self.polled.settings;
        let time = match start_time(settings) {
            Ok(time) => time.unwrap_or_default(),
            Err(fault) => return self.fail(fault),
        };
        let asked = taking.ask(settings, now, || {
            *self.number += 1;
            *self.number
        });
        let given = taking.given.clone();
        for (number, question) in asked {
            match question {
                Question::Topics => self.queue.ask_topics(&settings.topics, number, ANSWER),
                Question::Committed => self.queue.ask_committed(&settings.group, number, ANSWER),
                Question::Low => self.queue.ask_offsets(&given, Wanted::First, number, ANSWER),
                Question::High => self.queue.ask_offsets(&given, Wanted::End, number, ANSWER),
                Question::AtTime => self.queue.ask_offsets(&given, Wanted::At(time), number, ANSWER),
                Question::Members => self.queue.ask_members(&settings.group, number, ANSWER),
            }
        }
    }

    fn on_answer(&mut self, number: u64, answer: &NativeAnswer) {
        let now = Instant::now();
        if self.missing.take_if(|asked| *asked == number).is_some() {
            let missing = questions::topics(answer).map(|topics| questions::missing(&topics)).unwrap_or_default();
            return self.send(Event::Missing(missing));
        }
        match &mut self.stage {
            Stage::TakingUp(taking) => {
                let Some(question) = taking.question(number) else { return };
                let answer = match question {
                    Question::Topics => questions::topics(answer).map(Answer::Topics),
                    Question::Committed => questions::committed(answer).map(Answer::Offsets),
                    Question::Low | Question::High | Question::AtTime => {
                        questions::offsets(answer).map(Answer::Offsets)
                    }
                    Question::Members => questions::members(answer).map(Answer::Members),
                };
                if let Err(fault) = taking.take(question, answer, self.polled.context.subject(), now) {
                    return self.fail(fault);
                }
                if let Some(fault) = taking.trouble().cloned() {
                    self.send(Event::Fault { fault, last: false });
                }
                self.decide();
            }
            Stage::Reading(Some(partitions), ends) => {
                let told = ends.answer(number, answer, partitions, now);
                if let Some(fault) = told.made_anew {
                    return self.hand_over(Then::Anew(fault));
                }
                let generation = partitions.generation;
                for (source, end) in told.reached {
                    self.send(Event::EndOfPartition { generation, source, end, as_of: told.as_of });
                }
                if !told.ends.is_empty() {
                    self.send(Event::Ends { generation, ends: told.ends });
                }
            }
            _ => {}
        }
    }

    /// Takes up what was given, once all is known.
    fn decide(&mut self) {
        let Stage::TakingUp(taking) = &self.stage else { return };
        let settings = &self.polled.settings;
        let earlier = settings.earlier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match taking.decide(settings, &earlier) {
            Ok(None) => {}
            Err(fault) => self.fail(fault),
            Ok(Some(Decision::Rejoin(why))) => self.rejoin(&why),
            Ok(Some(Decision::TakeUp(begun, total))) => {
                self.rejoins = 0;
                let missing = taking.missing();
                if !missing.is_empty() {
                    self.send(Event::Missing(missing));
                }
                let mut list = TopicPartitionList::with_capacity(begun.len());
                for partition in &begun {
                    let source = &partition.assigned.source;
                    let start = Offset::Offset(partition.start);
                    if let Err(e) = list.add_partition_offset(&source.topic, source.partition, start) {
                        return self.fail(self.subject().fault(&e));
                    }
                }
                let generation = self.polled.tenure.begin();
                let partitions = Partitions::new(generation, &begun, self.polled.settings.memory);
                let ours = (!begun.is_empty()).then_some(partitions);
                self.stage = Stage::Reading(ours, Ends::new(Instant::now()));
                self.send(Event::Assigned { generation, partitions: begun, total });
                if let Err(e) = self.consumer.assign(&list) {
                    return self.fail(self.subject().fault(&e));
                }
                // Whatever was paused in an earlier assignment.
                let _ = self.consumer.resume(&list);
            }
        }
    }

    /// The group gave what belongs to an earlier subscription: a static member that comes back within its session gets its
    /// old partitions, whatever it asks for now (apache/kafka#22593). Asking again makes the group assign anew.
    fn rejoin(&mut self, why: &str) {
        self.rejoins += 1;
        let group = &self.polled.settings.group;
        if self.rejoins > REJOINS {
            let message = format!(
                "group {group} keeps giving an assignment that is out of date: {why}; kafka-consumer-groups.sh --describe \
                 --members --group {group} lists its members"
            );
            return self.fail(KafkaFault::passing(Reason::NotAssigned, message));
        }
        tracing::info!(group, "asking the group for another assignment: {why}");
        self.stage = Stage::Joining;
        // The group's turn has to be over first: until something is assigned, a subscription is put off.
        if let Err(e) = self.consumer.assign(&TopicPartitionList::new()) {
            return self.fail(self.subject().fault(&e));
        }
        if let Err(fault) = self.polled.subscribe(self.consumer) {
            self.fail(fault);
        }
    }

    // --- reading ---------------------------------------------------------------------------------------------------------

    /// Sends a record on. A used-up share holds up the polling for a moment, then its partition is paused.
    fn pass_on(&mut self, record: &NativeRecord) {
        let Stage::Reading(Some(partitions), _) = &mut self.stage else { return };
        let headers = record.headers();
        let size = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let of_headers: usize = headers.iter().map(|(name, value)| name.len() + size(value.as_deref())).sum();
        let bytes = size(record.value()) + size(record.key()) + of_headers;
        let generation = partitions.generation;
        let Some((source, charge)) = partitions.take(record.topic(), record.partition(), record.offset(), bytes) else {
            return; // of an assignment that is over, or sent before
        };
        self.send(Event::Record(Record {
            generation,
            source: source.clone(),
            offset: record.offset(),
            key: record.key().map(Bytes::copy_from_slice),
            value: record.value().map(Bytes::copy_from_slice),
            headers,
            timestamp_ms: record.timestamp_ms(),
            charge,
        }));
        // What a fetch found the partition to end with: sooner known than by librdkafka's next fetch.
        let next = record.offset() + 1;
        if self.polled.settings.whole && cached_high(self.consumer, &source).is_some_and(|high| next >= high) {
            self.send(Event::EndOfPartition { generation, source: source.clone(), end: next, as_of: Instant::now() });
        }
        let Stage::Reading(Some(partitions), _) = &mut self.stage else { return };
        let deadline = Instant::now() + PATIENCE;
        while partitions.is_full(&source) {
            if Instant::now() >= deadline {
                partitions.pause(self.consumer, &source);
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn on_partition_failed(&mut self, source: &TopicPartition, code: Code, words: &str) {
        let Stage::Reading(Some(partitions), _) = &mut self.stage else { return };
        let Some(found) = partitions.find(&source.topic, source.partition) else { return };
        if matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange) {
            // What was written is flushed and committed; where reading goes on is decided when it is taken up again.
            let message = format!(
                "{source}: records were deleted before they were read ({words}); make the topic's retention longer than \
                 this sink is away or behind"
            );
            return self.hand_over(Then::Anew(KafkaFault::passing(Reason::OffsetLost, message)));
        }
        let fault = self.polled.context.subject().topic(&source.topic).code(code, words);
        let message = format!("partition {} cannot be read: {}", source.partition, fault.message);
        found.fail(KafkaFault { message, ..fault }, Instant::now());
    }

    fn on_failed(&mut self, code: Code, words: &str, fatal: bool) {
        let (group, instance) = (&self.polled.settings.group, &self.polled.settings.instance);
        let fault = match code {
            Code::FencedInstanceId => KafkaFault::passing(
                Reason::NotAssigned,
                format!(
                    "another worker with the same identity `{instance}` has joined group {group}; run each resource once"
                ),
            ),
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => KafkaFault::passing(
                Reason::TopicMissing,
                format!(
                    "there is no topic {} at KafkaConnection {}: make it, or start the camera that fills it; this sink \
                     begins when it is there",
                    self.polled.settings.topics.join(" or "),
                    self.subject()
                ),
            ),
            // Of the connections: the health has it, and says so where it matters.
            Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => return,
            code => self.subject().code(code, words),
        };
        if fault.reason == Reason::TopicMissing && matches!(self.stage, Stage::Joining) {
            *self.number += 1;
            self.missing = Some(*self.number);
            self.queue.ask_topics(&self.polled.settings.topics, *self.number, ANSWER);
        }
        if fatal || code == Code::FencedInstanceId {
            self.lose();
            return self.fail(fault);
        }
        self.send(Event::Fault { fault, last: false });
    }

    /// Commits; the answer is an event.
    fn commit(&mut self, commit: &Commit) {
        let partitions = match &self.stage {
            Stage::Reading(Some(partitions), _) | Stage::HandingOver { partitions, .. } => Some(partitions),
            _ => None,
        };
        let mine = partitions
            .filter(|partitions| partitions.generation == commit.generation)
            .filter(|_| self.polled.tenure.is_current(commit.generation));
        let sent = match mine {
            Some(partitions) => offsets_list(commit, partitions)
                .and_then(|list| self.queue.commit(&list, commit.id).map_err(KafkaError::ConsumerCommit)),
            None => Err(KafkaError::ConsumerCommit(Code::IllegalGeneration)),
        };
        if let Err(e) = sent {
            let result = Err(self.subject().fault(&e));
            self.send(Event::Committed { id: commit.id, result });
        }
    }

    // --- giving back -----------------------------------------------------------------------------------------------------

    /// Lets the writer flush and commit, if there is something that it may have written.
    fn hand_over(&mut self, then: Then) {
        match std::mem::replace(&mut self.stage, Stage::Joining) {
            Stage::Reading(Some(partitions), _) => {
                let generation = partitions.generation;
                let deadline = Instant::now() + HANDOVER_TIME;
                self.stage = Stage::HandingOver { partitions, deadline, then };
                self.send(Event::Revoked { generation });
            }
            // Whoever asked first gets it; but a stop is a stop.
            Stage::HandingOver { partitions, deadline, then: first } => {
                let then = if matches!(then, Then::Leave) { then } else { first };
                self.stage = Stage::HandingOver { partitions, deadline, then };
            }
            Stage::Joining | Stage::TakingUp(_) | Stage::Reading(None, _) => self.go_on(then),
        }
    }

    /// The writer is done, or out of time.
    fn handed_over(&mut self) {
        self.polled.tenure.end();
        if let Stage::HandingOver { then, .. } = std::mem::replace(&mut self.stage, Stage::Joining) {
            self.go_on(then);
        }
    }

    fn go_on(&mut self, then: Then) {
        match then {
            Then::LetGo => {
                self.send(Event::Lost);
                self.unassign();
            }
            Then::Leave => self.end = Some(End::Closed),
            Then::Anew(fault) => {
                self.send(Event::Lost);
                self.end = Some(End::Anew(fault));
            }
        }
    }

    /// The partitions are gone: the writer may write no more.
    fn lose(&mut self) {
        self.polled.tenure.end();
        self.stage = Stage::Joining;
        self.send(Event::Lost);
    }

    fn unassign(&mut self) {
        self.stage = Stage::Joining;
        if let Err(e) = self.consumer.unassign() {
            self.fail(self.subject().fault(&e));
        }
    }

    fn fail(&mut self, fault: KafkaFault) {
        self.polled.tenure.end();
        self.end = Some(End::Failed(fault));
    }
}

/// librdkafka's form of a commit.
fn offsets_list(commit: &Commit, partitions: &Partitions) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(commit.offsets.len());
    for (source, next) in &commit.offsets {
        let mark = partitions.all.iter().find(|p| p.source == *source).map(|p| p.mark.clone()).unwrap_or_default();
        let mut element = list.add_partition(&source.topic, source.partition);
        element.set_offset(Offset::Offset(*next))?;
        element.set_metadata(mark.with(&commit.state));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn whatever_ends_the_thread_its_resource_hears_of_it() {
        let (sender, inbox) = mpsc::channel();
        let send: Listener = Arc::new(move |event| sender.send(event).is_ok());
        let thread = thread::spawn(move || {
            let _farewell = Farewell(send);
            panic!("as from a binding that cannot read a name");
        });
        assert!(thread.join().is_err());
        let Ok(Event::Fault { fault, last: true }) = inbox.recv() else { panic!("a fault") };
        assert_eq!(fault.reason, Reason::InternalError);
        assert!(matches!(inbox.recv(), Ok(Event::Closed)));
        assert!(inbox.recv().is_err(), "nobody keeps the other end");
    }
}
