//! What Kafka refused, in words that name the broker, topic or field and the remedy.

use std::{fmt, sync::Arc};

use edgereel_crds::{
    plan::{Connection, ObjectName},
    status::Reason,
};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode as Code},
    types::RDKafkaConfRes,
};

use super::detail::{Misfit, tidy, tls_words};
use crate::plain::plain;

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

/// What a fault is about: the names that its words need. Cheap to clone, shown as the connection's name.
#[derive(Clone, Debug)]
pub struct Subject {
    connection: Arc<ObjectName>,
    brokers: Arc<str>,
    tls: bool,
    sasl: bool,
    topic: Option<Arc<str>>,
    group: Option<Arc<str>>,
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
        }
    }

    /// The same connection, and a topic there.
    pub fn topic(&self, topic: &str) -> Self {
        Subject { topic: Some(topic.into()), ..self.clone() }
    }

    /// The same connection, and a consumer group there.
    pub fn group(&self, group: &str) -> Self {
        Subject { group: Some(group.into()), ..self.clone() }
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
                format!("{at}: a broker's name does not resolve{because}; check spec.bootstrapServers and the DNS"),
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
            Code::TopicAuthorizationFailed => KafkaFault::lasting(
                Reason::KafkaUnauthorized,
                format!(
                    "{at}: this user may not use topic {topic}{because}; grant it (kafka-acls --add --topic {topic} \
                     --operation Describe --operation DescribeConfigs, and Write for a camera, Read for a sink, Create \
                     to make it)"
                ),
            ),
            Code::GroupAuthorizationFailed => KafkaFault::lasting(
                Reason::KafkaUnauthorized,
                format!(
                    "{at}: this user may not use consumer group {group}{because}; grant it (kafka-acls --add --group \
                     {group} --operation Read)"
                ),
            ),
            Code::ClusterAuthorizationFailed => KafkaFault::lasting(
                Reason::KafkaUnauthorized,
                format!(
                    "{at}: this user may not do this on the cluster{because}; grant it (kafka-acls --add --cluster \
                     --operation IdempotentWrite, and Create to make topics), or use a user who may"
                ),
            ),
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId => {
                KafkaFault::passing(
                    Reason::TopicMissing,
                    format!("{at}: there is no topic {topic}{because}; make it, or set spec.topic.ensure: create"),
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
                     max.message.bytes (or the brokers' message.max.bytes and replica.fetch.max.bytes), or lower \
                     spec.encoding.maxFrameBytes"
                ),
            ),
            Code::PolicyViolation => KafkaFault::lasting(
                Reason::TopicMismatch,
                format!(
                    "topic {topic}: the brokers' policy refuses it{because}; change spec.topic to what it asks for"
                ),
            ),
            Code::InvalidReplicationFactor => KafkaFault::lasting(
                Reason::TopicMismatch,
                format!(
                    "topic {topic}: the replication factor cannot be had{because}; lower \
                     spec.topic.replicationFactor to the number of brokers, or start more"
                ),
            ),
            Code::InvalidPartitions | Code::InvalidConfig | Code::InvalidRequest => KafkaFault::lasting(
                Reason::InvalidConfiguration,
                format!("topic {topic}: the brokers refuse the settings{because}; check spec.topic"),
            ),
            Code::MessageTimedOut => KafkaFault::passing(
                Reason::KafkaUnreachable,
                format!("topic {topic}: not acknowledged within spec.producer.deliveryTimeout{because}"),
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
                     were read: set spec.onOffsetLost"
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
mod tests {
    use std::collections::BTreeMap;

    use edgereel_crds::{
        KafkaConnectionSpec,
        kafka_connection::{KafkaTls, Sasl, SaslMechanism},
    };

    use super::*;

    fn subject(tls: bool, sasl: bool) -> Subject {
        let mechanism = SaslMechanism::Plain;
        let sasl =
            sasl.then_some(Sasl { mechanism, username_secret_ref: None, password_secret_ref: None, oauth: None });
        let spec = KafkaConnectionSpec {
            bootstrap_servers: vec!["a:9092".into(), "b:9092".into()],
            tls: tls.then(KafkaTls::default),
            sasl,
            properties: BTreeMap::new(),
        };
        let name = ObjectName { namespace: "default".into(), name: "lab".into() };
        Subject::new(&Connection { name, spec }).topic("cam").group("g")
    }

    #[test]
    fn each_error_has_its_reason_its_remedy_and_whether_a_person_is_needed() {
        for (code, detail, reason, retriable, words) in [
            (
                Code::BrokerTransportFailure,
                "a:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
                Reason::KafkaUnreachable,
                true,
                "KafkaConnection default/lab: no broker of [a:9092, b:9092] answers: a:9092/bootstrap: Connect to \
                 ipv4#10.0.0.1:9092 failed: Connection refused; check spec.bootstrapServers",
            ),
            (Code::Resolve, "", Reason::KafkaUnreachable, true, "does not resolve"),
            (
                Code::Authentication,
                "SASL says no",
                Reason::KafkaUnauthorized,
                false,
                "refused: SASL says no; check spec.sasl",
            ),
            (Code::SaslAuthenticationFailed, "", Reason::KafkaUnauthorized, false, "secrets that it names"),
            (Code::UnsupportedSASLMechanism, "", Reason::KafkaUnauthorized, false, "spec.sasl.mechanism"),
            (Code::TopicAuthorizationFailed, "", Reason::KafkaUnauthorized, false, "kafka-acls --add --topic cam"),
            (Code::GroupAuthorizationFailed, "", Reason::KafkaUnauthorized, false, "kafka-acls --add --group g"),
            (Code::ClusterAuthorizationFailed, "", Reason::KafkaUnauthorized, false, "kafka-acls --add --cluster"),
            (Code::UnknownTopicOrPartition, "", Reason::TopicMissing, true, "no topic cam; make it"),
            (
                Code::MessageSizeTooLarge,
                "",
                Reason::MessageTooLarge,
                false,
                "max.message.bytes (or the brokers' message.max.bytes",
            ),
            (Code::PolicyViolation, "at least 3 copies", Reason::TopicMismatch, false, "at least 3 copies"),
            (Code::MessageTimedOut, "", Reason::KafkaUnreachable, true, "spec.producer.deliveryTimeout"),
            (Code::NotEnoughReplicas, "", Reason::KafkaUnreachable, true, "min.insync.replicas"),
            (Code::FencedInstanceId, "", Reason::NotAssigned, true, "another worker"),
            (Code::OffsetOutOfRange, "", Reason::OffsetLost, false, "spec.onOffsetLost"),
            (Code::Fatal, "", Reason::InternalError, true, "made anew"),
            (
                Code::SSL,
                "ssl://a:9092/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: \
                 broker certificate could not be verified, verify that ssl.ca.location is correctly configured or root \
                 CA certificates are installed (install ca-certificates package) (after 6ms in state SSL_HANDSHAKE)",
                Reason::KafkaUnreachable,
                false,
                "SSL handshake failed: certificate verify failed; the broker's certificate is not signed by",
            ),
        ] {
            let fault = subject(true, true).code(code, detail);
            assert_eq!((fault.reason, fault.retriable), (reason, retriable), "{code:?}: {fault}");
            assert!(fault.message.contains(words), "{code:?}: no `{words}` in: {fault}");
        }
    }

    #[test]
    fn a_listener_of_another_protocol_is_guessed_from_where_the_handshake_broke_off() {
        let hung_up = "a:9092/1: Disconnected: connection closed by peer: receive 0 after POLLIN";
        let eof = "ssl://a:9092/1: error:0A000126:SSL routines::unexpected eof while reading (after 0ms in state SSL_HANDSHAKE)";
        let state = "SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state";
        for (tls, sasl, detail, words) in [
            (false, false, format!("{hung_up} (after 3ms in state APIVERSION_QUERY)"), "set spec.tls"),
            (true, true, format!("{hung_up} (after 3ms in state APIVERSION_QUERY)"), "no broker of"),
            (true, false, eof.to_owned(), "remove spec.tls"),
            (true, true, format!("{hung_up} (after 3ms in state SSL_HANDSHAKE)"), "remove spec.tls"),
            (
                true,
                false,
                format!("{hung_up} (after 1999ms in state UP, 3 identical error(s) suppressed)"),
                "set spec.sasl",
            ),
            (true, false, format!("{hung_up} (after 2000ms in state UP)"), "no broker of"),
            (true, false, "Send failed: Broken pipe: x (after 1ms in state UP)".to_owned(), "set spec.sasl"),
            (true, true, format!("{hung_up} (after 3ms in state UP)"), "no broker of"),
            (false, true, state.to_owned(), "remove spec.sasl"),
        ] {
            let fault = subject(tls, sasl).first_contact(Code::BrokerTransportFailure, &detail);
            assert!(fault.retriable && fault.message.contains(words), "no `{words}` in: {fault}");
        }
    }

    #[test]
    fn a_refused_property_is_named_without_its_value() {
        let mut config = rdkafka::ClientConfig::new();
        config.set("ssl.key.password", "s3cret").set("socket.keepalive.enable", "perhaps-s3cret");
        let error = config.create_native_config().map(drop).expect_err("not a boolean");
        let fault = subject(true, true).fault(&error);
        assert_eq!(fault.reason, Reason::InvalidConfiguration);
        assert!(fault.message.contains("spec.properties[socket.keepalive.enable]"), "{fault}");
        config = rdkafka::ClientConfig::new();
        config.set("soket.keepalive.enable", "true");
        let error = config.create_native_config().map(drop).expect_err("no such setting");
        let fault = subject(true, true).fault(&error);
        assert!(fault.message.contains("[soket.keepalive.enable]: librdkafka has no such setting"), "{fault}");
    }
}
