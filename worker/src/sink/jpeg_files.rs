//! One JPEG file a frame.
//!
//! A frame is written to a temporary file in the sink's own folder and renamed to its final name: a reader sees all of it
//! or nothing. The name is a pure function of the record, so a record that comes again after a crash replaces its file
//! by the same bytes. Four system calls a frame; what makes them durable is one call for many ([`JpegFiles::seal`]).

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use edgereel_crds::{frame_sink, plan::ObjectName, status::Reason, template::Template};

use super::{
    disk::Disk,
    fault::OutputError,
    file_name,
    output::{Assigned, At, FlushJob, Lease, Output, SinkFrame, Written},
    private_dir::{PrivateDir, make_directory},
};

/// The temporary file; one is enough, since one thread writes.
const INCOMING: &str = "incoming";
/// Up to so many files are synced one by one; for more, one sync of the whole file system costs less.
const FEW: usize = 8;
/// Open sub-directories that are kept.
const MAX_OPEN_DIRECTORIES: usize = 64;

/// The output `jpegFiles`.
pub struct JpegFiles {
    directory: PathBuf,
    template: Template,
    private: PrivateDir,
    incoming: File,
    top: Arc<File>,
    below: HashMap<String, Arc<File>>,
    lease: Option<Lease>,
    unsynced: Unsynced,
    disk: Disk,
}

/// Frames that were written since the last seal.
#[derive(Default)]
struct Unsynced {
    count: usize,
    /// The files, as long as they are few.
    files: Vec<File>,
    directories: Vec<Arc<File>>,
}

impl JpegFiles {
    /// Opens the output below `root`, which has to be there; `spec.directory` is made if it is missing.
    pub fn open(
        root: &Path,
        spec: &frame_sink::JpegFiles,
        sink: &ObjectName,
        replica: u32,
        disk: Disk,
    ) -> Result<Self, OutputError> {
        let template = Template::parse(&spec.file_name).map_err(|e| {
            OutputError::storage(Reason::InvalidConfiguration, format!("spec.output.jpegFiles.fileName: {e}"))
        })?;
        let directory = make_directory(root, Path::new(&spec.directory))?;
        let private = PrivateDir::open(&directory, sink, replica)?;
        Ok(JpegFiles {
            incoming: File::open(private.path()).at("open", private.path())?,
            top: Arc::new(File::open(&directory).at("open", &directory)?),
            directory,
            template,
            private,
            below: HashMap::new(),
            lease: None,
            unsynced: Unsynced::default(),
            disk,
        })
    }

    /// The open directory below the top, made if missing.
    fn directory(&mut self, below: &str) -> Result<Arc<File>, OutputError> {
        if below.is_empty() {
            return Ok(self.top.clone());
        }
        if let Some(open) = self.below.get(below) {
            return Ok(open.clone());
        }
        let path = make_directory(&self.directory, Path::new(below))?;
        let open = Arc::new(File::open(&path).at("open", &path)?);
        if self.below.len() >= MAX_OPEN_DIRECTORIES {
            self.below.clear();
        }
        self.below.insert(below.to_owned(), open.clone());
        Ok(open)
    }

    /// Renames the temporary file to its final name.
    fn publish(&mut self, name: &str) -> Result<Arc<File>, OutputError> {
        let (below, file_name) = name.rsplit_once('/').unwrap_or(("", name));
        let target = self.directory(below)?;
        match self.disk.rename(&self.incoming, INCOMING, &target, file_name) {
            // Somebody tidied the directory away while it was open here: make it again.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.below.remove(below).is_some() => {
                let target = self.directory(below)?;
                self.disk
                    .rename(&self.incoming, INCOMING, &target, file_name)
                    .at("write", &self.directory.join(name))?;
                Ok(target)
            }
            result => result.map(|()| target).at("write", &self.directory.join(name)),
        }
    }
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
        let mut file = self.disk.create(&self.incoming, INCOMING).at("create", &temporary())?;
        if let Err(e) = self.disk.write(&mut file, &frame.jpeg) {
            // Gives the space back to whoever fills the disk; the next frame would overwrite it anyway.
            let _ = self.disk.remove(&temporary());
            return Err(OutputError::from_io("write", &self.directory.join(&name), &e));
        }
        match &self.lease {
            Some(lease) => lease.check()?,
            None => return Err(OutputError::Superseded),
        }
        let directory = self.publish(&name)?;
        self.unsynced.add(file, directory);
        Ok(Written { stored: true, repeated: 0 })
    }

    fn seal(&mut self) -> Result<FlushJob, OutputError> {
        let sealed = std::mem::take(&mut self.unsynced);
        if sealed.count == 0 {
            return Ok(FlushJob::default());
        }
        let (disk, top, path) = (self.disk.clone(), self.top.clone(), self.directory.clone());
        let run = move || {
            if sealed.count > FEW {
                return disk.sync_file_system(&top).at("sync the file system of", &path);
            }
            for file in &sealed.files {
                disk.sync(file).at("sync a file in", &path)?;
            }
            for directory in &sealed.directories {
                disk.sync(directory).at("sync", &path)?;
            }
            Ok(())
        };
        Ok(FlushJob { run: Box::new(run), metadata: String::new() })
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.lease = None;
        Ok(())
    }
}

impl Unsynced {
    fn add(&mut self, file: File, directory: Arc<File>) {
        self.count += 1;
        if self.count > FEW {
            self.files.clear();
            self.directories.clear();
            return;
        }
        self.files.push(file);
        if !self.directories.iter().any(|known| Arc::ptr_eq(known, &directory)) {
            self.directories.push(directory);
        }
    }
}

#[cfg(test)]
mod tests;
