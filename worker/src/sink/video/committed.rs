//! What the group's commits say of the files that stand behind them; for all outputs that append.

use std::ops::Range;

use edgereel_crds::{name::ObjectName, status::Reason};

use super::{
    checkpoint::Checkpoint,
    segment_log::{Line, SegmentLog},
};
use crate::sink::{
    fault::OutputError,
    output::{Assigned, TopicPartition},
};

/// What the group's commits say.
///
/// A commit sets all partitions of the assignment to one checkpoint. Partitions differ where the list of topics was changed
/// and changed back: those that were not read meanwhile have the older one. **The newest, with each partition's own offset,
/// is exact.** Files only grow: what they held at an older checkpoint is the beginning of what they hold at the newest. Of a
/// partition that was not read since, nothing was added; so the newest holds exactly its frames before its own offset, as the
/// older one did. What was added is of the others, whose offsets were committed with it.
///
/// One thing else makes them differ: a broker that took a commit for some partitions and refused it for others. Then the
/// files do hold frames of the older ones from behind their offsets, and their CSVs show it ([`Committed::check`]).
#[derive(Debug)]
pub struct Committed {
    /// Where the files stand.
    pub newest: Checkpoint,
    /// The partitions with another checkpoint, with their offsets.
    pub older: Vec<(TopicPartition, i64, Checkpoint)>,
}

impl Committed {
    /// None if no partition has a checkpoint.
    pub fn read(sink: &ObjectName, assigned: &[Assigned]) -> Result<Option<Committed>, OutputError> {
        let fault = |what: String| {
            let message = format!(
                "sink {sink}: the committed checkpoint {what}; stop the sink and set its group's offsets anew \
                 (kafka-consumer-groups --reset-offsets), it then begins a new file"
            );
            OutputError::storage(Reason::InvalidConfiguration, message)
        };
        let mut all = Vec::new();
        for partition in assigned {
            // Offsets that a tool or another program set have no metadata.
            if let Some((offset, text)) = partition.committed.as_ref().filter(|(_, text)| !text.is_empty()) {
                all.push((partition.source.clone(), *offset, Checkpoint::from_metadata(text).map_err(fault)?));
            }
        }
        let Some(newest) = all.iter().map(|(_, _, checkpoint)| checkpoint).max_by_key(|c| c.age()).cloned() else {
            return Ok(None);
        };
        all.retain(|(_, _, checkpoint)| *checkpoint != newest);
        Ok(Some(Committed { newest, older: all }))
    }

    /// Looks whether the files hold frames of partitions with an older checkpoint from behind it. `last_offset` tells the
    /// last offset of a partition among these bytes of a segment's rows.
    pub fn check(
        &self,
        sink: &ObjectName,
        log: &mut SegmentLog,
        last_offset: impl Fn(&Line, &TopicPartition, Range<u64>) -> Result<Option<i64>, OutputError>,
    ) -> Result<(), OutputError> {
        let newest = &self.newest;
        for (source, offset, older) in &self.older {
            let from = older.segment.saturating_sub(u64::from(older.open.is_some()));
            let mut last = None;
            for line in log.after(from)? {
                if line.segment > newest.segment {
                    break;
                }
                let rows = |at: &Checkpoint| {
                    at.open.as_ref().filter(|open| at.segment == line.segment && open.name == line.file).map(|o| o.csv)
                };
                let (begin, end) = (rows(older).unwrap_or(0), rows(newest).unwrap_or(u64::MAX));
                last = last.max(last_offset(&line, source, begin..end)?);
            }
            if let Some(last) = last.filter(|last| last >= offset) {
                let TopicPartition { topic, partition } = source;
                let message = format!(
                    "sink {sink}: the files hold frames of {topic}[{partition}] up to offset {last}, and the committed \
                     offset is {offset}: its commit was refused, others of the same frames were not. Stop the sink and set \
                     the offset of this partition to {} (kafka-consumer-groups --reset-offsets --to-offset)",
                    last + 1
                );
                return Err(OutputError::storage(Reason::InvalidConfiguration, message));
            }
        }
        Ok(())
    }
}
