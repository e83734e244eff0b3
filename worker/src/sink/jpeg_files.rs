//! One JPEG file a frame: see [`picture_files`](super::picture_files) for what makes it exact.

use std::path::Path;

use edgereel_crds::{check::FileNames, frame_sink, name::ObjectName, status::Reason, template::Template};

use super::{
    disk::Disk,
    fault::OutputError,
    file_name,
    output::{Assigned, FlushJob, Lease, Output, SinkFrame, Written},
    picture_files::PictureFiles,
    sharing,
};

/// The output `jpegFiles`.
pub struct JpegFiles {
    template: Template,
    files: PictureFiles,
    lease: Option<Lease>,
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
        sharing::claim(output.files.directory(), sink, &FileNames::new(&spec.file_name, topics))?;
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
        let files = PictureFiles::open(root, &spec.directory, sink, replica, disk)?;
        Ok(JpegFiles { template, files, lease: None })
    }
}

impl Output for JpegFiles {
    fn needs_all_partitions(&self) -> bool {
        false
    }

    fn folder(&self) -> &Path {
        self.files.folder()
    }

    fn resume(&mut self, _: &[Assigned], lease: Lease) -> Result<String, OutputError> {
        self.files.begin()?;
        self.lease = Some(lease);
        Ok(String::new())
    }

    fn write(&mut self, frame: &SinkFrame) -> Result<Written, OutputError> {
        let name = file_name::render(&self.template, &file_name::Values::from(frame))?;
        let lease = &self.lease;
        self.files.write(&name, frame, || lease.as_ref().ok_or(OutputError::Superseded)?.check())?;
        Ok(Written { stored: true, repeated: 0 })
    }

    fn seal(&mut self) -> Result<FlushJob, OutputError> {
        let job = self.files.seal().map(|run| FlushJob { run, metadata: String::new() });
        Ok(job.unwrap_or_default())
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.lease = None;
        Ok(())
    }
}

#[cfg(test)]
mod lost_tests;
#[cfg(test)]
mod tests;
