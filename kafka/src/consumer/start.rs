//! Where to begin reading a partition: a pure decision.
//!
//! librdkafka's own answer to a missing or lost offset (`auto.offset.reset`) skips records without a word, so it is set
//! to `error` and the decision is made here.

use edgereel_crds::frame_sink::OnOffsetLost;

use super::mark::TopicId;

/// `startFrom`, looked up for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The oldest record that is there.
    Earliest,
    /// What comes from now on.
    Latest,
    /// The offset of the first record at or after the given time; none when all records are older.
    At(Option<i64>),
}

/// All that the decision needs to know of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The next offset that the group wants; none where it has none.
    pub committed: Option<i64>,
    /// The topic's id that stands beside it.
    pub committed_id: Option<TopicId>,
    /// The topic's id now.
    pub id: Option<TopicId>,
    /// The sink's own folder says that it has read this partition before.
    pub was_read: bool,
    /// The topic's id in the sink's own folder.
    pub earlier_id: Option<TopicId>,
    /// The partition came after the sink's first start with this topic.
    pub added: bool,
    /// The partition's first offset.
    pub low: i64,
    /// The offset after its last record.
    pub high: i64,
}

/// Why a place in a topic is no place any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Retention cut the records before they were read.
    Cut,
    /// The topic ends before the committed offset: it was made anew, or its broker lost records.
    Beyond,
    /// The topic has another id than the one that was read.
    MadeAnew,
    /// The group has no offset, though the sink has read this partition: it was deleted or has expired.
    Forgotten,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Read from `offset`; `lost` records were gone before they were read.
    From {
        /// The first offset to read.
        offset: i64,
        /// Records between the committed offset and `offset`, as far as that can be known.
        lost: u64,
        /// Why it is not where the group left off, if so.
        why: Option<Why>,
    },
    /// The place is lost, and a person has to decide.
    Lost(Why),
}

/// Where to begin.
pub fn decide_start(facts: &Facts, first: First, on_lost: OnOffsetLost) -> Start {
    let (low, high) = (facts.low, facts.high);
    let why = match (facts.committed, made_anew(facts)) {
        (_, true) => Why::MadeAnew,
        (None, false) if facts.was_read => Why::Forgotten,
        (None, false) => {
            let offset = match first {
                // The sink was there before the partition: all of it came after the sink's first start.
                _ if facts.added => low,
                First::Earliest => low,
                First::Latest | First::At(None) => high,
                // Retention may have cut since the look-up.
                First::At(Some(offset)) => offset.clamp(low, high),
            };
            return Start::From { offset, lost: 0, why: None };
        }
        (Some(committed), false) if committed < low => Why::Cut,
        (Some(committed), false) if committed > high => Why::Beyond,
        (Some(committed), false) => return Start::From { offset: committed, lost: 0, why: None },
    };
    // How much of the former topic was never read cannot be known any more, nor how much of it was when the offset is gone.
    let unread_from = match (why, facts.committed) {
        (Why::Cut, Some(committed)) => committed,
        _ => low,
    };
    let at = |offset: i64| Start::From { offset, lost: offset.abs_diff(unread_from), why: Some(why) };
    match on_lost {
        OnOffsetLost::Fail => Start::Lost(why),
        OnOffsetLost::Earliest => at(low),
        OnOffsetLost::Latest => at(high),
    }
}

/// Whether the topic is another than the one that was read. The commit's own word counts before the folder's: it is newer.
/// A partition that was added to this topic has no past in a former one.
fn made_anew(facts: &Facts) -> bool {
    if facts.committed.is_none() && facts.added {
        return false;
    }
    let known = match (&facts.committed, &facts.committed_id) {
        (Some(_), Some(id)) => Some(id),
        _ => facts.earlier_id.as_ref(),
    };
    matches!((known, &facts.id), (Some(known), Some(id)) if known != id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(offset: i64, lost: u64) -> Start {
        Start::From { offset, lost, why: None }
    }

    fn again(offset: i64, lost: u64, why: Why) -> Start {
        Start::From { offset, lost, why: Some(why) }
    }

    fn id(text: &str) -> Option<TopicId> {
        Some(TopicId::new(text))
    }

    /// A partition of topic `a` that holds 10 to 20.
    fn holding(committed: Option<i64>) -> Facts {
        Facts {
            committed,
            committed_id: committed.and_then(|_| id("a")),
            id: id("a"),
            was_read: false,
            earlier_id: None,
            added: false,
            low: 10,
            high: 20,
        }
    }

    #[test]
    fn every_case_begins_where_the_resource_says() {
        use First::*;
        use OnOffsetLost::{Earliest as ToEarliest, Fail, Latest as ToLatest};
        let cases = [
            (None, Earliest, Fail, from(10, 0)),
            (None, Latest, Fail, from(20, 0)),
            (None, At(Some(15)), Fail, from(15, 0)),
            (None, At(Some(5)), Fail, from(10, 0)),
            (None, At(None), Fail, from(20, 0)),
            (Some(10), Latest, Fail, from(10, 0)),
            (Some(14), Earliest, Fail, from(14, 0)),
            (Some(20), Earliest, ToEarliest, from(20, 0)),
            (Some(7), Earliest, Fail, Start::Lost(Why::Cut)),
            (Some(7), Latest, ToEarliest, again(10, 3, Why::Cut)),
            (Some(7), Earliest, ToLatest, again(20, 13, Why::Cut)),
            (Some(21), Earliest, Fail, Start::Lost(Why::Beyond)),
            (Some(21), Earliest, ToEarliest, again(10, 0, Why::Beyond)),
            (Some(21), Earliest, ToLatest, again(20, 10, Why::Beyond)),
        ];
        for (committed, first, on_lost, expected) in cases {
            let facts = holding(committed);
            assert_eq!(decide_start(&facts, first, on_lost), expected, "{facts:?}, {first:?}, {on_lost:?}");
        }
    }

    #[test]
    fn an_offset_of_a_former_topic_is_never_applied_to_its_successor() {
        let cases = [
            // Its place would be there in the new topic, too.
            Facts { id: id("b"), ..holding(Some(15)) },
            // Kafka deletes a topic's offsets with the topic: the folder remembers its id.
            Facts { id: id("b"), was_read: true, earlier_id: id("a"), ..holding(None) },
            Facts { id: id("b"), earlier_id: id("a"), ..holding(None) },
            // Committed by a version that did not write ids.
            Facts { id: id("b"), committed_id: None, earlier_id: id("a"), ..holding(Some(15)) },
        ];
        for facts in cases {
            let decide = |on_lost| decide_start(&facts, First::Earliest, on_lost);
            assert_eq!(decide(OnOffsetLost::Fail), Start::Lost(Why::MadeAnew), "{facts:?}");
            assert_eq!(decide(OnOffsetLost::Earliest), again(10, 0, Why::MadeAnew), "{facts:?}");
            assert_eq!(decide(OnOffsetLost::Latest), again(20, 10, Why::MadeAnew), "{facts:?}");
        }
        // A decision that was taken stands in the commit, whatever the folder still says.
        let facts = Facts { id: id("b"), committed_id: id("b"), earlier_id: id("a"), ..holding(Some(15)) };
        assert_eq!(decide_start(&facts, First::Earliest, OnOffsetLost::Fail), from(15, 0));
        // Brokers that give no ids tell nothing.
        let facts = Facts { id: None, ..holding(Some(15)) };
        assert_eq!(decide_start(&facts, First::Earliest, OnOffsetLost::Fail), from(15, 0));
    }

    #[test]
    fn a_group_without_an_offset_is_a_first_start_only_if_the_sink_has_never_read_the_partition() {
        let facts = Facts { was_read: true, earlier_id: id("a"), ..holding(None) };
        for first in [First::Earliest, First::Latest, First::At(None)] {
            let decide = |on_lost| decide_start(&facts, first, on_lost);
            assert_eq!(decide(OnOffsetLost::Fail), Start::Lost(Why::Forgotten));
            assert_eq!(decide(OnOffsetLost::Earliest), again(10, 0, Why::Forgotten));
        }
    }

    #[test]
    fn a_partition_that_was_added_later_is_read_from_its_beginning() {
        // Also where this worker remembers a former topic only, of whose successor another has read the first partitions.
        for earlier in ["a", "former"] {
            let facts = Facts { added: true, earlier_id: id(earlier), ..holding(None) };
            for first in [First::Earliest, First::Latest, First::At(None), First::At(Some(15))] {
                assert_eq!(decide_start(&facts, first, OnOffsetLost::Fail), from(10, 0));
            }
        }
    }

    proptest! {
        #[test]
        fn the_start_is_always_in_the_topic_and_a_gap_is_never_silent(
            committed in prop::option::of(0i64..100), low in 0i64..50, records in 0i64..50, latest in any::<bool>(),
            was_read: bool, added: bool, ids in prop::collection::vec(prop::option::of("[ab]"), 3),
        ) {
            let high = low + records;
            let on_lost = if latest { OnOffsetLost::Latest } else { OnOffsetLost::Earliest };
            let ids: Vec<_> = ids.into_iter().map(|id| id.map(TopicId::new)).collect();
            let facts = Facts {
                committed, committed_id: ids[0].clone(), id: ids[1].clone(), was_read, earlier_id: ids[2].clone(), added, low, high,
            };
            match decide_start(&facts, First::Earliest, on_lost) {
                Start::From { offset, lost, why } => {
                    prop_assert!((low..=high).contains(&offset));
                    if let Some(committed) = committed && offset > committed && why == Some(Why::Cut) {
                        prop_assert_eq!(lost, (offset - committed) as u64);
                    }
                    if let Some(committed) = committed && offset != committed {
                        prop_assert!(why.is_some(), "passed over in silence");
                    }
                    if was_read && committed.is_none() {
                        prop_assert!(why.is_some(), "taken for a first start");
                    }
                }
                Start::Lost(_) => prop_assert!(false, "only `fail` stops"),
            }
        }
    }
}
