//! Which records are sent again.

use std::{ops::Range, str::FromStr};

use edgereel_kafka::reader::StoredRecord;
use jiff::Timestamp;

use super::letter::Letter;

/// Which records of a topic; by default, all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Only those at these places.
    pub at: Vec<Place>,
    /// Only those whose record is not older.
    pub since: Option<Timestamp>,
    /// Only those whose record is older.
    pub until: Option<Timestamp>,
    /// Only dead letters with one of these reasons.
    pub reasons: Vec<String>,
    /// So many at most.
    pub limit: Option<u64>,
}

/// Where a record stands: `PARTITION:OFFSET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(partition, offset)| {
            Some(Place { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        let place = parsed.filter(|place| place.partition >= 0 && (0..i64::MAX).contains(&place.offset));
        place.ok_or_else(|| "write PARTITION:OFFSET, as in `0:17`".to_owned())
    }
}

impl Choice {
    /// The offsets of a partition that have to be looked at, of those that it holds.
    pub fn offsets(&self, partition: i32, held: Range<i64>) -> Range<i64> {
        if self.at.is_empty() {
            return held;
        }
        let places = || self.at.iter().filter(|place| place.partition == partition).map(|place| place.offset);
        match (places().min(), places().max()) {
            (Some(first), Some(last)) => held.start.max(first)..held.end.min(last + 1),
            _ => held.start..held.start,
        }
    }

    /// Whether a record is wanted, when so many were chosen before it.
    pub fn wants(&self, record: &StoredRecord, letter: Option<&Letter>, chosen: u64) -> bool {
        let Choice { at, since, until, reasons, limit } = self;
        let place = Place { partition: record.partition, offset: record.offset };
        let time = record.timestamp.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let reason = letter.and_then(|letter| letter.reason.as_ref());
        limit.is_none_or(|limit| chosen < limit)
            && (at.is_empty() || at.contains(&place))
            && since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && until.is_none_or(|until| time.is_some_and(|time| time < until))
            && (reasons.is_empty() || reason.is_some_and(|reason| reasons.contains(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64, timestamp: Option<i64>) -> StoredRecord {
        let topic = "t".into();
        StoredRecord { topic, partition, offset, key: None, value: None, headers: vec![], timestamp }
    }

    fn letter(reason: &str) -> Letter {
        Letter { topic: "t".into(), timestamp: None, reason: Some(reason.into()) }
    }

    #[test]
    fn a_place_is_two_numbers() {
        assert_eq!("0:17".parse(), Ok(Place { partition: 0, offset: 17 }));
        for text in ["", "17", "0:", ":1", "a:1", "-1:2", "0:-2", "0:9223372036854775807", "0:1:2", "0: 1"] {
            assert_eq!(text.parse::<Place>(), Err("write PARTITION:OFFSET, as in `0:17`".into()), "{text}");
        }
    }

    #[test]
    fn every_condition_has_to_hold() {
        let second = |s| Timestamp::from_second(s).expect("a time");
        let all = Choice::default();
        assert!(all.wants(&record(0, 0, None), None, 7));
        let limited = Choice { limit: Some(2), ..Choice::default() };
        assert!(limited.wants(&record(0, 0, None), None, 1) && !limited.wants(&record(0, 0, None), None, 2));
        let hour = Choice { since: Some(second(10)), until: Some(second(20)), ..Choice::default() };
        let times = [None, Some(9_999), Some(10_000), Some(19_999), Some(20_000)];
        assert_eq!(times.map(|ms| hour.wants(&record(0, 0, ms), None, 0)), [false, false, true, true, false]);
        let bad = Choice { reasons: vec!["bad_json".into()], ..Choice::default() };
        assert!(bad.wants(&record(0, 0, None), Some(&letter("bad_json")), 0));
        assert!(!bad.wants(&record(0, 0, None), Some(&letter("empty")), 0) && !bad.wants(&record(0, 0, None), None, 0));
    }

    #[test]
    fn of_single_records_only_what_lies_between_them_is_read() {
        let at = ["0:5", "0:9", "2:1"].map(|text| text.parse().expect("a place")).to_vec();
        let choice = Choice { at, ..Choice::default() };
        assert_eq!(choice.offsets(0, 0..100), 5..10);
        assert_eq!(choice.offsets(0, 7..8), 7..8);
        assert!(choice.offsets(1, 3..100).is_empty() && choice.offsets(2, 3..100).is_empty());
        assert!(choice.wants(&record(0, 9, None), None, 0) && !choice.wants(&record(0, 6, None), None, 0));
        assert_eq!(Choice::default().offsets(1, 3..100), 3..100);
    }
}
