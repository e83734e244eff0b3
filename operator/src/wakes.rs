//! Finds out whom an event of a watch concerns, and has them looked at.
//!
//! A resource's own status writes do not wake it: only its generation and its annotations do. Whom else it concerns is a
//! matter of [`References`](crate::references::References): those who refer to it, and those who refer to them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use edgereel_crds::{name::ObjectName, resource_status::ResourceStatus, status::ConditionType};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Resource, ResourceExt,
    core::{PartialObjectMeta, object::HasStatus},
    runtime::watcher::Event,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    cache::{Caches, Guarded, reference},
    controller::{
        apply::Child, context::Context, dereference::object_name, managed::Managed, names::RESOURCE_ANNOTATION,
    },
    hash::hash_of,
    kinds::Kinds,
    metrics::Metrics,
    references::{Node, SECRET},
};

/// Has resources looked at.
#[derive(Clone)]
pub struct Triggers {
    kinds: HashMap<&'static str, Trigger>,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
struct Trigger {
    sender: UnboundedSender<ObjectName>,
    counts_users: bool,
}

/// Those who wait to be looked at, by their kind.
pub type Woken = HashMap<&'static str, UnboundedReceiver<ObjectName>>;

impl Triggers {
    /// A trigger for each kind, and its other end.
    pub fn new(kinds: &Kinds, metrics: Arc<Metrics>) -> (Self, Woken) {
        let (mut triggers, mut woken) = (HashMap::new(), Woken::new());
        for kind in kinds.iter() {
            let (sender, receiver) = unbounded_channel();
            triggers.insert(kind.name(), Trigger { sender, counts_users: kind.counts_users() });
            woken.insert(kind.name(), receiver);
        }
        (Triggers { kinds: triggers, metrics }, woken)
    }

    /// Has a resource looked at, if it is of one of the kinds.
    pub fn wake(&self, kind: &str, name: &ObjectName) {
        if let Some((kind, trigger)) = self.kinds.get_key_value(kind) {
            self.metrics.triggered(kind, name);
            // Whoever listened has stopped: so does everything.
            let _ = trigger.sender.send(name.clone());
        }
    }

    fn counts_users(&self, kind: &str) -> bool {
        self.kinds.get(kind).is_some_and(|trigger| trigger.counts_users)
    }
}

/// Finds out whom an event concerns.
pub struct Wakes {
    context: Arc<Context>,
    triggers: Triggers,
    /// What was last seen of each resource, as far as it concerns the operator.
    seen: Mutex<HashMap<Node, Seen>>,
}

struct Seen {
    uid: String,
    essence: String,
}

/// The object of an event, and whether it is gone.
fn object<K>(event: &Event<K>) -> Option<(&K, bool)> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => Some((object, false)),
        Event::Delete(object) => Some((object, true)),
        Event::Init | Event::InitDone => None,
    }
}

impl Wakes {
    /// For what the watches bring to this context's caches.
    pub fn new(context: Arc<Context>, triggers: Triggers) -> Self {
        Wakes { context, triggers, seen: Mutex::default() }
    }

    fn caches(&self) -> &Caches {
        &self.context.caches
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Node, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a resource of ours.
    pub fn own<K: Managed>(&self, event: &Event<Guarded<K>>) {
        match event {
            Event::Apply(resource) | Event::InitApply(resource) => self.there::<K>(resource),
            Event::Delete(resource) => self.gone::<K>(&object_name(resource)),
            Event::Init => {}
            // What is not among all that there is went unseen.
            Event::InitDone => {
                let there = |name: &ObjectName| self.caches().of::<K>().get(&reference(name)).is_some();
                let known: Vec<ObjectName> =
                    self.seen().keys().filter(|node| node.kind == K::NAME).map(|node| node.name.clone()).collect();
                known.iter().filter(|name| !there(name)).for_each(|name| self.gone::<K>(name));
            }
        }
    }

    fn there<K: Managed>(&self, resource: &Guarded<K>) {
        let name = object_name(resource);
        let (node, meta) = (Node::of::<K>(&name), resource.meta());
        let essence = hash_of(&(&meta.uid, meta.generation, &meta.annotations, meta.deletion_timestamp.is_some()));
        let seen = Seen { uid: meta.uid.clone().unwrap_or_default(), essence: essence.clone() };
        if self.seen().insert(node.clone(), seen).is_some_and(|before| before.essence == essence) {
            return;
        }
        self.triggers.wake(K::NAME, &name);
        let references = &self.caches().references;
        // Those that it used before count one user less.
        self.wake_counting(&node);
        match &resource.0 {
            Ok(resource) => references.put(&name, resource),
            Err(_) => references.remove(&node),
        }
        self.concerns::<K>(&node);
    }

    fn gone<K: Managed>(&self, name: &ObjectName) {
        let node = Node::of::<K>(name);
        let seen = self.seen().remove(&node);
        self.context.metrics.forget(K::NAME, name);
        self.context.written.forget(&seen.map(|seen| seen.uid).unwrap_or_default());
        self.concerns::<K>(&node);
        self.caches().references.remove(&node);
    }

    /// Wakes all but the resource itself that a change of it concerns.
    fn concerns<K: Managed>(&self, node: &Node) {
        self.wake_concerned(node);
        self.wake_counting(node);
        // Those of its kind that were refused for what it had claimed.
        let stalled = self.caches().of::<K>().state_filter(|other| {
            let name = object_name(other);
            (K::MEETS_ACROSS_NAMESPACES || name.namespace == node.name.namespace)
                && name != node.name
                && other.0.as_ref().is_ok_and(|other| HasStatus::status(other).is_some_and(is_stalled))
        });
        stalled.iter().for_each(|other| self.triggers.wake(K::NAME, &object_name(&**other)));
    }

    fn wake_concerned(&self, target: &Node) {
        for Node { kind, name } in self.caches().references.concerned(target) {
            self.triggers.wake(kind, &name);
        }
    }

    /// Wakes those that say how many use them.
    fn wake_counting(&self, user: &Node) {
        let used = self.caches().references.used(user);
        for Node { kind, name } in used.iter().filter(|used| self.triggers.counts_users(used.kind)) {
            self.triggers.wake(kind, name);
        }
    }

    /// Of a Secret.
    pub fn secret(&self, event: &Event<PartialObjectMeta<Secret>>) {
        let Some((secret, _)) = object(event) else { return };
        self.wake_concerned(&Node { kind: SECRET, name: object_name(secret) });
    }

    /// Of a child.
    pub fn child<C: Child>(&self, event: &Event<C>) {
        let Some(cache) = self.caches().children::<C>() else { return };
        let Some((child, gone)) = object(event) else {
            return cache.relisted();
        };
        cache.brought(child, gone);
        let namespace = child.namespace().unwrap_or_default();
        for owner in child.owner_references().iter().filter(|owner| owner.controller == Some(true)) {
            self.triggers.wake(&owner.kind, &ObjectName { namespace: namespace.clone(), name: owner.name.clone() });
        }
    }

    /// Of a pod that one of the workloads made.
    pub fn pod(&self, event: &Event<Pod>) {
        let pods = &self.caches().pods;
        let Some((pod, gone)) = object(event) else {
            return pods.relisted();
        };
        pods.brought(pod, gone);
        let namespace = pod.namespace().unwrap_or_default();
        if let Some((kind, name)) = pod.annotations().get(RESOURCE_ANNOTATION).and_then(|label| label.split_once('/')) {
            self.triggers.wake(kind, &ObjectName { namespace, name: name.to_owned() });
        }
    }
}

fn is_stalled(status: &impl ResourceStatus) -> bool {
    status.condition(ConditionType::Stalled).is_some_and(|condition| condition.status == "True")
}
