//! What a sink remembers of itself beside its output: which topics it has read, and from where. See
//! [`crate::kafka::consumer::earlier`].

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use edgereel_crds::status::Reason;

use crate::{
    kafka::consumer::{Begun, earlier::Earlier},
    sink::{
        disk::{AppendFile, Disk},
        fault::OutputError,
        output::At,
        private_dir::sync_directory,
    },
};

/// The file in the sink's folder.
pub const FILE: &str = "topics.json";

/// The file, and what it says.
pub struct Memory {
    path: PathBuf,
    own: Earlier,
}

impl Memory {
    /// Reads what this worker noted in `folder`; nothing if it never did.
    pub fn open(folder: &Path) -> Result<Self, OutputError> {
        let path = folder.join(FILE);
        let own = read(&path)?;
        Ok(Memory { path, own })
    }

    /// What this worker remembers, and its sink's other workers, whose folders stand beside each other.
    pub fn earlier(&self, sink: &Path) -> Result<Earlier, OutputError> {
        let mut all = self.own.clone();
        for other in everyones(sink)? {
            all.absorb(other);
        }
        Ok(all)
    }

    /// Notes, durably, where the reading of these partitions began. Nothing is written when it is known.
    pub fn note(&mut self, begun: &[Begun]) -> Result<(), OutputError> {
        let mut next = self.own.clone();
        for partition in begun {
            let source = &partition.assigned.source;
            let topic = next.topics.entry(source.topic.to_string()).or_default();
            if topic.id != partition.mark.id && topic.id.is_some() && partition.mark.id.is_some() {
                // Another topic of that name: nothing of the former one holds for it.
                *topic = Default::default();
            }
            topic.id = partition.mark.id.clone().or(topic.id.take());
            topic.first = partition.mark.first;
            topic.began.entry(source.partition).or_insert(partition.start);
        }
        if next != self.own {
            write(&self.path, &next)?;
            self.own = next;
        }
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
    use super::*;
    use crate::kafka::consumer::{
        Assigned, TopicPartition,
        mark::{Mark, TopicId},
    };

    fn begun(topic: &str, partition: i32, start: i64, id: &str) -> Begun {
        let source = TopicPartition { topic: topic.into(), partition };
        let mark = Mark { id: Some(TopicId::new(id)), first: Some(3) };
        Begun { assigned: Assigned { source, committed: None }, start, high: start, lost: 0, mark, marked: false }
    }

    #[test]
    fn what_was_noted_is_there_after_a_restart_and_the_first_beginning_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path()).unwrap();
        assert_eq!(memory.earlier(dir.path()).unwrap(), Earlier::default());
        memory.note(&[begun("gate", 0, 5, "a"), begun("gate", 1, 7, "a")]).unwrap();
        memory.note(&[begun("gate", 0, 500, "a")]).unwrap();
        let earlier = Memory::open(dir.path()).unwrap().earlier(dir.path()).unwrap();
        let gate = earlier.topic("gate").unwrap();
        assert_eq!(gate.began, [(0, 5), (1, 7)].into());
        assert_eq!((gate.id.clone(), gate.first), (Some(TopicId::new("a")), Some(3)));
    }

    #[test]
    fn a_topic_made_anew_has_no_past() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path()).unwrap();
        memory.note(&[begun("gate", 0, 5, "a"), begun("gate", 1, 7, "a")]).unwrap();
        memory.note(&[begun("gate", 0, 0, "b")]).unwrap();
        let earlier = memory.earlier(dir.path()).unwrap();
        assert_eq!(earlier.topic("gate").unwrap().began, [(0, 0)].into());
    }

    #[test]
    fn the_workers_of_a_sink_know_of_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("replica-1");
        fs::create_dir(&other).unwrap();
        Memory::open(dir.path()).unwrap().note(&[begun("gate", 0, 5, "a")]).unwrap();
        Memory::open(&other).unwrap().note(&[begun("gate", 1, 7, "a"), begun("gate", 0, 2, "a")]).unwrap();
        let earlier = Memory::open(&other).unwrap().earlier(dir.path()).unwrap();
        assert_eq!(earlier.topic("gate").unwrap().began, [(0, 2), (1, 7)].into());
    }

    #[test]
    fn a_damaged_file_is_named_and_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{").unwrap();
        let error = Memory::open(dir.path()).err().unwrap();
        assert!(error.to_string().contains("topics.json is damaged"), "{error}");
    }
}
