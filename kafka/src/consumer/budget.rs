//! How many bytes of records may wait between the consumer and the writer: a share for each partition.
//!
//! Each partition pauses by itself. With one budget for all, an output that merges partitions could fill it with the
//! records of one while it waits for another, and neither would ever move.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::native::Waker;

/// What a record costs beside its bytes: its headers' allocations, its place in queues.
const OVERHEAD: usize = 1024;

/// The bytes that one partition's records hold of its share.
#[derive(Clone, Default)]
pub struct Held(Arc<Account>);

#[derive(Default)]
struct Account {
    bytes: AtomicUsize,
    share: Share,
    /// Somebody waits for room …
    awaited: AtomicBool,
    /// … and is to be told.
    waker: Waker,
}

impl Held {
    /// Nothing yet. `waker` is called once there is room that was [awaited](Self::await_room).
    pub fn of(share: Share, waker: &Waker) -> Self {
        Held(Arc::new(Account { share, waker: waker.clone(), ..Account::default() }))
    }

    /// Counts a record of so many bytes for as long as the charge lives.
    pub fn charge(&self, bytes: usize) -> Charge {
        let bytes = bytes + OVERHEAD;
        self.0.bytes.fetch_add(bytes, Ordering::AcqRel);
        Charge { held: self.clone(), bytes }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::SeqCst)
    }

    /// Enough is held: read no more of this partition.
    pub fn is_used_up(&self) -> bool {
        self.0.share.is_used_up(self.bytes())
    }

    /// Asks to be told when there is room. There may be some already: look once more after it.
    pub fn await_room(&self) {
        self.0.awaited.store(true, Ordering::SeqCst);
    }

    /// Enough is free to read on.
    pub fn has_room(&self) -> bool {
        self.0.share.has_room(self.bytes())
    }
}

/// One record's part of the budget; given back when it is dropped.
pub struct Charge {
    held: Held,
    bytes: usize,
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({})", self.bytes)
    }
}

impl Charge {
    /// Counts so many bytes more for as long as the charge lives: what was made of the record.
    pub fn add(&mut self, bytes: usize) {
        self.held.0.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.bytes += bytes;
    }

    /// A charge on no budget, for records that came from elsewhere.
    pub fn free() -> Self {
        Charge { held: Held::default(), bytes: 0 }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let Account { bytes, share, awaited, waker } = &*self.held.0;
        let left = bytes.fetch_sub(self.bytes, Ordering::SeqCst) - self.bytes;
        if share.has_room(left) && awaited.swap(false, Ordering::SeqCst) {
            waker.wake();
        }
    }
}

/// A partition's share, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share(usize);

impl Share {
    /// An equal share of `total`. One record always fits, however large: a share is where reading stops, not what a
    /// record may measure.
    pub fn of(total: usize, partitions: usize) -> Self {
        Share(total / partitions.max(1))
    }

    /// Enough is held: read no more of this partition.
    pub fn is_used_up(self, held: usize) -> bool {
        held >= self.0.max(1)
    }

    /// Half is free again: read on. The gap keeps a slow disk from pausing at each record, since a pause throws away
    /// what librdkafka had fetched ahead.
    pub fn has_room(self, held: usize) -> bool {
        held <= self.0 / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_until_it_is_dropped() {
        let held = Held::default();
        let first = held.charge(5000);
        let second = held.charge(0);
        assert_eq!(held.bytes(), 5000 + 2 * OVERHEAD);
        let mut first = first;
        first.add(700);
        assert_eq!(held.bytes(), 5700 + 2 * OVERHEAD);
        drop(first);
        assert_eq!(held.bytes(), OVERHEAD);
        drop(second);
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn a_partition_that_holds_nothing_is_never_paused_and_always_resumes() {
        for (total, partitions) in [(0, 1), (0, 0), (1, 1000), (24 << 20, 3), (usize::MAX, 1)] {
            let share = Share::of(total, partitions);
            assert!(!share.is_used_up(0), "{total} over {partitions}");
            assert!(share.has_room(0), "{total} over {partitions}");
        }
    }

    #[test]
    fn between_the_marks_nothing_changes() {
        let share = Share::of(300, 3);
        assert!(share.is_used_up(100) && !share.is_used_up(99));
        assert!(share.has_room(50) && !share.has_room(51));
    }
}
