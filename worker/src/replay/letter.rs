//! What a dead letter holds: the record as it was, and what was said of it.

use edgereel_kafka::{headers::Header, reader::StoredRecord};

use crate::sink::dead_letter::letter::{CLASS, PREFIX, TIMESTAMP, TOPIC};

/// A dead letter's own words; those of Kafka Connect's sinks are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The topic that the record came from.
    pub topic: String,
    /// The record's own time, in Unix milliseconds; none where it had none. Where nothing says it, as in Kafka Connect's, that
    /// of the letter.
    pub timestamp: Option<i64>,
    /// Why it failed: the last part of the exception's class, ours being a reason such as `bad_json`.
    pub reason: Option<String>,
}

/// The words of a record, if it is a dead letter.
pub fn read(record: &StoredRecord) -> Option<Letter> {
    // A letter of a letter has the headers twice: the last are of the letter that this is.
    let value = |name: &str| {
        let found = record.headers.iter().rev().find(|(header, _)| header.as_ref() == name.as_bytes());
        found.and_then(|(_, value)| value.as_ref()).and_then(|value| std::str::from_utf8(value).ok())
    };
    let topic = value(TOPIC)?.to_owned();
    let reason = value(CLASS).map(|class| class.rsplit('.').next().unwrap_or(class).to_owned());
    let timestamp = value(TIMESTAMP).map_or(record.timestamp, |text| text.parse().ok());
    Some(Letter { topic, timestamp, reason })
}

/// The record's headers without what makes a dead letter of it.
pub fn cleaned(record: &StoredRecord) -> Vec<Header> {
    let is_ours = |name: &[u8]| name.starts_with(PREFIX.as_bytes()) || name == TIMESTAMP.as_bytes();
    record.headers.iter().filter(|(name, _)| !is_ours(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(headers: &[(&'static str, &'static str)]) -> StoredRecord {
        let header = |(name, value): &(&'static str, &'static str)| {
            (Bytes::from_static(name.as_bytes()), Some(Bytes::from_static(value.as_bytes())))
        };
        StoredRecord {
            topic: "frames.dead".into(),
            partition: 0,
            offset: 3,
            key: None,
            value: None,
            headers: headers.iter().map(header).collect(),
            timestamp: Some(99),
        }
    }

    #[test]
    fn a_letter_says_where_to_and_the_rest_is_the_record() {
        let record = record(&[
            ("ce_id", "a-1"),
            ("__connect.errors.topic", "Gate"),
            ("__connect.errors.exception.class.name", "dev.edgereel.bad_json"),
            ("dev.edgereel.timestamp", "1717497000000"),
            ("mine", "x"),
        ]);
        let letter = read(&record).expect("a letter");
        assert_eq!((letter.topic.as_str(), letter.timestamp), ("Gate", Some(1_717_497_000_000)));
        assert_eq!(letter.reason.as_deref(), Some("bad_json"));
        let kept: Vec<_> = cleaned(&record).into_iter().map(|(name, _)| name).collect();
        assert_eq!(kept, [Bytes::from_static(b"ce_id"), Bytes::from_static(b"mine")]);
    }

    #[test]
    fn of_a_letter_that_failed_again_the_last_words_count_and_all_are_taken_off() {
        let record = record(&[
            ("__connect.errors.topic", "Gate"),
            ("dev.edgereel.timestamp", "1"),
            ("__connect.errors.topic", "Gate2"),
            ("dev.edgereel.timestamp", ""),
        ]);
        let letter = read(&record).expect("a letter");
        assert_eq!((letter.topic.as_str(), letter.timestamp), ("Gate2", None));
        assert_eq!(cleaned(&record), []);
    }

    #[test]
    fn a_letter_of_kafka_connect_keeps_the_time_that_it_has() {
        let letter = read(&record(&[("__connect.errors.topic", "Gate")])).expect("a letter");
        assert_eq!(letter.timestamp, Some(99));
    }

    #[test]
    fn any_other_record_is_no_letter() {
        assert_eq!(read(&record(&[("ce_id", "a-1")])), None);
    }
}
