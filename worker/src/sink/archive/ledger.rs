//! What the store has acknowledged: `archived` in the sink's folder, a text that only grows. Each line is JSON and its hash: a file that is
//! there with all that belongs to it, how far one was brought, an upload in parts that was begun.
//!
//! Nothing is lost with it: a file whose line is missing is compared with its object, and noted anew. So it need not be written when
//! the disk is full; what could not be is written as soon as there is room.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::sink::{
    disk::{AppendFile, Disk},
    fault::OutputError,
    output::At,
    private_dir::sync_directory,
};

/// The file.
pub const FILE: &str = "archived";

/// An object in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its whole name in the bucket.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Their SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// A closed file that the store has, with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its number in the sink's list of files.
    pub segment: u64,
    /// Its path below the output's directory.
    pub file: String,
    /// Its bytes, and those of all that belongs to it.
    pub bytes: u64,
    /// The bucket and the beginning of the names, as in `s3://recordings/site-a`.
    pub place: String,
    /// The file and, of a video, its CSV.
    pub objects: Vec<Object>,
    /// Of a data set: how many pictures beside them.
    #[serde(default)]
    pub pictures: u64,
    /// Of a video: when its first frame was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Of a video: when its last frame was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// How many rows of a data set's CSV have their pictures in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// The CSV's number.
    pub segment: u64,
    /// Its path.
    pub file: String,
    /// So many.
    pub rows: u64,
}

/// An upload in parts that was begun, and may have been left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The object's whole name.
    pub name: String,
    /// The store's id for it.
    pub id: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Done(Entry),
    Rows(Rows),
    Begun(Begun),
    /// No upload in parts is left.
    Ended,
}

impl Line {
    fn to_text(&self) -> String {
        // Numbers, texts and times always make JSON.
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{text} {:016x}\n", xxh3_64(text.as_bytes()))
    }

    fn parse(line: &str) -> Option<Self> {
        let (text, hash) = line.rsplit_once(' ')?;
        let whole = hash.len() == 16 && u64::from_str_radix(hash, 16) == Ok(xxh3_64(text.as_bytes()));
        whole.then(|| serde_json::from_str(text).ok()).flatten()
    }
}

/// What a ledger says.
#[derive(Debug, Default, PartialEq)]
pub struct Known {
    /// What the store has, in the order of its acknowledgement.
    pub entries: Vec<Entry>,
    /// How far the last data set's CSV was brought.
    pub rows: Option<Rows>,
    /// Uploads that may have been left.
    pub begun: Vec<Begun>,
    /// So many lines are none.
    pub damaged: u64,
}

impl Known {
    fn of(text: &str) -> Self {
        let mut known = Known::default();
        for line in text.lines() {
            match Line::parse(line) {
                Some(Line::Done(entry)) => known.entries.push(entry),
                Some(Line::Rows(rows)) => known.rows = Some(rows),
                Some(Line::Begun(begun)) => known.begun.push(begun),
                Some(Line::Ended) => known.begun.clear(),
                None => known.damaged += 1,
            }
        }
        known
    }

    /// Reads what a sink's folder says; nothing where there is no ledger. A last line that is half there is none.
    pub fn read(folder: &Path) -> Result<Self, OutputError> {
        let path = folder.join(FILE);
        if !fs::exists(&path).at("find", &path)? {
            return Ok(Known::default());
        }
        let text = fs::read(&path).at("read", &path)?;
        let end = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        Ok(Known::of(&String::from_utf8_lossy(&text[..end])))
    }
}

/// The ledger, open.
pub struct Ledger {
    path: PathBuf,
    file: AppendFile,
    /// What has found no room yet.
    waiting: String,
}

impl Ledger {
    /// Opens or begins it, and gives what it says. What a crash has torn is cut off.
    pub fn open(folder: &Path, disk: &Disk) -> Result<(Self, Known), OutputError> {
        let path = folder.join(FILE);
        let known = Known::read(folder)?;
        if known.damaged > 0 {
            tracing::warn!(
                "{}: {} lines are damaged: what they said is asked of the object store",
                path.display(),
                known.damaged
            );
        }
        let mut file = match fs::exists(&path).at("find", &path)? {
            true => AppendFile::open(path.clone(), disk).at("open", &path)?,
            false => {
                let file = AppendFile::create(path.clone(), disk).at("create", &path)?;
                sync_directory(folder)?;
                file
            }
        };
        let text = fs::read(&path).at("read", &path)?;
        let end = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) as u64;
        if end < file.length() {
            file.cut(end)?;
        }
        Ok((Ledger { path, file, waiting: String::new() }, known))
    }

    /// Notes, durably where there is room, that the store has a file.
    pub fn done(&mut self, entry: &Entry) -> Result<(), OutputError> {
        self.note(&Line::Done(entry.clone()))
    }

    /// Notes how far a CSV was brought.
    pub fn rows(&mut self, rows: &Rows) -> Result<(), OutputError> {
        self.note(&Line::Rows(rows.clone()))
    }

    /// Notes that an upload in parts begins.
    pub fn begun(&mut self, begun: &Begun) -> Result<(), OutputError> {
        self.note(&Line::Begun(begun.clone()))
    }

    /// Notes that none is left.
    pub fn ended(&mut self) -> Result<(), OutputError> {
        self.note(&Line::Ended)
    }

    fn note(&mut self, line: &Line) -> Result<(), OutputError> {
        self.waiting.push_str(&line.to_text());
        match self.file.append(&[self.waiting.as_bytes()]) {
            Ok(()) => {
                self.waiting.clear();
                self.file.sync().at("sync", &self.path)
            }
            // Retention needs no note to make room.
            Err(OutputError::NoSpace { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::sink::disk::faults::FailAt;

    fn entry(segment: u64) -> Entry {
        Entry {
            segment,
            file: format!("gate \"{segment}\".avi"),
            bytes: 100 + segment,
            place: "s3://recordings/lab/gate".into(),
            objects: vec![Object { name: format!("lab/gate/{segment}"), bytes: 9, sha256: "ab".repeat(32) }],
            pictures: 0,
            from: Timestamp::from_second(segment as i64).ok(),
            until: None,
        }
    }

    fn written(folder: &Path) -> Known {
        let (mut ledger, _) = Ledger::open(folder, &Disk::default()).expect("opened");
        let begun = |id: &str| Begun { name: "a".into(), id: id.into() };
        ledger.begun(&begun("left")).expect("noted");
        ledger.ended().expect("noted");
        ledger.done(&entry(1)).expect("noted");
        ledger.rows(&Rows { segment: 2, file: "b.csv".into(), rows: 64 }).expect("noted");
        ledger.begun(&begun("x y")).expect("noted");
        ledger.done(&entry(2)).expect("noted");
        Known::read(folder).expect("readable")
    }

    #[test]
    fn what_was_noted_is_known_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let known = written(dir.path());
        assert_eq!(known.entries, [entry(1), entry(2)]);
        assert_eq!(known.begun, [Begun { name: "a".into(), id: "x y".into() }]);
        assert_eq!((known.rows.map(|rows| rows.rows), known.damaged), (Some(64), 0));
    }

    proptest! {
        #[test]
        fn wherever_a_crash_tears_it_what_was_whole_is_known_and_more_can_be_noted(cut in 0usize..2000) {
            let dir = tempfile::tempdir().expect("a directory");
            let all = written(dir.path());
            let path = dir.path().join(FILE);
            let text = fs::read(&path).expect("read");
            let cut = cut.min(text.len());
            fs::write(&path, &text[..cut]).expect("written");
            let (mut ledger, known) = Ledger::open(dir.path(), &Disk::default()).expect("opened");
            prop_assert!(all.entries.starts_with(&known.entries));
            prop_assert_eq!(known.damaged, 0);
            ledger.done(&entry(9)).expect("noted");
            let after = Known::read(dir.path()).expect("readable");
            prop_assert_eq!(after.entries.last(), Some(&entry(9)));
            prop_assert_eq!(after.entries.len(), known.entries.len() + 1);
        }

        #[test]
        fn a_byte_that_is_another_takes_its_own_line_and_no_other(at in 0usize..2000) {
            let dir = tempfile::tempdir().expect("a directory");
            written(dir.path());
            let path = dir.path().join(FILE);
            let mut text = fs::read(&path).expect("read");
            let at = at % text.len();
            prop_assume!(text[at] != b'\n');
            text[at] ^= 0x01;
            prop_assume!(text[at] != b'\n');
            fs::write(&path, &text).expect("written");
            prop_assert_eq!(Known::read(dir.path()).expect("readable").damaged, 1);
        }
    }

    #[test]
    fn a_full_disk_keeps_nothing_from_being_noted_later() {
        let dir = tempfile::tempdir().expect("a directory");
        written(dir.path());
        let full = Disk::failing(Arc::new(FailAt::new(0, io::ErrorKind::StorageFull, false)));
        let (mut ledger, _) = Ledger::open(dir.path(), &full).expect("opened");
        ledger.done(&entry(3)).expect("kept in memory");
        assert_eq!(Known::read(dir.path()).expect("readable").entries.len(), 2);
        ledger.done(&entry(4)).expect("noted");
        let known = Known::read(dir.path()).expect("readable");
        assert_eq!(known.entries[2..], [entry(3), entry(4)]);
    }
}
