//! Reads the dead-letter topic.

use edgereel_crds::plan::SinkPlan;
use edgereel_frame::wire::{self, Header};
use edgereel_kafka::reader::TopicReader;
use edgereel_runtime::fault::Fault;

use super::{Place, Progress, Step};
use crate::sink::dead_letter::{OFFSET, PARTITION, TOPIC};

/// Whether the topic still has what was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// From the first letter on.
    All,
    /// Its retention has taken the first ones.
    Some,
}

/// Gives the place that each letter tells of to `take`.
pub(super) fn read(
    reader: &TopicReader,
    plan: &SinkPlan,
    progress: &mut Progress<'_>,
    mut take: impl FnMut(&Place),
) -> Result<Kept, Fault> {
    let Some(letters) = &plan.spec.dead_letter else { return Ok(Kept::All) };
    let extents = reader.extents(&letters.topic)?;
    let total = extents.values().map(|e| (e.high - e.low).max(0) as u64).sum();
    let mut done = 0;
    for (partition, extent) in &extents {
        reader.read(&letters.topic, *partition, extent.low..extent.high, |record| {
            progress(Step::Letters, done + (record.offset - extent.low) as u64, total);
            if let Some(place) = place(&record.headers) {
                take(&place);
            }
            Ok::<_, Fault>(())
        })?;
        done += (extent.high - extent.low).max(0) as u64;
    }
    Ok(if extents.values().all(|extent| extent.low == 0) { Kept::All } else { Kept::Some })
}

/// The place that a letter tells of.
fn place(headers: &[Header]) -> Option<Place> {
    let text = |name| wire::text_header(headers, name);
    Some(Place {
        topic: text(TOPIC)?.to_owned(),
        partition: text(PARTITION)?.parse().ok()?,
        offset: text(OFFSET)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_letter_tells_of_the_place_where_it_was_last_refused() {
        let header = |name: &'static str, value: &'static [u8]| (Bytes::from(name), Some(Bytes::from(value)));
        let mut headers = vec![header(TOPIC, b"other"), header(PARTITION, b"0"), header(OFFSET, b"7")];
        headers.extend([header(TOPIC, b"gate"), header(PARTITION, b"2"), header(OFFSET, b"41")]);
        assert_eq!(place(&headers), Some(Place { topic: "gate".into(), partition: 2, offset: 41 }));
        for (name, damage) in [(TOPIC, &b"\xff"[..]), (OFFSET, b""), (PARTITION, b"two")] {
            assert_eq!(place(&[headers.clone(), vec![header(name, damage)]].concat()), None, "{name}");
        }
        assert_eq!(place(&headers[..2]), None);
    }
}
