//! Video files that survive anything: the output `video`.
//!
//! - [`avi`] reads, writes and recovers AVI files; [`sheet`] writes the CSV beside one; [`segment`] is the two together.
//! - [`segment_log`] lists the files that were begun, [`checkpoint`] is what a commit says of them.
//! - [`timing`] keeps real time; [`xvid`] encodes; [`disk`] is where all writing goes through.
//!
//! **What makes it exact.** Frames are only appended. A commit carries, beside the offsets of all partitions, where the
//! files stood when exactly the frames before those offsets were durable. After a crash the segment of the last commit is
//! cut back to that point, segments begun later are removed, and the frames that come again from Kafka are appended. So no
//! frame is missing, twice or torn, whatever the moment of the crash.

pub mod avi;
pub mod checkpoint;
pub mod disk;
mod scaler;
pub mod segment;
pub mod segment_log;
pub mod sheet;
pub mod timing;
mod xvid;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod player_tests;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use edgereel_crds::{
    frame_sink::{self, Codec, VideoRate},
    plan::ObjectName,
    status::Reason,
    template::Template,
};

use self::{
    avi::{Format, Limits, MJPG, Rate, XVID},
    checkpoint::{Checkpoint, LONGEST_NAME, OpenAt},
    disk::Disk,
    segment::Segment,
    segment_log::{Line, SegmentLog},
    timing::{Decision, Timing},
    xvid::{Encoder, JpegDecoder},
};
use super::{
    fault::OutputError,
    file_name::{self, Values},
    output::{Assigned, FlushJob, Lease, Output, SinkFrame, TopicPartition, Written},
    private_dir::{PrivateDir, make_directory, sync_directory},
};
use crate::metrics::InvalidReason;

/// A file of this name in the sink's folder says: the last segment is gone or changed on purpose, begin a new one.
const BEGIN_ANEW: &str = "begin-anew";

/// The output `video`.
pub struct Video {
    sink: ObjectName,
    spec: frame_sink::Video,
    template: Template,
    directory: PathBuf,
    private: PrivateDir,
    disk: Disk,
    limits: Limits,
    log: SegmentLog,
    lease: Option<Lease>,
    /// The number of the last segment that was begun.
    number: u64,
    current: Option<Segment>,
    /// Real time, of the current segment or the one before; none for a fixed speed.
    timing: Option<Timing>,
    xvid: Option<Xvid>,
    unsynced: Unsynced,
}

/// The encoder's side of an `xvid` output.
struct Xvid {
    decoder: JpegDecoder,
    /// Of the current segment.
    encoder: Option<Encoder>,
    /// A frame that was encoded and then not written since the disk was full. It must not be encoded twice: the encoder
    /// has moved on.
    encoded: Option<(TopicPartition, i64, ffmpeg_next::Packet)>,
}

/// Closed segments and new names since the last seal.
#[derive(Default)]
struct Unsynced {
    files: Vec<(PathBuf, Arc<File>)>,
    directories: BTreeSet<PathBuf>,
}

impl Unsynced {
    fn sync(self) -> Result<(), OutputError> {
        for (path, file) in self.files {
            file.sync_data().map_err(|e| OutputError::from_io("sync", &path, &e))?;
        }
        self.directories.iter().try_for_each(|directory| sync_directory(directory))
    }
}

/// Where a frame goes.
enum Place {
    Here { repeats: u32 },
    LeftOut,
    NewFile,
}

impl Video {
    /// Opens the output below `root`, which has to be there; `spec.directory` is made if it is missing.
    ///
    /// # Errors
    /// [`Reason::StorageLocked`] when another process writes for this sink; the usual storage faults.
    pub fn open(root: &Path, spec: &frame_sink::Video, sink: &ObjectName) -> Result<Self, OutputError> {
        Self::with(root, spec, sink, Disk::default(), Limits::default())
    }

    fn with(
        root: &Path,
        spec: &frame_sink::Video,
        sink: &ObjectName,
        disk: Disk,
        limits: Limits,
    ) -> Result<Self, OutputError> {
        let default = if spec.segment.is_some() { "{topic}_{timestamp}.avi" } else { "{topic}.avi" };
        let template = Template::parse(spec.file_name.as_deref().unwrap_or(default)).map_err(|e| {
            OutputError::storage(Reason::InvalidConfiguration, format!("spec.output.video.fileName: {e}"))
        })?;
        let directory = make_directory(root, Path::new(&spec.directory))?;
        // A video has one writer, so there is but one folder.
        let private = PrivateDir::open(&directory, sink, 0)?;
        let log = SegmentLog::open(private.path().join("segments"), &disk)?;
        let xvid = match spec.codec {
            Codec::Mjpeg => None,
            Codec::Xvid => Some(Xvid { decoder: JpegDecoder::new()?, encoder: None, encoded: None }),
        };
        Ok(Video {
            sink: sink.clone(),
            spec: spec.clone(),
            template,
            directory,
            private,
            disk,
            limits,
            log,
            lease: None,
            number: 0,
            current: None,
            timing: None,
            xvid,
            unsynced: Unsynced::default(),
        })
    }

    fn lease(&self) -> Result<(), OutputError> {
        self.lease.as_ref().ok_or(OutputError::Superseded)?.check()
    }

    fn codec(&self) -> [u8; 4] {
        match self.spec.codec {
            Codec::Mjpeg => MJPG,
            Codec::Xvid => XVID,
        }
    }

    /// The speed for the current segment's header.
    fn rate(&self) -> Rate {
        match (self.spec.frame_rate, &self.timing) {
            (VideoRate::Fixed(n), _) => Rate::per_second(n),
            (VideoRate::Source, Some(timing)) => timing.rate(),
            (VideoRate::Source, None) => timing::UNKNOWN,
        }
    }

    /// What the header of a segment says of its maker.
    fn note(&self, segment: u64) -> String {
        format!("edgereel {} segment {segment}", self.sink)
    }

    fn checkpoint(&self) -> Checkpoint {
        let open = self.current.as_ref().map(|segment| {
            let (end, csv) = segment.lengths();
            OpenAt {
                name: segment.name.clone(),
                end,
                frames: segment.avi.frames(),
                csv,
                began: segment.began,
                timing: self.timing.clone(),
            }
        });
        Checkpoint { segment: self.number, open }
    }

    /// Removes the segments that the checkpoint does not know.
    fn remove_orphans(&mut self, last: u64) -> Result<(), OutputError> {
        let orphans: Vec<Line> = self.log.after(last).cloned().collect();
        for orphan in &orphans {
            let path = self.directory.join(&orphan.file);
            segment::remove_orphan(&path, &self.note(orphan.segment), self.limits, &self.disk)?;
            if let Some(directory) = path.parent().filter(|d| d.is_dir()) {
                sync_directory(directory)?;
            }
        }
        self.log.cut_after(last)
    }

    /// Takes up the segment of a checkpoint.
    fn reopen(&mut self, at: &OpenAt) -> Result<(), OutputError> {
        let segment = match Segment::resume(&self.directory, at, self.limits, &self.disk) {
            Ok(segment) => segment,
            Err((_, avi::recover::Misfit::Output(error))) => return Err(error),
            Err((path, misfit)) => {
                let anew = self.private.path().join(BEGIN_ANEW);
                let message = format!(
                    "{} {misfit}: put it back as it was (is the disk mounted?), or, to leave it as it is and go on in a new \
                     file, make the empty file {}",
                    path.display(),
                    anew.display()
                );
                if anew.exists() {
                    tracing::warn!(sink = %self.sink, "{message}: it is there, a new file begins");
                    return Ok(());
                }
                return Err(OutputError::storage(Reason::StorageError, message));
            }
        };
        if self.log.last() < self.number {
            self.log.note(Line { segment: self.number, file: at.name.clone() })?;
        }
        // The resource may have been edited: what does not fit any more is closed, and a new segment begins.
        let fits = segment.avi.format().codec == self.codec()
            && match self.spec.frame_rate {
                VideoRate::Source => at.timing.is_some(),
                VideoRate::Fixed(n) => at.timing.is_none() && segment.avi.rate() == Rate::per_second(n),
            };
        self.timing = at.timing.clone();
        self.current = Some(segment);
        if !fits {
            self.close()?;
            self.timing = None;
        }
        Ok(())
    }

    /// Closes the current segment. Can be tried again after an error.
    fn close(&mut self) -> Result<(), OutputError> {
        let rate = self.current_rate();
        if let Some(segment) = &mut self.current {
            segment.finish(rate)?;
            self.unsynced.files.extend(segment.files());
            self.current = None;
        }
        if let Some(xvid) = &mut self.xvid {
            xvid.encoder = None;
            xvid.encoded = None;
        }
        Ok(())
    }

    /// The current segment's speed: its own if it is fixed, even where the resource says another by now.
    fn current_rate(&self) -> Rate {
        match (&self.current, &self.timing) {
            (_, Some(timing)) => timing.rate(),
            (Some(segment), None) => segment.avi.rate(),
            (None, None) => self.rate(),
        }
    }

    /// A name that no file has.
    fn free_name(&self, frame: &SinkFrame, number: u64) -> Result<String, OutputError> {
        let values = Values { segment: Some(number), ..Values::from(frame) };
        let name = file_name::render(&self.template, &values)?;
        let stem = name.strip_suffix(".avi").unwrap_or(&name);
        if stem.len() > LONGEST_NAME {
            let message =
                format!("the file name of segment {number} has {} bytes, more than {LONGEST_NAME}", name.len());
            return Err(OutputError::Frame { reason: InvalidReason::bad_name, message });
        }
        let mut name = format!("{stem}.avi");
        let mut copy = 1u64;
        loop {
            let path = self.directory.join(&name);
            let there = |path: &Path| fs::symlink_metadata(path).is_ok();
            if !there(&path) && !there(&segment::csv_path(&path)) {
                return Ok(name);
            }
            copy += 1;
            name = format!("{stem}_{copy}.avi");
        }
    }

    /// Begins a segment with this frame.
    fn begin(&mut self, frame: &SinkFrame, format: Format, time: i64) -> Result<(), OutputError> {
        let number = self.log.last().max(self.number) + 1;
        let name = self.free_name(frame, number)?;
        let below = Path::new(&name).parent().unwrap_or(Path::new(""));
        let directory = make_directory(&self.directory, below)?;
        let timing = match self.spec.frame_rate {
            VideoRate::Source => Some(Timing::begin(self.timing.as_ref(), time)),
            VideoRate::Fixed(_) => None,
        };
        let rate = timing.as_ref().map_or_else(|| self.rate(), Timing::rate);
        // In the log first: from here on a crash leaves nothing that the next start does not know of.
        self.log.note(Line { segment: number, file: name.clone() })?;
        let kind = (format, rate, self.limits);
        match Segment::begin(&self.directory, name, kind, time, &self.note(number), &self.disk) {
            Ok(segment) => self.current = Some(segment),
            Err(error) => {
                self.log.cut_after(number - 1)?;
                return Err(error);
            }
        }
        self.number = number;
        self.timing = timing;
        self.unsynced.directories.insert(directory);
        Ok(())
    }

    /// Where a frame of this time and format goes, and how things stand in time then. `length` is what its content will
    /// have at most, about.
    fn place(&self, time: i64, format: Format, length: usize) -> (Place, Option<Timing>) {
        let Some(segment) = &self.current else { return (Place::NewFile, self.timing.clone()) };
        let limits = self.spec.segment.as_ref();
        let (decision, timing) = match &self.timing {
            None => (Decision::Show { repeats: 0 }, None),
            Some(timing) => {
                let (decision, timing) = timing.next(time, segment.avi.frames());
                (decision, Some(timing))
            }
        };
        let lasts = u128::try_from(time.saturating_sub(segment.began)).unwrap_or(0);
        let over_time = limits.and_then(|l| l.max_duration).is_some_and(|max| lasts >= max.as_micros());
        let repeats = match decision {
            _ if over_time || segment.avi.format() != format => return (Place::NewFile, timing),
            Decision::Skip => return (Place::LeftOut, timing),
            Decision::Faster => return (Place::NewFile, timing),
            Decision::Gap if limits.is_some() => return (Place::NewFile, timing),
            Decision::Gap => 0,
            // There is no picture yet to show again: the file was begun, then the disk was full.
            Decision::Show { .. } if segment.avi.frames() == 0 => 0,
            Decision::Show { repeats } => repeats,
        };
        let over_bytes = limits
            .and_then(|l| l.max_bytes)
            .is_some_and(|max| segment.avi.frames() > 0 && segment.avi.finished_bytes(repeats, length) > max.0);
        if over_bytes || !segment.avi.has_room(repeats, length) {
            return (Place::NewFile, timing);
        }
        (Place::Here { repeats }, timing)
    }

    /// Shows a frame in the current segment, encoded if need be.
    fn show(
        &mut self,
        frame: &SinkFrame,
        repeats: u32,
        picture: Option<ffmpeg_next::frame::Video>,
    ) -> Result<(), OutputError> {
        let rate = self.rate();
        let segment = self.current.as_mut().expect("a place in the current segment was found for it, or it was begun");
        let (Some(xvid), Some(mut picture)) = (&mut self.xvid, picture) else {
            return segment.show(frame, repeats, &frame.jpeg, true);
        };
        let same = |(source, offset, _): &(TopicPartition, i64, _)| (source, *offset) == (&frame.source, frame.offset);
        if xvid.encoded.take_if(|encoded| !same(encoded)).is_some() {
            // What was encoded will never be written: later packets must not build on it.
            xvid.encoder = None;
        }
        if xvid.encoded.is_none() {
            let encoder = match &mut xvid.encoder {
                Some(encoder) => encoder,
                none => none.insert(Encoder::new(picture.width(), picture.height(), rate)?),
            };
            xvid.encoded = Some((frame.source.clone(), frame.offset, encoder.encode(&mut picture)?));
        }
        let content = xvid.encoded.as_ref().and_then(|(.., packet)| packet.data()).unwrap_or_default();
        segment.show(frame, repeats, content, avi::read::is_key(content))?;
        xvid.encoded = None;
        Ok(())
    }
}

/// What the group's commits say: none if no partition has a checkpoint.
fn committed(sink: &ObjectName, assigned: &[Assigned]) -> Result<Option<Checkpoint>, OutputError> {
    let fault = |what: String| {
        let message = format!(
            "sink {sink}: the committed checkpoint {what}; stop the sink and set its group's offsets anew \
             (kafka-consumer-groups --reset-offsets), it then begins a new file"
        );
        OutputError::storage(Reason::InvalidConfiguration, message)
    };
    let mut found: Option<&str> = None;
    for partition in assigned {
        // Offsets that a tool or another program set have no metadata.
        let Some(text) = partition.committed.as_ref().map(|(_, text)| text.as_str()).filter(|text| !text.is_empty())
        else {
            continue;
        };
        if found.is_some_and(|other| other != text) {
            return Err(fault("differs between the partitions".into()));
        }
        found = Some(text);
    }
    found.map(|text| Checkpoint::from_metadata(text).map_err(fault)).transpose()
}

impl Output for Video {
    fn needs_all_partitions(&self) -> bool {
        true
    }

    fn resume(&mut self, assigned: &[Assigned], lease: Lease) -> Result<String, OutputError> {
        lease.check()?;
        self.lease = None;
        self.current = None;
        self.timing = None;
        self.unsynced = Unsynced::default();
        if let Some(xvid) = &mut self.xvid {
            xvid.encoder = None;
            xvid.encoded = None;
        }
        // A worker that crashed, or another one, may have written to it since it was read.
        self.log = SegmentLog::open(self.private.path().join("segments"), &self.disk)?;
        match committed(&self.sink, assigned)? {
            // Either the first start, or the offsets were lost or set anew: what is there was durable once and stays.
            None => self.number = self.log.last(),
            Some(checkpoint) => {
                self.number = checkpoint.segment;
                self.remove_orphans(checkpoint.segment)?;
                if let Some(open) = &checkpoint.open {
                    self.reopen(open)?;
                }
            }
        }
        self.lease = Some(lease);
        Ok(self.checkpoint().to_metadata())
    }

    fn write(&mut self, frame: &SinkFrame) -> Result<Written, OutputError> {
        self.lease()?;
        let time = frame.captured_at.as_microsecond();
        // Before anything is decided: a frame that cannot be decoded changes nothing.
        let picture = self.xvid.as_mut().map(|xvid| xvid.decoder.decode(&frame.jpeg)).transpose()?;
        let (width, height) = match &picture {
            Some(picture) => (picture.width() as u16, picture.height() as u16),
            None => (frame.info.width, frame.info.height),
        };
        let format = Format { codec: self.codec(), width, height };
        if let Some(segment) = &mut self.current {
            segment.make_room()?;
        }
        let (place, timing) = self.place(time, format, frame.jpeg.len());
        match place {
            Place::Here { repeats } => {
                self.show(frame, repeats, picture)?;
                self.timing = timing;
                Ok(Written { stored: true, repeated: repeats })
            }
            Place::LeftOut => {
                self.timing = timing;
                if let Some(segment) = &mut self.current {
                    segment.leave_out(frame);
                }
                Ok(Written { stored: false, repeated: 0 })
            }
            Place::NewFile => {
                self.close()?;
                self.timing = timing;
                self.begin(frame, format, time)?;
                self.show(frame, 0, picture)?;
                Ok(Written { stored: true, repeated: 0 })
            }
        }
    }

    fn seal(&mut self) -> Result<FlushJob, OutputError> {
        self.lease()?;
        let rate = self.current_rate();
        if let Some(segment) = &mut self.current {
            segment.patch(rate)?;
        }
        let metadata = self.checkpoint().to_metadata();
        let mut unsynced = std::mem::take(&mut self.unsynced);
        if let Some(segment) = &self.current {
            unsynced.files.extend(segment.files());
        }
        Ok(FlushJob { run: Box::new(move || unsynced.sync()), metadata })
    }

    fn committed(&mut self) -> Result<(), OutputError> {
        // A new file stands in the commit now: the mark has done its work.
        self.disk.remove(&self.private.path().join(BEGIN_ANEW))
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.lease()?;
        self.close()?;
        self.lease = None;
        std::mem::take(&mut self.unsynced).sync()
    }
}
