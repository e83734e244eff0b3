//! Changes of the operator itself reach a fleet: a few at a time, and no further than the first that they do no good.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, condition, name_of, uid},
    world::{OPERATOR, World, is_ready_pod},
};

/// A roll-out that does not take a scenario's whole time.
const QUICK: [&str; 2] = ["rollout.maxUnavailable=1", "rollout.pauseBetween=1s"];

fn quick<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&QUICK, more].concat()
}

/// The value for the next image: the same under another name.
fn next(world: &World) -> String {
    format!("worker.image.tag={}-next", world.settings.tag)
}

/// Cameras `c0`, `c1`, …, of which `c0` comes first in a roll-out.
fn fleet(lab: &Lab<'_>, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
    let mut cameras: Vec<Value> = names.iter().map(|name| lab.synthetic(name, json!({}))).collect();
    cameras[0]["metadata"]["annotations"] = json!({"edgereel.dev/rollout-order": "-1"});
    lab.apply(&cameras);
    names.iter().for_each(|name| drop(lab.await_ready(Kind::Camera, name)));
    names
}

/// The pods of the cameras, by their uids.
fn pods(lab: &Lab<'_>, names: &[String]) -> BTreeMap<String, String> {
    names.iter().map(|name| (name.clone(), uid(&lab.await_pods(Kind::Camera, name, 1)[0]))).collect()
}

fn await_up_to_date(lab: &Lab<'_>, names: &[String]) {
    for name in names {
        lab.until(Kind::Camera, name, "it is up to date", |o| {
            condition(o, "UpToDate").is_some_and(|c| c["status"] == "True")
        });
    }
}

/// Counts the cameras without a ready pod again and again while `work` is done, and gives the most that there were at once.
fn darkest(lab: &Lab<'_>, cameras: usize, work: impl FnOnce()) -> usize {
    let (done, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let selector = "app.kubernetes.io/component=camera";
                if let Ok(pods) = lab.kube().try_list(Kind::Pod, Some(&lab.namespace), selector) {
                    let ready = pods.iter().filter(|p| is_ready_pod(p) && p["metadata"]["deletionTimestamp"].is_null());
                    most.fetch_max(cameras.saturating_sub(ready.count()), Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        let end = Done(&done);
        work();
        drop(end);
    });
    most.into_inner()
}

/// Ends the counting, however the work ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The longest time without a frame of a camera, by the times in its files' names.
fn longest_gap(dir: &Path) -> f64 {
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut times: Vec<f64> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .flatten()
        .filter_map(|entry| name(entry).split('_').next()?.parse().ok())
        .collect();
    times.sort_by(f64::total_cmp);
    times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
}

pub fn a_bad_image_darkens_one_camera_at_most_and_a_good_one_reaches_all(world: &World) {
    let lab = Lab::open(world, "fleet");
    let names = fleet(&lab, 6);
    world.install(&quick(&[]));
    let before = pods(&lab, &names);

    lab.say("an image that is not there");
    world.install(&quick(&["worker.image.tag=missing"]));
    let message = lab.await_reason(Kind::Camera, "c0", "UpToDate", "ImagePullFailed");
    assert!(message.contains("edgereel:missing"), "not the kubelet's words: {message}");
    for name in &names[1..] {
        let message = lab.await_reason(Kind::Camera, name, "UpToDate", "RolloutHalted");
        assert!(message.contains("/c0: "), "{message}");
    }
    assert_eq!(pods(&lab, &names), before, "a pod was replaced");

    lab.say("an image that is there, starts, and is no worker");
    let other = format!("worker.image.repository={}/edgereel-operator", world.settings.repository);
    let dark = darkest(&lab, names.len(), || {
        world.install(&quick(&[&other]));
        lab.await_reason(Kind::Camera, "c0", "UpToDate", "PodCrashing");
        for name in &names[1..] {
            lab.await_reason(Kind::Camera, name, "UpToDate", "RolloutHalted");
        }
        lab.say("and an operator that starts anew in the middle of it");
        for pod in world.operators() {
            world.kube.run(&["delete", "pod", "-n", OPERATOR, &name_of(&pod)]);
        }
        world.await_operators(1);
        lab.edit(Kind::Camera, "c5", &json!({"frameRate": {"target": 5}}));
        lab.await_ready(Kind::Camera, "c5");
        lab.await_reason(Kind::Camera, "c4", "UpToDate", "RolloutHalted");
    });
    // One for the bad image, and one for the edit.
    assert!(dark <= 2, "{dark} cameras were dark at once");
    let after = pods(&lab, &names[1..5]);
    assert!(after.iter().all(|(name, uid)| before[name] == *uid), "another camera's pod was replaced: {after:?}");

    lab.say("a good one");
    let dark = darkest(&lab, names.len(), || {
        world.install(&quick(&[&next(world)]));
        await_up_to_date(&lab, &names);
        names.iter().for_each(|name| drop(lab.await_ready(Kind::Camera, name)));
    });
    assert!(dark <= 1, "{dark} cameras were dark at once");
    let after = pods(&lab, &names);
    assert!(after.iter().all(|(name, uid)| before[name] != *uid), "not all were replaced: {after:?}");
    world.install(&[]);
}

pub fn a_roll_out_takes_seconds_of_each_camera_and_waits_for_its_window(world: &World) {
    let lab = Lab::open(world, "dark");
    world.install(&quick(&[]));
    let names = fleet(&lab, 2);
    for name in &names {
        // Seconds since 1970, for `longest_gap`.
        let output =
            json!({"jpegFiles": {"directory": name, "fileName": "{timestamp:%s%.3f}_{partition}-{offset}.jpg"}});
        lab.apply(&[lab.sink(&format!("of-{name}"), name, json!({"output": output}))]);
    }
    names.iter().for_each(|name| lab.await_frames(name, 20));
    let before = pods(&lab, &names);

    lab.say("the window is closed");
    let closed = ["rollout.maintenanceWindow.schedule=0 0 1 1 *", "rollout.maintenanceWindow.duration=1s"];
    let next = next(world);
    world.install(&quick(&[&[next.as_str()], &closed[..]].concat()));
    for name in &names {
        let message = lab.await_reason(Kind::Camera, name, "UpToDate", "RolloutWaiting");
        assert!(message.contains("maintenance window"), "{message}");
    }
    assert_eq!(pods(&lab, &names), before, "a pod was replaced");

    lab.say("the window is open");
    let open = ["rollout.maintenanceWindow.schedule=* * * * *", "rollout.maintenanceWindow.duration=2m"];
    world.install(&quick(&[&[next.as_str()], &open[..]].concat()));
    await_up_to_date(&lab, &names);
    until("all are replaced", || match pods(&lab, &names) {
        after if after.iter().all(|(name, uid)| before[name] != *uid) => Ok(()),
        after => anyhow::bail!("{after:?}"),
    });
    for name in &names {
        lab.await_frames(name, 20);
        let gap = longest_gap(&lab.disk.join(name));
        lab.say(&format!("{name} was dark for {gap:.1} s"));
        assert!(gap > 0.0);
    }
    world.install(&[]);
}

pub fn a_paused_camera_is_left_alone_until_it_is_paused_no_longer(world: &World) {
    let lab = Lab::open(world, "paused");
    lab.apply(&[lab.synthetic("cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    let before = uid(&lab.await_pods(Kind::Camera, "cam", 1)[0]);
    lab.run(&["annotate", "cam", "cam", "edgereel.dev/pause=true"]);
    lab.await_reason(Kind::Camera, "cam", "Paused", "Paused");
    lab.run(&["delete", "service", "cam-camera"]);
    lab.edit(Kind::Camera, "cam", &json!({"frameRate": {"target": 5}}));
    lab.await_reason(Kind::Camera, "cam", "UpToDate", "Paused");
    assert_eq!(uid(&lab.await_pods(Kind::Camera, "cam", 1)[0]), before, "its pod was replaced");
    assert!(lab.look(Kind::Service, "cam-camera").is_err(), "its Service was put back");

    lab.run(&["annotate", "cam", "cam", "edgereel.dev/pause-"]);
    lab.until(Kind::Camera, "cam", "it is paused no longer", |o| condition(o, "Paused").is_none());
    lab.await_ready(Kind::Camera, "cam");
    assert!(uid(&lab.await_pods(Kind::Camera, "cam", 1)[0]) != before, "the edit has not reached its pod");
    assert!(lab.look(Kind::Service, "cam-camera").is_ok(), "its Service is not back");
}
