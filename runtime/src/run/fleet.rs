//! The running resources and their figures, for the live table, `/status`, `/readyz` and `/snapshot.jpg`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use edgereel_crds::worker_status::{ResourceReport, WorkerStatus};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use crate::{
    metrics::{Metrics, Resource},
    state::ResourceState,
    work::{Passed, Rate, Work},
};

/// Rates are taken over this long.
const WINDOW: Duration = Duration::from_secs(5);

/// All resources of this process.
pub struct Fleet {
    /// The process's metrics.
    pub metrics: Metrics,
    members: RwLock<Vec<Arc<Member>>>,
}

impl Fleet {
    /// Resources with the metrics that they count on.
    pub fn new(metrics: Metrics, members: Vec<Arc<Member>>) -> Self {
        Fleet { metrics, members: RwLock::new(members) }
    }

    /// The resources that run now, in the documents' order, as it was asked for.
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How all of them fare.
    pub fn status(&self) -> WorkerStatus {
        let resources = self.members().iter().map(|member| member.report()).collect();
        WorkerStatus { version: env!("CARGO_PKG_VERSION").into(), resources }
    }

    /// From now on these run.
    pub(super) fn set_members(&self, members: Vec<Arc<Member>>) {
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = members;
    }
}

/// One running resource (one replica of it).
pub struct Member {
    /// Its conditions.
    pub state: ResourceState,
    /// What does its work.
    pub work: Arc<dyn Work>,
    ready: Gauge,
    restarts: Counter,
    samples: Mutex<VecDeque<Sample>>,
}

/// What had gone through a resource at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    passed: Passed,
}

impl Member {
    /// A resource that has just started.
    pub fn new(state: ResourceState, work: Arc<dyn Work>, metrics: &Metrics, resource: &Resource) -> Self {
        let (ready, restarts) = (metrics.ready(resource), metrics.restarts(resource));
        let member = Member { state, work, ready, restarts, samples: Mutex::default() };
        member.sample(Instant::now());
        member
    }

    /// Makes the metric say whether it is ready.
    pub fn note_readiness(&self) {
        self.ready.set(i64::from(self.state.is_ready()));
    }

    /// Notes what has gone through; called about once a second.
    pub fn sample(&self, now: Instant) {
        self.note_readiness();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(Sample { at: now, passed: self.work.passed() });
        while samples.len() > 2 && now.duration_since(samples[1].at) >= WINDOW {
            samples.pop_front();
        }
    }

    /// Counts a start after a failure.
    pub(super) fn count_restart(&self) {
        self.restarts.inc();
    }

    fn rate(&self) -> Rate {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return Rate::default() };
        rate(*first, *last)
    }

    /// All that `/status` says, with the figures at the last sample.
    pub fn report(&self) -> ResourceReport {
        ResourceReport {
            kind: self.state.kind.as_str().to_owned(),
            namespace: self.state.name.namespace.clone(),
            name: self.state.name.name.clone(),
            conditions: self.state.conditions(),
            revision: self.state.revision(),
            last_error: self.state.last_error(),
            connections: self.work.connections(),
            overview: Some(self.work.overview()),
            figures: self.work.figures(self.rate()),
        }
    }
}

fn rate(first: Sample, last: Sample) -> Rate {
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let frames = last.passed.frames.saturating_sub(first.passed.frames);
    if frames == 0 || seconds == 0.0 {
        return Rate::default();
    }
    let fps = (frames as f64 / seconds * 10.0).round() / 10.0;
    Rate { fps, frame_bytes: last.passed.bytes.saturating_sub(first.passed.bytes) / frames }
}

/// A fleet that samples itself once a second until the future is dropped.
pub async fn sample_forever(fleet: Arc<Fleet>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        let now = tick.tick().await.into_std();
        fleet.members().iter().for_each(|member| member.sample(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_means_over_the_window() {
        let start = Instant::now();
        let first = Sample { at: start, passed: Passed { frames: 100, bytes: 1000 } };
        let later = Passed { frames: 250, bytes: 1000 + 150 * 85_000 };
        let last = Sample { at: start + Duration::from_secs(5), passed: later };
        assert_eq!(rate(first, last), Rate { fps: 30.0, frame_bytes: 85_000 });
        assert_eq!(rate(last, last), Rate::default());
    }
}
