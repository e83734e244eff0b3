//! The operator's own metrics: reconciles, what waits, API requests, and how the resources fare.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use edgereel_crds::{
    name::ObjectName,
    status::{ConditionStatus, Reason},
};
use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// How a reconcile ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    result: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    kind: &'static str,
    ready: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RolloutLabels {
    fleet: u64,
    state: &'static str,
}

/// A resource, as the metrics know it.
type Key = (&'static str, ObjectName);

/// All metrics.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    durations: Family<KindLabels, Histogram>,
    queue: Gauge<i64, AtomicI64>,
    requests: Family<RequestLabels, Counter>,
    resources: Family<ResourceLabels, Gauge>,
    rollout: Family<RolloutLabels, Gauge>,
    leader: Gauge<i64, AtomicI64>,
    waiting: Mutex<HashSet<Key>>,
    verdicts: Mutex<HashMap<Key, ResourceLabels>>,
    /// When each resource type was last watched or listed, with whatever outcome; seconds of the Unix time.
    watched: Mutex<HashMap<String, i64>>,
    last_success: Gauge<f64, AtomicU64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("edgereel_operator");
        // From a millisecond to half a minute.
        let durations: Family<KindLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 16)));
        let metrics = Metrics {
            reconciles: Family::default(),
            durations,
            queue: Gauge::default(),
            requests: Family::default(),
            resources: Family::default(),
            rollout: Family::default(),
            leader: Gauge::default(),
            waiting: Mutex::default(),
            verdicts: Mutex::default(),
            watched: Mutex::default(),
            last_success: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "reconciles",
            "Reconciles by their result and the resource's reason",
            metrics.reconciles.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "How long a reconcile took",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("queue_depth", "Resources that wait for a reconcile", metrics.queue.clone());
        registry.register("api_requests", "Requests to the API server; code 0: no answer", metrics.requests.clone());
        registry.register("resources", "Resources by their Ready condition and its reason", metrics.resources.clone());
        registry.register(
            "rollout_workloads",
            "Workloads by how far the operator's own changes have reached them",
            metrics.rollout.clone(),
        );
        registry.register(
            "leader",
            "1 while this operator works, 0 while it waits for another",
            metrics.leader.clone(),
        );
        registry.register_with_unit(
            "api_last_success_timestamp",
            "When the API server last answered with success",
            Unit::Seconds,
            metrics.last_success.clone(),
        );
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// The OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Whether this operator works.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Something happened that a resource has to be looked at for.
    pub fn triggered(&self, kind: &'static str, name: &ObjectName) {
        let mut waiting = lock(&self.waiting);
        waiting.insert((kind, name.clone()));
        self.queue.set(waiting.len() as i64);
    }

    /// A resource is being looked at.
    pub fn started(&self, kind: &'static str, name: &ObjectName) {
        let mut waiting = lock(&self.waiting);
        waiting.remove(&(kind, name.clone()));
        self.queue.set(waiting.len() as i64);
    }

    /// A reconcile ended.
    pub fn reconciled(&self, kind: &'static str, name: &ObjectName, success: bool, took: Duration) {
        let reason = lock(&self.verdicts).get(&(kind, name.clone())).map_or("", |labels| labels.reason);
        let result = if success { "success" } else { "error" };
        self.reconciles.get_or_create(&ReconcileLabels { kind, result, reason }).inc();
        self.durations.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// What was found of a resource.
    pub fn verdict(&self, kind: &'static str, name: &ObjectName, ready: ConditionStatus, reason: Reason) {
        let ready = match ready {
            ConditionStatus::True => "true",
            ConditionStatus::False => "false",
            ConditionStatus::Unknown => "unknown",
        };
        let labels = ResourceLabels { kind, ready, reason: reason.as_str() };
        let before = lock(&self.verdicts).insert((kind, name.clone()), labels.clone());
        if before.as_ref() != Some(&labels) {
            self.resources.get_or_create(&labels).inc();
            self.drop_verdict(before);
        }
    }

    /// A resource is gone.
    pub fn forget(&self, kind: &'static str, name: &ObjectName) {
        let before = lock(&self.verdicts).remove(&(kind, name.clone()));
        self.drop_verdict(before);
        self.started(kind, name);
    }

    /// So many more workloads of a fleet (0: of all that have no other) stand so, in the roll-out of the operator's changes.
    pub fn rollout(&self, fleet: usize, state: Option<&'static str>, more: i64) {
        if let Some(state) = state {
            self.rollout.get_or_create(&RolloutLabels { fleet: fleet as u64, state }).inc_by(more);
        }
    }

    fn drop_verdict(&self, labels: Option<ResourceLabels>) {
        if let Some(labels) = labels {
            self.resources.get_or_create(&labels).dec();
        }
    }

    /// The API server answered, or did not (code 0).
    pub fn requested(&self, verb: &'static str, resource: String, code: u16) {
        let now = Timestamp::now();
        if matches!(verb, "watch" | "list") {
            lock(&self.watched).insert(resource.clone(), now.as_second());
        }
        if (200..300).contains(&code) {
            self.last_success.set(now.as_millisecond() as f64 / 1000.0);
        }
        self.requests.get_or_create(&RequestLabels { verb, resource, code }).inc();
    }

    /// Resource types whose watch has not been begun anew for `most`: the API server ends every watch after some minutes,
    /// so one that is not begun anew hangs here.
    pub fn hanging_watches(&self, now: Timestamp, most: Duration) -> Vec<String> {
        let limit = now.as_second() - most.as_secs() as i64;
        let mut hanging: Vec<String> =
            lock(&self.watched).iter().filter(|(_, at)| **at < limit).map(|(resource, _)| resource.clone()).collect();
        hanging.sort();
        hanging
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{CameraStream, FrameSink, declared::Declared};

    use super::*;

    fn name(name: &str) -> ObjectName {
        ObjectName { namespace: "lab".into(), name: name.into() }
    }

    #[test]
    fn a_resource_counts_once_under_its_last_reason() {
        let metrics = Metrics::default();
        for (resource, ready, reason) in [
            ("a", ConditionStatus::False, Reason::RolloutInProgress),
            ("a", ConditionStatus::True, Reason::Running),
            ("a", ConditionStatus::True, Reason::Running),
            ("b", ConditionStatus::True, Reason::Running),
        ] {
            metrics.verdict(FrameSink::NAME, &name(resource), ready, reason);
        }
        let line =
            |n| format!("edgereel_operator_resources{{kind=\"FrameSink\",ready=\"true\",reason=\"Running\"}} {n}\n");
        assert!(metrics.text().contains(&line(2)), "{}", metrics.text());
        metrics.forget(FrameSink::NAME, &name("b"));
        assert!(metrics.text().contains(&line(1)));
        assert!(metrics.text().contains("reason=\"RolloutInProgress\"} 0\n"));
    }

    #[test]
    fn the_queue_holds_each_resource_once() {
        let metrics = Metrics::default();
        for resource in ["a", "a", "b"] {
            metrics.triggered(CameraStream::NAME, &name(resource));
        }
        assert!(metrics.text().contains("edgereel_operator_queue_depth 2\n"));
        metrics.started(CameraStream::NAME, &name("a"));
        assert!(metrics.text().contains("edgereel_operator_queue_depth 1\n"));
    }

    #[test]
    fn a_watch_that_is_not_begun_anew_hangs() {
        let metrics = Metrics::default();
        metrics.requested("watch", "pods".into(), 0);
        metrics.requested("get", "secrets".into(), 200);
        let later = |seconds| Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        assert_eq!(metrics.hanging_watches(later(60), Duration::from_secs(900)), [""; 0]);
        assert_eq!(metrics.hanging_watches(later(1000), Duration::from_secs(900)), ["pods"]);
    }
}
