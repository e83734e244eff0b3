//! Members by the group that they belong to: children by their owner, pods by their resource.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// An index that the watches keep, so that nobody has to search all members.
pub struct Groups<G, M>(Mutex<Maps<G, M>>);

struct Maps<G, M> {
    group: HashMap<M, G>,
    /// In order. Nearly all groups have one member, for which a set would take the room of eleven.
    members: HashMap<G, Vec<M>>,
}

impl<G, M> Default for Groups<G, M> {
    fn default() -> Self {
        Groups(Mutex::new(Maps { group: HashMap::new(), members: HashMap::new() }))
    }
}

impl<G: Clone + Eq + Hash, M: Clone + Ord + Hash> Groups<G, M> {
    fn lock(&self) -> MutexGuard<'_, Maps<G, M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which group a member belongs to; none: to no group, or it is gone.
    pub fn put(&self, member: M, group: Option<G>) {
        let maps = &mut *self.lock();
        if let Some(old) = maps.group.remove(&member)
            && let Some(members) = maps.members.get_mut(&old)
        {
            if let Ok(at) = members.binary_search(&member) {
                members.remove(at);
            }
            if members.is_empty() {
                maps.members.remove(&old);
            }
        }
        if let Some(group) = group {
            let members = maps.members.entry(group.clone()).or_default();
            if let Err(at) = members.binary_search(&member) {
                members.reserve_exact(1);
                members.insert(at, member.clone());
            }
            maps.group.insert(member, group);
        }
    }

    /// The members of a group, in their order.
    pub fn of(&self, group: &G) -> Vec<M> {
        self.lock().members.get(group).into_iter().flatten().cloned().collect()
    }

    /// Keeps only the members that are still there, and gives the groups of the others.
    pub fn retain(&self, there: impl Fn(&M) -> bool) -> Vec<G> {
        let all: Vec<(M, G)> =
            self.lock().group.iter().map(|(member, group)| (member.clone(), group.clone())).collect();
        let gone = all.into_iter().filter(|(member, _)| !there(member));
        gone.map(|(member, group)| {
            self.put(member, None);
            group
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_in_one_group_and_those_that_are_gone_in_none() {
        let groups = Groups::default();
        for (member, group) in [(1, "a"), (2, "a"), (3, "b"), (1, "b")] {
            groups.put(member, Some(group));
        }
        assert_eq!((groups.of(&"a"), groups.of(&"b")), (vec![2], vec![1, 3]));
        assert_eq!(groups.retain(|member| *member != 2), ["a"]);
        groups.put(3, None);
        assert_eq!((groups.of(&"a"), groups.of(&"b")), (vec![], vec![1]));
        assert_eq!(groups.lock().members.len(), 1, "nothing is kept of an empty group");
    }
}
