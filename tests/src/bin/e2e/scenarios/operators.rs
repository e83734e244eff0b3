//! What befalls the operator itself, and the API server behind it.

use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, condition, name_of},
    world::{DEPLOYMENT, OPERATOR, World, is_ready_pod, kill_process},
};

/// Takes a pod away at once, without waiting for its end.
fn remove(world: &World, pod: &str) {
    world.kube.run(&["delete", "pod", "-n", OPERATOR, pod, "--grace-period=0", "--force"]);
}

/// SIGKILL to every operator, and the next one awaited.
fn kill_operators(world: &World, lab: &Lab<'_>, written: usize) {
    lab.say(&format!("killing the operator, {written} Deployments are there"));
    for pod in world.operators() {
        match world.settings.own {
            Some(_) => kill_process(&pod, DEPLOYMENT),
            None => remove(world, &name_of(&pod)),
        }
    }
    world.await_operators(1);
}

pub fn an_operator_killed_while_it_works_ends_in_the_declared_state(world: &World) {
    let lab = Lab::open(world, "midway");
    let mut documents = vec![];
    for i in 0..15 {
        let camera = format!("cam{i}");
        // Suspended ones have all their children and no pod that would take the machine's processors.
        documents.push(lab.synthetic(&camera, json!({"suspend": true})));
        documents.push(lab.sink(&format!("frames{i}"), &camera, json!({"suspend": true})));
    }
    let written = || lab.kube().list(Kind::Deployment, Some(&lab.namespace), "").len();
    std::thread::scope(|scope| {
        // The first kill comes while resources are still coming in.
        scope.spawn(|| lab.apply(&documents));
        until("the operator is at work", || if written() > 0 { Ok(()) } else { anyhow::bail!("nothing is made yet") });
        kill_operators(world, &lab, written());
    });
    for _ in 0..2 {
        kill_operators(world, &lab, written());
    }
    for document in &documents {
        let kind = if document["kind"] == "FrameSink" { Kind::Sink } else { Kind::Camera };
        let name = name_of(document);
        lab.until(kind, &name, "it is settled", |o| {
            let settled = condition(o, "Ready").is_some_and(|c| c["reason"] == "Suspended");
            settled && o["status"]["observedGeneration"] == o["metadata"]["generation"]
        });
        let workload = lab.workload(kind, &name).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(workload["spec"]["replicas"], 0, "{name}");
        // Half a reconcile would leave a workload without its configuration.
        let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        for config in volumes.iter().filter_map(|v| v["configMap"]["name"].as_str()) {
            lab.look(Kind::ConfigMap, config).unwrap_or_else(|e| panic!("{name}: {e:#}"));
        }
    }
    world.await_operators(1);
}

/// Whose Lease it is.
fn holder(world: &World) -> anyhow::Result<String> {
    let lease = world.kube.try_get(Kind::Lease, Some(OPERATOR), DEPLOYMENT)?;
    let holder = lease.as_ref().and_then(|l| l["spec"]["holderIdentity"].as_str()).unwrap_or_default().to_owned();
    if holder.is_empty() { anyhow::bail!("nobody holds it: {lease:?}") } else { Ok(holder) }
}

pub fn a_second_operator_takes_over_from_a_killed_leader(world: &World) {
    let lab = Lab::open(world, "leader");
    lab.apply(&[lab.synthetic("cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    world.install(&["replicas=2"]);
    world.await_operators(2);
    let leader = until("an operator leads", || holder(world));
    let pods: Vec<Value> = world.operators();
    let names: Vec<String> = pods.iter().map(name_of).collect();
    let leading = names.iter().find(|name| leader.starts_with(name.as_str()));
    let leading = leading.unwrap_or_else(|| panic!("{leader} is none of {names:?}"));
    let waiting = names.iter().find(|name| *name != leading).expect("there are two");
    lab.say(&format!("removing {leading}, {waiting} waits"));
    remove(world, leading);
    // The one that waited, or the new one, whoever looks first.
    let next = until("another leads", || {
        let now = holder(world)?;
        if now.starts_with(leading.as_str()) { anyhow::bail!("{now}") } else { Ok(now) }
    });
    lab.edit(Kind::Camera, "cam", &json!({"frameRate": {"target": 5}}));
    lab.await_ready(Kind::Camera, "cam");

    lab.say("and one that stops in good order hands over without waiting for the Lease to run out");
    world.await_operators(2);
    world.kube.run(&["delete", "pod", "-n", OPERATOR, &next]);
    until("another leads", || {
        let now = holder(world)?;
        if now == next { anyhow::bail!("{now}") } else { Ok(()) }
    });
    world.install(&[]);
    world.await_operators(1);
    lab.edit(Kind::Camera, "cam", &json!({"frameRate": {"target": 6}}));
    lab.await_ready(Kind::Camera, "cam");
}

pub fn a_restarted_api_server_is_found_again(world: &World) {
    let Some(run) = world.own("a restart of the API server") else { return };
    let lab = Lab::open(world, "apiserver");
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    world.restart_process(run, "kube-apiserver").unwrap_or_else(|e| panic!("{e:#}"));
    lab.await_frames("frames", 10);
    lab.edit(Kind::Camera, "cam", &json!({"frameRate": {"target": 5}}));
    lab.await_ready(Kind::Camera, "cam");
    world.await_operators(1);
    lab.verify(&["cam"], &["frames"]);
}

pub fn a_second_installation_leaves_a_namespace_alone_until_the_first_has_gone(world: &World) {
    let (lab, other) = (Lab::open(world, "contested"), "edgereel-second");
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    let pod = lab.await_pods(Kind::Camera, "cam", 1).remove(0);

    lab.say("a second release, of another name, over the same namespace");
    let here = format!("watchNamespaces={{{}}}", lab.namespace);
    // It would give the camera's pods another user.
    world.install_as("second", other, &[], &[&here, "worker.runAsUser=65531"]);
    let second = || -> anyhow::Result<Value> {
        let pods = world.kube.try_list(Kind::Pod, Some(other), "app.kubernetes.io/instance=second")?;
        pods.into_iter().next().ok_or_else(|| anyhow::anyhow!("no pod"))
    };
    let log =
        || -> anyhow::Result<String> { Ok(world.kube.attempt(&["logs", "-n", other, &name_of(&second()?)]).stdout) };
    until("it has noticed the first", || match log()? {
        said if said.contains("another installation of the operator works on this namespace") => Ok(()),
        said => anyhow::bail!("{said}"),
    });
    let lease = world.kube.try_get(Kind::Lease, Some(&lab.namespace), "edgereel-operator-works-here");
    let holder = lease.ok().flatten().map(|lease| lease["spec"]["holderIdentity"].clone());
    assert_eq!(holder, Some(json!(format!("{OPERATOR}/{DEPLOYMENT}"))));
    lab.edit(Kind::Camera, "cam", &json!({"frameRate": {"target": 5}}));
    let pod = lab.await_new_pod(Kind::Camera, "cam", &pod);
    lab.await_ready(Kind::Camera, "cam");
    assert_eq!(pod["spec"]["securityContext"]["runAsUser"], 65532, "the second has built it");
    until("it is not ready", || match second()? {
        pod if is_ready_pod(&pod) => anyhow::bail!("it is, and works on nothing"),
        _ => Ok(()),
    });

    lab.say("the first rolls over to another pod, and the second gets nothing of it");
    world.install(&["log.level=debug"]);
    world.await_operators(1);
    lab.await_frames("frames", 20);
    assert!(!log().unwrap_or_else(|e| panic!("{e:#}")).contains("the other has gone"));

    lab.say("the first goes, and the second takes over");
    world.install(&["replicas=0"]);
    until("it works here", || match log()? {
        said if said.contains("the other has gone") => Ok(()),
        said => anyhow::bail!("{said}"),
    });
    lab.apply(&[lab.synthetic("new", json!({"suspend": true}))]);
    lab.await_reason(Kind::Camera, "new", "Ready", "Suspended");

    lab.say("and back");
    world.kube.helm(["uninstall", "second", "-n", other, "--wait"]);
    world.kube.run(&["delete", "namespace", other, "--timeout=60s"]);
    world.install(&[]);
    world.await_operators(1);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_frames("frames", 20);
}
