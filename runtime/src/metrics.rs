//! The process's one registry of metrics. Names follow the Prometheus conventions; times are in seconds.
//!
//! Each kind of resource declares its families beside its code and takes a resource's handles once, to count on them without a
//! look-up. [`process`] tells what the process uses, [`exposition`] writes all of it.

pub mod exposition;
mod process;

use std::{
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicU64},
};

use edgereel_crds::name::{Kind, ObjectName};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric},
    metrics::{
        TypedMetric,
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

/// A resource (one replica of it), as a label set: no two that run have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct Resource {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    pub replica: u32,
}

/// A resource and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct WithReason {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    pub replica: u32,
    pub reason: &'static str,
}

impl Resource {
    /// A replica of a resource, by the resource's own name; what has no replicas is replica 0.
    pub fn new(kind: Kind, name: &ObjectName, replica: u32) -> Self {
        Resource { kind: kind.as_str(), namespace: name.namespace.clone(), name: name.name.clone(), replica }
    }

    /// The resource, for this reason.
    pub fn because(&self, reason: &'static str) -> WithReason {
        let Resource { kind, namespace, name, replica } = self.clone();
        WithReason { kind, namespace, name, replica, reason }
    }
}

/// A gauge of fractions.
pub type FloatGauge = Gauge<f64, AtomicU64>;
/// A histogram for each resource.
pub type Histograms = Family<Resource, Histogram, fn() -> Histogram>;

/// Held while several figures change that belong together: whoever looks at all metrics sees all of the change, or nothing.
/// Steps may go on side by side, but none while somebody looks. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Counting(Arc<RwLock<()>>);

impl Counting {
    /// A step begins; it ends with what is returned.
    pub fn step(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing changes as long as this is held.
    pub fn still(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a resource's series away.
type Forget = Box<dyn Fn(&Resource) + Send + Sync>;

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    counting: Counting,
    forget: Vec<Forget>,
    ready: Family<Resource, Gauge>,
    restarts: Family<Resource, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process));
        let mut metrics = Metrics {
            registry,
            counting: Counting::default(),
            forget: vec![],
            ready: Family::default(),
            restarts: Family::default(),
        };
        metrics.ours().register("build_info", "Always 1: which version this is", process::build_info());
        metrics.ready = metrics.family("ready", "1 while the resource's Ready condition is true");
        metrics.restarts = metrics.family("restarts", "Restarts of the resource after a failure");
        metrics
    }
}

impl Metrics {
    /// Names here begin with `edgereel_`.
    fn ours(&mut self) -> &mut Registry {
        self.registry.sub_registry_with_prefix("edgereel")
    }

    /// A figure of each resource.
    pub fn family<M>(&mut self, name: &str, help: &str) -> Family<Resource, M>
    where
        M: Default + EncodeMetric + TypedMetric + Debug + Send + Sync + 'static,
    {
        let family = Family::<Resource, M>::default();
        self.ours().register(name, help, family.clone());
        self.remember(&family);
        family
    }

    /// The same in a unit, which the name ends in.
    pub fn family_in<M>(&mut self, unit: Unit, name: &str, help: &str) -> Family<Resource, M>
    where
        M: Default + EncodeMetric + TypedMetric + Debug + Send + Sync + 'static,
    {
        let family = Family::<Resource, M>::default();
        self.ours().register_with_unit(name, help, unit, family.clone());
        self.remember(&family);
        family
    }

    /// A histogram of each resource.
    pub fn histograms(&mut self, unit: Unit, name: &str, help: &str, make: fn() -> Histogram) -> Histograms {
        let family: Histograms = Family::new_with_constructor(make);
        self.ours().register_with_unit(name, help, unit, family.clone());
        self.remember(&family);
        family
    }

    /// Counts of each resource by these reasons, a closed set.
    pub fn by_reason(&mut self, name: &str, help: &str, reasons: Vec<&'static str>) -> Family<WithReason, Counter> {
        let family = Family::<WithReason, Counter>::default();
        self.ours().register(name, help, family.clone());
        let kept = family.clone();
        self.forget.push(Box::new(move |resource| {
            for reason in &reasons {
                kept.remove(&resource.because(reason));
            }
        }));
        family
    }

    fn remember<M, C>(&mut self, family: &Family<Resource, M, C>)
    where
        M: Send + Sync + 'static,
        C: MetricConstructor<M> + Clone + Send + Sync + 'static,
    {
        let kept = family.clone();
        self.forget.push(Box::new(move |resource| _ = kept.remove(resource)));
    }

    /// Takes all series of a resource away: it runs no more, and its figures would be alarms that nobody can mend.
    pub fn forget(&self, resource: &Resource) {
        self.forget.iter().for_each(|forget| forget(resource));
    }

    /// What steps are counted with.
    pub fn counting(&self) -> Counting {
        self.counting.clone()
    }

    /// Whether a resource is ready: 1 or 0.
    pub fn ready(&self, resource: &Resource) -> Gauge {
        self.ready.get_or_create_owned(resource)
    }

    /// How often a resource was started again after a failure.
    pub fn restarts(&self, resource: &Resource) -> Counter {
        self.restarts.get_or_create_owned(resource)
    }
}

/// From 1 ms to a minute, finer around the 100 ms that users ask for.
pub fn latency() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
    ])
}

#[cfg(test)]
mod tests {
    use super::{exposition::Format, *};

    #[test]
    fn nothing_is_left_of_a_resource_that_is_gone_and_all_of_the_others() {
        let mut metrics = Metrics::default();
        let frames: Family<Resource, Counter> = metrics.family("frames", "Frames");
        let bytes: Family<Resource, Counter> = metrics.family_in(Unit::Bytes, "stored", "Bytes");
        let times = metrics.histograms(Unit::Seconds, "flush", "Flushes", latency);
        let dropped = metrics.by_reason("dropped", "Dropped", vec!["late", "torn"]);
        let name = |name: &str| ObjectName { namespace: "lab".into(), name: name.into() };
        // One name may be a camera's and a sink's, and a sink's replicas share it.
        let gone = Resource::new(Kind::FrameSink, &name("gone"), 1);
        let others = [
            Resource::new(Kind::FrameSink, &name("gone"), 0),
            Resource::new(Kind::CameraStream, &name("gone"), 1),
            Resource::new(Kind::FrameSink, &name("stays"), 1),
        ];
        for resource in others.iter().chain([&gone]) {
            metrics.ready(resource).set(1);
            metrics.restarts(resource).inc();
            frames.get_or_create(resource).inc();
            bytes.get_or_create(resource).inc();
            times.get_or_create(resource).observe(0.1);
            dropped.get_or_create(&resource.because("torn")).inc();
        }
        let count = |of: &Resource| {
            let Resource { kind, namespace, name, replica } = of;
            let labels = format!("kind=\"{kind}\",namespace=\"{namespace}\",name=\"{name}\",replica=\"{replica}\"");
            metrics.text(Format::OpenMetrics).matches(&labels).count()
        };
        let all = count(&gone);
        assert!(all > 10);
        metrics.forget(&gone);
        assert_eq!(count(&gone), 0);
        assert!(others.iter().all(|other| count(other) == all));
    }
}
