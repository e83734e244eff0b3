//! A video of several topics whose list is changed between two starts.

use std::{fs, path::Path, sync::Arc};

use super::{tests::*, *};
use crate::sink::{disk::faults::FailAt, output::TopicPartition};

fn of(topic: &str, offset: i64, at: i64) -> SinkFrame {
    let source = TopicPartition { topic: topic.into(), partition: 0 };
    SinkFrame { source, offset, ..nth(at) }
}

/// Kafka's side of a video of several topics: offset and metadata of each.
type Group = std::collections::BTreeMap<&'static str, (i64, String)>;

fn assigned_of(topics: &[&'static str], group: &Group) -> Vec<Assigned> {
    let assigned = |topic: &&'static str| Assigned {
        source: TopicPartition { topic: (*topic).into(), partition: 0 },
        committed: group.get(topic).cloned(),
    };
    topics.iter().map(assigned).collect()
}

/// Reads these topics from their committed offsets on, five frames of each for a commit, so many times.
fn read(
    root: &Path,
    topics: &[&'static str],
    commits: usize,
    group: &mut Group,
    disk: Disk,
) -> Result<(), OutputError> {
    let mut video = Video::with(root, &spec("{segment}.avi", Some(2)), &name(), disk, Limits::default())?;
    let metadata = video.resume(&assigned_of(topics, group), Lease::endless())?;
    for topic in topics {
        group.entry(topic).or_default().1 = metadata.clone();
    }
    let mut next: Vec<i64> = topics.iter().map(|topic| group[topic].0).collect();
    for _ in 0..commits {
        for _ in 0..5 {
            for (n, topic) in topics.iter().enumerate() {
                video.write(&of(topic, next[n], next.iter().sum()))?;
                next[n] += 1;
            }
        }
        let job = video.seal()?;
        (job.run)()?;
        for (topic, next) in topics.iter().zip(&next) {
            group.insert(topic, (*next, job.metadata.clone()));
        }
        video.committed()?;
    }
    video.finish()
}

/// The places of all rows of all segments, sorted.
fn rows(root: &Path) -> Vec<(String, i64)> {
    let log = fs::read(root.join("cam/.edgereel/lab.gate/segments")).unwrap();
    let mut rows = vec![];
    for (_, line) in segment_log::parse(&log).unwrap().0 {
        let csv = fs::read_to_string(segment::csv_path(&root.join("cam").join(line.file))).unwrap();
        rows.extend(csv.lines().filter_map(sheet::place).map(|(topic, _, offset)| (topic.to_owned(), offset)));
    }
    rows.sort();
    rows
}

fn all_once(group: &Group) -> Vec<(String, i64)> {
    group.iter().flat_map(|(topic, (next, _))| (0..*next).map(|offset| ((*topic).to_owned(), offset))).collect()
}

#[test]
fn a_list_of_topics_that_was_changed_and_changed_back_goes_on_at_the_newest_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::new();
    for (topics, commits) in [(&["a", "b"][..], 3), (&["a"], 4), (&["a", "b"], 2), (&["b"], 1), (&["a", "b", "c"], 2)] {
        read(dir.path(), topics, commits, &mut group, Disk::default()).unwrap();
        assert_eq!(rows(dir.path()), all_once(&group), "after {topics:?}");
    }
}

#[test]
fn a_crash_after_the_list_of_topics_was_changed_back_loses_and_doubles_nothing() {
    for crash in (0..240).step_by(4) {
        let dir = tempfile::tempdir().unwrap();
        let mut group = Group::new();
        for (topics, commits) in [(&["a", "b"][..], 2), (&["a"], 3)] {
            read(dir.path(), topics, commits, &mut group, Disk::default()).unwrap();
        }
        let dying = Disk::failing(Arc::new(FailAt::new(crash, std::io::ErrorKind::Other, true)));
        let _ = read(dir.path(), &["a", "b"], 3, &mut group, dying);
        read(dir.path(), &["a", "b"], 1, &mut group, Disk::default()).unwrap();
        assert_eq!(rows(dir.path()), all_once(&group), "crash at {crash}");
    }
}

#[test]
fn a_commit_that_was_refused_for_one_partition_is_told_with_the_offset_that_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::new();
    read(dir.path(), &["a", "b"], 1, &mut group, Disk::default()).unwrap();
    let refused = group["b"].clone();
    read(dir.path(), &["a", "b"], 2, &mut group, Disk::default()).unwrap();
    group.insert("b", refused);
    let error = read(dir.path(), &["a", "b"], 1, &mut group.clone(), Disk::default()).unwrap_err().to_string();
    assert!(
        error.contains("b[0] up to offset 14, and the committed offset is 5") && error.contains("to 15"),
        "{error}"
    );
    group.insert("b", (15, String::new()));
    read(dir.path(), &["a", "b"], 1, &mut group, Disk::default()).unwrap();
    assert_eq!(rows(dir.path()), all_once(&group));
}
