//! Sends what can wait: nothing is dropped, and whoever sends goes no faster than Kafka takes it. Blocks, on a thread of its own.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use edgereel_crds::{plan::CameraPlan, status::Reason, units::Duration as Spelled};
use edgereel_frame::wire::Encoded;
use edgereel_kafka::{
    client::KafkaFault,
    producer::{Delivery, Fate, FrameProducer, Options, Record, SendError},
};
use edgereel_runtime::fault::Fault;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tracing::warn;

use super::{
    CaptureEnv,
    health::{End, Health, Words},
    metrics::CameraMetrics,
    sender::{SILENCE, trouble},
    watchdog::Silent,
};

/// Full batches on their way: librdkafka has five at most, and spins with a sixth.
const BATCHES: u64 = 4;
/// What is sent in one go goes together.
const LINGER: Duration = Duration::from_millis(5);
/// How long what is on its way may take when the worker stops: the pod's grace period is 30 s.
const STOP: Duration = Duration::from_secs(10);
/// How often Kafka's health is looked at while something is on its way.
pub const LOOK: Duration = Duration::from_secs(1);

enum Event<T> {
    Delivered(Delivery<T>),
    /// Somebody has called the waker.
    Woken,
    Stop,
}

/// What became of something that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fared<T> {
    /// Kafka has acknowledged it, and has it there.
    Sent {
        /// What it was sent with.
        token: T,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// The topic does not take it.
    TooLarge(T),
}

/// What came of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is on its way.
    Away,
    /// There is no room yet: hear, and try again.
    Full,
    /// The topic does not take it.
    TooLarge,
}

/// A producer that gives nothing up, and what is on its way.
pub struct Patient<T: Send + Sync + 'static> {
    name: String,
    producer: FrameProducer<T>,
    events: Receiver<Event<T>>,
    tell: Sender<Event<T>>,
    /// What is on its way, in bytes.
    flying: HashMap<T, usize>,
    flying_bytes: usize,
    landed: u64,
    silent: Silent,
    key: Option<String>,
    metrics: CameraMetrics,
    health: Health,
    room: usize,
    stop: bool,
    deadline: Option<Instant>,
}

impl<T: Copy + Eq + Hash + Send + Sync + 'static> Patient<T> {
    /// Connects for a camera; `limit` is what its topic takes, in bytes, and `words` what is said while it works.
    ///
    /// # Errors
    /// What Kafka or a Secret refused.
    pub fn connect(
        plan: &CameraPlan,
        env: &CaptureEnv,
        limit: Option<u64>,
        words: Words,
        runtime: &Handle,
    ) -> Result<Self, Fault> {
        let mut settings = plan.spec.producer.clone();
        settings.linger = Spelled(settings.linger.0.max(LINGER));
        let options = Options { settings: &settings, patient: true, ..Options::for_camera(plan, limit) };
        let (tell, events) = mpsc::channel();
        let delivered = tell.clone();
        let on_delivery = move |delivery| drop(delivered.send(Event::Delivered(delivery)));
        let producer = FrameProducer::new(&plan.connection, &env.secrets, &options, on_delivery)?;
        let memory = plan.spec.buffer.memory.as_usize() as u64;
        let (shutdown, stopped) = (env.shutdown.clone(), tell.clone());
        runtime.spawn(async move {
            shutdown.cancelled().await;
            // Nobody listens where it has ended by itself.
            let _ = stopped.send(Event::Stop);
        });
        let health = Health::saying(env.state.clone(), words);
        health.kafka(End::Up);
        Ok(Patient {
            name: plan.name.to_string(),
            producer,
            events,
            tell,
            flying: HashMap::new(),
            flying_bytes: 0,
            landed: 0,
            silent: Silent::new(SILENCE),
            key: env.keep.key().map(str::to_owned),
            metrics: env.keep.metrics().clone(),
            health,
            room: (settings.batch_bytes.0 * BATCHES).min(memory / 4).max(1) as usize,
            stop: false,
            deadline: None,
        })
    }

    /// Wakes whoever hears.
    pub fn waker(&self) -> impl Fn() + Send + Clone + 'static {
        let tell = self.tell.clone();
        move || drop(tell.send(Event::Woken))
    }

    /// How both ends fare.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// So many bytes may be on their way at once.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Whether as much is on its way as may be.
    pub fn is_full(&self) -> bool {
        self.flying_bytes >= self.room
    }

    /// How many are on their way.
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// Whether it is to stop.
    pub fn stops(&self) -> bool {
        self.stop
    }

    /// Whether it is to stop, and what is on its way has had its time.
    pub fn is_over(&mut self) -> bool {
        let now = Instant::now();
        self.stop && now >= *self.deadline.get_or_insert(now + STOP)
    }

    /// Sends a record, whose picture has so many bytes.
    ///
    /// # Errors
    /// The producer has failed for good.
    pub fn send(&mut self, encoded: &Encoded, bytes: usize, token: T) -> Result<Attempt, Fault> {
        let record = Record {
            key: self.key.as_deref().map(str::as_bytes),
            value: Some(&encoded.value),
            headers: encoded.headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))),
            // Not a file's own time: of an old one, retention could delete the record at once.
            timestamp: Timestamp::now(),
        };
        match self.producer.send(record, token) {
            Ok(()) => {
                self.flying.insert(token, bytes);
                self.flying_bytes += bytes;
                Ok(Attempt::Away)
            }
            Err(SendError::Full) => Ok(Attempt::Full),
            Err(SendError::TooLarge) => Ok(Attempt::TooLarge),
            Err(SendError::Fatal(fault)) => Err(fault.into()),
        }
    }

    /// Waits for something to happen, at most until then, and says what has become of what was sent.
    ///
    /// # Errors
    /// Something was not delivered: what is on its way has to be asked of the topic.
    pub fn hear(&mut self, until: Instant) -> Result<Vec<Fared<T>>, Fault> {
        let until = if self.flying.is_empty() { until } else { until.min(Instant::now() + LOOK) };
        let wait = until.saturating_duration_since(Instant::now());
        let mut event = self.events.recv_timeout(wait).ok();
        let mut heard = vec![];
        while let Some(happened) = event {
            match happened {
                Event::Stop => self.stop = true,
                Event::Woken => {}
                Event::Delivered(delivery) => heard.extend(self.delivered(delivery)?),
            }
            event = self.events.try_recv().ok();
        }
        self.look();
        Ok(heard)
    }

    fn look(&mut self) {
        let brokers = self.producer.health();
        let is_silent = self.silent.observe(self.landed, !self.flying.is_empty(), Instant::now());
        if self.flying.is_empty() {
            return;
        }
        if let Some((reason, message)) = trouble(brokers.snapshot(), brokers.last_fault(), is_silent)
            && self.health.kafka(End::Down(reason, message.clone()))
        {
            warn!(camera = self.name, "{message}");
        }
    }

    fn delivered(&mut self, Delivery { token, result, .. }: Delivery<T>) -> Result<Option<Fared<T>>, Fault> {
        let Some(bytes) = self.flying.remove(&token) else { return Ok(None) };
        self.flying_bytes -= bytes;
        self.landed += 1;
        match result {
            Ok((partition, offset)) => {
                self.metrics.take_in(bytes);
                self.metrics.acknowledge();
                self.metrics.captured_bytes.inc_by(bytes as u64);
                self.metrics.frame_bytes.observe(bytes as f64);
                self.metrics.last_frame.set(Timestamp::now().as_microsecond() as f64 / 1e6);
                self.health.kafka(End::Up);
                Ok(Some(Fared::Sent { token, partition, offset }))
            }
            Err(undelivered) if undelivered.fate == Fate::TooLarge => Ok(Some(Fared::TooLarge(token))),
            Err(undelivered) if undelivered.fate == Fate::Stopped => Ok(None),
            Err(undelivered) => {
                self.health.kafka(End::Down(undelivered.fault.reason, undelivered.fault.message.clone()));
                Err(undelivered.fault.into())
            }
        }
    }

    /// Lets go of what is on its way, for this reason.
    pub fn abandon(self, reason: Reason, message: String) {
        self.producer.abandon(Duration::ZERO, KafkaFault::passing(reason, message));
    }
}
