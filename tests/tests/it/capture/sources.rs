//! Snapshots instead of streams, JSON instead of JPEG, and pictures that are encoded anew.

use edgereel_tests::{kafka, resources, scratch, synthetic::Cameras, unique, video};
use serde_json::{Value, json};

use super::{mjpeg, run_cameras, whole_and_in_order};
use crate::support::{assert_verified, contents, is_unready, jpeg_files, store_all, values};

#[test]
fn snapshots_arrive_whole_and_a_stream_in_their_place_is_refused() {
    let (kafka, topic, cameras) = (kafka::shared(), unique("snapshot"), Cameras::start(&[]));
    let snapshot =
        |path: &str, query: &str| json!({"snapshot": {"url": cameras.at("", path, query), "interval": "50ms"}});
    let all = [
        ("good", snapshot("/cam0/snapshot.jpg", ""), json!({})),
        ("mended", snapshot("/cam0/snapshot.jpg", "format=no-huffman"), json!({})),
        ("silent", snapshot("/cam0/snapshot.jpg", "bad=stall"), json!({"watchdog": {"stall": "1s"}})),
        ("stream", snapshot("/cam0", ""), json!({})),
        ("swapped", mjpeg(cameras.at("", "/cam0/snapshot.jpg", "")), json!({})),
    ];
    let worker = run_cameras(&all, &topic);
    worker.await_metrics("snapshots are acknowledged", |m| {
        ["good", "mended"].iter().all(|name| m.count("camera_frames_acknowledged", name) >= 20)
    });
    for (name, reason, words) in [
        ("stream", "CameraProtocolError", "use the source `mjpeg`"),
        ("swapped", "CameraProtocolError", "use the source `snapshot`"),
        ("silent", "CameraUnreachable", "watchdog.stall"),
    ] {
        let entry = worker.await_status_of(name, &format!("is {reason}"), |entry| is_unready(entry, reason));
        assert!(entry.to_string().contains(words), "{name}: {entry:#}");
    }
    assert!(worker.stop().success());
    let records = kafka.consume_all(&topic);
    let cameras = whole_and_in_order(&records);
    assert!(cameras["good"].len() >= 20 && cameras["mended"].len() >= 20 && !cameras.contains_key("silent"));
    assert!(video::sizes_of(&values(&records)).iter().all(|size| *size == (320, 240)));
}

#[test]
fn frames_go_as_json_from_the_camera_to_the_disk() {
    let (kafka, topic, cameras, disk) = (kafka::shared(), unique("json"), Cameras::start(&[]), scratch::dir("disk"));
    let worker = run_cameras(&[("cam", mjpeg(cameras.url("")), json!({"encoding": {"format": "json"}}))], &topic);
    worker.await_metrics("frames are acknowledged", |m| m.count("camera_frames_acknowledged", "cam") >= 30);
    assert!(worker.stop().success());
    let records = kafka.consume_all(&topic);
    let parsed: Vec<Value> =
        values(&records).iter().map(|value| serde_json::from_slice(value).expect("each value is JSON")).collect();
    assert!(parsed.iter().all(|v| v["frame"].is_string() && v["timestamp"].is_string() && v["size"].is_f64()));
    assert!(records.iter().all(|r| r.header("content-type").as_deref() == Some("application/json")));
    let sink = resources::sink("s", &topic, jpeg_files(""), &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    store_all(kafka, &file, &["s"], &topic);
    let stored = contents(&disk, ".jpg");
    assert_eq!(stored.len(), records.len());
    assert!(video::sizes_of(&stored).iter().all(|size| *size == (320, 240)));
    assert_verified(&file);
}

#[test]
fn pictures_are_encoded_anew_to_a_quality_or_a_size_and_dropped_where_neither_is_asked_for() {
    const LIMIT: u32 = 12 * 1024;
    let (kafka, topic, cameras) = (kafka::shared(), unique("anew"), Cameras::start(&["--frame-bytes", "30k"]));
    kafka.create_topic(&topic, 3, &[]);
    let encoding = |reencode: &str, quality: u8, limit: &str| {
        json!({"encoding": {"reencode": reencode, "quality": quality, "maxFrameBytes": limit},
            "topic": {"name": topic, "partitions": 3, "ensure": "exists"}})
    };
    let all = [
        ("size", mjpeg(cameras.url("")), encoding("size", 90, "12Ki")),
        ("quality", mjpeg(cameras.url("")), encoding("quality", 20, "20Ki")),
        ("mended", mjpeg(cameras.url("format=no-huffman,no-eoi")), encoding("size", 90, "12Ki")),
        ("never", mjpeg(cameras.url("")), encoding("never", 85, "12Ki")),
    ];
    let worker = run_cameras(&all, &topic);
    let metrics = worker.await_metrics("frames go on and are dropped", |m| {
        let goes = |name: &&str| m.count("camera_frames_acknowledged", name) >= 20;
        let dropped = m.sum("camera_frames_dropped_total", &[("name", "never"), ("reason", "too_large")]);
        ["size", "quality", "mended"].iter().all(goes) && dropped >= 20.0
    });
    for name in ["size", "quality", "mended"] {
        let anew = metrics.sum("camera_frames_mended_total", &[("name", name), ("reason", "reencoded")]);
        assert!(anew >= 20.0, "{name}: {anew}");
    }
    assert_eq!(metrics.count("camera_frames_acknowledged", "never"), 0);
    assert!(worker.stop().success());
    let records = kafka.consume_all(&topic);
    let cameras = whole_and_in_order(&records);
    assert!(cameras["size"].iter().chain(&cameras["mended"]).all(|info| info.length <= LIMIT));
    assert!(cameras["size"].iter().any(|info| info.length > LIMIT / 2), "far smaller than it had to be");
    assert!(cameras["quality"].iter().all(|info| info.length < 20_000), "quality 20 is hardly smaller");
    assert!(video::sizes_of(&values(&records)).iter().all(|size| *size == (320, 240)));
}
