//! Whether a sink is ready: a pure decision on what the runner knows.

use edgereel_crds::status::{ConditionType, Reason};
use edgereel_kafka::client::{KafkaFault, Snapshot};
use edgereel_runtime::state::ResourceState;

use super::stage::Stage;

/// What the sink does, as far as it matters to its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Waiting for the group.
    Joining,
    /// Asking where so many partitions stand, or committing where their reading begins.
    TakingUp(usize),
    /// Nothing, of so many partitions.
    StandingBy(usize),
    /// Writing; some partition may not be readable.
    Writing(Option<KafkaFault>),
    /// Giving its partitions back.
    HandingOver,
    /// Its right to write has ended.
    Superseded,
}

impl From<&Stage> for Doing {
    fn from(stage: &Stage) -> Self {
        match stage {
            Stage::Joining => Doing::Joining,
            Stage::TakingUp { partitions } => Doing::TakingUp(*partitions),
            Stage::StandingBy { total } => Doing::StandingBy(*total),
            Stage::Writing(a) if !a.has_started() => Doing::TakingUp(a.ours),
            Stage::Writing(a) => Doing::Writing(a.unreadable.values().next().cloned()),
            Stage::HandingOver(_) => Doing::HandingOver,
            Stage::Superseded(_) => Doing::Superseded,
        }
    }
}

/// What is known.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What the sink does.
    pub doing: Doing,
    /// Whether the brokers are reached.
    pub kafka: Snapshot,
    /// A fault that may pass, and stands.
    pub fault: Option<&'a KafkaFault>,
    /// Why writing waits.
    pub storage: Option<&'a str>,
    /// Topics that are not there.
    pub missing: &'a [String],
    /// The group.
    pub group: &'a str,
    /// Whether other workers of this sink may have the partitions.
    pub shared: bool,
}

/// What is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Frames flow.
    Ready(String),
    /// They do not, for this reason.
    NotReady(Reason, String),
    /// The disk is full.
    Full(String),
}

/// Decides.
pub fn judge(facts: &Facts) -> Verdict {
    if let Some(message) = facts.storage {
        return Verdict::Full(message.to_owned());
    }
    if let Snapshot::Down(fault) = &facts.kafka {
        return Verdict::NotReady(fault.reason, fault.message.clone());
    }
    let group = facts.group;
    let connecting = |message: String| Verdict::NotReady(Reason::KafkaConnecting, message);
    match (&facts.doing, facts.fault) {
        (Doing::Writing(None), _) if facts.missing.is_empty() => Verdict::Ready("writing frames".into()),
        (Doing::Writing(None), _) => {
            let missing = facts.missing.join(" and ");
            Verdict::Ready(format!(
                "writing frames, but there is no topic {missing}: make it, or correct `from.topics`"
            ))
        }
        (Doing::Writing(Some(fault)), _) | (_, Some(fault)) => Verdict::NotReady(fault.reason, fault.message.clone()),
        (Doing::Joining, None) => connecting(format!("joining the consumer group {group}")),
        (Doing::TakingUp(n), None) => connecting(format!("taking up {n} partitions of consumer group {group}")),
        (Doing::HandingOver, None) => {
            connecting(format!("giving partitions back to consumer group {group}: flushing and committing"))
        }
        (Doing::Superseded, None) => {
            Verdict::NotReady(Reason::NotAssigned, format!("consumer group {group} has taken the partitions away"))
        }
        (Doing::StandingBy(0), None) => {
            Verdict::NotReady(Reason::TopicMissing, "the topic has no partitions yet".into())
        }
        (Doing::StandingBy(_), None) if facts.shared => {
            Verdict::Ready("standing by: the sink's other workers have all partitions".into())
        }
        (Doing::StandingBy(total), None) => Verdict::NotReady(
            Reason::NotAssigned,
            format!(
                "other members of group {group} hold some or all of the {total} partitions, and this sink needs them: \
                 stop those (kafka-consumer-groups.sh --describe --members --group {group} lists them), or give this \
                 sink another group"
            ),
        ),
    }
}

/// Tells the resource's state.
pub fn tell(verdict: Verdict, state: &ResourceState) {
    match verdict {
        Verdict::Ready(message) => state.healthy(ConditionType::StorageHealthy, message),
        Verdict::NotReady(reason, message) => state.unready(reason, message),
        Verdict::Full(message) => state.unhealthy(ConditionType::StorageHealthy, Reason::StorageFull, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_frames_flow_or_that_others_write_them() {
        let down = KafkaFault::passing(Reason::KafkaUnreachable, "no broker");
        let missing = KafkaFault::passing(Reason::TopicMissing, "no topic");
        let corrupt = KafkaFault::passing(Reason::KafkaUnreachable, "partition 1 cannot be read");
        let writing = Doing::Writing(None);
        let cases = [
            (writing.clone(), Snapshot::Up, None, None, false, None),
            (writing.clone(), Snapshot::Up, Some(&missing), None, false, None),
            (Doing::Writing(Some(corrupt)), Snapshot::Up, None, None, false, Some(Reason::KafkaUnreachable)),
            (Doing::StandingBy(3), Snapshot::Up, None, None, true, None),
            (Doing::StandingBy(3), Snapshot::Up, None, None, false, Some(Reason::NotAssigned)),
            (Doing::StandingBy(0), Snapshot::Up, None, None, false, Some(Reason::TopicMissing)),
            (writing.clone(), Snapshot::Down(down.clone()), None, None, false, Some(Reason::KafkaUnreachable)),
            (writing, Snapshot::Up, None, Some("full"), false, Some(Reason::StorageFull)),
            (Doing::Joining, Snapshot::Up, None, None, false, Some(Reason::KafkaConnecting)),
            (Doing::Joining, Snapshot::Up, Some(&missing), None, false, Some(Reason::TopicMissing)),
            (Doing::TakingUp(3), Snapshot::Up, None, None, true, Some(Reason::KafkaConnecting)),
            (Doing::HandingOver, Snapshot::Up, None, None, true, Some(Reason::KafkaConnecting)),
            (Doing::Superseded, Snapshot::Up, None, None, true, Some(Reason::NotAssigned)),
        ];
        for (doing, kafka, fault, storage, shared, expected) in cases {
            let facts = Facts { doing, kafka, fault, storage, missing: &[], group: "g", shared };
            let reason = match judge(&facts) {
                Verdict::Ready(_) => None,
                Verdict::NotReady(reason, _) => Some(reason),
                Verdict::Full(_) => Some(Reason::StorageFull),
            };
            assert_eq!(reason, expected, "{facts:?}");
        }
    }
}
