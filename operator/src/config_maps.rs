//! The ConfigMaps that resources read from: which version each is of, and nothing else. Whoever needs a value asks for it once a
//! version, as of a Secret; of all others nothing is kept.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use edgereel_crds::name::ObjectName;

/// What is known of those that are referred to.
#[derive(Default)]
pub struct ConfigMaps(Mutex<State>);

#[derive(Default)]
struct State {
    /// The version; none: there is none of that name. What is not here has to be asked for.
    versions: HashMap<ObjectName, Option<String>>,
    /// Those that a list has brought, until it is through.
    listed: Option<BTreeSet<ObjectName>>,
}

impl ConfigMaps {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that was seen last; none: nobody has looked. An inner none: there is none of that name.
    pub fn version(&self, name: &ObjectName) -> Option<Option<String>> {
        self.lock().versions.get(name).cloned()
    }

    /// Takes up what was answered to a question; what the watch has brought meanwhile is newer.
    pub fn answered(&self, name: &ObjectName, version: Option<String>) {
        self.lock().versions.entry(name.clone()).or_insert(version);
    }

    /// Takes up what the watch brings: of one that nobody refers to, nothing is known from now on.
    pub fn brought(&self, name: &ObjectName, version: Option<String>, referred: bool) {
        let mut state = self.lock();
        if let Some(listed) = state.listed.as_mut().filter(|_| referred) {
            listed.insert(name.clone());
        }
        match referred {
            true => drop(state.versions.insert(name.clone(), version)),
            false => drop(state.versions.remove(name)),
        }
    }

    /// A list begins.
    pub fn begins(&self) {
        self.lock().listed = Some(BTreeSet::new());
    }

    /// A list is through: what it did not bring may have gone unseen, and is asked for again. Which ones these are.
    pub fn ends(&self, referred: Vec<ObjectName>) -> Vec<ObjectName> {
        let mut state = self.lock();
        let listed = state.listed.take().unwrap_or_default();
        let missing: Vec<ObjectName> = referred.into_iter().filter(|name| !listed.contains(name)).collect();
        state.versions.retain(|name, _| listed.contains(name));
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ObjectName {
        ObjectName { namespace: "lab".into(), name: name.into() }
    }

    fn version(version: &str) -> Option<String> {
        Some(version.to_owned())
    }

    #[test]
    fn what_the_watch_brought_is_newer_than_an_answer_and_what_nobody_reads_is_not_kept() {
        let maps = ConfigMaps::default();
        maps.brought(&name("ca"), version("2"), true);
        maps.answered(&name("ca"), version("1"));
        assert_eq!(maps.version(&name("ca")), Some(version("2")));
        for n in 0..100 {
            maps.brought(&name(&format!("other-{n}")), version("1"), false);
        }
        assert_eq!(maps.lock().versions.len(), 1);
        // Nobody reads it for a while, in which it changes.
        maps.brought(&name("ca"), version("3"), false);
        assert_eq!(maps.version(&name("ca")), None, "it is asked for anew");
    }

    #[test]
    fn what_a_list_does_not_bring_is_asked_for_again() {
        let maps = ConfigMaps::default();
        maps.answered(&name("gone"), version("1"));
        maps.answered(&name("there"), version("1"));
        maps.begins();
        maps.brought(&name("there"), version("2"), true);
        assert_eq!(maps.ends(vec![name("gone"), name("there")]), [name("gone")]);
        assert_eq!((maps.version(&name("gone")), maps.version(&name("there"))), (None, Some(version("2"))));
    }
}
