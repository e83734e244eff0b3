//! What was sent, durably: a text file of lines that only grows, `ledger` in the camera's own folder.
//!
//! A file is noted before it is sent (`sending`, durable before Kafka hears of it) and when it was acknowledged (`sent`). One that
//! is noted and not known to be acknowledged is *pending*: whether it stands in the topic is asked of the topic itself, from the
//! *floor* on, the end that each partition had when the first of them was noted ([`recover`](super::recover)). So only the first
//! note has to reach the disk in time.
//!
//! Its lines are [`lines`].

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Write,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::lines;
use crate::sink::{
    disk::{AppendFile, Disk},
    fault::OutputError,
    output::At,
    private_dir::sync_directory,
};

/// The file in the camera's folder.
const FILE: &str = "ledger";
/// What it is written anew to.
const FRESH: &str = "ledger.new";
/// With more lines than this, and more than four for each file, it is written anew at a start.
const LINES: usize = 10_000;

/// A path, as seen from the folder, in bits.
pub type Key = u128;
/// A path and the bytes that stand there: what `ce_id` is made of.
pub type Id = u128;

/// A path's key.
pub fn key(path: &Path) -> Key {
    xxh3_128(path.as_os_str().as_bytes())
}

/// The identity of a file: its path as seen from the folder, and its bytes.
pub fn id(path: &Path, bytes: &[u8]) -> Id {
    let mut hash = Xxh3::new();
    hash.update(path.as_os_str().as_bytes());
    hash.update(b"\0");
    hash.update(bytes);
    hash.digest128()
}

/// What is known of a path that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Size and time, in bits: as long as they are the same, nobody reads the file.
    pub stamp: u64,
    /// Half of the [`Id`]; none where another program has sent it, and its bytes are not known.
    content: Option<u64>,
}

impl Done {
    /// Whether it is these bytes that are done.
    pub fn is(&self, id: Id) -> bool {
        self.content == Some(half(id))
    }
}

fn half(id: Id) -> u64 {
    id as u64
}

/// A file that is being sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Its path, as seen from the folder.
    pub path: PathBuf,
    /// Its size and time.
    pub stamp: u64,
    /// What it is.
    pub id: Id,
}

/// What lines say, without the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    done: HashMap<Key, Done>,
    pending: HashMap<Id, Sending>,
    /// From where on a partition may hold pending files.
    floor: BTreeMap<i32, i64>,
    /// Where a partition ended, as far as is known.
    ends: BTreeMap<i32, i64>,
}

/// One line.
enum Line {
    End { partition: i32, offset: i64 },
    Sending(Sending),
    Sent { id: Id, partition: i32, offset: i64 },
    GivenUp(Id),
    Done(Sending),
    Gone(Key),
}

const KEPT: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

impl Line {
    fn text(&self) -> String {
        let file = |word: &str, Sending { path, stamp, id }: &Sending| {
            format!("{word} {stamp:016x} {id:032x} {}", percent_encode(path.as_os_str().as_bytes(), KEPT))
        };
        lines::seal(match self {
            Line::End { partition, offset } => format!("end {partition} {offset}"),
            Line::Sending(sending) => file("sending", sending),
            Line::Sent { id, partition, offset } => format!("sent {id:032x} {partition} {offset}"),
            Line::GivenUp(id) => format!("given-up {id:032x}"),
            Line::Done(done) => file("done", done),
            Line::Gone(key) => format!("gone {key:032x}"),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ')?;
        let mut rest = rest.split(' ');
        let mut next = || rest.next();
        let hex = |text: &str| u128::from_str_radix(text, 16).ok();
        let mut file = || {
            let (stamp, id) = (u64::from_str_radix(next()?, 16).ok()?, hex(next()?)?);
            let path: Vec<u8> = percent_encoding::percent_decode_str(next()?).collect();
            Some(Sending { path: PathBuf::from(std::ffi::OsStr::from_bytes(&path)), stamp, id })
        };
        Some(match word {
            "sending" => Line::Sending(file()?),
            "done" => Line::Done(file()?),
            "end" => Line::End { partition: next()?.parse().ok()?, offset: next()?.parse().ok()? },
            "sent" => Line::Sent { id: hex(next()?)?, partition: next()?.parse().ok()?, offset: next()?.parse().ok()? },
            "given-up" => Line::GivenUp(hex(next()?)?),
            "gone" => Line::Gone(hex(next()?)?),
            _ => return None,
        })
    }
}

impl Known {
    fn take(&mut self, line: Line) {
        match line {
            Line::End { partition, offset } => self.ended(partition, offset),
            Line::Sending(sending) => {
                if self.pending.is_empty() {
                    self.floor = self.ends.clone();
                }
                self.pending.insert(sending.id, sending);
            }
            Line::Sent { id, partition, offset } => {
                if let Some(sending) = self.pending.remove(&id) {
                    self.done(&sending);
                }
                self.ended(partition, offset + 1);
            }
            Line::GivenUp(id) => drop(self.pending.remove(&id)),
            Line::Done(done) => self.done(&done),
            Line::Gone(key) => drop(self.done.remove(&key)),
        }
    }

    /// A topic that was made anew begins again.
    fn ended(&mut self, partition: i32, offset: i64) {
        self.ends.insert(partition, offset);
    }

    fn done(&mut self, Sending { path, stamp, id }: &Sending) {
        let content = (*id != 0).then(|| half(*id));
        self.done.insert(key(path), Done { stamp: *stamp, content });
    }
}

/// The file, open, and what it says.
pub struct Ledger {
    file: AppendFile,
    known: Known,
    /// There was none before.
    pub is_new: bool,
}

impl Ledger {
    /// Opens the ledger in the camera's folder, or begins one.
    ///
    /// # Errors
    /// What the disk refused.
    pub fn open(folder: &Path) -> Result<Self, OutputError> {
        let mut known = Known::default();
        let (mut file, lines) =
            lines::open(folder, FILE, |line| Line::parse(line).map(|line| known.take(line)).is_some())?;
        if lines.is_some_and(|lines| lines > LINES && lines > 4 * (known.done.len() + known.pending.len())) {
            write_anew(folder, &known)?;
            let path = folder.join(FILE);
            file = AppendFile::open(path.clone(), &Disk::default()).at("open", &path)?;
        }
        Ok(Ledger { file, known, is_new: lines.is_none() })
    }

    /// What is known of a path.
    pub fn done(&self, key: Key) -> Option<Done> {
        self.known.done.get(&key).copied()
    }

    /// Whether this file is under way.
    pub fn is_pending(&self, id: Id) -> bool {
        self.known.pending.contains_key(&id)
    }

    /// The files of which it is not known whether they stand in the topic.
    pub fn pending(&self) -> Vec<Id> {
        self.known.pending.keys().copied().collect()
    }

    /// From where on each partition may hold them; none of a partition that nothing is known of.
    pub fn floor(&self) -> &BTreeMap<i32, i64> {
        &self.known.floor
    }

    /// When it was written to last.
    pub fn written(&self) -> std::io::Result<std::time::SystemTime> {
        fs::metadata(self.file.path())?.modified()
    }

    /// Where the partitions end, before anything is sent.
    pub fn ends(&mut self, ends: impl IntoIterator<Item = (i32, i64)>) -> Result<(), OutputError> {
        self.note(ends.into_iter().map(|(partition, offset)| Line::End { partition, offset }))
    }

    /// These will be sent: durable when this returns.
    pub fn sending(&mut self, files: impl IntoIterator<Item = Sending>) -> Result<(), OutputError> {
        self.note(files.into_iter().map(Line::Sending))?;
        self.file.sync().at("sync", self.file.path())
    }

    /// One was acknowledged, or found in the topic. Gives what it was.
    pub fn sent(&mut self, id: Id, partition: i32, offset: i64) -> Result<Option<Sending>, OutputError> {
        let sending = self.known.pending.get(&id).cloned();
        self.note([Line::Sent { id, partition, offset }])?;
        Ok(sending)
    }

    /// One will not be sent, or is not in the topic. Gives what it was.
    pub fn given_up(&mut self, id: Id) -> Result<Option<Sending>, OutputError> {
        let sending = self.known.pending.get(&id).cloned();
        self.note([Line::GivenUp(id)])?;
        Ok(sending)
    }

    /// The same bytes have another time, or another program has sent them.
    pub fn note_done(&mut self, files: impl IntoIterator<Item = Sending>) -> Result<(), OutputError> {
        self.note(files.into_iter().map(Line::Done))
    }

    /// A file that was sent was moved or deleted: another of its name is another file.
    pub fn gone(&mut self, key: Key) -> Result<(), OutputError> {
        self.note([Line::Gone(key)])
    }

    fn note(&mut self, lines: impl IntoIterator<Item = Line>) -> Result<(), OutputError> {
        let mut text = String::new();
        let lines: Vec<Line> = lines.into_iter().inspect(|line| text.push_str(&line.text())).collect();
        if !lines.is_empty() {
            self.file.append(&[text.as_bytes()])?;
        }
        lines.into_iter().for_each(|line| self.known.take(line));
        Ok(())
    }
}

/// Gives every line of a ledger.
fn read(path: &Path, mut take: impl FnMut(Line)) -> Result<(), OutputError> {
    lines::read(path, |line| Line::parse(line).map(&mut take).is_some()).map(drop)
}

/// Writes what counts to a new file, which takes the old one's place.
fn write_anew(folder: &Path, known: &Known) -> Result<(), OutputError> {
    let (old, new) = (folder.join(FILE), folder.join(FRESH));
    let mut file = std::io::BufWriter::new(File::create(&new).at("make", &new)?);
    let mut failed = None;
    let mut put = |line: Line| {
        if failed.is_none() {
            failed = file.write_all(line.text().as_bytes()).err();
        }
    };
    let mut left = known.done.clone();
    read(&old, |line| {
        // Paths are not kept in memory. Of several lines of one path, any that says what is known of it now will do.
        if let Line::Sending(file) | Line::Done(file) = line {
            let (key, mut said) = (key(&file.path), Known::default());
            said.done(&file);
            if left.get(&key) == said.done.get(&key) {
                left.remove(&key);
                put(Line::Done(file));
            }
        }
    })?;
    let end = |(partition, offset): (&i32, &i64)| Line::End { partition: *partition, offset: *offset };
    known.floor.iter().map(end).for_each(&mut put);
    known.pending.values().cloned().map(Line::Sending).for_each(&mut put);
    known.ends.iter().map(end).for_each(&mut put);
    failed.map_or(Ok(()), Err).at("write", &new)?;
    let file = file.into_inner().map_err(|e| e.into_error()).at("write", &new)?;
    file.sync_all().at("sync", &new)?;
    fs::rename(&new, &old).at("rename", &new)?;
    sync_directory(folder)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One step of a life.
    #[derive(Clone, Debug)]
    enum Step {
        Ends(i32, i64),
        Sending(u8, u64),
        Sent(u8, u64, i32),
        GivenUp(u8, u64),
        Done(u8, u64),
        Gone(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3i32, 0..100i64).prop_map(|(p, o)| Step::Ends(p, o)),
            (any::<u8>(), 0..3u64).prop_map(|(f, s)| Step::Sending(f, s)),
            (any::<u8>(), 0..3u64, 0..3i32).prop_map(|(f, s, p)| Step::Sent(f, s, p)),
            (any::<u8>(), 0..3u64).prop_map(|(f, s)| Step::GivenUp(f, s)),
            (any::<u8>(), 0..3u64).prop_map(|(f, s)| Step::Done(f, s)),
            any::<u8>().prop_map(Step::Gone),
        ]
    }

    /// Odd names: spaces, per cent signs, line feeds, no UTF-8.
    fn path(n: u8) -> PathBuf {
        let name = [&b"a b/"[..], &[n], b"%20\n\xff.png"].concat();
        PathBuf::from(std::ffi::OsStr::from_bytes(&name))
    }

    fn file(n: u8, stamp: u64) -> Sending {
        let path = path(n % 8);
        Sending { id: id(&path, &stamp.to_le_bytes()), stamp, path }
    }

    fn live(ledger: &mut Ledger, step: &Step, at: i64) {
        let done = match step {
            Step::Ends(partition, offset) => ledger.ends([(*partition, *offset)]),
            Step::Sending(n, stamp) => ledger.sending([file(*n, *stamp)]),
            Step::Sent(n, stamp, partition) => ledger.sent(file(*n, *stamp).id, *partition, at).map(drop),
            Step::GivenUp(n, stamp) => ledger.given_up(file(*n, *stamp).id).map(drop),
            Step::Done(n, stamp) => ledger.note_done([file(*n, *stamp)]),
            Step::Gone(n) => ledger.gone(key(&path(n % 8))),
        };
        done.expect("written");
    }

    proptest! {
        /// A crash at any byte, with or without rubbish behind it: what stood there in whole lines is known, and the ledger goes on.
        #[test]
        fn a_crash_at_any_byte_loses_the_torn_line_alone(
            steps in prop::collection::vec(step(), 1..40), cut in any::<prop::sample::Index>(),
            rubbish in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            let mut states = vec![(0, Known::default())];
            let mut ledger = Ledger::open(dir.path()).expect("begun");
            for (at, step) in steps.iter().enumerate() {
                live(&mut ledger, step, at as i64);
                states.push((ledger.file.length(), ledger.known.clone()));
            }
            drop(ledger);
            let path = dir.path().join(FILE);
            let whole = fs::read(&path).expect("there");
            let cut = cut.index(whole.len() + 1);
            // A line feed right behind the cut could make the line whole.
            let rubbish = [&b"x"[..usize::from(!rubbish.is_empty())], &rubbish].concat();
            fs::write(&path, [&whole[..cut], &rubbish].concat()).expect("written");
            let expected = &states.iter().rfind(|(length, _)| *length <= cut as u64).expect("the first").1;
            let mut ledger = Ledger::open(dir.path()).expect("opened");
            prop_assert_eq!(&ledger.known, expected);
            live(&mut ledger, &Step::Done(1, 2), 0);
            let known = ledger.known.clone();
            drop(ledger);
            prop_assert_eq!(&Ledger::open(dir.path()).expect("opened").known, &known);
        }

        #[test]
        fn written_anew_it_says_the_same(steps in prop::collection::vec(step(), 1..60)) {
            let dir = tempfile::tempdir().expect("a directory");
            let mut ledger = Ledger::open(dir.path()).expect("begun");
            steps.iter().enumerate().for_each(|(at, step)| live(&mut ledger, step, at as i64));
            let mut known = ledger.known.clone();
            if known.pending.is_empty() {
                known.floor.clear();
            }
            write_anew(dir.path(), &known).expect("written");
            let mut read = Ledger::open(dir.path()).expect("opened").known;
            if read.pending.is_empty() {
                read.floor.clear();
            }
            prop_assert_eq!(read, known);
        }
    }

    #[test]
    fn whether_a_file_is_the_same_is_its_path_and_its_bytes() {
        let (a, b) = (Path::new("a.png"), Path::new("b.png"));
        assert_eq!(id(a, b"1"), id(a, b"1"));
        assert_ne!(id(a, b"1"), id(a, b"2"));
        assert_ne!(id(a, b"1"), id(b, b"1"));
        assert_ne!(id(Path::new("a"), b"b\0c"), id(Path::new("a\u{1}b"), b"c"));
        let done = Done { stamp: 1, content: Some(half(id(a, b"1"))) };
        assert!(done.is(id(a, b"1")) && !done.is(id(a, b"2")));
    }
}
