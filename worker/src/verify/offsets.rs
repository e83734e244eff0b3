//! Sets of offsets in one bit each, so that millions of records take next to no memory.

use std::collections::BTreeMap;

use super::Place;

/// Offsets in one piece of the set: 4096.
const PIECE: i64 = 64 * 64;

/// Offsets of one partition.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    pieces: BTreeMap<i64, Box<[u64; 64]>>,
}

/// The piece, the word and the bit of an offset.
fn split(offset: i64) -> (i64, usize, u64) {
    let within = offset.rem_euclid(PIECE) as usize;
    (offset.div_euclid(PIECE), within / 64, 1 << (within % 64))
}

impl Offsets {
    /// Puts an offset in. False when it was there.
    pub fn insert(&mut self, offset: i64) -> bool {
        let (piece, word, bit) = split(offset);
        let word = &mut self.pieces.entry(piece).or_insert_with(|| Box::new([0; 64]))[word];
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes an offset out. False when it was not there.
    pub fn remove(&mut self, offset: i64) -> bool {
        let (piece, word, bit) = split(offset);
        let Some(words) = self.pieces.get_mut(&piece) else { return false };
        let was = words[word] & bit != 0;
        words[word] &= !bit;
        if was && words.iter().all(|word| *word == 0) {
            self.pieces.remove(&piece);
        }
        was
    }

    /// Whether an offset is in it.
    pub fn contains(&self, offset: i64) -> bool {
        let (piece, word, bit) = split(offset);
        self.pieces.get(&piece).is_some_and(|words| words[word] & bit != 0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The offsets, in order.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        self.pieces.iter().flat_map(|(piece, words)| {
            let (first, words) = (piece * PIECE, **words);
            (0..PIECE).filter(move |n| words[(n / 64) as usize] >> (n % 64) & 1 == 1).map(move |n| first + n)
        })
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.pieces.values().flat_map(|words| words.iter()).map(|word| u64::from(word.count_ones())).sum()
    }

    /// The first and the last.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let first = self.iter().next()?;
        let last = self.pieces.last_key_value().and_then(|(piece, words)| {
            (0..PIECE).rev().find(|n| words[(n / 64) as usize] >> (n % 64) & 1 == 1).map(|n| piece * PIECE + n)
        })?;
        Some((first, last))
    }
}

impl FromIterator<i64> for Offsets {
    fn from_iter<I: IntoIterator<Item = i64>>(offsets: I) -> Self {
        let mut all = Offsets::default();
        for offset in offsets {
            all.insert(offset);
        }
        all
    }
}

/// Places of many partitions.
#[derive(Clone, Debug, Default)]
pub struct Places {
    topics: BTreeMap<String, BTreeMap<i32, Offsets>>,
}

impl Places {
    /// The offsets of a partition, to be changed.
    pub fn of(&mut self, topic: &str, partition: i32) -> &mut Offsets {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), BTreeMap::new());
        }
        self.topics.get_mut(topic).expect("put in above").entry(partition).or_default()
    }

    fn existing(&self, place: &Place) -> Option<&Offsets> {
        self.topics.get(&place.topic)?.get(&place.partition)
    }

    /// Puts a place in. False when it was there.
    pub fn insert(&mut self, place: &Place) -> bool {
        self.of(&place.topic, place.partition).insert(place.offset)
    }

    /// Takes a place out. False when it was not there.
    pub fn remove(&mut self, place: &Place) -> bool {
        let partition = self.topics.get_mut(&place.topic).and_then(|topic| topic.get_mut(&place.partition));
        partition.is_some_and(|offsets| offsets.remove(place.offset))
    }

    /// Whether a place is in it.
    pub fn contains(&self, place: &Place) -> bool {
        self.existing(place).is_some_and(|offsets| offsets.contains(place.offset))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.topics.values().flat_map(BTreeMap::values).all(Offsets::is_empty)
    }

    /// The places, in order.
    pub fn iter(&self) -> impl Iterator<Item = Place> {
        let partitions =
            self.topics.iter().flat_map(|(topic, all)| all.iter().map(move |(p, offsets)| (topic, *p, offsets)));
        partitions.flat_map(|(topic, partition, offsets)| {
            offsets.iter().map(move |offset| Place { topic: topic.clone(), partition, offset })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_that_it_seems(
            steps in prop::collection::vec((0u8..3, prop_oneof![-5i64..9000, 4090i64..4100, any::<i64>()]), 0..200),
        ) {
            let (mut offsets, mut expected) = (Offsets::default(), BTreeSet::new());
            for (what, offset) in steps {
                // The last piece of all has fewer than 4096 offsets, and no topic has as many.
                let offset = offset.clamp(i64::MIN + PIECE, i64::MAX - PIECE);
                match what {
                    0 | 1 => prop_assert_eq!(offsets.insert(offset), expected.insert(offset)),
                    _ => prop_assert_eq!(offsets.remove(offset), expected.remove(&offset)),
                }
                prop_assert_eq!(offsets.contains(offset), expected.contains(&offset));
            }
            prop_assert_eq!(offsets.is_empty(), expected.is_empty());
            prop_assert_eq!(offsets.bounds(), expected.first().copied().zip(expected.last().copied()));
            prop_assert_eq!(offsets.len(), expected.len() as u64);
            prop_assert!(offsets.iter().eq(expected));
        }
    }
}
