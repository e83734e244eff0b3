//! Files that grow at their end, where a failed append leaves nothing behind.

use std::{
    fs::File,
    io::{self, IoSlice, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Call, Disk};
use crate::sink::{fault::OutputError, output::At};

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
        disk.allow(Call::Create)?;
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
        let (admitted, failure) = self.disk.admit(Call::Append(total), total);
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
        failure.map(|()| total)
    }

    /// Appends zeros that take no room on the disk.
    #[cfg(test)]
    pub fn append_hole(&mut self, bytes: u64) {
        let end = self.len + bytes;
        self.file.set_len(end).and_then(|()| (&*self.file).seek(SeekFrom::Start(end))).unwrap();
        self.len = end;
    }

    /// Makes what was appended durable.
    pub fn sync(&self) -> io::Result<()> {
        self.disk.sync(&self.file)
    }

    /// Overwrites bytes that are there.
    pub fn patch(&self, at: u64, bytes: &[u8]) -> Result<(), OutputError> {
        debug_assert!(at + bytes.len() as u64 <= self.len, "a patch stays inside the file");
        let (admitted, failure) = self.disk.admit(Call::Patch(bytes.len()), bytes.len());
        self.file.write_all_at(&bytes[..admitted], at).and(failure).at("write", &self.path)
    }

    /// Cuts the file back to `len`; the next append goes there.
    pub fn cut(&mut self, len: u64) -> Result<(), OutputError> {
        self.disk
            .allow(Call::Cut)
            .and_then(|()| self.file.set_len(len))
            .and_then(|()| (&*self.file).seek(SeekFrom::Start(len)))
            .at("cut", &self.path)?;
        self.len = len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, AtomicU64, Ordering},
    };

    use super::*;
    use crate::sink::disk::faults::Full;

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
