//! Where pods run is what the resource says.

use serde_json::json;

use crate::{
    kube::Kind,
    lab::{Lab, name_of},
    world::World,
};

pub fn a_capture_pod_runs_on_the_node_that_has_the_label(world: &World) {
    let lab = Lab::open(world, "pinned");
    // The last one: left to itself, the scheduler might take the first.
    let mut nodes: Vec<String> = world.kube.list(Kind::Node, None, "").iter().map(name_of).collect();
    nodes.sort();
    let node = nodes.pop().expect("a cluster has a node");
    let label = format!("e2e.edgereel.dev/{}", lab.namespace);
    lab.run(&["label", "node", &node, &format!("{label}=here")]);
    let names = ["one", "two", "three"];
    for name in names {
        lab.apply(&[lab.synthetic(name, json!({"placement": {"nodeSelector": {&label: "here"}}}))]);
    }
    for name in names {
        lab.await_ready(Kind::Camera, name);
        let pods = lab.await_pods(Kind::Camera, name, 1);
        assert_eq!(pods[0]["spec"]["nodeName"], node.as_str(), "{name}");
        lab.until(Kind::Camera, name, "the status names the node", |c| c["status"]["node"] == node.as_str());
    }
    lab.run(&["label", "node", &node, &format!("{label}-")]);
}

pub fn without_a_matching_node_the_status_says_so_until_one_is_labelled(world: &World) {
    let lab = Lab::open(world, "nowhere");
    let label = format!("e2e.edgereel.dev/{}", lab.namespace);
    lab.apply(&[lab.synthetic("cam", json!({"placement": {"nodeSelector": {&label: "here"}}}))]);
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "Unschedulable");
    assert!(message.contains("node(s) didn't match"), "not the scheduler's words: {message}");
    let node = lab.node();
    lab.run(&["label", "node", &node, &format!("{label}=here")]);
    lab.await_ready(Kind::Camera, "cam");
    lab.run(&["label", "node", &node, &format!("{label}-")]);
}
