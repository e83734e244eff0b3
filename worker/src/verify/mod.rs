//! Compares what sinks wrote with what their topics hold, record by record.
//!
//! - [`pictures`], [`video`] and [`dataset`] each know an output's files; of those with rows, [`log`] lists the files and
//!   [`side_by_side`] holds the rows against the records.
//! - [`check`] judges each record, [`letters`] looks for those that are no frames, [`report`] is what was found.
//! - [`past`] is what the sink's own folder says of its topics.
//! - [`offsets`] is what keeps the memory small: whatever is remembered of a record is a bit.
//!
//! A record is *pending* while its offset is not committed: its file may be there or not. A committed record must be
//! there exactly once, whole; one that is not a frame must have gone the way that `onInvalid` says.
//!
//! The sink may be at work meanwhile. So files are listed before the topics' ends are asked for (each file has its record
//! then), and what is committed is asked for before files are looked for (each committed record has its file then).

mod check;
mod dataset;
mod letters;
pub mod log;
mod offsets;
mod past;
mod pictures;
pub mod plain_file;
pub mod report;
mod side_by_side;
mod video;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use edgereel_crds::{frame_sink::Output, plan::SinkPlan, status::Reason};
use edgereel_frame::wire::Decoded;
use edgereel_kafka::{
    consumer::earlier::Earlier,
    reader::{Extent, TopicReader},
};
use edgereel_runtime::{fault::Fault, secrets::Secrets};

use self::{
    check::Check,
    offsets::Offsets,
    past::Past,
    report::{Archived, Finding, Findings, Report},
};
pub use crate::sink::record_name::Place;
use crate::sink::{
    archive::ledger::{Entry, Known},
    fault::OutputError,
    private_dir,
    retention::gone::Gone,
    runner::memory,
    volume,
};

/// What is being done, for whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Files are listed; how many there are is not known.
    Files,
    /// Records are held against the files.
    Records,
    /// Dead letters are read.
    Letters,
}

/// Hears how many of how many were dealt with; of files, how many of them.
pub type Progress<'a> = dyn FnMut(Step, u64, u64) + 'a;

/// Whether a place's frame was found among the files.
pub(crate) enum Found {
    /// Once, whole.
    Whole,
    /// Nowhere.
    Missing,
    /// Left out of a video to keep real time, as its CSV says.
    LeftOut,
    /// Its file is not what the record holds.
    Torn(String),
    /// Nowhere, and the output cannot show it: it is no frame for it.
    Refused,
}

/// What is known of a partition while its records are looked for.
pub(crate) struct Look<'a> {
    /// What it holds.
    pub(crate) extent: Extent,
    /// Committed records that were looked for and not found.
    pub(crate) absent: &'a Offsets,
}

impl Look<'_> {
    /// Whether an offset was committed when that was asked for.
    pub(crate) fn is_committed(&self, offset: i64) -> bool {
        self.extent.committed.is_some_and(|committed| offset < committed)
    }
}

/// The files of one output.
pub(crate) trait Files {
    /// What the sink's own folder says, before the first partition.
    fn learn(&mut self, past: Rc<Past>);

    /// The records of a partition will be looked for, in order.
    fn begin(&mut self, _topic: &str, _partition: i32) -> Result<(), OutputError> {
        Ok(())
    }

    /// Looks for the frame of a record.
    fn find(&mut self, place: &Place, frame: &Decoded, look: &Look) -> Result<Found, OutputError>;

    /// The records of the partition were looked for; `look` has what it holds by now. Those of these offsets are to be
    /// looked for again.
    fn end(&mut self, _look: &Look) -> Result<Offsets, OutputError> {
        Ok(Offsets::default())
    }

    /// What is wrong with the files themselves, once every record has been looked for, and what the partitions hold then.
    fn finish(&mut self, extents: &Extents, found: &mut Findings) -> Result<(), OutputError>;

    /// How many files or rows are of former topics, after that.
    fn former(&self) -> u64;
}

/// What each partition of each topic holds.
pub(crate) type Extents = BTreeMap<(String, i32), Extent>;

/// Of partitions, the offset below which frames may have been deleted on purpose.
pub(crate) type Below = BTreeMap<(String, i32), i64>;

/// Compares one sink's files with its topics.
pub fn verify(
    plan: &SinkPlan,
    storage_root: Option<&Path>,
    secrets: &Secrets,
    progress: &mut Progress<'_>,
) -> Result<Report, Fault> {
    let root = volume::find(&volume::Place::of(plan)?, storage_root)?;
    has_begun(&root.join(plan.spec.output.directory()))?;
    let reader = TopicReader::open(&plan.connection, secrets, &plan.group)?;
    let mut listed = |count| progress(Step::Files, count, 0);
    let mut files: Box<dyn Files> = match &plan.spec.output {
        Output::JpegFiles(spec) => {
            Box::new(pictures::Pictures::list(&root, spec, plan, &earlier(&root, plan)?, &mut listed)?)
        }
        Output::Video(spec) => Box::new(video::Video::list(&root, spec, plan, &mut listed)?),
        Output::Dataset(spec) => {
            Box::new(dataset::Dataset::list(&root, spec, plan, &earlier(&root, plan)?, &mut listed)?)
        }
    };
    let ids =
        plan.topics.iter().map(|topic| Ok((topic.clone(), reader.id(topic)?))).collect::<Result<Vec<_>, Fault>>()?;
    let past = Rc::new(Past::new(&everyones(&root, plan)?, &ids));
    files.learn(past.clone());
    let extents = extents(&reader, plan, &past)?;
    let total = extents.values().map(|e| (e.high - e.low).max(0) as u64).sum();
    let mut check = Check::new(plan, files.as_mut());
    let mut done = 0;
    for ((topic, partition), extent) in &extents {
        check.begin(topic, *partition, *extent)?;
        reader.read(topic, *partition, extent.low..extent.high, |record| {
            progress(Step::Records, done + (record.offset - extent.low) as u64, total);
            check.record(record)
        })?;
        done += (extent.high - extent.low).max(0) as u64;
        let (low, high) = reader.watermarks(topic, *partition)?;
        while let Some((first, last)) = check.end(Extent { low, high, ..*extent })? {
            reader.read(topic, *partition, first..last + 1, |record| check.again(record))?;
        }
    }
    // What was deleted while records were looked for is known now.
    let gone = |found: &mut Findings| -> Result<Below, OutputError> {
        let (workers, unreadable) = Gone::everyones(&sink_folder(&root, plan)?)?;
        for file in unreadable {
            let detail = "it said what retention has deleted, and cannot be read: that is among the missing".into();
            found.add(Finding::Damaged { file, detail });
        }
        Ok(past.deleted(&workers, &extents))
    };
    let report = check.finish(&reader, &self::extents(&reader, plan, &past)?, gone, progress)?;
    Ok(Report { archived: archived(&root.join(plan.spec.output.directory()), &sink_folder(&root, plan)?)?, ..report })
}

/// What the sink's own folder says of its archive.
fn archived(directory: &Path, folder: &Path) -> Result<BTreeMap<String, Archived>, OutputError> {
    let mut all = BTreeMap::<String, Archived>::new();
    for Entry { place, bytes, file, .. } in Known::read(folder)?.entries {
        let there = all.entry(place).or_default();
        there.files += 1;
        there.bytes += bytes;
        there.only += u64::from(!directory.join(file).exists());
    }
    Ok(all)
}

/// A sink makes its directory when it is run for the first time.
fn has_begun(directory: &Path) -> Result<(), Fault> {
    if !matches!(directory.try_exists(), Ok(false)) {
        return Ok(());
    }
    let message = format!(
        "nothing was stored yet in {}: `edgereel run` makes it at its first start; if the files are elsewhere, say where \
         with `--storage-root DIR`",
        directory.display()
    );
    Err(Fault::new(Reason::StorageMissing, message))
}

fn extents(reader: &TopicReader, plan: &SinkPlan, past: &Past) -> Result<Extents, Fault> {
    let mut extents = Extents::new();
    for topic in &plan.topics {
        let found = reader.extents(topic)?;
        extents.extend(found.into_iter().map(|(partition, extent)| {
            let began = past.began(topic, partition);
            ((topic.clone(), partition), Extent { began, ..extent })
        }));
    }
    Ok(extents)
}

/// The topics that the sink has read.
fn earlier(root: &Path, plan: &SinkPlan) -> Result<Vec<String>, OutputError> {
    let known = everyones(root, plan)?;
    Ok(known.iter().flat_map(|worker| worker.topics.keys().cloned()).collect())
}

/// What the sink's own folder says of what its workers have read.
fn everyones(root: &Path, plan: &SinkPlan) -> Result<Vec<Earlier>, OutputError> {
    memory::everyones(&sink_folder(root, plan)?)
}

fn sink_folder(root: &Path, plan: &SinkPlan) -> Result<PathBuf, OutputError> {
    Ok(root.join(plan.spec.output.directory()).join(private_dir::place(&plan.name)?))
}
