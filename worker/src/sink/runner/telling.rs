//! Says how the sink stands: its conditions and its lag.

use std::time::Instant;

use edgereel_frame::wire::time;
use jiff::Timestamp;

use super::{
    Runner,
    readiness::{self, Facts, Verdict},
    stage::Stage,
};
use crate::sink::archive::Archive;

impl Runner<'_> {
    /// Sets the resource's conditions.
    pub(super) fn tell_state(&self) {
        if self.ending.is_some() {
            return;
        }
        let full = self.full();
        let facts = Facts {
            doing: (&self.stage).into(),
            kafka: self.health.snapshot(),
            fault: self.faults.standing(Instant::now()),
            storage: full.as_deref(),
            missing: &self.missing,
            group: &self.plan.group,
            shared: self.plan.spec.replicas > 1,
        };
        let (ours, total) = self.stage.partitions();
        self.env.metrics.assigned_partitions.set(ours as i64);
        if let Some(total) = total {
            self.env.metrics.topic_partitions.set(total as i64);
        }
        // A worker among several that have all partitions has no part in the lag.
        if matches!(self.stage, Stage::StandingBy { total: 1.. }) && facts.shared {
            self.env.metrics.lag.tell(0, 0.0);
        }
        let verdict = match self.dead_letters.as_ref().and_then(|dead_letters| dead_letters.tend()) {
            Some(fault) => Verdict::NotReady(fault.reason, fault.message),
            None => readiness::judge(&facts),
        };
        readiness::tell(verdict, &self.env.state);
    }

    /// The full disk that writing waits for, and the archive, for which that waits.
    fn full(&self) -> Option<String> {
        let starting = || self.stage.assignment()?.starting.as_ref()?.storage.as_deref();
        let full = self.stuck.as_ref().and_then(|stuck| stuck.storage.as_deref()).or_else(starting)?;
        let archive = self.archive.as_ref().filter(|_| self.tender.is_some()).and_then(Archive::waits);
        Some(archive.map_or_else(|| full.to_owned(), |waits| format!("{full}; {waits}")))
    }

    /// Tells the archive what is closed for good.
    pub(super) fn tell_archive(&self) {
        if let Some(archive) = &self.archive {
            archive.closed(self.output.closed());
        }
    }

    /// Tells the lag, in records and in seconds, as of now: call it when the ends have just come. Without partitions the
    /// sink does not know it, and [`super::super::lag`] asks.
    pub(super) fn tell_lag(&self) {
        let Some(a) = self.stage.assignment() else { return };
        let (records, behind) = a.progress.lag(&a.ends);
        let waiting = self.stuck.as_ref().map(|stuck| stuck.entry.time());
        let oldest = waiting.or_else(|| a.queue.oldest()).or(a.last_time.filter(|_| behind));
        let age = oldest.and_then(|at| time::age(at, Timestamp::now())).unwrap_or_default();
        self.env.metrics.lag.tell(records, age.as_secs_f64());
    }
}
