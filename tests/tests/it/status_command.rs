//! `edgereel status`: what a process does, in one table.

use edgereel_tests::{Edgereel, edgereel, free_port, kafka, resources, scratch, unique};
use serde_json::{Value, json};

use crate::support::jpeg_files;

#[test]
fn what_runs_here_stands_in_one_table_with_what_is_wrong_with_it() {
    let (kafka, topic, disk) = (kafka::shared(), unique("status"), scratch::dir("disk"));
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let rate = json!({"frameRate": {"target": 5}});
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::camera("good", json!({"synthetic": {"size": "320x240"}}), &topic, rate),
        resources::mjpeg_camera("away", &nobody, &unique("away")),
        resources::sink("frames", &topic, jpeg_files(""), &disk, json!({})),
    ]);
    let worker = Edgereel::run([file]);
    worker.await_ready("good");
    worker.await_ready("frames");
    worker.await_status("CameraUnreachable");
    worker.await_metrics("frames are stored", |m| m.count("sink_frames_stored", "frames") > 3);
    let address = worker.http().trim_start_matches("http://").to_owned();
    let asked = edgereel::call(["status", "--http", &address, "--format", "json"]);
    assert_eq!(asked.code(), 1, "{}{}", asked.stdout, asked.stderr);
    let lines: Vec<Value> = serde_json::from_str(&asked.stdout).expect("JSON");
    let of = |resource: &str| lines.iter().find(|line| line["resource"] == resource).expect("a line");
    let (good, away, frames) = (of("CameraStream/good"), of("CameraStream/away"), of("FrameSink/frames"));
    assert!(good["ready"] == true && good["stored"].as_i64() > Some(0) && good.get("message").is_none(), "{good:#}");
    assert!(frames["ready"] == true && frames["disk"].as_str().is_some_and(|used| used.ends_with('%')), "{frames:#}");
    assert!(away["ready"] == false && away["reason"] == "CameraUnreachable", "{away:#}");
    assert!(away["message"].as_str().is_some_and(|message| message.contains(&nobody)), "{away:#}");
    let shown = edgereel::call(["status", "--http", &address]).stdout;
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(shown.starts_with("RESOURCE") && shown.contains("CameraUnreachable"), "{shown}");
    assert!(worker.stop().success());
    // And when nothing runs, it says so.
    let asked = edgereel::call(["status", "--http", &address]);
    assert_eq!((asked.code(), asked.stdout.as_str()), (2, ""));
    assert!(asked.stderr.contains("is `edgereel run` at work"), "{}", asked.stderr);
}
