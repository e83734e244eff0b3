//! Connections that are used from other namespaces.

use std::sync::Arc;

use edgereel_crds::{CameraStream, CameraWorker, KafkaConnection};
use serde_json::{Value, json};

use super::{Lab, settings};
use crate::{kinds::Kinds, realm::Realm, settings::Settings};

/// A connection of the namespace `platform` for `lab`, with what it reads.
const LENT: &str = "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: kafka, namespace: platform}
spec:
  bootstrapServers: [\"kafka:9093\"]
  tls: {caConfigMapRef: {name: trust, key: bundle.pem}}
  sasl: {mechanism: SCRAM-SHA-512, username: lab, passwordSecretRef: {name: lab-user, key: password}}
  allowedNamespaces: [lab]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: trust, namespace: platform}
data: {bundle.pem: PEM}
---
apiVersion: v1
kind: Secret
metadata: {name: lab-user, namespace: platform}
data: {password: czNjcmV0}
";

const CAMERA: &str = "\
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source: {mjpeg: {url: \"http://gate/video\"}}
  topic: {name: Gate, partitions: 3}
  kafka: {connectionRef: {name: kafka, namespace: platform}}
";

pub(super) fn resources() -> String {
    [LENT, CAMERA].concat()
}

const COPY: &str = "secrets/gate-camera-kafka-HASH";

async fn settled() -> Lab {
    let mut lab = Lab::sharing(&resources());
    lab.camera("gate").await;
    lab.catch_up();
    lab.camera("gate").await;
    lab.catch_up();
    lab.woken();
    lab
}

impl Lab {
    fn lend(&mut self, to: &str) {
        self.declare(&LENT.replace("allowedNamespaces: [lab]", &format!("allowedNamespaces: [{to}]")));
    }

    fn children(&self) -> Vec<String> {
        let of = |plural: &'static str| self.names(plural).into_iter().map(move |name| format!("{plural}/{name}"));
        let all = ["configmaps", "secrets", "services", "deployments"].into_iter().flat_map(of);
        all.filter(|name| name.contains("gate-camera")).collect()
    }
}

#[tokio::test]
async fn a_connection_of_another_namespace_comes_with_a_copy_of_what_it_reads() {
    let mut lab = Lab::sharing(&resources());
    let requests = lab.camera("gate").await;
    let expected = [
        "GET configmaps/trust",
        "GET secrets/lab-user",
        "GET secrets/lab-user",
        "GET configmaps/trust",
        "POST secrets/gate-camera-kafka-HASH",
        "POST configmaps/gate-camera-config-HASH",
    ];
    let mut sorted = (requests[..expected.len()].to_vec(), expected.map(str::to_owned).to_vec());
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1);
    let copy = lab.object(COPY);
    assert_eq!(copy["data"], json!({"ca.crt": "UEVN", "password": "czNjcmV0"}));
    assert_eq!(copy["metadata"]["annotations"]["edgereel.dev/copied-from"], "platform/kafka");
    assert_eq!(copy["metadata"]["ownerReferences"][0]["uid"], "uid-of-gate");
    let config = lab.object("configmaps/gate-camera-config-HASH");
    let documents = config["data"]["resources.yaml"].as_str().expect("a text").to_owned();
    assert!(!documents.contains("s3cret") && !documents.contains("czNjcmV0"), "{documents}");
    let plan = edgereel_crds::load(&[("resources.yaml".to_owned(), documents)]);
    assert_eq!(plan.map(|plan| plan.cameras.len()), Ok(1), "a worker finds nothing wrong with it");
    lab.catch_up();
    assert_eq!(lab.camera("gate").await, [""; 0]);
    let mut anew = Lab::sharing("");
    *anew.server.lock().expect("not poisoned") = std::mem::take(&mut *lab.server.lock().expect("not poisoned"));
    anew.catch_up();
    let written = |requests: Vec<String>| requests.into_iter().filter(|r| !r.starts_with("GET ")).collect::<Vec<_>>();
    assert_eq!(written(anew.camera("gate").await), [""; 0], "an operator that starts anew writes nothing");
}

#[tokio::test]
async fn without_an_allowance_nothing_runs_and_what_it_takes_is_said() {
    let mut lab = Lab::sharing(&resources().replace("allowedNamespaces: [lab]", "allowedNamespaces: [other]"));
    assert_eq!(lab.camera("gate").await, ["PATCH camerastreams/gate/status", "POST events"]);
    assert_eq!(
        lab.condition("camerastreams/gate", "Stalled"),
        "True ConnectionNotAllowed: KafkaConnection `kafka` of the namespace `platform` does not allow the namespace `lab`, \
         and nothing runs with it; add `lab` to its `spec.allowedNamespaces`, or use a connection of this namespace"
    );
    lab.woken();
    lab.lend("other, \"*\"");
    assert!(lab.woken().contains(&"CameraStream/gate".to_owned()));
    lab.camera("gate").await;
    assert!(lab.condition("camerastreams/gate", "Stalled").starts_with("False "));
    assert_eq!(lab.children().len(), 4, "{:?}", lab.children());
}

#[tokio::test]
async fn a_withdrawn_allowance_ends_what_runs_and_takes_the_copy_even_of_one_that_is_paused() {
    for paused in [false, true] {
        let mut lab = settled().await;
        assert_eq!(lab.children().len(), 4, "{:?}", lab.children());
        if paused {
            lab.declare(&CAMERA.replace("{name: gate}", "{name: gate, annotations: {edgereel.dev/pause: \"true\"}}"));
        }
        lab.lend("other");
        assert!(lab.woken().contains(&"CameraStream/gate".to_owned()));
        lab.camera("gate").await;
        assert_eq!(lab.children(), [""; 0]);
        assert_eq!(lab.reason("camerastreams/gate"), "ConnectionNotAllowed");
        lab.lend("lab");
        if !paused {
            lab.camera("gate").await;
            assert_eq!(lab.children().len(), 4, "and all is there again");
        }
    }
}

#[tokio::test]
async fn an_edit_to_a_connection_that_is_not_allowed_stops_nothing() {
    let mut lab = settled().await;
    lab.declare(&LENT.replace("name: kafka,", "name: other,").replace("[lab]", "[elsewhere]"));
    lab.declare(&CAMERA.replace("{name: kafka,", "{name: other,"));
    lab.camera("gate").await;
    assert_eq!(lab.reason("camerastreams/gate"), "ConnectionNotAllowed");
    assert_eq!(lab.children().len(), 4, "a mistake reaches no pod");
    lab.declare(CAMERA);
    lab.lend("elsewhere");
    lab.camera("gate").await;
    assert_eq!(lab.children(), [""; 0]);
}

#[tokio::test]
async fn a_connection_that_is_gone_stops_nothing() {
    let mut lab = settled().await;
    lab.delete("kafkaconnections/kafka");
    assert!(lab.woken().contains(&"CameraStream/gate".to_owned()));
    lab.camera("gate").await;
    assert_eq!(lab.children().len(), 4);
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert!(stalled.contains("there is no KafkaConnection `kafka` in the namespace `platform`"), "{stalled}");
}

#[tokio::test]
async fn a_changed_secret_reaches_the_copy_and_the_pods_with_it() {
    let mut lab = settled().await;
    let checksum = |lab: &Lab| {
        let template = lab.object("deployments/gate-camera")["spec"]["template"]["metadata"]["annotations"].clone();
        template["edgereel.dev/secrets-checksum"].to_string()
    };
    let before = checksum(&lab);
    lab.edit("secrets/lab-user", "/data/password", json!("b3RoZXI="));
    let woken = lab.woken();
    assert!(
        ["CameraStream/gate", "KafkaConnection/kafka"].iter().all(|w| woken.contains(&(*w).to_owned())),
        "{woken:?}"
    );
    lab.camera("gate").await;
    assert_eq!(lab.object(COPY)["data"]["password"], "b3RoZXI=");
    assert_ne!(checksum(&lab), before);
    lab.catch_up();
    assert_eq!(lab.camera("gate").await, [""; 0], "once");
}

#[tokio::test]
async fn a_copy_that_somebody_edits_or_deletes_is_put_back_and_tells_nothing_of_its_values() {
    let mut lab = settled().await;
    let name = COPY.replace(
        "HASH",
        lab.names("secrets").iter().find_map(|n| n.strip_prefix("gate-camera-kafka-")).expect("there"),
    );
    lab.edit(&name, "/data/password", json!("bWluZQ=="));
    assert_eq!(lab.woken(), ["CameraStream/gate"]);
    lab.camera("gate").await;
    assert_eq!(lab.object(&name)["data"]["password"], "czNjcmV0");
    lab.catch_up();
    lab.delete(&name);
    lab.camera("gate").await;
    let copy = lab.object(&name);
    assert_eq!(copy["data"]["password"], "czNjcmV0");
    // What is noted of the whole is the same, whatever the values are.
    let noted = copy["metadata"]["annotations"]["edgereel.dev/applied"].clone();
    let mut whole = copy.clone();
    whole["metadata"]["annotations"].as_object_mut().expect("annotations").remove("edgereel.dev/applied");
    for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
        whole["metadata"].as_object_mut().expect("metadata").remove(field);
    }
    assert_ne!(noted, json!(crate::hash::hash_of(&whole)), "a hash to try guesses on");
    whole["data"] = Value::Null;
    assert_eq!(noted, json!(crate::hash::hash_of(&whole)));
}

#[tokio::test]
async fn what_is_missing_is_named_where_it_is_missing() {
    let mut lab = settled().await;
    lab.delete("secrets/lab-user");
    lab.camera("gate").await;
    assert_eq!(
        lab.condition("camerastreams/gate", "Stalled"),
        "True SecretMissing: there is no Secret `lab-user` in the namespace `platform`: make it, with `password`"
    );
    assert_eq!(lab.children().len(), 4, "what runs goes on");
}

#[tokio::test]
async fn an_operator_that_shares_nothing_says_so() {
    let lab = Lab::of_operator(settings(), Kinds::default(), &[], &resources());
    lab.camera("gate").await;
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert!(
        stalled.starts_with("True ConnectionOutOfReach: KafkaConnection/platform/kafka is of another namespace")
            && stalled.contains("--shared-connections"),
        "{stalled}"
    );
    assert_eq!(lab.children(), [""; 0]);
}

#[tokio::test]
async fn who_else_may_use_a_connection_changes_nothing_for_its_own_namespace() {
    let mut lab = Lab::sharing(super::RESOURCES);
    lab.camera("gate").await;
    lab.catch_up();
    lab.declare(&super::RESOURCES.replace("[\"kafka:9092\"]}", "[\"kafka:9092\"], allowedNamespaces: [\"*\"]}"));
    assert_eq!(lab.camera("gate").await, [""; 0]);
}

#[tokio::test]
async fn users_of_all_namespaces_are_counted() {
    let lab = settled().await;
    let of = lab.context.caches.of::<KafkaConnection>().state();
    let connection = of.first().expect("one").0.clone().expect("readable");
    let found = crate::controller::managed::Managed::dereference(&connection, &lab.context.caches);
    let users: Vec<String> = found.users.iter().map(|user| user.name.to_string()).collect();
    assert_eq!(users, ["lab/gate"]);
}

const HALL: &str = "---\napiVersion: edgereel.dev/v1alpha1\nkind: CameraWorker\nmetadata: {name: hall}\nspec: {}\n";

fn in_hall(name: &str) -> String {
    CAMERA.replace("gate", name).replace("Gate", name) + "  workerRef: {name: hall}\n"
}

#[tokio::test]
async fn cameras_of_one_pod_have_one_copy_and_lose_it_with_the_allowance() {
    let own = "---\napiVersion: edgereel.dev/v1alpha1\nkind: KafkaConnection\nmetadata: {name: own}\nspec: \
               {bootstrapServers: [\"own:9092\"]}\n";
    let third = in_hall("c").replace("{name: kafka, namespace: platform}", "{name: own}");
    let mut lab = Lab::sharing(&[LENT, own, HALL, &in_hall("a"), &in_hall("b"), &third].concat());
    let hall = async |lab: &mut Lab| {
        lab.reconcile::<CameraWorker>("hall").await.1.expect("reconciled");
        lab.catch_up();
    };
    hall(&mut lab).await;
    let copies = |lab: &Lab| lab.names("secrets").iter().filter(|name| name.starts_with("hall-worker-kafka-")).count();
    let files = |lab: &Lab| -> Vec<String> {
        let config = lab.object("configmaps/hall-worker-config");
        config["data"].as_object().map(|data| data.keys().cloned().collect()).unwrap_or_default()
    };
    assert_eq!(copies(&lab), 1);
    assert_eq!(
        files(&lab),
        [
            "camerastream.a.yaml",
            "camerastream.b.yaml",
            "camerastream.c.yaml",
            "cameraworker.hall.yaml",
            "kafkaconnection.own.yaml",
            "kafkaconnection.platform_kafka.yaml"
        ]
    );
    let mounted = |lab: &Lab| lab.object("deployments/hall-worker")["spec"]["template"]["spec"]["volumes"].to_string();
    let before = mounted(&lab);
    assert!(before.contains("hall-worker-kafka-"), "{before}");
    lab.woken();
    lab.edit("secrets/lab-user", "/data/password", json!("b3RoZXI="));
    assert!(lab.woken().contains(&"CameraWorker/hall".to_owned()));
    hall(&mut lab).await;
    assert_eq!(mounted(&lab), before, "the kubelet brings it");
    lab.lend("other");
    assert!(lab.woken().contains(&"CameraWorker/hall".to_owned()));
    hall(&mut lab).await;
    assert_eq!(files(&lab), ["camerastream.c.yaml", "cameraworker.hall.yaml", "kafkaconnection.own.yaml"]);
    assert_eq!(copies(&lab), 0);
    assert_eq!(mounted(&lab), before, "the others go on");
}

#[tokio::test]
async fn a_camera_without_a_pod_of_its_own_makes_no_copy() {
    let mut lab = Lab::sharing(&[LENT, HALL, &in_hall("a")].concat());
    lab.reconcile::<CameraWorker>("hall").await.1.expect("reconciled");
    lab.catch_up();
    lab.reconcile::<CameraStream>("a").await.1.expect("reconciled");
    let owners: Vec<Value> = lab
        .names("secrets")
        .iter()
        .map(|n| lab.object(&format!("secrets/{n}"))["metadata"]["ownerReferences"][0]["kind"].clone())
        .collect();
    assert_eq!(owners, [json!("CameraWorker"), Value::Null]);
}

/// A lab of one of the namespaces that an operator watches.
fn one_of(namespace: &str, realm: &Arc<Realm>) -> Lab {
    let settings = Settings { shared_connections: true, ..settings() };
    Lab::of_namespace(settings, Kinds::default(), &[], Some(namespace), realm.clone())
}

#[tokio::test]
async fn namespaces_that_are_watched_one_by_one_see_each_others_connections() {
    let realm = Arc::new(Realm::new(&["lab", "platform"].map(str::to_owned)));
    let mut lab = one_of("lab", &realm);
    lab.declare(CAMERA);
    lab.woken();
    assert_eq!(lab.camera("gate").await, [""; 0], "nobody knows yet what there is");
    let mut platform = one_of("platform", &realm);
    assert_eq!(lab.woken(), ["CameraStream/gate"], "now it is known");
    lab.camera("gate").await;
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert!(stalled.contains("there is no KafkaConnection `kafka` in the namespace `platform`"), "{stalled}");
    platform.declare(LENT);
    assert_eq!(lab.woken(), ["CameraStream/gate"]);
    // There is one API server.
    let secret = platform.object("secrets/lab-user");
    let both = [("secrets/lab-user", secret.clone()), ("configmaps/trust", platform.object("configmaps/trust"))];
    for (path, object) in both {
        lab.server.lock().expect("not poisoned").objects.insert(path.into(), object);
    }
    lab.camera("gate").await;
    assert_eq!(lab.object(COPY)["data"], json!({"ca.crt": "UEVN", "password": "czNjcmV0"}));
    platform.edit("secrets/lab-user", "/data/password", json!("b3RoZXI="));
    assert_eq!(lab.woken(), ["CameraStream/gate"]);
    let woken = platform.woken();
    assert!(woken.contains(&"KafkaConnection/kafka".to_owned()), "who counts its users: {woken:?}");
    assert!(!woken.contains(&"CameraStream/gate".to_owned()), "each has its own: {woken:?}");
}

#[tokio::test]
async fn a_connection_of_a_namespace_that_nobody_watches_is_out_of_reach() {
    let mut lab = one_of("lab", &Arc::new(Realm::new(&["lab".to_owned()])));
    lab.declare(CAMERA);
    lab.camera("gate").await;
    let stalled = lab.condition("camerastreams/gate", "Stalled");
    assert!(
        stalled.starts_with(
            "True ConnectionOutOfReach: KafkaConnection/platform/kafka is of a namespace that the operator does"
        ) && stalled.contains("add `platform` to its --watch-namespace"),
        "{stalled}"
    );
}
