//! Files that grow at their end, where a failed append leaves nothing behind.
//!
//! Every call that changes the disk goes through [`Disk`], so that a test can make any of them fail, or end the world in
//! the middle of one.

use std::{
    fs::{self, File},
    io::{self, IoSlice, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::sink::{fault::OutputError, output::At};

/// A call that changes the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Bytes at the end of a file.
    Append(usize),
    /// Bytes in place.
    Patch(usize),
    /// A new file.
    Create,
    /// A file goes.
    Remove,
    /// A file's end goes.
    Cut,
}

/// What a test lets happen to a call.
pub trait Faults: Send + Sync {
    /// `Err((n, error))`: only the first `n` bytes are written, then the call fails.
    fn check(&self, call: Call) -> Result<(), (usize, io::Error)>;
}

/// The way to the disk.
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

    fn check(&self, call: Call) -> Result<(), (usize, io::Error)> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.check(call))
    }

    fn check_whole(&self, call: Call) -> io::Result<()> {
        self.check(call).map_err(|(_, error)| error)
    }

    /// Removes a file; that it is gone already is fine.
    pub fn remove(&self, path: &Path) -> Result<(), OutputError> {
        match self.check_whole(Call::Remove).and_then(|()| fs::remove_file(path)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(OutputError::from_io("remove", path, &e)),
            _ => Ok(()),
        }
    }
}

/// A file that grows at its end.
pub struct AppendFile {
    path: PathBuf,
    /// Shared with the thread that syncs it.
    file: Arc<File>,
    len: u64,
    disk: Disk,
}

impl AppendFile {
    /// Makes a file that must not be there yet; the inner error says whether it was.
    pub fn create(path: PathBuf, disk: &Disk) -> io::Result<Self> {
        disk.check_whole(Call::Create)?;
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(AppendFile { path, file: Arc::new(file), len: 0, disk: disk.clone() })
    }

    /// Opens a file that is there.
    pub fn open(path: PathBuf, disk: &Disk) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).open(&path)?;
        let len = file.seek(SeekFrom::End(0))?;
        Ok(AppendFile { path, file: Arc::new(file), len, disk: disk.clone() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.len
    }

    /// The open file, for syncing and reading.
    pub fn shared(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Appends the parts one after another with one system call where the disk lets us.
    ///
    /// # Errors
    /// After an error nothing of it stands in the file. [`OutputError::NoSpace`] may be tried again.
    pub fn append(&mut self, parts: &[&[u8]]) -> Result<(), OutputError> {
        match self.write_parts(parts) {
            Ok(written) => {
                self.len += written as u64;
                Ok(())
            }
            Err(error) => {
                self.cut(self.len)?;
                Err(OutputError::from_io("write", &self.path, &error))
            }
        }
    }

    fn write_parts(&self, parts: &[&[u8]]) -> io::Result<usize> {
        let total = parts.iter().map(|part| part.len()).sum();
        let (admitted, failure) = match self.disk.check(Call::Append(total)) {
            Ok(()) => (total, None),
            Err((admitted, error)) => (admitted.min(total), Some(error)),
        };
        let mut slices = Vec::with_capacity(parts.len());
        let mut left = admitted;
        for part in parts {
            let part = &part[..part.len().min(left)];
            left -= part.len();
            if !part.is_empty() {
                slices.push(IoSlice::new(part));
            }
        }
        let mut slices = slices.as_mut_slice();
        while !slices.is_empty() {
            match (&*self.file).write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => IoSlice::advance_slices(&mut slices, n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        failure.map_or(Ok(total), Err)
    }

    /// Overwrites bytes that are there.
    pub fn patch(&self, at: u64, bytes: &[u8]) -> Result<(), OutputError> {
        debug_assert!(at + bytes.len() as u64 <= self.len, "a patch stays inside the file");
        let (admitted, failure) = match self.disk.check(Call::Patch(bytes.len())) {
            Ok(()) => (bytes.len(), Ok(())),
            Err((admitted, error)) => (admitted.min(bytes.len()), Err(error)),
        };
        self.file.write_all_at(&bytes[..admitted], at).and(failure).at("write", &self.path)
    }

    /// Cuts the file back to `len`; the next append goes there.
    pub fn cut(&mut self, len: u64) -> Result<(), OutputError> {
        self.disk
            .check_whole(Call::Cut)
            .and_then(|()| self.file.set_len(len))
            .and_then(|()| (&*self.file).seek(SeekFrom::Start(len)))
            .at("cut", &self.path)?;
        self.len = len;
        Ok(())
    }
}

/// Failures for tests.
#[cfg(test)]
pub mod faults {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    /// The process ends after so many bytes: from then on nothing on the disk changes any more. Calls without bytes
    /// count as one.
    pub struct CrashAfter(pub AtomicU64);

    impl Faults for CrashAfter {
        fn check(&self, call: Call) -> Result<(), (usize, io::Error)> {
            let size = match call {
                Call::Append(n) | Call::Patch(n) => n as u64,
                _ => 1,
            };
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(size), Ordering::Relaxed);
            if size <= left { Ok(()) } else { Err((left as usize, io::Error::other("crashed"))) }
        }
    }

    /// A disk with so many bytes free, as long as the switch is on.
    pub struct Full {
        /// The switch.
        pub on: AtomicBool,
        /// Bytes.
        pub free: AtomicU64,
    }

    impl Faults for Full {
        fn check(&self, call: Call) -> Result<(), (usize, io::Error)> {
            let (Call::Append(n), true) = (call, self.on.load(Ordering::Relaxed)) else { return Ok(()) };
            let free = self.free.load(Ordering::Relaxed);
            if n as u64 <= free {
                self.free.store(free - n as u64, Ordering::Relaxed);
                return Ok(());
            }
            Err((free as usize, io::ErrorKind::StorageFull.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::{faults::Full, *};

    #[test]
    fn an_append_that_meets_a_full_disk_leaves_nothing_and_can_be_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let full = Arc::new(Full { on: AtomicBool::new(true), free: AtomicU64::new(10) });
        let mut file = AppendFile::create(dir.path().join("f"), &Disk::failing(full.clone())).unwrap();
        file.append(&[b"abc", b"", b"de"]).unwrap();
        let error = file.append(&[b"fghij", b"klm"]).unwrap_err();
        assert!(matches!(error, OutputError::NoSpace { .. }), "{error:?}");
        assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"abcde");
        full.on.store(false, Ordering::Relaxed);
        file.append(&[b"fghij", b"klm"]).unwrap();
        file.patch(1, b"BC").unwrap();
        file.append(&[b"n"]).unwrap();
        assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"aBCdefghijklmn");
        assert_eq!(file.length(), 14);
    }
}
