//! What is asked of the API server on each path through a reconcile.

use std::collections::BTreeMap;

use edgereel_crds::{CameraStream, KafkaConnection};
use serde_json::json;

use super::{Lab, RESOURCES};

const NEW_CAMERA: [&str; 5] = [
    "POST configmaps/gate-camera-config-HASH",
    "POST services/gate-camera",
    "POST deployments/gate-camera",
    "PATCH camerastreams/gate/status",
    "POST events",
];
const NOTHING: [&str; 0] = [];

/// The resources with one text replaced by another.
fn with(from: &str, to: &str) -> String {
    assert!(RESOURCES.contains(from), "`{from}` is not in the resources");
    RESOURCES.replace(from, to)
}

/// A lab whose camera has its children and its status.
async fn settled() -> Lab {
    let mut lab = Lab::new(RESOURCES);
    assert_eq!(lab.camera("gate").await, NEW_CAMERA);
    lab.catch_up();
    lab
}

#[tokio::test]
async fn a_new_camera_gets_its_children_and_a_status_with_one_write_each() {
    let lab = Lab::new(RESOURCES);
    assert_eq!(lab.camera("gate").await, NEW_CAMERA);
    assert!(
        lab.condition("camerastreams/gate", "Ready").starts_with("False RolloutInProgress: 0 of 1 workers are ready")
    );
    assert!(lab.condition("camerastreams/gate", "Reconciling").starts_with("True RolloutInProgress"));
    assert!(lab.condition("camerastreams/gate", "Stalled").starts_with("False "));
    assert_eq!(lab.object("camerastreams/gate")["status"]["observedGeneration"], 1);
}

#[tokio::test]
async fn a_new_sink_gets_a_stateful_set_and_no_budget() {
    let lab = Lab::new(RESOURCES);
    let expected = [
        "POST configmaps/files-sink-config-HASH",
        "POST services/files-sink",
        "POST statefulsets/files-sink",
        "PATCH framesinks/files/status",
        "POST events",
    ];
    assert_eq!(lab.sink("files").await, expected);
    assert!(lab.object("framesinks/files")["status"]["selector"].as_str().is_some_and(|s| s.contains("files-sink")));
}

#[tokio::test]
async fn an_unchanged_resource_is_not_written_again_whether_or_not_the_watch_has_caught_up() {
    let mut lab = Lab::new(RESOURCES);
    lab.camera("gate").await;
    assert_eq!(lab.camera("gate").await, NOTHING, "before the watches have brought what was written");
    lab.catch_up();
    assert_eq!(lab.camera("gate").await, NOTHING, "after");
}

#[tokio::test]
async fn an_operator_that_starts_anew_writes_nothing() {
    let lab = settled().await;
    let mut anew = Lab::new("");
    *anew.server.lock().expect("not poisoned") = std::mem::take(&mut *lab.server.lock().expect("not poisoned"));
    anew.catch_up();
    assert_eq!(anew.camera("gate").await, NOTHING);
}

#[tokio::test]
async fn a_child_edited_by_hand_is_put_back_and_what_others_added_stays() {
    let mut lab = settled().await;
    lab.edit("deployments/gate-camera", "/spec/replicas", json!(3));
    assert_eq!(lab.camera("gate").await, ["PATCH deployments/gate-camera"]);
    assert_eq!(lab.object("deployments/gate-camera")["spec"]["replicas"], 1);
    lab.catch_up();
    let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2024-06-04T10:30:00Z"});
    let mut annotations = lab.object("deployments/gate-camera")["spec"]["template"]["metadata"]["annotations"].clone();
    annotations.as_object_mut().expect("annotations").extend(restarted.as_object().cloned().expect("an object"));
    lab.edit("deployments/gate-camera", "/spec/template/metadata/annotations", annotations);
    assert_eq!(lab.camera("gate").await, NOTHING, "kubectl rollout restart is not undone");
}

#[tokio::test]
async fn what_was_created_is_noted_as_applied_before_it_is_changed() {
    let mut lab = settled().await;
    let path = "deployments/gate-camera";
    let operations = |lab: &Lab| {
        let fields = lab.object(path)["metadata"]["managedFields"].as_array().cloned().expect("notes");
        fields.iter().map(|entry| entry["operation"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let notes = |lab: &Lab| std::mem::take(&mut lab.server.lock().expect("not poisoned").notes);
    assert_eq!((operations(&lab), notes(&lab)), (vec!["Update".to_owned()], vec![]));
    let (read, write) = (format!("GET {path}"), format!("PATCH {path}"));
    for expected in [vec![read.clone(), write], vec![read]] {
        lab.edit(path, "/spec/replicas", json!(3));
        assert_eq!(lab.camera("gate").await, ["PATCH deployments/gate-camera"]);
        assert_eq!((operations(&lab), notes(&lab)), (vec!["Apply".to_owned()], expected));
        lab.catch_up();
    }
}

#[tokio::test]
async fn a_child_deleted_by_hand_is_made_anew() {
    let mut lab = settled().await;
    lab.delete("configmaps/gate-camera-config-HASH");
    assert_eq!(lab.camera("gate").await, NEW_CAMERA[..1]);
}

/// A Service of somebody else's, with the name of the camera's.
fn foreign_service(labels: serde_json::Value) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]},
        "metadata": {"name": "gate-camera", "namespace": "lab", "uid": "theirs", "labels": labels}})
}

#[tokio::test]
async fn somebody_elses_object_of_the_same_name_is_left_alone() {
    let mut lab = Lab::new(RESOURCES);
    let theirs = foreign_service(json!({}));
    lab.server.lock().expect("not poisoned").objects.insert("services/gate-camera".into(), theirs.clone());
    let (requests, outcome) = lab.reconcile::<CameraStream>("gate").await;
    assert!(outcome.is_err());
    let mut expected = NEW_CAMERA[..2].to_vec();
    expected.extend(["GET services/gate-camera", "PATCH camerastreams/gate/status", "POST events"]);
    assert_eq!(requests, expected);
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert!(
        stalled.contains("True NameTaken: Service/gate-camera is there already and does not belong to"),
        "{stalled}"
    );
    assert_eq!(lab.object("services/gate-camera"), theirs);

    // One that has our labels, and nobody for an owner, is no more ours.
    let theirs = foreign_service(json!({"app.kubernetes.io/managed-by": "edgereel-operator"}));
    lab.server.lock().expect("not poisoned").objects.insert("services/gate-camera".into(), theirs.clone());
    lab.catch_up();
    assert!(lab.reconcile::<CameraStream>("gate").await.1.is_err());
    assert_eq!(lab.object("services/gate-camera"), theirs);
    lab.delete("services/gate-camera");
    assert_eq!(lab.camera("gate").await[..1], NEW_CAMERA[1..2], "once it is gone, all goes on");
}

#[tokio::test]
async fn an_object_that_somebody_makes_meanwhile_is_not_taken_over() {
    let lab = Lab::new(RESOURCES);
    let theirs = foreign_service(json!({}));
    lab.is_made_before("services/gate-camera", theirs.clone());
    assert!(lab.reconcile::<CameraStream>("gate").await.1.is_err());
    assert!(lab.condition("camerastreams/gate", "Stalled").starts_with("True NameTaken: Service/gate-camera "));
    assert_eq!(lab.object("services/gate-camera"), theirs);
}

#[tokio::test]
async fn a_bad_configuration_never_reaches_a_pod() {
    let mut lab = settled().await;
    lab.declare(&with("http://gate/video\"", "http://gate/video\", tls: {}"));
    assert_eq!(lab.camera("gate").await, ["PATCH camerastreams/gate/status", "POST events"]);
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert!(stalled.starts_with("True InvalidConfiguration: spec.source.mjpeg.tls"), "{stalled}");
    lab.catch_up();
    lab.declare(RESOURCES);
    assert_eq!(lab.camera("gate").await, ["PATCH camerastreams/gate/status", "PATCH events"], "mended by one edit");
    assert!(lab.condition("camerastreams/gate", "Stalled").starts_with("False "));
}

#[tokio::test]
async fn a_host_path_that_is_not_allowed_is_refused() {
    let lab = Lab::new(&with("/data/frames", "/database"));
    assert_eq!(lab.sink("files").await, ["PATCH framesinks/files/status", "POST events"]);
    assert_eq!(
        lab.condition("framesinks/files", "Stalled"),
        "True HostPathNotAllowed: spec.storage.hostPath.path: `/database` is not allowed; the operator allows what is \
         below `/data`"
    );
}

/// A sink of another namespace, and all that it needs there.
fn elsewhere(name: &str, nodes: &str, directory: &str) -> String {
    RESOURCES
        .replace("name: files}", &format!("name: {name}}}"))
        .replace("nodes: [edge-1]", &format!("nodes: [{nodes}]"))
        .replace("directory: gate", &format!("directory: {directory}"))
        .replace("metadata: {name:", "metadata: {namespace: other, name:")
}

#[tokio::test]
async fn of_two_namespaces_that_write_into_one_directory_of_a_node_the_older_keeps_it_and_both_say_so() {
    // Of one age: the name decides.
    for (name, nodes, directory, older) in [
        ("early", "edge-1", "gate", true),
        ("late", "edge-1", "gate", false),
        ("early", "edge-2", "gate", false),
        ("early", "edge-1", "yard", false),
    ] {
        let mut lab = Lab::new(RESOURCES);
        lab.declare(&elsewhere(name, nodes, directory));
        lab.sink("files").await;
        let stalled = lab.condition("framesinks/files", "Stalled");
        let message = format!("spec.output.jpegFiles: FrameSink/other/{name} could write files of the same names");
        assert_eq!(stalled.contains(&message), older, "{name} {nodes} {directory}: {stalled}");
        let ready = lab.condition("framesinks/files", "Ready");
        assert_eq!(ready.contains("; note: FrameSink/other/late wants to write"), name == "late", "{ready}");
    }
}

#[tokio::test]
async fn a_login_in_a_url_is_refused_for_it_would_stand_in_a_config_map() {
    let lab = Lab::new(&with("http://gate/video", "http://ann:s3cret@gate/video"));
    assert_eq!(lab.camera("gate").await, ["PATCH camerastreams/gate/status", "POST events"], "no ConfigMap");
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert!(
        stalled.starts_with("True InvalidConfiguration: spec.source.mjpeg.url: a login in the URL")
            && stalled.contains("create secret generic gate-login")
            && !stalled.contains("s3cret"),
        "{stalled}"
    );
    lab.sink("files").await;
    let stalled = lab.condition("framesinks/files", "Stalled");
    assert!(stalled.contains("CameraStream/gate: spec.source.mjpeg.url"), "its document would have it too: {stalled}");
}

#[tokio::test]
async fn a_sink_on_a_nodes_own_disk_names_the_node() {
    let lab = Lab::new(&with("{path: /data/frames}}\n  placement: {nodes: [edge-1]}", "{path: /data/frames}}"));
    assert_eq!(lab.sink("files").await, ["PATCH framesinks/files/status", "POST events"]);
    assert_eq!(
        lab.condition("framesinks/files", "Stalled"),
        "True InvalidConfiguration: spec.placement: it names no node, and a `hostPath` is left behind when a pod moves to \
         another; add `placement: {nodes: [NODE]}`, a `nodeSelector`, or a required node affinity"
    );
}

fn secret(value: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "data": {"username": "YQ==", "password": value,
        "other": value}})
}

#[tokio::test]
async fn a_missing_secret_is_waited_for_and_its_content_rolls_the_pod() {
    let mut lab = Lab::new(&with("http://gate/video\"", "http://gate/video\", credentialsSecretRef: {name: login}"));
    assert_eq!(lab.camera("gate").await, ["PATCH camerastreams/gate/status", "POST events"]);
    assert_eq!(
        lab.condition("camerastreams/gate", "Stalled"),
        "True SecretMissing: there is no Secret `login`: make it, with `password`, `username`"
    );
    lab.store(secret("YQ=="));
    let mut expected = vec!["GET secrets/login"];
    expected.extend(NEW_CAMERA);
    assert_eq!(lab.camera("gate").await, expected);
    lab.catch_up();
    assert_eq!(lab.camera("gate").await, NOTHING, "a Secret is asked for once a version");
    lab.store(secret("Yg=="));
    assert_eq!(lab.camera("gate").await, ["GET secrets/login", "PATCH deployments/gate-camera"]);
    lab.catch_up();
    let mut unused = secret("Yg==");
    unused["data"]["other"] = json!("eA==");
    lab.store(unused);
    assert_eq!(lab.camera("gate").await, ["GET secrets/login"], "a key that is not used rolls nothing");
    lab.delete("secrets/login");
    assert_eq!(lab.camera("gate").await, ["PATCH camerastreams/gate/status", "PATCH events"], "what runs goes on");
}

#[tokio::test]
async fn an_authority_in_a_config_map_is_waited_for_and_another_rolls_the_pods_that_use_it() {
    let text = with(
        "spec: {bootstrapServers: [\"kafka:9092\"]}",
        "spec: {bootstrapServers: [\"kafka:9092\"], tls: {caConfigMapRef: {name: trust, key: ca.crt}}}",
    );
    let mut lab = Lab::new(&text);
    lab.woken();
    let get = "GET configmaps/trust";
    assert_eq!(lab.camera("gate").await, [get, "PATCH camerastreams/gate/status", "POST events"]);
    let missing = "ConfigMapMissing: there is no ConfigMap `trust`: make it, with `ca.crt`";
    assert_eq!(lab.condition("camerastreams/gate", "Stalled"), format!("True {missing}"));
    assert_eq!(lab.camera("gate").await, NOTHING, "its absence is known until the watch says otherwise");

    let map = |key: &str, value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trust"}, "data": {key: value}});
    lab.store(map("ca", "one"));
    assert_eq!(lab.woken(), ["CameraStream/gate", "FrameSink/files", "KafkaConnection/kafka"]);
    lab.camera("gate").await;
    assert!(
        lab.condition("camerastreams/gate", "Stalled")
            .starts_with("True ConfigMapKeyMissing: the ConfigMap `trust` has no `ca.crt`")
    );
    lab.store(map("ca.crt", "one"));
    let mut expected = vec![get];
    expected.extend(NEW_CAMERA);
    assert_eq!(lab.camera("gate").await, expected);
    let pod = lab.object("deployments/gate-camera")["spec"]["template"]["spec"].clone();
    assert_eq!(
        pod["volumes"][2],
        json!({"name": "secret-0", "configMap": {"name": "trust", "defaultMode": 292, "items": [{"key": "ca.crt", "path": "ca.crt"}]}})
    );
    assert_eq!(pod["containers"][0]["volumeMounts"][2]["mountPath"], "/secrets/configmap_trust");
    lab.catch_up();
    lab.woken();
    assert_eq!(lab.camera("gate").await, NOTHING, "it is asked for once a version");
    lab.store(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "somebody-elses"}, "data": {}}));
    assert_eq!(lab.woken(), [""; 0]);
    assert_eq!(lab.context.caches.config_maps.version(&object_name("somebody-elses")), None, "nothing is kept of it");

    lab.store(map("ca.crt", "two"));
    assert_eq!(lab.woken(), ["CameraStream/gate", "FrameSink/files", "KafkaConnection/kafka"]);
    assert_eq!(lab.camera("gate").await, [get, "PATCH deployments/gate-camera"]);
    lab.catch_up();
    lab.delete("configmaps/trust");
    assert_eq!(lab.camera("gate").await, ["PATCH camerastreams/gate/status", "PATCH events"], "what runs goes on");
}

fn object_name(name: &str) -> edgereel_crds::name::ObjectName {
    edgereel_crds::name::ObjectName { namespace: "lab".into(), name: name.into() }
}

#[tokio::test]
async fn a_secret_without_a_key_is_not_called_missing_and_what_nobody_sees_in_a_value_is_named() {
    let text = with("http://gate/video\"", "http://gate/video\", credentialsSecretRef: {name: login}");
    let mut lab = Lab::new(&text);
    let mut half = secret("YQ==");
    half["data"].as_object_mut().expect("an object").remove("password");
    lab.store(half);
    lab.camera("gate").await;
    assert_eq!(
        lab.condition("camerastreams/gate", "Stalled"),
        "True SecretKeyMissing: the Secret `login` has no `password`: add it to its data"
    );
    // `echo a | base64`, and a byte order mark before the same.
    for (value, said) in [
        ("YQo=", "; note: `password` of the Secret `login` ends in a line feed, which is left out"),
        ("77u/YQ==", "; note: `password` of the Secret `login` begins with a byte order mark, which is left out"),
        ("YQ==", ""),
    ] {
        let mut lab = Lab::new(&text);
        lab.store(secret(value));
        lab.camera("gate").await;
        let ready = lab.condition("camerastreams/gate", "Ready");
        assert!(ready.ends_with(said) && ready.contains("; note: ") != said.is_empty(), "{ready}");
    }
}

#[tokio::test]
async fn what_pods_show_of_a_secret_tells_nobody_its_value() {
    let text = with("http://gate/video\"", "http://gate/video\", credentialsSecretRef: {name: login}");
    let checksum = |lab: &Lab| {
        let pods = lab.object("deployments/gate-camera")["spec"]["template"]["metadata"]["annotations"].clone();
        pods[super::super::names::SECRETS_CHECKSUM].as_str().expect("a checksum").to_owned()
    };
    let mut lab = Lab::new(&text);
    lab.store(secret("YQ=="));
    lab.camera("gate").await;
    let guess: BTreeMap<_, _> = ["username", "password"].map(|key| (key, crate::hash::hash(b"a"))).into();
    let guess = crate::hash::hash_of(&BTreeMap::from([("login", guess)]));
    assert_ne!(checksum(&lab), guess, "whoever sees pods tries one guess after the other");
    let before = checksum(&lab);
    lab.catch_up();
    // Edited there and back, as by a controller that writes it again.
    lab.store(secret("YQ=="));
    assert_eq!(lab.camera("gate").await, ["GET secrets/login"], "the same content starts nothing anew");
    assert_eq!(checksum(&lab), before);
}

#[tokio::test]
async fn a_malformed_resource_says_so_and_keeps_what_it_runs() {
    let mut lab = settled().await;
    lab.declare(&with("partitions: 3}\n", "partitions: 3, key: moon}\n"));
    let expected = ["GET camerastreams/gate", "PATCH camerastreams/gate/status"];
    assert_eq!(lab.camera("gate").await, expected);
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert!(
        stalled.starts_with("True ResourceMalformed: ") && stalled.contains("spec.topic.key: `moon` is not known here"),
        "{stalled}"
    );
    lab.catch_up();
    assert_eq!(lab.camera("gate").await, ["GET camerastreams/gate"], "said once");
    // Others go on, even one that refers to it: its own configuration cannot be known.
    assert_eq!(lab.sink("files").await, ["PATCH framesinks/files/status", "POST events"]);
    assert_eq!(lab.reconcile::<KafkaConnection>("kafka").await.0.len(), 2);
}

#[tokio::test]
async fn suspend_scales_to_nothing_and_back() {
    let mut lab = settled().await;
    lab.declare(&with(
        "  topic: {name: Gate, partitions: 3}\n",
        "  topic: {name: Gate, partitions: 3}\n  suspend: true\n",
    ));
    let expected = ["PATCH deployments/gate-camera", "PATCH camerastreams/gate/status"];
    assert_eq!(lab.camera("gate").await[..2], expected);
    assert_eq!(lab.object("deployments/gate-camera")["spec"]["replicas"], 0);
    assert!(lab.condition("camerastreams/gate", "Ready").starts_with("False Suspended: "));
    assert!(lab.condition("camerastreams/gate", "Reconciling").starts_with("False "));
    lab.catch_up();
    lab.declare(RESOURCES);
    assert_eq!(lab.camera("gate").await[..2], expected);
    assert_eq!(lab.object("deployments/gate-camera")["spec"]["replicas"], 1);
}

#[tokio::test]
async fn an_autoscaler_takes_a_sink_to_nothing_and_back_without_a_new_pod_template() {
    let mut lab = Lab::new(RESOURCES);
    lab.sink("files").await;
    lab.catch_up();
    let pods = |lab: &Lab| lab.object("statefulsets/files-sink")["spec"]["template"].clone();
    let before = pods(&lab);
    lab.declare(&with("  output: {jpegFiles", "  replicas: 0\n  output: {jpegFiles"));
    lab.sink("files").await;
    assert_eq!(lab.object("statefulsets/files-sink")["spec"]["replicas"], 0);
    assert_eq!(
        lab.condition("framesinks/files", "Ready"),
        "False Suspended: spec.replicas is 0: nothing runs, everything is kept"
    );
    let documents = lab.object("configmaps/files-sink-config-HASH")["data"]["resources.yaml"].to_string();
    assert!(
        !documents.contains("replicas: 0"),
        "the first worker that comes back would take it for its own: {documents}"
    );
    lab.catch_up();
    lab.declare(RESOURCES);
    lab.sink("files").await;
    assert_eq!(lab.object("statefulsets/files-sink")["spec"]["replicas"], 1);
    assert_eq!(pods(&lab), before);
}

#[tokio::test]
async fn more_replicas_get_a_budget_and_one_again_loses_it() {
    let mut lab = Lab::new(RESOURCES);
    lab.sink("files").await;
    lab.catch_up();
    let pods = |lab: &Lab| lab.object("statefulsets/files-sink")["spec"]["template"].clone();
    let before = pods(&lab);
    lab.declare(&with("  output: {jpegFiles", "  replicas: 5\n  output: {jpegFiles"));
    let requests = lab.sink("files").await;
    assert_eq!(
        requests[..3],
        [
            "PATCH configmaps/files-sink-config-HASH",
            "PATCH statefulsets/files-sink",
            "POST poddisruptionbudgets/files-sink"
        ]
    );
    assert_eq!(lab.object("statefulsets/files-sink")["spec"]["replicas"], 3, "the topic has three partitions");
    assert_eq!(pods(&lab), before, "the pods that run are left alone");
    lab.catch_up();
    lab.declare(RESOURCES);
    let requests = lab.sink("files").await;
    assert_eq!(
        requests[..3],
        [
            "PATCH configmaps/files-sink-config-HASH",
            "PATCH statefulsets/files-sink",
            "DELETE poddisruptionbudgets/files-sink"
        ]
    );
}

#[tokio::test]
async fn what_does_not_concern_the_pod_does_not_roll_it() {
    let mut lab = Lab::new(RESOURCES);
    lab.sink("files").await;
    lab.catch_up();
    lab.declare(&with("partitions: 3}\n", "partitions: 3}\n  frameRate: {target: 5}\n"));
    assert_eq!(
        lab.sink("files").await,
        ["PATCH configmaps/files-sink-config-HASH"],
        "its camera's rate is not the sink's"
    );
    lab.catch_up();
    lab.declare(&with("kafka:9092", "other:9092"));
    let requests = lab.sink("files").await;
    let expected = ["POST configmaps/files-sink-config-HASH", "PATCH statefulsets/files-sink"];
    assert_eq!(requests, expected, "its Kafka is");
}

#[tokio::test]
async fn the_restart_annotation_is_handed_on() {
    let mut lab = settled().await;
    lab.declare(&with(
        "{name: gate}\nspec:\n  source",
        "{name: gate, annotations: {edgereel.dev/restart: now}}\nspec:\n  source",
    ));
    assert_eq!(lab.camera("gate").await, ["PATCH deployments/gate-camera"]);
    let annotations = &lab.object("deployments/gate-camera")["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["edgereel.dev/restart"], "now");
}

#[tokio::test]
async fn a_resource_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let mut lab = settled().await;
    let mut going = lab.object("camerastreams/gate");
    going["metadata"]["deletionTimestamp"] = json!("2024-06-04T10:31:00Z");
    lab.bring(going);
    assert_eq!(lab.camera("gate").await, NOTHING);
}

#[tokio::test]
async fn a_second_sink_of_the_same_group_is_refused_and_the_first_works_on() {
    let mut lab = Lab::new(&with("  output: {jpegFiles", "  group: g\n  output: {jpegFiles"));
    let second = "apiVersion: edgereel.dev/v1alpha1\nkind: FrameSink\nmetadata: {name: more}\nspec: {from: {streamRef: \
                  {name: gate}}, group: g, output: {jpegFiles: {directory: more}}, storage: {volumeClaimTemplate: {size: 1Gi}}}\n";
    lab.declare(second);
    assert_eq!(lab.sink("files").await.len(), NEW_CAMERA.len());
    assert_eq!(lab.sink("more").await, ["PATCH framesinks/more/status", "POST events"]);
    let stalled = lab.condition("framesinks/more", "Stalled");
    assert!(
        stalled.starts_with("True InvalidConfiguration: spec.group: FrameSink/lab/files reads `Gate`"),
        "{stalled}"
    );
    lab.delete("framesinks/files");
    lab.catch_up();
    assert_eq!(lab.sink("more").await.len(), NEW_CAMERA.len());
}

#[tokio::test]
async fn an_api_server_that_fails_is_tried_again_and_the_status_says_so() {
    let lab = Lab::new(RESOURCES);
    lab.refuse("deployments/gate-camera", 500, "etcd is away");
    let (requests, outcome) = lab.reconcile::<CameraStream>("gate").await;
    assert!(outcome.is_err());
    assert_eq!(requests.last().map(String::as_str), Some("POST events"));
    let reconciling = lab.condition("camerastreams/gate", "Reconciling");
    assert!(reconciling.starts_with("True OperatorError: Deployment/gate-camera: "), "{reconciling}");
}

#[tokio::test]
async fn in_a_namespace_that_is_on_its_way_out_nothing_is_insisted_on() {
    let lab = Lab::new(RESOURCES);
    lab.refuse("configmaps/gate-camera-config-HASH", 403, "namespace lab is being terminated");
    let (requests, outcome) = lab.reconcile::<CameraStream>("gate").await;
    assert!(outcome.is_ok());
    assert_eq!(requests, NEW_CAMERA[..1], "no status, no event, no other child");
}

#[tokio::test]
async fn a_connection_says_whether_it_is_sound_and_who_uses_it() {
    let lab = Lab::new(RESOURCES);
    let (requests, outcome) = lab.reconcile::<KafkaConnection>("kafka").await;
    assert!(outcome.is_ok());
    assert_eq!(requests, ["PATCH kafkaconnections/kafka/status", "POST events"]);
    assert_eq!(lab.object("kafkaconnections/kafka")["status"]["users"], 2);
    let accepted = lab.condition("kafkaconnections/kafka", "Accepted");
    assert_eq!(accepted, "True Running: the configuration is valid and its Secrets are there");
    let ready = lab.condition("kafkaconnections/kafka", "Ready");
    assert_eq!(ready, "Unknown Starting: no worker that uses it has told of it yet", "nobody has tried");
}

/// A warning that has been said so often.
fn warning(reason: &str, note: &str, times: u32) -> serde_json::Value {
    json!([{"metadata": {"name": "w"}, "type": "Warning", "reason": reason, "note": note, "eventTime": null,
        "deprecatedLastTimestamp": "2024-06-04T10:30:00Z", "deprecatedCount": times}])
}

#[tokio::test]
async fn what_only_events_say_is_in_the_status() {
    let mut lab = Lab::new(RESOURCES);
    lab.sink("files").await;
    lab.catch_up();
    let mut set = lab.object("statefulsets/files-sink");
    set["status"] = json!({"observedGeneration": 1, "replicas": 0});
    lab.bring(set.clone());
    let put = |lab: &Lab, events| lab.server.lock().expect("not poisoned").objects.insert("events".into(), events);
    put(&lab, warning("FailedCreate", "exceeded quota", 9));
    assert_eq!(lab.sink("files").await, ["GET events", "PATCH framesinks/files/status", "POST events"]);
    let expected = "True PodFailed: no pod can be made: FailedCreate: exceeded quota";
    assert_eq!(lab.condition("framesinks/files", "Stalled"), expected);

    // The quota is gone, and the pod is there; but the node has no such directory.
    set["status"]["replicas"] = json!(1);
    lab.bring(set);
    let mut pod = broken_pod(&lab, "good");
    pod["spec"] = json!({"nodeName": "edge-1", "containers": []});
    pod["status"]["containerStatuses"][0]["state"]["waiting"] = json!({"reason": "ContainerCreating"});
    lab.bring(pod);
    put(&lab, warning("FailedMount", "/data is not a directory", 1));
    lab.sink("files").await;
    let reconciling = lab.condition("framesinks/files", "Reconciling");
    assert!(
        reconciling.starts_with("True RolloutInProgress: ") && reconciling.ends_with("not a directory"),
        "{reconciling}"
    );
    put(&lab, warning("FailedMount", "/data is not a directory", 4));
    lab.sink("files").await;
    assert_eq!(lab.condition("framesinks/files", "Stalled"), "True PodFailed: FailedMount: /data is not a directory");
}

/// A pod of the sink's StatefulSet, of a revision, waiting for its image.
fn broken_pod(lab: &Lab, revision: &str) -> serde_json::Value {
    let annotations = &lab.object("statefulsets/files-sink")["spec"]["template"]["metadata"]["annotations"];
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "files-sink-0", "namespace": "lab", "labels": {"controller-revision-hash": revision},
            "annotations": annotations},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "worker", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}})
}

#[tokio::test]
async fn a_bad_image_is_reported_with_the_kubelets_words_and_its_pod_goes_once_the_image_is_mended() {
    let mut lab = Lab::new(RESOURCES);
    lab.sink("files").await;
    lab.catch_up();
    let status = |update: &str| json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 0, "currentRevision": "good", "updateRevision": update});
    let mut set = lab.object("statefulsets/files-sink");
    set["status"] = status("bad");
    lab.bring(set.clone());
    lab.bring(broken_pod(&lab, "bad"));
    assert_eq!(lab.sink("files").await, ["PATCH framesinks/files/status", "POST events"]);
    assert_eq!(lab.condition("framesinks/files", "Ready"), "False ImagePullFailed: ImagePullBackOff: no such image");
    lab.catch_up();
    // One edit of the image: the StatefulSet wants the good revision again, and would wait for the bad pod for ever.
    set["status"] = status("good");
    lab.bring(set);
    assert_eq!(lab.sink("files").await, ["DELETE pods/files-sink-0"]);
}
