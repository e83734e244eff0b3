//! The task that feeds the producer from the outbox and hears of each frame's fate.

use std::{
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use edgereel_crds::{plan::CameraPlan, status::Reason};
use edgereel_frame::reasons::DropReason;
use edgereel_kafka::{
    client::{Health as Brokers, KafkaFault},
    health::Snapshot,
    producer::{Delivery, Fate, FrameProducer, Options, Record, SendError, Undelivered},
};
use edgereel_runtime::{fault::Fault, secrets::Secrets, throttle::Throttle};
use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    Keep,
    health::{End, Health},
    watchdog::Silent,
};

/// How often the brokers' health is looked at when nothing else happens.
const LOOK: Duration = Duration::from_secs(1);

/// Frames may be on their way for this long without an acknowledgement: a slow broker flushes in less.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// How long a producer that will send nothing more may still hear of what it sent.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is remembered of a frame in flight.
pub(super) struct Sent {
    captured_at: Timestamp,
    number: u64,
}

/// What is done with each delivery.
struct Deliveries {
    camera: String,
    health: Arc<Health>,
    keep: Keep,
    complaints: Throttle,
}

impl Deliveries {
    fn take(&self, delivery: Delivery<Sent>) {
        let Delivery { token, at, result } = delivery;
        let fate = result.as_ref().map(drop).map_err(|undelivered| reason(undelivered.fate));
        if !self.keep.outbox.landed(token.number, fate) {
            return;
        }
        match result {
            Ok(_) => {
                let latency = at.duration_since(token.captured_at).as_secs_f64();
                self.keep.metrics.ack_latency.observe(latency.max(0.0));
                if self.health.kafka(End::Up) {
                    info!(camera = self.camera, "Kafka acknowledges");
                }
            }
            Err(Undelivered { fault, .. }) => {
                self.health.kafka(End::Down(fault.reason, fault.message.clone()));
                if let Some(held) = self.complaints.allow(Instant::now()) {
                    warn!(camera = self.camera, held_back = held, "Kafka did not take a frame: {fault}");
                }
            }
        }
    }
}

/// As the metric names it.
fn reason(fate: Fate) -> DropReason {
    match fate {
        Fate::TimedOut => DropReason::delivery_timeout,
        Fate::TooLarge => DropReason::too_large,
        Fate::Refused => DropReason::delivery_failed,
        Fate::Stopped => DropReason::shutdown,
    }
}

/// Feeds the producer.
pub(super) struct Sender {
    camera: String,
    keep: Keep,
    producer: FrameProducer<Sent>,
    health: Arc<Health>,
    complaints: Throttle,
}

impl Sender {
    pub(super) fn new(
        plan: &CameraPlan,
        secrets: &Secrets,
        topic_limit: Option<u64>,
        health: Arc<Health>,
        keep: &Keep,
    ) -> Result<Self, KafkaFault> {
        let deliveries = Deliveries {
            camera: plan.name.to_string(),
            health: health.clone(),
            keep: keep.clone(),
            complaints: Throttle::new(Duration::from_secs(10)),
        };
        let options = Options::for_camera(plan, topic_limit);
        let on_delivery = move |delivery| deliveries.take(delivery);
        let producer = FrameProducer::new(&plan.connection, secrets, &options, on_delivery)?;
        Ok(Sender {
            camera: plan.name.to_string(),
            keep: keep.clone(),
            producer,
            health,
            complaints: Throttle::new(Duration::from_secs(10)),
        })
    }

    /// Sends until the outbox is closed, and then for up to `grace` what is still in it. When the producer fails, what
    /// waits stays in the outbox.
    pub(super) async fn run(self, grace: Duration) -> Result<(), Fault> {
        let outcome = self.feed(grace).await;
        let Sender { producer, camera, keep, .. } = self;
        // Waits for the last acknowledgements; each frame that gets none is counted by its delivery report.
        match outcome {
            Ok(left) => {
                let lost = keep.outbox.discard();
                let given_up = tokio::task::spawn_blocking(move || producer.close(left)).await.unwrap_or_default();
                if lost + given_up > 0 {
                    warn!(camera, frames = lost + given_up, "stopped before Kafka acknowledged them");
                }
                Ok(())
            }
            Err(fault) => {
                let cause = fault.clone();
                let given_up = tokio::task::spawn_blocking(move || producer.abandon(FAREWELL, cause)).await;
                let given_up = given_up.unwrap_or_default();
                if given_up > 0 {
                    info!(camera, frames = given_up, "the producer failed with frames in flight; what waits is kept");
                }
                Err(fault.into())
            }
        }
    }

    /// Feeds the producer to the end and gives what is left of the grace.
    async fn feed(&self, grace: Duration) -> Result<Duration, KafkaFault> {
        let outbox = &self.keep.outbox;
        let mut look = tokio::time::interval(LOOK);
        let mut silent = Silent::new(SILENCE);
        let mut deadline = None;
        while !outbox.is_drained() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            // The deliveries of earlier frames are taken in with each new one, unless frames wait for them.
            self.producer.serve();
            self.pump()?;
            self.producer.set_prompt(outbox.is_closed() || outbox.has_waiting());
            tokio::select! {
                () = outbox.changed() => {}
                _ = look.tick() => self.look(self.producer.health(), &mut silent),
            }
            if outbox.is_closed() {
                deadline.get_or_insert(Instant::now() + grace);
            }
        }
        Ok(deadline.map_or(grace, |deadline| deadline.saturating_duration_since(Instant::now())))
    }

    /// Hands over as many frames as may fly.
    fn pump(&self) -> Result<(), KafkaFault> {
        self.expire();
        let outbox = &self.keep.outbox;
        let mut frames = outbox.take().into_iter();
        while let Some(taken) = frames.next() {
            let frame = &taken.frame;
            let encoded = self.keep.encoder.encode(frame);
            let record = Record {
                key: self.keep.key.as_deref().map(str::as_bytes),
                value: Some(&encoded.value),
                headers: encoded.headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))),
                timestamp: frame.captured_at,
            };
            let sent = Sent { captured_at: frame.captured_at, number: frame.sequence };
            match self.producer.send(record, sent) {
                Ok(()) => {}
                Err(SendError::TooLarge) => {
                    outbox.landed(frame.sequence, Err(DropReason::too_large));
                }
                Err(SendError::Full) => {
                    outbox.put_back(iter::once(taken).chain(frames));
                    break;
                }
                Err(SendError::Fatal(fault)) => {
                    outbox.put_back(iter::once(taken).chain(frames));
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    fn expire(&self) {
        let now = Instant::now();
        let expired = self.keep.outbox.expire(now);
        if expired > 0
            && let Some(held) = self.complaints.allow(now)
        {
            let camera = &self.camera;
            warn!(camera, held_back = held, frames = expired, "gave up frames after producer.deliveryTimeout");
        }
    }

    /// What the brokers' connections and their silence say, where no delivery has said it yet.
    fn look(&self, brokers: &Brokers, silent: &mut Silent) {
        let outbox = &self.keep.outbox;
        let is_silent = silent.observe(outbox.landings(), outbox.bytes_in_flight() > 0, Instant::now());
        let Some((reason, message)) = trouble(brokers.snapshot(), brokers.last_fault(), is_silent) else { return };
        if self.health.kafka(End::Down(reason, message.clone())) {
            warn!(camera = self.camera, "{message}");
        }
    }
}

/// What is wrong with Kafka, as far as its connections and its silence tell.
pub(crate) fn trouble(now: Snapshot, last: Option<KafkaFault>, is_silent: bool) -> Option<(Reason, String)> {
    let (reason, message) = match (now, last) {
        (Snapshot::Down(fault), _) => (fault.reason, fault.message),
        _ if !is_silent => return None,
        // Between two tries librdkafka counts a broker neither as connected nor as failed: the last try tells.
        (Snapshot::Connecting, Some(fault)) => (fault.reason, fault.message),
        (Snapshot::Connecting, None) => {
            (Reason::KafkaUnreachable, "no broker is connected, and frames wait for one".to_owned())
        }
        (Snapshot::Up, _) => {
            let message = format!(
                "Kafka has acknowledged nothing for more than {} s though frames are on their way: it is connected but \
                 does not answer; check the brokers' disks and load",
                SILENCE.as_secs()
            );
            (Reason::KafkaUnreachable, message)
        }
    };
    Some((reason, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broker_that_is_there_is_said_to_be_connected() {
        let refused = || KafkaFault::passing(Reason::KafkaUnreachable, "connection refused");
        let said = |now, last| trouble(now, last, true).map(|(_, message)| message).unwrap_or_default();
        assert_eq!(said(Snapshot::Connecting, Some(refused())), "connection refused");
        assert_eq!(said(Snapshot::Down(refused()), None), "connection refused");
        assert!(said(Snapshot::Connecting, None).starts_with("no broker is connected"));
        assert!(said(Snapshot::Up, Some(refused())).contains("connected but does not answer"));
        assert_eq!(trouble(Snapshot::Up, Some(refused()), false), None);
        assert_eq!(trouble(Snapshot::Connecting, Some(refused()), false), None);
    }
}
