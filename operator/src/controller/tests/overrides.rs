//! What a resource, and the operator for all of them, put into the pods beside what is built.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Lab, RESOURCES, settings};
use crate::{
    controller::observe::{self, Rollout},
    kinds::Kinds,
    rollout::stamp::Pins,
    settings::{Settings, worker_defaults},
};

const DEPLOYMENT: &str = "deployments/gate-camera";
const CAMERA: &str = "camerastreams/gate";

fn with_template(template: &str) -> String {
    RESOURCES.replacen(
        "  placement: {nodes: [edge-1]}\n",
        &format!("  placement: {{nodes: [edge-1]}}\n  template: {template}\n"),
        1,
    )
}

fn defaulting(text: &str) -> Settings {
    Settings { worker_defaults: worker_defaults(text).expect("sound"), ..settings() }
}

/// The pod's template that a camera with this template gets.
async fn built(settings: Settings, template: &str) -> Value {
    let lab = Lab::of_operator(settings, Kinds::default(), &[], &with_template(template));
    lab.camera("gate").await;
    let deployment = lab.object(DEPLOYMENT);
    assert!(deployment.is_object(), "nothing was built: {}", lab.condition(CAMERA, "Ready"));
    deployment["spec"]["template"].clone()
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().into_iter().flatten().find(|item| item["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[tokio::test]
async fn what_changes_nothing_restarts_nothing() {
    let plain = built(settings(), "{}").await;
    assert_eq!(built(settings(), "{podOverrides: {}}").await, plain);
    assert_eq!(built(defaulting("{}"), "{}").await, plain);
    let revision = |template: &Value| template["metadata"]["annotations"]["edgereel.dev/revision"].clone();
    let aliased = built(settings(), "{podOverrides: {spec: {hostAliases: [{ip: 10.0.0.1, hostnames: [cam]}]}}}").await;
    assert_ne!(revision(&aliased), revision(&plain));
    assert_eq!(aliased["spec"]["hostAliases"][0]["hostnames"][0], "cam");
}

#[tokio::test]
async fn the_workers_container_keeps_what_it_lives_by_and_gets_what_is_added() {
    let template = "{env: [{name: TEAM, value: a}], podOverrides: {spec: {containers: [{name: a-first, image: i}, {name: worker, \
                    resources: {limits: {cpu: '1'}}, env: [{name: TEAM, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]}]}}}";
    let (pod, plain) = (built(settings(), template).await, built(settings(), "{}").await);
    let (worker, before) = (named(&pod["spec"]["containers"], "worker"), named(&plain["spec"]["containers"], "worker"));
    for field in ["args", "image", "ports", "livenessProbe", "readinessProbe", "securityContext", "volumeMounts"] {
        assert_eq!(worker[field], before[field], "{field}");
    }
    assert_eq!(pod["spec"]["containers"][0]["name"], "worker", "logs are shown of the first");
    assert_eq!(named(&pod["spec"]["containers"], "a-first")["image"], "i");
    let limits = json!({"cpu": "1", "memory": before["resources"]["limits"]["memory"]});
    assert_eq!(worker["resources"]["limits"], limits);
    // One thing or the other, and not both.
    assert_eq!(
        *named(&worker["env"], "TEAM"),
        json!({"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})
    );
}

#[tokio::test]
async fn the_operator_has_defaults_for_all_and_the_resource_has_the_last_word() {
    let defaults = "{metadata: {labels: {team: all, site: a}}, spec: {priorityClassName: low, terminationGracePeriodSeconds: 20, \
                    securityContext: {runAsUser: 7}, containers: [{name: worker, resources: {limits: {memory: 1Gi}}, env: [{name: A, \
                    value: a}, {name: B, value: b}]}, {name: helper, image: h}], hostAliases: [{ip: 10.0.0.1, hostnames: [x]}]}}";
    let template = "{labels: {team: own}, priorityClassName: high, resources: {limits: {memory: 2Gi}}, podSecurityContext: \
                    {runAsUser: 8}, env: [{name: A, value: own}], podOverrides: {spec: {hostAliases: [{ip: 10.0.0.1, hostnames: \
                    [own]}]}}}";
    let pod = built(defaulting(defaults), template).await;
    let (labels, spec) = (&pod["metadata"]["labels"], &pod["spec"]);
    assert_eq!((&labels["team"], &labels["site"]), (&json!("own"), &json!("a")));
    assert_eq!((&spec["priorityClassName"], &spec["terminationGracePeriodSeconds"]), (&json!("high"), &json!(20)));
    assert_eq!(
        (&spec["securityContext"]["runAsUser"], &spec["hostAliases"][0]["hostnames"]),
        (&json!(8), &json!(["own"]))
    );
    let worker = named(&spec["containers"], "worker");
    assert_eq!(worker["resources"], json!({"limits": {"memory": "2Gi"}}));
    assert_eq!(
        (&named(&worker["env"], "A")["value"], &named(&worker["env"], "B")["value"]),
        (&json!("own"), &json!("b"))
    );
    assert_eq!(named(&spec["containers"], "helper")["image"], "h");
}

#[tokio::test]
async fn overrides_get_around_nothing_that_the_operator_allows_or_not() {
    let disk = "{podOverrides: {spec: {volumes: [{name: disk, hostPath: {path: /etc}}]}}}";
    let helper = "{podOverrides: {spec: {containers: [{name: helper, image: mine}]}}}";
    let privileged = "{spec: {containers: [{name: helper, image: h, securityContext: {privileged: true}}]}}";
    for (settings, template, said) in [
        (
            settings(),
            disk,
            "HostPathNotAllowed: spec.template.podOverrides.spec.volumes[0].hostPath.path: `/etc` is not allowed",
        ),
        (
            defaulting(privileged),
            helper,
            "InvalidConfiguration: spec.template.podOverrides.spec: the container `helper` is one that",
        ),
        (
            settings(),
            "{podOverrides: {spec: {nodeName: a}}}",
            "InvalidConfiguration: spec.template.podOverrides.spec.nodeName: it cannot be overridden; say it in `spec.placement`",
        ),
    ] {
        let lab = Lab::of_operator(settings, Kinds::default(), &[], &with_template(template));
        lab.camera("gate").await;
        let stalled = lab.condition(CAMERA, "Stalled");
        assert!(stalled.starts_with(&format!("True {said}")), "{stalled}");
        assert!(lab.object(DEPLOYMENT).is_null());
    }
}

#[tokio::test]
async fn overrides_of_the_wrong_form_name_their_field_and_what_a_later_kubernetes_has_is_passed_over() {
    let lab = Lab::new(&with_template("{podOverrides: {spec: {hostAliases: {ip: 10.0.0.1}}}}"));
    lab.camera("gate").await;
    let stalled = lab.condition(CAMERA, "Stalled");
    assert!(
        stalled.starts_with("True ResourceMalformed: spec.template.podOverrides.spec.hostAliases: this is a mapping"),
        "{stalled}"
    );

    let lab = Lab::new(&with_template("{podOverrides: {spec: {dreams: {}, dnsPolicy: Default}}}"));
    lab.camera("gate").await;
    assert_eq!(lab.object(DEPLOYMENT)["spec"]["template"]["spec"]["dnsPolicy"], "Default");
    let unknown = lab.condition(CAMERA, "UnknownFields");
    assert!(unknown.contains("spec.template.podOverrides.spec.dreams"), "{unknown}");
}

#[test]
fn the_operators_defaults_are_checked_when_it_starts() {
    for (text, said) in [
        (
            "{spec: {hostAlias: []}}",
            "workerDefaults.spec.hostAlias: there is no such field; did you mean `hostAliases`?",
        ),
        (
            "{spec: {containers: [{name: worker, args: [x]}]}}",
            "workerDefaults.spec.containers[0].args: it cannot be overridden; take",
        ),
        (
            "{spec: {nodeSelector: {a: b}}}",
            "workerDefaults.spec.nodeSelector: it cannot be overridden; say it in `spec.placement`",
        ),
        ("[]", "workerDefaults: this is a list; give a mapping of fields"),
    ] {
        let error = worker_defaults(text).expect_err(text);
        assert!(error.starts_with(said), "{error}");
    }
    // Whoever runs the operator may give what no resource gets.
    let privileged = "{spec: {hostPID: true, containers: [{name: a, image: i, securityContext: {privileged: true}}]}}";
    assert!(worker_defaults(privileged).is_ok());
}

#[test]
fn an_edit_before_its_turn_is_built_with_the_defaults_of_before() {
    let old = Pins::of(&defaulting("{spec: {dnsPolicy: Default}}"));
    let noted: Pins = serde_json::from_str(&serde_json::to_string(&old).expect("JSON")).expect("its own");
    assert_eq!(noted.with(&settings()).worker_defaults, defaulting("{spec: {dnsPolicy: Default}}").worker_defaults);
    assert!(
        !serde_json::to_string(&Pins::of(&settings())).expect("JSON").contains("workerDefaults"),
        "nothing, where there are none"
    );
}

#[test]
fn a_container_whose_name_sorts_first_hides_nothing_of_the_worker() {
    let running = json!({"running": {"startedAt": "2024-06-04T10:30:00Z"}});
    let ended = |code: i32| json!({"terminated": {"exitCode": code, "reason": "Error"}});
    let container = |name: &str, state: &Value| json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": state});
    let seen = |first: &Value, worker: &Value, init: &Value| {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "gate-camera-x", "namespace": "lab"},
            "status": {
                "phase": "Running",
                "initContainerStatuses": [container("init", init)],
                "containerStatuses": [container("a-first", first), container("worker", worker)],
            },
        }))
        .expect("a pod");
        let view = observe::pods(&[Arc::new(pod)], &Rollout::default()).remove(0);
        (view.running, view.trouble.map(|(_, words)| words).unwrap_or_default())
    };
    let said = |who: &str, code: i32| format!("{who} ends again and again, last with status {code} (Error)");
    assert_eq!(seen(&running, &running, &ended(0)), (true, String::new()));
    assert_eq!(seen(&running, &ended(3), &ended(0)), (false, said("the worker", 3)));
    assert_eq!(seen(&ended(1), &ended(3), &ended(0)), (false, said("the worker", 3)), "the worker has the first word");
    assert_eq!(seen(&ended(1), &running, &ended(0)), (true, said("the container `a-first`", 1)));
    let waits = json!({"waiting": {"reason": "PodInitializing"}});
    assert_eq!(seen(&waits, &waits, &ended(2)), (false, said("the container `init`", 2)));
}
