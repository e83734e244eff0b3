//! A sink's own folder beside its output, and the lock that keeps a second process out of it.
//!
//! It stands at `<directory>/.edgereel/<namespace>.<name>/`, on the file system of the output, so that a rename out of it
//! is atomic and a disk that is carried to another machine takes it along. A namespace has no dot, so two sinks never
//! share a folder.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use edgereel_crds::{name::ObjectName, status::Reason};

use super::{disk::standing::Standing, fault::OutputError, output::At};

/// The folder beside an output that holds what is not output.
pub const FOLDER: &str = ".edgereel";
/// The lock in it, and in each sink's own.
pub(super) const LOCK: &str = "lock";

/// A sink's own folder. The lock is held until it is dropped (or the process ends, however it ends).
#[derive(Debug)]
pub struct PrivateDir {
    standing: Standing,
    /// Only kept open: the lock lives as long as the open file.
    _lock: File,
}

impl PrivateDir {
    /// Makes the folder below `directory` (which has to be there) for this worker of the sink, and locks it.
    ///
    /// # Errors
    /// [`Reason::StorageLocked`] with the holder's process id when another process (or another output of this one) has
    /// it; the usual storage faults otherwise.
    pub fn open(directory: &Path, sink: &ObjectName, replica: u32) -> Result<Self, OutputError> {
        let mut below = place(sink)?;
        if replica > 0 {
            below.push(format!("replica-{replica}"));
        }
        let held = |holder: &str| {
            format!(
                "{} is being written by {holder} for sink {sink}: stop that one, or give this sink another directory",
                directory.display()
            )
        };
        Self::open_at(directory, &below, held)
    }

    /// Makes the folder of a camera that reads files, `below` a directory that has to be there, and locks it.
    ///
    /// # Errors
    /// As [`PrivateDir::open`].
    pub fn of_camera(directory: &Path, camera: &ObjectName) -> Result<Self, OutputError> {
        let held = |holder: &str| {
            format!("{} is being read by {holder} for camera {camera}: stop that one", directory.display())
        };
        Self::open_at(directory, &place_of_camera(camera)?, held)
    }

    fn open_at(directory: &Path, below: &Path, held: impl FnOnce(&str) -> String) -> Result<Self, OutputError> {
        let path = make_directory(directory, below)?;
        let lock_path = path.join(LOCK);
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock_path)
            .at("open", &lock_path)?;
        match lock_soon(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: a holder that has not written its number yet is no other fault.
                let _ = lock.take(32).read_to_string(&mut holder);
                let holder =
                    holder.trim().parse::<u32>().map_or("another process".into(), |pid| format!("process {pid}"));
                return Err(OutputError::storage(Reason::StorageLocked, held(&holder)));
            }
            Err(TryLockError::Error(e)) => return Err(OutputError::from_io("lock", &lock_path, &e)),
        }
        // A full disk must not keep the sink from starting (it has to say that the disk is full and wait): the number is
        // only for the message above.
        let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(PrivateDir { standing: Standing::open(&path)?, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.standing.path()
    }

    /// It, open. It goes with the output's directory: where it stands no more, another process may have the lock.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// How long a lock that another holds is asked for again. One that is held for long belongs to a living writer; one that is
/// held for a moment to a worker that is just ending, or to a child process between its fork and its exec.
const LOCK_PATIENCE: (u32, Duration) = (50, Duration::from_millis(10));

pub(super) fn lock_soon(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_PATIENCE.0 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PATIENCE.1),
            settled => return settled,
        }
    }
    file.try_lock()
}

/// Where a sink's folder (its first worker's) stands below the output's directory.
pub fn place(sink: &ObjectName) -> Result<PathBuf, OutputError> {
    Ok(Path::new(FOLDER).join(folder_name(sink)?))
}

/// Where the folder of a camera that reads files stands. No sink's is called so: those have a dot.
pub fn place_of_camera(camera: &ObjectName) -> Result<PathBuf, OutputError> {
    Ok(Path::new(FOLDER).join("cameras").join(folder_name(camera)?))
}

/// The folder's name. Names were checked with the resource; this is the last door before the file system.
fn folder_name(sink: &ObjectName) -> Result<String, OutputError> {
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    };
    if plain(&sink.namespace) && plain(&sink.name) && !sink.namespace.contains('.') {
        return Ok(format!("{}.{}", sink.namespace, sink.name));
    }
    let message = format!("{sink} cannot name a folder: use letters, digits and dashes in its name");
    Err(OutputError::storage(Reason::InvalidConfiguration, message))
}

/// Makes `below` below `root`, with every directory between, durably; gives its path.
///
/// `root` has to be there: a missing one is a disk that is not mounted, and writing into the mount point instead would
/// fill the system's disk. `below` must not lead out: no `..`, nothing absolute.
pub fn make_directory(root: &Path, below: &Path) -> Result<PathBuf, OutputError> {
    let found = fs::metadata(root).at("find", root)?;
    if !found.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(OutputError::from_io("use", root, &error));
    }
    let mut path = root.to_path_buf();
    for component in below.components() {
        let name = match component {
            Component::CurDir => continue,
            Component::Normal(name) => name,
            _ => {
                let message = format!(
                    "the directory `{}` leads out of {}: write it without `..`",
                    below.display(),
                    root.display()
                );
                return Err(OutputError::storage(Reason::InvalidConfiguration, message));
            }
        };
        let parent = path.clone();
        path.push(name);
        if path.is_dir() {
            continue;
        }
        // Opened before it changes: what is lost is told to those who were there.
        let parent = Standing::open(&parent)?;
        match fs::create_dir(&path) {
            Ok(()) => parent.file().sync_all().at("sync", parent.path())?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(OutputError::from_io("make", &path, &io::ErrorKind::NotADirectory.into()));
            }
            Err(e) => return Err(OutputError::from_io("make", &path, &e)),
        }
    }
    Ok(path)
}

/// Makes the directories on the way from `root` to `directory` durable. They are there, but whoever made them may have died
/// before they were. One that this user may not read was not made by a worker.
pub fn sync_way(root: &Path, directory: &Path) -> Result<(), OutputError> {
    for parent in directory.ancestors().skip(1).take_while(|parent| parent.starts_with(root)) {
        match File::open(parent) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            opened => opened.and_then(|parent| parent.sync_all()).at("sync", parent)?,
        }
    }
    Ok(())
}

/// Makes the names in a directory durable: a synced file whose name is lost is lost.
pub fn sync_directory(directory: &Path) -> Result<(), OutputError> {
    File::open(directory).and_then(|d| d.sync_all()).at("sync", directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(name: &str) -> ObjectName {
        ObjectName { namespace: "lab".into(), name: name.into() }
    }

    #[test]
    fn a_second_writer_is_told_who_the_first_is_and_gets_in_when_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = PrivateDir::open(dir.path(), &sink("gate"), 0).unwrap();
        assert!(first.path().ends_with(".edgereel/lab.gate"));
        let error = PrivateDir::open(dir.path(), &sink("gate"), 0).unwrap_err();
        assert!(matches!(error, OutputError::Storage { reason: Reason::StorageLocked, .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("process {} ", std::process::id())), "{error}");
        PrivateDir::open(dir.path(), &sink("gate"), 1).unwrap();
        PrivateDir::open(dir.path(), &sink("other"), 0).unwrap();
        drop(first);
        PrivateDir::open(dir.path(), &sink("gate"), 0).unwrap();
    }

    #[test]
    fn a_writer_that_is_just_ending_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = PrivateDir::open(dir.path(), &sink("gate"), 0).unwrap();
        let next = std::thread::scope(|scope| {
            let next = scope.spawn(|| PrivateDir::open(dir.path(), &sink("gate"), 0));
            drop(first);
            next.join().unwrap()
        });
        next.unwrap();
    }

    #[test]
    fn a_directory_cannot_lead_out_of_the_storage() {
        let dir = tempfile::tempdir().unwrap();
        for below in ["../x", "/etc", "a/../../x"] {
            let error = make_directory(dir.path(), Path::new(below)).unwrap_err();
            assert!(error.to_string().contains("leads out"), "{below}: {error}");
        }
        assert_eq!(make_directory(dir.path(), Path::new("a b/./c")).unwrap(), dir.path().join("a b/c"));
        assert!(PrivateDir::open(dir.path(), &sink("../x"), 0).is_err());
    }

    #[test]
    fn a_missing_root_is_not_made_and_a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = make_directory(&dir.path().join("ssd"), Path::new("x")).unwrap_err();
        assert!(matches!(error, OutputError::Storage { reason: Reason::StorageMissing, .. }), "{error:?}");
        assert!(!dir.path().join("ssd").exists());
        fs::write(dir.path().join("file"), "").unwrap();
        let error = make_directory(dir.path(), Path::new("file/x")).unwrap_err();
        assert!(error.to_string().contains("move it away"), "{error}");
    }
}
