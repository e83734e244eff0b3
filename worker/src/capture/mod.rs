//! One camera to Kafka.
//!
//! Two tasks joined by an [`outbox::Outbox`]: [`camera`] dials, reads, paces and mends, and never waits; [`sender`] feeds
//! the producer and hears of each frame's fate. [`pacing`], [`watchdog`], [`losing`], [`lines`] and the outbox are pure and take the time as an
//! argument; [`hours`] keeps to the active hours; [`twin`] looks for another process that captures the same; [`health`] makes conditions of what both tasks know; [`keep`] holds what outlives a run of them.
//! [`patient`] is for what can wait.

pub mod camera;
pub mod health;
mod hours;
pub mod keep;
pub mod lines;
pub mod losing;
pub mod metrics;
pub mod outbox;
pub mod patient;
pub mod sender;
pub mod twin;
pub mod watchdog;

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::{
    check::largest_record,
    common::FrameFormat,
    plan::CameraPlan,
    status::{ConditionStatus, ConditionType, Reason},
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use self::keep::Keep;
use edgereel_frame::Frame;
use edgereel_kafka::topics;
use edgereel_runtime::{fault::Fault, secrets::Secrets, state::ResourceState};

use self::{camera::Camera, health::Health, sender::Sender};
use crate::source::{self, Source};

/// What a stop may take: the pod's grace period is 30 s.
const STOP: Duration = Duration::from_secs(10);

/// What a camera's run works with.
#[derive(Clone)]
pub struct CaptureEnv {
    /// Where logins are.
    pub secrets: Secrets,
    /// What it has from the runs before, and leaves to the next.
    pub keep: Keep,
    /// Where it says how it fares.
    pub state: ResourceState,
    /// When to stop.
    pub shutdown: CancellationToken,
}

/// A camera's last frame.
#[derive(Clone, Debug, Default)]
pub struct LastFrame(Arc<Mutex<Option<Frame>>>);

impl LastFrame {
    /// The last frame that was fit to send.
    pub fn get(&self) -> Option<Frame> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, frame: Frame) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(frame);
    }
}

/// Captures until shutdown, in its active hours. An error is for the supervisor: it starts the camera again.
pub async fn run(plan: &CameraPlan, env: CaptureEnv) -> Result<(), Fault> {
    run_from(plan, env, |env| Ok(source::open(plan, &env.secrets)?)).await
}

/// The same, from the source that `open` gives at each start.
pub async fn run_from(
    plan: &CameraPlan,
    env: CaptureEnv,
    open: impl Fn(&CaptureEnv) -> Result<Box<dyn Source>, Fault>,
) -> Result<(), Fault> {
    in_hours(plan, env, |env| async {
        let source = open(&env)?;
        capture(plan, env, source).await
    })
    .await
}

/// Does this in the camera's active hours.
pub async fn in_hours<F>(plan: &CameraPlan, env: CaptureEnv, work: impl Fn(CaptureEnv) -> F) -> Result<(), Fault>
where
    F: Future<Output = Result<(), Fault>>,
{
    match &plan.spec.active_hours {
        None => work(env).await,
        Some(spec) => hours::keep(spec, env, Timestamp::now, work).await,
    }
}

async fn capture(plan: &CameraPlan, env: CaptureEnv, source: Box<dyn Source>) -> Result<(), Fault> {
    let keep = env.keep;
    // However long Kafka has been away: nothing waits for longer than it may.
    keep.outbox.expire(Instant::now());
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
    // With OAuth a token may have to be waited for.
    let make = || Sender::new(plan, &env.secrets, limit, health.clone(), &keep);
    let sender = tokio::task::block_in_place(make)?;
    let outbox = keep.outbox.clone();
    outbox.open(batch);
    info!(camera = %plan.name, topic = plan.spec.topic.name, "capturing");
    let others = twin::look_out(plan, &env.secrets, &keep, health.clone());
    let camera = Camera::new(plan, source, health.clone(), &keep);
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
    let noticing = twin::tell(plan, others, &health, &keep, &stop_camera);
    tokio::join!(reading, sending, noticing).1
}
