//! Takes up where the group's commit says the files stood: the way back after a crash.

use std::io::{self, BufRead, BufReader};

use edgereel_crds::{frame_sink::VideoRate, name::ObjectName, status::Reason};

use super::{
    Video,
    avi::{Rate, recover::Misfit},
    checkpoint::{Checkpoint, OpenAt},
    place::Why,
    segment::{self, Segment},
    segment_log::Line,
    sheet,
};
use crate::sink::{
    disk::standing::Standing,
    fault::OutputError,
    output::{Assigned, At, TopicPartition},
};

/// A file of this name in the sink's folder says: the last segment is gone or changed on purpose, begin a new one.
pub const BEGIN_ANEW: &str = "begin-anew";

impl Video {
    /// Removes the segments that the checkpoint does not know.
    pub(super) fn remove_orphans(&mut self, last: u64) -> Result<(), OutputError> {
        for orphan in self.log.after(last)? {
            let path = self.directory.join(&orphan.file);
            // Opened before it changes: what is lost is told to those who were there.
            let directory = path.parent().filter(|d| d.is_dir()).map(Standing::open).transpose()?;
            segment::remove_orphan(&path, &self.note(orphan.segment), self.limits, &self.disk)?;
            if let Some(directory) = directory {
                self.disk.sync(directory.file()).at("sync", directory.path())?;
            }
        }
        self.log.cut_after(last)
    }

    /// Takes up the segment of a checkpoint.
    pub(super) fn reopen(&mut self, at: &OpenAt) -> Result<(), OutputError> {
        let segment = match Segment::resume(&self.directory, at, self.limits, &self.disk) {
            Ok(segment) => segment,
            Err((_, Misfit::Output(error))) => return Err(error),
            Err((path, misfit)) => {
                let anew = self.private.path().join(BEGIN_ANEW);
                let message = format!(
                    "{} {misfit}: put it back as it was, with all else that its directory held, .edgereel included (is the \
                     disk mounted?), or, to leave it as it is and go on in a new file, make the empty file {}",
                    path.display(),
                    anew.display()
                );
                if anew.exists() {
                    tracing::warn!(sink = %self.sink, "{message}: it is there, a new file begins");
                    self.begins = Why::Asked;
                    return Ok(());
                }
                return Err(OutputError::storage(Reason::StorageError, message));
            }
        };
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
            self.begins = Why::Edited;
            self.timing = None;
        }
        Ok(())
    }
}

impl Video {
    /// Looks whether the files hold frames of partitions with an older checkpoint from behind it: see [`Committed`].
    pub(super) fn check_older(&mut self, committed: &Committed) -> Result<(), OutputError> {
        let newest = &committed.newest;
        for (source, offset, older) in &committed.older {
            let from = older.segment.saturating_sub(u64::from(older.open.is_some()));
            let mut last = None;
            for line in self.log.after(from)? {
                if line.segment > newest.segment {
                    break;
                }
                let rows = |at: &Checkpoint| {
                    at.open.as_ref().filter(|open| at.segment == line.segment && open.name == line.file).map(|o| o.csv)
                };
                let (begin, end) = (rows(older).unwrap_or(0), rows(newest).unwrap_or(u64::MAX));
                last = last.max(self.last_offset(&line, source, begin..end)?);
            }
            if let Some(last) = last.filter(|last| last >= offset) {
                let TopicPartition { topic, partition } = source;
                let message = format!(
                    "sink {}: the video holds frames of {topic}[{partition}] up to offset {last}, and the committed offset is \
                     {offset}: its commit was refused, others of the same frames were not. Stop the sink and set the offset of \
                     this partition to {} (kafka-consumer-groups --reset-offsets --to-offset)",
                    self.sink,
                    last + 1
                );
                return Err(OutputError::storage(Reason::InvalidConfiguration, message));
            }
        }
        Ok(())
    }

    /// The last offset of a partition among these bytes of a segment's CSV. One that was moved away tells nothing.
    fn last_offset(
        &self,
        line: &Line,
        source: &TopicPartition,
        bytes: std::ops::Range<u64>,
    ) -> Result<Option<i64>, OutputError> {
        let path = segment::csv_path(&self.directory.join(&line.file));
        let mut file = match std::fs::File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.at("open", &path)?,
        };
        io::Seek::seek(&mut file, io::SeekFrom::Start(bytes.start)).at("read", &path)?;
        let rows = BufReader::new(io::Read::take(file, bytes.end.saturating_sub(bytes.start)));
        let mut last = None;
        for row in rows.lines() {
            let row = row.at("read", &path)?;
            let ours =
                |(topic, partition, _): &(&str, i32, i64)| (*topic, *partition) == (&*source.topic, source.partition);
            last = last.max(sheet::place(&row).filter(ours).map(|(_, _, offset)| offset));
        }
        Ok(last)
    }
}

/// What the group's commits say.
///
/// A commit sets all partitions of the assignment to one checkpoint. Partitions differ where the list of topics was changed
/// and changed back: those that were not read meanwhile have the older one. **The newest, with each partition's own offset,
/// is exact.** Files only grow: what they held at an older checkpoint is the beginning of what they hold at the newest. Of a
/// partition that was not read since, nothing was added; so the newest holds exactly its frames before its own offset, as the
/// older one did. What was added is of the others, whose offsets were committed with it.
///
/// One thing else makes them differ: a broker that took a commit for some partitions and refused it for others. Then the
/// files do hold frames of the older ones from behind their offsets, and their CSVs show it ([`Video::check_older`]).
#[derive(Debug)]
pub struct Committed {
    /// Where the files stand.
    pub newest: Checkpoint,
    /// The partitions with another checkpoint, with their offsets.
    pub older: Vec<(TopicPartition, i64, Checkpoint)>,
}

impl Committed {
    /// None if no partition has a checkpoint.
    pub fn read(sink: &ObjectName, assigned: &[Assigned]) -> Result<Option<Committed>, OutputError> {
        let fault = |what: String| {
            let message = format!(
                "sink {sink}: the committed checkpoint {what}; stop the sink and set its group's offsets anew \
                 (kafka-consumer-groups --reset-offsets), it then begins a new file"
            );
            OutputError::storage(Reason::InvalidConfiguration, message)
        };
        let mut all = Vec::new();
        for partition in assigned {
            // Offsets that a tool or another program set have no metadata.
            if let Some((offset, text)) = partition.committed.as_ref().filter(|(_, text)| !text.is_empty()) {
                all.push((partition.source.clone(), *offset, Checkpoint::from_metadata(text).map_err(fault)?));
            }
        }
        let Some(newest) = all.iter().map(|(_, _, checkpoint)| checkpoint).max_by_key(|c| c.age()).cloned() else {
            return Ok(None);
        };
        all.retain(|(_, _, checkpoint)| *checkpoint != newest);
        Ok(Some(Committed { newest, older: all }))
    }
}
