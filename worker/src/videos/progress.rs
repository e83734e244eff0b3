//! How far each file has come, durably: `videos` in the camera's own folder, a log of [`lines`].
//!
//! Frames are numbered as they stand in their file. Before the first of a block is sent, it is noted durably up to which number
//! frames may be on their way (`sending`); when all before a number were acknowledged, that is noted too (`sent`), and where the
//! partitions were then. So after a crash there are some frames of which nobody knows: they are asked of the topic.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

use crate::{
    folder::{
        ledger::{Id, Key, key},
        lines,
    },
    sink::{disk::AppendFile, disk::Disk, fault::OutputError, output::At},
};

/// The log in the camera's folder.
const FILE: &str = "videos";
/// What it is written anew to.
const FRESH: &str = "videos.new";
/// With more lines than this, and more than four for each file, it is written anew at a start.
const LINES: usize = 10_000;
/// Of so many frames it is noted at once that they may be on their way.
pub const BLOCK: u64 = 256;

/// A frame: its file, and its number in it.
pub type FrameId = (Id, u64);

/// A frame's `ce_id`.
pub fn in_words((file, number): FrameId) -> String {
    format!("{file:032x}-{number}")
}

/// How far a file has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct File {
    /// All frames before this one are acknowledged, or not wanted.
    sent: u64,
    /// No frame from this one on was ever sent.
    sending: u64,
}

/// A path whose file was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    stamp: u64,
    id: Id,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    /// Files that were begun.
    begun: HashMap<Id, File>,
    done: HashMap<Key, Done>,
    /// From where on each partition may hold frames of which nothing is known.
    floor: BTreeMap<i32, i64>,
}

enum Line {
    /// Where a partition ended when everything before was known.
    End {
        partition: i32,
        offset: i64,
    },
    Sending {
        id: Id,
        to: u64,
    },
    Sent {
        id: Id,
        to: u64,
    },
    Done {
        path: PathBuf,
        stamp: u64,
        id: Id,
    },
    /// Nobody reads on in this file.
    Forgotten(Id),
}

const KEPT: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

impl Line {
    fn text(&self) -> String {
        lines::seal(match self {
            Line::End { partition, offset } => format!("end {partition} {offset}"),
            Line::Sending { id, to } => format!("sending {id:032x} {to}"),
            Line::Sent { id, to } => format!("sent {id:032x} {to}"),
            Line::Forgotten(id) => format!("forgotten {id:032x}"),
            Line::Done { path, stamp, id } => {
                format!("done {stamp:016x} {id:032x} {}", percent_encode(path.as_os_str().as_bytes(), KEPT))
            }
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        let hex = |text: &str| u128::from_str_radix(text, 16).ok();
        Some(match next()? {
            "end" => Line::End { partition: next()?.parse().ok()?, offset: next()?.parse().ok()? },
            "sending" => Line::Sending { id: hex(next()?)?, to: next()?.parse().ok()? },
            "sent" => Line::Sent { id: hex(next()?)?, to: next()?.parse().ok()? },
            "forgotten" => Line::Forgotten(hex(next()?)?),
            "done" => {
                let (stamp, id) = (u64::from_str_radix(next()?, 16).ok()?, hex(next()?)?);
                let path: Vec<u8> = percent_decode_str(next()?).collect();
                Line::Done { path: PathBuf::from(std::ffi::OsStr::from_bytes(&path)), stamp, id }
            }
            _ => return None,
        })
    }
}

impl Known {
    fn take(&mut self, line: Line) {
        match line {
            Line::End { partition, offset } => drop(self.floor.insert(partition, offset)),
            Line::Sending { id, to } => {
                let file = self.begun.entry(id).or_default();
                file.sending = file.sending.max(to);
            }
            Line::Sent { id, to } => {
                let file = self.begun.entry(id).or_default();
                file.sent = file.sent.max(to);
                file.sending = file.sending.max(to);
            }
            Line::Forgotten(id) => drop(self.begun.remove(&id)),
            Line::Done { path, stamp, id } => {
                self.begun.remove(&id);
                self.done.insert(key(&path), Done { stamp, id });
            }
        }
    }
}

/// The log, open, and what it says.
pub struct Progress {
    log: AppendFile,
    known: Known,
    /// Frames that were found in the topic after a crash, and are not behind `sent` yet: they are not sent again.
    there: HashSet<FrameId>,
}

impl Progress {
    /// Opens the log in the camera's folder, or begins one.
    ///
    /// # Errors
    /// What the disk refused.
    pub fn open(folder: &Path) -> Result<Self, OutputError> {
        let mut known = Known::default();
        let (mut log, lines) =
            lines::open(folder, FILE, |line| Line::parse(line).map(|line| known.take(line)).is_some())?;
        if lines.is_some_and(|lines| lines > LINES && lines > 4 * (known.done.len() + known.begun.len())) {
            write_anew(folder, &known)?;
            let path = folder.join(FILE);
            log = AppendFile::open(path.clone(), &Disk::default()).at("open", &path)?;
        }
        Ok(Progress { log, known, there: HashSet::new() })
    }

    /// Whether the file at this path, with this size and time, was read to its end.
    pub fn is_done(&self, path: &Path, stamp: u64) -> bool {
        self.known.done.get(&key(path)).is_some_and(|done| done.stamp == stamp)
    }

    /// Whether this very file was read to its end; it may have been touched since.
    pub fn was_done(&self, path: &Path, id: Id) -> bool {
        self.known.done.get(&key(path)).is_some_and(|done| done.id == id)
    }

    /// The first frame of a file that may not have been sent.
    pub fn next(&self, id: Id) -> u64 {
        self.known.begun.get(&id).map_or(0, |file| file.sent)
    }

    /// Whether a frame is known to have been sent.
    pub fn is_sent(&self, frame: FrameId) -> bool {
        frame.1 < self.next(frame.0) || self.there.contains(&frame)
    }

    /// The frames of which nobody knows whether they stand in the topic, by their `ce_id`.
    pub fn pending(&self) -> HashMap<String, FrameId> {
        let frames = self.known.begun.iter().flat_map(|(id, file)| (file.sent..file.sending).map(|n| (*id, n)));
        frames.map(|frame| (in_words(frame), frame)).collect()
    }

    /// From where on each partition may hold them.
    pub fn floor(&self) -> &BTreeMap<i32, i64> {
        &self.known.floor
    }

    /// When it was written to last.
    pub fn written(&self) -> Option<SystemTime> {
        fs::metadata(self.log.path()).and_then(|meta| meta.modified()).ok()
    }

    /// These stand in the topic.
    pub fn found(&mut self, frames: impl IntoIterator<Item = FrameId>) {
        self.there.extend(frames);
    }

    /// Where the partitions end, when nothing is on its way. While frames are pending, theirs stay where they were.
    pub fn ends(&mut self, ends: impl IntoIterator<Item = (i32, i64)>) -> Result<(), OutputError> {
        let pending = self.known.begun.values().any(|file| file.sent < file.sending);
        match pending {
            // What is not known yet is known in a moment, and may be asked again after the next crash.
            true => Ok(()),
            false => self.note(ends.into_iter().map(|(partition, offset)| Line::End { partition, offset })),
        }
    }

    /// Notes that these will be sent, as far as that is not noted already: durable when this returns.
    pub fn sending(&mut self, frames: impl IntoIterator<Item = FrameId>) -> Result<(), OutputError> {
        let mut to: BTreeMap<Id, u64> = BTreeMap::new();
        for (id, number) in frames {
            let noted = self.known.begun.get(&id).map_or(0, |file| file.sending);
            if number >= noted.max(to.get(&id).copied().unwrap_or(0)) {
                to.insert(id, number + BLOCK);
            }
        }
        if to.is_empty() {
            return Ok(());
        }
        self.note(to.into_iter().map(|(id, to)| Line::Sending { id, to }))?;
        self.log.sync().at("sync", self.log.path())
    }

    /// All frames of these files before these are acknowledged, or not wanted; and whatever is not known to be stands behind these
    /// ends of the partitions, but for what was found.
    pub fn sent(
        &mut self,
        files: impl IntoIterator<Item = FrameId>,
        ends: &BTreeMap<i32, i64>,
    ) -> Result<(), OutputError> {
        let mut lines = vec![];
        for (id, to) in files {
            self.there.retain(|(file, number)| *file != id || *number >= to);
            if to > self.next(id) {
                lines.push(Line::Sent { id, to });
            }
        }
        // What was found stands before them, and would not be found again.
        if self.there.is_empty() {
            let moved = ends.iter().filter(|(partition, offset)| self.known.floor.get(partition) != Some(*offset));
            lines.extend(moved.map(|(partition, offset)| Line::End { partition: *partition, offset: *offset }));
        }
        self.note(lines)
    }

    /// All files were read: what else was begun is not there any more.
    pub fn forget_the_rest(&mut self) -> Result<(), OutputError> {
        let rest: Vec<Id> = self.known.begun.keys().copied().collect();
        self.there.clear();
        self.note(rest.into_iter().map(Line::Forgotten))
    }

    /// A file was read to its end, and all of it that is wanted is acknowledged; or it was only touched since.
    pub fn done(&mut self, path: &Path, stamp: u64, id: Id) -> Result<(), OutputError> {
        self.there.retain(|(file, _)| *file != id);
        self.note([Line::Done { path: path.to_owned(), stamp, id }])
    }

    fn note(&mut self, lines: impl IntoIterator<Item = Line>) -> Result<(), OutputError> {
        let mut text = String::new();
        let lines: Vec<Line> = lines.into_iter().inspect(|line| text.push_str(&line.text())).collect();
        if !lines.is_empty() {
            self.log.append(&[text.as_bytes()])?;
        }
        lines.into_iter().for_each(|line| self.known.take(line));
        Ok(())
    }
}

/// Writes what counts to a new file, which takes the old one's place.
fn write_anew(folder: &Path, known: &Known) -> Result<(), OutputError> {
    use std::io::Write;
    let (old, new) = (folder.join(FILE), folder.join(FRESH));
    let mut file = std::io::BufWriter::new(fs::File::create(&new).at("make", &new)?);
    let mut text = String::new();
    for (partition, offset) in &known.floor {
        text.push_str(&Line::End { partition: *partition, offset: *offset }.text());
    }
    for (id, File { sent, sending }) in &known.begun {
        text.push_str(&Line::Sent { id: *id, to: *sent }.text());
        text.push_str(&Line::Sending { id: *id, to: *sending }.text());
    }
    file.write_all(text.as_bytes()).at("write", &new)?;
    let mut left = known.done.clone();
    let mut failed = None;
    // Paths are not kept in memory.
    lines::read(&old, |line| {
        if let Some(Line::Done { path, stamp, id }) = Line::parse(line)
            && left.get(&key(&path)) == Some(&Done { stamp, id })
        {
            left.remove(&key(&path));
            failed = failed.take().or(file.write_all(Line::Done { path, stamp, id }.text().as_bytes()).err());
        }
        true
    })?;
    match failed {
        Some(e) => Err(e),
        None => file.flush(),
    }
    .at("write", &new)?;
    file.get_ref().sync_all().at("sync", &new)?;
    fs::rename(&new, &old).at("rename", &old)?;
    crate::sink::private_dir::sync_directory(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_after_a_crash_is_what_was_noted_and_not_acknowledged() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut progress = Progress::open(dir.path()).expect("begun");
        progress.ends([(0, 10)]).expect("noted");
        progress.sending([(1, 0), (1, 3)]).expect("noted");
        let length = progress.log.length();
        progress.sending([(1, 4), (1, BLOCK - 1)]).expect("noted");
        assert_eq!(progress.log.length(), length, "one note is enough for a block");
        progress.sent([(1, 3)], &[(0, 13)].into()).expect("noted");
        drop(progress);
        let mut progress = Progress::open(dir.path()).expect("opened");
        assert_eq!((progress.next(1), progress.floor()), (3, &[(0, 13)].into()));
        let pending = progress.pending();
        assert_eq!(pending.len() as u64, BLOCK - 3);
        assert!(pending.contains_key(&in_words((1, 3))) && !pending.contains_key(&in_words((1, 2))));
        progress.ends([(0, 90)]).expect("noted");
        assert_eq!(progress.floor(), &[(0, 13)].into(), "they may stand behind this");
        progress.found([(1, 4)]);
        assert!(progress.is_sent((1, 2)) && progress.is_sent((1, 4)) && !progress.is_sent((1, 3)));
        progress.sent([(1, 4)], &[(0, 95)].into()).expect("noted");
        assert_eq!(progress.floor(), &[(0, 13)].into(), "the one that was found stands before that");
        progress.sent([(1, 5)], &[(0, 96)].into()).expect("noted");
        assert_eq!(progress.floor(), &[(0, 96)].into());
        progress.sending([(2, 0)]).expect("noted");
        progress.done(Path::new("a b.mp4"), 7, 1).expect("noted");
        assert_eq!(progress.pending().len() as u64, BLOCK, "of the other");
        progress.forget_the_rest().expect("noted");
        let progress = Progress::open(dir.path()).expect("opened");
        assert!(progress.pending().is_empty() && progress.is_done(Path::new("a b.mp4"), 7));
        assert!(!progress.is_done(Path::new("a b.mp4"), 8) && progress.was_done(Path::new("a b.mp4"), 1));
        assert!(!progress.was_done(Path::new("a b.mp4"), 2), "another file of that name");
    }

    #[test]
    fn a_line_that_a_crash_has_torn_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut progress = Progress::open(dir.path()).expect("begun");
        progress.sending([(1, 0)]).expect("noted");
        progress.sent([(1, 5)], &BTreeMap::new()).expect("noted");
        drop(progress);
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).expect("there");
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).expect("written");
            let next = Progress::open(dir.path()).expect("opened").next(1);
            assert_eq!(next, if cut == whole.len() { 5 } else { 0 }, "{cut}");
        }
    }

    #[test]
    fn written_anew_it_says_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut progress = Progress::open(dir.path()).expect("begun");
        progress.ends([(0, 1), (1, 2)]).expect("noted");
        for (n, name) in ["a.mp4", "b.mp4", "a.mp4"].iter().enumerate() {
            progress.done(Path::new(name), n as u64, n as Id).expect("noted");
        }
        progress.sending([(9, 4)]).expect("noted");
        progress.sent([(9, 5)], &BTreeMap::new()).expect("noted");
        let known = progress.known.clone();
        write_anew(dir.path(), &known).expect("written");
        assert_eq!(Progress::open(dir.path()).expect("opened").known, known);
    }
}
