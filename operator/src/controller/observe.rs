//! What a workload does, as plain data: the rollout, its pods and their troubles, and what the workers say of themselves.

use std::{collections::BTreeMap, sync::Arc};

use edgereel_crds::{
    status::{ConditionStatus, Reason},
    worker_status::ResourceReport,
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ContainerStateTerminated, ContainerStatus, Pod},
};
use kube::ResourceExt;

use super::apply::Live;

/// How far the controllers of Kubernetes have come with what was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// How many pods there are to be.
    pub desired: i32,
    /// Pods that there are.
    pub current: i32,
    /// Pods made from the last template.
    pub updated: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Whether the figures are about what was applied last.
    pub observed: bool,
    /// The pods' revision that is wanted, for a StatefulSet.
    pub revision: Option<String>,
    /// Why no pod can be made, in the API server's words.
    pub failure: Option<String>,
    /// Whose events say so: a StatefulSet has no condition for it.
    pub uid: Option<String>,
    /// What an event says that it waits for, when that may pass.
    pub waits_for: Option<String>,
}

impl Rollout {
    /// Everything is as it was applied.
    pub fn done(&self) -> bool {
        self.observed && self.updated >= self.desired && self.ready >= self.desired && self.current <= self.desired
    }
}

/// One pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The node that it is on.
    pub node: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether its worker runs.
    pub running: bool,
    /// Whether it is being ended.
    pub leaving: bool,
    /// Its revision, in a StatefulSet.
    pub revision: Option<String>,
    /// Why it does not work, in the scheduler's or the kubelet's words.
    pub trouble: Option<(Reason, String)>,
    /// What its worker says, or why it says nothing; none where it was not asked.
    pub report: Option<Result<ResourceReport, String>>,
}

impl PodView {
    /// Whether it is on a node and does not start, without a word in its status.
    pub fn stands_still(&self) -> bool {
        self.node.is_some() && !self.running && !self.leaving && self.trouble.is_none()
    }
}

/// The rollout of a workload.
pub fn rollout(live: &Live) -> Rollout {
    match (&live.deployment, &live.stateful_set) {
        (Some(deployment), _) => of_deployment(deployment),
        (_, Some(set)) => of_stateful_set(set),
        (None, None) => Rollout::default(),
    }
}

fn of_deployment(deployment: &Deployment) -> Rollout {
    let status = deployment.status.clone().unwrap_or_default();
    let failure = status.conditions.iter().flatten().find(|c| c.type_ == "ReplicaFailure" && c.status == "True");
    Rollout {
        desired: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        current: status.replicas.unwrap_or(0),
        updated: status.updated_replicas.unwrap_or(0),
        ready: status.ready_replicas.unwrap_or(0),
        observed: status.observed_generation >= deployment.metadata.generation && status.observed_generation.is_some(),
        failure: failure.and_then(|c| c.message.clone()),
        ..Rollout::default()
    }
}

fn of_stateful_set(set: &StatefulSet) -> Rollout {
    let status = set.status.clone().unwrap_or_default();
    let desired = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    // Once all pods have the new revision it is the current one, and no longer counted as an update.
    let settled = status.current_revision == status.update_revision;
    Rollout {
        desired,
        current: status.replicas,
        updated: if settled { status.replicas } else { status.updated_replicas.unwrap_or(0) },
        ready: status.ready_replicas.unwrap_or(0),
        observed: status.observed_generation >= set.metadata.generation && status.observed_generation.is_some(),
        revision: status.update_revision,
        uid: set.metadata.uid.clone(),
        ..Rollout::default()
    }
}

/// The pods of a workload, by name.
pub fn pods(pods: &[Arc<Pod>]) -> Vec<PodView> {
    let mut views: Vec<PodView> = pods.iter().map(|pod| view(pod)).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    views
}

fn view(pod: &Pod) -> PodView {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind);
    let container = status.container_statuses.iter().flatten().next();
    PodView {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ip: status.pod_ip.clone(),
        ready: condition("Ready").is_some_and(|c| c.status == "True"),
        running: container.and_then(|c| c.state.as_ref()).is_some_and(|state| state.running.is_some()),
        leaving: pod.metadata.deletion_timestamp.is_some(),
        revision: pod.labels().get("controller-revision-hash").cloned(),
        trouble: unschedulable(pod).or_else(|| container.and_then(stuck)).or_else(|| failed(pod)),
        report: None,
    }
}

/// The scheduler's words.
fn unschedulable(pod: &Pod) -> Option<(Reason, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let words = scheduled.message.clone().unwrap_or_else(|| "no node was found".into());
    Some((Reason::Unschedulable, words))
}

/// The kubelet's words for a container that does not start, or ends again and again.
fn stuck(container: &ContainerStatus) -> Option<(Reason, String)> {
    let state = container.state.as_ref()?;
    // Between an end and the next start.
    if let Some(ended) = state.terminated.as_ref().filter(|ended| ended.exit_code != 0) {
        return Some((Reason::PodCrashing, last_words(ended)));
    }
    let waiting = state.waiting.as_ref()?;
    let why = waiting.reason.clone().unwrap_or_default();
    let words = waiting.message.clone().unwrap_or_default();
    match why.as_str() {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => Some((Reason::ImagePullFailed, format!("{why}: {words}"))),
        "CrashLoopBackOff" => {
            let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            Some((Reason::PodCrashing, last.map_or(why, last_words)))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "PostStartHookError" => {
            Some((Reason::PodFailed, format!("{why}: {words}")))
        }
        _ => None,
    }
}

fn last_words(ended: &ContainerStateTerminated) -> String {
    let text = ended.message.as_deref().or(ended.reason.as_deref()).unwrap_or_default();
    format!("the worker ends again and again, last with status {} ({})", ended.exit_code, text.trim())
}

/// A pod that the kubelet gave up, evicted or refused.
fn failed(pod: &Pod) -> Option<(Reason, String)> {
    let status = pod.status.as_ref()?;
    (status.phase.as_deref() == Some("Failed")).then(|| {
        let words = [&status.reason, &status.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ");
        (Reason::PodFailed, if words.is_empty() { "the pod failed".into() } else { words })
    })
}

/// Pods that hold a StatefulSet up: of a revision that is no longer wanted, and not ready. Its controller waits for them
/// for ever (kubernetes/kubernetes 67250); without them it goes on.
pub fn obstacles<'a>(rollout: &Rollout, pods: &'a [PodView]) -> Vec<&'a PodView> {
    let Some(wanted) = &rollout.revision else { return Vec::new() };
    let old = |pod: &&PodView| pod.revision.as_ref().is_some_and(|revision| revision != wanted);
    let broken = |pod: &&PodView| !pod.ready && !pod.leaving && !pod.running && pod.trouble.is_some();
    if !rollout.observed {
        return Vec::new();
    }
    pods.iter().filter(old).filter(broken).collect()
}

/// The nodes that the pods are on.
pub fn nodes(pods: &[PodView]) -> Option<String> {
    let nodes: BTreeMap<&String, ()> =
        pods.iter().filter(|pod| !pod.leaving).filter_map(|pod| pod.node.as_ref().map(|node| (node, ()))).collect();
    let names: Vec<&str> = nodes.keys().map(|name| name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// Whether a worker says that all is well.
pub fn is_well(report: &ResourceReport) -> bool {
    use edgereel_crds::status::ConditionType::Ready;
    report.conditions.iter().any(|c| c.kind == Ready && c.status == ConditionStatus::True)
}
