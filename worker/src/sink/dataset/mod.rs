//! Pictures with what they show: the output `dataset`.
//!
//! - [`picture_files`](super::picture_files) writes the pictures, [`rows`] the CSV that lists them; [`resume`] goes on from a
//!   commit, [`files`] begins and closes CSVs.
//!
//! **What makes it exact.** A picture's name belongs to its record, so that one that is written again replaces itself. A row is
//! appended after its picture, and a commit carries, beside the offsets of all partitions, where the CSV stood when exactly
//! the pictures before those offsets and their rows were durable: as a [`video`](super::video) does, with the same checkpoint
//! and the same list of files. After a crash the CSV is cut back to that, CSVs begun later are removed, and the records that
//! come again bring their rows again.

mod files;
mod resume;
pub mod rows;

#[cfg(test)]
mod tests;

use std::path::Path;

use edgereel_crds::{
    check::FileNames,
    dataset as spec,
    frame_sink::{self, VIDEO_COPY},
    name::ObjectName,
    status::Reason,
    template::Template,
};
use edgereel_frame::picture::Kind;
use jiff::Timestamp;

use self::rows::Rows;
use super::{
    disk::{Disk, standing::Standing},
    fault::OutputError,
    file_name::{self, Values},
    output::{Assigned, At, FlushJob, Lease, Output, SinkFrame, Written},
    picture_files::PictureFiles,
    record_name::Names,
    sharing,
    video::{
        checkpoint::{Checkpoint, OpenAt},
        segment_log::SegmentLog,
        settled::Settled,
    },
};

/// The list of the CSVs that were begun, in the sink's folder.
pub const LOG: &str = "annotations";

/// The output `dataset`.
pub struct Dataset {
    sink: ObjectName,
    spec: spec::Dataset,
    pictures: PictureFiles,
    template: Template,
    annotations: Template,
    /// Leads from a row back to its record.
    names: Names,
    disk: Disk,
    log: SegmentLog,
    lease: Option<Lease>,
    /// The number of the last CSV that was begun.
    number: u64,
    current: Option<Open>,
    settled: Settled,
    /// Closed CSVs and new names since the last seal, each by the handle that was open when it was written.
    unsynced: Vec<Standing>,
}

/// The CSV that is written.
struct Open {
    /// Below the output's directory.
    name: String,
    /// When its first picture was captured.
    began: Timestamp,
    rows: Rows,
}

impl Open {
    fn standing(&self) -> Standing {
        Standing::new(self.rows.file().path(), self.rows.file().shared())
    }
}

fn invalid(what: &str) -> OutputError {
    OutputError::storage(Reason::InvalidConfiguration, format!("spec.output.dataset: {what}"))
}

impl Dataset {
    /// Opens the output below `root`, which has to be there; `spec.directory` is made if it is missing. `topics` are those
    /// that pictures will come from.
    ///
    /// # Errors
    /// [`Reason::InvalidConfiguration`] when a file cannot have each name that there may be; [`Reason::StorageLocked`] when
    /// another process writes for this sink; the usual storage faults.
    pub fn open(root: &Path, spec: &spec::Dataset, sink: &ObjectName, topics: &[String]) -> Result<Self, OutputError> {
        let output = Self::with(root, spec, sink, topics, Disk::default())?;
        let names = FileNames::of_output(&frame_sink::Output::Dataset(spec.clone()), topics);
        sharing::claim(output.pictures.directory(), sink, &names)?;
        Ok(output)
    }

    fn with(
        root: &Path,
        spec: &spec::Dataset,
        sink: &ObjectName,
        topics: &[String],
        disk: Disk,
    ) -> Result<Self, OutputError> {
        let fitting = |template: Result<Template, String>, more| {
            template.and_then(|template| template.fits(topics, more).map(|()| template)).map_err(|e| invalid(&e))
        };
        let longest = Kind::ALL.iter().map(|kind| kind.ending().len()).max().unwrap_or(0);
        let template = fitting(spec.template(), longest)?;
        let annotations = fitting(spec.annotations_template(), VIDEO_COPY)?;
        let names = Names::of_pictures(&template, topics, &[]).map_err(|e| invalid(&e.to_string()))?;
        // It has one writer, so there is but one folder.
        let pictures = PictureFiles::open(root, &spec.directory, sink, 0, disk.clone())?;
        let log = SegmentLog::open(pictures.folder().join(LOG), &disk)?;
        Ok(Dataset {
            sink: sink.clone(),
            spec: spec.clone(),
            pictures,
            template,
            annotations,
            names,
            disk,
            log,
            lease: None,
            number: 0,
            current: None,
            settled: Settled::default(),
            unsynced: vec![],
        })
    }

    fn lease(&self) -> Result<(), OutputError> {
        self.lease.as_ref().ok_or(OutputError::Superseded)?.check()
    }

    fn last_closed(&self) -> u64 {
        self.number.saturating_sub(u64::from(self.current.is_some()))
    }

    fn checkpoint(&self) -> Checkpoint {
        let open = self.current.as_ref().map(|open| {
            let bytes = open.rows.file().length();
            OpenAt {
                name: open.name.clone(),
                end: bytes,
                frames: open.rows.count(),
                csv: bytes,
                began: open.began.as_microsecond(),
                timing: None,
            }
        });
        Checkpoint { segment: self.number, open }
    }
}

/// A picture's name, with the ending of its kind.
pub fn picture_name(template: &Template, values: &Values, kind: Kind) -> Result<String, OutputError> {
    Ok(file_name::render(template, values)? + kind.ending())
}

impl Output for Dataset {
    fn needs_all_partitions(&self) -> bool {
        true
    }

    fn folder(&self) -> &Path {
        self.pictures.folder()
    }

    fn has_written(&self) -> bool {
        self.log.last() > 0
    }

    fn closed(&self) -> u64 {
        self.settled.committed()
    }

    fn resume(&mut self, assigned: &[Assigned], lease: Lease) -> Result<String, OutputError> {
        lease.check()?;
        self.lease = None;
        self.current = None;
        self.unsynced.clear();
        self.pictures.begin()?;
        self.take_up(assigned)?;
        self.settled = Settled::at(self.last_closed());
        self.lease = Some(lease);
        Ok(self.checkpoint().to_metadata())
    }

    fn write(&mut self, frame: &SinkFrame) -> Result<Written, OutputError> {
        self.lease()?;
        // Before anything is decided: a record that has no name changes nothing.
        let name = picture_name(&self.template, &frame.into(), frame.info.kind)?;
        if let Some(open) = &mut self.current {
            open.rows.make_room()?;
        }
        if self.is_over(frame.standing.time) {
            self.close()?;
        }
        if self.current.is_none() {
            self.begin(frame)?;
        }
        let lease = &self.lease;
        self.pictures.write(&name, frame, || lease.as_ref().ok_or(OutputError::Superseded)?.check())?;
        if let Some(open) = &mut self.current {
            open.rows.add(&name, frame.label.annotation.as_deref().unwrap_or_default(), self.spec.formulas);
        }
        Ok(Written { stored: true, repeated: 0 })
    }

    fn seal(&mut self) -> Result<FlushJob, OutputError> {
        self.lease()?;
        if let Some(open) = &mut self.current {
            open.rows.flush()?;
        }
        self.settled.seal(self.last_closed());
        let metadata = self.checkpoint().to_metadata();
        let pictures = self.pictures.seal();
        let mut unsynced = std::mem::take(&mut self.unsynced);
        let open = self.current.as_ref().map(Open::standing);
        unsynced.extend(open.clone());
        let disk = self.disk.clone();
        let run = move || {
            pictures.map_or(Ok(()), |sync| sync())?;
            unsynced.iter().try_for_each(|each| disk.sync(each.file()).at("sync", each.path()))?;
            // After all that is to be committed was written: not to a file that nobody looks for where it is.
            open.iter().try_for_each(Standing::check)
        };
        Ok(FlushJob { run: Box::new(run), metadata })
    }

    fn committed(&mut self) -> Result<(), OutputError> {
        self.settled.commit();
        self.forget_the_mark()
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.lease()?;
        if let Some(open) = &mut self.current {
            open.rows.flush()?;
        }
        self.lease = None;
        self.current = None;
        Ok(())
    }
}
