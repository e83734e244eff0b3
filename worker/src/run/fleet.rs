//! The running resources and their figures, for the live table, `/status`, `/readyz` and `/snapshot.jpg`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use edgereel_crds::{
    camera_stream::Encoding,
    worker_status::{CameraFigures, Figures, ResourceReport, SinkFigures},
};
use jiff::Timestamp;

use crate::{
    capture::Snapshot,
    metrics::{CameraMetrics, Metrics, SinkMetrics},
};
use edgereel_runtime::state::ResourceState;

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

    /// The resources that run now, in the documents' order, cameras first.
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
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
    /// Its metrics.
    pub handles: Handles,
    /// Its last frame, for a camera, where asked for.
    pub snapshot: Option<Snapshot>,
    /// Larger frames are shown in red, and those above 60 % of it in yellow: `encoding.warnFrameBytes`, or its default.
    pub warn_frame_bytes: u64,
    /// Where its frames go, in words: a topic or a directory.
    pub goes_to: String,
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
        let warn_frame_bytes = Encoding::default().warn_frame_bytes.0;
        let goes_to = String::new();
        let member = Member { state, handles, snapshot, warn_frame_bytes, goes_to, samples: Mutex::default() };
        member.sample(Instant::now());
        member
    }

    /// Notes the counters; called about once a second.
    pub fn sample(&self, now: Instant) {
        let ((frames, bytes), ready) = match &self.handles {
            Handles::Camera(m) => (m.forwarded(), &m.ready),
            Handles::Sink(m) => ((m.stored.get(), m.stored_bytes.get()), &m.ready),
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
            Handles::Camera(m) => {
                let account = m.account();
                Figures::Camera(CameraFigures {
                    fps,
                    frame_bytes,
                    frames_captured: account.captured,
                    frames_acknowledged: account.acknowledged,
                    frames_dropped: account.dropped_total(),
                    frames_waiting: Some(account.waiting),
                    dropped: account.dropped.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
                    buffer_bytes: m.buffer_bytes.get(),
                    last_frame_time: moment(m.last_frame.get()),
                    frame_size: (m.width.get() > 0).then(|| format!("{}x{}", m.width.get(), m.height.get())),
                })
            }
            Handles::Sink(m) => Figures::Sink(SinkFigures {
                fps,
                frame_bytes,
                records_consumed: m.consumed.get(),
                frames_stored: m.stored.get(),
                frames_durable: m.durable.get(),
                records_dead_lettered: m.dead_lettered.get(),
                records_lost: m.lost.get(),
                lag_records: m.lag.records(),
                lag_seconds: m.lag.seconds().map(|seconds| (seconds * 1000.0).round() / 1000.0),
                disk_free_bytes: m.disk_free.get(),
                disk_size_bytes: m.disk_size.get(),
                disk_free_ratio: (m.disk_size.get() > 0).then(|| ratio(m.disk_free.get(), m.disk_size.get())),
                bytes_stored: m.stored_bytes.get(),
                records_invalid: m.invalid_total(),
                // None before the group has spoken for the first time.
                topic_partitions: u32::try_from(m.topic_partitions.get()).ok().filter(|count| *count > 0),
                assigned_partitions: u32::try_from(m.assigned_partitions.get()).ok(),
                last_frame_time: moment(m.last_frame.get()),
            }),
        }
    }

    /// The bytes of all frames that came from the camera, or that the sink has written.
    pub fn bytes(&self) -> u64 {
        match &self.handles {
            Handles::Camera(m) => m.captured_bytes.get(),
            Handles::Sink(m) => m.stored_bytes.get(),
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

/// A gauge of Unix seconds; it is zero until it is set.
fn moment(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_microsecond((seconds * 1e6) as i64).ok().filter(|time| *time != Timestamp::UNIX_EPOCH)
}

/// A part of a whole, to three digits.
fn ratio(part: i64, whole: i64) -> f64 {
    (part as f64 / whole as f64 * 1000.0).round() / 1000.0
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
        fleet.members().iter().for_each(|member| member.sample(now));
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::name::ObjectName;

    use super::*;
    use edgereel_frame::reasons::{DropReason, InvalidReason};
    use edgereel_runtime::state::Kind;

    #[test]
    fn rates_are_means_over_the_window() {
        let start = Instant::now();
        let first = Sample { at: start, frames: 100, bytes: 1000 };
        let last = Sample { at: start + Duration::from_secs(5), frames: 250, bytes: 1000 + 150 * 85_000 };
        assert_eq!(rates(first, last), (30.0, 85_000));
        assert_eq!(rates(last, last), (0.0, 0));
    }

    fn name() -> ObjectName {
        ObjectName { namespace: "lab".into(), name: "gate".into() }
    }

    #[test]
    fn a_camera_tells_the_size_of_its_pictures_and_why_it_dropped_some() {
        let camera = Metrics::default().camera(&name());
        let member = Member::new(ResourceState::new(Kind::CameraStream, name()), Handles::Camera(camera.clone()), None);
        let figures = || match member.figures() {
            Figures::Camera(figures) => figures,
            Figures::Sink(_) => panic!("a camera"),
        };
        assert_eq!((figures().frame_size, figures().last_frame_time), (None, None), "not known yet");
        camera.width.set(1280);
        camera.height.set(720);
        camera.last_frame.set(1.5);
        (0..3).for_each(|_| camera.refuse(DropReason::truncated));
        camera.take_in(500);
        assert_eq!(figures().frame_size.as_deref(), Some("1280x720"));
        assert_eq!(figures().last_frame_time.map(|time| time.as_millisecond()), Some(1500));
        assert_eq!((figures().dropped["truncated"], figures().frames_dropped), (3, 3));
        assert_eq!((figures().frames_captured, figures().frames_waiting), (4, Some(1)));
        // A second later: only the one that goes on counts.
        let since = Instant::now() + Duration::from_secs(1);
        member.sample(since);
        assert_eq!((figures().fps.round(), figures().frame_bytes), (1.0, 500));
    }

    #[test]
    fn a_sink_tells_its_partitions_bytes_and_free_space() {
        let sink = Metrics::default().sink(&name());
        let member = Member::new(ResourceState::new(Kind::FrameSink, name()), Handles::Sink(sink.clone()), None);
        let figures = || match member.figures() {
            Figures::Sink(figures) => figures,
            Figures::Camera(_) => panic!("a sink"),
        };
        assert_eq!((figures().topic_partitions, figures().disk_free_ratio), (None, None), "not known yet");
        sink.assigned_partitions.set(2);
        sink.topic_partitions.set(3);
        sink.stored_bytes.inc_by(85_000);
        sink.invalid(InvalidReason::bad_json).inc();
        sink.disk_free.set(1 << 30);
        sink.disk_size.set(3 << 30);
        let figures = figures();
        assert_eq!((figures.assigned_partitions, figures.topic_partitions), (Some(2), Some(3)));
        assert_eq!((figures.bytes_stored, figures.records_invalid), (85_000, 1));
        assert_eq!(figures.disk_free_ratio, Some(0.333));
    }
}
