//! The running resources and their figures, for the live table, `/status`, `/readyz` and `/snapshot.jpg`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::worker_status::{CameraFigures, Figures, ResourceReport, SinkFigures};
use jiff::Timestamp;

use crate::{
    capture::Snapshot,
    metrics::{CameraMetrics, DropReason, Metrics, SinkMetrics},
    state::ResourceState,
};

/// Rates are taken over this long.
const WINDOW: Duration = Duration::from_secs(5);

/// All resources of this process.
pub struct Fleet {
    /// The process's metrics.
    pub metrics: Metrics,
    /// The resources, in the documents' order, cameras first.
    pub members: Vec<Member>,
}

/// One running resource (one replica of it).
pub struct Member {
    /// Its conditions.
    pub state: ResourceState,
    /// Its metrics.
    pub handles: Handles,
    /// Its last frame, for a camera, where asked for.
    pub snapshot: Option<Snapshot>,
    samples: Mutex<VecDeque<Sample>>,
}

/// A resource's metrics.
#[allow(missing_docs)]
pub enum Handles {
    Camera(CameraMetrics),
    Sink(SinkMetrics),
}

/// The counters that rates are made of, at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    frames: u64,
    bytes: u64,
}

impl Member {
    /// A resource that has just started.
    pub fn new(state: ResourceState, handles: Handles, snapshot: Option<Snapshot>) -> Self {
        let member = Member { state, handles, snapshot, samples: Mutex::default() };
        member.sample(Instant::now());
        member
    }

    /// Notes the counters; called about once a second.
    pub fn sample(&self, now: Instant) {
        let (frames, bytes, ready) = match &self.handles {
            Handles::Camera(m) => (m.captured.get(), m.captured_bytes.get(), &m.ready),
            Handles::Sink(m) => (m.stored.get(), m.stored_bytes.get(), &m.ready),
        };
        ready.set(i64::from(self.state.is_ready()));
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(Sample { at: now, frames, bytes });
        while samples.len() > 2 && now.duration_since(samples[1].at) >= WINDOW {
            samples.pop_front();
        }
    }

    /// Frames a second and their mean size in bytes.
    fn rates(&self) -> (f64, u64) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return (0.0, 0) };
        rates(*first, *last)
    }

    /// The figures at the last sample.
    pub fn figures(&self) -> Figures {
        let (fps, frame_bytes) = self.rates();
        match &self.handles {
            Handles::Camera(m) => Figures::Camera(CameraFigures {
                fps,
                frame_bytes,
                frames_captured: m.captured.get(),
                frames_acknowledged: m.acknowledged.get(),
                frames_dropped: m.dropped_total(),
                dropped: DropReason::ALL
                    .iter()
                    .map(|reason| (reason.as_str().to_owned(), m.dropped(*reason).get()))
                    .filter(|(_, count)| *count > 0)
                    .collect(),
                buffer_bytes: m.buffer_bytes.get(),
                last_frame_time: Timestamp::from_microsecond((m.last_frame.get() * 1e6) as i64)
                    .ok()
                    .filter(|time| *time != Timestamp::UNIX_EPOCH),
            }),
            Handles::Sink(m) => Figures::Sink(SinkFigures {
                fps,
                frame_bytes,
                records_consumed: m.consumed.get(),
                frames_stored: m.stored.get(),
                frames_durable: m.durable.get(),
                records_dead_lettered: m.dead_lettered.get(),
                records_lost: m.lost.get(),
                lag_records: m.lag.get(),
                lag_seconds: (m.lag_seconds.get() * 1000.0).round() / 1000.0,
                disk_free_bytes: m.disk_free.get(),
                disk_size_bytes: m.disk_size.get(),
                ..SinkFigures::default()
            }),
        }
    }

    /// All that `/status` says.
    pub fn report(&self) -> ResourceReport {
        ResourceReport {
            kind: self.state.kind.as_str().to_owned(),
            namespace: self.state.name.namespace.clone(),
            name: self.state.name.name.clone(),
            conditions: self.state.conditions(),
            last_error: self.state.last_error(),
            figures: self.figures(),
        }
    }
}

fn rates(first: Sample, last: Sample) -> (f64, u64) {
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let frames = last.frames.saturating_sub(first.frames);
    if frames == 0 || seconds == 0.0 {
        return (0.0, 0);
    }
    let fps = (frames as f64 / seconds * 10.0).round() / 10.0;
    (fps, last.bytes.saturating_sub(first.bytes) / frames)
}

/// A fleet that samples itself once a second until the future is dropped.
pub async fn sample_forever(fleet: Arc<Fleet>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        let now = tick.tick().await.into_std();
        fleet.members.iter().for_each(|member| member.sample(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_means_over_the_window() {
        let start = Instant::now();
        let first = Sample { at: start, frames: 100, bytes: 1000 };
        let last = Sample { at: start + Duration::from_secs(5), frames: 250, bytes: 1000 + 150 * 85_000 };
        assert_eq!(rates(first, last), (30.0, 85_000));
        assert_eq!(rates(last, last), (0.0, 0));
    }
}
