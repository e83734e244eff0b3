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

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The frame's number in the video; none where it was left out to keep real time.
    pub frame: Option<u64>,
    /// Its record's topic.
    pub topic: &'a str,
    /// Its record's partition.
    pub partition: i32,
    /// Its record's offset.
    pub offset: i64,
    /// When it was captured, as it is written there.
    pub time: &'a str,
}

impl<'a> Row<'a> {
    /// Reads a row without its line end; none of the heading, and of what is no row.
    pub fn parse(row: &'a str) -> Option<Self> {
        let mut fields = row.split(',');
        let frame = match fields.next()? {
            "" => None,
            number => Some(number.parse().ok()?),
        };
        let topic = fields.next()?;
        let (partition, offset) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let time = fields.next().filter(|time| !time.is_empty())?;
        fields.next().is_none().then_some(Row { frame, topic, partition, offset, time })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_a_frame_and_its_record() {
        let row = "7,Lab-1.x,2,41,2024-06-04T10:30:00.123456Z";
        let expected =
            Row { frame: Some(7), topic: "Lab-1.x", partition: 2, offset: 41, time: "2024-06-04T10:30:00.123456Z" };
        assert_eq!(Row::parse(row), Some(expected));
        assert_eq!(Row::parse(&row[1..]), Some(Row { frame: None, ..expected }));
        for bad in ["", "7", "x,Lab,2,41,t", "7,Lab,2,41", "7,Lab,2,41,", "7,Lab,2,41,t,more", "7,Lab,2,"] {
            assert_eq!(Row::parse(bad), None, "{bad}");
        }
    }
}
