//! Asks Kafka for what the resources need: brokers and login, topics, rights, limits, groups.

use std::{collections::BTreeMap, future::Future};

use edgereel_crds::{
    camera_stream::EnsureTopic,
    check::largest_record,
    frame_sink::OnInvalid,
    name::{Kind, ObjectName},
    plan::{CameraPlan, Connection, Plan, SinkPlan},
};
use edgereel_kafka::{
    fault::KafkaFault,
    topics::{
        TopicReport,
        look::{self, Look},
    },
};
use edgereel_runtime::secrets::Secrets;
use futures::future::{BoxFuture, FutureExt, Shared};

use super::{Answer, Question, Verdict};
use crate::sink::dead_letter;

/// The clusters of a plan, each asked once: what depends on one waits for that.
pub(super) struct Brokers {
    secrets: Secrets,
    reached: BTreeMap<ObjectName, Shared<BoxFuture<'static, Result<usize, KafkaFault>>>>,
}

impl Brokers {
    /// The clusters that the plan's resources name, and a question for each.
    pub(super) fn of(plan: &Plan, secrets: &Secrets, questions: &mut Vec<Question>) -> Self {
        let mut brokers = Brokers { secrets: secrets.clone(), reached: BTreeMap::new() };
        let cameras = plan.cameras.iter().map(|camera| (&camera.connection, camera.spec.topic.name.as_str()));
        let sinks = plan.sinks.iter().map(|sink| (&sink.connection, sink.topics.first().map_or("", String::as_str)));
        for (connection, topic) in cameras.chain(sinks) {
            brokers.reached.entry(connection.name.clone()).or_insert_with(|| {
                let (own, secrets, topic) = (connection.clone(), secrets.clone(), topic.to_owned());
                let reached = async move { look::brokers(&own, &secrets, &topic).await }.boxed().shared();
                let resource = Kind::KafkaConnection.label(&connection.name);
                questions.push(Question::new(&resource, "kafka", cluster(connection.clone(), reached.clone())));
                reached
            });
        }
        brokers
    }

    /// An answer that needs the brokers: where they cannot be asked, one resource has said why.
    fn with<F>(
        &self,
        connection: &Connection,
        ask: impl FnOnce(Connection, Secrets) -> F + Send + 'static,
    ) -> impl Future<Output = Answer> + Send + 'static
    where
        F: Future<Output = Result<Answer, KafkaFault>> + Send + 'static,
    {
        let (connection, secrets) = (connection.clone(), self.secrets.clone());
        let reached = self.reached.get(&connection.name).cloned();
        async move {
            if let Some(reached) = reached
                && reached.await.is_err()
            {
                return (Verdict::Fail, format!("not asked: see {}", Kind::KafkaConnection.label(&connection.name)));
            }
            ask(connection, secrets).await.unwrap_or_else(|fault| (Verdict::Fail, fault.message))
        }
    }

    /// A camera's topic.
    pub(super) fn frames(&self, plan: &CameraPlan) -> impl Future<Output = Answer> + Send + 'static {
        let topic = plan.spec.topic.clone();
        let required = largest_record(plan.spec.encoding.max_frame_bytes, plan.spec.encoding.format);
        self.with(&plan.connection, move |connection, secrets| async move {
            Ok(match look::frames(&connection, &secrets, &topic, required).await? {
                Look::Creatable => (
                    Verdict::Ok,
                    format!("{} is not there yet and can be made, with {}", topic.name, partitions(topic.partitions)),
                ),
                found => there(&topic.name, found, "write"),
            })
        })
    }

    /// A topic that a sink reads.
    pub(super) fn read(
        &self,
        sink: &SinkPlan,
        topic: &str,
        plan: &Plan,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let makes = |camera: &&CameraPlan| {
            camera.spec.topic.name == topic
                && camera.spec.topic.ensure == EnsureTopic::Create
                && camera.connection.name == sink.connection.name
        };
        let maker = plan.cameras.iter().find(makes).map(|camera| Kind::CameraStream.label(&camera.name));
        let topic = topic.to_owned();
        self.with(&sink.connection, move |connection, secrets| async move {
            Ok(match (look::read(&connection, &secrets, &topic).await?, maker) {
                (Look::Missing, Some(maker)) => (Verdict::Ok, format!("{topic} is not there yet: {maker} makes it")),
                (Look::Missing, None) => {
                    (Verdict::Fail, format!("there is no topic {topic}: make it, or start the camera that fills it"))
                }
                (found, _) => there(&topic, found, "read"),
            })
        })
    }

    /// A sink's consumer group.
    pub(super) fn group(&self, sink: &SinkPlan) -> impl Future<Output = Answer> + Send + 'static {
        let group = sink.group.clone();
        self.with(&sink.connection, move |connection, secrets| async move {
            let members = match look::group(&connection, &secrets, &group).await? {
                None => "no member yet".to_owned(),
                Some(0) => "this user may join, no member now".to_owned(),
                Some(1) => "this user may join, 1 member now".to_owned(),
                Some(members) => format!("this user may join, {members} members now"),
            };
            Ok((Verdict::Ok, format!("{group}: {members}")))
        })
    }

    /// A sink's dead-letter topic, where it has one.
    pub(super) fn letters(&self, sink: &SinkPlan) -> Option<impl Future<Output = Answer> + Send + 'static> {
        let dead = sink.spec.dead_letter.as_ref().filter(|_| sink.on_invalid == OnInvalid::DeadLetter)?;
        let topic = dead.topic.clone();
        Some(self.with(&sink.connection, move |connection, secrets| async move {
            Ok(match look::letters(&connection, &secrets, &topic, dead_letter::LARGEST).await? {
                Look::Creatable => (Verdict::Ok, format!("{topic} is not there yet and can be made")),
                found => there(&topic, found, "write"),
            })
        }))
    }
}

/// Whether brokers answer and take the login.
async fn cluster(connection: Connection, reached: impl Future<Output = Result<usize, KafkaFault>>) -> Answer {
    match reached.await {
        Ok(brokers) => {
            let plural = if brokers == 1 { "" } else { "s" };
            let tls = if connection.spec.tls.is_some() { "TLS" } else { "plain text" };
            let login = match &connection.spec.sasl {
                Some(sasl) => format!("{} login", sasl.mechanism.as_str()),
                None => "no login".into(),
            };
            (Verdict::Ok, format!("{brokers} broker{plural}, {tls}, {login}"))
        }
        Err(fault) => (Verdict::Fail, fault.message),
    }
}

/// A topic that is there.
fn there(topic: &str, found: Look, what: &str) -> Answer {
    let Look::There { report: TopicReport { shape, max_message_bytes, .. }, rights } = found else {
        return (Verdict::Fail, format!("there is no topic {topic}"));
    };
    let copies = shape.replication_factor;
    let mut words = vec![
        format!("{topic}: {}", partitions(shape.partitions)),
        if copies == 1 { "1 copy".into() } else { format!("{copies} copies") },
    ];
    words.extend(max_message_bytes.map(|limit| format!("records up to {limit} bytes")));
    words.push(match rights {
        Some(_) => format!("this user may {what}"),
        None => "the brokers do not tell what this user may do".into(),
    });
    (Verdict::Ok, words.join(", "))
}

fn partitions(n: i32) -> String {
    if n == 1 { "1 partition".into() } else { format!("{n} partitions") }
}
