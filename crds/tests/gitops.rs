//! The health checks that the GitOps examples give Flux say of a status what it means.

use std::{fs, path::Path};

use edgereel_crds::document::yaml;
use kube_cel::cel::{Context, Program, Value};
use serde_json::{Value as Json, json};

/// What Flux makes of a resource.
#[derive(Debug, PartialEq)]
enum Health {
    /// An expression could not be evaluated: Flux waits.
    Unknown,
    Failed,
    Current,
    InProgress,
}

/// The checks of `examples/kubernetes/gitops/flux/cameras.yaml`, each with its kind.
fn checks() -> Vec<(String, Json)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kubernetes/gitops/flux/cameras.yaml");
    let (documents, faults) = yaml::parse(&fs::read_to_string(path).expect("the example is there"));
    assert_eq!(faults, []);
    let document = documents[0].to_json();
    let checks = document["spec"]["healthCheckExprs"].as_array().expect("a list").clone();
    checks.into_iter().map(|check| (check["kind"].as_str().unwrap_or_default().to_owned(), check)).collect()
}

/// In the order that Flux keeps to (its RFC 9). That `observedGeneration` is the generation, Flux looks at before.
fn health(check: &Json, status: Option<&Json>) -> Health {
    let mut context = Context::default();
    if let Some(status) = status {
        context.add_variable("status", status).expect("JSON is a value");
    }
    for (field, health) in
        [("inProgress", Health::InProgress), ("failed", Health::Failed), ("current", Health::Current)]
    {
        let Some(expression) = check[field].as_str() else { continue };
        match Program::compile(expression).expect("CEL").execute(&context) {
            Ok(Value::Bool(true)) => return health,
            Ok(Value::Bool(false)) => {}
            Ok(other) => panic!("{field} is no boolean: {other:?}"),
            Err(_) => return Health::Unknown,
        }
    }
    Health::InProgress
}

fn conditions(ready: &str, reason: &str, stalled: &str) -> Json {
    json!({"observedGeneration": 1, "conditions": [
        {"type": "Ready", "status": ready, "reason": reason},
        {"type": "Reconciling", "status": "False", "reason": reason},
        {"type": "Stalled", "status": stalled, "reason": reason},
    ]})
}

/// Nothing runs, and nothing is to.
fn resting(kind: &str) -> Json {
    match kind {
        "KafkaConnection" => conditions("Unknown", "NotUsed", "False"),
        _ => conditions("False", "Suspended", "False"),
    }
}

#[test]
fn flux_waits_for_frames_fails_where_a_person_is_needed_and_takes_what_is_meant_to_rest_for_done() {
    let checks = checks();
    let kinds: Vec<&str> = checks.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["CameraStream", "FrameSink", "KafkaConnection"]);
    for (kind, check) in &checks {
        for (status, expected) in [
            (None, Health::Unknown),
            (Some(json!({})), Health::InProgress),
            (Some(conditions("False", "RolloutInProgress", "False")), Health::InProgress),
            (Some(conditions("False", "KafkaUnreachable", "False")), Health::InProgress),
            (Some(conditions("False", "SecretMissing", "True")), Health::Failed),
            (Some(conditions("True", "Running", "False")), Health::Current),
            (Some(resting(kind)), Health::Current),
        ] {
            assert_eq!(health(check, status.as_ref()), expected, "{kind}: {status:?}");
        }
    }
}
