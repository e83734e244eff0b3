//! The task that feeds the producer from the outbox and hears of each frame's fate.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use edgereel_crds::{
    camera_stream::RecordKey,
    plan::CameraPlan,
    status::Reason,
};
use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    health::{End, Health},
    largest_value,
    outbox::Outbox,
};
use crate::{
    frame::wire::Encoder,
    kafka::{
        client::{Broker, KafkaFault},
        producer::{Delivery, FrameProducer, Record, SendError},
    },
    metrics::{CameraMetrics, DropReason},
    run::Fault,
    secrets::Secrets,
    throttle::Throttle,
};

/// How often the brokers' health is looked at when nothing else happens.
const LOOK: Duration = Duration::from_secs(1);

/// What is remembered of a frame in flight.
pub(super) struct Sent {
    captured_at: Timestamp,
    bytes: usize,
}

/// What the producer's own thread does with each delivery.
struct Deliveries {
    camera: String,
    health: Arc<Health>,
    outbox: Arc<Outbox>,
    metrics: CameraMetrics,
    complaints: Throttle,
}

impl Deliveries {
    fn take(&self, delivery: Delivery<Sent>) {
        let Delivery { token, result } = delivery;
        match result {
            Ok(_) => {
                self.metrics.acknowledged.inc();
                let latency = Timestamp::now().duration_since(token.captured_at).as_secs_f64();
                self.metrics.ack_latency.observe(latency.max(0.0));
                if self.health.kafka(End::Up) {
                    info!(camera = self.camera, "Kafka acknowledges");
                }
            }
            Err(fault) => {
                self.metrics.dropped(drop_reason(fault.reason)).inc();
                self.health.kafka(End::Down(fault.reason, fault.message.clone()));
                if let Some(held) = self.complaints.allow(Instant::now()) {
                    warn!(camera = self.camera, held_back = held, "Kafka did not take a frame: {fault}");
                }
            }
        }
        self.outbox.landed(token.bytes);
        self.metrics.buffer_bytes.set(self.outbox.bytes() as i64);
    }
}

/// Unreachable brokers show as frames that ran out of time; everything else is a refusal.
fn drop_reason(reason: Reason) -> DropReason {
    match reason {
        Reason::KafkaUnreachable | Reason::KafkaConnecting => DropReason::delivery_timeout,
        Reason::MessageTooLarge => DropReason::too_large,
        _ => DropReason::delivery_failed,
    }
}

/// Feeds the producer.
pub(super) struct Sender {
    camera: String,
    key: Option<String>,
    encoder: Encoder,
    producer: FrameProducer<Sent>,
    health: Arc<Health>,
    outbox: Arc<Outbox>,
    metrics: CameraMetrics,
    fatal: Arc<OnceLock<KafkaFault>>,
}

impl Sender {
    pub(super) fn new(
        plan: &CameraPlan,
        secrets: &Secrets,
        health: Arc<Health>,
        outbox: Arc<Outbox>,
        metrics: CameraMetrics,
    ) -> Result<Self, KafkaFault> {
        let deliveries = Deliveries {
            camera: plan.name.to_string(),
            health: health.clone(),
            outbox: outbox.clone(),
            metrics: metrics.clone(),
            complaints: Throttle::new(Duration::from_secs(10)),
        };
        let producer = FrameProducer::new(plan, secrets, largest_value(plan), move |delivery| deliveries.take(delivery))?;
        let session = format!("{:08x}", rand::random::<u32>());
        Ok(Sender {
            camera: plan.name.to_string(),
            key: (plan.spec.topic.key == RecordKey::Camera).then(|| plan.name.name.clone()),
            encoder: Encoder::new(&plan.name, &session, plan.spec.encoding.format),
            producer,
            health,
            outbox,
            metrics,
            fatal: Arc::default(),
        })
    }

    /// Sends until the outbox is closed and empty, then waits up to `grace` for what is in flight.
    pub(super) async fn run(self, grace: Duration) -> Result<(), Fault> {
        let mut look = tokio::time::interval(LOOK);
        while !self.outbox.is_drained() {
            self.pump().map_err(|fault| Fault::new(fault.reason, fault))?;
            tokio::select! {
                () = self.outbox.changed() => {}
                _ = look.tick() => self.look(),
            }
        }
        let lost = self.producer.finish(grace).await + self.outbox.discard();
        if lost > 0 {
            self.metrics.dropped(DropReason::shutdown).inc_by(lost);
            warn!(camera = self.camera, frames = lost, "stopped before Kafka acknowledged them");
        }
        Ok(())
    }

    /// Hands over as many frames as the producer takes.
    fn pump(&self) -> Result<(), KafkaFault> {
        while let Some(frame) = self.outbox.take() {
            let encoded = self.encoder.encode(&frame);
            let record = Record {
                key: self.key.as_deref().map(str::as_bytes),
                value: &encoded.value,
                headers: &encoded.headers,
                timestamp: frame.captured_at,
            };
            let sent = Sent { captured_at: frame.captured_at, bytes: frame.jpeg.len() };
            match self.producer.send(record, sent) {
                Ok(()) => {}
                Err(SendError::Full) => {
                    self.outbox.put_back(frame);
                    break;
                }
                Err(SendError::TooLarge(_)) => {
                    self.metrics.dropped(DropReason::too_large).inc();
                    self.outbox.landed(frame.jpeg.len());
                }
                Err(SendError::Fatal(fault)) => {
                    self.outbox.put_back(frame);
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// What the brokers' connections say, where no delivery has said it yet.
    fn look(&self) {
        if let Broker::Down(fault) = self.producer.health().snapshot()
            && self.health.kafka(End::Down(fault.reason, fault.message.clone()))
        {
            warn!(camera = self.camera, "{fault}");
        }
    }
}
