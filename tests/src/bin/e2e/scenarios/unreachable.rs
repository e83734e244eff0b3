//! A worker that works, and that the operator cannot reach.

use std::time::Duration;

use edgereel_tests::process;
use serde_json::{Value, json};

use crate::{
    kube::Kind,
    lab::{Lab, condition},
    world::World,
};

const LONG_ENOUGH: Duration = Duration::from_secs(20);
const TABLE: &str = "edgereel-e2e";

/// What a NetworkPolicy between two pods would do: the bridge drops what goes from one to the other. The kubelet's probes come
/// from the machine itself.
struct Wall;

impl Wall {
    fn between(from: &Value, to: &Value) -> Wall {
        let ip = |pod: &Value| pod["status"]["podIP"].as_str().unwrap_or_default().to_owned();
        let rule = format!("ip saddr {} ip daddr {} tcp dport 9464 drop", ip(from), ip(to));
        let wall = Wall;
        for command in [
            format!("add table bridge {TABLE}"),
            format!("add chain bridge {TABLE} forward {{ type filter hook forward priority 0; }}"),
            format!("add rule bridge {TABLE} forward {rule}"),
        ] {
            let nft = process::command("nft", [command.as_str()]);
            process::output("nft", nft, LONG_ENOUGH).unwrap_or_else(|e| panic!("{e:#}"));
        }
        wall
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        // One that was never made is not there.
        let _ = process::run("nft", process::command("nft", ["delete", "table", "bridge", TABLE]), LONG_ENOUGH);
    }
}

pub fn a_camera_that_the_operator_cannot_reach_is_ready_and_says_so(world: &World) {
    if world.own("a wall between two pods").is_none() {
        return;
    }
    let lab = Lab::open(world, "wall");
    lab.apply(&[lab.synthetic("cam", json!({})), lab.synthetic("other", json!({}))]);
    for camera in ["cam", "other"] {
        lab.await_ready(Kind::Camera, camera);
        lab.await_reason(Kind::Camera, camera, "FiguresAvailable", "Running");
    }
    let (pod, operator) = (lab.await_pods(Kind::Camera, "cam", 1).remove(0), world.operators().remove(0));
    let wall = Wall::between(&operator, &pod);
    let message = lab.await_reason(Kind::Camera, "cam", "FiguresAvailable", "WorkerUnreachable");
    assert!(message.contains("no answer") && message.contains("NetworkPolicy"), "{message}");
    let object = lab.look(Kind::Camera, "cam").unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(condition(&object, "Ready").map(|ready| &ready["status"]), Some(&json!("True")), "{object:#}");
    // The other's are as new as ever.
    let before = lab.look(Kind::Camera, "other").unwrap_or_else(|e| panic!("{e:#}"));
    lab.edit(Kind::Camera, "other", &json!({"frameRate": {"target": 5}}));
    lab.await_ready(Kind::Camera, "other");
    lab.until(Kind::Camera, "other", "its figures are new", |camera| {
        let acknowledged = |camera: &Value| camera["status"]["framesAcknowledged"].as_i64();
        acknowledged(camera).is_some() && acknowledged(camera) != acknowledged(&before)
    });
    drop(wall);
    lab.await_reason(Kind::Camera, "cam", "FiguresAvailable", "Running");
}
