//! Whose a file is that was there before it was listed: nothing is taken for ours that `edgereel verify` would call foreign.

use std::collections::BTreeMap;

use edgereel_kafka::{
    consumer::{
        earlier::{Earlier, EarlierTopic, same},
        mark::TopicId,
    },
    reader::Extent,
};
use jiff::Timestamp;

use crate::sink::record_name::Place;

/// The id of a former topic that nobody has noted: no topic has it.
const FORMER: &str = "former";

/// A topic as it is now; without partitions where there is none.
#[derive(Debug, Default)]
pub struct Now {
    /// Its id, where the brokers give one.
    pub id: Option<TopicId>,
    /// What each partition holds.
    pub extents: BTreeMap<i32, Extent>,
}

/// What a sink may have stored.
#[derive(Debug, Default)]
pub struct Ours {
    topics: BTreeMap<String, Topic>,
}

#[derive(Debug)]
struct Topic {
    /// Empty where nobody knows.
    id: String,
    /// What of each partition can have been stored ends here.
    stored: BTreeMap<i32, i64>,
    former: Option<Former>,
}

/// Another topic, whose files have names that lead to this one.
#[derive(Debug)]
struct Former {
    id: String,
    /// Its files were written before; none: all were.
    until: Option<Timestamp>,
}

impl Ours {
    /// What all workers of the sink noted, and the `topics` as they are now: those that it reads, and others that it has read.
    /// `named`: each file's name says its topic.
    pub fn new(workers: &[Earlier], read: &[String], named: bool, topics: BTreeMap<String, Now>) -> Self {
        let left = topics.keys().any(|name| !read.contains(name));
        let of = |(name, now): (String, Now)| {
            let noted: Vec<_> = workers.iter().filter_map(|worker| worker.topic(&name)).collect();
            (name, Topic::new(&noted, now, left && !named))
        };
        Ours { topics: topics.into_iter().map(of).collect() }
    }

    /// The id of the topic that a file's record is of, empty where nobody knows it; none where the file is not ours.
    pub fn id(&self, place: &Place, written: Option<Timestamp>) -> Option<&str> {
        let topic = self.topics.get(&place.topic)?;
        let before = |former: &&Former| former.until.is_none_or(|until| written.is_some_and(|written| written < until));
        if let Some(former) = topic.former.as_ref().filter(before) {
            return Some(&former.id);
        }
        topic.stored.get(&place.partition).filter(|end| place.offset < **end).map(|_| topic.id.as_str())
    }
}

impl Topic {
    fn new(noted: &[&EarlierTopic], now: Now, mixed: bool) -> Self {
        let there = !now.extents.is_empty();
        let is_now = |topic: &&&EarlierTopic| there && same(topic.id.as_ref(), now.id.as_ref());
        let (ours, others): (Vec<&EarlierTopic>, Vec<_>) = noted.iter().partition(is_now);
        let former =
            others.iter().filter_map(|topic| topic.id.as_ref()).chain(ours.iter().filter_map(|o| o.former.as_ref()));
        let former = former.map(ToString::to_string).next();
        let until = ours.iter().filter_map(|topic| topic.since.as_ref()).map(|since| since.at).max();
        let begun = |partition| ours.iter().any(|topic| topic.began.contains_key(partition));
        // Files of before it was noted when its reading began cannot be told from its own.
        let tells = until.is_some() || ours.iter().all(|topic| topic.began.is_empty());
        let has_former = former.is_some() || !others.is_empty() || mixed;
        let stored = now.extents.iter().map(|(partition, extent)| {
            // Where the group's offsets are lost, all that there is may have been stored.
            let lost = if begun(partition) { extent.high } else { 0 };
            (*partition, extent.committed.unwrap_or(lost).min(extent.high))
        });
        Topic {
            stored: stored.collect(),
            id: now.id.map(|id| id.to_string()).unwrap_or_default(),
            former: (has_former && tells).then(|| Former { id: former.unwrap_or_else(|| FORMER.into()), until }),
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_kafka::consumer::earlier::Since;

    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    /// A worker that reads partition 0 of the topic of this id since second 100.
    fn worker(id: &str, former: Option<&str>) -> Earlier {
        let topic = EarlierTopic {
            id: Some(TopicId::new(id)),
            began: [(0, 0)].into(),
            since: Some(Since { at: time(100), output: String::new() }),
            former: former.map(TopicId::new),
            ..EarlierTopic::default()
        };
        Earlier { topics: [("gate".to_owned(), topic)].into(), unnamed: false }
    }

    fn now(id: Option<&str>, committed: Option<i64>) -> Now {
        let extent = Extent { low: 0, high: 200, committed, began: None };
        Now { id: id.map(TopicId::new), extents: [(0, extent)].into() }
    }

    fn ours(workers: &[Earlier], now: Now) -> Ours {
        Ours::new(workers, &["gate".into()], true, [("gate".to_owned(), now)].into())
    }

    fn id<'a>(ours: &'a Ours, (topic, partition, offset): (&str, i32, i64), second: i64) -> Option<&'a str> {
        ours.id(&Place { topic: topic.into(), partition, offset }, Some(time(second)))
    }

    #[test]
    fn what_was_not_committed_of_this_very_topic_and_partition_is_not_ours() {
        for workers in [vec![], vec![worker("a", None)]] {
            let ours = ours(&workers, now(Some("a"), Some(150)));
            assert_eq!(id(&ours, ("gate", 0, 149), 5), Some("a"));
            for other in [("gate", 0, 150), ("gate", 0, 999_999), ("gate", 1, 3), ("yard", 0, 3)] {
                assert_eq!(id(&ours, other, 5), None, "{other:?}");
            }
        }
        // Offsets that are lost, and a group that has read nothing; one that says more than there is; brokers without ids.
        assert_eq!(id(&ours(&[worker("a", None)], now(Some("a"), None)), ("gate", 0, 199), 5), Some("a"));
        assert_eq!(id(&ours(&[], now(Some("a"), None)), ("gate", 0, 0), 5), None);
        assert_eq!(id(&ours(&[], now(Some("a"), Some(999))), ("gate", 0, 200), 5), None);
        assert_eq!(id(&ours(&[], now(None, Some(9))), ("gate", 0, 8), 5), Some(""));
    }

    #[test]
    fn files_of_a_former_topic_go_by_its_own_id() {
        let anew = ours(&[worker("b", Some("a"))], now(Some("b"), Some(9)));
        let found = [(99, 8), (99, 999), (100, 8), (100, 999)].map(|(second, n)| id(&anew, ("gate", 0, n), second));
        assert_eq!(found, [Some("a"), Some("a"), Some("b"), None]);
        // The new one was not begun yet, or there is none.
        for now in [now(Some("b"), None), Now::default()] {
            let not_begun = ours(&[worker("a", None)], now);
            assert_eq!(id(&not_begun, ("gate", 0, 999), 5000), Some("a"));
        }
    }

    #[test]
    fn a_name_that_does_not_say_its_topic_may_be_of_one_that_is_not_read_any_more() {
        let of = |named| {
            let topics = [("gate".to_owned(), now(Some("a"), Some(9))), ("yard".to_owned(), Now::default())];
            Ours::new(&[worker("a", None)], &["gate".into()], named, topics.into())
        };
        assert_eq!(id(&of(true), ("gate", 0, 8), 99), Some("a"));
        assert_eq!(
            [99, 100].map(|second| id(&of(false), ("gate", 0, 8), second).map(str::to_owned)),
            [Some(FORMER.into()), Some("a".into())]
        );
    }
}
