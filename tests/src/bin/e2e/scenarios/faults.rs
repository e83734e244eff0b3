//! What goes wrong with one resource: it is said why, and it ends in the declared state.

use std::{fs, path::Path, time::Duration};

use edgereel_tests::process;
use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, brief, uid},
    world::{World, is_ready_pod, kill_process, open_to_workers},
};

const LONG_ENOUGH: Duration = Duration::from_secs(20);

pub fn a_killed_worker_comes_back_and_no_frame_is_missing(world: &World) {
    if world.own("a killed worker").is_none() {
        return;
    }
    let lab = Lab::open(world, "killed");
    let video = json!({"output": {"video": {"directory": "film", "segment": {"maxDuration": "10s"}}}});
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({})), lab.sink("film", "cam", video)]);
    let all = [(Kind::Camera, "cam"), (Kind::Sink, "frames"), (Kind::Sink, "film")];
    for (kind, name) in all {
        lab.await_ready(kind, name);
    }
    lab.await_frames("frames", 20);
    for (kind, name) in all {
        lab.say(&format!("killing the worker of {name}"));
        kill_process(&lab.await_pods(kind, name, 1)[0], "edgereel");
        until(&format!("{name} runs again"), || {
            let pods = lab.pods(kind, name)?;
            let restarted = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64() > Some(0);
            match &pods[..] {
                [pod] if is_ready_pod(pod) && restarted(pod) => Ok(()),
                pods => anyhow::bail!("{}", brief(pods)),
            }
        });
        lab.await_ready(kind, name);
    }
    lab.await_frames("frames", 20);
    lab.verify(&["cam"], &["frames", "film"]);
}

pub fn a_bad_image_stops_at_the_first_pod_and_one_edit_mends_it(world: &World) {
    let lab = Lab::open(world, "badimage");
    let topic = json!({"name": lab.topic("cam"), "partitions": 3, "replicationFactor": 1, "key": "none"});
    lab.apply(&[lab.synthetic("cam", json!({"topic": topic})), lab.sink("frames", "cam", json!({"replicas": 2}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    lab.await_pods(Kind::Sink, "frames", 2);

    let bad = json!({"template": {"image": "localhost/edgereel-e2e/missing:1"}});
    lab.edit(Kind::Sink, "frames", &bad);
    let message = lab.await_reason(Kind::Sink, "frames", "Ready", "ImagePullFailed");
    assert!(message.contains("localhost/edgereel-e2e/missing:1"), "not the kubelet's words: {message}");
    let pods = lab.pods(Kind::Sink, "frames").unwrap_or_else(|e| panic!("{e:#}"));
    let ready: Vec<&Value> = pods.iter().filter(|p| is_ready_pod(p)).collect();
    assert_eq!(ready.len(), 1, "the other pod should work on: {}", brief(&pods));
    until("an Event says the same", || {
        let events = lab.kube().try_list(Kind::Event, Some(&lab.namespace), "")?;
        let said = |e: &Value| e["regarding"]["name"] == "frames" && e["reason"] == "ImagePullFailed";
        if events.iter().any(said) { Ok(()) } else { anyhow::bail!("{} other events", events.len()) }
    });
    lab.edit(Kind::Camera, "cam", &bad);
    lab.await_reason(Kind::Camera, "cam", "Ready", "ImagePullFailed");

    // One edit, and no pod has to be deleted by hand: a StatefulSet by itself would wait for the bad one for ever.
    let good = json!({"template": {"image": null}});
    lab.edit(Kind::Sink, "frames", &good);
    lab.edit(Kind::Camera, "cam", &good);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_pods(Kind::Sink, "frames", 2);
    lab.await_ready(Kind::Sink, "frames");
    lab.await_frames("frames", 10);
    lab.verify(&["cam"], &["frames"]);
}

pub fn a_missing_secret_is_named_until_it_is_created(world: &World) {
    let lab = Lab::open(world, "nosecret");
    let url = lab.camera_server("server", &["--user", "ann", "--password", "secret"]);
    lab.apply(&[lab.mjpeg("cam", &url, json!({"credentialsSecretRef": {"name": "cam-login"}}))]);
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "SecretMissing");
    assert!(message.contains("cam-login"), "which one? {message}");
    lab.apply(&[json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cam-login"}, "type": "kubernetes.io/basic-auth",
        "stringData": {"username": "ann", "password": "secret"},
    })]);
    lab.await_ready(Kind::Camera, "cam");
}

pub fn what_kubernetes_says_only_in_events_is_in_the_status(world: &World) {
    if world.own("a directory that is not there").is_none() {
        return;
    }
    let lab = Lab::open(world, "events");
    lab.apply(&[lab.synthetic("cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "1"}},
    });
    lab.apply(&[quota]);
    lab.run(&["wait", "--for=jsonpath={.status.used.pods}=1", "--timeout=60s", "resourcequota/full"]);
    let later = lab.disk.join("later");
    lab.apply(&[lab.sink("frames", "cam", json!({"storage": {"hostPath": {"path": later}}}))]);
    // A StatefulSet whose pods may not be made has no condition that says so.
    let message = lab.await_reason(Kind::Sink, "frames", "Stalled", "PodFailed");
    assert!(message.contains("exceeded quota"), "not the API server's words: {message}");

    lab.run(&["delete", "resourcequota", "full"]);
    let message = until("the kubelet's words", || {
        let message = lab.await_reason(Kind::Sink, "frames", "Stalled", "PodFailed");
        if message.contains("quota") { anyhow::bail!("{message}") } else { Ok(message) }
    });
    assert!(message.contains("is not a directory"), "not the kubelet's words: {message}");

    fs::create_dir(&later).unwrap_or_else(|e| panic!("{e}"));
    open_to_workers(&later).unwrap_or_else(|e| panic!("{e:#}"));
    lab.await_ready(Kind::Sink, "frames");
    lab.verify(&["cam"], &["frames"]);
}

/// A file system of a fixed size at a directory of this machine. Dropped, it is unmounted.
struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    fn mount(at: &'p Path, options: &str) -> Self {
        let path = at.to_string_lossy();
        let mount = process::command("mount", ["-t", "tmpfs", "-o", options, "tmpfs", &path]);
        process::output("mount", mount, LONG_ENOUGH).unwrap_or_else(|e| panic!("{e:#}"));
        SmallDisk(at)
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let path = self.0.to_string_lossy();
        let mount = process::command("mount", ["-o", &options, &path]);
        process::output("mount", mount, LONG_ENOUGH).unwrap_or_else(|e| panic!("{e:#}"));
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let umount = process::command("umount", ["-l".as_ref(), self.0.as_os_str()]);
        // A mount that stays is in the way of nothing but the removal of the scratch directory.
        let _ = process::run("umount", umount, LONG_ENOUGH);
    }
}

pub fn a_full_volume_pauses_the_sink_and_nothing_is_lost(world: &World) {
    if world.own("a full volume").is_none() {
        return;
    }
    let lab = Lab::open(world, "full");
    let small = lab.disk.join("small");
    fs::create_dir(&small).unwrap_or_else(|e| panic!("{e}"));
    let disk = SmallDisk::mount(&small, "size=1m,mode=755");
    open_to_workers(&small).unwrap_or_else(|e| panic!("{e:#}"));
    let storage = json!({"hostPath": {"path": small}});
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({"storage": storage}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_reason(Kind::Sink, "frames", "StorageHealthy", "StorageFull");
    lab.await_reason(Kind::Sink, "frames", "Ready", "StorageFull");
    let pod = lab.await_pod_running(Kind::Sink, "frames");
    disk.remount("size=300m");
    lab.await_ready(Kind::Sink, "frames");
    let after = lab.await_pods(Kind::Sink, "frames", 1);
    assert_eq!(uid(&after[0]), uid(&pod), "the pod should have waited, not be made anew");
    lab.verify(&["cam"], &["frames"]);
    // The workers let go of the disk before it is taken away.
    lab.run(&["delete", "fsink", "frames", "--timeout=60s"]);
    until("the sink's pod is gone", || {
        let pods = lab.kube().try_list(Kind::Pod, Some(&lab.namespace), "")?;
        if pods.iter().any(|p| uid(p) == uid(&pod)) { anyhow::bail!("not yet") } else { Ok(()) }
    });
}
