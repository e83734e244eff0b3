//! What a sink remembers of itself beside its output: which topics it has read, and from where. See
//! [`edgereel_kafka::consumer::earlier`].

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use edgereel_crds::status::Reason;
use edgereel_kafka::consumer::{
    Begun,
    earlier::{Earlier, Since},
};
use jiff::Timestamp;

use crate::sink::{
    disk::{AppendFile, Disk},
    fault::OutputError,
    output::At,
    private_dir::sync_directory,
};

/// The file in the sink's folder.
pub const FILE: &str = "topics.json";

/// The file, and what it says.
pub struct Memory {
    path: PathBuf,
    own: Earlier,
    /// What all workers of the sink knew at the start, and this one has noted since.
    known: Arc<Mutex<Earlier>>,
}

impl Memory {
    /// Reads what this worker noted in its `folder`, nothing if it never did, and what its sink's other workers did, whose
    /// folders stand in and below `sink`. `has_written`: the folder shows an earlier life, whether or not it was noted.
    pub fn open(folder: &Path, sink: &Path, has_written: bool) -> Result<Self, OutputError> {
        let path = folder.join(FILE);
        let own = read(&path)?;
        let mut known = own.clone();
        for other in everyones(sink)? {
            known.absorb(other);
        }
        known.unnamed = has_written && known.topics.is_empty();
        Ok(Memory { path, own, known: Arc::new(Mutex::new(known)) })
    }

    /// What is known, now and later.
    pub fn known(&self) -> Arc<Mutex<Earlier>> {
        self.known.clone()
    }

    /// Notes, durably, where the reading of these partitions began: now, the output being in this state. Nothing is written
    /// when it is known.
    pub fn note(&mut self, begun: &[Begun], output: &str) -> Result<(), OutputError> {
        let now = Since { at: Timestamp::now(), output: output.into() };
        self.change(|earlier| earlier.note(begun, &now))
    }

    /// Notes, durably, that these topics are not there yet.
    pub fn note_missing(&mut self, topics: &[String]) -> Result<(), OutputError> {
        self.change(|earlier| earlier.note_missing(topics))
    }

    fn change(&mut self, change: impl Fn(&mut Earlier)) -> Result<(), OutputError> {
        let mut next = self.own.clone();
        change(&mut next);
        if next != self.own {
            write(&self.path, &next)?;
            self.own = next;
        }
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// What all workers of a sink remember; `sink` is its folder.
pub fn everyones(sink: &Path) -> Result<Vec<Earlier>, OutputError> {
    let mut all = vec![read(&sink.join(FILE))?];
    let entries = match fs::read_dir(sink) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(all),
        entries => entries.at("read", sink)?,
    };
    for entry in entries {
        let path = entry.at("read", sink)?.path();
        if path.is_dir() {
            all.push(read(&path.join(FILE))?);
        }
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Earlier, OutputError> {
    let text = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Earlier::default()),
        text => text.at("read", path)?,
    };
    serde_json::from_slice(&text).map_err(|e| {
        let message = format!(
            "{} is damaged ({e}): it says which topics this sink has read; put it back, or remove it to begin as if for the \
             first time",
            path.display()
        );
        OutputError::storage(Reason::StorageError, message)
    })
}

/// Replaces the file: after a crash it is the old one or the new one.
fn write(path: &Path, earlier: &Earlier) -> Result<(), OutputError> {
    let text =
        serde_json::to_vec_pretty(earlier).map_err(|e| OutputError::storage(Reason::InternalError, e.to_string()))?;
    let new = path.with_extension("new");
    let disk = Disk::default();
    disk.remove(&new)?;
    let mut file = AppendFile::create(new.clone(), &disk).at("create", &new)?;
    file.append(&[&text])?;
    file.sync().at("sync", &new)?;
    fs::rename(&new, path).at("write", path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

#[cfg(test)]
mod tests {
    use edgereel_kafka::consumer::{
        Assigned, TopicPartition,
        mark::{Mark, TopicId},
    };

    use super::*;

    fn begun(topic: &str, partition: i32, start: i64, id: &str) -> Begun {
        let source = TopicPartition { topic: topic.into(), partition };
        let mark = Mark { id: Some(TopicId::new(id)), first: Some(3) };
        Begun { assigned: Assigned { source, committed: None }, start, high: start, lost: 0, mark, marked: false }
    }

    fn known(folder: &Path, sink: &Path) -> Earlier {
        Memory::open(folder, sink, false).unwrap().known().lock().unwrap().clone()
    }

    #[test]
    fn what_was_noted_is_there_after_a_restart_and_the_first_beginning_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), dir.path(), false).unwrap();
        assert_eq!(*memory.known().lock().unwrap(), Earlier::default());
        memory.note(&[begun("gate", 0, 5, "a"), begun("gate", 1, 7, "a")], "").unwrap();
        memory.note(&[begun("gate", 0, 500, "a")], "").unwrap();
        let earlier = known(dir.path(), dir.path());
        assert_eq!(*memory.known().lock().unwrap(), earlier, "and without one");
        let gate = earlier.topic("gate").unwrap();
        assert_eq!(gate.began, [(0, 5), (1, 7)].into());
        assert_eq!((gate.id.clone(), gate.first), (Some(TopicId::new("a")), Some(3)));
    }

    #[test]
    fn a_topic_made_anew_has_no_past() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), dir.path(), false).unwrap();
        memory.note(&[begun("gate", 0, 5, "a"), begun("gate", 1, 7, "a")], "").unwrap();
        assert_eq!(known(dir.path(), dir.path()).topic("gate").unwrap().former, None);
        memory.note(&[begun("gate", 0, 0, "b")], "a state").unwrap();
        memory.note(&[begun("gate", 0, 3, "b"), begun("gate", 1, 4, "b")], "a later state").unwrap();
        let earlier = known(dir.path(), dir.path());
        let gate = earlier.topic("gate").unwrap();
        assert_eq!(gate.began, [(0, 0), (1, 4)].into());
        // What was written until then is the former's.
        assert_eq!(gate.former, Some(TopicId::new("a")));
        assert_eq!(gate.since.as_ref().unwrap().output, "a state");
    }

    #[test]
    fn an_offset_of_this_sinks_own_tells_of_a_beginning_that_this_folder_does_not_know() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), dir.path(), false).unwrap();
        let committed = Begun { marked: true, ..begun("gate", 1, 7, "a") };
        memory.note(&[begun("gate", 0, 5, "a"), committed], "").unwrap();
        memory.note(&[Begun { marked: true, ..begun("gate", 0, 9, "a") }], "").unwrap();
        let earlier = known(dir.path(), dir.path());
        assert_eq!(earlier.topic("gate").unwrap().taken_over, [1].into());
    }

    #[test]
    fn the_workers_of_a_sink_know_of_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("replica-1");
        fs::create_dir(&other).unwrap();
        Memory::open(dir.path(), dir.path(), false).unwrap().note(&[begun("gate", 0, 5, "a")], "").unwrap();
        let mut second = Memory::open(&other, dir.path(), false).unwrap();
        second.note(&[begun("gate", 1, 7, "a"), begun("gate", 0, 2, "a")], "").unwrap();
        assert_eq!(known(&other, dir.path()).topic("gate").unwrap().began, [(0, 2), (1, 7)].into());
    }

    #[test]
    fn a_damaged_file_is_named_and_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{").unwrap();
        let error = Memory::open(dir.path(), dir.path(), false).err().unwrap();
        assert!(error.to_string().contains("topics.json is damaged"), "{error}");
    }
}
