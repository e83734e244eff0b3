//! Where a frame goes: into the current file, into a new one, or nowhere. It changes nothing.

use std::fmt;

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
    NewFile(Why),
}

/// Why a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The sink's first, or the first since its files were closed in good order.
    Start,
    /// The group says nothing of the files that are there.
    OffsetsLost,
    /// A person asked for it, with the file `begin-anew`.
    Asked,
    /// The resource was edited: another codec or speed.
    Edited,
    /// A topic was made anew, and files are deleted by topic.
    Anew,
    /// The camera was away.
    Gap,
    /// The camera is faster than the file's speed.
    Faster,
    /// The pictures have another size.
    Resized,
    /// `segment.maxDuration`.
    Duration,
    /// `segment.maxBytes`.
    Bytes,
    /// No AVI file can be longer.
    Full,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Start => "no file is open",
            Why::OffsetsLost => "the group's offsets were lost or set anew; the files that are there stay as they are",
            Why::Asked => "the file `begin-anew` asks for it",
            Why::Anew => "a topic was made anew",
            Why::Edited => "the resource was edited: the file before has another codec or speed",
            Why::Gap => "the camera was away",
            Why::Faster => "the camera sends faster than the file before shows",
            Why::Resized => "the pictures have another size",
            Why::Duration => "segment.maxDuration",
            Why::Bytes => "segment.maxBytes",
            Why::Full => "the file before has no room for more",
        })
    }
}

impl Video {
    /// Where a frame of this standing and format goes, and how things stand in time then. `length` is what its content will
    /// have at most, about.
    pub(super) fn place(&self, standing: Standing, format: Format, length: usize) -> (Place, Option<Timing>) {
        let time = standing.time.as_microsecond();
        let Some(segment) = &self.current else { return (Place::NewFile(self.begins), self.timing.clone()) };
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
            _ if segment.avi.format() != format => return (Place::NewFile(Why::Resized), timing),
            Decision::Gap if limits.is_some() => return (Place::NewFile(Why::Gap), timing),
            _ if over_time => return (Place::NewFile(Why::Duration), timing),
            Decision::Skip => return (Place::LeftOut, timing),
            Decision::Faster => return (Place::NewFile(Why::Faster), timing),
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
            return (Place::NewFile(if over_bytes { Why::Bytes } else { Why::Full }), timing);
        }
        (Place::Here { repeats }, timing)
    }
}
