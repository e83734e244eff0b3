//! Sinks that share a volume delete by turns: whose frame is the oldest is first.
//!
//! Each sink at work that deletes where room is short leaves the time of its oldest frame in a file of its own in
//! `.edgereel/retention` at the volume's root, and holds its lock. So the sinks of several processes find each other by the volume
//! itself, and one that has ended is waited for by nobody.

use std::{
    fs::{self, File, TryLockError},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use edgereel_crds::name::ObjectName;

use crate::sink::{
    fault::OutputError,
    output::At,
    private_dir::{FOLDER, lock_soon},
};

/// The folder of all sinks of a volume.
const FOLDER_OF_ALL: &str = "retention";

/// A sink's own file.
pub struct Turns {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    told: Option<i64>,
}

impl Turns {
    /// Takes part below the root of a volume.
    pub fn join(root: &Path, sink: &ObjectName, replica: u32) -> Result<Self, OutputError> {
        let folder = root.join(FOLDER).join(FOLDER_OF_ALL);
        fs::create_dir_all(&folder).at("make", &folder)?;
        let path = folder.join(format!("{}.{}-{replica}", sink.namespace, sink.name));
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).at("open", &path)?;
        match lock_soon(&file) {
            // The folder of the sink itself is locked: who has this one is about to end.
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(OutputError::from_io("lock", &path, &e)),
        }
        Ok(Turns { folder, path, file, told: None })
    }

    /// Says how old its oldest frame is, in seconds since 1970; nothing where it has none.
    pub fn tell(&mut self, oldest: Option<i64>) -> Result<(), OutputError> {
        if oldest != self.told {
            let text = oldest.map_or_else(|| "-".to_owned(), |time| time.to_string());
            // Of one length: a full disk must not keep it from being said.
            self.file.write_all_at(format!("{text:<20}\n").as_bytes(), 0).at("write", &self.path)?;
            self.told = oldest;
        }
        Ok(())
    }

    /// The oldest frame of the others at work.
    pub fn others(&self) -> Option<i64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| *path != self.path).filter_map(|path| oldest_of(&path)).min()
    }
}

/// What a sink at work says; of one that has ended, nothing.
fn oldest_of(path: &Path) -> Option<i64> {
    let file = File::open(path).ok()?;
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(root: &Path, name: &str) -> Turns {
        Turns::join(root, &ObjectName { namespace: "lab".into(), name: name.into() }, 0).expect("joined")
    }

    #[test]
    fn the_oldest_of_the_others_at_work_is_known_and_whoever_ended_is_waited_for_by_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| join(dir.path(), name));
        assert_eq!(a.others(), None);
        b.tell(Some(1_700_000_000)).expect("told");
        c.tell(Some(1_600_000_000)).expect("told");
        a.tell(Some(5)).expect("told");
        assert_eq!((a.others(), b.others(), c.others()), (Some(1_600_000_000), Some(5), Some(5)));
        c.tell(None).expect("told");
        assert_eq!(a.others(), Some(1_700_000_000));
        drop(b);
        assert_eq!(a.others(), None);
        join(dir.path(), "b").tell(Some(7)).expect("told");
    }
}
