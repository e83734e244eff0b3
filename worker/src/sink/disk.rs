//! The way to the disk: every call of an output that changes it goes through here, so that a test can make any of them
//! fail, or end the world in the middle of one.
//!
//! - [`Disk`] makes the calls; [`Faults`] is what a test puts between.
//! - [`AppendFile`] is a file that grows at its end, for videos and logs.
//! - [`sync_group`] makes one sync of a file system do for all sinks that wait for it.

mod append;
#[cfg(test)]
pub mod faults;
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
};

pub use self::append::AppendFile;
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
#[derive(Clone, Default)]
pub struct Disk {
    faults: Option<Arc<dyn Faults>>,
}

impl Disk {
    /// A disk that fails where `faults` says.
    #[cfg(test)]
    pub fn failing(faults: Arc<dyn Faults>) -> Self {
        Disk { faults: Some(faults) }
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

    /// Creates a file of this plain name in an open directory, or empties it. A symbolic link is not followed.
    pub fn create(&self, directory: &File, name: &str) -> io::Result<File> {
        self.allow(Call::Create)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd: OwnedFd = openat(directory, name, flags, Mode::from_bits_truncate(0o644))?;
        Ok(fd.into())
    }

    /// Writes all bytes. After an error some of them may stand there.
    pub fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let (admitted, failure) = self.admit(Call::Append(bytes.len()), bytes.len());
        file.write_all(&bytes[..admitted]).and(failure)
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

    /// Makes everything on the file system durable that was written before this call.
    pub fn sync_file_system(&self, directory: &File) -> io::Result<()> {
        self.allow(Call::SyncFileSystem)?;
        sync_group::sync(directory)
    }
}
