//! Takes up where the group's commit says the files stood: the way back after a crash.

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
};

use edgereel_crds::{frame_sink::VideoRate, status::Reason};

use super::{
    Video,
    avi::{Rate, recover::Misfit},
    checkpoint::OpenAt,
    committed::Committed,
    place::Why,
    segment::{self, Segment},
    segment_log::Line,
    sheet,
};
use crate::sink::{
    disk::standing::Standing,
    fault::OutputError,
    output::{At, TopicPartition},
};

/// How a video's name ends.
const ENDING: &str = ".avi";
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
        // The resource asked for another output before.
        if !at.name.ends_with(ENDING) {
            self.begins = Why::Edited;
            return Ok(());
        }
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

    /// Looks whether the files hold frames of partitions with an older checkpoint from behind it: see [`Committed`].
    pub(super) fn check_older(&mut self, committed: &Committed) -> Result<(), OutputError> {
        let directory = &self.directory;
        committed.check(&self.sink, &mut self.log, |line, source, bytes| last_offset(directory, line, source, bytes))
    }
}

/// The last offset of a partition among these bytes of a segment's CSV. One that was moved away tells nothing.
fn last_offset(
    directory: &Path,
    line: &Line,
    source: &TopicPartition,
    bytes: std::ops::Range<u64>,
) -> Result<Option<i64>, OutputError> {
    let path = segment::csv_path(&directory.join(&line.file));
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
