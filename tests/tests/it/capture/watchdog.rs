//! Cameras that fall silent or freeze: the status says so within the watchdog's time, and they recover by themselves.

use edgereel_tests::{Edgereel, edgereel, synthetic::Cameras, unique, wait};
use serde_json::{Value, json};

use super::{mjpeg, run_cameras};
use crate::support::{condition, is_ready, is_unready};

const WATCHDOG: (&str, &str) = ("1s", "2s");

fn watched() -> Value {
    json!({"watchdog": {"stall": WATCHDOG.0, "frozen": WATCHDOG.1}})
}

fn run_one(cameras: &Cameras, query: &str) -> Edgereel {
    run_cameras(&[("cam", mjpeg(cameras.url(query)), watched())], &unique("watched"))
}

fn acknowledged(worker: &Edgereel) -> u64 {
    worker.metrics().count("camera_frames_acknowledged", "cam")
}

#[track_caller]
fn await_recovery(worker: &Edgereel) {
    worker.await_status_of("cam", "is ready again", is_ready);
    let now = acknowledged(worker);
    worker.await_metrics("frames come again", |m| m.count("camera_frames_acknowledged", "cam") > now + 10);
}

#[test]
fn a_camera_that_stalls_shows_after_the_watchdogs_time_and_recovers_by_itself() {
    // The camera itself stalls: dialling again does not help while that lasts.
    let cameras = Cameras::start(&["--bad", "stall", "--after", "30", "--for", "5s"]);
    let worker = run_one(&cameras, "");
    worker.await_status_of("cam", "is ready", is_ready);
    let stalled = worker.await_status_of("cam", "has stalled", |entry| is_unready(entry, "CameraStalled"));
    let online = condition(&stalled, "CameraOnline");
    assert!(online["message"].as_str().is_some_and(|m| m.contains("watchdog.stall")), "{online}");
    let time = |value: &Value| -> f64 {
        let time: jiff::Timestamp = value.as_str().and_then(|t| t.parse().ok()).expect("a time");
        time.as_microsecond() as f64 / 1e6
    };
    let silence = time(&online["lastTransitionTime"]) - time(&stalled["figures"]["lastFrameTime"]);
    // Not before the time that was asked for, and not by the default of ten seconds.
    assert!((0.99..9.0).contains(&silence), "it showed after {silence} s");
    await_recovery(&worker);
    let metrics = worker.metrics();
    assert!(metrics.count("camera_reconnects", "cam") > 0);
    assert!(worker.status_of("cam")["lastError"]["message"].as_str().is_some_and(|m| m.contains("watchdog.stall")));
}

#[test]
fn a_camera_that_freezes_shows_while_its_frames_go_on_and_thaws_by_itself() {
    // As a snapshot, a frozen camera shows the same picture however often it is dialled.
    let cameras = Cameras::start(&["--bad", "freeze", "--after", "30", "--for", "8s"]);
    let source = json!({"snapshot": {"url": cameras.at("", "/cam0/snapshot.jpg", ""), "interval": "50ms"}});
    let worker = run_cameras(&[("cam", source, watched())], &unique("watched"));
    let frozen = worker.await_status_of("cam", "is frozen", |entry| is_unready(entry, "CameraFrozen"));
    assert!(condition(&frozen, "CameraOnline")["message"].as_str().is_some_and(|m| m.contains("watchdog.frozen")));
    let before = acknowledged(&worker);
    worker.await_metrics("frames go on", |m| m.count("camera_frames_acknowledged", "cam") > before + 5);
    assert!(is_unready(&worker.status_of("cam"), "CameraFrozen"), "frames of a standing picture made it ready");
    await_recovery(&worker);
    let log = worker.log();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!((lines("the camera is frozen"), lines("the camera has thawed")), (1, 1), "{log}");
}

#[test]
fn a_frozen_camera_that_thaws_when_it_is_dialled_again_is_dialled_again() {
    let cameras = Cameras::start(&[]);
    // Each connection freezes for good after its first 30 frames.
    let worker = run_one(&cameras, "bad=freeze&after=30");
    worker.await_metrics("it is dialled again", |m| m.count("camera_reconnects", "cam") >= 2);
    worker.await_status_of("cam", "is ready again", is_ready);
}

#[test]
fn a_byte_at_a_time_counts_as_silence_and_so_do_pictures_that_are_never_whole() {
    let cameras = Cameras::start(&[]);
    let trouble = |query: &str| mjpeg(cameras.url(query));
    let all =
        [("drip", trouble("bad=drip&pause=20ms"), watched()), ("halves", trouble("bad=truncated&after=5"), watched())];
    let worker = run_cameras(&all, &unique("silent"));
    worker.await_status_of("drip", "has stalled", |entry| is_unready(entry, "CameraStalled"));
    let halves = worker.await_status_of("halves", "loses all", |entry| is_unready(entry, "CameraFramesDropped"));
    let message = condition(&halves, "CameraOnline")["message"].clone();
    assert!(message.as_str().is_some_and(|m| m.contains("dropped as truncated")), "{message}");
    assert!(worker.metrics().sum("camera_frames_dropped_total", &[("name", "halves"), ("reason", "truncated")]) > 0.0);
}

#[test]
fn a_camera_that_hangs_up_again_and_again_is_logged_once_in_ten_seconds_with_how_often_that_was() {
    let cameras = Cameras::start(&[]);
    // Each connection ends after five frames.
    let worker = run_one(&cameras, "bad=disconnect&after=5");
    worker.await_metrics("it was dialled for more than ten seconds", |m| m.count("camera_reconnects", "cam") > 20);
    wait::until("a line says how often", edgereel::PATIENCE, || {
        let log = worker.log();
        log.lines().any(|line| line.contains("closed the stream") && !line.contains("held_back=0"))
    });
    let reconnects = worker.metrics().count("camera_reconnects", "cam");
    let log = worker.log();
    let lines = log.lines().filter(|line| line.contains("closed the stream") || line.contains("broke off")).count();
    assert!((lines as u64) < reconnects / 4, "{lines} lines of {reconnects} reconnects: {log}");
}
