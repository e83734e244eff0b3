//! From what is observed to conditions: kstatus's `Ready`, `Reconciling` and `Stalled`, and the aspect of the kind. Pure.

use edgereel_crds::{
    status::{
        ConditionStatus::{self, False, True, Unknown},
        ConditionType, Reason,
    },
    worker_status::ResourceReport,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{
    observe::{PodView, Progress, Rollout, is_well},
    validate::Refusal,
};

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
    pub aspect: Option<(ConditionStatus, Reason, String)>,
}

impl Verdict {
    fn new(ready: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Verdict { ready, reason, message: message.into(), reconciling: false, stalled: false, aspect: None }
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

/// Of a connection that is sound.
pub fn sound() -> Verdict {
    Verdict::new(True, Reason::Running, "the configuration is valid and its Secrets are there")
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
        running(asked, rollout, &judges)
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

fn running(asked: Asked, rollout: &Rollout, pods: &[&PodView]) -> Verdict {
    let progress = rollout.progress();
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
    if progress == Progress::Rolling {
        let Rollout { desired, ready, updated, .. } = rollout;
        let mut text = format!("{ready} of {desired} workers are ready, {updated} are up to date");
        if let Some(words) = &rollout.waits_for {
            text = format!("{text}; {words}");
        } else if let Some(pod) = pods.iter().find(|pod| !pod.running) {
            text = format!("{text}; `kubectl describe pod {}` says what it waits for", pod.name);
        }
        return Verdict::reconciling(Reason::RolloutInProgress, text);
    }
    for pod in pods {
        match &pod.report {
            Some(Ok(report)) if !is_well(report) => {
                if let Some(verdict) = unwell(report) {
                    return Verdict { message: named(pod, &verdict.message), ..verdict };
                }
            }
            Some(Err(why)) => {
                let text = named(pod, &format!("its /status does not answer: {why}"));
                return Verdict::new(Unknown, Reason::WorkerUnreachable, text);
            }
            _ => {}
        }
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
        Running | Starting | Stopping | CameraConnecting | KafkaConnecting | RolloutInProgress | NotAssigned => {
            Nature::Passing
        }
        Suspended | CameraUnreachable | CameraProtocolError | CameraStalled | CameraFrozen | CameraFramesDropped
        | CapturedTwice | KafkaUnreachable | TopicMissing | StorageFull | StorageError | StorageLocked
        | InternalError | ProgramFailed | WorkerUnreachable | ReplicasCapped | OperatorError | Completed => {
            Nature::Waits
        }
        InvalidConfiguration | SecretMissing | SecretKeyMissing | CameraUnauthorized | KafkaUnauthorized
        | TopicMismatch | MessageTooLarge | OffsetLost | InvalidRecord | StorageMissing | StorageReadOnly
        | Unschedulable | ImagePullFailed | PodCrashing | PodFailed | HostPathNotAllowed | ResourceMalformed
        | NameTaken | RunFailed | ProgramMissing => Nature::NeedsPerson,
    }
}

/// `CameraOnline` or `StorageHealthy`: the first worker's that does not hold, else the first's.
fn aspect_of(verdict: &Verdict, pods: &[&PodView], aspect: ConditionType) -> (ConditionStatus, Reason, String) {
    let said = || {
        pods.iter()
            .filter_map(|pod| pod.report.as_ref()?.as_ref().ok())
            .flat_map(|report| report.conditions.iter().filter(|c| c.kind == aspect))
    };
    match said().find(|c| c.status != True).or_else(|| said().next()) {
        Some(condition) if verdict.reason != Reason::Suspended => {
            (condition.status, condition.reason, condition.message.chars().take(MAX_MESSAGE).collect())
        }
        _ => (Unknown, verdict.reason, "no worker says".into()),
    }
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

/// The conditions of a verdict. A transition's time moves only when the condition's status does.
pub fn conditions(
    verdict: &Verdict,
    aspect: Option<ConditionType>,
    generation: Option<i64>,
    old: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let make = |kind: ConditionType, status: ConditionStatus, reason: Reason, message: &str| {
        let (type_, status) = (kind.as_str().to_owned(), text(status).to_owned());
        let since = old.iter().find(|c| c.type_ == type_ && c.status == status).map(|c| c.last_transition_time.clone());
        Condition {
            last_transition_time: since.unwrap_or(Time(now)),
            message: message.to_owned(),
            observed_generation: generation,
            reason: reason.as_str().to_owned(),
            status,
            type_,
        }
    };
    let flag = |kind, holds: bool| match holds {
        true => make(kind, True, verdict.reason, &verdict.message),
        false => make(kind, False, verdict.reason, ""),
    };
    let mut all = vec![
        make(ConditionType::Ready, verdict.ready, verdict.reason, &verdict.message),
        flag(ConditionType::Reconciling, verdict.reconciling),
        flag(ConditionType::Stalled, verdict.stalled),
    ];
    if let (Some(kind), Some((status, reason, message))) = (aspect, &verdict.aspect) {
        all.push(make(kind, *status, *reason, message));
    } else if let Some(kind) = aspect {
        all.push(make(kind, Unknown, verdict.reason, "no worker says"));
    }
    all
}

fn text(status: ConditionStatus) -> &'static str {
    match status {
        True => "True",
        False => "False",
        Unknown => "Unknown",
    }
}
