//! What was sent and is not settled, in the order of sending: whence on the topic has to be asked after a crash.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::progress::FrameId;
use crate::folder::ledger::Id;

/// Frames from the first on that is not acknowledged, whatever became of those behind it.
pub struct Sent {
    /// Each with where it stands, once that is known.
    frames: VecDeque<(FrameId, Option<(i32, i64)>)>,
    /// Where the partitions ended before the first of them. They all stand behind that, since a partition keeps its order; of what
    /// one partition has acknowledged, nothing follows for another.
    ends: BTreeMap<i32, i64>,
}

impl Sent {
    /// Nothing was sent yet, and the partitions end here.
    pub fn new(ends: BTreeMap<i32, i64>) -> Self {
        Sent { frames: VecDeque::new(), ends }
    }

    /// A frame is on its way.
    pub fn push(&mut self, frame: FrameId) {
        self.frames.push_back((frame, None));
    }

    /// A frame stands in the topic, at this place, or never will.
    pub fn landed(&mut self, frame: FrameId, at: Option<(i32, i64)>) {
        // They are acknowledged about in their order.
        match (self.frames.iter().position(|(sent, _)| *sent == frame), at) {
            (Some(place), Some(_)) => self.frames[place].1 = at,
            (Some(place), None) => drop(self.frames.remove(place)),
            (None, _) => {}
        }
        while let Some((_, Some((partition, offset)))) = self.frames.front() {
            let end = self.ends.entry(*partition).or_default();
            *end = (*end).max(offset + 1);
            self.frames.pop_front();
        }
    }

    /// Whether a frame of this file is on its way.
    pub fn flies(&self, file: Id) -> bool {
        self.frames.iter().any(|((of, _), at)| *of == file && at.is_none())
    }

    /// The first frame of each file that is not settled.
    pub fn first(&self) -> HashMap<Id, u64> {
        let mut first = HashMap::new();
        for ((id, number), _) in &self.frames {
            first.entry(*id).or_insert(*number);
        }
        first
    }

    /// Where the partitions ended before that.
    pub fn ends(&self) -> &BTreeMap<i32, i64> {
        &self.ends
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_end_waits_for_the_first_that_is_not_acknowledged() {
        let mut sent = Sent::new([(0, 10), (1, 20)].into());
        (0..4).for_each(|n| sent.push((7, n)));
        sent.push((8, 0));
        sent.landed((7, 1), Some((1, 20)));
        sent.landed((8, 0), Some((1, 21)));
        assert_eq!((sent.ends(), sent.first()), (&[(0, 10), (1, 20)].into(), [(7, 0), (8, 0)].into()));
        assert!(sent.flies(7) && !sent.flies(8));
        sent.landed((7, 0), Some((0, 10)));
        assert_eq!((sent.ends(), sent.first()), (&[(0, 11), (1, 21)].into(), [(7, 2), (8, 0)].into()));
        sent.landed((7, 2), None);
        sent.landed((7, 3), Some((0, 11)));
        assert_eq!((sent.ends(), sent.first()), (&[(0, 12), (1, 22)].into(), HashMap::new()));
    }

    proptest! {
        /// Whatever is acknowledged when: no frame that is not settled stands before an end.
        #[test]
        fn what_is_not_settled_stands_behind_the_ends(
            partitions in prop::collection::vec(0i32..3, 1..40), order in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
        ) {
            let mut sent = Sent::new(BTreeMap::new());
            let mut next = [0_i64; 3];
            let mut waiting: Vec<Vec<(FrameId, i64)>> = vec![vec![]; 3];
            let mut places = HashMap::new();
            for (n, partition) in partitions.iter().enumerate() {
                let (frame, offset) = ((n as u128 % 3, n as u64), next[*partition as usize]);
                next[*partition as usize] += 1;
                sent.push(frame);
                waiting[*partition as usize].push((frame, offset));
                places.insert(frame, (*partition, offset));
            }
            for index in order {
                // A partition acknowledges in its order.
                let busy: Vec<usize> = (0..3).filter(|p| !waiting[*p].is_empty()).collect();
                if busy.is_empty() {
                    break;
                }
                let partition = busy[index.index(busy.len())];
                let (frame, offset) = waiting[partition].remove(0);
                sent.landed(frame, Some((partition as i32, offset)));
                for (frame, _) in &sent.frames {
                    let (partition, offset) = places[frame];
                    prop_assert!(sent.ends().get(&partition).is_none_or(|end| *end <= offset));
                }
            }
        }
    }
}
