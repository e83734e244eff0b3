//! Brings the children to what was built, with as few requests as that takes: none, when nothing differs.
//!
//! Server-side apply under one field manager: fields that were ours and are no longer wanted go away, fields of others
//! stay. Whether a child differs is decided from the cache, by a hash of what was last applied and by its live fields.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{
    NamespaceResourceScope,
    api::apps::v1::{Deployment, StatefulSet},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::info;

use super::{
    build::Children,
    names::{APPLIED_ANNOTATION, MANAGER},
    subset::is_subset,
    workload::{Owner, Workload},
};
use crate::{cache::Caches, hash::hash_of};

/// Why a child is not as it is to be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused, or did not answer.
    #[error("{kind}/{name}: {source}")]
    Api {
        /// The child's kind.
        kind: &'static str,
        /// The child's name.
        name: String,
        /// What it said.
        source: kube::Error,
    },
    /// There is such an object, and it still belongs to a resource of this name that was deleted.
    #[error("{kind}/{name} is still that of {owner} as it was before it was deleted: waiting for its removal")]
    Leaving {
        /// The child's kind.
        kind: &'static str,
        /// The child's name.
        name: String,
        /// The resource.
        owner: String,
    },
    /// There is such an object, and it is somebody else's.
    #[error(
        "{kind}/{name} is there already and does not belong to {owner}: delete it, or give the resource another name"
    )]
    NotOurs {
        /// The child's kind.
        kind: &'static str,
        /// The child's name.
        name: String,
        /// The resource.
        owner: String,
    },
}

impl ApplyError {
    /// Whether the namespace is on its way out; see [`in_leaving_namespace`].
    pub fn in_leaving_namespace(&self) -> bool {
        matches!(self, ApplyError::Api { source, .. } if in_leaving_namespace(source))
    }
}

/// Whether something was refused because its namespace is on its way out, and with it all that it holds. (The cause is
/// `NamespaceTerminatingCause` of k8s.io/api/core/v1.)
pub fn in_leaving_namespace(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    status.is_forbidden() && causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// The workloads as the API server last showed them.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// A camera's.
    pub deployment: Option<Arc<Deployment>>,
    /// A sink's.
    pub stateful_set: Option<Arc<StatefulSet>>,
}

/// Applies all children.
///
/// # Errors
/// The first child that cannot be brought to what was built; those before it are.
pub async fn apply(
    workload: &Workload,
    children: Children,
    client: &Client,
    caches: &Caches,
) -> Result<Live, ApplyError> {
    let (owner, names) = (&workload.owner, &workload.names);
    let at = |name| Place { client, owner, name };
    ensure(at(&names.config), children.config_map, caches).await?;
    ensure(at(&names.workload), children.service, caches).await?;
    let deployment = ensure(at(&names.workload), children.deployment, caches).await?;
    let stateful_set = ensure(at(&names.workload), children.stateful_set, caches).await?;
    ensure(at(&names.workload), children.disruption_budget, caches).await?;
    Ok(Live { deployment, stateful_set })
}

/// The workloads as they are, untouched: what a refused resource still runs.
pub fn live(owner: &Owner, caches: &Caches) -> Live {
    Live { deployment: first(owner, caches), stateful_set: first(owner, caches) }
}

fn first<C: Child>(owner: &Owner, caches: &Caches) -> Option<Arc<C>> {
    caches.children::<C>()?.of(owner).into_iter().next()
}

/// A kind of child.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + k8s_openapi::Resource
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<C> Child for C where
    C: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + k8s_openapi::Resource
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// Which child.
#[derive(Clone, Copy)]
struct Place<'a> {
    client: &'a Client,
    owner: &'a Owner,
    name: &'a str,
}

/// Makes, changes, leaves or removes one child.
async fn ensure<C: Child>(place: Place<'_>, desired: Option<C>, caches: &Caches) -> Result<Option<Arc<C>>, ApplyError> {
    let Place { client, owner, name } = place;
    let Some(cache) = caches.children::<C>() else { return Ok(None) };
    let live = cache.get(&owner.namespace, name);
    let api = Api::<C>::namespaced(client.clone(), &owner.namespace);
    let failed = |source| ApplyError::Api { kind: C::KIND, name: name.to_owned(), source };
    let Some(desired) = desired else {
        if let Some(orphan) = live.filter(|live| owned(&**live, owner)) {
            info!(owner = owner.label(), kind = C::KIND, name, "removing what is no longer wanted");
            remove(&api, &*orphan).await.map_err(failed)?;
            cache.wrote(&owner.namespace, name, None);
        }
        return Ok(None);
    };
    let desired = manifest(&desired);
    if let Some(live) = &live {
        if !owned(&**live, owner) && live.meta().owner_references.as_ref().is_some_and(|all| !all.is_empty()) {
            return Err(not_ours(place, &**live));
        }
        if unchanged(&desired, &**live) {
            return Ok(Some(live.clone()));
        }
    }
    info!(owner = owner.label(), kind = C::KIND, name, new = live.is_none(), "applying");
    // What is not known here may be somebody else's: a conflict gives it away.
    let params = PatchParams { force: live.is_some(), ..PatchParams::apply(MANAGER) };
    let applied = match api.patch(name, &params, &Patch::Apply(&desired)).await {
        Err(kube::Error::Api(status)) if status.code == 409 && live.is_none() => {
            let there = api.get(name).await.map_err(failed)?;
            if !owned(&there, owner) {
                return Err(not_ours(place, &there));
            }
            api.patch(name, &params.force(), &Patch::Apply(&desired)).await
        }
        answer => answer,
    };
    let applied = applied.map_err(failed)?;
    cache.wrote(&owner.namespace, name, Some(applied.clone()));
    Ok(Some(Arc::new(applied)))
}

fn not_ours<C: Child>(place: Place<'_>, there: &C) -> ApplyError {
    let (kind, name, owner) = (C::KIND, place.name.to_owned(), place.owner.label());
    let before =
        |reference: &OwnerReference| reference.kind == place.owner.kind && reference.name == place.owner.name;
    match there.owner_references().iter().any(before) {
        true => ApplyError::Leaving { kind, name, owner },
        false => ApplyError::NotOurs { kind, name, owner },
    }
}

/// The object as it is sent, with a hash of itself.
pub fn manifest<C: Child>(desired: &C) -> Value {
    let mut value = serde_json::to_value(desired).unwrap_or_default();
    let hash = hash_of(&value);
    value["metadata"]["annotations"][APPLIED_ANNOTATION] = json!(hash);
    value
}

/// Whether the live object is what this manifest made of it, and nobody has changed a field of ours since.
fn unchanged<C: Child>(manifest: &Value, live: &C) -> bool {
    let applied = &manifest["metadata"]["annotations"][APPLIED_ANNOTATION];
    let same = live.annotations().get(APPLIED_ANNOTATION).map(String::as_str) == applied.as_str();
    same && serde_json::to_value(live).is_ok_and(|live| is_subset(manifest, &live))
}

/// Whether the object belongs to the owner, and not to one of the same name that was deleted.
pub fn owned(object: &impl Resource, owner: &Owner) -> bool {
    object.meta().owner_references.iter().flatten().any(|reference| reference.uid == owner.uid)
}

async fn remove<C: Child>(api: &Api<C>, orphan: &C) -> Result<(), kube::Error> {
    // Not one that somebody has made anew meanwhile.
    let same = Preconditions { uid: orphan.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(same), ..DeleteParams::background() };
    match api.delete(&orphan.name_any(), &params).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}
