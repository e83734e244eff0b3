//! The operator's own metrics: reconciles, what waits, API requests, and how the resources fare.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use edgereel_crds::{
    name::ObjectName,
    status::{ConditionStatus, ConditionType, Reason},
};
use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
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

/// Where is watched: a namespace, or (empty) all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabels {
    watched: String,
}

/// A namespace that another installation works on, and which.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ContestLabels {
    contested: String,
    holder: String,
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

/// The resources that are there, and what was found of each.
type Verdicts = HashMap<Key, Option<Verdict>>;

/// A condition as it was found: which, its value, and why.
pub type Found = (ConditionType, ConditionStatus, Reason);

#[derive(Debug)]
struct Verdict {
    labels: ResourceLabels,
    conditions: Vec<Found>,
}

/// Tells the conditions of all resources as they are now.
#[derive(Debug)]
struct Conditions(Arc<Mutex<Verdicts>>);

impl Collector for Conditions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "A resource's condition: 1 if it is true, 0 if it is false, -1 if that is unknown";
        let mut family = encoder.encode_descriptor("edgereel_resource_condition", help, None, MetricType::Gauge)?;
        for ((kind, name), verdict) in lock(&self.0).iter() {
            let ObjectName { namespace, name } = name;
            for (of, status, reason) in verdict.iter().flat_map(|verdict| &verdict.conditions) {
                let labels = [
                    ("kind", *kind),
                    ("namespace", namespace),
                    ("name", name),
                    ("type", of.as_str()),
                    ("reason", reason.as_str()),
                ];
                let value: i64 = match status {
                    ConditionStatus::True => 1,
                    ConditionStatus::False => 0,
                    ConditionStatus::Unknown => -1,
                };
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

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
    failing: Family<ScopeLabels, Gauge>,
    contests: Family<ContestLabels, Gauge>,
    contested: Mutex<BTreeMap<String, String>>,
    lacking: Family<KindLabels, Gauge>,
    waiting: Mutex<HashSet<Key>>,
    /// Those that are there, and what was found of each.
    verdicts: Arc<Mutex<Verdicts>>,
    /// By its path, when each watch last gave a sign of life, with whatever outcome; seconds of the Unix time.
    watched: Mutex<HashMap<String, i64>>,
    last_success: Gauge<f64, AtomicU64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
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
            failing: Family::default(),
            contests: Family::default(),
            contested: Mutex::default(),
            lacking: Family::default(),
            waiting: Mutex::default(),
            verdicts: Arc::default(),
            watched: Mutex::default(),
            last_success: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register_collector(Box::new(Conditions(metrics.verdicts.clone())));
        let ours = registry.sub_registry_with_prefix("edgereel_operator");
        ours.register("reconciles", "Reconciles by their result and the resource's reason", metrics.reconciles.clone());
        ours.register_with_unit(
            "reconcile_duration",
            "How long a reconcile took",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        ours.register("queue_depth", "Resources that wait for a reconcile", metrics.queue.clone());
        ours.register("api_requests", "Requests to the API server; code 0: no answer", metrics.requests.clone());
        ours.register("resources", "Resources by their Ready condition and its reason", metrics.resources.clone());
        ours.register("leader", "1 while this operator works, 0 while it waits for another", metrics.leader.clone());
        ours.register(
            "watches_failing",
            "Watches that do not get through, by the namespace that is watched (empty: all)",
            metrics.failing.clone(),
        );
        ours.register(
            "contested",
            "1 for a namespace that another installation of the operator works on",
            metrics.contests.clone(),
        );
        ours.register(
            "rollout_workloads",
            "Workloads by how far the operator's own changes have reached them",
            metrics.rollout.clone(),
        );
        ours.register(
            "definition_fields_missing",
            "Fields that the API server's definition of the kind lacks: it is older than this operator, and what is written into them is lost",
            metrics.lacking.clone(),
        );
        ours.register_with_unit(
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

    /// So many watches of a namespace (or, empty, of all) do not get through.
    pub fn set_failing(&self, namespace: &str, watches: usize) {
        self.failing.get_or_create(&ScopeLabels { watched: namespace.to_owned() }).set(watches as i64);
    }

    /// Whether a namespace is worked on by another installation, and by which.
    pub fn contested(&self, namespace: &str, holder: &str, is_so: bool) {
        let labels = ContestLabels { contested: namespace.to_owned(), holder: holder.to_owned() };
        let mut contested = lock(&self.contested);
        match is_so {
            true => {
                self.contests.get_or_create(&labels).set(1);
                contested.insert(labels.contested, labels.holder);
            }
            false => {
                self.contests.remove(&labels);
                contested.remove(namespace);
            }
        }
    }

    /// The namespaces that other installations work on, each with which.
    pub fn contested_by(&self) -> Vec<String> {
        lock(&self.contested).iter().map(|(namespace, holder)| format!("{namespace}: {holder}")).collect()
    }

    /// How many fields the API server's definition of a kind lacks.
    pub fn definition_lacks(&self, kind: &'static str, fields: usize) {
        self.lacking.get_or_create(&KindLabels { kind }).set(fields as i64);
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
        let verdicts = lock(&self.verdicts);
        let reason =
            verdicts.get(&(kind, name.clone())).and_then(Option::as_ref).map_or("", |found| found.labels.reason);
        let result = if success { "success" } else { "error" };
        self.reconciles.get_or_create(&ReconcileLabels { kind, result, reason }).inc();
        self.durations.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// A resource is there.
    pub fn noticed(&self, kind: &'static str, name: &ObjectName) {
        lock(&self.verdicts).entry((kind, name.clone())).or_default();
    }

    /// What was found of a resource. Nothing is noted of one that went while it was looked at.
    pub fn verdict(&self, kind: &'static str, name: &ObjectName, conditions: Vec<Found>) {
        let Some((_, ready, reason)) = conditions.iter().find(|(of, ..)| *of == ConditionType::Ready) else { return };
        let ready = match ready {
            ConditionStatus::True => "true",
            ConditionStatus::False => "false",
            ConditionStatus::Unknown => "unknown",
        };
        let labels = ResourceLabels { kind, ready, reason: reason.as_str() };
        let mut verdicts = lock(&self.verdicts);
        let Some(verdict) = verdicts.get_mut(&(kind, name.clone())) else { return };
        let before = verdict.replace(Verdict { labels: labels.clone(), conditions }).map(|before| before.labels);
        if before.as_ref() != Some(&labels) {
            self.resources.get_or_create(&labels).inc();
            self.drop_verdict(before);
        }
    }

    /// A resource is gone.
    pub fn forget(&self, kind: &'static str, name: &ObjectName) {
        let before = lock(&self.verdicts).remove(&(kind, name.clone()));
        self.drop_verdict(before.flatten().map(|before| before.labels));
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
        if (200..300).contains(&code) {
            self.last_success.set(Timestamp::now().as_millisecond() as f64 / 1000.0);
        }
        self.requests.get_or_create(&RequestLabels { verb, resource, code }).inc();
    }

    /// A watch gives a sign of life: it is begun, or brings something, if only a bookmark. A list is one where there is a watch: it
    /// begins with one.
    pub fn watching(&self, path: &str, verb: &str) {
        let now = Timestamp::now().as_second();
        let mut watched = lock(&self.watched);
        match (watched.get_mut(path), verb) {
            (Some(at), _) => *at = now,
            (None, "watch") => drop(watched.insert(path.to_owned(), now)),
            (None, _) => {}
        }
    }

    /// The paths of watches that gave no sign of life for `most`: the API server sends bookmarks, and ends every watch after some
    /// minutes, so one from which nothing comes hangs here.
    pub fn hanging_watches(&self, now: Timestamp, most: Duration) -> Vec<String> {
        let limit = now.as_second() - most.as_secs() as i64;
        let mut hanging: Vec<String> =
            lock(&self.watched).iter().filter(|(_, at)| **at < limit).map(|(path, _)| path.clone()).collect();
        hanging.sort();
        hanging
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
            metrics.noticed(FrameSink::NAME, &name(resource));
            metrics.verdict(FrameSink::NAME, &name(resource), vec![(ConditionType::Ready, ready, reason)]);
        }
        let line =
            |n| format!("edgereel_operator_resources{{kind=\"FrameSink\",ready=\"true\",reason=\"Running\"}} {n}\n");
        assert!(metrics.text().contains(&line(2)), "{}", metrics.text());
        metrics.forget(FrameSink::NAME, &name("b"));
        assert!(metrics.text().contains(&line(1)));
        assert!(metrics.text().contains("reason=\"RolloutInProgress\"} 0\n"));
        metrics.verdict(
            FrameSink::NAME,
            &name("b"),
            vec![(ConditionType::Ready, ConditionStatus::True, Reason::Running)],
        );
        assert!(metrics.text().contains(&line(1)), "looked at while it went");
    }

    #[test]
    fn each_condition_is_told_with_its_resource_until_that_is_gone() {
        let metrics = Metrics::default();
        for (resource, status, reason) in [
            ("a", ConditionStatus::False, Reason::RolloutInProgress),
            ("a", ConditionStatus::False, Reason::ImagePullFailed),
            ("b", ConditionStatus::Unknown, Reason::Running),
        ] {
            metrics.noticed(FrameSink::NAME, &name(resource));
            let stalled = (ConditionType::Stalled, ConditionStatus::True, reason);
            metrics.verdict(FrameSink::NAME, &name(resource), vec![(ConditionType::Ready, status, reason), stalled]);
        }
        let all = |of: &str| -> Vec<String> {
            let head = format!("edgereel_resource_condition{{kind=\"FrameSink\",namespace=\"lab\",name=\"{of}\",");
            metrics.text().lines().filter_map(|line| line.strip_prefix(&head).map(str::to_owned)).collect()
        };
        let expected =
            ["type=\"Ready\",reason=\"ImagePullFailed\"} 0", "type=\"Stalled\",reason=\"ImagePullFailed\"} 1"];
        assert_eq!(all("a"), expected, "{}", metrics.text());
        assert_eq!(all("b")[0], "type=\"Ready\",reason=\"Running\"} -1");
        metrics.forget(FrameSink::NAME, &name("a"));
        assert_eq!(all("a"), [""; 0]);
    }

    /// The rows of the document's table about the operator: each metric with its labels, and its type.
    fn documented() -> BTreeSet<(String, String)> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        let document = std::fs::read_to_string(path).expect("docs/metrics.md");
        let table = document.split("## The operator's").nth(1).and_then(|rest| rest.split("\n## ").next());
        let row = |line: &str| {
            let (name, rest) = line.strip_prefix("| `edgereel_")?.split_once("` | ")?;
            Some((format!("edgereel_{}", name.split('{').next()?), rest.split(' ').next()?.to_owned()))
        };
        table.expect("its section").lines().filter_map(row).collect()
    }

    #[test]
    fn the_document_of_metrics_names_all_that_are_exported_and_no_others() {
        let metrics = Metrics::default();
        // These have no series before there is something to say.
        metrics.set_failing("", 0);
        metrics.contested("lab", "other", true);
        metrics.definition_lacks(FrameSink::NAME, 0);
        metrics.rollout(0, Some("rolling"), 1);
        metrics.requested("get", "pods".into(), 200);
        metrics.noticed(FrameSink::NAME, &name("a"));
        let ready = (ConditionType::Ready, ConditionStatus::True, Reason::Running);
        metrics.verdict(FrameSink::NAME, &name("a"), vec![ready]);
        metrics.reconciled(FrameSink::NAME, &name("a"), true, Duration::ZERO);
        let text = metrics.text();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let exported: BTreeSet<(String, String)> = types
            .map(|(name, kind)| (format!("{name}{}", if kind == "counter" { "_total" } else { "" }), kind.to_owned()))
            .collect();
        assert_eq!(documented(), exported);
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
    fn a_watch_without_a_sign_of_life_hangs_and_a_list_now_and_then_is_no_watch() {
        let metrics = Metrics::default();
        for (path, verb) in
            [("/api/v1/pods", "list"), ("/api/v1/pods", "watch"), ("/api/v1/pods", "list"), ("/events", "list")]
        {
            metrics.watching(path, verb);
        }
        let later = |seconds| Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        assert_eq!(metrics.hanging_watches(later(60), Duration::from_secs(900)), [""; 0]);
        assert_eq!(metrics.hanging_watches(later(1000), Duration::from_secs(900)), ["/api/v1/pods"]);
    }
}
