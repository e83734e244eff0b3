//! What an answer says of each resource that it is about: of the one whose pod it is, and of those that run in it.

use edgereel_crds::{
    CameraWorker,
    declared::Declared,
    name::ObjectName,
    status::{Condition, ConditionStatus, ConditionType, Reason},
    worker_status::{Figures, ResourceReport},
};
use k8s_openapi::api::core::v1::Pod;

use crate::controller::observe::{PodView, view, worker_of};

/// What a worker said of a resource, or why it did not answer.
pub type Answer = Result<ResourceReport, String>;
/// What a worker answered, of all that it runs.
pub type Whole = Result<Vec<ResourceReport>, String>;

/// A resource, as a report names it.
pub(super) type Key = (String, ObjectName);

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) uid: String,
    pub(super) ip: String,
    ready: bool,
    pub(super) kind: String,
    pub(super) resource: ObjectName,
}

/// Whom to ask of a pod: a worker that runs, and is not about to end.
pub(super) fn target(pod: &Pod) -> Option<Target> {
    let (kind, resource) = worker_of(pod)?;
    let PodView { uid, ip, ready, running, leaving, .. } = view(pod, &Default::default());
    let ip = ip.filter(|_| running && !leaving)?;
    Some(Target { uid, ip, ready, kind, resource })
}

impl Target {
    pub(super) fn key(&self) -> Key {
        (self.kind.clone(), self.resource.clone())
    }

    /// Whether resources of other kinds run in its pod.
    pub(super) fn hosts(&self) -> bool {
        self.kind == CameraWorker::NAME
    }

    /// The resources of other kinds that its worker has told of.
    pub(super) fn guests(&self, answer: &Whole) -> Vec<Key> {
        let all = answer.iter().flatten().filter(|_| self.hosts());
        all.map(|report| (report.kind.clone(), name_in(report))).collect()
    }

    /// What an answer says of a resource; none where it does not run there.
    pub(super) fn voice(&self, answer: &Whole, of: &Key) -> Option<Answer> {
        let all = match answer {
            Ok(all) => all,
            Err(why) => return Some(Err(why.clone())),
        };
        match all.iter().find(|report| is_of(report, of)) {
            Some(report) => Some(Ok(report.clone())),
            None if *of != self.key() => None,
            None if self.hosts() => Some(Ok(self.together(all))),
            None => Some(all.first().cloned().ok_or_else(|| "it runs no resource".to_owned())),
        }
    }

    /// What there is to say of several resources together: how many are ready, and why, where none is.
    fn together(&self, all: &[ResourceReport]) -> ResourceReport {
        let ready = |report: &&ResourceReport| {
            report.conditions.iter().any(|c| c.kind == ConditionType::Ready && c.status == ConditionStatus::True)
        };
        let count = |count: usize| i64::try_from(count).ok();
        let well = all.iter().filter(ready).count();
        let of_ready = |report: &ResourceReport| {
            report.conditions.iter().find(|condition| condition.kind == ConditionType::Ready).cloned()
        };
        // One that rests has the word where all do.
        let rests = |report: &&ResourceReport| of_ready(report).is_some_and(|c| c.reason == Reason::Suspended);
        let by_weight = all.iter().filter(|report| !rests(report)).chain(all.iter().filter(rests));
        let first = by_weight.filter(|_| well == 0).find_map(|report| {
            let ready = of_ready(report)?;
            let message = format!(
                "none of its {} cameras is ready; {}/{}: {}",
                all.len(),
                report.kind,
                report.name,
                ready.message
            );
            Some(Condition { message, ..ready })
        });
        ResourceReport {
            kind: self.kind.clone(),
            namespace: self.resource.namespace.clone(),
            name: self.resource.name.clone(),
            revision: None,
            conditions: first.into_iter().collect(),
            last_error: None,
            connections: Vec::new(),
            overview: None,
            figures: Figures::new().amount("cameras", count(all.len())).amount("camerasReady", count(well)),
        }
    }
}

fn name_in(report: &ResourceReport) -> ObjectName {
    ObjectName { namespace: report.namespace.clone(), name: report.name.clone() }
}

pub(super) fn is_of(report: &ResourceReport, (kind, name): &Key) -> bool {
    report.kind == *kind && report.name == name.name && report.namespace == name.namespace
}
