//! Makes, checks and deletes topics; [`look`] only looks at them.

pub mod look;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use edgereel_crds::{
    camera_stream::{EnsureTopic, RecordKey, Topic},
    plan::Connection,
    status::Reason,
};
use rdkafka::{
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::RDKafkaErrorCode as Code,
    metadata::Metadata,
};
use tokio_util::sync::CancellationToken;

pub use super::topic_check::TopicShape;
use edgereel_runtime::secrets::Secrets;

use super::{
    admin::{self, Make, NewTopic},
    client::{Context, KafkaFault, Role, Snapshot, Subject, client_config},
    fault::Right,
    topic_check::{self, MAX_MESSAGE_BYTES},
};

/// How long a request may take, the connection included.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long brokers that do not answer are given; the caller tries again with its backoff.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(4);
/// How long a look takes at most before the health is asked.
const SLICE: Duration = Duration::from_millis(500);
/// The same while no broker is connected: no answer can be on its way, so little is lost by asking again.
const SLICE_DOWN: Duration = Duration::from_millis(100);
/// Between looks at a topic whose leaders are being elected.
const PAUSE: Duration = Duration::from_millis(50);

/// What `ensure` found or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicReport {
    /// It was made by this call.
    pub created: bool,
    /// Partitions and copies.
    pub shape: TopicShape,
    /// The largest record that the topic takes. `None` when the brokers do not let us see it.
    pub max_message_bytes: Option<u64>,
}

/// The records that a partition holds: `low..high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub low: i64,
    /// The offset that the next record gets.
    pub high: i64,
}

/// Makes or checks a camera's topic, as its `ensure` says, and checks that it takes records of `required_message_bytes`
/// (value, key and headers of the largest). Returns when every partition has a leader.
pub async fn ensure(
    connection: &Connection,
    secrets: &Secrets,
    topic: &Topic,
    required_message_bytes: u64,
) -> Result<TopicReport, KafkaFault> {
    let topic = topic.clone();
    with_topics(connection, secrets, Role::Camera, move |topics| topics.ensure(&topic, required_message_bytes)).await
}

/// Makes a dead-letter topic of one partition, if there is none, and checks that it takes records of
/// `required_message_bytes`. A topic that is there is taken as it is.
pub async fn ensure_dead_letter(
    connection: &Connection,
    secrets: &Secrets,
    name: &str,
    required_message_bytes: u64,
) -> Result<TopicReport, KafkaFault> {
    let topic = dead_letter_topic(name);
    with_topics(connection, secrets, Role::DeadLetters, move |topics| {
        let existing = topics.shape(&topic.name)?;
        let created = existing.is_none() && topics.create(&topic, required_message_bytes)?;
        let taken = Topic { ensure: EnsureTopic::Exists, ..topic };
        topics.finish(&taken, created, required_message_bytes)
    })
    .await
}

fn dead_letter_topic(name: &str) -> Topic {
    Topic {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: None,
        key: RecordKey::None,
        ensure: EnsureTopic::Create,
        config: BTreeMap::new(),
    }
}

/// Makes a topic that must not be there yet, with room for records of `required_message_bytes`, and waits for its leaders.
pub async fn make(
    connection: &Connection,
    secrets: &Secrets,
    topic: &Topic,
    required_message_bytes: u64,
) -> Result<TopicReport, KafkaFault> {
    let topic = topic.clone();
    with_topics(connection, secrets, Role::Other, move |topics| {
        // A look first: it says what keeps the brokers from answering.
        let is_there = topics.shape(&topic.name)?.is_some();
        if is_there || !topics.create(&topic, required_message_bytes)? {
            return Err(topics.about(&topic.name).code(Code::TopicAlreadyExists, ""));
        }
        // It is as it was made: nobody need be allowed to see its settings.
        let made = Topic { ensure: EnsureTopic::Exists, ..topic };
        topics.finish(&made, true, required_message_bytes)
    })
    .await
}

/// Deletes a topic with all that it holds; one that is not there is deleted.
pub async fn delete(connection: &Connection, secrets: &Secrets, name: &str) -> Result<(), KafkaFault> {
    let name = name.to_owned();
    with_topics(connection, secrets, Role::Other, move |topics| {
        match admin::delete_topic(topics.client.client(), &name, PATIENCE) {
            Err(refusal) if refusal.code != Code::UnknownTopicOrPartition => {
                Err(topics.about(&name).needing(Right::Delete).code(refusal.code, &refusal.words))
            }
            _ => Ok(()),
        }
    })
    .await
}

/// How many partitions a topic has.
pub async fn partitions_of(connection: &Connection, secrets: &Secrets, topic: &str) -> Result<i32, KafkaFault> {
    let topic = topic.to_owned();
    with_topics(connection, secrets, Role::Sink, move |topics| Ok(topics.existing(&topic)?.partitions)).await
}

/// The records that each partition of a topic holds, in the partitions' order.
pub async fn watermarks(
    connection: &Connection,
    secrets: &Secrets,
    topic: &str,
) -> Result<Vec<Watermarks>, KafkaFault> {
    let topic = topic.to_owned();
    with_topics(connection, secrets, Role::Other, move |topics| topics.watermarks(&topic)).await
}

/// Runs blocking work with a client of its own, off the runtime's threads. The work ends early when the future is
/// dropped: at a shutdown nobody waits for its answer any more.
async fn with_topics<T: Send + 'static>(
    connection: &Connection,
    secrets: &Secrets,
    role: Role,
    work: impl FnOnce(&Topics) -> Result<T, KafkaFault> + Send + 'static,
) -> Result<T, KafkaFault> {
    let (connection, secrets, abandoned) = (connection.clone(), secrets.clone(), CancellationToken::new());
    let _asking = abandoned.clone().drop_guard();
    let task = tokio::task::spawn_blocking(move || work(&Topics::connect(&connection, &secrets, role, abandoned)?));
    task.await.unwrap_or_else(|e| Err(KafkaFault::passing(Reason::InternalError, format!("topic check: {e}"))))
}

/// A client for questions about topics. All its methods block.
struct Topics {
    /// A consumer without a group: unlike a producer, its questions never make a topic on clusters that allow that.
    client: Arc<BaseConsumer<Context>>,
    subject: Subject,
    bootstrap: String,
    /// Nobody waits for the answer any more.
    abandoned: CancellationToken,
    stop: Arc<AtomicBool>,
    poller: Option<JoinHandle<()>>,
}

impl ConsumerContext for Context {}

impl Topics {
    fn connect(
        connection: &Connection,
        secrets: &Secrets,
        role: Role,
        abandoned: CancellationToken,
    ) -> Result<Self, KafkaFault> {
        let config = client_config(connection, secrets, "edgereel-topics")?;
        let context = Context::new(connection, secrets)?;
        let subject = context.subject().role(role);
        let client = BaseConsumer::from_config_and_context(&config, context).map_err(|e| subject.fault(&e))?;
        let client = Arc::new(client);
        let stop = Arc::new(AtomicBool::new(false));
        // Errors, log lines and token requests are only served to those who poll.
        let poll = {
            let (client, stop) = (client.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = client.poll(Duration::from_millis(50));
                }
            }
        };
        let poller = thread::Builder::new().name("kafka topics".into()).spawn(poll);
        let poller = poller.map_err(|e| KafkaFault::passing(Reason::InternalError, format!("no thread: {e}")))?;
        let bootstrap = connection.spec.bootstrap_servers.join(",");
        Ok(Topics { client, subject, bootstrap, abandoned, stop, poller: Some(poller) })
    }

    fn ensure(&self, topic: &Topic, required: u64) -> Result<TopicReport, KafkaFault> {
        let existing = self.shape(&topic.name)?;
        let created = match (existing, topic.ensure) {
            (None, EnsureTopic::Create) => self.create(topic, required)?,
            (None, _) => return Err(self.missing(&topic.name)),
            (Some(_), _) => false,
        };
        self.finish(topic, created, required)
    }

    /// Waits for the leaders, and checks settings and limits as far as `ensure` asks.
    fn finish(&self, topic: &Topic, created: bool, required: u64) -> Result<TopicReport, KafkaFault> {
        let shape = self.led(&topic.name, if created { topic.partitions } else { 1 })?;
        let settings = match admin::topic_config(self.client.client(), &topic.name, PATIENCE) {
            Ok(settings) => Some(settings),
            // To write to a topic one need not be allowed to see its settings.
            Err(refusal)
                if refusal.code == Code::TopicAuthorizationFailed
                    && (topic.config.is_empty() || topic.ensure == EnsureTopic::Exists) =>
            {
                tracing::warn!(
                    topic = topic.name,
                    "may not see the topic's settings (grant DescribeConfigs): not checked"
                );
                None
            }
            Err(refusal) => {
                let about = self.about(&topic.name).needing(Right::DescribeConfigs);
                return Err(about.code(refusal.code, &refusal.words));
            }
        };
        if topic.ensure != EnsureTopic::Exists && !created {
            let empty = BTreeMap::new();
            topic_check::verify(topic, &shape, settings.as_ref().unwrap_or(&empty), &self.bootstrap)?;
        }
        let limit = settings.and_then(|settings| settings.get(MAX_MESSAGE_BYTES)?.parse().ok());
        if let Some(limit) = limit {
            topic_check::check_limit(&topic.name, limit, required, &self.bootstrap)?;
        }
        Ok(TopicReport { created, shape, max_message_bytes: limit })
    }

    /// Makes a topic; false when another was quicker.
    fn create(&self, topic: &Topic, required: u64) -> Result<bool, KafkaFault> {
        self.make(topic, required, Make::Really)
    }

    fn make(&self, topic: &Topic, required: u64, make: Make) -> Result<bool, KafkaFault> {
        let config = topic_check::settings_for_creation(topic, required);
        let new = NewTopic {
            name: &topic.name,
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            config: &config,
        };
        match admin::create_topic(self.client.client(), &new, make, PATIENCE) {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.code == Code::TopicAlreadyExists => Ok(false),
            Err(refusal) => Err(self.about(&topic.name).needing(Right::Create).code(refusal.code, &refusal.words)),
        }
    }

    /// What the brokers say of themselves and a topic.
    fn metadata(&self, topic: &str) -> Result<Metadata, KafkaFault> {
        let start = Instant::now();
        let about = self.about(topic);
        let health = self.client.context().health();
        loop {
            let slice = if matches!(health.snapshot(), Snapshot::Down(_)) { SLICE_DOWN } else { SLICE };
            let error = match self.client.fetch_metadata(Some(topic), slice) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            match health.snapshot() {
                _ if self.abandoned.is_cancelled() => return Err(about.fault(&error)),
                Snapshot::Down(fault) if !fault.retriable || start.elapsed() > UNREACHABLE_AFTER => return Err(fault),
                _ if start.elapsed() > PATIENCE => return Err(about.fault(&error)),
                _ => {}
            }
        }
    }

    /// A topic as it stands, or `None` when there is none.
    fn shape(&self, topic: &str) -> Result<Option<TopicShape>, KafkaFault> {
        let about = self.about(topic);
        let metadata = self.metadata(topic)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let Some(found) = found else { return Ok(None) };
        match found.error().map(Code::from) {
            None | Some(Code::NoError | Code::LeaderNotAvailable) => {}
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Ok(None),
            Some(code) => return Err(about.needing(Right::Describe).code(code, "")),
        }
        let partitions = found.partitions();
        Ok(Some(TopicShape {
            partitions: partitions.len() as i32,
            replication_factor: partitions.iter().map(|p| p.replicas().len() as i32).min().unwrap_or(0),
            leaderless: partitions.iter().filter(|p| p.leader() < 0).map(|p| p.id()).collect(),
        }))
    }

    fn existing(&self, topic: &str) -> Result<TopicShape, KafkaFault> {
        self.shape(topic)?.ok_or_else(|| self.missing(topic))
    }

    /// Waits until a topic has at least `partitions` and each has its leader.
    fn led(&self, topic: &str, partitions: i32) -> Result<TopicShape, KafkaFault> {
        let start = Instant::now();
        loop {
            let shape = self.shape(topic)?;
            match shape {
                Some(shape) if shape.partitions >= partitions && shape.leaderless.is_empty() => return Ok(shape),
                // What was just made is not known to every broker at once.
                None if self.over(start) => return Err(self.missing(topic)),
                Some(shape) if self.over(start) => {
                    let list = format!("partitions {:?}", shape.leaderless);
                    return Err(self.about(topic).code(Code::LeaderNotAvailable, &list));
                }
                _ => thread::sleep(PAUSE),
            }
        }
    }

    /// Whether a wait that began at `start` has to end.
    fn over(&self, start: Instant) -> bool {
        start.elapsed() > PATIENCE || self.abandoned.is_cancelled()
    }

    fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, KafkaFault> {
        let shape = self.existing(topic)?;
        let about = self.about(topic);
        let one = |partition| {
            let marks = self.client.fetch_watermarks(topic, partition, PATIENCE);
            let (low, high) = marks.map_err(|e| about.fault(&e))?;
            Ok(Watermarks { partition, low, high })
        };
        (0..shape.partitions).map(one).collect()
    }

    fn about(&self, topic: &str) -> Subject {
        self.subject.topic(topic)
    }

    fn missing(&self, topic: &str) -> KafkaFault {
        self.about(topic).code(Code::UnknownTopicOrPartition, "")
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(poller) = self.poller.take() {
            // A panic there has been reported by its own hook.
            let _ = poller.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{KafkaConnectionSpec, name::ObjectName};

    use super::*;

    /// A server that takes connections and never answers: no fault of Kafka's ends the look.
    #[test]
    fn a_look_that_nobody_waits_for_ends_long_before_its_patience() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = silent.local_addr().expect("bound").to_string();
        let spec = format!("{{\"bootstrapServers\": [\"{address}\"]}}");
        let connection = Connection {
            name: ObjectName { namespace: "d".into(), name: "silent".into() },
            spec: serde_json::from_str::<KafkaConnectionSpec>(&spec).expect("a spec"),
        };
        let abandoned = CancellationToken::new();
        let topics =
            Topics::connect(&connection, &Secrets::default(), Role::Camera, abandoned.clone()).expect("a client");
        let start = Instant::now();
        abandoned.cancel();
        topics.shape("frames").expect_err("no answer");
        assert!(start.elapsed() < UNREACHABLE_AFTER, "it went on for {:?}", start.elapsed());
    }
}
