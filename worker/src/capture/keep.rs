//! What a camera keeps from one run to the next. Its supervisor holds it: a run may end in a failure or a panic.

use std::sync::Arc;

use bytes::Bytes;
use edgereel_crds::{camera_stream::RecordKey, plan::CameraPlan};
use edgereel_frame::{Frame, wire::FrameEncoder};
use jiff::Timestamp;
use tracing::warn;

use super::outbox::Outbox;
use crate::capture::{LastFrame, metrics::CameraMetrics};

/// A camera's frames that wait, and what its records and figures go on with. Cheap to clone; all clones hold the same.
#[derive(Clone)]
pub struct Keep {
    name: String,
    pub(super) key: Option<String>,
    /// Its session is that of all runs, as the frames' numbers are: so no `ce_id` comes twice.
    pub(super) encoder: FrameEncoder,
    pub(super) outbox: Arc<Outbox>,
    pub(super) metrics: CameraMetrics,
    pub(super) snapshot: Option<LastFrame>,
}

impl Keep {
    /// Before the first run. `snapshot` is where the last frame is left, if anywhere.
    pub fn new(plan: &CameraPlan, metrics: CameraMetrics, snapshot: Option<LastFrame>) -> Self {
        let spec = &plan.spec;
        let session = format!("{:016x}", rand::random::<u64>());
        let encoder = FrameEncoder::new(&plan.name, session, spec.encoding.format);
        let key = (spec.topic.key == RecordKey::Camera).then(|| plan.name.name.clone());
        let overhead = key.as_ref().map_or(0, String::len) + longest_headers(&encoder);
        let outbox = Outbox::new(&spec.buffer, *spec.producer.delivery_timeout, overhead, metrics.clone());
        Keep { name: plan.name.to_string(), key, encoder, outbox: Arc::new(outbox), metrics, snapshot }
    }

    /// The records' key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What makes records of frames.
    pub fn encoder(&self) -> &FrameEncoder {
        &self.encoder
    }

    /// The metrics.
    pub fn metrics(&self) -> &CameraMetrics {
        &self.metrics
    }

    /// There will be no other run: what waits for one is dropped, and counted.
    pub fn finish(&self) {
        let frames = self.outbox.discard();
        if frames > 0 {
            warn!(camera = self.name, frames, "stopped while they waited for Kafka");
        }
    }
}

fn longest_headers(encoder: &FrameEncoder) -> usize {
    let last = Frame { jpeg: Bytes::new(), captured_at: Timestamp::UNIX_EPOCH, sequence: u64::MAX };
    encoder.encode(&last).headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}
