//! What has an end: Jobs, and CronJobs.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use edgereel_frame::samples::png;
use edgereel_tests::{kafka::topics::Record, process, resources};
use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, brief, condition, uid},
    world::{World, kill_process},
};

/// Longer than it takes to make a video of some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A claim of this name on a directory of the lab's disk, and the directory.
#[track_caller]
fn claim(lab: &Lab<'_>, name: &str) -> std::path::PathBuf {
    let dir = lab.disk.join(name);
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let volume = format!("{}-{name}", lab.namespace);
    let common = json!({"storageClassName": "", "accessModes": ["ReadWriteOnce"]});
    let (mut of_volume, mut of_claim) = (common.clone(), common);
    of_volume["capacity"] = json!({"storage": "1Gi"});
    of_volume["hostPath"] = json!({"path": dir});
    of_volume["persistentVolumeReclaimPolicy"] = json!("Retain");
    of_claim["resources"] = json!({"requests": {"storage": "1Gi"}});
    of_claim["volumeName"] = json!(volume);
    lab.kube().apply(&[
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": of_volume}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": lab.namespace}, "spec": of_claim}),
    ]);
    dir
}

/// What is written there is the workers', too.
fn give(dir: &Path) {
    crate::world::open_to_workers(dir).unwrap_or_else(|e| panic!("{e:#}"));
}

fn camera(lab: &Lab<'_>, name: &str, source: Value, more: Value) -> Value {
    let mut spec = json!({"storage": {"persistentVolumeClaim": {"claimName": name}}});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    resources::camera(name, source, &lab.topic(name), spec)
}

/// The camera's pods, whatever made them.
fn pods(lab: &Lab<'_>, name: &str) -> anyhow::Result<Vec<Value>> {
    let selector = format!("app.kubernetes.io/instance={name}-camera");
    lab.kube().try_list(Kind::Pod, Some(&lab.namespace), &selector)
}

/// The names of a header's values, none of which may come twice.
#[track_caller]
fn once(records: &[Record], header: &str) -> BTreeSet<String> {
    let all: Vec<String> = records.iter().filter_map(|record| record.header(header)).collect();
    let distinct: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), distinct.len(), "a {header} stands there twice");
    distinct
}

pub fn a_folder_on_a_claim_is_read_to_its_end_and_a_killed_pod_sends_nothing_twice(world: &World) {
    const COUNT: usize = 300;
    let lab = Lab::open(world, "folder");
    let dir = claim(&lab, "labels");
    fs::create_dir(dir.join("cats")).unwrap_or_else(|e| panic!("{e}"));
    for n in 0..COUNT {
        fs::write(dir.join(format!("cats/{n}.png")), png(&n.to_string())).unwrap_or_else(|e| panic!("{e}"));
    }
    fs::write(dir.join("cats/broken.png"), "no picture").unwrap_or_else(|e| panic!("{e}"));
    give(&dir);
    let source = json!({"directory": {"watch": false, "annotation": "parentFolder"}});
    // Slow enough to be killed in the middle.
    lab.apply(&[camera(&lab, "labels", source, json!({"frameRate": {"target": 30}}))]);
    let topic = lab.topic("labels");
    let sent = || world.kafka.offsets(&topic).map_or(0, |all| all.iter().map(|(_, end)| *end).sum::<i64>());
    let first = until("its pod sends", || match &pods(&lab, "labels")?[..] {
        [pod] if sent() > 20 => Ok(pod.clone()),
        pods => anyhow::bail!("{} records, {}", sent(), brief(pods)),
    });
    lab.say("killing the worker in the middle");
    kill_process(&first, "edgereel");
    until("another pod goes on", || match pods(&lab, "labels")?.iter().find(|pod| uid(pod) != uid(&first)) {
        Some(pod) => Ok(pod.clone()),
        None => anyhow::bail!("there is none"),
    });
    let message = lab.await_reason(Kind::Camera, "labels", "Ready", "Completed");
    assert!(
        message.contains("ran to its end: all files were looked at: ") && message.contains("not_picture 1"),
        "{message}"
    );
    let records = world.kafka.consume_all(&topic);
    assert_eq!(once(&records, "file").len(), COUNT);
    assert!(records.iter().all(|record| record.header("annotation").as_deref() == Some("cats")));
    let done = lab.look(Kind::Camera, "labels").unwrap_or_else(|e| panic!("{e:#}"));
    let holds = |of: &str| condition(&done, of).map(|c| c["status"].clone());
    assert_eq!(
        [holds("Ready"), holds("Stalled"), holds("Reconciling")],
        [Some(json!("True")), Some(json!("False")), Some(json!("False"))]
    );
    world.kube.run(&["delete", "--wait=false", &format!("persistentvolume/{}-labels", lab.namespace)]);
}

pub fn videos_on_a_claim_come_by_their_schedule_and_none_twice(world: &World) {
    let lab = Lab::open(world, "videos");
    let dir = claim(&lab, "night");
    fs::create_dir(dir.join("videos")).unwrap_or_else(|e| panic!("{e}"));
    for name in ["a.mp4", "b.mp4"] {
        let pattern = "testsrc=size=320x240:rate=25:duration=2";
        let mut ffmpeg = process::command("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", pattern]);
        ffmpeg
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
            .arg(dir.join("videos").join(name));
        process::output("ffmpeg", ffmpeg, PATIENCE).unwrap_or_else(|e| panic!("{e:#}"));
    }
    give(&dir);
    give(&dir.join("videos"));
    let source = json!({"file": {"path": "videos"}});
    lab.apply(&[camera(&lab, "night", source, json!({"schedule": "* * * * *", "timeZone": "Europe/Rome"}))]);
    let waits = |words: &'static str| {
        move |camera: &Value| {
            let said = camera["status"]["lastRun"].as_str().unwrap_or_default();
            let ready = condition(camera, "Ready");
            said.contains(words) && ready.is_some_and(|c| c["status"] == "True" && c["reason"] == "Scheduled")
        }
    };
    let first = "ran to its end: all files were read: 100 frames of 2 files sent in this run";
    let camera = lab.until(Kind::Camera, "night", "its first run has ended", waits(first));
    let holds = |of: &str| condition(&camera, of).map(|c| c["status"].clone());
    assert_eq!([holds("Stalled"), holds("Reconciling")], [Some(json!("False")), Some(json!("False"))]);
    let time = |camera: &Value, of: &str| camera["status"][of].as_str().unwrap_or_default().to_owned();
    assert!(time(&camera, "nextRunTime") > time(&camera, "lastRunTime"), "{:#}", camera["status"]);
    let cron = lab.look(Kind::CronJob, "night-camera").unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(
        (&cron["spec"]["timeZone"], &cron["spec"]["concurrencyPolicy"]),
        (&json!("Europe/Rome"), &json!("Forbid"))
    );
    let second = "0 frames of 0 files sent in this run, 2 files done before";
    let again = lab.until(Kind::Camera, "night", "its second run has ended", waits(second));
    assert!(time(&again, "lastRunTime") > time(&camera, "lastRunTime"), "{:#}", again["status"]);
    let records = world.kafka.consume_all(&lab.topic("night"));
    assert_eq!((records.len(), once(&records, "ce_id").len()), (100, 100));
    lab.say("suspended, no other run begins");
    lab.edit(Kind::Camera, "night", &json!({"suspend": true}));
    lab.await_reason(Kind::Camera, "night", "Ready", "Suspended");
    let cron = lab.look(Kind::CronJob, "night-camera").unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(cron["spec"]["suspend"], true);
    lab.say("without a schedule it is a Job");
    lab.edit(Kind::Camera, "night", &json!({"suspend": false, "schedule": null, "timeZone": null}));
    let message = lab.await_reason(Kind::Camera, "night", "Ready", "Completed");
    assert!(message.contains(second), "{message}");
    until("the CronJob is gone", || match lab.look(Kind::CronJob, "night-camera") {
        Err(_) => Ok(()),
        Ok(_) => anyhow::bail!("it is there"),
    });
    world.kube.run(&["delete", "--wait=false", &format!("persistentvolume/{}-night", lab.namespace)]);
}
