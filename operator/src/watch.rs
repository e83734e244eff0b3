//! The watches: each fills a cache, and tells [`Wakes`] of what it brings.

use std::{fmt::Debug, pin::pin, sync::Arc};

use futures::{Stream, StreamExt, future::join_all};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Pod, Secret},
};
use kube::{
    Api, Client, Resource,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{self, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::{
    cache::{Guarded, Writers},
    controller::{apply::Child, managed::Managed, names::MANAGED_SELECTOR},
    kinds::Kinds,
    wakes::Wakes,
};

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
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
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
pub async fn watch(scope: Scope, mut writers: Writers, wakes: Arc<Wakes>, kinds: Kinds) {
    let mut all = kinds.watches(&scope, &mut writers, &wakes);
    // Metadata alone: their values are asked for one by one, where one is in use. Helm keeps its releases in Secrets of a
    // megabyte each; nobody refers to them.
    let secrets = all_of().fields("type!=helm.sh/release.v1");
    let secrets = objects::<PartialObjectMeta<Secret>>(&scope, secrets, writers.take());
    let of_secrets = wakes.clone();
    all.push(Box::pin(drain(secrets, move |event| of_secrets.secret(event))));
    let pods = objects::<Pod>(&scope, managed(), writers.take());
    all.push(Box::pin(drain(pods, move |event| wakes.pod(event))));
    join_all(all).await;
}

/// The watch of a kind of ours. A resource that cannot be read does not keep the others from being read.
pub(crate) fn own<K: Managed>(
    scope: &Scope,
    writer: Writer<Guarded<K>>,
    wakes: Arc<Wakes>,
) -> impl Future<Output = ()> + Send + use<K> {
    drain(objects(scope, all_of(), writer), move |event| wakes.own::<K>(event))
}

/// The watch of a kind of child.
pub(crate) fn children<C: Child>(
    scope: &Scope,
    writer: Writer<C>,
    wakes: Arc<Wakes>,
) -> impl Future<Output = ()> + Send + use<C> {
    drain(objects(scope, managed(), writer), move |event| wakes.child::<C>(event))
}

fn all_of() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

fn managed() -> watcher::Config {
    all_of().labels(MANAGED_SELECTOR)
}

/// What a watch gives.
type Events<K> = Result<Event<K>, watcher::Error>;

fn objects<K>(
    scope: &Scope,
    config: watcher::Config,
    writer: Writer<K>,
) -> impl Stream<Item = Events<K>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    reflector::reflector(writer, watcher(scope.api::<K>(), config).default_backoff().modify(slim))
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
