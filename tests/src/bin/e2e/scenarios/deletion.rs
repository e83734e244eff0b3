//! What goes and what stays: children go with their resource, frames never do, and the operator's own going harms nothing.

use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, count, uid},
    world::{OPERATOR, World},
};

/// What the operator makes for a resource.
const CHILDREN: [Kind; 4] = [Kind::Deployment, Kind::StatefulSet, Kind::ConfigMap, Kind::Service];

/// The objects of a namespace that a resource of ours owns.
fn children(lab: &Lab<'_>) -> anyhow::Result<Vec<String>> {
    let mut names = vec![];
    for kind in CHILDREN {
        for object in lab.kube().try_list(kind, Some(&lab.namespace), "")? {
            let owners = object["metadata"]["ownerReferences"].to_string();
            if owners.contains("edgereel.dev/") {
                names.push(format!("{} {}", kind.plural(), object["metadata"]["name"]));
            }
        }
    }
    Ok(names)
}

pub fn deleting_resources_removes_their_children_and_no_frame(world: &World) {
    let lab = Lab::open(world, "deleted");
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Sink, "frames");
    lab.await_frames("frames", 20);
    lab.verify(&["cam"], &["frames"]);
    let stored = count(&lab.disk);
    let there = children(&lab).unwrap_or_else(|e| panic!("{e:#}"));
    assert!(there.len() >= 5, "few children: {there:?}");
    lab.run(&["delete", "cam/cam", "fsink/frames", "--timeout=60s"]);
    until("all children are gone", || {
        let left = children(&lab)?;
        if left.is_empty() { Ok(()) } else { anyhow::bail!("{left:?}") }
    });
    until("all pods are gone", || match lab.kube().try_list(Kind::Pod, Some(&lab.namespace), "")?.len() {
        0 => Ok(()),
        pods => anyhow::bail!("{pods}"),
    });
    assert!(count(&lab.disk) >= stored, "{stored} frames were there, and {} are left", count(&lab.disk));
    // What is left is whole, and a sink of that name goes on with it.
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Sink, "frames");
    lab.await_frames("frames", 10);
    lab.verify(&["cam"], &["frames"]);
}

pub fn an_uninstall_leaves_everything_and_a_reinstall_restarts_no_pod(world: &World) {
    let lab = Lab::open(world, "uninstall");
    let topic = json!({"name": lab.topic("cam"), "partitions": 3, "replicationFactor": 1});
    lab.apply(&[lab.synthetic("cam", json!({"topic": topic})), lab.sink("frames", "cam", json!({"replicas": 2}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    let pods = || -> Vec<String> {
        let mut pods: Vec<Value> = lab.await_pods(Kind::Camera, "cam", 1);
        pods.extend(lab.await_pods(Kind::Sink, "frames", 2));
        pods.iter().map(uid).collect()
    };
    let before = pods();
    let restarts = || -> Vec<Value> {
        let pods = lab.kube().list(Kind::Pod, Some(&lab.namespace), "");
        pods.iter().map(|p| p["status"]["containerStatuses"][0]["restartCount"].clone()).collect()
    };
    let restarts_before = restarts();

    world.kube.helm(["uninstall", "edgereel", "-n", OPERATOR, "--wait"]);
    world.kube.helm(["uninstall", "edgereel-crds", "-n", OPERATOR, "--wait"]);
    until("no operator is left", || match world.operators().len() {
        0 => Ok(()),
        pods => anyhow::bail!("{pods}"),
    });
    lab.look(Kind::Camera, "cam").unwrap_or_else(|e| panic!("the uninstall took it: {e:#}"));
    lab.look(Kind::Sink, "frames").unwrap_or_else(|e| panic!("the uninstall took it: {e:#}"));
    lab.await_frames("frames", 20);

    world.install_crds(&[]);
    world.install(&[]);
    // The new operator has seen both once an edit has come through.
    lab.apply(&[lab.synthetic("late", json!({}))]);
    lab.await_ready(Kind::Camera, "late");
    lab.run(&["scale", "fsink/frames", "--replicas=3"]);
    lab.await_pods(Kind::Sink, "frames", 3);
    lab.run(&["scale", "fsink/frames", "--replicas=2"]);
    assert_eq!(pods(), before, "a pod was restarted by the reinstall");
    assert!(restarts().iter().all(|n| n == 0), "containers were restarted: {restarts_before:?}");
    lab.verify(&["cam"], &["frames"]);
}
