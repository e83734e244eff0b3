//! Looks, on a timer and whatever the writer is doing, how far the partitions reach, who leads them, and whether their topics
//! are still the ones that were taken up.

use std::time::{Duration, Instant};

use edgereel_crds::status::Reason;

use super::{
    messages::{ReadTo, TopicPartition},
    native::{EventQueue, NativeAnswer},
    partitions::Partitions,
    questions::{self, Wanted},
};
use crate::client::KafkaFault;

/// From one look at the ends to the next.
const ENDS: Duration = Duration::from_secs(1);
/// From one look at the topics to the next.
const TOPICS: Duration = Duration::from_secs(5);
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// Two timers, each with a question that may be under way.
pub struct Ends {
    ends: Timer,
    topics: Timer,
}

struct Timer {
    due: Instant,
    asked: Option<(u64, Instant)>,
}

/// What an answer told.
pub struct Told {
    /// When it was asked.
    pub as_of: Instant,
    /// The ends that are known.
    pub ends: Vec<(TopicPartition, i64)>,
    /// The partitions that were read to their end, and where it is.
    pub reached: Vec<(TopicPartition, ReadTo)>,
    /// A topic is not the one that was taken up.
    pub made_anew: Option<KafkaFault>,
}

impl Ends {
    /// The first looks are due at once.
    pub fn new(now: Instant) -> Self {
        Ends { ends: Timer { due: now, asked: None }, topics: Timer { due: now + TOPICS, asked: None } }
    }

    /// When something is due next.
    pub fn due(&self) -> Instant {
        self.ends.due.min(self.topics.due)
    }

    /// Asks what is due.
    pub fn ask(
        &mut self,
        queue: &EventQueue<'_>,
        partitions: &Partitions,
        topics: &[String],
        number: &mut u64,
        now: Instant,
    ) {
        if self.ends.is_due(ENDS, number, now) {
            queue.ask_offsets(&partitions.sources(), Wanted::CommittedEnd, *number, ANSWER);
        }
        if self.topics.is_due(TOPICS, number, now) {
            queue.ask_topics(topics, *number, ANSWER);
        }
    }

    /// Takes an answer in, if it is to one of these questions.
    pub fn answer(&mut self, number: u64, answer: &NativeAnswer, partitions: &mut Partitions, now: Instant) -> Told {
        let mut told = Told { as_of: now, ends: Vec::new(), reached: Vec::new(), made_anew: None };
        if let Some(asked_at) = self.ends.answered(number) {
            told.as_of = asked_at;
            for element in questions::offsets(answer).unwrap_or_default() {
                let Some(found) = partitions.find(&element.source.topic, element.source.partition) else { continue };
                if element.error.is_none() && element.offset >= 0 {
                    if found.next >= element.offset {
                        told.reached.push((element.source.clone(), found.read_to()));
                    }
                    told.ends.push((element.source, element.offset));
                }
            }
        } else if self.topics.answered(number).is_some() {
            for topic in questions::topics(answer).unwrap_or_default() {
                for partition in partitions.all.iter_mut().filter(|p| *p.source.topic == topic.name) {
                    if let Some(id) = &topic.id {
                        told.made_anew = told.made_anew.or(partition.made_anew(id));
                    }
                    let led = topic.partitions.iter().find(|(n, _)| *n == partition.source.partition);
                    let leaderless = led.is_some_and(|(_, led)| !led);
                    partition.led(leaderless.then(|| {
                        let message = format!("{} has no leader: look at the brokers that hold it", partition.source);
                        KafkaFault::passing(Reason::KafkaUnreachable, message)
                    }));
                }
            }
        }
        told
    }
}

impl Timer {
    /// Whether to ask now, with the next number.
    fn is_due(&mut self, interval: Duration, number: &mut u64, now: Instant) -> bool {
        // librdkafka answers in time, if only to say that nobody else did; but nothing here depends on it.
        self.asked.take_if(|(_, at)| now.duration_since(*at) > 2 * ANSWER);
        if now < self.due {
            return false;
        }
        self.due = now + interval;
        if self.asked.is_some() {
            return false;
        }
        *number += 1;
        self.asked = Some((*number, now));
        true
    }

    /// When this was asked, if it was.
    fn answered(&mut self, number: u64) -> Option<Instant> {
        self.asked.take_if(|(asked, _)| *asked == number).map(|(_, at)| at)
    }
}
