//! Our capture against camera servers that we did not write: every frame in the topic is whole.

use std::{process::Command, time::Duration};

use edgereel_tests::{
    Edgereel,
    cameras::{self, Camera},
    edgereel_bin, free_port, kafka,
    process::Guarded,
    resources, unique, video,
};

use crate::support::values;

/// Captures at least so many frames and decodes all of them.
#[track_caller]
fn capture(camera: &Camera, frames: u64) {
    let (kafka, topic) = (kafka::shared(), unique("camera"));
    let documents = [resources::connection(kafka.bootstrap()), resources::mjpeg_camera("cam", &camera.url, &topic)];
    let worker = Edgereel::run([resources::write(&documents)]);
    worker.await_metrics("enough frames are acknowledged", |m| m.count("camera_frames_acknowledged", "cam") >= frames);
    assert!(worker.stop().success());
    let jpegs = values(&kafka.consume_all(&topic));
    assert!(jpegs.len() as u64 >= frames);
    let sizes = video::sizes_of(&jpegs);
    assert!(sizes.iter().all(|size| *size == camera.size), "{sizes:?} are not all {:?}", camera.size);
}

#[test]
fn frames_of_ffmpegs_server_arrive_whole() {
    capture(&cameras::ffmpeg_mpjpeg(), 60);
}

#[test]
fn frames_of_gstreamers_bare_multipart_arrive_whole() {
    capture(&cameras::gstreamer_multipart(), 60);
}

#[test]
fn frames_of_vlc_arrive_whole_although_its_first_part_lies_about_its_length() {
    capture(&cameras::vlc(), 60);
}

#[test]
fn frames_of_ustreamer_arrive_whole_with_and_without_its_own_headers() {
    for extra in [false, true] {
        capture(&cameras::ustreamer(extra), 3);
    }
}

#[test]
fn a_camera_that_goes_away_shows_in_the_status_and_is_dialled_again() {
    let (kafka, topic, port) = (kafka::shared(), unique("away"), free_port());
    let camera = || {
        let mut command = Command::new(edgereel_bin());
        command.args(["camera", "--listen", &format!("127.0.0.1:{port}"), "--size", "320x240", "--frame-bytes", "20k"]);
        Guarded::spawn("camera", command).expect("starts")
    };
    let url = format!("http://127.0.0.1:{port}/cam0");
    let documents = [resources::connection(kafka.bootstrap()), resources::mjpeg_camera("cam", &url, &topic)];
    let first = camera();
    let worker = Edgereel::run([resources::write(&documents)]);
    worker.await_ready("cam");
    first.terminate(Duration::from_secs(20)).expect("ends");
    worker.await_status("CameraUnreachable");
    let before = worker.metrics().count("camera_frames_acknowledged", "cam");
    let _second = camera();
    worker.await_metrics("frames come again", |m| m.count("camera_frames_acknowledged", "cam") > before + 10);
    worker.await_ready("cam");
}
