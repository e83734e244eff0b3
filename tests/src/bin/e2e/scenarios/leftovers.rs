//! Pods that ended and stay, and names that somebody else has taken.

use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, brief, name_of, uid},
    world::{World, is_ready_pod},
};

pub fn a_pod_that_ended_holds_no_camera_up(world: &World) {
    let lab = Lab::open(world, "ended");
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    let old = lab.await_pods(Kind::Camera, "cam", 1).remove(0);

    lab.say("the pod has outlived its deadline: the kubelet ends it, and it stays");
    lab.run(&["patch", "pod", &name_of(&old), "--type=merge", "-p", r#"{"spec": {"activeDeadlineSeconds": 1}}"#]);
    let others = |pods: &[Value]| pods.iter().filter(|pod| uid(pod) != uid(&old)).cloned().collect::<Vec<_>>();
    until("another works in its place", || match &others(&lab.pods(Kind::Camera, "cam")?)[..] {
        [pod] if is_ready_pod(pod) => Ok(()),
        pods => anyhow::bail!("{}", brief(pods)),
    });
    lab.await_ready(Kind::Camera, "cam");

    lab.edit(Kind::Camera, "cam", &json!({"frameRate": {"target": 5}}));
    lab.await_ready(Kind::Camera, "cam");
    let pods = lab.await_pods(Kind::Camera, "cam", 1);
    assert!(uid(&pods[0]) != uid(&old), "{}", brief(&pods));
    lab.await_frames("frames", 10);
    lab.verify(&["cam"], &["frames"]);
}

pub fn somebody_elses_object_is_not_taken_over(world: &World) {
    let lab = Lab::open(world, "taken");
    // As a person would have made it: nothing of ours on it, and no field that ours has with another value.
    let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cam-camera"},
        "spec": {"clusterIP": "None", "selector": {"app": "theirs"}}});
    lab.try_apply(&[theirs]).unwrap_or_else(|e| panic!("{e:#}"));
    let before = lab.look(Kind::Service, "cam-camera").unwrap_or_else(|e| panic!("{e:#}"));
    lab.apply(&[lab.synthetic("cam", json!({}))]);
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "NameTaken");
    assert!(message.starts_with("Service/cam-camera is there already"), "{message}");
    let after = lab.look(Kind::Service, "cam-camera").unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(after, before, "it was changed");

    lab.run(&["delete", "service", "cam-camera"]);
    lab.await_ready(Kind::Camera, "cam");
}
