//! A sink's lag: there while it is known, absent otherwise. An alert takes a missing series for no reason to be calm, and a
//! zero for one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use edgereel_runtime::metrics::{FloatGauge, Resource};
use prometheus_client::metrics::{family::Family, gauge::Gauge};

/// One sink's lag, in records and in seconds. All clones show the same.
#[derive(Clone)]
pub struct Lag {
    resource: Resource,
    records: Family<Resource, Gauge>,
    seconds: Family<Resource, FloatGauge>,
    told: Arc<Mutex<Instant>>,
}

impl Lag {
    /// A lag of which nothing is known yet.
    pub(super) fn new(
        resource: Resource,
        records: Family<Resource, Gauge>,
        seconds: Family<Resource, FloatGauge>,
    ) -> Self {
        Lag { resource, records, seconds, told: Arc::new(Mutex::new(Instant::now())) }
    }

    /// The sink knows it: so many records, the oldest of this age in seconds.
    pub fn tell(&self, records: i64, seconds: f64) {
        let mut told = self.told();
        self.show(records, Some(seconds));
        *told = Instant::now();
    }

    /// Somebody else knows it, and the sink has told nothing for `silence`. How old the oldest is can be known of none.
    pub fn hear(&self, records: i64, silence: Duration) {
        let told = self.told();
        if told.elapsed() >= silence {
            self.show(records, (records == 0).then_some(0.0));
        }
    }

    fn show(&self, records: i64, seconds: Option<f64>) {
        self.records.get_or_create_owned(&self.resource).set(records);
        if let Some(seconds) = seconds {
            self.seconds.get_or_create_owned(&self.resource).set(seconds);
        } else {
            self.seconds.remove(&self.resource);
        }
    }

    /// It is not known any more.
    pub fn forget(&self) {
        let _told = self.told();
        self.records.remove(&self.resource);
        self.seconds.remove(&self.resource);
    }

    /// How long ago the sink told it, or could have for the first time.
    pub fn silence(&self) -> Duration {
        self.told().elapsed()
    }

    /// Records that are not committed.
    pub fn records(&self) -> Option<i64> {
        self.records.get(&self.resource).map(|gauge| gauge.get())
    }

    /// The age of the oldest record that is not stored, in seconds.
    pub fn seconds(&self) -> Option<f64> {
        self.seconds.get(&self.resource).map(|gauge| gauge.get())
    }

    /// Held while both figures change.
    fn told(&self) -> MutexGuard<'_, Instant> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use edgereel_crds::name::ObjectName;
    use edgereel_runtime::metrics::{Metrics, exposition::Format};

    use super::super::SinkFamilies;

    #[test]
    fn a_lag_that_is_not_known_is_absent_and_no_zero() {
        let mut metrics = Metrics::default();
        let sinks = SinkFamilies::new(&mut metrics);
        let lag = sinks.of(&ObjectName { namespace: "lab".into(), name: "files".into() }, 0).lag;
        let shown = |what: &str| metrics.text(Format::Prometheus).lines().any(|line| line.starts_with(what));
        assert!(lag.records().is_none() && !shown("edgereel_sink_lag_records{"), "before it is told");
        lag.hear(1857, Duration::from_secs(3600));
        assert_eq!(lag.records(), None, "the sink may know better");
        lag.hear(1857, Duration::ZERO);
        assert_eq!((lag.records(), lag.seconds()), (Some(1857), None));
        assert!(shown("edgereel_sink_lag_records{") && !shown("edgereel_sink_lag_seconds{"));
        lag.tell(0, 0.0);
        assert_eq!((lag.records(), lag.seconds()), (Some(0), Some(0.0)), "a zero that is known is one");
        lag.forget();
        assert_eq!((lag.records(), lag.seconds()), (None, None));
        assert!(!shown("edgereel_sink_lag_records{") && !shown("edgereel_sink_lag_seconds{"));
    }
}
