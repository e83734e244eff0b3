//! What retention has deleted: for `edgereel verify`, and to go on after a crash.
//!
//! It is written, durably, before anything is deleted: whatever is gone on purpose is known to be. It has its room on the disk from
//! the first start on, for it has to be written when the disk is full: two places of one size, the older of which is overwritten.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use edgereel_crds::status::Reason;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::stored_log::{Place, Totals};
use crate::sink::{
    disk::{AppendFile, Disk},
    fault::OutputError,
    output::At,
    private_dir::sync_directory,
};

/// The file in a worker's folder.
pub const FILE: &str = "gone";
/// The bytes of each of its two places.
const ROOM: usize = 64 << 10;
/// Before the text: its length and its hash.
const HEAD: usize = 16;

/// What a worker has deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gone {
    /// Counts up with each writing.
    version: u64,
    /// Everything before this place in the list of pictures is deleted.
    pub place: Place,
    /// Everything up to this segment of a video is.
    pub segment: u64,
    /// How much that is.
    pub totals: Totals,
    /// The topics' ids at that place.
    pub topics: BTreeMap<String, String>,
    /// Of a video, each topic's ids, with the first segment of each.
    pub since: BTreeMap<String, Vec<(u64, String)>>,
    /// Of each topic, by its id (empty where nobody knows it), and partition: all frames before this offset may be gone.
    pub below: BTreeMap<String, BTreeMap<String, BTreeMap<i32, i64>>>,
}

impl Gone {
    /// Reads what a folder says: nothing where nothing was ever deleted; none where that cannot be read any more.
    pub fn read(folder: &Path) -> Result<Option<Self>, OutputError> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(Gone::default())),
            bytes => bytes.at("read", &path)?,
        };
        let places = [bytes.get(..ROOM).unwrap_or(&bytes), bytes.get(ROOM..).unwrap_or_default()];
        Ok(places.into_iter().filter_map(parse).max_by_key(|gone| gone.version))
    }

    /// What all workers of a sink have deleted, and the files that say so and cannot be read; `sink` is its folder.
    pub fn everyones(sink: &Path) -> Result<(Vec<Gone>, Vec<PathBuf>), OutputError> {
        let (mut all, mut unreadable) = (vec![], vec![]);
        let mut take = |folder: &Path| -> Result<(), OutputError> {
            match Gone::read(folder)? {
                Some(gone) => all.push(gone),
                None => unreadable.push(folder.join(FILE)),
            }
            Ok(())
        };
        take(sink)?;
        let entries = match fs::read_dir(sink) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((all, unreadable)),
            entries => entries.at("read", sink)?,
        };
        for entry in entries {
            let path = entry.at("read", sink)?.path();
            if path.is_dir() {
                take(&path)?;
            }
        }
        Ok((all, unreadable))
    }

    /// Nothing, with what was deleted before of lists that are no more.
    pub fn fresh(&self) -> Self {
        Gone {
            version: self.version,
            segment: self.segment,
            since: self.since.clone(),
            below: self.below.clone(),
            ..Gone::default()
        }
    }

    /// Forgets what an earlier version noted without a topic's id and beyond what is committed of a topic that has one: that was
    /// somebody's file. Whether there was any.
    pub fn forget_strangers(&mut self, topic: &str, partition: i32, committed: i64) -> bool {
        let unnamed = self.below.get_mut(topic).and_then(|ids| ids.get_mut(""));
        let stranger = unnamed.filter(|partitions| partitions.get(&partition).is_some_and(|below| *below > committed));
        stranger.is_some_and(|partitions| partitions.remove(&partition).is_some())
    }

    /// A frame is going to be deleted.
    pub fn note(&mut self, topic: &str, id: &str, partition: i32, offset: i64) {
        let partitions = self.below.entry(topic.to_owned()).or_default().entry(id.to_owned()).or_default();
        let below = partitions.entry(partition).or_default();
        *below = (*below).max(offset + 1);
    }
}

/// A place as it is on the disk: the length and the hash of a text, and the text.
fn place(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], &xxh3_64(text).to_le_bytes(), text].concat()
}

fn parse(place: &[u8]) -> Option<Gone> {
    let number = |at: usize| Some(u64::from_le_bytes(place.get(at..at + 8)?.try_into().ok()?));
    let text = place.get(HEAD..HEAD.checked_add(usize::try_from(number(0)?).ok()?)?)?;
    (xxh3_64(text) == number(8)?).then(|| serde_json::from_slice(text).ok()).flatten()
}

fn text(gone: &Gone) -> Result<Vec<u8>, OutputError> {
    serde_json::to_vec(gone).map_err(|e| OutputError::storage(Reason::InternalError, e.to_string()))
}

/// The file, open, and what it says.
pub struct Ledger {
    path: PathBuf,
    file: AppendFile,
    /// What it says.
    pub gone: Gone,
    /// It was destroyed, and begins with nothing.
    pub anew: bool,
}

impl Ledger {
    /// Opens the file in a folder, or makes it with all its room.
    pub fn open(folder: &Path, disk: &Disk) -> Result<Self, OutputError> {
        let path = folder.join(FILE);
        let known = Gone::read(folder)?;
        let anew = known.is_none();
        if anew {
            tracing::warn!(
                "{} cannot be read, and begins anew: what retention deleted before is missing for `edgereel verify` from now on",
                path.display()
            );
        }
        let gone = known.unwrap_or_default();
        if anew || !fs::metadata(&path).is_ok_and(|meta| meta.len() == 2 * ROOM as u64) {
            let new = path.with_extension("new");
            disk.remove(&new)?;
            let mut file = AppendFile::create(new.clone(), disk).at("create", &new)?;
            // From the first moment on it says something: one of zeros was destroyed.
            let mut bytes = place(&text(&gone)?);
            bytes.resize(ROOM, 0);
            if gone.version % 2 == 1 {
                bytes.splice(0..0, vec![0; ROOM]);
            }
            bytes.resize(2 * ROOM, 0);
            file.append(&[&bytes])?;
            file.sync().at("sync", &new)?;
            fs::rename(&new, &path).at("write", &path)?;
            sync_directory(folder)?;
        }
        let file = AppendFile::open(path.clone(), disk).at("open", &path)?;
        Ok(Ledger { gone, path, file, anew })
    }

    /// Writes what it says now, durably: after a crash it is what it was before, or this.
    pub fn write(&mut self) -> Result<(), OutputError> {
        self.gone.version += 1;
        let text = text(&self.gone)?;
        if text.len() + HEAD > ROOM {
            let message = format!(
                "{} has no room for {} bytes: this sink reads too many topics",
                self.path.display(),
                text.len()
            );
            return Err(OutputError::storage(Reason::StorageError, message));
        }
        self.file.patch((self.gone.version % 2) * ROOM as u64, &place(&text))?;
        self.file.sync().at("sync", &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_tears_a_writing_what_was_written_before_is_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = Ledger::open(dir.path(), &Disk::default()).expect("opened");
        for offset in [4, 9, 7] {
            ledger.gone.note("gate", "id", 1, offset);
            ledger.write().expect("written");
        }
        assert_eq!(Gone::read(dir.path()).expect("readable").as_ref(), Some(&ledger.gone));
        assert_eq!(ledger.gone.below["gate"]["id"][&1], 10);
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).expect("read");
        // The third writing stands in the second place.
        for torn in [ROOM, ROOM + 8, ROOM + HEAD, ROOM + HEAD + 30] {
            let mut bytes = whole.clone();
            bytes[torn] ^= 1;
            fs::write(&path, bytes).expect("written");
            let known = Gone::read(dir.path()).expect("readable").expect("known");
            assert_eq!((known.version, known.below["gate"]["id"][&1]), (2, 10), "{torn}");
        }
        fs::write(&path, &whole).expect("written");
        let mut ledger = Ledger::open(dir.path(), &Disk::default()).expect("opened");
        ledger.gone.note("gate", "id", 0, 3);
        ledger.write().expect("written");
        assert_eq!(Gone::everyones(dir.path()).expect("readable"), (vec![ledger.gone], vec![]));
        assert_eq!(Gone::read(&dir.path().join("other")).expect("nothing"), Some(Gone::default()));
    }

    #[test]
    fn a_file_that_was_destroyed_is_not_taken_for_one_that_says_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE);
        let fresh = Ledger::open(dir.path(), &Disk::default()).expect("opened");
        assert!(!fresh.anew && Gone::read(dir.path()).expect("readable") == Some(Gone::default()));
        for destroyed in [vec![0; 2 * ROOM], vec![0xa5; 2 * ROOM], vec![], b"{}".to_vec()] {
            let mut ledger = Ledger::open(dir.path(), &Disk::default()).expect("opened");
            ledger.gone.note("gate", "id", 1, 5);
            ledger.write().expect("written");
            fs::write(&path, destroyed).expect("written");
            assert_eq!(Gone::everyones(dir.path()).expect("readable"), (vec![], vec![path.clone()]));
            assert!(Ledger::open(dir.path(), &Disk::default()).expect("opened").anew);
            assert!(!Ledger::open(dir.path(), &Disk::default()).expect("opened").anew, "it is said once");
        }
        // One that was cut off keeps what can be read of it.
        for offset in [7, 8] {
            let mut ledger = Ledger::open(dir.path(), &Disk::default()).expect("opened");
            ledger.gone.note("gate", "id", 1, offset);
            ledger.write().expect("written");
        }
        fs::File::options().write(true).open(&path).and_then(|file| file.set_len(ROOM as u64)).expect("cut");
        let ledger = Ledger::open(dir.path(), &Disk::default()).expect("opened");
        assert_eq!((ledger.anew, ledger.gone.below["gate"]["id"][&1]), (false, 9));
        assert_eq!(Gone::read(dir.path()).expect("readable"), Some(ledger.gone));
    }
}
