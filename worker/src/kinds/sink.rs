//! A sink (one replica of it) as wanted, and its work.

use std::path::{Path, PathBuf};

use edgereel_crds::{
    frame_sink::Output,
    name::{Kind, ObjectName},
    plan::SinkPlan,
    worker_status::{ConnectionReport, Figures, Overview, Semantics},
};
use edgereel_kafka::reach;
use edgereel_runtime::{
    fault::Fault,
    metrics::Resource,
    state::ResourceState,
    table::summary::in_words,
    work::{Passed, Rate, Surroundings, Wanted, Work, on_a_thread},
};
use futures::future::BoxFuture;
use serde_json::Value;

use super::moment;
use crate::sink::{
    lag,
    metrics::{SinkFamilies, SinkMetrics},
    runner::{self, SinkEnv},
    volume,
};

/// A replica of a sink that is wanted.
pub struct WantedSink {
    pub plan: SinkPlan,
    pub replica: u32,
    /// The name that it shows.
    pub shown: ObjectName,
    /// The secrets that it reads.
    pub secrets: Vec<Option<Vec<u8>>>,
    pub storage_root: Option<PathBuf>,
    pub families: SinkFamilies,
}

impl Wanted for WantedSink {
    fn kind(&self) -> Kind {
        Kind::FrameSink
    }

    fn shown(&self) -> &ObjectName {
        &self.shown
    }

    fn resource(&self) -> Resource {
        Resource::new(Kind::FrameSink, &self.plan.name, self.replica)
    }

    /// Whether its volume is the only one decides where a sink begins below a storage root, and one that runs has begun.
    fn is_same(&self, other: &dyn Wanted) -> bool {
        let Some(wish) = other.downcast::<Self>() else { return false };
        let mut plan = self.plan.clone();
        plan.volume.alone = wish.plan.volume.alone;
        plan == wish.plan && (self.replica, &self.shown, &self.secrets) == (wish.replica, &wish.shown, &wish.secrets)
    }

    fn work(&self) -> Box<dyn Work> {
        let goes_to = goes_to(&self.plan, self.storage_root.as_deref());
        let metrics = self.families.of(&self.plan.name, self.replica);
        Box::new(SinkWork { plan: self.plan.clone(), replica: self.replica, metrics, goes_to })
    }
}

/// Where its frames go, without asking the disk.
pub fn goes_to(plan: &SinkPlan, storage_root: Option<&Path>) -> String {
    let directory = plan.spec.output.directory();
    let root = volume::of_sink(plan, storage_root).unwrap_or_default();
    root.components().chain(Path::new(directory).components()).collect::<PathBuf>().display().to_string()
}

struct SinkWork {
    plan: SinkPlan,
    replica: u32,
    metrics: SinkMetrics,
    goes_to: String,
}

impl Work for SinkWork {
    fn is_suspended(&self) -> bool {
        self.plan.spec.rests()
    }

    fn watch(&self, around: &Surroundings) {
        let (secrets, shutdown) = (around.secrets.clone(), around.shutdown.clone());
        lag::watch(self.plan.clone(), self.metrics.lag.clone(), secrets, shutdown);
    }

    fn start(&self, state: &ResourceState, around: &Surroundings) -> BoxFuture<'static, Result<(), Fault>> {
        let Surroundings { storage_root, secrets, shutdown } = around.clone();
        let (plan, replica, metrics) = (self.plan.clone(), self.replica, self.metrics.clone());
        let env = SinkEnv { storage_root, secrets, metrics, state: state.clone(), shutdown };
        let name = format!("sink-{}", plan.name.name);
        Box::pin(on_a_thread(name, move || runner::run(&plan, replica, env)))
    }

    fn passed(&self) -> Passed {
        Passed { frames: self.metrics.stored.get(), bytes: self.metrics.stored_bytes.get() }
    }

    fn figures(&self, rate: Rate) -> Figures {
        let m = &self.metrics;
        let (free, size) = (m.disk_free.get(), m.disk_size.get());
        let seconds = m.lag.seconds().map(|seconds| (seconds * 1000.0).round() / 1000.0);
        // None before the group has spoken for the first time.
        let partitions = Some(m.topic_partitions.get()).filter(|count| *count > 0);
        // A data set is kept whole.
        let keeps = self.plan.spec.retention.is_some() && !matches!(self.plan.spec.output, Output::Dataset(_));
        let archives = self.plan.spec.archive.is_some();
        Figures::new()
            .with("fps", Semantics::Rate, Value::from(rate.fps))
            .with("frameBytes", Semantics::Mean, Value::from(rate.frame_bytes))
            .count("recordsConsumed", m.consumed.get())
            .count("framesStored", m.stored.get())
            .count("bytesStored", m.stored_bytes.get())
            .count("framesDurable", m.durable.get())
            .count("recordsInvalid", m.invalid_total())
            .count("recordsDeadLettered", m.dead_lettered.get())
            .count("recordsLost", m.lost.get())
            .amount("lagRecords", m.lag.records())
            .with("lagSeconds", Semantics::Greatest, seconds.map(Value::from))
            .with("diskFreeBytes", Semantics::Least, Value::from(free))
            .with("diskSizeBytes", Semantics::Least, Value::from(size))
            .with("diskFreeRatio", Semantics::Least, (size > 0).then(|| Value::from(ratio(free, size))))
            .count("filesDeleted", m.deleted.get())
            .amount("keptBytes", keeps.then(|| m.kept_bytes.get()))
            .with("keptDays", Semantics::Greatest, keeps.then(|| days(m.oldest_frame.get())).flatten().map(Value::from))
            .with("roomDays", Semantics::Least, keeps.then(|| room_days(m.room.get(), rate)).flatten().map(Value::from))
            .count("filesUploaded", m.uploaded.get())
            .amount("unarchivedFiles", archives.then(|| m.unarchived.get()))
            .amount("unarchivedBytes", archives.then(|| m.unarchived_bytes.get()))
            .amount("assignedPartitions", Some(m.assigned_partitions.get()))
            .with("topicPartitions", Semantics::Greatest, partitions.map(Value::from))
            .time("lastFrameTime", moment(m.last_frame.get()))
    }

    fn connections(&self) -> Vec<ConnectionReport> {
        reach::report(&self.plan.connection.name).into_iter().collect()
    }

    fn overview(&self) -> Overview {
        let m = &self.metrics;
        let (stored, bytes) = (m.stored.get(), m.stored_bytes.get());
        let (invalid, letters) = (m.invalid_total(), m.dead_lettered.get());
        let dropped =
            [("dead-lettered", letters), ("not frames", invalid.saturating_sub(letters)), ("lost", m.lost.get())];
        let dropped = dropped.into_iter().filter(|(_, count)| *count > 0);
        Overview {
            short: "fsink".into(),
            came: None,
            safe: stored,
            lag: m.lag.records(),
            dropped: dropped.map(|(reason, count)| (reason.to_owned(), count)).collect(),
            meant: vec![],
            bytes,
            warn_bytes: None,
            told: format!("{stored} frames ({}) stored in {}", in_words(bytes), self.goes_to),
        }
    }
}

/// How many days ago a Unix time was; none of no time.
fn days(time: f64) -> Option<f64> {
    let age = jiff::Timestamp::now().as_second() as f64 - time;
    (time > 0.0).then(|| (age.max(0.0) / 864.0).round() / 100.0)
}

/// For how many days there is room at this rate, where anything comes.
fn room_days(room: i64, rate: Rate) -> Option<f64> {
    let a_day = rate.fps * rate.frame_bytes as f64 * 86_400.0;
    (room > 0 && a_day > 0.0).then(|| (room as f64 / a_day * 100.0).round() / 100.0)
}

/// A part of a whole, to three digits.
fn ratio(part: i64, whole: i64) -> f64 {
    (part as f64 / whole as f64 * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use edgereel_frame::reasons::InvalidReason;
    use edgereel_runtime::metrics::Metrics;

    use super::*;

    #[test]
    fn a_sink_tells_its_partitions_bytes_and_free_space() {
        let families = SinkFamilies::new(&mut Metrics::default());
        let plan = super::super::tests::plan().sinks.remove(0);
        let sink = families.of(&plan.name, 0);
        let work = SinkWork { plan, replica: 0, metrics: sink.clone(), goes_to: "/data/gate".into() };
        let figures = || work.figures(Rate::default());
        assert_eq!(
            (figures().int("topicPartitions"), figures().number("diskFreeRatio")),
            (None, None),
            "not known yet"
        );
        sink.assigned_partitions.set(2);
        sink.topic_partitions.set(3);
        sink.stored_bytes.inc_by(85_000);
        sink.invalid(InvalidReason::bad_json).inc();
        sink.disk_free.set(1 << 30);
        sink.disk_size.set(3 << 30);
        let figures = figures();
        assert_eq!((figures.int("assignedPartitions"), figures.int("topicPartitions")), (Some(2), Some(3)));
        assert_eq!((figures.uint("bytesStored"), figures.uint("recordsInvalid")), (Some(85_000), Some(1)));
        assert_eq!(figures.number("diskFreeRatio"), Some(0.333));
        let overview = work.overview();
        assert_eq!(overview.told, "0 frames (85.0 KB) stored in /data/gate");
        assert_eq!((overview.dropped["not frames"], overview.is_losing()), (1, true));
    }
}
