//! Many cameras in the pod of a `CameraWorker`: what befalls one does not befall the others.

use std::{collections::BTreeSet, time::Instant};

use edgereel_tests::{kafka::topics::Record, resources::resource};
use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, condition, name_of, uid},
    world::World,
};

/// The sessions and numbers of a camera's frames, as their `ce_id` tells them.
fn ids(records: &[Record]) -> (BTreeSet<String>, Vec<u64>) {
    let id = |record: &Record| {
        let header = record.headers.iter().find(|(name, _)| name == "ce_id").expect("a ce_id");
        let text = String::from_utf8(header.1.clone()).expect("a text");
        let (session, number) = text.rsplit_once('-').expect("session and number");
        (session.to_owned(), number.parse().expect("a number"))
    };
    let all: Vec<(String, u64)> = records.iter().map(id).collect();
    let mut numbers: Vec<u64> = all.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    (all.into_iter().map(|(session, _)| session).collect(), numbers)
}

/// A camera in the pod of `hall`.
fn shared(lab: &Lab<'_>, name: &str, rate: u32) -> Value {
    lab.synthetic(name, json!({"workerRef": {"name": "hall"}, "frameRate": {"target": rate}}))
}

/// Waits until the worker says of how many cameras it knows, and how many are ready.
#[track_caller]
fn await_counts(lab: &Lab<'_>, cameras: i64, ready: i64) {
    lab.until(Kind::Worker, "hall", &format!("{ready} of {cameras} are ready"), |worker| {
        (worker["status"]["cameras"].as_i64(), worker["status"]["camerasReady"].as_i64())
            == (Some(cameras), Some(ready))
    });
}

fn deployments(lab: &Lab<'_>) -> Vec<String> {
    lab.kube().list(Kind::Deployment, Some(&lab.namespace), "").iter().map(name_of).collect()
}

pub fn cameras_of_a_shared_pod_come_change_fail_and_go_alone(world: &World) {
    let lab = Lab::open(world, "pool");
    let nowhere = format!("http://{}:1/video", world.settings.host);
    lab.apply(&[
        resource("CameraWorker", "hall", json!({})),
        shared(&lab, "calm", 10),
        shared(&lab, "edited", 10),
        shared(&lab, "gone", 10),
        lab.mjpeg("broken", &nowhere, json!({"workerRef": {"name": "hall"}})),
    ]);
    for name in ["calm", "edited", "gone"] {
        let camera = lab.await_ready(Kind::Camera, name);
        assert_eq!(camera["status"]["worker"], "hall", "{}", camera["status"]);
    }
    lab.await_reason(Kind::Camera, "broken", "Ready", "CameraUnreachable");
    lab.await_ready(Kind::Worker, "hall");
    await_counts(&lab, 4, 3);
    let pod = lab.await_pods(Kind::Worker, "hall", 1).remove(0);
    assert_eq!(deployments(&lab), ["hall-worker"], "a pod for all");

    let begun = Instant::now();
    lab.apply(&[shared(&lab, "added", 10)]);
    lab.await_ready(Kind::Camera, "added");
    lab.say(&format!("a camera that is added is ready after {} ms", begun.elapsed().as_millis()));
    let begun = Instant::now();
    lab.edit(Kind::Camera, "edited", &json!({"frameRate": {"target": 2}}));
    lab.until(Kind::Camera, "edited", "it has its new rate", |camera| {
        camera["status"]["fps"].as_f64().is_some_and(|fps| (0.5..4.0).contains(&fps))
    });
    lab.say(&format!("one that is edited shows its new rate after {} ms", begun.elapsed().as_millis()));
    lab.run(&["delete", "cam", "gone", "--timeout=60s"]);
    await_counts(&lab, 4, 3);
    lab.edit(Kind::Camera, "added", &json!({"suspend": true}));
    lab.await_reason(Kind::Camera, "added", "Ready", "Suspended");
    lab.edit(Kind::Camera, "added", &json!({"suspend": false}));
    lab.await_ready(Kind::Camera, "added");
    let before = world.kafka.consume_all(&lab.topic("calm")).len();
    until("its frames go on", || match world.kafka.consume_all(&lab.topic("calm")).len() - before {
        more if more >= 20 => Ok(()),
        more => anyhow::bail!("{more}"),
    });
    let still = lab.await_pods(Kind::Worker, "hall", 1).remove(0);
    assert_eq!((uid(&still), &still["status"]["containerStatuses"][0]["restartCount"]), (uid(&pod), &json!(0)));
    let (sessions, numbers) = ids(&world.kafka.consume_all(&lab.topic("calm")));
    assert_eq!(sessions.len(), 1, "the camera was started anew");
    assert_eq!(numbers, (numbers[0]..numbers[0] + numbers.len() as u64).collect::<Vec<_>>(), "a gap");

    lab.say("the pod is killed");
    lab.run(&["delete", "pod", &name_of(&pod), "--grace-period=0", "--force"]);
    lab.await_new_pod(Kind::Worker, "hall", &pod);
    for name in ["calm", "edited", "added"] {
        lab.await_ready(Kind::Camera, name);
    }
    lab.await_reason(Kind::Camera, "broken", "Ready", "CameraUnreachable");
    await_counts(&lab, 4, 3);
}

pub fn a_camera_moves_into_a_shared_pod_and_out_again(world: &World) {
    let lab = Lab::open(world, "moves");
    let own = |name: &str| lab.synthetic(name, json!({"frameRate": {"target": 10}}));
    lab.apply(&[resource("CameraWorker", "hall", json!({})), own("cam"), shared(&lab, "calm", 5)]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Camera, "calm");
    lab.await_pods(Kind::Camera, "cam", 1);

    let begun = Instant::now();
    lab.edit(Kind::Camera, "cam", &json!({"workerRef": {"name": "hall"}}));
    lab.until(Kind::Camera, "cam", "it is in the shared pod", |camera| {
        camera["status"]["worker"] == "hall" && condition(camera, "Ready").is_some_and(|c| c["status"] == "True")
    });
    lab.say(&format!("it moved in within {} ms", begun.elapsed().as_millis()));
    assert_eq!(deployments(&lab), ["hall-worker"]);
    let begun = Instant::now();
    lab.edit(Kind::Camera, "cam", &json!({"workerRef": null}));
    lab.until(Kind::Camera, "cam", "it has a pod of its own", |camera| {
        camera["status"]["worker"].is_null() && condition(camera, "Ready").is_some_and(|c| c["status"] == "True")
    });
    lab.say(&format!("it moved out within {} ms", begun.elapsed().as_millis()));
    await_counts(&lab, 1, 1);
    // Each time another process began when the last had ended: no frame of two sessions at one time.
    let records = world.kafka.consume_all(&lab.topic("cam"));
    let (sessions, _) = ids(&records);
    assert_eq!(sessions.len(), 3);
    let twice = condition(&lab.look(Kind::Camera, "cam").unwrap_or_else(|e| panic!("{e:#}")), "Ready").cloned();
    assert_eq!(twice.unwrap_or_default()["reason"], "Running");

    let refused = lab.try_apply(&[lab.synthetic(
        "both",
        json!({"workerRef": {"name": "hall"}, "placement": {"nodes": ["a"]}, "template": {"image": "b"}}),
    )]);
    let refused = format!("{:#}", refused.expect_err("whose placement would it be?"));
    for words in ["the CameraWorker has the placement", "the CameraWorker has the template"] {
        assert!(refused.contains(words), "{refused}");
    }
    lab.run(&["delete", "cw", "hall", "--timeout=60s"]);
    let message = lab.await_reason(Kind::Camera, "calm", "Ready", "InvalidConfiguration");
    assert!(message.contains("there is no CameraWorker `hall`"), "{message}");
    lab.apply(&[resource("CameraWorker", "hall", json!({}))]);
    lab.await_ready(Kind::Camera, "calm");
}
