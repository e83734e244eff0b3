//! Pictures, each a file.
//!
//! A picture is written to a temporary file in the sink's own folder and renamed to its final name: a reader sees all of it
//! or nothing. Four system calls a picture; what makes them durable is one call for many ([`PictureFiles::seal`]).
//!
//! The name is a pure function of the record and belongs to it alone, so a rename never overwrites. A name that is taken by
//! the same bytes is that of a record that came before a crash: it is written again all the same, for bytes that can be
//! read need not be on the disk. Other bytes are another picture, and stop the sink ([`taken`]).

mod directories;
mod taken;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use edgereel_crds::name::ObjectName;

use self::directories::{Directories, Target};
use super::{
    disk::{Disk, Participant},
    fault::OutputError,
    output::{At, SinkFrame},
    private_dir::{PrivateDir, make_directory, sync_way},
};

/// The temporary file; one is enough, since one thread writes.
const INCOMING: &str = "incoming";
/// Up to so many files are synced one by one; for more, one sync of the whole file system costs less.
pub(super) const FEW: usize = 8;

/// Makes what was written so far durable; on another thread, while writing goes on.
pub type Sync = Box<dyn FnOnce() -> Result<(), OutputError> + Send>;

/// The pictures of one sink.
pub struct PictureFiles {
    private: PrivateDir,
    directories: Directories,
    unsynced: Unsynced,
    participant: Participant,
    disk: Disk,
}

/// Frames that were written since the last seal.
#[derive(Default)]
struct Unsynced {
    count: usize,
    /// The files, as long as they are few. Each is synced by the handle that wrote it: the kernel tells another one nothing
    /// of what was lost before it was opened.
    files: Vec<File>,
    directories: Vec<Arc<File>>,
}

impl PictureFiles {
    /// Opens `directory` below `root`, which has to be there; the directory is made if it is missing.
    pub fn open(
        root: &Path,
        directory: &str,
        sink: &ObjectName,
        replica: u32,
        disk: Disk,
    ) -> Result<Self, OutputError> {
        let directory = make_directory(root, Path::new(directory))?;
        sync_way(root, &directory)?;
        let private = PrivateDir::open(&directory, sink, replica)?;
        let directories = Directories::open(&directory)?;
        let participant = disk.join(directories.top().file()).at("open", &directory)?;
        Ok(PictureFiles { private, directories, unsynced: Unsynced::default(), participant, disk })
    }

    /// The sink's own folder.
    pub fn folder(&self) -> &Path {
        self.private.path()
    }

    /// The directory that they are below.
    pub fn directory(&self) -> &Path {
        self.directories.top().path()
    }

    /// The way to the disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The path of a file below it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directories.path(name)
    }

    /// Forgets what was not sealed, and removes what was not finished.
    pub fn begin(&mut self) -> Result<(), OutputError> {
        self.disk.remove(&self.folder().join(INCOMING))?;
        self.unsynced = Unsynced::default();
        Ok(())
    }

    /// Writes a frame's picture under this name, if `still` gives its leave once its bytes are written.
    pub fn write(
        &mut self,
        name: &str,
        frame: &SinkFrame,
        still: impl FnOnce() -> Result<(), OutputError>,
    ) -> Result<(), OutputError> {
        let temporary = || self.folder().join(INCOMING);
        let mut file = self.disk.create(self.private.standing().file(), INCOMING).at("create", &temporary())?;
        if let Err(e) = self.disk.write(&mut file, &frame.picture) {
            // Gives the space back to whoever fills the disk.
            let _ = self.disk.remove(&temporary());
            return Err(OutputError::from_io("write", &self.path(name), &e));
        }
        still()?;
        let target = self.publish(name, frame)?;
        self.unsynced.add(file, target);
        Ok(())
    }

    /// Renames the temporary file to the frame's final name.
    fn publish(&mut self, name: &str, frame: &SinkFrame) -> Result<Target, OutputError> {
        let path = self.path(name);
        let (below, file_name) = name.rsplit_once('/').unwrap_or(("", name));
        let incoming = self.private.standing().file();
        let mut target = self.directories.get(below)?;
        let mut renamed = self.disk.rename_new(incoming, INCOMING, &target.directory, file_name);
        // Somebody tidied the directory away while it was open here: make it again.
        if kind(&renamed) == Some(io::ErrorKind::NotFound) && self.directories.forget(below) {
            target = self.directories.get(below)?;
            renamed = self.disk.rename_new(incoming, INCOMING, &target.directory, file_name);
        }
        if kind(&renamed) == Some(io::ErrorKind::AlreadyExists) {
            taken::check(&target.directory, file_name, &path, frame)?;
            renamed = self.disk.rename(incoming, INCOMING, &target.directory, file_name);
        }
        renamed.map(|()| target).at("write", &path)
    }

    /// What has to be done to make all pictures written so far durable; none if there are none.
    pub fn seal(&mut self) -> Option<Sync> {
        let sealed = std::mem::take(&mut self.unsynced);
        if sealed.count == 0 {
            return None;
        }
        let (disk, participant) = (self.disk.clone(), self.participant.clone());
        let (top, private) = (self.directories.top().clone(), self.private.standing().clone());
        let below = self.directories.seal();
        Some(Box::new(move || {
            sealed.sync(&disk, &participant, top.path())?;
            // After the last of these frames was renamed: one that went to where nobody looks for it is not committed.
            top.check()?;
            private.check()?;
            below.iter().try_for_each(|directory| directory.check_unless_removed())
        }))
    }
}

fn kind(result: &io::Result<()>) -> Option<io::ErrorKind> {
    result.as_ref().err().map(io::Error::kind)
}

impl Unsynced {
    fn add(&mut self, file: File, target: Target) {
        self.count += 1;
        if self.count > FEW {
            self.files.clear();
            self.directories.clear();
            return;
        }
        self.files.push(file);
        for directory in target.above.into_iter().chain([target.directory]) {
            if !self.directories.iter().any(|known| Arc::ptr_eq(known, &directory)) {
                self.directories.push(directory);
            }
        }
    }

    fn sync(self, disk: &Disk, participant: &Participant, path: &Path) -> Result<(), OutputError> {
        if self.count > FEW {
            return disk.sync_file_system(participant).at("sync the file system of", path);
        }
        for file in &self.files {
            disk.sync(file).at("sync a file in", path)?;
        }
        for directory in &self.directories {
            disk.sync(directory).at("sync", path)?;
        }
        Ok(())
    }
}
