//! A kind that only this file knows, and that runs to an end: all that a further kind takes, and proof that it is reconciled,
//! woken, counted and documented as the others are.

use edgereel_crds::{
    KafkaConnection,
    common::{KafkaRef, LocalRef},
    declared::{About, Declared, Reference, SecretUses, Source},
    publish::{crd, reference},
    resource_status::ResourceStatus,
    secret_uses::merged,
    status::ConditionType,
};
use k8s_openapi::{
    api::batch::v1::{CronJob, Job},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Lab, RESOURCES, of_child, of_kind};
use crate::{
    cache::Caches,
    controller::{
        dereference::{Found, object_name},
        figures::{WorthWriting, conditions_matter},
        managed::{Managed, Observed},
        names::Names,
        program::Program,
        validate::{self, Refusal},
        workload::{Batch, Runs, Runtime, Workload},
    },
    hash::hash_of,
    kinds::Kinds,
    settings::Settings,
};

/// Something that is done once, or again and again.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "edgereel.dev",
    version = "v1alpha1",
    kind = "Toy",
    doc = "Something that is done once, or again and again.",
    namespaced,
    shortname = "toy",
    category = "edgereel",
    status = "ToyStatus"
)]
#[serde(rename_all = "camelCase")]
struct ToySpec {
    /// The Kafka cluster.
    kafka: KafkaRef,
    /// A Secret with a `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<LocalRef>,
    /// When, as a CronJob has it. Default: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ToyStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    observed_generation: Option<i64>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

impl ResourceStatus for ToyStatus {
    fn observed_generation(&self) -> Option<i64> {
        self.observed_generation
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl WorthWriting for ToyStatus {
    fn matters(&self, old: &Self) -> bool {
        conditions_matter(&self.conditions, &old.conditions) || self.observed_generation != old.observed_generation
    }
}

impl Declared for Toy {
    const NAME: &'static str = "Toy";
    const COMPONENT: Option<&'static str> = Some("toy");
    const ASPECT: Option<ConditionType> = None;

    fn references(spec: &ToySpec) -> Vec<Reference> {
        vec![Reference::to_connection::<KafkaConnection>(&spec.kafka.connection_ref)]
    }

    fn secrets(spec: &ToySpec) -> SecretUses {
        spec.login.iter().map(|login| (Source::Secret(login.name.clone()), ["key".to_owned()].into())).collect()
    }
}

impl Managed for Toy {
    const RUNS: Option<Runs> = Some(Runs::Batch);

    fn dereference(&self, caches: &Caches) -> Found {
        let mut found = Found::default();
        let name = object_name(self);
        let uses = found.connection(&self.spec.kafka.connection_ref, &name.namespace, &Names::of(self), caches);
        found.uses = merged(Toy::secrets(&self.spec), uses.unwrap_or_default());
        found.document(Toy::NAME, &name, &self.spec);
        found
    }

    fn validate(&self, found: &Found, _: &Settings) -> Result<Option<Workload>, Refusal> {
        validate::values(found)?;
        let runtime = Runtime::Batch(Batch {
            schedule: self.spec.schedule.clone(),
            completions: 1,
            backoff: 3,
            deadline: Some(600),
        });
        let program = Program { image: "toys:1".into(), command: vec!["toy".into()] };
        let checksum = hash_of(&found.documents);
        Ok(Some(Workload { checksum, ..validate::workload(self, found, runtime, program) }))
    }

    fn figures(&self, _: &Observed, _: &ToyStatus) -> ToyStatus {
        ToyStatus::default()
    }

    fn with_conditions(_: ToyStatus, conditions: Vec<Condition>, observed_generation: Option<i64>) -> ToyStatus {
        ToyStatus { conditions, observed_generation }
    }
}

const NEW_TOY: [&str; 4] =
    ["POST configmaps/one-toy-config-HASH", "POST jobs/one-toy-HASH", "PATCH toys/one/status", "POST events"];

fn toy(more: &str) -> String {
    format!(
        "apiVersion: edgereel.dev/v1alpha1\nkind: Toy\nmetadata: {{name: one}}\nspec: {{kafka: {{connectionRef: {{name: \
         kafka}}}}{more}}}\n"
    )
}

/// A lab that knows toys, and has one.
fn lab(more: &str) -> Lab {
    let kinds = Kinds::default().with::<Toy>();
    let feeds: [(_, super::Feed); 3] =
        [("Toy", of_kind::<Toy>), ("Job", of_child::<Job>), ("CronJob", of_child::<CronJob>)];
    let mut lab = Lab::with(kinds, &feeds, &format!("{RESOURCES}---\n{}", toy(more)));
    lab.woken();
    lab
}

async fn reconciled(lab: &Lab) -> Vec<String> {
    let (requests, outcome) = lab.reconcile::<Toy>("one").await;
    outcome.expect("reconciled");
    requests
}

/// What the Job's controller says of it.
fn says(lab: &mut Lab, status: Value) {
    let mut job = lab.object("jobs/one-toy-HASH");
    job["status"] = status;
    lab.bring(job);
}

fn ended(condition: &str, reason: &str, message: &str) -> Value {
    json!({"conditions": [{"type": condition, "status": "True", "reason": reason, "message": message}]})
}

#[tokio::test]
async fn a_toy_is_reconciled_with_its_own_program() {
    let mut lab = lab("");
    assert_eq!(reconciled(&lab).await, NEW_TOY);
    lab.catch_up();
    assert_eq!(reconciled(&lab).await, [""; 0]);
    let job = lab.object("jobs/one-toy-HASH");
    let spec = &job["spec"];
    assert_eq!(
        (&spec["backoffLimit"], &spec["activeDeadlineSeconds"], &spec["completions"]),
        (&json!(3), &json!(600), &json!(1))
    );
    assert!(spec["ttlSecondsAfterFinished"].is_i64());
    let pod = &spec["template"]["spec"];
    assert_eq!((&pod["restartPolicy"], &pod["containers"][0]["image"]), (&json!("Never"), &json!("toys:1")));
    assert_eq!(pod["containers"][0]["command"], json!(["toy"]));
    assert!(pod["containers"][0]["args"].as_array().is_some_and(|args| args.contains(&json!("--only=Toy/one"))));
    assert!(lab.condition("toys/one", "Reconciling").starts_with("True RolloutInProgress"));
}

#[tokio::test]
async fn a_toy_is_woken_by_what_it_refers_to_and_by_its_job() {
    let mut lab = lab(", login: {name: key}");
    lab.edit("kafkaconnections/kafka", "/metadata/generation", json!(2));
    assert!(lab.woken().contains(&"Toy/one".into()));
    lab.store(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": {"key": "YQ=="}}));
    assert_eq!(lab.woken(), ["Toy/one"]);
    reconciled(&lab).await;
    lab.catch_up();
    lab.woken();
    says(&mut lab, json!({"active": 1}));
    assert_eq!(lab.woken(), ["Toy/one"]);
}

#[tokio::test]
async fn a_toy_is_counted_by_its_connection_and_by_the_metrics() {
    let lab = lab("");
    lab.reconcile::<KafkaConnection>("kafka").await.1.expect("reconciled");
    assert_eq!(lab.object("kafkaconnections/kafka")["status"]["users"], 3);
    reconciled(&lab).await;
    let count = "edgereel_operator_resources{kind=\"Toy\",ready=\"false\",reason=\"RolloutInProgress\"} 1\n";
    assert!(lab.context.metrics.text().contains(count), "{}", lab.context.metrics.text());
}

#[test]
fn a_toy_is_documented_and_has_a_definition_and_rights() {
    let manual = reference::of_kind(&About::of::<Toy>());
    assert!(
        manual.contains("## Toy\n\nSomething that is done once") && manual.contains("short name `toy`"),
        "{manual}"
    );
    assert!(manual.contains("| `schedule` | text |  | When, as a CronJob has it."), "{manual}");
    let definition = crd::definition(About::of::<Toy>());
    assert_eq!(definition.metadata.name.as_deref(), Some("toys.edgereel.dev"));
    let watched = |kinds: Kinds| kinds.children().iter().map(|child| child.plural()).collect::<Vec<_>>();
    assert!(!watched(Kinds::default()).contains(&"cronjobs".into()), "what nobody makes is not watched");
    assert!(watched(Kinds::default().with::<Toy>()).ends_with(&["cronjobs".into()]));
}

#[tokio::test]
async fn a_toy_that_ran_to_its_end_is_current_and_is_not_run_again() {
    let mut lab = lab("");
    reconciled(&lab).await;
    lab.catch_up();
    says(&mut lab, ended("Complete", "CompletionsReached", ""));
    reconciled(&lab).await;
    for (condition, expected) in
        [("Ready", "True Completed: one-toy-"), ("Reconciling", "False "), ("Stalled", "False ")]
    {
        let found = lab.condition("toys/one", condition);
        assert!(found.starts_with(expected), "{condition}: {found}");
    }
    assert_eq!(lab.object("toys/one")["status"]["observedGeneration"], 1);
    lab.catch_up();
    // A day later Kubernetes removes the Job.
    lab.delete("jobs/one-toy-HASH");
    assert_eq!(reconciled(&lab).await, [""; 0]);
    assert!(lab.condition("toys/one", "Ready").starts_with("True Completed: one-toy-"));
    lab.declare(&toy(", login: {name: key}"));
    lab.store(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": {"key": "YQ=="}}));
    assert!(reconciled(&lab).await.contains(&NEW_TOY[1].to_owned()), "another one is");
}

#[tokio::test]
async fn a_toy_that_failed_says_why_and_another_job_takes_the_place_of_its() {
    let mut lab = lab("");
    reconciled(&lab).await;
    lab.catch_up();
    let old = lab.names("jobs");
    says(&mut lab, ended("Failed", "BackoffLimitExceeded", "it failed too often"));
    reconciled(&lab).await;
    let stalled = lab.condition("toys/one", "Stalled");
    assert_eq!(stalled, format!("True RunFailed: {}: BackoffLimitExceeded: it failed too often", old[0]));
    lab.catch_up();
    lab.store(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": {"key": "YQ=="}}));
    lab.declare(&toy(", login: {name: key}"));
    let requests = reconciled(&lab).await;
    assert!(requests.contains(&"DELETE jobs/one-toy-HASH".to_owned()), "{requests:?}");
    assert!(lab.names("jobs").len() == 1 && lab.names("jobs") != old);
    assert!(lab.condition("toys/one", "Stalled").starts_with("False "), "the old Job has no say");
}

#[tokio::test]
async fn a_toy_with_a_schedule_has_a_cron_job() {
    let lab = lab(", schedule: \"0 3 * * *\"");
    let requests = reconciled(&lab).await;
    assert_eq!(requests[1..2], ["POST cronjobs/one-toy"]);
    let job = lab.object("cronjobs/one-toy");
    assert_eq!((&job["spec"]["schedule"], &job["spec"]["concurrencyPolicy"]), (&json!("0 3 * * *"), &json!("Forbid")));
    assert_eq!(lab.condition("toys/one", "Ready"), "True Running: it runs when its schedule says so");
}
