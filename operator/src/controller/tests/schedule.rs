//! Cameras that run by a schedule: what is said of the runs, and what becomes of them.

use serde_json::{Value, json};

use super::Lab;

/// A camera `crowd` with these fields.
fn resources(fields: &str) -> String {
    format!(
        "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {{name: kafka}}
spec: {{bootstrapServers: [\"kafka:9092\"]}}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {{name: crowd}}
spec:
  source: {{file: {{path: videos}}}}
  storage: {{persistentVolumeClaim: {{claimName: crowd}}}}
  topic: {{name: crowd}}
  kafka: {{connectionRef: {{name: kafka}}}}
{fields}"
    )
}

const NIGHTLY: &str = "  schedule: \"0 2 * * *\"\n  timeZone: Europe/Rome\n";

/// What Kubernetes writes.
fn put(lab: &mut Lab, path: &str, object: Value) {
    lab.server.lock().expect("not poisoned").objects.insert(path.to_owned(), object.clone());
    lab.bring(object);
}

/// What the CronJob's controller says: a run is at work, or none is; and one was due last.
fn runs(lab: &mut Lab, active: &[&str], last: &str) {
    let mut cron = lab.object("cronjobs/crowd-camera");
    let active: Vec<Value> = active.iter().map(|name| json!({"kind": "Job", "name": name})).collect();
    cron["status"] = json!({"active": active, "lastScheduleTime": last});
    put(lab, "cronjobs/crowd-camera", cron);
}

/// A run of the CronJob, and its pod.
fn run(lab: &mut Lab, name: &str, status: Value, pod: Value) {
    let cron = lab.object("cronjobs/crowd-camera");
    let owner = |kind: &str, name: &str, uid: &Value| json!([{"apiVersion": "batch/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let mut job =
        json!({"apiVersion": "batch/v1", "kind": "Job", "spec": cron["spec"]["jobTemplate"]["spec"], "status": status});
    job["metadata"] = json!({"name": name, "namespace": "lab", "uid": format!("uid-of-{name}"),
        "labels": cron["metadata"]["labels"], "creationTimestamp": "2024-06-05T00:00:00Z",
        "ownerReferences": owner("CronJob", "crowd-camera", &cron["metadata"]["uid"])});
    let template = &cron["spec"]["jobTemplate"]["spec"]["template"]["metadata"];
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "edge-1", "containers": []}, "status": pod,
        "metadata": {"name": format!("{name}-x"), "namespace": "lab", "uid": format!("uid-of-{name}-x"),
            "annotations": template["annotations"], "labels": template["labels"],
            "ownerReferences": owner("Job", name, &job["metadata"]["uid"])}});
    put(lab, &format!("jobs/{name}"), job);
    put(lab, &format!("pods/{name}-x"), pod);
}

fn ended(words: &str) -> Value {
    json!({"phase": "Succeeded", "containerStatuses": [{"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0, "message": words}}}]})
}

async fn lab() -> Lab {
    let mut lab = Lab::new(&resources(NIGHTLY));
    lab.camera("crowd").await;
    lab.catch_up();
    lab
}

fn status(lab: &Lab, field: &str) -> String {
    lab.object("camerastreams/crowd")["status"][field].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn it_says_when_it_runs_and_how_the_last_run_ended() {
    let mut lab = lab().await;
    let ready = lab.condition("camerastreams/crowd", "Ready");
    assert!(ready.starts_with("True Scheduled: the next run is at "), "{ready}");
    assert_eq!(lab.condition("camerastreams/crowd", "Stalled"), "False Scheduled: ");
    // Two at night in Rome.
    let next = status(&lab, "nextRunTime");
    assert!(next.ends_with("T00:00:00Z") || next.ends_with("T01:00:00Z"), "{next}");
    assert_eq!(status(&lab, "lastRunTime"), "");

    runs(&mut lab, &["crowd-camera-1"], "2024-06-05T00:00:00Z");
    run(
        &mut lab,
        "crowd-camera-1",
        json!({"active": 1, "startTime": "2024-06-05T00:00:00Z"}),
        json!({"phase": "Running"}),
    );
    lab.camera("crowd").await;
    let ready = lab.condition("camerastreams/crowd", "Ready");
    assert!(
        ready.starts_with("True Running: crowd-camera-1, due at 2024-06-05T00:00:00Z, is at work; the next run"),
        "{ready}"
    );
    lab.catch_up();

    runs(&mut lab, &[], "2024-06-05T00:00:00Z");
    let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    run(&mut lab, "crowd-camera-1", done, ended("all files were read: 100 frames of 2 files sent in this run"));
    lab.camera("crowd").await;
    let words = "crowd-camera-1 ran to its end: all files were read: 100 frames of 2 files sent in this run";
    let ready = lab.condition("camerastreams/crowd", "Ready");
    assert!(
        ready.starts_with("True Scheduled: ")
            && ready.ends_with(&format!("; the last, due at 2024-06-05T00:00:00Z: {words}")),
        "{ready}"
    );
    assert_eq!(
        (status(&lab, "lastRun").as_str(), status(&lab, "lastRunTime").as_str()),
        (words, "2024-06-05T00:00:00Z")
    );
    lab.catch_up();
    assert_eq!(lab.camera("crowd").await, [""; 0], "nothing differs");

    // What the last one did is told until the next has ended.
    runs(&mut lab, &["crowd-camera-2"], "2024-06-06T00:00:00Z");
    lab.delete("jobs/crowd-camera-1");
    lab.camera("crowd").await;
    assert_eq!(
        (status(&lab, "lastRun").as_str(), status(&lab, "lastRunTime").as_str()),
        (words, "2024-06-06T00:00:00Z")
    );
}

#[tokio::test]
async fn a_run_that_failed_is_said_until_the_next() {
    let mut lab = lab().await;
    runs(&mut lab, &[], "2024-06-05T00:00:00Z");
    let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]});
    run(&mut lab, "crowd-camera-1", failed, json!({"phase": "Failed"}));
    lab.camera("crowd").await;
    let stalled = lab.condition("camerastreams/crowd", "Stalled");
    let words = "True RunFailed: the last run, due at 2024-06-05T00:00:00Z: crowd-camera-1: BackoffLimitExceeded: too often; the next run";
    assert!(stalled.starts_with(words), "{stalled}");
    assert_eq!(status(&lab, "lastRun"), "crowd-camera-1: BackoffLimitExceeded: too often");
}

#[tokio::test]
async fn suspended_it_says_so_and_a_run_goes_on_to_its_end() {
    let mut lab = lab().await;
    lab.declare(&resources(&format!("{NIGHTLY}  suspend: true\n")));
    lab.camera("crowd").await;
    assert_eq!(lab.object("cronjobs/crowd-camera")["spec"]["suspend"], true);
    lab.catch_up();
    runs(&mut lab, &["crowd-camera-1"], "2024-06-05T00:00:00Z");
    lab.camera("crowd").await;
    let ready = lab.condition("camerastreams/crowd", "Ready");
    assert!(ready.starts_with("False Stopping"), "{ready}");
    lab.catch_up();
    runs(&mut lab, &[], "2024-06-05T00:00:00Z");
    lab.camera("crowd").await;
    let ready = lab.condition("camerastreams/crowd", "Ready");
    assert_eq!(ready, "False Suspended: spec.suspend is true: nothing runs, everything is kept");
    assert_eq!(status(&lab, "nextRunTime"), "", "it does not run");
}

#[tokio::test]
async fn without_a_schedule_it_is_a_job_and_with_a_wrong_one_nothing_changes() {
    let mut lab = lab().await;
    lab.declare(&resources(""));
    let requests = lab.camera("crowd").await;
    assert!(requests.contains(&"DELETE cronjobs/crowd-camera".to_owned()), "{requests:?}");
    assert_eq!(lab.names("jobs").len(), 1);
    for (fields, words) in [
        ("  schedule: \"0 0 30 2 *\"\n", "spec.schedule: `0 0 30 2 *` never comes"),
        ("  schedule: \"0 2 * * *\"\n  timeZone: Europe/Roma\n", "spec.timeZone: there is no time zone `Europe/Roma`"),
    ] {
        let lab = Lab::new(&resources(fields));
        lab.camera("crowd").await;
        let stalled = lab.condition("camerastreams/crowd", "Stalled");
        assert!(stalled.starts_with(&format!("True InvalidConfiguration: {words}")), "{stalled}");
        assert!(lab.names("cronjobs").is_empty());
    }
}
