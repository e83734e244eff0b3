//! The watches: each fills a cache, and wakes the resources that an event concerns.
//!
//! A resource's own status writes do not wake it: only its generation and its annotations do.

use std::{
    collections::HashMap,
    fmt::Debug,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use edgereel_crds::{
    CameraStream, FrameSink, KafkaConnection,
    frame_sink::From,
    name::{Kind, ObjectName},
    resource_status::ResourceStatus,
    secret_uses::{camera_secrets, connection_secrets},
    status::ConditionType,
};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, warn};

use crate::{
    cache::{Caches, Writers},
    controller::{
        apply::Child,
        context::Context,
        dereference::{object_name, sink_connection},
        names::{MANAGED_SELECTOR, RESOURCE_ANNOTATION},
    },
    hash::hash_of,
    metrics::Metrics,
};

/// Wakes resources.
#[derive(Clone)]
pub struct Triggers {
    /// Cameras to look at.
    pub cameras: UnboundedSender<ObjectRef<DeserializeGuard<CameraStream>>>,
    /// Sinks to look at.
    pub sinks: UnboundedSender<ObjectRef<DeserializeGuard<FrameSink>>>,
    /// Connections to look at.
    pub connections: UnboundedSender<ObjectRef<DeserializeGuard<KafkaConnection>>>,
    /// Counts what waits.
    pub metrics: Arc<Metrics>,
}

impl Triggers {
    /// Has a resource looked at.
    pub fn wake(&self, kind: Kind, name: &ObjectName) {
        self.metrics.triggered(kind, name);
        // Whoever listened has stopped: so does everything.
        let _ = match kind {
            Kind::CameraStream => self.cameras.send(reference(name)).ok(),
            Kind::FrameSink => self.sinks.send(reference(name)).ok(),
            Kind::KafkaConnection => self.connections.send(reference(name)).ok(),
        };
    }
}

fn reference<K: Resource<DynamicType = ()>>(name: &ObjectName) -> ObjectRef<K> {
    ObjectRef::new(&name.name).within(&name.namespace)
}

/// Which part of the cluster is watched.
#[derive(Clone)]
pub struct Scope {
    /// The API server.
    pub client: Client,
    /// One namespace, or all.
    pub namespace: Option<String>,
}

impl Scope {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// How many objects a list brings at a time. What a start takes at most stays with the process: with kube's own 500, that
/// was half as much again as all that is kept.
const PAGE: u32 = 50;

/// All watches of a scope, until they are dropped.
pub async fn watch(scope: Scope, writers: Writers, context: Arc<Context>, triggers: Triggers) {
    let all = || watcher::Config::default().page_size(PAGE);
    let managed = || all().labels(MANAGED_SELECTOR);
    // Helm keeps its releases in Secrets of a megabyte each; nobody refers to them.
    let secrets = all().fields("type!=helm.sh/release.v1");
    let wakes = Wakes { context, triggers, seen: Mutex::default() };
    tokio::join!(
        drain(own(&scope, all(), writers.cameras), |event| wakes.camera(event)),
        drain(own(&scope, all(), writers.sinks), |event| wakes.sink(event)),
        drain(own(&scope, all(), writers.connections), |event| wakes.connection(event)),
        // Metadata alone: their values are asked for one by one, where one is in use.
        drain(children(&scope, secrets, writers.secrets), |event: &Event<PartialObjectMeta<Secret>>| wakes
            .secret(event)),
        drain(children(&scope, managed(), writers.pods), |event: &Event<Pod>| wakes.pod(event)),
        drain(children(&scope, managed(), writers.deployments), |event| wakes.child(event)),
        drain(children(&scope, managed(), writers.stateful_sets), |event| wakes.child(event)),
        drain(children(&scope, managed(), writers.config_maps), |event| wakes.child(event)),
        drain(children(&scope, managed(), writers.services), |event| wakes.child(event)),
        drain(children(&scope, managed(), writers.disruption_budgets), |event| wakes.child(event)),
    );
}

/// What a watch gives.
type Events<K> = Result<Event<K>, watcher::Error>;

fn children<K>(scope: &Scope, config: watcher::Config, writer: Writer<K>) -> impl Stream<Item = Events<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    reflector::reflector(writer, watcher(scope.api::<K>(), config).default_backoff().modify(slim))
}

/// Resources of ours: one that cannot be read does not keep the others from being read.
fn own<K>(
    scope: &Scope,
    config: watcher::Config,
    writer: Writer<DeserializeGuard<K>>,
) -> impl Stream<Item = Events<DeserializeGuard<K>>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    reflector::reflector(writer, watcher(scope.api::<DeserializeGuard<K>>(), config).default_backoff().modify(slim))
}

/// Takes out what nobody reads and what is large.
fn slim(object: &mut impl Resource) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

async fn drain<K>(events: impl Stream<Item = Events<K>>, mut concern: impl FnMut(&Event<K>))
where
    K: Resource<DynamicType = ()>,
{
    let mut events = pin!(events);
    let mut failing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                failing = false;
                concern(&event);
            }
            Err(error) => {
                // Once at the beginning of an outage, not at each of its tries.
                let kind = K::kind(&());
                if failing {
                    debug!(%kind, "watch: {error}")
                } else {
                    warn!(%kind, "watch: {error}")
                }
                failing = true;
            }
        }
    }
}

/// Finds out whom an event concerns.
struct Wakes {
    context: Arc<Context>,
    triggers: Triggers,
    /// What was last seen of each resource, as far as it concerns the operator.
    seen: Mutex<HashMap<(Kind, ObjectName), String>>,
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
    fn caches(&self) -> &Caches {
        &self.context.caches
    }

    /// Whether a resource has changed in a way that concerns the operator.
    fn changed(&self, kind: Kind, object: &impl Resource, gone: bool) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, object_name(object));
        if gone {
            seen.remove(&key);
            return true;
        }
        let meta = object.meta();
        let essence = hash_of(&(&meta.uid, meta.generation, &meta.annotations, meta.deletion_timestamp.is_some()));
        seen.insert(key, essence.clone()) != Some(essence)
    }

    fn gone(&self, kind: Kind, name: &ObjectName, uid: Option<String>) {
        self.context.metrics.forget(kind, name);
        self.context.written.forget(&uid.unwrap_or_default());
    }

    fn camera(&self, event: &Event<DeserializeGuard<CameraStream>>) {
        let Some((camera, gone)) = object(event) else { return };
        if !self.changed(Kind::CameraStream, camera, gone) {
            return;
        }
        let name = object_name(camera);
        match gone {
            true => self.gone(Kind::CameraStream, &name, camera.uid()),
            false => self.triggers.wake(Kind::CameraStream, &name),
        }
        if let Ok(camera) = &camera.0 {
            self.wake_connection(&name.namespace, &camera.spec.kafka.connection_ref.name);
        }
        self.wake_sinks(
            &name.namespace,
            |sink| matches!(&sink.spec.from, From::StreamRef(reference) if reference.name == name.name),
        );
        self.wake_stalled_cameras(&name);
    }

    fn sink(&self, event: &Event<DeserializeGuard<FrameSink>>) {
        let Some((sink, gone)) = object(event) else { return };
        if !self.changed(Kind::FrameSink, sink, gone) {
            return;
        }
        let name = object_name(sink);
        match gone {
            true => self.gone(Kind::FrameSink, &name, sink.uid()),
            false => self.triggers.wake(Kind::FrameSink, &name),
        }
        if let Some(connection) = sink.0.as_ref().ok().and_then(|sink| sink_connection(sink, self.caches())) {
            self.wake_connection(&name.namespace, &connection);
        }
        // One that was refused for what this one had claimed.
        self.wake_sinks(&name.namespace, |other| {
            other.name_any() != name.name && other.status.as_ref().is_some_and(is_stalled)
        });
    }

    fn connection(&self, event: &Event<DeserializeGuard<KafkaConnection>>) {
        let Some((connection, gone)) = object(event) else { return };
        if !self.changed(Kind::KafkaConnection, connection, gone) {
            return;
        }
        let name = object_name(connection);
        match gone {
            true => self.gone(Kind::KafkaConnection, &name, connection.uid()),
            false => self.triggers.wake(Kind::KafkaConnection, &name),
        }
        self.wake_users(&name);
    }

    fn secret(&self, event: &Event<PartialObjectMeta<Secret>>) {
        let Some((secret, _)) = object(event) else { return };
        let name = object_name(secret);
        for connection in self.caches().connections.state() {
            let Ok(connection) = &connection.0 else { continue };
            let of = object_name(connection);
            if of.namespace == name.namespace && connection_secrets(&connection.spec).contains_key(&name.name) {
                self.triggers.wake(Kind::KafkaConnection, &of);
                self.wake_users(&of);
            }
        }
        for camera in self.caches().cameras.state() {
            let Ok(camera) = &camera.0 else { continue };
            let of = object_name(camera);
            if of.namespace == name.namespace && camera_secrets(&camera.spec).contains_key(&name.name) {
                self.triggers.wake(Kind::CameraStream, &of);
            }
        }
    }

    fn child<C: Child>(&self, event: &Event<C>) {
        let Some((child, gone)) = object(event) else { return };
        C::cache(self.caches()).brought(child, gone);
        let namespace = child.namespace().unwrap_or_default();
        for owner in child.owner_references().iter().filter(|owner| owner.controller == Some(true)) {
            self.wake_owner(&owner.kind, ObjectName { namespace: namespace.clone(), name: owner.name.clone() });
        }
    }

    fn pod(&self, event: &Event<Pod>) {
        let Some((pod, _)) = object(event) else { return };
        let namespace = pod.namespace().unwrap_or_default();
        if let Some((kind, name)) = pod.annotations().get(RESOURCE_ANNOTATION).and_then(|label| label.split_once('/')) {
            self.wake_owner(kind, ObjectName { namespace, name: name.to_owned() });
        }
    }

    fn wake_owner(&self, kind: &str, name: ObjectName) {
        match kind {
            "CameraStream" => self.triggers.wake(Kind::CameraStream, &name),
            "FrameSink" => self.triggers.wake(Kind::FrameSink, &name),
            _ => {}
        }
    }

    fn wake_connection(&self, namespace: &str, name: &str) {
        self.triggers.wake(Kind::KafkaConnection, &ObjectName { namespace: namespace.into(), name: name.into() });
    }

    fn wake_users(&self, connection: &ObjectName) {
        for camera in self.caches().cameras.state() {
            let Ok(camera) = &camera.0 else { continue };
            let of = object_name(camera);
            if of.namespace == connection.namespace && camera.spec.kafka.connection_ref.name == connection.name {
                self.triggers.wake(Kind::CameraStream, &of);
            }
        }
        self.wake_sinks(&connection.namespace, |sink| {
            let own = sink.spec.kafka.as_ref().is_some_and(|kafka| kafka.connection_ref.name == connection.name);
            own || sink_connection(sink, self.caches()).is_none_or(|used| used == connection.name)
        });
    }

    fn wake_sinks(&self, namespace: &str, concerned: impl Fn(&FrameSink) -> bool) {
        for sink in self.caches().sinks.state() {
            let Ok(sink) = &sink.0 else { continue };
            if sink.namespace().as_deref() == Some(namespace) && concerned(sink) {
                self.triggers.wake(Kind::FrameSink, &object_name(sink));
            }
        }
    }

    /// Cameras that were refused for what this one had claimed.
    fn wake_stalled_cameras(&self, name: &ObjectName) {
        for camera in self.caches().cameras.state() {
            let Ok(camera) = &camera.0 else { continue };
            let of = object_name(camera);
            if of.namespace == name.namespace && of != *name && camera.status.as_ref().is_some_and(is_stalled) {
                self.triggers.wake(Kind::CameraStream, &of);
            }
        }
    }
}

fn is_stalled(status: &impl ResourceStatus) -> bool {
    status.condition(ConditionType::Stalled).is_some_and(|condition| condition.status == "True")
}
