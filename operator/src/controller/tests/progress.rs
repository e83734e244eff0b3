//! Which pods have a say, which are in the way, and which configuration is still read.

use serde_json::{Value, json};

use super::{Lab, RESOURCES};

/// What the declared pods of the camera are annotated with.
fn declared(lab: &Lab) -> Value {
    let template = lab.object("deployments/gate-camera")["spec"]["template"].clone();
    template["metadata"]["annotations"].clone()
}

/// A pod of the camera's Deployment, with the annotations of its template.
fn pod(name: &str, annotations: &Value, config: &str, status: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "lab", "uid": format!("uid-of-{name}"), "annotations": annotations},
        "spec": {"nodeName": "edge-1", "containers": [], "volumes": [{"name": "config", "configMap": {"name": config}}]},
        "status": status})
}

fn waiting(reason: &str) -> Value {
    json!({"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": "no such image"}}})
}

fn running(name: &str) -> Value {
    json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}})
}

/// The Deployment, with a status of this many updated and ready pods.
fn rolled(lab: &mut Lab, updated: i32) {
    let mut deployment = lab.object("deployments/gate-camera");
    deployment["status"] =
        json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": updated, "readyReplicas": updated});
    lab.bring(deployment);
}

/// A lab whose camera has its children and its status.
async fn settled() -> Lab {
    let mut lab = Lab::new(RESOURCES);
    lab.camera("gate").await;
    lab.catch_up();
    lab
}

/// Another address: another configuration.
fn moved() -> String {
    RESOURCES.replace("http://gate/video", "http://gate/other")
}

#[tokio::test]
async fn the_configuration_of_the_old_pods_stays_until_none_is_left() {
    let mut lab = settled().await;
    let old = lab.names("configmaps");
    let annotations = declared(&lab);
    let status = json!({"phase": "Running", "containerStatuses": [running("worker")]});
    lab.bring(pod("gate-camera-a", &annotations, &old[0], status));
    rolled(&mut lab, 1);
    lab.declare(&moved());
    lab.camera("gate").await;
    lab.catch_up();
    assert_eq!(lab.names("configmaps").len(), 2, "an old pod that is started anew finds its own");
    assert!(lab.names("configmaps").iter().all(|name| lab.object(&format!("configmaps/{name}"))["immutable"] == true));
    assert_eq!(lab.camera("gate").await, [""; 0], "nothing is written while it rolls");

    rolled(&mut lab, 1);
    assert!(!lab.camera("gate").await.iter().any(|request| request.starts_with("DELETE")), "its pod is still there");
    assert_eq!(lab.names("configmaps").len(), 2);
    lab.remove_pod("gate-camera-a");
    assert_eq!(lab.camera("gate").await[..1], ["DELETE configmaps/gate-camera-config-HASH"]);
    assert!(!lab.names("configmaps").contains(&old[0]) && lab.names("configmaps").len() == 1);
}

#[tokio::test]
async fn an_old_pod_never_judges_a_new_generation() {
    let mut lab = settled().await;
    let status = json!({"phase": "Pending", "containerStatuses": [waiting("ErrImagePull")]});
    let annotations = declared(&lab);
    lab.bring(pod("gate-camera-a", &annotations, "x", status));
    lab.camera("gate").await;
    assert!(lab.condition("camerastreams/gate", "Stalled").starts_with("True ImagePullFailed"));
    lab.catch_up();
    // The image is mended; the pod that could not have it is still there.
    lab.declare(&moved());
    lab.camera("gate").await;
    assert_eq!(lab.object("camerastreams/gate")["status"]["observedGeneration"], 2);
    assert!(lab.condition("camerastreams/gate", "Stalled").starts_with("False "), "Flux would fail the mending commit");
    assert!(lab.condition("camerastreams/gate", "Reconciling").starts_with("True RolloutInProgress"));
}

#[tokio::test]
async fn a_pod_that_ended_and_was_replaced_is_passed_over() {
    let mut lab = settled().await;
    let annotations = declared(&lab);
    let ended = json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"});
    lab.bring(pod("gate-camera-a", &annotations, "x", ended));
    lab.camera("gate").await;
    let stalled = "True PodFailed: DeadlineExceeded: too long";
    assert_eq!(lab.condition("camerastreams/gate", "Stalled"), stalled, "there is no other yet");
    lab.catch_up();
    let status = json!({"phase": "Running", "containerStatuses": [running("worker")]});
    lab.bring(pod("gate-camera-b", &annotations, "x", status));
    assert!(!lab.camera("gate").await.iter().any(|request| request.starts_with("DELETE")), "its log is left to read");
    assert!(lab.condition("camerastreams/gate", "Stalled").starts_with("False "));
}

#[tokio::test]
async fn a_pod_that_ended_is_removed_once_another_revision_is_declared() {
    let mut lab = settled().await;
    let annotations = declared(&lab);
    lab.bring(pod("gate-camera-a", &annotations, "x", json!({"phase": "Failed", "reason": "Evicted"})));
    lab.declare(&moved());
    let requests = lab.camera("gate").await;
    assert!(
        requests.contains(&"DELETE pods/gate-camera-a".to_owned()),
        "`Recreate` waits for it for ever: {requests:?}"
    );
}

#[tokio::test]
async fn the_workers_container_is_found_by_its_name() {
    let mut lab = settled().await;
    let annotations = declared(&lab);
    let containers = json!([running("a-sidecar"), waiting("ErrImagePull")]);
    lab.bring(pod("gate-camera-a", &annotations, "x", json!({"phase": "Pending", "containerStatuses": containers})));
    lab.camera("gate").await;
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert_eq!(stalled, "True ImagePullFailed: ErrImagePull: no such image");
}
