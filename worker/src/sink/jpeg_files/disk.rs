//! The calls that write a frame, behind a trait: the places where a test lets a disk fill up or a machine die.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
};

use nix::{
    fcntl::{OFlag, openat, renameat},
    sys::stat::Mode,
};

use super::sync_group;

/// What the output asks of the disk. Names are plain, below an open directory.
pub trait Disk: Send + Sync {
    /// Creates a file, or empties it.
    fn create(&self, directory: &File, name: &str) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd: OwnedFd = openat(directory, name, flags, Mode::from_bits_truncate(0o644))?;
        Ok(fd.into())
    }

    /// Writes all bytes.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Renames a file, replacing what has the name.
    fn rename(&self, from: &File, from_name: &str, to: &File, to_name: &str) -> io::Result<()> {
        Ok(renameat(from, from_name, to, to_name)?)
    }

    /// Makes a file's bytes, or a directory's names, durable.
    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Makes everything on the file system durable that was written before this call.
    fn sync_file_system(&self, directory: &File) -> io::Result<()> {
        sync_group::sync(directory)
    }
}

/// The disk.
#[derive(Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {}
