//! How a resource fares: conditions and the last error, shared between its worker, the live table and `/status`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::{
    name::{Kind, ObjectName},
    status::{Condition, ConditionStatus, ConditionType, Reason},
    worker_status::LastError,
};
use jiff::Timestamp;

/// What a resource says that is suspended by its own spec.
pub const SUSPENDED: &str = "nothing is to run: spec.suspend is true, or spec.replicas is 0";

/// Whether a resource that is not ready for this reason is in trouble: on its way, or stopped as asked, it is not.
pub fn is_error(reason: Reason) -> bool {
    use Reason::*;
    !matches!(
        reason,
        Running | Starting | Suspended | Stopping | Completed | Scheduled | CameraConnecting | KafkaConnecting
    )
}

/// One resource's conditions and last error. Cheap to clone; all clones show the same.
#[derive(Clone, Debug)]
pub struct ResourceState {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: ObjectName,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    conditions: BTreeMap<ConditionType, Condition>,
    /// `Ready` as it stood when the resource was asked to stop.
    before_stopping: Option<Condition>,
    last_error: Option<LastError>,
    revision: Option<String>,
    next_try: Option<Instant>,
}

impl ResourceState {
    /// A resource that is starting: `Ready` is false.
    pub fn new(kind: Kind, name: ObjectName) -> Self {
        let state = ResourceState { kind, name, inner: Arc::default() };
        state.set(ConditionType::Ready, ConditionStatus::False, Reason::Starting, "starting");
        state
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a condition. The transition time moves only when the status does; nothing happens when nothing changes.
    pub fn set(&self, kind: ConditionType, status: ConditionStatus, reason: Reason, message: impl Into<String>) {
        self.change(kind, status, reason, message.into());
    }

    /// As [`ResourceState::set`]; says whether it is news.
    fn change(&self, kind: ConditionType, status: ConditionStatus, reason: Reason, message: String) -> bool {
        let mut inner = self.lock();
        let since = match inner.conditions.get(&kind) {
            Some(c) if c.status == status && c.reason == reason && c.message == message => return false,
            Some(c) if c.status == status => c.last_transition_time.clone(),
            _ => Timestamp::now().to_string(),
        };
        if kind == ConditionType::Ready && reason == Reason::Stopping && inner.before_stopping.is_none() {
            inner.before_stopping = inner.conditions.get(&kind).cloned();
        }
        let condition = Condition { kind, status, reason, message, last_transition_time: since };
        inner.conditions.insert(kind, condition);
        true
    }

    /// `Ready` and the given aspect are true.
    pub fn healthy(&self, aspect: ConditionType, message: impl Into<String>) {
        let message = message.into();
        self.set(aspect, ConditionStatus::True, Reason::Running, message.clone());
        self.set(ConditionType::Ready, ConditionStatus::True, Reason::Running, message);
    }

    /// `Ready` is false for this reason. If that is an error, it is remembered, with the time at which it was news.
    pub fn unready(&self, reason: Reason, message: impl Into<String>) {
        let message = message.into();
        let news = self.change(ConditionType::Ready, ConditionStatus::False, reason, message.clone());
        let said = || self.last_error().is_some_and(|last| last.message == message);
        if is_error(reason) && (news || !said()) {
            self.note_error(message);
        }
    }

    /// `Ready` and the given aspect are false for this reason; an error is remembered.
    pub fn unhealthy(&self, aspect: ConditionType, reason: Reason, message: impl Into<String>) {
        let message = message.into();
        self.set(aspect, ConditionStatus::False, reason, message.clone());
        self.unready(reason, message);
    }

    /// Says what of its documents is passed over, for nobody here knows it.
    pub fn passes_over(&self, unknown: Option<&str>) {
        match unknown {
            Some(words) => {
                self.set(ConditionType::UnknownFields, ConditionStatus::True, Reason::UnknownFields, words);
            }
            None => drop(self.lock().conditions.remove(&ConditionType::UnknownFields)),
        }
    }

    /// Takes over what another process says of it.
    pub fn take_over(&self, conditions: Vec<Condition>, last_error: Option<LastError>) {
        let mut inner = self.lock();
        let stops = |c: &Condition| c.kind == ConditionType::Ready && c.reason == Reason::Stopping;
        if conditions.iter().any(stops) && inner.before_stopping.is_none() {
            inner.before_stopping = inner.conditions.get(&ConditionType::Ready).cloned();
        }
        inner.conditions = conditions.into_iter().map(|condition| (condition.kind, condition)).collect();
        let newer = |last: &LastError| inner.last_error.as_ref().is_none_or(|known| known.time < last.time);
        if let Some(last) = last_error.filter(newer) {
            inner.last_error = Some(last);
        }
    }

    /// Nobody knows any more how all but `Ready` stands, for this reason.
    pub fn unknown_but_ready(&self, reason: Reason, message: &str) {
        let kinds: Vec<ConditionType> = self.lock().conditions.keys().copied().collect();
        let stands = |kind: &ConditionType| matches!(kind, ConditionType::Ready | ConditionType::UnknownFields);
        for kind in kinds.into_iter().filter(|kind| !stands(kind)) {
            self.set(kind, ConditionStatus::Unknown, reason, message);
        }
    }

    /// Notes which revision of it its document is.
    pub fn be_of(&self, revision: Option<&String>) {
        self.lock().revision = revision.cloned();
    }

    /// Which revision of it its document is.
    pub fn revision(&self) -> Option<String> {
        self.lock().revision.clone()
    }

    /// Remembers an error without changing a condition.
    pub fn note_error(&self, message: impl Into<String>) {
        self.lock().last_error = Some(LastError { time: Timestamp::now(), message: message.into() });
    }

    /// What failed is tried again after so long.
    pub fn try_again_in(&self, wait: Duration) {
        self.lock().next_try = Instant::now().checked_add(wait);
    }

    /// How long it is to the next try, if one is waited for.
    pub fn next_try(&self) -> Option<Duration> {
        self.lock().next_try.map(|at| at.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero())
    }

    /// Whether `Ready` is true.
    pub fn is_ready(&self) -> bool {
        self.condition(ConditionType::Ready).is_some_and(|c| c.status == ConditionStatus::True)
    }

    /// Whether it ran to its end.
    pub fn is_completed(&self) -> bool {
        self.condition(ConditionType::Ready).is_some_and(|c| c.reason == Reason::Completed)
    }

    /// Why it is not ready, or was not when it was asked to stop.
    pub fn not_ready(&self) -> Option<Condition> {
        let before = self.lock().before_stopping.clone();
        before.or_else(|| self.condition(ConditionType::Ready)).filter(|c| c.status != ConditionStatus::True)
    }

    /// One condition.
    pub fn condition(&self, kind: ConditionType) -> Option<Condition> {
        self.lock().conditions.get(&kind).cloned()
    }

    /// All conditions.
    pub fn conditions(&self) -> Vec<Condition> {
        self.lock().conditions.values().cloned().collect()
    }

    /// The last error.
    pub fn last_error(&self) -> Option<LastError> {
        self.lock().last_error.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_is_no_error_and_an_error_keeps_the_time_at_which_it_began() {
        let state = ResourceState::new(Kind::FrameSink, ObjectName { namespace: "d".into(), name: "n".into() });
        state.unready(Reason::KafkaConnecting, "joining the consumer group g");
        assert_eq!(state.last_error(), None);
        state.unready(Reason::StorageFull, "the disk is full");
        let first = state.last_error().expect("remembered");
        state.unready(Reason::StorageFull, "the disk is full");
        assert_eq!(state.last_error(), Some(first), "told again, it is not newer");
        state.unready(Reason::KafkaConnecting, "joining the consumer group g");
        assert_eq!(state.last_error().expect("remembered").message, "the disk is full");
    }

    #[test]
    fn that_it_was_stopped_does_not_hide_why_it_was_not_ready() {
        let state = ResourceState::new(Kind::FrameSink, ObjectName { namespace: "d".into(), name: "n".into() });
        let stop = || state.set(ConditionType::Ready, ConditionStatus::False, Reason::Stopping, "stopped");
        state.unready(Reason::StorageMissing, "no disk");
        (0..2).for_each(|_| stop());
        assert_eq!(state.not_ready().map(|c| (c.reason, c.message)), Some((Reason::StorageMissing, "no disk".into())));
        let state = ResourceState::new(Kind::FrameSink, state.name);
        state.healthy(ConditionType::StorageHealthy, "writing frames");
        state.set(ConditionType::Ready, ConditionStatus::False, Reason::Stopping, "stopped");
        assert_eq!(state.not_ready(), None);
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let state = ResourceState::new(Kind::CameraStream, ObjectName { namespace: "d".into(), name: "n".into() });
        state.unready(Reason::CameraUnreachable, "no route");
        let first = state.condition(ConditionType::Ready).expect("set");
        state.unready(Reason::CameraStalled, "silent");
        let second = state.condition(ConditionType::Ready).expect("set");
        assert_eq!(first.last_transition_time, second.last_transition_time);
        assert_eq!(second.reason, Reason::CameraStalled);
        state.healthy(ConditionType::CameraOnline, "30 fps");
        assert!(state.is_ready());
        assert_ne!(
            state.condition(ConditionType::Ready).expect("set").last_transition_time,
            second.last_transition_time
        );
        assert_eq!(state.last_error().expect("remembered").message, "silent");
    }
}
