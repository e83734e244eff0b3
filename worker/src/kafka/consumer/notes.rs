//! A note that one process leaves in Kafka for others: the metadata of an offset, committed for a group without members.
//!
//! Asked and written without waiting: the caller looks now and then whether an answer came. The client is a consumer, though it
//! consumes nothing: librdkafka 2.12 takes an answer about a group's offsets on a producer for one of the producer's own group,
//! which is null, where the group's coordinator has just moved.

use std::time::Duration;

use edgereel_crds::plan::Connection;
use rdkafka::{Offset, TopicPartitionList, consumer::BaseConsumer, error::KafkaError, error::RDKafkaErrorCode as Code};

use super::{
    context::GroupContext,
    native::{EventQueue, Happened, NativeAnswer, Waker},
    questions::{self, Refused},
};
use crate::{
    kafka::client::{Context, KafkaFault, client_config},
    secrets::Secrets,
};

/// When librdkafka answers by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// A note about a topic, shared by all who know the group.
pub struct Notes {
    consumer: BaseConsumer<GroupContext>,
    group: String,
    topic: String,
    number: u64,
    under_way: Option<Request>,
}

#[derive(Clone, Copy)]
enum Request {
    Read,
    Write,
}

/// What came of a request.
pub enum Answer {
    /// What the note says; none where there is none.
    Read(Option<String>),
    /// The note is written.
    Written,
    /// Not this time, for this reason.
    Failed(String),
    /// Not now and not later.
    Refused(String),
}

impl Notes {
    /// The note of a group about a topic, by a client of its own.
    pub fn open(connection: &Connection, secrets: &Secrets, group: &str, topic: &str) -> Result<Self, KafkaFault> {
        let mut config = client_config(connection, secrets, "edgereel-notes")?;
        config.set("group.id", group).set("enable.auto.commit", "false").set("statistics.interval.ms", "0");
        let context = Context::new(connection, secrets)?.unheard();
        let subject = context.subject().clone();
        let consumer = config.create_with_context(GroupContext(context)).map_err(|e: KafkaError| subject.fault(&e))?;
        Ok(Notes { consumer, group: group.to_owned(), topic: topic.to_owned(), number: 0, under_way: None })
    }

    /// Whether an answer is awaited.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Asks what the note says.
    pub fn read(&mut self) {
        self.number += 1;
        self.under_way = Some(Request::Read);
        EventQueue::new(&self.consumer, &Waker::default()).ask_committed(&self.group, self.number, PATIENCE);
    }

    /// Writes the note.
    pub fn write(&mut self, note: &str) {
        let mut list = TopicPartitionList::with_capacity(1);
        let mut element = list.add_partition(&self.topic, 0);
        element.set_metadata(note);
        if element.set_offset(Offset::Offset(0)).is_ok() {
            self.number += 1;
            self.under_way = Some(Request::Write);
            EventQueue::new(&self.consumer, &Waker::default()).set_committed(&self.group, &list, self.number, PATIENCE);
        }
    }

    /// The answer, if it came. Never blocks.
    pub fn answer(&mut self) -> Option<Answer> {
        let request = self.under_way?;
        let queue = EventQueue::new(&self.consumer, &Waker::default());
        while let Some(happened) = queue.poll(Duration::ZERO) {
            if let Happened::Answered(number, answer) = happened
                && number == self.number
            {
                self.under_way = None;
                return Some(self.understand(request, &answer).unwrap_or_else(|(code, words)| {
                    if is_final(code) { Answer::Refused(words) } else { Answer::Failed(words) }
                }));
            }
        }
        None
    }

    fn understand(&self, request: Request, answer: &NativeAnswer) -> Result<Answer, Refused> {
        match request {
            Request::Write => questions::set(answer).map(|()| Answer::Written),
            Request::Read => {
                let all = questions::committed(answer)?;
                let found = all.into_iter().find(|e| *e.source.topic == *self.topic && e.source.partition == 0);
                Ok(Answer::Read(found.map(|element| element.metadata).filter(|note| !note.is_empty())))
            }
        }
    }
}

/// Whether it will be refused again.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::GroupAuthorizationFailed
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
    )
}
