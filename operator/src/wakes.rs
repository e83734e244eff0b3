//! Finds out whom an event of a watch concerns, and has them looked at.
//!
//! A resource's own status writes do not wake it: only its spec and its annotations do. Whom else it concerns is a
//! matter of [`References`](crate::references::References): those who refer to it, and those who refer to them.
//!
//! What a list brings is in the cache with the list's end, not before. Only then is anybody woken for it: who is looked at
//! earlier is not found there, or is looked at with children and pods as they were, and nobody would wake it again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use edgereel_crds::{name::ObjectName, resource_status::ResourceStatus, status::ConditionType};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Resource, ResourceExt,
    core::{PartialObjectMeta, object::HasStatus},
    runtime::watcher::Event,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    cache::{Caches, Guarded, reference},
    cold::Cold,
    controller::{
        apply::Child,
        context::Context,
        dereference::object_name,
        managed::Managed,
        observe::{named_by, worker_of},
    },
    hash::hash_of,
    kinds::Kinds,
    metrics::Metrics,
    realm::Realm,
    references::{CONFIG_MAP, Node, References, SECRET},
    rollout::pull::PULLS_FOR,
};

/// Has resources looked at.
#[derive(Clone)]
pub struct Triggers {
    kinds: HashMap<&'static str, Trigger>,
    metrics: Arc<Metrics>,
    /// The namespace whose resources these are for; none: all.
    namespace: Option<String>,
    /// Who has those of the others looked at.
    realm: Weak<Realm>,
}

#[derive(Clone)]
struct Trigger {
    sender: UnboundedSender<ObjectName>,
    counts_users: bool,
    hosts: bool,
}

/// Those who wait to be looked at, by their kind.
pub type Woken = HashMap<&'static str, UnboundedReceiver<ObjectName>>;

impl Triggers {
    /// A trigger for each kind, and its other end.
    pub fn new(kinds: &Kinds, metrics: Arc<Metrics>, caches: &Caches) -> (Self, Woken) {
        let (mut triggers, mut woken) = (HashMap::new(), Woken::new());
        for kind in kinds.iter() {
            let (sender, receiver) = unbounded_channel();
            triggers.insert(kind.name(), Trigger { sender, counts_users: kind.counts_users(), hosts: kind.hosts() });
            woken.insert(kind.name(), receiver);
        }
        let (namespace, realm) = (caches.namespace.clone(), Arc::downgrade(&caches.realm));
        (Triggers { kinds: triggers, metrics, namespace, realm }, woken)
    }

    /// Has a resource looked at, if it is of one of the kinds.
    pub fn wake(&self, kind: &str, name: &ObjectName) {
        if self.namespace.as_ref().is_some_and(|own| *own != name.namespace) {
            if let Some(realm) = self.realm.upgrade() {
                realm.wake(kind, name);
            }
            return;
        }
        if let Some((kind, trigger)) = self.kinds.get_key_value(kind) {
            self.metrics.triggered(kind, name);
            // Whoever listened has stopped: so does everything.
            let _ = trigger.sender.send(name.clone());
        }
    }

    /// Has those looked at that say how many use them, of what a resource uses.
    pub fn wake_used(&self, kind: &str, name: &ObjectName, references: &References) {
        let Some((kind, _)) = self.kinds.get_key_value(kind) else { return };
        let used = references.used(&Node { kind, name: name.clone() });
        for Node { kind, name } in used.iter().filter(|used| self.counts_users(used.kind)) {
            self.wake(kind, name);
        }
    }

    /// Has those looked at in whose pods a resource runs.
    pub fn wake_hosts(&self, kind: &str, name: &ObjectName, references: &References) {
        let Some((kind, _)) = self.kinds.get_key_value(kind) else { return };
        let used = references.used(&Node { kind, name: name.clone() });
        for Node { kind, name } in used.iter().filter(|used| self.hosts(used.kind)) {
            self.wake(kind, name);
        }
    }

    /// Has those looked at that run in the pods of a resource.
    fn wake_guests(&self, kind: &str, name: &ObjectName, references: &References) {
        let Some((kind, _)) = self.kinds.get_key_value(kind).filter(|(_, trigger)| trigger.hosts) else { return };
        for Node { kind, name } in references.sources_of(&Node { kind, name: name.clone() }) {
            self.wake(kind, &name);
        }
    }

    fn hosts(&self, kind: &str) -> bool {
        self.kinds.get(kind).is_some_and(|trigger| trigger.hosts)
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
    /// What a host's status says of what concerns its guests.
    said: String,
}

/// What an event says, once the cache has it too.
enum News<'e, K> {
    /// An object as it is now.
    There(&'e K),
    /// An object is gone.
    Gone(&'e K),
    /// The cache holds all that there are, and nothing else.
    Listed,
}

/// Nothing, while a list is under way.
fn news<K>(event: &Event<K>) -> Option<News<'_, K>> {
    match event {
        Event::Apply(object) => Some(News::There(object)),
        Event::Delete(object) => Some(News::Gone(object)),
        Event::InitDone => Some(News::Listed),
        Event::Init | Event::InitApply(_) => None,
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
        match news(event) {
            Some(News::There(resource)) => self.there::<K>(resource),
            Some(News::Gone(resource)) => self.gone::<K>(&object_name(resource)),
            Some(News::Listed) => {
                let cache = self.caches().of::<K>();
                cache.state().iter().for_each(|resource| self.there::<K>(resource));
                let there = |name: &ObjectName| cache.get(&reference(name)).is_some();
                let known: Vec<ObjectName> =
                    self.seen().keys().filter(|node| node.kind == K::NAME).map(|node| node.name.clone()).collect();
                // What is not among all that there is went unseen.
                known.iter().filter(|name| !there(name)).for_each(|name| self.gone::<K>(name));
            }
            None => {}
        }
    }

    fn there<K: Managed>(&self, resource: &Guarded<K>) {
        let name = object_name(resource);
        let (node, meta) = (Node::of::<K>(&name), resource.meta());
        self.context.written.brought(meta.uid.as_deref().unwrap_or_default(), meta.resource_version.as_deref());
        // The spec beside its generation: another definition gives another one of what is stored.
        let (leaves, spec) = (meta.deletion_timestamp.is_some(), &resource.1.spec);
        let essence = hash_of(&(&meta.uid, meta.generation, &meta.annotations, leaves, spec));
        let said = if K::HOSTS { said(resource) } else { String::new() };
        let seen = Seen { uid: meta.uid.clone().unwrap_or_default(), essence: essence.clone(), said: said.clone() };
        let before = self.seen().insert(node.clone(), seen);
        if before.as_ref().is_some_and(|before| before.said != said) {
            self.triggers.wake_guests(K::NAME, &name, self.caches().references());
        }
        if before.is_some_and(|before| before.essence == essence) {
            return;
        }
        self.context.metrics.noticed(K::NAME, &name);
        if K::RUNS.is_some() {
            self.context.board.expect(&node);
        }
        self.triggers.wake(K::NAME, &name);
        let references = self.caches().references();
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
        self.context.board.forget(&node);
        self.context.written.forget(&seen.map(|seen| seen.uid).unwrap_or_default());
        self.concerns::<K>(&node);
        self.caches().references().remove(&node);
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
        for Node { kind, name } in self.caches().references().concerned(target) {
            self.triggers.wake(kind, &name);
            self.triggers.wake_hosts(kind, &name, self.caches().references());
        }
    }

    /// Wakes a resource for what became of its children or pods, and those that run in them.
    fn wake_with_guests(&self, kind: &str, name: &ObjectName) {
        self.triggers.wake(kind, name);
        self.triggers.wake_guests(kind, name, self.caches().references());
    }

    /// Wakes those that say how many use them.
    fn wake_counting(&self, user: &Node) {
        self.triggers.wake_used(user.kind, &user.name, self.caches().references());
    }

    /// Of a Secret.
    pub fn secret(&self, event: &Event<PartialObjectMeta<Secret>>) {
        let concerned = |name: ObjectName| self.wake_concerned(&Node { kind: SECRET, name });
        match news(event) {
            Some(News::There(secret) | News::Gone(secret)) => concerned(object_name(secret)),
            Some(News::Listed) => {
                let secrets = &self.caches().secrets;
                secrets.state().iter().for_each(|secret| concerned(object_name(&**secret)));
                // What is not among all that there is may have gone unseen.
                let there = |node: &Node| secrets.get(&reference(&node.name)).is_some();
                let ours = |node: &Node| self.caches().has(&node.name.namespace);
                let missing = self.caches().references().targets(SECRET).into_iter();
                let missing = missing.filter(|node| ours(node) && !there(node));
                missing.for_each(|node| concerned(node.name));
            }
            None => {}
        }
    }

    /// Of a ConfigMap that is none of the operator's own.
    pub fn config_map(&self, event: &Event<PartialObjectMeta<ConfigMap>>) {
        let (known, references) = (&self.caches().config_maps, self.caches().references());
        let brought = |map: &PartialObjectMeta<ConfigMap>, gone: bool| {
            let node = Node { kind: CONFIG_MAP, name: object_name(map) };
            let version = map.metadata.resource_version.clone().filter(|_| !gone);
            known.brought(&node.name, version, references.is_target(&node));
            self.wake_concerned(&node);
        };
        match event {
            // What is known of it is known at once, unlike what a cache has.
            Event::Apply(map) | Event::InitApply(map) => brought(map, false),
            Event::Delete(map) => brought(map, true),
            Event::Init => known.begins(),
            Event::InitDone => {
                let referred = references.targets(CONFIG_MAP).into_iter().map(|node| node.name);
                let referred = referred.filter(|name| self.caches().has(&name.namespace)).collect();
                for name in known.ends(referred) {
                    self.wake_concerned(&Node { kind: CONFIG_MAP, name });
                }
            }
        }
    }

    /// Of a child.
    pub fn child<C: Child>(&self, event: &Event<Cold<C>>) {
        let Some(cache) = self.caches().children::<C>() else { return };
        let brought = |child: &Cold<C>, gone: bool| {
            cache.brought(child, gone);
            let namespace = child.namespace().unwrap_or_default();
            for owner in child.owner_references().iter().filter(|owner| owner.controller == Some(true)) {
                self.wake_with_guests(
                    &owner.kind,
                    &ObjectName { namespace: namespace.clone(), name: owner.name.clone() },
                );
            }
        };
        match news(event) {
            Some(News::There(child)) => brought(child, false),
            Some(News::Gone(child)) => brought(child, true),
            Some(News::Listed) => {
                cache.state().iter().for_each(|child| brought(child, false));
                self.wake_owners(&cache.relisted());
            }
            None => {}
        }
    }

    /// Wakes the resources with these uids.
    fn wake_owners(&self, uids: &[String]) {
        let owners: Vec<Node> =
            self.seen().iter().filter(|(_, seen)| uids.contains(&seen.uid)).map(|(node, _)| node.clone()).collect();
        owners.iter().for_each(|Node { kind, name }| self.triggers.wake(kind, name));
    }

    /// Wakes the resources whose pods are on some nodes, whenever one is lost or back, until this is dropped.
    pub async fn of_nodes(self: Arc<Self>) {
        let mut changes = self.context.nodes.hear();
        loop {
            let nodes = changes.news().await;
            for (kind, resource) in self.caches().pods.on(&nodes).iter().filter_map(worker_of) {
                self.wake_with_guests(&kind, &resource);
            }
        }
    }

    /// Of a pod that one of the workloads made.
    pub fn pod(&self, event: &Event<Cold<Pod>>) {
        let (pods, reports) = (&self.caches().pods, &self.context.reports);
        let brought = |pod: &Cold<Pod>, gone: bool| {
            let Some(pod) = pod.object() else { return };
            pods.brought(&pod, gone);
            reports.brought(&pod, gone);
            if let Some((kind, resource)) = worker_of(&pod).or_else(|| named_by(&pod, PULLS_FOR)) {
                self.wake_with_guests(&kind, &resource);
                if gone {
                    // One that waits to take it in can.
                    self.triggers.wake_hosts(&kind, &resource, self.caches().references());
                }
            }
        };
        match news(event) {
            Some(News::There(pod)) => brought(pod, false),
            Some(News::Gone(pod)) => brought(pod, true),
            Some(News::Listed) => {
                pods.state().iter().for_each(|pod| brought(pod, false));
                reports.retain(|name| pods.has(name));
                for (namespace, label) in pods.relisted() {
                    if let Some((kind, name)) = label.split_once('/') {
                        self.wake_with_guests(kind, &ObjectName { namespace, name: name.to_owned() });
                    }
                }
            }
            None => {}
        }
    }
}

/// What a status says of the operator's own changes.
fn said<K: Managed>(resource: &Guarded<K>) -> String {
    let status = resource.0.as_ref().ok().and_then(HasStatus::status);
    let condition = status.and_then(|status| status.condition(ConditionType::UpToDate));
    condition.map(|c| format!("{} {}: {}", c.status, c.reason, c.message)).unwrap_or_default()
}

fn is_stalled(status: &impl ResourceStatus) -> bool {
    status.condition(ConditionType::Stalled).is_some_and(|condition| condition.status == "True")
}
