//! Whether a sink is ready: a pure decision on what the runner knows.

use edgereel_crds::status::{ConditionType, Reason};

use crate::{
    kafka::client::{KafkaFault, Snapshot},
    state::ResourceState,
};

/// What the group has given this worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// Nothing yet.
    #[default]
    Joining,
    /// So many of all partitions.
    Assigned {
        /// Given to this worker to write.
        ours: usize,
        /// That there are.
        total: usize,
    },
}

impl Membership {
    /// How many partitions this worker has, and how many there are, where that is known.
    pub fn partitions(&self) -> (usize, Option<usize>) {
        match self {
            Membership::Joining => (0, None),
            Membership::Assigned { ours, total } => (*ours, Some(*total)),
        }
    }
}

/// What is known.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The group's gift.
    pub membership: &'a Membership,
    /// Whether the brokers are reached.
    pub kafka: Snapshot,
    /// A fault that may pass, since the last assignment.
    pub fault: Option<&'a KafkaFault>,
    /// Why writing waits.
    pub storage: Option<&'a str>,
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
    match (facts.membership, facts.fault) {
        (Membership::Assigned { ours: 1.., .. }, _) => Verdict::Ready("writing frames".into()),
        (_, Some(fault)) => Verdict::NotReady(fault.reason, fault.message.clone()),
        (Membership::Joining, None) => {
            Verdict::NotReady(Reason::KafkaConnecting, format!("joining the consumer group {group}"))
        }
        (Membership::Assigned { total: 0, .. }, None) => {
            Verdict::NotReady(Reason::TopicMissing, "the topic has no partitions yet".into())
        }
        (Membership::Assigned { .. }, None) if facts.shared => {
            Verdict::Ready("standing by: the sink's other workers have all partitions".into())
        }
        (Membership::Assigned { total, .. }, None) => Verdict::NotReady(
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
        let assigned = |ours, total| Membership::Assigned { ours, total };
        let cases = [
            (assigned(3, 3), Snapshot::Up, None, None, false, None),
            (assigned(3, 3), Snapshot::Up, Some(&missing), None, false, None),
            (assigned(0, 3), Snapshot::Up, None, None, true, None),
            (assigned(0, 3), Snapshot::Up, None, None, false, Some(Reason::NotAssigned)),
            (assigned(0, 0), Snapshot::Up, None, None, false, Some(Reason::TopicMissing)),
            (assigned(3, 3), Snapshot::Down(down.clone()), None, None, false, Some(Reason::KafkaUnreachable)),
            (assigned(3, 3), Snapshot::Up, None, Some("full"), false, Some(Reason::StorageFull)),
            (Membership::Joining, Snapshot::Up, None, None, false, Some(Reason::KafkaConnecting)),
            (Membership::Joining, Snapshot::Up, Some(&missing), None, false, Some(Reason::TopicMissing)),
        ];
        for (membership, kafka, fault, storage, shared, expected) in cases {
            let facts = Facts { membership: &membership, kafka, fault, storage, group: "g", shared };
            let reason = match judge(&facts) {
                Verdict::Ready(_) => None,
                Verdict::NotReady(reason, _) => Some(reason),
                Verdict::Full(_) => Some(Reason::StorageFull),
            };
            assert_eq!(reason, expected, "{facts:?}");
        }
    }
}
