//! What the watches have brought: every object that a reconcile looks at, without asking the API server.

use std::{
    any::{Any, TypeId},
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::name::ObjectName;
use futures::future::{BoxFuture, try_join_all};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::reflector::{ObjectRef, Store, store::Writer},
};

use crate::{
    cold::Cold,
    config_maps::ConfigMaps,
    controller::{
        apply::Child, dereference::object_name, managed::Managed, names::RESOURCE_ANNOTATION, workload::Owner,
    },
    groups::Groups,
    kinds::Kinds,
    realm::Realm,
    references::{Node, References},
    rollout::pull::PULLS_FOR,
};

/// A resource of ours as it is stored: readable, or not.
pub use crate::stored::Stored as Guarded;

/// How long what was just written may be ahead of its watch.
const AHEAD: Duration = Duration::from_secs(10);

/// One value of each type.
#[derive(Default)]
struct ByType(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl ByType {
    fn put<T: Any + Send + Sync>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Box::new(value));
    }

    fn get<T: Any>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }

    fn get_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.0.get_mut(&TypeId::of::<T>())?.downcast_mut()
    }
}

/// Waits until a watch has brought what there was at its start.
type Filled = Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// The watched objects of one namespace, or of all.
pub struct Caches {
    all: ByType,
    filled: Vec<Filled>,
    /// The names and versions of all Secrets, without their values.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// The versions of the ConfigMaps that resources read from.
    pub config_maps: ConfigMaps,
    /// Pods that the operator's workloads made.
    pub pods: PodCache,
    /// The namespace that they are of; none: all.
    pub namespace: Option<String>,
    /// This namespace among the others.
    pub realm: Arc<Realm>,
}

/// The other ends of [`Caches`]: what the watches write to.
#[derive(Default)]
pub struct Writers(ByType);

impl Writers {
    /// Where objects of a type are written to.
    ///
    /// # Panics
    /// Nobody watches them.
    pub fn of<T: Resource<DynamicType = ()> + Clone + 'static>(&mut self) -> &mut Writer<T>
    where
        Writer<T>: Send + Sync,
    {
        self.0.get_mut().expect("every kind that is worked on has a cache")
    }

    /// The same, for the watch to have.
    pub(crate) fn take<T: Resource<DynamicType = ()> + Clone + 'static>(&mut self) -> Writer<T>
    where
        Writer<T>: Send + Sync,
    {
        std::mem::take(self.of())
    }
}

impl Caches {
    /// Empty caches of a namespace, or of all, for these kinds and their children.
    pub fn new(kinds: &Kinds, namespace: Option<String>, realm: Arc<Realm>) -> (Self, Writers) {
        let (secrets, pods) = (Writer::default(), Writer::default());
        let mut caches = Caches {
            all: ByType::default(),
            filled: Vec::new(),
            secrets: secrets.as_reader(),
            config_maps: ConfigMaps::default(),
            pods: PodCache { store: pods.as_reader(), by_resource: Groups::default(), by_pull: Groups::default() },
            namespace,
            realm,
        };
        let mut writers = Writers::default();
        caches.open(secrets, &mut writers);
        caches.open(pods, &mut writers);
        kinds.open(&mut caches, &mut writers);
        (caches, writers)
    }

    fn open<T>(&mut self, writer: Writer<T>, writers: &mut Writers)
    where
        T: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let store = writer.as_reader();
        self.filled.push(Box::new(move || {
            let store = store.clone();
            Box::pin(async move { Ok(store.wait_until_ready().await?) })
        }));
        writers.0.put(writer);
    }

    /// Makes the cache of a kind.
    pub(crate) fn add<K: Managed>(&mut self, writers: &mut Writers) {
        let writer = Writer::<Guarded<K>>::default();
        self.all.put(writer.as_reader());
        self.open(writer, writers);
    }

    /// Makes the cache of a kind of child.
    pub(crate) fn add_children<C: Child>(&mut self, writers: &mut Writers) {
        let writer = Writer::<Cold<C>>::default();
        self.all.put(ChildCache::<C>::new(writer.as_reader()));
        self.open(writer, writers);
    }

    /// The resources of a kind.
    ///
    /// # Panics
    /// The kind is none that is worked on.
    pub fn of<K: Managed>(&self) -> &Store<Guarded<K>> {
        self.all.get().expect("every kind that is worked on has a cache")
    }

    /// The children of a kind, if anything that is worked on has such.
    pub fn children<C: Child>(&self) -> Option<&ChildCache<C>> {
        self.all.get()
    }

    /// Who refers to whom.
    pub fn references(&self) -> &References {
        &self.realm.references
    }

    /// Waits until every watch has brought what there was at its start.
    pub async fn wait_until_ready(&self) -> anyhow::Result<()> {
        try_join_all(self.filled.iter().map(|filled| filled())).await.map(drop)
    }
}

/// Pods, and which resource each belongs to.
pub struct PodCache {
    store: Store<Cold<Pod>>,
    /// By namespace and, as its annotation has it, kind and name.
    by_resource: Groups<(String, String), ObjectName>,
    /// Those that fetch an image, likewise.
    by_pull: Groups<(String, String), ObjectName>,
}

impl PodCache {
    /// The pods of a resource.
    pub fn of(&self, owner: &Owner) -> Vec<Arc<Pod>> {
        self.named(&self.by_resource.of(&(owner.namespace.clone(), owner.label())))
    }

    fn named(&self, names: &[ObjectName]) -> Vec<Arc<Pod>> {
        names.iter().filter_map(|name| self.store.get(&reference(name))?.object()).map(Arc::new).collect()
    }

    /// The names of the pods of some resources.
    pub fn of_all<'a>(&self, resources: impl IntoIterator<Item = &'a Node>) -> Vec<ObjectName> {
        let pods = |node: &Node| {
            let label = format!("{}/{}", node.kind, node.name.name);
            self.by_resource.of(&(node.name.namespace.clone(), label))
        };
        resources.into_iter().flat_map(pods).collect()
    }

    /// The pods that fetch an image for a resource.
    pub fn pulling_for(&self, owner: &Owner) -> Vec<Arc<Pod>> {
        self.named(&self.by_pull.of(&(owner.namespace.clone(), owner.label())))
    }

    /// The watch has brought a pod, or that it is gone.
    pub fn brought(&self, pod: &Pod, gone: bool) {
        let group = |annotation: &str| {
            let label = pod.annotations().get(annotation).filter(|_| !gone);
            label.map(|label| (pod.namespace().unwrap_or_default(), label.clone()))
        };
        self.by_resource.put(object_name(pod), group(RESOURCE_ANNOTATION));
        self.by_pull.put(object_name(pod), group(PULLS_FOR));
    }

    /// The watch has brought all that there are. Gives the resources, as in [`PodCache::of`], of those that went unseen.
    pub fn relisted(&self) -> Vec<(String, String)> {
        self.by_pull.retain(|name| self.has(name));
        self.by_resource.retain(|name| self.has(name))
    }

    /// The pods on some nodes. Looks at all that there are.
    pub fn on(&self, nodes: &BTreeSet<String>) -> Vec<Pod> {
        let there =
            |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_some_and(|n| nodes.contains(n));
        self.store.state().iter().filter_map(|pod| pod.object()).filter(there).collect()
    }

    /// All pods.
    pub fn state(&self) -> Vec<Arc<Cold<Pod>>> {
        self.store.state()
    }

    /// Whether there is such a pod.
    pub fn has(&self, name: &ObjectName) -> bool {
        self.store.get(&reference(name)).is_some()
    }
}

/// An object as a cache knows it.
pub fn reference<K: Resource<DynamicType = ()>>(name: &ObjectName) -> ObjectRef<K> {
    ObjectRef::new(&name.name).within(&name.namespace)
}

/// Children of one kind: what the watch has brought, and what was written since.
///
/// Without the second, a reconcile that follows at once would write the same again.
pub struct ChildCache<C: Child> {
    store: Store<Cold<C>>,
    recent: Mutex<HashMap<ObjectRef<Cold<C>>, Recent<C>>>,
    /// By the owner's uid.
    by_owner: Groups<String, ObjectName>,
}

struct Recent<C> {
    /// The version that the watch had brought when this was written.
    seen: Option<String>,
    /// What the API server answered; none after a deletion.
    object: Option<Arc<C>>,
    at: Instant,
}

impl<C: Child> ChildCache<C> {
    fn new(store: Store<Cold<C>>) -> Self {
        ChildCache { store, recent: Mutex::default(), by_owner: Groups::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef<Cold<C>>, Recent<C>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The child as it is, as far as is known here.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<C>> {
        let key = ObjectRef::new(name).within(namespace);
        let watched = self.store.get(&key);
        let mut recent = self.lock();
        match recent.get(&key) {
            Some(known) if known.seen == version(&watched) && known.at.elapsed() < AHEAD => {
                return known.object.clone();
            }
            Some(_) => drop(recent.remove(&key)),
            None => {}
        }
        drop(recent);
        watched.and_then(|cold| cold.object()).map(Arc::new)
    }

    /// All children as the watch has brought them.
    pub fn state(&self) -> Vec<Arc<Cold<C>>> {
        self.store.state()
    }

    /// The children of an owner, by their names.
    pub fn of(&self, owner: &Owner) -> Vec<Arc<C>> {
        let names = self.by_owner.of(&owner.uid);
        names.iter().filter_map(|name| self.get(&name.namespace, &name.name)).collect()
    }

    /// The watch has brought the child, or that it is gone: what was written is no longer ahead of it.
    pub fn brought(&self, object: &Cold<C>, gone: bool) {
        self.by_owner.put(object_name(object), controller(object).filter(|_| !gone));
        let key = ObjectRef::from_obj(object);
        let mut recent = self.lock();
        let written = recent.get(&key).and_then(|known| known.object.as_ref()?.resource_version());
        if gone || written == object.resource_version() {
            recent.remove(&key);
        }
    }

    /// The watch has brought all that there are. Gives the uids of the owners of those that went unseen.
    pub fn relisted(&self) -> Vec<String> {
        self.by_owner.retain(|name| self.get(&name.namespace, &name.name).is_some())
    }

    /// Notes what the API server answered to a write; none for a deletion.
    pub fn wrote(&self, namespace: &str, name: &str, mut object: Option<C>) {
        if let Some(object) = &mut object {
            object.managed_fields_mut().clear();
            self.by_owner.put(object_name(object), controller(object));
        }
        let key = ObjectRef::new(name).within(namespace);
        let seen = version(&self.store.get(&key));
        let mut recent = self.lock();
        recent.retain(|_, known| known.at.elapsed() < AHEAD);
        // The watch may have been faster than the answer.
        if object.as_ref().is_some_and(|object| object.resource_version() == seen) {
            recent.remove(&key);
        } else {
            recent.insert(key, Recent { seen, object: object.map(Arc::new), at: Instant::now() });
        }
    }
}

/// The uid of the owner that makes and keeps an object.
fn controller(object: &impl Resource) -> Option<String> {
    let owners = object.meta().owner_references.iter().flatten();
    owners.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()).next()
}

fn version<C: Resource>(object: &Option<Arc<C>>) -> Option<String> {
    object.as_ref().and_then(|o| o.resource_version())
}
