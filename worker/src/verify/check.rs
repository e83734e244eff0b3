//! Judges each record: found, missing, pending, or no frame.

use edgereel_crds::{
    frame_sink::{OnInvalid, StartFrom},
    plan::SinkPlan,
};
use edgereel_frame::wire::{self, Decoded, RecordView};
use edgereel_kafka::reader::{Began, Extent, StoredRecord, TopicReader};
use edgereel_runtime::fault::Fault;

use super::{
    Below, Extents, Files, Found, Look, Place, Progress, letters,
    offsets::{Offsets, Places},
    report::{Finding, Findings, Report},
};
use crate::sink::fault::OutputError;

/// One sink's check, partition by partition.
pub(super) struct Check<'a> {
    plan: &'a SinkPlan,
    files: &'a mut dyn Files,
    report: Report,
    /// Committed records that are no frames, or that the output has no place for.
    invalid: Places,
    /// Committed frames that are nowhere.
    missing: Places,
    partition: Partition,
}

/// The partition whose records are looked at.
#[derive(Default)]
struct Partition {
    topic: String,
    number: i32,
    extent: Option<Extent>,
    /// Committed frames that were not found, so far.
    absent: Offsets,
    /// Those that are looked for again.
    again: Offsets,
    /// The first that was found.
    first: Option<i64>,
}

impl<'a> Check<'a> {
    pub(super) fn new(plan: &'a SinkPlan, files: &'a mut dyn Files) -> Self {
        let (invalid, missing) = (Places::default(), Places::default());
        Check { plan, files, report: Report::new(plan), invalid, missing, partition: Partition::default() }
    }

    /// The records of a partition follow.
    pub(super) fn begin(&mut self, topic: &str, number: i32, extent: Extent) -> Result<(), Fault> {
        self.partition = Partition { topic: topic.to_owned(), number, extent: Some(extent), ..Partition::default() };
        Ok(self.files.begin(topic, number)?)
    }

    /// One record.
    pub(super) fn record(&mut self, record: StoredRecord) -> Result<(), Fault> {
        self.report.records += 1;
        let pending = !self.partition.look().is_committed(record.offset);
        let (place, found) = self.look_for(record)?;
        match found {
            Found::Whole => self.report.present += 1,
            Found::LeftOut => self.report.left_out += 1,
            _ if pending => self.report.pending += 1,
            Found::Missing => {
                self.partition.absent.insert(place.offset);
            }
            Found::Refused => {
                self.report.invalid += 1;
                self.invalid.insert(&place);
            }
            Found::Torn(detail) => self.report.found.add(Finding::Torn { place, detail }),
        }
        Ok(())
    }

    /// A record that was looked at before and is to be looked for again.
    pub(super) fn again(&mut self, record: StoredRecord) -> Result<(), Fault> {
        if !self.partition.again.contains(record.offset) {
            return Ok(());
        }
        let (place, found) = self.look_for(record)?;
        match found {
            Found::Whole => self.report.present += 1,
            Found::LeftOut => self.report.left_out += 1,
            Found::Missing | Found::Refused => return Ok(()),
            Found::Torn(detail) => self.report.found.add(Finding::Torn { place: place.clone(), detail }),
        }
        self.partition.absent.remove(place.offset);
        Ok(())
    }

    fn look_for(&mut self, record: StoredRecord) -> Result<(Place, Found), Fault> {
        let Some(frame) = decode(&record, self.plan) else { return Ok((place(record), Found::Refused)) };
        let place = place(record);
        let found = match self.files.find(&place, &frame, &self.partition.look()) {
            Err(OutputError::Frame { .. }) => Found::Refused,
            found => found?,
        };
        if matches!(found, Found::Whole | Found::LeftOut) {
            let first = self.partition.first.unwrap_or(place.offset);
            self.partition.first = Some(first.min(place.offset));
        }
        Ok((place, found))
    }

    /// The records of the partition were looked at; `now` is what it holds, with what was committed before. The first and last offset of those that are
    /// to be looked at [again](Self::again), or none: then they are judged.
    pub(super) fn end(&mut self, now: Extent) -> Result<Option<(i64, i64)>, Fault> {
        self.partition.extent = Some(now);
        self.partition.again = self.files.end(&self.partition.look())?;
        let again = self.partition.again.bounds();
        if again.is_none() {
            self.settle();
        }
        Ok(again)
    }

    fn settle(&mut self) {
        let Partition { topic, number, extent, absent, first, .. } = std::mem::take(&mut self.partition);
        let began = extent.and_then(|extent| extent.began);
        for offset in absent.iter() {
            if is_claimed(offset, began, &self.plan.spec.start_from, first) {
                self.missing.of(&topic, number).insert(offset);
            } else if matches!(began, Some(Began::Before(_))) {
                self.report.before_folder += 1;
            } else {
                self.report.before_start += 1;
            }
        }
    }

    /// The result, once every partition was looked at.
    pub(super) fn finish(
        self,
        reader: &TopicReader,
        now: &Extents,
        gone: impl FnOnce(&mut Findings) -> Result<Below, OutputError>,
        progress: &mut Progress<'_>,
    ) -> Result<Report, Fault> {
        let Check { plan, files, mut report, mut invalid, missing, .. } = self;
        let gone = gone(&mut report.found)?;
        let mut missing = kept(missing, &gone, &mut report);
        files.finish(now, &mut report.found)?;
        report.former = files.former();
        if plan.on_invalid == OnInvalid::DeadLetter && !(invalid.is_empty() && missing.is_empty()) {
            let kept = letters::read(reader, plan, progress, |place| {
                invalid.remove(place);
                // The sink met something in it that it could not store, and said so.
                report.invalid += u64::from(missing.remove(place));
            })?;
            for place in invalid.iter() {
                match kept {
                    letters::Kept::All => report.found.add(Finding::NotDeadLettered { place }),
                    letters::Kept::Some => report.letters_gone += 1,
                }
            }
        }
        for place in missing.iter() {
            report.found.add(Finding::Missing { place });
        }
        report.found.list.sort();
        Ok(report)
    }
}

/// Those that are missing and were not deleted on purpose.
fn kept(missing: Places, gone: &Below, report: &mut Report) -> Places {
    let mut left = Places::default();
    for place in missing.iter() {
        if gone.get(&(place.topic.clone(), place.partition)).is_some_and(|below| place.offset < *below) {
            report.deleted += 1;
        } else {
            left.insert(&place);
        }
    }
    left
}

impl Partition {
    fn look(&self) -> Look<'_> {
        let nothing = Extent { low: 0, high: 0, committed: None, began: None };
        Look { extent: self.extent.unwrap_or(nothing), absent: &self.absent }
    }
}

fn place(record: StoredRecord) -> Place {
    Place { topic: record.topic, partition: record.partition, offset: record.offset }
}

/// The frame that a record holds, as the sink reads it; none if it is no frame.
fn decode(record: &StoredRecord, plan: &SinkPlan) -> Option<Decoded> {
    let view = RecordView {
        value: record.value.clone(),
        headers: &record.headers,
        key: record.key.as_deref(),
        timestamp: record.timestamp,
    };
    let mut decoded = wire::decode(&view, plan.spec.format, (&plan.spec.output).into()).ok()?;
    if decoded.camera.is_none() {
        decoded.camera = Some(plan.camera.clone().unwrap_or_else(|| record.topic.clone()));
    }
    Some(decoded)
}

/// Whether the sink has to have a committed record: not if it began to read its partition after it. Where that is not
/// known, a sink that was to begin later than the topic has to have what comes after the `first` frame that it has; and so
/// has one whose folder tells only of its later life.
fn is_claimed(offset: i64, began: Option<Began>, start_from: &StartFrom, first: Option<i64>) -> bool {
    let after_first = || first.is_some_and(|first| offset >= first);
    match began {
        Some(Began::At(began)) => offset >= began,
        Some(Began::Before(began)) => offset >= began || after_first(),
        None => *start_from == StartFrom::Earliest || after_first(),
    }
}

#[cfg(test)]
mod tests;
