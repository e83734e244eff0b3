//! From a record to something that can be written: decoded, and in its place in the queue.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use edgereel_crds::{
    frame_sink::{Output, SinkFormat},
    plan::SinkPlan,
};
use edgereel_frame::wire::{self, Invalid, RecordView, Take, time};
use edgereel_kafka::consumer::{Begun, Record, TopicPartition};
use jiff::Timestamp;

use crate::sink::{
    merge::{Item, Merge, Next},
    output::{SinkFrame, Standing},
};

/// A record and what it holds. The record stays whole: it may yet have to go to the dead-letter topic.
pub struct Entry {
    /// As it came.
    pub record: Record,
    /// The frame, or why it is none.
    pub content: Result<SinkFrame, Invalid>,
}

impl Entry {
    /// When it was captured; for a record that is no frame, when it was sent.
    pub fn time(&self) -> Timestamp {
        let sent_at = |_: &Invalid| time::of_record(self.record.timestamp_ms);
        self.content.as_ref().map_or_else(sent_at, |frame| frame.captured_at)
    }
}

/// Turns records into entries.
pub struct Decoder {
    format: SinkFormat,
    take: Take,
    camera: Option<Arc<str>>,
}

impl Decoder {
    /// As the sink asks for.
    pub fn new(plan: &SinkPlan) -> Self {
        Decoder {
            format: plan.spec.format,
            take: (&plan.spec.output).into(),
            camera: plan.camera.as_deref().map(Arc::from),
        }
    }

    /// Decodes a record.
    pub fn decode(&self, mut record: Record) -> Entry {
        let view = RecordView {
            value: record.value.clone(),
            headers: &record.headers,
            key: record.key.as_deref(),
            timestamp: record.timestamp_ms,
        };
        let content = wire::decode(&view, self.format, self.take).map(|frame| SinkFrame {
            source: record.source.clone(),
            offset: record.offset,
            picture: frame.picture,
            info: frame.info,
            label: frame.label,
            captured_at: frame.captured_at,
            camera: match (frame.camera, &self.camera) {
                (Some(camera), _) => camera.into(),
                (None, Some(camera)) => camera.clone(),
                (None, None) => record.source.topic.clone(),
            },
            sequence: frame.sequence,
            standing: Standing::at(frame.captured_at),
        });
        // A picture that was taken out of JSON is held beside its record.
        if let Ok(frame) = &content
            && record.value.as_ref().is_none_or(|value| value.as_ptr() != frame.picture.as_ptr())
        {
            record.charge.add(frame.picture.len());
        }
        Entry { record, content }
    }
}

/// Entries that wait to be written.
pub enum Queue {
    /// As they come, for an output that takes each partition by itself.
    Plain(VecDeque<Entry>),
    /// By capture time over all partitions.
    Merged(Merge<Entry>),
}

impl Queue {
    /// An empty queue for an assignment.
    pub fn new(output: &Output, begun: &[Begun]) -> Self {
        let sources = begun.iter().map(|b| b.assigned.source.clone());
        match output {
            Output::JpegFiles(_) => Queue::Plain(VecDeque::new()),
            Output::Video(video) => Queue::Merged(Merge::new(sources, *video.merge_window, Instant::now())),
            Output::Dataset(dataset) => Queue::Merged(Merge::new(sources, *dataset.merge_window, Instant::now())),
        }
    }

    /// An entry came.
    pub fn push(&mut self, entry: Entry) {
        match self {
            Queue::Plain(queue) => queue.push_back(entry),
            Queue::Merged(merge) => {
                let source = entry.record.source.clone();
                let item = Item { time: entry.time(), keyed: entry.record.key.is_some(), what: entry };
                merge.push(&source, item, Instant::now());
            }
        }
    }

    /// All that the partition had at the moment `as_of` was pushed.
    pub fn end(&mut self, source: &TopicPartition, as_of: Instant) {
        if let Queue::Merged(merge) = self {
            merge.end(source, as_of);
        }
    }

    /// The next entry and whether it is late, or how long to wait for one.
    pub fn pop(&mut self) -> Result<(Entry, bool), Option<Duration>> {
        match self {
            Queue::Plain(queue) => queue.pop_front().map(|entry| (entry, false)).ok_or(None),
            Queue::Merged(merge) => {
                let now = Instant::now();
                match merge.pop(now) {
                    Next::Record { what: mut entry, standing } => {
                        if let Ok(frame) = &mut entry.content {
                            frame.standing = standing;
                        }
                        Ok((entry, standing.late))
                    }
                    Next::Wait(until) => Err(until.map(|until| until.saturating_duration_since(now))),
                }
            }
        }
    }

    /// The oldest capture time that waits.
    pub fn oldest(&self) -> Option<Timestamp> {
        match self {
            Queue::Plain(queue) => queue.front().map(Entry::time),
            Queue::Merged(merge) => merge.oldest(),
        }
    }
}
