//! The pictures that a sink has stored, in the order in which it wrote them: an append-only list in its folder.
//!
//! It is written with each flush, before the offsets are committed: so after a crash each committed picture stands in it. One that
//! was written and not committed comes again, and stands in it twice, which does no harm. The list is in *pieces* of about a
//! mebibyte, each of which begins with the totals of all before it. So only the last piece is read when it is opened, only
//! the first when pictures are deleted, and neither grows with the number of files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use edgereel_crds::status::Reason;

use crate::sink::{
    disk::{AppendFile, Disk, standing::Standing},
    fault::OutputError,
    output::At,
    private_dir::sync_directory,
    record_name,
};

/// A piece ends when it has so many bytes.
const PIECE: u64 = 1 << 20;

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Totals {
    /// With one more.
    pub fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }

    /// Without these.
    pub fn without(self, gone: Totals) -> Totals {
        let (files, bytes) = (self.files.saturating_sub(gone.files), self.bytes.saturating_sub(gone.bytes));
        Totals { files, bytes }
    }
}

/// A stored picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its record.
    pub place: record_name::Place,
    /// Its path below the output's directory.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// When it was captured, in seconds since 1970; where that says nothing, when it was stored.
    pub time: i64,
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A picture.
    Picture(Entry),
    /// What follows is of the topic with this id.
    Topic {
        /// Its name.
        name: String,
        /// Its id; empty where the brokers give none.
        id: String,
    },
}

/// A place in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The piece, from 1.
    pub piece: u64,
    /// Where in it, in bytes.
    pub at: u64,
}

/// What stands in a list's folder.
pub enum Opened {
    /// No list.
    Absent,
    /// One that cannot be gone on with, and how that shows.
    Damaged(String),
    /// A list.
    There(StoredLog),
}

/// The list of one worker.
pub struct StoredLog {
    folder: PathBuf,
    disk: Disk,
    /// The last piece.
    tail: AppendFile,
    number: u64,
    waiting: String,
    /// What of it is pictures.
    in_waiting: Totals,
    /// All that was ever listed, with what waits.
    listed: Totals,
    /// The topics' ids, as they stand in the list.
    topics: BTreeMap<String, String>,
}

fn piece(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}"))
}

fn totals_line(totals: Totals) -> String {
    format!("#{} {}\n", totals.files, totals.bytes)
}

/// A line; none of what is no line of a list.
fn parse(line: &str) -> Option<Line> {
    if let Some(topic) = line.strip_prefix('@') {
        let (name, id) = topic.split_once(' ').filter(|(_, id)| !id.contains(' '))?;
        return Some(Line::Topic { name: name.into(), id: id.into() });
    }
    // A topic's name has no blank.
    let mut parts = line.splitn(6, ' ');
    let time = parts.next()?.parse().ok()?;
    let bytes = parts.next()?.parse().ok()?;
    let topic = parts.next()?.to_owned();
    let (partition, offset) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
    Some(Line::Picture(Entry { place: record_name::Place { topic, partition, offset }, name, bytes, time }))
}

/// Where a piece is damaged.
fn damage(path: &Path, before: u64) -> String {
    format!("{} is damaged before byte {before}", path.display())
}

fn is_damaged(how: &str) -> OutputError {
    let message = format!("{how}: restart the sink, the list is made anew from the files that are there");
    OutputError::storage(Reason::StorageError, message)
}

fn parse_totals(line: &str) -> Option<Totals> {
    let (files, bytes) = line.strip_prefix('#')?.split_once(' ')?;
    Some(Totals { files: files.parse().ok()?, bytes: bytes.parse().ok()? })
}

/// The numbers of the pieces, in order.
fn pieces(folder: &Path) -> Result<Vec<u64>, OutputError> {
    let mut numbers = vec![];
    for entry in fs::read_dir(folder).at("read", folder)? {
        let name = entry.at("read", folder)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl StoredLog {
    /// Begins a list.
    pub fn begin(folder: PathBuf, disk: &Disk) -> Result<Self, OutputError> {
        fs::create_dir_all(&folder).at("make", &folder)?;
        let tail = Self::piece_of(&folder, 1, Totals::default(), disk)?;
        folder.parent().map_or(Ok(()), sync_directory)?;
        Ok(Self::with(folder, disk, tail, 1, Totals::default()))
    }

    /// Opens the list in a folder. What a crash left at its end, a line without an end, is cut off: it was not committed.
    pub fn open(folder: PathBuf, disk: &Disk) -> Result<Opened, OutputError> {
        if !fs::exists(&folder).at("find", &folder)? {
            return Ok(Opened::Absent);
        }
        let Some(number) = pieces(&folder)?.last().copied() else { return Ok(Opened::Absent) };
        let path = piece(&folder, number);
        let mut tail = AppendFile::open(path.clone(), disk).at("open", &path)?;
        let mut lines = Lines::open(&path, 0)?;
        let totals = match lines.next_text()? {
            Text::Line(line) => parse_totals(&line),
            Text::Damaged => None,
            // The power failed while it was begun: nothing in it was committed. Where it ends the list is known by the one before.
            Text::End if number == 1 => return Ok(Opened::Absent),
            Text::End => {
                disk.remove(&path)?;
                return Self::open(folder, disk);
            }
        };
        let Some(mut listed) = totals else { return Ok(Opened::Damaged(damage(&path, lines.at))) };
        let mut topics = BTreeMap::new();
        loop {
            let line = match lines.next_text()? {
                Text::End => break,
                Text::Line(line) => parse(&line),
                Text::Damaged => None,
            };
            match line {
                Some(Line::Picture(entry)) => listed.add(entry.bytes),
                Some(Line::Topic { name, id }) => drop(topics.insert(name, id)),
                None => return Ok(Opened::Damaged(damage(&path, lines.at))),
            }
        }
        if lines.at < tail.length() {
            tail.cut(lines.at)?;
        }
        Ok(Opened::There(StoredLog { topics, ..Self::with(folder, disk, tail, number, listed) }))
    }

    /// What is wrong with a place from which the list is to be worked off, or with the rest of its piece.
    pub fn damage_at(&self, place: Place) -> Result<Option<String>, OutputError> {
        let piece_of = place.piece.max(1);
        if piece_of > self.number || (piece_of == self.number && place.at > self.tail.length()) {
            return Ok(Some(format!("{} ends before what was deleted of it", self.folder.display())));
        }
        let path = piece(&self.folder, piece_of);
        if piece_of < self.number && !path.exists() {
            return Ok(None); // It may have gone.
        }
        let mut lines = Lines::open(&path, place.at)?;
        loop {
            let beginning = lines.at == 0;
            let fits = match lines.next_text()? {
                Text::End => return Ok(None),
                Text::Line(line) => parse(&line).is_some() || (beginning && parse_totals(&line).is_some()),
                Text::Damaged => false,
            };
            if !fits {
                return Ok(Some(damage(&path, lines.at)));
            }
        }
    }

    fn with(folder: PathBuf, disk: &Disk, tail: AppendFile, number: u64, listed: Totals) -> Self {
        StoredLog {
            folder,
            disk: disk.clone(),
            tail,
            number,
            waiting: String::new(),
            in_waiting: Totals::default(),
            listed,
            topics: BTreeMap::new(),
        }
    }

    fn piece_of(folder: &Path, number: u64, before: Totals, disk: &Disk) -> Result<AppendFile, OutputError> {
        let path = piece(folder, number);
        // What a full disk or a crash left of it.
        disk.remove(&path)?;
        let mut file = AppendFile::create(path.clone(), disk).at("create", &path)?;
        file.append(&[totals_line(before).as_bytes()])?;
        Ok(file)
    }

    /// All that was ever listed.
    pub fn listed(&self) -> Totals {
        self.listed
    }

    /// What follows is of topics with these ids.
    pub fn topics(&mut self, ids: &BTreeMap<String, String>) {
        ids.iter().for_each(|(name, id)| self.topic(name, id));
    }

    /// What follows of this topic is of the one with this id.
    pub fn topic(&mut self, name: &str, id: &str) {
        if self.topics.get(name).is_none_or(|known| known != id) {
            self.waiting += &format!("@{name} {id}\n");
            self.topics.insert(name.to_owned(), id.to_owned());
        }
    }

    /// How many bytes wait for the next flush.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Lists a picture; it waits for the next flush.
    pub fn add(&mut self, entry: &Entry) {
        let Entry { place, name, bytes, time } = entry;
        let record_name::Place { topic, partition, offset } = place;
        self.waiting += &format!("{time} {bytes} {topic} {partition} {offset} {name}\n");
        self.listed.add(entry.bytes);
        self.in_waiting.add(entry.bytes);
    }

    /// Forgets what waits.
    pub fn forget(&mut self) -> Result<(), OutputError> {
        let folder = self.folder.clone();
        match Self::open(folder, &self.disk)? {
            Opened::There(fresh) => *self = fresh,
            Opened::Absent => {}
            Opened::Damaged(how) => return Err(is_damaged(&how)),
        }
        Ok(())
    }

    /// Writes what waits, in a new piece where the last is full. Adds what is to be synced to `written`.
    pub fn flush(&mut self, written: &mut Vec<Standing>) -> Result<(), OutputError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.tail.length() >= PIECE {
            let before = self.listed.without(self.in_waiting);
            self.tail = Self::piece_of(&self.folder, self.number + 1, before, &self.disk)?;
            self.number += 1;
            written.push(Standing::open(&self.folder)?);
            // The ids stand in each piece, so that whoever opens one knows them.
            let ids: String = self.topics.iter().map(|(name, id)| format!("@{name} {id}\n")).collect();
            self.waiting.insert_str(0, &ids);
        }
        self.tail.append(&[self.waiting.as_bytes()])?;
        self.waiting.clear();
        self.in_waiting = Totals::default();
        written.push(Standing::new(self.tail.path(), self.tail.shared()));
        Ok(())
    }

    /// The lines from a place on, as far as they are written.
    pub fn read(&self, from: Place) -> Result<Reader<'_>, OutputError> {
        Ok(Reader { log: self, at: from, lines: None })
    }

    /// Removes the pieces before a place.
    pub fn drop_before(&self, place: Place) -> Result<(), OutputError> {
        for number in pieces(&self.folder)?.into_iter().filter(|number| *number < place.piece.min(self.number)) {
            self.disk.remove(&piece(&self.folder, number))?;
        }
        Ok(())
    }
}

/// Lines of the list, in order, from a place on.
pub struct Reader<'a> {
    log: &'a StoredLog,
    at: Place,
    lines: Option<Lines>,
}

impl Reader<'_> {
    /// The next line, and the place behind it; none at the end.
    pub fn next_line(&mut self) -> Result<Option<(Line, Place)>, OutputError> {
        loop {
            let log = self.log;
            self.at.piece = self.at.piece.max(1);
            let lines = match &mut self.lines {
                Some(lines) => lines,
                None => {
                    let path = piece(&log.folder, self.at.piece);
                    match Lines::open(&path, self.at.at) {
                        Ok(lines) => self.lines.insert(lines),
                        // The pieces before the last may have gone.
                        Err(_) if self.at.piece < log.number && !path.exists() => {
                            self.at = Place { piece: self.at.piece + 1, at: 0 };
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            let beginning = lines.at == 0;
            let line = match lines.next_text()? {
                Text::End if self.at.piece >= log.number => return Ok(None),
                // Of a piece before the last, what a power failure left without an end was not committed either.
                Text::End => {
                    self.at = Place { piece: self.at.piece + 1, at: 0 };
                    self.lines = None;
                    continue;
                }
                Text::Line(text) if beginning && parse_totals(&text).is_some() => {
                    self.at.at = lines.at;
                    continue;
                }
                Text::Line(text) => parse(&text),
                Text::Damaged => None,
            };
            let line = line.ok_or_else(|| is_damaged(&damage(&piece(&log.folder, self.at.piece), lines.at)))?;
            self.at.at = lines.at;
            return Ok(Some((line, self.at)));
        }
    }
}

/// What comes next in a file of lines.
enum Text {
    /// A line, without its end.
    Line(String),
    /// Nothing, or a line without an end.
    End,
    /// A line that is no text.
    Damaged,
}

/// Whole lines of a file.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the next begins.
    at: u64,
}

impl Lines {
    fn open(path: &Path, at: u64) -> Result<Self, OutputError> {
        let mut file = File::open(path).at("open", path)?;
        file.seek(SeekFrom::Start(at)).at("read", path)?;
        Ok(Lines { path: path.to_owned(), file: BufReader::with_capacity(1 << 16, file), at })
    }

    fn next_text(&mut self) -> Result<Text, OutputError> {
        let mut text = vec![];
        self.file.read_until(b'\n', &mut text).at("read", &self.path)?;
        let Some(line) = text.strip_suffix(b"\n") else { return Ok(Text::End) };
        self.at += text.len() as u64;
        Ok(String::from_utf8(line.to_vec()).map_or(Text::Damaged, Text::Line))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(n: u64) -> Entry {
        let place = record_name::Place { topic: "gate".into(), partition: 1, offset: n as i64 };
        Entry {
            place,
            name: format!("a day/frame {n}_{}.jpg", "x".repeat(180)),
            bytes: n,
            time: 1_700_000_000 + n as i64,
        }
    }

    fn opened(folder: &Path) -> StoredLog {
        match StoredLog::open(folder.to_owned(), &Disk::default()).expect("readable") {
            Opened::There(log) => log,
            Opened::Absent => panic!("no list"),
            Opened::Damaged(how) => panic!("{how}"),
        }
    }

    /// The pictures from a place on, and the place behind the last.
    fn read(log: &StoredLog, from: Place) -> (Vec<Entry>, Place) {
        let (mut lines, mut found, mut place) = (log.read(from).expect("readable"), vec![], from);
        while let Some((line, next)) = lines.next_line().expect("readable") {
            if let Line::Picture(entry) = line {
                found.push(entry);
            }
            place = next;
        }
        (found, place)
    }

    #[test]
    fn a_list_of_many_pieces_says_what_was_put_in_and_knows_its_totals_from_its_last_piece() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("stored");
        let mut log = StoredLog::begin(folder.clone(), &Disk::default()).expect("begun");
        log.topics(&[("gate".into(), "id".into())].into());
        let all: Vec<_> = (0..20_000).map(entry).collect();
        for part in all.chunks(700) {
            part.iter().for_each(|entry| log.add(entry));
            log.flush(&mut vec![]).expect("written");
        }
        assert!(pieces(&folder).expect("listed").len() > 3);
        let totals = Totals { files: 20_000, bytes: all.iter().map(|entry| entry.bytes).sum() };
        assert_eq!(log.listed(), totals);
        let log = opened(&folder);
        assert_eq!((log.listed(), log.topics["gate"].as_str()), (totals, "id"));
        let (found, end) = read(&log, Place::default());
        assert_eq!(found, all);
        // A start in the middle, and pieces that are done with.
        log.drop_before(Place { piece: 3, at: 0 }).expect("dropped");
        assert_eq!(pieces(&folder).expect("listed")[0], 3);
        let (rest, same) = read(&log, Place { piece: 1, at: 0 });
        assert_eq!((&rest[..], same), (&all[all.len() - rest.len()..], end));
        log.drop_before(end).expect("dropped");
        assert_eq!(opened(&folder).listed(), totals, "the last stays");
    }

    #[test]
    fn a_line_of_an_older_piece_that_is_no_text_is_said_and_not_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("stored");
        let mut log = StoredLog::begin(folder.clone(), &Disk::default()).expect("begun");
        for part in (0..10_000).collect::<Vec<_>>().chunks(700) {
            part.iter().for_each(|n| log.add(&entry(*n)));
            log.flush(&mut vec![]).expect("written");
        }
        let first = Place { piece: 1, at: 0 };
        assert_eq!(opened(&folder).damage_at(first).expect("readable"), None);
        let path = piece(&folder, 1);
        let mut bytes = fs::read(&path).expect("read");
        bytes[5000] = 0xff;
        fs::write(&path, bytes).expect("written");
        let log = opened(&folder);
        let mut lines = log.read(first).expect("readable");
        let said = loop {
            match lines.next_line() {
                Ok(line) => assert!(line.is_some_and(|(_, place)| place.piece == 1), "the piece is passed over"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(said.contains("is damaged before byte") && said.contains("restart the sink"), "{said}");
        assert!(log.damage_at(first).expect("readable").is_some());
        assert!(log.damage_at(Place { piece: 2, at: 0 }).expect("readable").is_none());
        let end = Place { piece: log.number, at: log.tail.length() };
        assert!(log.damage_at(end).expect("readable").is_none());
        assert!(log.damage_at(Place { at: end.at + 1, ..end }).expect("readable").is_some());
    }

    proptest! {
        #[test]
        fn whatever_a_crash_leaves_at_the_end_is_cut_off_and_the_list_goes_on(
            flushed in 0u64..20, more in 0u64..5, cut in any::<prop::sample::Index>(), rubbish in prop::collection::vec(any::<u8>().prop_filter("no line", |byte| *byte != b'\n'), 0..30),
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            let folder = dir.path().join("stored");
            let mut log = StoredLog::begin(folder.clone(), &Disk::default()).expect("begun");
            (0..flushed).for_each(|n| log.add(&entry(n)));
            log.flush(&mut vec![]).expect("written");
            let durable = log.tail.length();
            (flushed..flushed + more).for_each(|n| log.add(&entry(n)));
            log.flush(&mut vec![]).expect("written");
            drop(log);
            // The power fails: what was synced is there.
            let path = piece(&folder, 1);
            let mut bytes = fs::read(&path).expect("read");
            let kept = durable as usize + cut.index(bytes.len() - durable as usize + 1);
            bytes.truncate(kept);
            bytes.extend(&rubbish);
            fs::write(&path, bytes).expect("written");
            let mut log = opened(&folder);
            let (found, _) = read(&log, Place::default());
            prop_assert!(found.len() as u64 >= flushed);
            prop_assert!(found.iter().take(flushed as usize).eq((0..flushed).map(entry).collect::<Vec<_>>().iter()));
            prop_assert_eq!(log.listed().files, found.len() as u64);
            log.add(&entry(99));
            log.flush(&mut vec![]).expect("written");
            let (found, _) = read(&opened(&folder), Place::default());
            prop_assert_eq!(found.last(), Some(&entry(99)));
        }

        /// A byte of a list that is not a crash's: it is said, or the list has as many pictures as before.
        #[test]
        fn a_damaged_byte_never_makes_the_list_shorter(
            lines in 1u64..40, at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            let folder = dir.path().join("stored");
            let mut log = StoredLog::begin(folder.clone(), &Disk::default()).expect("begun");
            (0..lines).for_each(|n| log.add(&entry(n)));
            log.flush(&mut vec![]).expect("written");
            let path = piece(&folder, 1);
            let mut bytes = fs::read(&path).expect("read");
            let at = at.index(bytes.len() - 1);
            prop_assume!(bytes[at] != b'\n');
            bytes[at] = byte;
            let length = bytes.len() as u64;
            fs::write(&path, bytes).expect("written");
            match StoredLog::open(folder, &Disk::default()).expect("readable") {
                Opened::There(log) => {
                    prop_assert!(log.damage_at(Place::default()).expect("readable").is_none());
                    prop_assert!(log.listed().files >= lines);
                }
                Opened::Damaged(how) => prop_assert!(how.contains("is damaged before byte"), "{}", how),
                Opened::Absent => prop_assert!(false, "it is there"),
            }
            prop_assert_eq!(fs::metadata(&path).expect("there").len(), length, "nothing is cut off");
        }
    }
}
