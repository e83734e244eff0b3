//! `edgereel run` as a process: what it serves, logs and exits with, and that one resource's trouble stays its own.

use std::{
    fs,
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use edgereel_frame::jpeg;
use edgereel_tests::{
    Edgereel, edgereel, edgereel_bin, free_port, kafka,
    metrics::Metrics,
    process::{self, Guarded},
    resources, scratch,
    synthetic::Cameras,
    unique, wait,
};
use serde_json::{Value, json};

use crate::support::{await_lag_zero, condition, contents, is_ready, is_unready, jpeg_files, sorted, values};

fn synthetic(name: &str, topic: &str, more: Value) -> Value {
    resources::camera(name, json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}}), topic, more)
}

fn with_connection(documents: impl IntoIterator<Item = Value>) -> std::path::PathBuf {
    let connection = resources::connection(kafka::shared().bootstrap());
    resources::write(&[connection].into_iter().chain(documents).collect::<Vec<_>>())
}

#[test]
fn readyz_names_what_is_not_ready_until_all_is() {
    let (topic, disk) = (unique("readyz"), scratch::dir("disk").join("not-there"));
    let sink = resources::sink("s", &topic, jpeg_files(""), &disk, json!({}));
    let worker = Edgereel::run([with_connection([synthetic("cam", &topic, json!({})), sink])]);
    worker.await_ready("cam");
    worker.await_status("StorageMissing");
    let (code, text) = worker.get("readyz").expect("it answers");
    assert_eq!((code, text.lines().count()), (503, 1), "{text}");
    assert!(text.starts_with("FrameSink default/s: StorageMissing: "), "{text}");
    assert_eq!(worker.get("healthz").expect("it answers").0, 200, "the process itself is healthy");
    fs::create_dir(&disk).expect("made");
    wait::until_ok("all is ready", edgereel::PATIENCE, || match worker.get("readyz") {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn status_and_metrics_have_the_documented_shape_and_a_stop_is_orderly() {
    let (kafka, topic, disk) = (kafka::shared(), unique("shape"), scratch::dir("disk"));
    let sink = resources::sink("s", &topic, jpeg_files(""), &disk, json!({}));
    let worker = Edgereel::run([with_connection([synthetic("cam", &topic, json!({})), sink])]);
    worker.await_metrics("frames are stored", |m| m.count("sink_frames_durable", "s") >= 30);
    let status = worker.status();
    assert!(status["version"].is_string());
    let names: Vec<_> = status["resources"].as_array().expect("a list").iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["cam", "s"]);
    for (name, kind, aspect, numbers, texts) in [
        (
            "cam",
            "CameraStream",
            "CameraOnline",
            &["framesCaptured", "framesAcknowledged", "framesDropped", "bufferBytes"][..],
            &["lastFrameTime", "frameSize"][..],
        ),
        (
            "s",
            "FrameSink",
            "StorageHealthy",
            &[
                "recordsConsumed",
                "framesStored",
                "bytesStored",
                "framesDurable",
                "recordsInvalid",
                "lagRecords",
                "diskFreeBytes",
                "diskFreeRatio",
                "assignedPartitions",
                "topicPartitions",
            ],
            &["lastFrameTime"],
        ),
    ] {
        let entry = worker.status_of(name);
        assert_eq!((&entry["kind"], &entry["namespace"]), (&json!(kind), &json!("default")));
        for condition in [condition(&entry, "Ready"), condition(&entry, aspect)] {
            assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("Running")), "{name}");
            let since = condition["lastTransitionTime"].as_str().expect("a time");
            assert!(since.parse::<jiff::Timestamp>().is_ok(), "{since}");
        }
        for figure in numbers.iter().chain(&["fps", "frameBytes"]) {
            assert!(entry["figures"][figure].is_number(), "{name} has no {figure}: {entry:#}");
        }
        for figure in texts {
            assert!(entry["figures"][figure].is_string(), "{name} has no {figure}: {entry:#}");
        }
    }
    let (_, metrics) = worker.get("metrics").expect("it answers");
    for name in [
        "ready",
        "restarts_total",
        "camera_frames_captured_total",
        "camera_frames_acknowledged_total",
        "camera_buffer_bytes",
        "camera_capture_to_acknowledged_seconds_bucket",
        "sink_records_consumed_total",
        "sink_frames_durable_total",
        "sink_lag_records",
        "sink_lag_seconds",
        "sink_disk_free_bytes",
        "sink_capture_to_file_seconds_bucket",
        "sink_capture_to_durable_seconds_bucket",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(&format!("edgereel_{name}{{"))), "no {name} in {metrics}");
    }
    assert!(worker.stop().success());
    // What the sink had is on the disk; the rest waits for its next start.
    assert!(contents(&disk, ".jpg").len() <= kafka.record_count(&topic) as usize);
}

#[test]
fn a_snapshot_is_a_jpeg_where_asked_for_and_forbidden_otherwise() {
    let topic = unique("snapshot");
    let file = with_connection([synthetic("one", &topic, json!({})), synthetic("two", &topic, json!({}))]);
    let closed = Edgereel::run([&file]);
    let open = Edgereel::run_args([&file], &["--snapshots"]);
    for worker in [&closed, &open] {
        worker.await_ready("one");
        worker.await_ready("two");
    }
    let (code, text) = closed.get("snapshot.jpg?camera=one").expect("it answers");
    assert!(code == 403 && text.contains("--snapshots"), "{code} {text}");
    for camera in ["one", "default/two"] {
        let (code, bytes) = open.get_bytes(&format!("snapshot.jpg?camera={camera}")).expect("it answers");
        let info = jpeg::inspect(&bytes).expect("a JPEG");
        assert_eq!((code, info.width, info.height, info.length as usize), (200, 320, 240, bytes.len()));
    }
    assert_eq!(open.get("snapshot.jpg").expect("it answers").0, 400, "it takes one of two");
    assert_eq!(open.get("snapshot.jpg?camera=three").expect("it answers").0, 404);
}

#[test]
fn an_http_address_that_cannot_be_had_is_named_and_off_serves_nothing() {
    let file = with_connection([synthetic("cam", &unique("http"), json!({}))]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|a| (taken, a.to_string())).expect("an address");
    for (address, words) in
        [(taken.1.as_str(), "choose another or `off`"), ("nowhere", "write `127.0.0.1:9464` or `off`")]
    {
        let said =
            edgereel::call(["run".as_ref(), "-f".as_ref(), file.as_os_str(), "--http".as_ref(), address.as_ref()]);
        assert_eq!(said.status.code(), Some(1), "{}", said.stderr);
        assert!(said.stderr.contains(address) && said.stderr.contains(words), "{}", said.stderr);
        assert!(!said.stderr.contains("os error"), "{}", said.stderr);
    }
    let mut command = Command::new(edgereel_bin());
    command.args(["run", "--http", "off", "-f"]).arg(&file);
    let worker = Guarded::spawn("run-off", command).expect("starts");
    wait::until_ok("it captures", edgereel::PATIENCE, || {
        if worker.stderr().contains("Kafka acknowledges") { Ok(()) } else { Err(worker.tail()) }
    });
    assert!(!worker.stderr().contains("serving"), "{}", worker.stderr());
    assert!(worker.terminate(Duration::from_secs(30)).expect("ends").success());
}

#[test]
fn a_resource_that_fails_is_started_again_alone() {
    let (kafka, topic, disk) = (kafka::shared(), unique("alone"), scratch::dir("disk"));
    // A file where the output's directory should be.
    fs::write(disk.join("taken"), "").expect("written");
    let missing = json!({"topic": {"name": unique("missing"), "partitions": 1, "ensure": "verify"}});
    let file = with_connection([
        synthetic("cam", &topic, json!({})),
        synthetic("topicless", "", missing),
        resources::sink("good", &topic, jpeg_files("good"), &disk, json!({})),
        resources::sink("bad", &topic, jpeg_files("taken"), &disk, json!({})),
    ]);
    let worker = Edgereel::run([&file]);
    worker.await_metrics("the failing camera is started again", |m| m.count("restarts", "topicless") >= 2);
    let bad = worker.await_status_of("bad", "is unready", |entry| entry["lastError"]["message"].is_string());
    assert!(bad["lastError"]["message"].as_str().is_some_and(|m| m.contains("taken")), "{bad:#}");
    let metrics = worker.await_metrics("the good ones work", |m| m.count("sink_frames_durable", "good") >= 60);
    assert_eq!((metrics.count("restarts", "cam"), metrics.count("restarts", "good")), (0, 0));
    assert!(is_ready(&worker.status_of("cam")) && is_ready(&worker.status_of("good")));
    let topicless = worker.status_of("topicless");
    assert!(is_unready(&topicless, "TopicMissing"), "{topicless:#}");
    assert!(worker.stop().success());
    assert!(kafka.record_count(&topic) >= 60);
}

#[test]
fn a_suspended_resource_does_nothing_and_says_so() {
    let (kafka, topic, disk) = (kafka::shared(), unique("suspended"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[]);
    let file = with_connection([
        synthetic("cam", "", json!({"suspend": true, "topic": {"name": topic, "ensure": "exists"}})),
        resources::sink("s", &topic, jpeg_files(""), &disk, json!({"suspend": true})),
    ]);
    let worker = Edgereel::run([&file]);
    for name in ["cam", "s"] {
        worker.await_status_of(name, "is suspended", |entry| is_unready(entry, "Suspended"));
    }
    assert!(worker.stop().success());
    assert_eq!(kafka.record_count(&topic), 0);
    assert!(contents(&disk, "").is_empty());
}

#[test]
fn replicas_share_a_topics_partitions_and_store_each_frame_once() {
    let (kafka, topic, disk) = (kafka::shared(), unique("replicas"), scratch::dir("disk"));
    kafka.create_topic(&topic, 4, &[]);
    let sink = resources::sink("s", &topic, jpeg_files(""), &disk, json!({"replicas": 2}));
    let camera =
        synthetic("cam", "", json!({"topic": {"name": topic, "ensure": "exists", "key": "none", "partitions": 4}}));
    let worker = Edgereel::run([with_connection([camera, sink])]);
    worker.await_metrics("both members store frames", |m| {
        ["s-0", "s-1"].iter().all(|name| m.count("sink_frames_durable", name) >= 20)
    });
    assert!(worker.stop().success());
    // A last run without the camera stores what is left.
    let sink = resources::sink("s", &topic, jpeg_files(""), &disk, json!({"replicas": 2}));
    let worker = Edgereel::run([with_connection([sink])]);
    await_lag_zero(kafka, &worker, "s", &topic);
    assert!(worker.stop().success());
    assert!(contents(&disk, ".jpg") == sorted(values(&kafka.consume_all(&topic))));
}

#[test]
fn files_with_nothing_to_run_or_with_problems_end_it_with_a_status_of_their_own() {
    let nothing = with_connection([]);
    let said = edgereel::call(["run".as_ref(), "-f".as_ref(), nothing.as_os_str()]);
    assert_eq!(said.status.code(), Some(2));
    assert!(said.stderr.contains("nothing to run"), "{}", said.stderr);
    let wrong = with_connection([synthetic("cam", "t", json!({"watchdog": {"stall": "soon"}}))]);
    let said = edgereel::call(["run".as_ref(), "-f".as_ref(), wrong.as_os_str()]);
    assert_eq!(said.status.code(), Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("stall") && said.stderr.contains("soon"), "{}", said.stderr);
    let said = edgereel::call(["run", "-f", "/no/such/file.yaml"]);
    assert_ne!(said.status.code(), Some(0));
    assert!(said.stderr.contains("/no/such/file.yaml") && !said.stderr.contains("os error"), "{}", said.stderr);
}

#[test]
fn json_log_lines_are_json_each() {
    let (topic, disk) = (unique("log"), scratch::dir("disk"));
    let sink = resources::sink("s", &topic, jpeg_files(""), &disk, json!({}));
    let file = with_connection([synthetic("cam", &topic, json!({})), sink]);
    let worker = Edgereel::run_args([file], &["--log-format", "json"]);
    worker.await_metrics("frames are stored", |m| m.count("sink_frames_durable", "s") >= 10);
    let child = worker.child();
    assert!(child.terminate(Duration::from_secs(30)).expect("ends").success());
    let lines: Vec<Value> = child
        .stderr()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in `{line}`")))
        .collect();
    assert!(lines.iter().all(|l| l["timestamp"].is_string() && l["level"].is_string() && l["message"].is_string()));
    assert!(lines.iter().any(|line| line["message"] == "all stopped"), "{lines:?}");
    assert!(child.stdout().is_empty(), "{}", child.stdout());
}

/// The kernel gives process 1 no signal that it does not handle: a worker that did not would be killed after the grace
/// period, with frames on their way.
#[test]
fn as_process_1_of_a_container_it_listens_on_all_addresses_and_stops_in_order_on_sigterm() {
    let (topic, disk) = (unique("pid1"), scratch::dir("disk"));
    let sink = resources::sink("s", &topic, jpeg_files(""), &disk, json!({}));
    let file = with_connection([synthetic("cam", &topic, json!({})), sink]);
    let port = free_port();
    let mut command = process::command("unshare", ["-r", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
        .arg(edgereel_bin())
        .args(["run", "--log-format", "json", "--http", &format!("0.0.0.0:{port}"), "-f"])
        .arg(&file);
    let container = Guarded::spawn("run-pid1", command).expect("starts");
    let metrics = || reqwest::blocking::get(format!("http://127.0.0.1:{port}/metrics")).and_then(|a| a.text());
    wait::until_ok("frames are stored", edgereel::PATIENCE, || {
        let text = metrics().map_err(|e| format!("{e}\n{}", container.tail()))?;
        let stored = Metrics::parse(&text).count("sink_frames_durable", "s");
        if stored >= 10 { Ok(()) } else { Err(container.tail()) }
    });
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", container.pid())).expect("children");
    let worker = children.trim();
    let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("its status");
    assert!(status.lines().any(|l| l.starts_with("NSpid:") && l.ends_with("\t1")), "{status}");
    let sent = process::run("kill", process::command("kill", ["-TERM", worker]), Duration::from_secs(20));
    assert!(sent.is_ok_and(|kill| kill.status.success()), "process {worker} takes no signal");
    let ended = container.wait(Duration::from_secs(30)).expect("ends within the grace period");
    assert!(ended.success(), "{ended:?}\n{}", container.stderr());
    assert!(container.stderr().contains("all stopped"), "{}", container.stderr());
}

#[test]
fn secrets_are_read_below_the_secrets_directory() {
    let (topic, dir) = (unique("secrets"), scratch::dir("secrets"));
    let cameras = Cameras::start(&["--user", "ann", "--password", "s3cret"]);
    let source = json!({"mjpeg": {"url": cameras.url(""), "credentialsSecretRef": {"name": "login"}}});
    let file = with_connection([resources::camera("cam", source, &topic, json!({}))]);
    let worker = Edgereel::run_args([file], &["--secrets-dir", &dir.to_string_lossy()]);
    let missing = worker.await_status_of("cam", "misses its secret", |entry| is_unready(entry, "SecretMissing"));
    let wanted = dir.join("login/username");
    assert!(missing.to_string().contains(&*wanted.to_string_lossy()), "{missing:#}");
    fs::create_dir(dir.join("login")).expect("made");
    fs::write(dir.join("login/password"), "s3cret\n").expect("written");
    fs::write(wanted, "ann\n").expect("written");
    worker.await_ready("cam");
}

#[test]
fn a_topic_that_may_be_about_to_be_made_is_not_called_missing_at_once() {
    let (kafka, topic, disk) = (kafka::shared(), unique("later"), scratch::dir("disk"));
    let start = Instant::now();
    let worker = Edgereel::run([with_connection([resources::sink("s", &topic, jpeg_files("s"), &disk, json!({}))])]);
    worker.await_status_of("s", "says what it waits for", |entry| is_unready(entry, "TopicMissing"));
    assert!(start.elapsed() > Duration::from_secs(5), "said after {:?}", start.elapsed());
    let log = worker.log();
    assert_eq!(log.matches("there is no topic").count(), 1, "{log}");
    assert!(!log.contains("Subscribed topic not available"), "{log}");
    kafka.create_topic(&topic, 1, &[]);
    worker.await_ready("s");
    assert!(worker.stop().success());
}

#[test]
fn a_field_of_a_newer_version_is_a_persons_mistake_and_is_passed_over_where_another_version_wrote_it() {
    let (topic, novelty) = (unique("newer"), json!({"novelty": {"level": 3}}));
    let file = with_connection([synthetic("cam", &topic, novelty)]);
    let path = file.to_string_lossy();
    for strict in [["validate", "-f", &path], ["run", "-f", &path]] {
        let refused = edgereel::call(strict);
        assert!(
            !refused.status.success() && refused.stderr.contains("spec.novelty: there is no such field"),
            "{}",
            refused.stderr
        );
    }
    let worker = Edgereel::run_args([&file], &["--unknown-fields", "report"]);
    worker.await_ready("cam");
    let said = condition(&worker.status_of("cam"), "UnknownFields");
    assert_eq!((&said["status"], &said["reason"]), (&json!("True"), &json!("UnknownFields")));
    let words = said["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        words.starts_with("this worker (version ") && words.ends_with("passes over: CameraStream/cam: spec.novelty"),
        "{words}"
    );
    assert_eq!(worker.log().matches("passes over: CameraStream/cam: spec.novelty").count(), 1, "{}", worker.log());
    assert!(worker.stop().success());
}
