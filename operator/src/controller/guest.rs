//! A resource that runs in the pods of another one, beside others of its kind: where it is, and how it gets there and away
//! without being worked on twice.
//!
//! It has no children. Its host has it among its documents as long as it refers to the host, and is nowhere else.

use std::time::Duration;

use edgereel_crds::{
    declared::Source,
    name::ObjectName,
    resource_status::ResourceStatus,
    secret_uses::SecretUses,
    status::{ConditionStatus, ConditionType, Reason},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{KeyToPath, Pod, Volume},
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::object::HasStatus,
};
use serde_json::{Value, json};
use tracing::info;

use super::{
    Error,
    apply::Place,
    build::pod::SECRET_VOLUME,
    context::Context,
    dereference::{Found, object_name},
    managed::Managed,
    names::FOLLOWS_ANNOTATION,
    observe::{self, PodView, Rollout},
    validate::owner,
    verdict::Further,
    workload::{Owner, Workload},
};
use crate::{
    cache::{Caches, reference},
    hash::hash_of,
    references::Node,
};

/// How soon to look again at one that is on its way from one place to another.
pub const HANDING_OVER: Duration = Duration::from_secs(2);
/// A host that does not answer has let go of a guest by then: the kubelet looks at a pod's configuration every minute or so.
const LETS_GO: SignedDuration = SignedDuration::from_secs(120);

/// A resource in whose pods another one runs.
#[derive(Clone, Debug)]
pub struct Host {
    /// Which.
    pub node: Node,
    /// It as the owner of its children; none where there is none.
    pub owner: Option<Owner>,
    /// What its status says of the operator's own changes: they concern all in its pods.
    pub up_to_date: Option<Further>,
}

impl Host {
    /// A resource of the kind `K`.
    pub fn of<K: Managed>(name: &ObjectName, caches: &Caches) -> Self {
        // What one runs that cannot be read goes on.
        let there = caches.of::<K>().get(&reference(name)).filter(|there| there.meta().deletion_timestamp.is_none());
        let status = there.as_ref().and_then(|there| HasStatus::status(there.0.as_ref().ok()?));
        let up_to_date = status.and_then(|status| status.condition(ConditionType::UpToDate)).and_then(further);
        let owner = there.as_ref().map(|there| Owner {
            kind: K::NAME,
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            uid: there.uid().unwrap_or_default(),
        });
        Host { node: Node::of::<K>(name), owner, up_to_date }
    }

    /// As messages name it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.node.kind, self.node.name.name)
    }

    /// Its rollout and its pods.
    fn pods(&self, place: Place<'_>) -> (Rollout, Vec<PodView>) {
        let Some(owner) = &self.owner else { return Default::default() };
        let rollout = observe::rollout(&observe::live(Place { owner, ..place }, |_| true));
        let pods = observe::pods(&place.caches.pods.of(owner), &rollout);
        (rollout, pods)
    }

    /// Whether its pods could take a guest in at once.
    fn takes(&self, uses: &SecretUses, place: Place<'_>) -> bool {
        let Some(owner) = &self.owner else { return false };
        let live = observe::live(Place { owner, ..place }, |_| true);
        let mounted = live.deployment.map(|live| mounted(&live)).unwrap_or_default();
        let has = |(source, keys): (&Source, &_)| mounted.get(source).is_some_and(|there| there.is_superset(keys));
        uses.iter().all(has) && self.pods(place).1.iter().any(|pod| pod.running && pod.judges())
    }
}

/// A condition as another resource may have it, too.
fn further(condition: &Condition) -> Option<Further> {
    let reason: Reason = serde_json::from_value(Value::from(condition.reason.clone())).ok()?;
    let status: ConditionStatus = serde_json::from_value(Value::from(condition.status.clone())).ok()?;
    Some(Further { kind: ConditionType::UpToDate, status, reason, message: condition.message.clone() })
}

/// Where a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// In a pod of its own, until its host can take it in.
    Stays,
    /// Its own pod ends.
    Moves,
    /// In its host's pods, or about to be.
    There,
}

/// Where a guest of a host is, or what is to be done for it to get there.
pub fn step(workload: &Workload, host: &Host, paused: bool, place: Place<'_>) -> Step {
    let has_own = has_own(place.owner, place.caches);
    let stays = paused || !(workload.suspended || host.takes(&workload.secrets, place));
    match (has_own, observe::live(place, |_| true).deployment.is_some() && stays) {
        (false, _) => Step::There,
        (true, true) => Step::Stays,
        (true, false) => Step::Moves,
    }
}

/// Whether there is a workload of the resource's own, or a pod that still works.
pub fn has_own(owner: &Owner, caches: &Caches) -> bool {
    let deployments = caches.children::<Deployment>();
    let pods = caches.pods.of(owner);
    deployments.is_some_and(|all| !all.of(owner).is_empty())
        || observe::pods(&pods, &Rollout::default()).iter().any(|pod| !pod.finished)
}

/// Whether a resource that wants to be in the pods of `host` may still be worked on elsewhere: in pods of its own, or in those of
/// another host.
pub fn is_elsewhere<K: Managed>(resource: &K, host: &ObjectName, caches: &Caches) -> bool {
    let other = resource.was_in(caches).filter(|other| other.node.name != *host);
    has_own(&owner(resource), caches) || other.is_some_and(|other| other.owner.is_some())
}

/// Whether the host that a resource was in has not let go of it yet, as far as is known.
pub fn holds<K: Managed>(resource: &K, host: &Host, place: Place<'_>, context: &Context) -> bool {
    let name = object_name(resource);
    let runs = |pod: &PodView| {
        let pod = ObjectName { namespace: name.namespace.clone(), name: pod.name.clone() };
        context.reports.runs(&pod, K::NAME, &name).unwrap_or_else(|| !has_waited(resource))
    };
    host.pods(place).1.iter().filter(|pod| pod.running).any(runs)
}

/// Whether the status has said for long enough that it waits to be let go of.
fn has_waited<K: Managed>(resource: &K) -> bool {
    let status = HasStatus::status(resource);
    let waits = status
        .and_then(|status| status.condition(ConditionType::Reconciling))
        .filter(|condition| condition.status == "True" && condition.reason == Reason::Stopping.as_str());
    waits.is_some_and(|since| Timestamp::now().duration_since(since.last_transition_time.0) > LETS_GO)
}

/// What stands for the documents of a guest, and the time that it was started anew by hand: its worker says which it has.
pub fn revision(found: &Found, restart: Option<&String>) -> String {
    let hash = match restart {
        Some(restart) => hash_of(&(&found.documents, restart)),
        None => hash_of(&found.documents),
    };
    hash[..16].to_owned()
}

/// The Secrets and ConfigMaps that the pods of a Deployment have, and which keys of them.
pub fn mounted(live: &Deployment) -> SecretUses {
    let spec = live.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let volumes = spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    let ours = volumes.filter(|volume| volume.name.starts_with(SECRET_VOLUME));
    let keys = |items: &Option<Vec<_>>| {
        let items: &[KeyToPath] = items.as_deref().unwrap_or_default();
        items.iter().map(|item| item.key.clone()).collect()
    };
    let source = |volume: &Volume| match (&volume.secret, &volume.config_map) {
        (Some(secret), _) => Some((Source::Secret(secret.secret_name.clone()?), keys(&secret.items))),
        (None, Some(map)) => Some((Source::ConfigMap(map.name.clone()), keys(&map.items))),
        (None, None) => None,
    };
    ours.filter_map(source).collect()
}

/// Has the kubelets look at once at the configuration that pods follow: they do when an annotation of the pod changes, and else
/// within a minute or two.
///
/// # Errors
/// The API server refused, or did not answer.
pub async fn hurry(pods: &[PodView], revision: &str, place: Place<'_>) -> Result<(), Error> {
    let behind = |pod: &&PodView| pod.running && pod.judges() && pod.follows.as_deref() != Some(revision);
    for pod in pods.iter().filter(behind) {
        info!(owner = place.owner.label(), pod = pod.name, "the configuration has changed");
        let api = Api::<Pod>::namespaced(place.client.clone(), &place.owner.namespace);
        let patch = json!({"metadata": {"annotations": {FOLLOWS_ANNOTATION: revision}}});
        match api.patch(&pod.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => {
                return Err(Error::Api { what: "cannot tell a pod that its configuration has changed", source });
            }
            Ok(_) => {}
        }
    }
    Ok(())
}
