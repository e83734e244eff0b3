//! Which faults stand: each goes with what shows that its cause has gone, and none hides another for good.

use std::time::{Duration, Instant};

use edgereel_crds::status::{ConditionStatus, ConditionType, Reason};
use edgereel_kafka::client::KafkaFault;
use edgereel_runtime::{
    fault::Fault,
    state::{ResourceState, is_error},
};

/// How long a topic may be missing before that is said: a camera that starts with this sink is about to make it.
const TOPIC_TIME: Duration = Duration::from_secs(5);

/// The faults that may pass.
#[derive(Debug, Default)]
pub struct Faults {
    /// Of the group, or of reading, until partitions are taken up.
    reading: Option<KafkaFault>,
    /// A topic is missing, until all are there.
    topic: Option<Missing>,
}

#[derive(Debug)]
struct Missing {
    fault: KafkaFault,
    since: Instant,
    said: bool,
}

impl Faults {
    /// Those that an earlier try has left: what ended it stands until one has succeeded. A disk's does not, which has been
    /// opened since.
    pub fn left_in(state: &ResourceState) -> Self {
        let unready = state.condition(ConditionType::Ready).filter(|ready| ready.status != ConditionStatus::True);
        let before = unready.map(|ready| Fault::new(ready.reason, ready.message));
        let before = before.filter(|fault| is_error(fault.reason) && !fault.is_storage());
        let reading = before.map(|fault| KafkaFault::passing(fault.reason, fault.message));
        Faults { reading, topic: None }
    }

    /// Notes a fault; gives it where it is to be said at once, and is news.
    pub fn note(&mut self, fault: KafkaFault, now: Instant) -> Option<&KafkaFault> {
        if fault.reason == Reason::TopicMissing {
            let (since, said) = self.topic.as_ref().map_or((now, false), |missing| (missing.since, missing.said));
            self.topic = Some(Missing { fault, since, said });
            return None;
        }
        let news = self.reading.as_ref() != Some(&fault);
        self.reading = Some(fault);
        self.reading.as_ref().filter(|_| news)
    }

    /// A missing topic that has been waited for long enough; once.
    pub fn overdue(&mut self, now: Instant) -> Option<&KafkaFault> {
        let missing = self.topic.as_mut().filter(|missing| !missing.said && missing.is_overdue(now))?;
        missing.said = true;
        Some(&missing.fault)
    }

    /// All topics are there.
    pub fn topics_are_there(&mut self) {
        self.topic = None;
    }

    /// The group has given partitions, maybe none, and they were taken up: the try has succeeded.
    pub fn taken_up(&mut self) {
        self.reading = None;
    }

    /// The one that is said: without the group, a topic would be of no use.
    pub fn standing(&self, now: Instant) -> Option<&KafkaFault> {
        let topic = self.topic.as_ref().filter(|missing| missing.is_overdue(now)).map(|missing| &missing.fault);
        self.reading.as_ref().or(topic)
    }
}

impl Missing {
    fn is_overdue(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= TOPIC_TIME
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::name::{Kind, ObjectName};

    use super::*;

    fn unauthorized() -> KafkaFault {
        KafkaFault::lasting(Reason::KafkaUnauthorized, "no right to read in group g")
    }

    fn missing() -> KafkaFault {
        KafkaFault::passing(Reason::TopicMissing, "there is no topic gate")
    }

    fn said(faults: &Faults, now: Instant) -> Option<Reason> {
        faults.standing(now).map(|fault| fault.reason)
    }

    #[test]
    fn a_missing_topic_hides_no_other_fault_and_goes_when_it_is_there() {
        let start = Instant::now();
        let later = start + TOPIC_TIME;
        for order in [[unauthorized(), missing()], [missing(), unauthorized()]] {
            let mut faults = Faults::default();
            order.into_iter().for_each(|fault| drop(faults.note(fault, start).cloned()));
            assert_eq!(said(&faults, later), Some(Reason::KafkaUnauthorized));
            faults.topics_are_there();
            assert_eq!(said(&faults, later), Some(Reason::KafkaUnauthorized), "it stands");
            faults.taken_up();
            assert_eq!(said(&faults, later), None, "both have gone");
        }
        let mut faults = Faults::default();
        faults.note(unauthorized(), start);
        faults.note(missing(), start);
        faults.taken_up();
        assert_eq!(said(&faults, later), Some(Reason::TopicMissing), "the group gave nothing: there is no topic");
    }

    #[test]
    fn a_missing_topic_is_said_once_and_after_a_while() {
        let start = Instant::now();
        let mut faults = Faults::default();
        assert_eq!(faults.note(missing(), start), None);
        assert_eq!((said(&faults, start), faults.overdue(start)), (None, None), "its camera may be about to make it");
        // It is waited for since it was first told of.
        let later = start + TOPIC_TIME;
        assert_eq!(faults.note(missing(), later), None);
        assert_eq!(faults.overdue(later), Some(&missing()));
        assert_eq!(faults.overdue(later), None);
        assert_eq!(said(&faults, later), Some(Reason::TopicMissing));
    }

    #[test]
    fn what_ended_a_try_stands_until_one_succeeds() {
        let name = ObjectName { namespace: "lab".into(), name: "frames".into() };
        let state = ResourceState::new(Kind::FrameSink, name);
        let now = Instant::now();
        assert_eq!(said(&Faults::left_in(&state), now), None, "it has just come");
        state.unready(Reason::KafkaUnauthorized, "no right to read topic gate");
        let mut faults = Faults::left_in(&state);
        assert_eq!(said(&faults, now), Some(Reason::KafkaUnauthorized));
        faults.taken_up();
        assert_eq!(said(&faults, now), None);
        state.unhealthy(ConditionType::StorageHealthy, Reason::StorageMissing, "no disk");
        assert_eq!(said(&Faults::left_in(&state), now), None, "it has been opened since");
        state.set(ConditionType::Ready, ConditionStatus::True, Reason::Running, "writing frames");
        assert_eq!(said(&Faults::left_in(&state), now), None);
    }
}
