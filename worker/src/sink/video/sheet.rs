//! The CSV beside a video: which record each frame shows.
//!
//! One row a record, in the order of the video: `frame,topic,partition,offset,capture_time`. `frame` counts the video's
//! frames from 0, repetitions included, and is empty where the frame was left out to keep real time. Times are RFC 3339
//! in UTC with microseconds. Topic names have no character that CSV would quote.

use std::fmt::Write;

use crate::sink::{
    disk::AppendFile,
    fault::OutputError,
    output::{SinkFrame, TopicPartition},
};

const HEADER: &[u8] = b"frame,topic,partition,offset,capture_time\n";
/// Rows wait in memory up to about so many bytes: they are written with the next flush at the latest.
const WAITING: usize = 64 << 10;

/// The topic, partition and offset of a row; none of the heading.
pub fn place(row: &str) -> Option<(&str, i32, i64)> {
    let mut fields = row.split(',').skip(1);
    Some((fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The CSV file of the segment that is written.
pub struct Sheet {
    file: AppendFile,
    waiting: String,
}

impl Sheet {
    /// Begins an empty file.
    pub fn begin(mut file: AppendFile) -> Result<Self, OutputError> {
        file.append(&[HEADER])?;
        Ok(Sheet { file, waiting: String::new() })
    }

    /// Goes on with a file that was cut back to a whole row.
    pub fn resume(file: AppendFile) -> Self {
        Sheet { file, waiting: String::new() }
    }

    /// The file.
    pub fn file(&self) -> &AppendFile {
        &self.file
    }

    /// Writes the rows that wait, if there are many. Before a frame is written, so that a full disk is met while there
    /// is nothing to undo.
    pub fn make_room(&mut self) -> Result<(), OutputError> {
        if self.waiting.len() < WAITING { Ok(()) } else { self.flush() }
    }

    /// Writes the rows that wait.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        if !self.waiting.is_empty() {
            self.file.append(&[self.waiting.as_bytes()])?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// Adds a row: the frame's number in the video, or none if it was left out.
    pub fn add(&mut self, number: Option<u64>, frame: &SinkFrame) {
        let TopicPartition { topic, partition } = &frame.source;
        let time = frame.captured_at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
        let number = number.map(|n| n.to_string()).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(self.waiting, "{number},{topic},{partition},{},{time}", frame.offset);
    }
}
