//! Runs a sink: events from the consumer → decode → (merge) → output; flush; commit.
//!
//! One thread decides everything, in the order in which things came. It never waits for the disk's sync (the flusher's
//! thread does that while writing goes on) and never for Kafka (answers come as events); so a full disk, a slow sync or a
//! broker that is away only leave records waiting, the consumer pauses its partitions, and the group is not lost.
//!
//! What is committed is what was disposed of when the flush was sealed, after the flush: see [`progress`].
//!
//! - [`open`] opens everything; here is the loop, and what each event does stands in the file of its stage:
//! - [`stage`] is what it is doing, [`memory`] what its folder remembers of an earlier life;
//! - [`assigned`] takes partitions up ([`assignment`] is what is known of them), [`writing`] writes their frames ([`intake`] decodes and queues them),
//!   [`committing`] flushes ([`flusher`]) and commits ([`progress`]), [`handing_over`] gives the partitions back.
//! - [`telling`] says how it stands ([`readiness`] decides, [`faults`] are those that stand), [`storage`] looks at the disk, [`tending`] makes room on it.

mod assigned;
mod assignment;
mod committing;
mod faults;
mod flusher;
mod handing_over;
mod intake;
pub mod memory;
mod open;
pub mod progress;
mod readiness;
mod stage;
pub mod storage;
mod telling;
mod tending;
mod writing;

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use edgereel_crds::{
    plan::SinkPlan,
    status::{ConditionStatus, ConditionType, Reason},
};
use edgereel_kafka::{
    client::{Health, KafkaFault},
    consumer::{Command, Consumer, Event},
};
use edgereel_runtime::{backoff::Backoff, fault::Fault, secrets::Secrets, state::ResourceState, throttle::Throttle};
use tokio_util::sync::CancellationToken;

use self::{
    faults::Faults,
    flusher::{Flushed, Flusher},
    intake::Decoder,
    memory::Memory,
    stage::Stage,
    tending::Tender,
    writing::Stuck,
};
use super::{archive::Archive, dead_letter::DeadLetters, output::Output};
use crate::sink::metrics::SinkMetrics;

/// How often the state is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(250);
const DISK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a stop may take: flush, commit, finish, leave.
const STOP_TIME: Duration = Duration::from_secs(9);
/// A kind of log line is written this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How long partitions may be assigned without being written, because their start cannot be committed.
const START_TIME: Duration = Duration::from_secs(60);

/// What a sink needs of the process.
#[derive(Clone)]
pub struct SinkEnv {
    /// What stands in for the resources' volumes ([`super::volume`]); without it, `storage.hostPath.path` itself.
    pub storage_root: Option<PathBuf>,
    /// Logins.
    pub secrets: Secrets,
    /// What is counted.
    pub metrics: SinkMetrics,
    /// What is said.
    pub state: ResourceState,
    /// Cancelled to stop.
    pub shutdown: CancellationToken,
}

/// Runs a sink until it is told to stop (`Ok`) or cannot go on: then the state says why, and the caller starts it again
/// after a while. Blocks; give it a thread of its own.
pub fn run(plan: &SinkPlan, replica: u32, env: SinkEnv) -> Result<(), Fault> {
    let result = open::open(plan, replica, &env).and_then(Runner::run);
    match &result {
        Ok(()) => env.state.set(ConditionType::Ready, ConditionStatus::False, Reason::Stopping, "stopped"),
        Err(fault) if fault.is_storage() => {
            env.state.unhealthy(ConditionType::StorageHealthy, fault.reason, &fault.message);
        }
        Err(fault) => env.state.unready(fault.reason, &fault.message),
    }
    result
}

/// All that wakes the runner.
enum Message {
    Kafka(Event),
    Flushed(Flushed),
}

struct Ending {
    result: Result<(), Fault>,
    since: Instant,
}

struct Runner<'a> {
    plan: &'a SinkPlan,
    env: &'a SinkEnv,
    root: PathBuf,
    output: Box<dyn Output>,
    archive: Option<Archive>,
    tender: Option<Tender>,
    dead_letters: Option<Arc<DeadLetters>>,
    consumer: Consumer,
    flusher: Flusher,
    inbox: mpsc::Receiver<Message>,
    health: Health,
    decoder: Decoder,
    memory: Memory,
    stage: Stage,
    stuck: Option<Stuck>,
    backoff: Backoff,
    ending: Option<Ending>,
    faults: Faults,
    /// Topics of its list that are not there.
    missing: Vec<String>,
    disk_measured: Instant,
    state_told: Option<Instant>,
    /// How often it is said that the disk is full, and that a record is no frame: each by itself.
    full_said: Throttle,
    invalid_said: Throttle,
}

impl Runner<'_> {
    fn run(mut self) -> Result<(), Fault> {
        let result = self.work();
        let Runner { consumer, inbox, output, archive, .. } = self;
        // Whatever the consumer still waits for is over.
        drop(inbox);
        // It reads what the output has locked.
        drop(archive);
        drop(output);
        if !consumer.join(Duration::from_secs(3)) {
            tracing::warn!("the Kafka client does not close in time; it is left behind");
        }
        result
    }

    fn work(&mut self) -> Result<(), Fault> {
        loop {
            let mut wait = self.pump()?;
            wait = wait.min(self.tick()?);
            match self.inbox.recv_timeout(wait) {
                Ok(Message::Kafka(Event::Closed)) => {
                    let unasked =
                        || Err(Fault::new(Reason::InternalError, "the Kafka client ended without being asked to"));
                    return self.ending.take().map_or_else(unasked, |ending| ending.result);
                }
                Ok(Message::Kafka(event)) => self.on_event(event)?,
                Ok(Message::Flushed(done)) => self.on_flushed(done)?,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Fault::new(Reason::InternalError, "the Kafka client's thread is gone"));
                }
            }
            if let Some(ending) = self.ending.take_if(|ending| ending.since.elapsed() > STOP_TIME) {
                tracing::warn!(sink = %self.plan.name, "not everything could be committed in time; it will be read again");
                return ending.result;
            }
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), Fault> {
        match event {
            Event::TakingUp { partitions } => {
                self.stuck = None;
                self.stage = Stage::TakingUp { partitions };
                self.state_told = None;
            }
            Event::Missing(topics) => {
                // Told again with the next look, and the disk's state is the output's to tell.
                if let Err(error) = self.memory.note_missing(&topics) {
                    tracing::warn!(sink = %self.plan.name, "{error}");
                }
                if topics.is_empty() {
                    self.faults.topics_are_there();
                }
                self.missing = topics;
            }
            Event::Assigned { generation, partitions, total } => self.on_assigned(generation, partitions, total)?,
            Event::Record(record) => {
                let ending = self.ending.is_some();
                if let Some(a) = self.stage.writing_mut().filter(|a| a.is(record.generation) && !ending) {
                    self.env.metrics.consumed.inc();
                    a.progress.received(&record.source, record.offset);
                    a.queue.push(self.decoder.decode(record));
                }
            }
            Event::EndOfPartition { generation, source, read, as_of } => {
                if let Some(a) = self.stage.writing_mut().filter(|a| a.is(generation))
                    && a.progress.reached(&source, read)
                {
                    a.queue.end(&source, as_of);
                }
            }
            Event::Ends { generation, ends } => {
                if let Some(a) = self.stage.assignment_mut().filter(|a| a.is(generation)) {
                    a.learn_ends(ends);
                }
                self.tell_lag();
            }
            Event::Partition { generation, source, fault } => {
                if let Some(a) = self.stage.assignment_mut().filter(|a| a.is(generation)) {
                    match fault {
                        Some(fault) => {
                            tracing::warn!(sink = %self.plan.name, "{fault}");
                            self.env.state.note_error(&fault.message);
                            a.unreadable.insert(source, fault);
                        }
                        None => drop(a.unreadable.remove(&source)),
                    }
                }
                self.state_told = None;
            }
            Event::Revoked { generation } => self.on_revoked(generation)?,
            Event::Lost => {
                self.stuck = None;
                self.stage = Stage::Joining;
                self.state_told = None;
            }
            Event::Committed { id, result } => self.on_committed(id, result)?,
            Event::Fault { fault, last: true } => match &self.ending {
                Some(_) => {}
                None => return Err(fault.into()),
            },
            Event::Fault { fault, last: false } => {
                if let Some(fault) = self.faults.note(fault, Instant::now()) {
                    complain(self.plan, self.env, fault);
                }
            }
            Event::Closed => {}
        }
        Ok(())
    }

    /// Flush, commit, finish, leave; then the result.
    fn end(&mut self, result: Result<(), Fault>) {
        if self.ending.is_none() {
            self.ending = Some(Ending { result, since: Instant::now() });
            self.consumer.command(Command::Close);
        }
    }

    /// What the time brings; how long to wait for the next.
    fn tick(&mut self) -> Result<Duration, Fault> {
        if self.env.shutdown.is_cancelled() {
            self.end(Ok(()));
        }
        self.stage.check(Instant::now())?;
        if let Some(fault) = self.faults.overdue(Instant::now()) {
            complain(self.plan, self.env, fault);
        }
        if self.disk_measured.elapsed() >= DISK_INTERVAL {
            self.disk_measured = Instant::now();
            storage::measure(&self.root, &self.env.metrics);
        }
        self.tend()?;
        if self.state_told.is_none_or(|told| told.elapsed() >= TICK) {
            self.state_told = Some(Instant::now());
            self.tell_state();
        }
        self.flush_if_due()
    }
}

/// Says what is wrong and may pass.
fn complain(plan: &SinkPlan, env: &SinkEnv, fault: &KafkaFault) {
    tracing::warn!(sink = %plan.name, "{fault}");
    env.state.note_error(&fault.message);
}
