//! How what is wanted differs from what runs.

use crate::work::Wanted;

/// What becomes of what runs when something else is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Places in the old list: these end.
    pub ending: Vec<usize>,
    /// Places in the new list: these begin, some of them anew.
    pub beginning: Vec<usize>,
    /// Places in the old list and in the new one: these go on undisturbed.
    pub staying: Vec<(usize, usize)>,
}

/// Compares what runs with what is wanted.
pub fn changes(running: &[&dyn Wanted], wanted: &[Box<dyn Wanted>]) -> Changes {
    let mut changes = Changes::default();
    for (new, wish) in wanted.iter().enumerate() {
        match running.iter().position(|runs| runs.is_same(wish.as_ref())) {
            Some(old) => changes.staying.push((old, new)),
            None => changes.beginning.push(new),
        }
    }
    let stays = |old: &usize| changes.staying.iter().any(|(place, _)| place == old);
    changes.ending = (0..running.len()).filter(|old| !stays(old)).collect();
    changes
}

impl Changes {
    /// Has some of those that would go on undisturbed begin anew; `which` is given the places of each in the old list and in the new.
    pub fn anew(mut self, which: impl Fn(usize, usize) -> bool) -> Self {
        let (anew, staying) = self.staying.into_iter().partition(|(old, new)| which(*old, *new));
        self.staying = staying;
        let anew: Vec<(usize, usize)> = anew;
        for (old, new) in anew {
            self.ending.push(old);
            self.beginning.push(new);
        }
        self
    }
}
