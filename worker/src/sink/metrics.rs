//! A sink's metrics: families, and one sink's handles. [`lag`] is there while it is known, [`counted`] keeps what is read again
//! from being counted again.

pub mod counted;
pub mod lag;

use std::sync::atomic::AtomicI64;

use edgereel_crds::name::{Kind, ObjectName};
use edgereel_frame::reasons::InvalidReason;
use edgereel_runtime::metrics::{FloatGauge, Histograms, Metrics, Resource, WithReason, latency};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

use self::{counted::Counted, lag::Lag};

/// What is counted of sinks.
#[derive(Clone)]
pub struct SinkFamilies {
    consumed: Family<Resource, Counter>,
    stored: Family<Resource, Counter>,
    stored_bytes: Family<Resource, Counter>,
    durable: Family<Resource, Counter>,
    invalid: Family<WithReason, Counter>,
    dead_lettered: Family<Resource, Counter>,
    repeated: Family<Resource, Counter>,
    skipped: Family<Resource, Counter>,
    late: Family<Resource, Counter>,
    implausible: Family<Resource, Counter>,
    lost: Family<Resource, Counter>,
    lag: Family<Resource, Gauge>,
    lag_seconds: Family<Resource, FloatGauge>,
    kept: Family<Resource, Gauge<i64, AtomicI64>>,
    kept_bytes: Family<Resource, Gauge<i64, AtomicI64>>,
    room: Family<Resource, Gauge<i64, AtomicI64>>,
    oldest_frame: Family<Resource, FloatGauge>,
    deleted: Family<Resource, Counter>,
    deleted_bytes: Family<Resource, Counter>,
    uploaded: Family<Resource, Counter>,
    uploaded_bytes: Family<Resource, Counter>,
    uploads_failed: Family<Resource, Counter>,
    unarchived: Family<Resource, Gauge<i64, AtomicI64>>,
    unarchived_bytes: Family<Resource, Gauge<i64, AtomicI64>>,
    unarchived_oldest: Family<Resource, FloatGauge>,
    disk_free: Family<Resource, Gauge<i64, AtomicI64>>,
    disk_size: Family<Resource, Gauge<i64, AtomicI64>>,
    last_frame: Family<Resource, FloatGauge>,
    assigned_partitions: Family<Resource, Gauge>,
    topic_partitions: Family<Resource, Gauge>,
    rebalances: Family<Resource, Counter>,
    file_latency: Histograms,
    durable_latency: Histograms,
    flush: Histograms,
}

impl SinkFamilies {
    /// Declares them.
    pub fn new(m: &mut Metrics) -> Self {
        let reasons = InvalidReason::ALL.iter().map(|reason| reason.as_str()).collect();
        SinkFamilies {
            consumed: m.family("sink_records_consumed", "Records read from Kafka"),
            stored: m.family("sink_frames_stored", "Frames written (not yet necessarily durable)"),
            stored_bytes: m.family_in(Unit::Bytes, "sink_stored", "Bytes of frames written"),
            durable: m.family("sink_frames_durable", "Frames durable on disk with their offsets committed"),
            invalid: m.by_reason("sink_records_invalid", "Records that are not frames, by reason", reasons),
            dead_lettered: m.family("sink_records_dead_lettered", "Records sent to the dead-letter topic"),
            repeated: m.family("sink_frames_repeated", "Pictures shown again to keep real time"),
            skipped: m.family("sink_frames_skipped", "Pictures left out of a video to keep real time"),
            late: m.family("sink_frames_late", "Frames that came after the merge window and stand out of order"),
            implausible: m.family(
                "sink_frames_implausible",
                "Frames whose capture time is far from their neighbours' and does not order them",
            ),
            lost: m.family("sink_records_lost", "Records that were gone from the topic before they were read"),
            lag: m.family("sink_lag_records", "Records of the topic that are not yet committed"),
            lag_seconds: m.family_in(Unit::Seconds, "sink_lag", "Age of the oldest record not yet stored"),
            kept: m.family("sink_kept_files", "Files that retention may delete: pictures, or closed videos"),
            kept_bytes: m.family_in(Unit::Bytes, "sink_kept", "Bytes of these files"),
            room: m.family_in(Unit::Bytes, "sink_room", "Bytes that there can be before retention deletes the oldest"),
            oldest_frame: m.family_in(
                Unit::Seconds,
                "sink_oldest_frame_timestamp",
                "Unix time of the oldest frame that retention may delete; 0 where there is none",
            ),
            deleted: m.family("sink_files_deleted", "Files that retention has deleted"),
            deleted_bytes: m.family_in(Unit::Bytes, "sink_deleted", "Bytes of the files that retention has deleted"),
            uploaded: m.family("sink_files_uploaded", "Files that the archive has acknowledged"),
            uploaded_bytes: m.family_in(Unit::Bytes, "sink_uploaded", "Bytes of the files that the archive has acknowledged"),
            uploads_failed: m.family("sink_uploads_failed", "Tries to bring a file to the archive that have failed"),
            unarchived: m.family("sink_unarchived_files", "Closed files that the archive does not have yet"),
            unarchived_bytes: m.family_in(Unit::Bytes, "sink_unarchived", "Bytes of these files"),
            unarchived_oldest: m.family_in(
                Unit::Seconds,
                "sink_unarchived_oldest_timestamp",
                "Unix time at which the oldest closed file that the archive does not have was last written; 0 where there is none",
            ),
            disk_free: m.family_in(Unit::Bytes, "sink_disk_free", "Free space of the output's file system"),
            disk_size: m.family_in(Unit::Bytes, "sink_disk_size", "Size of the output's file system"),
            last_frame: m.family_in(
                Unit::Seconds,
                "sink_last_frame_timestamp",
                "Unix time at which the last frame written was captured",
            ),
            assigned_partitions: m.family("sink_assigned_partitions", "Partitions that this worker reads now"),
            topic_partitions: m.family("sink_topic_partitions", "Partitions of the topics, whoever reads them"),
            rebalances: m.family("sink_rebalances", "Assignments of partitions"),
            file_latency: m.histograms(
                Unit::Seconds,
                "sink_capture_to_file",
                "From capture to the frame's bytes standing in their file",
                latency,
            ),
            durable_latency: m.histograms(
                Unit::Seconds,
                "sink_capture_to_durable",
                "From capture to the frame being durable",
                latency,
            ),
            flush: m.histograms(Unit::Seconds, "sink_flush", "How long a flush to the disk took", latency),
        }
    }

    /// The handles of a replica of a sink.
    pub fn of(&self, name: &ObjectName, replica: u32) -> SinkMetrics {
        let r = Resource::new(Kind::FrameSink, name, replica);
        SinkMetrics {
            invalid: self.invalid.clone(),
            counted: Counted::default(),
            lag: Lag::new(r.clone(), self.lag.clone(), self.lag_seconds.clone()),
            consumed: self.consumed.get_or_create(&r).clone(),
            stored: self.stored.get_or_create(&r).clone(),
            stored_bytes: self.stored_bytes.get_or_create(&r).clone(),
            durable: self.durable.get_or_create(&r).clone(),
            dead_lettered: self.dead_lettered.get_or_create(&r).clone(),
            repeated: self.repeated.get_or_create(&r).clone(),
            skipped: self.skipped.get_or_create(&r).clone(),
            late: self.late.get_or_create(&r).clone(),
            implausible: self.implausible.get_or_create(&r).clone(),
            lost: self.lost.get_or_create(&r).clone(),
            kept: self.kept.get_or_create(&r).clone(),
            kept_bytes: self.kept_bytes.get_or_create(&r).clone(),
            room: self.room.get_or_create(&r).clone(),
            oldest_frame: self.oldest_frame.get_or_create(&r).clone(),
            deleted: self.deleted.get_or_create(&r).clone(),
            deleted_bytes: self.deleted_bytes.get_or_create(&r).clone(),
            uploaded: self.uploaded.get_or_create(&r).clone(),
            uploaded_bytes: self.uploaded_bytes.get_or_create(&r).clone(),
            uploads_failed: self.uploads_failed.get_or_create(&r).clone(),
            unarchived: self.unarchived.get_or_create(&r).clone(),
            unarchived_bytes: self.unarchived_bytes.get_or_create(&r).clone(),
            unarchived_oldest: self.unarchived_oldest.get_or_create(&r).clone(),
            disk_free: self.disk_free.get_or_create(&r).clone(),
            disk_size: self.disk_size.get_or_create(&r).clone(),
            last_frame: self.last_frame.get_or_create(&r).clone(),
            assigned_partitions: self.assigned_partitions.get_or_create(&r).clone(),
            topic_partitions: self.topic_partitions.get_or_create(&r).clone(),
            rebalances: self.rebalances.get_or_create(&r).clone(),
            file_latency: self.file_latency.get_or_create(&r).clone(),
            durable_latency: self.durable_latency.get_or_create(&r).clone(),
            flush: self.flush.get_or_create(&r).clone(),
            resource: r,
        }
    }
}

/// One sink's handles.
#[derive(Clone)]
#[allow(missing_docs)] // each field's meaning is its metric's help text above
pub struct SinkMetrics {
    resource: Resource,
    invalid: Family<WithReason, Counter>,
    pub consumed: Counter,
    pub stored: Counter,
    pub stored_bytes: Counter,
    pub durable: Counter,
    pub dead_lettered: Counter,
    pub repeated: Counter,
    pub skipped: Counter,
    pub late: Counter,
    pub implausible: Counter,
    pub lost: Counter,
    pub lag: Lag,
    /// How far it has counted, so that what is read again is not counted again.
    pub counted: Counted,
    pub kept: Gauge<i64, AtomicI64>,
    pub kept_bytes: Gauge<i64, AtomicI64>,
    pub room: Gauge<i64, AtomicI64>,
    pub oldest_frame: FloatGauge,
    pub deleted: Counter,
    pub deleted_bytes: Counter,
    pub uploaded: Counter,
    pub uploaded_bytes: Counter,
    pub uploads_failed: Counter,
    pub unarchived: Gauge<i64, AtomicI64>,
    pub unarchived_bytes: Gauge<i64, AtomicI64>,
    pub unarchived_oldest: FloatGauge,
    pub disk_free: Gauge<i64, AtomicI64>,
    pub disk_size: Gauge<i64, AtomicI64>,
    pub last_frame: FloatGauge,
    pub assigned_partitions: Gauge,
    pub topic_partitions: Gauge,
    pub rebalances: Counter,
    pub file_latency: Histogram,
    pub durable_latency: Histogram,
    pub flush: Histogram,
}

impl SinkMetrics {
    /// The counter of records that are not frames, for this reason.
    pub fn invalid(&self, reason: InvalidReason) -> Counter {
        self.invalid.get_or_create(&self.resource.because(reason.as_str())).clone()
    }

    /// Records that are not frames, over all reasons.
    pub fn invalid_total(&self) -> u64 {
        InvalidReason::ALL.iter().map(|reason| self.invalid(*reason).get()).sum()
    }
}
