//! The assigned partitions, as the polling thread sees them: what was sent on, what is paused, where the ends are.

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use super::{
    Listener,
    budget::{Charge, Held, Share},
    messages::{Begun, Event, TopicPartition},
    native::cached_high,
    rebalance::GroupContext,
};
use crate::kafka::client::KafkaFault;

/// The assignment, and what the callbacks leave for the poller.
#[derive(Default)]
pub struct State {
    /// The assignment's number.
    pub generation: u64,
    /// What is assigned.
    pub partitions: Vec<Partition>,
    /// What each of them may hold; none while nothing is assigned.
    pub share: Option<Share>,
    /// What a callback failed with.
    pub failure: Option<KafkaFault>,
    /// librdkafka's words for its last error.
    pub reason: String,
}

/// An assigned partition.
pub struct Partition {
    source: TopicPartition,
    /// The next offset that is new.
    next: i64,
    /// The end that was told last.
    told_end: Option<i64>,
    held: Held,
    paused: bool,
}

/// A record's place and its charge.
pub struct Taken {
    /// The assignment.
    pub generation: u64,
    /// Where it stands.
    pub source: TopicPartition,
    /// Its part of the budget.
    pub charge: Charge,
    /// What its partition holds.
    pub held: Held,
    /// What its partition may hold.
    pub share: Share,
}

impl State {
    fn find(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.partitions.iter_mut().find(|p| p.source.partition == partition && *p.source.topic == *topic)
    }
}

impl Partition {
    /// At its beginning.
    pub fn new(begun: &Begun) -> Self {
        Partition {
            source: begun.assigned.source.clone(),
            next: begun.start,
            told_end: None,
            held: Held::default(),
            paused: false,
        }
    }

    /// librdkafka's list of this one.
    fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.source.topic, self.source.partition);
        list
    }

    fn is_at_end(&self, consumer: &BaseConsumer<GroupContext>) -> bool {
        cached_high(consumer, &self.source.topic, self.source.partition).is_some_and(|high| self.next >= high)
    }

    /// Tells each end once.
    fn tell_end(&mut self, generation: u64, send: &Listener) -> bool {
        if self.told_end == Some(self.next) {
            return true;
        }
        self.told_end = Some(self.next);
        send(Event::EndOfPartition { generation, source: self.source.clone() })
    }
}

impl GroupContext {
    /// Notes a record as sent on. None when it is not of this assignment, or was sent before.
    pub fn take(&self, topic: &str, partition: i32, offset: i64, size: usize) -> Option<Taken> {
        let mut state = self.state();
        let (generation, share) = (state.generation, state.share?);
        let found = state.find(topic, partition)?;
        if offset < found.next {
            return None;
        }
        found.next = offset + 1;
        let charge = found.held.charge(size);
        Some(Taken { generation, source: found.source.clone(), charge, held: found.held.clone(), share })
    }

    /// Pauses one partition.
    pub fn pause(&self, consumer: &BaseConsumer<Self>, source: &TopicPartition) {
        if let Some(found) = self.state().find(&source.topic, source.partition) {
            found.paused = consumer.pause(&found.list()).is_ok();
        }
    }

    /// Resumes the paused partitions that have room again.
    pub fn resume_with_room(&self, consumer: &BaseConsumer<Self>) {
        let mut state = self.state();
        let Some(share) = state.share else { return };
        for partition in state.partitions.iter_mut().filter(|p| p.paused && share.has_room(p.held.bytes())) {
            partition.paused = consumer.resume(&partition.list()).is_err();
        }
    }

    /// librdkafka met the end of a partition, but rdkafka does not say of which topic: with several, the watermark
    /// tells.
    pub fn ended(&self, consumer: &BaseConsumer<Self>, partition: i32) -> bool {
        let mut state = self.state();
        let same_number = state.partitions.iter().filter(|p| p.source.partition == partition).count();
        let generation = state.generation;
        let mut listening = true;
        for found in state.partitions.iter_mut().filter(|p| p.source.partition == partition) {
            let at_end = same_number == 1 || found.is_at_end(consumer);
            if at_end && !found.paused {
                listening = found.tell_end(generation, &self.send);
            }
        }
        listening
    }

    /// Tells that a partition was read to its end if that was its last record: sooner than librdkafka, which waits for the
    /// next fetch.
    pub fn tell_end_after(&self, consumer: &BaseConsumer<Self>, source: &TopicPartition) {
        let mut state = self.state();
        let generation = state.generation;
        if let Some(found) = state.find(&source.topic, source.partition).filter(|found| found.is_at_end(consumer)) {
            found.tell_end(generation, &self.send);
        }
    }

    /// Tells how far the partitions reach, and which of them have been read to their end.
    pub fn tell_watermarks(&self, consumer: &BaseConsumer<Self>) {
        let mut state = self.state();
        let generation = state.generation;
        let mut marks = Vec::with_capacity(state.partitions.len());
        for partition in &mut state.partitions {
            let high = cached_high(consumer, &partition.source.topic, partition.source.partition);
            marks.extend(high.map(|high| (partition.source.clone(), high)));
            if high.is_some_and(|high| partition.next >= high) {
                partition.tell_end(generation, &self.send);
            }
        }
        drop(state);
        (self.send)(Event::Watermarks(marks));
    }
}
