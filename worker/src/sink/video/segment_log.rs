//! The durable list of the files that a sink has begun: `segments` in its private folder, one line of JSON a segment.
//!
//! A line is on disk before its file is made. So after a crash every file that the checkpoint does not know stands here,
//! and no file is ever taken for this sink's that is not.
//!
//! Numbers only grow, so what came after a checkpoint is the log's end. Only that is read and kept in memory, however old
//! the sink: the lines before are there for `edgereel verify`, which reads them all.

use std::{collections::VecDeque, fs, os::unix::fs::FileExt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::sink::{
    disk::{AppendFile, Disk},
    fault::OutputError,
    output::At,
    private_dir::sync_directory,
};
use edgereel_crds::status::Reason;

/// The list, in the sink's folder.
pub const LOG: &str = "segments";
/// So much is read at a time, in bytes; longer than any line.
const BLOCK: u64 = 16 << 10;

/// A segment that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Its number, from 1.
    pub segment: u64,
    /// The AVI file, below the output's directory.
    pub file: String,
}

/// The lines of a log, each with where it begins; and the bytes of whole lines. A last line without its end was cut off by
/// a crash: its file was never made.
///
/// # Errors
/// The number of the first line, from 1, that cannot be read.
pub fn parse(text: &[u8]) -> Result<(Vec<(u64, Line)>, u64), usize> {
    let mut lines = Vec::<(u64, Line)>::new();
    let mut at = 0;
    for piece in text.split_inclusive(|b| *b == b'\n') {
        let Some(whole) = piece.strip_suffix(b"\n") else { break };
        let line: Line = serde_json::from_slice(whole).map_err(|_| lines.len() + 1)?;
        if lines.last().is_some_and(|(_, last)| last.segment >= line.segment) {
            return Err(lines.len() + 1);
        }
        lines.push((at, line));
        at += piece.len() as u64;
    }
    Ok((lines, at))
}

/// The log of one sink.
pub struct SegmentLog {
    file: AppendFile,
    /// The last lines, each with where it begins. Never empty, unless the log is.
    tail: VecDeque<(u64, Line)>,
}

impl SegmentLog {
    /// Opens the log at `path`, or begins it.
    pub fn open(path: PathBuf, disk: &Disk) -> Result<Self, OutputError> {
        let file = match fs::exists(&path).at("find", &path)? {
            true => AppendFile::open(path.clone(), disk).at("open", &path)?,
            false => {
                let file = AppendFile::create(path.clone(), disk).at("create", &path)?;
                path.parent().map_or(Ok(()), sync_directory)?;
                file
            }
        };
        let mut log = SegmentLog { file, tail: VecDeque::new() };
        let (start, block) = log.block_before(log.file.length())?;
        let whole = match block.iter().rposition(|b| *b == b'\n') {
            Some(end) => start + end as u64 + 1,
            None if start == 0 => 0,
            None => return Err(log.damaged(start)),
        };
        if whole < log.file.length() {
            log.file.cut(whole)?;
        }
        log.tail = log.lines_before(whole)?.into();
        Ok(log)
    }

    /// Up to a block's bytes before a place, and where they begin.
    fn block_before(&self, end: u64) -> Result<(u64, Vec<u8>), OutputError> {
        let start = end.saturating_sub(BLOCK);
        let mut bytes = vec![0; (end - start) as usize];
        self.file.shared().read_exact_at(&mut bytes, start).at("read", self.file.path())?;
        Ok((start, bytes))
    }

    /// Some of the lines before a place where one begins; none only at the log's beginning.
    fn lines_before(&self, end: u64) -> Result<Vec<(u64, Line)>, OutputError> {
        let (start, block) = self.block_before(end)?;
        // The first of them may have begun before the block.
        let skipped = match start {
            0 => 0,
            _ => block.iter().position(|b| *b == b'\n').map_or(block.len(), |at| at + 1),
        };
        let text = &block[skipped..];
        let start = start + skipped as u64;
        let mut lines = parse(text).map_err(|line| {
            let before: usize = text.split_inclusive(|b| *b == b'\n').take(line - 1).map(<[u8]>::len).sum();
            self.damaged(start + before as u64)
        })?;
        if lines.0.is_empty() && end > 0 {
            return Err(self.damaged(start));
        }
        lines.0.iter_mut().for_each(|(at, _)| *at += start);
        Ok(lines.0)
    }

    fn damaged(&self, at: u64) -> OutputError {
        let message = format!(
            "{} is damaged at byte {at}: move it and this sink's last files away and start anew",
            self.file.path().display()
        );
        OutputError::storage(Reason::StorageError, message)
    }

    /// Reads back to where all segments after number `segment` are known.
    fn reach(&mut self, segment: u64) -> Result<(), OutputError> {
        while let Some((at, line)) = self.tail.front()
            && *at > 0
            && line.segment > segment
        {
            let before = self.lines_before(*at)?;
            if before.last().is_some_and(|(_, last)| last.segment >= line.segment) {
                return Err(self.damaged(*at));
            }
            before.into_iter().rev().for_each(|line| self.tail.push_front(line));
        }
        Ok(())
    }

    /// The number of the last segment that was begun; 0 for none.
    pub fn last(&self) -> u64 {
        self.tail.back().map_or(0, |(_, line)| line.segment)
    }

    /// The segments after number `segment`.
    pub fn after(&mut self, segment: u64) -> Result<Vec<Line>, OutputError> {
        self.reach(segment)?;
        Ok(self.tail.iter().map(|(_, line)| line).filter(|line| line.segment > segment).cloned().collect())
    }

    /// Notes, durably, that a segment is going to be made.
    pub fn note(&mut self, line: Line) -> Result<(), OutputError> {
        let at = self.file.length();
        let mut text = serde_json::to_vec(&line).expect("a number and a string always make JSON");
        text.push(b'\n');
        self.file.append(&[&text])?;
        if let Err(error) = self.file.sync() {
            self.file.cut(at)?;
            return Err(OutputError::from_io("sync", self.file.path(), &error));
        }
        // The one before is the last again if this one is struck out.
        self.tail.drain(..self.tail.len().saturating_sub(1));
        self.tail.push_back((at, line));
        Ok(())
    }

    /// Strikes out the segments after number `segment`: their files are gone.
    pub fn cut_after(&mut self, segment: u64) -> Result<(), OutputError> {
        self.reach(segment)?;
        let keep = self.tail.partition_point(|(_, line)| line.segment <= segment);
        if let Some((at, _)) = self.tail.get(keep) {
            let at = *at;
            self.file.cut(at)?;
            self.tail.truncate(keep);
            if self.tail.is_empty() {
                self.tail = self.lines_before(at)?.into();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_log_cut_off_in_its_last_line_goes_on_after_the_line_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segments");
        let line = |segment| Line { segment, file: format!("a {segment}\n\".avi") };
        let mut log = SegmentLog::open(path.clone(), &Disk::default()).unwrap();
        log.note(line(1)).unwrap();
        log.note(line(2)).unwrap();
        drop(log);
        let mut text = fs::read(&path).unwrap();
        text.extend(b"{\"segment\":3,\"fi");
        fs::write(&path, text).unwrap();
        let mut log = SegmentLog::open(path.clone(), &Disk::default()).unwrap();
        assert_eq!(log.last(), 2);
        log.note(line(3)).unwrap();
        log.note(line(4)).unwrap();
        assert_eq!(log.after(2).unwrap(), [line(3), line(4)]);
        log.cut_after(2).unwrap();
        drop(log);
        let mut log = SegmentLog::open(path, &Disk::default()).unwrap();
        assert_eq!((log.last(), log.after(0).unwrap().len()), (2, 2));
    }

    #[test]
    fn a_damaged_log_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segments");
        fs::write(&path, "{\"segment\":2,\"file\":\"a\"}\n{\"segment\":1,\"file\":\"b\"}\n").unwrap();
        let error = SegmentLog::open(path, &Disk::default()).err().unwrap();
        assert!(error.to_string().contains("segments is damaged at byte 25"), "{error}");
    }

    #[test]
    fn of_a_log_of_a_million_lines_only_the_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segments");
        let line = |segment| Line { segment, file: format!("{segment}.avi") };
        let mut text = String::from("not looked at\n");
        for segment in 1..=1_000_000 {
            text += &format!("{}\n", serde_json::to_string(&line(segment)).unwrap());
        }
        fs::write(&path, text).unwrap();
        let mut log = SegmentLog::open(path.clone(), &Disk::default()).unwrap();
        assert_eq!(log.last(), 1_000_000);
        assert_eq!(log.after(999_998).unwrap(), [line(999_999), line(1_000_000)]);
        log.note(line(1_000_001)).unwrap();
        assert!(log.tail.len() < 1000, "{} lines in memory", log.tail.len());
        log.cut_after(900_000).unwrap();
        log.note(line(900_001)).unwrap();
        let mut log = SegmentLog::open(path, &Disk::default()).unwrap();
        assert_eq!(log.after(899_999).unwrap(), [line(900_000), line(900_001)]);
        let error = log.after(0).unwrap_err().to_string();
        assert!(error.contains("damaged at byte 0"), "what is asked for is looked at: {error}");
    }

    proptest! {
        #[test]
        fn a_log_that_is_read_from_its_end_says_what_it_says_from_its_beginning(
            steps in prop::collection::vec((1u64..4, 0usize..700), 1..200), cuts in prop::collection::vec(0u64..600, 0..4),
            asked in 0u64..600, torn in "[^\n]{0,30}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("segments");
            let mut segment = 0;
            let mut lines: Vec<Line> = steps.iter().map(|(step, length)| {
                segment += step;
                Line { segment, file: "\"".repeat(*length) }
            }).collect();
            let mut text: Vec<u8> = Vec::new();
            for line in &lines {
                text.extend(serde_json::to_vec(line).unwrap());
                text.push(b'\n');
            }
            text.extend(torn.bytes());
            fs::write(&path, text).unwrap();
            let mut log = SegmentLog::open(path.clone(), &Disk::default()).unwrap();
            for cut in cuts {
                log.cut_after(cut).unwrap();
                lines.retain(|line| line.segment <= cut);
                let line = Line { segment: log.last() + 1, file: "x".into() };
                prop_assert_eq!(log.last(), lines.last().map_or(0, |last| last.segment));
                log.note(line.clone()).unwrap();
                lines.push(line);
            }
            let after: Vec<_> = lines.iter().filter(|line| line.segment > asked).cloned().collect();
            prop_assert_eq!(log.after(asked).unwrap(), after);
            let (whole, _) = parse(&fs::read(&path).unwrap()).unwrap();
            prop_assert_eq!(whole.into_iter().map(|(_, line)| line).collect::<Vec<_>>(), lines);
        }

        #[test]
        fn any_log_is_read_or_refused(text: Vec<u8>) {
            if let Ok((_, whole)) = parse(&text) {
                prop_assert!(whole as usize <= text.len());
            }
        }
    }
}
