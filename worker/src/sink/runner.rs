//! Runs a sink: events from the consumer → decode → (merge) → output; flush; commit.
//!
//! One thread decides everything, in the order in which things came. It never waits for the disk's sync (the flusher's
//! thread does that while writing goes on) and never for Kafka (answers come as events); so a full disk, a slow sync or a
//! broker that is away only leave records waiting, the consumer pauses its partitions, and the group is not lost.
//!
//! What is committed is what was disposed of when the flush was sealed, after the flush: see [`progress`].

mod flusher;
mod intake;
pub mod progress;
mod readiness;
mod storage;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use edgereel_crds::{
    frame_sink::{self, OnInvalid},
    plan::SinkPlan,
    status::{ConditionStatus, ConditionType, Reason},
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use self::{
    flusher::{Batch, Flushed, Flusher},
    intake::{Decoder, Entry, Queue},
    progress::Progress,
    readiness::{Facts, Membership, Verdict},
};
use super::{
    dead_letter::{DeadLetters, Sent, place},
    fault::OutputError,
    jpeg_files::{JpegFiles, RealDisk},
    output::{FlushJob, Lease, Output},
    video::Video,
};
use crate::{
    backoff::Backoff,
    fault::Fault,
    frame::wire::Invalid,
    kafka::{
        client::{Context, KafkaFault, client_config},
        consumer::{Begun, Command, Commit, Consumer, Event, Handover, Settings, TopicPartition},
    },
    metrics::SinkMetrics,
    secrets::Secrets,
    state::ResourceState,
};

/// Bytes of records that may wait between the consumer and the output.
const MEMORY: usize = 16 << 20;
/// How often the state is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(100);
const DISK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a stop may take: flush, commit, finish, leave.
const STOP_TIME: Duration = Duration::from_secs(9);
/// How long an uncommitted flush waits for the next try.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// How long a flush may wait for dead letters to be acknowledged; longer than their delivery timeout.
const DEAD_LETTER_TIME: Duration = Duration::from_secs(35);
/// Entries written between two looks at the events.
const BURST: usize = 32;
/// A kind of log line is written this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

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
    let result = start(plan, replica, &env).and_then(Runner::run);
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

/// Opens everything. Nothing is consumed unless the output can be written.
fn start<'a>(plan: &'a SinkPlan, replica: u32, env: &'a SinkEnv) -> Result<Runner<'a>, Fault> {
    let root = storage::root(&plan.spec.storage, env.storage_root.as_deref())?;
    storage::measure(&root, &env.metrics);
    let output = open_output(plan, &root, replica)?;
    env.state.set(ConditionType::StorageHealthy, ConditionStatus::True, Reason::Running, "the output is open");
    let dead_letters = match (plan.on_invalid, &plan.spec.dead_letter) {
        (OnInvalid::DeadLetter, Some(dead)) => {
            Some(Arc::new(DeadLetters::open(plan, &dead.topic, replica, &env.secrets, &env.metrics)?))
        }
        (OnInvalid::DeadLetter, None) => {
            let message = "spec.onInvalid is `deadLetter`: say where to in spec.deadLetter.topic";
            return Err(Fault::new(Reason::InvalidConfiguration, message));
        }
        _ => None,
    };
    let (sender, inbox) = mpsc::channel();
    let context = Context::new(&plan.connection, &env.secrets)?;
    let health = context.health().clone();
    let client_id = format!("edgereel-{}.{}-{replica}", plan.name.namespace, plan.name.name);
    let settings = Settings {
        topics: plan.topics.clone(),
        group: plan.group.clone(),
        instance: format!("{}-{}.{}-{replica}", plan.group, plan.name.namespace, plan.name.name),
        start_from: plan.spec.start_from.clone(),
        on_offset_lost: plan.spec.on_offset_lost,
        whole: output.needs_all_partitions(),
        memory: MEMORY,
    };
    let events = sender.clone();
    let consumer =
        Consumer::start(client_config(&plan.connection, &env.secrets, &client_id)?, context, settings, move |event| {
            events.send(Message::Kafka(event)).is_ok()
        })?;
    // The runner drops its end of the channel when it ends; a flush that is done later is of no interest.
    let flusher = Flusher::start(move |done| {
        let _ = sender.send(Message::Flushed(done));
    })?;
    Ok(Runner {
        plan,
        env,
        root,
        output,
        dead_letters,
        consumer,
        flusher,
        inbox,
        health,
        decoder: Decoder::new(plan),
        assignment: None,
        stuck: None,
        backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(10)),
        ending: None,
        membership: Membership::Joining,
        fault: None,
        disk_measured: Instant::now(),
        state_told: None,
        warned: None,
    })
}

fn open_output(plan: &SinkPlan, root: &Path, replica: u32) -> Result<Box<dyn Output>, Fault> {
    Ok(match &plan.spec.output {
        frame_sink::Output::JpegFiles(spec) => {
            Box::new(JpegFiles::open(root, spec, &plan.name, replica, Arc::new(RealDisk))?)
        }
        frame_sink::Output::Video(spec) => Box::new(Video::open(root, spec, &plan.name)?),
    })
}

/// All that wakes the runner.
enum Message {
    Kafka(Event),
    Flushed(Flushed),
}

/// One assignment's partitions.
struct Assignment {
    progress: Progress,
    queue: Queue,
    /// Written since the last seal.
    batch: Batch,
    /// When the first of what is not sealed was written.
    dirty_since: Option<Instant>,
    under_way: Option<UnderWay>,
    /// The start offsets, where their commit failed and is to be sent again.
    start_again: Option<Commit>,
    /// Not before this: a commit failed.
    not_before: Instant,
    ends: Vec<(TopicPartition, i64)>,
    last_time: Option<Timestamp>,
}

/// A flush and its commit.
struct UnderWay {
    stage: Stage,
    commit: Commit,
    batch: Batch,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The start offsets are being committed: nothing is written before.
    Starting,
    Flushing,
    Committing,
}

/// An entry that could not be disposed of for now.
struct Stuck {
    entry: Entry,
    late: bool,
    until: Instant,
    /// The full disk, for people; none when the dead letters are behind.
    storage: Option<String>,
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
    health: crate::kafka::client::Health,
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
                    a.queue.end(&source);
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

    fn on_assigned(&mut self, generation: u64, begun: &[Begun], total: usize) -> Result<(), Fault> {
        self.env.metrics.rebalances.inc();
        self.stuck = None;
        self.assignment = None;
        self.membership = Membership::Assigned { ours: begun.len(), total };
        if begun.is_empty() {
            return Ok(());
        }
        self.fault = None;
        for partition in begun.iter().filter(|p| p.lost > 0) {
            let source = &partition.assigned.source;
            let message = format!(
                "topic {}, partition {}: {} records were gone before they were read; going on at offset {}",
                source.topic, source.partition, partition.lost, partition.start
            );
            tracing::error!(sink = %self.plan.name, "{message}");
            self.env.state.note_error(message);
            self.env.metrics.lost.inc_by(partition.lost);
        }
        let tenure = self.consumer.tenure();
        let lease = Lease::new(generation, tenure.generation.clone(), tenure.valid_until.clone());
        let assigned: Vec<_> = begun.iter().map(|b| b.assigned.clone()).collect();
        let metadata = match self.output.resume(&assigned, lease) {
            Ok(metadata) => metadata,
            // The group has moved on already: its next event is on its way.
            Err(OutputError::Superseded) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let progress = Progress::new(generation, begun);
        let mut assignment = Assignment {
            queue: Queue::new(self.output.needs_all_partitions(), begun),
            batch: Batch::default(),
            dirty_since: None,
            under_way: None,
            start_again: None,
            not_before: Instant::now(),
            ends: begun.iter().map(|b| (b.assigned.source.clone(), b.high)).collect(),
            last_time: None,
            progress,
        };
        // Offsets that a tool reset, or that another program committed for this group, come without the output's state.
        let stateless = |b: &Begun| b.assigned.committed.as_ref().is_some_and(|(_, known)| *known != metadata);
        if assignment.progress.wants_start() || begun.iter().any(stateless) {
            let commit = assignment.progress.commit(metadata);
            self.consumer.command(Command::Commit(commit.clone()));
            assignment.under_way = Some(UnderWay { stage: Stage::Starting, commit, batch: Batch::default() });
        }
        tracing::info!(
            sink = %self.plan.name, group = self.plan.group, partitions = begun.len(), total, "partitions assigned"
        );
        self.assignment = Some(assignment);
        self.tell_lag();
        Ok(())
    }

    /// Writes what may be written now; how long to wait for more.
    fn pump(&mut self) -> Result<Duration, Fault> {
        for _ in 0..BURST {
            if self.ending.is_some() {
                return Ok(TICK);
            }
            let Some(assignment) = self.assignment.as_mut().filter(|a| a.has_started()) else { return Ok(TICK) };
            let now = Instant::now();
            let (entry, late) = match self.stuck.take_if(|stuck| stuck.until <= now) {
                Some(stuck) => (stuck.entry, stuck.late),
                None => {
                    if let Some(stuck) = &self.stuck {
                        return Ok(TICK.min(stuck.until - now));
                    }
                    match assignment.queue.pop() {
                        Ok(next) => next,
                        Err(wait) => return Ok(wait.unwrap_or(TICK).min(TICK)),
                    }
                }
            };
            self.dispose(entry, late)?;
        }
        Ok(Duration::ZERO)
    }

    /// Writes a frame, or deals with a record that is none.
    fn dispose(&mut self, entry: Entry, late: bool) -> Result<(), Fault> {
        let frame = match &entry.content {
            Ok(frame) => frame,
            Err(why) => {
                let why = why.clone();
                return self.on_invalid(entry, late, &why);
            }
        };
        let metrics = &self.env.metrics;
        match self.output.write(frame) {
            Ok(written) => {
                if written.stored {
                    metrics.stored.inc();
                    metrics.stored_bytes.inc_by(frame.jpeg.len() as u64);
                    let age = Timestamp::now().duration_since(frame.captured_at).as_secs_f64();
                    metrics.file_latency.observe(age.max(0.0));
                    metrics.last_frame.set(frame.captured_at.as_microsecond() as f64 / 1e6);
                } else {
                    metrics.skipped.inc();
                }
                metrics.repeated.inc_by(u64::from(written.repeated));
                if late {
                    metrics.late.inc();
                }
                let captured_at = frame.captured_at;
                self.disposed(&entry);
                if let Some(a) = self.assignment.as_mut().filter(|_| written.stored) {
                    a.batch.add(captured_at);
                }
                if self.backoff.failures() > 0 {
                    self.backoff.reset();
                    tracing::info!(sink = %self.plan.name, "the disk takes frames again");
                }
                Ok(())
            }
            Err(error @ OutputError::NoSpace { .. }) => {
                let until = Instant::now() + self.backoff.next(&mut rand::rng());
                if self.warns() {
                    tracing::warn!(sink = %self.plan.name, "{error}");
                }
                self.stuck = Some(Stuck { entry, late, until, storage: Some(error.to_string()) });
                self.state_told = None;
                Ok(())
            }
            Err(OutputError::Superseded) => {
                // Nothing of this assignment matters any more; what comes next is an event.
                self.assignment = None;
                Ok(())
            }
            Err(OutputError::Frame { reason, message }) => self.on_invalid(entry, late, &Invalid { reason, message }),
            Err(error @ OutputError::Storage { .. }) => Err(error.into()),
        }
    }

    /// The record is done with.
    fn disposed(&mut self, entry: &Entry) {
        if let Some(a) = &mut self.assignment {
            a.progress.dispose(&entry.record.source, entry.record.offset);
            a.dirty_since.get_or_insert_with(Instant::now);
            a.last_time = Some(entry.time());
        }
    }

    fn on_invalid(&mut self, entry: Entry, late: bool, why: &Invalid) -> Result<(), Fault> {
        let message = format!("{} is no frame: {why}", place(&entry.record));
        match (self.plan.on_invalid, &self.dead_letters) {
            (OnInvalid::DeadLetter, Some(dead_letters)) => {
                if dead_letters.send(&entry.record, why)? == Sent::Later {
                    let until = Instant::now() + Duration::from_millis(20);
                    self.stuck = Some(Stuck { entry, late, until, storage: None });
                    return Ok(());
                }
            }
            (OnInvalid::Skip, _) => {}
            (OnInvalid::Fail | OnInvalid::DeadLetter, _) => {
                self.env.metrics.invalid(why.reason).inc();
                let remedy = "set spec.onInvalid to `skip`, or to `deadLetter` with spec.deadLetter, to go on past it";
                self.end(Err(Fault::new(Reason::InvalidRecord, format!("{message}; {remedy}"))));
                return Ok(());
            }
        }
        self.env.metrics.invalid(why.reason).inc();
        if self.warns() {
            tracing::warn!(sink = %self.plan.name, "{message}");
        }
        self.env.state.note_error(message);
        self.disposed(&entry);
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

    fn flush_if_due(&mut self) -> Result<Duration, Fault> {
        let Some(a) = self.assignment.as_mut().filter(|_| self.ending.is_none()) else { return Ok(TICK) };
        let now = Instant::now();
        if a.under_way.is_some() {
            return Ok(TICK);
        }
        if a.not_before > now {
            return Ok(TICK.min(a.not_before - now));
        }
        if let Some(commit) = a.start_again.take() {
            self.consumer.command(Command::Commit(commit.clone()));
            a.under_way = Some(UnderWay { stage: Stage::Starting, commit, batch: Batch::default() });
            return Ok(TICK);
        }
        if !a.progress.is_dirty() {
            return Ok(TICK);
        }
        let durability = &self.plan.spec.durability;
        // What was written before is long due when its commit failed.
        let due = a.dirty_since.map_or(now, |since| since + *durability.flush_interval);
        if due > now && a.batch.frames() < u64::from(durability.flush_frames) {
            return Ok(TICK.min(due - now));
        }
        let job = match self.output.seal() {
            Ok(job) => job,
            Err(OutputError::Superseded) => {
                self.assignment = None;
                return Ok(TICK);
            }
            Err(e) => return Err(e.into()),
        };
        let generation = a.progress.generation();
        let commit = a.progress.commit(job.metadata.clone());
        a.under_way = Some(UnderWay { stage: Stage::Flushing, commit, batch: std::mem::take(&mut a.batch) });
        a.dirty_since = None;
        self.flusher.run(generation, flush(job, self.dead_letters.clone()));
        Ok(TICK)
    }

    fn on_flushed(&mut self, done: Flushed) -> Result<(), Fault> {
        let Some(a) = self.assignment.as_mut().filter(|a| a.is(done.generation)) else { return Ok(()) };
        self.env.metrics.flush.observe(done.took.as_secs_f64());
        done.result?;
        if let Some(under_way) = a.under_way.as_mut().filter(|u| u.stage == Stage::Flushing) {
            under_way.stage = Stage::Committing;
            self.consumer.command(Command::Commit(under_way.commit.clone()));
        }
        Ok(())
    }

    fn on_committed(&mut self, generation: u64, result: Result<(), KafkaFault>) -> Result<(), Fault> {
        let Some(a) = self.assignment.as_mut().filter(|a| a.is(generation)) else { return Ok(()) };
        let Some(under_way) = a.under_way.take_if(|u| u.stage != Stage::Flushing) else { return Ok(()) };
        match result {
            Ok(()) => {
                a.progress.committed(&under_way.commit);
                under_way.batch.settle(&self.env.metrics, Timestamp::now());
                if under_way.stage == Stage::Committing {
                    self.output.committed()?;
                }
                self.tell_lag();
            }
            Err(fault) => {
                if self.env.state.last_error().is_none_or(|last| last.message != fault.message) {
                    tracing::warn!(sink = %self.plan.name, "the commit failed and is tried again: {fault}");
                }
                self.env.state.note_error(&fault.message);
                a.not_before = Instant::now() + COMMIT_RETRY;
                match under_way.stage {
                    // Nothing was written yet: the same request again, later.
                    Stage::Starting => a.start_again = Some(under_way.commit),
                    _ => a.batch.absorb(under_way.batch),
                }
            }
        }
        Ok(())
    }

    /// The consumer's thread waits for this: see [`crate::kafka::consumer`].
    fn hand_over(&mut self, handover: &Handover) -> Result<(), Fault> {
        self.stuck = None;
        self.membership = Membership::Joining;
        let Some(mut a) = self.assignment.take() else { return Ok(()) };
        if !a.has_started() {
            return Ok(());
        }
        if let Some(under_way) = a.under_way.take() {
            if under_way.stage == Stage::Flushing {
                self.await_flush(a.progress.generation())?;
            }
            // Its commit is made, or made again, by the one below.
            a.batch.absorb(under_way.batch);
        }
        let flushed = self.output.seal().map(|job| {
            let metadata = job.metadata.clone();
            (flush(job, self.dead_letters.clone()), metadata)
        });
        let (job, metadata) = match flushed {
            Ok(job) => job,
            Err(OutputError::Superseded) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        if a.progress.is_dirty() {
            let begun = Instant::now();
            job()?;
            self.env.metrics.flush.observe(begun.elapsed().as_secs_f64());
            let commit = a.progress.commit(metadata);
            if let Err(fault) = handover.commit(commit.clone()) {
                tracing::warn!(sink = %self.plan.name, "the last commit failed, these frames will be written again: {fault}");
                return Ok(());
            }
            a.progress.committed(&commit);
            a.batch.settle(&self.env.metrics, Timestamp::now());
            self.output.committed()?;
        }
        match self.output.finish() {
            Ok(()) | Err(OutputError::Superseded) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for the flush under way. Meanwhile the consumer's thread waits for us, so that only records which it sent
    /// before can come: they belong to the next owner.
    fn await_flush(&mut self, generation: u64) -> Result<(), Fault> {
        let deadline = Instant::now() + STOP_TIME;
        loop {
            match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Message::Flushed(done)) if done.generation == generation => {
                    self.env.metrics.flush.observe(done.took.as_secs_f64());
                    return done.result;
                }
                Ok(_) => {}
                Err(_) => {
                    let message = format!("the disk of {} takes too long to sync", self.root.display());
                    return Err(Fault::new(Reason::StorageError, message));
                }
            }
        }
    }

    fn tell_state(&self) {
        if self.ending.is_some() {
            return;
        }
        let facts = Facts {
            membership: &self.membership,
            kafka: self.health.snapshot(),
            fault: self.fault.as_ref(),
            storage: self.stuck.as_ref().and_then(|stuck| stuck.storage.as_deref()),
            group: &self.plan.group,
            shared: self.plan.spec.replicas > 1,
        };
        let (ours, total) = self.membership.partitions();
        self.env.metrics.assigned_partitions.set(ours as i64);
        if let Some(total) = total {
            self.env.metrics.topic_partitions.set(total as i64);
        }
        let verdict = readiness::judge(&facts);
        self.env.metrics.ready.set(i64::from(matches!(verdict, Verdict::Ready(_))));
        readiness::tell(verdict, &self.env.state);
    }

    fn tell_lag(&self) {
        let metrics = &self.env.metrics;
        let Some(a) = &self.assignment else {
            metrics.lag.set(0);
            metrics.lag_seconds.set(0.0);
            return;
        };
        let (records, behind) = a.progress.lag(&a.ends);
        metrics.lag.set(records);
        let waiting = self.stuck.as_ref().map(|stuck| stuck.entry.time());
        let oldest = waiting.or_else(|| a.queue.oldest()).or(a.last_time.filter(|_| behind));
        let age = oldest.map_or(0.0, |time| Timestamp::now().duration_since(time).as_secs_f64().max(0.0));
        metrics.lag_seconds.set(age);
    }

    /// Whether a warning may be logged now.
    fn warns(&mut self) -> bool {
        let pass = self.warned.is_none_or(|last| last.elapsed() >= LOG_INTERVAL);
        if pass {
            self.warned = Some(Instant::now());
        }
        pass
    }
}

impl Assignment {
    fn is(&self, generation: u64) -> bool {
        self.progress.generation() == generation
    }

    /// Whether frames may be written: the start offsets are committed.
    fn has_started(&self) -> bool {
        self.start_again.is_none() && self.under_way.as_ref().is_none_or(|u| u.stage != Stage::Starting)
    }
}

/// The output's job, and the dead letters that were sent before it.
fn flush(job: FlushJob, dead_letters: Option<Arc<DeadLetters>>) -> flusher::Job {
    let sent = dead_letters.as_ref().map(|dead| dead.sent());
    Box::new(move || {
        (job.run)()?;
        match (dead_letters, sent) {
            (Some(dead_letters), Some(sent)) => dead_letters.settle(sent, DEAD_LETTER_TIME),
            _ => Ok(()),
        }
    })
}
