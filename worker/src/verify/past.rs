//! What a sink's own folder says of its topics, held against the topics as they are now: a name is not a topic.

use std::collections::{BTreeMap, BTreeSet};

use edgereel_kafka::{
    consumer::{
        earlier::{Earlier, EarlierTopic, Since, same},
        mark::TopicId,
    },
    reader::Began,
};
use jiff::Timestamp;

use super::{Below, Extents};
use crate::sink::{retention::gone::Gone, video::checkpoint::Checkpoint};

/// What is known of the topics that are read, and of others that were.
#[derive(Debug, Default)]
pub(crate) struct Past {
    topics: BTreeMap<String, Topic>,
    /// Topics that the sink has read and that it is not to read any more.
    left: BTreeSet<String>,
}

/// A topic that is read.
#[derive(Debug, Default)]
struct Topic {
    began: BTreeMap<i32, Began>,
    since: Option<Since>,
    /// Another topic of that name was read before.
    had_former: bool,
    /// The id that it has now.
    id: Option<TopicId>,
}

/// Which rows of a video are a former topic's.
#[derive(Debug, Default, PartialEq)]
pub(super) enum FormerRows {
    /// None.
    #[default]
    None,
    /// All: the sink has not begun to read the new one.
    All,
    /// What stood in the files at this point.
    Before(Checkpoint),
}

impl Past {
    /// What all workers of the sink noted; the topics that it is to read, with their ids, where the brokers give any.
    pub(super) fn new(workers: &[Earlier], topics: &[(String, Option<TopicId>)]) -> Self {
        let of = |(name, id): &(String, Option<TopicId>)| {
            let noted: Vec<_> = workers.iter().filter_map(|worker| worker.topic(name)).collect();
            (name.clone(), Topic::new(&noted, id.as_ref()))
        };
        let topics: BTreeMap<_, _> = topics.iter().map(of).collect();
        let read = workers.iter().flat_map(|worker| worker.topics.keys());
        let left = read.filter(|name| !topics.contains_key(*name)).cloned().collect();
        Past { topics, left }
    }

    /// Where the reading of a partition began.
    pub(super) fn began(&self, topic: &str, partition: i32) -> Option<Began> {
        self.topics.get(topic)?.began.get(&partition).copied()
    }

    /// Whether a file that leads back to a topic and to no record of it is one of a former topic: of one that was made anew
    /// since, or is not read any more. `named`: the topic stands in the file's name. `written` is when the file was.
    pub(super) fn is_former_file(&self, topic: &str, named: bool, written: impl FnOnce() -> Option<Timestamp>) -> bool {
        let Some(found) = self.topics.get(topic) else { return self.left.contains(topic) };
        match &found.since {
            _ if !found.had_former && (named || self.left.is_empty()) => false,
            Some(since) => written().is_some_and(|written| written < since.at),
            None => found.began.is_empty(),
        }
    }

    /// What workers have deleted of the topics as they are now. Where they did not know a topic's id, it is this one if there never
    /// was another of that name, and all of it is committed.
    pub(super) fn deleted(&self, workers: &[Gone], extents: &Extents) -> Below {
        let mut below = Below::new();
        let all = workers.iter().flat_map(|gone| &gone.below);
        for (name, ids) in all {
            let Some(topic) = self.topics.get(name) else { continue };
            let committed = |place: &(String, i32)| extents.get(place).and_then(|extent| extent.committed).unwrap_or(0);
            for (id, partition, offset) in ids
                .iter()
                .flat_map(|(id, below)| below.iter().map(move |(partition, offset)| (id, *partition, *offset)))
            {
                let place = (name.clone(), partition);
                let ours = match topic.id.as_ref() {
                    Some(now) if !id.is_empty() => now.to_string() == *id,
                    Some(_) => !topic.had_former && offset <= committed(&place),
                    None => !topic.had_former,
                };
                if ours {
                    let known = below.entry(place).or_default();
                    *known = (*known).max(offset);
                }
            }
        }
        below
    }

    /// Which rows of a video are of a former topic of that name.
    pub(super) fn former_rows(&self, topic: &str) -> FormerRows {
        match self.topics.get(topic).filter(|topic| topic.had_former) {
            None => FormerRows::None,
            Some(Topic { since: Some(since), .. }) => {
                Checkpoint::from_metadata(&since.output).map_or(FormerRows::None, FormerRows::Before)
            }
            Some(Topic { began, .. }) if began.is_empty() => FormerRows::All,
            Some(_) => FormerRows::None,
        }
    }
}

impl Topic {
    /// What the workers know of a topic that has this id now.
    fn new(noted: &[&EarlierTopic], id: Option<&TopicId>) -> Self {
        let (ours, former): (Vec<&EarlierTopic>, Vec<_>) = noted.iter().partition(|topic| same(topic.id.as_ref(), id));
        let mut began = BTreeMap::<i32, Began>::new();
        for topic in &ours {
            for (partition, offset) in &topic.began {
                let theirs = match topic.taken_over.contains(partition) {
                    false => Began::At(*offset),
                    true => Began::Before(*offset),
                };
                let known = began.entry(*partition).or_insert(theirs);
                // Whoever was there first knows best.
                *known = (*known).min(theirs);
            }
        }
        Topic {
            began,
            // The last of the workers to go over to it: what it wrote until then was of the former one.
            since: ours.iter().filter_map(|topic| topic.since.clone()).max_by_key(|since| since.at),
            had_former: !former.is_empty() || ours.iter().any(|topic| topic.former.is_some()),
            id: id.cloned(),
        }
    }
}

impl FormerRows {
    /// Whether a row is, by its segment and where in the CSV it begins.
    pub(super) fn contains(&self, segment: u64, begins: u64) -> bool {
        match self {
            FormerRows::None => false,
            FormerRows::All => true,
            FormerRows::Before(at) => {
                let open = at.open.as_ref().filter(|_| at.segment == segment);
                open.map_or(segment <= at.segment, |open| begins < open.csv)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_kafka::reader::Extent;

    use super::*;
    use crate::sink::video::checkpoint::OpenAt;

    fn id(text: &str) -> Option<TopicId> {
        Some(TopicId::new(text))
    }

    fn at(second: i64, output: &str) -> Since {
        Since { at: time(second).expect("in range"), output: output.into() }
    }

    fn time(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    /// A worker that has read partition 0 of a topic of this id from this offset on.
    fn worker(name: &str, of: &str, offset: i64, change: impl FnOnce(&mut EarlierTopic)) -> Earlier {
        let mut topic = EarlierTopic { id: id(of), began: [(0, offset)].into(), ..EarlierTopic::default() };
        topic.since = Some(at(100, ""));
        change(&mut topic);
        Earlier { topics: [(name.to_owned(), topic)].into(), unnamed: false }
    }

    fn past(workers: &[Earlier], topics: &[(&str, &str)]) -> Past {
        let topics: Vec<_> = topics.iter().map(|(name, of)| ((*name).to_owned(), id(of))).collect();
        Past::new(workers, &topics)
    }

    #[test]
    fn what_is_known_of_a_former_topic_is_not_known_of_its_successor() {
        let workers = [worker("gate", "a", 7, |_| {})];
        assert_eq!(past(&workers, &[("gate", "a")]).began("gate", 0), Some(Began::At(7)));
        assert_eq!(past(&workers, &[("gate", "b")]).began("gate", 0), None);
    }

    #[test]
    fn who_was_there_first_knows_where_reading_began() {
        let taken_over = |offset| worker("gate", "a", offset, |topic| topic.taken_over = [0].into());
        let began = |workers: &[Earlier]| past(workers, &[("gate", "a")]).began("gate", 0);
        assert_eq!(began(&[taken_over(50)]), Some(Began::Before(50)));
        assert_eq!(began(&[taken_over(50), worker("gate", "a", 0, |_| {})]), Some(Began::At(0)));
        assert_eq!(began(&[worker("gate", "former", 0, |_| {}), taken_over(50)]), Some(Began::Before(50)));
    }

    #[test]
    fn a_file_from_before_a_topic_was_made_anew_is_the_formers() {
        let anew = |topic: &mut EarlierTopic| topic.former = id("a");
        let later = |topic: &mut EarlierTopic| topic.since = Some(at(150, ""));
        for (workers, until) in [
            // The only topic of that name, a second one, one that another worker went over to later, one that is not read.
            (vec![worker("gate", "b", 0, |_| {})], 0),
            (vec![worker("gate", "b", 0, anew)], 100),
            (vec![worker("gate", "b", 0, anew), worker("gate", "b", 5, later)], 150),
            (vec![worker("gate", "b", 0, |_| {}), worker("gate", "a", 0, |_| {})], 100),
            (vec![worker("gate", "a", 0, |_| {})], i64::MAX),
        ] {
            let past = past(&workers, &[("gate", "b")]);
            for second in [99, 100, 149, 150, 999] {
                let former = past.is_former_file("gate", true, || time(second));
                assert_eq!(former, second < until, "{workers:?} {second}");
            }
        }
    }

    #[test]
    fn files_of_a_topic_that_was_taken_off_the_list_are_no_strangers() {
        let workers = [worker("gate", "a", 0, |_| {}), worker("yard", "b", 0, |_| {})];
        let past = past(&workers, &[("yard", "b")]);
        assert!(past.is_former_file("gate", true, || None));
        assert!(!past.is_former_file("shed", true, || None), "of which it knows nothing");
        // A name that does not say its topic may be either's.
        assert!(past.is_former_file("yard", false, || time(99)) && !past.is_former_file("yard", false, || time(101)));
        assert!(!past.is_former_file("yard", true, || time(99)));
    }

    #[test]
    fn rows_from_before_a_topic_was_made_anew_are_the_formers() {
        let rows = |topic: EarlierTopic| {
            let workers = [Earlier { topics: [("gate".to_owned(), topic)].into(), unnamed: false }];
            past(&workers, &[("gate", "b")]).former_rows("gate")
        };
        let anew = |checkpoint: Checkpoint| EarlierTopic {
            id: id("b"),
            began: [(0, 0)].into(),
            former: id("a"),
            since: Some(at(1, &checkpoint.to_metadata())),
            ..EarlierTopic::default()
        };
        let closed = rows(anew(Checkpoint { segment: 3, open: None }));
        assert_eq!(
            [(2, 9), (3, 9), (4, 0)].map(|(segment, begins)| closed.contains(segment, begins)),
            [true, true, false]
        );
        let open = OpenAt { name: "x.avi".into(), end: 1, frames: 1, csv: 100, began: 1, timing: None };
        let open = rows(anew(Checkpoint { segment: 3, open: Some(open) }));
        let found = [(2, 999), (3, 99), (3, 100), (4, 0)].map(|(segment, begins)| open.contains(segment, begins));
        assert_eq!(found, [true, true, false, false]);
        let not_read = EarlierTopic { id: id("a"), began: [(0, 0)].into(), ..EarlierTopic::default() };
        assert_eq!(rows(not_read), FormerRows::All);
        let only = EarlierTopic { id: id("b"), began: [(0, 0)].into(), ..EarlierTopic::default() };
        assert_eq!(rows(only), FormerRows::None);
    }

    #[test]
    fn what_was_deleted_of_a_former_topic_excuses_nothing_of_its_successor() {
        let gone = |id: &str, below: i64| {
            let mut gone = Gone::default();
            gone.note("gate", id, 0, below - 1);
            gone
        };
        let extent = Extent { low: 0, high: 200, committed: Some(150), began: None };
        let extents = [(("gate".to_owned(), 0), extent)].into();
        let of = |workers: &[Earlier], gone: &[Gone]| past(workers, &[("gate", "b")]).deleted(gone, &extents);
        let place = ("gate".to_owned(), 0);
        let only = [worker("gate", "b", 0, |_| {})];
        let anew = [worker("gate", "b", 0, |topic| topic.former = id("a"))];
        for workers in [&only, &anew] {
            assert_eq!(of(workers, &[gone("b", 7), gone("b", 5), gone("a", 99)]), [(place.clone(), 7)].into());
        }
        // Nobody noted of which topic it was.
        assert_eq!(of(&only, &[gone("", 7)]), [(place.clone(), 7)].into());
        assert_eq!(of(&only, &[gone("", 150)]), [(place, 150)].into());
        assert_eq!(of(&only, &[gone("", 151), gone("", 1_000_000)]), [].into(), "that was no picture of this topic");
        assert_eq!(of(&anew, &[gone("", 7)]), [].into());
        assert_eq!(of(&only, &[Gone::default()]), [].into());
    }
}
