//! A node that is dead: its kubelet is gone, and what ran there too.

use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, brief, name_of, uid},
    world::{World, is_ready_pod, kill_process},
};

/// Starts what was killed, whatever happens.
struct Revived<'w>(&'w World, &'w std::path::Path);

impl Drop for Revived<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.start_processes(self.1) {
            eprintln!("e2e: the node is not brought back: {error:#}");
        }
    }
}

fn node_of(pod: &Value) -> String {
    pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
}

pub fn a_dead_node_is_named_and_what_may_move_moves(world: &World) {
    let Some(run) = world.own("a dead node") else { return };
    let lab = Lab::open(world, "deadnode");
    let mut nodes: Vec<String> = world.kube.list(Kind::Node, None, "").iter().map(name_of).collect();
    nodes.sort();
    let [first, second] = &nodes[..] else { panic!("two nodes are needed: {nodes:?}") };
    let on = |nodes: &[&String]| json!({"placement": {"nodes": nodes}});
    lab.apply(&[
        lab.synthetic("cam", on(&[second])),
        lab.sink("stays", "cam", on(&[second])),
        lab.sink("moves", "cam", json!({"placement": {"nodes": [first, second]}})),
    ]);
    for (kind, name) in [(Kind::Camera, "cam"), (Kind::Sink, "stays"), (Kind::Sink, "moves")] {
        lab.await_ready(kind, name);
    }
    // It may run elsewhere from now on, and stays where it is.
    lab.edit(Kind::Camera, "cam", &json!({"placement": {"nodes": [first, second], "moveAfter": "5s"}}));
    lab.await_ready(Kind::Camera, "cam");
    // Whatever runs on the node that stays is of no interest here.
    lab.run(&["cordon", first]);
    for (kind, name) in [(Kind::Camera, "cam"), (Kind::Sink, "moves")] {
        let pod = lab.await_pods(kind, name, 1).remove(0);
        if node_of(&pod) == *first {
            lab.run(&["delete", "pod", &name_of(&pod)]);
            lab.await_new_pod(kind, name, &pod);
        }
    }
    lab.run(&["uncordon", first]);
    lab.await_frames("stays", 10);
    let (cam, stays) = (lab.await_pods(Kind::Camera, "cam", 1), lab.await_pods(Kind::Sink, "stays", 1));
    let moves = lab.await_pods(Kind::Sink, "moves", 1);
    assert!([&cam, &stays, &moves].iter().all(|pods| node_of(&pods[0]) == *second), "{}", brief(&cam));

    lab.say("the kubelet dies, and all that it ran");
    let revived = Revived(world, run);
    let number = second.rsplit('-').next().unwrap_or_default();
    world.kill_process(run, &format!("kubelet-{number}")).unwrap_or_else(|e| panic!("{e:#}"));
    [&cam, &stays, &moves].iter().for_each(|pods| kill_process(&pods[0], "edgereel"));
    for sink in ["stays", "moves"] {
        let message = lab.await_reason(Kind::Sink, sink, "Stalled", "NodeLost");
        for words in [second.as_str(), " since 20", "out-of-service", "edgereel.dev/force-move"] {
            assert!(message.contains(words), "{sink}: no {words} in: {message}");
        }
    }
    until("the camera runs on the other node", || {
        let pods = lab.pods(Kind::Camera, "cam")?;
        let moved = |pod: &Value| node_of(pod) == *first && is_ready_pod(pod);
        if pods.iter().any(moved) { Ok(()) } else { anyhow::bail!("{}", brief(&pods)) }
    });
    lab.await_reason(Kind::Camera, "cam", "Ready", "Running");

    lab.say("one sink is told to leave its disk behind");
    lab.run(&["annotate", "fsink", "moves", &format!("edgereel.dev/force-move={second}")]);
    lab.await_new_pod(Kind::Sink, "moves", &moves[0]);
    lab.await_ready(Kind::Sink, "moves");
    let now = lab.await_pods(Kind::Sink, "moves", 1);
    assert_eq!(node_of(&now[0]), *first);

    lab.say("the node comes back");
    drop(revived);
    lab.await_ready(Kind::Sink, "stays");
    until("the old pods are gone", || {
        let all = world.kube.try_list(Kind::Pod, Some(&lab.namespace), "")?;
        let old = |pod: &&Value| [&cam[0], &moves[0]].iter().any(|old| uid(old) == uid(pod));
        match all.iter().filter(old).count() {
            0 => Ok(()),
            left => anyhow::bail!("{left} of them"),
        }
    });
    lab.await_frames("stays", 10);
    lab.await_frames("moves", 10);
    // The nodes are one machine: what the sink left behind is here, too.
    lab.verify(&["cam"], &["stays", "moves"]);
}
