//! What there is to say of a resource that runs in the pods of another one.

use edgereel_crds::{
    status::{
        ConditionStatus::{False, True, Unknown},
        ConditionType, Reason,
    },
    worker_status::ResourceReport,
};

use super::{Asked, Verdict, node_lost, remark, running, shortened, unwell, with_aspect};
use crate::controller::observe::{PodView, Rollout};

/// What a resource in the pods of another was asked to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsGuest {
    /// `spec.suspend` is set.
    pub suspended: bool,
    /// The other, as messages name it.
    pub host: String,
    /// What stands for what was declared; none where that does not count.
    pub revision: Option<String>,
}

/// Of a resource whose own pod ends, for another's takes it in.
pub fn moves(host: &str) -> Verdict {
    let message = format!("it moves into the pod of {host}: its own pod ends first");
    Verdict::reconciling(Reason::RolloutInProgress, message)
}

/// Of a resource that the pod where it was is to let go of first.
pub fn held(host: &str) -> Verdict {
    Verdict::reconciling(Reason::Stopping, format!("{host}, in whose pod it was, lets go of it first"))
}

/// Of a resource that runs in the pods of another, beside others: their readiness is that of all together, and only the worker can
/// say how each fares.
pub fn of_guest(asked: &AsGuest, rollout: &Rollout, pods: &[PodView], aspect: Option<ConditionType>) -> Verdict {
    let AsGuest { suspended, host, revision } = asked;
    let judges: Vec<&PodView> = pods.iter().filter(|pod| pod.judges()).collect();
    let said = judges.iter().find_map(|pod| pod.report.as_ref());
    let mut verdict = match (*suspended, said) {
        (true, Some(Ok(_))) => {
            Verdict::reconciling(Reason::Stopping, "spec.suspend is true: the worker is stopping it")
        }
        (true, _) => Verdict::new(False, Reason::Suspended, "spec.suspend is true: nothing runs, everything is kept"),
        (false, said) => node_lost(Asked::default(), rollout, pods).unwrap_or_else(|| match said {
            Some(Ok(report)) if is_behind(report, revision.as_ref()) => {
                let text = format!("the worker of {host} has not taken its last change over yet");
                Verdict::reconciling(Reason::RolloutInProgress, text)
            }
            Some(Ok(report)) => of_report(report, &judges),
            Some(Err(why)) => {
                let text = format!("only the worker of {host} can say whether it works, and does not answer: {why}");
                Verdict::new(Unknown, Reason::WorkerUnreachable, text)
            }
            None => not_there(host, rollout, &judges),
        }),
    };
    verdict.message = shortened(&verdict.message);
    match aspect {
        Some(aspect) => with_aspect(verdict, pods, aspect),
        None => verdict,
    }
}

/// Whether a worker runs another revision than the one that is declared. An older worker does not say which.
fn is_behind(report: &ResourceReport, declared: Option<&String>) -> bool {
    declared.zip(report.revision.as_ref()).is_some_and(|(declared, has)| declared != has)
}

fn of_report(report: &ResourceReport, judges: &[&PodView]) -> Verdict {
    if !report.conditions.iter().any(|condition| condition.kind == ConditionType::Ready) {
        return Verdict::new(Unknown, Reason::Starting, "the worker says what only a newer operator understands");
    }
    let remarked = || remark(judges).unwrap_or_else(|| Verdict::new(True, Reason::Running, "frames flow"));
    unwell(report).unwrap_or_else(remarked)
}

/// Of a resource of which its host's pods do not speak.
fn not_there(host: &str, rollout: &Rollout, judges: &[&PodView]) -> Verdict {
    if judges.iter().any(|pod| pod.running) {
        return Verdict::reconciling(
            Reason::RolloutInProgress,
            format!("the worker of {host} has not taken it in yet"),
        );
    }
    let pods = running(Asked::default(), rollout, judges);
    match pods.ready {
        False if rollout.observed => Verdict { message: format!("the pod of {host}: {}", pods.message), ..pods },
        False | True | Unknown => {
            Verdict::reconciling(Reason::RolloutInProgress, format!("{host} has no pod yet: its status says why"))
        }
    }
}
