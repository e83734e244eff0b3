//! How changes of the operator itself reach a fleet of cameras.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Lab, settings};
use crate::{kinds::Kinds, settings::Settings};

/// Cameras `c0`, `c1`, … with a connection.
fn cameras(count: usize) -> String {
    let mut text = "apiVersion: edgereel.dev/v1alpha1\nkind: KafkaConnection\nmetadata: {name: kafka}\n\
                    spec: {bootstrapServers: [\"kafka:9092\"]}\n"
        .to_owned();
    for n in 0..count {
        text.push_str(&camera(&format!("c{n}"), "", ""));
    }
    text
}

fn camera(name: &str, annotations: &str, more: &str) -> String {
    format!(
        "---\napiVersion: edgereel.dev/v1alpha1\nkind: CameraStream\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n\
         spec:\n  source: {{mjpeg: {{url: \"http://{name}/video\"}}}}\n  topic: {{name: {name}}}\n  \
         kafka: {{connectionRef: {{name: kafka}}}}\n{more}"
    )
}

/// An operator with a worker image and its own way of rolling out.
fn operator(image: &str, rollout: &str) -> Settings {
    Settings { worker_image: image.into(), rollout: rollout.parse().expect("settings"), ..settings() }
}

const AT_ONCE: &str = "{pauseBetween: 0s}";

impl Lab {
    /// Everybody who was woken is looked at, until nobody is.
    async fn settle(&mut self) -> Vec<String> {
        let mut requests = Vec::new();
        for _ in 0..50 {
            let woken = self.woken();
            if woken.is_empty() {
                return requests;
            }
            let before = requests.len();
            for name in woken.iter().filter_map(|name| name.strip_prefix("CameraStream/")) {
                requests.extend(self.camera(name).await);
            }
            let deleted = requests[before..].iter().filter_map(|request| request.strip_prefix("DELETE pods/"));
            deleted.for_each(|name| self.remove_pod(name));
            if requests.len() > before {
                self.catch_up();
            }
        }
        panic!("they wake each other for ever");
    }

    /// Another operator in the place of this one.
    async fn replaced_by(self, settings: Settings) -> Lab {
        let mut next = Lab::of_operator(settings, Kinds::default(), &[], "");
        *next.server.lock().expect("not poisoned") = std::mem::take(&mut *self.server.lock().expect("not poisoned"));
        next.catch_up();
        next.settle().await;
        next
    }

    fn deployment(&self, name: &str) -> Value {
        self.object(&format!("deployments/{name}-camera"))
    }

    fn image(&self, name: &str) -> String {
        let image = &self.deployment(name)["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap_or_default().to_owned()
    }

    /// The cameras of an image.
    fn of_image(&self, image: &str) -> Vec<String> {
        let names =
            self.names("deployments").into_iter().filter_map(|name| Some(name.strip_suffix("-camera")?.to_owned()));
        names.filter(|name| self.image(name) == image).collect()
    }

    /// The camera's pod as its Deployment has it now; its worker is in this state.
    fn pod(&mut self, name: &str, ready: bool, state: Value) {
        let deployment = self.deployment(name);
        let mut live = deployment.clone();
        let count = i32::from(ready);
        live["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": count});
        self.keep(&format!("deployments/{name}-camera"), live);
        let template = &deployment["spec"]["template"]["metadata"];
        let status = if ready { "True" } else { "False" };
        self.keep(
            &format!("pods/{name}-camera-x"),
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("{name}-camera-x"), "namespace": "lab", "uid": name,
                    "labels": template["labels"], "annotations": template["annotations"]},
                "spec": {"nodeName": "edge-1", "containers": []},
                "status": {"phase": "Running",
                    "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": "2024-06-04T10:30:00Z"}],
                    "containerStatuses": [{"name": "worker", "image": "", "imageID": "", "ready": ready, "restartCount": 0,
                        "state": state}]}}),
        );
    }

    fn keep(&mut self, path: &str, object: Value) {
        self.server.lock().expect("not poisoned").objects.insert(path.to_owned(), object.clone());
        self.bring(object);
    }

    fn ready(&mut self, name: &str) {
        self.pod(name, true, json!({"running": {}}));
    }

    fn crashing(&mut self, name: &str) {
        self.pod(name, false, json!({"waiting": {"reason": "CrashLoopBackOff"}}));
    }

    /// The pods that fetch an image.
    fn pulls(&self) -> Vec<String> {
        self.names("pods").into_iter().filter(|name| name.contains("-image-")).collect()
    }

    /// A pod that fetches an image has this status.
    fn pulled(&mut self, status: Value) {
        for name in self.pulls() {
            let path = format!("pods/{name}");
            let mut pod = self.object(&path);
            pod["status"] = status.clone();
            self.keep(&path, pod);
        }
    }

    fn up_to_date(&self, name: &str) -> String {
        self.condition(&format!("camerastreams/{name}"), "UpToDate")
    }

    fn waiting(&self) -> usize {
        let names = self.names("camerastreams").into_iter().filter(|name| !name.contains('/'));
        names.filter(|name| self.up_to_date(name).starts_with("False Rollout")).count()
    }
}

/// A fleet in which all is well, of the image `good`.
async fn fleet(count: usize) -> Lab {
    let mut lab = Lab::of_operator(operator("good", AT_ONCE), Kinds::default(), &[], &cameras(count));
    lab.settle().await;
    for n in 0..count {
        lab.ready(&format!("c{n}"));
    }
    lab.settle().await;
    lab
}

fn fetched() -> Value {
    json!({"phase": "Succeeded"})
}

#[tokio::test]
async fn an_image_that_is_not_there_takes_no_camera() {
    let mut lab = fleet(6).await.replaced_by(operator("bad", AT_ONCE)).await;
    assert_eq!(lab.pulls().len(), 1, "one tries");
    let pull = lab.object(&format!("pods/{}", lab.pulls()[0]));
    assert_eq!(pull["spec"]["nodeName"], "edge-1");
    assert_eq!(pull["spec"]["containers"][0]["image"], "bad");
    assert!(
        pull["metadata"]["labels"].get("app.kubernetes.io/instance").is_none(),
        "it is none of the Deployment's pods"
    );
    assert!(
        lab.up_to_date("c5").starts_with("False RolloutWaiting: a change of the operator's waits for its turn: 0 of 6")
    );

    let waiting = json!({"reason": "ErrImagePull", "message": "no such image"});
    let state = json!({"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": waiting}});
    lab.pulled(json!({"phase": "Pending", "containerStatuses": [state]}));
    let requests = lab.settle().await;
    assert!(requests.iter().all(|request| request.ends_with("/status") || request.ends_with("events")), "{requests:?}");
    assert_eq!(lab.of_image("good").len(), 6);
    assert!(lab.up_to_date("c0").starts_with("False ImagePullFailed: "), "{}", lab.up_to_date("c0"));
    let halted = lab.up_to_date("c5");
    assert!(
        halted.starts_with("False RolloutHalted: ") && halted.contains("CameraStream/lab/c0: ErrImagePull"),
        "{halted}"
    );
    assert!(lab.condition("camerastreams/c0", "Stalled").starts_with("False "), "what runs is well");

    lab.pulled(fetched());
    lab.settle().await;
    assert_eq!(lab.of_image("bad"), ["c0"], "it is there after all: the roll-out goes on by itself");
    assert_eq!(lab.pulls(), [""; 0], "the pod that fetched it is gone");
    assert!(lab.up_to_date("c5").starts_with("False RolloutWaiting: "), "{}", lab.up_to_date("c5"));
}

#[tokio::test]
async fn an_image_that_does_not_work_takes_one_camera_and_a_good_one_mends_it_at_once() {
    let mut lab = fleet(6).await.replaced_by(operator("bad", AT_ONCE)).await;
    lab.pulled(fetched());
    lab.settle().await;
    lab.crashing("c0");
    lab.settle().await;
    assert_eq!(lab.of_image("bad"), ["c0"]);
    assert!(lab.up_to_date("c0").starts_with("False PodCrashing: "), "{}", lab.up_to_date("c0"));
    assert!(lab.up_to_date("c3").starts_with("False RolloutHalted: "), "{}", lab.up_to_date("c3"));

    let mut lab = lab.replaced_by(operator("bad", AT_ONCE)).await;
    assert_eq!(lab.of_image("bad"), ["c0"], "an operator that starts in the middle of it knows");
    assert!(lab.up_to_date("c3").starts_with("False RolloutHalted: "), "{}", lab.up_to_date("c3"));

    lab = lab
        .replaced_by(operator("mended", "{pauseBetween: 0s, maintenanceWindow: {schedule: '0 0 1 1 *', duration: 1s}}"))
        .await;
    assert_eq!(lab.of_image("mended"), ["c0"], "it goes at once, whatever the window");
    assert_eq!(lab.pulls(), [""; 0]);
    assert!(lab.up_to_date("c3").contains("waits for its maintenance window"), "{}", lab.up_to_date("c3"));
    lab = lab.replaced_by(operator("mended", AT_ONCE)).await;
    lab.ready("c0");
    lab.settle().await;
    roll(&mut lab, "mended", 6).await;
}

/// The roll-out goes on to its end: each camera that is replaced becomes ready.
async fn roll(lab: &mut Lab, image: &str, most: usize) {
    let mut done: BTreeSet<String> = lab.of_image(image).into_iter().collect();
    for _ in 0..most * 2 {
        lab.pulled(fetched());
        lab.settle().await;
        let now: BTreeSet<String> = lab.of_image(image).into_iter().collect();
        let new: Vec<String> = now.difference(&done).cloned().collect();
        assert!(new.len() <= 1, "{new:?} at once");
        new.iter().for_each(|name| lab.ready(name));
        lab.settle().await;
        done = now;
        if lab.waiting() == 0 {
            break;
        }
    }
    assert_eq!(done.len(), most, "all are of it: {done:?}");
    assert!(lab.up_to_date("c0").starts_with("True UpToDate: "), "{}", lab.up_to_date("c0"));
}

#[tokio::test]
async fn a_good_image_reaches_all_one_after_another_and_then_nothing_is_written() {
    let mut lab = fleet(4).await.replaced_by(operator("new", AT_ONCE)).await;
    roll(&mut lab, "new", 4).await;
    let lab = lab.replaced_by(operator("new", AT_ONCE)).await;
    for n in 0..4 {
        assert_eq!(lab.camera(&format!("c{n}")).await, [""; 0]);
    }
}

#[tokio::test]
async fn one_goes_first_and_the_others_as_many_at_once_as_they_may() {
    let three = "{maxUnavailable: 50%, pauseBetween: 0s}";
    let mut lab = fleet(6).await.replaced_by(operator("new", three)).await;
    assert_eq!(lab.pulls().len(), 1);
    lab.pulled(fetched());
    lab.settle().await;
    assert_eq!((lab.of_image("new"), lab.pulls().len()), (vec!["c0".to_owned()], 0), "nobody before it is well");
    lab.ready("c0");
    lab.settle().await;
    assert_eq!(lab.pulls().len(), 3);
}

#[tokio::test]
async fn a_camera_that_has_just_become_ready_keeps_the_next_one_waiting() {
    let mut lab = fleet(2).await.replaced_by(operator("new", "{pauseBetween: 1000000h}")).await;
    lab.pulled(fetched());
    lab.settle().await;
    lab.ready("c0");
    lab.settle().await;
    assert!(lab.up_to_date("c0").starts_with("True "));
    assert_eq!(lab.pulls(), [""; 0]);
    assert!(lab.up_to_date("c1").starts_with("False RolloutWaiting: "), "{}", lab.up_to_date("c1"));
}

#[tokio::test]
async fn an_edit_comes_at_once_and_with_the_image_that_is_known_to_work() {
    let mut lab = fleet(3).await.replaced_by(operator("bad", AT_ONCE)).await;
    lab.pulled(fetched());
    lab.settle().await;
    lab.crashing("c0");
    lab.settle().await;
    let before = lab.deployment("c2")["spec"]["template"].clone();
    lab.declare(&camera("c2", "", "  frameRate: {target: 5}\n"));
    lab.settle().await;
    assert_ne!(lab.deployment("c2")["spec"]["template"], before);
    assert_eq!(lab.image("c2"), "good");
    assert!(lab.up_to_date("c2").starts_with("False RolloutHalted: "));

    lab.declare(&cameras(0).replace("kafka:9092", "other:9092"));
    lab.settle().await;
    assert_eq!(lab.of_image("bad"), ["c0"], "nor does a connection's edit take the image to all of its cameras");
    lab.ready("c2");
    let lab = lab.replaced_by(operator("good", AT_ONCE)).await;
    assert_eq!(lab.of_image("good").len(), 3, "the old image again: only the broken one had to change");
    assert!(lab.up_to_date("c2").starts_with("True "));
}

#[tokio::test]
async fn smaller_numbers_go_first_and_cameras_that_are_away_go_last() {
    let mut lab = fleet(3).await;
    lab.pod("c0", false, json!({"running": {}}));
    lab = lab.replaced_by(operator("new", AT_ONCE)).await;
    assert!(lab.pulls()[0].starts_with("c1-"), "{:?}", lab.pulls());

    let mut lab = fleet(3).await;
    lab.declare(&camera("c2", "edgereel.dev/rollout-order: \"-1\"", ""));
    lab.settle().await;
    let lab = lab.replaced_by(operator("new", AT_ONCE)).await;
    assert!(lab.pulls()[0].starts_with("c2-"), "{:?}", lab.pulls());
}

#[tokio::test]
async fn a_camera_whose_pod_could_not_be_seen_ready_before_is_well_when_it_runs() {
    let mut lab = fleet(2).await;
    for name in ["c0", "c1"] {
        lab.pod(name, false, json!({"running": {}}));
    }
    let mut lab = lab.replaced_by(operator("new", AT_ONCE)).await;
    lab.pulled(fetched());
    lab.settle().await;
    lab.pod("c0", false, json!({"running": {}}));
    lab.settle().await;
    assert!(lab.up_to_date("c0").starts_with("True "), "{}", lab.up_to_date("c0"));
    assert_eq!(lab.pulls().len(), 1, "the next one: {:?}", lab.up_to_date("c1"));
}

#[tokio::test]
async fn outside_of_its_window_nobody_goes() {
    let never_now = "{maintenanceWindow: {schedule: '0 0 1 1 *', duration: 1s, timeZone: Europe/Berlin}}";
    let lab = fleet(2).await.replaced_by(operator("new", never_now)).await;
    assert_eq!((lab.of_image("good").len(), lab.pulls().len()), (2, 0));
    let words = lab.up_to_date("c0");
    assert!(words.starts_with("False RolloutWaiting: ") && words.contains("-01-01 00:00 CET"), "{words}");
}

#[tokio::test]
async fn a_fleet_of_its_own_goes_by_its_own_pace() {
    let never_now = "{maintenanceWindow: {schedule: '0 0 1 1 *', duration: 1s}, pauseBetween: 0s, overrides: \
                     [{selector: {tier: test}, maintenanceWindow: {schedule: '* * * * *', duration: 2m}}]}";
    let mut lab = fleet(3).await;
    let mut metadata = lab.object("camerastreams/c2")["metadata"].clone();
    metadata["labels"] = json!({"tier": "test"});
    lab.edit("camerastreams/c2", "/metadata", metadata);
    let lab = lab.replaced_by(operator("new", never_now)).await;
    assert_eq!(lab.pulls().len(), 1);
    assert!(lab.pulls()[0].starts_with("c2-"), "{:?}", lab.pulls());
}

#[tokio::test]
async fn a_paused_camera_is_left_alone_until_it_is_paused_no_longer() {
    let mut lab = fleet(2).await;
    lab.declare(&camera("c1", "edgereel.dev/pause: \"true\"", "  frameRate: {target: 5}\n"));
    let before = lab.deployment("c1");
    let requests = lab.settle().await;
    assert!(requests.iter().all(|request| request == "PATCH camerastreams/c1/status"), "{requests:?}");
    assert!(
        lab.condition("camerastreams/c1", "Paused").starts_with("True Paused: the annotation `edgereel.dev/pause`")
    );
    assert_eq!(lab.up_to_date("c1"), "False Paused: a change waits for the end of the pause");
    lab.delete("services/c1-camera");
    assert_eq!(lab.settle().await, [""; 0], "nor is anything put back");
    assert_eq!(lab.deployment("c1"), before);

    lab.declare(&camera("c1", "", "  frameRate: {target: 5}\n"));
    let requests = lab.settle().await;
    assert!(requests.contains(&"POST services/c1-camera".to_owned()), "{requests:?}");
    assert!(requests.contains(&"PATCH deployments/c1-camera".to_owned()), "{requests:?}");
    let conditions = lab.object("camerastreams/c1")["status"]["conditions"].to_string();
    assert!(!conditions.contains("Paused"), "{conditions}");
}
