//! Every edit of a resource, or of what it refers to, reaches the workers, and the data goes on over it.

use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, uid},
    world::{Settings, World},
};

const LOGIN: &str = "cam-login";

fn login(password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": LOGIN}, "type": "kubernetes.io/basic-auth",
        "stringData": {"username": "ann", "password": password},
    })
}

/// Changes something that has to give the camera a new pod, and waits until that one captures and its frames are stored.
#[track_caller]
fn rolls(lab: &Lab<'_>, what: &str, change: impl FnOnce()) -> Value {
    lab.say(what);
    let old = lab.await_pods(Kind::Camera, "cam", 1).remove(0);
    change();
    let new = lab.await_new_pod(Kind::Camera, "cam", &old);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_frames("frames", 20);
    new
}

pub fn every_edit_of_a_camera_keeps_its_frames(world: &World) {
    let lab = Lab::open(world, "edits");
    let url = lab.camera_server("server", &["--user", "ann", "--password", "first"]);
    lab.apply(&[login("first")]);
    let more = json!({"credentialsSecretRef": {"name": LOGIN}, "frameRate": {"target": 10}});
    lab.apply(&[lab.mjpeg("cam", &url, more), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    lab.await_frames("frames", 20);

    rolls(&lab, "a frame rate", || lab.edit(Kind::Camera, "cam", &json!({"frameRate": {"target": 5}})));
    let status = lab.until(Kind::Camera, "cam", "the rate is seen", |c| {
        c["status"]["framesDropped"].as_i64().is_some() && c["status"]["fps"].as_f64() > Some(0.0)
    });
    assert!(status["status"]["lastFrameTime"].is_string(), "{}", status["status"]);

    let Settings { repository, tag, .. } = &world.settings;
    let image = format!("{repository}/edgereel:{tag}-next");
    let pod = rolls(&lab, "an image", || {
        lab.edit(Kind::Camera, "cam", &json!({"template": {"image": image, "imagePullPolicy": "IfNotPresent"}}));
    });
    assert_eq!(pod["spec"]["containers"][0]["image"], image.as_str());

    let resources = json!({"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "300Mi"}});
    let pod = rolls(&lab, "resources", || {
        lab.edit(Kind::Camera, "cam", &json!({"template": {"resources": resources}}));
    });
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"]["memory"], "300Mi");

    let sink = lab.await_pods(Kind::Sink, "frames", 1).remove(0);
    rolls(&lab, "the connection", || {
        lab.edit(Kind::Connection, "lab", &json!({"properties": {"socket.keepalive.enable": "true"}}));
    });
    lab.await_new_pod(Kind::Sink, "frames", &sink);
    lab.await_ready(Kind::Sink, "frames");

    lab.say("a Secret's content");
    let old = lab.await_pods(Kind::Camera, "cam", 1).remove(0);
    lab.apply(&[login("wrong")]);
    lab.await_reason(Kind::Camera, "cam", "Ready", "CameraUnauthorized");
    lab.apply(&[login("first")]);
    lab.await_new_pod(Kind::Camera, "cam", &old);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_frames("frames", 20);

    lab.say("suspend and resume");
    for kind_name in [(Kind::Camera, "cam"), (Kind::Sink, "frames")] {
        let (kind, name) = kind_name;
        lab.edit(kind, name, &json!({"suspend": true}));
        lab.await_reason(kind, name, "Ready", "Suspended");
        until(&format!("{name} has no pods"), || match lab.pods(kind, name)?.len() {
            0 => Ok(()),
            pods => anyhow::bail!("{pods}"),
        });
        lab.edit(kind, name, &json!({"suspend": false}));
        lab.await_ready(kind, name);
    }
    lab.await_frames("frames", 20);
    lab.verify(&["cam"], &["frames"]);
}

pub fn a_sink_scales_to_three_and_back_and_stores_every_frame_once(world: &World) {
    let lab = Lab::open(world, "scale");
    let topic = json!({"name": lab.topic("cam"), "partitions": 3, "replicationFactor": 1, "key": "none"});
    lab.apply(&[lab.synthetic("cam", json!({"topic": topic})), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Sink, "frames");
    lab.await_frames("frames", 20);
    lab.run(&["scale", "fsink/frames", "--replicas=3"]);
    let pods = lab.await_pods(Kind::Sink, "frames", 3);
    assert_eq!(pods.len(), 3);
    lab.await_ready(Kind::Sink, "frames");
    lab.until(Kind::Sink, "frames", "the scale is reported", |s| s["status"]["replicas"] == 3);
    lab.await_frames("frames", 30);

    // More workers than partitions would idle: they are not started, and that is said.
    lab.run(&["scale", "fsink/frames", "--replicas=5"]);
    lab.until(Kind::Sink, "frames", "five are too many", |s| {
        s["status"]["conditions"].to_string().contains("ReplicasCapped")
    });
    assert_eq!(lab.await_pods(Kind::Sink, "frames", 3).len(), 3);

    lab.run(&["scale", "fsink/frames", "--replicas=1"]);
    lab.await_pods(Kind::Sink, "frames", 1);
    lab.await_ready(Kind::Sink, "frames");
    lab.await_frames("frames", 20);
    lab.verify(&["cam"], &["frames"]);
}

pub fn what_is_no_configuration_restarts_no_pod(world: &World) {
    let lab = Lab::open(world, "calm");
    lab.apply(&[lab.synthetic("cam", json!({})), lab.synthetic("other", json!({}))]);
    lab.apply(&[lab.sink("frames", "cam", json!({}))]);
    let all = [(Kind::Camera, "cam"), (Kind::Camera, "other"), (Kind::Sink, "frames")];
    for (kind, name) in all {
        lab.await_ready(kind, name);
    }
    let pods = || -> Vec<String> { all.iter().map(|(k, n)| uid(&lab.await_pods(*k, n, 1)[0])).collect() };
    let before = pods();
    for (kind, name) in all {
        lab.run(&["annotate", kind.plural(), name, "example.com/note=hello"]);
        lab.run(&["label", kind.plural(), name, "team=lab"]);
    }
    lab.run(&["annotate", "kafkaconnection", "lab", "example.com/note=hello"]);
    // The operator has seen it all once it has restarted the one that is to be restarted.
    lab.run(&["annotate", "cam", "other", "edgereel.dev/restart=now"]);
    let old = json!({"metadata": {"uid": before[1]}});
    lab.await_new_pod(Kind::Camera, "other", &old);
    let after = pods();
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]), "a pod was restarted for nothing");
    // And the other way that people know.
    let workload = lab.workload(Kind::Camera, "cam").unwrap_or_else(|e| panic!("{e:#}"));
    let deployment = format!("deployment/{}", crate::lab::name_of(&workload));
    lab.run(&["rollout", "restart", &deployment]);
    lab.await_new_pod(Kind::Camera, "cam", &json!({"metadata": {"uid": before[0]}}));
    lab.await_ready(Kind::Camera, "cam");
}

pub fn what_is_no_longer_declared_goes_from_the_children(world: &World) {
    let lab = Lab::open(world, "undeclared");
    let template =
        json!({"template": {"labels": {"team": "gate"}, "env": [{"name": "EDGEREEL_LOG", "value": "debug"}]}});
    lab.apply(&[lab.synthetic("cam", template)]);
    lab.await_ready(Kind::Camera, "cam");
    let workload = || lab.workload(Kind::Camera, "cam").unwrap_or_else(|e| panic!("{e:#}"));
    let pod = |workload: &Value| workload["spec"]["template"].clone();
    assert_eq!(pod(&workload())["metadata"]["labels"]["team"], "gate");

    // The first change of what was created is where the fields become applied ones.
    for declared in [json!({"labels": null}), json!({"env": null})] {
        let before = lab.await_pods(Kind::Camera, "cam", 1).remove(0);
        lab.edit(Kind::Camera, "cam", &json!({"template": declared}));
        lab.await_new_pod(Kind::Camera, "cam", &before);
        lab.await_ready(Kind::Camera, "cam");
    }
    let after = workload();
    assert_eq!(pod(&after)["metadata"]["labels"]["team"], Value::Null);
    let text = pod(&after).to_string();
    assert!(!text.contains("EDGEREEL_LOG\""), "{text}");
    let managed = lab.run(&["get", "deployment", "cam-camera", "-o", "json", "--show-managed-fields"]);
    let managed: Value = serde_json::from_str(&managed).unwrap_or_default();
    let entries = managed["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let ours: Vec<&Value> = entries.iter().filter(|entry| entry["manager"] == "edgereel-operator").collect();
    assert!(ours.len() == 1 && ours[0]["operation"] == "Apply", "{ours:?}");
}
