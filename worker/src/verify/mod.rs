//! Compares what sinks wrote with what their topics hold, record by record.
//!
//! - [`jpeg_files`] and [`video`] each know an output's files.
//! - [`report`] is what was found.
//!
//! A record is *pending* while its offset is not committed: its file may be there or not. A committed record must be
//! there exactly once, whole; one that is not a frame must have gone the way that `onInvalid` says.

mod jpeg_files;
pub mod report;
mod video;

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use edgereel_crds::{
    frame_sink::{OnInvalid, Output, StartFrom, Storage},
    plan::SinkPlan,
};

use self::report::{Finding, Report};
use crate::{
    fault::Fault,
    frame::wire::{self, Decoded, RecordView},
    kafka::reader::{Extent, StoredRecord, TopicReader},
    secrets::Secrets,
    sink::{dead_letter, fault::OutputError},
};

/// A place in Kafka.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

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
}

/// The files of one output.
pub(crate) trait Files {
    /// Looks for the frame of a record.
    fn find(&mut self, place: &Place, frame: &Decoded) -> Result<Found, OutputError>;
    /// What is wrong with the files themselves, once every record has been looked for.
    fn finish(&mut self, extents: &Extents) -> Vec<Finding>;
}

/// What each partition of each topic holds.
pub(crate) type Extents = BTreeMap<(String, i32), Extent>;

/// Compares one sink's files with its topics. `progress` hears how many of how many records have been looked at.
pub fn verify(
    plan: &SinkPlan,
    storage_root: Option<&Path>,
    secrets: &Secrets,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, Fault> {
    let reader = TopicReader::open(&plan.connection, secrets, &plan.group)?;
    let mut extents = Extents::new();
    for topic in &plan.topics {
        let found = reader.extents(topic)?;
        extents.extend(found.into_iter().map(|(partition, extent)| ((topic.clone(), partition), extent)));
    }
    let root = root(plan, storage_root);
    let mut files: Box<dyn Files> = match &plan.spec.output {
        Output::JpegFiles(spec) => Box::new(jpeg_files::JpegFiles::list(&root, spec, plan)?),
        Output::Video(spec) => Box::new(video::Video::list(&root, spec, plan)?),
    };
    let mut check = Check {
        plan,
        files: files.as_mut(),
        report: Report::new(plan),
        invalid: HashSet::new(),
        begun: HashSet::new(),
    };
    let total = extents.values().map(|e| (e.high - e.low).max(0) as u64).sum();
    let mut done = 0;
    for topic in &plan.topics {
        let of_topic: BTreeMap<i32, Extent> =
            extents.iter().filter(|((t, _), _)| t == topic).map(|((_, p), e)| (*p, *e)).collect();
        reader.read(topic, &of_topic, |record| {
            done += 1;
            progress(done, total);
            check.record(record, of_topic_extent(&extents, topic))
        })?;
    }
    let Check { mut report, invalid, .. } = check;
    report.findings.extend(files.finish(&extents));
    if plan.on_invalid == OnInvalid::DeadLetter {
        let found = dead_letters(&reader, plan)?;
        let lost = invalid.into_iter().filter(|place| !found.contains(place));
        report.findings.extend(lost.map(|place| Finding::NotDeadLettered { place }));
    }
    report.findings.sort();
    Ok(report)
}

fn of_topic_extent<'a>(extents: &'a Extents, topic: &'a str) -> impl Fn(i32) -> Extent + 'a {
    move |partition| extents[&(topic.to_owned(), partition)]
}

/// Where the sink's storage is on this machine.
fn root(plan: &SinkPlan, storage_root: Option<&Path>) -> PathBuf {
    match (storage_root, &plan.spec.storage) {
        (Some(root), _) => root.into(),
        (None, Storage::HostPath(host)) => host.path.clone().into(),
        // `edgereel verify` has refused this before it came here.
        (None, Storage::PersistentVolumeClaim(_) | Storage::VolumeClaimTemplate(_)) => PathBuf::from("."),
    }
}

struct Check<'a> {
    plan: &'a SinkPlan,
    files: &'a mut dyn Files,
    report: Report,
    /// Committed records that are no frames.
    invalid: HashSet<Place>,
    /// Partitions of which something was found.
    begun: HashSet<(String, i32)>,
}

impl Check<'_> {
    fn record(&mut self, record: StoredRecord, extent: impl Fn(i32) -> Extent) -> Result<(), Fault> {
        let place = Place { topic: record.topic.clone(), partition: record.partition, offset: record.offset };
        let pending = extent(place.partition).committed.is_none_or(|committed| place.offset >= committed);
        self.report.records += 1;
        let view = RecordView {
            value: record.value.clone(),
            headers: &record.headers,
            key: record.key.as_deref(),
            timestamp: record.timestamp,
        };
        let mut decoded = match wire::decode(&view, self.plan.spec.format) {
            Ok(decoded) => decoded,
            Err(_) => {
                self.invalid(place, pending);
                return Ok(());
            }
        };
        if decoded.camera.is_none() {
            decoded.camera = Some(self.plan.camera.clone().unwrap_or_else(|| place.topic.clone()));
        }
        let found = match self.files.find(&place, &decoded) {
            Ok(found) => found,
            Err(OutputError::Frame { .. }) => {
                self.invalid(place, pending);
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        let partition = (place.topic.clone(), place.partition);
        match found {
            Found::Whole => {
                self.report.present += 1;
                self.begun.insert(partition);
            }
            Found::LeftOut => {
                self.report.left_out += 1;
                self.begun.insert(partition);
            }
            _ if pending => self.report.pending += 1,
            // A sink that began later than the topic has no claim on what came before.
            Found::Missing if self.plan.spec.start_from != StartFrom::Earliest && !self.begun.contains(&partition) => {
                self.report.before_start += 1;
            }
            Found::Missing => self.report.findings.push(Finding::Missing { place }),
            Found::Torn(detail) => self.report.findings.push(Finding::Torn { place, detail }),
        }
        Ok(())
    }

    fn invalid(&mut self, place: Place, pending: bool) {
        if pending {
            self.report.pending += 1;
        } else {
            self.report.invalid += 1;
            self.invalid.insert(place);
        }
    }
}

/// The places that the dead-letter topic tells of.
fn dead_letters(reader: &TopicReader, plan: &SinkPlan) -> Result<HashSet<Place>, Fault> {
    let mut places = HashSet::new();
    let Some(letters) = &plan.spec.dead_letter else { return Ok(places) };
    let extents = reader.extents(&letters.topic)?;
    reader.read(&letters.topic, &extents, |record| {
        let text = |name: &str| wire::text_header(&record.headers, name);
        let place = (|| {
            Some(Place {
                topic: text(dead_letter::TOPIC)?.to_owned(),
                partition: text(dead_letter::PARTITION)?.parse().ok()?,
                offset: text(dead_letter::OFFSET)?.parse().ok()?,
            })
        })();
        places.extend(place);
        Ok::<_, Fault>(())
    })?;
    Ok(places)
}
