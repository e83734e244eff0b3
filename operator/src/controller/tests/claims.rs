//! Claims that grow with their declared size.

use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::Lab;

const SET: &str = "statefulsets/files-sink";
const SINK: &str = "framesinks/files";

/// A sink with two claims of 1Gi, as the cluster has it.
async fn lab() -> Lab {
    let mut lab = Lab::new(&sized("1Gi", ""));
    lab.sink("files").await;
    lab.catch_up();
    let mut server = lab.server.lock().expect("not poisoned");
    for claim in ["data-files-sink-0", "data-files-sink-1"] {
        let object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim, "namespace": "lab"},
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}});
        server.objects.insert(format!("persistentvolumeclaims/{claim}"), object);
    }
    drop(server);
    lab
}

fn sized(size: &str, more: &str) -> String {
    super::RESOURCES.replace(
        "storage: {hostPath: {path: /data/frames}}",
        &format!("storage: {{volumeClaimTemplate: {{size: {size}}}}}{more}"),
    )
}

fn claimed(lab: &Lab) -> Value {
    lab.object(SET)["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"].clone()
}

#[tokio::test]
async fn a_larger_size_grows_the_claims_and_makes_the_set_anew_without_its_pods() {
    let mut lab = lab().await;
    let (set, pods) = (lab.object(SET), lab.object(SET)["spec"]["template"].clone());
    lab.declare(&sized("2Gi", ""));
    let list = "GET persistentvolumeclaims";
    let grow = |n: usize| format!("PATCH persistentvolumeclaims/data-files-sink-{n}");
    let requests = lab.sink("files").await;
    assert_eq!(requests[..4], [list.to_owned(), grow(0), grow(1), format!("DELETE {SET}")], "{requests:?}");
    assert!(!requests[4..].iter().any(|request| request.contains("statefulsets")), "{requests:?}");
    assert_eq!(
        lab.object("persistentvolumeclaims/data-files-sink-1")["spec"]["resources"]["requests"]["storage"],
        "2Gi"
    );

    // The garbage collector lets go of the pods first.
    let mut leaving = set.clone();
    leaving["metadata"]["deletionTimestamp"] = json!("2024-06-04T10:30:00Z");
    lab.bring(leaving.clone());
    let requests = lab.sink("files").await;
    assert!(!requests.iter().any(|request| request.contains("statefulsets")), "{requests:?}");
    lab.feed(&json!("StatefulSet"), Event::Delete(leaving));
    let requests = lab.sink("files").await;
    assert!(requests.contains(&format!("POST {SET}")), "{requests:?}");
    assert_eq!(claimed(&lab), "2Gi");
    assert_eq!(lab.object(SET)["spec"]["template"], pods, "not one pod is made anew");
    lab.catch_up();
    lab.sink("files").await;
    lab.catch_up();
    assert_eq!(lab.sink("files").await, [""; 0]);
}

#[tokio::test]
async fn a_class_that_lets_no_claim_grow_is_named_and_all_else_is_done() {
    let mut lab = lab().await;
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    lab.refuse("persistentvolumeclaims/data-files-sink-0", 403, why);
    lab.declare(&sized("2Gi", "\n  replicas: 2"));
    lab.sink("files").await;
    let said = lab.condition(SINK, "ClaimsSized");
    assert!(
        said.starts_with("False ClaimsNotExpandable: the claim `data-files-sink-0` cannot grow from 1Gi to 2Gi: only"),
        "{said}"
    );
    assert!(
        said.contains("if its StorageClass `fast` can, set `allowVolumeExpansion: true` there, or write `1Gi` again"),
        "{said}"
    );
    assert_eq!((claimed(&lab), &lab.object(SET)["spec"]["replicas"]), (json!("1Gi"), &json!(2)));

    lab.declare(&sized("1Gi", "\n  replicas: 2"));
    lab.catch_up();
    lab.sink("files").await;
    let conditions = lab.object(SINK)["status"]["conditions"].to_string();
    assert!(!conditions.contains("ClaimsSized"), "{conditions}");
}

#[tokio::test]
async fn a_smaller_size_is_said_and_nothing_is_asked_for() {
    let mut lab = lab().await;
    lab.declare(&sized("500Mi", ""));
    let requests = lab.sink("files").await;
    assert!(!requests.iter().any(|request| request.contains("persistentvolumeclaims")), "{requests:?}");
    let said = lab.condition(SINK, "ClaimsSized");
    assert!(
        said.starts_with(
            "False ClaimsCannotShrink: spec.storage.volumeClaimTemplate.size: claims of 1Gi cannot shrink to 500Mi"
        ),
        "{said}"
    );
    assert_eq!(claimed(&lab), "1Gi");
}
