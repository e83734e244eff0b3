//! The watches: each fills a cache, and tells [`Wakes`] of what it brings.

use std::{fmt::Debug, pin::pin, sync::Arc};

use futures::{Stream, StreamExt, future::join_all};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Pod, PodSpec, Secret},
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
    cold::Cold,
    controller::{apply::Child, build::pod::CONFIG_VOLUME, managed::Managed, names::MANAGED_SELECTOR},
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
    let secrets = objects::<PartialObjectMeta<Secret>>(&scope, secrets, writers.take(), slim);
    let of_secrets = wakes.clone();
    all.push(Box::pin(drain(secrets, move |event| of_secrets.secret(event))));
    let pods = objects::<Pod>(&scope, managed(), writers.take(), slim_pod);
    all.push(Box::pin(drain(pods, move |event| wakes.pod(event))));
    join_all(all).await;
}

/// The watch of a kind of ours. A resource that cannot be read does not keep the others from being read.
pub(crate) fn own<K: Managed>(
    scope: &Scope,
    writer: Writer<Guarded<K>>,
    wakes: Arc<Wakes>,
) -> impl Future<Output = ()> + Send + use<K> {
    drain(objects(scope, all_of(), writer, slim), move |event| wakes.own::<K>(event))
}

/// The watch of a kind of child.
pub(crate) fn children<C: Child>(
    scope: &Scope,
    writer: Writer<Cold<C>>,
    wakes: Arc<Wakes>,
) -> impl Future<Output = ()> + Send + use<C> {
    drain(objects(scope, managed(), writer, slim), move |event| wakes.child::<C>(event))
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
    slim: fn(&mut K),
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

/// Keeps of a pod what is looked at: where it is, which configuration it reads, and how it fares.
fn slim_pod(pod: &mut Pod) {
    slim(pod);
    if let Some(spec) = pod.spec.take() {
        let mut volumes = spec.volumes.unwrap_or_default();
        volumes.retain(|volume| volume.name == CONFIG_VOLUME);
        volumes.shrink_to_fit();
        pod.spec = Some(PodSpec { node_name: spec.node_name, volumes: Some(volumes), ..PodSpec::default() });
    }
    if let Some(status) = &mut pod.status {
        (status.init_container_statuses, status.ephemeral_container_statuses) = (None, None);
        (status.host_ips, status.pod_ips) = (None, None);
        for container in status.container_statuses.iter_mut().flatten() {
            (container.resources, container.volume_mounts, container.container_id) = (None, None, None);
            container.image_id = String::new();
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::controller::observe::{self, Rollout};

    #[test]
    fn a_pod_that_is_kept_says_all_that_is_asked_of_it_in_less_room() {
        let mounts = |n: usize| -> Vec<_> {
            (0..n).map(|n| json!({"name": format!("v{n}"), "mountPath": format!("/{n}")})).collect()
        };
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "gate-camera-x", "namespace": "lab", "uid": "u", "labels": {"controller-revision-hash": "r"},
                "annotations": {"edgereel.dev/revision": "1"}, "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]},
            "spec": {"nodeName": "edge-1", "containers": [{"name": "worker", "image": "i", "args": ["run"], "volumeMounts": mounts(4),
                    "env": (0..8).map(|n| json!({"name": format!("VARIABLE_{n}"), "value": "value"})).collect::<Vec<_>>()}],
                "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "config", "configMap": {"name": "gate-camera-config-1"}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIPs": [{"ip": "10.1.0.1"}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2024-06-04T10:30:00Z"}],
                "containerStatuses": [{"name": "worker", "image": "i", "imageID": "sha256:0123", "containerID": "containerd://0123",
                    "ready": true, "restartCount": 0, "state": {"running": {}}, "volumeMounts": mounts(4)}]}
        }))
        .expect("a pod");
        let mut slim = pod.clone();
        slim_pod(&mut slim);
        let seen = |pod: &Pod| observe::pods(&[Arc::new(pod.clone())], &Rollout::default());
        assert_eq!(seen(&slim), seen(&pod));
        let size = |pod: &Pod| serde_json::to_string(pod).expect("JSON").len();
        assert!(size(&slim) * 5 < size(&pod) * 3, "{} of {}", size(&slim), size(&pod));
    }
}
