//! What Kafka refused, in words that name the broker, topic or field and the remedy.

use std::{fmt, sync::Arc};

use edgereel_crds::{name::ObjectName, plan::Connection, status::Reason};
use edgereel_runtime::{fault::Fault, plain::plain};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode as Code},
    types::RDKafkaConfRes,
};

use super::detail::{Misfit, tidy, tls_words, way_words};

/// Why Kafka cannot be used, or did not take a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KafkaFault {
    /// For the condition.
    pub reason: Reason,
    /// For people: what is wrong and what to do, without credentials.
    pub message: String,
    /// Whether it may go away by itself. When false, a person has to change something, here or at the brokers.
    pub retriable: bool,
}

impl KafkaFault {
    /// A fault that may go away by itself.
    pub fn passing(reason: Reason, message: impl Into<String>) -> Self {
        KafkaFault { reason, message: plain(message.into()), retriable: true }
    }

    /// A fault that needs a person.
    pub fn lasting(reason: Reason, message: impl Into<String>) -> Self {
        KafkaFault { reason, message: plain(message.into()), retriable: false }
    }
}

impl From<KafkaFault> for Fault {
    fn from(fault: KafkaFault) -> Self {
        Fault::new(fault.reason, fault.message)
    }
}

/// What a client works for: decides whose fields its faults advise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A camera: its topic and its producer have fields of their own.
    Camera,
    /// A sink that reads.
    Sink,
    /// A sink's dead letters.
    DeadLetters,
    /// Whoever only looks.
    Other,
}

/// A right on a topic, as `kafka-acls --operation` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Kafka's own terms
pub enum Right {
    Create,
    Delete,
    Describe,
    DescribeConfigs,
    Read,
    Write,
}

/// What a fault is about: the names that its words need. Cheap to clone, shown as the connection's name.
#[derive(Clone, Debug)]
pub struct Subject {
    connection: Arc<ObjectName>,
    brokers: Arc<str>,
    tls: bool,
    sasl: bool,
    topic: Option<Arc<str>>,
    group: Option<Arc<str>>,
    role: Role,
    right: Option<Right>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connection.fmt(f)
    }
}

impl Subject {
    /// A connection as a whole.
    pub fn new(connection: &Connection) -> Self {
        Subject {
            connection: Arc::new(connection.name.clone()),
            brokers: connection.spec.bootstrap_servers.join(", ").into(),
            tls: connection.spec.tls.is_some(),
            sasl: connection.spec.sasl.is_some(),
            topic: None,
            group: None,
            role: Role::Other,
            right: None,
        }
    }

    /// The same connection, and a topic there.
    pub fn topic(&self, topic: &str) -> Self {
        Subject { topic: Some(topic.into()), ..self.clone() }
    }

    /// The topic's name, if it is about one.
    pub fn topic_name(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// The same connection, and a consumer group there: a sink's.
    pub fn group(&self, group: &str) -> Self {
        Subject { group: Some(group.into()), role: Role::Sink, ..self.clone() }
    }

    /// The same, for a client that works for `role`.
    pub fn role(&self, role: Role) -> Self {
        Subject { role, ..self.clone() }
    }

    /// The same, for a request that needs this right on the topic.
    pub fn needing(&self, right: Right) -> Self {
        Subject { right: Some(right), ..self.clone() }
    }

    /// The right on the topic that is missing where the brokers say that one is: what the role does, unless the request was
    /// another.
    fn right(&self) -> Right {
        self.right.unwrap_or(match self.role {
            Role::Camera | Role::DeadLetters => Right::Write,
            Role::Sink => Right::Read,
            Role::Other => Right::Describe,
        })
    }

    /// What to say to a camera, to a sink that reads, of its dead letters, and to others.
    fn advice(
        &self,
        camera: &'static str,
        sink: &'static str,
        letters: &'static str,
        other: &'static str,
    ) -> &'static str {
        match self.role {
            Role::Camera => camera,
            Role::Sink => sink,
            Role::DeadLetters => letters,
            Role::Other => other,
        }
    }

    /// There is no token to log in with.
    pub fn no_token(&self, why: &str) -> KafkaFault {
        let message = format!("KafkaConnection {}: no token to log in with: {why}", self.connection);
        KafkaFault::passing(Reason::KafkaUnauthorized, message)
    }

    /// A configuration that cannot work, in our own words.
    pub fn misconfigured(&self, field: &str, message: impl fmt::Display) -> KafkaFault {
        let text = format!("KafkaConnection {}: spec.{field}: {message}", self.connection);
        KafkaFault::lasting(Reason::InvalidConfiguration, text)
    }

    /// The fault that an error of the library means.
    pub fn fault(&self, error: &KafkaError) -> KafkaFault {
        match error {
            // The value is left out: it may be a secret.
            KafkaError::ClientConfig(result, detail, key, _) => {
                let detail = match result {
                    RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "librdkafka has no such setting; look for a typing error",
                    _ if key.contains("password") || key.contains("secret") => "the value is refused",
                    _ => detail,
                };
                self.misconfigured(&format!("properties[{key}]"), detail)
            }
            KafkaError::ClientCreation(detail) => self.misconfigured(creation_field(detail), detail),
            KafkaError::AdminOp(code) => self.code(*code, ""),
            other => match other.rdkafka_error_code() {
                Some(code) => self.code(code, ""),
                None => KafkaFault::passing(Reason::InternalError, format!("Kafka client: {other}")),
            },
        }
    }

    /// The fault that an error code means to a client that has not worked yet: its settings may not fit the listener.
    pub fn first_contact(&self, code: Code, detail: &str) -> KafkaFault {
        let Some(misfit) = Misfit::guess(detail, self.tls, self.sasl) else { return self.code(code, detail) };
        // A guess, since a broker that stops in that moment looks the same: so it is tried again.
        let message = format!("KafkaConnection {}: {}: {}", self.connection, misfit.words(), tidy(detail));
        KafkaFault::passing(Reason::KafkaUnreachable, message)
    }

    /// The fault that an error code means. `detail` is the library's or the broker's own message, where there is one.
    pub fn code(&self, code: Code, detail: &str) -> KafkaFault {
        let detail = tidy(detail);
        let because = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        let topic = self.topic.as_deref().unwrap_or("?");
        let group = self.group.as_deref().unwrap_or("?");
        let at = format!("KafkaConnection {}", self.connection);
        match code {
            Code::SSL => KafkaFault::lasting(Reason::KafkaUnreachable, format!("{at}: {}", tls_words(&detail))),
            Code::BrokerTransportFailure | Code::AllBrokersDown | Code::NetworkException | Code::BrokerNotAvailable => {
                // That so many of so many are down says no more than the rest, and counts a broker twice.
                let because = if code == Code::AllBrokersDown { String::new() } else { way(&detail) };
                KafkaFault::passing(
                    Reason::KafkaUnreachable,
                    format!(
                        "{at}: no broker of [{}] answers{because}; check spec.bootstrapServers, the network, and that \
                         Kafka runs",
                        self.brokers
                    ),
                )
            }
            Code::Resolve => KafkaFault::passing(
                Reason::KafkaUnreachable,
                format!(
                    "{at}: no broker of [{}] answers{}; check spec.bootstrapServers and the DNS",
                    self.brokers,
                    if detail.is_empty() { ": a name is not found".into() } else { way(&detail) }
                ),
            ),
            Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => KafkaFault::passing(
                Reason::KafkaUnreachable,
                format!("{at}: the brokers [{}] did not answer in time{because}", self.brokers),
            ),
            Code::Authentication | Code::SaslAuthenticationFailed | Code::UnacceptableCredential => {
                KafkaFault::lasting(
                    Reason::KafkaUnauthorized,
                    format!("{at}: the login is refused{because}; check spec.sasl and the secrets that it names"),
                )
            }
            Code::UnsupportedSASLMechanism | Code::IllegalSASLState => KafkaFault::lasting(
                Reason::KafkaUnauthorized,
                format!("{at}: the broker does not take this kind of login{because}; check spec.sasl.mechanism"),
            ),
            Code::TopicAuthorizationFailed => {
                let right = self.right();
                KafkaFault::lasting(
                    Reason::KafkaUnauthorized,
                    format!(
                        "{at}: this user lacks the right {right:?} on topic {topic}{because}; grant it (kafka-acls --add \
                         --topic {topic} --operation {right:?}){}",
                        self.advice(
                            "; a camera needs Write and DescribeConfigs, and Create where it is to make the topic",
                            "; a sink needs Read",
                            "; dead letters need Write and DescribeConfigs, and Create where the sink is to make the topic",
                            "",
                        )
                    ),
                )
            }
            Code::GroupAuthorizationFailed => KafkaFault::lasting(
                Reason::KafkaUnauthorized,
                format!(
                    "{at}: this user lacks the right Read on consumer group {group}{because}; grant it (kafka-acls --add \
                     --group {group} --operation Read)"
                ),
            ),
            // The only thing that clients ask of the cluster itself, but for topics: a producer's id.
            Code::ClusterAuthorizationFailed => KafkaFault::lasting(
                Reason::KafkaUnauthorized,
                format!(
                    "{at}: this user lacks the right IdempotentWrite on the cluster{because}; grant it (kafka-acls --add \
                     --cluster --operation IdempotentWrite), or Write on the topic, which is enough from Kafka 2.8 on"
                ),
            ),
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId => {
                KafkaFault::passing(
                    Reason::TopicMissing,
                    format!(
                        "{at}: there is no topic {topic}{because}; {}",
                        self.advice(
                            "make it, or set spec.topic.ensure: create",
                            "make it, or start the camera that fills it",
                            "make it; the sink does when it starts again, if it may",
                            "make it",
                        )
                    ),
                )
            }
            Code::InvalidTopic => KafkaFault::lasting(
                Reason::InvalidConfiguration,
                format!("{at}: `{topic}` is not a topic's name{because}; use letters, digits, `.`, `_` and `-`"),
            ),
            Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => KafkaFault::lasting(
                Reason::MessageTooLarge,
                format!(
                    "topic {topic}: a record is larger than the topic takes{because}; raise the topic's \
                     max.message.bytes (or the brokers' message.max.bytes and replica.fetch.max.bytes){}",
                    self.advice(", or lower spec.encoding.maxFrameBytes", "", "", "")
                ),
            ),
            Code::PolicyViolation => KafkaFault::lasting(
                Reason::TopicMismatch,
                format!(
                    "topic {topic}: the brokers' policy refuses it{because}; {}",
                    self.advice(
                        "change spec.topic to what it asks for",
                        "ask who runs the brokers",
                        "make it as the policy asks: the sink takes a topic that is there as it is",
                        "ask who runs the brokers",
                    )
                ),
            ),
            Code::InvalidReplicationFactor => KafkaFault::lasting(
                Reason::TopicMismatch,
                format!(
                    "topic {topic}: the replication factor cannot be had{because}; {}start more brokers",
                    self.advice("lower spec.topic.replicationFactor to their number, or ", "", "", "")
                ),
            ),
            Code::InvalidPartitions | Code::InvalidConfig | Code::InvalidRequest => KafkaFault::lasting(
                Reason::InvalidConfiguration,
                format!(
                    "topic {topic}: the brokers refuse the settings{because}{}",
                    self.advice("; check spec.topic", "", "; make it as they ask", "")
                ),
            ),
            Code::MessageTimedOut => KafkaFault::passing(
                Reason::KafkaUnreachable,
                format!(
                    "topic {topic}: not acknowledged within {}{because}",
                    self.advice("spec.producer.deliveryTimeout", "its time", "30 s", "its time")
                ),
            ),
            Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend | Code::ISRInsufficient => {
                KafkaFault::passing(
                    Reason::KafkaUnreachable,
                    format!(
                        "topic {topic}: fewer replicas are in sync than min.insync.replicas asks for{because}; start \
                         the missing brokers"
                    ),
                )
            }
            Code::LeaderNotAvailable | Code::NotLeaderForPartition | Code::EligibleLeadersNotAvailable => {
                KafkaFault::passing(
                    Reason::KafkaUnreachable,
                    format!("topic {topic}: a partition has no leader{because}; look at the brokers that hold it"),
                )
            }
            Code::KafkaStorageError | Code::LogDirNotFound => KafkaFault::passing(
                Reason::KafkaUnreachable,
                format!("topic {topic}: a broker cannot write its disk{because}; look at the broker's log"),
            ),
            Code::PurgeQueue | Code::PurgeInflight => KafkaFault::passing(
                Reason::Stopping,
                format!("topic {topic}: not acknowledged before the worker stopped"),
            ),
            Code::FencedInstanceId | Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => {
                KafkaFault::passing(
                    Reason::NotAssigned,
                    format!("{at}: another worker has taken this one's identity{because}; run each resource once"),
                )
            }
            Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::NoOffset => KafkaFault::lasting(
                Reason::OffsetLost,
                format!(
                    "topic {topic}: the committed offset is no longer there{because}; records were deleted before they \
                     were read{}",
                    self.advice("", ": set spec.onOffsetLost", "", "")
                ),
            ),
            Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat => {
                KafkaFault::lasting(
                    Reason::InvalidConfiguration,
                    format!(
                        "{at}: the brokers are too old for this{because}; Edgereel needs Apache Kafka 2.4 or later"
                    ),
                )
            }
            Code::Fatal | Code::OutOfOrderSequenceNumber | Code::UnknownProducerId | Code::GaplessGuarantee => {
                KafkaFault::passing(
                    Reason::InternalError,
                    format!("topic {topic}: the producer lost its sequence with the broker{because}; it is made anew"),
                )
            }
            other => KafkaFault::passing(Reason::KafkaUnreachable, format!("{at}: {other}{because}")),
        }
    }
}

/// What is the matter with the way to a broker, as a clause.
fn way(detail: &str) -> String {
    match way_words(detail) {
        Some(words) => format!(": {words}"),
        None if detail.is_empty() => String::new(),
        None => format!(": {detail}"),
    }
}

/// The field that a refusal to make a client is about.
fn creation_field(detail: &str) -> &'static str {
    let fields = [
        ("ssl.ca", "tls.caSecretRef"),
        ("ssl.certificate", "tls.clientCertificateSecretRef"),
        ("ssl.key", "tls.clientCertificateSecretRef"),
        ("private key", "tls.clientCertificateSecretRef"),
        ("sasl", "sasl"),
    ];
    fields.iter().find(|(word, _)| detail.contains(word)).map_or("properties", |(_, field)| field)
}

#[cfg(test)]
mod tests;
