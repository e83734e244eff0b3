//! The namespaces that are worked on, where each has caches and controllers of its own: what one of them has to know of another,
//! for the connections that are used across.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use edgereel_crds::name::ObjectName;

use crate::{
    cache::Caches,
    controller::context::Context,
    references::{Node, References},
    wakes::Triggers,
};

/// All of them.
#[derive(Default)]
pub struct Realm {
    /// Who refers to whom, from each namespace into any.
    pub references: References,
    /// None: all namespaces are watched as one.
    watched: Option<BTreeSet<String>>,
    /// Those whose watches have brought what there was, or cannot for now.
    begun: Mutex<HashMap<String, (Weak<Context>, Triggers)>>,
}

/// What one namespace sees of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View<T> {
    /// This.
    Seen(T),
    /// Nothing yet: its watches have just begun.
    NotYet,
    /// Nothing ever: nobody watches it.
    NotWatched,
}

impl Realm {
    /// Of these namespaces; of all, where none is named.
    pub fn new(namespaces: &[String]) -> Self {
        let watched = (!namespaces.is_empty()).then(|| namespaces.iter().cloned().collect());
        Realm { watched, ..Realm::default() }
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<String, (Weak<Context>, Triggers)>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The others see a namespace from now on.
    pub fn begins(&self, context: &Arc<Context>, triggers: Triggers) {
        let Some(namespace) = context.caches.namespace.clone() else { return };
        self.begun().insert(namespace.clone(), (Arc::downgrade(context), triggers));
        // Those of it that are used from elsewhere, and whose users came first.
        let here: Vec<Node> =
            self.references.all_targets().into_iter().filter(|n| n.name.namespace == namespace).collect();
        for Node { kind, name } in here.iter().flat_map(|target| self.references.concerned(target)) {
            self.wake(kind, &name);
        }
    }

    fn context(&self, namespace: &str) -> View<Arc<Context>> {
        match self.begun().get(namespace).and_then(|(context, _)| context.upgrade()) {
            Some(context) => View::Seen(context),
            None if self.watched.as_ref().is_none_or(|watched| watched.contains(namespace)) => View::NotYet,
            None => View::NotWatched,
        }
    }

    /// Has a resource of any namespace looked at.
    pub fn wake(&self, kind: &str, name: &ObjectName) {
        let triggers = self.begun().get(&name.namespace).map(|(_, triggers)| triggers.clone());
        if let Some(triggers) = triggers {
            triggers.wake(kind, name);
        }
    }
}

impl Caches {
    /// Whether a namespace is one of those that these are of.
    pub fn has(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|own| own == namespace)
    }

    /// What there is to see in a namespace.
    pub fn view<T>(&self, namespace: &str, look: impl FnOnce(&Caches) -> T) -> View<T> {
        match self.has(namespace) {
            true => View::Seen(look(self)),
            false => match self.realm.context(namespace) {
                View::Seen(context) => View::Seen(look(&context.caches)),
                View::NotYet => View::NotYet,
                View::NotWatched => View::NotWatched,
            },
        }
    }
}

impl Context {
    /// What there is to see in a namespace; none where it is not seen.
    pub fn look<T>(&self, namespace: &str, look: impl FnOnce(&Context) -> T) -> Option<T> {
        match self.caches.has(namespace) {
            true => Some(look(self)),
            false => match self.caches.realm.context(namespace) {
                View::Seen(context) => Some(look(&context)),
                View::NotYet | View::NotWatched => None,
            },
        }
    }
}
