//! How far a sink has counted the records of each partition, so that one that is read again is not counted again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A sink's, over all its runs in this process. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Counted(Arc<Mutex<HashMap<String, BTreeMap<i32, Known>>>>);

/// What is known of a partition.
#[derive(Debug)]
struct Known {
    /// The topic's id. Offsets of another topic of this name say nothing here.
    id: Option<String>,
    /// The offset after the last record that was counted.
    next: i64,
}

impl Counted {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<i32, Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition is going to be read, of the topic with this id. Where it is another than before, or where nobody knows,
    /// nothing of it was counted.
    pub fn begin(&self, topic: &str, partition: i32, id: Option<String>) {
        let mut topics = self.lock();
        let partitions = topics.entry(topic.to_owned()).or_default();
        if id.is_none() || partitions.get(&partition).is_none_or(|known| known.id != id) {
            partitions.insert(partition, Known { id, next: 0 });
        }
    }

    /// A record is done with, in the order of its partition: whether it is for the first time.
    pub fn is_first(&self, topic: &str, partition: i32, offset: i64) -> bool {
        let mut topics = self.lock();
        let known = topics.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition));
        known.is_none_or(|known| {
            let first = offset >= known.next;
            known.next = known.next.max(offset + 1);
            first
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_read_again_is_not_counted_again_but_one_of_another_topic_is() {
        let counted = Counted::default();
        let read = |offsets: std::ops::Range<i64>| offsets.filter(|o| counted.is_first("gate", 1, *o)).count();
        let begin = |id: Option<&str>| counted.begin("gate", 1, id.map(str::to_owned));
        begin(Some("a"));
        assert_eq!(read(5..15), 10);
        begin(Some("a"));
        assert_eq!((read(10..20), read(0..20)), (5, 0));
        assert!(counted.is_first("gate", 2, 7) && counted.is_first("lab", 1, 7), "each partition has its own");
        begin(Some("b"));
        assert_eq!(read(0..20), 20);
        for _ in 0..2 {
            begin(None);
            assert_eq!(read(0..20), 20, "of a broker that gives no ids nobody knows");
        }
    }
}
