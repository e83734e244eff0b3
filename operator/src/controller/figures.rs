//! Live figures: added up over workers, rounded, and whether they have changed enough to be worth a write. Pure.

use std::time::Duration;

use edgereel_crds::{
    resource_status::{CameraStreamStatus, FrameSinkStatus, KafkaConnectionStatus},
    worker_status::Figures,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::observe::PodView;

/// One decimal below ten, none above.
fn rounded(rate: f64) -> f64 {
    if rate < 10.0 { (rate * 10.0).round() / 10.0 } else { rate.round() }
}

fn count(n: u64) -> Option<i64> {
    i64::try_from(n).ok()
}

fn kilobytes(bytes: u64) -> Option<i64> {
    count((bytes + 500) / 1000)
}

/// The figures of the workers that stay, as one; none where one of them says nothing.
fn of_workers(pods: &[PodView]) -> Option<Figures> {
    let staying = pods.iter().filter(|pod| !pod.leaving);
    let all: Option<Vec<&Figures>> =
        staying.map(|pod| pod.report.as_ref()?.as_ref().ok()).map(|report| Some(&report?.figures)).collect();
    all.filter(|all| !all.is_empty()).map(|all| Figures::added_up(&all))
}

/// Fills in a camera's figures; where its worker says nothing, the last ones stay.
pub fn of_camera(pods: &[PodView], old: &CameraStreamStatus, status: &mut CameraStreamStatus) {
    let reports = pods.iter().filter(|pod| !pod.leaving).filter_map(|pod| pod.report.as_ref()?.as_ref().ok());
    match reports.map(|report| &report.figures).next_back() {
        Some(figures) => {
            status.fps = figures.number("fps").map(rounded);
            status.frame_kilobytes = figures.uint("frameBytes").and_then(kilobytes);
            status.frames_acknowledged = figures.int("framesAcknowledged");
            status.frames_dropped = figures.int("framesDropped");
            let seconds = figures.moment("lastFrameTime").map(|time| time.as_second());
            status.last_frame_time =
                seconds.and_then(|s| jiff::Timestamp::from_second(s).ok()).map(|time| time.to_string());
        }
        None => {
            // Without a pod nothing is captured; what was sent is history.
            status.fps = (!pods.is_empty()).then_some(old.fps).flatten();
            status.frame_kilobytes = old.frame_kilobytes;
            status.frames_acknowledged = old.frames_acknowledged;
            status.frames_dropped = old.frames_dropped;
            status.last_frame_time = old.last_frame_time.clone();
        }
    }
}

/// Fills in a sink's figures, added up over its workers; where one says nothing, the last ones stay, but for
/// the lag: an old one is not known now.
pub fn of_sink(pods: &[PodView], old: &FrameSinkStatus, status: &mut FrameSinkStatus) {
    match of_workers(pods) {
        Some(figures) => {
            status.fps = figures.number("fps").map(rounded);
            status.frame_kilobytes = figures.uint("frameBytes").and_then(kilobytes);
            status.frames_stored = figures.int("framesStored");
            status.records_dead_lettered = figures.int("recordsDeadLettered");
            status.records_lost = figures.int("recordsLost");
            // One that is not known makes the sum unknown, and not smaller.
            status.lag_records = figures.int("lagRecords");
            status.disk_used = pods.iter().filter_map(disk_used).max().map(|percent| format!("{percent}%"));
        }
        None => {
            status.fps = (!pods.is_empty()).then_some(old.fps).flatten();
            status.frame_kilobytes = old.frame_kilobytes;
            status.frames_stored = old.frames_stored;
            status.records_dead_lettered = old.records_dead_lettered;
            status.records_lost = old.records_lost;
            status.disk_used = old.disk_used.clone();
        }
    }
}

/// How full a worker's disk is, in percent. Of several disks the fullest counts: no sum says that.
fn disk_used(pod: &PodView) -> Option<i64> {
    let figures = &pod.report.as_ref().filter(|_| !pod.leaving)?.as_ref().ok()?.figures;
    let (free, size) = (figures.int("diskFreeBytes")?, figures.int("diskSizeBytes")?);
    (size > 0).then(|| 100 - free * 100 / size)
}

/// Whether a status is worth a write: at once when something changed that matters, else once in a while.
pub trait WorthWriting: PartialEq {
    /// What differs, but not enough to matter, is written this often.
    const REFRESH: Duration = Duration::from_secs(300);

    /// Something changed that a person or a program would act on.
    fn matters(&self, old: &Self) -> bool;

    /// Whether to write this over `old`, which was written so long ago.
    fn worth_writing(&self, old: &Self, ago: Duration) -> bool {
        self.matters(old) || (ago >= Self::REFRESH && self != old)
    }
}

/// Conditions matter by type, status, reason and generation; a message alone may hold a figure.
pub fn conditions_matter(new: &[Condition], old: &[Condition]) -> bool {
    let essence = |c: &Condition| (c.type_.clone(), c.status.clone(), c.reason.clone(), c.observed_generation);
    new.len() != old.len() || new.iter().map(essence).ne(old.iter().map(essence))
}

/// A rate matters when it changed by more than a tenth (and by more than one), began or ended.
fn rate_matters(new: Option<f64>, old: Option<f64>) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => (new == 0.0) != (old == 0.0) || (new - old).abs() > (old.abs() / 10.0).max(1.0),
        (new, old) => new.is_some() != old.is_some(),
    }
}

/// An amount matters when it changed by more than a fifth of itself, and by more than `least`.
fn amount_matters(new: Option<i64>, old: Option<i64>, least: i64) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => (new - old).abs() > (old.abs() / 5).max(least),
        (new, old) => new.is_some() != old.is_some(),
    }
}

/// A count that only grows matters when it began, began anew or doubled, or grew by a tenth where growing is bad.
fn count_matters(new: Option<i64>, old: Option<i64>, bad: bool) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => new < old || (new > old && new / 2 >= old) || (bad && new - old > (old / 10).max(1)),
        (new, old) => new.is_some() != old.is_some(),
    }
}

impl WorthWriting for CameraStreamStatus {
    fn matters(&self, old: &Self) -> bool {
        conditions_matter(&self.conditions, &old.conditions)
            || self.observed_generation != old.observed_generation
            || self.node != old.node
            || rate_matters(self.fps, old.fps)
            || amount_matters(self.frame_kilobytes, old.frame_kilobytes, 5)
            || count_matters(self.frames_acknowledged, old.frames_acknowledged, false)
            || count_matters(self.frames_dropped, old.frames_dropped, true)
    }
}

impl WorthWriting for FrameSinkStatus {
    fn matters(&self, old: &Self) -> bool {
        let percent = |text: &Option<String>| text.as_ref().and_then(|t| t.trim_end_matches('%').parse::<i64>().ok());
        let disk = match (percent(&self.disk_used), percent(&old.disk_used)) {
            (Some(new), Some(old)) => (new - old).abs() >= 2,
            (new, old) => new.is_some() != old.is_some(),
        };
        conditions_matter(&self.conditions, &old.conditions)
            || self.observed_generation != old.observed_generation
            || (self.replicas, self.ready_replicas) != (old.replicas, old.ready_replicas)
            || self.selector != old.selector
            || self.node != old.node
            || rate_matters(self.fps, old.fps)
            || amount_matters(self.frame_kilobytes, old.frame_kilobytes, 5)
            || amount_matters(self.lag_records, old.lag_records, 100)
            || count_matters(self.frames_stored, old.frames_stored, false)
            || count_matters(self.records_dead_lettered, old.records_dead_lettered, true)
            || count_matters(self.records_lost, old.records_lost, true)
            || disk
    }
}

impl WorthWriting for KafkaConnectionStatus {
    // Hundreds of users come one after another: their number is written when they have come.
    const REFRESH: Duration = Duration::from_secs(10);

    fn matters(&self, old: &Self) -> bool {
        conditions_matter(&self.conditions, &old.conditions) || self.observed_generation != old.observed_generation
    }
}
