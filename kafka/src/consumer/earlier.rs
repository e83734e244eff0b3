//! What a sink's own folder says of its earlier life: which topics it has read, and from where.
//!
//! A group's offsets can be deleted, and expire after a week without members (`offsets.retention.minutes`). Kafka alone
//! cannot tell such a group from one that never was: this can.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{mark::TopicId, messages::Begun};

/// What was read before, by topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Earlier {
    /// The topics.
    pub topics: BTreeMap<String, EarlierTopic>,
    /// The sink has written before and did not note what it read: an earlier version, or the note was removed.
    #[serde(skip)]
    pub unnamed: bool,
}

/// A topic that was read before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierTopic {
    /// Its id, where the brokers gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<TopicId>,
    /// The partitions that it had at the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<i32>,
    /// The offset at which the reading of each partition began.
    pub began: BTreeMap<i32, i64>,
    /// The partitions that had been read further than that already, by whatever this folder knows nothing of: it was lost,
    /// or the sink had another directory.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub taken_over: BTreeSet<i32>,
    /// When its reading began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// The topic of that name that was read before this one, and was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<TopicId>,
}

/// A moment in the life of a sink: what it wrote before is of other topics than the one whose reading began then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// By this machine's clock.
    pub at: Timestamp,
    /// The output's state, as it stands in commits.
    pub output: String,
}

/// Whether these may be one topic's: an id that is not known tells nothing.
pub fn same(one: Option<&TopicId>, other: Option<&TopicId>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

impl Earlier {
    /// What is known of a topic.
    pub fn topic(&self, name: &str) -> Option<&EarlierTopic> {
        self.topics.get(name)
    }

    /// What is known of a topic that has this id now: nothing, if another one of its name was read.
    pub fn same_topic(&self, name: &str, id: Option<&TopicId>) -> Option<&EarlierTopic> {
        self.topic(name).filter(|topic| same(topic.id.as_ref(), id))
    }

    /// Takes in where the reading of these partitions began, which is now. What is known already stays.
    pub fn note(&mut self, begun: &[Begun], now: &Since) {
        for partition in begun {
            let source = &partition.assigned.source;
            let topic = self.topics.entry(source.topic.to_string()).or_default();
            if !same(topic.id.as_ref(), partition.mark.id.as_ref()) {
                // Another topic of that name: nothing of the former one holds for it.
                *topic = EarlierTopic { former: topic.id.take(), ..EarlierTopic::default() };
            }
            if topic.began.is_empty() {
                topic.since = Some(now.clone());
            }
            topic.id = partition.mark.id.clone().or(topic.id.take());
            topic.first = partition.mark.first;
            // An offset with this very mark was committed by this sink.
            if !topic.began.contains_key(&source.partition) && partition.marked {
                topic.taken_over.insert(source.partition);
            }
            topic.began.entry(source.partition).or_insert(partition.start);
        }
    }

    /// Takes in that these topics are not there yet: all their partitions will have been added. Of what was read before it
    /// says nothing new.
    pub fn note_missing(&mut self, topics: &[String]) {
        for topic in topics {
            let missing = EarlierTopic { first: Some(0), ..EarlierTopic::default() };
            self.topics.entry(topic.clone()).or_insert(missing);
        }
    }

    /// Takes in what another worker of the same sink knows: the earliest beginning of each partition.
    pub fn absorb(&mut self, other: Earlier) {
        for (name, theirs) in other.topics {
            let ours = self.topics.entry(name).or_default();
            if !same(ours.id.as_ref(), theirs.id.as_ref()) {
                continue; // of another topic of that name
            }
            ours.id = ours.id.take().or(theirs.id);
            ours.first = ours.first.or(theirs.first);
            for (partition, offset) in theirs.began {
                let began = ours.began.entry(partition).or_insert(offset);
                *began = (*began).min(offset);
            }
        }
    }
}
