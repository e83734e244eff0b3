//! The contract between the runner and an output.
//!
//! The runner's loop is: `resume` once for each assignment; then `write` frame by frame; every `flushInterval` or
//! `flushFrames`, `seal` gives a [`FlushJob`] that another thread runs while writing goes on; when the job is done, the
//! runner commits the offsets that stood at `seal`, with the job's metadata, all partitions in one request; then it calls
//! `committed`. At most one job is under way. At a stop or a revocation: `seal`, run, commit, `committed`, `finish`.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use edgereel_frame::{picture::Info, wire::Label};
use jiff::Timestamp;

use super::{fault::OutputError, retention::Kept};
pub use edgereel_kafka::consumer::{Assigned, TopicPartition, tenure::boot_time_ms};

/// A frame that came from Kafka, ready to be written.
#[derive(Clone, Debug)]
pub struct SinkFrame {
    /// Where its record stands.
    pub source: TopicPartition,
    /// The record's offset.
    pub offset: i64,
    /// The picture, as it stood in the record: a JPEG, but for data sets.
    pub picture: Bytes,
    /// What it is.
    pub info: Info,
    /// For data sets: what it shows.
    pub label: Label,
    /// When it was captured: `ce_time`, the JSON `timestamp` (if it has a zone), or the record's timestamp.
    pub captured_at: Timestamp,
    /// The camera's name: the last part of `ce_source`, else the record's key, else the sink's `streamRef`, else the topic.
    pub camera: Arc<str>,
    /// `ce_sequence`, where there is one.
    pub sequence: Option<u64>,
    /// Where it stands among the others.
    pub standing: Standing,
}

/// Where a frame stands in the order of capture: files and real time go by this, names and rows by the capture time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The time at its place, which no frame after it is before.
    pub time: Timestamp,
    /// Its own time is before that.
    pub behind: bool,
    /// It is late: those among which it belongs went out already.
    pub late: bool,
    /// Its capture time is far from its neighbours' and not believed.
    pub far: bool,
}

impl Standing {
    /// In its place.
    pub fn at(time: Timestamp) -> Self {
        Standing { time, behind: false, late: false, far: false }
    }
}

/// A right to write that ends when the partitions go to another worker.
///
/// A worker that was stopped (SIGSTOP, a suspended laptop) does not know that it lost its partitions: so the right also
/// ends when the consumer has not been polled for a session timeout, until it has been polled again.
#[derive(Clone, Debug)]
pub struct Lease {
    generation: u64,
    current: Arc<AtomicU64>,
    /// Milliseconds on the boot-time clock until which the group's session is certain to live.
    valid_until: Arc<AtomicU64>,
}

impl Lease {
    /// A lease of `generation`, as long as `current` is that generation and the clock is before `valid_until`.
    pub fn new(generation: u64, current: Arc<AtomicU64>, valid_until: Arc<AtomicU64>) -> Self {
        Lease { generation, current, valid_until }
    }

    /// A lease that never ends; for tests and tools that write without a group.
    pub fn endless() -> Self {
        Lease { generation: 0, current: Arc::default(), valid_until: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Fails with [`OutputError::Superseded`] when the right has ended. Check before a rename, a write to a file that
    /// others may own by now, and a commit.
    pub fn check(&self) -> Result<(), OutputError> {
        let mine = self.current.load(Ordering::Acquire) == self.generation;
        let alive = boot_time_ms() < self.valid_until.load(Ordering::Acquire);
        if mine && alive { Ok(()) } else { Err(OutputError::Superseded) }
    }
}

/// Work that makes all frames written so far durable. It runs on another thread while writing goes on.
pub struct FlushJob {
    /// Syncs files and directories. An error leaves the frames not durable: nothing is committed, the sink restarts.
    pub run: Box<dyn FnOnce() -> Result<(), OutputError> + Send>,
    /// What to commit beside the offsets (at most 4096 bytes, `offset.metadata.max.bytes`); empty for none.
    pub metadata: String,
}

/// What writing a frame did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The picture stands in a file now. False when a video left it out to keep real time.
    pub stored: bool,
    /// How often a picture was shown again to keep real time.
    pub repeated: u32,
}

/// Something that frames are written to.
pub trait Output: Send {
    /// Whether one worker must have all partitions, merged by capture time (a video), or each stands alone (files).
    fn needs_all_partitions(&self) -> bool;

    /// This worker's own folder, beside the output and on its file system.
    fn folder(&self) -> &Path;

    /// Whether that folder shows, by itself, that the sink has written before.
    fn has_written(&self) -> bool {
        false
    }

    /// The topics that are about to be assigned, each with its id, where the brokers give any: a name alone is no topic.
    fn topics(&mut self, _ids: &BTreeMap<String, String>) {}

    /// What of it may go to make room, where it is asked to delete anything.
    fn kept(&mut self) -> Option<&mut dyn Kept> {
        None
    }

    /// The number of the last of its files that is closed in the state that is committed: it will not be changed any more. Files have
    /// numbers from 1 on, in their list; 0 where there is none, or nobody asks.
    fn closed(&self) -> u64 {
        0
    }

    /// A new assignment. Cleans up what an earlier worker left beyond the committed state, so that after this call the
    /// files hold exactly the frames before the committed offsets. Where a partition has no committed offset, the
    /// runner commits its start offset with this call's returned metadata before the first write.
    fn resume(&mut self, assigned: &[Assigned], lease: Lease) -> Result<String, OutputError>;

    /// Writes one frame. After an error nothing of it stands in a file: with [`OutputError::NoSpace`] the caller keeps
    /// the frame and calls again later.
    fn write(&mut self, frame: &SinkFrame) -> Result<Written, OutputError>;

    /// What has to be done to make all frames written so far durable.
    fn seal(&mut self) -> Result<FlushJob, OutputError>;

    /// The last sealed state is committed.
    fn committed(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    /// No more frames for this assignment: finalise open files (write a video's index). The frames are committed already.
    fn finish(&mut self) -> Result<(), OutputError>;
}

/// A job that does nothing, for an output with nothing written.
impl Default for FlushJob {
    fn default() -> Self {
        FlushJob { run: Box::new(|| Ok(())), metadata: String::new() }
    }
}

/// Turns an IO result into an output's.
pub trait At<T> {
    /// Names the action and the path of a failure.
    fn at(self, action: &str, path: &Path) -> Result<T, OutputError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &str, path: &Path) -> Result<T, OutputError> {
        self.map_err(|e| OutputError::from_io(action, path, &e))
    }
}
