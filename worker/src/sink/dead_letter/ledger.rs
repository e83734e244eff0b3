//! Which letters are not acknowledged yet: pure.
//!
//! Each letter has a number of its own, and is in the ledger until *it* is acknowledged: what others are acknowledged says
//! nothing of it. A letter that was refused waits to be sent again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A letter's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(u64);

/// A moment in the ledger: the letters before it, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(Number);

/// The letters on their way and those refused, with why.
#[derive(Debug)]
pub struct Ledger<L, F> {
    next: Number,
    letters: BTreeMap<Number, Entry<L>>,
    /// Refused and not sent again yet.
    waiting: BTreeSet<Number>,
    /// What was said of a letter when it was last refused, for all that were since they were written.
    refused: BTreeMap<Number, F>,
    /// Marks up to here were made before letters were forgotten.
    forgotten: Option<Number>,
    bytes: usize,
    budget: usize,
}

/// How it stands with the letters before a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Each was acknowledged.
    Yes,
    /// Some are on their way, or were refused.
    NotYet,
    /// Some were forgotten: nobody will know.
    Never,
}

#[derive(Debug)]
struct Entry<L> {
    letter: Arc<L>,
    bytes: usize,
}

impl<L, F> Ledger<L, F> {
    /// No letters; as many as fit into `budget` bytes, or one.
    pub fn new(budget: usize) -> Self {
        Ledger {
            next: Number(0),
            letters: BTreeMap::new(),
            waiting: BTreeSet::new(),
            refused: BTreeMap::new(),
            forgotten: None,
            bytes: 0,
            budget,
        }
    }

    /// Whether a letter of so many bytes may be entered now.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.letters.is_empty() || self.bytes + bytes <= self.budget
    }

    /// A letter is about to be sent.
    pub fn enter(&mut self, letter: Arc<L>, bytes: usize) -> Number {
        let number = self.next;
        self.next = Number(number.0 + 1);
        self.bytes += bytes;
        self.letters.insert(number, Entry { letter, bytes });
        number
    }

    /// A letter was acknowledged, or was not sent at all. False when it is not in the ledger.
    pub fn strike_out(&mut self, number: Number) -> bool {
        let Some(entry) = self.letters.remove(&number) else { return false };
        self.bytes -= entry.bytes;
        self.waiting.remove(&number);
        self.refused.remove(&number);
        true
    }

    /// A letter was refused. False when it is not in the ledger.
    pub fn refuse(&mut self, number: Number, fault: F) -> bool {
        let known = self.letters.contains_key(&number);
        if known {
            self.waiting.insert(number);
            self.refused.insert(number, fault);
        }
        known
    }

    /// A letter that was to be sent again could not be: it waits on.
    pub fn wait(&mut self, number: Number) {
        if self.letters.contains_key(&number) {
            self.waiting.insert(number);
        }
    }

    /// The first letter that waits to be sent again; it counts as sent from here on.
    pub fn send_again(&mut self) -> Option<(Number, Arc<L>)> {
        let number = self.waiting.pop_first()?;
        Some((number, self.letters.get(&number)?.letter.clone()))
    }

    /// The first letter that was refused and is not acknowledged since, and why it was.
    pub fn standing(&self) -> Option<(&L, &F)> {
        let (number, fault) = self.refused.first_key_value()?;
        Some((&self.letters.get(number)?.letter, fault))
    }

    /// Here.
    pub fn mark(&self) -> Mark {
        Mark(self.next)
    }

    /// Whether every letter before the mark was acknowledged.
    pub fn settled(&self, mark: Mark) -> Settled {
        if self.forgotten.is_some_and(|forgotten| mark.0 <= forgotten) {
            Settled::Never
        } else if self.letters.first_key_value().is_none_or(|(first, _)| *first >= mark.0) {
            Settled::Yes
        } else {
            Settled::NotYet
        }
    }

    /// Forgets all letters. What is heard of them later means nothing.
    pub fn clear(&mut self) {
        if self.letters.is_empty() {
            return;
        }
        // No mark from here on is one of those before.
        let (forgotten, next) = (Some(self.next), Number(self.next.0 + 1));
        *self = Ledger { next, forgotten, ..Ledger::new(self.budget) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ledger() -> Ledger<u64, &'static str> {
        Ledger::new(100)
    }

    #[test]
    fn a_later_letter_that_is_taken_does_not_settle_an_earlier_one_that_was_refused() {
        let mut ledger = ledger();
        let (a, b) = (ledger.enter(Arc::new(7), 1), ledger.enter(Arc::new(8), 1));
        let mark = ledger.mark();
        assert!(ledger.refuse(a, "too large") && ledger.strike_out(b));
        assert_eq!(ledger.settled(mark), Settled::NotYet);
        assert_eq!(ledger.standing(), Some((&7, &"too large")));
        assert_eq!(ledger.send_again().map(|(number, letter)| (number, *letter)), Some((a, 7)));
        assert!(ledger.standing().is_some(), "sent is not taken");
        assert_eq!(ledger.settled(mark), Settled::NotYet);
        assert!(ledger.strike_out(a));
        assert!(ledger.standing().is_none());
        assert_eq!(ledger.settled(mark), Settled::Yes);
    }

    #[test]
    fn what_comes_after_a_mark_does_not_hold_it_up() {
        let mut ledger = ledger();
        let mark = ledger.mark();
        ledger.enter(Arc::new(1), 1);
        assert_eq!((ledger.settled(mark), ledger.settled(ledger.mark())), (Settled::Yes, Settled::NotYet));
    }

    #[test]
    fn what_was_forgotten_is_never_settled() {
        let mut ledger = ledger();
        ledger.enter(Arc::new(1), 1);
        let before = ledger.mark();
        ledger.clear();
        assert_eq!((ledger.settled(before), ledger.settled(ledger.mark())), (Settled::Never, Settled::Yes));
    }

    #[test]
    fn one_letter_always_fits_and_more_only_within_the_budget() {
        let mut ledger = ledger();
        assert!(ledger.has_room(1000));
        let large = ledger.enter(Arc::new(1), 1000);
        assert!(!ledger.has_room(1));
        ledger.strike_out(large);
        ledger.enter(Arc::new(2), 60);
        assert!(ledger.has_room(40) && !ledger.has_room(41));
        ledger.clear();
        assert!(ledger.has_room(1000));
    }

    proptest! {
        /// Whatever is sent, acknowledged, refused and sent again in which order, twice or late: a mark is settled when
        /// each letter before it was acknowledged itself, and only then; and no refused letter is forgotten.
        #[test]
        fn a_mark_is_settled_when_each_letter_before_it_was_acknowledged(
            steps in prop::collection::vec((0u8..10, 0usize..8), 0..200),
        ) {
            let mut ledger = ledger();
            let mut numbers: Vec<Number> = vec![];
            // None once it is acknowledged or forgotten; else whether it is to be sent again.
            let mut letters: Vec<Option<bool>> = vec![];
            // With how many letters were before, and whether some of them were forgotten.
            let mut marks: Vec<(Mark, usize, bool)> = vec![];
            for (what, which) in steps {
                let which = numbers.len().saturating_sub(1 + which);
                match what {
                    0..3 => {
                        numbers.push(ledger.enter(Arc::new(letters.len() as u64), 1));
                        letters.push(Some(false));
                    }
                    3..5 if !numbers.is_empty() => {
                        prop_assert_eq!(ledger.strike_out(numbers[which]), letters[which].take().is_some());
                    }
                    5..7 if !numbers.is_empty() => {
                        prop_assert_eq!(ledger.refuse(numbers[which], "no"), letters[which].is_some());
                        letters[which] = letters[which].map(|_| true);
                    }
                    7 => {
                        let first = letters.iter().position(|letter| *letter == Some(true));
                        prop_assert_eq!(ledger.send_again().map(|(_, letter)| *letter as usize), first);
                        if let Some(first) = first {
                            letters[first] = Some(false);
                        }
                    }
                    8 => marks.push((ledger.mark(), letters.len(), false)),
                    9 if which == 0 => {
                        ledger.clear();
                        let outstanding = letters.iter().any(Option::is_some);
                        marks.iter_mut().for_each(|(_, _, forgotten)| *forgotten |= outstanding);
                        letters.iter_mut().for_each(|letter| *letter = None);
                    }
                    _ => {}
                }
                for (mark, before, forgotten) in &marks {
                    let expected = match letters[..*before].iter().all(Option::is_none) {
                        _ if *forgotten => Settled::Never,
                        true => Settled::Yes,
                        false => Settled::NotYet,
                    };
                    prop_assert_eq!(ledger.settled(*mark), expected);
                }
                prop_assert!(!letters.contains(&Some(true)) || ledger.standing().is_some());
            }
        }
    }
}
