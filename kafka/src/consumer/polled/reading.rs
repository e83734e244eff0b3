//! Records, faults and commits of the partitions that are read.

use std::{
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edgereel_crds::status::Reason;
use rdkafka::{
    Offset, TopicPartitionList,
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{Poll, Stage, Then, joining::ANSWER};
use crate::{
    client::KafkaFault,
    consumer::{
        mark::TopicId,
        messages::{Commit, Event, ReadTo, Record, TopicPartition},
        native::{NativeRecord, cached_high},
        partitions::Partitions,
        taking_up::TakingUp,
    },
};

/// How long a used-up share may hold up the polling before its partition is paused. A pause throws away what was
/// fetched ahead, so a writer that is only a little slower than the network is not paused at all.
const PATIENCE: Duration = Duration::from_millis(50);

impl Poll<'_> {
    /// Sends a record on. A used-up share holds up the polling for a moment, then its partition is paused.
    pub(super) fn pass_on(&mut self, record: &NativeRecord) {
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
            let read = ReadTo { end: next, sent: next };
            self.send(Event::EndOfPartition { generation, source: source.clone(), read, as_of: Instant::now() });
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

    pub(super) fn on_partition_failed(&mut self, source: &TopicPartition, code: Code, words: &str) {
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

    /// A topic has another id than before, as far as librdkafka knows. What comes from now on is of that topic, at the
    /// offsets of the one that was taken up: none of it is passed on. What did come is flushed and committed under its id.
    pub(super) fn on_topic_changed(&mut self, topic: &str, id: &TopicId) {
        match &mut self.stage {
            Stage::Reading(Some(partitions), _) => {
                let of_topic = partitions.all.iter().filter(|partition| *partition.source.topic == *topic);
                if let Some(fault) = of_topic.filter_map(|partition| partition.made_anew(id)).next() {
                    self.hand_over(Then::Anew(fault));
                }
            }
            // What was answered may be of the former one.
            Stage::TakingUp(taking) if taking.given.iter().any(|given| *given.topic == *topic) => {
                *taking = TakingUp::new(taking.given.clone(), Instant::now());
            }
            _ => {}
        }
    }

    pub(super) fn on_failed(&mut self, code: Code, words: &str, fatal: bool) {
        let (group, instance) = (&self.polled.settings.group, &self.polled.settings.instance);
        let fault = match code {
            Code::FencedInstanceId => KafkaFault::passing(
                Reason::NotAssigned,
                format!(
                    "another worker with the same identity `{instance}` has joined group {group}; run each resource once"
                ),
            ),
            Code::UnreleasedInstanceId => KafkaFault::passing(
                Reason::NotAssigned,
                format!(
                    "group {group} still keeps the place that `{instance}` had, which was killed or runs elsewhere; it is \
                     given up after the brokers' `group.consumer.session.timeout.ms` (45 s by default)"
                ),
            ),
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                let topics = &self.polled.settings.topics;
                // "Subscribed topic not available: gate: Broker: Unknown topic or partition".
                let named: Vec<_> =
                    topics.iter().filter(|topic| words.contains(&format!(": {topic}: "))).cloned().collect();
                let named = if named.is_empty() { topics.join(" or ") } else { named.join(" and ") };
                let message = format!(
                    "there is no topic {named} at KafkaConnection {}: make it, or start the camera that fills it; it is \
                     read when it is there",
                    self.subject()
                );
                KafkaFault::passing(Reason::TopicMissing, message)
            }
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
    pub(super) fn commit(&mut self, commit: &Commit) {
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
