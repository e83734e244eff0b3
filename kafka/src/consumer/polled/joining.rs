//! From the group's gift to the first record: questions, their answers, and what is decided then.

use std::{
    collections::BTreeMap,
    sync::PoisonError,
    time::{Duration, Instant},
};

use edgereel_crds::status::Reason;
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _};

use super::{End, JOIN, Poll, Stage, Then};
use crate::{
    client::KafkaFault,
    consumer::{
        ends::Ends,
        messages::{Event, TopicPartition},
        native::NativeAnswer,
        partitions::Partitions,
        questions::{self, Wanted},
        taking_up::{Answer, Decision, Question, TakingUp, start_time},
    },
};

/// How long the brokers may take for one answer. What is asked of the group's coordinator waits for it, however long.
pub(super) const ANSWER: Duration = Duration::from_secs(15);
/// How long the group's coordinator may leave a question without an answer before the client is made anew. That is long
/// before librdkafka is out of patience ([`GROUP_REQUEST`](crate::admin::GROUP_REQUEST)), and heals what asking again would
/// not: a coordinator that was not in the metadata for a moment is a broker that librdkafka 2.12 does not dial any more,
/// though its cache of coordinators still leads there.
const UNANSWERED: Duration = Duration::from_secs(30);
/// So often in a row the group is asked for another assignment before that is a fault.
const REJOINS: u32 = 4;
/// What may be wrong with a group of the newer protocol that gives nothing.
const NEWER: &str = "; the group protocol `consumer` needs brokers of Kafka 4.0 or later that have it among their \
                     `group.coordinator.rebalance.protocols`: otherwise set spec.groupProtocol to `classic`";
/// From one look to the next whether all partitions are others', where the group does not say so.
const LOOK: Duration = Duration::from_secs(3);

/// Questions to the group's coordinator that have no answer yet, and when they were asked; also those that nobody waits
/// for any more, as when the partitions were lost.
#[derive(Default)]
pub(super) struct Unanswered(BTreeMap<u64, Instant>);

impl Unanswered {
    fn asked(&mut self, number: u64, now: Instant) {
        self.0.insert(number, now);
    }

    fn answered(&mut self, number: u64) {
        self.0.remove(&number);
    }

    /// Whether the client has to go.
    pub(super) fn too_long(&self, now: Instant) -> bool {
        self.0.values().any(|asked| now.duration_since(*asked) > UNANSWERED)
    }
}

/// How long a client waits for the group, after so many that did in vain.
fn join_patience(stuck: u32) -> Duration {
    JOIN.0.saturating_mul(2u32.saturating_pow(stuck)).min(JOIN.1)
}

impl Poll<'_> {
    /// Takes up what the group has given altogether.
    pub(super) fn take_up(&mut self, all: Vec<TopicPartition>) {
        self.send(Event::TakingUp { partitions: all.len() });
        self.stage = Stage::TakingUp(TakingUp::new(all, Instant::now()));
    }

    /// Waits for the group, but not for ever.
    pub(super) fn join(&mut self, now: Instant) {
        let since = *self.joining.get_or_insert(now);
        if self.given.by_and_by() && matches!(self.stage, Stage::Joining) && now.duration_since(self.looked) > LOOK {
            // A member that is to have nothing is told nothing; and what could not be taken up yet is not given again.
            self.looked = now;
            self.stage = Stage::TakingUp(TakingUp::new(self.given.all(), now));
        }
        let patience = if self.topics_missing { JOIN.1 } else { join_patience(*self.stuck) };
        if now.duration_since(since) < patience {
            return;
        }
        *self.stuck += 1;
        let (group, seconds) = (&self.polled.settings.group, patience.as_secs());
        // librdkafka does not tell that a broker knows no such request.
        let advice = if self.given.by_and_by() { NEWER } else { "" };
        let message =
            format!("consumer group {group} has given nothing for {seconds} s: asking by a new connection{advice}");
        tracing::info!(group, "{message}");
        self.end = Some(End::Stuck(KafkaFault::passing(Reason::KafkaUnreachable, message)));
    }

    pub(super) fn ask(&mut self, now: Instant) {
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
                Question::Committed => {
                    self.unanswered.asked(number, now);
                    self.queue.ask_committed(&settings.group, number);
                }
                Question::Low => self.queue.ask_offsets(&given, Wanted::First, number, ANSWER),
                Question::High => self.queue.ask_offsets(&given, Wanted::End, number, ANSWER),
                Question::AtTime => self.queue.ask_offsets(&given, Wanted::At(time), number, ANSWER),
                Question::Members => {
                    self.unanswered.asked(number, now);
                    self.queue.ask_members(&settings.group, number);
                }
            }
        }
    }

    pub(super) fn on_answer(&mut self, number: u64, answer: &NativeAnswer) {
        let now = Instant::now();
        self.unanswered.answered(number);
        if self.missing.take_if(|asked| *asked == number).is_some() {
            let missing = questions::topics(answer).map(|topics| questions::missing(&topics)).unwrap_or_default();
            self.topics_missing = !missing.is_empty();
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
                for (source, read) in told.reached {
                    self.send(Event::EndOfPartition { generation, source, read, as_of: told.as_of });
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
                (self.rejoins, *self.stuck) = (0, 0);
                let missing = taking.missing();
                self.send(Event::Missing(missing));
                let mut list = TopicPartitionList::with_capacity(begun.len());
                for partition in &begun {
                    let source = &partition.assigned.source;
                    let start = Offset::Offset(partition.start);
                    if let Err(e) = list.add_partition_offset(&source.topic, source.partition, start) {
                        return self.fail(self.subject().fault(&e));
                    }
                }
                let generation = self.polled.tenure.begin();
                let partitions = Partitions::new(generation, &begun, self.polled.settings.memory, &self.polled.waker);
                let ours = (!begun.is_empty()).then_some(partitions);
                self.stage = Stage::Reading(ours, Ends::new(Instant::now()));
                self.send(Event::Assigned { generation, partitions: begun, total });
                if let Err(e) = self.given.read(self.consumer, &list) {
                    return self.fail(self.subject().fault(&e));
                }
                // Whatever was paused in an earlier assignment.
                let _ = self.consumer.resume(&list);
            }
        }
    }

    /// The group's coordinator has been away for so long that the client is made anew.
    pub(super) fn give_up(&mut self) {
        let message = format!(
            "the coordinator of group {} has not answered for {} s; joining anew",
            self.polled.settings.group,
            UNANSWERED.as_secs()
        );
        self.hand_over(Then::Anew(KafkaFault::passing(Reason::KafkaUnreachable, message)));
    }

    /// The group has more to say: it goes on by itself once it has a word for what it said last.
    fn wait_for_the_group(&mut self, why: &str) {
        tracing::debug!(group = self.polled.settings.group, "waiting for the group: {why}");
        self.stage = Stage::Joining;
        if let Err(e) = self.given.read(self.consumer, &TopicPartitionList::new()) {
            self.fail(self.subject().fault(&e));
        }
    }

    /// The group gave what belongs to an earlier subscription: a static member that comes back within its session gets its
    /// old partitions, whatever it asks for now (apache/kafka#22593). Asking again makes the group assign anew.
    fn rejoin(&mut self, why: &str) {
        if self.given.by_and_by() {
            return self.wait_for_the_group(why);
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::GROUP_REQUEST;

    #[test]
    fn a_client_goes_long_before_librdkafka_is_out_of_patience_with_a_coordinator() {
        assert!(UNANSWERED * 3 < GROUP_REQUEST);
        let (mut unanswered, start) = (Unanswered::default(), Instant::now());
        unanswered.asked(1, start);
        unanswered.asked(2, start + UNANSWERED);
        assert!(!unanswered.too_long(start + UNANSWERED));
        let later = start + UNANSWERED + Duration::from_secs(1);
        assert!(unanswered.too_long(later));
        unanswered.answered(1);
        assert!(!unanswered.too_long(later));
    }
}
