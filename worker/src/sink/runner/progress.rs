//! How far each partition is: pure.
//!
//! Records are disposed of (written, sent to the dead-letter topic, passed over) in the order of their offsets within a
//! partition, so one number says how far a partition is: the next offset. What is committed is what stood there when a
//! flush was sealed, and never more: a record that could not be disposed of stops its partition's number.

use std::collections::BTreeMap;

use edgereel_kafka::consumer::{Begun, Commit, ReadTo, TopicPartition};

/// The partitions of one assignment.
#[derive(Clone, Debug)]
pub struct Progress {
    generation: u64,
    partitions: BTreeMap<TopicPartition, Partition>,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    next: i64,
    /// The offset after the last record that came.
    received: i64,
    /// The partition was read to this offset, which may be beyond its last record: transaction markers have offsets, too.
    reached: i64,
    /// None until a commit of this assignment, or of an earlier one at the same place, is known to stand.
    committed: Option<i64>,
}

impl Progress {
    /// Partitions at their starts.
    pub fn new(generation: u64, begun: &[Begun]) -> Self {
        let partition = |b: &Begun| {
            let committed = b.assigned.committed.as_ref().map(|(next, _)| *next).filter(|next| *next == b.start);
            (b.assigned.source.clone(), Partition { next: b.start, received: b.start, reached: b.start, committed })
        };
        Progress { generation, partitions: begun.iter().map(partition).collect() }
    }

    /// The assignment.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a partition's start is not committed: it has to be, before anything is written, so that a crash before
    /// the first flush does not move the start (`startFrom: latest`) or lose the output's state.
    pub fn wants_start(&self) -> bool {
        self.partitions.values().any(|p| p.committed.is_none())
    }

    /// A record came.
    pub fn received(&mut self, source: &TopicPartition, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(source) {
            partition.received = partition.received.max(offset + 1);
        }
    }

    /// The partition was read so far: nothing more came before it. False, and no effect, where a record of it was sent and
    /// is not [received](Self::received): an end says nothing to who has missed what stands before it.
    pub fn reached(&mut self, source: &TopicPartition, read: ReadTo) -> bool {
        match self.partitions.get_mut(source) {
            Some(partition) if partition.received >= read.sent => {
                partition.reached = partition.reached.max(read.end);
                partition.pass();
                true
            }
            _ => false,
        }
    }

    /// A record was disposed of. False, and no effect, when its partition is not assigned or is past it.
    pub fn dispose(&mut self, source: &TopicPartition, offset: i64) -> bool {
        match self.partitions.get_mut(source) {
            Some(partition) if offset >= partition.next => {
                partition.next = offset + 1;
                partition.received = partition.received.max(partition.next);
                partition.pass();
                true
            }
            _ => false,
        }
    }

    /// Whether there is something to commit.
    pub fn is_dirty(&self) -> bool {
        self.partitions.values().any(|p| p.committed != Some(p.next))
    }

    /// What to commit if everything disposed of so far is durable: all partitions in one request, with the output's state.
    pub fn commit(&self, state: String) -> Commit {
        let offsets = self.partitions.iter().map(|(source, p)| (source.clone(), p.next)).collect();
        Commit::new(self.generation, offsets, state)
    }

    /// A commit stands. Of another assignment it means nothing.
    pub fn committed(&mut self, commit: &Commit) {
        if commit.generation != self.generation {
            return;
        }
        for (source, next) in &commit.offsets {
            if let Some(partition) = self.partitions.get_mut(source) {
                partition.committed = partition.committed.max(Some(*next));
            }
        }
    }

    /// Records up to these ends that are not committed, and whether some of them are not even disposed of.
    pub fn lag(&self, ends: &[(TopicPartition, i64)]) -> (i64, bool) {
        let of = |(source, end): &(TopicPartition, i64)| {
            let partition = self.partitions.get(source)?;
            Some(((end - partition.committed.unwrap_or(partition.next)).max(0), *end > partition.next))
        };
        ends.iter().filter_map(of).fold((0, false), |(sum, behind), (lag, more)| (sum + lag, behind || more))
    }
}

impl Partition {
    /// Passes over what holds no record, once every record that came is disposed of.
    fn pass(&mut self) {
        if self.next >= self.received {
            self.next = self.next.max(self.reached);
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_kafka::consumer::{Assigned, mark::Mark};
    use proptest::prelude::*;

    use super::*;

    fn source(partition: i32) -> TopicPartition {
        TopicPartition { topic: "frames".into(), partition }
    }

    fn begun(partition: i32, committed: Option<i64>, start: i64) -> Begun {
        let committed = committed.map(|next| (next, String::new()));
        let assigned = Assigned { source: source(partition), committed };
        Begun { assigned, start, high: start + 100, lost: 0, mark: Mark::default(), marked: true }
    }

    #[test]
    fn the_start_is_committed_first_where_it_is_not_already() {
        assert!(!Progress::new(1, &[begun(0, Some(5), 5)]).wants_start());
        assert!(Progress::new(1, &[begun(0, Some(5), 5), begun(1, None, 0)]).wants_start());
        assert!(Progress::new(1, &[begun(0, Some(5), 9)]).wants_start(), "moved by onOffsetLost");
        let mut progress = Progress::new(1, &[begun(0, None, 7)]);
        let commit = progress.commit("state".into());
        assert_eq!(commit.offsets, [(source(0), 7)]);
        progress.committed(&commit);
        assert!(!progress.wants_start() && !progress.is_dirty());
    }

    #[test]
    fn at_rest_the_committed_offset_is_the_end_and_the_lag_zero() {
        let mut progress = Progress::new(1, &[begun(0, Some(0), 0)]);
        for offset in 0..10 {
            progress.dispose(&source(0), offset);
        }
        let ends = [(source(0), 10)];
        assert_eq!(progress.lag(&ends), (10, false));
        let commit = progress.commit(String::new());
        assert_eq!(commit.offsets, [(source(0), 10)]);
        progress.committed(&commit);
        assert_eq!(progress.lag(&ends), (0, false));
        assert_eq!(progress.lag(&[(source(0), 12)]), (2, true));
    }

    #[test]
    fn a_commit_of_an_earlier_assignment_counts_for_nothing() {
        let mut progress = Progress::new(3, &[begun(0, Some(0), 0)]);
        progress.dispose(&source(0), 4);
        progress.committed(&Commit::new(1, vec![(source(0), 5)], String::new()));
        assert!(progress.is_dirty());
    }

    #[test]
    fn markers_of_transactions_are_passed_once_all_before_them_is_disposed_of() {
        let mut progress = Progress::new(1, &[begun(0, Some(0), 0)]);
        // 0 and 1 are records, 2 commits them, 3 to 5 are an aborted transaction.
        progress.received(&source(0), 0);
        progress.received(&source(0), 1);
        progress.reached(&source(0), ReadTo { end: 6, sent: 2 });
        assert!(!progress.is_dirty(), "the end of what was read is no end of what was written");
        progress.dispose(&source(0), 0);
        assert_eq!(progress.commit(String::new()).offsets, [(source(0), 1)]);
        progress.dispose(&source(0), 1);
        let commit = progress.commit(String::new());
        assert_eq!(commit.offsets, [(source(0), 6)]);
        progress.committed(&commit);
        assert_eq!(progress.lag(&[(source(0), 6)]), (0, false));
        // An aborted transaction alone.
        progress.reached(&source(0), ReadTo { end: 9, sent: 2 });
        assert_eq!(progress.commit(String::new()).offsets, [(source(0), 9)]);
    }

    proptest! {
        /// Whatever comes, ends and is disposed of, and from whichever record on nothing is taken any more (a stop): an end
        /// is never committed before a record that stands before it.
        #[test]
        fn no_end_is_committed_before_its_records(
            steps in prop::collection::vec((0u8..3, 0i64..4), 0..100), taken in prop_oneof![Just(usize::MAX), 0usize..50],
        ) {
            let mut progress = Progress::new(1, &[begun(0, Some(0), 0)]);
            let (mut at, mut waiting) = (0, std::collections::VecDeque::new());
            let (mut sent, mut records) = (0, 0);
            for (what, gap) in steps {
                match what {
                    0 => {
                        at += gap;
                        if records < taken {
                            progress.received(&source(0), at);
                        }
                        waiting.push_back(at);
                        records += 1;
                        at += 1;
                        sent = at;
                    }
                    1 => { at += gap; progress.reached(&source(0), ReadTo { end: at, sent }); }
                    _ if records - waiting.len() >= taken => {}
                    _ => if let Some(offset) = waiting.pop_front() { progress.dispose(&source(0), offset); },
                }
                let next = progress.commit(String::new()).offsets[0].1;
                prop_assert!(waiting.front().is_none_or(|first| next <= *first), "{next} passes {waiting:?}");
            }
            while let Some(offset) = waiting.pop_front() {
                progress.dispose(&source(0), offset);
            }
            progress.reached(&source(0), ReadTo { end: at, sent });
            prop_assert_eq!(progress.commit(String::new()).offsets[0].1, at);
        }

        /// Whatever is delivered again and whenever flushes are sealed and answered: no commit covers an offset that was
        /// not disposed of, and commits never go back.
        #[test]
        fn no_commit_covers_a_record_that_was_not_disposed_of(steps in prop::collection::vec((0u8..4, 0i32..3, 0i64..4), 0..200)) {
            let mut progress = Progress::new(1, &[begun(0, Some(0), 0), begun(1, None, 10), begun(2, Some(3), 3)]);
            let mut disposed = [0i64, 10, 3];
            let mut sealed: Option<Commit> = None;
            let mut last = progress.commit(String::new());
            for (what, partition, step) in steps {
                let next = &mut disposed[partition as usize];
                match what {
                    // Offsets have gaps (compaction, transactions) and records may come again.
                    0 | 1 => {
                        let offset = *next + step - 1;
                        prop_assert_eq!(progress.dispose(&source(partition), offset), offset >= *next);
                        *next = (*next).max(offset + 1);
                    }
                    2 => sealed = Some(progress.commit(String::new())),
                    _ => if let Some(commit) = sealed.take() {
                        for (i, (_, next)) in commit.offsets.iter().enumerate() {
                            prop_assert!(*next <= disposed[i]);
                            prop_assert!(*next >= last.offsets[i].1);
                        }
                        progress.committed(&commit);
                        last = commit;
                    },
                }
            }
            let commit = progress.commit(String::new());
            progress.committed(&commit);
            prop_assert!(!progress.is_dirty());
        }
    }
}
