//! The way to the disk: every call of an output that changes it goes through here, so that a test can make any of them
//! fail, or end the world in the middle of one.
//!
//! - [`Disk`] makes the calls; [`Faults`] is what a test puts between.
//! - [`AppendFile`] is a file that grows at its end, for videos and logs.
//! - [`sync_group`] makes one sync of a file system do for all sinks that wait for it.
//! - [`rename_new`] gives a file a name that no file has; [`standing`] tells whether a path leads where it led.

mod append;
#[cfg(test)]
pub mod faults;
pub mod rename_new;
pub mod standing;
mod sync_group;

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};

use nix::{
    fcntl::{OFlag, openat, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

use self::sync_group::SyncGroups;
pub use self::{append::AppendFile, sync_group::Participant};
use super::fault::OutputError;

/// A call that changes the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Bytes at the end of a file.
    Append(usize),
    /// Bytes in place.
    Patch(usize),
    /// A new file.
    Create,
    /// A file gets another name.
    Rename,
    /// A file goes.
    Remove,
    /// A file's end goes.
    Cut,
    /// A file's bytes, or a directory's names, become durable.
    Sync,
    /// All that was written to the file system becomes durable.
    SyncFileSystem,
}

/// What a test lets happen to a call.
pub trait Faults: Send + Sync {
    /// `Err((n, error))`: only the first `n` bytes are written, then the call fails.
    fn check(&self, call: Call) -> Result<(), (usize, io::Error)>;
}

/// The way to the disk. All clones meet the same faults.
#[derive(Clone)]
pub struct Disk {
    faults: Option<Arc<dyn Faults>>,
    groups: SyncGroups,
}

impl Default for Disk {
    fn default() -> Self {
        Disk { faults: None, groups: SyncGroups::of_the_process() }
    }
}

impl Disk {
    /// A disk that fails where `faults` says; its failures concern nobody but its clones.
    #[cfg(test)]
    pub fn failing(faults: Arc<dyn Faults>) -> Self {
        Disk { faults: Some(faults), groups: SyncGroups::default() }
    }

    /// Whether a call may be made.
    fn allow(&self, call: Call) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.check(call)).map_err(|(_, error)| error)
    }

    /// How many of `length` bytes a call may write, and what it has to return then.
    fn admit(&self, call: Call, length: usize) -> (usize, io::Result<()>) {
        match self.faults.as_ref().map_or(Ok(()), |faults| faults.check(call)) {
            Ok(()) => (length, Ok(())),
            Err((admitted, error)) => (admitted.min(length), Err(error)),
        }
    }

    /// Creates a file of this plain name in an open directory. One that has the name loses it and keeps its bytes: it may
    /// have another name, too.
    pub fn create(&self, directory: &File, name: &str) -> io::Result<File> {
        self.allow(Call::Create)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let create = || openat(directory, name, flags, Mode::from_bits_truncate(0o644));
        let fd: OwnedFd = match create() {
            Err(nix::Error::EEXIST) => unlinkat(directory, name, UnlinkatFlags::NoRemoveDir).and_then(|()| create())?,
            created => created?,
        };
        Ok(fd.into())
    }

    /// Writes all bytes. After an error some of them may stand there.
    pub fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let (admitted, failure) = self.admit(Call::Append(bytes.len()), bytes.len());
        file.write_all(&bytes[..admitted]).and(failure)
    }

    /// Renames a file from one open directory to another under a name that no file has. Names are plain.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the name is taken: nothing has changed then.
    pub fn rename_new(&self, from: &File, from_name: &str, to: &File, to_name: &str) -> io::Result<()> {
        self.allow(Call::Rename)?;
        rename_new::rename_new(from, from_name, to, to_name)
    }

    /// Renames a file from one open directory to another, replacing what has the name. Names are plain.
    pub fn rename(&self, from: &File, from_name: &str, to: &File, to_name: &str) -> io::Result<()> {
        self.allow(Call::Rename)?;
        Ok(renameat(from, from_name, to, to_name)?)
    }

    /// Removes a file; that it is gone already is fine.
    pub fn remove(&self, path: &Path) -> Result<(), OutputError> {
        match self.allow(Call::Remove).and_then(|()| fs::remove_file(path)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(OutputError::from_io("remove", path, &e)),
            _ => Ok(()),
        }
    }

    /// Makes a file's bytes, or a directory's names, durable.
    pub fn sync(&self, file: &File) -> io::Result<()> {
        self.allow(Call::Sync)?;
        file.sync_data()
    }

    /// Takes part in the syncs of a directory's file system. To be called before the first write.
    pub fn join(&self, directory: &File) -> io::Result<Participant> {
        self.groups.join(directory)
    }

    /// Makes everything on the file system durable that was written before this call.
    pub fn sync_file_system(&self, participant: &Participant) -> io::Result<()> {
        participant.sync(|| self.allow(Call::SyncFileSystem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_made_anew_takes_nothing_from_one_that_had_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = File::open(dir.path()).expect("open");
        let disk = Disk::default();
        let mut file = disk.create(&at, "incoming").expect("made");
        disk.write(&mut file, b"a picture").expect("written");
        // As a crash leaves it between the two steps of a rename on file systems that need two.
        fs::hard_link(dir.path().join("incoming"), dir.path().join("published")).expect("linked");
        disk.create(&at, "incoming").expect("made anew");
        assert_eq!(fs::read(dir.path().join("published")).expect("there"), b"a picture");
    }
}
