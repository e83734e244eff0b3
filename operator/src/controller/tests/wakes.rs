//! Whom an event of a watch concerns.

use serde_json::json;

use super::{Lab, RESOURCES};
use crate::nodes::Lost;

/// The lab with what came at its start looked at.
fn lab(text: &str) -> Lab {
    let mut lab = Lab::new(text);
    lab.woken();
    lab
}

#[tokio::test]
async fn a_resource_wakes_those_who_refer_to_it_and_those_who_count_it() {
    let mut lab = lab(RESOURCES);
    lab.edit("kafkaconnections/kafka", "/metadata/generation", json!(2));
    assert_eq!(lab.woken(), ["CameraStream/gate", "FrameSink/files", "KafkaConnection/kafka"]);
    lab.edit("camerastreams/gate", "/metadata/generation", json!(2));
    assert_eq!(lab.woken(), ["CameraStream/gate", "FrameSink/files", "KafkaConnection/kafka"]);
    lab.edit("framesinks/files", "/metadata/generation", json!(2));
    assert_eq!(lab.woken(), ["FrameSink/files", "KafkaConnection/kafka"], "its camera is no business of a sink");
}

#[tokio::test]
async fn a_status_wakes_nobody_and_an_annotation_does() {
    let mut lab = lab(RESOURCES);
    lab.edit("camerastreams/gate", "/metadata/uid", json!("uid-of-gate"));
    assert_eq!(lab.woken(), [""; 0]);
    lab.edit("camerastreams/gate", "/metadata", {
        let mut metadata = lab.object("camerastreams/gate")["metadata"].clone();
        metadata["annotations"] = json!({"edgereel.dev/restart": "1"});
        metadata
    });
    assert!(lab.woken().contains(&"CameraStream/gate".to_owned()));
}

#[tokio::test]
async fn a_secret_wakes_all_whose_workers_read_it() {
    let mut lab = lab(&RESOURCES.replace(
        "spec: {bootstrapServers: [\"kafka:9092\"]}",
        "spec: {bootstrapServers: [\"kafka:9092\"], tls: {caSecretRef: {name: ca, key: ca.crt}}}",
    ));
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {}});
    lab.store(secret("ca"));
    assert_eq!(lab.woken(), ["CameraStream/gate", "FrameSink/files", "KafkaConnection/kafka"]);
    lab.store(secret("other"));
    assert_eq!(lab.woken(), [""; 0]);
}

#[tokio::test]
async fn a_connection_that_was_left_counts_one_user_less() {
    let mut lab = lab(RESOURCES);
    let other = "apiVersion: edgereel.dev/v1alpha1\nkind: KafkaConnection\nmetadata: {name: other}\n\
                 spec: {bootstrapServers: [\"other:9092\"]}\n";
    lab.declare(other);
    lab.woken();
    lab.declare(&RESOURCES.replace("connectionRef: {name: kafka}", "connectionRef: {name: other}"));
    let woken = lab.woken();
    assert!(woken.contains(&"KafkaConnection/kafka".into()) && woken.contains(&"KafkaConnection/other".into()));
    for (name, users) in [("kafka", 0), ("other", 2)] {
        lab.reconcile::<edgereel_crds::KafkaConnection>(name).await.1.expect("reconciled");
        assert_eq!(lab.object(&format!("kafkaconnections/{name}"))["status"]["users"], users, "{name}");
    }
}

#[tokio::test]
async fn what_went_while_nobody_watched_is_forgotten_once_the_watch_is_back() {
    use kube::runtime::watcher::Event;
    let mut lab = lab(RESOURCES);
    lab.camera("gate").await;
    let count = "edgereel_operator_resources{kind=\"CameraStream\",ready=\"false\",reason=\"RolloutInProgress\"}";
    assert!(lab.context.metrics.text().contains(&format!("{count} 1\n")), "{}", lab.context.metrics.text());
    let kind = json!("CameraStream");
    lab.feed(&kind, Event::Init);
    lab.feed(&kind, Event::InitDone);
    assert!(lab.context.metrics.text().contains(&format!("{count} 0\n")));
    assert_eq!(lab.woken(), ["FrameSink/files", "KafkaConnection/kafka"]);
}

#[tokio::test]
async fn a_child_a_pod_and_a_secret_that_went_while_nobody_watched_wake_whom_they_concern() {
    use kube::runtime::watcher::Event;
    let mut lab = lab(&RESOURCES.replace(
        "spec: {bootstrapServers: [\"kafka:9092\"]}",
        "spec: {bootstrapServers: [\"kafka:9092\"], tls: {caSecretRef: {name: ca, key: ca.crt}}}",
    ));
    lab.store(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "data": {"ca.crt": "YQ=="}}));
    lab.camera("gate").await;
    lab.catch_up();
    lab.bring(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "files-sink-0", "namespace": "lab",
        "annotations": {"edgereel.dev/resource": "FrameSink/files"}}}));
    lab.woken();
    let mut relisted = |kind: &str| {
        lab.feed(&json!(kind), Event::Init);
        lab.feed(&json!(kind), Event::InitDone);
        lab.woken()
    };
    assert_eq!(relisted("Pod"), ["FrameSink/files"]);
    assert_eq!(relisted("Service"), ["CameraStream/gate"]);
    assert_eq!(relisted("Secret"), ["CameraStream/gate", "FrameSink/files", "KafkaConnection/kafka"]);
    assert_eq!(relisted("Pod"), [""; 0], "once");
}

#[tokio::test]
async fn what_came_while_nobody_watched_wakes_only_once_it_is_in_the_cache() {
    use kube::runtime::watcher::Event;
    let mut lab = lab(&RESOURCES.replace(
        "spec: {bootstrapServers: [\"kafka:9092\"]}",
        "spec: {bootstrapServers: [\"kafka:9092\"], tls: {caSecretRef: {name: ca, key: ca.crt}}}",
    ));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca", "namespace": "lab"},
        "data": {"ca.crt": "YQ=="}});
    lab.store(secret.clone());
    lab.camera("gate").await;
    lab.woken();
    let new = {
        let mut camera = lab.object("camerastreams/gate");
        camera["metadata"]["name"] = json!("yard");
        camera["metadata"]["uid"] = json!("uid-of-yard");
        camera
    };
    let service = lab.object(&format!("services/{}", lab.names("services")[0]));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "files-sink-0", "namespace": "lab",
        "annotations": {"edgereel.dev/resource": "FrameSink/files"}}});
    let mut listed = |kind: &str, objects: &[&serde_json::Value]| {
        lab.feed(&json!(kind), Event::Init);
        for object in objects {
            lab.feed(&json!(kind), Event::InitApply((*object).clone()));
            assert_eq!(lab.woken(), [""; 0], "{kind}: a cache has it with the list's end");
        }
        lab.feed(&json!(kind), Event::InitDone);
        lab.woken()
    };
    assert_eq!(listed("Service", &[&service]), ["CameraStream/gate"]);
    assert_eq!(listed("Pod", &[&pod]), ["FrameSink/files"]);
    assert_eq!(listed("Secret", &[&secret]), ["CameraStream/gate", "FrameSink/files", "KafkaConnection/kafka"]);
    let listed = listed("CameraStream", &[&new]);
    assert!(listed.contains(&"CameraStream/yard".to_owned()), "{listed:?}");
}

#[tokio::test]
async fn a_node_that_is_lost_or_back_wakes_the_resources_of_its_pods() {
    let mut lab = lab(RESOURCES);
    lab.bring(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "files-sink-0", "namespace": "lab",
        "annotations": {"edgereel.dev/resource": "FrameSink/files"}}, "spec": {"nodeName": "edge-1", "containers": []}}));
    lab.woken();
    let listening = tokio::spawn(lab.wakes.clone().of_nodes());
    // It listens from its first step on.
    tokio::task::yield_now().await;
    lab.context.nodes.put([("edge-1".to_owned(), Lost { since: None })].into());
    while lab.woken() != ["FrameSink/files"] {
        tokio::task::yield_now().await;
    }
    listening.abort();
}

#[tokio::test]
async fn a_child_and_a_pod_wake_their_resource() {
    let mut lab = lab(RESOURCES);
    lab.camera("gate").await;
    lab.catch_up();
    assert_eq!(lab.woken(), ["CameraStream/gate"]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "files-sink-0", "namespace": "lab",
        "annotations": {"edgereel.dev/resource": "FrameSink/files"}}});
    lab.bring(pod);
    assert_eq!(lab.woken(), ["FrameSink/files"]);
}
