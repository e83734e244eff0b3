//! A camera's metrics: families, and one camera's handles. [`account`] keeps its frames in balance.

pub mod account;

use edgereel_crds::name::{Kind, ObjectName};
use edgereel_frame::reasons::{DropReason, MendReason};
use edgereel_runtime::metrics::{Counting, FloatGauge, Histograms, Metrics, Resource, WithReason, latency};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

/// Around the table's thresholds of 60 and 100 KB.
fn frame_bytes() -> Histogram {
    Histogram::new([5e3, 1e4, 2e4, 4e4, 6e4, 8e4, 1e5, 1.5e5, 2.5e5, 5e5, 1e6, 1e7])
}

/// What is counted of cameras.
#[derive(Clone)]
pub struct CameraFamilies {
    counting: Counting,
    captured: Family<Resource, Counter>,
    captured_bytes: Family<Resource, Counter>,
    forwarded: Family<Resource, Counter>,
    forwarded_bytes: Family<Resource, Counter>,
    acknowledged: Family<Resource, Counter>,
    dropped: Family<WithReason, Counter>,
    mended: Family<WithReason, Counter>,
    oversize: Family<Resource, Counter>,
    reconnects: Family<Resource, Counter>,
    captured_twice: Family<Resource, Gauge>,
    waiting: Family<Resource, Gauge>,
    buffer_bytes: Family<Resource, Gauge>,
    target: Family<Resource, FloatGauge>,
    last_frame: Family<Resource, FloatGauge>,
    width: Family<Resource, Gauge>,
    height: Family<Resource, Gauge>,
    frame_bytes: Histograms,
    ack_latency: Histograms,
}

impl CameraFamilies {
    /// Declares them.
    pub fn new(m: &mut Metrics) -> Self {
        let reasons = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        let mended = MendReason::ALL.iter().map(|reason| reason.as_str()).collect();
        CameraFamilies {
            counting: m.counting(),
            captured: m.family("camera_frames_captured", "Frames that came from the camera"),
            captured_bytes: m.family_in(Unit::Bytes, "camera_captured", "Bytes of frames that came from the camera"),
            forwarded: m.family("camera_frames_forwarded", "Frames that went on towards Kafka, not dropped at once"),
            forwarded_bytes: m.family_in(Unit::Bytes, "camera_forwarded", "Bytes of frames that went on towards Kafka"),
            acknowledged: m.family("camera_frames_acknowledged", "Frames that Kafka acknowledged"),
            dropped: m.by_reason("camera_frames_dropped", "Frames that did not reach Kafka, by reason", reasons),
            mended: m.by_reason(
                "camera_frames_mended",
                "Frames that were changed before they went on, by what was done",
                mended,
            ),
            oversize: m.family("camera_frames_oversize", "Frames larger than warnFrameBytes"),
            reconnects: m.family("camera_reconnects", "Times that the camera was dialled again"),
            captured_twice: m
                .family("camera_captured_twice", "1 while another process captures this camera into the same topic"),
            waiting: m.family("camera_frames_waiting", "Frames that came and are neither acknowledged nor dropped yet"),
            buffer_bytes: m.family_in(Unit::Bytes, "camera_buffer", "Bytes of frames waiting or in flight"),
            target: m.family("camera_frame_rate_target", "Frames a second that pacing lets through now"),
            last_frame: m.family_in(Unit::Seconds, "camera_last_frame_timestamp", "Unix time of the last frame"),
            width: m.family("camera_frame_width_pixels", "Width of the last frame"),
            height: m.family("camera_frame_height_pixels", "Height of the last frame"),
            frame_bytes: m.histograms(Unit::Bytes, "camera_frame", "Size of captured frames", frame_bytes),
            ack_latency: m.histograms(
                Unit::Seconds,
                "camera_capture_to_acknowledged",
                "From capture to Kafka's acknowledgement",
                latency,
            ),
        }
    }

    /// The handles of a camera.
    pub fn of(&self, name: &ObjectName) -> CameraMetrics {
        let r = Resource::new(Kind::CameraStream, name, 0);
        CameraMetrics {
            dropped: self.dropped.clone(),
            mended: self.mended.clone(),
            counting: self.counting.clone(),
            waiting: self.waiting.get_or_create(&r).clone(),
            captured: self.captured.get_or_create(&r).clone(),
            captured_bytes: self.captured_bytes.get_or_create(&r).clone(),
            forwarded: self.forwarded.get_or_create(&r).clone(),
            forwarded_bytes: self.forwarded_bytes.get_or_create(&r).clone(),
            acknowledged: self.acknowledged.get_or_create(&r).clone(),
            oversize: self.oversize.get_or_create(&r).clone(),
            reconnects: self.reconnects.get_or_create(&r).clone(),
            captured_twice: self.captured_twice.get_or_create(&r).clone(),
            buffer_bytes: self.buffer_bytes.get_or_create(&r).clone(),
            target: self.target.get_or_create(&r).clone(),
            last_frame: self.last_frame.get_or_create(&r).clone(),
            width: self.width.get_or_create(&r).clone(),
            height: self.height.get_or_create(&r).clone(),
            frame_bytes: self.frame_bytes.get_or_create(&r).clone(),
            ack_latency: self.ack_latency.get_or_create(&r).clone(),
            resource: r,
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
    counting: Counting,
    captured: Counter,
    forwarded: Counter,
    forwarded_bytes: Counter,
    acknowledged: Counter,
    waiting: Gauge,
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
        self.mended.get_or_create(&self.resource.because(reason.as_str())).clone()
    }
}

#[cfg(test)]
mod tests {
    use edgereel_runtime::metrics::exposition::Format;

    use super::*;

    #[test]
    fn a_dropped_frame_shows_under_its_camera_and_reason() {
        let mut metrics = Metrics::default();
        let families = CameraFamilies::new(&mut metrics);
        let camera = families.of(&ObjectName { namespace: "lab".into(), name: "agricam3".into() });
        camera.refuse(DropReason::buffer_full);
        camera.ack_latency.observe(0.02);
        let text = metrics.text(Format::OpenMetrics);
        let labels = r#"kind="CameraStream",namespace="lab",name="agricam3",replica="0",reason="buffer_full""#;
        let line = format!("edgereel_camera_frames_dropped_total{{{labels}}} 1");
        assert!(text.contains(&line), "{text}");
        assert!(text.contains("edgereel_camera_capture_to_acknowledged_seconds_bucket"), "{text}");
    }
}
