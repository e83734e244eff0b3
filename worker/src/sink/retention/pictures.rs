//! The stored pictures of a worker, of which the oldest may go.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use edgereel_frame::wire::time;
use jiff::Timestamp;

use super::{
    Kept, Unit,
    gone::Ledger,
    ours::Ours,
    stored_log::{Entry, Line, Opened, StoredLog, Totals},
};
use crate::sink::{
    disk::{Disk, standing::Standing},
    fault::OutputError,
    output::{Assigned, At, SinkFrame},
    private_dir::sync_directory,
    record_name::{Names, Place},
    walk::walk,
};

/// The list, in a worker's folder.
const LOG: &str = "stored";
/// So many files are sorted in memory at once when the list is made.
const AT_ONCE: usize = 500_000;
/// What each picture begins with: a JPEG's start of image.
const PICTURE: [u8; 2] = [0xff, 0xd8];
/// Lines wait in memory up to about so many bytes.
const WAITING: usize = 64 << 10;

/// The pictures.
pub struct Stock {
    directory: PathBuf,
    disk: Disk,
    log: StoredLog,
    ledger: Ledger,
    /// The topics' ids.
    ids: BTreeMap<String, String>,
    /// What is committed of each partition that was assigned.
    committed: BTreeMap<(String, i32), i64>,
    /// Written since the last seal.
    unsynced: Vec<Standing>,
}

/// Forgets the list: pictures are stored without it from now on.
pub fn forget(folder: &Path) -> Result<(), OutputError> {
    let path = folder.join(LOG);
    match fs::remove_dir_all(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(OutputError::from_io("remove", &path, &e)),
        _ => Ok(()),
    }
}

impl Stock {
    /// Opens the list in a worker's `folder`, or makes it of what is there: the files below `directory`, up to so `deep`, that have
    /// such `names` and are `ours`, as is asked where there are any.
    pub fn open<E: From<OutputError>>(
        directory: &Path,
        folder: &Path,
        (names, deep): (Names, usize),
        ours: impl FnOnce(&Names) -> Result<Ours, E>,
        disk: &Disk,
    ) -> Result<Self, E> {
        let mut ledger = Ledger::open(folder, disk)?;
        let log = match opened(folder, &ledger, disk)? {
            Some(log) => log,
            None => {
                // Before the list is there: a crash between makes it once more.
                ledger.gone = ledger.gone.fresh();
                ledger.write()?;
                let mut any = false;
                walk(directory, deep, &mut |name| any |= names.place(name).is_some())?;
                let ours = if any { ours(&names)? } else { Ours::default() };
                adopt(directory, folder, (&names, deep), &ours, disk, AT_ONCE)?
            }
        };
        Ok(Stock {
            directory: directory.to_owned(),
            disk: disk.clone(),
            log,
            ledger,
            ids: BTreeMap::new(),
            committed: BTreeMap::new(),
            unsynced: vec![],
        })
    }

    /// Forgets what was not sealed.
    pub fn begin(&mut self, assigned: &[Assigned]) -> Result<(), OutputError> {
        self.unsynced.clear();
        self.log.forget()?;
        self.log.topics(&self.ids);
        let mut strangers = false;
        for Assigned { source, committed } in assigned {
            let (topic, offset) = (source.topic.to_string(), committed.as_ref().map_or(0, |(offset, _)| *offset));
            if committed.is_some() && self.ids.contains_key(&topic) {
                strangers |= self.ledger.gone.forget_strangers(&topic, source.partition, offset);
            }
            self.committed.insert((topic, source.partition), offset);
        }
        if strangers { self.ledger.write() } else { Ok(()) }
    }

    /// Whether a picture that an earlier version listed without its topic's id is none of that topic's.
    fn is_strange(&self, place: &Place) -> bool {
        let committed = self.committed.get(&(place.topic.clone(), place.partition));
        self.ids.contains_key(&place.topic) && committed.is_some_and(|committed| place.offset >= *committed)
    }

    /// What follows is of topics with these ids.
    pub fn topics(&mut self, ids: &BTreeMap<String, String>) {
        self.ids = ids.clone();
        self.log.topics(ids);
    }

    /// Makes room for a picture, before it is written.
    pub fn make_room(&mut self) -> Result<(), OutputError> {
        if self.log.waiting() >= WAITING { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        self.log.flush(&mut self.unsynced)
    }

    /// A picture was stored.
    pub fn add(&mut self, name: String, frame: &SinkFrame) {
        let now = Timestamp::now();
        let time = time::age(frame.captured_at, now).map_or(now, |_| frame.captured_at);
        let topic = frame.source.topic.to_string();
        let place = Place { topic, partition: frame.source.partition, offset: frame.offset };
        self.log.add(&Entry { place, name, bytes: frame.picture.len() as u64, time: time.as_second() });
    }

    /// Writes what waits: what is to be synced before the pictures' offsets are committed.
    pub fn seal(&mut self) -> Result<Vec<Standing>, OutputError> {
        self.flush()?;
        Ok(std::mem::take(&mut self.unsynced))
    }

    /// Writes down what was deleted.
    pub fn finish(&mut self) -> Result<(), OutputError> {
        self.ledger.write()
    }

    /// Removes a picture, unless what has its name is another file by now.
    fn remove(&self, entry: &Entry) -> Result<(), OutputError> {
        let path = self.directory.join(&entry.name);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() && meta.len() == entry.bytes => self.disk.remove(&path),
            Ok(_) => {
                tracing::warn!("{} is not the picture that was stored there, and stays", path.display());
                Ok(())
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
            Err(e) => Err(OutputError::from_io("look at", &path, &e)),
        }
    }

    /// Makes it durable that names are gone from these directories, and removes those that are empty.
    fn tidy(&self, directories: BTreeSet<PathBuf>) -> Result<(), OutputError> {
        for directory in directories {
            let path = self.directory.join(&directory);
            match Standing::open(&path) {
                Ok(standing) => self.disk.sync(standing.file()).at("sync", &path)?,
                Err(_) if !path.exists() => {}
                Err(error) => return Err(error),
            }
            for empty in directory.ancestors().filter(|path| !path.as_os_str().is_empty()) {
                if fs::remove_dir(self.directory.join(empty)).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Kept for Stock {
    fn totals(&self) -> Totals {
        self.log.listed().without(self.ledger.gone.totals)
    }

    fn oldest(&mut self) -> Result<Option<Unit>, OutputError> {
        let mut lines = self.log.read(self.ledger.gone.place)?;
        while let Some((line, _)) = lines.next_line()? {
            if let Line::Picture(entry) = line {
                return Ok(Some(Unit { time: entry.time, bytes: entry.bytes }));
            }
        }
        Ok(None)
    }

    fn delete(&mut self, most: usize, due: &mut dyn FnMut(Unit) -> bool) -> Result<Totals, OutputError> {
        let before = self.ledger.gone.place;
        let (mut after, mut batch) = (self.ledger.gone.clone(), Vec::new());
        let mut deleted = Totals::default();
        let mut lines = self.log.read(before)?;
        while batch.len() < most {
            let Some((line, place)) = lines.next_line()? else { break };
            match line {
                Line::Topic { name, id } => drop(after.topics.insert(name, id)),
                Line::Picture(entry) if !due(Unit { time: entry.time, bytes: entry.bytes }) => break,
                Line::Picture(entry) => {
                    let Place { topic, partition, offset } = &entry.place;
                    let id = after.topics.get(topic).cloned().unwrap_or_default();
                    deleted.add(entry.bytes);
                    if id.is_empty() && self.is_strange(&entry.place) {
                        tracing::warn!("{} is of no record that was stored, and stays", entry.name);
                    } else {
                        after.note(topic, &id, *partition, *offset);
                        batch.push(entry);
                    }
                }
            }
            after.place = place;
        }
        if deleted.files == 0 {
            return Ok(deleted);
        }
        // First it is written down, and that all before it is gone.
        self.ledger.gone.below = after.below.clone();
        self.ledger.write()?;
        batch.iter().try_for_each(|entry| self.remove(entry))?;
        let parent = |entry: &Entry| Path::new(&entry.name).parent().map(Path::to_owned).unwrap_or_default();
        self.tidy(batch.iter().map(parent).collect())?;
        let gone = &mut self.ledger.gone;
        gone.place = after.place;
        gone.topics = after.topics;
        gone.totals.files += deleted.files;
        gone.totals.bytes += deleted.bytes;
        // What the ledger on the disk says is behind these pieces.
        if before.piece > 1 {
            self.log.drop_before(before)?;
        }
        Ok(deleted)
    }
}

/// The list, if there is one that goes with what the ledger says.
fn opened(folder: &Path, ledger: &Ledger, disk: &Disk) -> Result<Option<StoredLog>, OutputError> {
    let damage = match StoredLog::open(folder.join(LOG), disk)? {
        Opened::Absent => None,
        Opened::Damaged(how) => Some(how),
        // How far it was worked off is not known.
        Opened::There(_) if ledger.anew => None,
        Opened::There(log) => match log.damage_at(ledger.gone.place)? {
            None => return Ok(Some(log)),
            damage => damage,
        },
    };
    if let Some(how) = damage {
        tracing::warn!("{how}: the list of stored pictures is made anew from the files that are there");
    }
    forget(folder)?;
    Ok(None)
}

/// Makes the list of what is there, from the oldest on, in as little memory as `at_once` files need. It appears whole, or not.
fn adopt(
    directory: &Path,
    folder: &Path,
    (names, deep): (&Names, usize),
    ours: &Ours,
    disk: &Disk,
    at_once: usize,
) -> Result<StoredLog, OutputError> {
    let new = folder.join(format!("{LOG}.new"));
    if new.exists() {
        fs::remove_dir_all(&new).at("remove", &new)?;
    }
    let mut log = StoredLog::begin(new.clone(), disk)?;
    let mut last: Option<(u128, String)> = None;
    let mut listed = 0u64;
    loop {
        let mut oldest = BinaryHeap::new();
        walk(directory, deep, &mut |name| {
            let Some(place) = names.place(name) else { return };
            let Ok(meta) = fs::symlink_metadata(directory.join(name)) else { return };
            let written = meta.modified().ok();
            let since = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let key = (since.unwrap_or_default().as_nanos(), name.to_owned());
            let id = ours.id(&place, written.and_then(|time| time.try_into().ok()));
            if let Some(id) = id.filter(|_| meta.is_file() && last.as_ref().is_none_or(|last| key > *last)) {
                oldest.push((key, meta.len(), id, place));
                if oldest.len() > at_once {
                    oldest.pop();
                }
            }
        })?;
        let full = oldest.len() == at_once;
        for ((nanos, name), bytes, id, place) in oldest.into_sorted_vec() {
            if is_picture(&directory.join(&name)) {
                let time = i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX);
                log.topic(&place.topic, id);
                log.add(&Entry { place, name: name.clone(), bytes, time });
                listed += 1;
            }
            last = Some((nanos, name));
            if log.waiting() >= WAITING {
                flush(&mut log, disk)?;
            }
        }
        if !full {
            break;
        }
    }
    flush(&mut log, disk)?;
    if listed > 0 {
        tracing::info!("{}: {listed} pictures that were there are listed for retention", directory.display());
    }
    drop(log);
    let path = folder.join(LOG);
    fs::rename(&new, &path).at("write", &path)?;
    sync_directory(folder)?;
    match StoredLog::open(path.clone(), disk)? {
        Opened::There(log) => Ok(log),
        _ => Err(OutputError::from_io("open", &path, &io::ErrorKind::NotFound.into())),
    }
}

/// Whether a file begins as a picture does.
fn is_picture(path: &Path) -> bool {
    let mut begins = [0; PICTURE.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut begins)).is_ok() && begins == PICTURE
}

fn flush(log: &mut StoredLog, disk: &Disk) -> Result<(), OutputError> {
    let mut written = vec![];
    log.flush(&mut written)?;
    written.iter().try_for_each(|each| disk.sync(each.file()).at("sync", each.path()))
}
