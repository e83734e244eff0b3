//! Every metric of a worker, defined in one place. Names follow the Prometheus conventions; times are in seconds.
//!
//! A resource takes its own handles ([`CameraMetrics`], [`SinkMetrics`]) once and counts on them without a look-up.
//! [`account`] keeps a camera's frames in balance, [`lag`] is there while it is known, [`process`] tells what the process uses,
//! [`exposition`] writes all of it.

pub mod account;
pub mod counted;
pub mod exposition;
mod forget;
pub mod lag;
mod process;

use std::sync::{
    Arc, RwLock,
    atomic::{AtomicI64, AtomicU64},
};

use edgereel_crds::name::ObjectName;
use edgereel_frame::reasons::{InvalidReason, MendReason};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use self::{counted::Counted, lag::Lag};

/// A resource, as a label set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Resource {
    namespace: String,
    name: String,
}

/// A resource and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithReason {
    namespace: String,
    name: String,
    reason: &'static str,
}

/// A gauge of fractions.
pub type FloatGauge = Gauge<f64, AtomicU64>;

/// From 1 ms to a minute, finer around the 100 ms that users ask for.
const LATENCY_BUCKETS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Around the table's thresholds of 60 and 100 KB.
const FRAME_BYTES_BUCKETS: [f64; 12] = [5e3, 1e4, 2e4, 4e4, 6e4, 8e4, 1e5, 1.5e5, 2.5e5, 5e5, 1e6, 1e7];

fn latency() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}

fn frame_bytes() -> Histogram {
    Histogram::new(FRAME_BYTES_BUCKETS)
}

type Histograms = Family<Resource, Histogram, fn() -> Histogram>;

/// The process's one registry.
pub struct Metrics {
    registry: Registry,
    /// See [`account`].
    counting: Arc<RwLock<()>>,
    ready: Family<Resource, Gauge>,
    restarts: Family<Resource, Counter>,
    cam_captured: Family<Resource, Counter>,
    cam_captured_bytes: Family<Resource, Counter>,
    cam_forwarded: Family<Resource, Counter>,
    cam_forwarded_bytes: Family<Resource, Counter>,
    cam_acknowledged: Family<Resource, Counter>,
    cam_dropped: Family<WithReason, Counter>,
    cam_mended: Family<WithReason, Counter>,
    cam_oversize: Family<Resource, Counter>,
    cam_reconnects: Family<Resource, Counter>,
    cam_twice: Family<Resource, Gauge>,
    cam_waiting: Family<Resource, Gauge>,
    cam_buffer_bytes: Family<Resource, Gauge>,
    cam_target: Family<Resource, FloatGauge>,
    cam_last_frame: Family<Resource, FloatGauge>,
    cam_width: Family<Resource, Gauge>,
    cam_height: Family<Resource, Gauge>,
    cam_frame_bytes: Histograms,
    cam_ack_latency: Histograms,
    sink_consumed: Family<Resource, Counter>,
    sink_stored: Family<Resource, Counter>,
    sink_stored_bytes: Family<Resource, Counter>,
    sink_durable: Family<Resource, Counter>,
    sink_invalid: Family<WithReason, Counter>,
    sink_dead_lettered: Family<Resource, Counter>,
    sink_repeated: Family<Resource, Counter>,
    sink_skipped: Family<Resource, Counter>,
    sink_late: Family<Resource, Counter>,
    sink_implausible: Family<Resource, Counter>,
    sink_lost: Family<Resource, Counter>,
    sink_lag: Family<Resource, Gauge>,
    sink_lag_seconds: Family<Resource, FloatGauge>,
    sink_disk_free: Family<Resource, Gauge<i64, AtomicI64>>,
    sink_disk_size: Family<Resource, Gauge<i64, AtomicI64>>,
    sink_last_frame: Family<Resource, FloatGauge>,
    sink_assigned: Family<Resource, Gauge>,
    sink_partitions: Family<Resource, Gauge>,
    sink_rebalances: Family<Resource, Counter>,
    sink_file_latency: Histograms,
    sink_durable_latency: Histograms,
    sink_flush: Histograms,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process));
        let r = registry.sub_registry_with_prefix("edgereel");
        r.register("build_info", "Always 1: which version this is", process::build_info());
        /// Registers a family under a name and a help text, and gives it back.
        macro_rules! family {
            ($name:literal, $help:literal) => {{
                let family = Family::default();
                r.register($name, $help, family.clone());
                family
            }};
            ($name:literal, $help:literal, $unit:expr) => {{
                let family = Family::default();
                r.register_with_unit($name, $help, $unit, family.clone());
                family
            }};
            ($name:literal, $help:literal, $unit:expr, $make:expr) => {{
                let family: Histograms = Family::new_with_constructor($make);
                r.register_with_unit($name, $help, $unit, family.clone());
                family
            }};
        }
        Metrics {
            ready: family!("ready", "1 while the resource's Ready condition is true"),
            restarts: family!("restarts", "Restarts of the resource after a failure"),
            cam_captured: family!("camera_frames_captured", "Frames that came from the camera"),
            cam_captured_bytes: family!("camera_captured", "Bytes of frames that came from the camera", Unit::Bytes),
            cam_forwarded: family!("camera_frames_forwarded", "Frames that went on towards Kafka, not dropped at once"),
            cam_forwarded_bytes: family!("camera_forwarded", "Bytes of frames that went on towards Kafka", Unit::Bytes),
            cam_acknowledged: family!("camera_frames_acknowledged", "Frames that Kafka acknowledged"),
            cam_dropped: family!("camera_frames_dropped", "Frames that did not reach Kafka, by reason"),
            cam_mended: family!(
                "camera_frames_mended",
                "Frames that were changed before they went on, by what was done"
            ),
            cam_oversize: family!("camera_frames_oversize", "Frames larger than warnFrameBytes"),
            cam_reconnects: family!("camera_reconnects", "Times that the camera was dialled again"),
            cam_twice: family!(
                "camera_captured_twice",
                "1 while another process captures this camera into the same topic"
            ),
            cam_waiting: family!(
                "camera_frames_waiting",
                "Frames that came and are neither acknowledged nor dropped yet"
            ),
            cam_buffer_bytes: family!("camera_buffer", "Bytes of frames waiting or in flight", Unit::Bytes),
            cam_target: family!("camera_frame_rate_target", "Frames a second that pacing lets through now"),
            cam_last_frame: family!("camera_last_frame_timestamp", "Unix time of the last frame", Unit::Seconds),
            cam_width: family!("camera_frame_width_pixels", "Width of the last frame"),
            cam_height: family!("camera_frame_height_pixels", "Height of the last frame"),
            cam_frame_bytes: family!("camera_frame", "Size of captured frames", Unit::Bytes, frame_bytes),
            cam_ack_latency: family!(
                "camera_capture_to_acknowledged",
                "From capture to Kafka's acknowledgement",
                Unit::Seconds,
                latency
            ),
            sink_consumed: family!("sink_records_consumed", "Records read from Kafka"),
            sink_stored: family!("sink_frames_stored", "Frames written (not yet necessarily durable)"),
            sink_stored_bytes: family!("sink_stored", "Bytes of frames written", Unit::Bytes),
            sink_durable: family!("sink_frames_durable", "Frames durable on disk with their offsets committed"),
            sink_invalid: family!("sink_records_invalid", "Records that are not frames, by reason"),
            sink_dead_lettered: family!("sink_records_dead_lettered", "Records sent to the dead-letter topic"),
            sink_repeated: family!("sink_frames_repeated", "Pictures shown again to keep real time"),
            sink_skipped: family!("sink_frames_skipped", "Pictures left out of a video to keep real time"),
            sink_late: family!("sink_frames_late", "Frames that came after the merge window and stand out of order"),
            sink_implausible: family!(
                "sink_frames_implausible",
                "Frames whose capture time is far from their neighbours' and does not order them"
            ),
            sink_lost: family!("sink_records_lost", "Records that were gone from the topic before they were read"),
            sink_lag: family!("sink_lag_records", "Records of the topic that are not yet committed"),
            sink_lag_seconds: family!("sink_lag", "Age of the oldest record not yet stored", Unit::Seconds),
            sink_disk_free: family!("sink_disk_free", "Free space of the output's file system", Unit::Bytes),
            sink_disk_size: family!("sink_disk_size", "Size of the output's file system", Unit::Bytes),
            sink_last_frame: family!(
                "sink_last_frame_timestamp",
                "Unix time at which the last frame written was captured",
                Unit::Seconds
            ),
            sink_assigned: family!("sink_assigned_partitions", "Partitions that this worker reads now"),
            sink_partitions: family!("sink_topic_partitions", "Partitions of the topics, whoever reads them"),
            sink_rebalances: family!("sink_rebalances", "Assignments of partitions"),
            sink_file_latency: family!(
                "sink_capture_to_file",
                "From capture to the frame's bytes standing in their file",
                Unit::Seconds,
                latency
            ),
            sink_durable_latency: family!(
                "sink_capture_to_durable",
                "From capture to the frame being durable",
                Unit::Seconds,
                latency
            ),
            sink_flush: family!("sink_flush", "How long a flush to the disk took", Unit::Seconds, latency),
            registry,
            counting: Arc::default(),
        }
    }
}

/// One camera's handles.
#[derive(Clone)]
#[allow(missing_docs)] // each field's meaning is its metric's help text above
pub struct CameraMetrics {
    resource: Resource,
    dropped: Family<WithReason, Counter>,
    mended: Family<WithReason, Counter>,
    counting: Arc<RwLock<()>>,
    captured: Counter,
    forwarded: Counter,
    forwarded_bytes: Counter,
    acknowledged: Counter,
    waiting: Gauge,
    pub ready: Gauge,
    pub restarts: Counter,
    pub captured_bytes: Counter,
    pub oversize: Counter,
    pub reconnects: Counter,
    pub captured_twice: Gauge,
    pub buffer_bytes: Gauge,
    pub target: FloatGauge,
    pub last_frame: FloatGauge,
    pub width: Gauge,
    pub height: Gauge,
    pub frame_bytes: Histogram,
    pub ack_latency: Histogram,
}

impl CameraMetrics {
    /// The counter of frames mended in this way.
    pub fn mended(&self, reason: MendReason) -> Counter {
        let Resource { namespace, name } = self.resource.clone();
        self.mended.get_or_create(&WithReason { namespace, name, reason: reason.as_str() }).clone()
    }
}

/// One sink's handles.
#[derive(Clone)]
#[allow(missing_docs)] // each field's meaning is its metric's help text above
pub struct SinkMetrics {
    resource: Resource,
    invalid: Family<WithReason, Counter>,
    pub ready: Gauge,
    pub restarts: Counter,
    pub consumed: Counter,
    pub stored: Counter,
    pub stored_bytes: Counter,
    pub durable: Counter,
    pub dead_lettered: Counter,
    pub repeated: Counter,
    pub skipped: Counter,
    pub late: Counter,
    pub implausible: Counter,
    pub lost: Counter,
    pub lag: Lag,
    /// How far it has counted, so that what is read again is not counted again.
    pub counted: Counted,
    pub disk_free: Gauge<i64, AtomicI64>,
    pub disk_size: Gauge<i64, AtomicI64>,
    pub last_frame: FloatGauge,
    pub assigned_partitions: Gauge,
    pub topic_partitions: Gauge,
    pub rebalances: Counter,
    pub file_latency: Histogram,
    pub durable_latency: Histogram,
    pub flush: Histogram,
}

impl SinkMetrics {
    /// The counter of records that are not frames, for this reason.
    pub fn invalid(&self, reason: InvalidReason) -> Counter {
        let Resource { namespace, name } = self.resource.clone();
        self.invalid.get_or_create(&WithReason { namespace, name, reason: reason.as_str() }).clone()
    }

    /// Records that are not frames, over all reasons.
    pub fn invalid_total(&self) -> u64 {
        InvalidReason::ALL.iter().map(|reason| self.invalid(*reason).get()).sum()
    }
}

impl Metrics {
    /// The handles of a camera.
    pub fn camera(&self, name: &ObjectName) -> CameraMetrics {
        let r = Resource { namespace: name.namespace.clone(), name: name.name.clone() };
        CameraMetrics {
            dropped: self.cam_dropped.clone(),
            mended: self.cam_mended.clone(),
            counting: self.counting.clone(),
            waiting: self.cam_waiting.get_or_create(&r).clone(),
            ready: self.ready.get_or_create(&r).clone(),
            restarts: self.restarts.get_or_create(&r).clone(),
            captured: self.cam_captured.get_or_create(&r).clone(),
            captured_bytes: self.cam_captured_bytes.get_or_create(&r).clone(),
            forwarded: self.cam_forwarded.get_or_create(&r).clone(),
            forwarded_bytes: self.cam_forwarded_bytes.get_or_create(&r).clone(),
            acknowledged: self.cam_acknowledged.get_or_create(&r).clone(),
            oversize: self.cam_oversize.get_or_create(&r).clone(),
            reconnects: self.cam_reconnects.get_or_create(&r).clone(),
            captured_twice: self.cam_twice.get_or_create(&r).clone(),
            buffer_bytes: self.cam_buffer_bytes.get_or_create(&r).clone(),
            target: self.cam_target.get_or_create(&r).clone(),
            last_frame: self.cam_last_frame.get_or_create(&r).clone(),
            width: self.cam_width.get_or_create(&r).clone(),
            height: self.cam_height.get_or_create(&r).clone(),
            frame_bytes: self.cam_frame_bytes.get_or_create(&r).clone(),
            ack_latency: self.cam_ack_latency.get_or_create(&r).clone(),
            resource: r,
        }
    }

    /// The handles of a sink.
    pub fn sink(&self, name: &ObjectName) -> SinkMetrics {
        let r = Resource { namespace: name.namespace.clone(), name: name.name.clone() };
        SinkMetrics {
            invalid: self.sink_invalid.clone(),
            ready: self.ready.get_or_create(&r).clone(),
            restarts: self.restarts.get_or_create(&r).clone(),
            consumed: self.sink_consumed.get_or_create(&r).clone(),
            stored: self.sink_stored.get_or_create(&r).clone(),
            stored_bytes: self.sink_stored_bytes.get_or_create(&r).clone(),
            durable: self.sink_durable.get_or_create(&r).clone(),
            dead_lettered: self.sink_dead_lettered.get_or_create(&r).clone(),
            repeated: self.sink_repeated.get_or_create(&r).clone(),
            skipped: self.sink_skipped.get_or_create(&r).clone(),
            late: self.sink_late.get_or_create(&r).clone(),
            implausible: self.sink_implausible.get_or_create(&r).clone(),
            lost: self.sink_lost.get_or_create(&r).clone(),
            counted: Counted::default(),
            lag: Lag::new(r.clone(), self.sink_lag.clone(), self.sink_lag_seconds.clone()),
            disk_free: self.sink_disk_free.get_or_create(&r).clone(),
            disk_size: self.sink_disk_size.get_or_create(&r).clone(),
            last_frame: self.sink_last_frame.get_or_create(&r).clone(),
            assigned_partitions: self.sink_assigned.get_or_create(&r).clone(),
            topic_partitions: self.sink_partitions.get_or_create(&r).clone(),
            rebalances: self.sink_rebalances.get_or_create(&r).clone(),
            file_latency: self.sink_file_latency.get_or_create(&r).clone(),
            durable_latency: self.sink_durable_latency.get_or_create(&r).clone(),
            flush: self.sink_flush.get_or_create(&r).clone(),
            resource: r,
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_frame::reasons::DropReason;

    use super::*;

    #[test]
    fn a_dropped_frame_shows_under_its_camera_and_reason() {
        let metrics = Metrics::default();
        let camera = metrics.camera(&ObjectName { namespace: "lab".into(), name: "agricam3".into() });
        camera.refuse(DropReason::buffer_full);
        camera.ack_latency.observe(0.02);
        let text = metrics.text(exposition::Format::OpenMetrics);
        let line = r#"edgereel_camera_frames_dropped_total{namespace="lab",name="agricam3",reason="buffer_full"} 1"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("edgereel_camera_capture_to_acknowledged_seconds_bucket"), "{text}");
    }
}
