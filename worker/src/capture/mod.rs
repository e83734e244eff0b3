//! One camera to Kafka.
//!
//! Two tasks joined by an [`outbox::Outbox`]: [`camera`] dials, reads, paces and mends, and never waits; [`sender`] feeds
//! the producer and hears of each frame's fate. [`pacing`], [`watchdog`] and the outbox are pure and take the time as an
//! argument; [`health`] makes conditions of what both tasks know.

pub mod camera;
pub mod health;
pub mod outbox;
pub mod pacing;
pub mod sender;
pub mod watchdog;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use edgereel_crds::{
    check::largest_record,
    common::FrameFormat,
    plan::CameraPlan,
    status::{ConditionStatus, ConditionType, Reason},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{camera::Camera, health::Health, outbox::Outbox, sender::Sender};
use crate::{
    fault::Fault, frame::Frame, kafka::topics, metrics::CameraMetrics, secrets::Secrets, source, state::ResourceState,
};

/// What a stop may take: the pod's grace period is 30 s.
const STOP: Duration = Duration::from_secs(10);

/// What a camera's run works with.
pub struct CaptureEnv {
    /// Where logins are.
    pub secrets: Secrets,
    /// Where it counts.
    pub metrics: CameraMetrics,
    /// Where it says how it fares.
    pub state: ResourceState,
    /// Where it leaves its last frame, if anywhere.
    pub snapshot: Option<Snapshot>,
    /// When to stop.
    pub shutdown: CancellationToken,
}

/// A camera's last frame.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(Arc<Mutex<Option<Frame>>>);

impl Snapshot {
    /// The last frame that was fit to send.
    pub fn get(&self) -> Option<Frame> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, frame: Frame) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(frame);
    }
}

/// Captures until shutdown. An error is for the supervisor: it starts the camera again.
pub async fn run(plan: &CameraPlan, env: CaptureEnv) -> Result<(), Fault> {
    let source = source::open(plan, &env.secrets)?;
    // Until the topic is there, Ready keeps the reason that the last attempt left: no flicker while Kafka is down.
    let undialled = "dialled as soon as Kafka has the topic";
    env.state.set(ConditionType::CameraOnline, ConditionStatus::Unknown, Reason::KafkaConnecting, undialled);
    let largest = largest_record(plan.spec.encoding.max_frame_bytes, plan.spec.encoding.format);
    let ensured = tokio::select! {
        () = env.shutdown.cancelled() => return Ok(()),
        ensured = topics::ensure(&plan.connection, &env.secrets, &plan.spec.topic, largest) => ensured,
    };
    let limit = ensured?.max_message_bytes;
    let health = Arc::new(Health::new(env.state));
    let settings = &plan.spec.producer;
    // librdkafka's batches are never larger than the topic takes.
    let batch = settings.batch_bytes.0.min(limit.unwrap_or(largest)) as usize;
    let batch = match plan.spec.encoding.format {
        FrameFormat::Jpeg => batch,
        FrameFormat::Json => batch / 4 * 3,
    };
    let outbox = Arc::new(Outbox::new(&plan.spec.buffer, batch, *settings.delivery_timeout));
    let sender = Sender::new(plan, &env.secrets, limit, health.clone(), outbox.clone(), env.metrics.clone())?;
    info!(camera = %plan.name, topic = plan.spec.topic.name, "capturing");
    let camera = Camera::new(plan, source, health, outbox.clone(), env.metrics, env.snapshot);
    // The camera stops first; the sender then empties the outbox.
    let stop_camera = env.shutdown.child_token();
    let reading = async {
        camera.run(stop_camera.clone()).await;
        outbox.close();
    };
    let sending = async {
        let outcome = sender.run(STOP).await;
        // A sender that failed ends the run: the camera must not read on into nowhere.
        stop_camera.cancel();
        outcome
    };
    tokio::join!(reading, sending).1
}
