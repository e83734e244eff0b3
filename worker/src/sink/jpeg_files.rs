//! One JPEG file a frame.
//!
//! A frame is written to a temporary file in the sink's own folder and renamed to its final name: a reader sees all of it
//! or nothing. Four system calls a frame; what makes them durable is one call for many ([`JpegFiles::seal`]).
//!
//! The name is a pure function of the record and belongs to it alone, so a rename never overwrites. A name that is taken by
//! the same bytes is that of a record that came before a crash: it is written again all the same, for bytes that can be
//! read need not be on the disk. Other bytes are another picture, and stop the sink ([`taken`]).

mod directories;
mod taken;

use std::{fs::File, io, path::Path, sync::Arc};

use edgereel_crds::{check::FileNames, frame_sink, name::ObjectName, status::Reason, template::Template};

use self::directories::{Directories, Target};
use super::{
    disk::{Disk, Participant},
    fault::OutputError,
    file_name,
    output::{Assigned, At, FlushJob, Lease, Output, SinkFrame, Written},
    private_dir::{PrivateDir, make_directory, sync_way},
    sharing,
};

/// The temporary file; one is enough, since one thread writes.
const INCOMING: &str = "incoming";
/// Up to so many files are synced one by one; for more, one sync of the whole file system costs less.
const FEW: usize = 8;

/// The output `jpegFiles`.
pub struct JpegFiles {
    template: Template,
    private: PrivateDir,
    directories: Directories,
    lease: Option<Lease>,
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

impl JpegFiles {
    /// Opens the output below `root`, which has to be there; `spec.directory` is made if it is missing. `topics` are those
    /// that frames will come from.
    pub fn open(
        root: &Path,
        spec: &frame_sink::JpegFiles,
        sink: &ObjectName,
        replica: u32,
        topics: &[String],
        disk: Disk,
    ) -> Result<Self, OutputError> {
        let output = Self::with(root, spec, sink, replica, topics, disk)?;
        sharing::claim(output.directories.top().path(), sink, &FileNames::new(&spec.file_name, topics))?;
        Ok(output)
    }

    fn with(
        root: &Path,
        spec: &frame_sink::JpegFiles,
        sink: &ObjectName,
        replica: u32,
        topics: &[String],
        disk: Disk,
    ) -> Result<Self, OutputError> {
        let template = spec.template().and_then(|template| {
            template.fits(topics, 0)?;
            Ok(template)
        });
        let template = template.map_err(|e| {
            OutputError::storage(Reason::InvalidConfiguration, format!("spec.output.jpegFiles.fileName: {e}"))
        })?;
        let directory = make_directory(root, Path::new(&spec.directory))?;
        sync_way(root, &directory)?;
        let private = PrivateDir::open(&directory, sink, replica)?;
        let directories = Directories::open(&directory)?;
        let participant = disk.join(directories.top().file()).at("open", &directory)?;
        let unsynced = Unsynced::default();
        Ok(JpegFiles { template, private, directories, lease: None, unsynced, participant, disk })
    }

    /// Renames the temporary file to the frame's final name.
    fn publish(&mut self, name: &str, frame: &SinkFrame) -> Result<Target, OutputError> {
        let path = self.directories.path(name);
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
}

fn kind(result: &io::Result<()>) -> Option<io::ErrorKind> {
    result.as_ref().err().map(io::Error::kind)
}

impl Output for JpegFiles {
    fn needs_all_partitions(&self) -> bool {
        false
    }

    fn folder(&self) -> &Path {
        self.private.path()
    }

    fn resume(&mut self, _: &[Assigned], lease: Lease) -> Result<String, OutputError> {
        self.disk.remove(&self.private.path().join(INCOMING))?;
        self.unsynced = Unsynced::default();
        self.lease = Some(lease);
        Ok(String::new())
    }

    fn write(&mut self, frame: &SinkFrame) -> Result<Written, OutputError> {
        let name = file_name::render(&self.template, &file_name::Values::from(frame))?;
        let temporary = || self.private.path().join(INCOMING);
        let mut file = self.disk.create(self.private.standing().file(), INCOMING).at("create", &temporary())?;
        if let Err(e) = self.disk.write(&mut file, &frame.jpeg) {
            // Gives the space back to whoever fills the disk.
            let _ = self.disk.remove(&temporary());
            return Err(OutputError::from_io("write", &self.directories.path(&name), &e));
        }
        match &self.lease {
            Some(lease) => lease.check()?,
            None => return Err(OutputError::Superseded),
        }
        let target = self.publish(&name, frame)?;
        self.unsynced.add(file, target);
        Ok(Written { stored: true, repeated: 0 })
    }

    fn seal(&mut self) -> Result<FlushJob, OutputError> {
        let sealed = std::mem::take(&mut self.unsynced);
        if sealed.count == 0 {
            return Ok(FlushJob::default());
        }
        let (disk, participant) = (self.disk.clone(), self.participant.clone());
        let (top, private) = (self.directories.top().clone(), self.private.standing().clone());
        let below = self.directories.seal();
        let run = move || {
            sealed.sync(&disk, &participant, top.path())?;
            // After the last of these frames was renamed: one that went to where nobody looks for it is not committed.
            top.check()?;
            private.check()?;
            below.iter().try_for_each(|directory| directory.check_unless_removed())
        };
        Ok(FlushJob { run: Box::new(run), metadata: String::new() })
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.lease = None;
        Ok(())
    }
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

#[cfg(test)]
mod lost_tests;
#[cfg(test)]
mod tests;
