//! The brokers' versions that users have: the newest is every other test's.

use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{Cluster, Options},
    resources, scratch, unique,
};
use serde_json::{Value, json};

use crate::support::{await_lag_zero, condition, contents, jpeg_files, sorted, values};

/// The release that the Python scripts' set-up has.
const SCRIPTS: &str = "3.8.1";

#[test]
fn a_broker_of_the_scripts_version_takes_every_frame_and_gives_it_back() {
    let options = Options { version: Some(SCRIPTS), ..Options::default() };
    let kafka = Cluster::start(1, options).expect("a broker");
    let (topic, letters, disk) = (unique("frames"), unique("letters"), scratch::dir("disk"));
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    let more = json!({"deadLetter": {"topic": letters}});
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::camera("cam", source, &topic, json!({})),
        resources::sink("frames", &topic, jpeg_files(""), &disk, more),
    ]);
    let path = file.to_string_lossy().into_owned();
    let json_of = |args: &[&str]| -> Value {
        let finished = edgereel::call([args, &["-f", &path]].concat());
        assert!(finished.status.success(), "{args:?}: {}{}", finished.stdout, finished.stderr);
        serde_json::from_str(&finished.stdout).unwrap_or(Value::Null)
    };
    json_of(&["check"]);
    let worker = Edgereel::run([&file]);
    worker.await_metrics("frames are durable", |m| m.count("sink_frames_durable", "frames") > 30);
    // It comes back where it was.
    kafka.restart(0);
    let before = worker.metrics().count("sink_frames_durable", "frames");
    worker.await_metrics("frames go on", |m| m.count("sink_frames_durable", "frames") > before + 30);
    assert!(worker.stop().success());
    let worker = Edgereel::run_args([&file], &["--only", "FrameSink/frames"]);
    await_lag_zero(&kafka, &worker, "frames", &topic);
    assert!(worker.stop().success());
    assert_eq!(contents(&disk, ".jpg"), sorted(values(&kafka.consume_all(&topic))));
    json_of(&["verify"]);
    // What it does not have is said with its name.
    let newer = resources::sink("newer", &topic, jpeg_files("newer"), &disk, json!({"groupProtocol": "consumer"}));
    let worker = Edgereel::run([resources::write(&[resources::connection(kafka.bootstrap()), newer])]);
    worker.await_status_of("newer", "says what the brokers may lack", |entry| {
        let ready = condition(entry, "Ready")["message"].to_string();
        ready.contains("Kafka 4.0 or later") && ready.contains("spec.groupProtocol")
    });
    worker.stop();
    let lags = json_of(&["lag", "--format", "json"]);
    assert!(lags.as_array().expect("a list").iter().all(|lag| lag["lag"] == 0), "{lags:#}");
    let out = scratch::dir("results").to_string_lossy().into_owned();
    let small = ["--records", "20", "--size", "320x240", "--frame-bytes", "20k", "--output", &out];
    json_of(&[&["bench", "kafka", "--format", "json"][..], &small].concat());
    assert!(kafka.topics().keys().all(|name| !name.starts_with("edgereel-bench-")));
}
