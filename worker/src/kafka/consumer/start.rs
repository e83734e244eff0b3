//! Where to begin reading a partition: a pure decision.
//!
//! librdkafka's own answer to a missing or lost offset (`auto.offset.reset`) skips records without a word, so it is set
//! to `error` and the decision is made here.

use edgereel_crds::frame_sink::OnOffsetLost;

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

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Read from `offset`; `lost` records were gone before they were read.
    From {
        /// The first offset to read.
        offset: i64,
        /// Records between the committed offset and `offset`.
        lost: u64,
    },
    /// The committed offset is not in the topic any more, and a person has to decide.
    Lost {
        /// Whether the topic was made anew (the committed offset is beyond its end), rather than cut by retention.
        made_anew: bool,
    },
}

/// Where to begin. `low` and `high` are the partition's first offset and the one after its last record; `committed` is
/// the next offset that the group wants.
pub fn decide_start(committed: Option<i64>, low: i64, high: i64, first: First, on_lost: OnOffsetLost) -> Start {
    let Some(committed) = committed else {
        let offset = match first {
            First::Earliest => low,
            First::Latest | First::At(None) => high,
            // Retention may have cut since the look-up.
            First::At(Some(offset)) => offset.clamp(low, high),
        };
        return Start::From { offset, lost: 0 };
    };
    if (low..=high).contains(&committed) {
        return Start::From { offset: committed, lost: 0 };
    }
    let made_anew = committed > high;
    // How much of the former topic was never read cannot be known any more.
    let unread_from = if made_anew { low } else { committed };
    let lost_up_to = |offset: i64| Start::From { offset, lost: offset.abs_diff(unread_from) };
    match on_lost {
        OnOffsetLost::Fail => Start::Lost { made_anew },
        OnOffsetLost::Earliest => lost_up_to(low),
        OnOffsetLost::Latest => lost_up_to(high),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(offset: i64, lost: u64) -> Start {
        Start::From { offset, lost }
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
            (Some(7), Earliest, Fail, Start::Lost { made_anew: false }),
            (Some(7), Latest, ToEarliest, from(10, 3)),
            (Some(7), Earliest, ToLatest, from(20, 13)),
            (Some(21), Earliest, Fail, Start::Lost { made_anew: true }),
            (Some(21), Earliest, ToEarliest, from(10, 0)),
            (Some(21), Earliest, ToLatest, from(20, 10)),
        ];
        for (committed, first, on_lost, expected) in cases {
            assert_eq!(
                decide_start(committed, 10, 20, first, on_lost),
                expected,
                "committed {committed:?}, {first:?}, {on_lost:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_start_is_always_in_the_topic_and_a_gap_is_never_silent(
            committed in prop::option::of(0i64..100), low in 0i64..50, records in 0i64..50, latest in any::<bool>(),
        ) {
            let high = low + records;
            let on_lost = if latest { OnOffsetLost::Latest } else { OnOffsetLost::Earliest };
            match decide_start(committed, low, high, First::Earliest, on_lost) {
                Start::From { offset, lost } => {
                    prop_assert!((low..=high).contains(&offset));
                    if let Some(committed) = committed && offset > committed {
                        prop_assert_eq!(lost, (offset - committed) as u64);
                    }
                }
                Start::Lost { .. } => prop_assert!(false, "only `fail` stops"),
            }
        }
    }
}
