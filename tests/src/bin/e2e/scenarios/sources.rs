//! Where frames come from and how long they stay, in a cluster: what a process on one machine does too, and what is declared
//! here beside it.

use edgereel_tests::{cameras, edgereel_bin, free_port, process};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, count},
    world::World,
};

/// The status that `edgereel status -k` tells of a resource of the lab.
fn told(lab: &Lab<'_>, resource: &str) -> anyhow::Result<Value> {
    let edgereel = edgereel_bin().to_string_lossy().into_owned();
    let status = lab.kube().tool(&edgereel, ["status", "-k", "-n", &lab.namespace, "--format", "json"]);
    let said = process::run("edgereel", status, std::time::Duration::from_secs(60))?;
    let lines: Vec<Value> =
        serde_json::from_str(&said.stdout).map_err(|e| anyhow::anyhow!("{e}: {}{}", said.stdout, said.stderr))?;
    let wanted = format!("{}/{resource}", lab.namespace);
    let found = lines.iter().find(|line| line["resource"].as_str().is_some_and(|name| name.ends_with(&wanted)));
    found.cloned().ok_or_else(|| anyhow::anyhow!("no {wanted} among {lines:?}"))
}

pub fn a_camera_of_rtsp_is_captured_over_restarts_of_its_server(world: &World) {
    let lab = Lab::open(world, "rtsp");
    let (port, size, login) = (free_port(), (640, 480), Some(("ann", "p:/?@4%41")));
    let server = || cameras::gstreamer_rtsp_at(&world.settings.host, port, size, login);
    let first = server();
    let camera = |password: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "type": "kubernetes.io/basic-auth",
            "stringData": {"username": "ann", "password": password}})
    };
    let source = json!({"url": format!("{}/h264", first.url), "credentialsSecretRef": {"name": "login"}});
    lab.apply(&[camera("another")]);
    lab.apply(&[
        lab.camera("cam", json!({"rtsp": source}), json!({"frameRate": {"target": 5}})),
        lab.sink("frames", "cam", json!({})),
    ]);
    let message = lab.await_reason(Kind::Camera, "cam", "CameraOnline", "CameraUnauthorized");
    assert!(!message.contains("another"), "the password is told: {message}");
    lab.apply(&[camera("p:/?@4%41")]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_frames("frames", 10);
    let line = until("`edgereel status -k` tells what it captures", || match told(&lab, "cam")? {
        line if line["fps"].as_f64().is_some_and(|fps| fps > 1.0) => Ok(line),
        line => anyhow::bail!("{line}"),
    });
    assert_eq!((&line["ready"], &line["reason"]), (&json!(true), &json!("Running")));

    lab.say("its server goes and comes back");
    drop(first);
    lab.await_reason(Kind::Camera, "cam", "CameraOnline", "CameraUnreachable");
    let _second = server();
    lab.await_ready(Kind::Camera, "cam");
    lab.await_frames("frames", 10);
    lab.verify(&["cam"], &["frames"]);
}

pub fn a_camera_outside_of_its_hours_rests_and_says_until_when(world: &World) {
    let lab = Lab::open(world, "hours");
    let days = |from: i64, until: i64| {
        let today = Timestamp::now().to_zoned(TimeZone::UTC);
        let of = |ahead: i64| (&today + ahead.days()).strftime("%a").to_string().to_lowercase();
        let days: Vec<String> = (from..until).map(of).collect();
        json!({"activeHours": {"windows": [{"days": days, "from": "00:00", "until": "24:00"}]}})
    };
    // The scenario may run over midnight.
    lab.apply(&[lab.synthetic("cam", days(2, 6)), lab.sink("frames", "cam", json!({}))]);
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "Suspended");
    assert!(message.contains("outside of its activeHours until"), "{message}");
    let pod = lab.await_pods(Kind::Camera, "cam", 1).remove(0);
    let line = told(&lab, "cam").unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(line["reason"], "Suspended", "{line}");
    assert_eq!(count(&lab.disk.join("frames")), 0, "a frame outside of the hours");
    lab.edit(Kind::Camera, "cam", &days(0, 2));
    lab.await_new_pod(Kind::Camera, "cam", &pod);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_frames("frames", 10);
    lab.verify(&["cam"], &["frames"]);
}

pub fn a_sink_keeps_what_its_retention_allows_and_the_status_says_what_that_is(world: &World) {
    let lab = Lab::open(world, "retention");
    let most = 1 << 20;
    lab.apply(&[
        lab.synthetic("cam", json!({"frameRate": {"target": 30}})),
        lab.sink("frames", "cam", json!({"retention": {"maxBytes": most}})),
    ]);
    // Of 10 kB each: four times what may stay.
    let told = lab.until(Kind::Sink, "frames", "has stored more than it keeps", |o| {
        o["status"]["framesStored"].as_i64() > Some(400) && o["status"]["keptMegabytes"].is_i64()
    });
    let status = &told["status"];
    assert!(status["keptMegabytes"].as_i64() <= Some(2) && status["keptDays"].is_number(), "{status}");
    let kept = count(&lab.disk.join("frames"));
    assert!((50..200).contains(&kept), "{kept} pictures of 10 kB in {most} bytes");
    lab.await_ready(Kind::Sink, "frames");
    lab.verify(&["cam"], &["frames"]);
}
