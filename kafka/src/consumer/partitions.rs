//! The partitions of an assignment, as the polling thread sees them: what was sent on, what is paused, what cannot be read.

use std::time::{Duration, Instant};

use edgereel_crds::status::Reason;
use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use super::{
    budget::{Charge, Held, Share},
    context::GroupContext,
    mark::{Mark, TopicId},
    messages::{Begun, ReadTo, TopicPartition},
    native::Waker,
};
use crate::client::KafkaFault;

/// A partition that could not be fetched is tried again several times in this; after it without a failure, it can be.
const FAILING: Duration = Duration::from_secs(5);

/// The partitions of one assignment.
pub struct Partitions {
    /// The assignment's number.
    pub generation: u64,
    /// The partitions.
    pub all: Vec<Partition>,
}

/// An assigned partition.
pub struct Partition {
    /// Which.
    pub source: TopicPartition,
    /// What is committed beside its offset.
    pub mark: Mark,
    /// Everything before this offset was sent on.
    pub next: i64,
    /// The offset after the last record that was sent on.
    sent: i64,
    held: Held,
    paused: bool,
    failed: Option<(KafkaFault, Instant)>,
    leaderless: Option<KafkaFault>,
    /// The fault that the writer was told of.
    told: Option<KafkaFault>,
}

impl Partitions {
    /// Each at its beginning; together they may hold `memory` bytes.
    /// `waker` is called when one has room again.
    pub fn new(generation: u64, begun: &[Begun], memory: usize, waker: &Waker) -> Self {
        let share = Share::of(memory, begun.len());
        let partition = |begun: &Begun| Partition {
            source: begun.assigned.source.clone(),
            mark: begun.mark.clone(),
            next: begun.start,
            sent: begun.start,
            held: Held::of(share, waker),
            paused: false,
            failed: None,
            leaderless: None,
            told: None,
        };
        Partitions { generation, all: begun.iter().map(partition).collect() }
    }

    /// Which they are.
    pub fn sources(&self) -> Vec<TopicPartition> {
        self.all.iter().map(|partition| partition.source.clone()).collect()
    }

    /// One of them.
    pub fn find(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.all.iter_mut().find(|p| p.source.partition == partition && *p.source.topic == *topic)
    }

    /// Notes a record as sent on. None when it is not of this assignment, or was sent before.
    pub fn take(&mut self, topic: &str, partition: i32, offset: i64, size: usize) -> Option<(TopicPartition, Charge)> {
        let found = self.find(topic, partition).filter(|found| offset >= found.next)?;
        found.next = offset + 1;
        found.sent = found.next;
        found.failed = None;
        Some((found.source.clone(), found.held.charge(size)))
    }

    /// Whether enough of this one waits.
    pub fn is_full(&mut self, source: &TopicPartition) -> bool {
        self.find(&source.topic, source.partition).is_some_and(|found| found.held.is_used_up())
    }

    /// Pauses one of them.
    pub fn pause(&mut self, consumer: &BaseConsumer<GroupContext>, source: &TopicPartition) {
        if let Some(found) = self.find(&source.topic, source.partition) {
            found.paused = consumer.pause(&found.list()).is_ok();
            found.held.await_room();
        }
    }

    /// Resumes the paused ones that have room again.
    pub fn resume_with_room(&mut self, consumer: &BaseConsumer<GroupContext>) {
        for partition in self.all.iter_mut().filter(|p| p.paused && p.held.has_room()) {
            partition.paused = consumer.resume(&partition.list()).is_err();
        }
    }

    /// Those whose fault is another than the writer was told; they count as told from here on.
    pub fn news(&mut self, now: Instant) -> Vec<(TopicPartition, Option<KafkaFault>)> {
        let mut news = Vec::new();
        for partition in &mut self.all {
            // A failure that is not repeated has passed, unless it is one that librdkafka tells only once.
            partition.failed.take_if(|(fault, at)| fault.retriable && now.duration_since(*at) > FAILING);
            let fault = partition.failed.as_ref().map(|(fault, _)| fault).or(partition.leaderless.as_ref());
            if fault != partition.told.as_ref() {
                partition.told = fault.cloned();
                news.push((partition.source.clone(), partition.told.clone()));
            }
        }
        news
    }
}

impl Partition {
    /// The fault if the topic's id is this one by now, and another was taken up.
    pub fn made_anew(&self, id: &TopicId) -> Option<KafkaFault> {
        let known = self.mark.id.as_ref().filter(|known| *known != id)?;
        let topic = &self.source.topic;
        let message = format!("topic {topic} was made anew while it was read (its id was {known}, and is {id})");
        Some(KafkaFault::passing(Reason::OffsetLost, message))
    }

    /// A fetch failed.
    pub fn fail(&mut self, fault: KafkaFault, now: Instant) {
        self.failed = Some((fault, now));
    }

    /// Whether a broker leads it.
    pub fn led(&mut self, fault: Option<KafkaFault>) {
        self.leaderless = fault;
    }

    /// How far it was read.
    pub fn read_to(&self) -> ReadTo {
        ReadTo { end: self.next, sent: self.sent }
    }

    /// It was read to this offset.
    pub fn reach(&mut self, end: i64) {
        self.next = self.next.max(end);
        self.failed = None;
    }

    /// librdkafka's list of this one.
    fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.source.topic, self.source.partition);
        list
    }
}
