//! What a clip was made of: for whoever has to show that it is what was recorded.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    cut::{Frame, Gap, Range},
    target::Kind,
};

/// Everything about a clip.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The program that made it, and its version.
    pub program: String,
    /// When.
    pub made: Timestamp,
    /// The sink that recorded it, `namespace/name`.
    pub sink: String,
    /// What was asked for: from the first instant on, before the second.
    pub asked: Range,
    /// When its first frame was captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When its last frame was captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Frames in it.
    pub frames: usize,
    /// Where nothing was recorded.
    pub gaps: Vec<Gap>,
    /// Records that the recording shows no frame for, since they came faster than its speed.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Frames that should be there and cannot be read, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    /// What else is to be known of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What it was taken from.
    pub sources: Vec<Source>,
    /// The clip itself; none where it was only looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A file, a directory or the topics, with what was taken from it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// What it is: `video`, `pictures` or `topic`.
    pub kind: &'static str,
    /// Where, on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its records, in runs without a gap in their offsets.
    pub records: Vec<Run>,
}

/// Records that follow each other in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // Kafka's own terms
pub struct Run {
    pub topic: String,
    pub partition: i32,
    pub first_offset: i64,
    pub last_offset: i64,
    /// When the first of them was captured.
    pub from: Timestamp,
    /// When the last of them was captured.
    pub to: Timestamp,
}

/// The file or directory.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Clip {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Whether its pictures are the bytes that the records hold.
    pub exact: bool,
    /// The time zone of the times that were written into the pictures, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamped: Option<String>,
    /// The SHA-256 of its file, in hexadecimal; the pictures of a directory stand in its list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The runs of frames that one source gave.
pub fn runs<'a>(frames: impl Iterator<Item = &'a Frame>) -> Vec<Run> {
    let mut all: Vec<&Frame> = frames.collect();
    all.sort_by_key(|frame| (frame.topic.clone(), frame.partition, frame.offset));
    let mut runs = Vec::<Run>::new();
    for frame in all {
        match runs.last_mut() {
            Some(run)
                if (&*run.topic, run.partition, run.last_offset + 1)
                    == (&*frame.topic, frame.partition, frame.offset) =>
            {
                run.last_offset = frame.offset;
                (run.from, run.to) = (run.from.min(frame.time), run.to.max(frame.time));
            }
            _ => runs.push(Run {
                topic: frame.topic.to_string(),
                partition: frame.partition,
                first_offset: frame.offset,
                last_offset: frame.offset,
                from: frame.time,
                to: frame.time,
            }),
        }
    }
    runs
}

/// The CSV beside a clip: which record each frame shows, and when it was captured.
pub fn rows(mut file: impl Write, frames: &[&Frame]) -> io::Result<()> {
    writeln!(file, "frame,topic,partition,offset,capture_time")?;
    for (number, Frame { time, topic, partition, offset, .. }) in frames.iter().enumerate() {
        writeln!(file, "{number},{topic},{partition},{offset},{time:.6}")?;
    }
    file.flush()
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    Ok(hex(&hash.finalize()))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::cut::At;

    #[test]
    fn records_that_follow_each_other_are_one_run() {
        let frame = |partition, offset, ms| Frame {
            time: Timestamp::from_millisecond(ms).expect("in range"),
            topic: "gate".into(),
            partition,
            offset,
            source: 0,
            at: At::Number(0),
        };
        let frames = [frame(0, 5, 10), frame(1, 7, 20), frame(0, 6, 30), frame(0, 8, 40)];
        let runs: Vec<_> = runs(frames.iter())
            .into_iter()
            .map(|run| (run.partition, run.first_offset, run.last_offset, run.to.as_millisecond()))
            .collect();
        assert_eq!(runs, [(0, 5, 6, 30), (0, 8, 8, 40), (1, 7, 7, 20)]);
    }
}
