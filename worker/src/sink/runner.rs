//! Runs a sink: events from the consumer → decode → (merge) → output; flush; commit.
//!
//! One thread decides everything, in the order in which things came. It never waits for the disk's sync (the flusher's
//! thread does that while writing goes on) and never for Kafka (answers come as events); so a full disk, a slow sync or a
//! broker that is away only leave records waiting, the consumer pauses its partitions, and the group is not lost.
//!
//! What is committed is what was disposed of when the flush was sealed, after the flush: see [`progress`].
//!
//! - [`open`] opens everything; here is the loop, and what each event does stands in the file of its stage:
//! - [`assignment`] takes partitions up, [`writing`] writes their frames ([`intake`] decodes and queues them),
//!   [`committing`] flushes ([`flusher`]) and commits ([`progress`]), [`handing_over`] gives the partitions back.
//! - [`telling`] says how it stands ([`readiness`] decides), [`storage`] finds the disk.

mod assignment;
mod committing;
mod flusher;
mod handing_over;
mod intake;
mod open;
pub mod progress;
mod readiness;
mod storage;
mod telling;
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
use tokio_util::sync::CancellationToken;

use self::{
    assignment::Assignment,
    flusher::{Flushed, Flusher},
    intake::Decoder,
    readiness::Membership,
    writing::Stuck,
};
use super::{dead_letter::DeadLetters, output::Output};
use crate::{
    backoff::Backoff,
    fault::Fault,
    kafka::{
        client::{Health, KafkaFault},
        consumer::{Command, Consumer, Event},
    },
    metrics::SinkMetrics,
    secrets::Secrets,
    state::ResourceState,
};

/// How often the state is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(100);
const DISK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a stop may take: flush, commit, finish, leave.
const STOP_TIME: Duration = Duration::from_secs(9);

/// What a sink needs of the process.
#[derive(Clone)]
pub struct SinkEnv {
    /// Where the resource's volume is mounted; without it, `storage.hostPath.path` itself.
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
    env.metrics.ready.set(0);
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
    dead_letters: Option<Arc<DeadLetters>>,
    consumer: Consumer,
    flusher: Flusher,
    inbox: mpsc::Receiver<Message>,
    health: Health,
    decoder: Decoder,
    assignment: Option<Assignment>,
    stuck: Option<Stuck>,
    backoff: Backoff,
    ending: Option<Ending>,
    membership: Membership,
    fault: Option<KafkaFault>,
    disk_measured: Instant,
    state_told: Option<Instant>,
    warned: Option<Instant>,
}

impl Runner<'_> {
    fn run(mut self) -> Result<(), Fault> {
        let result = self.work();
        let Runner { consumer, inbox, output, .. } = self;
        // Whatever the consumer still waits for is over.
        drop(inbox);
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
            Event::Assigned { generation, partitions, total } => self.on_assigned(generation, &partitions, total)?,
            Event::Record(record) => {
                let ending = self.ending.is_some();
                if let Some(a) = self.assignment.as_mut().filter(|a| a.is(record.generation) && !ending) {
                    self.env.metrics.consumed.inc();
                    a.queue.push(self.decoder.decode(record));
                }
            }
            Event::EndOfPartition { generation, source } => {
                if let Some(a) = self.assignment.as_mut().filter(|a| a.is(generation)) {
                    a.queue.end(&source, Instant::now());
                }
            }
            Event::Watermarks(ends) => {
                if let Some(a) = &mut self.assignment {
                    a.ends = ends;
                }
                self.tell_lag();
            }
            Event::Revoked(handover) => self.hand_over(&handover)?,
            Event::Lost => {
                self.assignment = None;
                self.stuck = None;
                self.membership = Membership::Joining;
                self.tell_lag();
            }
            Event::Committed { generation, result } => self.on_committed(generation, result)?,
            Event::Fault { fault, last: true } => match &self.ending {
                Some(_) => {}
                None => return Err(fault.into()),
            },
            Event::Fault { fault, last: false } => {
                if self.fault.as_ref() != Some(&fault) {
                    tracing::warn!(sink = %self.plan.name, "{fault}");
                }
                self.env.state.note_error(&fault.message);
                self.fault = Some(fault);
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
        if self.disk_measured.elapsed() >= DISK_INTERVAL {
            self.disk_measured = Instant::now();
            storage::measure(&self.root, &self.env.metrics);
        }
        if self.state_told.is_none_or(|told| told.elapsed() >= TICK) {
            self.state_told = Some(Instant::now());
            self.tell_state();
        }
        self.flush_if_due()
    }
}
