//! The source `rtsp` against servers that we did not write.

use edgereel_tests::{
    Edgereel,
    cameras::{self, RtspServer},
    free_port, kafka, resources, unique, video,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{condition, values};

const SIZE: (u16, u16) = (640, 480);

/// A worker that captures this source, and its topic.
fn capture(source: Value, more: Value) -> (Edgereel, String) {
    let (kafka, topic) = (kafka::shared(), unique("rtsp"));
    let camera = resources::camera("cam", json!({"rtsp": source}), &topic, more);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), camera]);
    (Edgereel::run([file]), topic)
}

#[track_caller]
fn await_frames(worker: &Edgereel, frames: u64) {
    let acknowledged = |m: &edgereel_tests::metrics::Metrics| m.count("camera_frames_acknowledged", "cam");
    let before = acknowledged(&worker.metrics());
    worker.await_metrics("frames are acknowledged", |m| acknowledged(m) >= before + frames);
}

/// What reached the topic decodes, and is of these sizes and no other.
#[track_caller]
fn assert_sizes(topic: &str, expected: &[(u16, u16)]) {
    let mut sizes = video::sizes_of(&values(&kafka::shared().consume_all(topic)));
    sizes.dedup();
    assert_eq!(sizes, expected);
}

fn serve() -> RtspServer {
    cameras::gstreamer_rtsp(free_port(), SIZE, None)
}

#[test]
fn mjpeg_over_tcp_and_udp_goes_on_as_it_came() {
    let server = serve();
    for transport in ["tcp", "udp"] {
        let (worker, topic) =
            capture(json!({"url": format!("{}/mjpeg", server.url), "transport": transport}), json!({}));
        await_frames(&worker, 60);
        assert!(worker.stop().success());
        assert_sizes(&topic, &[SIZE]);
        // jpegenc's quality of 80, not the 85 that we would encode with: its first table begins so.
        let jpegs = values(&kafka::shared().consume_all(&topic));
        assert!(jpegs.iter().all(|jpeg| quantiser(jpeg) == quantiser(&jpegs[0])));
        assert_eq!(quantiser(&jpegs[0]), 6);
    }
}

/// The first value of the first quantisation table: 16 × (200 − 2 × quality) / 100, as libjpeg scales it.
fn quantiser(jpeg: &[u8]) -> u8 {
    let table = jpeg.windows(2).position(|marker| marker == [0xFF, 0xDB]).expect("a table");
    jpeg[table + 5]
}

#[test]
fn h264_is_decoded_over_tcp_and_udp_and_encoded_at_the_target_rate_alone() {
    let server = serve();
    for transport in ["tcp", "udp"] {
        let source = json!({"url": format!("{}/h264", server.url), "transport": transport});
        let more = json!({"frameRate": {"target": 10}, "encoding": {"quality": 70}});
        let (worker, topic) = capture(source, more);
        await_frames(&worker, 40);
        worker.await_ready("cam");
        let metrics = worker.metrics();
        let (sent, paced) =
            (metrics.count("camera_frames_acknowledged", "cam"), metrics.count("camera_frames_dropped", "cam"));
        assert!(paced > sent, "{paced} paced, {sent} sent");
        assert!(worker.stop().success());
        assert_sizes(&topic, &[SIZE]);
        assert_eq!(quantiser(&values(&kafka::shared().consume_all(&topic))[0]), 10, "quality 70");
    }
}

#[test]
fn key_frames_alone_are_one_a_second() {
    let server = serve();
    let source = json!({"url": format!("{}/h264", server.url), "keyFramesOnly": true});
    let (worker, topic) = capture(source, json!({}));
    await_frames(&worker, 5);
    assert!(worker.stop().success());
    let times: Vec<i64> = kafka::shared().consume_all(&topic).iter().map(|record| record.timestamp).collect();
    let (first, last) = (times.iter().min().expect("frames"), times.iter().max().expect("frames"));
    let between = (last - first) / (times.len() as i64 - 1);
    assert!((700..1500).contains(&between), "{between} ms from one to the next");
}

#[test]
fn h265_of_vlc_comes_over_udp_and_tcp_is_refused_in_words() {
    let camera = cameras::vlc_rtsp_h265();
    let (refused, _) = capture(json!({"url": camera.url}), json!({}));
    let status = refused.await_status("CameraProtocolError");
    assert!(status.contains("try the other `transport`"), "{status}");
    assert!(refused.stop().success());
    let (worker, topic) = capture(json!({"url": camera.url, "transport": "udp"}), json!({}));
    await_frames(&worker, 40);
    assert!(worker.stop().success());
    assert_sizes(&topic, &[camera.size]);
}

#[test]
fn a_login_is_digest_and_what_is_wrong_with_one_is_said_without_it() {
    let (user, password) = ("ann", "p:/?@ä%41");
    let server = cameras::gstreamer_rtsp(free_port(), SIZE, Some((user, password)));
    let url = format!("{}/mjpeg", server.url);
    let (kafka, topic) = (kafka::shared(), unique("login"));
    let login = |name: &str, password: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/basic-auth",
            "stringData": {"username": user, "password": password}})
    };
    let camera = |name: &str, login: Option<&str>| {
        let mut source = json!({"url": url});
        if let Some(login) = login {
            source["credentialsSecretRef"] = json!({"name": login});
        }
        resources::camera(name, json!({"rtsp": source}), &topic, json!({}))
    };
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        login("right", password),
        login("wrong", "s3cret-and-wrong"),
        camera("right", Some("right")),
        camera("wrong", Some("wrong")),
        camera("none", None),
    ]);
    let worker = Edgereel::run([file]);
    worker.await_ready("right");
    for (name, words) in [("wrong", "refuses this user name and password"), ("none", "set `credentialsSecretRef`")] {
        let status = worker.await_status_of(name, "says so", |entry| {
            condition(entry, "CameraOnline")["reason"] == "CameraUnauthorized"
        });
        let message = condition(&status, "CameraOnline")["message"].to_string();
        assert!(message.contains(words), "{message}");
        assert!(!message.contains("s3cret") && !message.contains(user), "{message}");
    }
    assert!(!worker.child().stderr().contains("s3cret"), "{}", worker.child().stderr());
    assert!(worker.stop().success());
}

#[test]
fn a_server_that_hangs_shows_within_the_watchdogs_time_and_one_that_comes_back_otherwise_goes_on() {
    let port = free_port();
    let first = cameras::gstreamer_rtsp(port, SIZE, None);
    let source = json!({"url": format!("{}/h264", first.url)});
    let (worker, topic) = capture(source, json!({"watchdog": {"stall": "2s"}, "frameRate": {"target": 10}}));
    worker.await_ready("cam");
    first.server.signal(Signal::SIGSTOP);
    worker.await_status("CameraStalled");
    first.server.signal(Signal::SIGCONT);
    worker.await_ready("cam");
    await_frames(&worker, 10);
    drop(first);
    worker.await_status("CameraUnreachable");
    let _second = cameras::gstreamer_rtsp(port, (320, 240), None);
    await_frames(&worker, 10);
    worker.await_ready("cam");
    assert!(worker.stop().success());
    assert_sizes(&topic, &[SIZE, (320, 240)]);
}

#[test]
fn a_wrong_path_and_what_is_no_rtsp_server_are_told_apart() {
    let server = serve();
    let (worker, _) = capture(json!({"url": format!("{}/nothing", server.url)}), json!({}));
    let status = worker.await_status("CameraProtocolError");
    assert!(status.contains("answered 404"), "{status}");
    assert!(worker.stop().success());
    let other = cameras::ustreamer(false);
    let (worker, _) = capture(json!({"url": other.url.replace("http:", "rtsp:")}), json!({}));
    let status = worker.await_status("CameraProtocolError");
    assert!(status.contains("not RTSP"), "{status}");
    assert!(worker.stop().success());
}
