//! What a status says by the workers' own words, and without them.

use edgereel_crds::{
    CameraStream, KafkaConnection,
    name::ObjectName,
    status::{Condition, ConditionStatus, ConditionType, Reason},
    worker_status::{ConnectionReport, Figures, ResourceReport},
};
use serde_json::json;

use super::{Lab, RESOURCES};

fn name(name: &str) -> ObjectName {
    ObjectName { namespace: "lab".into(), name: name.into() }
}

/// A lab whose camera runs in a pod that the kubelet calls ready, or not.
async fn running(ready: bool) -> Lab {
    let mut lab = Lab::new(RESOURCES);
    lab.camera("gate").await;
    lab.catch_up();
    turn(&mut lab, ready);
    lab
}

fn turn(lab: &mut Lab, ready: bool) {
    let mut deployment = lab.object("deployments/gate-camera");
    deployment["status"] =
        json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": i32::from(ready)});
    lab.bring(deployment.clone());
    let worker = json!({"name": "worker", "image": "", "imageID": "", "ready": ready, "restartCount": 0, "state": {"running": {}}});
    let is_ready = json!({"type": "Ready", "status": if ready { "True" } else { "False" }});
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    lab.bring(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "gate-camera-a", "namespace": "lab", "uid": "u", "annotations": annotations},
        "spec": {"nodeName": "edge-1", "containers": []},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [is_ready], "containerStatuses": [worker]}}));
}

fn says(status: ConditionStatus, reason: Reason, connection: Option<ConnectionReport>) -> ResourceReport {
    let of =
        |kind| Condition { kind, status, reason, message: "as it says".into(), last_transition_time: String::new() };
    ResourceReport {
        kind: "CameraStream".into(),
        namespace: "lab".into(),
        name: "gate".into(),
        revision: None,
        conditions: vec![of(ConditionType::Ready), of(ConditionType::CameraOnline)],
        last_error: None,
        connections: connection.into_iter().collect(),
        overview: None,
        figures: Figures::new().count("framesAcknowledged", 7),
    }
}

#[tokio::test]
async fn a_camera_that_the_operator_cannot_reach_is_ready_when_the_kubelet_says_so() {
    let lab = running(true).await;
    lab.context.reports.hear(&name("gate-camera-a"), Err("no answer from 10.0.0.1:9464 within 3 s".into()));
    lab.camera("gate").await;
    assert_eq!(lab.condition("camerastreams/gate", "Ready"), "True Running: frames flow");
    let figures = lab.condition("camerastreams/gate", "FiguresAvailable");
    assert_eq!(figures, "False WorkerUnreachable: no answer from 10.0.0.1:9464 within 3 s");
    lab.context.reports.hear(&name("gate-camera-a"), Ok(says(ConditionStatus::True, Reason::Running, None)));
    lab.camera("gate").await;
    assert_eq!(lab.condition("camerastreams/gate", "FiguresAvailable"), "True Running: the workers answer");
    assert_eq!(lab.object("camerastreams/gate")["status"]["framesAcknowledged"], 7);
}

#[tokio::test]
async fn a_camera_outside_of_its_hours_is_suspended_until_it_captures() {
    let lab = running(true).await;
    let hears = |status, reason| lab.context.reports.hear(&name("gate-camera-a"), Ok(says(status, reason, None)));
    for (status, reason, expected) in [
        (ConditionStatus::True, Reason::Running, "True Running: frames flow"),
        (ConditionStatus::False, Reason::Suspended, "False Suspended: as it says"),
        (ConditionStatus::True, Reason::Running, "True Running: frames flow"),
    ] {
        hears(status, reason);
        lab.camera("gate").await;
        assert_eq!(lab.condition("camerastreams/gate", "Ready"), expected);
        for flag in ["Reconciling", "Stalled"] {
            assert!(lab.condition("camerastreams/gate", flag).starts_with("False "), "{flag} of {expected}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_readiness_waits_a_moment_for_the_workers_word_and_no_longer() {
    let mut lab = running(true).await;
    lab.context.reports.hear(&name("gate-camera-a"), Ok(says(ConditionStatus::True, Reason::Running, None)));
    lab.camera("gate").await;
    lab.catch_up();
    turn(&mut lab, false);
    assert_eq!(lab.camera("gate").await, [""; 0], "it is being asked why");
    lab.context.reports.hear(&name("gate-camera-a"), Ok(says(ConditionStatus::False, Reason::CameraUnreachable, None)));
    lab.camera("gate").await;
    assert_eq!(lab.condition("camerastreams/gate", "Ready"), "False CameraUnreachable: as it says");
    lab.catch_up();
    turn(&mut lab, true);
    assert_eq!(lab.reconcile::<CameraStream>("gate").await.0, [""; 0]);
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    lab.camera("gate").await;
    assert_eq!(
        lab.condition("camerastreams/gate", "Ready"),
        "True Running: frames flow",
        "the kubelet's word is enough"
    );
}

#[tokio::test]
async fn a_connection_is_ready_when_a_worker_has_reached_it_and_not_before() {
    let mut lab = running(true).await;
    let report = |reached, reason: Option<Reason>| ConnectionReport {
        namespace: "lab".into(),
        name: "kafka".into(),
        reached,
        brokers: if reached { vec!["kafka:9092/1".into()] } else { vec![] },
        login: reached.then_some(true),
        last_reached: None,
        reason,
        error: reason.map(|_| "connection refused".into()),
    };
    for (said, ready) in [
        (report(false, Some(Reason::KafkaUnreachable)), "False KafkaUnreachable: connection refused"),
        (report(true, None), "True Running: 1 of 1 workers that have tried reach it, at kafka:9092/1; the login works"),
        (report(false, Some(Reason::KafkaUnauthorized)), "False KafkaUnauthorized: connection refused"),
    ] {
        let said = says(ConditionStatus::True, Reason::Running, Some(said));
        lab.context.reports.hear(&name("gate-camera-a"), Ok(said));
        lab.reconcile::<KafkaConnection>("kafka").await.1.expect("reconciled");
        assert_eq!(lab.condition("kafkaconnections/kafka", "Ready"), ready);
        assert!(lab.condition("kafkaconnections/kafka", "Accepted").starts_with("True "));
        lab.catch_up();
    }
    assert!(
        lab.condition("kafkaconnections/kafka", "Stalled").starts_with("True KafkaUnauthorized"),
        "a person is needed"
    );
    lab.delete("camerastreams/gate");
    lab.delete("framesinks/files");
    lab.reconcile::<KafkaConnection>("kafka").await.1.expect("reconciled");
    assert!(lab.condition("kafkaconnections/kafka", "Ready").starts_with("Unknown NotUsed"));
    lab.catch_up();
    lab.declare(&RESOURCES.replace("bootstrapServers: [\"kafka:9092\"]", "bootstrapServers: [\"kafka\"]"));
    lab.reconcile::<KafkaConnection>("kafka").await.1.expect("reconciled");
    for condition in ["Ready", "Accepted"] {
        let said = lab.condition("kafkaconnections/kafka", condition);
        assert!(said.starts_with("False InvalidConfiguration: spec.bootstrapServers"), "{condition}: {said}");
    }
}
