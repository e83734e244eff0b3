//! A note that one process leaves in Kafka for others: the metadata of an offset, committed for a group without members.
//!
//! By the calls that every consumer makes. The admin requests for the same must not run out of time
//! ([`GROUP_REQUEST`](crate::admin::GROUP_REQUEST)), and this client stays whether it is answered or not.

use std::time::Duration;

use edgereel_crds::plan::Connection;
use edgereel_runtime::secrets::Secrets;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{context::GroupContext, native::elements_of};
use crate::client::{Context, KafkaFault, Subject, client_config};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A note about a topic, shared by all who know the group.
pub struct Notes {
    consumer: BaseConsumer<GroupContext>,
    subject: Subject,
    topic: String,
}

/// Why a note could not be read or written.
#[derive(Debug)]
pub enum NoNote {
    /// Not this time.
    Passing(String),
    /// Not until somebody changes something.
    Refused(String),
}

impl Notes {
    /// The note of a group about a topic, by a client of its own.
    pub fn open(connection: &Connection, secrets: &Secrets, group: &str, topic: &str) -> Result<Self, KafkaFault> {
        let mut config = client_config(connection, secrets, &format!("{group}-notes"))?;
        config.set("group.id", group).set("enable.auto.commit", "false").set("statistics.interval.ms", "0");
        let context = Context::new(connection, secrets)?.unheard();
        let subject = context.subject().topic(topic).group(group);
        let consumer = config.create_with_context(GroupContext(context)).map_err(|e: KafkaError| subject.fault(&e))?;
        Ok(Notes { consumer, subject, topic: topic.to_owned() })
    }

    /// What the note says; nothing where there is none. Blocks, for some seconds at most.
    pub fn read(&self) -> Result<Option<String>, NoNote> {
        let mut wanted = TopicPartitionList::with_capacity(1);
        wanted.add_partition(&self.topic, 0);
        let found = self.consumer.committed_offsets(wanted, PATIENCE).map_err(|e| self.no_note(&e))?;
        let Some(element) = elements_of(&found).pop() else { return Ok(None) };
        match element.error {
            Some(code) => Err(self.no_note(&KafkaError::OffsetFetch(code))),
            None => Ok(Some(element.metadata).filter(|note| !note.is_empty())),
        }
    }

    /// Leaves the note with the client, which writes it as soon as it can. The offset beside it is the partition's end: tools that
    /// list every group's lag find none here. Blocks, for some seconds at most.
    pub fn write(&self, note: &str) -> Result<(), NoNote> {
        let (_, end) = self.consumer.fetch_watermarks(&self.topic, 0, PATIENCE).map_err(|e| self.no_note(&e))?;
        let mut list = TopicPartitionList::with_capacity(1);
        let mut element = list.add_partition(&self.topic, 0);
        element.set_metadata(note);
        element.set_offset(Offset::Offset(end)).map_err(|e| self.no_note(&e))?;
        self.consumer.commit(&list, CommitMode::Async).map_err(|e| self.no_note(&e))
    }

    fn no_note(&self, error: &KafkaError) -> NoNote {
        let words = self.subject.fault(error).message;
        match error.rdkafka_error_code() {
            Some(
                Code::GroupAuthorizationFailed
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::UnsupportedVersion
                | Code::UnsupportedFeature,
            ) => NoNote::Refused(words),
            _ => NoNote::Passing(words),
        }
    }
}
