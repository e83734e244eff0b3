//! Looks whether resources will find in Kafka what they need, and changes nothing: no topic is made, no group joined.

use super::*;
pub use crate::rights::Rights;
use crate::{admin::Refusal, rights};

/// What was found of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is there, as it is asked for.
    There {
        /// How it stands.
        report: TopicReport,
        /// What this user may do with it, where the brokers tell.
        rights: Option<Rights>,
    },
    /// It is not there, and the brokers would make it.
    Creatable,
    /// It is not there.
    Missing,
}

/// How many brokers there are. `topic` is any that this user works with: clusters do not tell everything to everyone.
pub async fn brokers(connection: &Connection, secrets: &Secrets, topic: &str) -> Result<usize, KafkaFault> {
    let topic = topic.to_owned();
    with_topics(connection, secrets, Role::Other, move |topics| Ok(topics.metadata(&topic)?.brokers().len())).await
}

/// A camera's topic: what [`ensure`] would say.
pub async fn frames(
    connection: &Connection,
    secrets: &Secrets,
    topic: &Topic,
    required_message_bytes: u64,
) -> Result<Look, KafkaFault> {
    written(connection, secrets, Role::Camera, topic.clone(), topic.ensure, required_message_bytes).await
}

/// A sink's dead-letter topic: what [`ensure_dead_letter`] would say.
pub async fn letters(
    connection: &Connection,
    secrets: &Secrets,
    name: &str,
    required_message_bytes: u64,
) -> Result<Look, KafkaFault> {
    let topic = dead_letter_topic(name);
    written(connection, secrets, Role::DeadLetters, topic, EnsureTopic::Exists, required_message_bytes).await
}

/// A topic that is written to; one that is there is compared as `existing` says.
async fn written(
    connection: &Connection,
    secrets: &Secrets,
    role: Role,
    topic: Topic,
    existing: EnsureTopic,
    required_message_bytes: u64,
) -> Result<Look, KafkaFault> {
    with_topics(connection, secrets, role, move |topics| {
        if topics.shape(&topic.name)?.is_some() {
            let found = Topic { ensure: existing, ..topic };
            let report = topics.finish(&found, false, required_message_bytes)?;
            let topic = found;
            let rights = topics.rights(&topic.name)?;
            if rights.is_some_and(|rights| !rights.write) {
                return Err(topics.about(&topic.name).code(Code::TopicAuthorizationFailed, ""));
            }
            return Ok(Look::There { report, rights });
        }
        if topic.ensure != EnsureTopic::Create {
            return Err(topics.missing(&topic.name));
        }
        topics.make(&topic, required_message_bytes, Make::Validate)?;
        Ok(Look::Creatable)
    })
    .await
}

/// A topic that a sink reads.
pub async fn read(connection: &Connection, secrets: &Secrets, topic: &str) -> Result<Look, KafkaFault> {
    let topic = topic.to_owned();
    with_topics(connection, secrets, Role::Sink, move |topics| {
        if topics.shape(&topic)?.is_none() {
            return Ok(Look::Missing);
        }
        let shape = topics.led(&topic, 1)?;
        let rights = topics.rights(&topic)?;
        if rights.is_some_and(|rights| !rights.read) {
            return Err(topics.about(&topic).code(Code::TopicAuthorizationFailed, ""));
        }
        Ok(Look::There { report: TopicReport { created: false, shape, max_message_bytes: None }, rights })
    })
    .await
}

/// Where brokers keep what groups have committed. The first question about a group makes it.
const OFFSETS: &str = "__consumer_offsets";

/// A sink's consumer group, if it has been used: how many members it has, and a fault where this user may not take part.
pub async fn group(connection: &Connection, secrets: &Secrets, group: &str) -> Result<Option<usize>, KafkaFault> {
    let group = group.to_owned();
    with_topics(connection, secrets, Role::Sink, move |topics| {
        if matches!(topics.shape(OFFSETS), Ok(None)) {
            return Ok(None);
        }
        let about = topics.subject.group(&group);
        let refused = |refusal: Refusal| about.code(refusal.code, &refusal.words);
        match topics.on_group(&group).map_err(refused)? {
            Some((rights, _)) if !rights.read => Err(about.code(Code::GroupAuthorizationFailed, "")),
            known => Ok(known.map(|(_, members)| members)),
        }
    })
    .await
}

impl Topics {
    /// The group's coordinator may be moving at this moment.
    fn on_group(&self, group: &str) -> Result<Option<(Rights, usize)>, Refusal> {
        let start = Instant::now();
        loop {
            match rights::on_group(self.client.client(), group, PATIENCE) {
                Err(refusal) if is_moving(refusal.code) && !self.over(start) => thread::sleep(PAUSE),
                settled => return settled,
            }
        }
    }

    fn rights(&self, topic: &str) -> Result<Option<Rights>, KafkaFault> {
        let about = self.about(topic).needing(Right::Describe);
        let refused = |refusal: Refusal| about.code(refusal.code, &refusal.words);
        rights::on_topic(self.client.client(), topic, PATIENCE).map_err(refused)
    }
}

fn is_moving(code: Code) -> bool {
    matches!(code, Code::NotCoordinator | Code::CoordinatorLoadInProgress | Code::CoordinatorNotAvailable)
}
