//! Cameras that read folders: on whose disk, and to what end.

use serde_json::json;

use super::Lab;

/// A camera `labels` with this source and storage, and what else.
fn lab(directory: &str, storage: &str, more: &str) -> Lab {
    Lab::new(&format!(
        "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {{name: kafka}}
spec: {{bootstrapServers: [\"kafka:9092\"]}}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {{name: labels}}
spec:
  source: {{directory: {{{directory}}}}}
  storage: {storage}
  topic: {{name: image-data}}
  kafka: {{connectionRef: {{name: kafka}}}}
{more}"
    ))
}

#[tokio::test]
async fn a_folder_on_a_node_is_allowed_and_the_node_is_named() {
    for (path, more, said) in [
        (
            "/database",
            "  placement: {nodes: [edge-1]}\n",
            "True HostPathNotAllowed: spec.storage.hostPath.path: `/database`",
        ),
        ("/data/in", "", "True InvalidConfiguration: spec.placement: it names no node"),
    ] {
        let lab = lab("", &format!("{{hostPath: {{path: {path}}}}}"), more);
        lab.camera("labels").await;
        let stalled = lab.condition("camerastreams/labels", "Stalled");
        assert!(stalled.starts_with(said), "{stalled}");
    }
}

#[tokio::test]
async fn a_folder_that_was_read_to_its_end_says_what_its_worker_said_last() {
    let mut lab = lab("watch: false", "{persistentVolumeClaim: {claimName: pictures}}", "");
    lab.camera("labels").await;
    lab.catch_up();
    let name = lab.names("jobs").remove(0);
    let mut job = lab.object(&format!("jobs/{name}"));
    let annotations = job["spec"]["template"]["metadata"]["annotations"].clone();
    let ended = json!({"exitCode": 0, "message": "all files were looked at: 192 sent in this run"});
    lab.bring(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "labels-x", "namespace": "lab", "uid": "x", "annotations": annotations},
        "spec": {"nodeName": "edge-1", "containers": []},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "worker", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": ended}}]}}));
    job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    lab.bring(job);
    lab.camera("labels").await;
    let ready = lab.condition("camerastreams/labels", "Ready");
    let words = format!("True Completed: {name} ran to its end: all files were looked at: 192 sent in this run");
    assert_eq!(ready, words);
    assert_eq!(lab.condition("camerastreams/labels", "Stalled"), "False Completed: ");
}
