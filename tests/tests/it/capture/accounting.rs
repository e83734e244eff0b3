//! Every frame's fate is known, whatever becomes of the producer: captured = acknowledged + dropped + waiting in each answer
//! of `/status`, and in the end the topic holds as many as were acknowledged.

use std::process::Command;

use edgereel_tests::{
    Edgereel,
    kafka::{self, Cluster},
    metrics::Metrics,
    process, project_root, resources,
    synthetic::Cameras,
    unique,
};
use serde_json::{Value, json};

use super::{mjpeg, whole_and_in_order};
use crate::support::{is_ready, is_unready};

/// A camera's frames by `/status`: captured, acknowledged, dropped and waiting. They have to add up.
#[track_caller]
fn account(entry: &Value) -> [u64; 4] {
    let figures = &entry["figures"];
    let figure = |name: &str| figures[name].as_u64().unwrap_or_else(|| panic!("no {name} in {entry:#}"));
    let all = ["framesCaptured", "framesAcknowledged", "framesDropped", "framesWaiting"].map(figure);
    assert_eq!(all[0], all[1] + all[2] + all[3], "{entry:#}");
    all
}

/// Waits until the camera's entry is as wished, looking at its figures all the while.
#[track_caller]
fn watch(worker: &Edgereel, what: &str, mut wish: impl FnMut(&Value, [u64; 4]) -> bool) -> [u64; 4] {
    let mut last = [0; 4];
    worker.await_status_of("cam", what, |entry| {
        last = account(entry);
        wish(entry, last)
    });
    last
}

fn dropped(metrics: &Metrics, reason: &str) -> u64 {
    metrics.sum("camera_frames_dropped_total", &[("name", "cam"), ("reason", reason)]) as u64
}

#[test]
fn a_topic_that_is_deleted_while_frames_wait_costs_none_that_is_not_counted() {
    const FRAMES: u64 = 900;
    let (kafka, topic) = (kafka::shared(), unique("deleted"));
    // It pauses before the deletion, so that what stood in the first topic is known.
    let pause = ["--bad", "stall", "--after", "60", "--for", "12s", "--frames", &FRAMES.to_string()];
    let cameras = Cameras::start(&pause);
    let more = json!({"watchdog": {"stall": "60s"}});
    let camera = resources::camera("cam", mjpeg(cameras.url("")), &topic, more);
    let worker = Edgereel::run([resources::write(&[resources::connection(kafka.bootstrap()), camera])]);
    let [_, before, ..] = watch(&worker, "the camera pauses", |_, [captured, _, _, waiting]| {
        captured >= 55 && waiting == 0 && cameras.counts().1 == captured && cameras.counts().0 < FRAMES
    });
    kafka.delete_topic(&topic);
    watch(&worker, "frames wait for a topic", |_, [.., waiting]| waiting > 0);
    let mut kept = 0;
    watch(&worker, "the producer has failed while frames wait", |entry, [.., waiting]| {
        kept = waiting;
        waiting > 0 && is_unready(entry, "TopicMissing")
    });
    assert!(kept > 0);
    watch(&worker, "is ready again", |entry, _| is_ready(entry));
    let [_, acknowledged, lost, _] = watch(&worker, "all frames are settled", |_, [captured, _, _, waiting]| {
        cameras.counts().0 == FRAMES && captured > before && waiting == 0
    });
    let metrics = worker.metrics();
    assert!(metrics.count("restarts", "cam") > 0, "it is another run, with another producer");
    assert!(acknowledged > before);
    let reasons = ["delivery_failed", "delivery_timeout", "buffer_full"].map(|reason| dropped(&metrics, reason));
    assert_eq!(reasons.iter().sum::<u64>(), lost, "each has its reason");
    assert!(worker.stop().success());
    let records = kafka.consume_all(&topic);
    assert_eq!(records.len() as u64, acknowledged - before, "the second topic holds what was acknowledged since");
    whole_and_in_order(&records);
}

/// What the user `guest` may do with the topic.
fn rights(kafka: &Cluster, topic: &str, change: &str, operations: &[&str]) {
    let mut command = Command::new(project_root().join("dev/kafka/kafka-cli.sh"));
    command.arg(kafka.dir()).args(["acls", "--bootstrap-server", kafka.bootstrap(), "--command-config"]);
    command.arg(kafka.dir().join("secure/admin.properties")).args([change, "--topic", topic]);
    command.args(["--allow-principal", "User:guest"]);
    command.args(operations.iter().flat_map(|operation| ["--operation", operation]));
    if change == "--remove" {
        command.arg("--force");
    }
    process::output("acls", command, std::time::Duration::from_secs(120)).unwrap_or_else(|e| panic!("{e:#}"));
}

#[test]
fn a_right_that_is_revoked_while_frames_flow_costs_none_that_is_not_counted() {
    let (kafka, topic) = (kafka::secure(), unique("revoked"));
    kafka.create_topic(&topic, 1, &[]);
    rights(kafka, &topic, "--add", &["Describe", "DescribeConfigs", "Write"]);
    let cameras = Cameras::start(&[]);
    let key = |key: &str| json!({"name": "login", "key": key});
    let spec = json!({
        "bootstrapServers": [kafka.bootstrap()],
        "tls": {"caSecretRef": key("ca.crt")},
        "sasl": {"mechanism": "SCRAM-SHA-512", "usernameSecretRef": key("user"), "passwordSecretRef": key("password")},
    });
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"ca.crt": kafka.ca_pem(), "user": "guest", "password": kafka.guest_password()}});
    let topic_spec = json!({"topic": {"name": topic, "ensure": "exists"}});
    let camera = resources::camera("cam", mjpeg(cameras.url("")), "", topic_spec);
    let connection = resources::resource("KafkaConnection", resources::CONNECTION, spec);
    let worker = Edgereel::run([resources::write(&[connection, secret, camera])]);
    watch(&worker, "frames flow", |entry, [_, acknowledged, ..]| is_ready(entry) && acknowledged > 30);
    rights(kafka, &topic, "--remove", &["Write"]);
    watch(&worker, "the user may not write any more", |entry, [_, _, lost, _]| {
        lost > 30 && is_unready(entry, "KafkaUnauthorized")
    });
    rights(kafka, &topic, "--add", &["Write"]);
    let [_, then, ..] = watch(&worker, "is ready again", |entry, _| is_ready(entry));
    watch(&worker, "frames flow again", |_, [_, acknowledged, ..]| acknowledged > then + 30);
    drop(cameras);
    let [_, acknowledged, lost, _] = watch(&worker, "all are settled", |entry, [.., waiting]| {
        waiting == 0 && is_unready(entry, "CameraUnreachable")
    });
    assert_eq!(dropped(&worker.metrics(), "delivery_failed"), lost, "nothing else was dropped");
    assert!(worker.stop().success());
    let records = kafka.consume_all(&topic);
    assert_eq!(records.len() as u64, acknowledged);
    whole_and_in_order(&records);
}
