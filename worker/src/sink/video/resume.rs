//! Takes up where the group's commit says the files stood: the way back after a crash.

use edgereel_crds::{frame_sink::VideoRate, plan::ObjectName, status::Reason};

use super::{
    Video,
    avi::{Rate, recover::Misfit},
    checkpoint::{Checkpoint, OpenAt},
    segment::{self, Segment},
    segment_log::Line,
};
use crate::sink::{fault::OutputError, output::Assigned, private_dir::sync_directory};

/// A file of this name in the sink's folder says: the last segment is gone or changed on purpose, begin a new one.
pub const BEGIN_ANEW: &str = "begin-anew";

impl Video {
    /// Removes the segments that the checkpoint does not know.
    pub(super) fn remove_orphans(&mut self, last: u64) -> Result<(), OutputError> {
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
    pub(super) fn reopen(&mut self, at: &OpenAt) -> Result<(), OutputError> {
        let segment = match Segment::resume(&self.directory, at, self.limits, &self.disk) {
            Ok(segment) => segment,
            Err((_, Misfit::Output(error))) => return Err(error),
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
}

/// What the group's commits say: none if no partition has a checkpoint.
pub fn committed(sink: &ObjectName, assigned: &[Assigned]) -> Result<Option<Checkpoint>, OutputError> {
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
