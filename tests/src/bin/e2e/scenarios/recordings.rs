//! A camera with hours, and a sink that keeps what is young.

use edgereel_tests::{cameras::gstreamer_rtsp_at, edgereel_bin, free_port, process, resources};
use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use serde_json::{Value, json};

use crate::{
    kube::{Kind, PATIENCE, until},
    lab::{Lab, count},
    world::World,
};

/// Hours from so many from now on, and for so many.
fn hours(begin: i64, length: i64) -> Value {
    let at = |hours: i64| -> Zoned { (Timestamp::now() + SignedDuration::from_hours(hours)).to_zoned(TimeZone::UTC) };
    let time = |hours: i64| at(hours).strftime("%H:%M").to_string();
    json!({"timeZone": "UTC", "windows": [{"from": time(begin), "until": time(begin + length)}]})
}

/// What `edgereel status` says of a resource of the cluster, and its exit status.
#[track_caller]
fn told(lab: &Lab<'_>, kind: &str, name: &str) -> (Value, i32) {
    let args = ["status", "--kubernetes", "--namespace", &lab.namespace, "--format", "json"];
    let done = process::run("status", lab.kube().tool(&edgereel_bin().to_string_lossy(), args), PATIENCE);
    let done = done.unwrap_or_else(|e| panic!("{e:#}"));
    let lines: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", done.stdout, done.stderr));
    let label = format!("{kind}/{}/{name}", lab.namespace);
    let line = lines.as_array().into_iter().flatten().find(|line| line["resource"] == label.as_str());
    (line.cloned().unwrap_or_else(|| panic!("no {label} in {lines}")), done.code())
}

pub fn outside_of_its_hours_a_camera_is_suspended_and_within_them_its_oldest_frames_go(world: &World) {
    let lab = Lab::open(world, "hours");
    let server = gstreamer_rtsp_at(&world.settings.host, free_port(), (320, 240), None);
    let source = json!({"rtsp": {"url": format!("{}/h264", server.url)}});
    let rate = json!({"target": 10});
    lab.apply(&[
        resources::camera("cam", source, &lab.topic("cam"), json!({"frameRate": rate, "activeHours": hours(2, 3)})),
        lab.sink("files", "cam", json!({"retention": {"maxAge": "10s"}})),
    ]);
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "Suspended");
    assert!(message.starts_with("outside of its activeHours until "), "{message}");
    lab.await_ready(Kind::Sink, "files");
    let (line, code) = told(&lab, "CameraStream", "cam");
    assert_eq!((&line["reason"], &line["ready"], code), (&json!("Suspended"), &json!(false), 0), "{line}");

    lab.edit(Kind::Camera, "cam", &json!({"activeHours": hours(-1, 3)}));
    lab.await_ready(Kind::Camera, "cam");
    lab.until(Kind::Sink, "files", "what it keeps is told, and how much it stored", |sink| {
        let status = &sink["status"];
        status["keptMegabytes"].is_i64() && status["framesStored"].as_i64() > Some(200)
    });
    until("the oldest are gone", || match count(&lab.disk.join("files")) {
        kept if (1..180).contains(&kept) => Ok(()),
        kept => anyhow::bail!("{kept} files"),
    });
    let (line, code) = told(&lab, "FrameSink", "files");
    assert_eq!((&line["ready"], code), (&json!(true), 0), "{line}");
    assert!(line["stored"].as_i64() > Some(200), "{line}");
    lab.edit(Kind::Camera, "cam", &json!({"suspend": true}));
    lab.await_reason(Kind::Camera, "cam", "Ready", "Suspended");
    lab.verify_sink("files");
}
