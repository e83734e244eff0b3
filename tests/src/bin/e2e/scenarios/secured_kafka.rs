//! A Kafka with TLS, logins and ACLs.

use std::{process::Command, time::Duration};

use edgereel_tests::{kafka::Cluster, process, project_root, resources::resource};
use serde_json::{Value, json};

use crate::{kube::Kind, lab::Lab, world::World};

/// The authority's certificate in a ConfigMap, as trust-manager hands it out.
pub fn trust(kafka: &Cluster) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trust"}, "data": {"ca.crt": kafka.ca_pem()}})
}

/// The Secret of a `KafkaUser`, as Strimzi makes it for `scram-sha-512`.
pub fn login(user: &str, password: &str) -> Value {
    let jaas = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{user}\" password=\"{password}\";"
    );
    json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": user, "labels": {"strimzi.io/kind": "KafkaUser", "strimzi.io/cluster": "edge"}},
        "stringData": {"password": password, "sasl.jaas.config": jaas}})
}

/// Gives `guest` a right.
#[track_caller]
fn grant(kafka: &Cluster, on: &[&str], operations: &[&str]) {
    let mut acls = Command::new(project_root().join("dev/kafka/kafka-cli.sh"));
    acls.arg(kafka.dir()).args(["acls", "--bootstrap-server", kafka.bootstrap(), "--command-config"]);
    acls.arg(kafka.dir().join("secure/admin.properties")).args(["--add", "--allow-principal", "User:guest"]).args(on);
    acls.args(operations.iter().flat_map(|operation| ["--operation", operation]));
    process::output("acls", acls, Duration::from_secs(120)).unwrap_or_else(|e| panic!("{e:#}"));
}

pub fn a_right_that_is_missing_is_named_until_it_is_granted(world: &World) {
    let (kafka, lab) = (world.secure_kafka(), Lab::open(world, "rights"));
    let authority = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "edge-cluster-ca-cert"},
        "stringData": {"ca.crt": kafka.ca_pem()}});
    let connection = |name: &str, tls: Value| {
        let password = json!({"name": "guest", "key": "password"});
        let sasl = json!({"mechanism": "SCRAM-SHA-512", "username": "guest", "passwordSecretRef": password});
        resource("KafkaConnection", name, json!({"bootstrapServers": [kafka.bootstrap()], "tls": tls, "sasl": sasl}))
    };
    let by = |name: &str| json!({"kafka": {"connectionRef": {"name": name}}});
    let (topic, group) = (lab.topic("cam"), format!("edgereel.{}.files", lab.namespace));
    lab.apply(&[
        trust(kafka),
        authority,
        login("guest", &kafka.guest_password()),
        connection("edge", json!({"caSecretRef": {"name": "edge-cluster-ca-cert", "key": "ca.crt"}})),
        connection("edge-too", json!({"caConfigMapRef": {"name": "trust", "key": "ca.crt"}})),
        lab.synthetic("cam", by("edge")),
    ]);
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "KafkaUnauthorized");
    assert!(message.contains(&format!("kafka-acls --add --topic {topic} --operation")), "{message}");
    grant(kafka, &["--topic", &topic], &["Describe", "DescribeConfigs", "Create", "Write", "Read"]);
    lab.await_ready(Kind::Camera, "cam");
    lab.apply(&[lab.sink("files", "cam", by("edge-too"))]);
    let message = lab.await_reason(Kind::Sink, "files", "Ready", "KafkaUnauthorized");
    assert!(message.contains(&format!("kafka-acls --add --group {group} --operation Read")), "{message}");
    grant(kafka, &["--group", &group], &["Read"]);
    lab.await_ready(Kind::Sink, "files");
    lab.await_frames("files", 20);
    let reached = lab.await_reason(Kind::Connection, "edge-too", "Ready", "Running");
    assert!(reached.contains("the login works"), "{reached}");
}
