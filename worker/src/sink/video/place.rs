//! Where a frame goes: into the current file, into a new one, or nowhere. It changes nothing.

use super::{
    Video,
    avi::{Format, MJPG},
    timing::{Decision, Timing},
};
use crate::sink::output::Standing;

/// Where a frame goes.
pub enum Place {
    /// Into the current file, after the picture before was shown so many times again.
    Here {
        /// So many times.
        repeats: u32,
    },
    /// Nowhere: the video would be ahead of the clock.
    LeftOut,
    /// Into a new file.
    NewFile,
}

impl Video {
    /// Where a frame of this standing and format goes, and how things stand in time then. `length` is what its content will
    /// have at most, about.
    pub(super) fn place(&self, standing: Standing, format: Format, length: usize) -> (Place, Option<Timing>) {
        let time = standing.time.as_microsecond();
        let Some(segment) = &self.current else { return (Place::NewFile, self.timing.clone()) };
        let limits = self.spec.segment.as_ref();
        let (decision, timing) = match &self.timing {
            None => (Decision::Show { repeats: 0 }, None),
            Some(timing) => {
                let (decision, timing) = timing.next(time, standing.behind, segment.avi.frames());
                (decision, Some(timing))
            }
        };
        // A restart begins the order of time anew: where it is far before the segment's beginning, that is over, too.
        let lasts = u128::from(time.abs_diff(segment.began));
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
        let frames = repeats as usize + 1;
        // A picture that is encoded again without a change takes next to nothing.
        let again = if format.codec == MJPG { segment.avi.last_length() } else { 0 };
        let bytes = repeats as usize * again + length;
        let over_bytes = limits
            .and_then(|l| l.max_bytes)
            .is_some_and(|max| segment.avi.frames() > 0 && segment.avi.finished_bytes(frames, bytes) > max.0);
        if over_bytes || !segment.avi.has_room(frames, bytes) {
            return (Place::NewFile, timing);
        }
        (Place::Here { repeats }, timing)
    }
}
