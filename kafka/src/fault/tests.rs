//! The words of faults, and whose fields they advise.

use std::collections::BTreeMap;

use edgereel_crds::{
    KafkaConnectionSpec,
    kafka_connection::{KafkaTls, Sasl, SaslMechanism},
};

use super::*;

fn subject(tls: bool, sasl: bool) -> Subject {
    let mechanism = SaslMechanism::Plain;
    let sasl = sasl.then_some(Sasl {
        mechanism,
        username: None,
        username_secret_ref: None,
        password_secret_ref: None,
        oauth: None,
    });
    let spec = KafkaConnectionSpec {
        allowed_namespaces: Default::default(),
        bootstrap_servers: vec!["a:9092".into(), "b:9092".into()],
        tls: tls.then(KafkaTls::default),
        sasl,
        properties: BTreeMap::new(),
    };
    let name = ObjectName { namespace: "default".into(), name: "lab".into() };
    Subject::new(&Connection { name, spec }).topic("cam").group("g").role(Role::Camera)
}

/// Fields of one role's resource, which nobody else may be sent to.
const CAMERAS: &[&str] = &["spec.topic", "spec.encoding", "spec.producer", "deliveryTimeout"];
const SINKS: &[&str] = &["spec.onOffsetLost"];

#[test]
fn nobody_is_advised_to_change_another_resources_field() {
    use Code::*;
    let codes = [
        SSL,
        AllBrokersDown,
        Resolve,
        OperationTimedOut,
        Authentication,
        UnsupportedSASLMechanism,
        TopicAuthorizationFailed,
        GroupAuthorizationFailed,
        ClusterAuthorizationFailed,
        UnknownTopicOrPartition,
        InvalidTopic,
        MessageSizeTooLarge,
        PolicyViolation,
        InvalidReplicationFactor,
        InvalidPartitions,
        InvalidConfig,
        MessageTimedOut,
        NotEnoughReplicas,
        LeaderNotAvailable,
        KafkaStorageError,
        PurgeQueue,
        FencedInstanceId,
        OffsetOutOfRange,
        UnsupportedVersion,
        Fatal,
        Unknown,
    ];
    let subject_of = subject;
    for role in [Role::Camera, Role::Sink, Role::DeadLetters, Role::Other] {
        let subject = subject_of(true, true).role(role);
        for code in codes {
            let fault = subject.code(code, "why");
            let foreign = [(Role::Camera, CAMERAS), (Role::Sink, SINKS)];
            let foreign = foreign.iter().filter(|(owner, _)| *owner != role).flat_map(|(_, fields)| *fields);
            for field in foreign {
                assert!(!fault.message.contains(field), "{role:?} is sent to {field}: {fault}");
            }
        }
    }
    let large = |role| subject(true, true).role(role).code(Code::MessageSizeTooLarge, "").message;
    assert!(large(Role::Camera).ends_with("or lower spec.encoding.maxFrameBytes"));
    assert!(large(Role::Sink).ends_with("replica.fetch.max.bytes)"));
    let lost = |role| subject_of(true, true).role(role).code(OffsetOutOfRange, "").message;
    assert!(lost(Role::Sink).ends_with("set spec.onOffsetLost"));
}

#[test]
fn each_error_has_its_reason_its_remedy_and_whether_a_person_is_needed() {
    for (code, detail, reason, retriable, words) in [
        (
            Code::BrokerTransportFailure,
            "a:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
            Reason::KafkaUnreachable,
            true,
            "KafkaConnection default/lab: no broker of [a:9092, b:9092] answers: nothing listens at a:9092 (connection \
             refused); check spec.bootstrapServers",
        ),
        (
            Code::AllBrokersDown,
            "0/2 brokers are down",
            Reason::KafkaUnreachable,
            true,
            "no broker of [a:9092, b:9092] answers; check",
        ),
        (
            Code::Resolve,
            "a:9092/bootstrap: Failed to resolve 'a:9092': Name or service not known (after 3ms in state CONNECT)",
            Reason::KafkaUnreachable,
            true,
            "no broker of [a:9092, b:9092] answers: the name of a:9092 is not found; check",
        ),
        (Code::Resolve, "", Reason::KafkaUnreachable, true, "a name is not found"),
        (
            Code::Authentication,
            "SASL says no",
            Reason::KafkaUnauthorized,
            false,
            "refused: SASL says no; check spec.sasl",
        ),
        (Code::SaslAuthenticationFailed, "", Reason::KafkaUnauthorized, false, "secrets that it names"),
        (Code::UnsupportedSASLMechanism, "", Reason::KafkaUnauthorized, false, "spec.sasl.mechanism"),
        (
            Code::TopicAuthorizationFailed,
            "",
            Reason::KafkaUnauthorized,
            false,
            "this user lacks the right Write on topic cam; grant it (kafka-acls --add --topic cam --operation Write); a camera",
        ),
        (
            Code::GroupAuthorizationFailed,
            "",
            Reason::KafkaUnauthorized,
            false,
            "this user lacks the right Read on consumer group g; grant it (kafka-acls --add --group g --operation Read)",
        ),
        (
            Code::ClusterAuthorizationFailed,
            "",
            Reason::KafkaUnauthorized,
            false,
            "this user lacks the right IdempotentWrite on the cluster; grant it (kafka-acls --add --cluster --operation",
        ),
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
    let eof =
        "ssl://a:9092/1: error:0A000126:SSL routines::unexpected eof while reading (after 0ms in state SSL_HANDSHAKE)";
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

#[test]
fn the_right_that_is_missing_is_the_requests_own_or_what_the_role_does() {
    let said = |subject: &Subject| subject.code(Code::TopicAuthorizationFailed, "").message;
    let of = |role| subject(true, true).role(role);
    for (subject, right) in [
        (of(Role::Camera), "Write"),
        (of(Role::Sink), "Read"),
        (of(Role::DeadLetters), "Write"),
        (of(Role::Other), "Describe"),
        (of(Role::Camera).needing(Right::DescribeConfigs), "DescribeConfigs"),
        (of(Role::Camera).needing(Right::Create), "Create"),
        (of(Role::Other).needing(Right::Delete), "Delete"),
    ] {
        let words = format!(
            "lacks the right {right} on topic cam; grant it (kafka-acls --add --topic cam --operation {right})"
        );
        assert!(said(&subject).contains(&words), "{}", said(&subject));
    }
}
