//! The task that feeds the producer from the outbox and hears of each frame's fate.

use std::{
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use edgereel_crds::{camera_stream::RecordKey, plan::CameraPlan, status::Reason};
use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    health::{End, Health},
    outbox::Outbox,
    watchdog::Silent,
};
use crate::{
    fault::Fault,
    frame::wire::FrameEncoder,
    kafka::{
        client::{Health as Brokers, KafkaFault},
        health::Snapshot,
        producer::{Delivery, FrameProducer, Options, Record, SendError, Undelivered},
    },
    metrics::{CameraMetrics, DropReason},
    secrets::Secrets,
    throttle::Throttle,
};

/// How often the brokers' health is looked at when nothing else happens.
const LOOK: Duration = Duration::from_secs(1);

/// Frames may be on their way for this long without an acknowledgement: a slow broker flushes in less.
const SILENCE: Duration = Duration::from_secs(5);

/// What is remembered of a frame in flight.
pub(super) struct Sent {
    captured_at: Timestamp,
    bytes: usize,
}

/// What is done with each delivery.
struct Deliveries {
    camera: String,
    health: Arc<Health>,
    outbox: Arc<Outbox>,
    metrics: CameraMetrics,
    complaints: Throttle,
}

impl Deliveries {
    fn take(&self, delivery: Delivery<Sent>) {
        let Delivery { token, at, result } = delivery;
        match result {
            Ok(_) => {
                self.metrics.acknowledged.inc();
                let latency = at.duration_since(token.captured_at).as_secs_f64();
                self.metrics.ack_latency.observe(latency.max(0.0));
                if self.health.kafka(End::Up) {
                    info!(camera = self.camera, "Kafka acknowledges");
                }
            }
            Err(Undelivered { reason, fault }) => {
                self.metrics.dropped(reason).inc();
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

/// Feeds the producer.
pub(super) struct Sender {
    camera: String,
    key: Option<String>,
    encoder: FrameEncoder,
    producer: FrameProducer<Sent>,
    health: Arc<Health>,
    outbox: Arc<Outbox>,
    metrics: CameraMetrics,
    complaints: Throttle,
}

impl Sender {
    pub(super) fn new(
        plan: &CameraPlan,
        secrets: &Secrets,
        topic_limit: Option<u64>,
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
        let options = Options::for_camera(plan, topic_limit);
        let on_delivery = move |delivery| deliveries.take(delivery);
        let producer = FrameProducer::new(&plan.connection, secrets, &options, on_delivery)?;
        // Unique for each run, so that `ce_id` never repeats.
        let session = format!("{:016x}", rand::random::<u64>());
        Ok(Sender {
            camera: plan.name.to_string(),
            key: (plan.spec.topic.key == RecordKey::Camera).then(|| plan.name.name.clone()),
            encoder: FrameEncoder::new(&plan.name, session, plan.spec.encoding.format),
            producer,
            health,
            outbox,
            metrics,
            complaints: Throttle::new(Duration::from_secs(10)),
        })
    }

    /// Sends until the outbox is closed, and then for up to `grace` what is still in it.
    pub(super) async fn run(self, grace: Duration) -> Result<(), Fault> {
        let mut look = tokio::time::interval(LOOK);
        let mut silent = Silent::new(SILENCE);
        let mut deadline = None;
        while !self.outbox.is_drained() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            // The deliveries of earlier frames are taken in with each new one, unless frames wait for them.
            self.producer.serve();
            self.pump()?;
            self.producer.set_prompt(self.outbox.is_closed() || self.outbox.has_waiting());
            tokio::select! {
                () = self.outbox.changed() => {}
                _ = look.tick() => self.look(self.producer.health(), &mut silent),
            }
            if self.outbox.is_closed() {
                deadline.get_or_insert(Instant::now() + grace);
            }
        }
        let left = deadline.map_or(grace, |deadline| deadline.saturating_duration_since(Instant::now()));
        let lost = self.outbox.discard();
        self.metrics.dropped(DropReason::shutdown).inc_by(lost);
        let (producer, camera) = (self.producer, self.camera);
        // Waits for the last acknowledgements; each frame that gets none is counted by its delivery report.
        let given_up = tokio::task::spawn_blocking(move || producer.close(left)).await.unwrap_or_default();
        if lost + given_up > 0 {
            warn!(camera, frames = lost + given_up, "stopped before Kafka acknowledged them");
        }
        Ok(())
    }

    /// Hands over as many frames as may fly.
    fn pump(&self) -> Result<(), KafkaFault> {
        self.expire();
        let mut frames = self.outbox.take().into_iter();
        while let Some(taken) = frames.next() {
            let frame = &taken.frame;
            let encoded = self.encoder.encode(frame);
            let record = Record {
                key: self.key.as_deref().map(str::as_bytes),
                value: Some(&encoded.value),
                headers: encoded.headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))),
                timestamp: frame.captured_at,
            };
            let sent = Sent { captured_at: frame.captured_at, bytes: frame.jpeg.len() };
            match self.producer.send(record, sent) {
                Ok(()) => {}
                Err(SendError::TooLarge) => {
                    self.metrics.dropped(DropReason::too_large).inc();
                    self.outbox.landed(frame.jpeg.len());
                }
                Err(SendError::Full) => {
                    self.outbox.put_back(iter::once(taken).chain(frames));
                    break;
                }
                Err(SendError::Fatal(fault)) => {
                    self.outbox.put_back(iter::once(taken).chain(frames));
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    fn expire(&self) {
        let now = Instant::now();
        let expired = self.outbox.expire(now);
        if expired > 0 {
            self.metrics.dropped(DropReason::delivery_timeout).inc_by(expired);
            if let Some(held) = self.complaints.allow(now) {
                let camera = &self.camera;
                warn!(camera, held_back = held, frames = expired, "gave up frames after producer.deliveryTimeout");
            }
        }
    }

    /// What the brokers' connections and their silence say, where no delivery has said it yet.
    fn look(&self, brokers: &Brokers, silent: &mut Silent) {
        let failed = [DropReason::delivery_timeout, DropReason::delivery_failed].map(|r| self.metrics.dropped(r).get());
        let landed = self.metrics.acknowledged.get() + failed.iter().sum::<u64>();
        let is_silent = silent.observe(landed, self.outbox.bytes_in_flight() > 0, Instant::now());
        let (reason, message) = match brokers.snapshot() {
            Snapshot::Down(fault) => (fault.reason, fault.message),
            _ if is_silent => {
                let message = format!(
                    "Kafka has acknowledged nothing for more than {} s though frames are on their way: it is connected but \
                     does not answer; check the brokers' disks and load",
                    SILENCE.as_secs()
                );
                (Reason::KafkaUnreachable, message)
            }
            _ => return,
        };
        if self.health.kafka(End::Down(reason, message.clone())) {
            warn!(camera = self.camera, "{message}");
        }
    }
}
