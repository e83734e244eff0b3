//! One JPEG file a frame: see [`picture_files`](super::picture_files) for what makes it exact.

use std::{collections::BTreeMap, path::Path};

use edgereel_crds::{check::FileNames, frame_sink, name::ObjectName, status::Reason, template::Template};

use super::{
    disk::Disk,
    fault::OutputError,
    file_name,
    output::{Assigned, At, FlushJob, Lease, Output, SinkFrame, Written},
    picture_files::PictureFiles,
    record_name::Names,
    retention::{
        Kept,
        ours::Ours,
        pictures::{self, Stock},
    },
    sharing,
};

/// The output `jpegFiles`.
pub struct JpegFiles {
    template: Template,
    files: PictureFiles,
    /// Of which the oldest may go, where the sink is asked to delete any.
    stock: Option<Stock>,
    lease: Option<Lease>,
}

impl JpegFiles {
    /// Opens the output below `root`, which has to be there; `spec.directory` is made if it is missing. `topics` are those
    /// that frames will come from.
    ///
    /// # Errors
    /// [`Reason::InvalidConfiguration`] when a file cannot have each name that there may be, and the usual storage faults.
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
        Ok(JpegFiles { template, files, stock: None, lease: None })
    }

    /// Has it list what it stores, so that the oldest can be found and deleted. Of what is there already, it lists what is `ours`:
    /// that is asked with the sink's folder where there is no list yet, or a damaged one.
    pub fn keep_stock<E: From<OutputError>>(
        mut self,
        topics: &[String],
        ours: impl FnOnce(&Path, &Names) -> Result<Ours, E>,
        disk: &Disk,
    ) -> Result<Self, E> {
        let names = Names::new(&self.template, topics, &[])
            .map_err(|e| OutputError::storage(Reason::InvalidConfiguration, e.to_string()))?;
        let (names, folder) = ((names, self.template.depth()), self.files.folder());
        let stock = Stock::open(self.files.directory(), folder, names, |names| ours(folder, names), disk)?;
        self.stock = Some(stock);
        Ok(self)
    }

    /// Has it list nothing, whatever it did before.
    pub fn keep_no_stock(self) -> Result<Self, OutputError> {
        pictures::forget(self.files.folder())?;
        Ok(self)
    }
}

impl Output for JpegFiles {
    fn needs_all_partitions(&self) -> bool {
        false
    }

    fn folder(&self) -> &Path {
        self.files.folder()
    }

    fn resume(&mut self, assigned: &[Assigned], lease: Lease) -> Result<String, OutputError> {
        self.files.begin()?;
        self.stock.as_mut().map_or(Ok(()), |stock| stock.begin(assigned))?;
        self.lease = Some(lease);
        Ok(String::new())
    }

    fn write(&mut self, frame: &SinkFrame) -> Result<Written, OutputError> {
        let name = file_name::render(&self.template, &file_name::Values::from(frame))?;
        self.stock.as_mut().map_or(Ok(()), Stock::make_room)?;
        let lease = &self.lease;
        self.files.write(&name, frame, || lease.as_ref().ok_or(OutputError::Superseded)?.check())?;
        if let Some(stock) = &mut self.stock {
            stock.add(name, frame);
        }
        Ok(Written { stored: true, repeated: 0 })
    }

    fn seal(&mut self) -> Result<FlushJob, OutputError> {
        let listed = self.stock.as_mut().map_or(Ok(vec![]), Stock::seal)?;
        let (sync, disk) = (self.files.seal(), self.files.disk().clone());
        let run = move || {
            sync.map_or(Ok(()), |sync| sync())?;
            listed.iter().try_for_each(|each| disk.sync(each.file()).at("sync", each.path()))
        };
        Ok(FlushJob { run: Box::new(run), metadata: String::new() })
    }

    fn topics(&mut self, ids: &BTreeMap<String, String>) {
        if let Some(stock) = &mut self.stock {
            stock.topics(ids);
        }
    }

    fn kept(&mut self) -> Option<&mut dyn Kept> {
        self.stock.as_mut().map(|stock| stock as &mut dyn Kept)
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.lease = None;
        self.stock.as_mut().map_or(Ok(()), Stock::finish)
    }
}

#[cfg(test)]
mod lost_tests;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod tests;
