//! Video files that survive anything: the output `video`.
//!
//! - [`avi`] reads, writes and recovers AVI files; [`sheet`] writes the CSV beside one; [`segment`] is the two together.
//! - [`segment_log`] lists the files that were begun, [`checkpoint`] is what a commit says of them, [`resume`] goes on from
//!   there, [`relist`] where the list was lost.
//! - [`keeping`] says which files may go to make room, [`settled`] which are closed for good.
//! - [`timing`] keeps real time, [`place`] says where a frame goes, [`files`] begins and closes files.
//! - [`transcode`] encodes each frame once, with [`xvid`].
//!
//! **What makes it exact.** Frames are only appended. A commit carries, beside the offsets of all partitions, where the
//! files stood when exactly the frames before those offsets were durable. After a crash the segment of the last commit is
//! cut back to that point, segments begun later are removed, and the frames that come again from Kafka are appended. So no
//! frame is missing, twice or torn, whatever the moment of the crash.

pub mod avi;
pub mod checkpoint;
pub mod committed;
mod files;
mod keeping;
mod place;
mod relist;
pub mod resume;
pub mod segment;
pub mod segment_log;
pub mod settled;
pub mod sheet;
pub mod timing;
pub mod transcode;
mod xvid;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod keeping_tests;
#[cfg(test)]
mod player_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod topics_tests;
#[cfg(test)]
mod why_tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use edgereel_crds::{
    check::FileNames,
    frame_sink::{self, Codec, VIDEO_COPY, VideoRate},
    name::ObjectName,
    status::Reason,
    template::Template,
};

use self::{
    avi::{Format, Limits, MJPG, Rate, XVID},
    checkpoint::{Checkpoint, OpenAt},
    committed::Committed,
    keeping::Stock,
    place::{Place, Why},
    resume::BEGIN_ANEW,
    segment::Segment,
    segment_log::SegmentLog,
    settled::Settled,
    timing::Timing,
    transcode::Transcoder,
};
use super::{
    archive::archived::Archived,
    disk::{Disk, standing::Standing},
    fault::OutputError,
    output::{Assigned, At, FlushJob, Lease, Output, SinkFrame, Written},
    private_dir::{PrivateDir, make_directory, sync_way},
    retention::Kept,
    sharing,
};

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
    /// Why the next file begins, while none is open.
    begins: Why,
    /// Real time, of the current segment or the one before; none for a fixed speed.
    timing: Option<Timing>,
    transcoder: Option<Transcoder>,
    unsynced: Unsynced,
    /// What may go, where the sink is asked to delete anything.
    stock: Option<Stock>,
    settled: Settled,
    /// The topics' ids.
    ids: BTreeMap<String, String>,
}

/// Closed segments and new names since the last seal. Each is synced by the handle that was open when it was written: the
/// kernel tells another one nothing of what was lost before.
#[derive(Default)]
struct Unsynced {
    files: Vec<Standing>,
    directories: Vec<Standing>,
}

impl Unsynced {
    fn sync(self, disk: &Disk) -> Result<(), OutputError> {
        self.files.iter().chain(&self.directories).try_for_each(|each| disk.sync(each.file()).at("sync", each.path()))
    }
}

fn bad_name(what: &str) -> OutputError {
    OutputError::storage(Reason::InvalidConfiguration, format!("spec.output.video.fileName: {what}"))
}

impl Video {
    /// Opens the output below `root`, which has to be there; `spec.directory` is made if it is missing. `topics` are those
    /// that frames will come from.
    ///
    /// # Errors
    /// [`Reason::InvalidConfiguration`] when a file cannot have each name that there may be; [`Reason::StorageLocked`] when another process writes for this sink; the usual storage faults.
    pub fn open(
        root: &Path,
        spec: &frame_sink::Video,
        sink: &ObjectName,
        topics: &[String],
    ) -> Result<Self, OutputError> {
        let video = Self::with(root, spec, sink, Disk::default(), Limits::default())?;
        video.template.fits(topics, VIDEO_COPY).map_err(|e| bad_name(&e))?;
        sharing::claim(&video.directory, sink, &FileNames::new(spec.file_name(), topics))?;
        Ok(video)
    }

    fn with(
        root: &Path,
        spec: &frame_sink::Video,
        sink: &ObjectName,
        disk: Disk,
        limits: Limits,
    ) -> Result<Self, OutputError> {
        let template = spec.template().map_err(|e| bad_name(&e))?;
        let directory = make_directory(root, Path::new(&spec.directory))?;
        sync_way(root, &directory)?;
        // A video has one writer, so there is but one folder.
        let private = PrivateDir::open(&directory, sink, 0)?;
        let log = SegmentLog::open(private.path().join(segment_log::LOG), &disk)?;
        let transcoder = match spec.codec {
            Codec::Mjpeg => None,
            Codec::Xvid => Some(Transcoder::new()?),
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
            begins: Why::Start,
            timing: None,
            transcoder,
            unsynced: Unsynced::default(),
            stock: None,
            settled: Settled::default(),
            ids: BTreeMap::new(),
        })
    }

    /// Has it know its closed videos, so that the oldest can be deleted: of those only that are `archived`, where they are to be.
    pub fn keep_stock(mut self, keep: bool, archived: Option<Arc<Archived>>) -> Result<Self, OutputError> {
        if keep {
            self.stock = Some(Stock::open(self.private.path(), archived, &self.disk)?);
        }
        Ok(self)
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

    /// Shows a frame in the current segment, encoded if need be.
    fn show(
        &mut self,
        frame: &SinkFrame,
        repeats: u32,
        picture: Option<ffmpeg_next::frame::Video>,
    ) -> Result<(), OutputError> {
        let rate = self.rate();
        let segment = self.current.as_mut().expect("a place in the current segment was found for it, or it was begun");
        let (Some(transcoder), Some(picture)) = (&mut self.transcoder, picture) else {
            let again = if repeats > 0 { segment.avi.last_picture()? } else { Vec::new() };
            return segment.show(frame, &vec![again.as_slice(); repeats as usize], &frame.picture);
        };
        let packets = transcoder.encode(frame, picture, repeats, rate)?;
        let contents: Vec<&[u8]> = packets.iter().map(|packet| packet.data().unwrap_or_default()).collect();
        if let Some((content, before)) = contents.split_last() {
            segment.show(frame, before, content)?;
        }
        transcoder.written();
        Ok(())
    }
}

impl Output for Video {
    fn needs_all_partitions(&self) -> bool {
        true
    }

    fn folder(&self) -> &Path {
        self.private.path()
    }

    fn has_written(&self) -> bool {
        self.log.last() > 0
    }

    fn topics(&mut self, ids: &BTreeMap<String, String>) {
        self.ids = ids.clone();
    }

    fn kept(&mut self) -> Option<&mut dyn Kept> {
        // Before it is taken up, nobody knows which one grows.
        match (&self.stock, &self.lease) {
            (Some(_), Some(_)) => Some(self),
            _ => None,
        }
    }

    fn closed(&self) -> u64 {
        self.settled.committed()
    }

    fn resume(&mut self, assigned: &[Assigned], lease: Lease) -> Result<String, OutputError> {
        lease.check()?;
        self.lease = None;
        self.current = None;
        self.begins = Why::Start;
        self.timing = None;
        self.unsynced = Unsynced::default();
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.begin_anew();
        }
        // A worker that crashed, or another one, may have written to it since it was read.
        self.log = SegmentLog::open(self.private.path().join(segment_log::LOG), &self.disk)?;
        let mut grows = 0;
        match Committed::read(&self.sink, assigned)? {
            // Either the first start, or the offsets were lost or set anew: what is there was durable once and stays.
            None => {
                self.number = self.log.last();
                if self.number > 0 {
                    self.begins = Why::OffsetsLost;
                }
            }
            Some(committed) => {
                self.check_older(&committed)?;
                let checkpoint = committed.newest;
                self.number = checkpoint.segment;
                grows = u64::from(checkpoint.open.is_some());
                self.remove_orphans(checkpoint.segment)?;
                if let Some(open) = &checkpoint.open {
                    self.reopen(open)?;
                }
                self.relist(&checkpoint)?;
            }
        }
        let (closed, next) = (self.number.saturating_sub(grows), self.number + 1);
        self.settled = Settled::at(closed);
        if let Some(stock) = &mut self.stock
            && stock.topics(&self.ids, next)?
        {
            // A file holds frames of one topic of a name alone, so that what is deleted with it is known to be of that.
            self.close()?;
            self.begins = Why::Anew;
            self.timing = None;
        }
        self.list_closed()?;
        self.lease = Some(lease);
        Ok(self.checkpoint().to_metadata())
    }

    fn write(&mut self, frame: &SinkFrame) -> Result<Written, OutputError> {
        self.lease()?;
        let time = frame.standing.time.as_microsecond();
        // Before anything is decided: a frame that cannot be decoded, or not be encoded, changes nothing.
        let picture = self.transcoder.as_mut().map(|transcoder| transcoder.decode(frame)).transpose()?;
        let (width, height) = match &picture {
            Some(picture) => (picture.width() as u16, picture.height() as u16),
            None => (frame.info.width as u16, frame.info.height as u16),
        };
        let format = Format { codec: self.codec(), width, height };
        if let Some(segment) = &mut self.current {
            segment.make_room()?;
        }
        let (place, timing) = self.place(frame.standing, format, frame.picture.len());
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
            Place::NewFile(why) => {
                self.close()?;
                // Until it is begun: a full disk makes it come here again without a file.
                self.begins = why;
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
        let closed = self.number.saturating_sub(u64::from(self.current.is_some()));
        self.settled.seal(closed);
        let mut unsynced = std::mem::take(&mut self.unsynced);
        let mut standing = vec![self.private.standing().clone()];
        if let Some(segment) = &self.current {
            unsynced.files.extend(segment.files());
            standing.extend(segment.files());
        }
        let disk = self.disk.clone();
        let run = move || {
            unsynced.sync(&disk)?;
            // After all that is to be committed was written: not to a file that nobody looks for where it is.
            standing.iter().try_for_each(Standing::check)
        };
        Ok(FlushJob { run: Box::new(run), metadata })
    }

    fn committed(&mut self) -> Result<(), OutputError> {
        self.settled.commit();
        // A new file stands in the commit now: the mark has done its work.
        self.disk.remove(&self.private.path().join(BEGIN_ANEW))
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.lease()?;
        self.close()?;
        self.lease = None;
        std::mem::take(&mut self.unsynced).sync(&self.disk)
    }
}
