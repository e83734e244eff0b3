//! The thread that owns the consumer: takes events as they come, and is always in one of a few stages.
//!
//! *Joining* waits for the group. *Taking up* asks the brokers where the partitions that it gave stand. *Reading* passes
//! records on. *Handing over* waits for the writer to flush and commit. Each has an end of its own: nothing waits for an
//! event that may not come.
//!
//! Here are the thread, the stages and the loop; what is done in them stands in [`joining`], [`reading`] and [`giving_back`].

mod giving_back;
mod joining;
mod reading;

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use edgereel_crds::status::Reason;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};

use self::joining::Unanswered;
use super::{
    Listener, Settings,
    configure::{HEARTBEAT, SESSION_TIMEOUT},
    context::GroupContext,
    ends::Ends,
    given::Given,
    messages::{Command, Event, TopicPartition},
    native::{EventQueue, Happened, Waker},
    partitions::Partitions,
    taking_up::TakingUp,
    tenure::{PollClock, Tenure, boot_time_ms},
};
use crate::client::{Context, KafkaFault, Subject};

/// How long a poll waits when nothing is due: commands, events and a writer that has made room end it at once.
const IDLE: Duration = Duration::from_secs(1);

/// How long a client may wait for the group to give something, before another client asks in its place: longer than the group
/// takes for anything. After an outage librdkafka may wait for an answer that was lost, up to `max.poll.interval.ms`, or for a
/// connection to the coordinator that it does not make. Twice as long each time, up to the longest.
const JOIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

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
    /// The group gives nothing: join anew, and do not wait for this client, which may be stuck.
    Stuck(KafkaFault),
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
    /// The group has asked for these partitions: let them go.
    LetGo(Vec<TopicPartition>),
    /// The group has given others beside: take up all of them.
    TakeUp(Vec<TopicPartition>),
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
        let (mut number, mut stuck) = (0, 0);
        loop {
            let end = Poll::new(&self, &consumer, &mut number, &mut stuck).run();
            // Dropping a consumer lets its partitions go; they have been handed over by now, or are lost.
            match end {
                End::Stuck(_) => leave_behind(consumer),
                _ => drop(consumer),
            }
            let fault = match end {
                End::Closed => break,
                End::Failed(fault) => fault,
                End::Anew(fault) | End::Stuck(fault) => {
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

/// Ends a consumer that may not end: on a thread of its own, which nobody waits for.
fn leave_behind(consumer: BaseConsumer<GroupContext>) {
    let spawned = thread::Builder::new().name("kafka-left".into()).spawn(move || drop(consumer));
    if let Err(e) = spawned {
        tracing::warn!("no thread to end a Kafka client on: {e}");
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
    given: Given,
    /// The last number given to a commit's or a question's answer.
    number: &'a mut u64,
    /// How often in a row the group gave what cannot be read.
    rejoins: u32,
    /// Since when the group has given nothing, and how many clients in a row it has given nothing to.
    joining: Option<Instant>,
    stuck: &'a mut u32,
    /// When it was last looked whether there is nothing for this member.
    looked: Instant,
    /// There is nothing to give yet.
    topics_missing: bool,
    /// The question which topics are there, asked because one is not.
    missing: Option<u64>,
    unanswered: Unanswered,
    listening: bool,
    end: Option<End>,
}

impl<'a> Poll<'a> {
    fn new(
        polled: &'a Polled,
        consumer: &'a BaseConsumer<GroupContext>,
        number: &'a mut u64,
        stuck: &'a mut u32,
    ) -> Self {
        let queue = EventQueue::new(consumer, &polled.waker);
        Poll {
            polled,
            consumer,
            queue,
            stage: Stage::Joining,
            given: Given::new(polled.settings.protocol),
            number,
            rejoins: 0,
            joining: None,
            stuck,
            looked: Instant::now(),
            topics_missing: false,
            missing: None,
            unanswered: Unanswered::default(),
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
        if self.unanswered.too_long(now) {
            self.give_up();
        }
        match &mut self.stage {
            Stage::Joining => return self.join(now),
            Stage::TakingUp(taking) if taking.given.is_empty() && self.given.by_and_by() => {
                // Whether there is nothing for this member is found out while it waits for the group.
                self.ask(now);
                return self.join(now);
            }
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
        self.joining = None;
    }

    fn on(&mut self, happened: Happened) {
        match happened {
            Happened::Record(record) => self.pass_on(&record),
            Happened::End(source, end) => {
                if let Stage::Reading(Some(partitions), _) = &mut self.stage {
                    let generation = partitions.generation;
                    if let Some(found) = partitions.find(&source.topic, source.partition) {
                        found.reach(end);
                        let read = found.read_to();
                        self.send(Event::EndOfPartition { generation, source, read, as_of: Instant::now() });
                    }
                }
            }
            Happened::PartitionFailed(source, code, words) => self.on_partition_failed(&source, code, &words),
            Happened::Given(given) => {
                let all = self.given.give(given.into_iter().map(|element| element.source).collect());
                self.hand_over(Then::TakeUp(all));
            }
            Happened::Taken(taken) => {
                let taken = taken.into_iter().map(|element| element.source).collect();
                if self.consumer.assignment_lost() {
                    self.lose();
                    self.lose_all();
                } else {
                    self.hand_over(Then::LetGo(taken));
                }
            }
            Happened::TopicChanged(topic, id) => self.on_topic_changed(&topic, &id),
            Happened::Failed(code, words, fatal) => self.on_failed(code, &words, fatal),
            Happened::Committed(id, result) => {
                let result = result.map_err(|code| self.subject().fault(&KafkaError::ConsumerCommit(code)));
                self.send(Event::Committed { id, result });
            }
            Happened::Answered(number, answer) => self.on_answer(number, &answer),
        }
    }
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
