//! The durable list of the files that a sink has begun: `segments` in its private folder, one line of JSON a segment.
//!
//! A line is on disk before its file is made. So after a crash every file that the checkpoint does not know stands here,
//! and no file is ever taken for this sink's that is not.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::sink::{
    disk::{AppendFile, Disk},
    fault::OutputError,
    output::At,
    private_dir::sync_directory,
};
use edgereel_crds::status::Reason;

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
    lines: Vec<(u64, Line)>,
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
        let text = fs::read(&path).at("read", &path)?;
        let (lines, whole) = parse(&text).map_err(|line| {
            let message = format!(
                "{} is damaged in line {line}: move it and this sink's last files away and start anew",
                path.display()
            );
            OutputError::storage(Reason::StorageError, message)
        })?;
        let mut log = SegmentLog { file, lines };
        log.file.cut(whole)?;
        Ok(log)
    }

    /// The number of the last segment that was begun; 0 for none.
    pub fn last(&self) -> u64 {
        self.lines.last().map_or(0, |(_, line)| line.segment)
    }

    /// The segments after number `segment`.
    pub fn after(&self, segment: u64) -> impl Iterator<Item = &Line> {
        self.lines.iter().map(|(_, line)| line).filter(move |line| line.segment > segment)
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
        self.lines.push((at, line));
        Ok(())
    }

    /// Strikes out the segments after number `segment`: their files are gone.
    pub fn cut_after(&mut self, segment: u64) -> Result<(), OutputError> {
        let keep = self.lines.partition_point(|(_, line)| line.segment <= segment);
        if let Some((at, _)) = self.lines.get(keep) {
            self.file.cut(*at)?;
            self.lines.truncate(keep);
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
        assert_eq!(log.after(2).cloned().collect::<Vec<_>>(), [line(3), line(4)]);
        log.cut_after(2).unwrap();
        drop(log);
        let log = SegmentLog::open(path, &Disk::default()).unwrap();
        assert_eq!((log.last(), log.after(0).count()), (2, 2));
    }

    #[test]
    fn a_damaged_log_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segments");
        fs::write(&path, "{\"segment\":2,\"file\":\"a\"}\n{\"segment\":1,\"file\":\"b\"}\n").unwrap();
        let error = SegmentLog::open(path, &Disk::default()).err().unwrap();
        assert!(error.to_string().contains("segments is damaged in line 2"), "{error}");
    }

    proptest! {
        #[test]
        fn any_log_is_read_or_refused(text: Vec<u8>) {
            if let Ok((_, whole)) = parse(&text) {
                prop_assert!(whole as usize <= text.len());
            }
        }
    }
}
