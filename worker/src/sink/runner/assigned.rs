//! Takes up the partitions that the group gave to this worker.

use std::{collections::BTreeMap, time::Instant};

use edgereel_crds::status::Reason;
use edgereel_kafka::consumer::{Begun, Command};
use edgereel_runtime::fault::Fault;

use super::{
    Runner,
    assignment::{Assignment, Starting, Step, UnderWay},
    flusher::Batch,
    intake::Queue,
    progress::Progress,
    stage::Stage,
};
use crate::sink::{fault::OutputError, output::Lease};

impl Runner<'_> {
    pub(super) fn on_assigned(&mut self, generation: u64, begun: Vec<Begun>, total: usize) -> Result<(), Fault> {
        self.env.metrics.rebalances.inc();
        self.stuck = None;
        if let Some(dead_letters) = &self.dead_letters {
            dead_letters.forget();
        }
        self.faults.taken_up();
        if begun.is_empty() {
            self.stage = Stage::StandingBy { total };
            return Ok(());
        }
        self.faults.topics_are_there();
        for partition in begun.iter().filter(|p| p.lost > 0) {
            let source = &partition.assigned.source;
            let message = format!(
                "{source}: {} records were gone before they were read; going on at offset {}",
                partition.lost, partition.start
            );
            tracing::error!(sink = %self.plan.name, "{message}");
            self.env.state.note_error(message);
            self.env.metrics.lost.inc_by(partition.lost);
        }
        let tenure = self.consumer.tenure();
        let lease = Lease::new(generation, tenure.generation.clone(), tenure.valid_until.clone());
        let assigned: Vec<_> = begun.iter().map(|b| b.assigned.clone()).collect();
        let id = |b: &Begun| Some((b.assigned.source.topic.to_string(), b.mark.id.as_ref()?.to_string()));
        self.output.topics(&begun.iter().filter_map(id).collect());
        let state = match self.output.resume(&assigned, lease) {
            Ok(state) => state,
            Err(OutputError::Superseded) => {
                self.superseded();
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        for Begun { assigned, mark, .. } in &begun {
            let (source, id) = (&assigned.source, mark.id.as_ref().map(ToString::to_string));
            self.env.metrics.counted.begin(&source.topic, source.partition, id);
        }
        let progress = Progress::new(generation, &begun);
        // Offsets that a tool reset, or that another program committed for this group, come without the output's state or
        // the topic's id.
        let unmarked = |b: &Begun| !b.marked || b.assigned.committed.as_ref().is_some_and(|(_, known)| *known != state);
        let commit = (progress.wants_start() || begun.iter().any(unmarked)).then(|| progress.commit(state.clone()));
        tracing::info!(
            sink = %self.plan.name, group = self.plan.group, partitions = begun.len(), total, "partitions assigned"
        );
        self.stage = Stage::Writing(Assignment {
            queue: Queue::new(&self.plan.spec.output, &begun),
            batch: Batch::default(),
            dirty_since: None,
            under_way: None,
            not_before: Instant::now(),
            ends: begun.iter().map(|b| (b.assigned.source.clone(), b.high)).collect(),
            unreadable: BTreeMap::new(),
            last_time: None,
            total,
            ours: begun.len(),
            starting: Some(Starting { begun, state, commit, since: Instant::now(), storage: None }),
            progress,
        });
        self.start()?;
        self.tell_archive();
        self.tell_lag();
        Ok(())
    }

    /// Has the start offsets committed, notes them in the sink's folder, and lets writing begin: in this order. A crash
    /// after the first finds its offsets; what the folder says was committed and can only be gone if somebody deleted it.
    pub(super) fn start(&mut self) -> Result<(), Fault> {
        let Some(a) = self.stage.assignment_mut() else { return Ok(()) };
        let Some(starting) = a.starting.as_mut().filter(|_| a.under_way.is_none()) else { return Ok(()) };
        if starting.since.elapsed() > super::START_TIME {
            let message = format!(
                "the offsets at which reading begins could not be committed within {} s: look at the brokers",
                super::START_TIME.as_secs()
            );
            return Err(Fault::new(Reason::KafkaUnreachable, message));
        }
        if a.not_before > Instant::now() {
            return Ok(());
        }
        if let Some(commit) = starting.commit.take() {
            a.under_way = Some(UnderWay { step: Step::Starting, commit: commit.clone(), batch: Batch::default() });
            self.consumer.command(Command::Commit(commit));
            return Ok(());
        }
        match self.memory.note(&starting.begun, &starting.state) {
            Ok(()) => a.starting = None,
            Err(error @ OutputError::NoSpace { .. }) => {
                starting.storage = Some(error.to_string());
                starting.since = Instant::now();
                a.not_before = Instant::now() + self.backoff.next(&mut rand::rng());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
