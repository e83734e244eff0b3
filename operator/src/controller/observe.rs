//! What a workload does, as plain data: the rollout, its pods and their troubles, and what the workers say of themselves.

use std::{collections::BTreeSet, sync::Arc};

use edgereel_crds::{name::ObjectName, schedule::Schedule, status::Reason, worker_status::ResourceReport};
use k8s_openapi::{
    Resource as _,
    api::{
        apps::v1::{Deployment, StatefulSet},
        batch::v1::{CronJob, Job, JobCondition},
        core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus, PodTemplateSpec},
    },
    jiff::Timestamp,
};
use kube::ResourceExt;

use super::{
    apply::{Child, Desired, Key, Place},
    build::pod::CONFIG_VOLUME,
    names::{FOLLOWS_ANNOTATION, RESOURCE_ANNOTATION, REVISION_ANNOTATION},
    program::CONTAINER,
};
use crate::nodes::Lost;

/// The workloads as the API server last showed them.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// A singleton's.
    pub deployment: Option<Arc<Deployment>>,
    /// A sharded one's.
    pub stateful_set: Option<Arc<StatefulSet>>,
    /// One that runs once.
    pub job: Option<Arc<Job>>,
    /// One that runs by a schedule.
    pub cron_job: Option<Arc<CronJob>>,
    /// Its last run that is there.
    pub last_run: Option<Arc<Job>>,
}

/// The workloads of an owner as they are, those that are meant.
pub fn live(place: Place<'_>, meant: impl Fn(&Key) -> bool) -> Live {
    let cron_job = newest::<CronJob>(place, &meant);
    Live {
        deployment: newest(place, &meant),
        stateful_set: newest(place, &meant),
        job: newest(place, &meant),
        last_run: cron_job.as_ref().and_then(|cron_job| last_run(place, cron_job)),
        cron_job,
    }
}

/// The youngest Job of a CronJob.
fn last_run(place: Place<'_>, cron_job: &CronJob) -> Option<Arc<Job>> {
    let runs = place.caches.children::<Job>()?.of_uid(cron_job.metadata.uid.as_deref()?).into_iter();
    runs.max_by_key(|run| (run.creation_timestamp().map(|time| time.0), run.name_any()))
}

fn newest<C: Child>(place: Place<'_>, meant: &impl Fn(&Key) -> bool) -> Option<Arc<C>> {
    let all = place.caches.children::<C>()?.of(place.owner).into_iter();
    all.filter(|child| meant(&child.key())).max_by_key(|child| child.creation_timestamp().map(|time| time.0))
}

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
    /// The revision that was declared, as the pods' template has it; none where it has none.
    pub declared: Option<String>,
    /// What a StatefulSet's controller calls the revision that is wanted.
    pub revision: Option<String>,
    /// Why no pod can be made, in the API server's words.
    pub failure: Option<String>,
    /// Whose events say so: a StatefulSet has no condition for it.
    pub uid: Option<String>,
    /// What an event says that it waits for, when that may pass.
    pub waits_for: Option<String>,
    /// Its pods run to an end: a finished one is as it should be, or Kubernetes' own matter.
    pub batch: bool,
    /// It is there to come to an end.
    pub ends: bool,
    /// How it ended, well or not, in words that begin with its name.
    pub end: Option<Result<String, String>>,
    /// Where it stands in its schedule.
    pub schedule: Option<Scheduled>,
}

/// Where something stands in its schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scheduled {
    /// When it runs next; none while it is suspended.
    pub next: Option<Timestamp>,
    /// When the last run was due.
    pub last: Option<Timestamp>,
    /// The last run, if it is there.
    pub run: Option<Run>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The Job.
    pub name: String,
    /// How it ended, well or not, in words that begin with its name; none while it is at work.
    pub end: Option<Result<String, String>>,
}

/// So many characters of what a worker says at its end are shown.
const LAST_WORDS: usize = 500;

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// On its way.
    Rolling,
    /// Everything is as it was applied.
    Ready,
    /// It came to its end.
    Completed(String),
    /// It will not go on by itself.
    Failed(Reason, String),
}

impl Rollout {
    /// Everything is as it was applied.
    pub fn done(&self) -> bool {
        let there = self.updated >= self.desired && self.ready >= self.desired && self.current <= self.desired;
        self.observed && if self.ends { self.end.is_some() } else { there }
    }

    /// Where it stands.
    pub fn progress(&self) -> Progress {
        match (&self.end, &self.failure) {
            (Some(Ok(words)), _) => Progress::Completed(words.clone()),
            (Some(Err(words)), _) => Progress::Failed(Reason::RunFailed, words.clone()),
            (None, Some(words)) => Progress::Failed(Reason::PodFailed, format!("no pod can be made: {words}")),
            (None, None) if self.done() => Progress::Ready,
            (None, None) => Progress::Rolling,
        }
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
    /// Its node is lost, and since when.
    pub lost: Option<Lost>,
    /// Its address.
    pub ip: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether its worker runs.
    pub running: bool,
    /// Whether it is being ended.
    pub leaving: bool,
    /// Its revision, as a StatefulSet's controller calls it.
    pub revision: Option<String>,
    /// Whether it is of the revision that was declared: others say nothing of that.
    pub declared: bool,
    /// Whether it has ended for good: done, failed or evicted.
    pub finished: bool,
    /// What its worker said when it had come to its end.
    pub last_words: Option<String>,
    /// The Job that it is of.
    pub job: Option<String>,
    /// The ConfigMap that it reads.
    pub config: Option<String>,
    /// What stands for the configuration that its kubelet was last told to look at, where it follows one.
    pub follows: Option<String>,
    /// Why it does not work, in the scheduler's or the kubelet's words.
    pub trouble: Option<(Reason, String)>,
    /// Since when it is ready.
    pub ready_since: Option<Timestamp>,
    /// What its worker said last, or why it did not answer; none where it was not asked.
    pub report: Option<Result<ResourceReport, String>>,
}

impl PodView {
    /// Whether it is on a node and does not start, without a word in its status.
    pub fn stands_still(&self) -> bool {
        self.node.is_some() && !self.running && self.judges() && self.trouble.is_none()
    }

    /// Whether it has a say in how what was declared fares.
    pub fn judges(&self) -> bool {
        self.declared && !self.leaving
    }
}

/// The rollout of a workload.
pub fn rollout(live: &Live) -> Rollout {
    let Live { deployment, stateful_set, job, cron_job, last_run } = live;
    let of_job = || job.as_deref().map(of_job);
    let of_cron_job = || cron_job.as_deref().map(|job| of_cron_job(job, last_run.as_deref(), Timestamp::now()));
    let of_set = || stateful_set.as_deref().map(of_stateful_set);
    deployment.as_deref().map(of_deployment).or_else(of_set).or_else(of_job).or_else(of_cron_job).unwrap_or_default()
}

/// The revision that a template has noted.
pub fn revision(template: &PodTemplateSpec) -> Option<String> {
    template.metadata.as_ref()?.annotations.as_ref()?.get(REVISION_ANNOTATION).cloned()
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
        declared: deployment.spec.as_ref().and_then(|spec| revision(&spec.template)),
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
        declared: set.spec.as_ref().and_then(|spec| revision(&spec.template)),
        ..Rollout::default()
    }
}

/// A Job's spec cannot be changed: what its status says is always about it, once it says anything.
fn of_job(job: &Job) -> Rollout {
    let status = job.status.clone().unwrap_or_default();
    let active = status.active.unwrap_or(0);
    Rollout {
        desired: 1,
        current: active + status.terminating.unwrap_or(0),
        updated: active,
        ready: status.ready.unwrap_or(0),
        observed: status.start_time.is_some() || status.conditions.is_some(),
        declared: job.spec.as_ref().and_then(|spec| revision(&spec.template)),
        uid: job.metadata.uid.clone(),
        batch: true,
        ends: true,
        end: end_of(job),
        ..Rollout::default()
    }
}

/// How a Job ended, if it has.
fn end_of(job: &Job) -> Option<Result<String, String>> {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let holds = |kind: &str| conditions.into_iter().flatten().find(|c| c.type_ == kind && c.status == "True");
    let failed = || {
        let words = |c: &JobCondition| [&c.reason, &c.message].into_iter().flatten().cloned().collect::<Vec<_>>();
        holds("Failed").map(|condition| Err(format!("{}: {}", job.name_any(), words(condition).join(": "))))
    };
    holds("Complete").map(|_| Ok(format!("{} ran to its end", job.name_any()))).or_else(failed)
}

/// It is there, and does the rest by itself.
fn of_cron_job(job: &CronJob, last_run: Option<&Job>, now: Timestamp) -> Rollout {
    let template = job.spec.as_ref().and_then(|spec| spec.job_template.spec.as_ref());
    let status = job.status.as_ref();
    let spec = job.spec.as_ref().filter(|spec| spec.suspend != Some(true));
    let schedule = spec.and_then(|spec| Schedule::read(&spec.schedule, spec.time_zone.as_deref()).ok());
    let wanted = i32::from(spec.is_some());
    Rollout {
        // What it is to be, it is: it makes pods when their time comes.
        desired: wanted,
        updated: wanted,
        ready: wanted,
        current: i32::try_from(status.and_then(|status| status.active.as_ref()).map_or(0, Vec::len))
            .unwrap_or(i32::MAX),
        observed: true,
        declared: template.and_then(|spec| revision(&spec.template)),
        batch: true,
        schedule: Some(Scheduled {
            next: schedule.and_then(|schedule| schedule.next(now)).map(|next| next.timestamp()),
            last: status.and_then(|status| status.last_schedule_time.as_ref()).map(|time| time.0),
            run: last_run.map(|run| Run { name: run.name_any(), end: end_of(run) }),
        }),
        ..Rollout::default()
    }
}

/// The pods of a workload, by name.
pub fn pods(pods: &[Arc<Pod>], rollout: &Rollout) -> Vec<PodView> {
    let mut views: Vec<PodView> = pods.iter().map(|pod| view(pod, rollout)).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    views
}

/// One pod; what its worker says is not known here.
pub fn view(pod: &Pod, rollout: &Rollout) -> PodView {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind);
    // Others may have put containers of their own beside it.
    let container = status.container_statuses.iter().flatten().find(|container| container.name == CONTAINER);
    let spec = pod.spec.as_ref();
    let mut volumes = spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    let config = volumes.find(|volume| volume.name == CONFIG_VOLUME).and_then(|volume| volume.config_map.as_ref());
    PodView {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        node: spec.and_then(|spec| spec.node_name.clone()),
        lost: None,
        ip: status.pod_ip.clone(),
        ready: condition("Ready").is_some_and(|c| c.status == "True"),
        running: container.and_then(|c| c.state.as_ref()).is_some_and(|state| state.running.is_some()),
        leaving: pod.metadata.deletion_timestamp.is_some(),
        revision: pod.labels().get("controller-revision-hash").cloned(),
        declared: rollout.declared.is_none() || pod.annotations().get(REVISION_ANNOTATION) == rollout.declared.as_ref(),
        last_words: farewell(container),
        job: pod.owner_references().iter().find(|owner| owner.kind == Job::KIND).map(|owner| owner.name.clone()),
        finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
        config: config.map(|map| map.name.clone()),
        follows: pod.annotations().get(FOLLOWS_ANNOTATION).cloned(),
        trouble: trouble(pod),
        ready_since: condition("Ready")
            .filter(|c| c.status == "True")
            .and_then(|c| c.last_transition_time.as_ref())
            .map(|time| time.0),
        report: None,
    }
}

/// What a worker left to be read when it came to its end (its termination message).
fn farewell(container: Option<&ContainerStatus>) -> Option<String> {
    let ended = container?.state.as_ref()?.terminated.as_ref().filter(|ended| ended.exit_code == 0)?;
    let words = ended.message.as_deref()?.trim();
    (!words.is_empty()).then(|| words.chars().take(LAST_WORDS).collect())
}

/// Adds to how a run ended what its worker said then.
pub fn add_last_words(rollout: &mut Rollout, pods: &[PodView]) {
    let (end, run) = match &mut rollout.schedule {
        Some(Scheduled { run: Some(run), .. }) => (&mut run.end, Some(&run.name)),
        Some(_) | None => (&mut rollout.end, None),
    };
    // A run by a schedule may be of what was declared before.
    let is_its = |pod: &&PodView| match run {
        Some(run) => pod.job.as_ref() == Some(run),
        None => pod.declared,
    };
    let said = pods.iter().filter(is_its).find_map(|pod| pod.last_words.as_ref());
    if let (Some(Ok(words)), Some(said)) = (end, said)
        && !words.contains(said)
    {
        words.push_str(&format!(": {said}"));
    }
}

/// The resource that a pod works for: its kind, and its name.
pub fn worker_of(pod: &Pod) -> Option<(String, ObjectName)> {
    named_by(pod, RESOURCE_ANNOTATION)
}

/// The resource that an annotation of a pod names: its kind, and its name.
pub fn named_by(pod: &Pod, annotation: &str) -> Option<(String, ObjectName)> {
    let (kind, name) = pod.annotations().get(annotation)?.split_once('/')?;
    let namespace = pod.namespace().unwrap_or_default();
    Some((kind.to_owned(), ObjectName { namespace, name: name.to_owned() }))
}

/// Why a pod does not work, in the scheduler's or the kubelet's words.
pub fn trouble(pod: &Pod) -> Option<(Reason, String)> {
    let of = |statuses: fn(&PodStatus) -> &Option<Vec<ContainerStatus>>| {
        pod.status.iter().flat_map(move |status| statuses(status).iter().flatten())
    };
    let (first, beside) = (of(|status| &status.init_container_statuses), of(|status| &status.container_statuses));
    let worker = of(|status| &status.container_statuses).find(|container| container.name == CONTAINER);
    // What was put before it or beside it keeps it from starting, or the pod from being ready.
    let others = first.chain(beside.filter(|container| container.name != CONTAINER));
    let in_the_way = || others.into_iter().find_map(stuck);
    unschedulable(pod).or_else(|| worker.and_then(stuck)).or_else(in_the_way).or_else(|| failed(pod))
}

/// The pods without those that have ended and been replaced: an evicted pod stays until somebody deletes it.
pub fn standing(pods: Vec<PodView>, rollout: &Rollout) -> Vec<PodView> {
    let replaced = rollout.batch || pods.iter().any(|pod| pod.declared && !pod.finished && !pod.leaving);
    pods.into_iter().filter(|pod| !pod.finished || (pod.declared && !replaced)).collect()
}

/// Pods that have ended and are of a revision that is no longer declared. A Deployment that replaces all its pods at once
/// would wait for them for ever.
pub fn leftovers<'a>(rollout: &Rollout, pods: &'a [PodView]) -> Vec<&'a PodView> {
    let left = |pod: &&PodView| !rollout.batch && pod.finished && !pod.declared && !pod.leaving;
    pods.iter().filter(left).collect()
}

/// Pods on lost nodes of which somebody has said, by [`FORCE_MOVE_ANNOTATION`], that they need not be waited for.
pub fn forced<'a>(nodes: Option<&String>, pods: &'a [PodView]) -> Vec<&'a PodView> {
    let named: Vec<&str> = nodes.map(|nodes| nodes.split(',').map(str::trim).collect()).unwrap_or_default();
    let is_named = |pod: &&PodView| pod.node.as_deref().is_some_and(|node| named.contains(&node));
    pods.iter().filter(|pod| pod.lost.is_some()).filter(is_named).collect()
}

/// The ConfigMaps that pods read.
pub fn configs(pods: &[PodView]) -> BTreeSet<String> {
    pods.iter().filter_map(|pod| pod.config.clone()).collect()
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
        return Some((Reason::PodCrashing, last_words(container, ended)));
    }
    let waiting = state.waiting.as_ref()?;
    let why = waiting.reason.clone().unwrap_or_default();
    let words = waiting.message.clone().unwrap_or_default();
    let of = if container.name == CONTAINER { String::new() } else { format!("the container `{}`: ", container.name) };
    match why.as_str() {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => Some((Reason::ImagePullFailed, format!("{of}{why}: {words}"))),
        "CrashLoopBackOff" => {
            let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            Some((Reason::PodCrashing, last.map_or(why, |ended| last_words(container, ended))))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "PostStartHookError" => {
            Some((Reason::PodFailed, format!("{of}{why}: {words}")))
        }
        _ => None,
    }
}

fn last_words(container: &ContainerStatus, ended: &ContainerStateTerminated) -> String {
    let text = ended.message.as_deref().or(ended.reason.as_deref()).unwrap_or_default();
    let who = match container.name.as_str() {
        CONTAINER => "the worker".to_owned(),
        other => format!("the container `{other}`"),
    };
    format!("{who} ends again and again, last with status {} ({})", ended.exit_code, text.trim())
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
    let broken = |pod: &&PodView| !pod.ready && !pod.leaving && !pod.finished && !pod.running && pod.trouble.is_some();
    if !rollout.observed {
        return Vec::new();
    }
    pods.iter().filter(old).filter(broken).collect()
}

/// The nodes that the pods are on.
pub fn nodes(pods: &[PodView]) -> Option<String> {
    let names: BTreeSet<&str> = pods.iter().filter(|pod| !pod.leaving).filter_map(|pod| pod.node.as_deref()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty()).then(|| names.join(","))
}
