//! People edit children by hand: the declared state comes back.

use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, name_of, uid},
    world::World,
};

pub fn a_child_deleted_by_hand_is_put_back(world: &World) {
    let lab = Lab::open(world, "handless");
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    for kind in [Kind::Service, Kind::ConfigMap, Kind::Deployment, Kind::StatefulSet] {
        let ours = lab.kube().list(kind, Some(&lab.namespace), "");
        let ours = ours.iter().filter(|o| o["metadata"]["ownerReferences"].to_string().contains("edgereel.dev/"));
        for child in ours {
            let (name, old) = (name_of(child), uid(child));
            lab.say(&format!("deleting {} {name}", kind.plural()));
            lab.run(&["delete", kind.plural(), &name]);
            until(&format!("{} {name} is back", kind.plural()), || {
                let new = lab.look(kind, &name)?;
                if uid(&new) != old { Ok(()) } else { anyhow::bail!("it is the old one still") }
            });
        }
    }
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    lab.await_frames("frames", 10);
    lab.verify(&["cam"], &["frames"]);
}

pub fn a_child_edited_by_hand_is_put_back(world: &World) {
    let lab = Lab::open(world, "handy");
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    let camera = lab.workload(Kind::Camera, "cam").unwrap_or_else(|e| panic!("{e:#}"));
    let sink = lab.workload(Kind::Sink, "frames").unwrap_or_else(|e| panic!("{e:#}"));

    lab.say("scaling the Deployment to two by hand: two would send each frame twice");
    lab.run(&["scale", "deployment", &name_of(&camera), "--replicas=2"]);
    lab.until(Kind::Deployment, &name_of(&camera), "it has one replica", |d| d["spec"]["replicas"] == 1);

    lab.say("another image in the StatefulSet");
    let image =
        r#"[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "localhost/nothing:1"}]"#;
    lab.run(&["patch", "statefulset", &name_of(&sink), "--type=json", "-p", image]);
    lab.until(Kind::StatefulSet, &name_of(&sink), "it has its image", |s| {
        s["spec"]["template"]["spec"]["containers"][0]["image"] == world.worker_image().as_str()
    });

    lab.say("another configuration");
    let config = config_of(&sink);
    let data = lab.look(Kind::ConfigMap, &config).unwrap_or_else(|e| panic!("{e:#}"))["data"].clone();
    let key = data.as_object().and_then(|d| d.keys().next().cloned()).expect("it has a key");
    let nonsense = json!({"data": {&key: "nonsense"}}).to_string();
    lab.run(&["patch", "configmap", &config, "--type=merge", "-p", &nonsense]);
    lab.until(Kind::ConfigMap, &config, "it is as it was", |c| c["data"] == data);
    let refused = lab.attempt(&["patch", "configmap", &config_of(&camera), "--type=merge", "-p", &nonsense]);
    assert!(refused.stderr.contains("immutable"), "a camera's configuration was changed: {}", refused.stderr);

    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    lab.await_pods(Kind::Camera, "cam", 1);
    lab.await_frames("frames", 10);
    lab.verify(&["cam"], &["frames"]);
}

/// The ConfigMap that a workload's pods read.
fn config_of(workload: &Value) -> String {
    let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    let config = volumes.iter().find_map(|volume| volume["configMap"]["name"].as_str());
    config.expect("the pod mounts a ConfigMap").to_owned()
}
