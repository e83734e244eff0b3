//! What is said, and done, where a node is lost.

use serde_json::{Value, json};

use super::{Lab, RESOURCES};
use crate::nodes::Lost;

fn lose(lab: &Lab) {
    let since = Some("2024-06-04T10:30:00Z".parse().expect("a time"));
    lab.context.nodes.put([("edge-1".to_owned(), Lost { since })].into());
}

/// A pod of a workload that has its children, on a node.
fn pod(lab: &Lab, workload: &str, name: &str, node: &str, status: Value) -> Value {
    let annotations = lab.object(workload)["spec"]["template"]["metadata"]["annotations"].clone();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "lab", "uid": format!("uid-of-{name}"), "annotations": annotations},
        "spec": {"nodeName": node, "containers": []}, "status": status})
}

fn runs() -> Value {
    let worker = json!({"name": "worker", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}});
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [worker]})
}

/// The workload, with a status of one ready pod.
fn rolled(lab: &mut Lab, workload: &str, ready: i32) {
    let mut object = lab.object(workload);
    object["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready});
    lab.bring(object);
}

#[tokio::test]
async fn a_sink_on_a_lost_node_says_since_when_and_what_to_do_and_moves_when_somebody_says_so() {
    let mut lab = Lab::new(RESOURCES);
    lab.sink("files").await;
    lab.catch_up();
    rolled(&mut lab, "statefulsets/files-sink", 0);
    let lost = pod(&lab, "statefulsets/files-sink", "files-sink-0", "edge-1", runs());
    lab.bring(lost);
    lose(&lab);
    assert!(!lab.sink("files").await.contains(&"DELETE pods/files-sink-0".to_owned()), "it may be at work");
    let stalled = lab.condition("framesinks/files", "Stalled");
    assert!(
        stalled.starts_with("True NodeLost: the node edge-1 of pod files-sink-0 is lost since 2024-06-04T10:30:00Z"),
        "{stalled}"
    );
    for remedy in ["kubectl taint node edge-1 node.kubernetes.io/out-of-service=", "`edgereel.dev/force-move: edge-1`"]
    {
        assert!(stalled.contains(remedy), "{stalled}");
    }
    lab.catch_up();
    let annotated = |node: &str| {
        RESOURCES.replace(
            "metadata: {name: files}",
            &format!("metadata: {{name: files, annotations: {{edgereel.dev/force-move: {node}}}}}"),
        )
    };
    lab.declare(&annotated("edge-2"));
    assert!(!lab.sink("files").await.contains(&"DELETE pods/files-sink-0".to_owned()), "that is another node");
    lab.declare(&annotated("edge-1"));
    assert!(lab.sink("files").await.contains(&"DELETE pods/files-sink-0".to_owned()));
    lab.context.nodes.put(Default::default());
    assert!(!lab.sink("files").await.contains(&"DELETE pods/files-sink-0".to_owned()), "the node is back");
}

#[tokio::test]
async fn a_camera_on_a_lost_node_moves_by_itself_and_its_successor_has_the_word() {
    let mut lab = Lab::new(RESOURCES);
    lab.camera("gate").await;
    lab.catch_up();
    rolled(&mut lab, "deployments/gate-camera", 0);
    let mut lost = pod(&lab, "deployments/gate-camera", "gate-camera-a", "edge-1", runs());
    lab.bring(lost.clone());
    lose(&lab);
    lab.camera("gate").await;
    let reconciling = lab.condition("camerastreams/gate", "Reconciling");
    assert!(
        reconciling.starts_with("True NodeLost: ") && reconciling.ends_with("It moves to another node 30 s after that"),
        "{reconciling}"
    );

    // It is told to end, which nobody there hears, and another is made.
    lost["metadata"]["deletionTimestamp"] = json!("2024-06-04T10:31:00Z");
    lab.bring(lost);
    let nowhere = json!({"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"});
    let mut next =
        pod(&lab, "deployments/gate-camera", "gate-camera-b", "", json!({"phase": "Pending", "conditions": [nowhere]}));
    next["spec"]["nodeName"] = Value::Null;
    lab.bring(next);
    lab.camera("gate").await;
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert!(
        stalled.starts_with("True NodeLost: ") && stalled.contains("takes its pod: 0/2 nodes are available"),
        "{stalled}"
    );

    let next = pod(&lab, "deployments/gate-camera", "gate-camera-b", "edge-2", runs());
    lab.bring(next);
    rolled(&mut lab, "deployments/gate-camera", 1);
    lab.camera("gate").await;
    assert_eq!(lab.condition("camerastreams/gate", "Ready"), "True Running: frames flow");
}

#[tokio::test]
async fn how_long_a_lost_node_is_waited_for_can_be_declared() {
    let seconds = |template: &Value| -> Vec<(String, Value)> {
        let all = template["spec"]["template"]["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
        all.iter().map(|t| (t["key"].as_str().unwrap_or_default().to_owned(), t["tolerationSeconds"].clone())).collect()
    };
    let lab = Lab::new(RESOURCES);
    lab.camera("gate").await;
    lab.sink("files").await;
    let lost = |seconds: i64| {
        ["not-ready", "unreachable"].map(|key| (format!("node.kubernetes.io/{key}"), json!(seconds))).to_vec()
    };
    assert_eq!(seconds(&lab.object("deployments/gate-camera")), lost(30));
    assert_eq!(seconds(&lab.object("statefulsets/files-sink")), [], "its disk is there");
    let named =
        "{nodes: [edge-1], moveAfter: 2m, tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists}]}";
    let lab = Lab::new(&RESOURCES.replace("placement: {nodes: [edge-1]}", &format!("placement: {named}")));
    lab.sink("files").await;
    let expected = [("node.kubernetes.io/unreachable", Value::Null), ("node.kubernetes.io/not-ready", json!(120))];
    assert_eq!(seconds(&lab.object("statefulsets/files-sink")), expected.map(|(key, value)| (key.to_owned(), value)));
}
