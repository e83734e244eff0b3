//! Definitions of another version than the operator: nothing is malformed, no pod is started anew, nothing is written for ever.

use std::{collections::BTreeMap, fs, path::Path};

use edgereel_crds::{CameraStream, CameraWorker, FrameSink, document::yaml};
use kube::{ResourceExt, core::object::HasSpec};
use serde_json::{Value, json};

use super::{Lab, RESOURCES};
use crate::{
    controller::{managed::Managed, workload::Workload},
    settings::Settings,
};

/// Fields of a version to come, where it may have such.
const NEWER: [(&str, &str); 4] = [
    ("CameraStream", "/spec"),
    ("CameraStream", "/spec/topic"),
    ("FrameSink", "/spec/durability"),
    ("KafkaConnection", "/spec"),
];

/// What the API server gives of a text's documents once its definitions are newer: every default, those of new fields, too.
fn under_newer_definitions(text: &str) -> Vec<Value> {
    let (documents, faults) = yaml::parse(text);
    assert_eq!(faults, []);
    documents.iter().map(|document| newer(document.to_json())).collect()
}

fn newer(mut document: Value) -> Value {
    fn every_default<K: Managed<Spec: serde::Serialize>>(document: &Value) -> Value {
        let resource: K = serde_json::from_value(document.clone()).expect("a resource");
        serde_json::to_value(HasSpec::spec(&resource)).expect("JSON")
    }
    let kind = document["kind"].as_str().unwrap_or_default().to_owned();
    document["spec"] = match kind.as_str() {
        "CameraStream" => every_default::<CameraStream>(&document),
        "CameraWorker" => every_default::<CameraWorker>(&document),
        "FrameSink" => every_default::<FrameSink>(&document),
        "KafkaConnection" => every_default::<edgereel_crds::KafkaConnection>(&document),
        _ => return document,
    };
    for (_, place) in NEWER.iter().filter(|(of, _)| *of == kind) {
        document.pointer_mut(place).unwrap_or_else(|| panic!("no {place} in {kind}"))["novelty"] = json!({"level": 3});
    }
    document
}

/// The definitions as they are published, with the new fields.
fn openapi() -> Value {
    let mut schemas = serde_json::Map::new();
    for kind in crate::kinds::Kinds::default().iter() {
        let mut schema = kind.schema();
        schema["x-kubernetes-group-version-kind"] = json!([{"kind": kind.name()}]);
        for (_, place) in NEWER.iter().filter(|(of, _)| *of == kind.name()) {
            let place = place.replace('/', "/properties/");
            schema.pointer_mut(&place).expect("a field")["properties"]["novelty"] = json!({
                "type": "object", "description": "How new it is. Since 0.9.0.", "default": {},
                "properties": {"level": {"type": "integer", "default": 3}},
            });
        }
        schemas.insert(kind.name().into(), schema);
    }
    json!({"components": {"schemas": schemas}})
}

fn publish(lab: &Lab) {
    lab.server.lock().expect("not poisoned").openapi = Some(openapi());
}

/// What is to run for every resource of a kind.
fn workloads<K: Managed>(lab: &Lab) -> BTreeMap<String, Workload> {
    let settings = Settings { allowed_host_paths: vec!["/".parse().expect("a directory")], ..Settings::default() };
    let all = lab.context.caches.of::<K>().state();
    let workload = |stored: &std::sync::Arc<crate::cache::Guarded<K>>| {
        let resource = stored.0.as_ref().unwrap_or_else(|invalid| panic!("{invalid}"));
        if resource.host(&lab.context.caches).is_some() {
            return None;
        }
        let mut found = resource.dereference(&lab.context.caches);
        let there = found
            .uses
            .iter()
            .map(|(name, keys)| (name.clone(), keys.iter().map(|key| (key.clone(), "hash".to_owned())).collect()));
        found.values = there.collect();
        let name = resource.name_any();
        let workload = resource.validate(&found, &settings).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        Some((format!("{}/{name}", K::NAME), workload?))
    };
    all.iter().filter_map(workload).collect()
}

fn everything(lab: &Lab) -> BTreeMap<String, Workload> {
    let mut all = workloads::<CameraStream>(lab);
    all.extend(workloads::<CameraWorker>(lab));
    all.extend(workloads::<FrameSink>(lab));
    all
}

/// The examples whose resources are in one place, by their names.
fn examples() -> Vec<(&'static str, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let lab = ["lab/connection.yaml", "lab/cameras.yaml", "lab/sinks.yaml"].map(read).join("---\n");
    vec![
        ("lab", lab),
        ("quickstart", read("quickstart/quickstart.yaml")),
        ("secure", read("secure/secure.yaml")),
        ("topics", read("topics/topics.yaml")),
        ("many-cameras", read("kubernetes/many-cameras/cameras.yaml")),
    ]
}

fn of_example(documents: Vec<Value>) -> Lab {
    let mut lab = Lab::new("");
    let ours = |document: &Value| document["apiVersion"].as_str().is_some_and(|v| v.starts_with("edgereel.dev/"));
    documents.into_iter().filter(ours).for_each(|document| lab.store(document));
    lab
}

/// A checksum that changes starts pods anew: in a release that changes none of what workers do, none may.
///
/// `UPDATE_GOLDEN=1 cargo test -p edgereel-operator golden` writes the file anew.
#[tokio::test]
async fn golden_checksums_of_the_examples() {
    let mut found = String::new();
    for (example, text) in examples() {
        let documents = yaml::parse(&text).0.iter().map(yaml::Node::to_json).collect();
        for (resource, workload) in everything(&of_example(documents)) {
            let config = crate::controller::build::config_map::name(&workload);
            found.push_str(&format!("{example} {resource} {} {config}\n", workload.checksum));
        }
    }
    assert!(found.lines().count() >= 8, "{found}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller/tests/golden/checksums.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &found).expect("writable");
    }
    let stored = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == stored, "checksums changed: every pod would be started anew. Found:\n{found}");
}

#[tokio::test]
async fn definitions_with_more_defaults_change_no_workload() {
    for (example, text) in examples() {
        let plain = yaml::parse(&text).0.iter().map(yaml::Node::to_json).collect();
        let (before, after) = (everything(&of_example(plain)), everything(&of_example(under_newer_definitions(&text))));
        assert!(!before.is_empty(), "{example}");
        assert_eq!(before, after, "{example}");
    }
}

#[tokio::test]
async fn a_newer_definition_is_no_news_to_what_runs_and_none_to_what_is_said() {
    let mut lab = Lab::new(RESOURCES);
    lab.camera("gate").await;
    lab.sink("files").await;
    lab.catch_up();
    lab.woken();
    publish(&lab);
    for document in under_newer_definitions(RESOURCES) {
        lab.stored_anew(document);
    }
    assert!(lab.woken().contains(&"CameraStream/gate".to_owned()), "its spec is another one");
    for requests in [lab.camera("gate").await, lab.sink("files").await] {
        assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:?}");
    }
    assert_eq!(lab.reason("camerastreams/gate"), "RolloutInProgress");
}

#[tokio::test]
async fn a_field_that_somebody_set_is_named_with_its_version_until_it_is_known_or_gone() {
    let mut lab = Lab::new(RESOURCES);
    lab.camera("gate").await;
    lab.catch_up();
    publish(&lab);
    let mut gate = under_newer_definitions(RESOURCES).remove(1);
    gate["spec"]["topic"]["novelty"]["level"] = json!(9);
    lab.store(gate);
    let requests = lab.camera("gate").await;
    assert_eq!(requests, ["GET /openapi/v3/apis/edgereel.dev/v1alpha1", "PATCH camerastreams/gate/status"]);
    let said = lab.condition("camerastreams/gate", "UnknownFields");
    assert!(said.starts_with("True UnknownFields: this operator (version "), "{said}");
    assert!(said.contains("passes over: spec.topic.novelty (known from version 0.9.0 on); upgrade it"), "{said}");
    lab.catch_up();
    assert_eq!(lab.camera("gate").await, [""; 0], "it is said once");
    // The definition is taken back: the field goes, and with it what is said of it, though nobody touched the resource.
    lab.woken();
    let plain = yaml::parse(RESOURCES).0.iter().map(yaml::Node::to_json).nth(1).expect("the camera");
    lab.stored_anew(plain);
    assert!(lab.woken().contains(&"CameraStream/gate".to_owned()));
    assert_eq!(lab.camera("gate").await, ["PATCH camerastreams/gate/status"]);
    let conditions = lab.object("camerastreams/gate")["status"]["conditions"].to_string();
    assert!(!conditions.contains("UnknownFields"), "{conditions}");
}

#[tokio::test]
async fn where_definitions_cannot_be_read_every_unknown_field_is_named() {
    let mut lab = Lab::new(RESOURCES);
    lab.store(under_newer_definitions(RESOURCES).remove(1));
    lab.camera("gate").await;
    let said = lab.condition("camerastreams/gate", "UnknownFields");
    assert!(said.contains("passes over: spec.topic.novelty, spec.novelty; upgrade it"), "{said}");
    assert_eq!(lab.reason("camerastreams/gate"), "RolloutInProgress", "it runs all the same");
}

#[tokio::test]
async fn a_status_that_an_older_definition_cuts_is_not_written_again_and_again() {
    let mut lab = Lab::new(RESOURCES);
    let mut older = openapi();
    let status = older.pointer_mut("/components/schemas/FrameSink/properties/status/properties").expect("fields");
    status.as_object_mut().and_then(|fields| fields.remove("selector")).expect("there");
    {
        let mut server = lab.server.lock().expect("not poisoned");
        (server.lacking, server.openapi) = (Some("selector"), Some(older));
    }
    let requests = lab.sink("files").await;
    let write = "PATCH framesinks/files/status";
    assert_eq!(requests[3..], [write, "GET /openapi/v3/apis/edgereel.dev/v1alpha1", write, "POST events"]);
    let status = lab.object("framesinks/files")["status"].clone();
    assert!(status["selector"].is_null() && status["conditions"].is_array(), "all else is written: {status}");
    for _ in 0..3 {
        lab.catch_up();
        assert_eq!(lab.sink("files").await, [""; 0]);
    }
    lab.edit("framesinks/files", "/status/observedGeneration", json!(0));
    assert_eq!(lab.sink("files").await, [write, write], "what somebody else changed is put right");
}
