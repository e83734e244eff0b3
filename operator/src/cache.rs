//! What the watches have brought: every object that a reconcile looks at, without asking the API server.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::{CameraStream, FrameSink, KafkaConnection};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::reflector::{ObjectRef, Store, store::Writer},
};

/// A resource of ours as it is stored: readable, or not.
pub type Guarded<K> = DeserializeGuard<K>;

/// How long what was just written may be ahead of its watch.
const AHEAD: Duration = Duration::from_secs(10);

/// The watched objects of one namespace, or of all.
pub struct Caches {
    /// Cameras.
    pub cameras: Store<Guarded<CameraStream>>,
    /// Sinks.
    pub sinks: Store<Guarded<FrameSink>>,
    /// Connections.
    pub connections: Store<Guarded<KafkaConnection>>,
    /// The names and versions of all Secrets, without their values.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// Pods that the operator's workloads made.
    pub pods: Store<Pod>,
    /// Children.
    pub deployments: ChildCache<Deployment>,
    /// Children.
    pub stateful_sets: ChildCache<StatefulSet>,
    /// Children.
    pub config_maps: ChildCache<ConfigMap>,
    /// Children.
    pub services: ChildCache<Service>,
    /// Children.
    pub disruption_budgets: ChildCache<PodDisruptionBudget>,
}

/// The other ends of [`Caches`]: what the watches write to.
pub struct Writers {
    pub(crate) cameras: Writer<Guarded<CameraStream>>,
    pub(crate) sinks: Writer<Guarded<FrameSink>>,
    pub(crate) connections: Writer<Guarded<KafkaConnection>>,
    pub(crate) secrets: Writer<PartialObjectMeta<Secret>>,
    pub(crate) pods: Writer<Pod>,
    pub(crate) deployments: Writer<Deployment>,
    pub(crate) stateful_sets: Writer<StatefulSet>,
    pub(crate) config_maps: Writer<ConfigMap>,
    pub(crate) services: Writer<Service>,
    pub(crate) disruption_budgets: Writer<PodDisruptionBudget>,
}

impl Caches {
    /// Empty caches.
    pub fn new() -> (Self, Writers) {
        let writers = Writers {
            cameras: Writer::default(),
            sinks: Writer::default(),
            connections: Writer::default(),
            secrets: Writer::default(),
            pods: Writer::default(),
            deployments: Writer::default(),
            stateful_sets: Writer::default(),
            config_maps: Writer::default(),
            services: Writer::default(),
            disruption_budgets: Writer::default(),
        };
        let caches = Caches {
            cameras: writers.cameras.as_reader(),
            sinks: writers.sinks.as_reader(),
            connections: writers.connections.as_reader(),
            secrets: writers.secrets.as_reader(),
            pods: writers.pods.as_reader(),
            deployments: ChildCache::new(writers.deployments.as_reader()),
            stateful_sets: ChildCache::new(writers.stateful_sets.as_reader()),
            config_maps: ChildCache::new(writers.config_maps.as_reader()),
            services: ChildCache::new(writers.services.as_reader()),
            disruption_budgets: ChildCache::new(writers.disruption_budgets.as_reader()),
        };
        (caches, writers)
    }

    /// Waits until every watch has brought what there was at its start.
    pub async fn wait_until_ready(&self) -> anyhow::Result<()> {
        self.cameras.wait_until_ready().await?;
        self.sinks.wait_until_ready().await?;
        self.connections.wait_until_ready().await?;
        self.secrets.wait_until_ready().await?;
        self.pods.wait_until_ready().await?;
        self.deployments.store.wait_until_ready().await?;
        self.stateful_sets.store.wait_until_ready().await?;
        self.config_maps.store.wait_until_ready().await?;
        self.services.store.wait_until_ready().await?;
        self.disruption_budgets.store.wait_until_ready().await?;
        Ok(())
    }
}

/// Children of one kind: what the watch has brought, and what was written since.
///
/// Without the second, a reconcile that follows at once would write the same again.
pub struct ChildCache<C: Resource<DynamicType = ()> + Clone + 'static> {
    pub(crate) store: Store<C>,
    recent: Mutex<HashMap<ObjectRef<C>, Recent<C>>>,
}

struct Recent<C> {
    /// The version that the watch had brought when this was written.
    seen: Option<String>,
    /// What the API server answered; none after a deletion.
    object: Option<Arc<C>>,
    at: Instant,
}

impl<C: Resource<DynamicType = ()> + Clone + Debug + 'static> ChildCache<C> {
    fn new(store: Store<C>) -> Self {
        ChildCache { store, recent: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef<C>, Recent<C>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The child as it is, as far as is known here.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<C>> {
        let key = ObjectRef::new(name).within(namespace);
        let watched = self.store.get(&key);
        let mut recent = self.lock();
        match recent.get(&key) {
            Some(known) if known.seen == version(&watched) && known.at.elapsed() < AHEAD => known.object.clone(),
            Some(_) => {
                recent.remove(&key);
                watched
            }
            None => watched,
        }
    }

    /// The watch has brought the child, or that it is gone: what was written is no longer ahead of it.
    pub fn brought(&self, object: &C, gone: bool) {
        let key = ObjectRef::from_obj(object);
        let mut recent = self.lock();
        let written = recent.get(&key).and_then(|known| known.object.as_ref()?.resource_version());
        if gone || written == object.resource_version() {
            recent.remove(&key);
        }
    }

    /// Notes what the API server answered to a write; none for a deletion.
    pub fn wrote(&self, namespace: &str, name: &str, mut object: Option<C>) {
        if let Some(object) = &mut object {
            object.managed_fields_mut().clear();
        }
        let key = ObjectRef::new(name).within(namespace);
        let seen = version(&self.store.get(&key));
        let mut recent = self.lock();
        recent.retain(|_, known| known.at.elapsed() < AHEAD);
        recent.insert(key, Recent { seen, object: object.map(Arc::new), at: Instant::now() });
    }
}

fn version<C: Resource>(object: &Option<Arc<C>>) -> Option<String> {
    object.as_ref().and_then(|o| o.resource_version())
}
