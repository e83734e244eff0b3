//! The watches: each fills a cache, and tells [`Wakes`] of what it brings.

use std::{collections::BTreeMap, fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::{
    Stream, StreamExt, TryStreamExt,
    future::{join_all, ready},
    stream,
};
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::core::v1::{ConfigMap, Pod, PodSpec, Secret},
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
use tokio::{
    sync,
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};

use crate::{
    cache::{Guarded, Writers},
    cold::{Cold, put_away},
    controller::{
        apply::Child,
        build::pod::CONFIG_VOLUME,
        managed::Managed,
        names::{MANAGED_SELECTOR, NOT_MANAGED_SELECTOR},
    },
    kinds::Kinds,
    metrics::Metrics,
    wakes::Wakes,
    words::words_of_watch,
};

/// Which part of the cluster is watched, and how.
#[derive(Clone)]
pub struct Scope {
    /// The API server.
    pub client: Client,
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// How long a watch lasts before it is begun anew.
    pub interval: Duration,
    /// Whether the watches get through.
    pub reach: Arc<Reach>,
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

    fn all_of(&self) -> watcher::Config {
        let seconds = u32::try_from(self.interval.as_secs()).unwrap_or(u32::MAX);
        watcher::Config::default().page_size(PAGE).timeout(seconds)
    }

    fn managed(&self) -> watcher::Config {
        self.all_of().labels(MANAGED_SELECTOR)
    }
}

/// Whether the watches of a scope get through to the API server. What they meet together is said once.
pub struct Reach {
    namespace: String,
    /// By their kinds, when they last failed.
    failing: sync::watch::Sender<BTreeMap<String, Instant>>,
    metrics: Arc<Metrics>,
}

impl Reach {
    /// For the watches of a namespace, or of all.
    pub fn new(namespace: Option<&str>, metrics: Arc<Metrics>) -> Self {
        let namespace = namespace.unwrap_or_default().to_owned();
        metrics.set_failing(&namespace, 0);
        Reach { namespace, failing: sync::watch::Sender::default(), metrics }
    }

    /// Waits until a watch does not get through.
    pub async fn fails(&self) {
        // The sender lives in `self`.
        let _ = self.failing.subscribe().wait_for(|failing| !failing.is_empty()).await;
    }

    pub(crate) fn failed(&self, kind: &str, error: &watcher::Error) {
        let mut first = false;
        self.failing.send_modify(|failing| {
            first = failing.is_empty();
            failing.insert(kind.to_owned(), Instant::now());
        });
        self.metrics.set_failing(&self.namespace, self.failing.borrow().len());
        let (namespace, error) = (&self.namespace, words_of_watch(error));
        // Once at the beginning of an outage, not for each watch, and not at each of its tries.
        match first {
            true if namespace.is_empty() => warn!(kind, "cannot watch: {error}; trying again"),
            true => warn!(
                namespace,
                kind, "cannot watch: {error}; is the namespace there, with the operator's Role in it? Trying again"
            ),
            false => debug!(namespace, kind, "cannot watch: {error}"),
        }
    }

    pub(crate) fn reached(&self, kind: &str) {
        self.keep(|failing, _| failing != kind);
    }

    /// A watch that goes on where it was says nothing of it: one that has not failed for longer than its next try may be away gets
    /// through. Looks again and again, until it is dropped.
    async fn settle(self: Arc<Self>) {
        loop {
            sleep(SETTLED / 6).await;
            self.keep(|_, at| at.elapsed() < SETTLED);
        }
    }

    fn keep(&self, mut fails: impl FnMut(&str, &Instant) -> bool) {
        let changed = self.failing.send_if_modified(|failing| {
            let before = failing.len();
            failing.retain(|kind, at| fails(kind, at));
            failing.len() != before
        });
        if !changed {
            return;
        }
        let left = self.failing.borrow().len();
        self.metrics.set_failing(&self.namespace, left);
        if left == 0 {
            info!(namespace = self.namespace, "watching again");
        }
    }
}

/// The default backoff's longest wait is half a minute, and as much again by chance.
const SETTLED: Duration = Duration::from_secs(90);

/// How many objects a list brings at a time. What a start takes at most stays with the process: with kube's own 500, that
/// was half as much again as all that is kept.
const PAGE: u32 = 50;

/// All watches of a scope, until they are dropped.
pub async fn watch(scope: Scope, mut writers: Writers, wakes: Arc<Wakes>, kinds: Kinds) {
    let mut all = kinds.watches(&scope, &mut writers, &wakes);
    // Metadata alone: their values are asked for one by one, where one is in use. Helm keeps its releases in Secrets of a
    // megabyte each; nobody refers to them.
    let secrets = scope.all_of().fields("type!=helm.sh/release.v1");
    let secrets = objects::<PartialObjectMeta<Secret>>(&scope, secrets, writers.take(), slim);
    let of_secrets = wakes.clone();
    all.push(Box::pin(drain(secrets, scope.reach.clone(), move |event| of_secrets.secret(event))));
    // Those that somebody refers to are few: of all others nothing is kept.
    let config_maps = scope.all_of().labels(NOT_MANAGED_SELECTOR);
    let config_maps = watcher(scope.api::<PartialObjectMeta<ConfigMap>>(), config_maps);
    let config_maps = once_answered(config_maps).default_backoff();
    let of_config_maps = wakes.clone();
    all.push(Box::pin(drain(config_maps, scope.reach.clone(), move |event| of_config_maps.config_map(event))));
    let pods = once_answered(watcher(scope.api::<Pod>(), scope.managed())).default_backoff().modify(slim_pod);
    let pods = reflector::reflector(writers.take(), pods.map_ok(put_away));
    all.push(Box::pin(drain(pods, scope.reach.clone(), move |event| wakes.pod(event))));
    all.push(Box::pin(scope.reach.clone().settle()));
    join_all(all).await;
}

/// The watch of a kind of ours. A resource that cannot be read does not keep the others from being read.
pub(crate) fn own<K: Managed>(
    scope: &Scope,
    writer: Writer<Guarded<K>>,
    wakes: Arc<Wakes>,
) -> impl Future<Output = ()> + Send + use<K> {
    drain(objects(scope, scope.all_of(), writer, slim), scope.reach.clone(), move |event| wakes.own::<K>(event))
}

/// The watch of a kind of child.
pub(crate) fn children<C: Child>(
    scope: &Scope,
    writer: Writer<Cold<C>>,
    wakes: Arc<Wakes>,
) -> impl Future<Output = ()> + Send + use<C> {
    drain(objects(scope, scope.managed(), writer, slim), scope.reach.clone(), move |event| wakes.child::<C>(event))
}

/// What a watch gives.
pub(crate) type Events<K> = Result<Event<K>, watcher::Error>;

/// The watch of a kind that is in no namespace; nothing is kept of it.
pub(crate) fn whole_cluster<K>(scope: &Scope) -> impl Stream<Item = Events<K>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api = Api::<K>::all(scope.client.clone());
    once_answered(watcher(api, scope.all_of())).default_backoff().modify(slim)
}

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
    reflector::reflector(writer, once_answered(watcher(scope.api::<K>(), config)).default_backoff().modify(slim))
}

/// A watch says that it begins anew before it has asked for anything. That is held back until there is an answer: each try would
/// count as a success, and the next would follow at once.
fn once_answered<K>(events: impl Stream<Item = Events<K>> + Send) -> impl Stream<Item = Events<K>> + Send
where
    K: Send,
{
    let answered = events.scan(false, |begins, event| {
        let events = match event {
            Ok(Event::Init) => {
                *begins = true;
                Vec::new()
            }
            Ok(event) if std::mem::take(begins) => vec![Ok(Event::Init), Ok(event)],
            Ok(event) => vec![Ok(event)],
            Err(error) => vec![Err(error)],
        };
        ready(Some(stream::iter(events)))
    });
    answered.flatten()
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
        (status.ephemeral_container_statuses, status.host_ips, status.pod_ips) = (None, None, None);
        let all = status.container_statuses.iter_mut().chain(status.init_container_statuses.iter_mut()).flatten();
        for container in all {
            (container.resources, container.volume_mounts, container.container_id) = (None, None, None);
            container.image_id = String::new();
        }
    }
}

async fn drain<K>(events: impl Stream<Item = Events<K>>, reach: Arc<Reach>, mut concern: impl FnMut(&Event<K>))
where
    K: Resource<DynamicType = ()>,
{
    let kind = K::kind(&());
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                reach.reached(&kind);
                concern(&event);
            }
            Err(error) => reach.failed(&kind, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::observe::{self, Rollout};

    fn refused() -> Events<ConfigMap> {
        Err(watcher::Error::NoResourceVersion)
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_does_not_get_through_is_tried_later_each_time() {
        // A namespace that is gone: each try begins, and is refused.
        let tries = stream::iter((0..8).flat_map(|_| [Ok(Event::Init), refused()]));
        let begun = Instant::now();
        let all: Vec<_> = once_answered(tries).default_backoff().collect().await;
        assert!(all.len() == 8 && all.iter().all(Result::is_err), "nothing began");
        assert!(begun.elapsed() > Duration::from_secs(60), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_begins_is_told_with_its_first_answer() {
        let answers = stream::iter([Ok(Event::Init), Ok(Event::InitDone), Ok(Event::Apply(ConfigMap::default()))]);
        let all: Vec<_> = once_answered(answers).collect().await;
        assert!(matches!(all[..], [Ok(Event::Init), Ok(Event::InitDone), Ok(Event::Apply(_))]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_counts_its_watches_and_ends_with_the_last() {
        let metrics = Arc::new(Metrics::default());
        let reach = Arc::new(Reach::new(Some("w1"), metrics.clone()));
        let failing = |n| format!("edgereel_operator_watches_failing{{watched=\"w1\"}} {n}\n");
        assert!(metrics.text().contains(&failing(0)));
        for kind in ["Pod", "Secret", "Pod"] {
            reach.failed(kind, &watcher::Error::NoResourceVersion);
        }
        reach.fails().await;
        assert!(metrics.text().contains(&failing(2)), "{}", metrics.text());
        reach.reached("Pod");
        assert!(metrics.text().contains(&failing(1)));
        // The other goes on where it was, and has nothing to tell.
        let settling = tokio::spawn(reach.settle());
        tokio::time::sleep(SETTLED * 2).await;
        assert!(metrics.text().contains(&failing(0)));
        settling.abort();
    }

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
