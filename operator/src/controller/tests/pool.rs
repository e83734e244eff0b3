//! Many cameras in the pod of a `CameraWorker`.

use edgereel_crds::{
    CameraStream, CameraWorker, KafkaConnection,
    name::ObjectName,
    status::{Condition, ConditionStatus, ConditionType, Reason},
    worker_status::{ConnectionReport, Figures, ResourceReport},
};
use serde_json::{Value, json};

use super::{Lab, settings};
use crate::{kinds::Kinds, settings::Settings};

const HEAD: &str = "apiVersion: edgereel.dev/v1alpha1\nkind: KafkaConnection\nmetadata: {name: kafka}\n\
                    spec: {bootstrapServers: [\"kafka:9092\"]}\n";

fn worker(name: &str) -> String {
    format!(
        "---\napiVersion: edgereel.dev/v1alpha1\nkind: CameraWorker\nmetadata: {{name: {name}}}\n\
         spec: {{placement: {{nodes: [edge-1]}}}}\n"
    )
}

/// A camera with what is added to its spec; `{}` for the metadata.
fn camera(name: &str, more: &str) -> String {
    annotated(name, "", more)
}

fn annotated(name: &str, annotations: &str, more: &str) -> String {
    format!(
        "---\napiVersion: edgereel.dev/v1alpha1\nkind: CameraStream\n\
         metadata: {{name: {name}, annotations: {{{annotations}}}}}\n\
         spec: {{source: {{mjpeg: {{url: \"http://{name}/video\"}}}}, topic: {{name: {name}}}, \
         kafka: {{connectionRef: {{name: kafka}}}}{more}}}\n"
    )
}

const IN_HALL: &str = ", workerRef: {name: hall}";

/// A worker with two cameras.
pub(super) fn resources() -> String {
    [HEAD, &worker("hall"), &camera("a", IN_HALL), &camera("b", IN_HALL)].concat()
}

fn name(name: &str) -> ObjectName {
    ObjectName { namespace: "lab".into(), name: name.into() }
}

impl Lab {
    async fn hall(&self) -> Vec<String> {
        let (requests, outcome) = self.reconcile::<CameraWorker>("hall").await;
        outcome.expect("reconciled");
        requests
    }

    /// The files of the configuration that a worker follows.
    fn files(&self, worker: &str) -> Vec<String> {
        let config = self.object(&format!("configmaps/{worker}-worker-config"));
        config["data"].as_object().map(|data| data.keys().cloned().collect()).unwrap_or_default()
    }

    fn file(&self, name: &str) -> String {
        self.object("configmaps/hall-worker-config")["data"][name].as_str().unwrap_or_default().to_owned()
    }

    /// Which pods a workload has.
    fn revision(&self, workload: &str) -> Value {
        let template = &self.object(workload)["spec"]["template"]["metadata"]["annotations"];
        template["edgereel.dev/revision"].clone()
    }

    /// A workload's pod as its Deployment has it now, running and ready.
    fn runs(&mut self, workload: &str) {
        let path = format!("deployments/{workload}");
        let mut live = self.object(&path);
        live["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1});
        let template = live["spec"]["template"]["metadata"].clone();
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{workload}-x"), "namespace": "lab", "uid": format!("uid-of-{workload}-x"),
                "labels": template["labels"], "annotations": template["annotations"]},
            "spec": {"nodeName": "edge-1", "containers": []},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "worker", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "state": {"running": {}}}]}});
        let mut server = self.server.lock().expect("not poisoned");
        server.objects.insert(path, live.clone());
        server.objects.insert(format!("pods/{workload}-x"), pod.clone());
        drop(server);
        self.bring(live);
        self.bring(pod);
    }

    fn says(&self, worker: &str, cameras: &[(&str, Reason)]) {
        let all = cameras.iter().map(|(name, reason)| report(name, *reason)).collect();
        self.context.reports.hear_all(&name(&format!("{worker}-worker-x")), Ok(all));
    }

    fn ready_of(&self, camera: &str) -> String {
        self.condition(&format!("camerastreams/{camera}"), "Ready")
    }
}

fn report(name: &str, reason: Reason) -> ResourceReport {
    let status = if reason == Reason::Running { ConditionStatus::True } else { ConditionStatus::False };
    let of =
        |kind| Condition { kind, status, reason, message: "as it says".into(), last_transition_time: String::new() };
    let connection = ConnectionReport {
        namespace: "lab".into(),
        name: "kafka".into(),
        reached: true,
        brokers: vec!["kafka:9092/1".into()],
        login: None,
        last_reached: None,
        reason: None,
        error: None,
    };
    ResourceReport {
        kind: "CameraStream".into(),
        namespace: "lab".into(),
        name: name.into(),
        revision: None,
        conditions: vec![of(ConditionType::Ready), of(ConditionType::CameraOnline)],
        last_error: None,
        connections: vec![connection],
        overview: None,
        figures: Figures::new().count("framesAcknowledged", 7),
    }
}

/// A worker with two cameras, whose pod runs.
async fn hall() -> Lab {
    let mut lab = Lab::new(&resources());
    lab.hall().await;
    lab.catch_up();
    lab.runs("hall-worker");
    lab.hall().await;
    lab.catch_up();
    lab.woken();
    lab
}

#[tokio::test]
async fn many_cameras_have_one_pod_and_none_of_their_own() {
    let mut lab = Lab::new(&resources());
    assert_eq!(
        lab.hall().await,
        [
            "POST configmaps/hall-worker-config",
            "POST services/hall-worker",
            "POST deployments/hall-worker",
            "PATCH cameraworkers/hall/status",
            "POST events",
        ]
    );
    lab.catch_up();
    assert_eq!(lab.hall().await, [""; 0], "nothing differs");
    assert_eq!(lab.camera("a").await, ["PATCH camerastreams/a/status", "POST events"]);
    assert!(lab.ready_of("a").starts_with("False RolloutInProgress: "), "{}", lab.ready_of("a"));
    assert_eq!(
        lab.files("hall"),
        ["camerastream.a.yaml", "camerastream.b.yaml", "cameraworker.hall.yaml", "kafkaconnection.kafka.yaml"]
    );
    assert!(!lab.file("camerastream.a.yaml").contains("workerRef"), "it is no business of the worker's");
    let config = lab.object("configmaps/hall-worker-config");
    assert!(config["immutable"].is_null());
    let deployment = lab.object("deployments/hall-worker");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().cloned().unwrap_or_default();
    assert!(args.contains(&json!("--follow")) && args.contains(&json!("--filename=/etc/edgereel")), "{args:?}");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz?any");
    assert!(container["resources"]["limits"].is_null(), "how many cameras there are changes while it runs");
    assert_eq!(lab.object("cameraworkers/hall")["status"]["cameras"], 2);
}

#[tokio::test]
async fn a_camera_that_comes_changes_or_goes_starts_no_pod_anew_and_the_kubelet_is_told() {
    let mut lab = hall().await;
    let (revision, told) =
        (lab.revision("deployments/hall-worker"), lab.object("pods/hall-worker-x")["metadata"]["annotations"].clone());
    assert!(told["edgereel.dev/follows"].is_string(), "{told}");
    let follows = ["PATCH configmaps/hall-worker-config", "PATCH pods/hall-worker-x"];
    for (text, file, there) in [
        (camera("c", IN_HALL), "camerastream.c.yaml", true),
        (camera("a", ", workerRef: {name: hall}, frameRate: {target: 3}"), "camerastream.a.yaml", true),
        (camera("b", ", workerRef: {name: hall}, suspend: true"), "camerastream.b.yaml", false),
    ] {
        lab.declare(&text);
        assert!(lab.woken().contains(&"CameraWorker/hall".to_owned()), "{text}");
        let requests = lab.hall().await;
        assert!(follows.iter().all(|wanted| requests.contains(&(*wanted).to_owned())), "{requests:?}");
        assert!(requests.iter().all(|request| !request.contains("deployments")), "{requests:?}");
        lab.catch_up();
        assert_eq!(lab.files("hall").contains(&file.to_owned()), there, "{file}");
        assert_eq!(lab.hall().await.iter().filter(|request| !request.contains("status")).count(), 0, "once");
    }
    assert!(lab.file("camerastream.a.yaml").contains("target: 3"));
    lab.delete("camerastreams/c");
    assert!(lab.woken().contains(&"CameraWorker/hall".to_owned()));
    lab.hall().await;
    assert!(!lab.files("hall").contains(&"camerastream.c.yaml".to_owned()));
    assert_eq!(lab.revision("deployments/hall-worker"), revision);
    lab.camera("b").await;
    assert!(lab.ready_of("b").starts_with("False Suspended: "), "{}", lab.ready_of("b"));
}

#[tokio::test]
async fn a_camera_that_is_wrong_or_paused_or_unreadable_keeps_the_file_that_it_had() {
    let mut lab = hall().await;
    let before = lab.file("camerastream.a.yaml");
    let pausing = annotated("a", "edgereel.dev/pause: \"true\"", ", workerRef: {name: hall}, frameRate: {target: 9}");
    for text in [
        camera("a", ", workerRef: {name: hall}, watchdog: {stall: 0s}"),
        camera("a", ", workerRef: {name: hall}, template: {image: other}"),
        pausing,
        camera("a", IN_HALL).replace("mjpeg: {url: \"http://a/video\"}", "pigeon: {}"),
    ] {
        lab.declare(&text);
        // Another one changes meanwhile.
        lab.declare(&camera("b", &format!("{IN_HALL}, frameRate: {{target: {}}}", text.len())));
        lab.hall().await;
        lab.catch_up();
        assert_eq!(lab.file("camerastream.a.yaml"), before, "{text}");
        assert!(lab.file("camerastream.b.yaml").contains(&format!("target: {}", text.len())), "{text}");
        assert!(lab.files("hall").contains(&"kafkaconnection.kafka.yaml".to_owned()));
    }
    lab.declare(&camera("a", ", workerRef: {name: hall}, template: {image: other}"));
    lab.camera("a").await;
    assert!(
        lab.ready_of("a")
            .starts_with("False InvalidConfiguration: spec.template: the camera runs in the pod of CameraWorker"),
        "{}",
        lab.ready_of("a")
    );
}

#[tokio::test]
async fn each_camera_says_what_the_worker_says_of_it_and_the_worker_how_many_are_well() {
    let mut lab = hall().await;
    for camera in ["a", "b"] {
        lab.camera(camera).await;
        assert!(lab.ready_of(camera).starts_with("False RolloutInProgress: the worker of CameraWorker/hall has not"));
        lab.catch_up();
    }
    lab.says("hall", &[("a", Reason::Running), ("b", Reason::CameraUnreachable)]);
    for camera in ["a", "b"] {
        lab.camera(camera).await;
    }
    lab.hall().await;
    lab.catch_up();
    assert_eq!(lab.ready_of("a"), "True Running: frames flow");
    assert_eq!(lab.condition("camerastreams/a", "CameraOnline"), "True Running: as it says");
    assert_eq!(lab.ready_of("b"), "False CameraUnreachable: as it says");
    assert_eq!(lab.condition("camerastreams/b", "FiguresAvailable"), "True Running: the workers answer");
    let status = &lab.object("camerastreams/a")["status"];
    assert_eq!(
        (&status["worker"], &status["node"], &status["framesAcknowledged"]),
        (&json!("hall"), &json!("edge-1"), &json!(7))
    );
    let hall = &lab.object("cameraworkers/hall")["status"];
    assert_eq!(
        (&hall["cameras"], &hall["camerasReady"], &hall["pod"]),
        (&json!(2), &json!(1), &json!("hall-worker-x"))
    );
    assert!(lab.condition("cameraworkers/hall", "Ready").starts_with("True Running: its pod runs"));

    // An edit has arrived when the worker says so.
    lab.declare(&camera("a", ", workerRef: {name: hall}, frameRate: {target: 3}"));
    lab.hall().await;
    lab.catch_up();
    let told = |revision: &str| {
        let report = ResourceReport { revision: Some(revision.to_owned()), ..report("a", Reason::Running) };
        lab.context.reports.hear_all(&name("hall-worker-x"), Ok(vec![report]));
    };
    told("another");
    lab.camera("a").await;
    assert_eq!(
        lab.ready_of("a"),
        "False RolloutInProgress: the worker of CameraWorker/hall has not taken its last change over yet"
    );
    let file = lab.file("camerastream.a.yaml");
    let revision = file.lines().find_map(|line| line.trim().strip_prefix("edgereel.dev/revision: "));
    told(revision.expect("its revision").trim_matches(['\'', '"']));
    lab.camera("a").await;
    assert_eq!(lab.ready_of("a"), "True Running: frames flow");

    lab.reconcile::<KafkaConnection>("kafka").await.1.expect("reconciled");
    assert_eq!(
        lab.condition("kafkaconnections/kafka", "Ready"),
        "True Running: 1 of 1 workers that have tried reach it, at kafka:9092/1"
    );
    assert_eq!(lab.object("kafkaconnections/kafka")["status"]["users"], 2);

    lab.context.reports.hear_all(&name("hall-worker-x"), Err("no answer".into()));
    lab.camera("a").await;
    assert!(lab.ready_of("a").starts_with("Unknown WorkerUnreachable: only the worker of CameraWorker/hall can say"));
    assert_eq!(lab.condition("camerastreams/a", "FiguresAvailable"), "False WorkerUnreachable: no answer");
    lab.catch_up();

    lab.woken();
    lab.delete("cameraworkers/hall");
    let woken = lab.woken();
    assert!(
        ["CameraStream/a", "CameraStream/b"].iter().all(|camera| woken.contains(&(*camera).to_owned())),
        "{woken:?}"
    );
    lab.camera("a").await;
    assert!(
        lab.ready_of("a").starts_with(
            "False InvalidConfiguration: spec.workerRef.name: there is no CameraWorker `hall` in the namespace `lab`"
        ),
        "{}",
        lab.ready_of("a")
    );
}

#[tokio::test]
async fn a_camera_moves_in_when_it_can_be_taken_in_and_its_own_pod_has_ended() {
    let mut lab = Lab::new(&[HEAD, &worker("hall"), &camera("a", "")].concat());
    lab.camera("a").await;
    lab.hall().await;
    lab.catch_up();
    lab.runs("a-camera");
    lab.context.reports.hear(&name("a-camera-x"), Ok(report("a", Reason::Running)));
    lab.declare(&camera("a", IN_HALL));
    let requests = lab.camera("a").await;
    assert!(requests.iter().all(|request| !request.starts_with("DELETE")), "the worker does not run yet: {requests:?}");
    assert!(lab.ready_of("a").contains("it moves into the pod of CameraWorker/hall once"), "{}", lab.ready_of("a"));
    assert!(lab.ready_of("a").starts_with("True "), "{}", lab.ready_of("a"));
    lab.catch_up();
    lab.runs("hall-worker");
    lab.hall().await;
    assert!(!lab.files("hall").contains(&"camerastream.a.yaml".to_owned()), "it is captured already");
    lab.catch_up();

    lab.camera("a").await;
    assert_eq!(lab.object("deployments/a-camera"), Value::Null);
    assert!(lab.ready_of("a").starts_with("False RolloutInProgress: it moves into the pod"), "{}", lab.ready_of("a"));
    lab.hall().await;
    assert!(!lab.files("hall").contains(&"camerastream.a.yaml".to_owned()), "its pod is still ending");
    lab.woken();
    lab.server.lock().expect("not poisoned").objects.remove("pods/a-camera-x");
    let labels = json!({"edgereel.dev/resource": "CameraStream/a"});
    lab.feed(
        &json!("Pod"),
        kube::runtime::watcher::Event::Delete(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a-camera-x", "namespace": "lab", "annotations": labels}})),
    );
    assert!(lab.woken().contains(&"CameraWorker/hall".to_owned()), "it can take it in");
    lab.hall().await;
    assert!(lab.files("hall").contains(&"camerastream.a.yaml".to_owned()));
    lab.catch_up();
    lab.says("hall", &[("a", Reason::Running)]);
    lab.camera("a").await;
    assert_eq!(lab.ready_of("a"), "True Running: frames flow");
    assert_eq!(lab.object("camerastreams/a")["status"]["worker"], "hall");
    lab.catch_up();

    // And away again: nobody else begins before the worker has let go.
    lab.declare(&camera("a", ""));
    assert_eq!(lab.camera("a").await.iter().filter(|request| request.contains("deployments")).count(), 0);
    assert!(
        lab.ready_of("a").starts_with("False Stopping: CameraWorker/hall, in whose pod it was"),
        "{}",
        lab.ready_of("a")
    );
    lab.catch_up();
    lab.hall().await;
    assert!(!lab.files("hall").contains(&"camerastream.a.yaml".to_owned()));
    lab.says("hall", &[]);
    assert!(lab.camera("a").await.contains(&"POST deployments/a-camera".to_owned()));
    assert_eq!(lab.object("camerastreams/a")["status"]["worker"], Value::Null);
}

#[tokio::test]
async fn another_worker_takes_a_camera_in_when_the_first_has_let_go() {
    let mut lab = hall().await;
    lab.declare(&worker("yard"));
    lab.reconcile::<CameraWorker>("yard").await.1.expect("reconciled");
    lab.says("hall", &[("a", Reason::Running), ("b", Reason::Running)]);
    lab.camera("a").await;
    lab.catch_up();
    lab.runs("yard-worker");
    lab.says("yard", &[]);
    lab.declare(&camera("a", ", workerRef: {name: yard}"));
    lab.camera("a").await;
    lab.catch_up();
    for worker in ["hall", "yard"] {
        lab.reconcile::<CameraWorker>(worker).await.1.expect("reconciled");
        assert!(!lab.files(worker).contains(&"camerastream.a.yaml".to_owned()), "{worker}");
    }
    lab.says("hall", &[("b", Reason::Running)]);
    lab.camera("a").await;
    lab.catch_up();
    lab.reconcile::<CameraWorker>("yard").await.1.expect("reconciled");
    assert!(lab.files("yard").contains(&"camerastream.a.yaml".to_owned()));
}

#[tokio::test]
async fn a_secret_that_no_camera_needed_before_makes_the_pod_anew_and_one_that_is_no_longer_needed_does_not() {
    let mut lab = hall().await;
    let secret = |name: &str, password: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"username": "YQ==", "password": password}});
    lab.store(secret("login", "YQ=="));
    let before = lab.revision("deployments/hall-worker");
    let with_login = camera("a", IN_HALL).replace("/video\"}", "/video\", credentialsSecretRef: {name: login}}");
    lab.declare(&with_login);
    lab.hall().await;
    lab.catch_up();
    let after = lab.revision("deployments/hall-worker");
    assert_ne!(before, after);
    let volumes = &lab.object("deployments/hall-worker")["spec"]["template"]["spec"]["volumes"];
    let mounted = volumes.as_array().and_then(|all| all.iter().find(|volume| volume["name"] == "secret-0").cloned());
    assert_eq!(
        mounted.unwrap_or_default()["secret"]["optional"],
        true,
        "one that is gone keeps no other camera waiting"
    );
    lab.runs("hall-worker");
    lab.hall().await;
    lab.catch_up();
    lab.woken();

    lab.store(secret("login", "Yg=="));
    assert!(lab.woken().contains(&"CameraWorker/hall".to_owned()));
    let requests = lab.hall().await;
    assert!(
        requests.contains(&"PATCH pods/hall-worker-x".to_owned()),
        "the kubelet is told of another value: {requests:?}"
    );
    assert!(requests.iter().all(|request| !request.contains("deployments")), "{requests:?}");
    lab.declare(&camera("a", IN_HALL));
    lab.hall().await;
    assert_eq!(lab.revision("deployments/hall-worker"), after, "it stays mounted");
}

#[tokio::test]
async fn what_befalls_the_pod_concerns_its_cameras() {
    let mut lab = hall().await;
    lab.runs("hall-worker");
    let woken = lab.woken();
    for expected in ["CameraStream/a", "CameraStream/b", "CameraWorker/hall"] {
        assert!(woken.contains(&expected.to_owned()), "{woken:?}");
    }
    lab.reconcile::<CameraStream>("a").await.1.expect("reconciled");
    let up_to_date = lab.condition("camerastreams/a", "UpToDate");
    assert!(up_to_date.starts_with("True UpToDate"), "{up_to_date}");
}

/// Everybody who was woken is looked at, until nobody is.
async fn settle(lab: &mut Lab) {
    for _ in 0..50 {
        let woken = lab.woken();
        if woken.is_empty() {
            return;
        }
        let mut requests = Vec::new();
        for label in &woken {
            let (kind, name) = label.split_once('/').expect("a kind and a name");
            match kind {
                "CameraWorker" => requests.extend(lab.reconcile::<CameraWorker>(name).await.0),
                "CameraStream" => requests.extend(lab.camera(name).await),
                _ => {}
            }
        }
        let deleted = requests.iter().filter_map(|request| request.strip_prefix("DELETE pods/"));
        deleted.for_each(|name| lab.remove_pod(name));
        if !requests.is_empty() {
            lab.catch_up();
        }
    }
    panic!("they wake each other for ever");
}

#[tokio::test]
async fn a_change_of_the_operators_takes_a_shared_pod_as_one_and_its_cameras_say_how_far_it_is() {
    let operator = |image: &str| Settings {
        worker_image: image.into(),
        rollout: "{pauseBetween: 0s}".parse().expect("one"),
        ..settings()
    };
    let in_yard = camera("b", ", workerRef: {name: yard}");
    let text = [HEAD, &worker("hall"), &worker("yard"), &camera("a", IN_HALL), &in_yard].concat();
    let mut good = Lab::of_operator(operator("good"), Kinds::default(), &[], &text);
    settle(&mut good).await;
    for worker in ["hall-worker", "yard-worker"] {
        good.runs(worker);
    }
    settle(&mut good).await;

    let mut lab = Lab::of_operator(operator("next"), Kinds::default(), &[], "");
    *lab.server.lock().expect("not poisoned") = std::mem::take(&mut *good.server.lock().expect("not poisoned"));
    lab.catch_up();
    for (worker, camera) in [("hall", "a"), ("yard", "b")] {
        lab.says(worker, &[(camera, Reason::Running)]);
    }
    settle(&mut lab).await;
    let pulls: Vec<String> = lab.names("pods").into_iter().filter(|name| name.contains("-image-")).collect();
    assert_eq!(pulls.len(), 1, "one goes first: {pulls:?}");
    assert!(pulls[0].starts_with("hall-worker-image-"), "{pulls:?}");
    for path in ["cameraworkers/yard", "camerastreams/b"] {
        let said = lab.condition(path, "UpToDate");
        assert!(said.starts_with("False RolloutWaiting: ") && said.contains("0 of 2 are up to date"), "{path}: {said}");
    }
    let mut pulled = lab.object(&format!("pods/{}", pulls[0]));
    pulled["status"] = json!({"phase": "Succeeded"});
    lab.server.lock().expect("not poisoned").objects.insert(format!("pods/{}", pulls[0]), pulled.clone());
    lab.bring(pulled);
    settle(&mut lab).await;
    let image = |worker: &str| {
        let deployment = lab.object(&format!("deployments/{worker}-worker"));
        deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!((image("hall"), image("yard")), ("next".to_owned(), "good".to_owned()));
    let said = lab.condition("camerastreams/a", "UpToDate");
    assert!(said.starts_with("False RolloutInProgress: "), "{said}");
}

#[tokio::test]
async fn a_restart_by_annotation_concerns_that_camera_alone_and_a_forced_move_is_said_to_do_nothing() {
    let mut lab = hall().await;
    let (pod, other) = (lab.revision("deployments/hall-worker"), lab.file("camerastream.b.yaml"));
    lab.says("hall", &[("a", Reason::Running), ("b", Reason::Running)]);
    let before = lab.file("camerastream.a.yaml");
    lab.declare(&annotated("a", "edgereel.dev/restart: now, edgereel.dev/force-move: edge-1", IN_HALL));
    assert!(lab.woken().contains(&"CameraWorker/hall".to_owned()));
    let requests = lab.hall().await;
    assert!(requests.contains(&"PATCH pods/hall-worker-x".to_owned()), "the kubelet is told: {requests:?}");
    let file = lab.file("camerastream.a.yaml");
    assert!(file.contains("edgereel.dev/restart: now"), "{file}");
    let revision = |file: &str| file.lines().find(|line| line.contains("edgereel.dev/revision")).map(str::to_owned);
    assert_ne!(revision(&file), revision(&before), "the status waits until it has arrived");
    assert_eq!((lab.revision("deployments/hall-worker"), lab.file("camerastream.b.yaml")), (pod, other));
    lab.catch_up();
    lab.camera("a").await;
    let said = lab.ready_of("a");
    assert!(said.contains("edgereel.dev/force-move does nothing here") && said.contains("CameraWorker/hall"), "{said}");
}

#[tokio::test]
async fn an_authority_in_a_config_map_is_mounted_in_a_shared_pod_and_another_starts_it_anew_for_none() {
    let tls = "tls: {caConfigMapRef: {name: trust, key: ca.crt}}";
    let trust = |pem: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trust"}, "data": {"ca.crt": pem}});
    let mut lab = Lab::new("");
    lab.store(trust("one"));
    lab.declare(&resources().replacen("[\"kafka:9092\"]", &format!("[\"kafka:9092\"], {tls}"), 1));
    lab.hall().await;
    let spec = lab.object("deployments/hall-worker")["spec"]["template"]["spec"].clone();
    let volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
    let volume = volumes.iter().find(|volume| volume["configMap"]["name"] == "trust").expect("it is mounted");
    let items = json!([{"key": "ca.crt", "path": "ca.crt"}]);
    assert_eq!((&volume["configMap"]["items"], &volume["configMap"]["optional"]), (&items, &json!(true)));
    let mounts = spec["containers"][0]["volumeMounts"].as_array().cloned().unwrap_or_default();
    let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).expect("in the container, too");
    assert_eq!(mount["mountPath"], "/secrets/configmap_trust");
    lab.catch_up();
    lab.runs("hall-worker");
    lab.hall().await;
    lab.catch_up();
    lab.woken();
    let revision = lab.revision("deployments/hall-worker");
    lab.store(trust("two"));
    assert!(lab.woken().contains(&"CameraWorker/hall".to_owned()));
    lab.hall().await;
    assert_eq!(lab.revision("deployments/hall-worker"), revision, "the kubelet brings it");
    lab.delete("configmaps/trust");
    lab.camera("a").await;
    assert!(lab.ready_of("a").contains("there is no ConfigMap `trust`"), "{}", lab.ready_of("a"));
}
