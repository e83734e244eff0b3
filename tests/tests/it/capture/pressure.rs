//! More frames than are wanted, or than Kafka takes: paced evenly, bounded in memory, each drop counted.

use std::time::Duration;

use edgereel_frame::jpeg;
use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{self, Cluster, Options, topics::Record},
    metrics::Metrics,
    process::Signal,
    resources, scratch,
    synthetic::Cameras,
    unique, wait,
};
use edgereel_worker::synthetic::Stamp;
use serde_json::{Value, json};

use super::{mjpeg, peak_memory, run_cameras, whole_and_in_order};
use crate::support::{assert_verified, await_lag_zero, contents, is_ready, is_unready, jpeg_files, sorted, values};

const FRAMES: u64 = 300;

fn dropped(metrics: &Metrics, reason: &str) -> u64 {
    metrics.sum("camera_frames_dropped_total", &[("name", "cam"), ("reason", reason)]) as u64
}

fn count(metrics: &Metrics, what: &str) -> u64 {
    metrics.count(&format!("camera_frames_{what}"), "cam")
}

/// Every frame that came has met its fate.
fn settled(metrics: &Metrics) -> bool {
    let captured = count(metrics, "captured");
    captured > 0 && captured == count(metrics, "acknowledged") + count(metrics, "dropped")
}

/// Every frame that the cameras will ever send has come and met its fate.
fn all_settled(metrics: &Metrics, cameras: &Cameras, frames: u64) -> bool {
    let (made, sent) = cameras.counts();
    made == frames && sent == count(metrics, "captured") && settled(metrics)
}

/// When the camera made a frame: its number and Unix time in seconds.
fn stamp(record: &Record) -> (u64, f64) {
    let comment = jpeg::comment(record.value.as_deref().unwrap_or_default());
    let stamp = comment.and_then(Stamp::parse).expect("each frame has its stamp");
    (stamp.sequence, stamp.time.as_microsecond() as f64 / 1e6)
}

#[test]
fn a_surplus_is_dropped_evenly_and_counted() {
    const TARGET: f64 = 20.0;
    let (topic, cameras) = (unique("paced"), Cameras::start(&["--fps", "60", "--frames", &FRAMES.to_string()]));
    let more = json!({"frameRate": {"target": TARGET}});
    let worker = run_cameras(&[("cam", mjpeg(cameras.url("")), more)], &topic);
    let metrics = worker.await_metrics("all frames are settled", |m| all_settled(m, &cameras, FRAMES));
    assert!(worker.stop().success());
    let records = kafka::shared().consume_all(&topic);
    assert_eq!(records.len() as u64, count(&metrics, "acknowledged"));
    assert_eq!(dropped(&metrics, "pacing"), count(&metrics, "dropped"), "nothing else was dropped");
    let made: Vec<(u64, f64)> = records.iter().map(stamp).collect();
    // By the camera's own clock, so that a slow machine does not count: never more than the target, and not much less
    // than what the camera gave of it.
    let seconds = made.last().expect("frames").1 - made[0].1;
    let came = count(&metrics, "captured") as f64 / seconds;
    let kept = made.len() as f64 / seconds;
    assert!(kept <= TARGET * 1.1, "{kept} of {came} frames a second went on");
    assert!(kept >= 0.8 * TARGET.min(came), "only {kept} of {came} frames a second went on");
    let even = made.windows(2).filter(|pair| (2..=4).contains(&(pair[1].0 - pair[0].0))).count();
    let needed = if came > 50.0 { made.len() * 7 / 10 } else { 0 };
    assert!(even >= needed, "only {even} of {} frames stand about three apart: {made:?}", made.len());
}

fn own_broker() -> Cluster {
    Cluster::start(1, Options::default()).expect("a broker starts")
}

fn run_one(kafka: &Cluster, url: String, topic: &str, more: Value) -> Edgereel {
    let camera = resources::camera("cam", mjpeg(url), topic, more);
    let worker = Edgereel::run([resources::write(&[resources::connection(kafka.bootstrap()), camera])]);
    worker.await_status_of("cam", "is ready", is_ready);
    worker
}

#[test]
fn while_kafka_says_nothing_memory_is_bounded_the_rate_falls_and_every_drop_is_counted() {
    const MEMORY: f64 = 2.0 * 1024.0 * 1024.0;
    let (kafka, topic) = (own_broker(), unique("frozen"));
    let cameras = Cameras::start(&["--frame-bytes", "60k"]);
    let more = json!({
        "frameRate": {"target": 30, "minimum": 4, "adaptive": true},
        "buffer": {"memory": "2Mi"},
        // Longer than the test: nothing but the silence itself can tell.
        "producer": {"deliveryTimeout": "10m"},
    });
    let worker = run_one(&kafka, cameras.url(""), &topic, more);
    let rate = |m: &Metrics| m.sum("camera_frame_rate_target", &[("name", "cam")]);
    // While the topic was made, the first frames waited: the rate may still be on its way up.
    worker.await_metrics("the rate is above its minimum", |m| rate(m) > 4.0);
    kafka.freeze(0);
    let bounded = |m: &Metrics| {
        let buffer = m.sum("camera_buffer_bytes", &[("name", "cam")]);
        assert!(buffer <= MEMORY, "{buffer} bytes are kept");
    };
    let metrics = worker.await_metrics("the rate has fallen and the buffer is full", |m| {
        bounded(m);
        rate(m) == 4.0 && dropped(m, "buffer_full") > 0
    });
    assert!(dropped(&metrics, "pacing") > 0);
    let silent = worker.await_status_of("cam", "Kafka is silent", |entry| is_unready(entry, "KafkaUnreachable"));
    assert!(silent.to_string().contains("has acknowledged nothing"), "{silent:#}");
    kafka.thaw(0);
    worker.await_status_of("cam", "is ready again", is_ready);
    worker.await_metrics("the rate rises again", |m| {
        bounded(m);
        rate(m) > 8.0
    });
    let peak = peak_memory(&worker);
    assert!(peak < 100_000_000, "a buffer of 2 MiB cost {peak} bytes");
    assert!(worker.stop().success());
    whole_and_in_order(&kafka.consume_all(&topic));
}

#[test]
fn while_the_broker_is_gone_frames_wait_and_drop_and_none_is_lost_without_being_counted() {
    let (kafka, topic) = (own_broker(), unique("gone"));
    let cameras = Cameras::start(&["--frame-bytes", "40k", "--frames", &(2 * FRAMES).to_string()]);
    let worker = run_one(&kafka, cameras.url(""), &topic, json!({"buffer": {"memory": "1Mi"}}));
    kafka.kill(0);
    let gone = worker.await_status_of("cam", "says that Kafka is gone", |entry| is_unready(entry, "KafkaUnreachable"));
    assert!(gone.to_string().contains(kafka.bootstrap()), "{gone:#}");
    worker.await_metrics("the buffer overflows", |m| dropped(m, "buffer_full") > 0);
    kafka.restart(0);
    let all = |m: &Metrics| all_settled(m, &cameras, 2 * FRAMES);
    let metrics = worker.await_metrics("every frame is acknowledged or counted as dropped", all);
    assert_eq!(dropped(&metrics, "buffer_full"), count(&metrics, "dropped"), "nothing else was dropped");
    assert_eq!(kafka.record_count(&topic) as u64, count(&metrics, "acknowledged"));
    assert!(worker.stop().success());
    whole_and_in_order(&kafka.consume_all(&topic));
}

#[test]
fn a_stop_while_kafka_says_nothing_ends_in_time_and_says_what_it_left_behind_and_a_second_signal_ends_it_at_once() {
    let (kafka, cameras) = (own_broker(), Cameras::start(&[]));
    let [patient, hasty] = ["patient", "hasty"].map(|name| run_one(&kafka, cameras.url(""), &unique(name), json!({})));
    kafka.freeze(0);
    for worker in [&patient, &hasty] {
        let before = count(&worker.metrics(), "captured");
        worker.await_metrics("frames wait", |m| count(m, "captured") > before + 30);
        worker.signal(Signal::SIGTERM);
    }
    wait::until("it stops", edgereel::PATIENCE, || hasty.log().contains("SIGTERM: stopping"));
    hasty.signal(Signal::SIGINT);
    let status = hasty.child().wait(Duration::from_secs(30)).expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(patient.child().running(), "the orderly stop was as fast");
    let status = patient.child().wait(Duration::from_secs(30)).expect("within the grace period");
    assert!(status.success(), "{status}");
    let log = patient.log();
    assert!(log.contains("stopped before Kafka acknowledged them") && log.contains("frames="), "{log}");
    assert!(hasty.log().contains("SIGINT again: ending at once"), "{}", hasty.log());
}

#[test]
fn the_crash_of_one_of_three_brokers_loses_no_acknowledged_frame_on_its_way_to_the_disk() {
    let kafka = Cluster::start(3, Options::default()).expect("three brokers start");
    let (topic, disk) = (unique("three"), scratch::dir("disk"));
    let cameras = Cameras::start(&["--frames", &FRAMES.to_string()]);
    let topic_spec = json!({"name": topic, "partitions": 3, "replicationFactor": 3, "key": "none",
        "config": {"min.insync.replicas": "2"}});
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::camera("cam", mjpeg(cameras.url("")), "", json!({"topic": topic_spec})),
        resources::sink("s", &topic, jpeg_files(""), &disk, json!({})),
    ]);
    let worker = Edgereel::run([&file]);
    worker.await_metrics("frames flow to the disk", |m| m.count("sink_frames_durable", "s") > 30);
    kafka.kill(1);
    let at_crash = count(&worker.metrics(), "acknowledged");
    worker.await_metrics("frames go on", |m| count(m, "acknowledged") > at_crash + 60);
    let metrics = worker.await_metrics("all frames are settled", |m| all_settled(m, &cameras, FRAMES));
    assert_eq!(count(&metrics, "dropped"), 0);
    await_lag_zero(&kafka, &worker, "s", &topic);
    assert!(worker.stop().success());
    let records = kafka.consume_all(&topic);
    assert_eq!(records.len() as u64, count(&metrics, "acknowledged"), "as many records as acknowledged frames");
    assert!(contents(&disk, ".jpg") == sorted(values(&records)), "the disk does not hold the topic's frames");
    wait::until("the two others lead every partition", Duration::from_secs(30), || kafka.offsets(&topic).is_ok());
    assert_verified(&file);
}
