//! From what is observed to conditions: kstatus's `Ready`, `Reconciling` and `Stalled`, and the aspect of the kind. Pure.
//!
//! [`guest`] is for resources that run in the pods of another one.

pub mod guest;

use std::{collections::BTreeSet, time::Duration};

use edgereel_crds::{
    status::{
        ConditionStatus::{self, False, True, Unknown},
        ConditionType, Reason,
    },
    worker_status::{ConnectionReport, ResourceReport},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{
    names::FORCE_MOVE_ANNOTATION,
    observe::{PodView, Progress, Rollout, Run, Scheduled},
    validate::Refusal,
};
use crate::{metrics::Found, nodes::OUT_OF_SERVICE};

/// Longer messages are cut: events take 1 kB.
const MAX_MESSAGE: usize = 1000;

/// What stands before remarks in a message. What follows is worth writing when it changes, unlike the words before it.
pub const REMARKS: &str = "; note: ";

/// What there is to say of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it works.
    pub ready: ConditionStatus,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// It is on its way, and nobody has to do anything.
    pub reconciling: bool,
    /// It will not go on by itself.
    pub stalled: bool,
    /// The kind's own condition: whether it holds, and why.
    pub aspect: Option<Said>,
    /// Whether the workers answer; none where nothing runs for the kind.
    pub figures: Option<Said>,
    /// Conditions of other matters.
    pub further: Vec<Further>,
}

/// A condition beside the verdict: it says nothing of whether the resource works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Further {
    /// Which.
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// A condition's value, why, and for people.
pub type Said = (ConditionStatus, Reason, String);

impl Verdict {
    fn new(ready: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Verdict {
            ready,
            reason,
            message: message.into(),
            reconciling: false,
            stalled: false,
            aspect: None,
            figures: None,
            further: vec![],
        }
    }

    /// With remarks behind what there is to say.
    pub fn remarking(mut self, remarks: &[String]) -> Self {
        if !remarks.is_empty() {
            let message = format!("{}{REMARKS}{}", self.message, remarks.join("; "));
            self.message = message.chars().take(MAX_MESSAGE).collect();
        }
        self
    }

    fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Verdict { stalled: true, ..Verdict::new(False, reason, message) }
    }

    fn reconciling(reason: Reason, message: impl Into<String>) -> Self {
        Verdict { reconciling: true, ..Verdict::new(False, reason, message) }
    }
}

/// What a workload was asked to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `spec.suspend` is set.
    pub suspended: bool,
    /// `spec.replicas` is 0.
    pub none: bool,
    /// Replicas that were asked for beyond the topic's partitions.
    pub capped_from: Option<i32>,
    /// What there is to say while all is well.
    pub well: &'static str,
    /// How long its pods wait for a lost node, where that is known.
    pub move_after: Option<Duration>,
    /// Whether each pod has a place of its own, which no other takes before it is known to have ended.
    pub stays: bool,
}

/// Of a resource that is not acted on.
pub fn refused(refusal: &Refusal) -> Verdict {
    Verdict::stalled(refusal.reason, &refusal.message)
}

/// Of a resource whose children could not be applied: it is tried again, unless the API server said that it never will.
pub fn failed(error: &super::apply::ApplyError) -> Verdict {
    use super::apply::ApplyError;
    let (reason, for_good) = match error {
        ApplyError::NameTaken { .. } => (Reason::NameTaken, true),
        ApplyError::Api { source: kube::Error::Api(status), .. } => {
            (Reason::OperatorError, matches!(status.code, 400 | 403 | 422))
        }
        ApplyError::Api { .. } | ApplyError::Leaving { .. } => (Reason::OperatorError, false),
    };
    let make = if for_good { Verdict::stalled } else { Verdict::reconciling };
    make(reason, error.to_string())
}

/// Of a resource that only others use, and that is not acted on.
pub fn not_accepted(verdict: Verdict) -> Verdict {
    Verdict { aspect: Some((False, verdict.reason, verdict.message.clone())), ..verdict }
}

/// Of a connection that is sound, by what the workers know of it that use it.
pub fn of_connection(users: i32, reports: &[ConnectionReport]) -> Verdict {
    let accepted = (True, Reason::Running, "the configuration is valid and its Secrets are there".to_owned());
    Verdict { aspect: Some(accepted), ..reached(users, reports) }
}

fn reached(users: i32, reports: &[ConnectionReport]) -> Verdict {
    if users == 0 {
        return Verdict::new(Unknown, Reason::NotUsed, "nothing uses it: nobody has tried whether its brokers answer");
    }
    let (good, bad): (Vec<_>, Vec<_>) = reports.iter().partition(|report| report.reached);
    let fault = bad.iter().chain(&good).find_map(|report| Some((report.reason?, report.error.as_deref()?)));
    match (good.is_empty(), fault) {
        (false, fault) => {
            let brokers: BTreeSet<&str> = good.iter().flat_map(|report| &report.brokers).map(String::as_str).collect();
            let mut text = format!("{} of {} workers that have tried reach it", good.len(), reports.len());
            if !brokers.is_empty() {
                text = format!("{text}, at {}", brokers.into_iter().collect::<Vec<_>>().join(", "));
            }
            if good.iter().any(|report| report.login == Some(true)) {
                text = format!("{text}; the login works");
            }
            if let Some((_, words)) = fault {
                text = format!("{text}; one says: {words}");
            }
            Verdict::new(True, Reason::Running, text)
        }
        (true, Some((reason, words))) => match nature(reason) {
            Nature::NeedsPerson => Verdict::stalled(reason, words),
            Nature::Passing | Nature::Waits => Verdict::new(False, reason, words),
        },
        (true, None) => Verdict::new(Unknown, Reason::Starting, "no worker that uses it has told of it yet"),
    }
}

/// Of a resource that was paused before it had any pods.
pub fn paused() -> Verdict {
    Verdict::new(False, Reason::Paused, "it was paused before anything ran")
}

/// Of a workload. Only pods of the declared revision have a say in it.
pub fn of_workload(asked: Asked, rollout: &Rollout, pods: &[PodView], aspect: Option<ConditionType>) -> Verdict {
    let judges: Vec<&PodView> = pods.iter().filter(|pod| pod.judges()).collect();
    let rests = match (asked.suspended, asked.none) {
        (true, _) => Some("spec.suspend is true"),
        (false, true) => Some("spec.replicas is 0"),
        (false, false) => None,
    };
    let mut verdict = if let Some(why) = rests {
        match pods.iter().all(|pod| pod.finished) && rollout.current == 0 {
            true => Verdict::new(False, Reason::Suspended, format!("{why}: nothing runs, everything is kept")),
            false => Verdict::reconciling(Reason::Stopping, format!("{why}: the workers are stopping")),
        }
    } else {
        node_lost(asked, rollout, pods).unwrap_or_else(|| running(asked, rollout, &judges))
    };
    verdict.message = verdict.message.chars().take(MAX_MESSAGE).collect();
    match aspect {
        Some(aspect) => with_aspect(verdict, pods, aspect),
        None => verdict,
    }
}

/// The verdict with the kind's own condition: what runs has a word on it even where the resource is not acted on.
pub fn with_aspect(verdict: Verdict, pods: &[PodView], aspect: ConditionType) -> Verdict {
    let judges: Vec<&PodView> = pods.iter().filter(|pod| pod.judges()).collect();
    Verdict { aspect: Some(aspect_of(&verdict, &judges, aspect)), ..verdict }
}

/// The verdict with `FiguresAvailable`: whether the workers answer. That says nothing of `Ready`, which is the kubelet's word: the
/// operator may be where it cannot reach them.
pub fn with_figures(verdict: Verdict, pods: &[PodView]) -> Verdict {
    let asked: Vec<&PodView> = pods.iter().filter(|pod| pod.running && pod.judges()).collect();
    let named =
        |pod: &PodView, text: &str| if asked.len() > 1 { format!("{}: {text}", pod.name) } else { text.to_owned() };
    // One that is starting listens in a moment.
    let silent = asked.iter().find_map(|pod| Some((pod, pod.report.as_ref().filter(|_| pod.ready)?.as_ref().err()?)));
    let figures = match silent {
        Some((pod, why)) => (False, Reason::WorkerUnreachable, named(pod, why)),
        None if asked.is_empty() => (Unknown, verdict.reason, "no worker runs".to_owned()),
        None if asked.iter().all(|pod| matches!(pod.report, Some(Ok(_)))) => {
            (True, Reason::Running, "the workers answer".to_owned())
        }
        None => (Unknown, verdict.reason, "the workers have not answered yet".to_owned()),
    };
    Verdict { figures: Some(figures), ..verdict }
}

fn running(asked: Asked, rollout: &Rollout, pods: &[&PodView]) -> Verdict {
    let mut progress = rollout.progress();
    // The kubelet's word comes to the pods first.
    if progress == Progress::Ready && !rollout.batch && pods.iter().any(|pod| !pod.ready) {
        progress = Progress::Rolling;
    }
    match &progress {
        Progress::Failed(reason, words) => return Verdict::stalled(*reason, words),
        Progress::Completed(words) => return Verdict::new(True, Reason::Completed, words),
        Progress::Rolling | Progress::Ready => {}
    }
    let several = rollout.desired > 1;
    let named = |pod: &PodView, text: &str| if several { format!("{}: {text}", pod.name) } else { text.to_owned() };
    if let Some((pod, (reason, words))) = pods.iter().find_map(|pod| pod.trouble.as_ref().map(|t| (pod, t))) {
        return Verdict::stalled(*reason, named(pod, words));
    }
    // What a worker says of itself is more than that it is not ready.
    for pod in pods.iter().filter(|pod| !pod.ready) {
        if let Some(Ok(report)) = &pod.report
            && let Some(verdict) = unwell(report)
        {
            return Verdict { message: named(pod, &verdict.message), ..verdict };
        }
    }
    if let Some(schedule) = &rollout.schedule {
        return scheduled(schedule);
    }
    if progress == Progress::Rolling {
        let Rollout { desired, ready, updated, .. } = rollout;
        let mut text = format!("{ready} of {desired} workers are ready, {updated} are up to date");
        if let Some(words) = &rollout.waits_for {
            text = format!("{text}; {words}");
        } else if let Some(pod) = pods.iter().find(|pod| !pod.running) {
            text = format!("{text}; `kubectl describe pod {}` says what it waits for", pod.name);
        } else if let Some((pod, why)) = pods.iter().find_map(|pod| Some((pod, pod.report.as_ref()?.as_ref().err()?))) {
            text = format!("{text}; {}", named(pod, &format!("its /status does not say why: {why}")));
        }
        return Verdict::reconciling(Reason::RolloutInProgress, text);
    }
    if let Some((pod, rest)) = resting(pods) {
        return Verdict { message: named(pod, &rest.message), ..rest };
    }
    match asked.capped_from {
        Some(asked) => {
            let runs = rollout.desired;
            let text = format!("{runs} workers run, not {asked}: the topic has {runs} partitions");
            Verdict::new(True, Reason::ReplicasCapped, text)
        }
        None => remark(pods).unwrap_or_else(|| Verdict::new(True, Reason::Running, asked.well)),
    }
}

/// Of what runs by a schedule, and has nothing that keeps it from running.
fn scheduled(Scheduled { next, last, run }: &Scheduled) -> Verdict {
    let next = next.map_or_else(|| "it does not run again".to_owned(), |next| format!("the next run is at {next}"));
    let due = last.map(|last| format!(", due at {last}")).unwrap_or_default();
    match run {
        None => Verdict::new(True, Reason::Scheduled, next),
        Some(Run { name, end: None }) => {
            Verdict::new(True, Reason::Running, format!("{name}{due}, is at work; {next}"))
        }
        Some(Run { end: Some(Ok(words)), .. }) => {
            Verdict::new(True, Reason::Scheduled, format!("{next}; the last{due}: {words}"))
        }
        // The next run may mend it; until then somebody should look.
        Some(Run { end: Some(Err(words)), .. }) => {
            Verdict::stalled(Reason::RunFailed, format!("the last run{due}: {words}; {next}"))
        }
    }
}

/// Of a workload with a pod on a lost node, that nothing has taken the place of.
fn node_lost(asked: Asked, rollout: &Rollout, pods: &[PodView]) -> Option<Verdict> {
    let (pod, lost) = pods.iter().filter(|pod| !pod.finished).find_map(|pod| Some((pod, pod.lost?)))?;
    let judges: Vec<&PodView> = pods.iter().filter(|pod| pod.judges() && pod.lost.is_none()).collect();
    let node = pod.node.as_deref().unwrap_or_default();
    let since = lost.since.map(|since| format!(" since {since}")).unwrap_or_default();
    let text = format!("the node {node} of pod {} is lost{since}: its kubelet says nothing", pod.name);
    if i32::try_from(judges.len()).unwrap_or(i32::MAX) >= rollout.desired {
        // Another has come: it has the word, but for why it is nowhere.
        let words =
            judges.iter().find_map(|pod| pod.trouble.as_ref().filter(|(reason, _)| *reason == Reason::Unschedulable));
        let (_, words) = words?;
        let text =
            format!("{text}, and no other node takes its pod: {words}; bring the node back, or widen `spec.placement`");
        return Some(Verdict::stalled(Reason::NodeLost, text));
    }
    if asked.stays {
        let text = format!(
            "{text}. It goes on when the node is back. If that is gone for good, `kubectl taint node {node} {OUT_OF_SERVICE}` \
             gives its pods up; or, where what it holds may stay behind, the annotation `{FORCE_MOVE_ANNOTATION}: {node}` on this \
             resource alone"
        );
        return Some(Verdict::stalled(Reason::NodeLost, text));
    }
    let after = asked.move_after.map(|after| format!(" {} s after that", after.as_secs())).unwrap_or_default();
    Some(Verdict::reconciling(Reason::NodeLost, format!("{text}. It moves to another node{after}")))
}

/// A worker's own word that it rests, outside of its hours: it is well, as the kubelet has it, and no frames flow.
fn resting<'a>(pods: &[&'a PodView]) -> Option<(&'a PodView, Verdict)> {
    let said = |pod: &&'a PodView| Some((*pod, unwell(pod.report.as_ref()?.as_ref().ok()?)?));
    pods.iter().find_map(|pod| said(pod).filter(|(_, verdict)| verdict.reason == Reason::Suspended))
}

/// What a worker that is well has to say beside that.
fn remark(pods: &[&PodView]) -> Option<Verdict> {
    pods.iter().find_map(|pod| {
        let conditions = &pod.report.as_ref()?.as_ref().ok()?.conditions;
        let ready = conditions.iter().find(|c| c.kind == ConditionType::Ready && c.reason == Reason::CapturedTwice)?;
        Some(Verdict::new(True, ready.reason, ready.message.clone()))
    })
}

/// A worker's own word on why it is not ready.
fn unwell(report: &ResourceReport) -> Option<Verdict> {
    let ready = report.conditions.iter().find(|c| c.kind == ConditionType::Ready && c.status != True)?;
    let make = match nature(ready.reason) {
        Nature::Passing => Verdict::reconciling,
        Nature::NeedsPerson => Verdict::stalled,
        Nature::Waits => |reason, message| Verdict::new(False, reason, message),
    };
    Some(make(ready.reason, ready.message.clone()))
}

/// What a worker's reason asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// Some seconds.
    Passing,
    /// Something outside has to come back; the worker goes on by itself then.
    Waits,
    /// Someone has to change something.
    NeedsPerson,
}

fn nature(reason: Reason) -> Nature {
    use Reason::*;
    match reason {
        Running | Starting | Stopping | CameraConnecting | KafkaConnecting | RolloutInProgress | NotAssigned
        | RolloutWaiting => Nature::Passing,
        Suspended | CameraUnreachable | CameraProtocolError | CameraStalled | CameraFrozen | CameraFramesDropped
        | CapturedTwice | KafkaUnreachable | TopicMissing | StorageFull | StorageError | StorageLocked
        | ArchiveUnreachable | ArchiveError | InternalError | NotUsed | ProgramFailed | WorkerUnreachable
        | ReplicasCapped | ClaimsNotExpandable | ClaimsCannotShrink | OperatorError | Completed | Scheduled
        | Paused | UnknownFields | UpToDate => Nature::Waits,
        InvalidConfiguration | SecretMissing | SecretKeyMissing | ConfigMapMissing | ConfigMapKeyMissing
        | CameraUnauthorized | KafkaUnauthorized | TopicMismatch | MessageTooLarge | OffsetLost | InvalidRecord
        | StorageMissing | StorageReadOnly | ArchiveUnauthorized | ArchiveBucketMissing | ArchiveConflict
        | Unschedulable | ImagePullFailed | NodeLost | PodCrashing | PodFailed | HostPathNotAllowed
        | ConnectionNotAllowed | ConnectionOutOfReach | ResourceMalformed | NameTaken | RunFailed | ProgramMissing
        | RolloutHalted => Nature::NeedsPerson,
    }
}

/// `CameraOnline` or `StorageHealthy`: the first worker's that does not hold, else the first's.
fn aspect_of(verdict: &Verdict, pods: &[&PodView], aspect: ConditionType) -> Said {
    let said = || {
        pods.iter()
            .filter_map(|pod| pod.report.as_ref()?.as_ref().ok())
            .flat_map(|report| report.conditions.iter().filter(|c| c.kind == aspect))
    };
    match said().find(|c| c.status != True).or_else(|| said().next()) {
        // Of one that is suspended in its spec, its last word no longer holds; one that rests says so itself.
        Some(condition) if verdict.reason != Reason::Suspended || condition.reason == Reason::Suspended => {
            (condition.status, condition.reason, condition.message.chars().take(MAX_MESSAGE).collect())
        }
        _ => (Unknown, verdict.reason, "no worker says".into()),
    }
}

/// What workers say of their archive, where they have one: the first that does not hold, else the first.
pub fn of_archive(pods: &[PodView]) -> Option<Further> {
    let reports = pods.iter().filter(|pod| !pod.leaving).filter_map(|pod| pod.report.as_ref()?.as_ref().ok());
    let said: Vec<_> = reports
        .flat_map(|report| report.conditions.iter().filter(|c| c.kind == ConditionType::ArchiveHealthy))
        .collect();
    let condition = said.iter().find(|c| c.status != True).or(said.first())?;
    let (status, reason, message) = (condition.status, condition.reason, condition.message.clone());
    Some(Further { kind: ConditionType::ArchiveHealthy, status, reason, message })
}

/// How a run ended, if that is what a resource's conditions say: Kubernetes removes a Job some time after its end, and what
/// has been run is not run again for that.
pub fn remembered(run: &str, conditions: &[Condition]) -> Option<Result<String, String>> {
    let ready = conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str())?;
    let words = ready.message.clone();
    let of_it = words.strip_prefix(run).is_some_and(|rest| rest.starts_with([' ', ':']));
    match ready.reason.as_str() {
        reason if of_it && reason == Reason::Completed.as_str() => Some(Ok(words)),
        reason if of_it && reason == Reason::RunFailed.as_str() => Some(Err(words)),
        _ => None,
    }
}

/// The conditions of a verdict: which, its value, why, and for people.
fn all(verdict: &Verdict, aspect: Option<ConditionType>) -> Vec<(ConditionType, Said)> {
    let flag = |holds: bool| match holds {
        true => (True, verdict.reason, verdict.message.clone()),
        false => (False, verdict.reason, String::new()),
    };
    let mut all = vec![
        (ConditionType::Ready, (verdict.ready, verdict.reason, verdict.message.clone())),
        (ConditionType::Reconciling, flag(verdict.reconciling)),
        (ConditionType::Stalled, flag(verdict.stalled)),
    ];
    if let Some(kind) = aspect {
        let unsaid = || (Unknown, verdict.reason, "no worker says".to_owned());
        all.push((kind, verdict.aspect.clone().unwrap_or_else(unsaid)));
    }
    all.extend(verdict.figures.clone().map(|figures| (ConditionType::FiguresAvailable, figures)));
    let further = verdict.further.iter().cloned();
    all.extend(further.map(|further| (further.kind, (further.status, further.reason, shortened(&further.message)))));
    all
}

/// The conditions of a verdict, for the metrics.
pub fn found(verdict: &Verdict, aspect: Option<ConditionType>) -> Vec<Found> {
    all(verdict, aspect).into_iter().map(|(kind, (status, reason, _))| (kind, status, reason)).collect()
}

/// The conditions of a verdict. A transition's time moves only when the condition's status does.
pub fn conditions(
    verdict: &Verdict,
    aspect: Option<ConditionType>,
    generation: Option<i64>,
    old: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let make = |(kind, (status, reason, message)): (ConditionType, Said)| {
        let (type_, status) = (kind.as_str().to_owned(), text(status).to_owned());
        let since = old.iter().find(|c| c.type_ == type_ && c.status == status).map(|c| c.last_transition_time.clone());
        Condition {
            last_transition_time: since.unwrap_or(Time(now)),
            message,
            observed_generation: generation,
            reason: reason.as_str().to_owned(),
            status,
            type_,
        }
    };
    all(verdict, aspect).into_iter().map(make).collect()
}

fn shortened(message: &str) -> String {
    message.chars().take(MAX_MESSAGE).collect()
}

fn text(status: ConditionStatus) -> &'static str {
    match status {
        True => "True",
        False => "False",
        Unknown => "Unknown",
    }
}
